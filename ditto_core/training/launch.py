"""Launch: one fine-tuning run in a process group of its own, so that the caller stays free of torch and of its memory.

In:     a `TrainingSpec`.
Out:    what `run` describes. A run whose digest stands in training.json already is not run again; one that was killed
        goes on from its last checkpoint.
Source: paper section 3.4 and appendix C.

Example of the lines that `ditto_core.training.sft` prints, one a step, with notes between them:

    {"step": 40, "of": 300, "loss": 1.73, "learning_rate": 2e-06, "tokens_per_second": 5120.4, "eta_seconds": 1630.2}
    {"note": "goes on from step 40"}
"""

import fcntl
import json
import os
import signal
import subprocess
import threading
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

import psutil

from ditto_core.errors import BrokenPromise, DittoError, InvalidInput, SourceUnavailable
from ditto_core.shards import explained, write_text
from ditto_core.training import devices
from ditto_core.training.run import TrainingResult, TrainingSpec, accumulation, dumps, finished, plan

STOP_WITH_PARENT = "--stop-with-parent"
"""Tells the training process to end when its standard input closes, as it does when the caller is killed."""
_ERRORS: dict[str, type[DittoError]] = {"InvalidInput": InvalidInput, "BrokenPromise": BrokenPromise}


@dataclass(frozen=True, slots=True)
class Progress:
    """One step of the optimizer.

    Attributes:
        step: From 1.
        of: Steps in all.
        loss: Mean negative log-likelihood per trained token, in nats.
        learning_rate: Of this step.
        tokens_per_second: Since this process began to train, padding left out.
        eta_seconds: Until the last step.
    """

    step: int
    of: int
    loss: float
    learning_rate: float
    tokens_per_second: float
    eta_seconds: float


def _unheard(_note: str) -> None:
    """Nobody listens."""


def fine_tune(
    spec: TrainingSpec, on_progress: Callable[[Progress], None], on_note: Callable[[str], None] = _unheard
) -> TrainingResult:
    """Fine-tune, or return at once if this very run has been finished before.

    Waits while another process trains into the same output. When interrupted, or when `on_progress` raises, the
    training processes are killed; the next call resumes from the last complete checkpoint.

    Args:
        on_progress: Called after each step.
        on_note: Called with what is worth a line in the log: batches, devices, cut rows, where it goes on.

    Raises:
        InvalidInput: Model, files or settings do not fit; also when a GPU's memory is too small for them.
        BrokenPromise: The loss mask is not what it must be; nothing was trained.
        SourceUnavailable: The training process was killed or broke down; the same call goes on from its checkpoint.
    """
    run = plan(spec)
    with _exclusive(Path(spec.output)) as lock:
        done = finished(run)
        if done is not None:
            return done
        chosen = devices.choose(spec.settings)
        accumulation(spec.settings, chosen.processes)
        specification = Path(spec.output) / "spec.json"
        write_text(specification, dumps(run))
        command = devices.command(chosen, "ditto_core.training.sft", [str(specification), STOP_WITH_PARENT])
        _train(command, lock, on_progress, on_note)
        done = finished(run)
    if done is None:
        raise BrokenPromise(
            f"the training process ended without an error, but {str(run.record)!r} does not describe "
            f"{str(run.model)!r}. Was the output folder changed meanwhile? Run the command again."
        )
    return done


def _train(command: list[str], lock: int, on_progress: Callable[[Progress], None], on_note: Callable[[str], None]) -> None:
    """Run the command to its end; pass its progress and notes on; raise what went wrong."""
    process = subprocess.Popen(
        command,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        encoding="utf-8",
        errors="replace",
        start_new_session=True,
        pass_fds=(lock,),  # the lock stays held until the training has ended, even if this process is killed
    )
    assert process.stdin is not None
    assert process.stdout is not None
    assert process.stderr is not None
    tail: deque[str] = deque(maxlen=30)
    reader = threading.Thread(target=_keep, args=(process.stderr, tail), daemon=True)
    reader.start()
    problem: dict[str, Any] = {}
    try:
        for line in process.stdout:
            message = _message(line)
            if "error" in message:
                problem = problem or message
            elif "step" in message:
                on_progress(Progress(**message))
            elif "note" in message:
                on_note(str(message["note"]))
        code = process.wait()
    finally:
        process.stdin.close()
        _kill(process)
        reader.join(timeout=10)
        process.stdout.close()
        process.stderr.close()
    if code:
        raise _failure(code, problem, list(tail))


def _failure(code: int, problem: dict[str, Any], tail: list[str]) -> DittoError:
    if problem:
        return _ERRORS.get(problem.get("kind", ""), SourceUnavailable)(str(problem["error"]))
    # accelerate reports the end of its child in words only: subprocess's "Signals.SIGKILL", torchrun's "exitcode: -9".
    text = "".join(tail)
    if code == -signal.SIGKILL or "SIGKILL" in text or "exitcode  : -9" in text:
        return SourceUnavailable(
            "the training process was killed (SIGKILL), most likely because the machine ran out of memory. Lower "
            "training.device_batch or training.max_length, or set training.gradient_checkpointing=true; the next run "
            "goes on from the last checkpoint."
        )
    return SourceUnavailable(
        f"the training process ended with exit code {code}; the next run goes on from the last checkpoint. Its last "
        f"lines were:\n{text.strip() or '(none)'}"
    )


def _message(line: str) -> dict[str, Any]:
    """A line of the training process as JSON; libraries print other lines too, which are left out."""
    try:
        message = json.loads(line) if line.startswith("{") else {}
    except ValueError:
        return {}
    return message if isinstance(message, dict) else {}


def _keep(stream: IO[str], tail: deque[str]) -> None:
    tail.extend(stream)


def _kill(process: "subprocess.Popen[str]") -> None:
    """End it and all below it: torchrun gives its workers sessions of their own, and one that hangs sees no closed input."""
    started = []
    with suppress(psutil.Error):
        started = psutil.Process(process.pid).children(recursive=True)
    with suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    for one in started:
        with suppress(psutil.Error):
            one.kill()
    process.wait()


@contextmanager
def _exclusive(output: Path) -> Iterator[int]:
    """Hold the output folder's lock and give its descriptor. The kernel drops it with its last holder."""
    with explained(output):
        output.mkdir(parents=True, exist_ok=True)
        descriptor = os.open(output / ".lock", os.O_CREAT | os.O_RDWR | os.O_CLOEXEC, 0o644)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield descriptor
    finally:
        os.close(descriptor)
