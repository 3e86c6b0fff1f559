"""Tokens per second of the processor of our fine-tuning over those of a plain TRL script, on the same rows and the same model.

The processor's time, not the clock's: whatever else the machine does meanwhile takes no part. Of a long and a short run each the
difference counts, so that imports, tokenising, the audit and writing are left out.
"""

import resource
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

from ditto_core.training import launch
from ditto_core.training.run import TEMPLATE
from tests.fixtures.sft_world import conversations, make_model, spec, write

_SHORT, _LONG = 20, 220
_BATCH, _PASSES = 8, 2


def speed_ratio() -> float:
    """Ours over theirs."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        make_model(folder / "model")
        write(folder / "train.parquet", conversations(400, turns=5))
        write(folder / "validation.parquet", conversations(4))
        theirs, ours = (_seconds(lambda steps, run=run: run(folder, steps)) for run in (_plain, _ours))
    return theirs / ours


def _seconds(run: Callable[[int], None]) -> float:
    """Of the processor, for the steps by which the long run is longer."""
    times = []
    for steps in (_SHORT, _LONG):
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        run(steps)
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        times.append(after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime)
    return times[1] - times[0]


def _plain(folder: Path, steps: int) -> None:
    script = Path(__file__).parents[1] / "fixtures/plain_trl.py"
    numbers = map(str, (steps, _BATCH, _PASSES))
    command = [sys.executable, str(script), str(folder / "model"), str(folder / "train.parquet"), str(TEMPLATE), *numbers]
    subprocess.run(command, check=True, stdout=subprocess.PIPE, cwd=folder)


def _ours(folder: Path, steps: int) -> None:
    batches = {"max_steps": steps, "device_batch": _BATCH, "global_batch": _BATCH * _PASSES}
    launch.fine_tune(spec(folder, f"ours-{steps}", **batches, max_length=400, save_steps=steps), lambda _: None)
