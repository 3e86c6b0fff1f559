"""Scores: means over all turns, their intervals, and how much of what was expected could be scored.

Input:   `Judgement`s of one model.
Output:  "all" and each language -> metric -> {"mean", "low", "high", "coverage"}.
Source:  arXiv 2401.12474, section 4: a metric is the mean over all turns.

Example:
    {"all": {"consistency": {"mean": 0.82, "low": 0.71, "high": 0.91, "coverage": 0.99}, "knowledge": {...},
             "rejection": {...}, "contrastive_refused": {...}, "false_refusals": {...}}, "en": {...}}

    consistency          share of turns in which the judge picked the role
    knowledge            1 to 10, over role-specific turns, and over others where a judge has scored them
    rejection            share of turns where refused or not is as it should be
    contrastive_refused  share of contrastive turns that were refused
    false_refusals       share of role-specific turns that were refused

"low" and "high" bound 95 % of bootstrap resamples of whole sessions: turns of one session are not independent.
One session alone says nothing about others: its bounds are None. "coverage" is scored turns over expected turns; unscored
turns are in no mean. A mean of nothing is None.
"""

from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from ditto_core.records import Judgement

METRICS = ("consistency", "knowledge", "rejection")
"""The paper's three."""
BREAKDOWN = ("contrastive_refused", "false_refusals")
"""What `rejection` is made of."""

Numbers = dict[str, float | None]
Scores = Mapping[str, Mapping[str, Mapping[str, float | None]]]
"""Language or "all" -> metric -> number; what `scores` gives and reports show."""

_Floats = npt.NDArray[np.float64]
_Reading = Callable[[Judgement, int], tuple[bool, float | None]]


def scores(judgements: Sequence[Judgement], bootstrap: int, seed: int) -> dict[str, dict[str, Numbers]]:
    """Score one model.

    Args:
        judgements: One a session, in any order.
        bootstrap: Number of resamples.
        seed: Of the resampling; the same judgements and seed give the same numbers.
    """
    return {
        language: {metric: estimate(_tally(part, metric), bootstrap, seed) for metric in _READINGS}
        for language, part in _by_language(judgements)
    }


def compare(
    before: Sequence[Judgement], after: Sequence[Judgement], bootstrap: int, seed: int
) -> dict[str, dict[str, dict[str, Any]]]:
    """The difference between two models over the sessions that both have played.

    Args:
        before: Judgements of the first model.
        after: Judgements of the second; paired with the first by language and role.
        bootstrap: Number of resamples of the pairs.
        seed: Of the resampling.

    Returns:
        Language or "all" -> metric -> {"difference", "low", "high", "sessions", "note"}. The note is "" or
        says that the two were not scored on the same share of turns, or not on the same sessions.
    """
    old, new = dict(_by_language(before)), dict(_by_language(after))
    pairs = {language: (old.get(language, []), new.get(language, [])) for language in sorted(old | new)}
    return {
        language: {metric: _difference(first, second, metric, bootstrap, seed) for metric in _READINGS}
        for language, (first, second) in pairs.items()
    }


def _consistency(judgement: Judgement, turn: int) -> tuple[bool, float | None]:
    return True, judgement.consistency[turn]


def _knowledge(judgement: Judgement, turn: int) -> tuple[bool, float | None]:
    known = judgement.knowledge[turn]  # judged files of others may score contrastive turns too
    return judgement.labels[turn] == 0 or known is not None, known


def _rejection(judgement: Judgement, turn: int) -> tuple[bool, float | None]:
    refused = judgement.rejection[turn]
    return True, None if refused is None else float(refused == judgement.labels[turn])


def _contrastive_refused(judgement: Judgement, turn: int) -> tuple[bool, float | None]:
    return judgement.labels[turn] == 1, judgement.rejection[turn]


def _false_refusals(judgement: Judgement, turn: int) -> tuple[bool, float | None]:
    return judgement.labels[turn] == 0, judgement.rejection[turn]


# Metric -> for one turn, whether a score is expected and the score.
_READINGS: Mapping[str, _Reading] = {
    "consistency": _consistency,
    "knowledge": _knowledge,
    "rejection": _rejection,
    "contrastive_refused": _contrastive_refused,
    "false_refusals": _false_refusals,
}


