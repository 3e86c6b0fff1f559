"""train: fine-tune the seed LLM on the dataset, in a process of its own."""

import time
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from statistics import fmean

from prefect.artifacts import create_image_artifact, create_markdown_artifact

from ditto_core.ledger import Ledger
from ditto_core.recipe import digest
from ditto_core.settings import Settings
from flows import stage
from tasks import handover, recipes, resources, training

_BLOCKS = "▁▂▃▄▅▆▇█"
_COLUMNS = 60


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
        f"{result.eval_loss}, {result.trained_token_share:.0%} of tokens trained\n\n`{_curve(result.losses)}`\n\n"
        f"`{result.folder}`",
        key="training",
    )
    create_image_artifact(Path(result.curve).absolute().as_uri(), key="loss", description="Loss by step")
    return stage.StageResult(
        "train",
        Ledger(inputs=rows, ok=rows),
        0,
        time.monotonic() - started,
        result.folder,
        {"steps": result.steps, "eval_loss": result.eval_loss, "weights": asdict(result.identity)["weights"]},
    )


def _curve(losses: Sequence[tuple[int, float]]) -> str:
    """The losses as a row of blocks, highest to lowest: an artifact's text shows in every browser, a file's picture may not."""
    values = [
        fmean(loss for _, loss in losses[start : start + -(-len(losses) // _COLUMNS)])
        for start in range(0, len(losses), -(-len(losses) // _COLUMNS))
    ]
    least, span = min(values), max(values) - min(values) or 1.0
    return "".join(_BLOCKS[round((value - least) / span * (len(_BLOCKS) - 1))] for value in values)
