"""The Prefect server behind a command: the one that is configured, the one already running here, or one of its own.

A server of our own keeps its history below the data root, listens on loopback only, sends no telemetry, and ends with the
command that started it, which waits for those that joined. Import nothing of Prefect before `prefect_server` has set the
environment.
"""

import base64
import errno
import fcntl
import http.client
import importlib.util
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import psutil

from ditto_core.errors import InvalidInput, SourceUnavailable

_START_SECONDS = 180
_QUIET = {
    "DO_NOT_TRACK": "1",
    "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
    "PREFECT_CLI_PROMPT": "false",
    # The recorder's defaults lag minutes behind a few thousand task runs (seen with 3.7.7).
    "PREFECT_SERVER_SERVICES_TASK_RUN_RECORDER_READ_BATCH_SIZE": "200",
    "PREFECT_SERVER_SERVICES_TASK_RUN_RECORDER_BATCH_SIZE": "200",
    "PREFECT_SERVER_SERVICES_TASK_RUN_RECORDER_FLUSH_INTERVAL": "1",
}


class ServerGone(SourceUnavailable):
    """The Prefect server ended while a command was at work. With a server, the same command goes on where it stopped."""


@contextmanager
def prefect_server(data_root: Path, *, port: int | None = None) -> Iterator[str]:
    """Make sure that a Prefect API answers, and yield its address.

    Args:
        data_root: Holds `prefect/`, the home of a server of our own.
        port: For a server of our own, and for no command's that runs already; None takes a free one.

    Raises:
        InvalidInput: The configured server does not answer, the port is taken, another command's server runs where a port was
            given, or our own server did not come up; the message then holds the end of its log.
    """
    home = (data_root / "prefect").absolute()
    os.environ.setdefault("PREFECT_RESULTS_LOCAL_STORAGE_PATH", str(home / "results"))  # stages' results, read by a retry
    configured = os.environ.get("PREFECT_API_URL")
    if configured:
        _require(configured)
        yield configured
        return
    os.environ.update({"PREFECT_HOME": str(home), **_QUIET})
    if password := os.environ.get("PREFECT_SERVER_API_AUTH_STRING"):  # what our server asks for, we have
        os.environ.setdefault("PREFECT_API_AUTH_STRING", password)
    # The users' lock comes first: whoever has it shared uses a server that nobody stops.
    with _locked(home / "users.lock", fcntl.LOCK_SH) as users:
        with _locked(home / "start.lock", fcntl.LOCK_EX):  # commands that come at once share one server
            running = _running(home)
            if running is not None and port is not None:
                raise InvalidInput(_at_work(running))
            process, address = _start(home, port) if running is None else (None, str(running["api_url"]))
        try:
            with _named(address):
                yield address
        finally:
            if process is not None:
                _stop_after_the_last(users, process, home)


