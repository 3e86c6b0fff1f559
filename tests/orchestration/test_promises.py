"""The product's promises, on real flows: nothing stale, nothing lost, nothing twice (DESIGN.md, section 3)."""

import json
import os
import re
import shutil
import signal
import threading
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web
from fixtures.shard_files import shards
from fixtures.stub_openai import StubServer

Ditto = Callable[..., dict[str, Any]]


@dataclass(frozen=True, slots=True)
class Clean:
    """A run that nothing disturbed.

    Attributes:
        result: What `ditto simulate --json` said.
    """

    root: Path
    result: dict[str, Any]

    @property
    def calls(self) -> int:
        return int(self.result["model_calls"])

    @property
    def bytes(self) -> dict[str, str]:
        return shards(self.root)


@pytest.fixture(scope="module")
def clean(ditto_on: Callable[[StubServer], Ditto], tmp_path_factory: pytest.TempPathFactory) -> Clean:
    """Made once for all tests here, which may only read it."""
    server, root = StubServer(), tmp_path_factory.mktemp("clean")
    ditto = ditto_on(server)
    ditto("collect", root)
    made = Clean(root, ditto("simulate", root))
    assert made.calls == server.total() > 0
    server.close()
    return made


@pytest.fixture
def root(clean: Clean, tmp_path: Path) -> Path:
    """A data root of its own in which the clean run was made."""
    return shutil.copytree(clean.root, tmp_path / "data")


@pytest.fixture
def collected(root: Path) -> Path:
    """The same before anything was simulated."""
    for made in (root / "shards" / "dialogues", root / "shards" / "pairs"):
        shutil.rmtree(made)
    for file in (*root.glob("memo.db*"), *root.glob("handover/dialogues-*")):
        file.unlink()
    return root


def test_a_second_run_calls_no_model_and_leaves_every_byte(
    ditto: Ditto, model_server: StubServer, clean: Clean, root: Path
) -> None:
    ledger = clean.result["ledger"]
    assert ledger["inputs"] == ledger["ok"] + sum(ledger["failed"].values()) + sum(ledger["filtered"].values())
    ditto("collect", root)
    second = ditto("simulate", root)
    assert (second["model_calls"], model_server.total(), shards(root)) == (0, 0, clean.bytes)


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
    ditto: Ditto, clean: Clean, root: Path, options: list[str], asks_again: bool
) -> None:
    second = ditto("simulate", root, *options)
    assert second["model_calls"] == (clean.calls if asks_again else 0)
    assert second["ledger"]["inputs"] == clean.result["ledger"]["inputs"]


def test_another_number_of_shards_reads_what_was_paid_for(ditto: Ditto, root: Path) -> None:
    ditto("collect", root, "--set", "shards=2")
    assert ditto("simulate", root, "--set", "shards=2")["model_calls"] == 0


def test_a_deleted_and_a_corrupted_shard_are_made_again_from_the_memo(ditto: Ditto, clean: Clean, root: Path) -> None:
    first, second = sorted((root / "shards" / "dialogues").rglob("*.parquet"))[:2]
    first.unlink()
    second.write_bytes(second.read_bytes()[:-7] + b"corrupt")
    result = ditto("simulate", root)
    assert (result["model_calls"], shards(root)) == (0, clean.bytes)


def test_another_machine_finds_what_the_shared_store_holds(ditto: Ditto, clean: Clean, tmp_path: Path) -> None:
    shared = ["--set", f"shared_store=file://{tmp_path}/shared"]
    made = {}
    for machine in ("one", "another"):  # the second has no memo of the first's answers
        root = tmp_path / machine
        ditto("collect", root, *shared)
        calls = ditto("simulate", root, *shared)["model_calls"]
        made[machine] = calls, shards(root)
    assert made == {"one": (clean.calls, clean.bytes), "another": (0, clean.bytes)}


def test_chosen_shards_are_made_again_by_name(ditto: Ditto, clean: Clean, root: Path) -> None:
    made = written(root)
    result = ditto("simulate", root, "--refresh", "dialogues-en-0001")
    again = {name for name, when in written(root).items() if when != made[name]}
    assert again == {name for name in made if name.startswith("en-0001-")}
    assert (result["model_calls"], shards(root)) == (0, clean.bytes), "the memo knows the answers"
    assert "such as dialogues-en-000" in ditto("simulate", root, "--refresh", "dialogues-en-9001", code=2)["error"]


def written(data_root: Path) -> dict[str, int]:
    """Name of each dialogues file -> when it was written."""
    return {file.name: file.stat().st_mtime_ns for file in (data_root / "shards" / "dialogues").rglob("*.parquet")}


