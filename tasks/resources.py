"""What a process holds for all its shard tasks: the memo and one generator per model. The only module-level state.

`use_environment` takes what the environment offers; `generator` makes or returns; `release` frees what holds memory.
"""

import atexit
import os
import threading
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from ditto_core.embedded import SEEDS, seed_folder
from ditto_core.generation import engines
from ditto_core.memo import Memo
from ditto_core.memoised import MemoisedGenerator
from ditto_core.recipe import ModelIdentity, digest
from ditto_core.settings import GenerationSettings, Settings

SHARDS_AT_ONCE = 8
"""Shards in work at once in one process: enough to keep an engine's batch full across shard edges."""

_lock = threading.RLock()
_memos: dict[str, Memo] = {}
_generators: dict[str, MemoisedGenerator] = {}
_calls: Counter[str] = Counter()
_new_tokens = 0
_api_key = ""

Peers = Callable[[Callable[[], Any]], Iterable[Any]]
"""Calls a function in every process that works for this one, and returns what each answered."""
_peers: list[Peers] = []


def use_environment() -> None:
    """Take the environment's secrets for this process's engines; flows and shards start in processes of others' runners, too."""
    global _api_key
    _api_key = os.environ.get("DITTO_API_KEY", "")


def generator(settings: Settings, generation: GenerationSettings) -> MemoisedGenerator:
    """The generator of one model behind the run's memo; the engine is loaded at the first unknown request."""
    resolved = resolve_model(generation)
    name = digest([resolved.model_dump(mode="json"), settings.effective_memo_url])
    with _lock:
        if name not in _generators:
            api_key = _api_key
            identity = engines.identify(resolved)
            _generators[name] = MemoisedGenerator(identity, lambda: engines.create(resolved, api_key=api_key), memo(settings))
        return _generators[name]


def identify(generation: GenerationSettings) -> ModelIdentity:
    """Digests of the model that the settings name, without loading it."""
    return engines.identify(resolve_model(generation))


def seed_llm(settings: Settings) -> GenerationSettings:
    """The LLM that is tuned and examined: the one that simulates, unless `training.model` names another.

    Weights behind a server cannot be tuned, nor can the server answer for the tuned ones: a local engine does. What is tuned are
    the weights themselves, without an adapter that was laid over them to simulate; a revision is that of `generation.model` on
    the hub, so it names none of another model, nor of one behind a server.
    """
    generation, other = settings.generation, settings.training.model
    seed = generation.model_copy(update={"model": other or generation.model, "adapter": ""})
    if generation.engine == "chat-api":
        return seed.model_copy(update={"engine": "auto", "revision": ""})
    return seed.model_copy(update={"revision": ""}) if other else seed


def resolve_model(generation: GenerationSettings) -> GenerationSettings:
    """Turn the name of a bundled seed LLM into its folder."""
    if generation.model not in SEEDS:
        return generation
    return generation.model_copy(update={"model": str(seed_folder(generation.model))})


def memo(settings: Settings) -> Memo:
    """The memo of a run."""
    url = settings.effective_memo_url
    with _lock:
        if url not in _memos:
            if not settings.memo_url:
                Path(settings.data_root).mkdir(parents=True, exist_ok=True)
            if not _memos:
                atexit.register(release)  # a flow run that the UI's runner started ends without a command around it
            _memos[url] = Memo(url)
        return _memos[url]


@contextmanager
def joined(peers: Peers) -> Iterator[None]:
    """Meanwhile count what other processes ask of engines as well, and release theirs with this process's.

    What a process asked that was killed is not counted.
    """
    global _new_tokens
    calls, tokens = _sum_of(peers)
    with _lock:
        _peers.append(peers)
        _calls["before"] -= calls
        _new_tokens -= tokens
    try:
        yield
    finally:
        calls, tokens = _sum_of(peers)
        with _lock:
            _peers.remove(peers)
            _calls["before"] += calls
            _new_tokens += tokens


def _sum_of(peers: Peers) -> tuple[int, int]:
    return sum(peers(model_calls)), sum(peers(new_tokens))


def model_calls() -> int:
    """Requests that engines answered so far, here and for us; what the memo answered does not count."""
    elsewhere = sum(sum(peers(model_calls)) for peers in _peers)
    with _lock:
        return elsewhere + _calls.total() + sum(item.usage.calls.total() for item in _generators.values())


def new_tokens() -> int:
    """Tokens that engines wrote so far, here and for us."""
    elsewhere = sum(sum(peers(new_tokens)) for peers in _peers)
    with _lock:
        return elsewhere + _new_tokens + sum(item.usage.completion_tokens for item in _generators.values())


def release() -> None:
    """Close all engines, so that the next stage finds the memory free, then flush the memos.

    Raises:
        DittoError: The first that one of them ended with. None is held any more, so that who asks next gets a new one.
    """
    global _new_tokens
    errors: list[Exception] = []
    for peers in _peers:
        list(peers(release))
    with _lock:
        while _generators:
            _, item = _generators.popitem()
            _calls.update(item.usage.calls)
            _new_tokens += item.usage.completion_tokens
            with _noted(errors):
                item.close()
        while _memos:
            _, store = _memos.popitem()
            with _noted(errors):
                store.close()
        atexit.unregister(release)
    if errors:
        raise errors[0]


@contextmanager
def _noted(errors: list[Exception]) -> Iterator[None]:
    try:
        yield
    except Exception as error:
        errors.append(error)
