"""Tokens per second of our fine-tuning over those of a plain TRL script, on the same rows and the same model."""

import json
import subprocess
import sys
import tempfile
from pathlib import Path

from ditto_core.training import launch
from ditto_core.training.run import TEMPLATE
from tests.fixtures.sft_world import conversations, make_model, spec, write

_STEPS, _BATCH, _PASSES = 60, 8, 2


def speed_ratio() -> float:
    """Ours over theirs; both from the first step to the last, loading and writing left out."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        make_model(folder / "model")
        write(folder / "train.parquet", conversations(400, turns=5))
        write(folder / "validation.parquet", conversations(4))
        script = Path(__file__).parents[1] / "fixtures/plain_trl.py"
        numbers = map(str, (_STEPS, _BATCH, _PASSES))
        command = [sys.executable, str(script), str(folder / "model"), str(folder / "train.parquet"), str(TEMPLATE), *numbers]
        done = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True, cwd=folder)
        plain = json.loads(done.stdout.splitlines()[-1])["tokens_per_second"]
        speeds: list[float] = []
        batches = {"max_steps": _STEPS, "device_batch": _BATCH, "global_batch": _BATCH * _PASSES}
        wanted = spec(folder, "ours", **batches, max_length=400, save_steps=_STEPS)
        launch.fine_tune(wanted, lambda progress: speeds.append(progress.tokens_per_second))
    return speeds[-1] / plain
