"""The model under test plays the test sessions."""

from collections.abc import Callable, Sequence
from dataclasses import replace

from fixtures.answering import Answering

from ditto_core.evaluation.sessions import in_context, ledger, predict
from ditto_core.generation.generator import Job
from ditto_core.generation.requests import Completion, Failure, Outcome, Request
from ditto_core.languages import load
from ditto_core.records import Article, Character, Claim, Example, Kind, Message, Profile, Section
from ditto_core.settings import EvaluationSettings

SETTINGS = EvaluationSettings(max_answer_tokens=32)


class Replies(Answering):
    """Answers by a function of the last message, last request first; keeps what it was asked together."""

    def __init__(self, reply: Callable[[str], str | tuple[str, str] | None]) -> None:
        super().__init__()
        self.calls: list[list[Request]] = []
        self._reply = reply

    def submit(self, jobs: Sequence[Job]) -> None:
        self.calls.append([job.request for job in jobs])
        super().submit(jobs[::-1])

    def reply(self, request: Request) -> Outcome:
        reply, key = self._reply(request.messages[-1].content), request.key(self.identity)
        if reply is None:
            return Failure(key, "prompt_too_long", "9000 tokens")
        text, reason = reply if isinstance(reply, tuple) else (reply, "stop")
        return Completion(key, text, reason)


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


def test_every_run_is_a_draw_of_its_own_and_all_runs_of_a_turn_are_one_call() -> None:
    engine = Replies(lambda question: f"answer to {question}")
    predictions, account = predict(
        [example("Ada", "a1", "a2"), example("Bob", "b1")], engine, SETTINGS.model_copy(update={"runs": 3, "top_p": 0.9}), "seed"
    )
    assert [len(call) for call in engine.calls] == [6, 3]
    assert [(one.example.role, one.run) for one in predictions] == [(role, run) for role in ("Ada", "Bob") for run in range(3)]
    assert {request.sample for request in engine.calls[0]} == {0, 1, 2}
    assert {request.sampling.top_p for request in engine.calls[0]} == {0.9}
    assert account.inputs == 9


def test_a_model_without_a_system_role_gets_the_line_in_its_first_turn_only() -> None:
    engine = Replies(lambda question: f"answer to {question.splitlines()[-1]}")
    predict([example("Ada", "a1", "a2")], engine, SETTINGS, "seed", system_role=False)
    assert [(message.role, message.content) for message in engine.calls[-1][0].messages] == [
        ("user", "You are Ada.\n\na1"),
        ("assistant", "answer to a1"),
        ("user", "a2"),
    ]


def test_a_supervisor_is_shown_the_profile_and_the_ablation_takes_only_that_out() -> None:
    ada = replace(example("Ada", "a1"), claims=("notable work: Note G",), summary="Ada wrote programs.")
    systems = []
    for shown in (True, False):
        engine = Replies(lambda _: "x")
        opening = in_context({}, load("en"), 500, len, shown=shown)
        predict([ada], engine, SETTINGS, "seed", opening)
        systems.append(engine.calls[0][0].messages[0].content)
    assert "notable work: Note G" in systems[0]
    assert "Ada wrote programs." in systems[0]
    assert "Note G" not in systems[1]
    assert systems[1].startswith("You are Ada.")
    assert systems[0].splitlines()[-1] == systems[1].splitlines()[-1]


def test_a_collected_profile_goes_before_what_the_test_session_says() -> None:
    character = Character("Ada", "en", "Q5", "Ada", "", 1, "Ada", (), (Claim("P1", "teacher", "Mary Somerville"),))
    profile = Profile(character, Article("Ada", (Section("", "A long article."),), (), "", "", "", ""), "")
    text = in_context({"Ada": profile}, load("en"), 500, len)(replace(example("Ada", "a1"), claims=("work: x",)))
    assert "Mary Somerville" in text
    assert "work: x" not in text
