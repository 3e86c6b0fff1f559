"""What Prefect adds: a flow of 100 shards of a second each over the same work in as many threads without it."""

import tempfile
import time
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from ditto_core import configuration
from ditto_core.ledger import Ledger
from ditto_core.records import Section
from ditto_core.settings import Settings
from ditto_core.shards import ShardKey, ShardRef, ShardStore
from flows.server import prefect_server

_SHARDS = 100
_SECONDS = 1.0
_ROWS = [Section("heading", "text")] * 100


def _work(_store: ShardStore) -> tuple[Iterable[Section], Ledger]:
    time.sleep(_SECONDS)
    return _ROWS, Ledger(len(_ROWS), len(_ROWS))


def _keys(run: str) -> list[ShardKey]:
    return [ShardKey("bench", run, f"en-{number:04d}", "inputs") for number in range(_SHARDS)]


def _without(settings: Settings, threads: int) -> float:
    store = ShardStore(Path(settings.data_root))
    started = time.perf_counter()
    with ThreadPoolExecutor(threads) as pool:
        list(pool.map(lambda key: store.write(key, Section, *_work(store)), _keys("without")))
    return time.perf_counter() - started


def _with(settings: Settings) -> float:
    from flows import stage
    from tasks import policies

    @policies.shard_task(name="bench")
    def shard(key: ShardKey, settings: Settings) -> ShardRef:
        return policies.compute_once(key, settings, Section, _work)

    @stage.stage_flow("bench")
    def bench(settings: Settings) -> dict[str, Any]:
        return stage.gather("bench", {key.name: stage.submit(shard, key, settings) for key in _keys("with")})

    started = time.perf_counter()
    bench(settings)
    return time.perf_counter() - started


def rows() -> list[tuple[str, float, str]]:
    """The row of the table."""
    with tempfile.TemporaryDirectory() as folder, prefect_server(Path(folder)):
        from tasks.resources import SHARDS_AT_ONCE

        settings = configuration.load("demo", data_root=folder)
        ratio = _with(settings) / _without(settings, SHARDS_AT_ONCE)
    return [(f"flow of {_SHARDS} shards of {_SECONDS:.0f} s over the same work without Prefect", ratio, "at most 1.1")]
