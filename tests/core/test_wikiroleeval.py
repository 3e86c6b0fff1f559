"""The authors' files: round trips, spellings, and lines that cannot be used."""

import json
from collections.abc import Callable
from dataclasses import replace
from random import Random
from typing import Any

import pytest

from ditto_core.evaluation import wikiroleeval
from ditto_core.evaluation.scores import scores
from ditto_core.evaluation.wikiroleeval import (
    read_judged,
    read_lines,
    read_predictions,
    read_test,
    released_scores,
    write_judged,
    write_predictions,
    write_test,
)
from ditto_core.records import Example, Judgement, Message, Prediction, Vote

EXAMPLE = Example(
    messages=(
        Message("system", "You are Marie Curie, physicist."),
        Message("user", "Which metal did you name?"),
        Message("assistant", "Polonium\u2028— after <Poland>."),
        Message("user", "Which phone do you use?"),
        Message("assistant", "A phone? I do not know the word."),
    ),
    split="test",
    role="Q7186",
    language="en",
    label="Marie Curie",
    description="physicist",
    kind="Q5",
    kinds=("role_specific", "contrastive"),
    sources=("Q7186", "Q42"),
    evidence=(("notable work: polonium", "- a dash first\nand a second line"), ()),
    candidates=("Marie Curie", "Athena", "Bob Marley", "Ada Lovelace"),
    keys=("k1", "k2"),
    summary="Marie Curie was a physicist.",
    claims=("notable work: polonium", "motto: be less curious: about people", "no property"),
    aliases=("Madame Curie",),
    title="Marie Curie",
    revision="123",
    url="https://en.wikipedia.org/wiki/Marie_Curie",
    licence="CC BY-SA 4.0",
)
PREDICTION = Prediction(EXAMPLE, "ditto-7b", ("Polonium.", ""), ("", "prompt_too_long"))
JUDGEMENT = Judgement(
    role="Q7186",
    language="en",
    model="ditto-7b",
    judge="judge-7b",
    consistency=(1, None),
    knowledge=(7.5, None),
    rejection=(0, None),
    labels=(0, 1),
    votes=((Vote("consistency", "Who is it?", ("[[A]]",), 1.0), Vote("knowledge", "Grade it.", ("?", "[[7]]"), 7.0)), ()),
)
# As the authors publish it, with none of our own fields.
THEIRS: dict[str, Any] = {
    "system": "You are Hamlet, prince of Denmark.",
    "prompts": ["Who was Yorick?", "Do you like trains?"],
    "ref_messages": json.dumps([{"role": "system", "content": "You are Hamlet, prince of Denmark."}]),
    "role_consist_cands": ["Hamlet", "Athena", "Marie Curie", "Bob Marley"],
    "rejection labels": [0, 1],
    "evidence": ["- acquaintance: Yorick\n* occupation: jester", None],
    "type": "role_play",
    "source": "wiki",
    "meta": {
        "label": "Hamlet",
        "description": "prince of Denmark",
        "aliases": ["Prince Hamlet"],
        "wiki_title": "Prince Hamlet",
        "claims": [["P31", "Q15632617"]],
        "trans_claims": [["instance of", "fictional human"]],
        "category": "fictional",
        "lang": "en",
        "summary": "Hamlet is a prince.",
        "wiki": {"idx": "Prince Hamlet", "title": "Prince Hamlet", "content": "..."},
    },
}
CHAT = [
    {"role": "system", "content": "You are Hamlet, prince of Denmark."},
    {"role": "user", "content": "Who was Yorick?"},
    {"role": "assistant", "content": "A fellow of infinite jest."},
    {"role": "user", "content": "Do you like trains?"},
    {"role": "assistant", "content": "I know not the word."},
]
THEIRS_JUDGED = THEIRS | {
    "messages": CHAT,
    "consist_scores": [1, 0.67],
    "reject_scores": [0, 1],
    "knowledge_scores": [8, 0],
}


def test_a_test_file_comes_back_as_it_was() -> None:
    plain = replace(EXAMPLE, evidence=((), ()), aliases=(), claims=(), messages=EXAMPLE.messages[:2], kinds=("contrastive",))
    plain = replace(plain, evidence=((),), sources=("Q1",), keys=("",))
    examples, ledger = read_test(write_test([EXAMPLE, plain]))
    assert examples == [EXAMPLE, plain]
    assert ledger.summary() == {"inputs": 2, "ok": 2, "failed": {}, "filtered": {}}


def test_a_prediction_file_comes_back_as_it_was() -> None:
    assert read_predictions(write_predictions([PREDICTION]), "?")[0] == [PREDICTION]


def test_a_judged_file_comes_back_as_it_was() -> None:
    assert read_judged(write_judged([(PREDICTION, JUDGEMENT)]), "?", "?")[0] == [(PREDICTION, JUDGEMENT)]


