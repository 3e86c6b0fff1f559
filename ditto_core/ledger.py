"""Ledger: the account of what happened to every input of a shard or a stage.

inputs = ok + failed(reason) + filtered(reason), always; each failed or filtered row keeps its raw text.
"""

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from ditto_core.errors import BrokenPromise, RowFailed


@dataclass(frozen=True, slots=True)
class Loss:
    """One row that is not in the output: who, why, and the text that was found."""

    row: str
    reason: str
    raw: str


@dataclass(slots=True)
class Ledger:
    """Counts inputs and what became of them. Build one per shard; add them up per stage.

    Attributes:
        notes: Shares worth knowing that are not losses, such as labels that fell back to another language.
    """

    inputs: int = 0
    ok: int = 0
    failures: list[Loss] = field(default_factory=list)
    filters: list[Loss] = field(default_factory=list)
    notes: Counter[str] = field(default_factory=Counter)

    def fail(self, row: str, error: RowFailed) -> None:
        """Count a row that could not be used."""
        self.failures.append(Loss(row, error.reason, error.raw))

    def filter(self, row: str, reason: str, raw: str = "") -> None:
        """Count a row that was left out on purpose."""
        self.filters.append(Loss(row, reason, raw))

    @property
    def failed(self) -> dict[str, int]:
        """Reason -> number of failed rows."""
        return _counts(self.failures)

    @property
    def filtered(self) -> dict[str, int]:
        """Reason -> number of rows left out on purpose."""
        return _counts(self.filters)

    def check(self) -> None:
        """Refuse an account that does not add up.

        Raises:
            BrokenPromise: inputs differ from ok + failed + filtered.
        """
        accounted = self.ok + len(self.failures) + len(self.filters)
        if self.inputs != accounted:
            raise BrokenPromise(
                f"ledger is off: {self.inputs} inputs, but {self.ok} ok + {len(self.failures)} failed + "
                f"{len(self.filters)} filtered = {accounted}. A row was lost or counted twice; please report this."
            )

    def summary(self) -> dict[str, Any]:
        """The counts alone, as commands print them."""
        return {
            "inputs": self.inputs,
            "ok": self.ok,
            "failed": self.failed,
            "filtered": self.filtered,
            **({"notes": dict(sorted(self.notes.items()))} if self.notes else {}),
        }

    def as_dict(self) -> dict[str, Any]:
        """Plain data for a manifest, with every lost row."""
        return {
            "inputs": self.inputs,
            "ok": self.ok,
            "failed": [[loss.row, loss.reason, loss.raw] for loss in self.failures],
            "filtered": [[loss.row, loss.reason, loss.raw] for loss in self.filters],
            "notes": dict(sorted(self.notes.items())),
        }

    @classmethod
    def from_dict(cls, plain: Mapping[str, Any]) -> "Ledger":
        """Read what `as_dict` made."""
        return cls(
            plain["inputs"],
            plain["ok"],
            [Loss(*loss) for loss in plain["failed"]],
            [Loss(*loss) for loss in plain["filtered"]],
            Counter(plain["notes"]),
        )

    @classmethod
    def total(cls, ledgers: Iterable["Ledger"]) -> "Ledger":
        """The sum of several."""
        total = cls()
        for ledger in ledgers:
            total.inputs += ledger.inputs
            total.ok += ledger.ok
            total.failures += ledger.failures
            total.filters += ledger.filters
            total.notes += ledger.notes
        return total


def _counts(losses: Iterable[Loss]) -> dict[str, int]:
    return dict(sorted(Counter(loss.reason for loss in losses).items()))
