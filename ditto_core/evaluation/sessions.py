"""Sessions: the model under test plays every session of the test split.

Input:   `Example`s of the test split and a generator.
Output:  one `Prediction` an example: an answer, or the reason why there is none, for each prompt.
Source:  arXiv 2401.12474, section 4: one line of identity, then the prompts in order, multi-turn.

Example:
    system     You are Marie Curie, Polish-French physicist and chemist.
    user       Which metal did you name after your homeland?
    assistant  Polonium. I wished the world to remember Poland.        (the model's own, shown to it in the next turn)
    user       Who won the league last season?
    ...

Turn t of all sessions is one call of the generator, so an engine can batch across sessions. A turn that fails ends
nothing: later turns go on, and the model sees an empty answer of its own there.
"""

from collections.abc import Sequence

from ditto_core.errors import RowFailed
from ditto_core.generation.generator import Completion, Generator, Outcome, Request, Sampling
from ditto_core.ledger import Ledger
from ditto_core.records import Example, Message, Prediction
from ditto_core.settings import EvaluationSettings

CUT = "cut"
"""Why an answer that ran into `max_answer_tokens` is marked; its text is kept and judged as it stands."""


def prompts(example: Example) -> tuple[str, ...]:
    """The user's questions of a session, in order."""
    return tuple(message.content for message in example.messages if message.role == "user")


def predict(
    examples: Sequence[Example], generator: Generator, settings: EvaluationSettings, model_name: str
) -> tuple[list[Prediction], Ledger]:
    """Let the model play every session (paper section 4).

    Args:
        examples: Sessions; of their messages only the system line and the questions are shown.
        generator: The model under test.
        settings: `temperature` and `max_answer_tokens` shape the answers.
        model_name: Name under which the scores are shown.

    Returns:
        One prediction an example, in the order of `examples`, and the account of every turn.
    """
    sampling = Sampling(temperature=settings.temperature, max_tokens=settings.max_answer_tokens)
    chats = [[message for message in example.messages[:1] if message.role == "system"] for example in examples]
    answers: list[list[str]] = [[] for _ in examples]
    failures: list[list[str]] = [[] for _ in examples]
    questions = [prompts(example) for example in examples]
    for turn in range(max((len(session) for session in questions), default=0)):
        playing = [index for index, session in enumerate(questions) if turn < len(session)]
        for index in playing:
            chats[index].append(Message("user", questions[index][turn]))
        requests = [Request(tuple(chats[index]), sampling, purpose="prediction") for index in playing]
        outcomes = {outcome.key: outcome for outcome in generator.generate(requests)}
        for index, request in zip(playing, requests, strict=True):
            answer, failure = _read(outcomes.get(request.key(generator.identity)))
            chats[index].append(Message("assistant", answer))
            answers[index].append(answer)
            failures[index].append(failure)
    predictions = [
        Prediction(example, model_name, tuple(said), tuple(failed))
        for example, said, failed in zip(examples, answers, failures, strict=True)
    ]
    return predictions, ledger(predictions)


def ledger(predictions: Sequence[Prediction]) -> Ledger:
    """The account of every turn that was asked.

    A turn without an answer has failed, by the engine's reason. A cut answer is judged like any other, so it is no
    loss: it is ok, and counted under the note "cut".
    """
    account = Ledger()
    for prediction in predictions:
        session = f"{prediction.example.language}:{prediction.example.role}"
        for turn, failure in enumerate(prediction.failures):
            account.inputs += 1
            if failure and failure != CUT:
                account.fail(f"{session}#{turn}", RowFailed(failure, "the model gave no answer"))
                continue
            account.ok += 1
            account.notes.update([CUT] if failure else [])
    return account


def _read(outcome: Outcome | None) -> tuple[str, str]:
    """The answer and why it is missing or marked."""
    if outcome is None:
        return "", "no_outcome"
    if not isinstance(outcome, Completion):
        return "", outcome.reason
    return outcome.text.strip(), CUT if outcome.finish_reason == "length" else ""
