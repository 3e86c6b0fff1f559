"""The cross-supervision matrix on two tiny seeds: killed midway and started again it repeats no finished cell."""

import json
import signal
import time
import urllib.request
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from fixtures.stub_openai import StubServer
from fixtures.tiny_model import make_tiny_model

Ditto = Callable[..., dict[str, Any]]


def options(model_server: StubServer, seeds: dict[str, Path]) -> list[str]:
    supervisor = {"engine": "chat-api", "model": "stub", "base_url": model_server.base_url, "concurrency": 4, "dtype": "float32"}
    supervisors = [{"name": "stub", "generation": supervisor}]
    tuned = [{"name": name, "model": str(folder)} for name, folder in seeds.items()]
    settings = {
        "matrix": {"supervisors": supervisors, "seeds": tuned},
        "knowledge.max_characters": 4,
        "dataset.test_share": 0.5,
        "dataset.validation_share": 0,
        "shards": 1,
        "training": {"max_steps": 2, "global_batch": 2, "device_batch": 1, "max_length": 1024},
        "evaluation": {"max_answer_tokens": 8, "bootstrap": 100},
    }
    return [word for name, value in settings.items() for word in ("--set", f"{name}={json.dumps(value)}")]


def trained(root: Path) -> dict[Path, int]:
    """Records of finished trainings, and when they were written."""
    return {record: record.stat().st_mtime_ns for record in root.glob("models/*/training.json")}


@pytest.fixture
def seeds(tmp_path: Path) -> dict[str, Path]:
    return {f"tiny-{seed}": make_tiny_model(tmp_path / f"tiny-{seed}", seed=seed) for seed in (1, 2)}


def test_a_matrix_killed_after_its_first_cell_goes_on_with_the_second(
    ditto: Callable[..., dict[str, Any]],
    start: Callable[..., Any],
    model_server: StubServer,
    prefect_api: str,
    seeds: dict[str, Path],
    tmp_path: Path,
) -> None:
    root = tmp_path / "data"
    first = start("matrix", root, *options(model_server, seeds))
    deadline = time.monotonic() + 280
    while not trained(root) and time.monotonic() < deadline and first.poll() is None:
        time.sleep(0.1)
    first.send_signal(signal.SIGKILL)
    _, err = first.communicate()
    before = trained(root)
    assert len(before) == 1, err

    asked = model_server.total()
    found = ditto("matrix", root, *options(model_server, seeds))
    after = trained(root)
    assert len(after) == 2
    assert {record: after[record] for record in before} == before
    # The supervisor simulated and played with profiles before the kill; nothing of it is asked again.
    assert model_server.total() == asked
    assert set(model_server.asked.values()) == {1}
    assert found["ledger"] == {"inputs": 2, "ok": 2, "failed": {}, "filtered": {}}
    assert set(found["scores"]) == {
        "stub with profiles",
        "tiny-1 untrained",
        "tiny-2 untrained",
        "tiny-1 taught by stub",
        "tiny-2 taught by stub",
    }
    assert Path(found["report"]).read_text().count('class="diagonal"') == 3
    assert {"stub teaches tiny-1", "stub teaches tiny-2", "stub with profiles"} <= _flow_runs(prefect_api)


def _flow_runs(api: str) -> set[str]:
    request = urllib.request.Request(f"{api}/flow_runs/filter", b"{}", {"Content-Type": "application/json"})
    with urllib.request.urlopen(request, timeout=60) as response:
        return {run["name"] for run in json.loads(response.read())}
