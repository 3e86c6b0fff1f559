"""Formats of other trainers: our rows go out and come back as they were, and theirs come in as conversations."""

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ditto_core.dataset import formats
from ditto_core.errors import RowFailed
from ditto_core.records import Example, Message
from ditto_core.settings import DatasetSettings

SETTINGS = DatasetSettings()
BASE = Example(
    messages=(
        Message("system", "You are Ada."),
        Message("user", "Who?"),
        Message("assistant", "Ada."),
        Message("user", "Why?"),
        Message("assistant", "No idea."),
    ),
    split="validation",
    role="Q7259",
    language="zh",
    label="Ada",
    description="",
    kind="Q5",
    kinds=("role_specific", "contrastive"),
    sources=("Q7259", "Q1"),
    evidence=(("friend: Charles",), ()),
    candidates=("Ada", "Bob", "Cid", "Dot"),
    keys=("k", "l"),
    summary="A summary.",
    claims=("friend: Charles",),
    aliases=("Augusta",),
    title="Ada",
    revision="7",
    url="https://en.example.org/wiki/Ada",
    licence="CC BY-SA 4.0",
)
TURNS = [("user", "Who?"), ("assistant", "Ada."), ("user", "Why?"), ("assistant", "No idea.")]


@pytest.mark.parametrize("form", formats.FORMS)
@given(st.lists(st.text(min_size=1).filter(str.strip), min_size=2, max_size=6).filter(lambda texts: len(texts) % 2 == 0))
@settings(deadline=None)
def test_a_row_of_ours_comes_back_as_it_was(form: formats.Form, texts: list[str]) -> None:
    from dataclasses import replace

    said = tuple(Message("assistant" if place % 2 else "user", text) for place, text in enumerate(texts))
    turns = len(texts) // 2
    row = replace(
        BASE,
        messages=(BASE.messages[0], *said),
        kinds=("contrastive",) * turns,
        sources=("Q1",) * turns,
        evidence=((),) * turns,
        keys=("k",) * turns,
    )
    assert formats.read(formats.write(row, form), "en", SETTINGS) == row


def test_the_forms_are_those_that_other_trainers_read() -> None:
    sharegpt, alpaca = (formats.write(BASE, form) for form in formats.FORMS)
    assert sharegpt["conversations"][:2] == [{"from": "system", "value": "You are Ada."}, {"from": "human", "value": "Who?"}]
    assert {name: value for name, value in alpaca.items() if name != "ditto"} == {
        "system": "You are Ada.",
        "history": [["Who?", "Ada."]],
        "instruction": "Why?",
        "input": "",
        "output": "No idea.",
    }


@pytest.mark.parametrize(
    ("line", "system"),
    [
        pytest.param({"messages": [{"role": role, "content": text} for role, text in TURNS]}, "", id="messages"),
        pytest.param(
            {"conversations": [{"from": {"user": "human"}.get(role, "gpt"), "value": text} for role, text in TURNS]},
            "",
            id="sharegpt",
        ),
        pytest.param(
            {"conversations": [{"from": role, "value": text} for role, text in TURNS], "system": "You are Bob."},
            "You are Bob.",
            id="sharegpt-with-a-system-field",
        ),
        pytest.param(
            {"instruction": "Why?", "input": "", "output": "No idea.", "system": "You are Bob.", "history": [["Who?", "Ada."]]},
            "You are Bob.",
            id="alpaca",
        ),
    ],
)
def test_a_row_from_elsewhere_is_a_conversation_whose_system_line_is_its_role(line: dict[str, Any], system: str) -> None:
    row = formats.read(line, "ko", SETTINGS)
    assert [(m.role, m.content) for m in row.messages if m.role != "system"] == TURNS
    assert [m.content for m in row.messages if m.role == "system"] == ([system] if system else [])
    assert row.language == "ko"
    assert len(row.kinds) == len(row.sources) == len(row.evidence) == len(row.keys) == 2
    changed = {"conversations": [{"from": "system", "value": system}, *({"from": r, "value": f"{t}!"} for r, t in TURNS)]}
    if system:
        assert formats.read(changed, "en", SETTINGS).role == row.role


def test_an_instruction_with_input_is_one_question() -> None:
    row = formats.read({"instruction": "Translate.", "input": "Zoë", "output": "Zoe"}, "en", SETTINGS)
    assert row.messages[0] == Message("user", "Translate.\nZoë")


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        pytest.param({"text": "Who?"}, "unknown_form", id="another-form"),
        pytest.param({"conversations": "Who?"}, "malformed", id="a-text-for-a-list"),
        pytest.param({"conversations": [{"from": "nobody", "value": "Who?"}]}, "malformed", id="an-unknown-speaker"),
        pytest.param({"conversations": []}, "no_conversation", id="nothing"),
        pytest.param({"conversations": [{"from": "human", "value": "Who?"}]}, "no_conversation", id="no-answer"),
        pytest.param({"messages": [{"role": "assistant", "content": "Ada."}]}, "no_conversation", id="no-question"),
        pytest.param({"instruction": "Who?", "output": " "}, "empty_message", id="an-empty-answer"),
        pytest.param({"instruction": "Who?", "output": None}, "empty_message", id="a-null-answer"),
        pytest.param({"instruction": "Who?", "output": "A.", "ditto": {"kinds": 3}}, "malformed", id="damaged-provenance"),
        pytest.param({"instruction": "Who?", "output": "A.", "ditto": {"split": "train"}}, "malformed", id="half-provenance"),
    ],
)
def test_a_row_that_is_no_conversation_fails_by_name(line: dict[str, Any], reason: str) -> None:
    with pytest.raises(RowFailed) as caught:
        formats.read(line, "en", SETTINGS)
    assert caught.value.reason == reason
