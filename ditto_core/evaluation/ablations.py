"""Ablations: what one choice is worth, all else equal.

Input:   settings and the name of a choice: "knowledge", "turns" or "contrastive".
Output:  the settings of each variant; a table of their scores with the paired difference from the first.
Source:  arXiv 2401.12474, table 3 for knowledge; section 3.3 for the mix of turns that the other two vary.

Example: `variants(settings, "contrastive")` -> {"share 0": ..., "share 0.25": ..., "share 0.5": ...}

"knowledge" varies what the simulating model is shown and trains nothing; the other two vary the dataset and train once a
variant. All variants are scored on the same test sessions.
"""

from collections.abc import Mapping
from html import escape
from typing import Literal, get_args

from ditto_core.errors import InvalidInput
from ditto_core.evaluation import leaderboard, page, tables
from ditto_core.evaluation.report import score_bars
from ditto_core.evaluation.scores import BREAKDOWN, METRICS
from ditto_core.settings import Settings

Kind = Literal["knowledge", "turns", "contrastive"]
KINDS: tuple[str, ...] = get_args(Kind)
TITLES: Mapping[str, str] = {
    "knowledge": "Knowledge injection: the simulating model with and without the profile",
    "turns": "Turns of a training conversation",
    "contrastive": "Share of contrastive turns in training",
}


def check(kind: str) -> None:
    """Refuse what is not a choice.

    Raises:
        InvalidInput: No such choice.
    """
    if kind not in KINDS:
        raise InvalidInput(f"there is no ablation {kind!r}; there are {', '.join(KINDS)}")


def variants(settings: Settings, kind: str) -> dict[str, Settings]:
    """Name -> settings, the one that others are compared with first.

    Raises:
        InvalidInput: No such choice, or fewer than two values of it.
    """
    check(kind)
    if kind == "knowledge":
        return {
            "with the profile": _with(settings, "evaluation", "context", "profile"),
            "without the profile": _with(settings, "evaluation", "context", "instructions"),
        }
    chosen = settings.ablations
    made = (
        {f"{turns} turns": _with(settings, "dataset", "turns_per_session", turns) for turns in chosen.turns}
        if kind == "turns"
        else {f"share {share:g}": _with(settings, "dataset", "contrastive_share", share) for share in chosen.contrastive_shares}
    )
    if len(made) < 2:
        field = "turns" if kind == "turns" else "contrastive_shares"
        raise InvalidInput(f"ablations.{field} holds fewer than two values; there is nothing to compare")
    return made


def markdown(columns: tables.Columns, differences: Mapping[str, tables.Differences]) -> str:
    """One row a variant, each with its difference from the first where that is known."""
    heads = ["variant", *(metric.replace("_", " ") for metric in (*METRICS, *BREAKDOWN))]
    lines = [f"| {' | '.join(heads)} |", "|---" * len(heads) + "|"]
    for name in columns:
        lines.append(f"| {' | '.join([name, *_cells(name, columns, differences)])} |")
    notes = [f"Note: {note}." for note in tables.coverage_notes(columns)]
    first = next(iter(columns), "")
    return "\n".join([*lines, "", f"In brackets after Δ: paired difference from {first}, 95 % interval.", *notes]) + "\n"


def render(
    kind: str, columns: tables.Columns, differences: Mapping[str, tables.Differences], judge: str, run: Mapping[str, str]
) -> str:
    """The report of an ablation as one HTML document."""
    heads = ["variant", *(metric.replace("_", " ") for metric in (*METRICS, *BREAKDOWN))]
    rows = [[escape(name), *(_small(cell) for cell in _cells(name, columns, differences))] for name in columns]
    published = leaderboard.html([], leaderboard.published("table_3")) if kind == "knowledge" else ""
    parts = [
        f"<p>Judge: <strong>{escape(judge)}</strong></p>",
        page.warnings(tables.coverage_notes(columns)),
        score_bars(columns, TITLES[kind]),
        page.table(heads, rows),
        f"<h2>The paper's table 3</h2>{published}" if published else "",
        page.facts("What was run", run),
    ]
    return page.page(TITLES[kind], parts)


def _cells(name: str, columns: tables.Columns, differences: Mapping[str, tables.Differences]) -> list[str]:
    cells = []
    for metric in (*METRICS, *BREAKDOWN):
        told = tables.line(tables.number(columns[name], "all", metric))
        paired = differences.get(name, {}).get("all", {}).get(metric, {})
        if paired.get("difference") is not None:
            told += f" (Δ {tables.change(paired)})"
        cells.append(told)
    return cells


def _small(cell: str) -> str:
    """A cell with what follows the mean in smaller type."""
    mean, _, rest = escape(cell).partition(" ")
    return f"{mean}<small>{rest}</small>" if rest else mean


def _with(settings: Settings, section: str, field: str, value: object) -> Settings:
    return settings.model_copy(update={section: getattr(settings, section).model_copy(update={field: value})})
