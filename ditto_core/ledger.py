"""Ledger: the account of what happened to every input of a shard or a stage.

inputs = ok + failed(reason) + filtered(reason), always; each failed or filtered row keeps its raw text. A ledger holds the
texts until `hand_over` gives them to whoever writes them down; from then on it holds their counts, so that the account of a
million rows is as small as that of ten.
"""

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from ditto_core.errors import BrokenPromise, RowFailed


@dataclass(frozen=True, slots=True)
class Loss:
    """One row that is not in the output: who, why, and the text that was found."""

    row: str
    reason: str
    raw: str


Outcome = Literal["failed", "filtered"]
UNAVAILABLE = "engine_unavailable"
"""Reason of rows whose engine did not answer: weather, not a property of the row. It may stand behind a prefix."""


@dataclass(slots=True)
class Ledger:
    """Counts inputs and what became of them. Build one per shard; add them up per stage.

    Attributes:
        failures: Rows that could not be used and whose text is still held here; `filters` likewise.
        handed_over: Outcome and reason -> rows whose text is kept elsewhere.
        notes: Shares worth knowing that are not losses, such as labels that fell back to another language.
    """

    inputs: int = 0
    ok: int = 0
    failures: list[Loss] = field(default_factory=list)
    filters: list[Loss] = field(default_factory=list)
    notes: Counter[str] = field(default_factory=Counter)
    handed_over: Counter[tuple[Outcome, str]] = field(default_factory=Counter)

    def fail(self, row: str, error: RowFailed) -> None:
        """Count a row that could not be used."""
        self.failures.append(Loss(row, error.reason, error.raw))

    def filter(self, row: str, reason: str, raw: str = "") -> None:
        """Count a row that was left out on purpose."""
        self.filters.append(Loss(row, reason, raw))

    @property
    def held(self) -> int:
        """Losses whose text is still held here."""
        return len(self.failures) + len(self.filters)

    def hand_over(self) -> list[tuple[Outcome, Loss]]:
        """Give the losses that are held to the caller, who keeps their text, and keep their counts."""
        losses: list[tuple[Outcome, Loss]] = [("failed", loss) for loss in self.failures]
        losses += [("filtered", loss) for loss in self.filters]
        self.handed_over.update((outcome, loss.reason) for outcome, loss in losses)
        self.failures, self.filters = [], []
        return losses

    @property
    def failed(self) -> dict[str, int]:
        """Reason -> number of failed rows."""
        return self._counts("failed", self.failures)

    @property
    def filtered(self) -> dict[str, int]:
        """Reason -> number of rows left out on purpose."""
        return self._counts("filtered", self.filters)

    @property
    def unanswered(self) -> int:
        """Rows that failed only because an engine did not answer; with any of them, asking again would help."""
        return sum(number for reason, number in self.failed.items() if reason.endswith(UNAVAILABLE))

    def check(self) -> None:
        """Refuse an account that does not add up.

        Raises:
            BrokenPromise: inputs differ from ok + failed + filtered.
        """
        failed, filtered = sum(self.failed.values()), sum(self.filtered.values())
        accounted = self.ok + failed + filtered
        if self.inputs != accounted:
            raise BrokenPromise(
                f"ledger is off: {self.inputs} inputs, but {self.ok} ok + {failed} failed + "
                f"{filtered} filtered = {accounted}. A row was lost or counted twice; please report this."
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
        """The counts as plain data for a manifest; the texts are handed over."""
        return {
            "inputs": self.inputs,
            "ok": self.ok,
            "failed": self.failed,
            "filtered": self.filtered,
            "notes": dict(sorted(self.notes.items())),
        }

    @classmethod
    def from_dict(cls, plain: Mapping[str, Any]) -> "Ledger":
        """Read what `as_dict` made."""
        handed_over: Counter[tuple[Outcome, str]] = Counter()
        handed_over.update({("failed", reason): number for reason, number in plain["failed"].items()})
        handed_over.update({("filtered", reason): number for reason, number in plain["filtered"].items()})
        return cls(plain["inputs"], plain["ok"], notes=Counter(plain["notes"]), handed_over=handed_over)

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
            total.handed_over += ledger.handed_over
        return total

    def _counts(self, outcome: Outcome, held: Iterable[Loss]) -> dict[str, int]:
        counts = Counter(loss.reason for loss in held)
        counts.update({reason: number for (kind, reason), number in self.handed_over.items() if kind == outcome})
        return dict(sorted(counts.items()))