def test_a_run_killed_at_any_point_pays_again_only_for_what_was_in_flight(
    ditto: Ditto, start: Callable[..., Any], model_server: StubServer, clean: Clean, collected: Path
) -> None:
    model_server.latency = 0.05
    kills = (clean.calls // 6, clean.calls // 2)
    for point in kills:
        process = start("simulate", collected)
        deadline = time.monotonic() + 120
        while model_server.total() < point and time.monotonic() < deadline:
            time.sleep(0.005)
        process.send_signal(signal.SIGKILL)
        process.communicate()
    model_server.latency = 0.0
    ditto("simulate", collected)
    # In flight at the kill: the window of 4, and what had come and was not committed yet; of these nothing was handed out.
    at_risk = 4 + 4 * round(0.3 / 0.05)
    assert model_server.total() <= clean.calls + len(kills) * at_risk
    assert shards(collected) == clean.bytes


def test_a_run_whose_engine_died_is_finished_by_the_next(
    ditto: Ditto, model_server: StubServer, clean: Clean, collected: Path
) -> None:
    async def die(*_: Any) -> None:
        if model_server.total() == clean.calls // 2:
            threading.Thread(target=model_server.close).start()

    model_server.fault = die
    failed = ditto("simulate", collected, "--set", "generation.timeout_s=2", code=1)["error"]
    found = re.search(r"dialogues: the engine left (\d+) of (\d+) rows unanswered; all answers are kept", failed)
    assert found is not None, failed
    assert 0 < int(found[1]) < int(found[2])
    again = StubServer(base_url=model_server.base_url)
    try:
        second = ditto("simulate", collected)
    finally:
        again.close()
    assert (second["ledger"], shards(collected)) == (clean.result["ledger"], clean.bytes)
    assert second["model_calls"] == again.total() < clean.calls


def test_a_stage_that_lost_every_row_is_asked_again_once_the_cause_is_mended(
    ditto: Ditto, model_server: StubServer, clean: Clean, collected: Path
) -> None:
    async def too_short(*_: Any) -> web.Response:
        return web.Response(status=400, text="This model's maximum context length is 10 tokens")

    model_server.fault = too_short
    assert "dialogues: nothing came through" in ditto("simulate", collected, code=1)["error"]
    assert len(list((collected / "shards" / "dialogues").rglob("*.lost.parquet"))) == 3, "what was lost can still be read"
    model_server.fault = None
    second = ditto("simulate", collected)
    assert (second["ledger"], shards(collected)) == (clean.result["ledger"], clean.bytes)


def test_what_a_judge_of_refusals_that_was_down_left_is_all_that_the_next_run_asks(
    ditto: Ditto, model_server: StubServer, root: Path
) -> None:
    answered: Counter[str] = Counter()
    lets_pass = 20

    async def fail(_request: web.Request, body: dict[str, Any], _times: int) -> web.Response | None:
        if answered.total() >= lets_pass:
            return web.Response(status=503)
        answered[body["messages"][0]["content"]] += 1
        return None

    def options(timeout_s: int) -> list[str]:
        judge = {"engine": "chat-api", "model": "judge", "base_url": model_server.base_url, "timeout_s": timeout_s}
        return ["--set", "dataset.refusals=judge", "--set", f"evaluation.judge_generation={json.dumps(judge)}"]

    model_server.answer = lambda last, _first, _seed: "[[yes]]" if "never heard" in last else "[[no]]"
    model_server.fault = fail
    failed = ditto("assemble", root, *options(timeout_s=4), code=1)["error"]
    assert re.search(r"examples: the engine left \d+ of \d+ rows unanswered; all answers are kept", failed), failed

    lets_pass, paid = 10**6, model_server.drawn
    second = ditto("assemble", root, *options(timeout_s=60))
    assert second["model_calls"] == model_server.drawn - paid > 0
    assert set(answered.values()) == {1}, "nothing is paid twice"
    assert second["ledger"]["failed"] == {}
    assert second["rows"]["train"] > 0
    assert ditto("assemble", root, *options(timeout_s=60))["model_calls"] == 0


def test_a_run_whose_prefect_server_is_killed_is_finished_by_the_next(
    ditto: Ditto,
    start: Callable[..., Any],
    model_server: StubServer,
    clean: Clean,
    collected: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    for name in [name for name in os.environ if name.startswith("PREFECT_")]:
        monkeypatch.delenv(name)  # so that the command starts a server of its own
    monkeypatch.setenv("PREFECT_CLIENT_MAX_RETRIES", "1")  # by default it is tried for minutes
    model_server.latency = 0.2
    process = start("simulate", collected)
    deadline = time.monotonic() + 120
    while model_server.total() < clean.calls // 3 and time.monotonic() < deadline:
        time.sleep(0.05)
    server = json.loads((collected / "prefect" / "server.json").read_text("utf-8"))["pid"]
    os.killpg(server, signal.SIGKILL)
    model_server.latency = 0.0
    _, said = process.communicate(timeout=300)
    assert process.returncode == 1, said
    assert "does not answer any more. Run the same command again" in said
    monkeypatch.undo()
    again = ditto("simulate", collected)
    assert (again["ledger"], shards(collected)) == (clean.result["ledger"], clean.bytes)
    assert max(model_server.asked.values()) == 1, "nothing is paid twice"


def test_two_runs_at_once_agree_and_compute_each_shard_once(
    start: Callable[..., Any], model_server: StubServer, clean: Clean, collected: Path
) -> None:
    runs = [start("simulate", collected) for _ in range(2)]
    for run in runs:
        out, err = run.communicate(timeout=300)
        assert run.returncode == 0, err + out
    assert shards(collected) == clean.bytes
    # A pair that two shards show may be asked by both processes at once; no answer is ever asked twice.
    answers = [count for prompt, count in model_server.asked.items() if "Reply with a JSON list" not in prompt]
    assert set(answers) == {1}
    assert model_server.total() <= 2 * clean.calls
