"""What the simulate flow keeps of vLLM's speed, and of its prefix cache.

In:   the embedded world and its seed LLM, on vLLM on the CPU.
Out:  rows for the table, as JSON in the last line of stdout: `python -m tests.benchmarks.engine`.

The flow against one call of vLLM with the prompts that the flow sent, in one process, with the same settings and the model
loaded. The cache is a third of what the profiles of all roles need; the best share that any order could reach in it, each
beginning read once and never again, is counted from the prompts. A process of its own: vLLM wants its number of threads set
before torch is imported.
"""

import json
import os
import random
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from ditto_core import configuration
from ditto_core.generation.generator import Completion, Outcome, Request, Sampling
from ditto_core.records import Message
from ditto_core.settings import Settings
from flows.server import prefect_server

_ROLES = 40
_BLOCK = 128  # tokens of a block of vLLM's prefix cache on a CPU
_LARGE_GIB, _SMALL_GIB = 1.0, 0.08  # 209,000 and 16,700 tokens of the seed

Rows = list[tuple[str, float, str]]


def rows() -> Rows:
    """The rows, measured in a process of its own."""
    quiet = {"OMP_NUM_THREADS": "1", "VLLM_ENABLE_V1_MULTIPROCESSING": "0", "VLLM_LOGGING_LEVEL": "ERROR"}
    command = [sys.executable, "-m", "tests.benchmarks.engine"]
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True, env={**os.environ, **quiet}, check=True)
    return [(what, measured, bound) for what, measured, bound in json.loads(done.stdout.splitlines()[-1])]


class Recorder:
    """Remembers what an engine is asked, and what comes back."""

    def __init__(self, engine: Any) -> None:
        self.requests: list[Request] = []
        self.completions: list[Completion] = []
        self._generate, engine.generate = engine.generate, self._recorded

    def _recorded(self, requests: Sequence[Request]) -> Iterator[Outcome]:
        self.requests += requests
        for outcome in self._generate(requests):
            if isinstance(outcome, Completion):
                self.completions.append(outcome)
            yield outcome

    def new_tokens(self) -> int:
        return sum(completion.completion_tokens for completion in self.completions)

    def cached_share(self) -> float:
        """Of the prompts' tokens, those that the prefix cache held."""
        prompt_tokens = sum(completion.prompt_tokens for completion in self.completions)
        return sum(completion.cached_tokens for completion in self.completions) / prompt_tokens


def _settings(folder: Path, kv_cache_gib: float) -> Settings:
    changes = [f"knowledge.max_characters={_ROLES}", "generation.engine=vllm", f"generation.kv_cache_gib={kv_cache_gib}"]
    changes += ["simulation.profile_tokens=700"]  # long beside a block of the cache, as they are in earnest
    return configuration.load("demo", assignments=changes, data_root=str(folder))


def _simulated(settings: Settings) -> tuple[float, Recorder]:
    """Seconds of the simulate flow once the model is loaded, and what it asked."""
    from flows import knowledge, simulation
    from tasks import resources

    knowledge.collect(settings)
    engine = resources.generator(settings, settings.generation).engine
    list(engine.generate([Request((Message("user", "Hello"),), Sampling(max_tokens=4))]))
    recorder = Recorder(engine)
    started, cpu = time.perf_counter(), time.process_time()
    simulation.simulate(settings)
    seconds = time.perf_counter() - started
    print(f"flow: {seconds:.1f} s, {time.process_time() - cpu:.1f} s of CPU", file=sys.stderr)
    resources.release()
    return seconds, recorder


def _handed_to_vllm(settings: Settings, requests: Sequence[Request]) -> float:
    """New tokens a second of one call of vLLM."""
    from vllm import LLM, SamplingParams
    from vllm.distributed import cleanup_dist_env_and_memory

    from tasks import resources

    generation = resources.resolve_model(settings.generation)
    sys.modules.pop("llvmlite.binding.ffi", None)  # came with bm25s, and vLLM's scan of all modules trips over it
    llm = LLM(
        generation.model,
        dtype="float32",
        max_model_len=generation.max_model_len,
        enforce_eager=True,
        enable_chunked_prefill=False,  # as ours on a CPU
        max_num_batched_tokens=4096,
        kv_cache_memory_bytes=int(generation.kv_cache_gib * 2**30),
    )
    chats = [[{"role": message.role, "content": message.content} for message in request.messages] for request in requests]
    parameters = [
        SamplingParams(
            temperature=request.sampling.temperature,
            top_p=request.sampling.top_p,
            repetition_penalty=request.sampling.repetition_penalty,
            max_tokens=request.sampling.max_tokens,
            seed=request.seed(),
        )
        for request in requests
    ]
    started, cpu = time.perf_counter(), time.process_time()
    outputs = llm.chat(chats, parameters, use_tqdm=False)
    seconds = time.perf_counter() - started
    print(f"directly: {seconds:.1f} s, {time.process_time() - cpu:.1f} s of CPU", file=sys.stderr)
    llm.llm_engine.engine_core.shutdown()
    del llm
    cleanup_dist_env_and_memory()
    return sum(len(output.outputs[0].token_ids) for output in outputs) / seconds


def _shuffled(settings: Settings, requests: Sequence[Request]) -> Recorder:
    """The same requests in any order."""
    from tasks import resources

    engine = resources.generator(settings, settings.generation).engine
    recorder = Recorder(engine)
    list(engine.generate(random.Random(0).sample(requests, len(requests))))
    resources.release()
    return recorder


def best_share(settings: Settings, requests: Sequence[Request]) -> float:
    """The share of the prompts' tokens that a cache could hold which forgets nothing: all blocks but the first of their kind.

    vLLM never takes a prompt's last token from the cache, since it must compute something.
    """
    from ditto_core.generation.transformers_engine import FolderTokenizer
    from tasks import resources

    tokenizer = FolderTokenizer(Path(resources.resolve_model(settings.generation).model))
    seen: set[tuple[int, ...]] = set()
    cached = total = 0
    for request in requests:
        tokens = tokenizer.encode_chat(request.messages)
        total += len(tokens)
        known = True
        for end in range(_BLOCK, len(tokens) + 1, _BLOCK):
            known = known and tuple(tokens[:end]) in seen
            cached += _BLOCK if known and end < len(tokens) else 0
            seen.add(tuple(tokens[:end]))
    return cached / total


def main() -> None:
    with tempfile.TemporaryDirectory() as name, prefect_server(Path(name)):
        large, small = (_settings(Path(name) / str(size), size) for size in (_LARGE_GIB, _SMALL_GIB))
        seconds, asked = _simulated(large)
        speed = asked.new_tokens() / seconds
        print(f"{seconds:.1f} s, {len(asked.requests)} requests, {speed:.0f} tokens/s", file=sys.stderr)
        direct = _handed_to_vllm(large, asked.requests)
        print(f"directly {direct:.0f} tokens/s", file=sys.stderr)
        _, grouped = _simulated(small)
        best = best_share(small, grouped.requests)
        mixed = _shuffled(small, grouped.requests)
    result: Rows = [
        ("simulate flow on vLLM, tokens/s over one call of vLLM with its prompts", speed / direct, "at least 0.95"),
        (
            "hits of a prefix cache too small for all profiles over the best, as the flow asks",
            grouped.cached_share() / best,
            "at least 0.9",
        ),
        ("the same, with the same requests shuffled", mixed.cached_share() / best, "less"),
    ]
    print(f"best share {best:.2f} of {len(grouped.requests)} requests", file=sys.stderr)
    print(json.dumps(result))


if __name__ == "__main__":
    main()
