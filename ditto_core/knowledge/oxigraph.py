"""Oxigraph: a SPARQL server of our own over an RDF file, for the embedded world and for dumps.

Input:   an RDF file (.ttl, .nt, .nq, also .gz) and a folder that may hold its store.
Output:  the address of a read-only endpoint on this machine, for as long as the `with` block runs.
Source:  the `oxigraph` package, which brings the server as an executable.

Example:
    with serve(Path("world.ttl"), Path("ditto-data/oxigraph")) as endpoint: ...  # http://127.0.0.1:40217/query
"""

import contextlib
import os
import shutil
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path

from ditto_core.errors import InvalidInput
from ditto_core.recipe import file_digest

_STARTS = 3
_PATIENCE_S = 60.0
_QUERY_TIMEOUT_S = 60


@contextlib.contextmanager
def serve(rdf: Path, folder: Path) -> Iterator[str]:
    """Load an RDF file once per content and serve it while the block runs.

    Args:
        rdf: File to load; its suffix names the format.
        folder: Where stores live, one a content digest; made if it is missing.

    Yields:
        Address of the query endpoint, on a free loopback port.

    Raises:
        InvalidInput: The file is missing or not RDF, or the server does not start.
    """
    store = _loaded(rdf, folder)
    process, endpoint = _started(store)
    try:
        yield endpoint
    finally:
        _end(process)


def _loaded(rdf: Path, folder: Path) -> Path:
    if not rdf.is_file():
        raise InvalidInput(f"RDF file {str(rdf)!r} does not exist; expected Turtle or N-Triples.")
    store = folder / file_digest([rdf])[:16]
    if store.is_dir():
        return store
    folder.mkdir(parents=True, exist_ok=True)
    # Filled under a name of its own and renamed when complete: a killed load leaves nothing that looks finished.
    unfinished = folder / f"{store.name}.loading-{os.getpid()}"
    shutil.rmtree(unfinished, ignore_errors=True)
    command = [_executable(), "load", "--location", str(unfinished), "--file", str(rdf)]
    outcome = subprocess.run(command, capture_output=True, text=True, check=False)
    if outcome.returncode:
        shutil.rmtree(unfinished, ignore_errors=True)
        raise InvalidInput(f"{str(rdf)!r} cannot be loaded as RDF: {_tail(outcome.stderr)}")
    try:
        unfinished.rename(store)
    except OSError:  # another process was faster with the same content
        shutil.rmtree(unfinished, ignore_errors=True)
        if not store.is_dir():
            raise
    return store


def _started(store: Path) -> tuple[subprocess.Popen[bytes], str]:
    said = ""
    for _ in range(_STARTS):  # the free port may be taken between our look and the server's start
        port = _free_port()
        log = store.parent / f"{store.name}.{port}.log"
        with log.open("wb") as output:
            process = subprocess.Popen(
                [
                    *(_executable(), "serve-read-only", "--location", str(store)),
                    *("--bind", f"127.0.0.1:{port}", "--timeout-s", str(_QUERY_TIMEOUT_S)),
                ],
                stdout=output,
                stderr=output,
            )
        try:
            answered = _answers(process, f"http://127.0.0.1:{port}/query")
        except BaseException:
            _end(process)
            raise
        said = _tail(log.read_text("utf-8", "replace"))
        log.unlink(missing_ok=True)
        if answered:
            return process, f"http://127.0.0.1:{port}/query"
        _end(process)
    raise InvalidInput(
        f"the SPARQL server over {str(store)!r} did not start in {_STARTS} tries: {said or 'it said nothing'}. "
        f"Delete that folder and run again, or name another server in knowledge.sparql_endpoint."
    )


def _answers(process: subprocess.Popen[bytes], endpoint: str) -> bool:
    deadline = time.monotonic() + _PATIENCE_S
    direct = urllib.request.build_opener(urllib.request.ProxyHandler({}))  # loopback is never behind a proxy
    while process.poll() is None and time.monotonic() < deadline:
        try:
            with direct.open(f"{endpoint}?query=ASK%7B%7D", timeout=5) as response:
                return bool(response.status == 200)
        except (urllib.error.URLError, OSError):
            time.sleep(0.05)
    return False


def _end(process: subprocess.Popen[bytes]) -> None:
    if process.poll() is None:
        process.terminate()
        try:
            process.wait(timeout=10)
        except subprocess.TimeoutExpired:
            process.kill()
    process.wait()


def _executable() -> str:
    beside = Path(sys.executable).parent / "oxigraph"
    found = str(beside) if beside.exists() else shutil.which("oxigraph")
    if found is None:
        raise InvalidInput(
            f"the executable 'oxigraph' is neither beside {sys.executable} nor on the path. Install it: pip install oxigraph"
        )
    return found


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _tail(text: str) -> str:
    return " ".join(text.split())[-300:]
