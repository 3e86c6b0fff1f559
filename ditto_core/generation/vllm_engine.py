"""vLLM engine: one thread owns vLLM's engine in this process and feeds it without a pause.

In:   requests from any number of threads, and a folder with safetensors weights and a tokenizer.
Out:  completions as they finish, with the number of prompt tokens that the prefix cache held.

The engine core runs in this process (VLLM_ENABLE_V1_MULTIPROCESSING=0): a load imports vLLM once instead of three times, and no
child process outlives a killed run. With it goes OMP_NUM_THREADS=1, which counts only where torch is not imported yet. Both
are set for the time of the load and only where the user did not set them.

Example: eight shards call `generate` at once; their prompts join one running batch, and the second question to a role finds the
profile in the prefix cache.
"""

import contextlib
import gc
import json
import logging
import os
import sys
from collections.abc import Iterator, Mapping
from importlib.util import find_spec
from typing import Any

from ditto_core.errors import InvalidInput, SourceUnavailable
from ditto_core.generation.local_model import LocalGenerator, Prompt
from ditto_core.generation.transformers_engine import FolderTokenizer
from ditto_core.settings import GenerationSettings

_LOG = logging.getLogger(__name__)
_LOAD_ENVIRONMENT = {
    "VLLM_ENABLE_V1_MULTIPROCESSING": "0",
    "OMP_NUM_THREADS": "1",
    "VLLM_NO_USAGE_STATS": "1",
    "VLLM_LOGGING_LEVEL": "WARNING",
}
_DEATHS_ALONE = 3
_CPU_CACHE_BYTES = 1 << 30
"""Key-value cache on a CPU; VLLM_CPU_KVCACHE_SPACE (GiB), where set, goes first."""


class VllmGenerator(LocalGenerator):
    """The engine for large runs; see `LocalGenerator` for threads, loading and closing.

    An engine that dies is started again and asked again what was in flight. When it dies a second time, what was in flight is
    asked one by one: a prompt with which the engine dies alone fails as "kills_engine", and the others are answered. Three of
    these in a row say that it is the engine: everything unanswered and everything that comes fails as "engine_unavailable".

    Raises:
        ModuleNotFoundError: vLLM is not installed.
    """

    def __init__(self, settings: GenerationSettings) -> None:
        if find_spec("vllm") is None:
            raise ModuleNotFoundError("No module named 'vllm'", name="vllm")
        super().__init__(settings, FolderTokenizer)
        self._running: dict[str, Prompt] = {}
        self._suspects: list[Prompt] = []
        self._deaths = 0
        self._deaths_alone = 0
        self._number = 0

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
                engine.add_request(name, {"prompt_token_ids": list(prompt.tokens)}, self._parameters(prompt))
            except (VLLMClientError, ValueError) as error:
                del self._running[name]
                self._fail(prompt, "rejected_by_engine", str(error))

    def _step(self, engine: Any) -> None:
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
            self._complete(prompt, reply.token_ids, str(reply.finish_reason), output.num_cached_tokens or 0)

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
            structured_outputs=StructuredOutputsParams(json=json.loads(request.schema)) if request.schema else None,
            detokenize=False,  # `_complete` does it once, when the reply is whole
            output_kind=RequestOutputKind.CUMULATIVE if request.watch else RequestOutputKind.FINAL_ONLY,
        )

    def _load(self) -> Any:
        settings = self._settings
        try:
            with _environment(_LOAD_ENVIRONMENT):
                from vllm.config import StructuredOutputsConfig
                from vllm.engine.arg_utils import EngineArgs
                from vllm.platforms import current_platform
                from vllm.usage.usage_lib import UsageContext
                from vllm.v1.engine.llm_engine import LLMEngine

                cpu = current_platform.is_cpu()
                arguments = EngineArgs(
                    model=str(self._folder),
                    dtype=("float32" if cpu else "auto") if settings.dtype == "auto" else settings.dtype,
                    max_model_len=self._limit,
                    trust_remote_code=False,
                    enable_prefix_caching=True,
                    enforce_eager=cpu,
                    gpu_memory_utilization=settings.gpu_memory_utilization,
                    kv_cache_memory_bytes=_CPU_CACHE_BYTES if cpu else None,
                    tensor_parallel_size=settings.tensor_parallel_size,
                    # JSON allows whitespace anywhere, and some models never stop writing it. vLLM 0.32 reads this switch
                    # here only, not from a request's parameters, and only with a named backend.
                    structured_outputs_config=StructuredOutputsConfig(backend="xgrammar", disable_any_whitespace=True),
                    disable_log_stats=True,
                )
                with _unscanned("llvmlite.binding.ffi"):
                    return LLMEngine.from_engine_args(arguments, usage_context=UsageContext.LLM_CLASS)
        except Exception as error:  # vLLM has no common base for what a load can meet
            raise InvalidInput(
                f"vLLM cannot load the model in {str(self._folder)!r} with a context of {self._limit} tokens: {error} "
                f"Lower generation.max_model_len, free memory or change generation.gpu_memory_utilization, or set "
                f"generation.engine to transformers."
            ) from error

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


@contextlib.contextmanager
def _environment(values: Mapping[str, str]) -> Iterator[None]:
    """Set variables that are not set, and take them away again: later child processes must not inherit one thread."""
    added = {name: value for name, value in values.items() if name not in os.environ}
    os.environ.update(added)
    try:
        yield
    finally:
        for name in added:
            os.environ.pop(name, None)
