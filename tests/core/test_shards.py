"""Shards: the same bytes for the same rows, and nothing that looks whole but isn't."""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from ditto_core.errors import BrokenPromise, InvalidInput, RowFailed
from ditto_core.ledger import Ledger, Loss
from ditto_core.records import Section
from ditto_core.shards import ShardKey, ShardStore, locked, lost_path, manifest_path, shard_of, write_atomically

KEY = ShardKey("stage", "recipe" * 8, "en-0003", "inputs" * 8)
ROWS = [Section("a", "one"), Section("b", "two")]


@pytest.fixture
def store(tmp_path: Path) -> ShardStore:
    return ShardStore(tmp_path)


def ledger() -> Ledger:
    return Ledger(inputs=2, ok=2)


def test_what_was_written_is_read(store: ShardStore) -> None:
    ref = store.write(KEY, Section, ROWS, ledger())
    assert list(store.read(ref, Section)) == ROWS
    assert store.find(KEY) == ref
    assert store.ledger(ref).summary()["ok"] == 2


def test_the_same_rows_give_the_same_bytes(store: ShardStore) -> None:
    first = store.write(KEY, Section, ROWS, ledger())
    second = store.write(replace(KEY, name="en-0004"), Section, ROWS, ledger())
    assert store.path(first.uri).read_bytes() == store.path(second.uri).read_bytes()


@pytest.mark.parametrize("field", ["stage", "recipe", "name", "inputs"])
def test_another_key_does_not_find_the_shard(store: ShardStore, field: str) -> None:
    store.write(KEY, Section, ROWS, ledger())
    assert store.find(replace(KEY, **{field: "other" * 8})) is None


@pytest.mark.parametrize(
    ("reason", "finished"), [("response_cut", True), ("engine_unavailable", False), ("response_engine_unavailable", False)]
)
def test_a_shard_whose_engine_did_not_answer_is_usable_and_made_again(store: ShardStore, reason: str, finished: bool) -> None:
    account = Ledger(inputs=3, ok=2)
    account.fail("row", RowFailed(reason, "", raw="x"))
    ref = store.write(KEY, Section, ROWS, account)
    assert list(store.read(ref, Section)) == ROWS
    assert (store.find(KEY) == ref) is finished


def _delete(path: Path) -> None:
    path.unlink()


def _flip(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[20] ^= 1
    path.write_bytes(content)


def _cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-10])


def _drop_manifest(path: Path) -> None:
    manifest_path(path).unlink()


def _cut_manifest(path: Path) -> None:
    manifest_path(path).write_text(manifest_path(path).read_text()[:40])


@pytest.mark.parametrize("damage", [_delete, _flip, _cut, _drop_manifest, _cut_manifest])
def test_a_damaged_shard_is_missing_and_never_read(store: ShardStore, damage) -> None:
    ref = store.write(KEY, Section, ROWS, ledger())
    damage(store.path(ref.uri))
    assert store.find(KEY) is None
    with pytest.raises(BrokenPromise, match="gone or was altered"):
        list(store.read(ref, Section))


def test_a_ledger_that_is_off_is_not_written(store: ShardStore) -> None:
    with pytest.raises(BrokenPromise, match="ledger is off: 3 inputs"):
        store.write(KEY, Section, ROWS, Ledger(inputs=3, ok=2))
    assert store.find(KEY) is None


def test_a_write_that_fails_leaves_nothing(tmp_path: Path) -> None:
    def fail(_file) -> None:
        raise OSError(28, "No space left on device")

    with pytest.raises(InvalidInput, match="No space left"):
        write_atomically(tmp_path / "file", fail)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("name", ["../../etc/passwd", "a/b", "..", "C:\\x"])
def test_no_name_leads_out_of_the_data_root(store: ShardStore, tmp_path: Path, name: str) -> None:
    ref = store.write(replace(KEY, name=name, stage=name), Section, ROWS, ledger())
    assert store.path(ref.uri).resolve().is_relative_to(tmp_path.resolve() / "shards")


def test_an_added_session_changes_no_other_shard() -> None:
    before = {f"Q{n}": shard_of(f"Q{n}", 8) for n in range(100)}
    assert {qid: shard_of(qid, 8) for qid in before} == before
    assert len(set(before.values())) == 8


def test_losses_are_kept_beside_the_shard_and_the_ledger_keeps_their_number(store: ShardStore) -> None:
    def rows(account: Ledger) -> Iterator[Section]:
        for number in range(2000):
            account.inputs += 1
            if number % 2:
                account.filter(f"row {number}", "odd", f"text {number}")
            else:
                account.ok += 1
                yield Section("", str(number))

    account = Ledger()
    ref = store.write(KEY, Section, rows(account), account)
    assert account.held == 0
    assert store.ledger(ref).summary() == {"inputs": 2000, "ok": 1000, "failed": {}, "filtered": {"odd": 1000}}
    assert [loss for _, loss in store.losses(ref)] == [Loss(f"row {n}", "odd", f"text {n}") for n in range(1, 2000, 2)]
    assert [int(section.text) for section in store.read(ref, Section)] == list(range(0, 2000, 2))
    lost_path(store.path(ref.uri)).unlink()
    assert store.find(KEY) is None


def test_a_held_lock_file_is_refused_in_the_callers_words(tmp_path: Path) -> None:
    with locked(tmp_path / "night", "busy"), pytest.raises(InvalidInput, match="busy"), locked(tmp_path / "night", "busy"):
        pass
