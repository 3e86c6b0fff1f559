"""The served flows, through the same API that the Prefect UI calls: form, schedule, run, a shard's log."""

import os
import subprocess
from datetime import datetime
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

from fixtures.served import DITTO, FLOWS, Served, serve, wait_for

from ditto_core import settings


def test_every_flow_has_a_deployment_whose_form_is_the_settings(served: Served) -> None:
    found = {item["name"]: item for item in served.api("/deployments/filter", {})}
    assert set(found) == FLOWS
    schema = found["pipeline"]["parameter_openapi_schema"]
    sections = set(schema["definitions"]["Settings"]["properties"])
    assert set(settings.Settings.model_fields) == sections
    steps = schema["definitions"]["TrainingSettings"]["properties"]["max_steps"]
    assert steps["description"] == "Optimizer steps (appendix C). [at least 1]"
    assert found["pipeline"]["parameters"]["settings"]["generation"]["model"] == "embedded"


def test_the_nightly_schedule_is_there_and_off(served: Served) -> None:
    nightly = served.api.deployment("nightly")
    assert [(s["schedule"]["cron"], s["schedule"]["timezone"], s["active"]) for s in nightly["schedules"]] == [
        ("30 2 * * *", "UTC", False)
    ]


def test_a_schedule_yields_runs_in_its_own_time_zone(served: Served) -> None:
    api, nightly = served.api, served.api.deployment("nightly")
    schedule = {"schedule": {"cron": "30 2 * * *", "timezone": "America/New_York"}, "active": True}
    made = api(f"/deployments/{nightly['id']}/schedules", [schedule])
    own = {"deployments": {"id": {"any_": [nightly["id"]]}}, "flow_runs": {"state": {"type": {"any_": ["SCHEDULED"]}}}}
    try:
        runs = wait_for("the scheduled runs", lambda: api("/flow_runs/filter", own))
    finally:
        api(f"/deployments/{nightly['id']}/schedules/{made[0]['id']}", method="DELETE")
    times = [datetime.fromisoformat(run["expected_start_time"]).astimezone(ZoneInfo("America/New_York")) for run in runs]
    assert {(time.hour, time.minute) for time in times} == {(2, 30)}


def test_a_run_from_the_form_completes_and_its_shards_log_what_they_did(served: Served) -> None:
    api, collect = served.api, served.api.deployment("collect")
    changed = collect["parameters"]["settings"] | {"shards": 3}
    run = api(f"/deployments/{collect['id']}/create_flow_run", {"parameters": {"settings": changed}})
    state = api.end_of(run["id"])
    assert state["type"] == "COMPLETED", state

    def all_recorded() -> Any:
        names = {name.split(" ")[0]: task["id"] for name, task in api.tasks(run["id"]).items()}
        return names if len(names) >= 5 else None

    names = wait_for("the task runs", all_recorded)
    assert {"characters-en", "pages-en", "profiles-en-0000", "profiles-en-0001", "profiles-en-0002"} <= set(names)
    logs = {"logs": {"task_run_id": {"any_": [names["profiles-en-0001"]]}}}

    def told() -> bool:
        lines = [line["message"] for line in api("/logs/filter", logs)]
        return any("in," in line and "ok" in line for line in lines)

    assert wait_for("the shard's log", told)  # a worker sends its log in parts, the last one when it ends


def test_a_second_one_over_the_same_data_root_says_where_the_first_is(served: Served) -> None:
    command = [str(DITTO), "serve", "--preset", "demo", "--data-root", str(served.root), "--port", "4299"]
    environment = {name: value for name, value in os.environ.items() if not name.startswith("PREFECT_")}
    refused = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=120)
    assert refused.returncode == 2, refused.stderr
    assert f"`ditto serve` already runs over this data root, with its UI at {served.ui}" in refused.stderr


def test_a_restart_keeps_what_was_chosen_in_the_ui(tmp_path: Path) -> None:
    with serve(tmp_path) as first:
        api, (nightly, collect) = first.api, (first.api.deployment(name) for name in ("nightly", "collect"))
        chosen = {"active": True, "schedule": {"cron": "30 4 * * *", "timezone": "Asia/Seoul"}}
        api(f"/deployments/{nightly['id']}/schedules/{nightly['schedules'][0]['id']}", chosen, method="PATCH")
        own = {"active": True, "schedule": {"cron": "0 6 * * 1", "timezone": "Europe/Paris"}}
        api(f"/deployments/{collect['id']}/schedules", [own])
        api(f"/deployments/{collect['id']}", {"concurrency_limit": 3, "paused": True}, method="PATCH")
        before = [_choices(api.deployment(name)) for name in ("nightly", "collect")]

    with serve(tmp_path, "--set", "shards=7") as second:

        def registered() -> bool:
            return {item["parameters"]["settings"]["shards"] for item in second.api("/deployments/filter", {})} == {7}

        wait_for("the deployments of the second", registered)
        assert [_choices(second.api.deployment(name)) for name in ("nightly", "collect")] == before
    (schedule,), _, _ = before[0]
    assert (schedule["active"], schedule["schedule"]["timezone"]) == (True, "Asia/Seoul")


def _choices(deployment: dict[str, Any]) -> tuple[Any, bool, Any]:
    return deployment["schedules"], deployment["paused"], (deployment["global_concurrency_limit"] or {}).get("limit")