@contextmanager
def _locked(path: Path, how: int) -> Iterator[int]:
    """Hold a lock, shared or alone. The kernel drops it with its holder, also one that is killed."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        descriptor = os.open(path, os.O_CREAT | os.O_RDWR | os.O_CLOEXEC, 0o644)
    except OSError as error:
        raise _cannot_write(path.parent, error) from error
    try:
        fcntl.flock(descriptor, how)
        yield descriptor
    finally:
        os.close(descriptor)


def _stop_after_the_last(users: int, process: subprocess.Popen[bytes], home: Path) -> None:
    """Stop our server when no other command uses it any more, or at once on Ctrl-C."""
    if process.poll() is None:
        with suppress(KeyboardInterrupt):
            try:
                fcntl.flock(users, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                said = "another command still uses this one's Prefect server: waiting for its end (Ctrl-C stops the server now)"
                print(said, file=sys.stderr, flush=True)
                fcntl.flock(users, fcntl.LOCK_EX)
    _stop(process, home)


@contextmanager
def _named(address: str) -> Iterator[None]:
    """Tell Prefect of a server, for as long as it is ours to use; the next command of this process looks for one again."""
    os.environ["PREFECT_API_URL"] = address
    try:
        yield
    finally:
        os.environ.pop("PREFECT_API_URL", None)


def _running(home: Path) -> dict[str, Any] | None:
    """What another command noted of the server that it started in the same home, if that answers."""
    record = _record(home)
    if record is None or not _listens(record["pid"], urllib.parse.urlsplit(record["api_url"]).port or 0):
        return None  # left by one that was killed; another data root's server may have its port since
    return record if answers(record["api_url"]) else None


def _record(home: Path) -> dict[str, Any] | None:
    try:
        record: dict[str, Any] = json.loads((home / "server.json").read_text("utf-8"))
    except (OSError, ValueError):
        return None
    return record if {"api_url", "pid"} <= set(record) else None


def _at_work(running: dict[str, Any]) -> str:
    """Why no server with a port of its own starts beside one that runs: two would write the same history."""
    ui = _ui(running["api_url"])
    if running.get("serves"):
        return f"`ditto serve` already runs over this data root, with its UI at {ui}. Look there, or end it first."
    return (
        f"a command is at work over this data root, with a Prefect server at {ui} that ends with it. Look there meanwhile, and "
        f"wait for its end."
    )


def _start(home: Path, chosen: int | None) -> tuple[subprocess.Popen[bytes], str]:
    port = chosen or _free_port()
    _require_port(port)
    try:
        log = (home / "server.log").open("wb")
    except OSError as error:
        raise _cannot_write(home, error) from error
    address = _address(port)
    command = [sys.executable, "-m", "prefect", "server", "start", "--host", "127.0.0.1", "--port", str(port)]
    if (
        setpriv := shutil.which("setpriv")
    ) is not None:  # util-linux; the kernel then ends the server with us, even after kill -9
        command = [setpriv, "--pdeathsig", "TERM", *command]
    environment = {**os.environ, "PREFECT_UI_API_URL": address}
    if not _holds_its_ui():
        # Prefect knows this name too, and prefers PREFECT_SERVER_UI_STATIC_DIRECTORY where a user set it.
        environment.setdefault("PREFECT_UI_STATIC_DIRECTORY", str(home / "ui"))
    with log:
        process = subprocess.Popen(
            command,
            stdout=log,
            stderr=subprocess.STDOUT,
            stdin=subprocess.DEVNULL,
            env=environment,
            start_new_session=True,
        )
    deadline = time.monotonic() + _START_SECONDS
    while not (_listens(process.pid, port) and answers(address)):
        if process.poll() is not None or time.monotonic() > deadline:
            _stop(process, home)
            tail = (home / "server.log").read_text("utf-8", "replace")[-600:]
            raise InvalidInput(f"the Prefect server did not start within {_START_SECONDS} s. Its log ends:\n{tail}")
        time.sleep(0.2)
    record = {"api_url": address, "pid": process.pid, "serves": chosen is not None}
    (home / "server.json").write_text(json.dumps(record), "utf-8")
    return process, address


def _holds_its_ui() -> bool:
    """Whether Prefect may copy its UI to beside its source, as it does once; where it may not, each home needs 55 MB for it."""
    found = importlib.util.find_spec("prefect")
    assert found is not None
    assert found.origin is not None
    return os.access(Path(found.origin).parent / "server", os.W_OK)


def _require_port(port: int) -> None:
    """Find out that our server could not have its port, before another program's answer there is taken for its own."""
    try:
        with socket.socket() as listener:
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)  # of a server that has just ended, it is free
            listener.bind(("127.0.0.1", port))
    except OverflowError as error:
        raise InvalidInput(f"there is no port {port}. Choose one from 1 to 65535 with --port.") from error
    except OSError as error:
        if error.errno != errno.EADDRINUSE:
            raise InvalidInput(f"cannot listen on port {port}: {error.strerror}. Choose another with --port.") from error
        holder = "a Prefect server, such as that of another data root" if answers(_address(port)) else "another program"
        raise InvalidInput(f"port {port} is taken by {holder}. Choose another with --port, or end what holds it.") from error


def _listens(pid: int, port: int) -> bool:
    """Whether the port is that process's, and not of a program that took it since or while our server was starting."""
    try:
        sockets = psutil.Process(pid).net_connections("tcp")
    except psutil.AccessDenied:  # a system that shows nobody's sockets: who answers is believed
        return bool(psutil.pid_exists(pid))
    except psutil.NoSuchProcess:
        return False
    return any(found.status == psutil.CONN_LISTEN and found.laddr.port == port for found in sockets)


def _stop(process: subprocess.Popen[bytes], home: Path) -> None:
    record = _record(home)
    if record is not None and record["pid"] == process.pid:  # not of a server that another command started when ours was killed
        (home / "server.json").unlink()
    if process.poll() is None:
        os.killpg(process.pid, signal.SIGTERM)
        try:
            process.wait(20)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()


def _require(address: str) -> None:
    """Find out that a configured server is not there, or lets us not in, before Prefect says so with a traceback."""
    request = urllib.request.Request(f"{address}/admin/version")
    if password := os.environ.get("PREFECT_API_AUTH_STRING"):
        request.add_header("Authorization", "Basic " + base64.b64encode(password.encode()).decode())
    try:
        with urllib.request.urlopen(request, timeout=10):
            pass
    except urllib.error.HTTPError as error:
        error.close()
        if error.code == 401:
            raise InvalidInput(
                f"the Prefect server at {address!r} wants other credentials: set PREFECT_API_AUTH_STRING to its user:password."
            ) from error
    except (OSError, ValueError) as error:
        raise InvalidInput(
            f"no Prefect server answers at {address!r} (PREFECT_API_URL). Start it, correct the address, or unset the "
            f"variable: a command then starts a server of its own."
        ) from error


def answers(address: str) -> bool:
    """Whether a Prefect API is up at an address."""
    try:
        with urllib.request.urlopen(f"{address}/health", timeout=10) as response:
            return bool(response.status == 200)
    except (OSError, ValueError, http.client.HTTPException):  # the last: what answers does not speak HTTP
        return False


def _address(port: int) -> str:
    return f"http://127.0.0.1:{port}/api"


def _ui(address: str) -> str:
    return address.removesuffix("/api")


def _cannot_write(home: Path, error: OSError) -> InvalidInput:
    return InvalidInput(f"cannot write {str(home)!r}: {error.strerror}. Choose another --data-root.")


def _free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        port: int = listener.getsockname()[1]
        return port
