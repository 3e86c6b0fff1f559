"""Tokens per second of our fine-tuning over those of a plain TRL script, on the same rows and the same model."""

import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path

from ditto_core.training import launch
from ditto_core.training.run import TEMPLATE
from tests.fixtures.sft_world import conversations, make_model, spec, write

_STEPS, _BATCH, _PASSES = 200, 8, 2


def speed_ratio() -> float:
    """Ours over theirs; both from the first step to the last, loading and writing left out.

    Both run at once on as many threads, so that whatever else the machine does slows both.
    """
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        make_model(folder / "model")
        write(folder / "train.parquet", conversations(400, turns=5))
        write(folder / "validation.parquet", conversations(4))
        script = Path(__file__).parents[1] / "fixtures/plain_trl.py"
        numbers = map(str, (_STEPS, _BATCH, _PASSES))
        command = [sys.executable, str(script), str(folder / "model"), str(folder / "train.parquet"), str(TEMPLATE), *numbers]
        threads = {"OMP_NUM_THREADS": str(len(os.sched_getaffinity(0))), "OMP_WAIT_POLICY": "passive"}
        theirs = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, cwd=folder, env={**os.environ, **threads})
        speeds: list[float] = []
        batches = {"max_steps": _STEPS, "device_batch": _BATCH, "global_batch": _BATCH * _PASSES}
        wanted = spec(folder, "ours", **batches, max_length=400, save_steps=_STEPS)
        launch.fine_tune(wanted, lambda progress: speeds.append(progress.tokens_per_second))
        told, _ = theirs.communicate()
        plain = json.loads(told.splitlines()[-1])["tokens_per_second"]
    return speeds[-1] / plain
