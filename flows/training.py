"""train: fine-tune the seed LLM on the dataset, in a process of its own."""

import time
from dataclasses import asdict
from pathlib import Path

from prefect.artifacts import create_image_artifact, create_markdown_artifact

from ditto_core.ledger import Ledger
from ditto_core.recipe import digest
from ditto_core.settings import Settings
from flows import stage
from tasks import handover, recipes, resources, training
from tasks.reporting import picture


@stage.stage_flow("train")
def train(settings: Settings) -> stage.StageResult:
    """Fine-tune the seed LLM with the profiles taken away."""
    started = time.monotonic()
    dataset = handover.take_dataset(settings, recipes.dataset_recipe(settings))
    recipe = recipes.training_recipe(settings)
    resources.release()  # the engine's memory is the trainer's now
    result = training.fine_tune.with_options(task_run_name="fine-tune")(settings, digest([recipe, dataset.digest]), dataset)
    handover.leave_value(settings, "model", recipe, {"folder": result.folder, "losses": result.losses, "dataset": dataset.folder})
    rows = dataset.rows["train"]
    create_markdown_artifact(
        f"{result.steps} steps on {rows} conversations, loss {result.losses[-1][1]:.4f}, validation loss "
        f"{result.eval_loss}, {result.trained_token_share:.0%} of tokens trained\n\n`{result.folder}`",
        key="training",
    )
    create_image_artifact(picture(Path(result.curve).read_bytes(), "png"), key="loss", description="Loss by step")
    return stage.StageResult(
        "train",
        Ledger(inputs=rows, ok=rows),
        0,
        time.monotonic() - started,
        result.folder,
        {"steps": result.steps, "eval_loss": result.eval_loss, "weights": asdict(result.identity)["weights"]},
    )
