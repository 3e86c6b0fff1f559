"""MT-Bench role-play: the public format, two turns, grades that are read or left out."""

import json
from collections.abc import Callable

import pytest
from fixtures.answering import Answering

from ditto_core.errors import InvalidInput
from ditto_core.evaluation import mt_bench
from ditto_core.generation.requests import Failure, Outcome, Request
from ditto_core.recipe import ModelIdentity
from ditto_core.settings import EvaluationSettings, GenerationSettings

SETTINGS = EvaluationSettings(judge="llm", judge_generation=GenerationSettings(model="judge-7b"), runs=1)
MODEL = ModelIdentity("weights", "tokenizer")
FILE = "\n".join(
    json.dumps(row)
    for row in [
        {"question_id": 81, "category": "writing", "turns": ["Write.", "Rewrite."]},
        {"question_id": 91, "category": "roleplay", "turns": ["Be a dragon.", "Now sleep."], "reference": ["x"]},
        {"question_id": 92, "category": "roleplay", "turns": ["Be a lamp.", "Now shine."]},
    ]
)


class Engine(Answering):
    """Answers by a function of the request."""

    def __init__(self, reply: Callable[[Request], str | Outcome | None]) -> None:
        super().__init__(MODEL)
        self._reply = reply

    def reply(self, request: Request) -> str | Outcome | None:
        return self._reply(request)


def answered(
    reply: Callable[[Request], str | Outcome | None] = lambda request: f"({request.messages[-1].content})",
) -> list[mt_bench.Answered]:
    found, account = mt_bench.play(mt_bench.read_questions(FILE), Engine(reply), SETTINGS, "m")
    account.check()
    return found


def test_only_role_play_is_asked_and_both_turns_are_one_conversation() -> None:
    engine = Engine(lambda request: f"({request.messages[-1].content})")
    found, account = mt_bench.play(mt_bench.read_questions(FILE), engine, SETTINGS, "m")
    assert (account.inputs, account.ok) == (4, 4)
    assert [one.question.question_id for one in found] == ["91", "92"]
    assert found[0].answers == ("(Be a dragon.)", "(Now sleep.)")
    assert [message.content for message in engine.asked[-2].messages] == ["Be a dragon.", "(Be a dragon.)", "Now sleep."]
    assert {request.sampling.temperature for request in engine.asked} == {0.7}


def test_grades_are_means_of_votes_per_turn_and_the_second_prompt_shows_both_turns() -> None:
    def grade(request: Request) -> str:
        prompt = request.messages[0].content
        return f"[[{4 + request.sample if 'Now' in prompt else 8}]]"

    judge = Engine(grade)
    graded, account = mt_bench.grade(answered(), judge, SETTINGS)
    account.check()
    assert [one.grades for one in graded] == [(8, 5), (8, 5)]
    assert (account.inputs, account.ok) == (4, 4)
    table = mt_bench.scores(graded, 100, 1)
    assert {name: numbers["mean"] for name, numbers in table.items()} == {"turn 1": 8, "turn 2": 5, "mean": 6.5}
    second = next(request.messages[0].content for request in judge.asked if "Now sleep." in request.messages[0].content)
    assert (
        second.index("Be a dragon.") < second.index("(Be a dragon.)") < second.index("Now sleep.") < second.index("(Now sleep.)")
    )


def test_unreadable_and_missing_are_unscored_and_told_apart() -> None:
    def without_the_last(request: Request) -> str | Outcome:
        too_long = request.messages[-1].content == "Now shine."
        return Failure(request.key(MODEL), "prompt_too_long", "2 over") if too_long else "fine"

    said = answered(without_the_last)
    judge = Engine(lambda request: "Hm." if "Now sleep." in request.messages[0].content else "[[9]]")
    graded, account = mt_bench.grade(said, judge, SETTINGS)
    assert [one.grades for one in graded] == [(9, None), (9, None)]
    assert (account.failed, account.filtered) == ({"unreadable": 1}, {"no_answer": 1})
    assert len([request for request in judge.asked if "Now sleep." in request.messages[0].content]) == 6
    table = mt_bench.scores(graded, 100, 1)
    assert (table["mean"]["mean"], table["mean"]["coverage"], table["turn 2"]["mean"]) == (9, 0.5, None)


def test_a_player_or_a_judge_that_is_down_is_told_from_one_that_says_nothing() -> None:
    questions = mt_bench.read_questions(FILE)
    shines = Engine(lambda request: None if request.messages[-1].content == "Now shine." else "fine")
    said, played = mt_bench.play(questions, shines, SETTINGS, "m")
    judge = Engine(lambda request: None if "Now sleep." in request.messages[0].content else "[[9]]")
    graded, account = mt_bench.grade(said, judge, SETTINGS)
    for each in (played, account):
        each.check()
    assert [one.grades for one in graded] == [(9, None), (9, None)]
    assert (played.ok, played.failed, played.unanswered) == (3, {"engine_unavailable": 1}, 1)
    assert (account.failed, account.filtered) == ({"engine_unavailable": 1, "judge_engine_unavailable": 1}, {})
    assert account.unanswered == 2


def test_our_own_questions_have_two_turns_in_three_languages() -> None:
    own = mt_bench.own_questions()
    assert len(own) >= 16
    assert {question.language for question in own} == {"en", "zh", "ko"}
    assert all(len(question.turns) == 2 for question in own)
    assert len({question.question_id for question in own}) == len(own)


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        pytest.param("{", "line 1 is no MT-Bench question", id="cut"),
        pytest.param('{"question_id": 1, "category": "roleplay"}', "turns", id="no-turns"),
        pytest.param('{"question_id": 1, "category": "roleplay", "turns": []}', "turns must be texts", id="no-turn"),
        pytest.param('{"question_id": 1, "category": "math", "turns": ["a"]}', "no question of the category", id="no-role-play"),
        pytest.param("", "no question of the category", id="empty"),
    ],
)
def test_a_file_that_cannot_be_used_is_refused_before_anything_is_asked(text: str, problem: str) -> None:
    with pytest.raises(InvalidInput, match=problem):
        mt_bench.read_questions(text)


def test_every_run_is_a_draw_of_its_own() -> None:
    engine = Engine(lambda _: "x")
    settings = SETTINGS.model_copy(update={"runs": 3})
    found, _ = mt_bench.play(mt_bench.read_questions(FILE), engine, settings, "m")
    assert [one.run for one in found] == [0, 1, 2, 0, 1, 2]
    assert len({request.key(engine.identity) for request in engine.asked}) == len(engine.asked) == 12
