"""Checkpoints: the newest one that a killed training can go on from.

In:     the folder of a run's checkpoints, as the trainer writes them.
Out:    its path, and those that had to be passed over.
Source: transformers' Trainer: checkpoint-STEP with trainer_state.json, written last; *.safetensors; zip archives of tensors.

Example: checkpoint-40 was cut by the kill, checkpoint-20 is whole -> checkpoint-20.
"""

import json
import zipfile
from dataclasses import dataclass
from pathlib import Path

_HEADER = 8
"""Bytes at the head of a safetensors file that give the length of its table."""


@dataclass(frozen=True, slots=True)
class Found:
    """The newest whole checkpoint, or None, and the names of newer ones that cannot be read."""

    whole: str | None
    passed_over: tuple[str, ...] = ()


def last_complete(checkpoints: Path, max_steps: int) -> Found:
    """The newest checkpoint before the last step that was written to its end.

    One that a kill or a damaged disk cut short is passed over: the trainer writes trainer_state.json last, so it must be
    there, readable, and of the step in the folder's name, and the archives beside it must be as long as they say. The last
    step's own is passed over too: resumed from it, the trainer takes one step more.
    """
    passed_over: list[str] = []
    for step, folder in sorted(((_step(folder), folder) for folder in checkpoints.glob("checkpoint-*")), reverse=True):
        if step >= max_steps:
            continue
        if _is_whole(folder, step):
            return Found(str(folder), tuple(passed_over))
        passed_over.append(folder.name)
    return Found(None, tuple(passed_over))


def _step(folder: Path) -> int:
    number = folder.name.removeprefix("checkpoint-")
    return int(number) if number.isdigit() else -1


def _is_whole(folder: Path, step: int) -> bool:
    try:
        state = json.loads((folder / "trainer_state.json").read_text("utf-8"))
        return bool(state["global_step"] == step) and all(_is_readable(file) for file in folder.iterdir())
    except (OSError, ValueError, KeyError, TypeError):
        return False


def _is_readable(file: Path) -> bool:
    """Whether a file is as long as its head says, or at least not empty."""
    if file.suffix == ".safetensors":
        return _tensors_are_there(file)
    if file.suffix in (".pt", ".pth"):
        return zipfile.is_zipfile(file)  # the table of such an archive stands at its end
    return file.is_dir() or file.stat().st_size > 0


def _tensors_are_there(file: Path) -> bool:
    with file.open("rb") as content:
        length = int.from_bytes(content.read(_HEADER), "little")
        if not 0 < length <= file.stat().st_size - _HEADER:
            return False
        table = json.loads(content.read(length))
    end = max((entry["data_offsets"][1] for name, entry in table.items() if name != "__metadata__"), default=0)
    return bool(file.stat().st_size == _HEADER + length + end)
