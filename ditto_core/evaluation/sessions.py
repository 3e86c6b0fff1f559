"""Sessions: the model under test plays every session of the test split.

Input:   `Example`s of the test split and a generator.
Output:  one `Prediction` an example: an answer, or the reason why there is none, for each prompt.
Source:  arXiv 2401.12474, section 4: one line of identity, then the prompts in order, multi-turn. Section 6: a supervisor is
         measured with the whole profile in its place.

Example:
    system     You are Marie Curie, Polish-French physicist and chemist.
    user       Which metal did you name after your homeland?
    assistant  Polonium. I wished the world to remember Poland.        (the model's own, shown to it in the next turn)
    user       Who won the league last season?
    ...

Turn t of all sessions and runs is one call of the generator, so an engine can batch across sessions. A turn that fails ends
nothing: later turns go on, and the model sees an empty answer of its own there.
"""

from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from itertools import product
from typing import TypeVar

from ditto_core.errors import RowFailed
from ditto_core.generation.generator import Generator
from ditto_core.generation.requests import Completion, Outcome, Request, Sampling
from ditto_core.generation.thoughts import spoken
from ditto_core.knowledge.profiles import verbalise
from ditto_core.languages import Language
from ditto_core.ledger import Ledger
from ditto_core.records import Article, Character, Claim, Example, Judgement, Message, Prediction, Profile, Section
from ditto_core.settings import EvaluationSettings

CUT = "cut"
"""Why an answer that ran into `max_answer_tokens` is marked; its text is kept and judged as it stands."""


Opening = Callable[[Example], str]
"""What stands before a session."""
Session = tuple[str, str, int, int]
"""Language, role, run, and which of those that share these three: conversations of others may have one persona's line."""
Row = TypeVar("Row", Prediction, Judgement)


def by_session(rows: Iterable[Row]) -> dict[Session, Row]:
    """Predictions or judgements by their session; those that share language, role and run are told apart by their order."""
    seen = Counter[tuple[str, str, int]]()
    found: dict[Session, Row] = {}
    for row in rows:
        played = row.example if isinstance(row, Prediction) else row
        key: tuple[str, str, int] = (played.language, played.role, row.run)
        found[(*key, seen[key])] = row
        seen[key] += 1
    return found


def prompts(example: Example) -> tuple[str, ...]:
    """The user's questions of a session, in order."""
    return tuple(message.content for message in example.messages if message.role == "user")


def identity_line(example: Example) -> str:
    """The one line that the tuned model is asked with."""
    return example.messages[0].content if example.messages and example.messages[0].role == "system" else ""


def in_context(
    profiles: Mapping[str, Profile], language: Language, budget: int, count_tokens: Callable[[str], int], *, shown: bool = True
) -> Opening:
    """The prompt of response simulation, with the role's profile or without it.

    Args:
        profiles: Q-id -> profile; a role that is not there is shown as far as its test session describes it.
        language: Of the sessions.
        budget: Tokens of a profile.
        count_tokens: Of the model under test.
        shown: False takes the profile out and leaves the instructions.
    """

    def opening(example: Example) -> str:
        profile = profiles.get(example.role) or _described(example)
        text = verbalise(profile, language, budget, count_tokens) if shown else ""
        return language.render("response_simulation", identity=identity_line(example), profile=text)

    return opening


def predict(
    examples: Sequence[Example],
    generator: Generator,
    settings: EvaluationSettings,
    model_name: str,
    opening: Opening = identity_line,
    *,
    system_role: bool = True,
) -> tuple[list[Prediction], Ledger]:
    """Let the model play every session (paper section 4).

    Args:
        examples: Sessions; of their messages only the system line and the questions are shown.
        generator: The model under test.
        settings: `temperature`, `top_p` and `max_answer_tokens` shape the answers; every session is played `runs` times.
        model_name: Name under which the scores are shown.
        opening: What stands before the questions.
        system_role: False puts it into the first turn.

    Returns:
        One prediction an example and run, in the order of `examples`, and the account of every turn.
    """
    sampling = Sampling(settings.temperature, settings.top_p, max_tokens=settings.max_answer_tokens)
    played = list(product(examples, range(settings.runs)))
    before = [opening(example) for example, _ in played]
    questions = [prompts(example) for example, _ in played]
    chats: list[list[Message]] = [[] for _ in played]
    answers: list[list[str]] = [[] for _ in played]
    failures: list[list[str]] = [[] for _ in played]
    for turn in range(max((len(session) for session in questions), default=0)):
        playing = [index for index, session in enumerate(questions) if turn < len(session)]
        for index in playing:
            question = Message("user", questions[index][turn])
            chats[index] += opened(before[index], question, system_role=system_role) if turn == 0 else [question]
        requests = [Request(tuple(chats[index]), sampling, played[index][1], purpose="prediction") for index in playing]
        for index, outcome in zip(playing, generator.answer(requests), strict=True):
            answer, failure = read_outcome(outcome)
            chats[index].append(Message("assistant", answer))
            answers[index].append(answer)
            failures[index].append(failure)
    predictions = [
        Prediction(example, model_name, tuple(said), tuple(failed), run)
        for (example, run), said, failed in zip(played, answers, failures, strict=True)
    ]
    return predictions, ledger(predictions)


def opened(before: str, question: Message, *, system_role: bool) -> list[Message]:
    """How a session begins: what stands before it, if anything, and the first question; one turn without a system role."""
    if not before:
        return [question]
    if system_role:
        return [Message("system", before), question]
    return [Message(question.role, f"{before}\n\n{question.content}")]


def ledger(predictions: Sequence[Prediction]) -> Ledger:
    """The account of every turn that was asked.

    A turn without an answer has failed, by the engine's reason. A cut answer is judged like any other, so it is no
    loss: it is ok, and counted under the note "cut".
    """
    account = Ledger()
    for prediction in predictions:
        session = f"{prediction.example.language}:{prediction.example.role}" + (
            f" run {prediction.run}" if prediction.run else ""
        )
        for turn, failure in enumerate(prediction.failures):
            account.inputs += 1
            if failure and failure != CUT:
                account.fail(f"{session}#{turn}", RowFailed(failure, "the model gave no answer"))
                continue
            account.ok += 1
            account.notes.update([CUT] if failure else [])
    return account


def read_outcome(outcome: Outcome) -> tuple[str, str]:
    """The answer, without what the model thought aloud, and why it is missing or marked."""
    if not isinstance(outcome, Completion):
        return "", outcome.reason
    return spoken(outcome.text).strip(), CUT if outcome.finish_reason == "length" else ""


def _described(example: Example) -> Profile:
    """A profile from what the test session itself says of its role."""
    claims = tuple(Claim("", *claim.split(": ", 1)) if ": " in claim else Claim("", "", claim) for claim in example.claims)
    character = Character(
        example.role,
        example.language,
        example.kind,
        example.label,
        example.description,
        0,
        example.title,
        example.aliases,
        claims,
    )
    article = Article(example.title, (Section("", example.summary),), (), example.revision, "", example.url, example.licence)
    return Profile(character, article, example.summary)
