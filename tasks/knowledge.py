"""Tasks of the knowledge stage: characters of a language, their pages, and profiles shard by shard."""

import os
import time
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path

from prefect import get_run_logger

from ditto_core import languages
from ditto_core.embedded import world_export, world_rdf
from ditto_core.errors import InvalidInput
from ditto_core.knowledge import action_api, cleaning, collection, dump, oxigraph, wikipedia
from ditto_core.knowledge.snapshot import Snapshot, take_over
from ditto_core.knowledge.source import Source
from ditto_core.knowledge.sparql import SparqlClient
from ditto_core.ledger import Ledger
from ditto_core.recipe import digest
from ditto_core.records import Character, Page, Profile
from ditto_core.settings import Settings
from ditto_core.shards import ShardKey, ShardRef, ShardStore, shard_of
from tasks import policies, reporting

_WIKIMEDIA_HOSTS = ("wikidata.org", "wikipedia.org", "wikimedia.org")


@policies.source_task(name="characters")
def collect_characters(settings: Settings, language: str, recipe: str) -> ShardRef:
    """Rank and describe the characters of one language: one file for all shards.

    Raises:
        InvalidInput: The endpoint is not there or knows no such character.
    """
    knowledge = settings.knowledge
    get_run_logger().info(
        "asking %s for up to %d %s characters of each of %s",
        knowledge.sparql_endpoint,
        knowledge.max_characters,
        language,
        ", ".join(knowledge.classes),
    )
    with _endpoint(settings) as address:
        source = _source(settings, address, "knowledge.sparql_endpoint")
        characters, ledger = collection.collect_characters(SparqlClient(source), knowledge, languages.load(language))
    ledger.notes.update(_notes(source))
    if not characters:
        raise InvalidInput(
            f"{knowledge.sparql_endpoint} has no usable character of {', '.join(knowledge.classes)} in {language!r} "
            f"({reporting.describe(ledger)}). A character needs a label, a description and an article in that language."
        )
    for cls in knowledge.classes:
        if f"no_items_of_{cls}" in ledger.notes:
            get_run_logger().warning("%s has no instance with an article in %r; is it a class?", cls, language)
    for note, number in sorted(ledger.notes.items()):
        get_run_logger().info("%s: %d for %d characters", note, number, ledger.inputs)
    reporting.log_ledger(f"characters of {language}", ledger)
    key = ShardKey("characters", recipe, language, digest(characters))
    return ShardStore.of(settings).write(key, Character, characters, ledger)


def _endpoint(settings: Settings) -> AbstractContextManager[str]:
    """The configured endpoint, or a server over the embedded world for as long as it is needed."""
    if settings.knowledge.sparql_endpoint != "embedded":
        return nullcontext(settings.knowledge.sparql_endpoint)
    return oxigraph.serve(world_rdf(), Path(settings.data_root) / "embedded")


def _source(settings: Settings, address: str, setting: str) -> Source:
    """An address with the run's snapshot; a server of our own over the embedded world needs none."""
    knowledge = settings.knowledge
    embedded = setting == "knowledge.sparql_endpoint" and knowledge.sparql_endpoint == "embedded"
    snapshot = None if embedded else Snapshot(_snapshots(settings) / knowledge.snapshot, complete=knowledge.offline)
    return Source(address, setting, knowledge.contact, knowledge.timeout_s, time.sleep, snapshot)


def _snapshots(settings: Settings) -> Path:
    return Path(settings.data_root) / "snapshots"


def keep_answers(settings: Settings, anew: Settings) -> None:
    """What a good night was answered is what all runs with the settings' own snapshot read from now on."""
    if not settings.knowledge.offline:
        take_over(_snapshots(settings), anew.knowledge.snapshot, settings.knowledge.snapshot)


def _notes(source: Source | None) -> Counter[str]:
    """What was asked, and what went wrong on the way, though nothing was lost by it."""
    if source is None:
        return Counter()
    faults = {f"fault_{kind}": number for kind, number in source.faults.items()}
    return Counter({"requests": source.asked, **faults} if source.snapshot else faults)


