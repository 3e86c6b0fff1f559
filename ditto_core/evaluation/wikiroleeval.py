"""WikiRoleEval's files: the authors' JSON Lines, from and to our records.

Input and output, as text (the caller opens files), one JSON object a line:
    test file        `Example`s: system, prompts, ref_messages, role_consist_cands, rejection_labels, evidence, meta
    prediction file  `Prediction`s: the same and `messages`, a chat of system, user and assistant turns
    judged file      `Prediction`s and `Judgement`s: the same and consist_scores, reject_scores, knowledge_scores
Source:  arXiv 2401.12474, section 4, and the fields that github.com/OFA-Sys/Ditto documents.

Example (shortened):
    {"system": "You are Marie Curie, physicist.", "prompts": ["Which metal did you name?"], "rejection_labels": [0],
     "role_consist_cands": ["Marie Curie", "Athena", "Bob Marley", "Ada Lovelace"],
     "evidence": ["- notable work: polonium"], "ref_messages": [...], "type": "role_play", "source": "ditto",
     "meta": {"label": "Marie Curie", "lang": "en", "rejection_labels": [0], "wiki": {...}, "ditto": {...}, ...}}

What their format has no field for is kept under meta.ditto, so our own files come back as they were. The labels may be
spelt "rejection_labels" or "rejection labels", and every field but system and prompts may sit under meta. A line that
cannot be used is a loss with a name and its raw text in the ledger; the other lines are read.
"""

import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict
from typing import Any, TypeVar

from ditto_core.errors import RowFailed
from ditto_core.evaluation.sessions import prompts
from ditto_core.ledger import Ledger
from ditto_core.records import Example, Judgement, Kind, Message, Prediction, Vote

Row = TypeVar("Row")
Line = Mapping[str, Any]

_SPLITS = ("train", "validation", "test")


def write_test(examples: Iterable[Example]) -> str:
    """The test file of these sessions."""
    return _lines(_from_example(example) for example in examples)


def write_predictions(predictions: Iterable[Prediction]) -> str:
    """The prediction file of these sessions."""
    return _lines(_from_prediction(prediction) for prediction in predictions)


def write_judged(judged: Iterable[tuple[Prediction, Judgement]]) -> str:
    """The judged file; an unscored turn is null."""
    return _lines(_from_judged(prediction, judgement) for prediction, judgement in judged)


def read_test(text: str) -> tuple[list[Example], Ledger]:
    """The sessions of a test file."""
    return _read(text, _to_example)


def read_predictions(text: str, model: str) -> tuple[list[Prediction], Ledger]:
    """The sessions of a prediction file.

    Args:
        text: The file.
        model: Name of the model where the file gives none.
    """
    return _read(text, lambda line: _to_prediction(line, model))


def read_judged(text: str, model: str, judge: str) -> tuple[list[tuple[Prediction, Judgement]], Ledger]:
    """The sessions of a judged file, with their verdicts.

    Args:
        text: The file.
        model: Name of the model where the file gives none.
        judge: Name of the judge where the file gives none.
    """
    return _read(text, lambda line: _to_judged(line, model, judge))


def read_lines(text: str) -> tuple[list[Line], Ledger]:
    """The objects of a file of any of the three kinds, as they stand."""
    return _read(text, lambda line: line)


def released_scores(judged: Iterable[Line]) -> dict[str, dict[str, float | None]]:
    """The published averages of judged lines, to compare with the paper (section 4): plain means, no intervals.

    Consistency and knowledge are means over all turns of all kinds, without null and, for knowledge, 0. Rejection is
    the share of turns where the score equals the label. Unlike in `scores`, an unscored rejection counts as wrong, as
    published.

    Args:
        judged: Objects of a judged file, as `read_lines` gives them.

    Returns:
        "all" and each language -> metric -> mean, rounded to 2 decimals.

    Raises:
        RowFailed: A line is no judged line.
    """
    turns: dict[str, dict[str, list[float]]] = {"all": {"consistency": [], "knowledge": [], "rejection": []}}
    for line in judged:
        rejections = zip(_list(line, "reject_scores"), _labels(line), strict=False)
        values = {
            "consistency": [float(score) for score in _list(line, "consist_scores") if score is not None],
            "knowledge": [float(score) for score in _list(line, "knowledge_scores") if score],
            "rejection": [float(score == label) for score, label in rejections],
        }
        for language in ("all", _text(line, "lang")):
            for metric, found in values.items():
                turns.setdefault(language, {}).setdefault(metric, []).extend(found)
    return {
        language: {metric: round(sum(found) / len(found), 2) if found else None for metric, found in metrics.items()}
        for language, metrics in turns.items()
    }


