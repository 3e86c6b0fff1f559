"""collect: characters of every language, their pages, and their profiles shard by shard."""

import time
from collections import Counter
from collections.abc import Sequence
from datetime import UTC, datetime

from prefect.runtime import flow_run

from ditto_core.knowledge.snapshot import name_of_night
from ditto_core.ledger import Ledger
from ditto_core.recipe import digest
from ditto_core.records import Character
from ditto_core.settings import Settings
from ditto_core.shards import ShardKey, ShardRef, ShardStore, inputs_digest, shard_of
from flows import stage
from tasks import handover, knowledge, recipes


@stage.stage_flow("collect")
def collect(settings: Settings, refresh: Sequence[str] = ()) -> stage.StageResult:
    """Collect character profiles from the knowledge base and the articles."""
    stage.check_refresh(settings, refresh)
    started = time.monotonic()
    knowledge.check(settings)
    recipe = recipes.knowledge_recipe(settings)
    store = ShardStore.of(settings)
    shards: dict[str, ShardRef] = {}
    by_language: dict[str, list[ShardRef]] = {}
    found: dict[str, ShardRef] = {}
    read: dict[str, list[ShardRef]] = {}
    notes: Counter[str] = Counter()
    for language in settings.knowledge.languages:
        found[f"characters-{language}"] = knowledge.collect_characters.with_options(task_run_name=f"characters-{language}")(
            settings, language, recipe
        )
        read[language] = knowledge.read_pages.with_options(task_run_name=f"pages-{language}")(
            settings, language, recipe, found[f"characters-{language}"]
        )
        notes += sum((store.ledger(ref).notes for ref in read[language]), Counter())
        profiles = _profiles(settings, language, recipe, found[f"characters-{language}"], read[language], refresh)
        by_language[language] = list(profiles.values())
        shards |= profiles
    built = stage.account("profiles", store, shards)
    listed = stage.account("characters", store, found)
    handover.leave(settings, "characters", recipe, {name.removeprefix("characters-"): [ref] for name, ref in found.items()})
    handover.leave(settings, "pages", recipe, read)
    handover.leave(settings, "profiles", recipe, by_language)
    total = _joined(listed, built, notes)
    output = f"shards/profiles/{recipe[:12]}"
    return stage.StageResult("collect", total, 0, time.monotonic() - started, output, {"requests": total.notes["requests"]})


def asked_anew(settings: Settings) -> Settings:
    """The settings with a snapshot of this flow run's own: sources are asked again, and once even if the run is retried."""
    if settings.knowledge.offline:
        return settings
    snapshot = name_of_night(flow_run.scheduled_start_time or datetime.now(UTC))
    return settings.model_copy(update={"knowledge": settings.knowledge.model_copy(update={"snapshot": snapshot})})


def _profiles(
    settings: Settings, language: str, recipe: str, characters: ShardRef, pages: Sequence[ShardRef], refresh: Sequence[str]
) -> dict[str, ShardRef]:
    store = ShardStore.of(settings)
    members: list[list[Character]] = [[] for _ in range(settings.shards)]
    for character in store.read(characters, Character):
        members[shard_of(character.qid, settings.shards)].append(character)
    futures = {}
    for number, rows in enumerate(members):
        name = f"{language}-{number:04d}"
        inputs = inputs_digest({"characters": digest(rows), "pages": pages[number].sha256})
        key = ShardKey("profiles", recipe, name, inputs)
        labels = [character.label for character in rows]
        futures[name] = stage.submit(
            knowledge.build_profiles, key, settings, number, characters, pages[number], roles=labels, refresh=refresh
        )
    return stage.gather("profiles", futures)


def _joined(listed: Ledger, built: Ledger, notes: Counter[str]) -> Ledger:
    """One account of both steps: what was ranked is either a profile or lost by name on the way."""
    joined = Ledger.total([listed, built])
    joined.inputs, joined.ok = listed.inputs, built.ok
    joined.notes += notes
    return joined
