"""Formats: rows of the dataset as other trainers read them, and their rows as ours.

Input and output: an `Example`, or one object of a JSON Lines file:
    sharegpt    {"conversations": [{"from": "system" | "human" | "gpt", "value": text}, ...]}
    alpaca      {"system": text, "history": [[question, answer], ...], "instruction": last question, "input": "", "output": text}
    messages    {"messages": [{"role": "system" | "user" | "assistant", "content": text}, ...]}
Source:  the files that axolotl, LLaMA-Factory and TRL read.

Example: {"conversations": [{"from": "human", "value": "Who?"}, {"from": "gpt", "value": "Ada, sir."}], "ditto": {...}}

What these formats have no field for is kept under "ditto", which others pass over, so our own files come back as they were. A row
from elsewhere has no role: its system line stands for it, so that one character is never on two sides of the split.
"""

from collections.abc import Callable, Mapping
from typing import Any, Literal, get_args

import pyarrow as pa

from ditto_core.dataset.splits import split_of
from ditto_core.errors import RowFailed
from ditto_core.recipe import digest
from ditto_core.records import Example, Kind, Message, Split, from_table, schema, to_table
from ditto_core.settings import DatasetSettings

Form = Literal["sharegpt", "alpaca"]
FORMS: tuple[Form, ...] = get_args(Form)

FIELDS = frozenset({"messages", "conversations", "system", "instruction", "input", "output", "history"})
"""Of a row from elsewhere: what `read` looks at."""

_SPEAKERS = {
    "system": "system",
    "human": "user",
    "user": "user",
    "gpt": "assistant",
    "chatgpt": "assistant",
    "bot": "assistant",
    "assistant": "assistant",
}
_NAMES = {"system": "system", "user": "human", "assistant": "gpt"}


def write(example: Example, form: Form) -> dict[str, Any]:
    """A row as an object of that form."""
    (plain,) = to_table(Example, [example]).to_pylist()
    messages = plain.pop("messages")
    if form == "sharegpt":
        turns = [{"from": _NAMES[message["role"]], "value": message["content"]} for message in messages]
        return {"conversations": turns, "ditto": plain}
    system = messages[0]["content"] if messages and messages[0]["role"] == "system" else ""
    said = [message["content"] for message in messages if message["role"] != "system"]
    pairs = [list(pair) for pair in zip(said[::2], said[1::2], strict=True)]
    question, answer = pairs.pop() if pairs else ("", "")
    return {"system": system, "history": pairs, "instruction": question, "input": "", "output": answer, "ditto": plain}


def read(line: Mapping[str, Any], language: str, settings: DatasetSettings) -> Example:
    """An object of any of the forms as a row.

    Args:
        language: Of a row that does not say its own.
        settings: Shares of the splits, for a row that is in none.

    Raises:
        RowFailed: It has none of the forms, or is no conversation that ends with an answer.
    """
    messages = _messages(line)
    own = line.get("ditto")
    if isinstance(own, dict):
        return _ours(messages, own)
    return _foreign(messages, language, settings)


def _messages(line: Mapping[str, Any]) -> list[dict[str, str]]:
    for field, convert in _READERS.items():
        if field in line:
            try:
                return _checked(convert(line))
            except (KeyError, TypeError, ValueError, AttributeError) as error:
                raise RowFailed("malformed", f"the field {field!r} has another form than expected: {error!r}") from error
    raise RowFailed("unknown_form", f"expected one of {', '.join(_READERS)}; found {', '.join(sorted(map(str, line)))[:200]}")


def _from_sharegpt(line: Mapping[str, Any]) -> list[dict[str, str]]:
    messages = [{"role": _SPEAKERS[turn["from"]], "content": turn["value"]} for turn in line["conversations"]]
    if line.get("system") and messages[0]["role"] != "system":
        messages.insert(0, {"role": "system", "content": line["system"]})
    return messages


def _from_alpaca(line: Mapping[str, Any]) -> list[dict[str, str]]:
    question = "\n".join(part for part in (line["instruction"], line.get("input") or "") if part)
    messages = [{"role": "system", "content": line["system"]}] if line.get("system") else []
    for asked, answered in [*(line.get("history") or []), (question, line["output"])]:
        messages += [{"role": "user", "content": asked}, {"role": "assistant", "content": answered}]
    return messages


def _from_messages(line: Mapping[str, Any]) -> list[dict[str, str]]:
    return [{"role": message["role"], "content": message["content"]} for message in line["messages"]]


_READERS: Mapping[str, Callable[[Mapping[str, Any]], list[dict[str, str]]]] = {
    "messages": _from_messages,
    "conversations": _from_sharegpt,
    "instruction": _from_alpaca,
}
"""Field by which a form is known -> its reader."""


def _checked(messages: list[dict[str, str]]) -> list[dict[str, str]]:
    """A conversation: perhaps a system line, then question and answer by turns."""
    said = messages[1:] if messages and messages[0]["role"] == "system" else messages
    roles = [message["role"] for message in said]
    if not roles or roles != ["user", "assistant"] * (len(roles) // 2):
        raise RowFailed("no_conversation", f"expected questions and answers by turns, an answer last; found {roles[:6]}")
    if not all(isinstance(message["content"], str) and message["content"].strip() for message in said):
        raise RowFailed("empty_message", "expected a text in every message")
    return messages


def _ours(messages: list[dict[str, str]], provenance: Mapping[str, Any]) -> Example:
    try:
        table = pa.Table.from_pylist([{"messages": messages, **provenance}], schema=schema(Example))
        (example,) = from_table(Example, table)
    except (pa.ArrowException, TypeError, ValueError) as error:
        raise RowFailed("malformed", f"the field 'ditto' is not what this version writes: {error}") from error
    if example.split not in get_args(Split) or len(example.kinds) != sum(m.role == "assistant" for m in example.messages):
        raise RowFailed("malformed", "the field 'ditto' does not fit the messages")
    return example


def _foreign(messages: list[dict[str, str]], language: str, settings: DatasetSettings) -> Example:
    system = messages[0]["content"] if messages[0]["role"] == "system" else ""
    role = f"imported-{digest(system or messages)[:12]}"
    turns = sum(message["role"] == "assistant" for message in messages)
    kind: Kind = "role_specific"
    return Example(
        messages=tuple(Message(**message) for message in messages),  # type: ignore[arg-type]
        split=split_of(role, validation_share=settings.validation_share, test_share=settings.test_share),
        role=role,
        language=language,
        label="",
        description="",
        kind="",
        kinds=(kind,) * turns,
        sources=(role,) * turns,
        evidence=((),) * turns,
        candidates=(),
        keys=("",) * turns,
        summary="",
        claims=(),
        aliases=(),
        title="",
        revision="",
        url="",
        licence="",
    )
