"""Tasks of the simulation stage: whom each role is paired with, then dialogues shard by shard."""

import time
from collections.abc import Iterable, Iterator, Mapping, Sequence

from prefect import get_run_logger, task
from prefect.cache_policies import NO_CACHE

from ditto_core import languages
from ditto_core.ledger import Ledger
from ditto_core.recipe import digest
from ditto_core.records import Dialogue, Place, Profile
from ditto_core.settings import Settings
from ditto_core.shards import ShardKey, ShardRef, ShardStore, inputs_digest, shard_of
from ditto_core.simulation import dialogues, pairing
from tasks import policies, reporting, resources


@task(name="pairs", cache_policy=NO_CACHE)
def pair_roles(settings: Settings, language: str, recipe: str, profiles: Sequence[ShardRef]) -> ShardRef:
    """Put all roles of a language on the ring and write down who is paired with whom."""
    store = ShardStore.of(settings)
    known = {profile.character.qid: profile for profile in _read(store, profiles)}
    partners = pairing.partners([pairing.candidate(profile) for profile in known.values()], settings.simulation.partners)
    askers: dict[str, list[str]] = {qid: [] for qid in known}
    for role, chosen in partners.items():
        for partner in chosen:
            askers[partner].append(role)
    places = [
        Place(
            role=qid,
            label=profile.character.label,
            kind=profile.character.kind,
            shard=shard_of(qid, settings.shards),
            profile=digest(profile),
            partners=partners.get(qid, ()),
            askers=tuple(sorted(askers[qid])),
        )
        for qid, profile in sorted(known.items())
    ]
    ledger = _account(places)
    reporting.log_ledger(f"pairs of {language}", ledger)
    return store.write(ShardKey("pairs", recipe, language, digest(places)), Place, places, ledger)


def shard_inputs(places: Sequence[Place], number: int) -> str:
    """Digest of all profiles that a shard's prompts show: its roles', their partners' and their askers'."""
    by_role = {place.role: place for place in places}
    shown = {
        f"{place.role} {side} {other}": by_role[other].profile
        for place in places
        if place.shard == number
        for side, others in (("is", (place.role,)), ("to", place.partners), ("from", place.askers))
        for other in others
    }
    return inputs_digest(shown)


@policies.shard_task(name="dialogues", asks_model=True)
def simulate_dialogues(
    key: ShardKey, settings: Settings, language: str, number: int, pairs: ShardRef, profiles: Sequence[ShardRef]
) -> ShardRef:
    """Simulate the sessions of one shard: questions, then answers, through the memo."""

    def compute(store: ShardStore) -> tuple[Iterable[Dialogue], Ledger]:
        places = [place for place in store.read(pairs, Place) if place.shard == number]
        wanted = {other for place in places for other in (place.role, *place.partners, *place.askers)}
        shown = {p.character.qid: p for p in _read(store, profiles) if p.character.qid in wanted}
        get_run_logger().info(
            "%s: %d roles, %s; asking %s (%s)",
            key.name,
            len(places),
            reporting.span([place.label for place in places]),
            settings.generation.model,
            settings.generation.engine,
        )
        generator, started = resources.generator(settings, settings.generation).metered(), time.monotonic()
        meter = reporting.Meter(key.name, dialogues.planned(places, settings.simulation))

        def traffic() -> str:
            return reporting.traffic(generator.usage, time.monotonic() - started)

        def progress(done: int, lost: Mapping[str, int]) -> None:
            meter.step(done, "; ".join(filter(None, (traffic(), reporting.losses(lost)))))

        result = dialogues.simulate(places, shown, generator, languages.load(language), settings.simulation, progress)
        get_run_logger().info("%s: %s", key.name, traffic())
        return result.dialogues, result.ledger

    return policies.compute_once(key, settings, Dialogue, compute)


def _read(store: ShardStore, shards: Sequence[ShardRef]) -> Iterator[Profile]:
    for ref in shards:
        yield from store.read(ref, Profile)


def _account(places: Sequence[Place]) -> Ledger:
    ledger = Ledger(inputs=len(places))
    for place in places:
        if place.partners:
            ledger.ok += 1
        else:
            ledger.filter(place.role, "no_partner", place.label)
    return ledger
