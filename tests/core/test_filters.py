"""Filters of turns: each has a name, and test sessions are not filtered."""

import pytest

from ditto_core import languages
from ditto_core.dataset import filters
from ditto_core.records import Kind, Query, Turn

EN = languages.load("en")


def turn(kind: Kind, answer: str) -> Turn:
    return Turn(Query("Q1", "Q1", kind, "Did you?", "", (), "k"), answer, "a")


@pytest.mark.parametrize(
    ("kind", "answer", "reason"),
    [
        pytest.param("role_specific", "I met Charles.", None, id="own-answered"),
        pytest.param("role_specific", "I have never heard of it.", "refused_own_question", id="own-refused"),
        pytest.param("contrastive", "I don’t know such a thing.", None, id="foreign-refused"),
        pytest.param("contrastive", "I sailed there.", "answered_foreign_question", id="foreign-answered"),
        pytest.param("role_specific", "As an AI I met Charles.", "assistant_speak", id="assistant"),
        pytest.param("contrastive", "As an AI I do not know.", "assistant_speak", id="assistant-comes-first"),
        pytest.param("role_specific", "The profile says Charles.", "profile_talk", id="profile"),
    ],
)
def test_a_turn_is_left_out_under_the_first_name_that_fits(kind: Kind, answer: str, reason: str | None) -> None:
    assert filters.rejection(turn(kind, answer), EN) == reason


@pytest.mark.parametrize(
    ("one", "other", "same"),
    [
        ("Did you see it?", "did you  see it", True),
        ("“Did you see it?”", "Did you, see it!", True),
        ("Did you see it?", "Did you see him?", False),
        ("你见过他吗？", "你见过他吗", True),
    ],
)
def test_duplicates_are_seen_through_case_punctuation_and_spacing(one: str, other: str, same: bool) -> None:
    assert (filters.normalised(one) == filters.normalised(other)) is same
