"""nightly: the dataset again from what changed at the source, as a dated version beside the earlier ones.

What did not change answers from its shards: a night without change calls no model and loads none.
"""

import time
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated

from prefect.artifacts import create_markdown_artifact
from prefect.runtime import flow_run
from pydantic import Field

from ditto_core.dataset import versions
from ditto_core.errors import DittoError
from ditto_core.settings import Settings
from ditto_core.shards import locked
from flows import stage
from flows.dataset import assemble
from flows.knowledge import asked_anew, collect
from flows.simulation import simulate
from tasks import handover, knowledge, recipes
from tasks.nightly import record_version, remove_abandoned_drafts


class NightFailed(DittoError):
    """A night did not come to its end; the last good version is where it was."""


@stage.stage_flow("nightly")
def nightly(settings: Settings, keep: Annotated[int, Field(ge=1, description="Versions that stay.")] = 7) -> stage.StageResult:
    """Regenerate the dataset from what changed at the source; two nights never overlap.

    Raises:
        InvalidInput: Another night is still at work.
        NightFailed: Says what failed, which version is still the latest, and what to do.
    """
    started, root = time.monotonic(), Path(settings.data_root)
    busy = f"another night is still at work in {settings.data_root!r}; this one ends here and changes nothing"
    with locked(root / "nightly.lock", busy):
        try:
            remove_abandoned_drafts(root)
            anew = asked_anew(settings)
            results = [stage.run_part(each, anew) for each in (collect, simulate, assemble)]
            made = _version(settings, results)
            version, summary = record_version.with_options(task_run_name="version")(settings, made, keep)
            knowledge.keep_answers(settings, anew)
        except DittoError as error:
            raise NightFailed(f"{error}\n{_remedy(root)}") from error
    create_markdown_artifact((root / version.folder / "CHANGELOG.md").read_text("utf-8"), key="changelog", description=summary)
    calls = sum(result.model_calls for result in results)
    extra = {"version": version.name, "changes": summary, "rows": dict(version.rows)}
    return stage.StageResult("nightly", results[-1].ledger, calls, time.monotonic() - started, version.folder, extra)


def _version(settings: Settings, results: list[stage.StageResult]) -> versions.Version:
    """What this night made, under the day for which it was scheduled (UTC), or the newest version's if that is later."""
    root = Path(settings.data_root)
    scheduled = flow_run.scheduled_start_time or datetime.now(UTC)
    name = versions.next_name(versions.all_versions(root), scheduled.date().isoformat())
    left = {
        recipes.knowledge_recipe(settings): ("characters", "pages", "profiles"),
        recipes.simulation_recipe(settings): ("pairs", "dialogues"),
        recipes.dataset_recipe(settings): ("examples",),
    }
    shards = {
        output: [ref for refs in handover.take(settings, output, recipe, output).values() for ref in refs]
        for recipe, outputs in left.items()
        for output in outputs
    }
    # Not what this run's stage said: a late retry, whose stages do not run again, must not bring an earlier dataset back.
    dataset = handover.take_dataset(settings, recipes.dataset_recipe(settings))
    lost = {result.stage: {**result.ledger.failed, **result.ledger.filtered} for result in results}
    return versions.Version(name, dataset.folder, dataset.rows, lost, shards)


def _remedy(root: Path) -> str:
    latest = next(reversed(versions.all_versions(root)), None)
    kept = f"{latest.folder} is still the latest version" if latest else "There is no version yet"
    return f"{kept}. Retry this run in the UI or run `ditto nightly` again: only what failed is made again."
