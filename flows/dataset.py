"""assemble: dialogues become rows, rows become a dataset folder."""

import time
from collections.abc import Sequence

import pyarrow.compute as pc

from ditto_core.errors import InvalidInput
from ditto_core.settings import Settings
from ditto_core.shards import ShardKey, ShardRef, ShardStore, inputs_digest
from flows import stage
from tasks import dataset, handover, recipes, resources


@stage.stage_flow("assemble")
def assemble(settings: Settings, refresh: Sequence[str] = ()) -> stage.StageResult:
    """Split, filter and publish the simulated sessions as a dataset that `datasets` loads."""
    stage.check_refresh(settings, refresh)
    started, calls = time.monotonic(), resources.model_calls()
    if settings.dataset.imported:
        raise InvalidInput(
            f"dataset.imported={settings.dataset.imported} stands in for the simulated sessions: there is nothing to assemble. "
            f"Run `ditto train`, or leave the setting out."
        )
    recipe, simulated = recipes.dataset_recipe(settings), recipes.simulation_recipe(settings)
    store = ShardStore.of(settings)
    dialogues = handover.take(settings, "dialogues", simulated, "simulate")
    collected = handover.take(settings, "profiles", recipes.knowledge_recipe(settings), "collect")
    if not handover.is_made_of(settings, "dialogues", simulated, collected):
        raise InvalidInput("the profiles are newer than the dialogues, which tell of others. Run `ditto simulate` first.")
    pairs = handover.take(settings, "pairs", simulated, "simulate")
    futures = {}
    for language, refs in dialogues.items():
        places = pairs[language][0]
        known = store.read_table(places, ["shard", "label"])
        for number, ref in enumerate(refs):
            inputs = inputs_digest({"dialogues": ref.sha256, "pairs": places.sha256})
            key = ShardKey("examples", recipe, f"{language}-{number:04d}", inputs)
            labels = known.filter(pc.equal(known["shard"], number))["label"].to_pylist()
            futures[key.name] = stage.submit(
                dataset.assemble_examples, key, settings, language, ref, places, roles=labels, refresh=refresh
            )
    shards = stage.gather("examples", futures)
    if settings.dataset.refusals == "judge":
        resources.release()  # while the judge's cluster is there: what comes next finds the memory free
    ledger = stage.account("examples", store, shards)
    made = list(shards.values())
    stages = {"profiles": _all(collected), "dialogues": _all(dialogues), "examples": made}
    published = dataset.publish_dataset.with_options(task_run_name="publish")(settings, recipe, made, stages)
    by_language = {code: [ref for name, ref in shards.items() if name.startswith(f"{code}-")] for code in dialogues}
    handover.leave(settings, "examples", recipe, by_language, made_of=dialogues)
    handover.leave_value(settings, "dataset", recipe, {"folder": published.folder})
    seconds, rows = time.monotonic() - started, {"rows": dict(published.rows)}
    return stage.StageResult("assemble", ledger, resources.model_calls() - calls, seconds, published.folder, rows)


def _all(shards: handover.Shards) -> list[ShardRef]:
    return [ref for refs in shards.values() for ref in refs]
