import json
from pathlib import Path

import pytest

from ditto_core.errors import InvalidInput
from ditto_core.generation.generator import estimate_tokens
from ditto_core.generation.requests import Completion, Failure, Request, Sampling
from ditto_core.generation.scripted import ScriptedGenerator
from ditto_core.records import Message
from ditto_core.settings import GenerationSettings


def engine(folder: Path, *lines: dict[str, object] | str) -> ScriptedGenerator:
    path = folder / "script.jsonl"
    path.write_text("\n".join(line if isinstance(line, str) else json.dumps(line) for line in lines))
    return ScriptedGenerator(GenerationSettings(engine="scripted", script=str(path)))


def ask(text: str, system: str = "You are Ada, a poet.") -> Request:
    return Request((Message("system", system), Message("user", text)), Sampling())


def test_the_first_line_whose_regex_is_found_answers_with_its_groups_filled_in(tmp_path: Path) -> None:
    script = engine(
        tmp_path,
        {"match": r"You are (?P<who>\w+),.*smartphone", "reply": r"I am \g<who>; a\nwhat?"},
        {"match": "smartphone", "reply": "never reached"},
        {"match": "born", "reply": "In Lon", "finish_reason": "length"},
    )
    first, second = script.generate([ask("Which smartphone?"), ask("When were you born?")])
    assert isinstance(first, Completion)
    assert first.text == r"I am Ada; a\nwhat?"
    assert isinstance(second, Completion)
    assert (second.text, second.finish_reason) == ("In Lon", "length")
    assert [request.messages[1].content for request in script.asked] == ["Which smartphone?", "When were you born?"]


def test_a_prompt_that_no_line_matches_fails_by_name(tmp_path: Path) -> None:
    (outcome,) = engine(tmp_path, {"match": "x", "reply": "y"}).generate([ask("hello")])
    assert isinstance(outcome, Failure)
    assert outcome.reason == "no_scripted_reply"


def test_equal_requests_are_answered_once(tmp_path: Path) -> None:
    script = engine(tmp_path, {"match": "", "reply": "y"})
    assert len(list(script.generate([ask("a"), ask("a"), ask("b")]))) == 2


def test_another_script_is_another_model(tmp_path: Path) -> None:
    one = engine(tmp_path, {"match": "", "reply": "y"}).identity
    assert one != engine(tmp_path, {"match": "", "reply": "z"}).identity


@pytest.mark.parametrize(
    "line",
    [
        pytest.param("{", id="not JSON"),
        pytest.param({"match": "x"}, id="no reply"),
        pytest.param({"match": "x", "reply": "y", "note": "z"}, id="unknown key"),
        pytest.param({"match": "(", "reply": "y"}, id="bad regex"),
        pytest.param({"match": "x", "reply": r"\g<1>"}, id="no such group"),
    ],
)
def test_a_bad_line_is_named_by_its_number(tmp_path: Path, line: dict[str, object] | str) -> None:
    with pytest.raises(InvalidInput, match=r"script\.jsonl:2"):
        engine(tmp_path, {"match": "a", "reply": "b"}, line)


def test_a_missing_script_is_the_users_mistake(tmp_path: Path) -> None:
    with pytest.raises(InvalidInput, match=r"generation.script"):
        ScriptedGenerator(GenerationSettings(engine="scripted", script=str(tmp_path / "none")))


@pytest.mark.parametrize(("text", "tokens"), [("", 0), ("ab", 1), ("abcd", 2), ("诗人", 2), ("a诗", 2)])
def test_the_estimate_counts_three_ascii_characters_or_one_other_as_a_token(text: str, tokens: int) -> None:
    assert estimate_tokens(text) == tokens
