"""Retry in the UI: after one bad shard it makes that one only, after a killed process it pays for nothing that was answered."""

import os
import signal
from pathlib import Path
from typing import Any

from fixtures.served import Served, wait_for
from fixtures.stub_openai import StubServer


def test_retry_makes_the_failed_shard_only_and_no_finished_stage(served: Served, model_server: StubServer) -> None:
    api = served.api
    assert api.end_of(start(served, "nightly", model_server))["type"] == "COMPLETED"
    # Other tests leave shards of other settings under the same root: the newest is this run's.
    shards = (served.root / "shards" / "dialogues").rglob("en-0001-*.parquet")
    bad = max((path for path in shards if ".lost." not in path.name), key=lambda path: path.stat().st_mtime_ns)
    bad.unlink()
    bad.mkdir()  # nothing can be written under this name now

    run = start(served, "nightly", model_server)
    state = api.end_of(run)
    assert state["type"] == "FAILED"
    assert "1 of 3 shards of dialogues failed, the others are kept:\n  en-0001: cannot write" in state["message"]
    assert "is still the latest version. Retry this run in the UI" in state["message"]

    # Until the process of the failed run has ended, Prefect's runner marks a retry of it Crashed.
    wait_for("the end of the process", lambda: "Process exited with status code: 1" in (served.root / "serve.log").read_text())
    bad.rmdir()
    retry(served, run)
    assert len(stages(served, run, "collect")) == 1, "a finished stage does not run again"
    retried = max(stages(served, run, "simulate"), key=lambda each: each["start_time"])
    names = {name.split(" ")[0]: task["state"]["name"] for name, task in api.tasks(retried["id"]).items()}
    assert [names[f"dialogues-en-000{n}"] for n in range(3)] == ["Cached", "Completed", "Cached"]


def test_retry_of_a_killed_process_pays_for_nothing_that_was_answered(served: Served, model_server: StubServer) -> None:
    model_server.latency = 0.2
    run = start(served, "nightly", model_server, temperature=0.5)  # no other test paid for these
    asked = wait_for("the first requests", lambda: model_server.total() > 40 and model_server.total())
    for process in processes(run):
        os.kill(process, signal.SIGKILL)
    assert served.api.end_of(run)["type"] == "CRASHED"
    assert not processes(run)
    model_server.latency = 0.0
    retry(served, run)
    again = sum(times - 1 for times in model_server.asked.values())
    # In flight at the kill: the window of 4, and what had come and was not committed yet; of these nothing was handed out.
    assert again <= 4 + 4 * 2 < asked < model_server.total()


def settings_of(served: Served, name: str) -> dict[str, Any]:
    """The settings with which a deployment runs."""
    return dict(served.api.deployment(name)["parameters"]["settings"])


def start(served: Served, name: str, model_server: StubServer, **simulation: Any) -> str:
    """Start a deployment on few characters with a model whose replies take no time."""
    settings = settings_of(served, name)
    settings |= {"shards": 3, "knowledge": settings["knowledge"] | {"max_characters": 2}}
    settings["generation"] |= {"engine": "chat-api", "model": "stub", "base_url": model_server.base_url, "concurrency": 4}
    settings["simulation"] |= simulation
    deployment = served.api.deployment(name)["id"]
    return str(served.api(f"/deployments/{deployment}/create_flow_run", {"parameters": {"settings": settings}})["id"])


def retry(served: Served, run: str) -> None:
    """What the button in the UI does; the run must complete now."""
    state = {"state": {"type": "SCHEDULED", "name": "AwaitingRetry", "message": "Retry from the UI"}}
    served.api(f"/flow_runs/{run}/set_state", state)
    wait_for("the retry", lambda: served.api.flow_run(run)["run_count"] == 2)
    end = served.api.end_of(run)
    assert end["type"] == "COMPLETED", end


def processes(run: str) -> list[int]:
    """Those that work for a flow run."""
    return [int(path.parent.name) for path in Path("/proc").glob("[0-9]*/environ") if run.encode() in environment(path)]


def environment(path: Path) -> bytes:
    """Of a process; b"" once it has ended."""
    try:
        return path.read_bytes()
    except OSError:
        return b""


def stages(served: Served, run: str, name: str) -> list[dict[str, Any]]:
    """The runs of one stage within a longer flow's run."""
    own = {"flow_runs": {"parent_flow_run_id": {"any_": [run]}, "name": {"any_": [name]}}}
    return list(served.api("/flow_runs/filter", own))
