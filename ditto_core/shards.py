"""Shards: which sessions go together, and the Parquet files that hold them.

A shard's file is a pure function of its recipe and inputs. It is written to a temporary name, fsynced and renamed; its
manifest is written last, with row count, recipe, inputs and sha256, and is checked on every read. A file without a
manifest, or one that doesn't match, is missing: it is recomputed, never trusted. What the shard lost lies beside it, in a file
of the same name that ends in `.lost.parquet`.

Where machines share no file system, `settings.shared_store` names a folder that they share by its URL. What one of them makes is
sent there, the manifest last, and fetched by the others when they look for it; the checks are the same.

Rows go through in groups, on the way in and out, so a shard may be larger than the memory.

This module is the only opener of data files.
"""

import fcntl
import hashlib
import json
import os
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from functools import partial
from itertools import islice
from pathlib import Path
from typing import Any, TypeVar
from urllib.parse import quote

import pyarrow as pa
import pyarrow.parquet as pq

from ditto_core.errors import BrokenPromise, InvalidInput
from ditto_core.ledger import Ledger, Loss, Outcome
from ditto_core.object_store import ObjectStore
from ditto_core.recipe import digest, stable_hash
from ditto_core.records import from_table, schema, to_table
from ditto_core.settings import Settings

Record = TypeVar("Record")

ROWS_PER_GROUP = 250
"""Rows of a shard that are in memory together; a profile with its article may be 100 kB."""
_LOST = pa.schema([pa.field(name, pa.string()) for name in ("outcome", "row", "reason", "raw")])


@dataclass(frozen=True, slots=True)
class ShardRef:
    """A finished shard: what tasks return and Prefect keeps.

    Attributes:
        uri: Path of the Parquet file below the data root, with "/" as separator.
        sha256: Of that file.
        rows: Number of rows.
        recipe: Digest of the recipe that made it.
    """

    uri: str
    sha256: str
    rows: int
    recipe: str


@dataclass(frozen=True, slots=True)
class ShardKey:
    """Where a shard belongs: its address before it is computed.

    Attributes:
        stage: Name of the stage, such as "profiles".
        recipe: Digest of the stage's recipe.
        name: Of the shard, such as "en-0003".
        inputs: Digest of everything that the shard is computed from, besides the recipe.
    """

    stage: str
    recipe: str
    name: str
    inputs: str

    @property
    def uri(self) -> str:
        """Path below the data root. Each id is quoted, so none can lead out of it."""
        folder = f"shards/{_quoted(self.stage)}/{_quoted(self.recipe[:12])}"
        return f"{folder}/{_quoted(self.name)}-{_quoted(self.inputs[:12])}.parquet"


def _quoted(part: str) -> str:
    """A part of a path without separators and dots."""
    return quote(part, safe="").replace(".", "%2E")


def shard_of(session: str, count: int) -> int:
    """The shard of a session, by stable hash, so that an added character touches one shard only."""
    return stable_hash(session) % count


