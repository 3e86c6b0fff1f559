"""evaluate: seed and tuned model play the test sessions, a judge scores both, a report shows them side by side."""

import json
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from prefect import flow
from prefect.artifacts import create_markdown_artifact

from ditto_core.evaluation import report
from ditto_core.evaluation.scores import compare, scores
from ditto_core.ledger import Ledger
from ditto_core.records import Judgement, Prediction
from ditto_core.settings import GenerationSettings, Settings
from ditto_core.shards import ShardKey, ShardRef, ShardStore, inputs_digest, write_text
from flows import stage
from tasks import evaluation, handover, recipes, resources

BEFORE, AFTER = "before", "after"


@flow(name="evaluate", task_runner=stage.runner())
def evaluate(settings: Settings) -> stage.StageResult:
    """Score the seed LLM and the tuned one on roles that were never trained."""
    stage.use_environment()
    started, calls = time.monotonic(), resources.model_calls()
    made = recipes.dataset_recipe(settings)
    examples = handover.take(settings, "examples", made, "assemble")
    profiles = handover.take(settings, "profiles", recipes.knowledge_recipe(settings), "collect")
    tuned = handover.take_value(settings, "model", recipes.training_recipe(settings), "train")
    seed = resources.seed_llm(settings)
    models = {BEFORE: seed, AFTER: seed.model_copy(update={"model": str(tuned["folder"])})}
    store = ShardStore(Path(settings.data_root))
    predicted = {name: _predict(settings, name, model, examples) for name, model in models.items()}
    judged = {name: _judge(settings, name, model, predicted[name], profiles) for name, model in models.items()}
    ledger = Ledger.total(
        [
            stage.account("predictions", store, _all(predicted)),
            stage.account("judgements", store, _all(judged)),
        ]
    )
    shown = _report(settings, store, predicted, judged, tuned["losses"], profiles, examples)
    return stage.StageResult(
        "evaluate", ledger, resources.model_calls() - calls, time.monotonic() - started, shown["report"], shown
    )


def _predict(settings: Settings, name: str, model: GenerationSettings, examples: handover.Shards) -> dict[str, ShardRef]:
    recipe = recipes.evaluation_recipe(settings, resources.identify(model))
    futures = {}
    for language, refs in examples.items():
        for number, ref in enumerate(refs):
            key = ShardKey("predictions", recipe, f"{name}-{language}-{number:04d}", ref.sha256)
            futures[f"{language}-{number:04d}"] = stage.submit(evaluation.predict_sessions, key, settings, model, name, ref)
    return stage.gather("predictions", futures)


def _judge(
    settings: Settings,
    name: str,
    model: GenerationSettings,
    predictions: dict[str, ShardRef],
    profiles: handover.Shards,
) -> dict[str, ShardRef]:
    recipe = recipes.evaluation_recipe(settings, resources.identify(model))
    futures = {}
    for shard, ref in predictions.items():
        language = shard.rsplit("-", 1)[0]
        known = {str(number): part.sha256 for number, part in enumerate(profiles[language])}
        inputs = inputs_digest({"predictions": ref.sha256, **known})
        key = ShardKey("judgements", recipe, f"{name}-{shard}", inputs)
        futures[shard] = stage.submit(evaluation.judge_sessions, key, settings, language, profiles[language], ref)
    return stage.gather("judgements", futures)


def _all(shards: dict[str, dict[str, ShardRef]]) -> dict[str, ShardRef]:
    return {f"{name}-{shard}": ref for name, refs in shards.items() for shard, ref in refs.items()}


def _report(
    settings: Settings,
    store: ShardStore,
    predicted: dict[str, dict[str, ShardRef]],
    judged: dict[str, dict[str, ShardRef]],
    losses: Sequence[tuple[int, float]],
    profiles: handover.Shards,
    examples: handover.Shards,
) -> dict[str, Any]:
    """Write scores.json and report.html, and return what `--json` shows of them."""
    answers = {name: [row for ref in refs.values() for row in store.read(ref, Prediction)] for name, refs in predicted.items()}
    verdicts = {name: [row for ref in refs.values() for row in store.read(ref, Judgement)] for name, refs in judged.items()}
    bootstrap, seed = settings.evaluation.bootstrap, settings.evaluation.seed
    table = {name: scores(rows, bootstrap, seed) for name, rows in verdicts.items()}
    page = report.Report(
        title="Role-play before and after fine-tuning",
        run={
            "supervision LLM": settings.generation.model,
            "seed LLM": resources.seed_llm(settings).model,
            "engine": settings.generation.engine,
            "test sessions": str(len(answers[AFTER])),
            "settings": settings.model_dump_json(exclude={"data_root", "memo_url"}),
        },
        judge=settings.evaluation.judge,
        before=table[BEFORE],
        after=table[AFTER],
        differences=compare(verdicts[BEFORE], verdicts[AFTER], bootstrap, seed),
        ledgers={
            "profiles": stage.ledger_of(store, profiles).summary(),
            "examples": stage.ledger_of(store, examples).summary(),
        },
        losses=losses,
        sessions=report.sessions(answers[BEFORE], answers[AFTER], verdicts[BEFORE], verdicts[AFTER]),
    )
    name = inputs_digest({name: ref.sha256 for name, ref in _all(judged).items()})[:12]
    folder = store.data_root / "reports" / name
    markdown = report.markdown_table(table[BEFORE], table[AFTER])
    write_text(folder / "report.html", report.render(page))
    write_text(folder / "scores.json", json.dumps(table, indent=1) + "\n")
    write_text(folder / "scores.md", markdown + "\n")
    create_markdown_artifact(markdown, key="scores", description=report.judge_label(settings.evaluation.judge))
    exchanges = [exchange.text() for exchange in report.sample_exchanges(answers[BEFORE], answers[AFTER], 3)]
    return {
        "scores": table,
        "report": str(folder / "report.html"),
        "table": markdown,
        "exchanges": exchanges,
        "judge": report.judge_label(settings.evaluation.judge),
    }
