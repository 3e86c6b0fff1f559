"""The Prefect server behind everything: it keeps every task run, and with a password it lets nobody else in."""

import base64
import fcntl
import json
import os
import shutil
import socket
import subprocess
import sys
import threading
import urllib.error
import urllib.request
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, HTTPServer
from importlib.util import find_spec
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import psutil
import pytest
from fixtures import postgresql
from fixtures.served import DITTO, Api, wait_for
from fixtures.stub_openai import StubServer

from ditto_core import configuration
from ditto_core.errors import InvalidInput
from ditto_core.ledger import Ledger
from ditto_core.records import Section
from ditto_core.settings import Settings
from ditto_core.shards import ShardKey, ShardRef, ShardStore

PASSWORD = "a-password-of-this-test"
TASKS = 500
Ditto = Callable[..., dict[str, Any]]
ROOT = Path(__file__).parents[2]


@contextmanager
def environment(**names: str | None) -> Iterator[None]:
    """Set or unset variables, and let Prefect in this process see them."""
    from prefect.context import refresh_global_settings_context

    saved = dict(os.environ)
    for name, value in names.items():
        os.environ.pop(name, None)
        if value is not None:
            os.environ[name] = value
    refresh_global_settings_context()
    try:
        yield
    finally:
        os.environ.clear()
        os.environ.update(saved)
        refresh_global_settings_context()


@pytest.fixture(scope="module")
def closed_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A server as several machines share one: on PostgreSQL, and with a password."""
    from flows.server import prefect_server

    with ExitStack() as stack:
        database = stack.enter_context(postgresql.running())
        with environment(
            PREFECT_API_URL=None,
            PREFECT_SERVER_API_AUTH_STRING=f"admin:{PASSWORD}",
            PREFECT_SERVER_DATABASE_CONNECTION_URL=database.database().replace("+psycopg", "+asyncpg"),
        ):
            address = stack.enter_context(prefect_server(tmp_path_factory.mktemp("closed")))
        yield address


def authorization(password: str) -> str:
    return "Basic " + base64.b64encode(f"admin:{password}".encode()).decode()


def status(address: str, password: str | None) -> int:
    request = urllib.request.Request(f"{address}/flows/filter", b"{}", {"Content-Type": "application/json"})
    if password is not None:
        request.add_header("Authorization", authorization(password))
    try:
        with urllib.request.urlopen(request, timeout=60) as response:
            return int(response.status)
    except urllib.error.HTTPError as error:
        error.close()
        return error.code


def test_a_server_with_a_password_lets_nobody_else_in(ditto: Ditto, closed_server: str, tmp_path: Path) -> None:
    assert [status(closed_server, password) for password in (None, "wrong", PASSWORD)] == [401, 401, 200]
    with environment(PREFECT_API_URL=closed_server, PREFECT_API_AUTH_STRING="admin:wrong"):
        assert "PREFECT_API_AUTH_STRING" in ditto("collect", tmp_path, code=2)["error"]
    with environment(PREFECT_API_URL=closed_server, PREFECT_API_AUTH_STRING=f"admin:{PASSWORD}"):
        ditto("collect", tmp_path)


@dataclass(frozen=True, slots=True)
class Server:
    """A server, and how this process gets in."""

    api: Api
    variables: dict[str, str]


@pytest.fixture(params=["sqlite", "postgresql"])
def server(request: pytest.FixtureRequest) -> Server:
    if request.param == "sqlite":
        return Server(Api(request.getfixturevalue("prefect_api")), {})
    address = request.getfixturevalue("closed_server")
    variables = {"PREFECT_API_URL": address, "PREFECT_API_AUTH_STRING": f"admin:{PASSWORD}"}
    return Server(Api(address, {"Authorization": authorization(PASSWORD)}), variables)


def work(_store: ShardStore) -> tuple[Iterable[Section], Ledger]:
    return [Section("heading", "text")], Ledger(1, 1)


def test_the_server_keeps_every_task_run_of_a_large_flow(server: Server, prefect_api: str, tmp_path: Path) -> None:
    from prefect.events.worker import EventsWorker
    from prefect.runtime import flow_run

    from flows import stage
    from tasks import policies

    @policies.shard_task(name="many")
    def shard(key: ShardKey, settings: Settings) -> ShardRef:
        return policies.compute_once(key, settings, Section, work)

    @stage.stage_flow("many")
    def many(settings: Settings) -> str:
        keys = [ShardKey("many", "recipe", f"en-{number:04d}", "inputs") for number in range(TASKS)]
        stage.gather("many", {key.name: stage.submit(shard, key, settings) for key in keys})
        return str(flow_run.id)

    with environment(**server.variables):
        run = many(configuration.load("demo", data_root=str(tmp_path)))
        EventsWorker.drain_all()

    def all_completed() -> bool:
        mine = {"flow_runs": {"id": {"any_": [run]}}, "task_runs": {"state": {"type": {"any_": ["COMPLETED"]}}}}
        return bool(server.api("/task_runs/count", mine) == TASKS)

    wait_for(f"{TASKS} task runs", all_completed, 120)


class Healthy(BaseHTTPRequestHandler):
    """Answers every question as a healthy server would."""

    def do_GET(self) -> None:
        self.send_response(200)
        self.end_headers()

    def log_message(self, *_words: object) -> None: ...


_COMMAND = """
import sys
from pathlib import Path
from flows.server import prefect_server
with prefect_server(Path(sys.argv[1])) as address:
    print(address, flush=True)
    sys.stdin.readline()
