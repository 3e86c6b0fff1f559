"""What doctor says of the model: a server is asked as the engine asks it, and nothing is fetched from a hub."""

import json
import socketserver
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web
from fixtures.stub_openai import Fault, StubServer
from fixtures.tiny_model import make_tiny_model
from huggingface_hub import constants

from ditto_core import configuration
from ditto_core.generation.local_model import chat_identity
from flows.doctor import Finding, examine
from tasks import resources

NOWHERE = "http://127.0.0.1:9/v1"
NOT_HERE = "example/tiny is not here yet: fetched at the first run"


def model_finding(root: Path, *assignments: str) -> Finding:
    settings = configuration.load("demo", None, assignments, data_root=str(root))
    try:
        return next(finding for finding in examine(settings) if finding.what == "model")
    finally:
        resources.release()


def behind(server: StubServer, *more: str) -> tuple[str, ...]:
    return ("generation.engine=chat-api", "generation.model=stub", f"generation.base_url={server.base_url}", *more)


def answers(status: int, text: str = "") -> Fault:
    async def fault(_request: web.Request, _body: dict[str, Any], _asked: int) -> web.StreamResponse:
        return web.Response(status=status, text=text, headers={"Location": f"{NOWHERE}/models"} if status == 302 else None)

    return fault


async def wants_a_key(request: web.Request, _body: dict[str, Any], _asked: int) -> web.StreamResponse | None:
    return None if request.headers.get("Authorization") == "Bearer good" else web.Response(status=401)


def test_a_server_that_lists_the_model_is_fit(model_server: StubServer, tmp_path: Path) -> None:
    found = model_finding(tmp_path, *behind(model_server))
    assert (found.ok, found.detail) == (True, f"{model_server.base_url} serves stub")


@pytest.mark.parametrize(
    ("fault", "more", "problem"),
    [
        pytest.param(None, f"generation.base_url={NOWHERE}", f"no server answers at {NOWHERE}", id="nobody"),
        pytest.param(None, f'generation.replicas=["{NOWHERE}"]', f"no server answers at {NOWHERE}", id="replica"),
        pytest.param(answers(403), "shards=1", "refuses the key (HTTP 403)", id="forbidden"),
        pytest.param(answers(503), "shards=1", "answers HTTP 503", id="busy"),
        pytest.param(answers(302), "shards=1", "answers HTTP 302", id="sent-elsewhere"),
        pytest.param(answers(200, "<html>"), "shards=1", "something else than a list of models", id="web-page"),
    ],
)
def test_what_is_wrong_with_a_server_is_said(
    model_server: StubServer, tmp_path: Path, fault: Fault | None, more: str, problem: str
) -> None:
    model_server.fault = fault
    found = model_finding(tmp_path, *behind(model_server, more))
    assert not found.ok
    assert problem in found.detail


def test_a_model_that_a_server_lists_by_another_name_or_not_is_a_note(model_server: StubServer, tmp_path: Path) -> None:
    found = model_finding(tmp_path, *behind(model_server, "generation.model=other"))
    assert found.ok
    assert "does not list 'other', but stub" in found.detail


def test_the_judge_is_looked_at_where_one_is_used(model_server: StubServer, tmp_path: Path) -> None:
    away = json.dumps({"engine": "chat-api", "model": "stub", "base_url": NOWHERE})
    chosen = ("evaluation.judge=llm", f"evaluation.judge_generation={away}")
    settings = configuration.load("demo", None, behind(model_server, *chosen), data_root=str(tmp_path))
    findings = {finding.what: finding for finding in examine(settings)}
    resources.release()
    assert findings["model"].ok
    assert f"no server answers at {NOWHERE}" in findings["judge"].detail


def test_a_server_without_a_list_of_models_passes_with_a_word(model_server: StubServer, tmp_path: Path) -> None:
    model_server.fault = answers(404)
    found = model_finding(tmp_path, *behind(model_server))
    assert found.ok
    assert "lists no models" in found.detail


@pytest.mark.parametrize(
    ("key", "ok", "detail"),
    [
        pytest.param(" good\n", True, "serves stub", id="right"),
        pytest.param("secret", False, "refuses the key (HTTP 401)", id="wrong"),
        pytest.param("sec\nret", False, "no HTTP header can carry", id="broken"),
    ],
)
def test_a_server_is_asked_with_the_key_of_the_environment(
    model_server: StubServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, key: str, ok: bool, detail: str
) -> None:
    model_server.fault = wants_a_key
    monkeypatch.setenv("DITTO_API_KEY", key)
    found = model_finding(tmp_path, *behind(model_server))
    assert found.ok == ok
    assert detail in found.detail
    assert key.strip() not in found.detail


@pytest.fixture
def hub(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[list[str]]:
    """A hub that has nothing, with an empty cache here; who asked it for something."""
    callers: list[str] = []

    class Handler(socketserver.BaseRequestHandler):
        def handle(self) -> None:
            callers.append(str(self.client_address))

    with socketserver.ThreadingTCPServer(("127.0.0.1", 0), Handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        monkeypatch.setattr(constants, "ENDPOINT", f"http://127.0.0.1:{server.server_address[1]}")
        monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "hub"))
        yield callers
        server.shutdown()


ON_THE_HUB = ("generation.engine=transformers", "generation.model=example/tiny")


@pytest.mark.parametrize("fetched", [(), ("config.json",)], ids=["nothing", "no-weights"])
def test_a_model_of_the_hub_that_is_not_here_is_a_note_and_nothing_is_fetched(
    hub: list[str], tmp_path: Path, fetched: tuple[str, ...]
) -> None:
    for name in fetched:
        file = in_the_cache(tmp_path) / name
        file.parent.mkdir(parents=True)
        file.write_text("{}")
    assert model_finding(tmp_path, *ON_THE_HUB) == Finding("model", True, NOT_HERE)
    assert hub == []


def test_a_model_that_was_fetched_before_is_looked_at_without_asking_the_hub(hub: list[str], tmp_path: Path) -> None:
    folder = make_tiny_model(in_the_cache(tmp_path))
    assert model_finding(tmp_path, *ON_THE_HUB) == Finding("model", True, chat_identity(folder).weights[:40])
    lacking = model_finding(tmp_path, *ON_THE_HUB, "generation.adapter=example/adapter")
    assert lacking == Finding("model", True, NOT_HERE.replace("tiny", "adapter"))
    assert hub == []


def in_the_cache(root: Path) -> Path:
    """The folder of the model's main branch in the hub's cache."""
    cached = root / "hub/models--example--tiny"
    (cached / "refs").mkdir(parents=True)
    (cached / "refs/main").write_text("0123abc")
    return cached / "snapshots/0123abc"
