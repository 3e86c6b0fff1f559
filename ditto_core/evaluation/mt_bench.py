"""MT-Bench role-play: two-turn questions, answered without a profile and graded 1 to 10 by a judging model.

Input:   questions from a file in the public format, one JSON object a line, or our own (role_play_questions.jsonl).
Output:  an `Answered` and then a `Graded` for each question and run; `scores`: mean of turn 1, of turn 2, and of both.
Source:  Zheng et al. 2023 (arXiv 2306.05685), single-answer grading; arXiv 2401.12474, table 2, last column.

Example line of a file (of other categories than "roleplay" nothing is asked; "language" is ours, "en" where it is missing):
    {"question_id": 1, "category": "roleplay", "turns": ["Be a lighthouse keeper ...", "Now a stranger knocks ..."]}
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib import resources
from statistics import fmean
from typing import Any

import numpy as np

from ditto_core.errors import InvalidInput, RowFailed
from ditto_core.evaluation import role_knowledge
from ditto_core.evaluation.scores import Numbers, estimate
from ditto_core.evaluation.sessions import CUT, read_outcome
from ditto_core.evaluation.votes import Ballot, is_open, missing, poll
from ditto_core.generation.generator import Generator
from ditto_core.generation.requests import Request, Sampling
from ditto_core.languages import load
from ditto_core.ledger import UNAVAILABLE, Ledger
from ditto_core.records import Message, Vote
from ditto_core.settings import EvaluationSettings

CATEGORY = "roleplay"
TEMPERATURE = 0.7
"""Of the answers; what the benchmark sets for role-play."""


@dataclass(frozen=True, slots=True)
class Question:
    """What a user says, turn by turn."""

    question_id: str
    language: str
    turns: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Answered:
    """One model's answers to one question; a failure is why there is none, else ""."""

    question: Question
    model: str
    answers: tuple[str, ...]
    failures: tuple[str, ...]
    run: int


@dataclass(frozen=True, slots=True)
class Graded:
    """Grades of the answers, 1 to 10, one a turn; None is unscored."""

    answered: Answered
    judge: str
    grades: tuple[float | None, ...]
    votes: tuple[tuple[Vote, ...], ...]


def own_questions() -> list[Question]:
    """The set that ships with Ditto."""
    file = resources.files("ditto_core.evaluation").joinpath("role_play_questions.jsonl")
    return read_questions(file.read_text("utf-8"))


def read_questions(text: str) -> list[Question]:
    """The role-play questions of a file.

    Raises:
        InvalidInput: A line is no question, or none is of role-play; nothing is asked then.
    """
    found = [_question(line, number) for number, line in enumerate(text.split("\n"), 1) if line.strip()]
    chosen = [question for category, question in found if category == CATEGORY]
    if not chosen:
        raise InvalidInput(f"there is no question of the category {CATEGORY!r} among {len(found)}")
    return chosen


def play(
    questions: Sequence[Question], generator: Generator, settings: EvaluationSettings, model: str
) -> tuple[list[Answered], Ledger]:
    """Let a model answer all questions, `runs` times each, and account for every turn; one that fails ends nothing."""
    sampling = Sampling(TEMPERATURE, max_tokens=settings.max_answer_tokens)
    played = [(question, run) for question in questions for run in range(settings.runs)]
    chats: list[list[Message]] = [[] for _ in played]
    said: list[list[tuple[str, str]]] = [[] for _ in played]
    for turn in range(max(len(question.turns) for question in questions)):
        asked = [index for index, (question, _) in enumerate(played) if turn < len(question.turns)]
        for index in asked:
            chats[index].append(Message("user", played[index][0].turns[turn]))
        requests = [Request(tuple(chats[index]), sampling, played[index][1], purpose="mt_bench") for index in asked]
        for index, outcome in zip(asked, generator.answer(requests), strict=True):
            said[index].append(read_outcome(outcome))
            chats[index].append(Message("assistant", said[index][-1][0]))
    answered = [
        Answered(question, model, tuple(answer for answer, _ in turns), tuple(failure for _, failure in turns), run)
        for (question, run), turns in zip(played, said, strict=True)
    ]
    ledger = Ledger()
    for one in answered:
        for turn, failure in enumerate(one.failures):
            ledger.inputs += 1
            if failure in ("", CUT):
                ledger.ok += 1
            else:
                ledger.fail(_row(one, turn), RowFailed(failure, "the model gave no answer"))
    return answered, ledger


