"""Digests: what makes two results the same.

Row key:   sha256 of one request exactly as sent, with the digests of the weights and the tokenizer that answer it.
Recipe:    sha256 of everything that shapes a stage's output: its settings, its version, what its prompts say.
Identity:  of a model folder, from the bytes of its files.

Knobs that only change speed take no part. All digests are over canonical JSON: sorted keys, no spaces, UTF-8.
"""

import contextlib
import dataclasses
import hashlib
import json
import os
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

from ditto_core.errors import InvalidInput

_TOKENIZER_FILES = (
    "tokenizer.json",
    "tokenizer.model",
    "tokenizer_config.json",
    "special_tokens_map.json",
    "vocab.json",
    "merges.txt",
    "chat_template.jinja",
)
_WEIGHT_SUFFIXES = (".safetensors",)


def digest(value: Any) -> str:
    """sha256, in hex, of plain data and dataclasses as canonical JSON."""
    return hashlib.sha256(_CANONICAL.encode(value).encode("utf-8", "surrogatepass")).hexdigest()


def stable_hash(text: str) -> int:
    """A 64-bit hash that is the same in every process and release; orders rings and assigns shards and splits."""
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:8], "big")


def file_digest(paths: Iterable[Path], sha256_of: Callable[[Path], str] | None = None) -> str:
    """sha256 over names and bytes of files, in the order of their names.

    Args:
        sha256_of: Of one file's bytes; None reads them.
    """
    total = hashlib.sha256()
    for path in sorted(paths, key=lambda path: path.name):
        total.update(f"{path.name}\0{(sha256_of or _sha256)(path)}\n".encode())
    return total.hexdigest()


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


class _Remembered:
    """sha256 of large files, read once and kept beside them under name, size and time of change.

    A file that changed in the very moment in which the digests were written is read again, since its time proves nothing.
    Where the folder cannot be written, nothing is remembered.
    """

    _LARGE = 64 << 20  # bytes; a smaller file is read in less time than it takes to notice

    def __init__(self, folder: Path) -> None:
        self._path = folder / ".ditto-digests.json"
        self._known: dict[str, list[Any]] = {}
        self._written_ns = 0
        with contextlib.suppress(OSError, ValueError, TypeError):
            self._known = dict(json.loads(self._path.read_text("utf-8")))
            self._written_ns = self._path.stat().st_mtime_ns

    def sha256(self, path: Path) -> str:
        """Of a file in the folder."""
        stat = path.stat()
        if stat.st_size < self._LARGE:
            return _sha256(path)
        mark = [stat.st_size, stat.st_mtime_ns]
        known = self._known.get(path.name)
        if known is not None and known[:2] == mark and stat.st_mtime_ns < self._written_ns:
            return str(known[2])
        found = _sha256(path)
        self._known[path.name] = [*mark, found]
        self._keep()
        return found

    def _keep(self) -> None:
        temporary = self._path.with_name(f"{self._path.name}.{os.getpid()}.tmp")
        with contextlib.suppress(OSError):
            temporary.write_text(json.dumps(self._known, indent=1, sort_keys=True), "utf-8")
            temporary.replace(self._path)
            self._written_ns = self._path.stat().st_mtime_ns


@dataclasses.dataclass(frozen=True, slots=True)
class ModelIdentity:
    """What answers requests. Part of every row key.

    Attributes:
        weights: Digest of the weight files and config.json, or the name that a server reports plus the user's revision.
        tokenizer: Digest of the tokenizer files and the chat template, or "server" where a server applies its own.
    """

    weights: str
    tokenizer: str


def model_identity(folder: Path) -> ModelIdentity:
    """Read the identity of a model folder from the bytes of its files; large ones are read once and remembered.

    Raises:
        InvalidInput: No such folder, or no weights in it.
    """
    if not folder.is_dir():
        raise InvalidInput(
            f"model folder {str(folder)!r} does not exist. Set generation.model, or "
            f"training.model for the LLM to tune, to a folder with weights; what only a server knows can simulate, not be tuned."
        )
    weights = [path for path in folder.iterdir() if path.suffix in _WEIGHT_SUFFIXES]
    if not weights:
        raise InvalidInput(
            f"model folder {str(folder)!r} holds no *.safetensors file; expected the folder that "
            f"`save_pretrained` wrote. (Pickled weights are not loaded, for safety.)"
        )
    config = [folder / "config.json"] if (folder / "config.json").exists() else []
    tokenizer = [folder / name for name in _TOKENIZER_FILES if (folder / name).exists()]
    return ModelIdentity(file_digest(weights + config, _Remembered(folder).sha256), file_digest(tokenizer))


STAGE_VERSIONS: Mapping[str, int] = {
    "knowledge": 4,
    "simulation": 4,
    "import": 1,
    "dataset": 4,
    "training": 2,
    "evaluation": 3,
}
"""Raised by hand when a change in the code changes a stage's output for the same settings and inputs."""


def stage_recipe(stage: str, settings: Mapping[str, Any], *upstream: Any) -> str:
    """The recipe of a stage: its version, the settings that shape its output, and what it takes over from others."""
    return digest([stage, STAGE_VERSIONS[stage], settings, list(upstream)])


def _jsonable(value: Any) -> Any:
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {name: getattr(value, name) for name in value.__dataclass_fields__}  # `fields()` costs more than the rest
    if isinstance(value, Mapping):
        return dict(value)
    if isinstance(value, (set, frozenset)):
        return sorted(value)
    raise TypeError(f"cannot take the digest of a {type(value).__name__}: {value!r}")


_CANONICAL = json.JSONEncoder(sort_keys=True, separators=(",", ":"), ensure_ascii=False, default=_jsonable, allow_nan=False)
