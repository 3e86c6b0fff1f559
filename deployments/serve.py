"""Every flow as a deployment, served by one process: what `ditto serve` runs on a laptop."""

from prefect import serve
from prefect.schedules import Cron

from ditto_core.settings import Settings
from flows.pipeline import STAGES, nightly, pipeline

NIGHTLY = "30 2 * * *"
"""Half past two at night; off until someone switches it on in the UI."""


def serve_flows(settings: Settings) -> None:
    """Register a deployment per flow, with these settings as the form's defaults, and run what is asked for."""
    parameters = {"settings": settings.model_dump(mode="json")}
    deployments = [
        flow.to_deployment(name=flow.name, parameters=parameters, tags=["ditto"]) for flow in (*STAGES, pipeline)
    ]
    schedule = Cron(NIGHTLY, timezone="UTC", active=False)
    deployments.append(nightly.to_deployment(name="nightly", parameters=parameters, tags=["ditto"], schedule=schedule))
    serve(*deployments, pause_on_shutdown=False)
