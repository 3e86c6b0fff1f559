"""What a stage leaves for the next one: the references of its shards, by language, in one small file per recipe.

A stage run on its own finds its inputs here. The file is written last, when the stage is complete.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from ditto_core.dataset import publish
from ditto_core.dataset.publish import DatasetRef
from ditto_core.errors import InvalidInput
from ditto_core.recipe import digest
from ditto_core.settings import Settings
from ditto_core.shards import ShardRef, write_text

Shards = Mapping[str, Sequence[ShardRef]]
"""Language -> its shards, in order."""


def leave(settings: Settings, stage: str, recipe: str, shards: Shards, made_of: Shards | None = None) -> None:
    """Record the finished shards of a stage, and those of the stage before that they were made of."""
    value = {language: [asdict(ref) for ref in refs] for language, refs in shards.items()}
    leave_value(settings, stage, recipe, value, "" if made_of is None else digest_of(made_of))


def leave_value(settings: Settings, stage: str, recipe: str, value: Mapping[str, Any], made_of: str = "") -> None:
    """Record what a stage made that is no shard, such as a folder; and, for `ditto plan`, by which settings and of what."""
    path = _path(settings, stage, recipe)
    origin = settings.model_dump(mode="json") | {"made_of": made_of}
    write_text(path.with_suffix(".settings.json"), json.dumps(origin, indent=1) + "\n")
    write_text(path, json.dumps(value, indent=1, sort_keys=True) + "\n")


def digest_of(shards: Shards) -> str:
    """What names the content of a stage's shards."""
    return digest({language: [ref.sha256 for ref in refs] for language, refs in shards.items()})


def is_made_of(settings: Settings, stage: str, recipe: str, shards: Shards) -> bool:
    """Whether what a stage left for these settings was made of these shards; of what is not said, that is taken on trust."""
    try:
        origin = json.loads(_path(settings, stage, recipe).with_suffix(".settings.json").read_text("utf-8"))
    except (FileNotFoundError, ValueError):
        return True
    return origin.get("made_of", "") in ("", digest_of(shards))


def take(settings: Settings, stage: str, recipe: str, command: str) -> Shards:
    """The shards that an earlier run left for these settings.

    Raises:
        InvalidInput: There are none; the message names the command that makes them.
    """
    table = take_value(settings, stage, recipe, command)
    return {language: [ShardRef(**ref) for ref in refs] for language, refs in table.items()}


def take_value(settings: Settings, stage: str, recipe: str, command: str) -> Mapping[str, Any]:
    """What `leave_value` recorded; raises as `take` does."""
    try:
        value: Mapping[str, Any] = json.loads(_path(settings, stage, recipe).read_text("utf-8"))
    except (FileNotFoundError, ValueError) as error:
        if settings.dataset.imported and command == "assemble":
            problem = (
                f"there is no dataset {settings.dataset.imported!r} in {settings.data_root!r}. Bring it in with `ditto import`."
            )
        else:
            problem = (
                f"there are no {stage} for these settings in {settings.data_root!r}. Run `ditto {command}` with the same "
                f"settings first, or `ditto run` for all stages."
            )
        raise InvalidInput(problem) from error
    return value


def take_dataset(settings: Settings, recipe: str) -> DatasetRef:
    """The published dataset of a recipe, its files checked; raises as `take` does, also if it was altered."""
    folder = str(take_value(settings, "dataset", recipe, "assemble")["folder"])
    dataset = publish.find(Path(settings.data_root), folder)
    if dataset is None:
        raise InvalidInput(f"the dataset {folder!r} is gone or was altered. Run `ditto assemble` again.")
    return dataset


def in_use(settings: Settings) -> frozenset[str]:
    """Shards and folders below the data root that some stage's latest run left, for any settings."""
    found: set[str] = set()
    for path in (Path(settings.data_root) / "handover").glob("*.json"):
        value = json.loads(path.read_text("utf-8"))
        for part in value.values():
            found.update([ref["uri"] for ref in part if isinstance(ref, dict)] if isinstance(part, list) else [str(part)])
    return frozenset(found)


def _path(settings: Settings, stage: str, recipe: str) -> Path:
    return Path(settings.data_root) / "handover" / f"{stage}-{recipe[:12]}.json"
