"""Memo exchange: completions as one Parquet file, to carry them to another machine or database.

Example: a laptop exports what it paid for; the team's PostgreSQL imports it and never asks for it again.
"""

from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from ditto_core.errors import InvalidInput
from ditto_core.memo import ROW, Memo
from ditto_core.shards import write_atomically

_COUNTS = ("prompt_tokens", "completion_tokens")
_SCHEMA = pa.schema([pa.field(name, pa.int64() if name in _COUNTS else pa.string(), nullable=False) for name in ROW])


def export(memo: Memo, path: Path) -> int:
    """Write all completions in the order of their keys; returns how many.

    Raises:
        InvalidInput: The file cannot be written. Nothing half-written is left.
    """
    written = 0

    def write(file: Any) -> None:
        nonlocal written
        with pq.ParquetWriter(file, _SCHEMA, compression="zstd") as writer:
            for rows in memo.rows():
                writer.write_table(pa.Table.from_pylist(rows, schema=_SCHEMA))
                written += len(rows)

    write_atomically(path, write)
    return written


def load(memo: Memo, path: Path) -> int:
    """Keep the completions of a file; returns how many were new.

    Raises:
        InvalidInput: The file cannot be read, or it is not what `export` writes.
    """
    try:
        with pq.ParquetFile(path) as file:
            if set(file.schema_arrow.names) != set(ROW):
                raise InvalidInput(
                    f"{str(path)!r} is no export of a memo: it has the columns {', '.join(file.schema_arrow.names)}; expected "
                    f"{', '.join(ROW)}. Make it with `ditto memo export FILE`."
                )
            return sum(memo.add(batch.cast(_SCHEMA).to_pylist()) for batch in file.iter_batches(columns=list(ROW)))
    except (OSError, ValueError, pa.ArrowException) as error:
        raise InvalidInput(f"cannot read the memo export {str(path)!r}: {str(error).splitlines()[0]}") from error
