"""Tables: scores of models side by side, as Markdown, CSV and HTML.

Input:   name of a model -> its scores, in the order of the columns.
Output:  texts; where exactly two models stand side by side, their change too, and where coverage differs, a note.

Example of `markdown`:
    | all languages | before | after | change |
    |---|---|---|---|
    | consistency | 0.52 [0.41, 0.63], 100% scored | 0.82 [0.74, 0.90], 100% scored | +0.30 [+0.21, +0.38] |
"""

from collections.abc import Mapping
from html import escape
from typing import Any

from ditto_core.evaluation import page
from ditto_core.evaluation.scores import BREAKDOWN, METRICS, Scores

Columns = Mapping[str, Scores]
"""Model -> its scores."""
Differences = Mapping[str, Mapping[str, Mapping[str, Any]]]
"""What `scores.compare` gives."""

MEANINGS: Mapping[str, str] = {
    "consistency": "turns in which the judge picked the role, 0 to 1",
    "knowledge": "agreement with the evidence, 1 to 10, role-specific turns",
    "rejection": "refused where it should, answered where it should, 0 to 1",
    "contrastive_refused": "contrastive turns refused; higher is better",
    "false_refusals": "role-specific turns refused; lower is better",
}


_CSV = ("model", "judge", "language", "metric", "mean", "low", "high", "coverage")


def markdown(columns: Columns, differences: Differences | None = None) -> str:
    """A block a language; two columns get a third with the change."""
    lines: list[str] = []
    for language in languages(columns):
        name = "all languages" if language == "all" else language
        heads = [name, *columns, *(["change"] if len(columns) == 2 else [])]
        lines += [f"| {' | '.join(map(_cell_text, heads))} |", "|---" * len(heads) + "|"]
        for metric in (*METRICS, *BREAKDOWN):
            cells = [metric.replace("_", " "), *(line(number(scores, language, metric)) for scores in columns.values())]
            if len(columns) == 2:
                cells.append(_change_text(columns, differences or {}, language, metric))
            lines.append(f"| {' | '.join(cells)} |")
        lines.append("")
    return "\n".join(lines + [f"Note: {note}." for note in coverage_notes(columns)]).strip() + "\n"


def as_csv(columns: Columns, judge: str) -> str:
    """One row a model, language and metric: model, judge, language, metric, mean, low, high, coverage."""
    import pandas as pd

    rows = [
        {"model": model, "judge": judge, "language": language, "metric": metric, **one}
        for model, scores in columns.items()
        for language, metrics in scores.items()
        for metric, one in metrics.items()
    ]
    return pd.DataFrame(rows, columns=_CSV).to_csv(index=False, lineterminator="\n")


def html(columns: Columns, differences: Differences, language: str) -> str:
    """The table of one language."""
    rows = []
    for metric in (*METRICS, *BREAKDOWN):
        name = f"{metric.replace('_', ' ')}<small>{escape(MEANINGS[metric])}</small>"
        cells = [cell_html(number(scores, language, metric)) for scores in columns.values()]
        if len(columns) == 2:
            cells.append(_change_html(columns, differences, language, metric))
        rows.append([name, *cells])
    return page.table(["metric", *columns, *(["change"] if len(columns) == 2 else [])], rows)


def languages(columns: Columns) -> list[str]:
    """First "all", then each language unless there is only one, which would say the same twice."""
    found = sorted({language for scores in columns.values() for language in scores} - {"all"})
    return ["all", *found] if len(found) > 1 else ["all"]


def number(scores: Scores, language: str, metric: str) -> Mapping[str, float | None]:
    """Mean, interval and coverage of one metric, or {}."""
    return scores.get(language, {}).get(metric, {})


def coverage_notes(columns: Columns) -> list[str]:
    """Where models were not scored on the same share of turns, so that their means are of different turns."""
    notes = []
    for language in languages(columns):
        for metric in METRICS:
            shares = {model: number(scores, language, metric).get("coverage") for model, scores in columns.items()}
            known = {model: share for model, share in shares.items() if share is not None}
            if known and max(known.values()) - min(known.values()) > 1e-9:
                told = ", ".join(f"{share:.1%} {model}" for model, share in known.items())
                told = told.replace("% ", "% of the turns ", 1)
                notes.append(f"{metric} ({language}) was scored on {told}: the means are of different turns")
    return notes


def cell_html(one: Mapping[str, float | None]) -> str:
    """Mean, interval and coverage as a cell."""
    return "{}<small>{}</small><small>{}</small>".format(*_parts(one))


def _parts(one: Mapping[str, float | None]) -> tuple[str, str, str]:
    """Mean, interval and coverage."""
    mean, low, high, coverage = (one.get(key) for key in ("mean", "low", "high", "coverage"))
    scored = "" if coverage is None else f"{_share(coverage)} scored"
    if mean is None:
        return ("not scored" if one else "–"), "", scored
    interval = "" if low is None or high is None else f"[{low:.2f}, {high:.2f}]"
    return f"{mean:.2f}", interval, scored


def _share(coverage: float) -> str:
    """Whole percents, but never 100 % for less than all."""
    return f"{coverage:.1%}" if 0.99 < coverage < 1 else f"{coverage:.0%}"


def line(one: Mapping[str, float | None]) -> str:
    """Mean, interval and coverage in one line."""
    mean, interval, scored = _parts(one)
    return ", ".join(part for part in (f"{mean} {interval}".strip(), scored) if part)


def change(paired: Mapping[str, Any]) -> str:
    """A difference of `scores.compare` with its interval, if it has one: "+0.30 [+0.21, +0.38]"."""
    interval = "" if paired["low"] is None else f" [{paired['low']:+.2f}, {paired['high']:+.2f}]"
    return f"{paired['difference']:+.2f}{interval}"


def _change_text(columns: Columns, differences: Differences, language: str, metric: str) -> str:
    paired = differences.get(language, {}).get(metric, {})
    if paired.get("difference") is not None:
        return change(paired)
    old, new = (number(scores, language, metric).get("mean") for scores in columns.values())
    return "–" if old is None or new is None else f"{new - old:+.2f}"


def _change_html(columns: Columns, differences: Differences, language: str, metric: str) -> str:
    told = _change_text(columns, differences, language, metric).replace(" [", "<small>[")
    paired = differences.get(language, {}).get(metric, {})
    if not paired:
        return told
    note = f"<small>{escape(paired['note'])}</small>" if paired["note"] else ""
    closed = "</small>" if "<small>" in told else ""
    return f"{told}{closed}<small>paired, {paired['sessions']} sessions</small>{note}"


def _cell_text(text: str) -> str:
    return text.replace("|", "\\|")
