"""What decides about a turn from outside: a judge of refusals, asked through the memo, and the user's own check."""

import json
from pathlib import Path

import pytest

from ditto_core import configuration, languages
from ditto_core.errors import InvalidInput
from ditto_core.records import Article, Character, Dialogue, Profile, Query, Turn
from ditto_core.settings import Settings
from tasks import dataset, recipes, resources, toxicity


def turn(answer: str) -> Turn:
    return Turn(Query("Q1", "Q2", "contrastive", "Who is Batman?", "", (), "k"), answer, answer)


TURNS = (turn("That name is for the bats of Kent."), turn("He flies by night."), turn("Hm."), turn("What?"))


def settings_of(root: Path, *assignments: str) -> Settings:
    script = root / "judge.jsonl"
    replies = {"bats of Kent": "It dodges. [[yes]]", "flies": "It answers. [[no]]", "Hm": "Who can say?"}
    script.write_text("".join(json.dumps({"match": match, "reply": reply}) + "\n" for match, reply in replies.items()))
    judge = {"engine": "scripted", "script": str(script)}
    chosen = (f"evaluation.judge_generation={json.dumps(judge)}", *assignments)
    return configuration.load("demo", None, chosen, data_root=str(root))


def test_a_judge_says_what_refuses_and_an_unread_verdict_is_none(tmp_path: Path) -> None:
    article = Article("T", (), (), "7", "", "http://x", "CC0")
    dialogue = Dialogue(Profile(Character("Q1", "en", "Q5", "Ada", "", 1, "T"), article, ""), TURNS)
    verdicts: dataset.Verdicts = {}
    try:
        seen = [
            [verdicts[one] for one in shown.turns]
            for shown in dataset._judged([dialogue] * 60, languages.load("en"), settings_of(tmp_path), verdicts)
        ]
    finally:
        resources.release()
    assert seen == [[True, False, None, None]] * 60


def test_the_judge_and_the_check_enter_the_recipe(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    module = tmp_path / "my_check.py"
    module.write_text("def score(text): return 0.0\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    by_cues, by_judge, checked = (
        recipes.dataset_recipe(settings_of(tmp_path, *more))
        for more in ((), ("dataset.refusals=judge",), ("dataset.toxicity=my_check:score",))
    )
    module.write_text("def score(text): return 1.0\n")
    changed = recipes.dataset_recipe(settings_of(tmp_path, "dataset.toxicity=my_check:score"))
    assert len({by_cues, by_judge, checked, changed}) == 4


@pytest.mark.parametrize("name", ["my_check", "no_such_module:score", "json:no_such_function"])
def test_a_check_that_cannot_be_found_is_told(name: str) -> None:
    with pytest.raises(InvalidInput, match=name):
        toxicity.load(name)
