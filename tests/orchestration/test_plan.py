"""plan: states, reasons and costs, from what earlier runs left on disk."""

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
