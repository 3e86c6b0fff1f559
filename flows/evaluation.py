"""evaluate: seed and tuned model play the test sessions, a judge scores both, a report shows them side by side.

leaderboard: the same for any list of models, without a tuned one.
"""

import json
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pyarrow as pa

from ditto_core.dataset.summary import COLUMNS, Summary
from ditto_core.errors import InvalidInput
from ditto_core.evaluation import leaderboard as board
from ditto_core.evaluation import report, tables
from ditto_core.evaluation.drill_down import Contestant
from ditto_core.evaluation.scores import compare
from ditto_core.recipe import digest
from ditto_core.settings import ModelSettings, Settings
from ditto_core.shards import ShardStore
from flows import measuring, stage
from tasks import handover, recipes, resources, training

if TYPE_CHECKING:
    import pandas as pd

BEFORE, AFTER = "before", "after"


@stage.stage_flow("evaluate")
def evaluate(settings: Settings) -> stage.StageResult:
    """Score the seed LLM and the tuned one on roles that were never trained, and the other models that the settings name."""
    started, calls = time.monotonic(), resources.model_calls()
    tests = measuring.take_tests(settings)
    tuned = training.tuned_model(settings)
    models = [*seed_and_tuned(settings, str(tuned["folder"])), *settings.evaluation.models]
    measured = measuring.measure(settings, tests, models)
    shown = measuring.contestants(settings, measured)
    first, second = shown[0], shown[1]
    bootstrap, seed = settings.evaluation.bootstrap, settings.evaluation.seed
    differences = compare(first.judgements, second.judgements, bootstrap, seed)
    store = ShardStore.of(settings)
    page = report.Report(
        title="Role-play before and after fine-tuning",
        judge=report.judge_label(measuring.judge_name(settings)),
        contestants=shown,
        notes=_leaks(settings, store, tests),
        differences=differences,
        run=_what_was_run(settings, models, shown),
        statistics=_statistics(store, tests.sessions) if tests.lines is None else (),
        ledgers={
            "profiles": stage.ledger_of(store, tests.profiles).summary(),
            "test file" if tests.lines else "examples": (tests.lines or stage.ledger_of(store, tests.sessions)).summary(),
        },
        losses=tuned["losses"],
    )
    markdown = tables.markdown(page.columns, differences)
    left = measuring.write_files(settings, shown, report.render(page), markdown, "evaluation")
    exchanges = [exchange.text() for exchange in report.sample_exchanges(first.predictions, second.predictions, 3)]
    ledger = measuring.account(settings, tests, measured)
    seconds = time.monotonic() - started
    extra = left | {"exchanges": exchanges, "differences": differences}
    return stage.StageResult("evaluate", ledger, resources.model_calls() - calls, seconds, left["report"], extra)


@stage.stage_flow("leaderboard")
def leaderboard(settings: Settings) -> stage.StageResult:
    """Score a list of models side by side on the test file or the dataset's test split."""
    started, calls = time.monotonic(), resources.model_calls()
    models = settings.evaluation.models
    if not models:
        raise InvalidInput(
            "there is no model to compare: list them as [[evaluation.models]] in the settings file, each with a name and a "
            "generation of its own, such as generation = { engine = 'chat-api', model = '...', base_url = '...' }."
        )
    tests = measuring.take_tests(settings)
    measured = measuring.measure(settings, tests, models)
    shown = measuring.contestants(settings, measured)
    page = report.Report(
        "Leaderboard", report.judge_label(measuring.judge_name(settings)), shown, run=_what_was_run(settings, models, shown)
    )
    rows = board.rows(page.columns, {one.name: one.mt_bench for one in shown})
    markdown = board.markdown(rows, board.published("table_2"))
    left = measuring.write_files(settings, shown, report.render(page), markdown, "leaderboard")
    ledger = measuring.account(settings, tests, measured)
    seconds = time.monotonic() - started
    return stage.StageResult("leaderboard", ledger, resources.model_calls() - calls, seconds, left["report"], left)


