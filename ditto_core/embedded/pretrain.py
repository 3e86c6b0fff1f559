"""Pretraining: a seed LLM from random weights, on two cores.

In:     the embedded world, a number of tokens, a random seed.
Out:    a Qwen3 model in bfloat16 safetensors, and its tokenizer with the chat template, in
        `embedded.seed_folder()`.
Source: ours.

    python -m ditto_core.embedded.pretrain
    python -m ditto_core.embedded.pretrain --name embedded-small

Loss falls on the assistant's words only, and on running text in full. Documents are batched by length, padded
on the right and need no mask. Small batches of lists to copy come first: copying is learned within minutes then,
and all else rests on it. One process a core, each with one thread: on a busy machine OpenMP over both
cores is far slower. Without further options it makes the larger seed as it ships:
the same bytes on the same hardware. A run that `--minutes` ends depends on the machine's speed.
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
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from random import Random
from typing import Any

import torch
import torch.distributed as dist
from torch.nn import functional
from transformers import PreTrainedTokenizerFast, Qwen3Config, Qwen3ForCausalLM

from ditto_core.embedded import seed_folder
from ditto_core.embedded.documents import COPYING, Writers
from ditto_core.embedded.muon import Muon
from ditto_core.embedded.tokens import END, PAD, Encoder, check_template, token_id, train_tokenizer

RECORD = "pretraining.json"
"""In the seed's folder: what was run, one entry a run."""
_POOL = 96
_COPIED = 0.3  # loss of lists to copy at which they have done their work
_FULL = 0.6  # share of the run by which documents have their full length
_LOG_EVERY_S = 20


@dataclass(frozen=True, slots=True)
class Recipe:
    """Everything that shapes the seed.

    Attributes:
        tokens: The run ends after so many, padding included, or after `minutes`, whichever comes first.
        batch_tokens: Per process and step, padding included.
        matrix_rate: Learning rate of Muon, for the matrices.
        other_rate: Learning rate of AdamW, for embeddings and norms.
        decay: Last share of the run, in which the rates fall to a thirtieth.
        rate_share: Of both rates; below 1 for a run that continues another.
        languages: Code of a language -> share of the documents.
        without: One of `PARTS`, left out to see what it is good for; "" is none.
    """

    tokens: float = 48e6
    minutes: float = 600.0
    seed: int = 0
    vocabulary: int = 2560
    hidden: int = 160
    layers: int = 4
    heads: int = 5
    shared_heads: int = 5
    feed_forward: int = 448
    batch_tokens: int = 4096
    matrix_rate: float = 0.02
    other_rate: float = 4e-3
    decay: float = 0.4
    save_minutes: float = 4.0
    rate_share: float = 1.0
    languages: Mapping[str, float] = field(default_factory=lambda: {"en": 0.8, "zh": 0.1, "ko": 0.1})
    without: str = ""

    def rates(self) -> tuple[float, float]:
        """Peaks of Muon's and AdamW's learning rates."""
        matrix_rate = self.other_rate if self.without == "muon" else self.matrix_rate
        return matrix_rate * self.rate_share, self.other_rate * self.rate_share


PARTS = ("curriculum", "minimal pairs", "muon")
"""Of a recipe: short lists to copy first, then growing documents; foreign questions in the form of own ones; Muon, not AdamW."""

SIZES: dict[str, dict[str, Any]] = {
    "embedded": {},
    "embedded-small": {
        "tokens": 34.5e6, "vocabulary": 2048, "hidden": 96, "layers": 3, "heads": 3, "shared_heads": 3, "feed_forward": 256,
        "languages": {"en": 1.0},
    },
}  # fmt: skip
"""Name of a bundled seed -> what of its recipe is its own."""