def _by_language(judgements: Sequence[Judgement]) -> Iterator[tuple[str, list[Judgement]]]:
    """First "all", then each language; sorted, so that the order of shards takes no part in the resampling."""
    ordered = sorted(judgements, key=lambda judgement: (judgement.language, judgement.role))
    yield "all", ordered
    for language in sorted({judgement.language for judgement in ordered}):
        yield language, [judgement for judgement in ordered if judgement.language == language]


def _tally(judgements: Sequence[Judgement], metric: str) -> dict[tuple[str, str], _Floats]:
    """Session -> [sum of scores, scored turns, expected turns]."""
    sums: dict[tuple[str, str], _Floats] = defaultdict(lambda: np.zeros(3))
    for judgement in judgements:
        for turn in range(len(judgement.labels)):
            expected, score = _READINGS[metric](judgement, turn)
            if expected:
                scored = (0.0, 0.0) if score is None else (float(score), 1.0)
                sums[judgement.language, judgement.role] += (*scored, 1.0)
            else:
                sums[judgement.language, judgement.role] += 0.0
    return dict(sums)


def estimate(tally: Mapping[tuple[str, str], _Floats], bootstrap: int, seed: int) -> Numbers:
    """Mean, interval and coverage of session -> [sum of scores, scored, expected]."""
    table = np.array(list(tally.values())).reshape(-1, 3)
    total, scored, expected = table.sum(axis=0)
    coverage = round(float(scored / expected), 6) if expected else 0.0
    if not scored:
        return {"mean": None, "low": None, "high": None, "coverage": coverage}
    low, high = None, None
    if np.count_nonzero(table[:, 1]) > 1:
        low, high = _interval([_mean(table[draw]) for draw in _draws(len(table), bootstrap, seed)])
    return {"mean": round(float(total / scored), 6), "low": low, "high": high, "coverage": coverage}


def _difference(
    before: Sequence[Judgement], after: Sequence[Judgement], metric: str, bootstrap: int, seed: int
) -> dict[str, Any]:
    first, second = _tally(before, metric), _tally(after, metric)
    shared = sorted(first.keys() & second.keys())
    old = np.array([first[session] for session in shared]).reshape(-1, 3)
    new = np.array([second[session] for session in shared]).reshape(-1, 3)
    difference = _mean(new) - _mean(old)
    low, high = None, None
    if not np.isnan(difference) and len(shared) > 1:
        draws = _draws(len(shared), bootstrap, seed)
        low, high = _interval([_mean(new[draw]) - _mean(old[draw]) for draw in draws])
    return {
        "difference": None if np.isnan(difference) else round(difference, 6),
        "low": low,
        "high": high,
        "sessions": len(shared),
        "note": _note(first, second, len(shared), old, new),
    }


def _note(
    first: Mapping[tuple[str, str], _Floats],
    second: Mapping[tuple[str, str], _Floats],
    shared: int,
    old: _Floats,
    new: _Floats,
) -> str:
    notes = []
    alone = len(first) + len(second) - 2 * shared
    if alone:
        notes.append(f"{alone} sessions were played by one model only and are left out")
    shares = [table[:, 1].sum() / table[:, 2].sum() if table[:, 2].sum() else 0.0 for table in (old, new)]
    if abs(shares[0] - shares[1]) > 1e-9:
        notes.append(f"coverage differs: {shares[0]:.1%} before, {shares[1]:.1%} after")
    return "; ".join(notes)


def _mean(table: _Floats) -> float:
    scored = table[:, 1].sum()
    return float(table[:, 0].sum() / scored) if scored else float("nan")


def _draws(sessions: int, bootstrap: int, seed: int) -> Iterator[npt.NDArray[np.int64]]:
    """Resamples of session numbers, with replacement, one at a time to stay small in memory."""
    random = np.random.default_rng(seed)
    return (random.integers(0, sessions, sessions) for _ in range(bootstrap))


def _interval(means: Sequence[float]) -> tuple[float | None, float | None]:
    """The middle 95 %; resamples in which nothing was scored do not count."""
    known = [mean for mean in means if not np.isnan(mean)]
    if not known:
        return None, None
    low, high = np.percentile(known, [2.5, 97.5])
    return round(float(low), 6), round(float(high), 6)
