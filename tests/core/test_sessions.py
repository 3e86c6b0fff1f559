"""The model under test plays the test sessions."""

from collections.abc import Callable, Iterator, Sequence

from ditto_core.evaluation.sessions import ledger, predict
from ditto_core.generation.generator import Completion, Failure, Outcome, Request
from ditto_core.recipe import ModelIdentity
from ditto_core.records import Example, Kind, Message
from ditto_core.settings import EvaluationSettings

SETTINGS = EvaluationSettings(max_answer_tokens=32)


class Replies:
    """A generator that answers by a function of the last message, last request first; keeps what it was asked."""

    identity = ModelIdentity("weights", "tokenizer")

    def __init__(self, reply: Callable[[str], str | tuple[str, str] | None]) -> None:
        self.calls: list[list[Request]] = []
        self._reply = reply

    def generate(self, requests: Sequence[Request]) -> Iterator[Outcome]:
        self.calls.append(list(requests))
        for request in reversed({request.key(self.identity): request for request in requests}.values()):
            reply = self._reply(request.messages[-1].content)
            key = request.key(self.identity)
            if reply is None:
                yield Failure(key, "prompt_too_long", "9000 tokens")
            else:
                text, reason = reply if isinstance(reply, tuple) else (reply, "stop")
                yield Completion(key, text, reason)

    def count_tokens(self, text: str) -> int:
        return len(text.split())

    def close(self) -> None:
        return None


def example(role: str, *questions: str) -> Example:
    system = Message("system", f"You are {role}.")
    chat = [message for question in questions for message in (Message("user", question), Message("assistant", "REF"))]
    turns = len(questions)
    kinds: tuple[Kind, ...] = tuple("role_specific" for _ in questions)
    return Example(
        messages=(system, *chat),
        split="test",
        role=role,
        language="en",
        label=role,
        description="",
        kind="Q5",
        kinds=kinds,
        sources=(role,) * turns,
        evidence=((),) * turns,
        candidates=(role,),
        keys=("",) * turns,
        summary="",
        claims=(),
        aliases=(),
        title=role,
        revision="",
        url="",
        licence="",
    )


def test_a_turn_of_all_sessions_is_one_call_and_answers_go_back_to_their_sessions() -> None:
    engine = Replies(lambda question: f"answer to {question}")
    predictions, _ = predict([example("Ada", "a1", "a2", "a3"), example("Bob", "b1")], engine, SETTINGS, "seed")
    assert [len(call) for call in engine.calls] == [2, 1, 1]
    assert predictions[0].answers == ("answer to a1", "answer to a2", "answer to a3")
    assert predictions[1].answers == ("answer to b1",)
    assert {prediction.model for prediction in predictions} == {"seed"}


def test_the_model_sees_the_identity_line_and_its_own_answers_never_the_reference() -> None:
    engine = Replies(lambda question: f"answer to {question}")
    predict([example("Ada", "a1", "a2")], engine, SETTINGS, "seed")
    last = engine.calls[-1][0]
    assert [(message.role, message.content) for message in last.messages] == [
        ("system", "You are Ada."),
        ("user", "a1"),
        ("assistant", "answer to a1"),
        ("user", "a2"),
    ]
    assert last.sampling.max_tokens == 32


def test_a_failed_turn_keeps_its_reason_and_later_turns_go_on_with_an_empty_answer() -> None:
    engine = Replies(lambda question: None if question == "a1" else "fine")
    predictions, account = predict([example("Ada", "a1", "a2")], engine, SETTINGS, "seed")
    assert predictions[0].answers == ("", "fine")
    assert predictions[0].failures == ("prompt_too_long", "")
    assert engine.calls[1][0].messages[2] == Message("assistant", "")
    account.check()
    assert account.summary() == {"inputs": 2, "ok": 1, "failed": {"prompt_too_long": 1}, "filtered": {}}
    assert account.failures[0].row == "en:Ada#0"


def test_a_cut_answer_keeps_its_text_and_says_so() -> None:
    predictions, _ = predict([example("Ada", "a1")], Replies(lambda _: ("I was bo", "length")), SETTINGS, "seed")
    assert predictions[0].answers == ("I was bo",)
    assert predictions[0].failures == ("cut",)
    assert ledger(predictions).summary()["notes"] == {"cut": 1}


def test_two_sessions_that_ask_the_same_both_get_the_answer() -> None:
    predictions, _ = predict([example("Ada", "a1"), example("Ada", "a1")], Replies(lambda _: "yes"), SETTINGS, "seed")
    assert [prediction.answers for prediction in predictions] == [("yes",), ("yes",)]


def test_no_session_is_no_call() -> None:
    engine = Replies(lambda _: "yes")
    assert predict([], engine, SETTINGS, "seed")[0] == []
    assert engine.calls == []
