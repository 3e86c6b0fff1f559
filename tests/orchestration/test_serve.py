"""The served flows, through the same API that the Prefect UI calls: form, schedule, run, a shard's log."""

import json
import os
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from ditto_core import settings

DITTO = Path(sys.executable).parent / "ditto"
FLOWS = {"collect", "simulate", "assemble", "train", "evaluate", "pipeline", "nightly"}


class Api:
    """Calls a Prefect server."""

    def __init__(self, address: str) -> None:
        self._address = address

    def __call__(self, path: str, body: dict[str, Any] | None = None) -> Any:
        data = None if body is None else json.dumps(body).encode()
        request = urllib.request.Request(f"{self._address}{path}", data, {"Content-Type": "application/json"})
        for attempt in range(20):  # Prefect on SQLite answers 503 while another writer holds the database
            try:
                with urllib.request.urlopen(request, timeout=60) as response:
                    return json.loads(response.read() or b"null")
            except urllib.error.HTTPError as error:
                if error.code != 503 or attempt == 19:
                    raise
                error.close()
                time.sleep(0.5)
        return None


def wait_for(what: str, check: Any, seconds: float = 240) -> Any:
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        try:
            found = check()
        except OSError:
            found = None
        if found:
            return found
        time.sleep(0.5)
    raise AssertionError(f"{what} did not come within {seconds} s")


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("served")


@pytest.fixture(scope="module")
def api(root: Path) -> Iterator[Api]:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        port = listener.getsockname()[1]
    environment = {name: value for name, value in os.environ.items() if not name.startswith("PREFECT_")}
    command = [str(DITTO), "serve", "--preset", "demo", "--data-root", str(root), "--port", str(port)]
    command += ["--set", "knowledge.max_characters=5"]
    with (root / "serve.log").open("wb") as log:
        server = subprocess.Popen(command, env=environment, stdout=log, stderr=log, start_new_session=True)
    call = Api(f"http://127.0.0.1:{port}/api")
    try:
        wait_for("the deployments", lambda: len(call("/deployments/filter", {})) == len(FLOWS))
        yield call
    finally:
        server.send_signal(signal.SIGINT)
        try:
            server.wait(60)
        except subprocess.TimeoutExpired:
            os.killpg(server.pid, signal.SIGKILL)
            server.wait()


def test_every_flow_has_a_deployment_whose_form_is_the_settings(api: Api) -> None:
    found = {item["name"]: item for item in api("/deployments/filter", {})}
    assert set(found) == FLOWS
    schema = found["pipeline"]["parameter_openapi_schema"]
    sections = set(schema["definitions"]["Settings"]["properties"])
    assert set(settings.Settings.model_fields) == sections
    assert found["pipeline"]["parameters"]["settings"]["generation"]["model"] == "embedded"


def test_the_nightly_schedule_is_there_and_off(api: Api) -> None:
    nightly = next(item for item in api("/deployments/filter", {}) if item["name"] == "nightly")
    assert [(s["schedule"]["cron"], s["schedule"]["timezone"], s["active"]) for s in nightly["schedules"]] == [
        ("30 2 * * *", "UTC", False)
    ]


def test_a_run_from_the_form_completes_and_its_shards_log_what_they_did(api: Api, root: Path) -> None:
    collect = next(item for item in api("/deployments/filter", {}) if item["name"] == "collect")
    changed = collect["parameters"]["settings"] | {"shards": 3}
    run = api(f"/deployments/{collect['id']}/create_flow_run", {"parameters": {"settings": changed}})

    def ended() -> Any:
        state = api(f"/flow_runs/{run['id']}")["state"]
        return state if state["type"] in ("COMPLETED", "FAILED", "CRASHED") else None

    state = wait_for("the end of the run", ended)
    assert state["type"] == "COMPLETED", state
    own = {"flow_runs": {"id": {"any_": [run["id"]]}}}
    names = wait_for("the task runs", lambda: len(found := _names(api, own)) >= 5 and found)
    assert {"characters-en", "pages-en", "profiles-en-0000", "profiles-en-0001", "profiles-en-0002"} <= set(names)
    logs = {"logs": {"task_run_id": {"any_": [names["profiles-en-0001"]]}}}
    lines = wait_for("the shard's log", lambda: api("/logs/filter", logs))
    assert any("in," in line["message"] and "ok" in line["message"] for line in lines)


def _names(api: Api, own: dict[str, Any]) -> dict[str, str]:
    return {task["name"]: task["id"] for task in api("/task_runs/filter", own)}
