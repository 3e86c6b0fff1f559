"""What evaluate, leaderboard, matrix and ablate share: models play the test sessions, a judge scores them, files tell of it.

Models run one after the other, and each lets go of its memory before the next is loaded.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from prefect.artifacts import create_link_artifact, create_markdown_artifact

from ditto_core.errors import InvalidInput
from ditto_core.evaluation import mt_bench, tables, wikiroleeval
from ditto_core.evaluation.drill_down import Contestant
from ditto_core.evaluation.report import judge_label
from ditto_core.evaluation.scores import scores
from ditto_core.ledger import Ledger
from ditto_core.recipe import digest
from ditto_core.records import Judgement, Prediction
from ditto_core.settings import ModelSettings, Settings
from ditto_core.shards import ShardKey, ShardRef, ShardStore, inputs_digest, write_text
from flows import stage
from tasks import evaluation, handover, policies, recipes, resources


@dataclass(frozen=True, slots=True)
class Tests:
    """The test sessions.

    Attributes:
        sessions: Shards by language; of the dataset's examples only the test split is played.
        profiles: Shards by language; {} where a test file is judged without a collection.
        lines: The account of the test file's lines; None for the dataset's own sessions.
    """

    sessions: handover.Shards
    profiles: handover.Shards
    lines: Ledger | None


@dataclass(frozen=True, slots=True)
class Measured:
    """What one model left: shard -> predictions and judgements, and its MT-Bench grades where asked for."""

    model: ModelSettings
    predicted: Mapping[str, ShardRef]
    judged: Mapping[str, ShardRef]
    graded: ShardRef | None


def take_tests(settings: Settings) -> Tests:
    """The sessions of the test file, or else of the dataset that these settings made."""
    collected = recipes.knowledge_recipe(settings)
    if not settings.evaluation.test_file:
        examples = handover.take(settings, "examples", recipes.dataset_recipe(settings), "assemble")
        return Tests(examples, handover.take(settings, "profiles", collected, "collect"), None)
    sessions, lines = evaluation.read_tests(settings)
    try:
        profiles = handover.take(settings, "profiles", collected, "collect")
    except InvalidInput:  # a test file says itself what its roles are
        profiles = {}
    return Tests(sessions, profiles, lines)


def measure(settings: Settings, tests: Tests, models: Sequence[ModelSettings]) -> list[Measured]:
    """Let all models play, then judge all: predictions first, so that the judge's memory is not taken."""
    predicted = []
    for model in models:
        predicted.append(_predict(settings, model, tests))
        resources.release()
    judged = [_judge(settings, model, shards, tests) for model, shards in zip(models, predicted, strict=True)]
    graded = [_mt_bench(settings, model) for model in models]
    resources.release()
    return [Measured(*one) for one in zip(models, predicted, judged, graded, strict=True)]


def account(settings: Settings, tests: Tests, measured: Sequence[Measured]) -> Ledger:
    """The sum of all ledgers, checked and shown as artifacts."""
    store = ShardStore(Path(settings.data_root))
    ledgers = [
        stage.account("predictions", store, _all(measured, "predicted")),
        stage.account("judgements", store, _all(measured, "judged")),
    ]
    graded = {one.model.name: one.graded for one in measured if one.graded is not None}
    if graded:
        ledgers.append(stage.account("mt-bench", store, graded))
    return Ledger.total([*ledgers, *([tests.lines] if tests.lines else [])])


def contestants(settings: Settings, measured: Sequence[Measured]) -> list[Contestant]:
    """The models with their scores, as reports show them."""
    store = ShardStore(Path(settings.data_root))
    bootstrap, seed = settings.evaluation.bootstrap, settings.evaluation.seed
    made = []
    for one in measured:
        predictions = [row for ref in one.predicted.values() for row in store.read(ref, Prediction)]
        judgements = [row for ref in one.judged.values() for row in store.read(ref, Judgement)]
        graded = list(store.read(one.graded, mt_bench.Graded)) if one.graded else []
        grades = mt_bench.scores(graded, bootstrap, seed)
        made.append(Contestant(one.model.name, scores(judgements, bootstrap, seed), predictions, judgements, grades))
    return made


