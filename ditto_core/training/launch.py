"""Launch: one fine-tuning run in a process group of its own, so that the caller stays free of torch and of its memory.

In:     a `TrainingSpec`: model folder, train.parquet, validation.parquet or "", output folder, settings.
Out:    OUTPUT/model, a folder that every engine loads, and OUTPUT/training.json, written last, which names the run's
        digest and the model's bytes. A run whose digest stands there already is not run again; one that was killed
        goes on from its last checkpoint.
Source: paper section 3.4 and appendix C.

Example of a progress line, as `ditto_core.training.sft` prints them:

    {"step": 40, "of": 300, "loss": 1.73, "learning_rate": 2e-06, "tokens_per_second": 5120.4, "eta_seconds": 1630.2}
"""

import fcntl
import json
import os
import signal
import subprocess
import sys
import threading
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import IO, Any

import pyarrow as pa
import pyarrow.parquet as pq
from pydantic import ValidationError

from ditto_core.errors import BrokenPromise, DittoError, InvalidInput, SourceUnavailable
from ditto_core.recipe import ModelIdentity, file_digest, model_identity, stage_recipe
from ditto_core.settings import TrainingSettings
from ditto_core.shards import file_sha256, write_text

TEMPLATE = Path(__file__).with_name("chatml.jinja")
"""Our chat template: ChatML with markers around what the assistant says."""
STOP_WITH_PARENT = "--stop-with-parent"
"""Tells the training process to end when its standard input closes, as it does when the caller is killed."""
_UNSHAPING = {"save_steps", "audit_rows"}
_GPU_DEVICES = ("/dev/nvidiactl", "/dev/kfd", "/dev/dxg")
_ERRORS: dict[str, type[DittoError]] = {"InvalidInput": InvalidInput, "BrokenPromise": BrokenPromise}


@dataclass(frozen=True, slots=True)
class TrainingSpec:
    """What to train, on what, and where to.

    Attributes:
        model: Folder of the seed LLM.
        train: Parquet file with a column `messages` of {role, content}; other columns are ignored.
        validation: The same for the validation loss, or "" for none.
        output: Folder of the run; receives `model`, `training.json` and, until it ends, `checkpoints`.
        settings: Of the training stage.
    """

    model: str
    train: str
    validation: str
    output: str
    settings: TrainingSettings


@dataclass(frozen=True, slots=True)
class Run:
    """A checked spec, with the identity of what it starts from.

    Attributes:
        seed: Identity of the model folder.
        digest: Of everything that shapes the tuned model.
    """

    spec: TrainingSpec
    seed: ModelIdentity
    digest: str

    @property
    def model(self) -> Path:
        """Folder of the finished model."""
        return Path(self.spec.output) / "model"

    @property
    def record(self) -> Path:
        """The run's record; written last."""
        return Path(self.spec.output) / "training.json"

    @property
    def checkpoints(self) -> Path:
        """Folder of this run's checkpoints; another digest never resumes from them."""
        return Path(self.spec.output) / "checkpoints" / self.digest[:12]


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


@dataclass(frozen=True, slots=True)
class TrainingResult:
    """A finished run.

    Attributes:
        folder: Of the tuned model.
        identity: Digests of its files.
        steps: Optimizer steps.
        eval_loss: On the validation rows, in nats per trained token; None without validation rows.
        seconds: That the process which finished the run spent training.
        losses: (step, loss), one for each step.
        trained_token_share: Share of tokens that the loss fell on in the audited rows, 0 to 1.
    """

    folder: str
    identity: ModelIdentity
    steps: int
    eval_loss: float | None
    seconds: float
    losses: tuple[tuple[int, float], ...]
    trained_token_share: float


