"""Steps of `prefect deploy` that prefect.yaml names: each runs before a deployment is sent to the server."""

from pathlib import Path

from prefect.client.orchestration import get_client
from prefect.client.schemas.actions import DeploymentScheduleCreate
from prefect.client.schemas.schedules import CronSchedule
from prefect.exceptions import ObjectNotFound


def shared_data_root(path: str) -> dict[str, str]:
    """Hand a data root on, or end `prefect deploy`: a worker starts in "/" and would take any but an absolute path from there."""
    if not Path(path).is_absolute():
        # Whatever else is raised here, Prefect prints with a traceback.
        raise SystemExit(
            f"error: DITTO_DATA_ROOT is {path!r}, but must be an absolute path, since workers start elsewhere. Set it where "
            f"`prefect deploy` runs, to the folder that they share, such as /data."
        )
    return {"data_root": path}


def first_schedule(flow: str, cron: str, timezone: str, active: bool) -> None:
    """Create a flow's deployment with this schedule where the server has none; `prefect deploy` then fills in the rest.

    Schedules that stand in prefect.yaml itself are sent each time, and the server forgets those that were chosen in the UI.
    """
    with get_client(sync_client=True) as client:
        try:
            client.read_deployment_by_name(f"{flow}/{flow}")
        except ObjectNotFound:
            schedule = DeploymentScheduleCreate(schedule=CronSchedule(cron=cron, timezone=timezone), active=active)
            # Paused until it is whole: `prefect deploy` resumes what it sends.
            client.create_deployment(client.create_flow_from_name(flow), flow, schedules=[schedule], paused=True)
