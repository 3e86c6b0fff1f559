"""Caching and retries of tasks.

A shard's task is cached under (stage, recipe, name, inputs), all of them strings. Before Prefect looks the key up, the file that
the cached reference names is verified; if it is gone or altered, the record is dropped, so that the lookup misses.
"""

from pathlib import Path
from typing import Any

from prefect.cache_policies import CachePolicy
from prefect.context import TaskRunContext
from prefect.tasks import Task, exponential_backoff

from ditto_core.errors import SourceUnavailable
from ditto_core.recipe import digest
from ditto_core.settings import Settings
from ditto_core.shards import ShardKey, ShardStore

RETRIES = 3
RETRY_DELAYS = exponential_backoff(backoff_factor=2)


def results_folder(settings: Settings) -> Path:
    """Where Prefect keeps the references that tasks returned."""
    return Path(settings.data_root).absolute() / "prefect" / "results"


class VerifiedShard(CachePolicy):
    """Cache by `ShardKey`, and only while the shard's file is intact.

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
        if record.exists() and ShardStore(Path(settings.data_root)).find(key) is None:
            record.unlink(missing_ok=True)
        return name


def is_transient(_task: Task[Any, Any], _run: Any, state: Any) -> bool:
    """Retry what the same call may survive later, nothing else."""
    try:
        state.result()
    except SourceUnavailable:
        return True
    except Exception:  # any other fault is not retried; Prefect records it as the task's failure
        return False
    return False
