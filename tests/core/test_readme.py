"""The documents say what the code does: the table of settings and the commands are the code's own."""

from pathlib import Path

import typer.main

from ditto_core import configuration, settings_table
from flows.cli import app

ROOT = Path(__file__).parents[2]
README = (ROOT / "README.md").read_text("utf-8")


def test_the_table_of_settings_is_what_the_models_say() -> None:
    table = settings_table.render(configuration.load())
    written = (ROOT / "docs" / "settings.md").read_text("utf-8")
    assert table == written, "run: ditto settings > docs/settings.md"


def test_every_command_is_named() -> None:
    commands = typer.main.get_command(app).commands  # type: ignore[attr-defined]
    assert [name for name in commands if f"{name}" not in README.split("## Commands")[1].split("## Settings")[0]] == []
