"""The worker's image, built and run by `make images`: not part of `make test`, since it takes minutes and an engine."""

import json
import os
import shlex
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
ENGINE = shlex.split(os.environ.get("ENGINE", "docker"))
RUN = shlex.split(os.environ.get("RUN_OPTIONS", ""))
TAG = "localhost/ditto-worker-test"


def engine(*words: str) -> str:
    done = subprocess.run([*ENGINE, *words], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-2000:]
    return done.stdout


@pytest.fixture(scope="module")
def image() -> str:
    engine("build", "--file", "docker/worker.Dockerfile", "--tag", TAG, ".")
    return TAG


def inside(image: str, command: str) -> str:
    return engine("run", "--rm", *RUN, image, "sh", "-c", command)


def test_it_runs_as_nobody_special_and_owns_its_data(image: str) -> None:
    assert inside(image, "id -u && touch /data/x && ls /data").split() == ["10001", "x"]


def test_its_commands_and_its_flows_are_there(image: str) -> None:
    assert "simulate" in inside(image, "ditto --help")
    assert "ok   packages" in inside(image, "ditto doctor --preset demo; true")
    assert "entrypoint: flows.pipeline.pipeline" in inside(image, "cat /opt/ditto/prefect.yaml")


def test_it_tells_its_health_and_holds_no_secret(image: str) -> None:
    (shown,) = json.loads(engine("image", "inspect", image))
    assert "HealthCheck" in json.dumps(shown) or "Healthcheck" in json.dumps(shown)
    names = {setting.split("=", 1)[0] for setting in shown["Config"]["Env"]}
    assert not {name for name in names if any(word in name for word in ("KEY", "PASSWORD", "TOKEN", "SECRET"))} - {"GPG_KEY"}
    assert inside(image, "find / -xdev -name .env -o -xdev -name '*.pem' -path '/data/*' | grep -v certs || true").strip() == ""