def _lines(rows: Iterable[Line]) -> str:
    return "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows)


def _read(text: str, convert: Callable[[Line], Row]) -> tuple[list[Row], Ledger]:
    """Every line through `convert`. Splits at newlines alone: other line separators may stand inside a string."""
    rows: list[Row] = []
    ledger = Ledger()
    for number, raw in enumerate(text.removeprefix("\ufeff").split("\n"), start=1):
        if not raw.strip():
            continue
        ledger.inputs += 1
        try:
            rows.append(convert(_parse(raw)))
            ledger.ok += 1
        except RowFailed as error:
            ledger.fail(f"line {number}", RowFailed(error.reason, "the line cannot be used", raw=raw))
    return rows, ledger


def _parse(raw: str) -> Line:
    try:
        line = json.loads(raw)
    except (ValueError, RecursionError) as error:
        raise RowFailed("not_json", str(error)) from error
    if not isinstance(line, dict):
        raise RowFailed("not_an_object", f"expected a JSON object, found {type(line).__name__}")
    return line


def _from_example(example: Example) -> dict[str, Any]:
    labels = [int(kind == "contrastive") for kind in example.kinds]
    claims = [claim.split(": ", 1) for claim in example.claims]
    content = {"idx": example.title, "title": example.title, "content": example.summary}
    system = example.messages[:1] if example.messages and example.messages[0].role == "system" else ()
    return {
        "system": system[0].content if system else "",
        "prompts": list(prompts(example)),
        "ref_messages": _chat(example.messages),
        "role_consist_cands": list(example.candidates),
        "rejection_labels": labels,
        "evidence": [_markdown(facts) for facts in example.evidence],
        "type": "role_play",
        "source": "ditto",
        "meta": {
            "label": example.label,
            "description": example.description,
            "aliases": list(example.aliases),
            "wiki_title": example.title,
            "claims": claims,
            "trans_claims": claims,
            "category": example.kind,
            "lang": example.language,
            "summary": example.summary,
            "rejection_labels": labels,
            "wiki": content,
            "ditto": {
                "split": example.split,
                "role": example.role,
                "sources": list(example.sources),
                "keys": list(example.keys),
                "revision": example.revision,
                "url": example.url,
                "licence": example.licence,
            },
        },
    }


def _from_prediction(prediction: Prediction) -> dict[str, Any]:
    line = _from_example(prediction.example)
    messages = [{"role": "system", "content": line["system"]}]
    for question, answer in zip(line["prompts"], prediction.answers, strict=True):
        messages += [{"role": "user", "content": question}, {"role": "assistant", "content": answer}]
    ours = {"model": prediction.model, "run": prediction.run, "failures": list(prediction.failures)}
    meta = line["meta"] | {"ditto": line["meta"]["ditto"] | ours}
    return line | {"messages": messages, "meta": meta}


def _from_judged(prediction: Prediction, judgement: Judgement) -> dict[str, Any]:
    line = _from_prediction(prediction)
    ours = {"judge": judgement.judge, "votes": [[asdict(vote) for vote in votes] for votes in judgement.votes]}
    return line | {
        "consist_scores": [_whole(score) for score in judgement.consistency],
        "reject_scores": [_whole(score) for score in judgement.rejection],
        "knowledge_scores": [_whole(score) for score in judgement.knowledge],
        "meta": line["meta"] | {"ditto": line["meta"]["ditto"] | ours},
    }


