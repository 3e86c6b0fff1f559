"""Weights: the seed LLM as training needs it, and the tuned model as the engines need it.

In:     a run; later its trainer.
Out:    a model in memory; later folders with safetensors, tokenizer and configuration.
Source: paper appendix C: bfloat16; the number format of the seed is kept on disk.
"""

import shutil
from pathlib import Path
from typing import Any

from ditto_core.errors import InvalidInput
from ditto_core.training.run import Run


def load_seed(run: Run, gpu: bool) -> Any:
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


def adapter(rank: int) -> Any:
    """Low-rank adapters on every linear layer, scaled by two as is usual; None for rank 0."""
    if not rank:
        return None
    from peft import LoraConfig

    return LoraConfig(r=rank, lora_alpha=2 * rank, target_modules="all-linear", task_type="CAUSAL_LM")


def save(trainer: Any, run: Run, folder: Path) -> None:
    """Write the model as the seed was: all weights in one piece, in the seed's number format, adapter merged in.

    Under LoRA the adapter goes into the subfolder "adapter" besides. All processes must call this, because each may hold
    a part of the weights.
    """
    import torch
    from transformers import AutoConfig, AutoModelForCausalLM

    model = trainer.accelerator.unwrap_model(trainer.model)
    if trainer.is_world_process_zero():
        shutil.rmtree(folder, ignore_errors=True)
    if run.spec.settings.lora_rank:
        if trainer.is_world_process_zero():
            model.save_pretrained(folder / "adapter")
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
    whole.save_pretrained(folder)
    trainer.processing_class.save_pretrained(folder)
