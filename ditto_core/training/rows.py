"""Rows: what a training file must hold before anything is loaded, and a general dataset mixed into it.

In:     Parquet files with a column `messages` of {role, content}.
Out:    the conversations to train on, or an error that names the file and the row.
Source: paper section 3.4: the profile is removed, one line of identity stays.

Example of a row that is refused: a system message that goes on, after "You are Marie Curie, physicist.", with the
beginning of her article.
"""

from collections.abc import Mapping
from pathlib import Path
from random import Random
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from ditto_core.errors import BrokenPromise, InvalidInput
from ditto_core.settings import TrainingSettings

_TELLING = 80
"""Characters from the beginning of a summary that stand in no prompt by chance."""


def check_rows(path: Path) -> None:
    """Refuse a file that cannot be trained on, or in which a profile stayed before the model's eyes.

    Raises:
        InvalidInput: It cannot be read, has no `messages`, or no row.
        BrokenPromise: A prompt shows the role's profile.
    """
    with _opened(path) as file:
        if not file.metadata.num_rows:
            raise InvalidInput(
                f"{str(path)!r} holds no conversation. Collect or import more characters, loosen the filters, or lower "
                f"dataset.test_share and dataset.validation_share."
            )
        columns = {"messages", "summary", "claims"} & set(file.schema_arrow.names)
        if "summary" not in columns:
            return
        number = 0
        for batch in file.iter_batches(1_000, columns=sorted(columns)):
            for row in batch.to_pylist():
                number += 1
                _check_prompts(row, f"row {number} of {path.name}")


def conversations(path: Path) -> pa.Table:
    """The column `messages` of a file."""
    with _opened(path) as file:
        table: pa.Table = file.read(["messages"])
    return table


def mixed(own: pa.Table, settings: TrainingSettings) -> pa.Table:
    """The role-play conversations and, behind them, as many of `training.mix_in` as make up `training.mix_share` of all.

    They are drawn by `training.seed`, without repetition.

    Raises:
        InvalidInput: The other file has too few.
    """
    if not settings.mix_in or not settings.mix_share:
        return own
    wanted = round(own.num_rows * settings.mix_share / (1 - settings.mix_share))
    other = conversations(Path(settings.mix_in))
    if other.num_rows < wanted:
        raise InvalidInput(
            f"training.mix_share={settings.mix_share:g} of {own.num_rows} conversations needs {wanted} of "
            f"{settings.mix_in!r}, which holds {other.num_rows}. Lower the share, or mix in a larger file."
        )
    drawn = other.take(pa.array(sorted(Random(settings.seed).sample(range(other.num_rows), wanted)), pa.int64()))
    plain = [[{"role": turn["role"], "content": turn["content"]} for turn in row] for row in drawn["messages"].to_pylist()]
    return pa.concat_tables([own, pa.table({"messages": pa.array(plain, own.schema.field("messages").type)})])


def _opened(path: Path) -> pq.ParquetFile:
    try:
        file = pq.ParquetFile(path)
    except (OSError, pa.ArrowInvalid) as error:
        raise InvalidInput(f"cannot read {str(path)!r}: {error}. Run `ditto assemble` to write the dataset.") from error
    columns = file.schema_arrow.names
    if "messages" not in columns:
        file.close()
        raise InvalidInput(f"{str(path)!r} has no column 'messages'; its columns are {', '.join(columns)}")
    return file


def _check_prompts(row: Mapping[str, Any], name: str) -> None:
    summary = row["summary"] or ""
    telling = [summary[:_TELLING]] if len(summary) >= _TELLING else []
    for message in row["messages"]:
        shown = telling + ((row.get("claims") or []) if message["role"] == "system" else [])
        found = next((text for text in shown if message["role"] != "assistant" and text in message["content"]), None)
        if found is not None:
            raise BrokenPromise(
                f"{name}: the {message['role']} message shows the role's profile: {found[:_TELLING]!r}. Expected one line of "
                f"identity. Trained on it, the model would learn to read and not to remember. Nothing was trained."
            )
