"""One Prefect server and one model server for all tests here, and two ways to run commands against them."""

import io
import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import redirect_stderr, redirect_stdout
from pathlib import Path
from typing import Any

import pytest
from fixtures.stub_openai import StubServer

ROOT = Path(__file__).parents[2]
DITTO = Path(sys.executable).parent / "ditto"


Ditto = Callable[..., dict[str, Any]]
Main = Callable[..., tuple[str, str]]
Command = Callable[..., "subprocess.Popen[str]"]


@pytest.fixture(scope="session")
def prefect_api(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A real Prefect server, started as the commands start theirs; this process talks to it from then on."""
    from flows.server import prefect_server

    saved = dict(os.environ)
    try:
        with prefect_server(tmp_path_factory.mktemp("prefect")) as address:
            from prefect.context import refresh_global_settings_context

            refresh_global_settings_context()  # another test may have imported Prefect before there was a server
            yield address
    finally:
        os.environ.clear()
        os.environ.update(saved)


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
def main() -> Main:
    """Run a command line within this process, which spares it the imports; returns stdout and stderr."""
    from flows import cli

    def main(*words: str, code: int = 0) -> tuple[str, str]:
        with (
            pytest.MonkeyPatch.context() as patch,
            redirect_stdout(io.StringIO()) as out,
            redirect_stderr(io.StringIO()) as err,
        ):
            patch.setattr(sys, "argv", ["ditto", *words])
            patch.chdir(ROOT)
            with pytest.raises(SystemExit) as ended:
                cli.main()
        assert ended.value.code == code, f"{words} exited {ended.value.code}\n{out.getvalue()}\n{err.getvalue()}"
        assert "Traceback" not in err.getvalue()
        return out.getvalue(), err.getvalue()

    return main


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
