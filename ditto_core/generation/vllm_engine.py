"""vLLM engine: one thread owns vLLM's engine and feeds it without a pause.

In:   requests from any number of threads, and a folder with safetensors weights and a tokenizer.
Out:  completions as they finish, with the number of prompt tokens that the prefix cache held.

On a CPU the engine core runs in this process (VLLM_ENABLE_V1_MULTIPROCESSING=0): a load imports vLLM once instead of three times.
On a GPU it runs in a process of its own, as vLLM has it: what kills it there leaves this process able to load another. Processes
that a killed run left behind are ended before a load. With OMP_NUM_THREADS=1, which counts only where torch is not imported yet,
these variables are set for the time of the load and only where the user did not set them.

Example: eight shards call `generate` at once; their prompts join one running batch, and the second question to a role finds the
profile in the prefix cache.
"""

import contextlib
import gc
import itertools
import json
import logging
import os
import sys
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from functools import lru_cache
from importlib.util import find_spec
from typing import Any

from ditto_core.errors import InvalidInput, SourceUnavailable
from ditto_core.generation import stale_engines
from ditto_core.generation.copies import Copies
from ditto_core.generation.generator import Generator
from ditto_core.generation.local_model import LocalGenerator, Prompt
from ditto_core.generation.transformers_engine import FolderTokenizer
from ditto_core.settings import GenerationSettings

_LOG = logging.getLogger(__name__)
_LOAD_ENVIRONMENT = {
    "OMP_NUM_THREADS": "1",
    "VLLM_NO_USAGE_STATS": "1",
    "VLLM_LOGGING_LEVEL": "WARNING",
    "VLLM_WORKER_MULTIPROC_METHOD": "spawn",  # this process has threads, which a fork would not survive
}
_DEATHS_ALONE = 3
_LOOKS_EVERY_S = 0.5  # for prompts that nobody waits for any more: a look at thousands takes as long as a step on a GPU
_CPU_CACHE_GIB = 1.0
_CPU_STEP_TOKENS = 4096
_BEGINNING = 128  # tokens; a prompt that shows a profile begins with it
_FAMILIES = 100_000  # remembered; the prompts of many more than run at once
_LORA_RANKS = (1, 8, 16, 32, 64, 128, 256, 320, 512)  # those that vLLM 0.32 has room for


def create(settings: GenerationSettings) -> Generator:
    """One engine, or `settings.data_parallel_size` of them as one.

    Raises:
        ModuleNotFoundError: vLLM is not installed.
    """
    if settings.data_parallel_size == 1:
        return VllmGenerator(settings)
    turn = threading.Lock()  # loads write to the environment
    return Copies([VllmGenerator(settings, copy, turn) for copy in range(settings.data_parallel_size)])


