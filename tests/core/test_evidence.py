"""Evidence by BM25: facts that share words with the question, best first."""

import pytest

from ditto_core.simulation import evidence

FACTS = ["friend: Charles Babbage", "pet: Puff", "Ada lived in London.", "", "Ada wrote to Charles about the engine of Charles."]


@pytest.mark.parametrize(
    ("question", "facts", "expected"),
    [
        pytest.param("What was your pet?", FACTS, ("pet: Puff",), id="one-word"),
        pytest.param("PET!", FACTS, ("pet: Puff",), id="case-and-punctuation"),
        pytest.param("Zebra?", FACTS, (), id="no-word-shared"),
        pytest.param("?!", FACTS, (), id="no-word-at-all"),
        pytest.param("Pet?", [], (), id="no-facts"),
        pytest.param("Pet?", ["", "…"], (), id="facts-without-words"),
        pytest.param("你住在哪里", ["朋友: 查尔斯", "住所: 伦敦"], ("住所: 伦敦",), id="chinese"),
        pytest.param("런던?", ["친구: 찰스", "집: 런던"], ("집: 런던",), id="korean"),
    ],
)
def test_only_facts_that_share_a_word_are_evidence(question: str, facts: list[str], expected: tuple[str, ...]) -> None:
    assert evidence.choose(question, facts, 3) == expected


def test_the_fact_that_is_most_about_the_question_comes_first() -> None:
    assert evidence.choose("Which engine of Charles?", FACTS, 2) == (FACTS[4], FACTS[0])


def test_ties_keep_the_order_of_the_facts() -> None:
    assert evidence.choose("pet", ["pet: Puff", "pet: Rex", "boat: Vega"], 2) == ("pet: Puff", "pet: Rex")


def test_an_index_answers_as_a_fresh_one_does_and_prints_nothing(capfd: pytest.CaptureFixture[str]) -> None:
    index = evidence.Index(FACTS)
    for question in ("Charles?", "London?", "Zebra?", "Charles?"):
        assert index.choose(question, 2) == evidence.choose(question, FACTS, 2)
    assert capfd.readouterr() == ("", "")