@policies.source_task(name="pages")
def read_pages(settings: Settings, language: str, recipe: str, characters: ShardRef) -> list[ShardRef]:
    """Read the articles of all characters in one pass over the dump or the API: one file a shard."""
    store = ShardStore.of(settings)
    shard_by_title = {
        character.title: shard_of(character.qid, settings.shards) for character in store.read(characters, Character)
    }
    pages: list[list[Page]] = [[] for _ in range(settings.shards)]
    meter = reporting.Meter(f"pages-{language}", len(shard_by_title))
    source, stored = _stored(settings, language, list(shard_by_title))
    for title, found in cleaning.articles(stored, language, _cores(), settings.knowledge.article_limit_s):
        page = Page(title, None, found) if isinstance(found, str) else Page(title, found)
        pages[shard_by_title[title]].append(page)
        meter.step()
    notes = [_notes(source)] + [Counter()] * (settings.shards - 1)  # of the whole pass, with the first shard
    return [
        _write_pages(store, recipe, f"{language}-{number:04d}", rows, note)
        for number, (rows, note) in enumerate(zip(pages, notes, strict=True))
    ]


def _cores() -> int:
    """Cores that this process may use; macOS tells only how many there are."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _stored(
    settings: Settings, language: str, titles: Sequence[str]
) -> tuple[Source | None, Iterator[tuple[str, wikipedia.Stored | str]]]:
    """(title, page or the reason why there is none), from where the settings say, and whom it asks for them."""
    knowledge, loaded = settings.knowledge, languages.load(language)
    if knowledge.articles == "api":
        source = _source(settings, knowledge.article_api.replace("{lang}", loaded.wiki), "knowledge.article_api")
        revisions = Snapshot(Path(settings.data_root) / "revisions", complete=knowledge.offline)
        return source, action_api.pages_from_api(titles, loaded, source, revisions)
    return None, dump.pages_from_dump(_dump(settings, language), titles, loaded)


def _dump(settings: Settings, language: str) -> Path:
    address = settings.knowledge.article_dump
    return world_export(language) if address == "embedded" else Path(address.replace("{lang}", languages.load(language).wiki))


def check(settings: Settings) -> None:
    """Refuse what cannot work, before anybody is asked.

    Raises:
        InvalidInput: No contact for Wikimedia's own servers, a language without a folder, or without a dump where dumps are read.
    """
    knowledge = settings.knowledge
    for address in [knowledge.sparql_endpoint, *([knowledge.article_api] if knowledge.articles == "api" else [])]:
        if not knowledge.contact and not knowledge.offline and any(host in address for host in _WIKIMEDIA_HOSTS):
            raise InvalidInput(
                f"{address} belongs to Wikimedia, whose rules ask for a contact in the User-Agent: "
                f"set knowledge.contact to your mail address or page"
            )
    for language in knowledge.languages:
        languages.load(language)
        if knowledge.articles == "dump" and not _dump(settings, language).is_file():
            raise InvalidInput(
                f"knowledge.article_dump: {str(_dump(settings, language))!r} does not exist. Expected a MediaWiki XML export "
                f"(.xml, .gz or .bz2), such as a pages-articles dump; {{lang}} in the path stands for the wiki's language."
            )


def _write_pages(store: ShardStore, recipe: str, name: str, rows: list[Page], notes: Counter[str]) -> ShardRef:
    rows = sorted(rows, key=lambda page: page.wanted)
    key = ShardKey("pages", recipe, name, digest(rows))
    return store.write(key, Page, rows, Ledger(inputs=len(rows), ok=len(rows), notes=notes))


@policies.shard_task(name="profiles")
def build_profiles(key: ShardKey, settings: Settings, number: int, characters: ShardRef, pages: ShardRef) -> ShardRef:
    """Join characters and pages of one shard into profiles."""

    def compute(store: ShardStore) -> tuple[Iterable[Profile], Ledger]:
        mine = [c for c in store.read(characters, Character) if shard_of(c.qid, settings.shards) == number]
        get_run_logger().info("%s: %d characters, %s", key.name, len(mine), reporting.span([c.label for c in mine]))
        found = {page.wanted: page.article or page.reason for page in store.read(pages, Page)}
        profiles, ledger = collection.build_profiles(mine, found)
        return profiles, ledger

    return policies.compute_once(key, settings, Profile, compute)
