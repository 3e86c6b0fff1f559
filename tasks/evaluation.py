"""Tasks of the evaluation stage: test sessions, predictions and judgements shard by shard."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TypeVar

from prefect import get_run_logger, task
from prefect.cache_policies import NO_CACHE

from ditto_core import languages
from ditto_core.errors import InvalidInput
from ditto_core.evaluation import judge, mt_bench, sessions, wikiroleeval
from ditto_core.ledger import Ledger
from ditto_core.recipe import digest, stage_recipe
from ditto_core.records import Example, Judgement, Prediction, Profile
from ditto_core.settings import ModelSettings, Settings
from ditto_core.shards import ShardKey, ShardRef, ShardStore, file_sha256, shard_of
from tasks import policies, reporting, resources

Row = TypeVar("Row")
Shards = Mapping[str, Sequence[ShardRef]]
"""Language -> its shards."""


@task(name="read-tests", cache_policy=NO_CACHE)
def read_tests(settings: Settings) -> tuple[Shards, Ledger]:
    """The sessions of `evaluation.test_file` as shards by language, and the account of its lines."""
    path = Path(settings.evaluation.test_file)
    examples, lines = wikiroleeval.read_test(_text(path, "evaluation.test_file"))
    _check_lines(path, lines)
    tests = [replace(example, split="test") for example in examples]
    return _shards(settings, "tests", Example, tests, lambda example: example, file_sha256(path)), lines


@task(name="read-predictions", cache_policy=NO_CACHE)
def read_predictions(settings: Settings, path: Path, model: str) -> tuple[Shards, Shards, Ledger]:
    """The sessions and the answers of a prediction file as shards by language, and the account of its lines."""
    predictions, lines = wikiroleeval.read_predictions(_text(path, "the prediction file"), model)
    _check_lines(path, lines)
    named = [replace(prediction, model=model) for prediction in predictions]
    source = f"{model} {file_sha256(path)}"
    sessions = _shards(settings, "tests", Example, [one.example for one in named], lambda example: example, source)
    return sessions, _shards(settings, "given-predictions", Prediction, named, lambda one: one.example, source), lines


@policies.shard_task(name="predict", asks_model=True)
def predict_sessions(
    key: ShardKey, settings: Settings, language: str, model: ModelSettings, examples: ShardRef, profiles: Sequence[ShardRef]
) -> ShardRef:
    """Let one model play the test sessions of one shard; profiles are shown only where the settings say so."""

    def compute(store: ShardStore) -> tuple[Iterable[Prediction], Ledger]:
        tests = [example for example in store.read(examples, Example) if example.split == "test"]
        get_run_logger().info("%s: %d test sessions for %s", key.name, len(tests), model.generation.model)
        generator = resources.generator(settings, model.generation)
        opening: sessions.Opening = sessions.identity_line
        if tests and settings.evaluation.context != "identity":
            roles = {example.role for example in tests}
            known = {p.character.qid: p for ref in profiles for p in store.read(ref, Profile) if p.character.qid in roles}
            shown, budget = settings.evaluation.context == "profile", settings.simulation.profile_tokens
            opening = sessions.in_context(known, languages.load(language), budget, generator.count_tokens, shown=shown)
        predictions, ledger = sessions.predict(
            tests, generator, settings.evaluation, model.name, opening, system_role=model.system_role
        )
        return predictions, ledger

    return policies.compute_once(key, settings, Prediction, compute)


@policies.shard_task(name="judge", asks_model=True)
def judge_sessions(
    key: ShardKey,
    settings: Settings,
    language: str,
    predictions: ShardRef,
    profiles: Sequence[ShardRef],
    tests: Sequence[ShardRef],
) -> ShardRef:
    """Judge the predictions of one shard; profiles, or else the test sessions, tell the lexical judge of the candidates."""

    def compute(store: ShardStore) -> tuple[Iterable[Judgement], Ledger]:
        get_run_logger().info("%s: %d answers for the %s judge", key.name, predictions.rows, settings.evaluation.judge)
        chosen = _judge(settings, language, store, profiles, tests)
        judgements, ledger = judge.judge_all(list(store.read(predictions, Prediction)), chosen)
        return judgements, ledger

    return policies.compute_once(key, settings, Judgement, compute)


@policies.shard_task(name="mt-bench-answers", asks_model=True)
def play_mt_bench(key: ShardKey, settings: Settings, model: ModelSettings, questions: Sequence[mt_bench.Question]) -> ShardRef:
    """Let one model answer the role-play questions."""

    def compute(_store: ShardStore) -> tuple[Iterable[mt_bench.Answered], Ledger]:
        player = resources.generator(settings, model.generation)
        return mt_bench.play(questions, player, settings.evaluation, model.name)

    return policies.compute_once(key, settings, mt_bench.Answered, compute)


@policies.shard_task(name="mt-bench", asks_model=True)
def grade_mt_bench(key: ShardKey, settings: Settings, answers: ShardRef) -> ShardRef:
    """Have the judge grade both turns of one model's answers."""

    def compute(store: ShardStore) -> tuple[Iterable[mt_bench.Graded], Ledger]:
        grader = resources.generator(settings, settings.evaluation.judge_generation)
        return mt_bench.grade(list(store.read(answers, mt_bench.Answered)), grader, settings.evaluation)

    return policies.compute_once(key, settings, mt_bench.Graded, compute)


def _judge(
    settings: Settings, language: str, store: ShardStore, profiles: Sequence[ShardRef], tests: Sequence[ShardRef]
) -> judge.Judge:
    loaded = languages.load(language)
    if settings.evaluation.judge == "llm":
        model = resources.generator(settings, settings.evaluation.judge_generation)
        return judge.LlmJudge(model, loaded, settings.evaluation)
    if not profiles:
        return judge.LexicalJudge(loaded, judge.facts_of(example for ref in tests for example in store.read(ref, Example)))
    characters = (profile.character for ref in profiles for profile in store.read(ref, Profile))
    facts = {character.label: (*(claim.text() for claim in character.claims), *character.aliases) for character in characters}
    return judge.LexicalJudge(loaded, facts)


def _text(path: Path, what: str) -> str:
    try:
        return path.read_text("utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise InvalidInput(f"cannot read {what} {str(path)!r}: {error}") from error


def _check_lines(path: Path, lines: Ledger) -> None:
    reporting.log_ledger(path.name, lines)
    if not lines.ok:
        reasons = ", ".join(f"{reason}: {number}" for reason, number in lines.failed.items()) or "it is empty"
        raise InvalidInput(f"{str(path)!r} holds no session in WikiRoleEval's format ({reasons}).")


def _shards(
    settings: Settings, stage: str, record: type[Row], rows: Sequence[Row], session: Callable[[Row], Example], source: str
) -> Shards:
    """Rows that came from a file, as shards by language and by the hash of their role."""
    store, recipe = ShardStore.of(settings), stage_recipe("evaluation", {"from a file": stage})
    found: dict[str, list[ShardRef]] = {}
    for language in sorted({session(row).language for row in rows}):
        languages.load(language)
        parts: dict[int, list[Row]] = {}
        for row in rows:
            if session(row).language == language:
                parts.setdefault(shard_of(session(row).role, settings.shards), []).append(row)
        found[language] = [
            store.write(
                ShardKey(stage, recipe, f"{language}-{number:04d}-of-{settings.shards}", digest(source)),
                record,
                part,
                Ledger(inputs=len(part), ok=len(part)),
            )
            for number, part in sorted(parts.items())
        ]
    return found
