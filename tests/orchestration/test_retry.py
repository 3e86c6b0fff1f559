"""One bad shard: the flow fails at its end and lists it, the others are kept, and Retry in the UI makes that one only."""

from typing import Any

from fixtures.served import Served, wait_for
from fixtures.stub_openai import StubServer


def test_retry_makes_the_failed_shard_only_and_no_finished_stage(served: Served, model_server: StubServer) -> None:
    api, nightly = served.api, served.api.deployment("nightly")
    settings = nightly["parameters"]["settings"]
    engine = {"engine": "chat-api", "model": "stub", "base_url": model_server.base_url}
    settings = settings | {"shards": 3, "knowledge": settings["knowledge"] | {"max_characters": 2}}
    settings["generation"] |= engine  # its replies take no time

    def start() -> str:
        run = api(f"/deployments/{nightly['id']}/create_flow_run", {"parameters": {"settings": settings}})
        return str(run["id"])

    assert api.end_of(start())["type"] == "COMPLETED"
    # Other tests leave shards of other settings under the same root: the newest is this run's.
    shards = (served.root / "shards" / "dialogues").rglob("en-0001-*.parquet")
    bad = max((path for path in shards if ".lost." not in path.name), key=lambda path: path.stat().st_mtime_ns)
    bad.unlink()
    bad.mkdir()  # nothing can be written under this name now

    run = start()
    state = api.end_of(run)
    assert state["type"] == "FAILED"
    assert "1 of 3 shards of dialogues failed, the others are kept:\n  en-0001: cannot write" in state["message"]
    assert "is still the latest version. Retry this run in the UI" in state["message"]

    # Until the process of the failed run has ended, Prefect's runner marks a retry of it Crashed.
    wait_for("the end of the process", lambda: "Process exited with status code: 1" in (served.root / "serve.log").read_text())
    bad.rmdir()
    retry = {"state": {"type": "SCHEDULED", "name": "AwaitingRetry", "message": "Retry from the UI"}}
    api(f"/flow_runs/{run}/set_state", retry)
    wait_for("the retry", lambda: api.flow_run(run)["run_count"] == 2)
    state = api.end_of(run)
    assert state["type"] == "COMPLETED", state
    assert len(stages(served, run, "collect")) == 1, "a finished stage does not run again"
    retried = max(stages(served, run, "simulate"), key=lambda each: each["start_time"])
    names = {name.split(" ")[0]: task["state"]["name"] for name, task in api.tasks(retried["id"]).items()}
    assert [names[f"dialogues-en-000{n}"] for n in range(3)] == ["Cached", "Completed", "Cached"]


def stages(served: Served, run: str, name: str) -> list[dict[str, Any]]:
    """The runs of one stage within a longer flow's run."""
    own = {"flow_runs": {"parent_flow_run_id": {"any_": [run]}, "name": {"any_": [name]}}}
    return list(served.api("/flow_runs/filter", own))
