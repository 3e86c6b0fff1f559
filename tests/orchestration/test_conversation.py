"""The talk in the terminal: commands, what the model is shown, and what a mistake leaves as it was."""

import io
import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from fixtures.answering import Answering

from ditto_core import configuration
from ditto_core.errors import InvalidInput
from ditto_core.generation.requests import Request
from ditto_core.records import Article, Character, Profile, Section
from flows.conversation import Screen, Talk


class Echo(Answering):
    """Answers with the last question, after a thought if it is asked to think; "?" fails, and "?!" is thought about for ever."""

    def reply(self, request: Request) -> str | None:
        said = request.messages[-1].content
        if said == "?":
            return None
        thought = {"Think": "<think>I am Ada.</think>\n\n", "?!": "<think>"}.get(said, "")
        return f"{thought}I hear {said}"


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


def test_a_template_without_a_system_role_gets_the_identity_in_the_first_turn_only(talk: Talk) -> None:
    talk.system_role = False
    talk.say("Hello")
    talk.say("Again")
    assert [message.role for message in talk.generator.asked[-1].messages] == ["user", "assistant", "user"]  # type: ignore[attr-defined]
    opening = f"{talk.system()}\n\nHello"
    assert shown(talk) == [opening, f"I hear {opening}", "Again"]


def test_what_the_model_thinks_is_neither_shown_nor_remembered_nor_saved(talk: Talk, tmp_path: Path) -> None:
    seen: list[str] = []
    talk.watch = seen.append
    assert talk.say("Think") == "Ada> I hear Think"
    for part in ("<think>I am", "<think>I am Ada.</think>\n\nI hear"):
        talk.generator.asked[-1].watch(part)  # type: ignore[attr-defined]
    assert seen == ["Ada> ", "Ada> I hear"]
    talk.say("Again")
    assert shown(talk)[1:] == ["Think", "I hear Think", "Again"]
    talk.say(f"/save {tmp_path / 'talk.jsonl'}")
    assert "think>" not in (tmp_path / "talk.jsonl").read_text("utf-8")


def test_answers_are_drawn_as_the_evaluation_draws_them() -> None:
    settings = configuration.load("demo", None, ("evaluation.temperature=0.7", "evaluation.top_p=0.8"))
    talk = Talk(settings, {"Ada": profile("Ada", "")}, Echo())
    talk.say("/role Ada")
    talk.say("Hello")
    sampling = talk.generator.asked[-1].sampling  # type: ignore[attr-defined]
    assert (sampling.temperature, sampling.top_p) == (0.7, 0.8)


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


@pytest.mark.parametrize(("knows_it", "answer"), [("false", "in one turn"), ("true", "in two messages")])
def test_the_seed_is_talked_to_as_its_template_allows(
    ditto: Callable[..., Any],
    main: Callable[..., tuple[str, str]],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    knows_it: str,
    answer: str,
) -> None:
    ditto("collect", tmp_path)
    lines = [{"match": r"\n\nHello$", "reply": "in one turn"}, {"match": r"\nHello$", "reply": "in two messages"}]
    script = tmp_path / "script.jsonl"
    script.write_text("".join(json.dumps(line) + "\n" for line in lines))
    settings = [f"generation.script={script}", "generation.engine=scripted", "knowledge.max_characters=6", "shards=3"]
    options = [word for setting in (*settings, f"evaluation.system_role={knows_it}") for word in ("--set", setting)]
    monkeypatch.setattr(sys, "stdin", io.StringIO("Hello\n\n"))
    place = ["--preset", "demo", "--data-root", str(tmp_path)]
    out, _ = main("chat", *place, *options, "--role", "Albert Einstein", "--model", "before")
    assert f"Albert Einstein> {answer}" in out


@pytest.mark.parametrize(
    ("line", "problem"),
    [
        pytest.param("/role Nobody", "there is no role 'Nobody'; there are 2, such as Ada, Bo", id="role"),
        pytest.param("/profile maybe", "expected on or off", id="profile"),
        pytest.param("/sing", "/role NAME", id="command"),
        pytest.param("/save", "name of a file", id="file"),
        pytest.param("?", "engine_unavailable", id="engine"),
        pytest.param("?!", "raise evaluation.max_answer_tokens", id="thought-without-an-end"),
    ],
)
def test_a_mistake_is_explained_and_leaves_the_talk_as_it_was(talk: Talk, line: str, problem: str) -> None:
    talk.say("Hello")
    with pytest.raises(InvalidInput, match=problem):
        talk.say(line)
    talk.say("Again")
    assert shown(talk)[1:] == ["Hello", "I hear Hello", "Again"]
