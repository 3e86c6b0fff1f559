"""Agreement: how far two judges, or a judge and people, say the same of the same answers.

Input:   judgements of the same sessions by two judges; human labels are a judged file like any other.
Output:  metric -> a measure of agreement with its 95 % interval, over the turns that both have scored.
Source:  Cohen 1960 for kappa (consistency, rejection); Pearson and Spearman correlation for knowledge.

Example:
    {"consistency": {"kappa": {"value": 0.71, "low": 0.6, "high": 0.8}, "same": {...}, "turns": 498, "of": 498}, ...}

"turns" are those that both scored, "of" those that either could have; a measure of turns without variation is None.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from ditto_core.evaluation.sessions import by_session
from ditto_core.records import Judgement

_Pairs = npt.NDArray[np.float64]
_Measure = Callable[[_Pairs], float]


def agreement(first: Sequence[Judgement], second: Sequence[Judgement], bootstrap: int, seed: int) -> dict[str, dict[str, Any]]:
    """Compare two judges turn by turn, over the sessions that both have judged.

    Args:
        first: Judgements of one judge.
        second: Of the other, or of people.
        bootstrap: Resamples of whole sessions behind the intervals.
        seed: Of the resampling.
    """
    one, two = by_session(first), by_session(second)
    shared = sorted(session for session in one.keys() & two.keys() if len(one[session].labels) == len(two[session].labels))
    table = {}
    for metric, measures in _MEASURES.items():
        sessions = [_pairs(getattr(one[session], metric), getattr(two[session], metric)) for session in shared]
        expected = sum(_expected(one[session], two[session], metric) for session in shared)
        draws = np.random.default_rng(seed).integers(0, max(len(shared), 1), (bootstrap, len(shared)))
        table[metric] = {
            **{name: _measured(measure, sessions, draws) for name, measure in measures.items()},
            "turns": sum(len(pairs) for pairs in sessions),
            "of": expected,
        }
    return table


def markdown(table: Mapping[str, Mapping[str, Any]]) -> str:
    """One row a metric and measure."""
    lines = ["| agreement | measure | value | turns scored by both |", "|---|---|---|---|"]
    for metric, row in table.items():
        for name in (name for name in row if name not in ("turns", "of")):
            lines.append(f"| {metric} | {name} | {told(row[name])} | {row['turns']} of {row['of']} |")
    return "\n".join(lines) + "\n"


def told(measured: Mapping[str, float | None]) -> str:
    """A value with its interval."""
    if measured["value"] is None:
        return "not defined"
    interval = "" if measured["low"] is None else f" [{measured['low']:.2f}, {measured['high']:.2f}]"
    return f"{measured['value']:.2f}{interval}"


def _expected(one: Judgement, two: Judgement, metric: str) -> int:
    if metric != "knowledge":
        return len(one.labels)
    # Files of others may score what contrastive questions are answered, too.
    turns = zip(one.labels, one.knowledge, two.knowledge, strict=True)
    return sum(label == 0 or (first is not None and second is not None) for label, first, second in turns)


def _pairs(first: Sequence[float | None], second: Sequence[float | None]) -> _Pairs:
    both = [(a, b) for a, b in zip(first, second, strict=True) if a is not None and b is not None]
    return np.array(both, dtype=np.float64).reshape(-1, 2)


def _measured(measure: _Measure, sessions: Sequence[_Pairs], draws: npt.NDArray[np.int64]) -> dict[str, float | None]:
    if not sessions:
        return {"value": None, "low": None, "high": None}
    value = measure(np.concatenate(sessions))
    resampled = [measure(np.concatenate([sessions[place] for place in draw])) for draw in draws]
    known = [one for one in resampled if not np.isnan(one)]
    if np.isnan(value) or not known:
        return {"value": None, "low": None, "high": None}
    low, high = np.percentile(known, [2.5, 97.5])
    return {"value": round(float(value), 6), "low": round(float(low), 6), "high": round(float(high), 6)}


def _same(pairs: _Pairs) -> float:
    said = pairs > 0.5
    return float((said[:, 0] == said[:, 1]).mean()) if len(pairs) else float("nan")


def _kappa(pairs: _Pairs) -> float:
    if not len(pairs):
        return float("nan")
    yes = (pairs > 0.5).mean(axis=0)
    by_chance = float(yes[0] * yes[1] + (1 - yes[0]) * (1 - yes[1]))
    return (_same(pairs) - by_chance) / (1 - by_chance) if by_chance < 1 else float("nan")


def _pearson(pairs: _Pairs) -> float:
    if len(pairs) < 2 or (pairs.std(axis=0) == 0).any():
        return float("nan")
    return float(np.corrcoef(pairs[:, 0], pairs[:, 1])[0, 1])


def _spearman(pairs: _Pairs) -> float:
    import pandas as pd

    return _pearson(pd.DataFrame(pairs).rank().to_numpy())  # equal values share their mean rank


def _difference(pairs: _Pairs) -> float:
    return float((pairs[:, 1] - pairs[:, 0]).mean()) if len(pairs) else float("nan")


_MEASURES: Mapping[str, Mapping[str, _Measure]] = {
    "consistency": {"kappa": _kappa, "same": _same},
    "knowledge": {"pearson": _pearson, "spearman": _spearman, "mean difference": _difference},
    "rejection": {"kappa": _kappa, "same": _same},
}