def fine_tune(spec: TrainingSpec, on_progress: Callable[[Progress], None]) -> TrainingResult:
    """Fine-tune, or return at once if this very run has been finished before.

    Waits while another process trains into the same output. When interrupted, or when `on_progress` raises, the
    training processes are killed; the next call resumes from the last complete checkpoint.

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
        devices = count_gpus()
        accumulation(spec.settings, max(1, devices))
        specification = Path(spec.output) / "spec.json"
        write_text(specification, dumps(run))
        _train(_command(specification, spec.settings, devices), lock, on_progress)
        done = finished(run)
    if done is None:
        raise BrokenPromise(
            f"the training process ended without an error, but {str(run.record)!r} does not describe "
            f"{str(run.model)!r}. Was the output folder changed meanwhile? Run the command again."
        )
    return done


def plan(spec: TrainingSpec) -> Run:
    """Check a spec without loading anything, and take its digest.

    Raises:
        InvalidInput: No such model or file, a file without rows or messages, or learning rates the wrong way round.
    """
    settings = spec.settings
    if settings.min_learning_rate > settings.learning_rate:
        raise InvalidInput(
            f"training.min_learning_rate is {settings.min_learning_rate:g}, above training.learning_rate "
            f"{settings.learning_rate:g}; the cosine falls from the second to the first. Exchange them."
        )
    if settings.lora_rank and find_spec("peft") is None:
        raise InvalidInput(
            f"training.lora_rank={settings.lora_rank} needs the package 'peft'. Install it with `pip install peft`, "
            f"or set training.lora_rank=0 to train all weights."
        )
    seed = model_identity(Path(spec.model))
    files = [Path(name) for name in (spec.train, spec.validation) if name]
    for path in files:
        _check_rows(path)
    shaping = settings.model_dump(exclude=_UNSHAPING)
    data = [file_sha256(path) for path in files]
    return Run(spec, seed, stage_recipe("training", shaping, seed, data, file_digest([TEMPLATE])))


def accumulation(settings: TrainingSettings, world: int) -> int:
    """Forward passes per step and device, so that all devices together see `global_batch` conversations.

    Args:
        settings: Of the training stage.
        world: Number of devices.

    Raises:
        InvalidInput: They do not divide.
    """
    passes, rest = divmod(settings.global_batch, settings.device_batch * world)
    if rest or not passes:
        raise InvalidInput(
            f"training.global_batch={settings.global_batch} is not a multiple of training.device_batch="
            f"{settings.device_batch} times {world} device(s). Choose them so that it is, such as "
            f"training.global_batch={max(1, passes) * settings.device_batch * world}."
        )
    return passes


def finished(run: Run) -> TrainingResult | None:
    """The result of this very run if it is there and its model has the bytes that the record names."""
    try:
        record = json.loads(run.record.read_text("utf-8"))
        identity = model_identity(run.model)
    except (OSError, ValueError, InvalidInput):
        return None
    if record.get("digest") != run.digest or record.get("model") != asdict(identity):
        return None
    return TrainingResult(
        folder=str(run.model),
        identity=identity,
        steps=record["steps"],
        eval_loss=record["eval_loss"],
        seconds=record["seconds"],
        losses=tuple((step, loss) for step, loss in record["losses"]),
        trained_token_share=record["trained_token_share"],
    )


def dumps(run: Run) -> str:
    """A run as the file that the training process reads."""
    plain = {
        "model": run.spec.model,
        "train": run.spec.train,
        "validation": run.spec.validation,
        "output": run.spec.output,
        "settings": run.spec.settings.model_dump(),
    }
    return json.dumps({"spec": plain, "seed": asdict(run.seed), "digest": run.digest}, indent=1) + "\n"


def loads(text: str) -> Run:
    """Read what `dumps` wrote.

    Raises:
        InvalidInput: It is something else.
    """
    try:
        plain = json.loads(text)
        settings = TrainingSettings.model_validate(plain["spec"]["settings"])
        spec = TrainingSpec(**(plain["spec"] | {"settings": settings}))
        return Run(spec, ModelIdentity(**plain["seed"]), plain["digest"])
    except (ValueError, KeyError, TypeError, ValidationError) as error:
        raise InvalidInput(f"this is not the specification of a training run: {error}") from error


def count_gpus() -> int:
    """GPUs that a training process would see; 0 on a machine without any.

    Asked in a process of its own: torch stays out of this one, and no context is left on a GPU.
    """
    if not any(Path(device).exists() for device in _GPU_DEVICES):
        return 0
    probe = [sys.executable, "-c", "import torch; print(torch.cuda.device_count())"]
    answer = subprocess.run(probe, capture_output=True, text=True, check=False)
    return int(answer.stdout) if answer.stdout.strip().isdigit() else 0


def _command(specification: Path, settings: TrainingSettings, devices: int) -> list[str]:
    """`accelerate launch`, with every choice made here so that a user's own accelerate configuration plays no part.

    Full training on several GPUs shards weights and optimizer (FSDP2): 7 billion weights in float32 with Adam's two
    moments and gradients are 112 GB, more than one card holds. TRL ships the configurations.
    """
    precision = "bf16" if settings.bf16 and devices else "no"
    if devices == 0:
        where = ["--cpu", "--num_processes", "1", "--num_machines", "1", "--dynamo_backend", "no"]
        where += ["--num_cpu_threads_per_process", str(len(os.sched_getaffinity(0)))]
    else:
        name = "single_gpu" if devices == 1 else "multi_gpu" if settings.lora_rank else "fsdp2"
        trl = find_spec("trl")
        assert trl is not None
        assert trl.origin is not None
        configuration = Path(trl.origin).with_name("accelerate_configs") / f"{name}.yaml"
        where = ["--config_file", str(configuration), "--num_processes", str(devices)]
    script = ["--module", "ditto_core.training.sft", str(specification), STOP_WITH_PARENT]
    # Threads that wait by spinning starve each other when something else wants a core: 3 to 7 times slower, seen on 2
    # cores with 1 M weights. Waiting asleep costs nothing on a quiet machine.
    return [
        "env",
        "OMP_WAIT_POLICY=passive",
        sys.executable,
        "-m",
        "accelerate.commands.launch",
        *where,
        "--mixed_precision",
        precision,
        *script,
    ]


def _train(command: list[str], lock: int, on_progress: Callable[[Progress], None]) -> None:
    """Run the command to its end; pass its progress on; raise what went wrong."""
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
        code = process.wait()
    finally:
        # torchrun gives its workers sessions of their own, so they end by their closed standard input.
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
    with suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()


def _check_rows(path: Path) -> None:
    try:
        file = pq.ParquetFile(path)
    except (OSError, pa.ArrowInvalid) as error:
        raise InvalidInput(f"cannot read {str(path)!r}: {error}. Run `ditto assemble` to write the dataset.") from error
    with file:
        rows, columns = file.metadata.num_rows, file.schema_arrow.names
    if "messages" not in columns:
        raise InvalidInput(f"{str(path)!r} has no column 'messages'; its columns are {', '.join(columns)}")
    if not rows:
        raise InvalidInput(f"{str(path)!r} holds no conversation. Collect more characters or loosen the filters.")


@contextmanager
def _exclusive(output: Path) -> Iterator[int]:
    """Hold the output folder's lock and give its descriptor. The kernel drops it with its last holder."""
    try:
        output.mkdir(parents=True, exist_ok=True)
        descriptor = os.open(output / ".lock", os.O_CREAT | os.O_RDWR | os.O_CLOEXEC, 0o644)
    except OSError as error:
        raise InvalidInput(f"cannot write to {str(output)!r}: {error.strerror}. Choose another data root.") from error
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield descriptor
    finally:
        os.close(descriptor)