def test_what_we_write_has_the_fields_the_authors_scripts_read() -> None:
    line = json.loads(write_judged([(PREDICTION, JUDGEMENT)]))
    assert THEIRS_JUDGED.keys() - {"rejection labels"} <= line.keys()
    assert THEIRS["meta"].keys() <= line["meta"].keys()
    assert line["rejection_labels"] == line["meta"]["rejection_labels"] == [0, 1]
    assert line["evidence"][0].startswith("- notable work: polonium\n- ")
    assert [message["role"] for message in line["messages"]] == ["system", "user", "assistant", "user", "assistant"]
    assert line["knowledge_scores"] == [7.5, None]


def test_the_authors_own_test_file_is_read() -> None:
    examples, _ = read_test("\ufeff" + json.dumps(THEIRS) + "\r\n\n")
    assert len(examples) == 1
    one = examples[0]
    assert (one.role, one.label, one.language, one.split) == ("Hamlet", "Hamlet", "en", "test")
    assert one.kinds == ("role_specific", "contrastive")
    assert one.evidence == (("acquaintance: Yorick", "occupation: jester"), ())
    assert one.claims == ("instance of: fictional human",)
    assert [message.content for message in one.messages] == [THEIRS["system"], *THEIRS["prompts"]]


@pytest.mark.parametrize("place", ["top", "meta"])
@pytest.mark.parametrize("name", ["rejection labels", "rejection_labels"])
def test_rejection_labels_are_found_in_both_spellings_and_places(name: str, place: str) -> None:
    line = {key: value for key, value in THEIRS.items() if key != "rejection labels"}
    if place == "top":
        line[name] = [1, 0]
    else:
        line["meta"] = THEIRS["meta"] | {name: [1, 0]}
    assert read_test(json.dumps(line))[0][0].kinds == ("contrastive", "role_specific")


def test_the_authors_judged_file_is_read_with_shares_of_votes_as_they_stand() -> None:
    [(prediction, judgement)] = read_judged(json.dumps(THEIRS_JUDGED), "gpt-4", "gpt-4-turbo")[0]
    assert prediction.answers == ("A fellow of infinite jest.", "I know not the word.")
    assert judgement.consistency == (1, 0.67)
    assert judgement.knowledge == (8.0, None)
    assert judgement.judge == "gpt-4-turbo"


def without(name: str) -> str:
    return json.dumps({key: value for key, value in THEIRS_JUDGED.items() if key != name})


def changed(**fields: Any) -> str:
    return json.dumps(THEIRS_JUDGED | fields)


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        pytest.param('{"system": "You are', "not_json", id="cut"),
        pytest.param("version https://git-lfs.github.com/spec/v1", "not_json", id="a-pointer-of-git-lfs"),
        pytest.param("[" * 100_000, "not_json", id="nested-without-end"),
        pytest.param("[1, 2]", "not_an_object", id="a-list"),
        pytest.param(without("prompts"), "missing_field", id="no-prompts"),
        pytest.param(without("rejection labels"), "missing_field", id="no-labels"),
        pytest.param(without("evidence"), "missing_field", id="no-evidence"),
        pytest.param(without("meta"), "missing_field", id="no-meta"),
        pytest.param(without("messages"), "missing_field", id="no-messages"),
        pytest.param(without("consist_scores"), "missing_field", id="no-scores"),
        pytest.param(changed(prompts=[]), "no_prompts", id="empty-prompts"),
        pytest.param(changed(prompts="Who?"), "wrong_type", id="prompts-are-a-text"),
        pytest.param(changed(prompts=[1, 2]), "wrong_type", id="prompts-are-numbers"),
        pytest.param(changed(evidence=["- one"]), "uneven", id="evidence-too-short"),
        pytest.param(changed(evidence=[1, 2]), "wrong_type", id="evidence-is-numbers"),
        pytest.param(changed(messages=CHAT[:3]), "uneven", id="an-answer-is-missing"),
        pytest.param(changed(messages=["hello"]), "wrong_type", id="messages-are-texts"),
        pytest.param(changed(messages=[{"role": "bot", "content": "x"}]), "wrong_type", id="unknown-speaker"),
        pytest.param(changed(reject_scores=[1]), "uneven", id="scores-too-short"),
        pytest.param(changed(knowledge_scores=["8", "9"]), "wrong_type", id="scores-are-texts"),
        pytest.param(json.dumps(THEIRS_JUDGED | {"rejection labels": [0, 7]}), "wrong_type", id="label-7"),
    ],
)
def test_a_bad_line_is_a_named_loss_and_the_others_are_read(line: str, reason: str) -> None:
    rows, ledger = read_judged(f"{json.dumps(THEIRS_JUDGED)}\n{line}\n{json.dumps(THEIRS_JUDGED)}\n", "m", "j")
    ledger.check()
    assert len(rows) == 2
    assert ledger.failed == {reason: 1}
    assert ledger.failures[0].row == "line 2"
    assert ledger.failures[0].raw == line


def judged_line(language: str, **scores: list[float | None]) -> dict[str, Any]:
    return {"meta": {"lang": language, "rejection_labels": [0, 1, 1]}, **scores}


