"""matrix: every supervisor teaches every seed, a sub-run a cell.

Cells share what they can: a supervisor simulates once, its dataset is assembled once, a seed is scored untrained once. Killed and
started again, a cell that is done answers from its shards and its trained model.
"""

import json
import time
from collections.abc import Mapping
from pathlib import Path

from prefect import get_run_logger

from ditto_core.errors import DittoError, InvalidInput
from ditto_core.evaluation import supervision_matrix
from ditto_core.evaluation.drill_down import Contestant
from ditto_core.evaluation.report import judge_label
from ditto_core.evaluation.scores import Scores
from ditto_core.evaluation.supervision_matrix import Matrix, Name
from ditto_core.ledger import Ledger
from ditto_core.recipe import digest
from ditto_core.settings import ModelSettings, Settings
from flows import measuring, stage
from flows.dataset import assemble
from flows.evaluation import AFTER, BEFORE, evaluate
from flows.knowledge import collect
from flows.simulation import simulate
from flows.training import train
from tasks import handover, recipes, resources


class CellsFailed(DittoError):
    """Some cells have no scores; the report holds the others, and running again computes the failed ones only."""


@stage.stage_flow("cell")
def run_cell(settings: Settings) -> Mapping[str, Scores]:
    """One supervisor teaches one seed; returns the scores before and after."""
    for step in (simulate, assemble, train):
        step(settings)
    scores: Mapping[str, Scores] = evaluate(settings).extra["scores"]
    return scores


@stage.stage_flow("supervise")
def supervise(settings: Settings, supervisor: ModelSettings) -> Scores:
    """Supervision performance: the supervisor plays the test sessions with the profile before it."""
    shown = settings.evaluation.model_copy(update={"context": "profile", "mt_bench": ""})
    settings = settings.model_copy(update={"evaluation": shown})
    tests = measuring.take_tests(settings)
    measured = measuring.measure(settings, tests, [supervisor])
    measuring.account(settings, tests, measured)
    return measuring.contestants(settings, measured)[0].scores


@stage.stage_flow("matrix")
def matrix(settings: Settings) -> stage.StageResult:
    """Cross-supervision (paper section 6): supervisors times seeds, with supervision performance and the scatter plots."""
    started, calls = time.monotonic(), resources.model_calls()
    _check_supervisors(settings)
    for cell in supervision_matrix.cells(settings).values():
        resources.identify(cell.generation)  # a model that is not there is told before anything is paid
        resources.identify(resources.seed_llm(cell))
    collect(settings)
    settings = _with_common_tests(settings)
    supervision = {
        supervisor.name: supervise.with_options(flow_run_name=f"{supervisor.name} with profiles")(settings, supervisor)
        for supervisor in settings.matrix.supervisors
    }
    untrained: dict[str, Scores] = {}
    tuned: dict[Name, Scores] = {}
    failures: dict[Name, str] = {}
    for name, cell in supervision_matrix.cells(settings).items():
        supervisor, seed = name
        try:
            scores = run_cell.with_options(flow_run_name=f"{supervisor} teaches {seed}")(cell)
        except DittoError as error:  # the other cells go on
            get_run_logger().error("%s teaches %s: %s", supervisor, seed, error)
            failures[name] = str(error)
            continue
        untrained[seed], tuned[name] = scores[BEFORE], scores[AFTER]
    found = Matrix(supervision, untrained, tuned, failures)
    return _finished(settings, found, resources.model_calls() - calls, time.monotonic() - started)


def _check_supervisors(settings: Settings) -> None:
    silent = [supervisor.name for supervisor in settings.matrix.supervisors if not supervisor.system_role]
    if silent:
        raise InvalidInput(
            f"matrix.supervisors {', '.join(silent)}: system_role = false. Simulation puts its instructions into the system "
            f"role, so a supervisor needs a chat template that knows it; take another model, or give this one such a template."
        )


def _with_common_tests(settings: Settings) -> Settings:
    """All cells are scored on the same sessions: the test file's, or those that the first supervisor wrote."""
    if settings.evaluation.test_file:
        return settings
    first = next(iter(supervision_matrix.cells(settings).values()))
    simulate(first)
    assemble(first)
    folder = handover.take_value(first, "dataset", recipes.dataset_recipe(first), "assemble")["folder"]
    file = Path(settings.data_root) / str(folder) / "test.jsonl"
    return settings.model_copy(update={"evaluation": settings.evaluation.model_copy(update={"test_file": str(file)})})


def _finished(settings: Settings, found: Matrix, calls: int, seconds: float) -> stage.StageResult:
    judge = judge_label(measuring.judge_name(settings))
    run = {
        "test sessions": settings.evaluation.test_file,
        "settings digest": digest(settings.shown())[:12],
        "settings": json.dumps(settings.shown(), ensure_ascii=False),
    }
    shown = [Contestant(name, scores) for name, scores in supervision_matrix.columns(found).items()]
    page, markdown = supervision_matrix.render(found, judge, run), supervision_matrix.markdown(found)
    left = measuring.write_files(settings, shown, page, markdown, "matrix", supervision_matrix.plots(found))
    if found.failures:
        listed = "\n".join(f"  {supervisor} teaches {seed}: {why}" for (supervisor, seed), why in found.failures.items())
        raise CellsFailed(f"{len(found.failures)} cells have no scores, the others are in {left['report']}:\n{listed}")
    return stage.StageResult("matrix", Ledger(inputs=len(found.cells), ok=len(found.cells)), calls, seconds, left["report"], left)
