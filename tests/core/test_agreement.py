"""Agreement of two judges, on values that can be worked out by hand."""

from collections.abc import Sequence
from dataclasses import replace

import pytest

from ditto_core.evaluation.agreement import agreement, markdown
from ditto_core.records import Judgement


def judged(
    role: str, consistency: Sequence[float | None], knowledge: Sequence[float | None] | None = None, run: int = 0
) -> Judgement:
    turns = len(consistency)
    scores = tuple(knowledge) if knowledge is not None else (5.0,) * turns
    return Judgement(
        role, "en", "m", "j", tuple(consistency), scores, tuple(consistency), (0,) * turns, ((),) * turns, run
    )  # fmt: skip


def test_kappa_takes_chance_off() -> None:
    # 20 turns: both yes 8, both no 6, first only 2, second only 4. Same 0.7; by chance 0.5 * 0.6 + 0.5 * 0.4 = 0.5; kappa 0.4.
    first = [1.0] * 8 + [0.0] * 6 + [1.0] * 2 + [0.0] * 4
    second = [1.0] * 8 + [0.0] * 6 + [0.0] * 2 + [1.0] * 4
    one = [judged(f"Q{turn}", [verdict]) for turn, verdict in enumerate(first)]
    two = [judged(f"Q{turn}", [verdict]) for turn, verdict in enumerate(second)]
    found = agreement(one, two[::-1], 300, 1)["consistency"]
    assert found["kappa"]["value"] == pytest.approx(0.4)
    assert found["same"]["value"] == pytest.approx(0.7)
    assert found["kappa"]["low"] < 0.4 < found["kappa"]["high"]
    assert (found["turns"], found["of"]) == (20, 20)


def test_knowledge_is_compared_by_correlation_and_by_shift() -> None:
    one = [judged("A", [1, 1, 1, 1], [1.0, 2.0, 4.0, 7.0]), judged("B", [1], [9.0])]
    two = [judged("A", [1, 1, 1, 1], [2.0, 3.0, 5.0, 8.0]), judged("B", [1], [10.0])]
    found = agreement(one, two, 100, 1)["knowledge"]
    assert found["pearson"]["value"] == pytest.approx(1)
    assert found["spearman"]["value"] == pytest.approx(1)
    assert found["mean difference"]["value"] == 1
    curved = [judged("A", [1, 1, 1, 1], [1.0, 1.1, 1.3, 10.0]), judged("B", [1], [10.0])]
    bent = agreement(one, curved, 100, 1)["knowledge"]
    assert bent["pearson"]["value"] < bent["spearman"]["value"] < 1


def test_only_turns_that_both_scored_count_and_the_table_says_how_many() -> None:
    one, two = [judged("A", [1, 0, None, 1])], [judged("A", [1, 0, 1, None])]
    found = agreement(one, two, 100, 1)
    assert found["consistency"]["same"]["value"] == 1
    assert (found["consistency"]["turns"], found["consistency"]["of"]) == (2, 4)
    assert "| consistency | same | 1.00 [1.00, 1.00] | 2 of 4 |" in markdown(found)


def test_knowledge_could_be_scored_where_either_file_expects_it_or_both_have_it() -> None:
    one, two = (replace(judged("A", [1, 1, 1], knowledge), labels=(0, 1, 1)) for knowledge in ([3, 4, None], [5, 6, 7]))
    found = agreement([one], [two], 100, 1)["knowledge"]
    assert (found["turns"], found["of"]) == (2, 2)


def test_sessions_under_one_persona_are_compared_in_their_order() -> None:
    one = [judged("A", [1, 0]), judged("A", [1, 1])]
    found = agreement(one, [judged("A", [1, 0]), judged("A", [0, 0])], 100, 1)["consistency"]
    assert (found["same"]["value"], found["turns"]) == (0.5, 4)


def test_without_variation_or_sessions_nothing_is_defined() -> None:
    one = [judged("A", [1, 1])]
    assert agreement(one, one, 100, 1)["consistency"]["kappa"]["value"] is None
    assert agreement(one, [judged("B", [1, 1])], 100, 1)["rejection"]["same"]["value"] is None
    assert "not defined" in markdown(agreement(one, [], 100, 1))


def test_runs_of_one_role_are_sessions_of_their_own() -> None:
    one = [judged("A", [1, 0]), judged("A", [1, 1], run=1)]
    two = [judged("A", [1, 0]), judged("A", [0, 0], run=1)]
    assert agreement(one, two, 100, 1)["consistency"]["same"]["value"] == 0.5
