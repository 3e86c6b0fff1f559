"""Publishing: example shards become one folder that `datasets.load_dataset` opens.

Input:   the shards of examples, the ledgers of all stages so far.
Output:  train.parquet, validation.parquet, test.parquet, rejected.parquet (every lost row, with stage, reason and raw
         text), README.md (the card), manifest.json, written last.
Source:  the layout that the Hugging Face hub reads: YAML header with `configs` and `data_files`.

The folder's name is the digest of its rows. It is written beside its place and renamed whole, shard by shard in constant memory.
"""

import json
import os
import shutil
from collections.abc import Iterable, Mapping, Sequence
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
from ditto_core.records import Example, Split, schema
from ditto_core.shards import ShardRef, ShardStore, explained, file_sha256, inputs_digest, write_atomically, write_text

SPLITS: Sequence[str] = get_args(Split)
REJECTED = "rejected.parquet"
"""Beside the splits, and not announced to `datasets`: nobody should train on it by accident."""
_REJECTED_SCHEMA = pa.schema([pa.field(name, pa.string()) for name in ("stage", "outcome", "row", "reason", "raw")])
_ROWS_AT_ONCE = 10_000


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
    ledgers: Mapping[str, Ledger],
    settings: Mapping[str, Any],
) -> DatasetRef:
    """Write the folder, or find it whole.

    Raises:
        InvalidInput: No row for training, or the disk is full.
    """
    digest = inputs_digest({"recipe": recipe, **{str(number): ref.sha256 for number, ref in enumerate(shards)}})
    folder = f"datasets/{digest[:12]}"
    done = find(store.data_root, folder)
    if done is not None:
        return done
    place = store.data_root / folder
    draft = place.with_name(f".{place.name}.{os.getpid()}.tmp")
    with explained(place):
        draft.mkdir(parents=True, exist_ok=True)
        try:
            rows = _write_splits(store, shards, draft)
            if not rows["train"]:
                raise InvalidInput(
                    f"the dataset has no row for training ({card.in_words(ledgers)}). Collect more characters, or read "
                    f"the logs of the shards: every lost turn is listed there by name."
                )
            rejected = _write_rejected(ledgers, draft / REJECTED)
            _write_card(draft / "README.md", card.lines(store, shards, rows, ledgers, settings, digest))
            files = {f"{split}.parquet": file_sha256(draft / f"{split}.parquet") for split in SPLITS}
            manifest = {"digest": digest, "rows": rows, "files": files, "rejected": rejected}
            write_text(draft / "manifest.json", json.dumps(manifest, indent=1, sort_keys=True) + "\n")
            done = find(store.data_root, folder)
            if done is not None:  # another process was faster; what it made may be in use already
                return done
            shutil.rmtree(place, ignore_errors=True)
            draft.rename(place)
        finally:
            shutil.rmtree(draft, ignore_errors=True)
    return DatasetRef(folder, digest, rows)


def find(data_root: Path, folder: str) -> DatasetRef | None:
    """The dataset in a folder, if its files are what its manifest says."""
    place = data_root / folder
    try:
        manifest = json.loads((place / "manifest.json").read_text("utf-8"))
    except (OSError, ValueError):
        return None
    files = {**manifest["files"], REJECTED: manifest.get("rejected", {}).get("sha256")}
    intact = all((place / name).is_file() and file_sha256(place / name) == sha for name, sha in files.items())
    return DatasetRef(folder, manifest["digest"], manifest["rows"]) if intact else None


def _write_splits(store: ShardStore, shards: Sequence[ShardRef], draft: Path) -> dict[str, int]:
    rows = dict.fromkeys(SPLITS, 0)
    writers = {split: pq.ParquetWriter(draft / f"{split}.parquet", schema(Example), compression="zstd") for split in SPLITS}
    try:
        for ref in shards:
            table = store.read_table(ref)
            for split, writer in writers.items():
                part: pa.Table = table.filter(pc.equal(table["split"], split))
                rows[split] += part.num_rows
                if part.num_rows:
                    writer.write_table(part)
    finally:
        for writer in writers.values():
            writer.close()
    return rows


def _write_rejected(ledgers: Mapping[str, Ledger], path: Path) -> dict[str, Any]:
    """Write every lost row of every stage; returns their number and the file's sha256 for the manifest."""
    lost = (
        {"stage": stage, "outcome": outcome, "row": loss.row, "reason": loss.reason, "raw": loss.raw}
        for stage, ledger in ledgers.items()
        for outcome, losses in (("failed", ledger.failures), ("filtered", ledger.filters))
        for loss in losses
    )
    rows = 0
    with pq.ParquetWriter(path, _REJECTED_SCHEMA, compression="zstd") as writer:
        while part := list(islice(lost, _ROWS_AT_ONCE)):
            rows += len(part)
            writer.write_table(pa.Table.from_pylist(part, schema=_REJECTED_SCHEMA))
    return {"rows": rows, "sha256": file_sha256(path)}


def _write_card(path: Path, lines: Iterable[str]) -> None:
    write_atomically(path, lambda file: file.writelines(f"{line}\n".encode() for line in lines))