class ShardStore:
    """Reads and writes the shards below one data root."""

    def __init__(self, data_root: Path, shared: ObjectStore | None = None) -> None:
        self.data_root = data_root
        self.shared = shared

    @classmethod
    def of(cls, settings: Settings) -> "ShardStore":
        """The store of a run.

        Raises:
            InvalidInput: Nothing here can read the URL of the shared store.
        """
        return cls(Path(settings.data_root), ObjectStore(settings.shared_store) if settings.shared_store else None)

    def path(self, uri: str) -> Path:
        """The file of a uri."""
        return self.data_root / uri

    def find(self, key: ShardKey) -> ShardRef | None:
        """The finished shard of that key, verified against its manifest, or None.

        A shard with rows whose engine did not answer is usable but not finished: the next run asks for these again.
        """
        found, path = self._finished(key), self.path(key.uri)
        if found is None:
            return self._finished(key) if self._fetch(key.uri) else None
        if self.shared is not None and not self.shared.has(self._uri(manifest_path(path))):
            self._send(path)  # made before there was a shared store, or the connection broke off
        return found

    def is_intact(self, ref: ShardRef) -> bool:
        """Whether the file and that of its losses have the bytes that the reference and the manifest name; fetched if need be."""
        return self._is_here(ref) or (self._fetch(ref.uri) and self._is_here(ref))

    def _finished(self, key: ShardKey) -> ShardRef | None:
        manifest = read_manifest(self.path(key.uri))
        if manifest is None or manifest.get("key") != asdict(key) or Ledger.from_dict(manifest["ledger"]).unanswered:
            return None
        ref = ShardRef(key.uri, manifest["sha256"], manifest["rows"], key.recipe)
        return ref if self._is_here(ref) else None

    def _is_here(self, ref: ShardRef) -> bool:
        path = self.path(ref.uri)
        manifest = read_manifest(path)
        expected = {} if manifest is None else {path: ref.sha256, lost_path(path): manifest.get("lost", "")}
        return bool(expected) and all(file.is_file() and file_sha256(file) == sha256 for file, sha256 in expected.items())

    def write(self, key: ShardKey, record: type[Record], rows: Iterable[Record], ledger: Ledger) -> ShardRef:
        """Write a shard, its losses and, last, its manifest with the account.

        Args:
            rows: May be made one by one while they are written, and fill `ledger` on the way.
            ledger: Its losses are handed over to the file of losses; it must add up when the last row is taken.

        Raises:
            BrokenPromise: The ledger does not add up.
            InvalidInput: The disk is full or not writable. Nothing is left that looks whole.
            SourceUnavailable: The shared store cannot be reached.
        """
        path = self.path(key.uri)
        beside = lost_path(path)
        write_atomically(path, lambda file: write_atomically(beside, lambda lost: _stream(record, rows, ledger, file, lost)))
        ref = ShardRef(key.uri, file_sha256(path), pq.read_metadata(path).num_rows, key.recipe)
        manifest = {"key": asdict(key), "sha256": ref.sha256, "rows": ref.rows, "lost": file_sha256(beside)}
        whole = _pretty(manifest | {"ledger": ledger.as_dict()})
        write_atomically(manifest_path(path), lambda file: file.write(whole))
        self._send(path)
        return ref

    def read(self, ref: ShardRef, record: type[Record], columns: list[str] | None = None) -> Iterator[Record]:
        """The rows of a shard, a group at a time, after checking the file against the reference.

        Raises:
            BrokenPromise: The file is gone or altered.
        """
        return (row for table in self.tables(ref, columns) for row in from_table(record, table))

    def tables(self, ref: ShardRef, columns: list[str] | None = None) -> Iterator[pa.Table]:
        """The same as tables of at most `ROWS_PER_GROUP` rows, of all or some columns."""
        self._check(ref)
        return read_groups(self.path(ref.uri), columns)

    def read_table(self, ref: ShardRef, columns: list[str] | None = None) -> pa.Table:
        """The same as one table."""
        self._check(ref)
        return pq.read_table(self.path(ref.uri), columns=columns)

    def losses(self, ref: ShardRef) -> Iterator[tuple[Outcome, Loss]]:
        """Every row that the shard lost, with its raw text.

        Raises:
            BrokenPromise: The file is gone or altered.
        """
        self._check(ref)
        for table in read_groups(lost_path(self.path(ref.uri))):
            for row in table.to_pylist():
                yield row.pop("outcome"), Loss(**row)

    def _check(self, ref: ShardRef) -> None:
        if not self.is_intact(ref):
            raise BrokenPromise(
                f"shard {ref.uri} is gone or was altered since it was written (expected sha256 {ref.sha256[:12]}). "
                f"Run the command again: the stage that made it recomputes it."
            )

    def ledger(self, ref: ShardRef) -> Ledger:
        """The account of what happened to every input of a shard."""
        path = self.path(ref.uri)
        manifest = read_manifest(path)
        if manifest is None and self._fetch(ref.uri):
            manifest = read_manifest(path)
        if manifest is None:
            raise BrokenPromise(f"shard {ref.uri} has no manifest")
        return Ledger.from_dict(manifest["ledger"])

    def discard(self, key: ShardKey) -> None:
        """Forget a shard: without a manifest it is missing, and is made again."""
        self._forget([manifest_path(self.path(key.uri))])

    def remove(self, uri: str) -> None:
        """Remove a shard's files, the manifest first: half a shard is none."""
        path = self.path(uri)
        self._forget(reversed(_files(path)))
        path.with_suffix(".lock").unlink(missing_ok=True)

    def share_folder(self, folder: str, last: str) -> None:
        """Send a folder to the shared store, if one lacks it; its file `last`, which says that it is whole, at the end."""
        if self.shared is not None and not self.shared.has(f"{folder}/{last}"):
            for path in sorted((self.data_root / folder).iterdir(), key=lambda path: path.name == last):
                self.shared.put(path, self._uri(path))

    def lock_path(self, key: ShardKey) -> Path:
        """The file that whoever computes the shard holds meanwhile."""
        return self.path(key.uri).with_suffix(".lock")

    def _send(self, path: Path) -> None:
        if self.shared is not None:
            for file in _files(path):
                self.shared.put(file, self._uri(file))

    def _fetch(self, uri: str) -> bool:
        """Fetch a shard as another machine made it; False if there is none."""
        path, shared = self.path(uri), self.shared
        if shared is None or not all(shared.has(self._uri(file)) for file in reversed(_files(path))):
            return False
        for file in _files(path):
            write_atomically(file, partial(shared.fetch, self._uri(file)))
        return True

    def _forget(self, files: Iterable[Path]) -> None:
        for file in files:
            if self.shared is not None:
                self.shared.remove(self._uri(file))
            file.unlink(missing_ok=True)

    def _uri(self, path: Path) -> str:
        return path.relative_to(self.data_root).as_posix()