def _to_example(line: Line) -> Example:
    questions = _strings(_list(line, "prompts"), "prompts")
    if not questions:
        raise RowFailed("no_prompts", "expected at least one prompt")
    labels = _even("rejection_labels", _labels(line), questions)
    kinds: tuple[Kind, ...] = tuple("contrastive" if label else "role_specific" for label in labels)
    label, ours = _text(line, "label"), _ours(line)
    role = str(ours.get("role") or label)
    sources = ours.get("sources") or [role if kind == "role_specific" else "" for kind in kinds]
    return Example(
        messages=_messages(line, questions),
        split=ours["split"] if ours.get("split") in _SPLITS else "test",
        role=role,
        language=_text(line, "lang"),
        label=label,
        description=_text(line, "description", ""),
        kind=_text(line, "category", ""),
        kinds=kinds,
        sources=tuple(_even("sources", _strings(sources, "sources"), questions)),
        evidence=tuple(_facts(item) for item in _even("evidence", _list(line, "evidence"), questions)),
        candidates=_strings(_list(line, "role_consist_cands"), "role_consist_cands"),
        keys=tuple(_even("keys", _strings(ours.get("keys") or [""] * len(kinds), "keys"), questions)),
        summary=_text(line, "summary", ""),
        claims=_claims(line),
        aliases=_strings(_list(line, "aliases", ()), "aliases"),
        title=_text(line, "wiki_title", ""),
        revision=str(ours.get("revision", "")),
        url=str(ours.get("url", "")),
        licence=str(ours.get("licence", "")),
    )


def _to_prediction(line: Line, model: str) -> Prediction:
    example, ours = _to_example(line), _ours(line)
    questions = prompts(example)
    chat = _read_chat(_list(line, "messages"), "messages")
    answers = tuple(message.content for message in chat if message.role == "assistant")
    failures = _strings(ours.get("failures") or [""] * len(questions), "failures")
    return Prediction(
        example=example,
        model=str(ours.get("model") or model),
        answers=tuple(_even("messages", answers, questions)),
        failures=tuple(_even("failures", failures, questions)),
        run=int(ours.get("run") or 0),
    )


def _to_judged(line: Line, model: str, judge: str) -> tuple[Prediction, Judgement]:
    prediction, ours = _to_prediction(line, model), _ours(line)
    questions = prompts(prediction.example)

    def numbers(field: str) -> list[float | None]:
        return [_number(item, field) for item in _even(field, _list(line, field), questions)]

    votes = ours.get("votes") or [[] for _ in questions]
    return prediction, Judgement(
        role=prediction.example.role,
        language=prediction.example.language,
        model=prediction.model,
        judge=str(ours.get("judge") or judge),
        consistency=tuple(numbers("consist_scores")),
        # 0 stands for an unreadable score in the authors' files; the scale begins at 1.
        knowledge=tuple(score or None for score in numbers("knowledge_scores")),
        rejection=tuple(numbers("reject_scores")),
        labels=tuple(int(kind == "contrastive") for kind in prediction.example.kinds),
        votes=tuple(_votes(turn) for turn in _even("votes", votes, questions)),
        run=prediction.run,
    )


def _field(line: Line, name: str) -> Any:
    """A field of the line or of its meta, or None."""
    value = line.get(name)
    return _meta(line).get(name) if value is None else value


def _meta(line: Line) -> Line:
    meta = line.get("meta")
    return meta if isinstance(meta, dict) else {}


def _ours(line: Line) -> Line:
    ours = _meta(line).get("ditto")
    return ours if isinstance(ours, dict) else {}


def _list(line: Line, name: str, default: Sequence[Any] | None = None) -> Sequence[Any]:
    value = _field(line, name)
    if value is None and default is not None:
        return default
    if value is None:
        raise RowFailed("missing_field", f"expected a list {name!r}")
    if not isinstance(value, list):
        raise RowFailed("wrong_type", f"expected a list {name!r}, found {type(value).__name__}")
    return value


def _text(line: Line, name: str, default: str | None = None) -> str:
    value = _field(line, name)
    if value is None and default is not None:
        return default
    if value is None:
        raise RowFailed("missing_field", f"expected a text {name!r}")
    if not isinstance(value, str):
        raise RowFailed("wrong_type", f"expected a text {name!r}, found {type(value).__name__}")
    return value


