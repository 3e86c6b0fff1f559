"""The deployments for work pools, and the containers that run them."""

import os
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml
from fixtures.debian import install
from fixtures.served import FLOWS

Compose = Callable[..., "subprocess.CompletedProcess[str]"]
ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def deployments() -> list[dict[str, Any]]:
    return yaml.safe_load((ROOT / "deployments" / "prefect.yaml").read_text("utf-8"))["deployments"]


def test_every_flow_has_a_deployment_that_names_it(deployments: list[dict[str, Any]]) -> None:
    from prefect.flows import load_flow_from_entrypoint

    assert {item["name"] for item in deployments} == FLOWS
    assert [load_flow_from_entrypoint(item["entrypoint"]).name for item in deployments] == [item["name"] for item in deployments]


def test_nights_do_not_pile_up_and_have_a_time_zone(deployments: list[dict[str, Any]]) -> None:
    nightly = next(item for item in deployments if item["name"] == "nightly")
    assert nightly["concurrency_limit"] == {"limit": 1, "collision_strategy": "CANCEL_NEW"}
    assert all(schedule["timezone"] for schedule in nightly["schedules"])


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
    assert all(":" in service["image"] or service["image"] == "ditto-worker" for service in services.values())


def test_no_password_has_a_default(compose: Compose) -> None:
    refused = compose("config", "-q")
    assert refused.returncode != 0
    assert "set it in docker/.env" in refused.stderr
