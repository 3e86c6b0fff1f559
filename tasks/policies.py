"""Caching, retries and single-handedness of tasks.

A shard's task is cached under (stage, recipe, name, inputs), all of them strings. Before Prefect looks the key up, the file that
the cached reference names is verified; if it is gone or altered, the record is dropped, so that the lookup misses.
"""

from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any, ParamSpec, TypeVar

from prefect import task
from prefect.cache_policies import NO_CACHE, CachePolicy
from prefect.context import TaskRunContext
from prefect.tasks import Task, exponential_backoff

from ditto_core.errors import DittoError, SourceUnavailable
from ditto_core.ledger import Ledger
from ditto_core.recipe import digest
from ditto_core.settings import Settings
from ditto_core.shards import ShardKey, ShardRef, ShardStore
from tasks import leases, reporting

P = ParamSpec("P")
R = TypeVar("R")
Record = TypeVar("Record")

ASKS_MODEL = "model"
"""Tag of tasks that ask a model: a limit on it in Prefect bounds them, and a cluster gives them a GPU."""
_RETRIES = 3


def results_folder(settings: Settings) -> Path:
    """Where Prefect keeps the references that tasks returned."""
    return Path(settings.data_root).absolute() / "prefect" / "results"


class VerifiedShard(CachePolicy):
    """Cache by `ShardKey`, and only while the reference that was kept is that of the shard's file, and the file intact.

    With a shared store another machine may have finished the shard since: its file has other bytes then.

    Reads the task's parameters `key` and `settings`. Never raises: Prefect would then run uncached in silence.
    """

    def compute_key(
        self,
        task_ctx: TaskRunContext,
        inputs: dict[str, Any],
        flow_parameters: dict[str, Any],
        **kwargs: Any,
    ) -> str | None:
        """The cache key: 64 hex digits."""
        key, settings = inputs["key"], inputs["settings"]
        assert isinstance(key, ShardKey)
        assert isinstance(settings, Settings)
        name = digest(key)
        record = results_folder(settings) / name
        if record.exists() and not _is_of(record, key, settings):
            record.unlink(missing_ok=True)
        return name


def _is_of(record: Path, key: ShardKey, settings: Settings) -> bool:
    try:
        found = ShardStore.of(settings).find(key)
        return found is not None and found.sha256 in record.read_text("utf-8")
    except (DittoError, OSError):  # of the shared store, say; the task meets it again, and is then retried or fails by that name
        return False


def is_transient(_task: Task[Any, Any], _run: Any, state: Any) -> bool:
    """Retry what the same call may survive later, nothing else."""
    try:
        state.result()
    except SourceUnavailable:
        return True
    except Exception:  # any other fault is not retried; Prefect records it as the task's failure
        return False
    return False


def source_task(name: str) -> Callable[[Callable[P, R]], Task[P, R]]:
    """A task that asks a source every time; what the source answers is addressed by content."""
    return task(
        name=name,
        cache_policy=NO_CACHE,
        retries=_RETRIES,
        retry_delay_seconds=exponential_backoff(backoff_factor=2),
        retry_condition_fn=is_transient,
    )


def shard_task(name: str, *, asks_model: bool = False) -> Callable[[Callable[P, R]], Task[P, R]]:
    """A task that makes one shard: its parameters `key` and `settings` say which, and where."""
    return task(
        name=name,
        tags={ASKS_MODEL} if asks_model else None,
        cache_policy=VerifiedShard(),
        persist_result=True,
        result_serializer="json",
        retries=_RETRIES,
        retry_delay_seconds=exponential_backoff(backoff_factor=2),
        retry_condition_fn=is_transient,
    )


def compute_once(
    key: ShardKey,
    settings: Settings,
    record: type[Record],
    compute: Callable[[ShardStore], tuple[Iterable[Record], Ledger]],
) -> ShardRef:
    """Compute and write a shard unless it is there; while one process is at it, others wait and then find it.

    Raises:
        Superseded: This process stood still for so long that another took the shard over; nothing is written.
    """
    store = ShardStore.of(settings)
    with leases.hold(store.lock_path(key)) as lease:
        done = store.find(key)
        if done is not None:
            return done
        rows, ledger = compute(store)
        ref = store.write(key, record, _while_mine(rows, lease), ledger)
        reporting.log_losses(key.name, ledger, store.losses(ref))
        return ref


def _while_mine(rows: Iterable[Record], lease: leases.Lease) -> Iterator[Record]:
    """The rows; a lost lease is found out after the last, before the file that they went to gets its name."""
    yield from rows
    lease.check()
