"""Runs of killed processes: one command marks them, the next run of the same command ends as if nothing had happened."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from fixtures.served import Api, wait_for
from fixtures.stub_openai import StubServer

from ditto_core import configuration

Ditto = Callable[..., dict[str, Any]]
ROOT = Path(__file__).parents[2]
_TASKS = 210  # more than a page of the server, which is 200


def test_a_killed_run_is_marked_crashed_by_doctor_and_finished_by_the_next(
    ditto: Ditto, start: Callable[..., Any], model_server: StubServer, prefect_api: str, tmp_path: Path
) -> None:
    api = Api(prefect_api)
    ditto("collect", tmp_path)
    model_server.latency = 0.2
    killed = start("simulate", tmp_path)
    wait_for("the first requests", lambda: model_server.total() > 8)
    lease = next((tmp_path / "prefect" / "runs").iterdir())
    killed.send_signal(signal.SIGKILL)
    killed.communicate()
    model_server.latency = 0.0
    assert api.flow_run(lease.name)["state"]["type"] == "RUNNING", "the server does not notice by itself"

    runs = {finding["what"]: finding for finding in ditto("doctor", tmp_path, "--fix")["findings"]}["runs"]
    assert runs["ok"], runs
    assert api.flow_run(lease.name)["state"]["type"] == "CRASHED"
    states = {task["state"]["type"] for task in api.tasks(lease.name).values()}
    assert states <= {"COMPLETED", "CRASHED"}, states
    assert not lease.exists()
    ledger = ditto("simulate", tmp_path)["ledger"]
    assert ledger["inputs"] == ledger["ok"] + sum(ledger["failed"].values()) + sum(ledger["filtered"].values())


def test_a_run_at_work_is_left_alone(
    ditto: Ditto, start: Callable[..., Any], model_server: StubServer, prefect_api: str, tmp_path: Path
) -> None:
    ditto("collect", tmp_path)
    model_server.latency = 5.0  # longer at work than doctor takes
    working = start("simulate", tmp_path)
    wait_for("the first requests", lambda: model_server.total() > 8)
    lease = next((tmp_path / "prefect" / "runs").iterdir())
    ditto("doctor", tmp_path, "--fix")
    assert Api(prefect_api).flow_run(lease.name)["state"]["type"] == "RUNNING"
    model_server.latency = 0.0
    _, errors = working.communicate(timeout=300)
    assert working.returncode == 0, errors


def test_every_task_run_of_a_large_dead_run_is_marked(prefect_api: str, tmp_path: Path) -> None:
    from flows.janitor import clear_dead_runs
    from tasks import leases

    api, running = Api(prefect_api), {"state": {"type": "RUNNING"}}
    flow = api("/flows/", {"name": "large"})
    run = api("/flow_runs/", {"flow_id": flow["id"], **running})
    for number in range(_TASKS):
        api("/task_runs/", {"flow_run_id": run["id"], "task_key": "shard", "dynamic_key": str(number), **running})
    settings = configuration.load("demo", data_root=str(tmp_path))
    lease = leases.runs_folder(settings) / run["id"]
    lease.parent.mkdir(parents=True)
    lease.touch()
    assert clear_dead_runs(settings) == [run["name"]]
    mine = {"flow_runs": {"id": {"any_": [run["id"]]}}, "task_runs": {"state": {"type": {"any_": ["CRASHED"]}}}}
    assert api("/task_runs/count", mine) == _TASKS


_COMMAND = """
import sys
from pathlib import Path
from flows.server import prefect_server
with prefect_server(Path(sys.argv[1])):
    print("up", flush=True)
    sys.stdin.readline()
"""


def test_a_server_of_our_own_ends_with_a_killed_command(tmp_path: Path) -> None:
    environment = {name: value for name, value in os.environ.items() if not name.startswith("PREFECT_")}
    pipe = subprocess.PIPE
    command = [sys.executable, "-c", _COMMAND, str(tmp_path)]
    with subprocess.Popen(command, env=environment, stdin=pipe, stdout=pipe, text=True, cwd=ROOT) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "up\n"
        server = json.loads((tmp_path / "prefect" / "server.json").read_text())["pid"]
        process.kill()
        process.wait()
        deadline = time.monotonic() + 120
        while Path(f"/proc/{server}").exists() and time.monotonic() < deadline:
            time.sleep(0.2)
        assert not Path(f"/proc/{server}").exists()
