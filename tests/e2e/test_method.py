"""The method itself, with the bundled seeds as they ship, on a part of the embedded world: who changes a prompt, a mask, a metric
or the mix of a dataset for the worse sees these numbers fall."""

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pandas
import pytest

Numbers = Mapping[str, Any]
Run = Callable[..., Numbers]
METRICS = ("consistency", "knowledge", "rejection")
pytestmark = pytest.mark.timeout(1200)  # the matrix trains three models
SIZES = {"2.2 M": "embedded", "0.5 M": "embedded-small"}
SMALLER: dict[str, Any] = {  # than the demo: every class's best known characters, all held-out roles for the test, fewer steps
    "knowledge.max_characters": 14,
    "dataset.validation_share": 0,
    "dataset.test_share": 0.3,
    "dataset.test_questions": 12,  # put to a role: with fewer, knowledge hangs on one or two questions for a year
    "training.max_steps": 30,
    "shards": 2,
}


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The data root of all runs here: what one made the next one finds."""
    return tmp_path_factory.mktemp("method")


@pytest.fixture(scope="module")
def run(main: Callable[..., tuple[str, str]], prefect_api: str, root: Path) -> Run:
    """Run a command on the demo's settings, smaller."""

    def run(*words: str, **more: Any) -> Numbers:
        assigned = {**SMALLER, **{name.replace("__", "."): value for name, value in more.items()}}
        chosen = [word for name, value in assigned.items() for word in ("--set", f"{name}={json.dumps(value)}")]
        out, _ = main(*words, "--preset", "demo", "--data-root", str(root), "--json", *chosen)
        found: Numbers = json.loads(out.strip().splitlines()[-1])
        return found

    return run


def value(found: Numbers, column: str, metric: str) -> Numbers:
    number: Numbers = found["scores"][column]["all"][metric]
    return number


def test_fine_tuning_on_what_the_seed_wrote_lifts_all_three_metrics_outside_their_intervals(run: Run, root: Path) -> None:
    found = run("run")
    (train,) = root.glob("datasets/*/train.parquet")
    assert pandas.read_parquet(train)["role"].nunique() >= 20, "of 23: whoever turns down his own questions is filtered"
    for metric in METRICS:
        assert found["differences"]["all"][metric]["low"] > 0, found["table"]
        assert value(found, "after", metric)["low"] > value(found, "before", metric)["high"], found["table"]
    assert value(found, "after", "consistency")["mean"] >= 0.7
    assert value(found, "after", "contrastive_refused")["low"] > value(found, "after", "false_refusals")["high"], found["table"]


def test_the_larger_seed_ends_above_the_smaller_whoever_teaches_it(run: Run) -> None:
    """The matrix of both seeds, as in the paper's section 6.

    What they know is not compared: of nine roles' questions few ask for more than they name, and these are a matter of luck here.
    """
    models = {"engine": "transformers", "dtype": "float32", "max_model_len": 2048}
    supervisors = [{"name": name, "generation": {**models, "model": model}} for name, model in SIZES.items()]
    seeds = [{"name": name, "model": model} for name, model in SIZES.items()]
    found = run("matrix", matrix={"supervisors": supervisors, "seeds": seeds})
    for supervisor in SIZES:
        larger, smaller = (f"{seed} taught by {supervisor}" for seed in SIZES)
        for metric in ("consistency", "rejection", "contrastive_refused"):
            assert value(found, larger, metric)["low"] > value(found, smaller, metric)["high"], found["table"]
        for seed in SIZES:
            taught, untrained = (value(found, f"{seed} {how}", "consistency") for how in (f"taught by {supervisor}", "untrained"))
            assert taught["mean"] > untrained["mean"], found["table"]
    shown = {name: value(found, f"{name} with profiles", "rejection")["mean"] for name in SIZES}
    assert shown["2.2 M"] > shown["0.5 M"], found["table"]


def test_without_the_profile_the_seed_tells_nothing_and_turns_down_its_own(run: Run) -> None:
    found = run("ablate", "knowledge")
    lost = found["differences"]["without the profile"]["all"]
    assert all(lost[metric]["high"] < 0 for metric in ("knowledge", "rejection")), found["table"]
    shown, hidden = (value(found, f"{variant} the profile", "false_refusals") for variant in ("with", "without"))
    assert hidden["low"] > shown["high"], found["table"]


def test_without_contrastive_turns_nothing_foreign_is_refused(run: Run) -> None:
    found = run("ablate", "contrastive", ablations__contrastive_shares=[0.5, 0])
    assert value(found, "share 0.5", "contrastive_refused")["low"] > value(found, "share 0", "contrastive_refused")["high"]
    assert found["differences"]["share 0"]["all"]["rejection"]["high"] < 0, found["table"]
