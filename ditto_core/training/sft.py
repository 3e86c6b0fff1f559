"""SFT: the training process. Run as `python -m ditto_core.training.sft SPEC.json`, on GPUs under `accelerate launch`.

In:     the file that `run.dumps` wrote.
Out:    what `run` describes; one JSON line per optimizer step on standard output, and notes between them. For a user's
        mistake the line {"error": message, "kind": "InvalidInput"} and exit code 2.
Source: paper section 3.4 and appendix C: loss on the assistant's words, cosine to the minimum rate, 0.1 warm-up.

Example of training.json: {"steps": 300, "eval_loss": 1.62, "losses": [[1, 2.31], ...], "tokens": 41000000, ...}
"""

import json
import math
import os
import shutil
import sys
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pyarrow as pa

from ditto_core.errors import DittoError, InvalidInput
from ditto_core.recipe import model_identity
from ditto_core.shards import write_text
from ditto_core.training import launch, model_card, weights
from ditto_core.training.checkpoints import last_complete
from ditto_core.training.masking import MaskCounts, audit, count
from ditto_core.training.rows import conversations, mixed
from ditto_core.training.run import Run, accumulation, loads
from ditto_core.training.tokens import Chat, as_trained, load_chat, mask_rows

_FULL = 16 * 2**20
"""Bytes left on a disk from which a failed write is laid to it."""


def main(arguments: Sequence[str]) -> int:
    """Train what the file in the first argument describes; returns the exit code."""
    if launch.STOP_WITH_PARENT in arguments:
        threading.Thread(target=_end_when_stdin_closes, daemon=True).start()
    try:
        run = loads(Path(arguments[0]).read_text("utf-8"))
        with _full_disk_explained(run):
            trainer = train(run)
    except OSError as error:
        _print(error=f"cannot read or write {error.filename!r}: {error.strerror}", kind="InvalidInput")
        return 2
    except DittoError as error:
        _print(error=str(error), kind=type(error).__name__)
        return 2 if isinstance(error, InvalidInput) else 1
    _end_with(trainer)
    return 0


def train(run: Run) -> Any:
    """Fine-tune and leave the model; resumes from the last complete checkpoint of the same run.

    Returns:
        The trainer.

    Raises:
        InvalidInput: Model, rows or settings do not fit, or the GPU's memory is too small.
        BrokenPromise: The loss mask is off.
    """
    import torch

    try:
        trainer, counted = _prepare(run)
        began = time.monotonic()
        trainer.train(resume_from_checkpoint=_checkpoint(run))
        evaluated = trainer.evaluate() if run.spec.validation else {}
    except torch.OutOfMemoryError as error:
        raise InvalidInput(
            f"the GPU's memory is too small for this training: {str(error).splitlines()[0]} Lower "
            f"training.device_batch or training.max_length, set "
            f"training.gradient_checkpointing=true, or train an adapter with training.lora_rank=16."
        ) from error
    seconds = time.monotonic() - began
    partial = Path(run.spec.output) / ".partial"
    weights.save(trainer, run, partial)
    if trainer.is_world_process_zero():
        _finish(run, partial, _record(trainer, counted) | {"seconds": seconds, "eval_loss": evaluated.get("eval_loss")})
    # Together, and in order: a process that ends while its group is open may abort on its way out, and take the others with it.
    trainer.accelerator.wait_for_everyone()
    trainer.accelerator.end_training()
    return trainer


