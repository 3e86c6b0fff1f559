"""Tasks of the evaluation stage: predictions and judgements shard by shard."""

from collections.abc import Sequence
from pathlib import Path

from prefect import get_run_logger, task

from ditto_core import languages
from ditto_core.evaluation import judge, sessions
from ditto_core.records import Example, Judgement, Prediction, Profile
from ditto_core.settings import GenerationSettings, Settings
from ditto_core.shards import ShardKey, ShardRef, ShardStore
from tasks import policies, reporting, resources


@task(name="predict", cache_policy=policies.VerifiedShard(), persist_result=True, result_serializer="json")
def predict_sessions(
    key: ShardKey, settings: Settings, generation: GenerationSettings, model: str, examples: ShardRef
) -> ShardRef:
    """Let one model play the test sessions of one shard, with the identity line only."""
    store = ShardStore(Path(settings.data_root))
    with store.exclusive(key):
        done = store.find(key)
        if done is not None:
            return done
        tests = [example for example in store.read(examples, Example) if example.split == "test"]
        get_run_logger().info("%s: %d test sessions for %s", key.name, len(tests), generation.model)
        predictions, ledger = sessions.predict(tests, resources.generator(settings, generation), settings.evaluation, model)
        reporting.log_ledger(key.name, ledger)
        return store.write(key, Prediction, predictions, ledger)


@task(name="judge", cache_policy=policies.VerifiedShard(), persist_result=True, result_serializer="json")
def judge_sessions(
    key: ShardKey, settings: Settings, language: str, profiles: Sequence[ShardRef], predictions: ShardRef
) -> ShardRef:
    """Judge the predictions of one shard; the profiles say what the lexical judge knows of all candidates."""
    store = ShardStore(Path(settings.data_root))
    with store.exclusive(key):
        done = store.find(key)
        if done is not None:
            return done
        get_run_logger().info("%s: %d answers for the %s judge", key.name, predictions.rows, settings.evaluation.judge)
        chosen = _judge(settings, language, store, profiles)
        judgements, ledger = judge.judge_all(list(store.read(predictions, Prediction)), chosen)
        reporting.log_ledger(key.name, ledger)
        return store.write(key, Judgement, judgements, ledger)


def _judge(settings: Settings, language: str, store: ShardStore, profiles: Sequence[ShardRef]) -> judge.Judge:
    loaded = languages.load(language)
    if settings.evaluation.judge == "llm":
        model = resources.generator(settings, settings.evaluation.judge_generation)
        return judge.LlmJudge(model, loaded, settings.evaluation)
    characters = (profile.character for ref in profiles for profile in store.read(ref, Profile))
    facts = {character.label: (*(claim.text() for claim in character.claims), *character.aliases) for character in characters}
    return judge.LexicalJudge(loaded, facts)
