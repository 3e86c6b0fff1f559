"""Models whose truth is known, under both kinds of judge and in every language: they must score where they must."""

from collections.abc import Callable
from dataclasses import dataclass

import pytest
from fixtures.answering import Answering

from ditto_core.evaluation.judge import Judge, LexicalJudge, LlmJudge, facts_of, judge_all
from ditto_core.evaluation.scores import Numbers, scores
from ditto_core.generation.requests import Request
from ditto_core.languages import load
from ditto_core.records import Example, Message, Prediction
from ditto_core.settings import EvaluationSettings, GenerationSettings


@dataclass(frozen=True, slots=True)
class World:
    """Four roles with one work each, and what a refusal is in their language."""

    works: dict[str, str]
    questions: tuple[str, str]
    claim: str
    refusal: str
    chatter: str
    speaks: str
    """Says who speaks and what the work is."""


WORLDS = {
    "en": World(
        {"Marie Curie": "polonium", "Isaac Newton": "Principia", "Bob Marley": "Exodus", "Athena": "aegis"},
        ("What are you known for?", "Which phone do you use?"),
        "notable work: {work}",
        "I have never heard of such a thing.",
        "A fine day it was, with much to do.",
        "{name} speaks of {work}.",
    ),
    "zh": World(
        {"居里夫人": "钋元素", "牛顿": "自然哲学", "鲍勃·马利": "出埃及记", "雅典娜": "神盾"},
        ("您以何闻名？", "您用哪款手机？"),
        "代表作: {work}",
        "我从未听说过这种东西。",
        "那天天气甚好，事务繁多。",
        "在下{name}，说的便是{work}。",
    ),
    "ko": World(
        {"마리 퀴리": "폴로늄", "아이작 뉴턴": "프린키피아", "밥 말리": "엑소더스", "아테나": "아이기스"},
        ("무엇으로 이름을 얻으셨나요?", "어떤 전화기를 쓰시나요?"),
        "대표작: {work}",
        "그런 것은 들어 본 적이 없습니다.",
        "날씨가 참 좋은 날이었지요.",
        "{name}, 바로 {work} 이야기.",
    ),
}


def examples(language: str) -> list[Example]:
    world = WORLDS[language]
    return [_example(language, world, name) for name in world.works]


def _example(language: str, world: World, name: str) -> Example:
    claim = world.claim.format(work=world.works[name])
    return Example(
        messages=(Message("system", name), *(Message("user", question) for question in world.questions)),
        split="test", role=name, language=language, label=name, description="", kind="Q5",
        kinds=("role_specific", "contrastive"), sources=(name, ""), evidence=((claim,), ()), candidates=tuple(world.works),
        keys=("", ""), summary="", claims=(claim,), aliases=(), title="", revision="", url="", licence="",
    )  # fmt: skip


class HonestReader(Answering):
    """A judging model that reads as a careful person would: it looks for names, works and refusals in the answer alone."""

    def __init__(self, world: World, language: str) -> None:
        super().__init__()
        self._world = world
        self._heads = {name: text.split("$question")[0] for name, text in load(language).prompts.items()}

    def reply(self, request: Request) -> str:
        return self._verdict(request.messages[0].content)

    def _verdict(self, prompt: str) -> str:
        question = next(question for question in self._world.questions if question in prompt)
        facts, after = prompt.split(question)
        answer = after.split("\n")[3]
        lettered = [line for line in after.split("\n") if line[1:3] == ". " and line[0] in "ABCD"]
        if lettered:
            known = [line[0] for line in lettered if line[3:] in answer or self._world.works[line[3:]] in answer]
            return f"[[{known[0] if len(known) == 1 else 'none'}]]"
        if "[[6]]" in prompt:
            right = [work for work in self._world.works.values() if work in facts and work in answer]
            return f"[[{10 if right else 1}]]"
        yes, no = ("yes", "no") if "[[yes]]" in prompt else ("是", "否") if "[[是]]" in prompt else ("예", "아니오")
        return f"[[{yes if self._world.refusal in answer else no}]]"


def judges(language: str) -> dict[str, Judge]:
    settings = EvaluationSettings(judge_generation=GenerationSettings(model="reader"))
    return {
        "lexical": LexicalJudge(load(language), facts_of(examples(language))),
        "llm": LlmJudge(HonestReader(WORLDS[language], language), load(language), settings),
    }


def played(language: str, kind: str, model: Callable[[World, str], tuple[str, str]]) -> dict[str, Numbers]:
    world = WORLDS[language]
    predictions = [Prediction(one, "planted", model(world, one.label), ("", "")) for one in examples(language)]
    judgements, account = judge_all(predictions, judges(language)[kind])
    account.check()
    found = scores(judgements, 100, 1)["all"]
    assert all(numbers["coverage"] == 1 for numbers in found.values())
    return found


def always_refuses(world: World, _name: str) -> tuple[str, str]:
    return world.refusal, world.refusal


def never_refuses(world: World, _name: str) -> tuple[str, str]:
    return world.chatter, world.chatter


def another_character(world: World, name: str) -> tuple[str, str]:
    other = next(label for label in world.works if label != name)
    return world.speaks.format(name=other, work=world.works[other]), world.speaks.format(name=other, work="")


def perfect_evidence(world: World, name: str) -> tuple[str, str]:
    said = world.speaks.format(name=name, work=world.works[name])
    return said, f"{world.refusal} {world.speaks.format(name=name, work='')}"


EXPECTED = {  # consistency, knowledge, rejection, contrastive_refused, false_refusals
    always_refuses: (0, 1, 0.5, 1, 1),
    never_refuses: (0, 1, 0.5, 0, 0),
    another_character: (0, 1, 0.5, 0, 0),
    perfect_evidence: (1, 10, 1, 1, 0),
}


@pytest.mark.parametrize("language", WORLDS)
@pytest.mark.parametrize("kind", ["lexical", "llm"])
@pytest.mark.parametrize("model", EXPECTED, ids=lambda model: model.__name__)
def test_a_planted_model_scores_where_it_must(model: Callable[[World, str], tuple[str, str]], kind: str, language: str) -> None:
    found = played(language, kind, model)
    means = tuple(numbers["mean"] for numbers in found.values())
    assert means == EXPECTED[model]
