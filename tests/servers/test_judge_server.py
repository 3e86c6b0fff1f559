"""A judge behind a real server that breaks the format now and then: every conversation is accounted for."""

from collections.abc import Iterator

import pytest
from fixtures.stub_openai import StubServer

from ditto_core.evaluation.judge import LlmJudge, judge_all
from ditto_core.evaluation.scores import scores
from ditto_core.generation.chat_api import ChatApiGenerator
from ditto_core.languages import load
from ditto_core.records import Example, Message, Prediction
from ditto_core.settings import EvaluationSettings, GenerationSettings

SESSIONS, TURNS = 100, 2
MALFORMED = 0.05


def sound(prompt: str) -> str:
    if "[[A]]" in prompt:
        return f"[[{next(line[0] for line in prompt.splitlines() if line[1:] == '. Marie Curie')}]]"
    if "[[6]]" in prompt:
        return "Right. [[8]]"
    return "[[yes]]" if "phone" in prompt else "[[no]]"


def often_malformed(prompt: str, _system: str, seed: int) -> str:
    return "Well, it depends." if seed % 1000 < 1000 * MALFORMED else sound(prompt)


def always_malformed_for_some(prompt: str, _system: str, _seed: int) -> str:
    # Ten of a hundred answers confuse the judge for good: asking again does not help.
    return "Well, it depends." if "7 times" in prompt else sound(prompt)


@pytest.fixture
def server() -> Iterator[StubServer]:
    server = StubServer(latency=0)
    yield server
    server.close()


def session(number: int) -> Prediction:
    questions = ("Which metal did you name?", "Which phone do you use?")
    example = Example(
        messages=(Message("system", "You are Marie Curie."), *(Message("user", question) for question in questions)),
        split="test", role=f"Q{number:03}", language="en", label="Marie Curie", description="", kind="Q5",
        kinds=("role_specific", "contrastive"), sources=("", ""), evidence=(("notable work: polonium",), ()),
        candidates=("Marie Curie", "Athena", "Bob Marley", "Ada Lovelace"), keys=("", ""), summary="", claims=(), aliases=(),
        title="", revision="", url="", licence="",
    )  # fmt: skip
    answers = (f"Polonium, said {number % 10} times in {number}.", f"What is that? Asked {number % 10} times in {number}.")
    return Prediction(example, "m", answers, ("", ""))


@pytest.fixture
def judge(server: StubServer) -> Iterator[LlmJudge]:
    generation = GenerationSettings(engine="chat-api", model="judge", base_url=server.base_url)
    engine = ChatApiGenerator(generation)
    yield LlmJudge(engine, load("en"), EvaluationSettings(judge_generation=generation))
    engine.close()


def test_at_five_percent_malformed_replies_all_conversations_are_scored(server: StubServer, judge: LlmJudge) -> None:
    server.answer = often_malformed
    judgements, account = judge_all([session(number) for number in range(SESSIONS)], judge)
    account.check()
    assert len(judgements) == SESSIONS
    assert account.inputs == SESSIONS * (2 * TURNS + 1)
    votes = SESSIONS * 3 * (2 * TURNS + 1)
    assert votes * (1 + MALFORMED / 2) < server.drawn < votes * (1 + 2 * MALFORMED)
    found = scores(judgements, 100, 1)["all"]
    assert {metric: found[metric]["mean"] for metric in ("consistency", "knowledge", "rejection")} == {
        "consistency": 1,
        "knowledge": 8,
        "rejection": 1,
    }
    # A vote fails twice with a chance of 0.05 * 0.05, and a verdict only if all of its three votes do.
    assert all(found[metric]["coverage"] == 1 for metric in ("consistency", "knowledge", "rejection"))
    raw = [reply for judgement in judgements for turn in judgement.votes for vote in turn for reply in vote.replies]
    assert raw.count("Well, it depends.") >= votes * MALFORMED / 2


def test_what_stays_unreadable_is_unscored_asked_once_more_and_listed(server: StubServer, judge: LlmJudge) -> None:
    server.answer = always_malformed_for_some
    judgements, account = judge_all([session(number) for number in range(SESSIONS)], judge)
    account.check()
    verdicts = 2 * TURNS + 1
    assert (account.ok, account.failed) == (90 * verdicts, {"unreadable": 10 * verdicts})
    assert server.drawn == (90 + 2 * 10) * 3 * verdicts
    # The votes on identity see the candidates in orders of their own; those on anything else are draws of one prompt.
    assert server.total() <= (90 + 2 * 10) * (3 * TURNS + TURNS + 1)
    found = scores(judgements, 100, 1)["all"]
    assert [found[metric]["coverage"] for metric in ("consistency", "knowledge", "rejection")] == [0.9, 0.9, 0.9]
    assert found["knowledge"]["mean"] == 8
    assert len(judgements) == SESSIONS
