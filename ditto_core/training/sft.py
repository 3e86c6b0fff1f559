"""SFT: the training process. Run as `python -m ditto_core.training.sft SPEC.json` under `accelerate launch`.

In:     the file that `launch.dumps` wrote.
Out:    OUTPUT/model and OUTPUT/training.json; one JSON line per optimizer step on standard output. For a user's mistake
        the line {"error": message, "kind": "InvalidInput"} and exit code 2.
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
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq

from ditto_core.errors import BrokenPromise, DittoError, InvalidInput
from ditto_core.recipe import model_identity
from ditto_core.shards import write_text
from ditto_core.training import launch
from ditto_core.training.masking import MaskedRow, audit, count

END = "<|im_end|>"
"""What ends a turn in our template."""
_CHATML = ("<|im_start|>", END)
_NO_LOSS = -100


def main(arguments: Sequence[str]) -> int:
    """Train what the file in the first argument describes; returns the exit code."""
    if launch.STOP_WITH_PARENT in arguments:
        threading.Thread(target=_end_when_stdin_closes, daemon=True).start()
    try:
        train(launch.loads(Path(arguments[0]).read_text("utf-8")))
    except OSError as error:
        _print(error=f"cannot read or write {error.filename!r}: {error.strerror}", kind="InvalidInput")
        return 2
    except DittoError as error:
        _print(error=str(error), kind=type(error).__name__)
        return 2 if isinstance(error, InvalidInput) else 1
    return 0


def train(run: launch.Run) -> None:
    """Fine-tune and leave the model; resumes from the last complete checkpoint of the same run.

    Raises:
        InvalidInput: Model, rows or settings do not fit, or the GPU's memory is too small.
        BrokenPromise: The loss mask is off.
    """
    import torch

    try:
        trainer, masks = _prepare(run)
        began = time.monotonic()
        trainer.train(resume_from_checkpoint=last_complete(run.checkpoints, run.spec.settings.max_steps))
        evaluated = trainer.evaluate() if run.spec.validation else {}
    except torch.OutOfMemoryError as error:
        raise InvalidInput(
            f"the GPU's memory is too small for this training: {str(error).splitlines()[0]} Lower "
            f"training.device_batch or training.max_length, set "
            f"training.gradient_checkpointing=true, or train an adapter with training.lora_rank=16."
        ) from error
    seconds = time.monotonic() - began
    partial = Path(run.spec.output) / ".partial"
    _save(trainer, run, partial)
    if trainer.is_world_process_zero():
        _finish(run, partial, _record(trainer, masks) | {"seconds": seconds, "eval_loss": evaluated.get("eval_loss")})


def _prepare(run: launch.Run) -> tuple[Any, dict[str, Any]]:
    """The trainer with its rows tokenised and audited, and what was counted on the way."""
    import datasets
    import torch
    from transformers import PrinterCallback
    from trl import SFTTrainer

    datasets.disable_progress_bars()
    settings = run.spec.settings
    gpu = torch.cuda.is_available()
    arguments = _arguments(run, gpu)
    tokenizer = load_tokenizer(Path(run.spec.model))
    data = {name: pq.read_table(name, columns=["messages"]) for name in (run.spec.train, run.spec.validation) if name}
    counts = {
        name: count(mask_rows(name, _numbered(table), tokenizer, settings.max_length), settings.max_length)
        for name, table in data.items()
    }
    trainer = SFTTrainer(
        model=_load_seed(run, gpu),
        args=arguments,
        train_dataset=datasets.Dataset(data[run.spec.train]),
        eval_dataset=datasets.Dataset(data[run.spec.validation]) if run.spec.validation else None,
        processing_class=tokenizer,
        peft_config=_adapter(settings.lora_rank),
        callbacks=[_reporter()],
    )
    trainer.remove_callback(PrinterCallback)
    stride = -(-data[run.spec.train].num_rows // settings.audit_rows)
    sample = mask_rows(run.spec.train, _numbered(data[run.spec.train], stride), tokenizer, settings.max_length)
    audited = audit(as_trained(trainer.train_dataset, list(sample), tokenizer), _decoder(tokenizer))
    return trainer, asdict(counts[run.spec.train]) | {
        "trained_token_share": counts[run.spec.train].trained_share,
        "audited_rows": audited,
    }


def _arguments(run: launch.Run, gpu: bool) -> Any:
    from trl import SFTConfig

    settings = run.spec.settings
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
        disable_tqdm=True,
        report_to="none",
    )
    arguments.gradient_accumulation_steps = launch.accumulation(settings, arguments.world_size)
    return arguments


def load_tokenizer(folder: Path) -> Any:
    """The model's tokenizer, with a chat template that marks what the assistant says.

    The model's own template stays if it has such markers; else ours takes its place, here and in the tuned model's
    folder, so that the engines ask the model in the words that it was trained with.

    Raises:
        InvalidInput: It cannot be loaded, or is not made for ChatML.
    """
    from transformers import AutoTokenizer
    from trl.chat_template_utils import has_generation_markers

    try:
        tokenizer: Any = AutoTokenizer.from_pretrained(folder, local_files_only=True)
    except (OSError, ValueError) as error:
        raise InvalidInput(f"cannot load a tokenizer from {str(folder)!r}: {error}") from error
    if tokenizer.chat_template and has_generation_markers(tokenizer.chat_template):
        return tokenizer
    missing = [token for token in _CHATML if token not in tokenizer.get_vocab()]
    if missing:
        raise InvalidInput(
            f"the tokenizer in {str(folder)!r} has no token {' and no token '.join(missing)}, and its chat template "
            f"has no {{% generation %}} markers. Choose a ChatML model, such as one of the Qwen family, or add the "
            f"markers to its template."
        )
    tokenizer.chat_template = launch.TEMPLATE.read_text("utf-8")
    tokenizer.eos_token = END
    return tokenizer


def mask_rows(
    name: str, conversations: Iterable[tuple[int, Sequence[Mapping[str, str]]]], tokenizer: Any, max_length: int
) -> Iterator[MaskedRow]:
    """Tokenise conversations and mark what the assistant says, cut as the trainer cuts them.

    Args:
        name: Of the file, for messages.
        conversations: (row number, messages of {role, content}).
        tokenizer: From `load_tokenizer`.
        max_length: Tokens that are kept.
    """
    for number, messages in conversations:
        encoded = tokenizer.apply_chat_template(messages, tokenize=True, return_dict=True, return_assistant_tokens_mask=True)
        ids, mask = encoded["input_ids"], encoded["assistant_masks"]
        yield MaskedRow(
            name=f"row {number} of {Path(name).name}",
            token_ids=ids[:max_length],
            mask=[bool(entry) for entry in mask[:max_length]],
            turns=tuple(turn["content"] + tokenizer.eos_token for turn in messages if turn["role"] == "assistant"),
            cut=len(ids) > max_length,
        )


def as_trained(prepared: Iterable[Mapping[str, Any]], sample: Sequence[MaskedRow], tokenizer: Any) -> list[MaskedRow]:
    """The sampled rows with the mask that the trainer made of them, found by their tokens, packed or not.

    Args:
        prepared: The trainer's rows: `input_ids`, `labels` with -100 where the loss does not fall, and when packed
            the `seq_lengths` of the conversations in a row.
        sample: Rows from `mask_rows`.
        tokenizer: Its round trip (such as Unicode NFC) is applied to the expected turns.

    Raises:
        BrokenPromise: A sampled row is not among the trainer's.
    """
    decode = _decoder(tokenizer)
    wanted = {tuple(row.token_ids) for row in sample}
    masks: dict[tuple[int, ...], list[bool]] = {}
    for row in prepared:
        start = 0
        for length in row.get("seq_lengths") or [len(row["input_ids"])]:
            ids = tuple(row["input_ids"][start : start + length])
            if ids in wanted:
                masks[ids] = [label != _NO_LOSS for label in row["labels"][start : start + length]]
            start += length
    lost = [row.name for row in sample if tuple(row.token_ids) not in masks]
    if lost:
        raise BrokenPromise(
            f"{lost[0]} is not among the rows that the trainer prepared ({len(lost)} of {len(sample)} sampled ones are "
            f"not). It tokenises or cuts conversations in another way than this version of Ditto expects; nothing was "
            f"trained. Install the versions in constraints.txt."
        )
    return [
        replace(
            row,
            mask=masks[tuple(row.token_ids)],
            turns=tuple(decode(tokenizer(turn, add_special_tokens=False)["input_ids"]) for turn in row.turns),
        )
        for row in sample
    ]


def last_complete(checkpoints: Path, max_steps: int) -> str | None:
    """The newest checkpoint before the last step that was written to its end, or None.

    One that a kill cut short is passed over: the trainer writes trainer_state.json last, so it must be there, readable,
    and of the step in the folder's name. The last step's own is too: resumed from it, the trainer takes one step more.
    """
    whole = {}
    for folder in checkpoints.glob("checkpoint-*"):
        try:
            step = json.loads((folder / "trainer_state.json").read_text("utf-8"))["global_step"]
        except (OSError, ValueError, KeyError):
            continue
        if step < max_steps and folder.name == f"checkpoint-{step}" and all(file.stat().st_size for file in folder.iterdir()):
            whole[step] = str(folder)
    return whole[max(whole)] if whole else None


def _load_seed(run: launch.Run, gpu: bool) -> Any:
    """The seed LLM in the number format that training needs.

    Weights that are trained stay in float32 (the passes run in bfloat16): at a learning rate of 2e-6 an update is
    smaller than bfloat16 can add to a weight. Under an adapter the weights are frozen, and bfloat16 will do.
    """
    import torch
    from transformers import AutoModelForCausalLM
    from transformers.utils.import_utils import is_flash_attn_2_available

    settings = run.spec.settings
    half = settings.bf16 and gpu
    options = {"attn_implementation": "flash_attention_2"} if half and is_flash_attn_2_available() else {}
    try:
        return AutoModelForCausalLM.from_pretrained(
            run.spec.model,
            dtype=torch.bfloat16 if half and settings.lora_rank else torch.float32,
            local_files_only=True,
            **options,
        )
    except (OSError, ValueError, RuntimeError) as error:
        if isinstance(error, torch.OutOfMemoryError):
            raise
        raise InvalidInput(f"cannot load the model in {run.spec.model!r}: {error}") from error


def _adapter(rank: int) -> Any:
    """Low-rank adapters on every linear layer, scaled by two as is usual; None for rank 0."""
    if not rank:
        return None
    from peft import LoraConfig

    return LoraConfig(r=rank, lora_alpha=2 * rank, target_modules="all-linear", task_type="CAUSAL_LM")


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


def _save(trainer: Any, run: launch.Run, folder: Path) -> None:
    """Write the model as the seed was: all weights in one piece, in the seed's number format, adapter merged in.

    All processes must call this, because each may hold a part of the weights.
    """
    import torch
    from transformers import AutoConfig, AutoModelForCausalLM

    model = trainer.accelerator.unwrap_model(trainer.model)
    if run.spec.settings.lora_rank:
        model = model.merge_and_unload()
        state = model.state_dict()
    else:
        state = trainer.accelerator.get_state_dict(trainer.model)
    if not trainer.is_world_process_zero():
        return
    dtype = AutoConfig.from_pretrained(run.spec.model, local_files_only=True).dtype or torch.float32
    with torch.device("meta"):  # a shell for the weights; its own are never allocated
        whole: Any = AutoModelForCausalLM.from_config(model.config, dtype=dtype)  # type: ignore[no-untyped-call]
    whole.load_state_dict({name: weight.to("cpu", dtype) for name, weight in state.items()}, assign=True)
    whole.tie_weights()
    whole.generation_config = model.generation_config
    shutil.rmtree(folder, ignore_errors=True)
    whole.save_pretrained(folder)
    trainer.processing_class.save_pretrained(folder)


def _record(trainer: Any, masks: Mapping[str, Any]) -> dict[str, Any]:
    history = [entry for entry in trainer.state.log_history if "loss" in entry]
    tokens = before = 0
    for entry in history:  # the trainer counts from 0 again after a resume
        now = int(entry["num_tokens"])
        tokens += now - before if now >= before else now
        before = now
    return dict(masks) | {
        "steps": trainer.state.global_step,
        "tokens": tokens,
        "losses": [[entry["step"], entry["loss"]] for entry in history],
    }


def _finish(run: launch.Run, partial: Path, record: Mapping[str, Any]) -> None:
    """Move the model into place, then write the record that makes it valid, then drop the checkpoints."""
    identity = model_identity(partial)
    run.record.unlink(missing_ok=True)
    shutil.rmtree(run.model, ignore_errors=True)
    partial.replace(run.model)
    whole = dict(record) | {"seed": asdict(run.seed), "model": asdict(identity), "digest": run.digest}
    write_text(run.record, json.dumps(whole, indent=1) + "\n")
    shutil.rmtree(run.checkpoints.parent, ignore_errors=True)


def _numbered(table: Any, stride: int = 1) -> Iterator[tuple[int, Any]]:
    """(row number from 1, messages) of every `stride`-th row."""
    column = table.column("messages")
    return ((number + 1, column[number].as_py()) for number in range(0, len(column), stride))


def _decoder(tokenizer: Any) -> Callable[[Sequence[int]], str]:
    def decode(ids: Sequence[int]) -> str:
        return str(tokenizer.decode(list(ids), skip_special_tokens=False, clean_up_tokenization_spaces=False))

    return decode


def _end_when_stdin_closes() -> None:
    """The launcher holds the other end; it closes with it, however it dies, and no training is left behind."""
    while os.read(0, 1):
        pass
    os._exit(1)


def _print(**fields: Any) -> None:
    print(json.dumps(fields), flush=True)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
