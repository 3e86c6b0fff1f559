"""A table of single edits: each asks the model again for exactly what it must, and for nothing else."""

import json
import shutil
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from fixtures.answering import Answering

from ditto_core import languages
from ditto_core.generation.requests import Request
from ditto_core.memo import Memo
from ditto_core.memoised import MemoisedGenerator
from ditto_core.recipe import ModelIdentity
from ditto_core.records import Article, Character, Place, Profile, Section
from ditto_core.settings import SimulationSettings
from ditto_core.simulation import dialogues, queries

EN = languages.load("en")
ROLES = 6
BOTH = {"queries", "responses"}


def profile(number: int, life: str = "She lived by the sea.") -> Profile:
    character = Character(f"Q{number}", "en", "Q5", f"Person{number}x", "a writer", 1, "t")
    return Profile(character, Article("t", (Section("", life),), (), "1", "", "", "CC0"), "")


PLACES = [Place(f"Q{n}", "", "Q5", 0, "", (f"Q{(n + 1) % ROLES}",), (f"Q{(n - 1) % ROLES}",)) for n in range(ROLES)]
BASE: Mapping[str, Any] = {
    "places": PLACES,
    "profiles": {f"Q{n}": profile(n) for n in range(ROLES)},
    "language": EN,
    "settings": SimulationSettings(profile_tokens=200),
    "identity": ModelIdentity("weights", "tokenizer"),
}


class Asked(Answering):
    """Answers everything, with questions that belong to the pair.

    Attributes:
        unusable: Draws of a list that nobody can read.
    """

    def __init__(self, identity: ModelIdentity, unusable: int = 0) -> None:
        super().__init__(identity)
        self.unusable = unusable

    def reply(self, request: Request) -> str:
        if request.purpose != "queries":
            return "I have never heard of it."
        names = "".join(sorted(set(request.messages[0].content) & set("0123456789")))
        questions = json.dumps([f"Do you remember day {number} of {names}?" for number in "abc"])
        return "No." if request.sample < self.unusable else questions


def run(memo: Path, **edit: Any) -> tuple[dialogues.Simulated, list[Request]]:
    given = {**BASE, "unusable": 0, **edit}
    engine, store = Asked(given["identity"], given["unusable"]), Memo(f"sqlite:///{memo}")
    generator = MemoisedGenerator(engine.identity, lambda: engine, store)
    result = dialogues.simulate(
        given["places"], given["profiles"], generator, given["language"], given["settings"], lambda done, lost: None
    )
    store.close()
    return result, engine.asked


def prompts(name: str) -> languages.Language:
    return replace(EN, prompts={**EN.prompts, name: EN.prompts[name] + " Be brief."})


def settings(**changes: Any) -> SimulationSettings:
    return SimulationSettings(**{"profile_tokens": 200, **changes})


@pytest.mark.parametrize(
    ("edit", "again"),
    [
        pytest.param({"identity": ModelIdentity("weightz", "tokenizer")}, BOTH, id="weights"),
        pytest.param({"identity": ModelIdentity("weights", "tokenizer2")}, BOTH, id="tokenizer"),
        pytest.param({"settings": settings(temperature=0.71)}, BOTH, id="temperature"),
        pytest.param({"settings": settings(top_p=0.9)}, BOTH, id="top-p"),
        pytest.param({"settings": settings(repetition_penalty=1.2)}, BOTH, id="penalty"),
        pytest.param({"settings": settings(max_response_tokens=100)}, {"responses"}, id="length-of-answers"),
        pytest.param({"settings": settings(query_mode="schema")}, {"queries"}, id="schema"),
        pytest.param({"language": prompts("query_simulation")}, {"queries"}, id="query-prompt"),
        pytest.param({"language": prompts("response_simulation")}, {"responses"}, id="response-prompt"),
        pytest.param(
            {"language": replace(EN, identity_templates=("Be $label, $description.", "Be $label."))},
            {"responses"},
            id="system-line",
        ),
        pytest.param({"language": replace(EN, cues={**EN.cues, "assistant": ("never heard",)})}, set(), id="a-stricter-filter"),
        pytest.param({"settings": settings(query_samples=2)}, set(), id="draws-that-were-not-needed"),
        pytest.param({"settings": settings(evidence=1)}, set(), id="evidence-kept"),
        pytest.param({"places": PLACES[::-1]}, set(), id="order"),
        pytest.param({"places": PLACES[:3]}, set(), id="another-shard-count"),
    ],
)
def test_an_edit_asks_again_for_exactly_what_it_shapes(tmp_path: Path, edit: Mapping[str, Any], again: set[str]) -> None:
    _, first = run(tmp_path / "memo.db")
    _, second = run(tmp_path / "memo.db", **edit)
    assert {request.purpose for request in second} == again
    for purpose in again:
        assert sum(r.purpose == purpose for r in second) == sum(r.purpose == purpose for r in first)


@pytest.mark.parametrize(("draws", "again"), [(2, 0), (3, 0), (4, ROLES), (5, 2 * ROLES)])
def test_another_number_of_draws_asks_for_those_that_are_missing(tmp_path: Path, draws: int, again: int) -> None:
    _, first = run(tmp_path / "memo.db", unusable=3)
    assert [request.sample for request in first].count(2) == ROLES
    _, second = run(tmp_path / "memo.db", unusable=3, settings=settings(query_samples=draws))
    assert [request.sample for request in second if request.purpose == "queries"].count(3) == min(again, ROLES)
    assert sum(request.purpose == "queries" for request in second) == again


def test_a_better_parser_reads_what_was_paid_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    before, _ = run(tmp_path / "memo.db")
    whole = queries.parse
    monkeypatch.setattr(queries, "parse", lambda completion, count: whole(completion, count)[::-1])
    after, second = run(tmp_path / "memo.db")
    assert second == []
    assert after.dialogues != before.dialogues
    assert after.ledger.ok == before.ledger.ok


def test_a_comment_in_the_code_changes_no_key(tmp_path: Path) -> None:
    root = Path(__file__).parents[2]
    shutil.copytree(root / "ditto_core", tmp_path / "ditto_core", ignore=shutil.ignore_patterns("__pycache__", "embedded"))
    for file in tmp_path.rglob("*.py"):
        file.write_text(file.read_text("utf-8") + "\n# a comment\n", "utf-8")
    script = (
        "from ditto_core.generation.requests import Request, Sampling\n"
        "from ditto_core.recipe import ModelIdentity, stage_recipe\n"
        "print(Request((), Sampling()).key(ModelIdentity('w', 't')), stage_recipe('simulation', {}))\n"
    )
    said = [subprocess.check_output([sys.executable, "-c", script], cwd=folder, text=True) for folder in (root, tmp_path)]
    assert said[0] == said[1] != ""


def test_one_changed_article_asks_again_for_the_requests_that_show_it(tmp_path: Path) -> None:
    _, first = run(tmp_path / "memo.db")
    changed = {**BASE["profiles"], "Q2": profile(2, "She lived in the hills.")}
    _, second = run(tmp_path / "memo.db", profiles=changed)
    showing = [request for request in first if "Person2x" in request.messages[0].content]
    assert len(second) == len(showing)
    assert all("in the hills" in request.messages[0].content for request in second)


def test_any_order_gives_the_same_dialogues(tmp_path: Path) -> None:
    forwards, _ = run(tmp_path / "a.db")
    backwards, _ = run(tmp_path / "b.db", places=PLACES[::-1])
    assert backwards.dialogues[::-1] == forwards.dialogues
