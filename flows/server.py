"""The Prefect server behind a command: the one that is configured, the one already running here, or one of its own.

A server of our own keeps its history below the data root, listens on loopback only, sends no telemetry, and ends with the
command that started it. Import nothing of Prefect before `prefect_server` has set the environment.
"""

import base64
import errno
import http.client
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

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
        port: For a server of our own; None takes a free one.

    Raises:
        InvalidInput: The configured server does not answer, the port is taken, or our own server did not come up; the message
            then holds the end of its log.
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
    address = running_server(data_root)
    if address is not None:
        with _named(address):
            yield address
        return
    process, address = _start(home, port or _free_port())
    try:
        with _named(address):
            yield address
    finally:
        _stop(process, home)


@contextmanager
def _named(address: str) -> Iterator[None]:
    """Tell Prefect of a server, for as long as it is ours to use; the next command of this process looks for one again."""
    os.environ["PREFECT_API_URL"] = address
    try:
        yield
    finally:
        os.environ.pop("PREFECT_API_URL", None)


def running_server(data_root: Path) -> str | None:
    """Address of a server that another command started over the same data root, if it answers."""
    try:
        record = json.loads((data_root / "prefect" / "server.json").read_text("utf-8"))
        address = str(record["api_url"])
    except (OSError, ValueError, KeyError):
        return None
    return address if answers(address) else None


def _start(home: Path, port: int) -> tuple[subprocess.Popen[bytes], str]:
    _require_port(port)
    try:
        home.mkdir(parents=True, exist_ok=True)
        log = (home / "server.log").open("wb")
    except OSError as error:
        raise InvalidInput(f"cannot write {str(home)!r}: {error.strerror}. Choose another --data-root.") from error
    address = _address(port)
    command = [sys.executable, "-m", "prefect", "server", "start", "--host", "127.0.0.1", "--port", str(port)]
    if (
        setpriv := shutil.which("setpriv")
    ) is not None:  # util-linux; the kernel then ends the server with us, even after kill -9
        command = [setpriv, "--pdeathsig", "TERM", *command]
    environment = {**os.environ, "PREFECT_UI_API_URL": address}
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
    while not (_listens(process, port) and answers(address)):
        if process.poll() is not None or time.monotonic() > deadline:
            _stop(process, home)
            tail = (home / "server.log").read_text("utf-8", "replace")[-600:]
            raise InvalidInput(f"the Prefect server did not start within {_START_SECONDS} s. Its log ends:\n{tail}")
        time.sleep(0.2)
    (home / "server.json").write_text(json.dumps({"api_url": address, "pid": process.pid}), "utf-8")
    return process, address


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


def _listens(process: subprocess.Popen[bytes], port: int) -> bool:
    """Whether the port is our server's, and not of a program that took it while our server was starting."""
    try:
        sockets = psutil.Process(process.pid).net_connections("tcp")
    except psutil.AccessDenied:  # a system that shows nobody's sockets: who answers is believed
        return process.poll() is None
    except psutil.NoSuchProcess:
        return False
    return any(found.status == psutil.CONN_LISTEN and found.laddr.port == port for found in sockets)


def _stop(process: subprocess.Popen[bytes], home: Path) -> None:
    (home / "server.json").unlink(missing_ok=True)
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


def _free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        port: int = listener.getsockname()[1]
        return port
