"""Secrets stay in the environment, and a server with a password lets nobody else in."""

import base64
import os
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
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


@pytest.fixture
def closed_server(tmp_path: Path) -> Iterator[str]:
    """A server of our own with a password, as `ditto serve` starts it."""
    from flows.server import prefect_server

    saved = dict(os.environ)
    os.environ.pop("PREFECT_API_URL", None)
    os.environ["PREFECT_SERVER_API_AUTH_STRING"] = f"admin:{SECRET}"
    try:
        with prefect_server(tmp_path) as address:
            yield address
    finally:
        os.environ.clear()
        os.environ.update(saved)


def status(address: str, password: str | None) -> int:
    request = urllib.request.Request(f"{address}/flows/filter", b"{}", {"Content-Type": "application/json"})
    if password is not None:
        request.add_header("Authorization", "Basic " + base64.b64encode(f"admin:{password}".encode()).decode())
    try:
        with urllib.request.urlopen(request, timeout=60) as response:
            return int(response.status)
    except urllib.error.HTTPError as error:
        error.close()
        return error.code


def test_a_server_with_a_password_lets_nobody_else_in(
    ditto: Ditto, closed_server: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert [status(closed_server, password) for password in (None, "wrong", SECRET)] == [401, 401, 200]
    monkeypatch.setenv("PREFECT_API_AUTH_STRING", "admin:wrong")
    assert "PREFECT_API_AUTH_STRING" in ditto("collect", tmp_path, code=2)["error"]
    monkeypatch.setenv("PREFECT_API_AUTH_STRING", f"admin:{SECRET}")
    ditto("collect", tmp_path)
