"""The options that all commands share: they make one `Settings`, which is what the command's function takes."""

import inspect
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any

import typer

from ditto_core import configuration

Json = Annotated[bool, typer.Option("--json", help="Make the last line of stdout one JSON object.")]
Offline = Annotated[bool, typer.Option("--offline", help="Ask no source: every answer comes from the snapshot.")]

Refresh = Annotated[list[str] | None, typer.Option(help="Make this shard again, such as dialogues-en-0003. May be repeated.")]

_PRESET = Annotated[str, typer.Option(help="demo, tiny, lora or paper.")]
_OPTIONS: dict[str, Any] = {
    "config": Annotated[Path | None, typer.Option(help="TOML file with settings.")],
    "assign": Annotated[list[str] | None, typer.Option("--set", help="One setting: stage.field=value. May be repeated.")],
    "data_root": Annotated[
        str | None, typer.Option(envvar="DITTO_DATA_ROOT", help="Folder of shards, datasets, models and reports.")
    ],
    "memo_url": Annotated[str | None, typer.Option(envvar="DITTO_MEMO_URL", help="Database of completions.")],
}


def takes_settings(command: Callable[..., None], *, preset: str | None = None) -> Callable[..., None]:
    """Replace a command's parameter `settings` by the options that make it.

    Args:
        command: Its first parameter is `settings`.
        preset: Fixes the preset; None makes it an option, with "paper" as default.
    """

    def with_options(**given: Any) -> None:
        chosen = preset or given.pop("preset")
        config, assign = given.pop("config"), given.pop("assign")
        top = {name: value for name in ("data_root", "memo_url") if (value := given.pop(name)) is not None}
        command(settings=configuration.load(chosen, config, assign or (), **top), **given)

    own = [parameter for name, parameter in inspect.signature(command).parameters.items() if name != "settings"]
    shared = [_keyword(name, annotation, None) for name, annotation in _OPTIONS.items()]
    if preset is None:
        shared.insert(0, _keyword("preset", _PRESET, "paper"))
    parameters = [parameter.replace(kind=inspect.Parameter.KEYWORD_ONLY) for parameter in (*own, *shared)]
    with_options.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
    with_options.__annotations__ = {parameter.name: parameter.annotation for parameter in parameters}
    with_options.__doc__ = command.__doc__
    with_options.__name__ = command.__name__
    return with_options


def _keyword(name: str, annotation: Any, default: Any) -> inspect.Parameter:
    return inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, default=default, annotation=annotation)