def write_files(settings: Settings, shown: Sequence[Contestant], page: str, markdown: str, kind: str) -> dict[str, Any]:
    """Leave report.html, scores.json, scores.csv, scores.md and a judged file a model; returns what `--json` shows of them.

    The folder's name is the digest of what is in it, so two runs that found the same write the same files.
    """
    columns = {one.name: one.scores for one in shown}
    judged = {one.name: wikiroleeval.write_judged(_paired(one)) for one in shown if one.judgements}
    name = f"{kind}-{digest([page, judged])[:12]}"
    folder = Path(settings.data_root) / "reports" / name
    for model, text in judged.items():
        write_text(folder / f"judged-{file_name(model)}.jsonl", text)
    grades = {one.name: one.mt_bench for one in shown if one.mt_bench}
    write_text(folder / "scores.json", json.dumps({**columns, **({"mt_bench": grades} if grades else {})}, indent=1) + "\n")
    write_text(folder / "scores.csv", tables.as_csv(columns))
    write_text(folder / "scores.md", markdown)
    write_text(folder / "report.html", page)
    label = judge_label(judge_name(settings))
    create_markdown_artifact(markdown, key="scores", description=f"{kind}, judge: {label}")
    create_link_artifact((folder / "report.html").absolute().as_uri(), "report.html", key="report", description=kind)
    return {"scores": columns, "report": str(folder / "report.html"), "table": markdown, "judge": label}


def file_name(model: str) -> str:
    """A model's name as part of a file name."""
    return "".join(char if char.isalnum() or char in "-_." else "-" for char in model)


def judge_name(settings: Settings) -> str:
    """The name under which the judge is shown."""
    return settings.evaluation.judge_generation.model if settings.evaluation.judge == "llm" else "lexical"


def _predict(settings: Settings, model: ModelSettings, tests: Tests) -> dict[str, ShardRef]:
    recipe = recipes.prediction_recipe(settings, model, tests.sessions.keys())
    futures = {}
    for language, refs in tests.sessions.items():
        profiles = tests.profiles.get(language, ()) if settings.evaluation.context == "profile" else ()
        shown = {str(number): part.sha256 for number, part in enumerate(profiles)}
        for number, ref in enumerate(refs):
            inputs = inputs_digest({"tests": ref.sha256, **shown})
            key = ShardKey("predictions", recipe, f"{model.name}-{language}-{number:04d}", inputs)
            futures[f"{language}-{number:04d}"] = stage.submit(
                evaluation.predict_sessions, key, settings, language, model, ref, profiles
            )
    return stage.gather("predictions", futures)


def _judge(settings: Settings, model: ModelSettings, predictions: Mapping[str, ShardRef], tests: Tests) -> dict[str, ShardRef]:
    recipe = recipes.judgement_recipe(settings, tests.sessions.keys())
    futures = {}
    for shard, ref in predictions.items():
        language = shard.rsplit("-", 1)[0]
        profiles, sessions = tests.profiles.get(language, ()), tests.sessions[language]
        known = {str(number): part.sha256 for number, part in enumerate(profiles or sessions)}
        key = ShardKey("judgements", recipe, f"{model.name}-{shard}", inputs_digest({"predictions": ref.sha256, **known}))
        futures[shard] = stage.submit(evaluation.judge_sessions, key, settings, language, ref, profiles, sessions)
    return stage.gather("judgements", futures)


def _mt_bench(settings: Settings, model: ModelSettings) -> ShardRef | None:
    chosen = settings.evaluation.mt_bench
    if not chosen:
        return None
    try:
        questions = mt_bench.own_questions() if chosen == "own" else mt_bench.read_questions(Path(chosen).read_text("utf-8"))
    except (OSError, UnicodeDecodeError) as error:
        raise InvalidInput(f"cannot read evaluation.mt_bench {chosen!r}: {error}. Set it to a file or to own.") from error
    key = ShardKey("mt-bench", recipes.mt_bench_recipe(settings, model), model.name, digest(questions))
    task = evaluation.play_mt_bench.with_options(
        task_run_name=f"mt-bench-{model.name}", result_storage=policies.results_folder(settings)
    )
    graded: ShardRef = task(key, settings, model, questions)
    return graded


def _all(measured: Sequence[Measured], part: str) -> dict[str, ShardRef]:
    return {f"{one.model.name}-{shard}": ref for one in measured for shard, ref in getattr(one, part).items()}


def _paired(one: Contestant) -> list[tuple[Prediction, Judgement]]:
    judged = one.judged()
    return [(prediction, judged[key]) for key, prediction in sorted(one.played().items())]
