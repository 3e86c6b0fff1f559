"""Every flow as a deployment, served by one process: what `ditto serve` runs on a laptop."""

from typing import Any

from prefect import Flow, serve
from prefect.client.orchestration import get_client
from prefect.deployments.runner import RunnerDeployment
from prefect.exceptions import ObjectNotFound
from prefect.schedules import Cron, Schedule
from prefect.types.entrypoint import EntrypointType

from ditto_core.settings import Settings
from flows.ablation import ablate
from flows.evaluation import leaderboard
from flows.janitor import janitor
from flows.matrix import matrix
from flows.nightly import nightly
from flows.pipeline import STAGES, pipeline

NIGHTLY = "30 2 * * *"
"""Half past two at night; off until someone switches it on in the UI."""
JANITOR = "*/10 * * * *"
"""Every ten minutes: a run whose process is gone is not shown as running for longer."""
_CHOSEN_IN_THE_UI = ("schedules", "paused", "concurrency_limit", "concurrency_options")


def serve_flows(settings: Settings) -> None:
    """Register a deployment per flow, with these settings as the form's defaults, and run what is asked for.

    A deployment that the server knows from earlier keeps what was chosen for it in the UI, its schedules above all.
    """
    parameters = {"settings": settings.model_dump(mode="json")}
    deployments = [_deployment(flow, parameters) for flow in (*STAGES, pipeline, leaderboard, matrix, ablate)]
    deployments.append(_deployment(nightly, parameters, Cron(NIGHTLY, timezone="UTC", active=False)))
    deployments.append(_deployment(janitor, parameters, Cron(JANITOR, timezone="UTC")))
    serve(*deployments, pause_on_shutdown=False)


def _deployment(flow: Flow[..., Any], parameters: dict[str, Any], schedule: Schedule | None = None) -> RunnerDeployment:
    known = _is_registered(f"{flow.name}/{flow.name}")
    made = flow.to_deployment(
        name=flow.name,
        parameters=parameters,
        tags=["ditto"],
        schedule=None if known else schedule,
        entrypoint_type=EntrypointType.MODULE_PATH,  # a path of a file would be looked for below the working directory
    )
    assert isinstance(made, RunnerDeployment)  # a coroutine only inside an event loop
    if known:
        # Prefect sends all fields that are set, be it to nothing, and the server then forgets its own.
        made.model_fields_set.difference_update(_CHOSEN_IN_THE_UI)
    return made


def _is_registered(name: str) -> bool:
    with get_client(sync_client=True) as client:
        try:
            client.read_deployment_by_name(name)
        except ObjectNotFound:
            return False
    return True
