"""Task of the training stage: one fine-tuning run in its own process."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from prefect import get_run_logger, task
from prefect.cache_policies import NO_CACHE

from ditto_core.dataset.publish import DatasetRef
from ditto_core.errors import InvalidInput
from ditto_core.generation.local_model import model_folder
from ditto_core.settings import Settings
from ditto_core.training import launch
from ditto_core.training.run import TrainingResult, TrainingSpec
from tasks import handover, recipes, reporting, resources


def tuned_model(settings: Settings) -> Mapping[str, Any]:
    """What `train` left for these settings: "folder", "losses", and "dataset", the folder that it learned from.

    Raises:
        InvalidInput: Nothing yet, or it was trained on an earlier dataset than the one that is there now.
    """
    tuned = handover.take_value(settings, "model", recipes.training_recipe(settings), "train")
    made = handover.take_value(settings, "dataset", recipes.dataset_recipe(settings), "assemble")
    if tuned.get("dataset") != made["folder"]:
        raise InvalidInput(
            f"the model in {tuned['folder']!r} was trained on another dataset than {made['folder']!r}, which is newer. "
            f"Run `ditto train` with the same settings first."
        )
    return tuned


@task(name="fine-tune", cache_policy=NO_CACHE)  # launch.fine_tune finds a finished run by its digest itself
def fine_tune(settings: Settings, name: str, dataset: DatasetRef) -> TrainingResult:
    """Fine-tune the seed LLM on the dataset; resumes from the last checkpoint of a killed run."""
    root = Path(settings.data_root)
    named = resources.seed_llm(settings)
    seed = resources.resolve_model(named)
    folder = root / dataset.folder
    spec = TrainingSpec(
        model=str(model_folder(seed.model, seed.revision)),
        base=named.model,
        train=str(folder / "train.parquet"),
        validation=str(folder / "validation.parquet") if dataset.rows.get("validation") else "",
        output=str(root / "models" / name[:12]),
        settings=settings.training,
    )
    logger = get_run_logger()
    meter = reporting.Meter("fine-tune", settings.training.max_steps)

    def report(progress: launch.Progress) -> None:
        speed = f"{progress.tokens_per_second:.0f} tokens per second, about {progress.eta_seconds:.0f} s left"
        meter.step(progress.step, f"loss {progress.loss:.4f}, {speed}")
        rate = f"learning rate {progress.learning_rate:.2e}"
        logger.info("step %d of %d: loss %.4f, %s, %s", progress.step, progress.of, progress.loss, rate, speed)

    result = launch.fine_tune(spec, report, logger.info)
    logger.info("model %s after %d steps, validation loss %s", result.folder, result.steps, result.eval_loss)
    return result