@stage.stage_flow("judge")
def judge(settings: Settings, files: list[Path]) -> stage.StageResult:
    """Judge prediction files in WikiRoleEval's format, whoever made them, side by side."""
    started, calls = time.monotonic(), resources.model_calls()
    names = {file.stem.removeprefix("predictions-"): file for file in files}
    if len(names) < len(files) or not files:
        raise InvalidInput(f"expected prediction files with names of their own, found {[str(file) for file in files]}")
    tests, measured = measuring.take_predictions(settings, names)
    shown = measuring.contestants(settings, measured)
    bootstrap, seed = settings.evaluation.bootstrap, settings.evaluation.seed
    paired = compare(shown[0].judgements, shown[1].judgements, bootstrap, seed) if len(shown) == 2 else {}
    label, read = report.judge_label(measuring.judge_name(settings)), {name: str(file) for name, file in names.items()}
    page = report.Report("Judged predictions", label, shown, differences=paired, run=read)
    left = measuring.write_files(settings, shown, report.render(page), tables.markdown(page.columns, paired), "judged")
    ledger = measuring.account(settings, tests, measured)
    seconds = time.monotonic() - started
    return stage.StageResult("judge", ledger, resources.model_calls() - calls, seconds, left["report"], left)


def seed_and_tuned(settings: Settings, tuned: str) -> list[ModelSettings]:
    """The seed LLM and the model in a folder, which runs as the seed does."""
    seed = resources.seed_llm(settings)
    return [
        ModelSettings(name=BEFORE, generation=seed, system_role=settings.evaluation.system_role),
        # Training sets our own chat template, which has a system role.
        ModelSettings(name=AFTER, generation=seed.model_copy(update={"model": tuned})),
    ]


def _what_was_run(settings: Settings, models: Sequence[ModelSettings], shown: Sequence[Contestant]) -> Mapping[str, str]:
    told: dict[str, str] = {"supervision LLM": settings.generation.model}
    for model in models:
        generation = model.generation
        told[model.name] = f"{generation.model} ({generation.engine}), weights {resources.identify(generation).weights[:12]}"
    plain = settings.shown()
    return told | {
        "test sessions": str(len(shown[0].predictions)),
        "settings digest": digest(plain)[:12],
        "settings": json.dumps(plain, ensure_ascii=False),
    }


def _statistics(store: ShardStore, examples: handover.Shards) -> list[list[str]]:
    """Rows of the dataset by split and by language, as in the paper's table 1."""
    summary = Summary()
    for refs in examples.values():
        for ref in refs:
            summary.add(store.read_table(ref, COLUMNS).to_pylist())
    rows: list[list[str]] = [["", "roles", "sessions", "turns", "role-specific", "contrastive"]]
    counted: dict[str, Any] = {**dict(sorted(summary.by_split.items())), **dict(sorted(summary.by_language.items()))}
    for name, counts in counted.items():
        numbers = (len(counts.roles), counts.sessions, counts.turns, counts.role_specific, counts.contrastive)
        rows.append([name, *(f"{number:,}" for number in numbers)])
    return rows


def _leaks(settings: Settings, store: ShardStore, tests: measuring.Tests) -> list[str]:
    """Roles of a test file that the tuned model was trained on; of the dataset's own test split there are none."""
    if tests.lines is None:
        return []
    examples = handover.take(settings, "examples", recipes.dataset_recipe(settings), "assemble")
    trained, played = (_roles(store, shards) for shards in (examples, tests.sessions))
    trained = trained[trained["split"] == "train"]
    by_role = played.merge(trained[["language", "role"]].drop_duplicates())["label"]
    by_label = played.merge(trained[["language", "label"]].drop_duplicates())["label"]
    seen = sorted({*by_role, *by_label} - {""})  # imported conversations have no label
    if not seen:
        return []
    named = ", ".join(seen[:5]) + (" and others" if len(seen) > 5 else "")
    return [f"{len(seen)} roles of the test file were trained on ({named}): the scores after are not of unseen roles"]


def _roles(store: ShardStore, shards: handover.Shards) -> "pd.DataFrame":
    """Split, role, label and language of every session."""
    columns = ["split", "role", "label", "language"]
    table = pa.concat_tables(store.read_table(ref, columns) for refs in shards.values() for ref in refs)
    frame: pd.DataFrame = table.to_pandas()
    return frame
