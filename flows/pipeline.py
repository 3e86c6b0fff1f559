"""pipeline: all stages, one after the other."""

from collections.abc import Sequence

from ditto_core.settings import Settings
from flows import stage
from flows.dataset import assemble
from flows.evaluation import evaluate
from flows.knowledge import collect
from flows.simulation import simulate
from flows.training import train
from tasks import resources

STAGES = (collect, simulate, assemble, train, evaluate)
"""In the order in which they run."""


@stage.stage_flow("pipeline")
def pipeline(settings: Settings, refresh: Sequence[str] = ()) -> list[stage.StageResult]:
    """Collect, simulate, assemble, train and evaluate; a stage that is done for these settings answers from its shards."""
    resources.identify(resources.seed_llm(settings))  # what cannot be tuned is found out before anything is paid for
    made = [stage.run_part(each, settings, refresh) for each in (collect, simulate, assemble)]
    return made + [stage.run_part(each, settings) for each in (train, evaluate)]