def _strings(values: Any, name: str) -> tuple[str, ...]:
    if not isinstance(values, (list, tuple)) or not all(isinstance(value, str) for value in values):
        raise RowFailed("wrong_type", f"expected a list of texts {name!r}")
    return tuple(values)


def _even(name: str, values: Sequence[Row], questions: Sequence[str]) -> Sequence[Row]:
    if len(values) != len(questions):
        raise RowFailed("uneven", f"expected {len(questions)} of {name!r}, one a prompt, found {len(values)}")
    return values


def _labels(line: Line) -> Sequence[int]:
    spelling = "rejection_labels" if _field(line, "rejection_labels") is not None else "rejection labels"
    labels = _list(line, spelling)
    if not all(label in (0, 1) for label in labels):
        raise RowFailed("wrong_type", f"expected 0 or 1 in {spelling!r}, found {labels}")
    return [int(label) for label in labels]


def _messages(line: Line, questions: Sequence[str]) -> tuple[Message, ...]:
    """The reference conversation where its questions are the prompts, else the system line and the prompts alone."""
    reference = line.get("ref_messages")
    if isinstance(reference, str):
        try:
            reference = json.loads(reference)
        except ValueError:
            reference = None
    if isinstance(reference, list):
        chat = _read_chat(reference, "ref_messages")
        if [message.content for message in chat if message.role == "user"] == list(questions):
            return chat
    system = _text(line, "system")
    return (Message("system", system), *(Message("user", question) for question in questions))


def _chat(messages: Iterable[Message]) -> list[dict[str, str]]:
    return [{"role": message.role, "content": message.content} for message in messages]


def _read_chat(messages: Sequence[Any], name: str) -> tuple[Message, ...]:
    chat = []
    for message in messages:
        if not isinstance(message, dict) or message.get("role") not in ("system", "user", "assistant"):
            raise RowFailed("wrong_type", f"expected messages with a role in {name!r}, found {message!r:.80}")
        if not isinstance(message.get("content"), str):
            raise RowFailed("wrong_type", f"expected a text as content in {name!r}, found {message!r:.80}")
        chat.append(Message(message["role"], message["content"]))
    return tuple(chat)


def _markdown(facts: Sequence[str]) -> str:
    return "\n".join("- " + fact.replace("\n", "\n  ") for fact in facts)


def _facts(item: Any) -> tuple[str, ...]:
    """A markdown list as its entries; an indented line goes on with the entry above."""
    if isinstance(item, list):
        return _strings(item, "evidence")
    if item is not None and not isinstance(item, str):
        raise RowFailed("wrong_type", f"expected a markdown list in 'evidence', found {type(item).__name__}")
    facts: list[str] = []
    for line in (item or "").split("\n"):
        if facts and line.startswith("  "):
            facts[-1] += "\n" + line[2:]
        elif line.strip():
            facts.append(line[2:] if line[:2] in ("- ", "* ") else line)
    return tuple(facts)


def _claims(line: Line) -> tuple[str, ...]:
    """Claims as lines; `trans_claims` first, because `claims` may hold ids in place of labels."""
    claims = _list(line, "trans_claims", ()) or _list(line, "claims", ())
    return tuple(": ".join(map(str, claim)) if isinstance(claim, list) else str(claim) for claim in claims)


def _number(value: Any, name: str) -> float | None:
    if value is not None and not isinstance(value, (int, float)):
        raise RowFailed("wrong_type", f"expected numbers or null in {name!r}, found {value!r:.40}")
    return value


def _whole(score: float | None) -> float | None:
    """1 in place of 1.0, as the authors write it."""
    return int(score) if score is not None and score == int(score) else score


def _votes(votes: Any) -> tuple[Vote, ...]:
    try:
        return tuple(Vote(vote["metric"], vote["prompt"], tuple(vote["replies"]), vote["verdict"]) for vote in votes)
    except (TypeError, KeyError) as error:
        raise RowFailed("wrong_type", "expected votes with metric, prompt, replies and verdict") from error
