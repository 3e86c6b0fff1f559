"""Digests: what makes two results the same.

Row key:   sha256 of one request exactly as sent, with the digests of the weights and the tokenizer that answer it.
Recipe:    sha256 of everything that shapes a stage's output: its settings, its version, what its prompts say.
Identity:  of a model folder, from the bytes of its files.

Knobs that only change speed take no part. All digests are over canonical JSON: sorted keys, no spaces, UTF-8.
"""

import dataclasses
import hashlib
import json
from collections.abc import Iterable, Mapping
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
    text = json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False, default=_jsonable, allow_nan=False)
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()


def stable_hash(text: str) -> int:
    """A 64-bit hash that is the same in every process and release; orders rings and assigns shards and splits."""
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:8], "big")


def file_digest(paths: Iterable[Path]) -> str:
    """sha256 over names and bytes of files, in the order of their names."""
    total = hashlib.sha256()
    for path in sorted(paths, key=lambda path: path.name):
        with path.open("rb") as file:
            total.update(f"{path.name}\0{hashlib.file_digest(file, 'sha256').hexdigest()}\n".encode())
    return total.hexdigest()


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
    """Read the identity of a model folder from the bytes of its files.

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
    return ModelIdentity(file_digest(weights + config), file_digest(tokenizer))


STAGE_VERSIONS: Mapping[str, int] = {
    "knowledge": 2,
    "simulation": 1,
    "dataset": 2,
    "training": 2,
    "evaluation": 2,
}
"""Raised by hand when a change in the code changes a stage's output for the same settings and inputs."""


def stage_recipe(stage: str, settings: Mapping[str, Any], *upstream: Any) -> str:
    """The recipe of a stage: its version, the settings that shape its output, and what it takes over from others."""
    return digest([stage, STAGE_VERSIONS[stage], settings, list(upstream)])


def _jsonable(value: Any) -> Any:
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {field.name: getattr(value, field.name) for field in dataclasses.fields(value)}
    if isinstance(value, Mapping):
        return dict(value)
    if isinstance(value, (set, frozenset)):
        return sorted(value)
    raise TypeError(f"cannot take the digest of a {type(value).__name__}: {value!r}")
