"""The cross-supervision matrix on two tiny seeds: killed midway and started again with one supervisor more, it repeats no
finished cell, and the added model costs its own cells only. Then the ablations that train, which share their simulation and the
variant that the settings describe: a cell of the matrix has trained it."""

import json
import signal
import time
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from fixtures.stub_openai import StubServer
from fixtures.tiny_model import make_tiny_model

Ditto = Callable[..., dict[str, Any]]
TRAINING = {"max_steps": 2, "global_batch": 2, "device_batch": 1, "max_length": 1024}


def supervisor(name: str, server: StubServer) -> dict[str, Any]:
    return {
        "engine": "chat-api",
        "model": name,
        "base_url": server.base_url,
        "concurrency": 4,
        "max_model_len": 2048,
        "dtype": "float32",
    }


def options(**chosen: Any) -> list[str]:
    settings = {
        "knowledge.max_characters": 4,
        "dataset.test_share": 0.5,
        "dataset.validation_share": 0,
        "dataset.turns_per_session": 5,
        "dataset.contrastive_share": 0.5,
        "shards": 1,
        "training": TRAINING,
        "evaluation": {"max_answer_tokens": 8, "bootstrap": 100},
        **chosen,
    }
    return [word for name, value in settings.items() for word in ("--set", f"{name}={json.dumps(value)}")]


def matrix(supervisors: dict[str, StubServer], seeds: dict[str, Path]) -> list[str]:
    teachers = [{"name": name, "generation": supervisor(name, server)} for name, server in supervisors.items()]
    return options(matrix={"supervisors": teachers, "seeds": [{"name": name, "model": str(at)} for name, at in seeds.items()]})


def trained(root: Path) -> dict[Path, int]:
    """Records of finished trainings, and when they were written."""
    return {record: record.stat().st_mtime_ns for record in root.glob("models/*/training.json")}


@pytest.fixture(scope="module")
def seeds(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    folder = tmp_path_factory.mktemp("seeds")
    return {f"tiny-{seed}": make_tiny_model(folder / f"tiny-{seed}", seed=seed) for seed in (1, 2)}


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The data root of all tests here, in their order."""
    return tmp_path_factory.mktemp("data")


@pytest.fixture
def added() -> Iterator[StubServer]:
    """A second supervisor."""
    server = StubServer()
    yield server
    server.close()


def test_a_matrix_killed_after_its_first_cell_goes_on_and_an_added_supervisor_costs_its_own_cells_only(
    ditto: Ditto,
    start: Callable[..., Any],
    model_server: StubServer,
    added: StubServer,
    prefect_api: str,
    seeds: dict[str, Path],
    root: Path,
) -> None:
    first = start("matrix", root, *matrix({"stub": model_server}, seeds))
    deadline = time.monotonic() + 280
    while not trained(root) and time.monotonic() < deadline and first.poll() is None:
        time.sleep(0.1)
    first.send_signal(signal.SIGKILL)
    _, err = first.communicate()
    before = trained(root)
    assert len(before) == 1, err

    asked = model_server.total()
    found = ditto("matrix", root, *matrix({"stub": model_server, "other": added}, seeds))
    after = trained(root)
    assert len(after) == 4
    assert {record: after[record] for record in before} == before
    # The supervisor simulated and played with profiles before the kill; nothing of it is asked again.
    assert model_server.total() == asked
    assert set(model_server.asked.values()) == {1}
    assert set(added.asked.values()) == {1}
    assert found["ledger"] == {"inputs": 4, "ok": 4, "failed": {}, "filtered": {}}
    assert set(found["scores"]) == {
        *(f"{supervisor} with profiles" for supervisor in ("stub", "other")),
        *(f"{seed} untrained" for seed in seeds),
        *(f"{seed} taught by {supervisor}" for seed in seeds for supervisor in ("stub", "other")),
    }
    assert Path(found["report"]).read_text().count('class="diagonal"') == 3
    assert len(list(Path(found["report"]).parent.glob("plot-*.svg"))) == 3
    cells = {f"{supervisor} teaches {seed}" for seed in seeds for supervisor in ("stub", "other")}
    assert {*cells, "stub with profiles", "other with profiles"} <= _flow_runs(prefect_api)


def test_a_supervisor_whose_template_knows_no_system_role_is_refused_before_anything_is_asked(
    ditto: Ditto, model_server: StubServer, seeds: dict[str, Path], tmp_path: Path
) -> None:
    teacher = {"name": "gemma", "generation": supervisor("gemma", model_server), "system_role": False}
    learner = {"name": "tiny-1", "model": str(seeds["tiny-1"])}
    refused = ditto("matrix", tmp_path, *options(matrix={"supervisors": [teacher], "seeds": [learner]}), code=2)
    assert "matrix.supervisors gemma: system_role = false" in refused["error"]
    assert model_server.total() == 0
    assert not (tmp_path / "shards").exists()


@pytest.mark.parametrize(
    ("kind", "variants", "new"),
    [
        pytest.param("turns", ["5 turns", "1 turns"], 1, id="turns"),
        pytest.param("contrastive", ["share 0.5", "share 0"], 1, id="share"),
    ],
)
def test_an_ablation_of_the_dataset_trains_what_is_new_and_leaves_one_table(
    ditto: Ditto,
    model_server: StubServer,
    seeds: dict[str, Path],
    root: Path,
    kind: str,
    variants: list[str],
    new: int,
) -> None:
    before = trained(root)
    chosen = {
        "generation": supervisor("stub", model_server),
        "training": TRAINING | {"model": str(seeds["tiny-1"])},
        "ablations": {"turns": [5, 1], "contrastive_shares": [0.5, 0]},
    }
    found = ditto("ablate", root, kind, *options(**chosen))
    assert list(found["scores"]) == variants
    rows = [line.removeprefix("| ").split(" | ") for line in found["table"].splitlines() if line.startswith("| ")]
    assert [row[0] for row in rows] == ["variant", *variants]
    assert [any("(Δ " in cell for cell in row) for row in rows] == [False, False, True]
    after = trained(root)
    assert {record: after[record] for record in before} == before
    assert len(after) == len(before) + new  # the first variant is what the settings say
    assert model_server.total() == 0


def _flow_runs(api: str) -> set[str]:
    request = urllib.request.Request(f"{api}/flow_runs/filter", b"{}", {"Content-Type": "application/json"})
    with urllib.request.urlopen(request, timeout=60) as response:
        return {run["name"] for run in json.loads(response.read())}
