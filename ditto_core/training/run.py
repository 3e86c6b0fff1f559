"""Run: what one fine-tuning is, from its settings to the model that it left. Nothing is loaded here.

In:     a `TrainingSpec`: model folder, train.parquet, validation.parquet or "", output folder, settings.
Out:    OUTPUT/model, a folder that every engine loads (under LoRA also OUTPUT/adapter), OUTPUT/loss.png and
        OUTPUT/training.json, written last, which names the run's digest and the model's bytes.
Source: paper section 3.4 and appendix C.

The digest holds what shapes the weights: those of the seed, the bytes of the rows, the settings, our chat template.
"""

import json
from dataclasses import asdict, dataclass
from importlib.util import find_spec
from pathlib import Path

from pydantic import ValidationError

from ditto_core.errors import InvalidInput
from ditto_core.recipe import ModelIdentity, file_digest, model_identity, stage_recipe
from ditto_core.settings import TrainingSettings
from ditto_core.shards import file_sha256
from ditto_core.training.rows import check_rows

TEMPLATE = Path(__file__).with_name("chatml.jinja")
"""Our chat template: ChatML with markers around what the assistant says."""


@dataclass(frozen=True, slots=True)
class TrainingSpec:
    """What to train, on what, and where to.

    Attributes:
        model: Folder of the seed LLM.
        base: What the settings call it: a folder, the hub id that the folder was fetched for, or a bundled seed's name.
        train: Parquet file with a column `messages` of {role, content}; other columns are ignored.
        validation: The same for the validation loss, or "" for none.
        output: Folder of the run; receives `model`, `training.json` and, until it ends, `checkpoints`.
        settings: Of the training stage.
    """

    model: str
    base: str
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
    def adapter(self) -> Path:
        """Folder of the finished adapter; there is one under LoRA only."""
        return Path(self.spec.output) / "adapter"

    @property
    def curve(self) -> Path:
        """Picture of the losses."""
        return Path(self.spec.output) / "loss.png"

    @property
    def record(self) -> Path:
        """The run's record; written last."""
        return Path(self.spec.output) / "training.json"

    @property
    def checkpoints(self) -> Path:
        """Folder of this run's checkpoints; another digest never resumes from them."""
        return Path(self.spec.output) / "checkpoints" / self.digest[:12]


@dataclass(frozen=True, slots=True)
class TrainingResult:
    """A finished run.

    Attributes:
        folder: Of the tuned model.
        curve: Picture of the losses.
        identity: Digests of its files.
        steps: Optimizer steps.
        eval_loss: On the validation rows, in nats per trained token; None without validation rows.
        seconds: That the process which finished the run spent training.
        losses: (step, loss), one for each step.
        trained_token_share: Share of tokens that the loss fell on in the audited rows, 0 to 1.
    """

    folder: str
    curve: str
    identity: ModelIdentity
    steps: int
    eval_loss: float | None
    seconds: float
    losses: tuple[tuple[int, float], ...]
    trained_token_share: float


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
    if settings.keep == "best" and not spec.validation:
        raise InvalidInput(
            "training.keep=best chooses by the loss on held-out roles, and this dataset has none. Raise "
            "dataset.validation_share, or set training.keep=last."
        )
    seed = model_identity(Path(spec.model))
    mixed_in = settings.mix_in if settings.mix_share else ""
    files = [Path(name) for name in (spec.train, spec.validation, mixed_in) if name]
    for path in files:
        check_rows(path)
    shaping = settings.model_dump(exclude={"model", "mix_in", *unshaping(settings)})  # these two by their bytes
    data = [file_sha256(path) for path in files]
    return Run(spec, seed, stage_recipe("training", shaping, seed, data, file_digest([TEMPLATE])))


def unshaping(settings: TrainingSettings) -> frozenset[str]:
    """Names of the settings that leave the weights as they are; of the checkpoints, none does if the best one is kept."""
    return frozenset({"audit_rows", "accelerate", *(() if settings.keep == "best" else ("save_steps",))})


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
        curve=str(run.curve),
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
        "base": run.spec.base,
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
