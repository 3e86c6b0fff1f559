"""Tasks of the evaluation stage: predictions and judgements shard by shard."""

from collections.abc import Mapping, Sequence
from pathlib import Path

from prefect import get_run_logger, task

from ditto_core import languages
from ditto_core.evaluation import judge, sessions
from ditto_core.records import Example, Judgement, Prediction
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
        get_run_logger().info("%d test sessions for %s", len(tests), generation.model)
        predictions, ledger = sessions.predict(
            tests, resources.generator(settings, generation), settings.evaluation, model
        )
        reporting.log_ledger(key.name, ledger)
        return store.write(key, Prediction, predictions, ledger)


@task(name="judge", cache_policy=policies.VerifiedShard(), persist_result=True, result_serializer="json")
def judge_sessions(
    key: ShardKey, settings: Settings, language: str, facts: Mapping[str, Sequence[str]], predictions: ShardRef
) -> ShardRef:
    """Judge the predictions of one shard."""
    store = ShardStore(Path(settings.data_root))
    with store.exclusive(key):
        done = store.find(key)
        if done is not None:
            return done
        judges = _judge(settings, language, facts)
        judgements, ledger = judge.judge_all(list(store.read(predictions, Prediction)), judges)
        reporting.log_ledger(key.name, ledger)
        return store.write(key, Judgement, judgements, ledger)


def _judge(settings: Settings, language: str, facts: Mapping[str, Sequence[str]]) -> judge.Judge:
    loaded = languages.load(language)
    if settings.evaluation.judge == "lexical":
        return judge.LexicalJudge(loaded, facts)
    return judge.LlmJudge(
        resources.generator(settings, settings.evaluation.judge_generation), loaded, settings.evaluation
    )
