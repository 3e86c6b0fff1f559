"""The request for an answer: the whole profile where it fits, else what the question retrieves."""

import json
from dataclasses import replace
from pathlib import Path

import pytest

from ditto_core import languages
from ditto_core.errors import RowFailed
from ditto_core.generation.requests import Completion
from ditto_core.generation.scripted import ScriptedGenerator
from ditto_core.knowledge.profiles import verbalise
from ditto_core.records import Article, Character, Claim, Message, Place, Profile, Section
from ditto_core.settings import GenerationSettings, SimulationSettings
from ditto_core.simulation import dialogues, responses

EN = languages.load("en")
SETTINGS = SimulationSettings(profile_tokens=60, evidence=2, max_response_tokens=77, temperature=0.4)


def count(text: str) -> int:
    return len(text.split())


def role(*life: str) -> Profile:
    sections = (Section("", "Ada was a writer."), Section("Life", " ".join(life)))
    claims = (Claim("P1", "friend", "Charles"),)
    character = Character("Q1", "en", "Q5", "Ada", "writer", 1, "Ada", (), claims)
    return Profile(character, Article("Ada", sections, (), "1", "", "", "CC0"), "")


SHORT = role("Ada had a cat.")
LONG = role(*(f"Ada visited town{n} by coach." for n in range(40)))


def test_the_request_is_the_profile_as_system_prompt_and_the_question() -> None:
    request = responses.request(SHORT, "Who are you?", EN, SETTINGS, count)
    shown = "Name: Ada\nDescription: writer\nfriend: Charles\n\nAbout\nAda was a writer.\n\nLife\nAda had a cat."
    system = EN.render("response_simulation", identity="You are Ada, writer.", profile=shown)
    assert request.messages == (Message("system", system), Message("user", "Who are you?"))
    assert (request.sampling.temperature, request.sampling.max_tokens, request.sample) == (0.4, 77, 0)


def test_a_profile_that_fits_is_the_same_for_every_question() -> None:
    made = responses.requests(SHORT, ["Your cat?", "Your friend?"], EN, SETTINGS, count)
    assert len({request.messages[0] for request in made}) == 1


def test_of_a_long_article_the_passages_that_the_question_retrieves_are_shown() -> None:
    request = responses.request(LONG, "What did you do in town33?", EN, SETTINGS, count)
    system = request.messages[0].content
    assert "Ada was a writer. Ada visited town33 by coach." in system
    assert "town39" not in system
    assert count(verbalise(LONG, EN, SETTINGS.profile_tokens, count)) <= SETTINGS.profile_tokens
    assert "town33" not in verbalise(LONG, EN, SETTINGS.profile_tokens, count)


def test_questions_asked_together_give_the_requests_that_they_give_alone() -> None:
    questions = [f"What did you do in town{n}?" for n in (33, 7, 33)]
    alone = [responses.request(LONG, question, EN, SETTINGS, count) for question in questions]
    assert responses.requests(LONG, questions, EN, SETTINGS, count) == alone


def test_a_long_profile_is_counted_once_for_all_questions() -> None:
    counted: list[str] = []

    def counting(text: str) -> int:
        counted.append(text)
        return count(text)

    responses.requests(LONG, ["Your friend?"] * 10, EN, SETTINGS, counting)
    assert len(counted) <= len(set(counted)) + 1


def test_a_role_without_questions_costs_no_request() -> None:
    assert responses.requests(LONG, [], EN, SETTINGS, count) == []


@pytest.mark.parametrize(
    ("text", "repeats"),
    [
        pytest.param("I swam in the sea. " * 4, True, id="sentence-four-times"),
        pytest.param("I swam in the sea. " * 3, False, id="three-times-is-style"),
        pytest.param("Ha! " * 30, True, id="short-passages-in-long-runs"),
        pytest.param("No, no, no, no, no!", False, id="short-run"),
        pytest.param("", False, id="empty"),
    ],
)
def test_going_round_in_circles_is_seen(text: str, repeats: bool) -> None:
    assert responses.repeats_itself(text) is repeats


def test_an_answer_is_kept_as_it_is_but_for_the_space_around_it() -> None:
    assert responses.check(Completion("k", "\n I can't say; it is foreign to me. ", "stop"), EN) == (
        "I can't say; it is foreign to me."
    )


@pytest.mark.parametrize(
    "thought",
    [
        pytest.param("<think>The profile says London.</think>\n", id="whole"),
        pytest.param("As an AI I look it up: London.</think>\n", id="opened-in-the-prompt"),
    ],
)
def test_an_answer_is_what_follows_the_thought(thought: str) -> None:
    assert responses.check(Completion("k", f"{thought}In London.", "stop"), EN) == "In London."


@pytest.mark.parametrize(
    ("text", "finish_reason", "reason"),
    [
        pytest.param("<think>In London, I", "stop", "only_thought", id="without-end"),
        pytest.param("<think>In London.</think>\n", "stop", "only_thought", id="nothing-after"),
        pytest.param("<think>In London, I", "length", "cut", id="cut"),
    ],
)
def test_a_thought_alone_is_no_answer_and_is_kept_in_the_ledger(text: str, finish_reason: str, reason: str) -> None:
    with pytest.raises(RowFailed) as caught:
        responses.check(Completion("k", text, finish_reason), EN)
    assert (caught.value.reason, caught.value.raw) == (reason, text.strip())


def test_a_role_without_a_usable_answer_is_noted_and_its_losses_are_counted(tmp_path: Path) -> None:
    script = tmp_path / "script.jsonl"
    lines = [
        {"match": "Reply with a JSON list", "reply": '["Did you sail?", "Did you ride?", "Did you fly?"]'},
        {"match": "You are Ada", "reply": "I did, in May."},
        {"match": "You are Bob", "reply": "As an AI I", "finish_reason": "length"},
    ]
    script.write_text("".join(json.dumps(line) + "\n" for line in lines))
    bob = replace(SHORT, character=replace(SHORT.character, qid="Q2", label="Bob", description="sailor"))
    places = [Place("Q1", "Ada", "Q5", 0, "", ("Q2",), ()), Place("Q2", "Bob", "Q5", 0, "", (), ("Q1",))]
    places.append(Place("Q3", "Cid", "Q5", 0, "", (), ()))
    generator = ScriptedGenerator(GenerationSettings(script=str(script)))
    profiles = {"Q1": SHORT, "Q2": bob, "Q3": SHORT}
    result = dialogues.simulate(places, profiles, generator, EN, SETTINGS, lambda done, lost: None)
    result.ledger.check()
    assert [dialogue.profile.character.label for dialogue in result.dialogues] == ["Ada"]
    assert result.ledger.failed == {"response_cut": 3}
    assert result.ledger.notes == {"no_turns": 2}
