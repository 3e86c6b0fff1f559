"""Tasks of the dataset stage: examples shard by shard, then one folder that `datasets` loads."""

from collections.abc import Mapping, Sequence
from pathlib import Path

from prefect import get_run_logger, task
from prefect.cache_policies import NO_CACHE

from ditto_core import languages
from ditto_core.dataset import examples, publish
from ditto_core.evaluation import wikiroleeval
from ditto_core.ledger import Ledger
from ditto_core.records import Dialogue, Example, Place
from ditto_core.settings import Settings
from ditto_core.shards import ShardKey, ShardRef, ShardStore, write_text
from tasks import policies, reporting


@task(name="examples", cache_policy=policies.VerifiedShard(), persist_result=True, result_serializer="json")
def assemble_examples(key: ShardKey, settings: Settings, language: str, dialogues: ShardRef, pairs: ShardRef) -> ShardRef:
    """Turn the sessions of one shard into rows of the dataset."""
    store = ShardStore(Path(settings.data_root))
    with store.exclusive(key):
        done = store.find(key)
        if done is not None:
            return done
        get_run_logger().info("%s: %d sessions", key.name, dialogues.rows)
        others = [(place.role, place.label, place.kind) for place in store.read(pairs, Place)]
        rows, ledger = examples.assemble(store.read(dialogues, Dialogue), others, languages.load(language), settings.dataset)
        reporting.log_ledger(key.name, ledger)
        return store.write(key, Example, rows, ledger)


@task(name="publish", cache_policy=NO_CACHE)
def publish_dataset(
    settings: Settings, recipe: str, shards: Sequence[ShardRef], ledgers: Mapping[str, Ledger]
) -> publish.DatasetRef:
    """Write the dataset folder with its card; one that is there and whole is left as it is."""
    store = ShardStore(Path(settings.data_root))
    shown = settings.model_dump(mode="json", exclude={"data_root", "memo_url"})
    ref = publish.publish(store, recipe, shards, ledgers, shown)
    tests = [example for shard in shards for example in store.read(shard, Example) if example.split == "test"]
    write_text(store.data_root / ref.folder / "test.jsonl", wikiroleeval.write_test(tests))
    get_run_logger().info("dataset %s: %s", ref.folder, ref.rows)
    return ref
