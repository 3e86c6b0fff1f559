"""Rows of the dataset: mixed, cut into sessions, with four candidates; the same rows whatever surrounds them."""

from collections.abc import Sequence

import hypothesis
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ditto_core import languages
from ditto_core.dataset import examples, filters
from ditto_core.dataset.candidates import Rings, candidates
from ditto_core.dataset.splits import split_of
from ditto_core.ledger import Ledger
from ditto_core.records import Article, Character, Dialogue, Example, Kind, Profile, Query, Turn
from ditto_core.settings import DatasetSettings

EN = languages.load("en")
SETTINGS = DatasetSettings(test_share=0.3, validation_share=0.2, turns_per_session=5, test_questions=4)
OTHERS = [(f"Q{n}", f"Name {n}", "Q5") for n in range(40)]


def rings(others: Sequence[tuple[str, str, str]]) -> Rings:
    return Rings(pa.table([list(column) for column in zip(*others, strict=True)], ["role", "label", "kind"]))


def assembled(
    dialogues: list[Dialogue], others: Sequence[tuple[str, str, str]] = OTHERS, settings: DatasetSettings = SETTINGS
) -> tuple[list[Example], Ledger]:
    ledger = Ledger()
    checks = filters.by_cues(EN, settings)
    return list(examples.assemble(dialogues, rings(others), EN, settings, checks, ledger)), ledger


def turn(number: int) -> Turn:
    kind: Kind = "contrastive" if number % 2 else "role_specific"
    answer = "I know nothing of it." if number % 2 else "I did."
    return Turn(Query("Q1", f"Q{number}", kind, f"Did you {number}?", "", (f"fact {number}",), "k"), answer, f"key {number}")


def dialogue(qid: str, turns: int) -> Dialogue:
    character = Character(qid, "en", "Q5", f"Name {qid[1:]}", "somebody", 1, "T")
    profile = Profile(character, Article("T", (), (), "7", "", "http://x", "CC0"), "S.")
    return Dialogue(profile, tuple(turn(number) for number in range(turns)))


def role_of(split: str, settings: DatasetSettings = SETTINGS) -> str:
    shares = {"validation_share": settings.validation_share, "test_share": settings.test_share}
    return next(qid for qid, _, _ in OTHERS if split_of(qid, **shares) == split)


@pytest.mark.parametrize(
    ("split", "turns", "sessions", "filtered"),
    [
        pytest.param("train", 12, [5, 5, 2], {}, id="as-many-as-the-turns-give"),
        pytest.param("validation", 5, [5], {}, id="exactly-one"),
        pytest.param("train", 11, [5, 5], {"too_few_turns": 1}, id="a-rest-that-is-too-short"),
        pytest.param("test", 12, [4], {"beyond_test_questions": 8}, id="one-for-a-test-role"),
        pytest.param("test", 1, [], {"too_few_turns": 1}, id="a-test-role-that-is-too-short"),
        pytest.param("train", 0, [], {}, id="nothing"),
    ],
)
def test_turns_are_cut_into_sessions(split: str, turns: int, sessions: list[int], filtered: dict[str, int]) -> None:
    settings = SETTINGS.model_copy(update={"min_turns": 2})
    rows, ledger = assembled([dialogue(role_of(split), turns)], settings=settings)
    ledger.check()
    assert [len(row.kinds) for row in rows] == sessions
    assert ledger.filtered == filtered
    assert {row.split for row in rows} <= {split}


def test_both_kinds_are_mixed_and_provenance_stays_beside_its_turn() -> None:
    rows, _ = assembled([dialogue(role_of("train"), 20)])
    assert all(len(set(row.kinds)) == 2 for row in rows)
    for row in rows:
        questions = [message.content for message in row.messages if message.role == "user"]
        numbers = [question.split()[2].rstrip("?") for question in questions]
        assert row.sources == tuple(f"Q{number}" for number in numbers)
        assert row.evidence == tuple((f"fact {number}",) for number in numbers)
        assert row.keys == tuple(f"key {number}" for number in numbers)
        assert [message.role for message in row.messages] == ["system", *["user", "assistant"] * len(questions)]


def test_a_role_has_the_same_rows_in_whatever_company() -> None:
    alone, _ = assembled([dialogue("Q1", 12)])
    crowd, _ = assembled([dialogue(f"Q{n}", 12) for n in (3, 1, 2)], OTHERS[::-1])
    assert alone == [row for row in crowd if row.role == "Q1"]


labels = st.lists(
    st.tuples(st.integers(1, 99).map("Q{}".format), st.sampled_from("ABCDEFGH"), st.sampled_from(["Q5", "Q15632617"])),
    min_size=1,
    max_size=30,
    unique_by=lambda other: other[0],
)


@hypothesis.settings(deadline=None)  # a busy machine is no failure
@given(labels)
def test_candidates_are_distinct_and_of_the_role_s_class_as_far_as_it_goes(others: list[tuple[str, str, str]]) -> None:
    role, label, kind = others[0]
    names = candidates(role, rings(others))
    same_class = {name for _, name, other in others if other == kind}
    everyone = {name for _, name, _ in others}
    assert label in names
    assert len(names) == len(set(names)) == min(4, len(everyone))
    assert len(same_class & set(names)) >= min(4, len(same_class))


def test_the_role_stands_at_every_place_among_its_candidates_equally_often() -> None:
    many = [(f"Q{n}", f"Name {n}", "Q5") for n in range(2000)]
    ring = rings(many)
    places = [candidates(qid, ring).index(label) for qid, label, _ in many]
    assert all(abs(places.count(place) / 2000 - 0.25) < 0.04 for place in range(4))
