"""Secrets stay in the environment."""

import gzip
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest
from aiohttp import web
from fixtures.stub_openai import StubServer

SECRET = "planted-4f1d9c7e"
Ditto = Callable[..., dict[str, Any]]


def content(path: Path) -> bytes:
    """What a file holds, unpacked."""
    if path.suffix == ".parquet":
        return repr(pq.read_table(path).to_pylist()).encode()
    raw = path.read_bytes()
    return gzip.decompress(raw) if raw.startswith(b"\x1f\x8b") else raw


def holders(*folders: Path) -> list[Path]:
    """Every file, of whatever kind, that holds the secret."""
    files = (path for folder in folders for path in folder.rglob("*") if path.is_file())
    return [path for path in files if SECRET.encode() in content(path)]


def test_a_planted_secret_is_in_no_file_log_artifact_or_parameter(
    ditto: Ditto,
    model_server: StubServer,
    tmp_path: Path,
    tmp_path_factory: pytest.TempPathFactory,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    for name in ("DITTO_API_KEY", "PGPASSWORD"):
        monkeypatch.setenv(name, SECRET)
    sent: set[str] = set()

    async def note_the_key(request: web.Request, *_: Any) -> None:
        sent.add(request.headers["Authorization"])

    model_server.fault = note_the_key
    ditto("collect", tmp_path)
    ditto("simulate", tmp_path)
    ditto("assemble", tmp_path)
    assert sent == {f"Bearer {SECRET}"}
    servers = list(tmp_path_factory.getbasetemp().glob("prefect*"))
    assert [file for folder in servers for file in folder.rglob("prefect.db")], "its logs, artifacts and parameters are in there"
    assert list(tmp_path.rglob("*.parquet"))
    assert holders(tmp_path, *servers) == []


def test_a_password_in_a_setting_is_refused_and_not_repeated(ditto: Ditto, tmp_path: Path) -> None:
    error = ditto("plan", tmp_path, "--memo-url", f"postgresql+psycopg://me:{SECRET}@127.0.0.1/memo", code=2)["error"]
    assert "PGPASSWORD" in error
    assert SECRET not in error
