"""The product's promises, on real flows: nothing stale, nothing lost, nothing twice (DESIGN.md, section 3)."""

import hashlib
import signal
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from fixtures.stub_openai import StubServer

Ditto = Callable[..., dict[str, Any]]


def shards(data_root: Path, stage: str = "dialogues") -> dict[str, str]:
    """Name of each shard's file -> sha256."""
    files = sorted((data_root / "shards" / stage).rglob("*.parquet"))
    return {file.name: hashlib.sha256(file.read_bytes()).hexdigest() for file in files}


def simulated(ditto: Ditto, root: Path) -> dict[str, Any]:
    ditto("collect", root)
    return ditto("simulate", root)


def test_a_second_run_calls_no_model_and_leaves_every_byte(ditto: Ditto, model_server: StubServer, tmp_path: Path) -> None:
    first = simulated(ditto, tmp_path)
    before, asked = shards(tmp_path), model_server.total()
    assert first["model_calls"] == asked > 0
    ledger = first["ledger"]
    assert ledger["inputs"] == ledger["ok"] + sum(ledger["failed"].values()) + sum(ledger["filtered"].values())
    ditto("collect", tmp_path)
    second = ditto("simulate", tmp_path)
    assert (second["model_calls"], model_server.total(), shards(tmp_path)) == (0, asked, before)


@pytest.mark.parametrize(
    ("options", "asks_again"),
    [
        pytest.param(["--set", "simulation.temperature=0.5"], True, id="temperature"),
        pytest.param(["--set", "simulation.top_p=0.7"], True, id="top-p"),
        pytest.param(["--set", "generation.revision=new"], True, id="weights"),
        pytest.param(["--set", "generation.concurrency=2"], False, id="speed-knob"),
        pytest.param(["--set", "dataset.turns_per_session=3"], False, id="later-stage"),
    ],
)
def test_a_single_edit_recomputes_exactly_what_it_shapes(
    ditto: Ditto, model_server: StubServer, tmp_path: Path, options: list[str], asks_again: bool
) -> None:
    first = simulated(ditto, tmp_path)
    second = ditto("simulate", tmp_path, *options)
    assert second["model_calls"] == (first["model_calls"] if asks_again else 0)
    assert second["ledger"]["inputs"] == first["ledger"]["inputs"]


def test_another_number_of_shards_reads_what_was_paid_for(ditto: Ditto, model_server: StubServer, tmp_path: Path) -> None:
    simulated(ditto, tmp_path)
    ditto("collect", tmp_path, "--set", "shards=3")
    assert ditto("simulate", tmp_path, "--set", "shards=3")["model_calls"] == 0


def test_a_deleted_and_a_corrupted_shard_are_made_again_from_the_memo(
    ditto: Ditto, model_server: StubServer, tmp_path: Path
) -> None:
    simulated(ditto, tmp_path)
    before = shards(tmp_path)
    first, second = sorted((tmp_path / "shards" / "dialogues").rglob("*.parquet"))[:2]
    first.unlink()
    second.write_bytes(second.read_bytes()[:-7] + b"corrupt")
    result = ditto("simulate", tmp_path)
    assert (result["model_calls"], shards(tmp_path)) == (0, before)


def test_a_run_killed_at_any_point_pays_again_only_for_what_was_in_flight(
    ditto: Ditto, start: Callable[..., Any], model_server: StubServer, tmp_path: Path
) -> None:
    clean, killed = tmp_path / "clean", tmp_path / "killed"
    whole = simulated(ditto, clean)["model_calls"]
    ditto("collect", killed)
    model_server.asked.clear()
    model_server.latency = 0.05
    kills = (whole // 6, whole // 3, whole // 2)
    for point in kills:
        process = start("simulate", killed)
        deadline = time.monotonic() + 120
        while model_server.total() < point and time.monotonic() < deadline:
            time.sleep(0.005)
        process.send_signal(signal.SIGKILL)
        process.communicate()
    model_server.latency = 0.0
    ditto("simulate", killed)
    # In flight at the kill: the window of 4, and what the memo had not yet committed, 0.2 s of answers of 0.05 s each.
    at_risk = 4 + 4 * round(0.3 / 0.05)
    assert model_server.total() <= whole + len(kills) * at_risk
    assert shards(killed) == shards(clean)


def test_two_runs_at_once_agree_and_compute_each_shard_once(
    ditto: Ditto, start: Callable[..., Any], model_server: StubServer, tmp_path: Path
) -> None:
    clean, shared = tmp_path / "clean", tmp_path / "shared"
    whole = simulated(ditto, clean)["model_calls"]
    ditto("collect", shared)
    model_server.asked.clear()
    runs = [start("simulate", shared) for _ in range(2)]
    for run in runs:
        out, err = run.communicate(timeout=300)
        assert run.returncode == 0, err + out
    assert shards(shared) == shards(clean)
    # A pair that two shards show may be asked by both processes at once; no answer is ever asked twice.
    answers = [count for prompt, count in model_server.asked.items() if "Reply with a JSON list" not in prompt]
    assert set(answers) == {1}
    assert model_server.total() <= 2 * whole