def test_released_scores_average_as_published() -> None:
    lines = [
        judged_line("en", consist_scores=[1, 0, 1], reject_scores=[0, 1, 0], knowledge_scores=[8, 0, None]),
        judged_line("zh", consist_scores=[1, 1, 1], reject_scores=[0, 1, None], knowledge_scores=[5, 6, 7]),
    ]
    assert released_scores(lines) == {
        "all": {"consistency": 0.83, "knowledge": 6.5, "rejection": 0.67},
        "en": {"consistency": 0.67, "knowledge": 8.0, "rejection": 0.67},
        "zh": {"consistency": 1.0, "knowledge": 6.0, "rejection": 0.67},
    }


def test_released_scores_read_our_own_judged_file() -> None:
    lines, _ = read_lines(write_judged([(PREDICTION, JUDGEMENT)]))
    assert released_scores(lines)["en"] == {"consistency": 1.0, "knowledge": 7.5, "rejection": 0.5}


@pytest.mark.parametrize(
    "reader",
    [
        pytest.param(wikiroleeval.read_test, id="test"),
        pytest.param(lambda text: read_predictions(text, "m"), id="predictions"),
        pytest.param(lambda text: read_judged(text, "m", "j"), id="judged"),
    ],
)
def test_an_empty_file_is_no_rows(reader: Callable[[str], tuple[list[Any], Any]]) -> None:
    rows, ledger = reader("")
    assert rows == []
    assert ledger.inputs == 0


def published_arithmetic(text: str) -> dict[str, tuple[float, float, float]]:
    """The released scorer's sums, written down again from the paper's section 4: all turns, 0 and null are no score."""
    lines = [json.loads(line) for line in text.splitlines()]
    table = {}
    for language in ("all", *sorted({line["meta"]["lang"] for line in lines})):
        chosen = [line for line in lines if language in ("all", line["meta"]["lang"])]
        consistency = [score for line in chosen for score in line["consist_scores"]]
        knowledge = [score for line in chosen for score in line["knowledge_scores"] if score]
        right = [
            score == label
            for line in chosen
            for score, label in zip(line["reject_scores"], line["meta"]["rejection_labels"], strict=True)
        ]
        table[language] = tuple(round(sum(column) / len(column), 2) for column in (consistency, knowledge, right))
    return table


def our_table(text: str) -> dict[str, tuple[float | None, ...]]:
    table = scores([judgement for _, judgement in read_judged(text, "m", "j")[0]], 100, 1)
    return {
        language: tuple(round(found[metric]["mean"] or 0, 2) for metric in ("consistency", "knowledge", "rejection"))
        for language, found in table.items()
    }


def test_a_judged_file_of_the_authors_gives_their_table_in_ours() -> None:
    random = Random(5)
    lines = []
    for number in range(100):
        turns = random.randint(1, 9)
        meta = {
            **THEIRS["meta"],
            "label": f"role {number}",
            "lang": random.choice(["en", "zh"]),
            "rejection_labels": random.choices([0, 1], k=turns),
        }
        lines.append({
            "system": "s", "prompts": [f"q{turn}" for turn in range(turns)], "evidence": [None] * turns, "meta": meta,
            "role_consist_cands": ["a", "b", "c", "d"], "messages": [CHAT[0], *CHAT[1:3] * turns],
            "consist_scores": random.choices([0, 1, 1], k=turns), "reject_scores": random.choices([0, 1], k=turns),
            "knowledge_scores": random.choices([0, None, *range(1, 11)], k=turns),
        })  # fmt: skip
    text = "".join(json.dumps(line) + "\n" for line in lines)
    assert our_table(text) == published_arithmetic(text)
    assert {language: tuple(row.values()) for language, row in released_scores(lines).items()} == published_arithmetic(text)


def test_a_judged_file_of_ours_gives_our_table_in_theirs() -> None:
    random = Random(6)
    judged = []
    for number in range(100):
        turns = random.randint(1, 5)
        labels = tuple(random.choices([0, 1], k=turns))
        example = replace(
            EXAMPLE,
            role=f"Q{number}",
            language=random.choice(["en", "zh", "ko"]),
            messages=(EXAMPLE.messages[0], *(Message("user", f"q{turn}") for turn in range(turns))),
            kinds=tuple("contrastive" if label else "role_specific" for label in labels),
            sources=("",) * turns,
            evidence=((),) * turns,
            keys=("",) * turns,
        )
        judgement = Judgement(
            example.role, example.language, "m", "j",
            consistency=tuple(random.choices([0.0, 1.0], k=turns)),
            knowledge=tuple(None if label else random.choice([1.0, 6.5, 23 / 3]) for label in labels),
            rejection=tuple(random.choices([0.0, 1.0], k=turns)), labels=labels, votes=((),) * turns,
        )  # fmt: skip
        judged.append((Prediction(example, "m", ("a",) * turns, ("",) * turns), judgement))
    text = write_judged(judged)
    assert our_table(text) == published_arithmetic(text)
