"""Means, coverage and intervals."""

import math
from collections.abc import Sequence

import pytest

from ditto_core.evaluation.scores import compare, scores
from ditto_core.records import Judgement


def judged(
    role: str,
    consistency: Sequence[int | None],
    *,
    knowledge: Sequence[float | None] | None = None,
    rejection: Sequence[int | None] | None = None,
    labels: Sequence[int] | None = None,
    language: str = "en",
) -> Judgement:
    turns = len(consistency)
    labels = labels if labels is not None else [0] * turns
    return Judgement(
        role=role,
        language=language,
        model="m",
        judge="lexical",
        consistency=tuple(consistency),
        knowledge=tuple(knowledge if knowledge is not None else [None if label else 5.0 for label in labels]),
        rejection=tuple(rejection if rejection is not None else labels),
        labels=tuple(labels),
        votes=((),) * turns,
    )


def test_a_metric_is_the_mean_over_all_turns_not_over_sessions() -> None:
    found = scores([judged("A", [1, 1, 1]), judged("B", [0])], 200, 1)
    assert found["all"]["consistency"]["mean"] == 0.75
    assert found["all"]["consistency"]["coverage"] == 1


def test_unscored_turns_lower_the_coverage_and_leave_the_mean() -> None:
    found = scores([judged("A", [1, None, 0, None])], 200, 1)["all"]["consistency"]
    assert found["mean"] == 0.5
    assert found["coverage"] == 0.5


def test_contrastive_turns_are_not_missing_from_knowledge() -> None:
    found = scores([judged("A", [1, 1], knowledge=[8.0, None], labels=[0, 1])], 200, 1)["all"]["knowledge"]
    assert found["mean"] == 8
    assert found["coverage"] == 1


def test_rejection_compares_with_the_label_and_is_broken_down() -> None:
    one = judged("A", [1] * 5, rejection=[1, 0, 1, 0, None], labels=[1, 1, 0, 0, 0])
    found = scores([one], 200, 1)["all"]
    assert found["rejection"]["mean"] == 0.5
    assert found["rejection"]["coverage"] == 0.8
    assert found["contrastive_refused"]["mean"] == 0.5
    assert found["false_refusals"]["mean"] == 0.5
    assert found["false_refusals"]["coverage"] == pytest.approx(2 / 3, abs=1e-6)


def test_each_language_has_its_own_scores_and_the_order_of_shards_changes_nothing() -> None:
    rows = [judged("A", [1, 0]), judged("A", [0, 0], language="zh"), judged("B", [1, 1])]
    found = scores(rows, 200, 1)
    assert list(found) == ["all", "en", "zh"]
    assert found["zh"]["consistency"]["mean"] == 0
    assert scores(rows[::-1], 200, 1) == found


def test_nothing_scored_is_none_and_not_zero() -> None:
    assert scores([judged("A", [None])], 200, 1)["all"]["consistency"] == {
        "mean": None,
        "low": None,
        "high": None,
        "coverage": 0.0,
    }
    assert scores([], 200, 1)["all"]["knowledge"]["mean"] is None


def test_the_interval_resamples_sessions_not_turns() -> None:
    # Ten turns of a session agree with each other, so 100 turns in 10 sessions tell as much as 10 turns.
    rows = [judged(f"Q{number}", [number % 2] * 10) for number in range(10)]
    found = scores(rows, 2000, 1)["all"]["consistency"]
    low, high = found["low"], found["high"]
    assert low is not None
    assert high is not None
    half = 1.96 * math.sqrt(0.25 / 10)
    assert low == pytest.approx(0.5 - half, abs=0.1)
    assert high == pytest.approx(0.5 + half, abs=0.1)


def test_one_session_has_a_mean_and_no_interval() -> None:
    alone, silent = judged("Q1", [1, 0]), judged("Q2", [None, None])
    for rows in ([alone], [alone, silent]):
        found = scores(rows, 200, 1)["all"]["consistency"]
        assert (found["mean"], found["low"], found["high"]) == (0.5, None, None)
    paired = compare([alone], [alone], 200, 1)["all"]["consistency"]
    assert (paired["difference"], paired["low"], paired["high"]) == (0.0, None, None)


def test_the_same_seed_gives_the_same_interval() -> None:
    rows = [judged(f"Q{number}", [number % 3 == 0, 1]) for number in range(9)]
    assert scores(rows, 300, 4) == scores(rows, 300, 4)


def test_a_comparison_is_paired_by_session_and_tighter_than_unpaired_intervals() -> None:
    # Every session gains exactly one turn of ten: between sessions much varies, within pairs nothing does.
    before = [judged(f"Q{number}", [1] * number + [0] * (10 - number)) for number in range(9)]
    after = [judged(f"Q{number}", [1] * (number + 1) + [0] * (9 - number)) for number in range(9)]
    found = compare(before, after[::-1], 500, 1)["all"]["consistency"]
    assert found["difference"] == pytest.approx(0.1)
    assert found["low"] == pytest.approx(0.1)
    assert found["high"] == pytest.approx(0.1)
    assert found["sessions"] == 9
    assert found["note"] == ""


def test_a_comparison_says_when_coverage_or_sessions_differ() -> None:
    before = [judged("A", [1, None]), judged("B", [1, 1]), judged("C", [1])]
    after = [judged("A", [1, 1]), judged("B", [1, 1])]
    found = compare(before, after, 200, 1)["all"]["consistency"]
    assert found["sessions"] == 2
    assert "coverage differs: 75.0% before, 100.0% after" in found["note"]
    assert "1 sessions were played by one model only" in found["note"]


def test_a_comparison_of_nothing_in_common_has_no_difference() -> None:
    found = compare([judged("A", [1])], [judged("B", [1])], 200, 1)["all"]["consistency"]
    assert found["difference"] is None
    assert found["sessions"] == 0