class VllmGenerator(LocalGenerator):
    """The engine for large runs; see `LocalGenerator` for threads, loading and closing.

    An engine that dies is started again and asked again what was in flight. When it dies a second time, what was in flight is
    asked one by one: a prompt with which the engine dies alone fails as "kills_engine", and the others are answered. Three of
    these in a row say that it is the engine: everything unanswered and everything that comes fails as "engine_unavailable".

    Args:
        settings: Theirs are all of the engine's; nothing of them but model and adapter is part of a reply.
        copy: Number of this engine among several, each with processes and GPUs of its own; None where it is the only one.
        turn: Held while it loads.

    Raises:
        ModuleNotFoundError: vLLM is not installed.
    """

    def __init__(self, settings: GenerationSettings, copy: int | None = None, turn: "threading.Lock | None" = None) -> None:
        if find_spec("vllm") is None:
            raise ModuleNotFoundError("No module named 'vllm'", name="vllm")
        super().__init__(settings, FolderTokenizer)
        self._copy = copy
        self._turn = turn or threading.Lock()
        self._running: dict[str, Prompt] = {}
        self._suspects: list[Prompt] = []
        self._deaths = 0
        self._deaths_alone = 0
        self._number = 0
        self._looks_at = 0.0
        # Prompts that begin alike are a family, numbered as it first came. Families run one after another, so that a profile
        # leaves the prefix cache when all that show it are done: 0.92 of the best share of hits, first come, first served 0.85.
        numbers = itertools.count()
        self._family_of = lru_cache(_FAMILIES)(lambda _beginning: next(numbers))

    def _serve(self) -> None:
        engine = self._load()
        try:
            while not self._closing.is_set():
                try:
                    self._add(engine, self._next())
                    self._step(engine)
                except Exception as error:  # an engine dies of anything; all of it has the same remedy
                    engine = self._restart(engine, error)
        finally:
            _unload(engine)

    def _next(self) -> list[Prompt]:
        """What to add now: suspects go alone, one after another, before anything else."""
        if not self._suspects:
            return self._take(wait=not self._running)
        return [] if self._running else [self._suspects.pop(0)]

    def _add(self, engine: Any, prompts: list[Prompt]) -> None:
        from vllm.exceptions import VLLMClientError

        # All are in flight before the first can kill the engine, so that a restart asks all of them again.
        added = {}
        for prompt in self._still_wanted(prompts):
            self._number += 1
            added[str(self._number)] = prompt
        self._running |= added
        for name, prompt in added.items():
            try:
                shown, parameters = {"prompt_token_ids": list(prompt.tokens)}, self._parameters(prompt)
                family = self._family_of(hash(tuple(prompt.tokens[:_BEGINNING])))
                engine.add_request(name, shown, parameters, lora_request=self._lora(), priority=family)
            except (VLLMClientError, ValueError) as error:
                del self._running[name]
                self._fail(prompt, "rejected_by_engine", str(error))

    def _step(self, engine: Any) -> None:
        if time.monotonic() > self._looks_at:
            self._looks_at = time.monotonic() + _LOOKS_EVERY_S
            abandoned = [name for name, prompt in self._running.items() if prompt.job.abandoned.is_set()]
            if abandoned:
                engine.abort_request(abandoned)
                self._still_wanted([self._running.pop(name) for name in abandoned])
        if not self._running:
            return
        for output in engine.step():
            if output.request_id not in self._running:
                continue
            if not output.finished:
                self._show(self._running[output.request_id], output.outputs[0].token_ids)
                continue
            prompt, reply = self._running.pop(output.request_id), output.outputs[0]
            self._deaths_alone = 0
            cached = output.num_cached_tokens or 0
            if prompt.job.request.choices:
                self._complete_choice(prompt, {token: found.logprob for token, found in reply.logprobs[0].items()}, cached)
            else:
                self._complete(prompt, reply.token_ids, str(reply.finish_reason), cached)

    def _parameters(self, prompt: Prompt) -> Any:
        from vllm.sampling_params import RequestOutputKind, SamplingParams, StructuredOutputsParams

        request = prompt.job.request
        return SamplingParams(
            temperature=request.sampling.temperature,
            top_p=request.sampling.top_p,
            repetition_penalty=request.sampling.repetition_penalty,
            max_tokens=request.sampling.max_tokens,
            seed=request.seed(),
            stop_token_ids=sorted(self._tokenizer().stop_ids),
            logprob_token_ids=self._tokenizer().first_of(request.choices) or None,
            structured_outputs=StructuredOutputsParams(json=json.loads(request.schema)) if request.schema else None,
            detokenize=False,  # `_complete` does it once, when the reply is whole
            output_kind=RequestOutputKind.CUMULATIVE if request.watch else RequestOutputKind.FINAL_ONLY,
        )

    def _lora(self) -> Any:
        """The adapter, for every request alike: a batch that mixes them with the bare model gives wrong rows on a CPU (0.32)."""
        if self._adapter is None:
            return None
        from vllm.lora.request import LoRARequest

        return LoRARequest(self._adapter.name, 1, str(self._adapter))

    def _load(self) -> Any:
        with self._turn, _environment({**_unset(_LOAD_ENVIRONMENT), **stale_engines.mark()}):
            if ended := stale_engines.end_stale():
                _LOG.warning("ended %d processes of an engine whose run was killed", len(ended))
            try:
                from vllm.engine.arg_utils import EngineArgs
                from vllm.platforms import current_platform
                from vllm.usage.usage_lib import UsageContext
                from vllm.v1.engine.llm_engine import LLMEngine

                cpu = current_platform.is_cpu()
                with _environment(self._processes(cpu)), _unscanned("llvmlite.binding.ffi"):
                    arguments = EngineArgs(**self._arguments(cpu))
                    return LLMEngine.from_engine_args(arguments, usage_context=UsageContext.LLM_CLASS)
            except Exception as error:  # vLLM has no common base for what a load can meet
                raise InvalidInput(
                    f"vLLM cannot load the model in {str(self._folder)!r} with a context of {self._limit} tokens: {error} "
                    f"Lower generation.max_model_len, free memory or change generation.gpu_memory_utilization, or set "
                    f"generation.engine to transformers."
                ) from error

    def _processes(self, cpu: bool) -> Mapping[str, str]:
        """Environment that says where the engine core runs: in this process or in one of its own, and on which GPUs."""
        if self._copy is None:
            return _unset({"VLLM_ENABLE_V1_MULTIPROCESSING": "0" if cpu else "1"})
        apart = {"VLLM_ENABLE_V1_MULTIPROCESSING": "1"}  # one process cannot hold two cores
        if cpu:
            return apart
        from vllm.platforms import current_platform

        named = os.environ.get("CUDA_VISIBLE_DEVICES", "")
        visible = named.split(",") if named else [str(number) for number in range(current_platform.device_count())]
        return apart | {"CUDA_VISIBLE_DEVICES": ",".join(gpus(self._copy, self._settings, visible))}

    def _arguments(self, cpu: bool) -> Mapping[str, Any]:
        """What vLLM is told: our settings, by its names."""
        from vllm.config import StructuredOutputsConfig

        settings = self._settings
        cache = settings.kv_cache_gib or (_CPU_CACHE_GIB if cpu else 0)
        arguments = {
            "model": str(self._folder),
            "dtype": ("float32" if cpu else "auto") if settings.dtype == "auto" else settings.dtype,
            "max_model_len": self._limit,
            "trust_remote_code": False,
            "enable_prefix_caching": settings.prefix_caching,
            "enforce_eager": cpu,
            "gpu_memory_utilization": settings.gpu_memory_utilization,
            "kv_cache_memory_bytes": int(cache * 2**30) or None,
            "tensor_parallel_size": settings.tensor_parallel_size,
            # JSON allows whitespace anywhere, and some models never stop writing it. vLLM 0.32 reads this switch
            # here only, not from a request's parameters, and only with a named backend.
            "structured_outputs_config": StructuredOutputsConfig(backend="xgrammar", disable_any_whitespace=True),
            # Of those that wait, prompts of the oldest family run next; see `_family_of`.
            "scheduling_policy": "priority",
            "disable_log_stats": True,
        }
        if cpu:
            # A prompt that is read in parts, as soon as more wait than a step takes, kills vLLM 0.32 on a CPU if its request
            # has a seed ("CPU Generator does not use offset").
            arguments |= {"enable_chunked_prefill": False, "max_num_batched_tokens": max(self._limit, _CPU_STEP_TOKENS)}
        if self._adapter is not None:
            rank = json.loads((self._adapter / "adapter_config.json").read_text("utf-8"))["r"]
            room = next((known for known in _LORA_RANKS if known >= rank), _LORA_RANKS[-1])
            arguments |= {"enable_lora": True, "max_loras": 1, "max_lora_rank": room}
        return arguments

    def _restart(self, engine: Any, error: Exception) -> Any:
        """A fresh engine, and a decision on what was in flight.

        Raises:
            SourceUnavailable: Prompts are not the cause, or the engine does not start again.
        """
        self._deaths += 1
        _unload(engine)
        problem = f"vLLM died: {type(error).__name__}: {error}"
        in_flight = list(self._running.values())
        self._running.clear()
        if self._deaths > 1 and len(in_flight) == 1:
            self._deaths_alone += 1
            self._fail(in_flight.pop(), "kills_engine", problem)
        if self._deaths_alone >= _DEATHS_ALONE or (self._deaths > 1 and not in_flight and not self._deaths_alone):
            raise SourceUnavailable(f"{problem} (for the {self._deaths}. time; not restarted)")
        _LOG.warning("%s; starting it again and asking %d requests again", problem, len(in_flight))
        try:
            fresh = self._load()
        except InvalidInput as failed:
            raise SourceUnavailable(f"{problem}; starting it again failed: {failed}") from failed
        if self._deaths == 1:
            self._add(fresh, in_flight)
        else:
            self._suspects = in_flight + self._suspects
        return fresh


