"""What the simulate flow keeps of vLLM's speed, and of its prefix cache.

In:   the embedded world and its seed LLM, on vLLM on the CPU.
Out:  rows for the table, as JSON in the last line of stdout: `python -m tests.benchmarks.engine`.

The flow against one call of vLLM with the prompts that the flow sent, with the same settings and the model loaded: once with
the engine core in this process, where whatever the flow does takes the engine's time, once in a process of its own as on a GPU.
The cache is a third of what the profiles of its roles need; the best share that any order could reach in it, each beginning read
once and never again, is counted from the prompts, and vLLM is given the same prompts in any order. In processes of their own,
since vLLM wants its number of threads set before torch is imported.
"""

import json
import os
import random
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from ditto_core import configuration
from ditto_core.generation.generator import Answer, Answers, Job
from ditto_core.generation.requests import Completion, Request, Sampling
from ditto_core.records import Message
from ditto_core.settings import Settings
from flows.server import prefect_server

_ALL_ROLES, _FEW_ROLES = 200, 40  # the world has fewer than the first
_BLOCK = 128  # tokens of a block of vLLM's prefix cache on a CPU
_LARGE_GIB, _SMALL_GIB = 1.0, 0.08  # 209,000 and 16,700 tokens of the seed

Rows = list[tuple[str, float, str]]


def rows() -> Rows:
    """The rows, measured in processes of their own."""
    return [*_rows_of("speed", "0"), *_rows_of("speed", "1"), *_rows_of("cache", "0")]


def _rows_of(what: str, core_apart: str) -> Rows:
    quiet = {"OMP_NUM_THREADS": "1", "VLLM_ENABLE_V1_MULTIPROCESSING": core_apart, "VLLM_LOGGING_LEVEL": "ERROR"}
    command = [sys.executable, "-m", "tests.benchmarks.engine", what]
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True, env={**os.environ, **quiet}, check=True)
    return [(what, measured, bound) for what, measured, bound in json.loads(done.stdout.splitlines()[-1])]


@dataclass(frozen=True, slots=True)
class _Heard:
    """Passes an answer on, and remembers it."""

    answers: Answers
    completions: list[Completion]

    def put(self, answer: Answer) -> None:
        if isinstance(answer, Completion):
            self.completions.append(answer)
        self.answers.put(answer)


class Recorder:
    """Remembers what an engine is asked, and what comes back."""

    def __init__(self, engine: Any) -> None:
        self.requests: list[Request] = []
        self.completions: list[Completion] = []
        self._submit, engine.submit = engine.submit, self._recorded

    def _recorded(self, jobs: Sequence[Job]) -> None:
        self.requests += [job.request for job in jobs]
        self._submit([replace(job, answers=_Heard(job.answers, self.completions)) for job in jobs])

    def new_tokens(self) -> int:
        return sum(completion.completion_tokens for completion in self.completions)

    def cached_share(self) -> float:
        """Of the prompts' tokens, those that the prefix cache held."""
        prompt_tokens = sum(completion.prompt_tokens for completion in self.completions)
        return sum(completion.cached_tokens for completion in self.completions) / prompt_tokens


def _settings(folder: Path, roles: int, kv_cache_gib: float) -> Settings:
    changes = [f"knowledge.max_characters={roles}", "generation.engine=vllm", f"generation.kv_cache_gib={kv_cache_gib}"]
    changes += ["simulation.profile_tokens=700"]  # long beside a block of the cache, as they are in earnest
    return configuration.load("demo", assignments=changes, data_root=str(folder))


def _simulated(settings: Settings) -> tuple[float, Recorder]:
    """Seconds of the simulate flow once the model is loaded, and what it asked."""
    import bm25s  # noqa: F401 - with numba it takes a second, once

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


def _handed_to_vllm(settings: Settings, requests: Sequence[Request]) -> tuple[float, float]:
    """New tokens a second of one call of vLLM, and the share of the prompts' tokens that its cache held."""
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
    cached = sum(output.num_cached_tokens for output in outputs) / sum(len(output.prompt_token_ids) for output in outputs)
    return sum(len(output.outputs[0].token_ids) for output in outputs) / seconds, cached


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


def speed(folder: Path) -> Rows:
    """The flow against one call."""
    settings = _settings(folder, _ALL_ROLES, _LARGE_GIB)
    seconds, asked = _simulated(settings)
    direct, _ = _handed_to_vllm(settings, asked.requests)
    print(f"{len(asked.requests)} requests, {asked.new_tokens() / seconds:.0f} and {direct:.0f} tokens/s", file=sys.stderr)
    where = "in this process" if os.environ["VLLM_ENABLE_V1_MULTIPROCESSING"] == "0" else "in its own, as on a GPU"
    what = f"simulate flow on vLLM, tokens/s over one call of vLLM with its prompts, the core {where}"
    return [(what, asked.new_tokens() / seconds / direct, "at least 0.95")]


def cache(folder: Path) -> Rows:
    """Hits of a small cache."""
    settings = _settings(folder, _FEW_ROLES, _SMALL_GIB)
    _, asked = _simulated(settings)
    best = best_share(settings, asked.requests)
    shuffled = random.Random(0).sample(asked.requests, len(asked.requests))
    _, mixed = _handed_to_vllm(settings, shuffled)
    print(f"best share {best:.2f} of {len(asked.requests)} requests", file=sys.stderr)
    small = "hits of a prefix cache too small for all profiles over the best"
    return [
        (f"{small}, as the flow asks", asked.cached_share() / best, "at least 0.9"),
        (f"{small}, its requests shuffled and handed to vLLM", mixed / best, "less"),
    ]


def main() -> None:
    with tempfile.TemporaryDirectory() as name, prefect_server(Path(name)):
        print(json.dumps({"speed": speed, "cache": cache}[sys.argv[1]](Path(name))))


if __name__ == "__main__":
    main()
