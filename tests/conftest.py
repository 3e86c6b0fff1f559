"""One Prefect server, one `ditto serve` and the command line, for all tests that need them."""

import io
import os
import sys
from collections.abc import Callable, Iterator
from contextlib import redirect_stderr, redirect_stdout
from pathlib import Path

import pytest
from fixtures.served import Served, serve

ROOT = Path(__file__).parents[1]


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


@pytest.fixture(scope="session")
def main() -> Callable[..., tuple[str, str]]:
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
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    """The embedded world, twelve characters of it."""
    with serve(tmp_path_factory.mktemp("served"), "--set", "knowledge.max_characters=4") as running:
        yield running
