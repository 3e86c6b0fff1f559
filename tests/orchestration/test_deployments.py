"""The deployments for work pools, and the containers that run them."""

import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from fixtures.debian import install
from fixtures.served import FLOWS, Api

Deploy = Callable[..., "subprocess.CompletedProcess[str]"]
Compose = Callable[..., "subprocess.CompletedProcess[str]"]
ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def deployments() -> list[dict[str, Any]]:
    return yaml.safe_load((ROOT / "deployments" / "prefect.yaml").read_text("utf-8"))["deployments"]


def test_every_flow_has_a_deployment_that_names_it(deployments: list[dict[str, Any]]) -> None:
    from prefect.flows import load_flow_from_entrypoint

    assert {item["name"] for item in deployments} == FLOWS
    assert [load_flow_from_entrypoint(item["entrypoint"]).name for item in deployments] == [item["name"] for item in deployments]


@pytest.fixture
def api(prefect_api: str) -> Iterator[Api]:
    """The server's API, with a work pool for the deployments; both go at the end."""
    api = Api(prefect_api)
    api("/work_pools/", {"name": "ditto", "type": "process"})
    yield api
    for deployment in api("/deployments/filter", {}):
        api(f"/deployments/{deployment['id']}", method="DELETE")
    api("/work_pools/ditto", method="DELETE")


@pytest.fixture
def deploy(api: Api) -> Deploy:
    """Run `prefect deploy` as the head of prefect.yaml says, for deployments of some names."""

    def deploy(*names: str, data_root: str | None = "/data") -> "subprocess.CompletedProcess[str]":
        command = [sys.executable, "-m", "prefect", "--no-prompt", "deploy", "--prefect-file", "deployments/prefect.yaml"]
        environment = {name: value for name, value in os.environ.items() if name != "DITTO_DATA_ROOT"}
        if data_root is not None:
            environment["DITTO_DATA_ROOT"] = data_root
        chosen = [word for name in names for word in ("--name", name)]
        return subprocess.run([*command, *chosen], cwd=ROOT, capture_output=True, text=True, env=environment)

    return deploy


def test_a_deployment_with_a_schedule_is_as_whole_as_one_without(api: Api, deploy: Deploy) -> None:
    deployed = deploy("collect", "nightly", "janitor")
    assert deployed.returncode == 0, deployed.stdout + deployed.stderr
    collect, nightly, janitor = (api.deployment(name) for name in ("collect", "nightly", "janitor"))
    alike = ("paused", "status", "version", "tags", "parameters", "pull_steps", "path", "work_pool_name", "work_queue_name")
    assert [[found[field] for field in alike] for found in (nightly, janitor)] == [[collect[field] for field in alike]] * 2
    assert collect["parameters"]["settings"]["data_root"] == "/data"
    kept = {"env": {"PREFECT_RESULTS_LOCAL_STORAGE_PATH": "/data/prefect/results"}}  # a retry on another machine reads it
    assert [found["job_variables"] for found in (collect, nightly, janitor)] == [kept] * 3
    assert not collect["paused"]
    schedules = [(plan["schedule"]["cron"], plan["schedule"]["timezone"], plan["active"]) for plan in nightly["schedules"]]
    assert schedules == [("30 2 * * *", "Europe/Berlin", False)]
    assert [plan["active"] for plan in janitor["schedules"]] == [True]
    assert nightly["global_concurrency_limit"]["limit"] == 1, "nights would pile up"
    assert nightly["concurrency_options"]["collision_strategy"] == "CANCEL_NEW"


def test_deploying_again_keeps_the_schedules_of_the_ui(api: Api, deploy: Deploy) -> None:
    deploy("nightly")
    nightly = api.deployment("nightly")
    place = f"/deployments/{nightly['id']}/schedules"
    chosen = {"active": True, "schedule": {"cron": "30 4 * * *", "timezone": "Asia/Seoul"}}
    api(f"{place}/{nightly['schedules'][0]['id']}", chosen, method="PATCH")
    api(place, [{"active": True, "schedule": {"interval": 86400}}])
    before = api(place)
    deployed = deploy("nightly", data_root="/other")
    assert deployed.returncode == 0, deployed.stdout + deployed.stderr
    assert api.deployment("nightly")["parameters"]["settings"]["data_root"] == "/other"
    assert api(place) == before


@pytest.mark.parametrize("data_root", ["", "data"])
def test_a_data_root_that_means_another_folder_to_workers_is_none(data_root: str) -> None:
    from deployments import steps

    with pytest.raises(SystemExit, match=f"DITTO_DATA_ROOT is '{data_root}', but must be an absolute path"):
        steps.shared_data_root(data_root)


def test_without_a_data_root_nothing_is_deployed(api: Api, deploy: Deploy) -> None:
    refused = deploy("collect", data_root=None)
    assert refused.returncode != 0
    assert "DITTO_DATA_ROOT is ''" in refused.stderr
    assert "Traceback" not in refused.stderr
    assert api("/deployments/filter", {}) == []


@pytest.fixture(scope="module")
def compose() -> Compose:
    """Run docker-compose, which validates without an engine; installed here where it is missing."""
    if shutil.which("docker-compose") is None:
        install("docker-compose")

    def run(*options: str) -> "subprocess.CompletedProcess[str]":
        command = ["docker-compose", "-f", "docker/compose.yaml", *options]
        return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, env={"PATH": os.environ["PATH"]})

    return run


def test_the_compose_file_is_valid_and_open_to_this_machine_only(compose: Compose) -> None:
    shown = compose("--env-file", "docker/.env.example", "config")
    assert shown.returncode == 0, shown.stderr
    services = yaml.safe_load(shown.stdout)["services"]
    ports = [port for service in services.values() for port in service.get("ports", [])]
    assert ports
    assert all(str(port).startswith("127.0.0.1:") for port in ports)
    environment = services["prefect"]["environment"]
    assert environment["PREFECT_SERVER_UI_STATIC_DIRECTORY"] == "/tmp/prefect-ui", "root owns the default one"
    assert all(":" in service["image"] or service["image"] == "ditto-worker" for service in services.values())


def test_no_password_has_a_default(compose: Compose) -> None:
    refused = compose("config", "-q")
    assert refused.returncode != 0
    assert "set it in docker/.env" in refused.stderr
