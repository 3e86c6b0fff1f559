"""plan: states, reasons and costs, from what earlier runs left on disk."""

import json
from pathlib import Path

import pytest

from ditto_core.configuration import load
from ditto_core.errors import InvalidInput
from ditto_core.ledger import Ledger
from ditto_core.records import Article, Character, Profile, Section
from ditto_core.settings import Settings
from ditto_core.shards import ShardKey, ShardStore
from flows.plan import plan
from tasks import handover, recipes

SESSION = {
    "system": "You are Ada.",
    "ref_messages": [],
    "role_consist_cands": ["Ada", "Bob"],
    "meta": {"label": "Ada", "lang": "en"},
}


def settings(root: Path, *assignments: str) -> Settings:
    script = root / "script.jsonl"
    script.write_text('{"match": "x", "reply": "y"}\n')
    base = ["generation.engine=scripted", "generation.model=embedded", f"generation.script={script}"]
    return load("demo", None, [*base, *assignments], data_root=str(root / "data"))


def collected(chosen: Settings, roles: int) -> None:
    """Leave profiles behind as collect does."""
    store, recipe = ShardStore(Path(chosen.data_root)), recipes.knowledge_recipe(chosen)
    article = Article("t", (Section("", "She lived in a town by the sea for years."),), (), "1", "", "", "CC0")
    rows = [Profile(Character(f"Q{n}", "en", "Q5", f"Ada {n}", "writer", 1, "t"), article, "") for n in range(roles)]
    ref = store.write(ShardKey("profiles", recipe, "en-0000", "x"), Profile, rows, Ledger(roles, roles))
    handover.leave(chosen, "profiles", recipe, {"en": [ref]})


def states(chosen: Settings) -> dict[str, str]:
    return {row["stage"]: row["state"] for row in plan(chosen)}


def test_a_stage_is_missing_then_cached_then_stale_for_a_reason(tmp_path: Path) -> None:
    chosen = settings(tmp_path)
    assert states(chosen)["collect"] == "missing"
    collected(chosen, 3)
    assert (states(chosen)["collect"], states(chosen)["simulate"]) == ("cached", "missing")
    handover.leave(chosen, "dialogues", recipes.simulation_recipe(chosen), {})
    assert states(chosen)["simulate"] == "cached"
    warmer = settings(tmp_path, "simulation.temperature=0.9", "generation.concurrency=3")
    simulate = plan(warmer)[1]
    assert simulate["state"] == "stale"
    assert "simulation.temperature 0.6 -> 0.9" in simulate["why"]


def test_what_was_made_of_earlier_profiles_is_stale_and_costs(tmp_path: Path) -> None:
    chosen = settings(tmp_path)
    collected(chosen, 3)
    profiles = handover.take(chosen, "profiles", recipes.knowledge_recipe(chosen), "collect")
    handover.leave(chosen, "dialogues", recipes.simulation_recipe(chosen), {}, made_of=profiles)
    handover.leave(chosen, "examples", recipes.dataset_recipe(chosen), {}, made_of={})
    assert [states(chosen)[stage] for stage in ("simulate", "assemble")] == ["cached", "cached"]
    collected(chosen, 4)
    simulate, assemble = plan(chosen)[1:3]
    assert simulate["state"] == assemble["state"] == "stale"
    assert "the profiles changed; about" in simulate["why"]
    assert assemble["why"] == "simulate is stale"
    with pytest.raises(InvalidInput, match="the budget is 10"):
        plan(chosen, budget=10)


def test_a_model_of_an_earlier_dataset_is_stale(tmp_path: Path) -> None:
    chosen = settings(tmp_path, "dataset.imported=datasets/new")
    made, trained = recipes.dataset_recipe(chosen), recipes.training_recipe(chosen)
    handover.leave(chosen, "examples", made, {})
    handover.leave_value(chosen, "dataset", made, {"folder": "datasets/new"})
    handover.leave_value(chosen, "model", trained, {"folder": "models/a", "losses": [], "dataset": "datasets/new"})
    assert [states(chosen)[stage] for stage in ("simulate", "assemble", "train")] == ["missing", "cached", "cached"]
    handover.leave_value(chosen, "model", trained, {"folder": "models/a", "losses": [], "dataset": "datasets/old"})
    assert states(chosen)["train"] == "stale"


def test_evaluation_costs_what_its_sessions_runs_and_judge_ask(tmp_path: Path) -> None:
    lines = tmp_path / "test.jsonl"
    each = [{"prompts": asked, "rejection_labels": [0] * len(asked), "evidence": [""] * len(asked)} for asked in ("ab", "c")]
    sessions = [{**SESSION, **one, "prompts": list(one["prompts"])} for one in each]
    lines.write_text("".join(json.dumps(session) + "\n" for session in sessions))
    judged = "evaluation.judge=llm", "evaluation.votes=3", "evaluation.runs=2", f"evaluation.test_file={lines}"
    why = plan(settings(tmp_path, *judged))[-1]["why"]
    assert why == "2 sessions, 12 requests for answers, at most 216 for verdicts; what the memo knows is free"


def test_costs_grow_with_the_roles_and_time_follows_the_rate(tmp_path: Path) -> None:
    chosen = settings(tmp_path)
    collected(chosen, 10)
    few = plan(chosen, tokens_per_second=10)[1]
    collected(chosen, 20)
    many = plan(chosen, tokens_per_second=10)[1]
    pairs = 10 * chosen.simulation.partners
    assert few["requests"] == pairs + 2 * pairs * chosen.simulation.queries_per_pair
    assert many["requests"] == 2 * few["requests"]
    assert many["prompt_tokens"] == pytest.approx(2 * few["prompt_tokens"], rel=0.05)
    assert few["seconds"] == round(few["new_tokens"] / 10)
    assert "seconds" not in plan(chosen)[1]


def test_a_plan_over_the_budget_stops(tmp_path: Path) -> None:
    chosen = settings(tmp_path)
    collected(chosen, 10)
    needed = plan(chosen)[1]
    total = needed["prompt_tokens"] + needed["new_tokens"]
    plan(chosen, budget=total)
    with pytest.raises(InvalidInput, match=f"{total:,}"):
        plan(chosen, budget=total - 1)
