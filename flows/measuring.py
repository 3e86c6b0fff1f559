"""What evaluate, leaderboard, matrix and ablate share: models play the test sessions, a judge scores them, files tell of it.

Models run one after the other, and each lets go of its memory before the next is loaded.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any
from urllib.parse import quote

from prefect.artifacts import create_link_artifact, create_markdown_artifact

from ditto_core.errors import InvalidInput
from ditto_core.evaluation import mt_bench, report, tables, wikiroleeval
from ditto_core.evaluation.drill_down import Contestant
from ditto_core.evaluation.page import picture
from ditto_core.evaluation.scores import scores
from ditto_core.ledger import Ledger
from ditto_core.recipe import digest
from ditto_core.records import Judgement, Prediction
from ditto_core.settings import ModelSettings, Settings
from ditto_core.shards import ShardKey, ShardRef, ShardStore, inputs_digest, write_text
from flows import stage
from tasks import evaluation, handover, recipes, resources
from tasks.reporting import plots_artifact


@dataclass(frozen=True, slots=True)
class Tests:
    """The test sessions.

    Attributes:
        sessions: Shards by language; of the dataset's examples only the test split is played.
        profiles: Shards by language; {} where a test file or an imported dataset is judged without a collection.
        lines: The account of the test file's lines; None for the dataset's own sessions.
    """

    sessions: handover.Shards
    profiles: handover.Shards
    lines: Ledger | None


@dataclass(frozen=True, slots=True)
class Measured:
    """What one model left: shard -> predictions and judgements, and its MT-Bench answers and grades where asked for."""

    name: str
    predicted: Mapping[str, ShardRef]
    judged: Mapping[str, ShardRef]
    answered: ShardRef | None
    graded: ShardRef | None


def take_tests(settings: Settings) -> Tests:
    """The sessions of the test file, or else of the dataset that these settings made.

    Raises:
        InvalidInput: There are none.
    """
    if not settings.evaluation.test_file:
        examples = handover.take(settings, "examples", recipes.dataset_recipe(settings), "assemble")
        store = ShardStore.of(settings)
        splits = (store.read_table(ref, ["split"])["split"].unique() for refs in examples.values() for ref in refs)
        if not any("test" in part.to_pylist() for part in splits):
            raise InvalidInput(
                "this dataset has no test session: none of its roles is held out. Raise dataset.test_share and run `ditto "
                "assemble` and `ditto train` again, or name sessions with evaluation.test_file."
            )
        return Tests(examples, _profiles_if_any(settings), None)
    sessions, lines = evaluation.read_tests(settings)
    return Tests(sessions, _profiles_if_any(settings), lines)


def take_predictions(settings: Settings, files: Mapping[str, Path]) -> tuple[Tests, list[Measured]]:
    """Judge the answers of prediction files, whoever made them; each file is a model."""
    profiles = _profiles_if_any(settings)
    sessions: handover.Shards = {}
    measured, accounts = [], []
    for name, file in files.items():
        sessions, answers, lines = evaluation.read_predictions(settings, file, name)
        accounts.append(lines)
        predicted = {f"{language}-{number:04d}": ref for language, refs in answers.items() for number, ref in enumerate(refs)}
        judged = _judge(settings, name, predicted, Tests(sessions, profiles, lines))
        measured.append(Measured(name, predicted, judged, None, None))
    resources.release()
    return Tests(sessions, profiles, Ledger.total(accounts)), measured


def measure(settings: Settings, tests: Tests, models: Sequence[ModelSettings]) -> list[Measured]:
    """Let each model play all that it is asked, then judge all: so each of them, and the judge, is loaded once and alone."""
    predicted: dict[str, Mapping[str, ShardRef]] = {}
    answers: dict[str, ShardRef] = {}
    for model in models:
        predicted[model.name] = _predict(settings, model, tests)
        answers |= _play_mt_bench(settings, model)
        resources.release()
    judged = {name: _judge(settings, name, shards, tests) for name, shards in predicted.items()}
    graded = _grade_mt_bench(settings, answers)
    resources.release()
    return [Measured(name, shards, judged[name], answers.get(name), graded.get(name)) for name, shards in predicted.items()]


def account(settings: Settings, tests: Tests, measured: Sequence[Measured]) -> Ledger:
    """The sum of all ledgers, checked and shown as artifacts.

    Raises:
        StageFailed: The first of what `stage.account` finds; all are looked at, so that nothing that was lost stays as it is.
    """
    store = ShardStore.of(settings)
    left: dict[str, Mapping[str, ShardRef]] = {
        "predictions": _all(measured, "predicted"),
        "judgements": _all(measured, "judged"),
        "mt-bench-answers": {one.name: one.answered for one in measured if one.answered is not None},
        "mt-bench": {one.name: one.graded for one in measured if one.graded is not None},
    }
    ledgers, problems = {}, []
    for name, shards in left.items():
        if shards or not name.startswith("mt-bench"):
            try:
                ledgers[name] = stage.account(name, store, shards)
            except stage.StageFailed as problem:
                problems.append(problem)
    if problems:
        raise problems[0]
    ledgers.pop("mt-bench-answers", None)  # each of them is an input of the grades
    return Ledger.total([*ledgers.values(), *([tests.lines] if tests.lines else [])])


def contestants(settings: Settings, measured: Sequence[Measured]) -> list[Contestant]:
    """The models with their scores, as reports show them."""
    store = ShardStore.of(settings)
    bootstrap, seed = settings.evaluation.bootstrap, settings.evaluation.seed
    made = []
    for one in measured:
        predictions = [row for ref in one.predicted.values() for row in store.read(ref, Prediction)]
        judgements = [row for ref in one.judged.values() for row in store.read(ref, Judgement)]
        graded = list(store.read(one.graded, mt_bench.Graded)) if one.graded else []
        found = Contestant(one.name, scores(judgements, bootstrap, seed), predictions, judgements)
        lines, _ = wikiroleeval.read_lines(wikiroleeval.write_judged(_paired(found)))
        released = wikiroleeval.released_scores(lines)
        made.append(replace(found, mt_bench=mt_bench.scores(graded, bootstrap, seed), released=released))
    return made


def write_files(
    settings: Settings, shown: Sequence[Contestant], page: str, markdown: str, kind: str, plots: Mapping[str, str] | None = None
) -> dict[str, Any]:
    """Leave report.html, scores.json, scores.csv, scores.md, plots, and a prediction and a judged file a model.

    The folder's name is the digest of what is in it, so two runs that found the same write the same files.

    Args:
        plots: Name -> drawing; None draws bars of the scores.

    Returns:
        What `--json` shows of them.
    """
    label = report.judge_label(judge_name(settings))
    columns = {one.name: one.scores for one in shown}
    files = {
        f"{what}-{quote(one.name, safe=' ')}.jsonl": text
        for one in shown
        if one.judgements
        for what, text in (
            ("judged", wikiroleeval.write_judged(_paired(one))),
            ("predictions", wikiroleeval.write_predictions(one.predictions)),
        )
    }
    found = {
        "judge": label,
        "scores": columns,
        "mt_bench": {one.name: one.mt_bench for one in shown if one.mt_bench},
        "released_arithmetic": {one.name: one.released for one in shown if one.released},
    }
    if plots is None:
        plots = {"scores": report.score_bars(columns, "Scores with 95 % intervals")}
    drawings = {name: picture(drawing) for name, drawing in plots.items() if drawing}
    files |= {f"plot-{name}.svg": drawing for name, drawing in drawings.items()}
    files |= {
        "scores.json": json.dumps(found, indent=1) + "\n",
        "scores.csv": tables.as_csv(columns, label),
        "scores.md": f"Judge: {label}\n\n{markdown}",
        "report.html": page,
    }
    folder = Path(settings.data_root) / "reports" / f"{kind}-{digest(files)[:12]}"
    for name, text in files.items():
        write_text(folder / name, text)
    create_markdown_artifact(files["scores.md"], key="scores", description=kind)
    if drawings:
        plots_artifact(kind, drawings)
    create_link_artifact((folder / "report.html").absolute().as_uri(), "report.html", key="report", description=kind)
    return {"scores": columns, "report": str(folder / "report.html"), "table": markdown, "judge": label}


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


def _judge(settings: Settings, model: str, predictions: Mapping[str, ShardRef], tests: Tests) -> dict[str, ShardRef]:
    recipe = recipes.judgement_recipe(settings, tests.sessions.keys())
    futures = {}
    for shard, ref in predictions.items():
        language = shard.rsplit("-", 1)[0]
        profiles, sessions = tests.profiles.get(language, ()), tests.sessions[language]
        known = {str(number): part.sha256 for number, part in enumerate(profiles or sessions)}
        key = ShardKey("judgements", recipe, f"{model}-{shard}", inputs_digest({"predictions": ref.sha256, **known}))
        futures[shard] = stage.submit(evaluation.judge_sessions, key, settings, language, ref, profiles, sessions)
    return stage.gather("judgements", futures)


def _play_mt_bench(settings: Settings, model: ModelSettings) -> dict[str, ShardRef]:
    """One model's answers by its name, where the questions are asked."""
    chosen = settings.evaluation.mt_bench
    if not chosen:
        return {}
    try:
        questions = mt_bench.own_questions() if chosen == "own" else mt_bench.read_questions(Path(chosen).read_text("utf-8"))
    except (OSError, UnicodeDecodeError) as error:
        raise InvalidInput(f"cannot read evaluation.mt_bench {chosen!r}: {error}. Set it to a file or to own.") from error
    key = ShardKey("mt-bench-answers", recipes.mt_bench_recipe(settings, model), model.name, digest(questions))
    return stage.gather(key.stage, {model.name: stage.submit(evaluation.play_mt_bench, key, settings, model, questions)})


def _grade_mt_bench(settings: Settings, answers: Mapping[str, ShardRef]) -> dict[str, ShardRef]:
    recipe = recipes.grading_recipe(settings)
    futures = {}
    for model, ref in answers.items():
        key = ShardKey("mt-bench", recipe, model, inputs_digest({"answers": ref.sha256}))
        futures[model] = stage.submit(evaluation.grade_mt_bench, key, settings, ref)
    return stage.gather("mt-bench", futures)


def _all(measured: Sequence[Measured], part: str) -> dict[str, ShardRef]:
    return {f"{one.name}-{shard}": ref for one in measured for shard, ref in getattr(one, part).items()}


def _paired(one: Contestant) -> list[tuple[Prediction, Judgement]]:
    judged = one.judged()
    return [(prediction, judged[key]) for key, prediction in sorted(one.played().items())]


def _profiles_if_any(settings: Settings) -> handover.Shards:
    """A file says itself what its roles are; what was collected besides tells the lexical judge more of the candidates."""
    try:
        return handover.take(settings, "profiles", recipes.knowledge_recipe(settings), "collect")
    except InvalidInput:
        return {}
