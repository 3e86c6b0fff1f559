"""Configuration: a preset, a TOML file and assignments, laid over the defaults of the settings; mistakes explained.

In:     names and texts that a person gave.
Out:    `Settings`. Presets are partial tables over the defaults. No environment is read here.

Example: `--preset demo --set training.max_steps=100` is the demo's table with one value changed.
"""

import difflib
import json
import tomllib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, get_args

from pydantic import ValidationError

from ditto_core.errors import InvalidInput
from ditto_core.settings import Settings

PRESETS: Mapping[str, Mapping[str, Any]] = {
    "paper": {},
    "lora": {"training": {"lora_rank": 16, "learning_rate": 2e-4, "min_learning_rate": 2e-5, "global_batch": 32}},
    "tiny": {
        "shards": 2,
        "generation": {"max_model_len": 2048, "dtype": "float32"},
        "simulation": {
            "partners": 4,
            "profile_tokens": 256,
            "max_query_tokens": 256,
            "max_response_tokens": 96,
            "temperature": 0.6,
            "repetition_penalty": 1.0,
        },
        "dataset": {"validation_share": 0.1, "test_share": 0.2},
        "training": {
            "max_steps": 60,
            "global_batch": 16,
            "device_batch": 16,
            "learning_rate": 1e-3,
            "min_learning_rate": 1e-4,
            "max_length": 1024,
            "bf16": False,
            "gradient_checkpointing": False,
        },
        "evaluation": {"max_answer_tokens": 64},
    },
    "demo": {
        "knowledge": {
            "sparql_endpoint": "embedded",
            "articles": "dump",
            "article_dump": "embedded",
            "classes": ["Q5", "Q15632617", "Q95074"],
            "max_characters": 100,
        },
        "generation": {"engine": "transformers", "model": "embedded"},
    },
}
_BASES: Mapping[str, str] = {"demo": "tiny"}


def load(preset: str = "paper", config: Path | None = None, assignments: Sequence[str] = (), **top: Any) -> Settings:
    """Lay a preset, a TOML file, `stage.field=value` assignments and top-level values over the defaults.

    Raises:
        InvalidInput: Unknown preset or key, unreadable file, or a value out of bounds; each named, with what is known.
    """
    table: dict[str, Any] = {}
    for layer in (_preset(preset), _read(config), _assigned(assignments), top):
        table = _merged(table, layer)
    return parse(table)


def parse(table: Mapping[str, Any]) -> Settings:
    """Validate a table of settings.

    Raises:
        InvalidInput: As in `load`.
    """
    try:
        return Settings.model_validate({"knowledge": {}, **table})
    except ValidationError as error:
        raise InvalidInput("\n".join(_explain(problem) for problem in error.errors())) from error


def _preset(name: str) -> Mapping[str, Any]:
    if name not in PRESETS:
        raise InvalidInput(f"preset {name!r} is not known; known: {', '.join(sorted(PRESETS))}")
    base = _preset(_BASES[name]) if name in _BASES else {}
    return _merged(base, PRESETS[name])


def _read(config: Path | None) -> Mapping[str, Any]:
    if config is None:
        return {}
    try:
        return tomllib.loads(config.read_text("utf-8"))
    except (OSError, ValueError) as error:
        raise InvalidInput(f"cannot read the settings file {str(config)!r}: {error}") from error


def _assigned(assignments: Sequence[str]) -> Mapping[str, Any]:
    table: Mapping[str, Any] = {}
    for assignment in assignments:
        path, equals, text = assignment.partition("=")
        if not equals or not path:
            raise InvalidInput(f"--set {assignment!r}: expected stage.field=value, such as training.max_steps=100")
        try:
            value = json.loads(text)
        except ValueError:
            value = text
        for key in reversed(path.strip().split(".")):
            value = {key: value}
        table = _merged(table, value)
    return table


def _merged(base: Mapping[str, Any], over: Mapping[str, Any]) -> dict[str, Any]:
    merged = dict(base)
    for key, value in over.items():
        nested = isinstance(value, Mapping) and isinstance(merged.get(key), Mapping)
        merged[key] = _merged(merged[key], value) if nested else value
    return merged


def _explain(problem: Mapping[str, Any]) -> str:
    place = ".".join(str(part) for part in problem["loc"])
    if problem["type"] == "extra_forbidden":
        known = _known_keys(problem["loc"][:-1])
        near = difflib.get_close_matches(str(problem["loc"][-1]), known, 1)
        hint = f" Did you mean {near[0]!r}?" if near else ""
        return f"setting {place!r} is not known.{hint} Known here: {', '.join(known)}"
    message = problem["msg"].removeprefix("Value error, ")
    hidden = isinstance(problem["input"], Mapping) or problem["type"] == "secret"
    shown = "" if hidden else f" (found {problem['input']!r})"
    return f"setting {place!r}: {message}{shown}"


def _known_keys(path: Sequence[str | int]) -> list[str]:
    model: Any = Settings
    for part in path:
        annotation = model if isinstance(part, int) else model.model_fields[part].annotation
        # Of a list or an optional section, the model within.
        model = next((inner for inner in get_args(annotation) if hasattr(inner, "model_fields")), annotation)
    return list(model.model_fields)
