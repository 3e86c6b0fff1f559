"""Pretraining: a seed LLM from random weights, on a GPU in minutes, on two cores in an hour or two a round.

In:     the embedded world, a number of tokens, a random seed.
Out:    a Qwen3 model in bfloat16 safetensors, and its tokenizer with the chat template, in
        `embedded.seed_folder()`.
Source: ours.

    python -m ditto_core.embedded.pretrain
    python -m ditto_core.embedded.pretrain --name embedded-small
    python -m ditto_core.embedded.pretrain --from-round 2 --out folder-with-round-1

Loss falls on the assistant's words only, and on running text in full. Small batches of lists to copy come first:
copying is learned soon then, and all else rests on it. On a GPU one process trains and others write the batches. On the CPU
each process writes and trains, with one thread, and they average gradients: on a busy machine OpenMP over the cores is far
slower. The larger seed is trained in rounds, each with its rates and its mix of documents; a later one starts from what the one
before has saved. The same command gives the same bytes on the same hardware; with --compile sums are rounded otherwise.
"""

import argparse
import copy
import dataclasses
import json
import os
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from random import Random
from typing import Any

import torch
import torch.distributed as dist
from torch.nn import functional
from torch.utils.data import DataLoader
from transformers import PreTrainedTokenizerFast, Qwen3Config, Qwen3ForCausalLM

from ditto_core.embedded import seed_folder
from ditto_core.embedded.attention import BLOCKED
from ditto_core.embedded.batches import Batch, Plan, Stream
from ditto_core.embedded.mix import FIFTH_ROUND, FOURTH_ROUND, KINDS, SECOND_ROUND, THIRD_ROUND, WITHOUT_LOOKUPS, Mix
from ditto_core.embedded.muon import Muon
from ditto_core.embedded.tokens import END, PAD, token_id, train_tokenizer
from ditto_core.embedded.writers import Writers

RECORD = "pretraining.json"
"""In the seed's folder: what was run, one entry a round."""
_LOG_EVERY_S, _SAVE_EVERY_S = 20, 600
_TRAINERS, _WRITERS = 2, 4