def gpus(copy: int, settings: GenerationSettings, visible: Sequence[str]) -> Sequence[str]:
    """The GPUs of one copy, of those that there are.

    Raises:
        InvalidInput: There are not enough for all copies.
    """
    each, copies = settings.tensor_parallel_size, settings.data_parallel_size
    if len(visible) < each * copies:
        raise InvalidInput(
            f"generation.data_parallel_size = {copies} copies of generation.tensor_parallel_size = {each} GPUs need "
            f"{each * copies}, there are {len(visible)}. Lower one of them."
        )
    return visible[copy * each : (copy + 1) * each]


@contextlib.contextmanager
def _unscanned(name: str) -> Iterator[None]:
    """Take a module out of `sys.modules` for a while.

    vLLM 0.32 on the CPU reads `vars()` of every object in every loaded module; llvmlite's library object, loaded by numba and so
    by bm25s, answers that with a function and ends the load ("'_lib_fn_wrapper' object has no attribute 'get'").
    """
    module = sys.modules.pop(name, None)
    try:
        yield
    finally:
        if module is not None:
            sys.modules[name] = module


def _unload(engine: Any) -> None:
    """End the engine's workers, free its memory, and leave the process ready to load another."""
    from vllm.distributed import cleanup_dist_env_and_memory

    with contextlib.suppress(Exception):  # of a dead engine there may be nothing left to shut down
        engine.engine_core.shutdown()
    del engine
    gc.collect()
    cleanup_dist_env_and_memory()


def _unset(values: Mapping[str, str]) -> dict[str, str]:
    """Those of the variables that the user has not set."""
    return {name: value for name, value in values.items() if name not in os.environ}


@contextlib.contextmanager
def _environment(values: Mapping[str, str]) -> Iterator[None]:
    """Set variables and put back what was there: later child processes must not inherit one thread, nor an engine's mark."""
    before = {name: os.environ.get(name) for name in values}
    os.environ.update(values)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value
