"""Publishing: example shards become one folder that `datasets.load_dataset` opens.

Input:   the shards of examples, and those of all stages whose losses belong to the dataset's account.
Output:  train.parquet, validation.parquet, test.parquet, test.jsonl (the test sessions in WikiRoleEval's format),
         rejected.parquet (every lost row, with stage, reason and raw text), README.md (the card), manifest.json, written last.
Source:  the layout that the Hugging Face hub reads: YAML header with `configs` and `data_files`.

The folder's name is the digest of its rows. It is written beside its place and renamed whole, a group of rows at a time.
"""

import json
import os
import shutil
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any, get_args

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from ditto_core.dataset import card
from ditto_core.errors import InvalidInput
from ditto_core.ledger import Ledger
from ditto_core.records import Example, Split, from_table, schema
from ditto_core.shards import ShardRef, ShardStore, explained, file_sha256, inputs_digest, write_atomically, write_text

SPLITS: Sequence[str] = get_args(Split)
REJECTED = "rejected.parquet"
"""Beside the splits, and not announced to `datasets`: nobody should train on it by accident."""
TEST_FILE = "test.jsonl"
_REJECTED_SCHEMA = pa.schema([pa.field(name, pa.string()) for name in ("stage", "outcome", "row", "reason", "raw")])
_ROWS_PER_GROUP = 1_000
"""Of a published file: about 5 MB of text, so that a reader may skip and stream."""

Stages = Mapping[str, Sequence[ShardRef]]
"""Stage -> its shards, first stage first."""


@dataclass(frozen=True, slots=True)
class DatasetRef:
    """A published dataset.

    Attributes:
        folder: Below the data root.
        digest: Of its rows; names the folder and enters the recipe of the model that is trained on it.
        rows: Split -> number of rows.
    """

    folder: str
    digest: str
    rows: Mapping[str, int]


def publish(
    store: ShardStore,
    recipe: str,
    shards: Sequence[ShardRef],
    stages: Stages,
    settings: Mapping[str, Any],
    test_lines: Callable[[Iterable[Example]], str],
    needed: Sequence[str] = ("train",),
) -> DatasetRef:
    """Write the folder, or find it whole.

    Args:
        shards: Of examples.
        stages: Whose account and losses the dataset shows.
        settings: As plain data.
        test_lines: Test sessions as lines of the test file.
        needed: Splits that must have rows.

    Raises:
        InvalidInput: A needed split has no row, or the disk is full.
    """
    digest = inputs_digest({"recipe": recipe, **{str(number): ref.sha256 for number, ref in enumerate(shards)}})
    folder = f"datasets/{digest[:12]}"
    done = find(store.data_root, folder)
    if done is not None:
        return done
    ledgers = {stage: Ledger.total(store.ledger(ref) for ref in refs) for stage, refs in stages.items()}
    with _draft(store.data_root / folder) as draft:
        rows = _write_splits(store, shards, draft, test_lines)
        if empty := [split for split in needed if not rows[split]]:
            raise InvalidInput(
                f"the dataset has no row for {empty[0]} ({card.in_words(ledgers)}). Collect more characters, or read "
                f"the logs of the shards: every lost turn is listed there by name."
            )
        rejected, kept = _write_rejected(store, stages, draft / REJECTED)
        lines = card.lines(store, shards, rows, card.Account(ledgers, kept), settings, digest)
        write_atomically(draft / "README.md", lambda file: file.writelines(f"{line}\n".encode() for line in lines))
        names = [*(f"{split}.parquet" for split in SPLITS), TEST_FILE, REJECTED]
        files = {name: file_sha256(draft / name) for name in names}
        manifest = {"digest": digest, "rows": rows, "files": files, "rejected": rejected}
        write_text(draft / "manifest.json", json.dumps(manifest, indent=1, sort_keys=True) + "\n")
        done = find(store.data_root, folder)
        if done is None:  # else another process was faster; what it made may be in use already
            shutil.rmtree(store.data_root / folder, ignore_errors=True)
            draft.rename(store.data_root / folder)
    return DatasetRef(folder, digest, rows)


def find(data_root: Path, folder: str) -> DatasetRef | None:
    """The dataset in a folder, if its files are what its manifest says."""
    place = data_root / folder
    try:
        manifest = json.loads((place / "manifest.json").read_text("utf-8"))
    except (OSError, ValueError):
        return None
    files = manifest["files"]
    complete = {TEST_FILE, REJECTED} <= files.keys()
    intact = complete and all((place / name).is_file() and file_sha256(place / name) == sha for name, sha in files.items())
    return DatasetRef(folder, manifest["digest"], manifest["rows"]) if intact else None


@contextmanager
def _draft(place: Path) -> Iterator[Path]:
    """A folder beside `place`, gone at the end unless it was renamed."""
    draft = place.with_name(f".{place.name}.{os.getpid()}.tmp")
    with explained(place):
        draft.mkdir(parents=True, exist_ok=True)
        try:
            yield draft
        finally:
            shutil.rmtree(draft, ignore_errors=True)


def _write_splits(
    store: ShardStore, shards: Sequence[ShardRef], draft: Path, test_lines: Callable[[Iterable[Example]], str]
) -> dict[str, int]:
    with ExitStack() as stack:
        files = {split: stack.enter_context(_Groups(draft / f"{split}.parquet", schema(Example))) for split in SPLITS}
        tests = stack.enter_context((draft / TEST_FILE).open("w", encoding="utf-8"))
        for ref in shards:
            for table in store.tables(ref):
                for split, file in files.items():
                    file.add(table.filter(pc.equal(table["split"], split)))
                tests.write(test_lines(from_table(Example, table.filter(pc.equal(table["split"], "test")))))
    return {split: file.rows for split, file in files.items()}


class _Groups:
    """A Parquet file that is written in groups of one size, however the rows come."""

    def __init__(self, path: Path, columns: pa.Schema) -> None:
        self.rows = 0
        self._writer = pq.ParquetWriter(path, columns, compression="zstd")
        self._waiting = columns.empty_table()

    def add(self, table: pa.Table) -> None:
        self.rows += table.num_rows
        self._waiting = pa.concat_tables([self._waiting, table])
        while self._waiting.num_rows >= _ROWS_PER_GROUP:
            self._writer.write_table(self._waiting.slice(0, _ROWS_PER_GROUP))
            self._waiting = self._waiting.slice(_ROWS_PER_GROUP)

    def __enter__(self) -> "_Groups":
        return self

    def __exit__(self, *_: object) -> None:
        if self._waiting.num_rows:
            self._writer.write_table(self._waiting)
        self._writer.close()


def _write_rejected(store: ShardStore, stages: Stages, path: Path) -> tuple[int, card.Kept]:
    """Write every lost row of every stage; returns their number, and the first text of each reason for the card."""
    kept: dict[tuple[str, str], str] = {}
    rows = 0
    lost = (
        {"stage": stage, "outcome": outcome, "row": loss.row, "reason": loss.reason, "raw": loss.raw}
        for stage, refs in stages.items()
        for ref in refs
        for outcome, loss in store.losses(ref)
    )
    with pq.ParquetWriter(path, _REJECTED_SCHEMA, compression="zstd") as writer:
        while group := list(islice(lost, _ROWS_PER_GROUP)):
            rows += len(group)
            for row in group:
                kept.setdefault((row["stage"], row["reason"]), row["raw"])
            writer.write_table(pa.Table.from_pylist(group, schema=_REJECTED_SCHEMA))
    return rows, kept
