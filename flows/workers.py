"""Where shards are worked on: in threads of the flow's process, or on a Dask cluster, as the setting `dask` says."""

from collections.abc import Iterable
from contextlib import ExitStack
from typing import Any

from prefect.futures import PrefectFuture
from prefect.task_runners import TaskRunner, ThreadPoolTaskRunner
from prefect.tasks import Task

from ditto_core.settings import Settings
from tasks import resources


class Workers(TaskRunner[PrefectFuture[Any]]):
    """Runs shard tasks where their settings say: Prefect wants a runner before there are settings, so the first task decides."""

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self._stack = ExitStack()
        self._chosen: TaskRunner[Any] | None = None

    def duplicate(self) -> "Workers":
        """Another one that has not chosen yet."""
        return Workers()

    def submit(
        self,
        task: Task[Any, Any],
        parameters: dict[str, Any],
        wait_for: Iterable[PrefectFuture[Any]] | None = None,
        dependencies: dict[str, set[Any]] | None = None,
    ) -> PrefectFuture[Any]:
        """Start a task that has a parameter `settings`.

        Raises:
            InvalidInput: There is no cluster at the address.
        """
        if self._chosen is None:
            self._chosen = self._stack.enter_context(_runner(parameters["settings"]))
        started: PrefectFuture[Any] = self._chosen.submit(task, parameters, wait_for, dependencies)
        return started

    def __exit__(self, *args: Any) -> None:
        """Let the chosen one go first."""
        self._stack.close()
        super().__exit__(*args)


def _runner(settings: Settings) -> TaskRunner[Any]:
    if not settings.dask:
        return ThreadPoolTaskRunner(max_workers=resources.SHARDS_AT_ONCE)
    from flows.cluster import Cluster  # takes seconds to import

    return Cluster(settings.dask)
