"""Dated versions of a dataset: what changed, which one is the latest, and what goes when it is old."""

from pathlib import Path

import pytest

from ditto_core.dataset import versions
from ditto_core.dataset.versions import Version
from ditto_core.ledger import Ledger
from ditto_core.recipe import digest
from ditto_core.records import Article, Character, Claim, Profile, Section
from ditto_core.shards import ShardKey, ShardRef, ShardStore, write_text


def profile(qid: str, text: str = "A queen.", revision: str = "1", sitelinks: int = 5, fact: str = "London") -> Profile:
    character = Character(qid, "en", "Q5", f"Role {qid}", "a person", sitelinks, qid, (), (Claim("P19", "born in", fact),))
    article = Article(qid, (Section("", text),), (), revision, "2026-01-01T00:00:00Z", "http://x", "CC0 1.0")
    return Profile(character, article, text)


def shard(store: ShardStore, name: str, *profiles: Profile) -> ShardRef:
    key = ShardKey("profiles", "recipe", name, digest(profiles))
    return store.write(key, Profile, profiles, Ledger(len(profiles), len(profiles)))


def version(store: ShardStore, name: str, *shards: ShardRef) -> Version:
    dataset = f"datasets/{name}"
    write_text(store.data_root / dataset / "train.parquet", f"rows of {name}")
    return Version(name, dataset, {"train": 3}, {"assemble": {"too_short": 1}}, {"profiles": list(shards)})


@pytest.fixture
def store(tmp_path: Path) -> ShardStore:
    return ShardStore(tmp_path)


def test_added_changed_and_dropped_roles_are_told_apart(store: ShardStore) -> None:
    same = shard(store, "en-0000", profile("Q1"), profile("Q2"))
    before = version(store, "2026-11-23", same, shard(store, "en-0001", profile("Q3"), profile("Q4"), profile("Q5")))
    rest = shard(store, "en-0001", profile("Q3", revision="2"), profile("Q4", fact="Rome"), profile("Q6"))
    changes = versions.compare(store, before, version(store, "2026-11-24", same, rest))
    assert changes.added == ["Role Q6 (en:Q6)"]
    assert changes.changed == ["Role Q3 (en:Q3): article, revision 1 to 2", "Role Q4 (en:Q4): facts"]
    assert changes.dropped == ["Role Q5 (en:Q5)"]


def test_a_role_that_only_gained_a_sitelink_is_not_reported(store: ShardStore) -> None:
    before = version(store, "2026-11-23", shard(store, "en-0000", profile("Q1", sitelinks=5)))
    now = version(store, "2026-11-24", shard(store, "en-0000", profile("Q1", sitelinks=6)))
    assert versions.compare(store, before, now).summary() == "0 roles added, 0 changed, 0 dropped"


def test_a_version_holds_the_dataset_and_the_latest_leads_to_it(store: ShardStore) -> None:
    for name in ("2026-11-23", "2026-11-24"):
        versions.write(store, version(store, name, shard(store, "en-0000", profile("Q1"))), f"# {name}\n")
    latest = store.data_root / "versions" / "latest"
    assert (latest / "train.parquet").read_text() == "rows of 2026-11-24"
    assert (latest / "CHANGELOG.md").read_text() == "# 2026-11-24\n"
    assert [found.name for found in versions.all_versions(store.data_root)] == ["2026-11-23", "2026-11-24"]
    assert sorted(path.name for path in latest.parent.iterdir()) == ["2026-11-23", "2026-11-24", "latest"]


def test_the_changelog_counts_rows_by_reason(store: ShardStore) -> None:
    now = version(store, "2026-11-24")
    text = versions.changelog(version(store, "2026-11-23"), now, versions.Changes(added=["Ada (en:Q7259)"]))
    assert "1 roles added, 0 changed, 0 dropped" in text
    assert "- Ada (en:Q7259)" in text
    assert "| assemble | too_short | 1 | 1 |" in text


def test_a_second_version_of_a_day_gets_a_number_and_stays_in_order(store: ShardStore) -> None:
    for _ in range(11):
        name = versions.next_name(versions.all_versions(store.data_root), "2026-11-24")
        versions.write(store, version(store, name), "")
    assert [found.name for found in versions.all_versions(store.data_root)][-2:] == ["2026-11-24.10", "2026-11-24.11"]


def test_a_version_is_never_older_by_name_than_the_newest(store: ShardStore) -> None:
    def after(*names: str) -> str:
        return versions.next_name([version(store, name) for name in names], "2026-11-24")

    assert after("2026-11-22", "2026-11-23.4") == "2026-11-24"
    assert after("2026-11-24.2", "2026-11-24.3") == "2026-11-24.4", "though the first of the day was pruned"
    assert after("2026-11-24", "2026-11-25") == "2026-11-25.2", "the night of the 24th is retried late"


def test_the_draft_of_a_killed_night_is_no_version(store: ShardStore) -> None:
    versions.write(store, version(store, "2026-11-23"), "")
    (store.data_root / "versions/2026-11-23").rename(store.data_root / "versions/.2026-11-23.77.tmp")
    assert versions.all_versions(store.data_root) == []


def test_pruning_keeps_what_a_newer_version_or_another_run_still_needs(store: ShardStore) -> None:
    alone, shared = shard(store, "en-0000", profile("Q1")), shard(store, "en-0001", profile("Q2"))
    used = shard(store, "en-0002", profile("Q3"))
    versions.write(store, version(store, "2026-11-23", alone, shared, used), "")
    versions.write(store, version(store, "2026-11-24", shared), "")
    assert versions.prune(store, 1, frozenset({used.uri})) == ["2026-11-23"]
    assert [store.is_intact(ref) for ref in (alone, shared, used)] == [False, True, True]
    assert not (store.data_root / "datasets" / "2026-11-23").exists()
    assert (store.data_root / "versions" / "latest" / "train.parquet").exists()
