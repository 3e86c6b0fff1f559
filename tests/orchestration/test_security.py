"""Secrets stay in the environment."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

SECRET = "planted-4f1d9c7e"
Ditto = Callable[..., dict[str, Any]]


def holders(*folders: Path) -> list[Path]:
    """Every file, of whatever kind, that holds the secret."""
    files = (path for folder in folders for path in folder.rglob("*") if path.is_file())
    return [path for path in files if SECRET.encode() in path.read_bytes()]


def test_a_planted_secret_is_in_no_file_log_artifact_or_parameter(
    ditto: Ditto, model_server: Any, tmp_path: Path, tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("DITTO_API_KEY", "PGPASSWORD"):
        monkeypatch.setenv(name, SECRET)
    ditto("collect", tmp_path)
    ditto("simulate", tmp_path)
    databases = list(tmp_path_factory.getbasetemp().glob("prefect*"))
    assert any(folder.rglob("prefect.db") for folder in databases)
    assert holders(tmp_path, *databases) == []


def test_a_password_in_a_setting_is_refused_and_not_repeated(ditto: Ditto, tmp_path: Path) -> None:
    error = ditto("plan", tmp_path, "--memo-url", f"postgresql+psycopg://me:{SECRET}@127.0.0.1/memo", code=2)["error"]
    assert "PGPASSWORD" in error
    assert SECRET not in error
