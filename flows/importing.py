"""import: conversations from elsewhere become a dataset folder like ours, which `train` takes."""

import json
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from ditto_core import languages
from ditto_core.dataset import formats, publish
from ditto_core.errors import InvalidInput, RowFailed
from ditto_core.evaluation import wikiroleeval
from ditto_core.ledger import Ledger
from ditto_core.recipe import stage_recipe
from ditto_core.records import Example
from ditto_core.settings import Settings
from ditto_core.shards import ShardKey, ShardStore, file_sha256, inputs_digest, read_groups
from tasks import handover, recipes

_SUFFIXES = (".parquet", ".jsonl", ".json")
_OURS = {publish.REJECTED, publish.TEST_FILE, "manifest.json"}
"""Of a dataset folder of ours: no conversations, or the test split once more."""


def bring_in(settings: Settings, sources: Sequence[Path], language: str) -> tuple[publish.DatasetRef, Ledger]:
    """Read files or folders and publish their conversations as a dataset.

    Known are our own dataset folders, Parquet with a column `messages`, and JSON Lines as ShareGPT, Alpaca, `messages` or the
    authors' WikiRoleEval files. A line that cannot be used is counted by name and kept in rejected.parquet. Each language has a
    shard of its own, so that its sessions are judged in it.

    Args:
        language: Of rows that do not say theirs, or one that there are no wordings for.

    Raises:
        InvalidInput: No such file, or not one conversation in them.
    """
    files = [file for source in sources for file in _files(source)]
    store = ShardStore.of(settings)
    inputs = inputs_digest({f"{number} {file.name}": file_sha256(file) for number, file in enumerate(files)})
    shares = {"validation": settings.dataset.validation_share, "test": settings.dataset.test_share}
    recipe = stage_recipe("import", {"imported": inputs, "language": language, "shares": shares})
    shards = {}
    for code in _languages(files, language, settings):
        key, ledger = ShardKey("examples", recipe, f"{code}-0000", inputs), Ledger()
        rows = _rows(files, code, language, settings, ledger)
        shards[code] = [store.find(key) or store.write(key, Example, rows, ledger)]
    made = [shard for (shard,) in shards.values()]
    account = Ledger.total(map(store.ledger, made))
    if not account.ok:
        reasons = ", ".join(f"{reason} {number}" for reason, number in account.failed.items()) or "no line"
        raise InvalidInput(
            f"there is no conversation in {', '.join(str(file) for file in files[:5])} ({reasons}). Expected JSON Lines with "
            f"'messages', 'conversations' (ShareGPT), 'instruction' (Alpaca) or 'prompts' (WikiRoleEval), or such Parquet."
        )
    shown = {"imported": [file.name for file in files]}
    dataset = publish.publish(store, recipe, made, {"import": made}, shown, wikiroleeval.write_test, needed=())
    chosen = settings.model_copy(update={"dataset": settings.dataset.model_copy(update={"imported": dataset.folder})})
    handover.leave(settings, "examples", recipes.dataset_recipe(chosen), shards)
    handover.leave_value(settings, "dataset", recipes.dataset_recipe(chosen), {"folder": dataset.folder})
    return dataset, account


def _files(source: Path) -> list[Path]:
    if source.is_dir():
        found = sorted(file for file in source.iterdir() if file.suffix in _SUFFIXES and file.name not in _OURS)
        if found:
            return found
    elif source.is_file() and source.suffix in _SUFFIXES:
        return [source]
    raise InvalidInput(f"{str(source)!r} is no file or folder with {', '.join(_SUFFIXES)} files")


def _languages(files: Sequence[Path], language: str, settings: Settings) -> list[str]:
    """The languages of all rows; of those that cannot be used it is the one given."""
    found = set()
    for _, raw, line in _all_lines(files):
        try:
            found.add(_row(line, raw, language, settings).language)
        except RowFailed:
            found.add(language)
    return sorted(found)


def _rows(files: Sequence[Path], code: str, language: str, settings: Settings, ledger: Ledger) -> Iterator[Example]:
    """The rows in one language; what cannot be used is counted with those of the language given."""
    for name, raw, line in _all_lines(files):
        try:
            row = _row(line, raw, language, settings)
        except RowFailed as error:
            if code == language:
                ledger.inputs += 1
                ledger.fail(name, RowFailed(error.reason, str(error), raw=raw))
            continue
        if row.language == code:
            ledger.inputs += 1
            ledger.ok += 1
            yield row


def _row(line: Any, raw: str, language: str, settings: Settings) -> Example:
    read = _read(line, raw, language, settings)
    return read if read.language in languages.available() else replace(read, language=language)


def _read(line: Any, raw: str, language: str, settings: Settings) -> Example:
    if not isinstance(line, dict):
        raise RowFailed("not_json", "expected a JSON object")
    if "prompts" in line:
        read, account = wikiroleeval.read_test(raw)
        if not read:
            raise RowFailed(next(iter(account.failed)), "not a line of a WikiRoleEval file")
        return read[0]
    return formats.read(line, language, settings.dataset)


def _all_lines(files: Sequence[Path]) -> Iterator[tuple[str, str, Any]]:
    """Every row of every file: its name, its raw text and as an object."""
    for file in files:
        for number, (raw, line) in enumerate(_lines(file), 1):
            yield f"{file.name} {number}", raw, line


def _lines(file: Path) -> Iterator[tuple[str, Any]]:
    """Every row as its raw text and as an object; None for a line that is no JSON."""
    if file.suffix == ".parquet":
        yield from ((str(row)[:2000], _nested(row)) for row in _parquet(file))
        return
    with file.open(encoding="utf-8-sig", errors="replace", newline="\n") as text:
        for raw in text:
            if raw.strip():
                yield raw.rstrip("\n"), _parsed(raw)


def _parsed(raw: str) -> Any:
    try:
        return json.loads(raw)
    except (ValueError, RecursionError):
        return None


def _parquet(file: Path) -> Iterator[dict[str, Any]]:
    try:
        names = pq.read_schema(file).names
    except (OSError, pa.ArrowInvalid) as error:
        raise InvalidInput(f"cannot read {str(file)!r}: {error}") from error
    whole = {*Example.__dataclass_fields__} <= set(names)
    for table in read_groups(file, None if whole else [name for name in names if name in formats.FIELDS]):
        yield from table.to_pylist()


def _nested(row: dict[str, Any]) -> dict[str, Any]:
    """A row with all our columns as the object that our JSON Lines hold: provenance under "ditto"."""
    if not {*Example.__dataclass_fields__} <= row.keys():
        return row
    return {"messages": row["messages"], "ditto": {name: value for name, value in row.items() if name != "messages"}}
