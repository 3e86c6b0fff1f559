"""simulate: pair the roles, then simulate questions and answers shard by shard."""

import time
from collections.abc import Sequence

from ditto_core.errors import InvalidInput
from ditto_core.ledger import Ledger
from ditto_core.recipe import digest
from ditto_core.records import Place
from ditto_core.settings import Settings
from ditto_core.shards import ShardKey, ShardStore
from flows import stage
from tasks import handover, recipes, resources, simulation


@stage.stage_flow("simulate")
def simulate(settings: Settings, refresh: Sequence[str] = ()) -> stage.StageResult:
    """Let the seed LLM write questions for every pair of roles and answer them in the role's voice."""
    stage.check_refresh(settings, refresh)
    started, calls, tokens = time.monotonic(), resources.model_calls(), resources.new_tokens()
    recipe = recipes.simulation_recipe(settings)
    store = ShardStore.of(settings)
    profiles = handover.take(settings, "profiles", recipes.knowledge_recipe(settings), "collect")
    pairs = {
        language: [simulation.pair_roles.with_options(task_run_name=f"pairs-{language}")(settings, language, recipe, refs)]
        for language, refs in profiles.items()
    }
    _require_partners(stage.ledger_of(store, pairs))
    futures = {}
    for language, refs in profiles.items():
        places = list(store.read(pairs[language][0], Place))
        for number in range(settings.shards):
            key = ShardKey("dialogues", recipe, f"{language}-{number:04d}", simulation.shard_inputs(places, number))
            labels = [place.label for place in places if place.shard == number]
            futures[key.name] = stage.submit(
                simulation.simulate_dialogues,
                key,
                settings,
                language,
                number,
                pairs[language][0],
                refs,
                roles=labels,
                refresh=refresh,
            )
    shards = stage.gather("dialogues", futures)
    resources.release()  # while its cluster is there: what comes next finds the memory free
    ledger = stage.account("dialogues", store, shards)
    handover.leave(settings, "pairs", recipe, pairs)
    by_language = {code: [ref for name, ref in shards.items() if name.startswith(f"{code}-")] for code in profiles}
    handover.leave(settings, "dialogues", recipe, by_language, made_of=profiles)
    seconds, tokens = time.monotonic() - started, resources.new_tokens() - tokens
    if tokens:
        model = digest(resources.identify(settings.generation))
        handover.leave_value(settings, "speed", model, {"tokens_per_second": tokens / seconds})
    return stage.StageResult("simulate", ledger, resources.model_calls() - calls, seconds, f"shards/dialogues/{recipe[:12]}")


def _require_partners(paired: Ledger) -> None:
    if not paired.ok:
        raise InvalidInput(
            f"none of the {paired.inputs} collected characters has a partner, so nobody can be asked anything: a partner has the "
            f"same language, neither mentions the other, and they share no claim. Raise knowledge.max_characters, add to "
            f"knowledge.classes, and run `ditto collect` again."
        )