def _prepare(run: Run) -> tuple[Any, dict[str, Any]]:
    """The trainer with its rows tokenised and audited, and what was counted on the way."""
    settings = run.spec.settings
    chat = load_chat(Path(run.spec.model))
    rows = mixed(conversations(Path(run.spec.train)), settings)
    held_out = conversations(Path(run.spec.validation)) if run.spec.validation else None
    counts = _count(run.spec.train, rows, chat, settings.max_length)
    if held_out is not None:
        _count(run.spec.validation, held_out, chat, settings.max_length)

    import datasets  # TRL takes many seconds to import: what is wrong with the rows is told before
    import torch
    from transformers import PrinterCallback
    from trl import SFTTrainer

    datasets.disable_progress_bars()
    gpu = torch.cuda.is_available()
    arguments = _arguments(run, gpu)
    trainer = SFTTrainer(
        model=weights.load_seed(run, gpu),
        args=arguments,
        train_dataset=datasets.Dataset(rows),
        eval_dataset=None if held_out is None else datasets.Dataset(held_out),
        processing_class=chat.tokenizer,
        peft_config=weights.adapter(settings.lora_rank),
        callbacks=[_reporter()],
    )
    trainer.remove_callback(PrinterCallback)
    stride = -(-rows.num_rows // settings.audit_rows)
    sample = mask_rows(run.spec.train, _numbered(rows, stride), chat, settings.max_length)
    audited = audit(as_trained(trainer.train_dataset, list(sample), chat), chat.decode)
    if trainer.is_world_process_zero():
        _tell(arguments, counts, len(trainer.train_dataset), audited, chat)
    shown = asdict(counts) | {"trained_token_share": counts.trained_share, "audited_rows": audited, "template": chat.source}
    return trainer, shown | {"sequences": len(trainer.train_dataset)}


def _count(name: str, rows: pa.Table, chat: Chat, max_length: int) -> MaskCounts:
    return count(mask_rows(name, _numbered(rows), chat, max_length), max_length)


def _tell(arguments: Any, counts: MaskCounts, sequences: int, audited: int, chat: Chat) -> None:
    """Say what is about to be trained, in two lines of the log."""
    passes, batch, world = arguments.gradient_accumulation_steps, arguments.per_device_train_batch_size, arguments.world_size
    size = batch * world * passes
    unit, packed = ("sequences", f" packed into {sequences} sequences") if arguments.packing else ("conversations", "")
    epochs = arguments.max_steps * size / sequences
    _print(note=f"{size} {unit} a step: {batch} at once on {world} device(s), {passes} passes; {epochs:.1f} epochs in all")
    _print(
        note=f"{counts.rows} conversations{packed}, {counts.cut_rows} of them cut; {counts.trained_share:.1%} of {counts.tokens} "
        f"tokens are trained; the mask of {audited} rows was read back and is right; chat template: {chat.source}"
    )


def _checkpoint(run: Run) -> str | None:
    """Where to go on from, said in the log."""
    found = last_complete(run.checkpoints, run.spec.settings.max_steps)
    for name in found.passed_over:
        _print(note=f"{name} cannot be read and is passed over")
    if found.whole:
        _print(note=f"goes on from {Path(found.whole).name}")
    return found.whole


def _arguments(run: Run, gpu: bool) -> Any:
    from trl import SFTConfig

    settings = run.spec.settings
    best: dict[str, Any] = {}
    if settings.keep == "best":
        best = {"eval_strategy": "steps", "eval_steps": settings.save_steps, "load_best_model_at_end": True}
    arguments = SFTConfig(
        output_dir=str(run.checkpoints),
        max_steps=settings.max_steps,
        per_device_train_batch_size=settings.device_batch,
        per_device_eval_batch_size=settings.device_batch,
        learning_rate=settings.learning_rate,
        lr_scheduler_type="cosine_with_min_lr",
        lr_scheduler_kwargs={"min_lr_rate": settings.min_learning_rate / settings.learning_rate},
        warmup_steps=settings.warmup_share,  # below 1 it is a share of the steps
        assistant_only_loss=True,
        max_length=settings.max_length,
        packing=settings.packing,
        bf16=settings.bf16 and gpu,
        use_cpu=not gpu,
        dataloader_pin_memory=gpu,
        gradient_checkpointing=settings.gradient_checkpointing,
        seed=settings.seed,
        data_seed=settings.seed,
        save_steps=settings.save_steps,
        save_total_limit=2,  # the one before stays until the new one is whole
        logging_steps=1,
        logging_nan_inf_filter=False,  # it would show an average instead of the NaN
        **best,
        disable_tqdm=True,
        report_to="none",
    )
    arguments.gradient_accumulation_steps = accumulation(settings, arguments.world_size)
    return arguments


def _reporter() -> Any:
    """A callback that prints each step as one JSON line, and stops when the loss is no number."""
    from transformers import TrainerCallback

    class Reporter(TrainerCallback):
        def on_train_begin(self, args: Any, state: Any, control: Any, **_: Any) -> None:
            self.began, self.first = time.monotonic(), state.global_step

        def on_log(self, args: Any, state: Any, control: Any, **more: Any) -> None:
            logs: Mapping[str, float] = more["logs"]
            if "loss" not in logs:
                return
            if not math.isfinite(logs["loss"]):
                raise InvalidInput(
                    f"the loss is {logs['loss']} at step {state.global_step}: the weights are spoilt. Lower "
                    f"training.learning_rate, or set training.bf16=false; no model was written."
                )
            if not state.is_world_process_zero:
                return
            seconds = max(time.monotonic() - self.began, 1e-9)
            done, left = state.global_step - self.first, state.max_steps - state.global_step
            _print(
                step=state.global_step,
                of=state.max_steps,
                loss=logs["loss"],
                learning_rate=logs["learning_rate"],
                tokens_per_second=round(logs["num_tokens"] / seconds, 1),
                eta_seconds=round(seconds / max(done, 1) * left, 1),
            )

    return Reporter()


def _record(trainer: Any, counted: Mapping[str, Any]) -> dict[str, Any]:
    history = [entry for entry in trainer.state.log_history if "loss" in entry]
    tokens = before = 0
    for entry in history:  # the trainer counts from 0 again after a resume
        now = int(entry["num_tokens"])
        tokens += now - before if now >= before else now
        before = now
    evaluations = [entry for entry in trainer.state.log_history if "eval_loss" in entry]
    return dict(counted) | {
        "steps": trainer.state.global_step,
        "kept_step": trainer.state.best_global_step or trainer.state.global_step,
        "tokens": tokens,
        "losses": [[entry["step"], entry["loss"]] for entry in history],
        "eval_losses": [[entry["step"], entry["eval_loss"]] for entry in evaluations],
    }


def _finish(run: Run, partial: Path, record: Mapping[str, Any]) -> None:
    """Move the model into place, then write the record that makes it valid, then drop the checkpoints."""
    identity = model_identity(partial)
    whole = dict(record) | {"seed": asdict(run.seed), "model": asdict(identity), "digest": run.digest}
    write_text(partial / "README.md", model_card.text(run, whole))
    run.record.unlink(missing_ok=True)
    for folder in (run.model, run.adapter):
        shutil.rmtree(folder, ignore_errors=True)
    if (partial / "adapter").exists():
        (partial / "adapter").replace(run.adapter)
    partial.replace(run.model)
    model_card.draw(run.curve, record["losses"], record["eval_losses"])
    write_text(run.record, json.dumps(whole, indent=1) + "\n")
    shutil.rmtree(run.checkpoints.parent, ignore_errors=True)


@contextmanager
def _full_disk_explained(run: Run) -> Iterator[None]:
    """A write that fails says so in many ways, one a library; a disk without room is the sign that they share."""
    try:
        yield
    except DittoError:
        raise
    except Exception as error:
        free = shutil.disk_usage(run.spec.output).free
        if free >= _FULL:
            raise
        raise InvalidInput(
            f"the disk of {run.spec.output!r} is full ({free // 1024} kB left): {str(error)[:200]}. Free some space or choose "
            f"another --data-root; the run goes on from its last whole checkpoint."
        ) from error


def _numbered(table: Any, stride: int = 1) -> Iterator[tuple[int, Any]]:
    """(row number from 1, messages) of every `stride`-th row."""
    column = table.column("messages")
    return ((number + 1, column[number].as_py()) for number in range(0, len(column), stride))


def _end_when_stdin_closes() -> None:
    """The launcher holds the other end; it closes with it, however it dies, and no training is left behind."""
    while os.read(0, 1):
        pass
    os._exit(1)


def _end_with(trainer: Any) -> None:
    """End at once, one of several processes, while the trainer is alive: everything is on disk.

    With the trainer goes gloo's process group, which waits, with the interpreter's lock, for a thread that may want that lock.
    """
    if trainer.accelerator.num_processes > 1:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(0)


def _print(**fields: Any) -> None:
    print(json.dumps(fields), flush=True)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
