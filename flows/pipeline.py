"""pipeline: all stages, one after the other. nightly: the same, on a schedule."""

from prefect import flow

from ditto_core.settings import Settings
from flows.dataset import assemble
from flows.evaluation import evaluate
from flows.knowledge import asked_anew, collect
from flows.simulation import simulate
from flows.stage import StageResult
from flows.training import train
from tasks import resources

STAGES = (collect, simulate, assemble, train, evaluate)
"""In the order in which they run."""


@flow(name="pipeline")
def pipeline(settings: Settings) -> list[StageResult]:
    """Collect, simulate, assemble, train and evaluate; a stage that is done for these settings answers from its shards."""
    resources.identify(resources.seed_llm(settings))  # what cannot be tuned is found out before anything is paid for
    return [stage.with_options(flow_run_name=stage.name)(settings) for stage in STAGES]


@flow(name="nightly")
def nightly(settings: Settings) -> list[StageResult]:
    """Regenerate the dataset from what changed at the source since the last night."""
    anew = asked_anew(settings)
    return [stage.with_options(flow_run_name=stage.name)(anew) for stage in STAGES[:3]]
