"""What all stage flows share: how shards are run side by side, and what a stage reports."""

import difflib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import wraps
from typing import Any, Concatenate, ParamSpec, TypeVar

from prefect import Flow, Task, flow, get_run_logger
from prefect.futures import PrefectFuture
from prefect.runtime import flow_run
from pydantic import TypeAdapter

from ditto_core.errors import DittoError, InvalidInput
from ditto_core.ledger import Ledger
from ditto_core.settings import Settings
from ditto_core.shards import ShardKey, ShardRef, ShardStore, read_manifest
from flows.workers import Workers
from tasks import leases, policies, resources
from tasks.handover import Shards
from tasks.reporting import describe, ledger_artifact, span

P = ParamSpec("P")
R = TypeVar("R")

_REFRESHED = ("profiles", "dialogues", "examples")
_UNANSWERED = 0.1
"""Share of a stage's rows that an engine may leave unanswered; a stage that lost more is no basis for the next."""


class ShardsFailed(DittoError):
    """Some shards of a stage failed; all others are kept. Running again recomputes the failed ones only."""


class StageFailed(DittoError):
    """All shards are there, but too little came through to go on with. Running again asks what was not answered."""


@dataclass(frozen=True, slots=True)
class StageResult:
    """What a stage flow returns, and what `--json` prints of it.

    Attributes:
        model_calls: Requests that an engine answered; what the memo answered does not count.
        output: Folder or file that the stage made, below the data root.
        extra: More for `--json`, such as scores.
    """

    stage: str
    ledger: Ledger
    model_calls: int
    seconds: float
    output: str
    extra: Mapping[str, Any] = field(default_factory=dict)

    def as_json(self) -> dict[str, Any]:
        """Plain data."""
        return {
            "stage": self.stage,
            "ledger": self.ledger.summary(),
            "model_calls": self.model_calls,
            "seconds": round(self.seconds, 3),
            "output": self.output,
            **self.extra,
        }


def stage_flow(name: str) -> Callable[[Callable[Concatenate[Settings, P], R]], Flow[Concatenate[Settings, P], R]]:
    """Make a flow of a function whose first parameter is `settings`.

    It gets the environment's secrets, and holds a lease while it runs: by that the janitor tells a dead run from a slow one.
    """

    def decorate(function: Callable[Concatenate[Settings, P], R]) -> Flow[Concatenate[Settings, P], R]:
        @wraps(function)
        def living(settings: Settings, *arguments: P.args, **named: P.kwargs) -> R:
            resources.use_environment()
            with leases.hold(leases.runs_folder(settings) / str(flow_run.id)) as lease:
                try:
                    return function(settings, *arguments, **named)
                finally:
                    lease.path.unlink(missing_ok=True)

        return flow(name=name, task_runner=Workers())(living)

    return decorate


def run_part(stage: Flow[..., StageResult], settings: Settings, *arguments: Any) -> StageResult:
    """Run a stage as part of a longer flow: named after itself, its result kept, so that a retry does not run it again.

    The result lies in Prefect's own storage: from any other folder it would not be read again (3.7).
    """
    done = stage.with_options(flow_run_name=stage.name, persist_result=True, result_serializer="json")(settings, *arguments)
    return TypeAdapter(StageResult).validate_python(done)  # what a retry reads again is plain data


def submit(
    task: Task[Any, Any],
    key: ShardKey,
    settings: Settings,
    *arguments: Any,
    roles: Sequence[str] = (),
    refresh: Sequence[str] = (),
) -> PrefectFuture[Any]:
    """Start the task of one shard; its run is named stage-language-shard, with the first and the last of its roles.

    Args:
        refresh: Names of shards that are made again though they are there.
    """
    held = f" ({span(roles)})" if roles else ""
    name = f"{task.name}-{key.name}{held}".replace("{", "{{").replace("}", "}}")  # Prefect fills names in as templates
    if f"{task.name}-{key.name}" in refresh:
        ShardStore.of(settings).discard(key)
    return task.with_options(task_run_name=name, result_storage=policies.results_folder(settings)).submit(
        key, settings, *arguments
    )


def check_refresh(settings: Settings, refresh: Sequence[str]) -> None:
    """Refuse names of shards that a run with these settings does not have.

    Raises:
        InvalidInput: Lists what the names look like.
    """
    numbers = range(settings.shards)
    known = {f"{stage}-{code}-{n:04d}" for stage in _REFRESHED for code in settings.knowledge.languages for n in numbers}
    for name in refresh:
        if name not in known:
            near = ", ".join(difflib.get_close_matches(name, known, 3) or sorted(known)[:3])
            raise InvalidInput(
                f"refresh: there is no shard {name!r} in a run with these settings; there are {len(known)}, such as {near}"
            )


def gather(stage: str, futures: Mapping[str, PrefectFuture[Any]]) -> dict[str, Any]:
    """Wait for all shards of a stage, so that one failed shard never loses another.

    Raises:
        ShardsFailed: Lists the failed shards with their errors.
    """
    done: dict[str, Any] = {}
    errors: dict[str, BaseException] = {}
    for name, future in futures.items():
        try:
            done[name] = future.result()
        except Exception as error:  # every kind of failure is listed by shard below
            errors[name] = error
    if not errors:
        return done
    distinct = {str(error): error for error in errors.values()}
    if len(distinct) == 1 and len(errors) == len(futures):
        raise next(iter(distinct.values()))
    lines = [f"  {name}: {error}" for name, error in errors.items()]
    raise ShardsFailed(
        f"{len(errors)} of {len(futures)} shards of {stage} failed, the others are kept:\n"
        + "\n".join(lines)
        + "\nRun the same command again: only these are recomputed."
    )


def ledger_of(store: ShardStore, shards: Shards) -> Ledger:
    """The sum over all shards of a stage."""
    return Ledger.total(store.ledger(ref) for refs in shards.values() for ref in refs)


def account(stage: str, store: ShardStore, shards: Mapping[str, ShardRef]) -> Ledger:
    """Add up the shards' ledgers, show them as an artifact, and check the sum. If every row was lost, the shards are discarded.

    Raises:
        StageFailed: Every row was lost, or the engine left more than a tenth of them unanswered.
    """
    ledgers = {name: store.ledger(ref) for name, ref in shards.items()}
    total = Ledger.total(ledgers.values())
    total.check()
    ledger_artifact(stage, ledgers)
    get_run_logger().info("%s: %s", stage, describe(total))
    if total.unanswered > _UNANSWERED * total.inputs:
        worst = sorted((name for name, one in ledgers.items() if one.unanswered), key=lambda name: -ledgers[name].unanswered)
        raise StageFailed(
            f"{stage}: the engine left {total.unanswered} of {total.inputs} rows unanswered; all answers are kept. What is "
            f"missing is in {len(worst)} of {len(ledgers)} shards, most in {', '.join(worst[:3])}. Read the engine's log, or "
            f"its server's, then run the same command again: only that is asked."
        )
    if total.inputs and not total.ok:
        _discard(store, shards)
        raise StageFailed(
            f"{stage}: nothing came through ({describe(total)}). The shards' logs above show examples of what was lost. Correct "
            f"the cause and run the same command again."
        )
    return total


def _discard(store: ShardStore, shards: Mapping[str, ShardRef]) -> None:
    """Have the next run make these shards again, instead of finding what a cause that was since corrected left of them."""
    for ref in shards.values():
        if manifest := read_manifest(store.path(ref.uri)):
            store.discard(ShardKey(**manifest["key"]))
