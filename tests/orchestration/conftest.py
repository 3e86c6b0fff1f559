"""A model server for each test here, and two ways to run commands against it."""

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


Ditto = Callable[..., dict[str, Any]]
Main = Callable[..., tuple[str, str]]
Command = Callable[..., "subprocess.Popen[str]"]


@pytest.fixture
def model_server() -> Iterator[StubServer]:
    server = StubServer()
    yield server
    server.close()


def words(name: str, data_root: Path, model_server: StubServer, options: tuple[str, ...]) -> list[str]:
    """A command on a few characters with the stub as model."""
    settings = ["generation.engine=chat-api", "generation.model=stub", f"generation.base_url={model_server.base_url}"]
    settings += ["knowledge.max_characters=6", "generation.concurrency=4", "shards=3"]
    command = [name, "--preset", "demo", "--data-root", str(data_root), "--json"]
    return [*command, *(word for setting in settings for word in ("--set", setting)), *options]


@pytest.fixture
def start(prefect_api: str, model_server: StubServer) -> Command:
    """Start a command as a process of its own, for what can only be done to a process."""

    def start(name: str, data_root: Path, *options: str) -> "subprocess.Popen[str]":
        command = [str(DITTO), *words(name, data_root, model_server, options)]
        environment = {**os.environ, "PREFECT_HOME": str(data_root / "home")}
        return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment, cwd=ROOT)

    return start


@pytest.fixture(scope="session")
def ditto_on(prefect_api: str, main: Main) -> Callable[[StubServer], Ditto]:
    """`ditto` with a given model server."""

    def ditto_on(model_server: StubServer) -> Ditto:
        def ditto(name: str, data_root: Path, *options: str, code: int = 0) -> dict[str, Any]:
            out, err = main(*words(name, data_root, model_server, options), code=code)
            return json.loads(out.strip().splitlines()[-1]) if code == 0 else {"error": err}

        return ditto

    return ditto_on


@pytest.fixture
def ditto(ditto_on: Callable[[StubServer], Ditto], model_server: StubServer) -> Ditto:
    """Run a command to its end and return the JSON object of its last line, or what it complained of."""
    return ditto_on(model_server)
