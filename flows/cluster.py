"""Shards on a Dask cluster: the processes of one or many machines that see the same memo, and the same data root or shared store.

Dask moves tasks as pickles between its own processes, so a scheduler belongs on a private network, or behind tls://.
"""

from collections.abc import Callable, Iterable
from contextlib import nullcontext
from typing import Any

import dask
from distributed import WorkerPlugin
from prefect.futures import PrefectFuture
from prefect.tasks import Task
from prefect_dask import DaskTaskRunner

from ditto_core.errors import InvalidInput
from tasks import policies, resources

_CONNECT_SECONDS = 30


class Cluster(DaskTaskRunner):  # type: ignore[misc] # as far as mypy sees it is Any
    """Prefect's runner for Dask, whose workers have the secrets of their environment, and count and free their engines with us.

    Args:
        where: "local" for a cluster of this machine that ends with the flow, or the address of a scheduler.
    """

    def __init__(self, where: str) -> None:
        place: dict[str, Any] = {"address": where}
        if where == "local":
            place = {"cluster_kwargs": {"dashboard_address": None}}
        super().__init__(client_kwargs={"timeout": _CONNECT_SECONDS}, **place)
        self._has_gpus = False

    def __enter__(self) -> "Cluster":
        """Start or find the cluster.

        Raises:
            InvalidInput: No scheduler answers at the address.
        """
        super().__enter__()
        try:
            client = self.client
        except OSError as error:
            told = f"no Dask scheduler answers at {self.address!r} (dask). Start it, or correct the address."
            raise InvalidInput(told) from error
        client.register_plugin(_Environment())
        workers = client.scheduler_info(n_workers=-1)["workers"].values()
        self._has_gpus = any("GPU" in worker["resources"] for worker in workers)
        self._exit_stack.enter_context(resources.joined(self._everywhere))
        return self

    def submit(
        self,
        task: Task[Any, Any],
        parameters: dict[str, Any],
        wait_for: Iterable[PrefectFuture[Any]] | None = None,
        dependencies: dict[str, set[Any]] | None = None,
    ) -> PrefectFuture[Any]:
        """Start a task; one that asks a model goes to a worker with the resource "GPU", if there is any."""
        needs_gpu = self._has_gpus and policies.ASKS_MODEL in task.tags
        with dask.annotate(resources={"GPU": 1 / resources.SHARDS_AT_ONCE}) if needs_gpu else nullcontext():
            started: PrefectFuture[Any] = super().submit(task, parameters, wait_for, dependencies)
        return started

    def _everywhere(self, call: Callable[[], Any]) -> list[Any]:
        """What a function returns in each worker that lives."""
        try:
            answers = self.client.run(call, on_error="return").values()
        except OSError:  # the scheduler is gone, which the shards' own errors tell
            return []
        return [answer for answer in answers if not isinstance(answer, Exception)]


class _Environment(WorkerPlugin):  # type: ignore[misc]
    """Gives a worker's process what its own environment offers, also one that was started again after a kill."""

    name = "ditto-environment"

    def setup(self, worker: Any) -> None:
        resources.use_environment()
