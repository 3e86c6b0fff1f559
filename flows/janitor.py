"""janitor: flow runs whose process is gone are marked Crashed, so that their slots are free and a retry is one click away.

Prefect's own server never does it: a killed run stays "Running". Every flow run of ours holds a lease below the data root; a
lease without a living holder is a dead run. The locks of its shards need no cleaning: they are leases too, and are taken over.
"""

import time
from collections.abc import Iterator
from uuid import UUID

from prefect import get_run_logger
from prefect.client.orchestration import SyncPrefectClient, get_client
from prefect.client.schemas.filters import FlowRunFilter, FlowRunFilterId
from prefect.client.schemas.objects import FlowRun, State, TaskRun
from prefect.exceptions import ObjectNotFound
from prefect.states import Crashed

from ditto_core.ledger import Ledger
from ditto_core.settings import Settings
from flows import stage
from tasks import leases


@stage.stage_flow("janitor")
def janitor(settings: Settings) -> stage.StageResult:
    """Mark runs of killed or stopped processes as Crashed, with their task runs."""
    started = time.monotonic()
    ended = clear_dead_runs(settings)
    for name in ended:
        get_run_logger().warning("%s was dead and is marked Crashed; Retry goes on where it stopped", name)
    ledger = Ledger(inputs=len(ended), ok=len(ended))
    return stage.StageResult("janitor", ledger, 0, time.monotonic() - started, "", {"crashed": ended})


def clear_dead_runs(settings: Settings) -> list[str]:
    """Mark the runs behind dead leases as Crashed and remove the leases; returns the names of the runs."""
    ended = []
    with get_client(sync_client=True) as client:
        for path in filter(leases.is_dead, leases.runs_folder(settings).glob("*")):
            try:
                run = client.read_flow_run(UUID(path.name))
            except (ObjectNotFound, ValueError):  # of another server, or no run at all
                run = None
            if run is not None and run.state is not None and not run.state.is_final():
                _crash(client, run)
                ended.append(run.name)
            path.unlink(missing_ok=True)
    return ended


def _crash(client: SyncPrefectClient, run: FlowRun) -> None:
    state: State[None] = Crashed(message="The process of this run is gone. Retry it: what was finished is not done again.")
    for task_run in _task_runs(client, run):
        if task_run.state is not None and not task_run.state.is_final():
            client.set_task_run_state(task_run.id, state, force=True)
    client.set_flow_run_state(run.id, state, force=True)


def _task_runs(client: SyncPrefectClient, run: FlowRun) -> Iterator[TaskRun]:
    """All task runs of a flow run; the server answers with a page of them at a time, 200 by default."""
    mine, read = FlowRunFilter(id=FlowRunFilterId(any_=[run.id])), 0
    while page := client.read_task_runs(flow_run_filter=mine, offset=read):
        yield from page
        read += len(page)
