"""What reasoning models think aloud: it is no part of what they say."""

import pytest
from fixtures.answering import Answering

from ditto_core.evaluation.sessions import CUT, predict, read_outcome
from ditto_core.generation.requests import Completion, Request
from ditto_core.generation.thoughts import spoken
from ditto_core.records import Example, Message
from ditto_core.settings import EvaluationSettings


@pytest.mark.parametrize(
    ("reply", "said"),
    [
        pytest.param("<think>Who am I? Ada.</think>In London.", "In London.", id="thought-first"),
        pytest.param("I am Ada, so London.</think>In London.", "In London.", id="opened-in-the-prompt"),
        pytest.param("Well. <thinking>Hm.</thinking>No. <reasoning>Hm.</reasoning>Yes.", "Yes.", id="several"),
        pytest.param("<think></think>In London.", "In London.", id="empty-thought"),
        pytest.param("<think>I could say", "", id="without-end"),
        pytest.param("<think>Hm.</think>In London. <think>Or", "", id="a-second-without-end"),
        pytest.param("<think>In London.</think>", "", id="nothing-after"),
        pytest.param(" I think <b>not</b>. ", " I think <b>not</b>. ", id="none"),
    ],
)
def test_what_is_said_is_what_follows_the_last_thought(reply: str, said: str) -> None:
    assert spoken(reply) == said


@pytest.mark.parametrize(
    ("text", "finish_reason", "answer"),
    [
        pytest.param("London it is.</think>\n\nIn London.", "stop", ("In London.", ""), id="whole"),
        pytest.param("<think>Where was I", "length", ("", CUT), id="cut-in-its-thought"),
        pytest.param("<think>London.</think>In Lon", "length", ("In Lon", CUT), id="cut-after-it"),
    ],
)
def test_a_model_under_test_is_judged_without_its_thoughts(text: str, finish_reason: str, answer: tuple[str, str]) -> None:
    assert read_outcome(Completion("k", text, finish_reason)) == answer


class Thinking(Answering):
    def reply(self, request: Request) -> str:
        return f"<think>Turn {len(request.messages)}.</think>In London."


def test_the_next_turn_shows_a_model_what_it_said_and_not_what_it_thought() -> None:
    chat = (Message("user", "Where?"), Message("assistant", "REF"), Message("user", "Sure?"), Message("assistant", "REF"))
    example = Example(
        messages=chat,
        split="test",
        role="Q1",
        language="en",
        label="Ada",
        description="",
        kind="Q5",
        kinds=("role_specific", "role_specific"),
        sources=("Q1", "Q1"),
        evidence=((), ()),
        candidates=("Ada",),
        keys=("", ""),
        summary="",
        claims=(),
        aliases=(),
        title="Ada",
        revision="",
        url="",
        licence="",
    )
    model = Thinking()
    (prediction,), _ = predict([example], model, EvaluationSettings(), "m")
    assert prediction.answers == ("In London.", "In London.")
    assert model.asked[1].messages == (Message("user", "Where?"), Message("assistant", "In London."), Message("user", "Sure?"))
