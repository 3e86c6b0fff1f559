"""plan: what a run would do, before anything is paid. Counts only; no model is loaded and no source is asked."""

from pathlib import Path
from typing import Any

from ditto_core.dataset import publish
from ditto_core.errors import InvalidInput
from ditto_core.settings import Settings
from ditto_core.shards import ShardStore
from tasks import handover, recipes

Row = dict[str, Any]


def plan(settings: Settings) -> list[Row]:
    """One row a stage: "cached" or "missing", why, and the requests that it needs at most."""
    collected, simulated = recipes.knowledge_recipe(settings), recipes.simulation_recipe(settings)
    made = recipes.dataset_recipe(settings)
    return [
        _row(settings, "collect", "profiles", collected, "asks the knowledge base in any case"),
        _row(settings, "simulate", "dialogues", simulated, _requests(settings)),
        _row(settings, "assemble", "examples", made, "no request"),
        _row(settings, "train", "model", recipes.training_recipe(settings), f"{settings.training.max_steps} steps"),
        _evaluation(settings, made),
    ]


def _row(settings: Settings, stage: str, output: str, recipe: str, cost: str) -> Row:
    try:
        value = handover.take_value(settings, output, recipe, stage)
    except InvalidInput:
        return {"stage": stage, "state": "missing", "why": f"no {output} for these settings yet; {cost}"}
    return {"stage": stage, "state": "cached", "why": _where(settings, output, value)}


def _where(settings: Settings, output: str, value: Any) -> str:
    if "folder" in value:
        return str(value["folder"])
    store = ShardStore(Path(settings.data_root))
    refs = [ref for refs in handover.take(settings, output, _recipe_of(settings, output), "").values() for ref in refs]
    broken = sum(not store.is_intact(ref) for ref in refs)
    return f"{sum(ref.rows for ref in refs)} rows in {len(refs)} shards" + (f", {broken} to recompute" if broken else "")


def _recipe_of(settings: Settings, output: str) -> str:
    if output == "profiles":
        return recipes.knowledge_recipe(settings)
    return recipes.simulation_recipe(settings) if output == "dialogues" else recipes.dataset_recipe(settings)


def _requests(settings: Settings) -> str:
    """Requests at most: a draw or more for each pair, then an answer to each question of both its characters."""
    try:
        profiles = handover.take(settings, "profiles", recipes.knowledge_recipe(settings), "collect")
    except InvalidInput:
        return "requests are known after collect"
    roles = sum(ref.rows for refs in profiles.values() for ref in refs)
    pairs = roles * settings.simulation.partners
    answers = 2 * pairs * settings.simulation.queries_per_pair
    draws = settings.simulation.query_samples if settings.simulation.query_mode == "samples" else 2
    return f"{pairs} to {pairs * draws} requests for questions, at most {answers} for answers"


def _evaluation(settings: Settings, made: str) -> Row:
    try:
        folder = str(handover.take_value(settings, "dataset", made, "assemble")["folder"])
    except InvalidInput:
        return {"stage": "evaluate", "state": "missing", "why": "requests are known after assemble"}
    dataset = publish.find(Path(settings.data_root), folder)
    sessions = dataset.rows["test"] if dataset else 0
    most = 2 * sessions * settings.dataset.test_questions
    return {"stage": "evaluate", "state": "open", "why": f"{sessions} sessions, at most {most} requests; answered ones are free"}
