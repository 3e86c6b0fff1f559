"""One Prefect server and one model server for all tests here, and a way to run commands against them."""

import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from fixtures.stub_openai import StubServer

ROOT = Path(__file__).parents[2]
DITTO = Path(sys.executable).parent / "ditto"


@pytest.fixture(scope="session")
def prefect_api(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A real Prefect server, started as the commands start theirs."""
    from flows.server import prefect_server

    saved = dict(os.environ)
    try:
        with prefect_server(tmp_path_factory.mktemp("prefect")) as address:
            yield address
    finally:
        os.environ.clear()
        os.environ.update(saved)


@pytest.fixture
def model_server() -> Iterator[StubServer]:
    server = StubServer()
    yield server
    server.close()


Command = Callable[..., "subprocess.Popen[str]"]


@pytest.fixture
def start(prefect_api: str, model_server: StubServer) -> Command:
    """Start a command against the server that the environment names, on a few characters with the stub as model."""

    def start(name: str, data_root: Path, *options: str) -> "subprocess.Popen[str]":
        settings = ["generation.engine=chat-api", "generation.model=stub", f"generation.base_url={model_server.base_url}"]
        settings += ["knowledge.max_characters=6", "generation.concurrency=4"]
        command = [str(DITTO), name, "--preset", "demo", "--data-root", str(data_root), "--json"]
        command += [word for setting in settings for word in ("--set", setting)]
        environment = {**os.environ, "PREFECT_HOME": str(data_root / "home")}
        return subprocess.Popen(
            [*command, *options], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment, cwd=ROOT
        )

    return start


@pytest.fixture
def ditto(start: Command) -> Callable[..., dict[str, Any]]:
    """Run a command to its end and return the JSON object of its last line."""

    def ditto(name: str, data_root: Path, *options: str, code: int = 0) -> dict[str, Any]:
        process = start(name, data_root, *options)
        out, err = process.communicate(timeout=300)
        assert process.returncode == code, f"{name} exited {process.returncode}\n{out}\n{err}"
        assert "Traceback" not in err
        return json.loads(out.strip().splitlines()[-1]) if code == 0 else {"error": err}

    return ditto