def grade(answered: Sequence[Answered], generator: Generator, settings: EvaluationSettings) -> tuple[list[Graded], Ledger]:
    """Grade each turn with the conversation before it, and account for every grade that was expected.

    A turn whose engine or whose judge was not there has failed by a name that asks again; without an answer for another reason
    it is filtered as "no_answer".
    """
    sampling = Sampling(settings.judge_temperature, max_tokens=settings.max_judge_tokens)
    places: list[tuple[int, int]] = []
    ballots: list[Ballot] = []
    for index, one in enumerate(answered):
        for turn, failure in enumerate(one.failures):
            if failure not in ("", CUT):
                continue
            message = Message("user", _prompt(one, turn))
            for vote in range(settings.votes):
                request = Request((message,), sampling, sample=vote, purpose="judgement")
                places.append((index, turn))
                ballots.append(Ballot("grade", request, one.answers[turn], role_knowledge.parse))
    cast: dict[tuple[int, int], list[Vote]] = {}
    for place, vote_cast in zip(places, poll(generator, ballots, settings.votes), strict=True):
        cast.setdefault(place, []).append(vote_cast)
    graded, ledger = [], Ledger()
    for index, one in enumerate(answered):
        votes = [tuple(cast.get((index, turn), ())) for turn in range(len(one.answers))]
        grades = [_mean([vote.verdict for vote in turn if vote.verdict is not None]) for turn in votes]
        graded.append(Graded(one, settings.judge_generation.model, tuple(grades), tuple(votes)))
        for turn, given in enumerate(grades):
            _account(ledger, one, turn, given, votes[turn])
    return graded, ledger


def scores(graded: Sequence[Graded], bootstrap: int, seed: int) -> dict[str, Numbers]:
    """Of "turn 1", "turn 2" and "mean": mean, 95 % interval over questions, and coverage; {} for no question."""
    turns = max((len(one.grades) for one in graded), default=0)
    columns: dict[str, Sequence[int]] = {f"turn {turn + 1}": [turn] for turn in range(turns)}
    if turns:
        columns["mean"] = range(turns)
    table: dict[str, Numbers] = {}
    for name, chosen in columns.items():
        tally: dict[tuple[str, str], Any] = {}
        for one in graded:
            grades = [one.grades[turn] for turn in chosen if turn < len(one.grades)]
            known = [given for given in grades if given is not None]
            row = tally.setdefault((one.answered.question.language, one.answered.question.question_id), np.zeros(3))
            row += (sum(known), len(known), len(grades))
        table[name] = estimate(tally, bootstrap, seed)
    return table


def _question(line: str, number: int) -> tuple[str, Question]:
    try:
        row: Mapping[str, Any] = json.loads(line)
        turns = row["turns"]
        if not turns or not all(isinstance(turn, str) and turn.strip() for turn in turns):
            raise ValueError("turns must be texts")
        return row["category"], Question(str(row["question_id"]), str(row.get("language", "en")), tuple(turns))
    except (ValueError, KeyError, TypeError) as error:
        raise InvalidInput(
            f"line {number} is no MT-Bench question ({error}): expected question_id, category and turns, found {line[:80]!r}"
        ) from error


def _prompt(one: Answered, turn: int) -> str:
    language = load(one.question.language)
    if "judge_mt_bench" not in language.prompts:
        language = load("en")
    earlier = zip(one.question.turns[: turn + 1], one.answers[: turn + 1], strict=True)
    conversation = "\n\n".join(f"[user]\n{question}\n\n[assistant]\n{answer}" for question, answer in earlier)
    return language.render("judge_mt_bench", conversation=conversation)


def _mean(grades: Sequence[float]) -> float | None:
    return fmean(grades) if grades else None


def _account(ledger: Ledger, one: Answered, turn: int, given: float | None, votes: Sequence[Vote]) -> None:
    failure = one.failures[turn]
    ledger.inputs += 1
    if is_open(votes, by_majority=False):
        ledger.fail(_row(one, turn), missing(votes))
    elif given is not None:
        ledger.ok += 1
    elif failure == UNAVAILABLE:
        ledger.fail(_row(one, turn), RowFailed(failure, "the model gave no answer"))
    elif failure not in ("", CUT):
        ledger.filter(_row(one, turn), "no_answer", failure)
    else:
        ledger.fail(_row(one, turn), missing(votes))


def _row(one: Answered, turn: int) -> str:
    return f"question {one.question.question_id}#{turn}"
