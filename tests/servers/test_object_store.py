"""A shared store: what one machine made, another finds, on a disk, in memory and on a real S3-compatible server."""

import json
import uuid
from collections.abc import Iterator, Sequence
from dataclasses import asdict, replace
from pathlib import Path

import pytest
from fixtures import s3

from ditto_core import configuration
from ditto_core.dataset import versions
from ditto_core.dataset.versions import Version
from ditto_core.errors import BrokenPromise, InvalidInput, RowFailed, SourceUnavailable
from ditto_core.ledger import Ledger
from ditto_core.object_store import ObjectStore
from ditto_core.recipe import digest
from ditto_core.records import Section
from ditto_core.shards import ShardKey, ShardRef, ShardStore, lost_path, manifest_path
from tasks.policies import VerifiedShard, results_folder

KEY = ShardKey("stage", "recipe" * 8, "en-0003", "inputs" * 8)
ROWS = [Section("a", "one"), Section("b", "two")]


@pytest.fixture(scope="module")
def bucket(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with s3.running(tmp_path_factory.mktemp("s3")):
        yield "s3://ditto"


@pytest.fixture(params=["file", "memory", "s3"])
def url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    places = {"file": f"file://{tmp_path}/shared", "memory": f"memory://{uuid.uuid4().hex}"}
    return places.get(request.param) or f"{request.getfixturevalue('bucket')}/{uuid.uuid4().hex}"


@pytest.fixture
def here(tmp_path: Path, url: str) -> ShardStore:
    return ShardStore(tmp_path / "here", ObjectStore(url))


@pytest.fixture
def there(tmp_path: Path, url: str) -> ShardStore:
    return ShardStore(tmp_path / "there", ObjectStore(url))


def write(store: ShardStore, *, lost: str = "response_cut", rows: Sequence[Section] = ROWS) -> ShardRef:
    ledger = Ledger(inputs=len(rows) + 1, ok=len(rows))
    ledger.fail("a row", RowFailed(lost, "", raw="as it came"))
    return store.write(KEY, Section, rows, ledger)


def test_a_shard_of_one_machine_is_found_by_another(here: ShardStore, there: ShardStore) -> None:
    ref = write(here)
    assert there.find(KEY) == ref
    assert list(there.read(ref, Section)) == ROWS
    assert there.ledger(ref).failed == {"response_cut": 1}
    assert [loss.raw for _, loss in there.losses(ref)] == ["as it came"]


@pytest.mark.parametrize("how", ["read", "ledger"])
def test_a_reference_is_enough_to_fetch_a_shard(here: ShardStore, there: ShardStore, how: str) -> None:
    ref = write(here)
    found = list(there.read(ref, Section)) if how == "read" else there.ledger(ref).ok
    assert found == (ROWS if how == "read" else 2)


def test_a_shard_that_was_sent_in_part_is_none(here: ShardStore, there: ShardStore) -> None:
    ref = write(here)
    for path in (manifest_path, lost_path):
        assert here.shared is not None
        here.shared.remove(path(here.path(ref.uri)).relative_to(here.data_root).as_posix())
        assert there.find(KEY) is None
        assert not there.path(ref.uri).exists()


def test_what_was_made_before_there_was_a_shared_store_is_sent_when_it_is_next_looked_for(
    here: ShardStore, there: ShardStore
) -> None:
    ref = write(ShardStore(here.data_root))
    assert there.find(KEY) is None
    assert here.find(KEY) == ref
    assert there.find(KEY) == ref


class BreaksOff(ObjectStore):
    """Loses the connection when the third file is sent."""

    sent = 0

    def put(self, path: Path, name: str) -> None:
        self.sent += 1
        if self.sent == 3:
            raise SourceUnavailable("the connection is gone")
        super().put(path, name)


def test_a_connection_that_breaks_off_leaves_no_shard_and_the_next_try_sends_it(
    tmp_path: Path, url: str, there: ShardStore
) -> None:
    here = ShardStore(tmp_path / "here", BreaksOff(url))
    with pytest.raises(SourceUnavailable):
        write(here)
    assert there.find(KEY) is None
    ref = here.find(KEY)
    assert there.find(KEY) == ref is not None


def test_what_was_altered_on_the_way_is_not_trusted(here: ShardStore, there: ShardStore, tmp_path: Path) -> None:
    ref = write(here)
    (tmp_path / "other").write_bytes(b"something else")
    assert here.shared is not None
    here.shared.put(tmp_path / "other", ref.uri)
    assert there.find(KEY) is None
    with pytest.raises(BrokenPromise, match="gone or was altered"):
        list(there.read(ref, Section))


def test_what_was_altered_here_is_fetched_again(here: ShardStore) -> None:
    ref = write(here)
    here.path(ref.uri).write_bytes(b"something else")
    assert here.find(KEY) == ref
    assert list(here.read(ref, Section)) == ROWS


def test_a_shard_that_another_machine_finished_later_replaces_ours(here: ShardStore, there: ShardStore) -> None:
    write(here, lost="engine_unavailable")
    assert here.find(KEY) is None
    ref = write(there)
    assert list(here.read(ref, Section)) == ROWS
    assert here.find(KEY) == ref


def test_a_kept_reference_is_a_miss_once_another_machine_has_finished_the_shard(
    here: ShardStore, there: ShardStore, url: str
) -> None:
    settings = configuration.load("demo", data_root=str(here.data_root)).model_copy(update={"shared_store": url})
    record = results_folder(settings) / digest(KEY)
    record.parent.mkdir(parents=True)

    def is_kept(ref: ShardRef) -> bool:
        record.write_text(json.dumps({"result": asdict(ref)}))
        assert VerifiedShard().compute_key(None, {"key": KEY, "settings": settings}, {}) == digest(KEY)  # type: ignore[arg-type]
        return record.exists()

    ours, theirs = write(here, lost="engine_unavailable", rows=ROWS[:1]), write(there)
    assert not is_kept(ours)
    assert is_kept(theirs)


def test_a_discarded_shard_is_missing_on_every_machine(here: ShardStore, there: ShardStore) -> None:
    write(here)
    here.discard(KEY)
    assert here.find(KEY) is None
    assert there.find(KEY) is None


def test_a_version_is_sent_whole_and_leaves_with_its_shards(here: ShardStore, url: str) -> None:
    ref = write(here)
    shared = ObjectStore(url)
    folder = here.data_root / "datasets" / "one"
    folder.mkdir(parents=True)
    (folder / "train.parquet").write_bytes(b"rows")
    old = Version("2026-11-24", "datasets/one", {"train": 1}, {}, {"profiles": [ref]})
    versions.write(here, old, "# the first")
    assert all(shared.has(f"versions/2026-11-24/{name}") for name in ("train.parquet", "CHANGELOG.md", "version.json"))
    versions.write(here, replace(old, name="2026-11-25", shards={"profiles": []}), "# the second")
    assert versions.prune(here, 1, frozenset()) == ["2026-11-24"]
    assert shared.has("versions/2026-11-25/version.json")
    assert not shared.has("versions/2026-11-24/version.json")
    assert not shared.has(ref.uri)


def test_a_version_that_was_not_sent_is_sent_by_the_next_night(here: ShardStore, url: str) -> None:
    version = Version("2026-11-24", "datasets/one", {"train": 1}, {}, {"profiles": []})
    (here.data_root / version.dataset).mkdir(parents=True)
    versions.write(ShardStore(here.data_root), version, "# made when there was no connection")
    versions.share(here, version)
    assert ObjectStore(url).has("versions/2026-11-24/version.json")


def test_a_store_that_cannot_be_used_is_no_fault_of_the_cache(tmp_path: Path) -> None:
    settings = configuration.load("demo", data_root=str(tmp_path))
    record = results_folder(settings) / digest(KEY)
    record.parent.mkdir(parents=True)
    record.write_text("{}")
    lost = settings.model_copy(update={"shared_store": "nowhere://x"})
    assert VerifiedShard().compute_key(None, {"key": KEY, "settings": lost}, {}) == digest(KEY)  # type: ignore[arg-type]
    assert not record.exists()


def test_what_no_bucket_takes_is_said_in_words(bucket: str, tmp_path: Path) -> None:
    store = ShardStore(tmp_path, ObjectStore("s3://nobody-made-this/ditto"))
    with pytest.raises(InvalidInput, match=r"refused 'shards/.*AWS_SECRET_ACCESS_KEY") as caught:
        write(store)
    assert s3.SECRET not in str(caught.value)


def test_an_unknown_kind_of_url_is_named_before_anything_is_made() -> None:
    with pytest.raises(InvalidInput, match=r"shared_store 'nowhere://x' cannot be used.*s3://bucket/ditto"):
        ObjectStore("nowhere://x")


def test_a_server_that_is_gone_is_asked_again_later(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name, value in (s3.KEYS | {"AWS_ENDPOINT_URL": "http://127.0.0.1:1"}).items():
        monkeypatch.setenv(name, value)
    with s3.fresh_connections():
        store = ShardStore(tmp_path, ObjectStore("s3://ditto/x"))
        with pytest.raises(SourceUnavailable, match="shared_store 's3://ditto/x' failed at"):
            write(store)