"""


def own_environment(**names: str) -> dict[str, str]:
    """Of a command that has to find or start a server by itself."""
    return {name: value for name, value in os.environ.items() if not name.startswith("PREFECT_")} | names


@contextmanager
def command(data_root: Path, before: tuple[str, ...] = (), **names: str) -> Iterator["subprocess.Popen[str]"]:
    """A command that says which server it uses, and ends with the next line that it is told, or with this block."""
    words, pipe = [*before, sys.executable, "-c", _COMMAND, str(data_root)], subprocess.PIPE
    environment = own_environment(**names)
    with subprocess.Popen(words, env=environment, stdin=pipe, stdout=pipe, stderr=pipe, text=True, cwd=ROOT) as process:
        try:
            yield process
        finally:
            process.kill()


def server_of(process: "subprocess.Popen[str]") -> str:
    assert process.stdout is not None
    return process.stdout.readline().strip()


def waits_for_a_lock(pid: int) -> bool:
    return any("->" in line and str(pid) in line.split() for line in Path("/proc/locks").read_text("ascii").splitlines())


def test_a_server_lives_until_the_last_command_that_joined_it(tmp_path: Path) -> None:
    with command(tmp_path) as one, command(tmp_path) as two:
        address = server_of(one)
        assert server_of(two) == address, "commands that start at once share one server"
        server = json.loads((tmp_path / "prefect" / "server.json").read_text("utf-8"))["pid"]
        owner, other = (one, two) if psutil.Process(server).ppid() == one.pid else (two, one)
        assert owner.stdin is not None
        assert owner.stderr is not None
        owner.stdin.write("\n")
        owner.stdin.flush()
        assert "another command still uses this one's Prefect server" in owner.stderr.readline()
        assert status(address, None) == 200
        other.communicate("\n", timeout=60)
        assert other.returncode == 0
        assert owner.wait(60) == 0
        with pytest.raises(OSError, match="refused"):
            status(address, None)


def test_a_command_that_comes_while_a_server_ends_starts_its_own(tmp_path: Path) -> None:
    home = tmp_path / "prefect"
    home.mkdir()
    with (home / "users.lock").open("wb") as lock, HTTPServer(("127.0.0.1", 0), Healthy) as ending:
        fcntl.flock(lock, fcntl.LOCK_EX)  # as its owner does
        address = f"http://127.0.0.1:{ending.server_port}/api"
        (home / "server.json").write_text(json.dumps({"api_url": address, "pid": os.getpid()}))
        threading.Thread(target=ending.serve_forever, daemon=True).start()
        with command(tmp_path) as late:
            wait_for("the command at the lock", lambda: waits_for_a_lock(late.pid), 60)
            (home / "server.json").unlink()
            fcntl.flock(lock, fcntl.LOCK_UN)
            assert server_of(late) not in ("", address)
        ending.shutdown()


def test_another_server_on_the_port_of_one_that_was_killed_is_not_taken_for_it(tmp_path: Path) -> None:
    home = tmp_path / "prefect"
    home.mkdir()
    with HTTPServer(("127.0.0.1", 0), Healthy) as another, subprocess.Popen(["sleep", "0"]) as killed:
        killed.wait()
        threading.Thread(target=another.serve_forever, daemon=True).start()
        record = {"api_url": f"http://127.0.0.1:{another.server_port}/api", "pid": killed.pid, "serves": True}
        (home / "server.json").write_text(json.dumps(record))
        with command(tmp_path) as fresh:
            assert server_of(fresh) not in ("", record["api_url"])
        another.shutdown()


def serve_on(port: int, data_root: Path) -> str:
    """What `ditto serve` says on a port that it cannot have."""
    environment = own_environment()
    command = [str(DITTO), "serve", "--preset", "demo", "--data-root", str(data_root), "--port", str(port)]
    refused = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=120)
    assert refused.returncode == 2, refused.stderr
    assert "Traceback" not in refused.stderr
    return refused.stderr


def test_serve_leaves_the_server_of_another_data_root_alone(prefect_api: str, tmp_path: Path) -> None:
    port = urlsplit(prefect_api).port
    assert port is not None
    error = serve_on(port, tmp_path)
    assert f"port {port} is taken by a Prefect server" in error
    assert "--port" in error


def test_serve_says_that_another_program_has_the_port(model_server: StubServer, tmp_path: Path) -> None:
    port = urlsplit(model_server.base_url).port
    assert port is not None
    assert f"port {port} is taken by another program" in serve_on(port, tmp_path)


def test_serve_does_not_live_on_the_server_of_a_passing_command(tmp_path: Path) -> None:
    with command(tmp_path) as passing:
        address = server_of(passing)
        error = serve_on(4200, tmp_path)
        assert "a command is at work over this data root" in error
        assert address.removesuffix("/api") in error


def test_serve_refuses_a_port_that_does_not_exist(tmp_path: Path) -> None:
    assert "there is no port 70000" in serve_on(70000, tmp_path)


def test_the_ui_is_there_where_prefect_is_installed_by_another(tmp_path: Path) -> None:
    site, source = tmp_path / "site", Path(find_spec("prefect").origin).parent
    left_out = shutil.ignore_patterns("ui_build", "ui_v2_build")  # the copies that an earlier start made
    shutil.copytree(source, site / "prefect", ignore=left_out)
    (site / "prefect" / "server").chmod(0o555)
    as_anyone = ("setpriv", "--bounding-set=-dac_override", "--inh-caps=-dac_override")  # root, too, is then kept out
    with command(tmp_path / "root", as_anyone if os.getuid() == 0 else (), PYTHONPATH=str(site)) as served:
        address = server_of(served)
        with urllib.request.urlopen(address.removesuffix("api"), timeout=60) as ui:
            assert b"<title>Prefect Server</title>" in ui.read()
    assert not (site / "prefect" / "server" / "ui_build").exists()
    assert (tmp_path / "root" / "prefect" / "ui").is_dir()


def test_the_answer_of_a_server_that_was_faster_is_not_taken_for_our_own(tmp_path: Path) -> None:
    from flows.server import prefect_server

    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        port = listener.getsockname()[1]
    stop = threading.Event()

    def be_faster() -> None:
        wait_for("our server's start", (tmp_path / "prefect" / "server.log").exists)
        with HTTPServer(("127.0.0.1", port), Healthy) as faster:
            faster.timeout = 0.2
            while not stop.is_set():
                faster.handle_request()

    other = threading.Thread(target=be_faster)
    other.start()
    try:
        with (
            environment(PREFECT_API_URL=None),
            pytest.raises(InvalidInput, match="did not start"),
            prefect_server(tmp_path, port=port),
        ):
            pass
    finally:
        stop.set()
        other.join()