@dataclass(frozen=True, slots=True)
class Recipe:
    """Everything that shapes the seed in one round of training.

    Attributes:
        tokens: Of the round, padding included.
        copying_tokens: Of these, the first ones: nothing but lists to copy.
        batch_tokens: Of a step, over all processes, padding included.
        matrix_rate: Learning rate of Muon, for the matrices.
        other_rate: Learning rate of AdamW, for embeddings and norms.
        decay: Last share of the round, in which the rates fall to a thirtieth.
        languages: Code of a language -> share of the documents.
        mix: Of the documents.
        attention: Name of its implementation, as transformers or `attention` registers it.
        without: One of `PARTS`, left out to see what it is good for; "" is none.
    """

    tokens: float = 50e6
    copying_tokens: float = 1e6
    seed: int = 0
    vocabulary: int = 4096
    hidden: int = 160
    layers: int = 5
    heads: int = 5
    feed_forward: int = 448
    batch_tokens: int = 12288
    matrix_rate: float = 0.02
    other_rate: float = 4e-3
    decay: float = 0.4
    languages: Mapping[str, float] = field(default_factory=lambda: {"en": 0.7, "zh": 0.15, "ko": 0.15})
    mix: Mix = field(default_factory=Mix)
    attention: str = "sdpa"
    without: str = ""

    def rates(self) -> tuple[float, float]:
        """Peaks of Muon's and AdamW's learning rates."""
        return self.other_rate if self.without == "muon" else self.matrix_rate, self.other_rate

    def plan(self, trainers: int) -> Plan:
        """Of the batches, where so many processes train."""
        copying_tokens = 0.0 if self.without == "curriculum" else self.copying_tokens
        return Plan(self.seed, self.languages, self.documents(), self.tokens, copying_tokens, self.batch_tokens // trainers)

    def has(self, part: str) -> bool:
        """Whether leaving one of `PARTS` out changes anything."""
        less = replace(self, without=part)
        return (less.plan(1), less.rates()) != (self.plan(1), self.rates())

    def documents(self) -> Mix:
        """The mix, without the part that is left out."""
        changes: dict[str, dict[str, Any]] = {"minimal pairs": {"minimal_pairs": False}, "lifelike": {"lifelike": 0.0}}
        return replace(self.mix, **changes.get(self.without, {}))


PARTS = ("curriculum", "minimal pairs", "muon", "lifelike")
"""Of a recipe: short lists to copy first, then growing documents; foreign questions in the form of own ones; Muon, not AdamW;
lives like real ones (`Mix`)."""

ROUNDS: Mapping[str, Sequence[Recipe]] = {
    "embedded": (
        Recipe(),
        Recipe(
            tokens=45e6, copying_tokens=0, matrix_rate=0.01, other_rate=2e-3, decay=0.6, mix=SECOND_ROUND, attention=BLOCKED,
        ),
        Recipe(
            tokens=42e6, copying_tokens=0, matrix_rate=0.01, other_rate=2e-3, decay=0.6,
            languages={"en": 0.66, "zh": 0.2, "ko": 0.14}, mix=THIRD_ROUND, attention=BLOCKED,
        ),
        Recipe(
            tokens=50e6, copying_tokens=0, matrix_rate=0.01, other_rate=2e-3, decay=0.6,
            languages={"en": 0.66, "zh": 0.2, "ko": 0.14}, mix=FOURTH_ROUND, attention=BLOCKED,
        ),
        Recipe(
            tokens=40e6, copying_tokens=0, matrix_rate=0.008, other_rate=1.6e-3, decay=0.7,
            languages={"en": 0.66, "zh": 0.2, "ko": 0.14}, mix=FIFTH_ROUND, attention=BLOCKED,
        ),
    ),
    "embedded-small": (
        Recipe(
            tokens=60e6, copying_tokens=2e6, vocabulary=2048, hidden=96, layers=3, heads=3, feed_forward=256,
            batch_tokens=16384, languages={"en": 1.0}, mix=Mix(WITHOUT_LOOKUPS),
        ),
    ),
}  # fmt: skip
"""Name of a bundled seed -> its rounds of training."""


def _tokenizer(recipe: Recipe) -> PreTrainedTokenizerFast:
    writers = Writers(Random(recipe.seed + 3), recipe.languages, lambda text: len(text) // 3, recipe.documents())
    return train_tokenizer(writers, recipe.vocabulary)


def build_model(tokenizer: PreTrainedTokenizerFast, recipe: Recipe) -> Qwen3ForCausalLM:
    """A Qwen3 of random weights."""
    config = Qwen3Config(
        vocab_size=len(tokenizer), hidden_size=recipe.hidden, intermediate_size=recipe.feed_forward,
        num_hidden_layers=recipe.layers, num_attention_heads=recipe.heads, head_dim=32,
        num_key_value_heads=recipe.heads, max_position_embeddings=2048, tie_word_embeddings=True,
        rope_parameters={"rope_type": "default", "rope_theta": 1000.0}, bos_token_id=None,
        eos_token_id=token_id(tokenizer, END), pad_token_id=token_id(tokenizer, PAD),
    )  # fmt: skip
    return Qwen3ForCausalLM(config)  # type: ignore[no-untyped-call]


def losses(model: Qwen3ForCausalLM, batch: Batch) -> torch.Tensor:
    """Loss of every trained token; other tokens get no logits."""
    with torch.autocast(batch.ids.device.type, dtype=torch.bfloat16):
        hidden = model.model(input_ids=batch.ids[:, :-1], use_cache=False).last_hidden_state
        logits = functional.linear(hidden.flatten(0, 1).index_select(0, batch.places), model.lm_head.weight)
    return functional.cross_entropy(logits.float(), batch.targets, reduction="none")


def _adam(parameters: Sequence[torch.nn.Parameter]) -> torch.optim.Optimizer:
    return torch.optim.AdamW(parameters, betas=(0.9, 0.98), weight_decay=0.0, fused=True)  # the rate is set before each step


class Trainer:
    """One process's part in the training.

    Args:
        writers: Processes that make its batches; 0 makes them in this one.
        goes_on: Whether the weights in `out` are those to start from: what the round before has saved.
        compiled: Whether PyTorch compiles the layers.
    """

    def __init__(
        self, recipe: Recipe, out: Path, device: torch.device, writers: int, *, goes_on: bool = False, compiled: bool = False
    ) -> None:
        self._recipe, self._out, self._device, self._compiled = recipe, out, device, compiled
        self._rank, self._size = int(os.environ.get("RANK", "0")), int(os.environ.get("WORLD_SIZE", "1"))
        if self._size > 1 and not dist.is_initialized():
            dist.init_process_group("gloo", rank=self._rank, world_size=self._size)
        torch.manual_seed(recipe.seed)
        self._earlier = rounds_of(out) if goes_on else []
        self._tokenizer = PreTrainedTokenizerFast.from_pretrained(out) if goes_on else _tokenizer(recipe)
        self._model: Any = (
            Qwen3ForCausalLM.from_pretrained(out, dtype=torch.float32) if goes_on else build_model(self._tokenizer, recipe)
        )
        self._model.to(device)  # type: ignore[arg-type]
        self._model.set_attn_implementation(recipe.attention)
        if compiled:
            for layer in self._model.model.layers:
                layer.compile(dynamic=True)
        stream = Stream(recipe.plan(self._size), self._tokenizer, self._rank, self._size)
        self._batches = iter(DataLoader(stream, batch_size=None, num_workers=writers, pin_memory=device.type == "cuda"))
        matrices = [p for name, p in self._model.named_parameters() if p.ndim == 2 and "embed" not in name]
        self._others = [p for name, p in self._model.named_parameters() if p.ndim < 2 or "embed" in name]
        self._optimizers: list[torch.optim.Optimizer] = [
            _adam(matrices) if recipe.without == "muon" else Muon(matrices, recipe.matrix_rate),
            _adam(self._others),
        ]
        self._share, self._tokens, self._step = 0.0, 0, 0
        self._lost, self._counted = (torch.zeros(len(KINDS), device=device) for _ in range(2))
        self._began, self._cpu = time.monotonic(), time.process_time()

    def run(self) -> None:
        """Train to the end; what there is so far is saved every ten minutes."""
        count = sum(p.numel() for p in self._model.parameters())
        self._say(f"{count} parameters, vocabulary {len(self._tokenizer)}, {self._device}, {self._recipe}")
        logged = saved = time.monotonic()
        while self._share < 1:
            self._advance()
            now = time.monotonic()
            if now - logged > _LOG_EVERY_S or self._share >= 1:
                logged = now
                self._say(f"share {self._share:.3f} {self._record()} {self._means()}")
            if self._rank == 0 and (now - saved > _SAVE_EVERY_S or self._share >= 1):
                saved = now
                self._save()
        if self._size > 1:
            dist.barrier()  # the next round starts from what the first process has saved

    def _advance(self) -> None:
        batch = Batch(*(part.to(self._device, non_blocking=True) for part in next(self._batches)))
        found = losses(self._model, batch)
        torch.autograd.backward(found.mean())
        self._tokens += batch.ids.numel()
        self._share = self._averaged(self._tokens * self._size / self._recipe.tokens)
        torch.nn.utils.clip_grad_norm_(self._others, 1.0)
        scale = min(1.0, (self._step + 1) / 40, max(1 / 30, (1 - self._share) / self._recipe.decay))
        for optimizer, rate in zip(self._optimizers, self._recipe.rates(), strict=True):
            optimizer.param_groups[0]["lr"] = rate * scale
            optimizer.step()
            optimizer.zero_grad(set_to_none=True)
        self._step += 1
        of_kind = functional.one_hot(batch.kinds, len(KINDS)).float()
        self._lost += found.detach() @ of_kind
        self._counted += of_kind.sum(0)

    def _averaged(self, share: float) -> float:
        """Average the gradients, and with them the share of the run that is done: all stop at once."""
        if self._size == 1:
            return share
        gradients = [p.grad for p in self._model.parameters() if p.grad is not None]
        flat = torch.cat([*(gradient.flatten() for gradient in gradients), torch.tensor([share])])
        dist.all_reduce(flat)
        flat /= self._size
        place = 0
        for gradient in gradients:
            gradient.copy_(flat[place : place + gradient.numel()].view_as(gradient))
            place += gradient.numel()
        return float(flat[-1])

    def _means(self) -> str:
        """Loss of a token by kind of document, since the last time."""
        means = zip(KINDS, self._lost.tolist(), self._counted.tolist(), strict=True)
        self._lost.zero_(), self._counted.zero_()
        return " ".join(f"{kind} {lost / counted:.3f}" for kind, lost, counted in means if counted)

    def _save(self) -> None:
        """Write beside the folder first: whoever loads the seed meanwhile finds whole files."""
        fresh = self._out.with_name(f".{self._out.name}-{os.getpid()}")
        half: Any = copy.deepcopy(self._model)
        half.to("cpu", torch.bfloat16).save_pretrained(fresh)
        self._tokenizer.save_pretrained(fresh)
        rounds = [*self._earlier, dataclasses.asdict(self._recipe) | self._record()]
        (fresh / RECORD).write_text(json.dumps(rounds, indent=1) + "\n", "utf-8")
        self._out.mkdir(parents=True, exist_ok=True)
        for path in sorted(fresh.iterdir()):
            path.chmod(0o644)
            path.replace(self._out / path.name)
        shutil.rmtree(fresh)

    def _record(self) -> dict[str, Any]:
        on_gpu = self._device.type == "cuda"
        return {
            "steps": self._step,
            "trained_on_tokens": self._tokens * self._size,
            "hardware": (torch.cuda.get_device_name() if on_gpu else f"CPU, {self._size} processes")
            + (", layers compiled" if self._compiled else ""),
            "wall_minutes": round((time.monotonic() - self._began) / 60, 1),
        }

    def _say(self, text: str) -> None:
        if self._rank == 0:
            print(text, flush=True)


def rounds_of(folder: Path) -> list[dict[str, Any]]:
    """What was run for the weights in a folder, one entry a round; none if there are no weights."""
    path = folder / RECORD
    return json.loads(path.read_text("utf-8")) if path.exists() else []


def launch(processes: int, arguments: Sequence[str]) -> int:
    """Run this module in several processes that average gradients; returns the first bad exit status."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    shared = {
        "MASTER_ADDR": "127.0.0.1",
        "MASTER_PORT": str(port),
        "WORLD_SIZE": str(processes),
        "OMP_NUM_THREADS": "1",
    }
    command = [sys.executable, "-m", "ditto_core.embedded.pretrain", *arguments, "--processes", "1"]
    running = [subprocess.Popen(command, env={**os.environ, **shared, "RANK": str(rank)}) for rank in range(processes)]
    return next((status for status in [process.wait() for process in running] if status), 0)


def main() -> int:
    """Read the command line and train."""
    usual = Recipe()
    parser = argparse.ArgumentParser(description="Train the embedded seed LLM from random weights.")
    parser.add_argument("--name", choices=sorted(ROUNDS), default="embedded", help="which of the bundled seeds")
    parser.add_argument(
        "--tokens",
        type=float,
        help="to train on in each round, by default as many as the seed that ships; the first million or two are lists to copy",
    )
    parser.add_argument("--from-round", type=int, default=1, help="that is run first; the round before has saved to the folder")
    parser.add_argument("--seed", type=int, default=usual.seed)
    parser.add_argument("--processes", type=int, help=f"that train, {_TRAINERS}; with a GPU, that write for it, {_WRITERS}")
    parser.add_argument("--out", type=Path, default=None, help="folder; the seed's own in the package by default")
    parser.add_argument("--compile", action="store_true", help="compile the layers first: faster, and needs a C++ compiler")
    parser.add_argument("--without", choices=PARTS, default="", help="leave a part of the recipe out")
    given = parser.parse_args()
    on_gpu = torch.cuda.is_available()
    processes = given.processes or (_WRITERS if on_gpu else _TRAINERS)
    out, first = given.out or seed_folder(given.name), given.from_round
    rounds = ROUNDS[given.name]
    done = len(rounds_of(out))
    if not 1 <= first <= len(rounds) or (first > 1 and done != first - 1):
        parser.error(
            f"round {first} was asked for; {given.name} has {len(rounds)}, and {done} stand in {out / RECORD}. "
            "A later round starts from the weights of the one before: leave --from-round out to begin with the first."
        )
    if given.without and not any(recipe.has(given.without) for recipe in rounds[first - 1 :]):
        parser.error(
            f"no round of {given.name} from {first} on has what --without {given.without!r} leaves out: start from another."
        )
    compiler = os.environ.get("CXX", "g++")
    if given.compile and not shutil.which(compiler):
        parser.error(
            f"--compile needs a C++ compiler, and there is no {compiler}: install one or name it in CXX, or train without."
        )
    if processes > 1 and not on_gpu:
        return launch(processes, sys.argv[1:])
    changed = {"tokens": given.tokens} if given.tokens else {}
    os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")  # without it cuBLAS is not deterministic
    torch.use_deterministic_algorithms(True)
    torch.utils.deterministic.fill_uninitialized_memory = False  # type: ignore[attr-defined]
    torch.set_num_threads(1)
    for number, recipe in enumerate(rounds[first - 1 :], first):
        recipe = replace(recipe, seed=given.seed, without=given.without, **changed)
        device = torch.device("cuda" if on_gpu else "cpu")
        Trainer(recipe, out, device, processes if on_gpu else 0, goes_on=number > 1, compiled=given.compile).run()
    return 0


if __name__ == "__main__":
    sys.exit(main())
