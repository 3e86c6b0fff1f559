"""Card: the model card of a bundled seed.

In:     card.txt, what the runs recorded, scores.
Out:    the text of `seed/README.md`.
Source: ours. Intervals: Wilson 1927, at 95 %.
"""

import itertools
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from string import Template
from typing import Any

from safetensors import safe_open

from ditto_core.embedded.known import load_world
from ditto_core.embedded.pretrain import rounds_of


@dataclass(frozen=True, slots=True)
class Score:
    """One row of the table.

    Attributes:
        share: Of the cases for which it holds, 0 to 1.
        cases: How many were asked, at least one.
    """

    name: str
    share: float
    cases: int

    def interval(self) -> tuple[float, float]:
        """Wilson's 95 % interval of the share."""
        z = 1.96
        middle = self.share + z * z / (2 * self.cases)
        spread = z * math.sqrt(self.share * (1 - self.share) / self.cases + z * z / (4 * self.cases**2))
        scale = 1 + z * z / self.cases
        return max(0.0, (middle - spread) / scale), min(1.0, (middle + spread) / scale)


def card(folder: Path, scores: Sequence[Score], beside: Mapping[str, tuple[Path, Sequence[Score]]]) -> str:
    """card.txt with what was measured, and what the runs recorded.

    Args:
        beside: Name of a column -> the folder of another model, and its scores.
    """
    world, rounds = load_world(), rounds_of(folder)
    weights = folder / "model.safetensors"
    with safe_open(weights, "numpy") as file:
        parameters = sum(math.prod(file.get_slice(name).get_shape()) for name in file.keys())  # noqa: SIM118
    return Template(Path(__file__).with_name("card.txt").read_text("utf-8")).substitute(
        parameters=f"{parameters / 1e6:.1f} million",
        megabytes=f"{weights.stat().st_size / 1e6:.1f}",
        known=len(world.known),
        playable=len(world.playable),
        held_out=len(world.known) - len(world.playable),
        languages=", ".join(rounds[-1]["languages"]),
        hardware=rounds[-1]["hardware"],
        rounds=_rounds_table(rounds),
        beside="\n".join(f"- {name}: {_told(rounds_of(other), rounds)}" for name, (other, _) in beside.items())
        or "None was measured.",
        scores=_scores_table(scores, {name: found for name, (_, found) in beside.items()}),
    )


def _scores_table(scores: Sequence[Score], beside: Mapping[str, Sequence[Score]]) -> str:
    """A row for each score, and a column for each model beside the shipped one."""
    shares = {name: {score.name: f"{score.share:.2f}" for score in found} for name, found in beside.items()}
    rows = []
    for score in scores:
        low, high = score.interval()
        others = [found.get(score.name, "") for found in shares.values()]
        rows.append([score.name, f"{score.share:.2f}", f"{low:.2f} to {high:.2f}", str(score.cases), *others])
    return _markdown(["what", "share", "95 %", "cases", *beside], rows)


def _rounds_table(rounds: Sequence[Mapping[str, Any]]) -> str:
    """A row for each setting and what was counted, and a column for each round."""
    columns = [_flat(run) for run in rounds]
    names = dict.fromkeys(name for column in reversed(columns) for name in column)
    rows = [[name, *(column.get(name, "") for column in columns)] for name in names]
    return _markdown(["round", *(str(number) for number, _ in enumerate(rounds, 1))], rows)


def _markdown(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    return "\n".join(f"| {' | '.join(row)} |" for row in (head, ["---"] * len(head), *rows))


def _told(rounds: Sequence[Mapping[str, Any]], shipped: Sequence[Mapping[str, Any]]) -> str:
    """What was run for a model beside; of each round, what is other than in the shipped seed's of that number."""
    changes = [
        ", ".join(f"{name} {value}" for name, value in _flat(run).items() if value != _flat(own).get(name))
        for run, own in zip(rounds, itertools.chain(shipped, itertools.repeat({})), strict=False)
    ]
    shared = sum(1 for _ in itertools.takewhile(lambda changed: not changed, changes))
    told = [f"the seed's own rounds up to number {shared}"] if shared else []
    told += [f"round {number}: {changed}" for number, changed in enumerate(changes[shared:], shared + 1)]
    return "; then ".join(told) or "fine-tuned by the pipeline"


def _flat(run: Mapping[str, Any]) -> dict[str, str]:
    """Name -> value of all that was recorded of a round, also within its mix and languages; what is empty is left out."""
    found: dict[str, str] = {}
    for name, value in run.items():
        if isinstance(value, Mapping):
            found |= {f"{name}: {inner}": text for inner, text in _flat(value).items()}
        elif value != "":
            found[name.replace("_", " ")] = f"{value:,.12g}" if isinstance(value, float) else str(value)
    return found