def _files(path: Path) -> list[Path]:
    """The files of a shard; its manifest, which makes it whole, last."""
    return [path, lost_path(path), manifest_path(path)]


@contextmanager
def locked(path: Path, busy: str) -> Iterator[None]:
    """Hold a lock file. The kernel drops the lock when the holder dies.

    Args:
        path: Made where it is missing, and left behind.
        busy: What to say if someone else holds it.

    Raises:
        InvalidInput: Someone else holds it.
    """
    with explained(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        descriptor = os.open(path, os.O_CREAT | os.O_RDWR | os.O_CLOEXEC, 0o644)
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise InvalidInput(busy) from error
        yield
    finally:
        os.close(descriptor)


def file_sha256(path: Path) -> str:
    """sha256 of a file's bytes, in hex."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def manifest_path(path: Path) -> Path:
    """The manifest beside a data file."""
    return path.with_suffix(path.suffix + ".json")


def lost_path(path: Path) -> Path:
    """The file of a shard's losses, beside its data file."""
    return path.with_suffix(".lost.parquet")


def read_manifest(path: Path) -> dict[str, Any] | None:
    """The manifest of a data file, or None if it is missing or cut."""
    try:
        manifest = json.loads(manifest_path(path).read_text("utf-8"))
    except (FileNotFoundError, NotADirectoryError, ValueError):
        return None
    return manifest if isinstance(manifest, dict) else None


def read_groups(path: Path, columns: list[str] | None = None) -> Iterator[pa.Table]:
    """A Parquet file as tables of at most `ROWS_PER_GROUP` rows."""
    with pq.ParquetFile(path) as file:
        for batch in file.iter_batches(ROWS_PER_GROUP, columns=columns):
            yield pa.Table.from_batches([batch])


def _stream(record: type[Record], rows: Iterable[Record], ledger: Ledger, file: Any, lost: Any) -> None:
    """Write rows and losses as they come."""
    remaining = iter(rows)
    with (
        pq.ParquetWriter(file, schema(record), compression="zstd") as writer,
        pq.ParquetWriter(lost, _LOST, compression="zstd") as losses,
    ):
        while group := list(islice(remaining, ROWS_PER_GROUP)):
            writer.write_table(to_table(record, group))
            if ledger.held >= ROWS_PER_GROUP:
                losses.write_table(_lost_table(ledger))
        ledger.check()
        if ledger.held:
            losses.write_table(_lost_table(ledger))


def _lost_table(ledger: Ledger) -> pa.Table:
    return pa.Table.from_pylist([{"outcome": outcome, **asdict(loss)} for outcome, loss in ledger.hand_over()], schema=_LOST)


def write_text(path: Path, text: str) -> None:
    """Write a text file atomically."""
    write_atomically(path, lambda file: file.write(text.encode("utf-8")))


def write_atomically(path: Path, write: Callable[[Any], Any], *, lasting: bool = True) -> None:
    """Call `write` with a binary file under a temporary name, fsync it, then rename it into place.

    Args:
        lasting: Whether it must survive a power cut, which takes two waits for the disk. What is checked on every read and can
            be had again need not.

    Raises:
        InvalidInput: The disk is full or not writable; the temporary file is removed.
    """
    temporary = path.with_name(f".{path.name}.{os.getpid()}.{os.urandom(4).hex()}.tmp")
    with explained(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            with temporary.open("wb") as file:
                write(file)
                file.flush()
                if lasting:
                    os.fsync(file.fileno())
            temporary.replace(path)
        except BaseException:
            temporary.unlink(missing_ok=True)
            raise
        if lasting:
            _sync_folder(path.parent)


def inputs_digest(parts: Mapping[str, str]) -> str:
    """Digest of named inputs, whatever their order."""
    return digest(dict(parts))


def _sync_folder(folder: Path) -> None:
    """Make a rename survive a power cut."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


@contextmanager
def explained(path: Path) -> Iterator[None]:
    """Turn what the file system says while `path` is written into an `InvalidInput` that helps."""
    try:
        yield
    except OSError as error:
        raise InvalidInput(
            f"cannot write {str(path)!r}: {error.strerror or error}. Free some space or choose another "
            f"--data-root; nothing half-written was left behind."
        ) from error


def _pretty(manifest: Mapping[str, Any]) -> bytes:
    return (json.dumps(manifest, indent=1, sort_keys=True, ensure_ascii=False) + "\n").encode("utf-8")