def _tokenizer(recipe: Recipe) -> PreTrainedTokenizerFast:
    writers = Writers(Random(recipe.seed + 3), recipe.languages, lambda text: len(text) // 3, recipe.without != "minimal pairs")
    return train_tokenizer(writers, recipe.vocabulary)


def build_model(tokenizer: PreTrainedTokenizerFast, recipe: Recipe) -> Qwen3ForCausalLM:
    """A Qwen3 of random weights."""
    config = Qwen3Config(
        vocab_size=len(tokenizer), hidden_size=recipe.hidden, intermediate_size=recipe.feed_forward,
        num_hidden_layers=recipe.layers, num_attention_heads=recipe.heads, head_dim=32,
        num_key_value_heads=recipe.shared_heads, max_position_embeddings=2048, tie_word_embeddings=True,
        rope_parameters={"rope_type": "default", "rope_theta": 1000.0}, bos_token_id=None,
        eos_token_id=token_id(tokenizer, END), pad_token_id=token_id(tokenizer, PAD),
    )  # fmt: skip
    return Qwen3ForCausalLM(config)  # type: ignore[no-untyped-call]


@dataclass(frozen=True, slots=True)
class Batch:
    """Documents of similar length, padded on the right."""

    ids: torch.Tensor
    trained: torch.Tensor
    kinds: tuple[str, ...]


def batches(writers: Writers, encoder: Encoder, largest: int, pad: int, progress: Callable[[], float]) -> Iterator[Batch]:
    """Endless batches of about `size` tokens; a pool of documents is sorted by length, cut, shuffled."""
    random = Random(largest)
    while True:
        size = round(largest * min(1.0, 0.25 + max(0.0, 10 * (progress() - COPYING))))
        documents = [writers.document(progress()) for _ in range(_POOL)]
        rows = sorted(((encoder(document), document.kind) for document in documents), key=lambda row: len(row[0][0]))
        cut: list[list[tuple[tuple[list[int], list[bool]], str]]] = [[]]
        for row in rows:
            if cut[-1] and (len(cut[-1]) + 1) * len(row[0][0]) > size:
                cut.append([])
            cut[-1].append(row)
        random.shuffle(cut)
        for part in cut:
            width = len(part[-1][0][0])
            ids = torch.tensor([row[0] + [pad] * (width - len(row[0])) for row, _ in part])
            trained = torch.tensor([row[1] + [False] * (width - len(row[1])) for row, _ in part])
            yield Batch(ids, trained, tuple(kind for _, kind in part))


def losses(model: Qwen3ForCausalLM, batch: Batch) -> tuple[torch.Tensor, torch.Tensor]:
    """Loss of every trained token, and the row of the batch it is in; other tokens get no logits."""
    wanted = batch.trained[:, 1:]
    with torch.autocast("cpu", dtype=torch.bfloat16):
        hidden = model.model(input_ids=batch.ids[:, :-1], use_cache=False).last_hidden_state
        logits = functional.linear(hidden[wanted], model.lm_head.weight)
    found = functional.cross_entropy(logits.float(), batch.ids[:, 1:][wanted], reduction="none")
    return found, torch.nonzero(wanted)[:, 0]


def _adam(parameters: Sequence[torch.nn.Parameter]) -> torch.optim.Optimizer:
    return torch.optim.AdamW(parameters, betas=(0.9, 0.98), weight_decay=0.0)  # the rate is set before each step


class Trainer:
    """One process's part in the training."""

    def __init__(self, recipe: Recipe, out: Path, start: Path | None) -> None:
        self._recipe, self._out = recipe, out
        self._rank, self._size = int(os.environ.get("RANK", "0")), int(os.environ.get("WORLD_SIZE", "1"))
        if self._size > 1:
            dist.init_process_group("gloo", rank=self._rank, world_size=self._size)
        torch.set_num_threads(1)
        torch.manual_seed(recipe.seed)
        self._tokenizer = PreTrainedTokenizerFast.from_pretrained(start) if start else _tokenizer(recipe)
        self._model = (
            Qwen3ForCausalLM.from_pretrained(start, dtype=torch.float32) if start else build_model(self._tokenizer, recipe)
        )
        encoder = Encoder(self._tokenizer)
        random = Random(recipe.seed * 1000 + 11 + self._rank)
        writers = Writers(random, recipe.languages, encoder.count, recipe.without != "minimal pairs")
        for writer in writers.of.values():
            check_template(self._tokenizer, encoder, writer.answers())
        self._share, self._tokens, self._step = 0.0, 0, 0
        self._copied_at = -9.0 if start or recipe.without == "curriculum" else None
        pad = token_id(self._tokenizer, PAD)
        self._batches = batches(writers, encoder, recipe.batch_tokens, pad, self._progress)
        matrices = [p for name, p in self._model.named_parameters() if p.ndim == 2 and "embed" not in name]
        self._others = [p for name, p in self._model.named_parameters() if p.ndim < 2 or "embed" in name]
        self._optimizers: list[torch.optim.Optimizer] = [
            _adam(matrices) if recipe.without == "muon" else Muon(matrices, recipe.matrix_rate),
            _adam(self._others),
        ]
        self._means: dict[str, float] = {}
        self._began, self._cpu = time.monotonic(), time.process_time()
        self._before = json.loads((start / RECORD).read_text("utf-8")) if start else []

    def run(self) -> None:
        """Train to the end, with a checkpoint every few minutes."""
        count = sum(p.numel() for p in self._model.parameters())
        self._say(f"{count} parameters, vocabulary {len(self._tokenizer)}, {self._recipe}")
        logged = saved = began = time.monotonic()
        while self._share < 1:
            self._advance((time.monotonic() - began) / 60)
            now = time.monotonic()
            if now - logged > _LOG_EVERY_S or self._share >= 1:
                logged = now
                means = " ".join(f"{kind} {value:.3f}" for kind, value in sorted(self._means.items()))
                self._say(f"share {self._share:.3f} {self._record()} {means}")
            if self._rank == 0 and now - saved > self._recipe.save_minutes * 60:
                saved = now
                self._save()
        if self._rank == 0:
            self._save()

    def _advance(self, minutes: float) -> None:
        batch = next(self._batches)
        found, rows = losses(self._model, batch)
        torch.autograd.backward(found.mean())
        self._tokens += batch.ids.numel()
        share = max(minutes / self._recipe.minutes, self._tokens * self._size / self._recipe.tokens)
        self._share = self._averaged(share)
        torch.nn.utils.clip_grad_norm_(self._others, 1.0)
        scale = min(1.0, (self._step + 1) / 40, max(1 / 30, (1 - self._share) / self._recipe.decay))
        for optimizer, rate in zip(self._optimizers, self._recipe.rates(), strict=True):
            optimizer.param_groups[0]["lr"] = rate * scale
            optimizer.step()
            optimizer.zero_grad(set_to_none=True)
        self._step += 1
        for place, kind in enumerate(batch.kinds):
            of_row = found.detach()[rows == place]
            if len(of_row):
                loss = float(of_row.mean())
                self._means[kind] = 0.98 * self._means.get(kind, loss) + 0.02 * loss

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

    def _progress(self) -> float:
        """Of the documents: nothing but copying until it is learned, then along with the share of the run."""
        if self._copied_at is None:
            if self._means.get("copies", 9.0) > _COPIED:
                return 0.0
            self._copied_at = self._share
        return COPYING + (1 - COPYING) * min(1.0, (self._share - self._copied_at) / (_FULL - self._copied_at))

    def _save(self) -> None:
        """Write beside the folder first: whoever loads the seed meanwhile finds whole files."""
        fresh = self._out.with_name(f".{self._out.name}-{os.getpid()}")
        half: Any = copy.deepcopy(self._model)
        half.to(torch.bfloat16).save_pretrained(fresh)
        self._tokenizer.save_pretrained(fresh)
        record = [*self._before, dataclasses.asdict(self._recipe) | self._record()]
        (fresh / RECORD).write_text(json.dumps(record, indent=1) + "\n", "utf-8")
        self._out.mkdir(parents=True, exist_ok=True)
        for path in sorted(fresh.iterdir()):
            path.chmod(0o644)
            path.replace(self._out / path.name)
        shutil.rmtree(fresh)

    def _record(self) -> dict[str, float]:
        return {
            "steps": self._step,
            "trained_on_tokens": self._tokens * self._size,
            "wall_minutes": round((time.monotonic() - self._began) / 60, 1),
            "cpu_minutes": round((time.process_time() - self._cpu) / 60 * self._size, 1),
        }

    def _say(self, text: str) -> None:
        if self._rank == 0:
            print(text, flush=True)


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
    parser.add_argument("--name", choices=sorted(SIZES), default="embedded", help="which of the bundled seeds")
    parser.add_argument("--tokens", type=float, help="to train on; by default as many as the seed that ships")
    parser.add_argument("--minutes", type=float, default=usual.minutes, help="at most")
    parser.add_argument("--seed", type=int, default=usual.seed)
    parser.add_argument("--processes", type=int, default=2)
    parser.add_argument("--save-minutes", type=float, default=usual.save_minutes, help="between checkpoints")
    parser.add_argument("--out", type=Path, default=None, help="folder; the seed's own in the package by default")
    parser.add_argument("--start", type=Path, default=None, help="continue from this folder's weights and tokenizer")
    parser.add_argument("--rate-share", type=float, default=1.0, help="of the learning rates")
    parser.add_argument("--without", choices=PARTS, default="", help="leave a part of the recipe out")
    given = parser.parse_args()
    if given.processes > 1:
        return launch(given.processes, sys.argv[1:])
    recipe = Recipe(
        minutes=given.minutes, seed=given.seed, save_minutes=given.save_minutes, rate_share=given.rate_share,
        without=given.without, **SIZES[given.name] | ({"tokens": given.tokens} if given.tokens else {}),
    )  # fmt: skip
    Trainer(recipe, given.out or seed_folder(given.name), given.start).run()
    return 0


if __name__ == "__main__":
    sys.exit(main())
