"""The talk in the terminal: commands, what the model is shown, and what a mistake leaves as it was."""

import json
from pathlib import Path

import pytest
from fixtures.answering import Answering

from ditto_core import configuration
from ditto_core.errors import InvalidInput
from ditto_core.generation.requests import Request
from ditto_core.records import Article, Character, Profile, Section
from flows.conversation import Screen, Talk


class Echo(Answering):
    """Answers with the last question; "?" fails."""

    def reply(self, request: Request) -> str | None:
        said = request.messages[-1].content
        return None if said == "?" else f"I hear {said}"


def profile(label: str, memory: str) -> Profile:
    character = Character("Q1", "en", "Q5", label, "a person of this test", 1, label)
    return Profile(character, Article(label, (Section("", memory),), (), "1", "", "", ""), memory)


@pytest.fixture
def talk() -> Talk:
    roles = {"Ada": profile("Ada", "She wrote the first program."), "Bo": profile("Bo", "He kept bees.")}
    made = Talk(configuration.load("demo"), roles, Echo())
    made.say("/role Ada")
    return made


def shown(talk: Talk) -> list[str]:
    assert isinstance(talk.generator, Echo)
    return [message.content for message in talk.generator.asked[-1].messages]


def test_the_model_sees_the_identity_and_the_talk_so_far_but_no_profile(talk: Talk) -> None:
    assert talk.say("Hello") == "Ada> I hear Hello"
    talk.say("Again")
    assert shown(talk)[1:] == ["Hello", "I hear Hello", "Again"]
    assert "Ada" in shown(talk)[0]
    assert "first program" not in shown(talk)[0]


def test_the_profile_can_be_shown_and_taken_away(talk: Talk) -> None:
    talk.say("/profile on")
    talk.say("Hello")
    assert "She wrote the first program." in shown(talk)[0]
    talk.say("/profile off")
    talk.say("Hello")
    assert "first program" not in shown(talk)[0]


def test_an_answer_is_read_while_it_is_written(talk: Talk, capsys: pytest.CaptureFixture[str]) -> None:
    screen = Screen()
    talk.watch = screen.grow
    said = talk.say("Hello")
    watch = talk.generator.asked[-1].watch  # type: ignore[attr-defined]
    for part in ("I", "I hear\ufffd", "I hear"):
        watch(part)
    assert capsys.readouterr().out == "Ada> I hear"
    assert screen.rest(said) == " Hello"
    screen.grow("Ada> I saw")
    assert screen.rest(said) == f"\n{said}", "an engine that began anew has said something else"


def test_another_role_begins_a_new_talk(talk: Talk) -> None:
    talk.say("Hello")
    talk.say("/role Bo")
    assert talk.say("Who?") == "Bo> I hear Who?"
    assert shown(talk)[1:] == ["Who?"]


def test_a_talk_is_saved_as_a_row_of_messages(talk: Talk, tmp_path: Path) -> None:
    talk.say("Hello")
    talk.say(f"/save {tmp_path / 'talk.jsonl'}")
    row = json.loads((tmp_path / "talk.jsonl").read_text("utf-8"))
    assert [message["role"] for message in row["messages"]] == ["system", "user", "assistant"]


@pytest.mark.parametrize(
    ("line", "problem"),
    [
        pytest.param("/role Nobody", "there is no role 'Nobody'; there are 2, such as Ada, Bo", id="role"),
        pytest.param("/profile maybe", "expected on or off", id="profile"),
        pytest.param("/sing", "/role NAME", id="command"),
        pytest.param("/save", "name of a file", id="file"),
        pytest.param("?", "engine_unavailable", id="engine"),
    ],
)
def test_a_mistake_is_explained_and_leaves_the_talk_as_it_was(talk: Talk, line: str, problem: str) -> None:
    talk.say("Hello")
    with pytest.raises(InvalidInput, match=problem):
        talk.say(line)
    talk.say("Again")
    assert shown(talk)[1:] == ["Hello", "I hear Hello", "Again"]
