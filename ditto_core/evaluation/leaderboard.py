"""Leaderboard: models side by side, with the paper's own figures beneath them, marked as such.

Input:   model -> scores of all languages and of MT-Bench.
Output:  rows, best first, as Markdown and HTML.
Source:  arXiv 2401.12474, tables 2 and 3, as paper_results.toml holds them.

Example row: | my-model | 0.82 [0.74, 0.90] | 5.10 [4.61, 5.62] | 0.77 [0.70, 0.83] | – | 99.2% |
"""

import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from html import escape
from importlib import resources
from statistics import fmean

from ditto_core.evaluation import page
from ditto_core.evaluation.scores import METRICS, Numbers, Scores

PUBLISHED = "as published in arXiv 2401.12474: another test set, another judge, other models; not comparable to a decimal"
_SCALES: Mapping[str, tuple[float, float]] = {"consistency": (0, 1), "knowledge": (1, 10), "rejection": (0, 1)}
_HEADS = ("model", "consistency", "knowledge", "rejection", "MT-Bench role-play", "scored")


@dataclass(frozen=True, slots=True)
class Row:
    """One model; what was not measured is {}."""

    model: str
    numbers: Mapping[str, Numbers] = field(default_factory=dict)
    mt_bench: Numbers = field(default_factory=dict)

    def rank(self) -> float:
        """Mean of the three metrics, each as a share of its scale; a missing one counts as its least."""
        shares = []
        for metric in METRICS:
            (least, most), mean = _SCALES[metric], self.numbers.get(metric, {}).get("mean")
            shares.append(0.0 if mean is None else (mean - least) / (most - least))
        return fmean(shares)


def rows(scores: Mapping[str, Scores], mt_bench: Mapping[str, Mapping[str, Numbers]]) -> list[Row]:
    """The models, best first by the mean of the three metrics."""
    made = [
        Row(
            model,
            {metric: dict(found.get("all", {}).get(metric, {})) for metric in METRICS},
            mt_bench.get(model, {}).get("mean", {}),
        )
        for model, found in scores.items()
    ]
    return sorted(made, key=lambda row: -row.rank())


def published(table: str) -> list[Row]:
    """The paper's own rows: "table_2" or "table_3"."""
    text = resources.files("ditto_core.evaluation").joinpath("paper_results.toml").read_text("utf-8")
    return [
        Row(
            row["model"],
            {metric: {"mean": row[metric]} for metric in METRICS},
            {"mean": row["mt_bench"]} if "mt_bench" in row else {},
        )
        for row in tomllib.loads(text)[table]
    ]


def markdown(ours: Sequence[Row], theirs: Sequence[Row]) -> str:
    """Our rows, then the paper's in italics with a line that says what they are."""
    lines = [f"| {' | '.join(_HEADS)} |", "|---" * len(_HEADS) + "|"]
    lines += [f"| {' | '.join(_cells(row))} |" for row in ours]
    lines += [f"| {' | '.join(f'*{cell}*' for cell in _cells(row))} |" for row in theirs]
    return "\n".join([*lines, *(["", f"*In italics: {PUBLISHED}.*"] if theirs else [])]) + "\n"


def html(ours: Sequence[Row], theirs: Sequence[Row]) -> str:
    """The same as a table."""
    shown = [[escape(cell) for cell in _cells(row)] for row in [*ours, *theirs]]
    drawn = page.table(_HEADS, shown, [""] * len(ours) + ["published"] * len(theirs))
    return drawn + (f'<p class="soft">In italics: {escape(PUBLISHED)}.</p>' if theirs else "")


def _cells(row: Row) -> list[str]:
    coverages = [share for metric in METRICS if (share := row.numbers.get(metric, {}).get("coverage")) is not None]
    told = [_told(row.numbers.get(metric, {})) for metric in METRICS]
    return [row.model.replace("|", "/"), *told, _told(row.mt_bench), f"{min(coverages):.1%}" if coverages else "–"]


def _told(numbers: Numbers) -> str:
    mean, low, high = (numbers.get(key) for key in ("mean", "low", "high"))
    if mean is None:
        return "–"
    return f"{mean:.2f}" if low is None or high is None else f"{mean:.2f} [{low:.2f}, {high:.2f}]"
