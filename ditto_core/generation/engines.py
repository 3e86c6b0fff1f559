"""The engines that ship, by the names that settings give them."""

from collections.abc import Callable, Mapping

from ditto_core.errors import InvalidInput
from ditto_core.generation.generator import Generator
from ditto_core.recipe import ModelIdentity
from ditto_core.settings import GenerationSettings


def _vllm(settings: GenerationSettings, _api_key: str) -> Generator:
    from ditto_core.generation import vllm_engine

    return vllm_engine.create(settings)


def _transformers(settings: GenerationSettings, _api_key: str) -> Generator:
    from ditto_core.generation.transformers_engine import TransformersGenerator

    return TransformersGenerator(settings)


def _chat_api(settings: GenerationSettings, api_key: str) -> Generator:
    from ditto_core.generation.chat_api import ChatApiGenerator

    return ChatApiGenerator(settings, api_key=api_key)


def _scripted(settings: GenerationSettings, _api_key: str) -> Generator:
    from ditto_core.generation.scripted import ScriptedGenerator

    return ScriptedGenerator(settings)


ENGINES: Mapping[str, Callable[[GenerationSettings, str], Generator]] = {
    "vllm": _vllm,
    "transformers": _transformers,
    "chat-api": _chat_api,
    "scripted": _scripted,
}


def create(settings: GenerationSettings, *, api_key: str = "") -> Generator:
    """Make the engine that the settings name; nothing is loaded before its first request.

    Args:
        settings: Their `model` is a folder, a hub id, or for chat-api the server's name of it.
        api_key: For chat-api, from the environment; never part of a key or a message.

    Raises:
        InvalidInput: The engine's package is not installed; the message holds the line that installs it.
    """
    name = choose_engine(settings)
    try:
        return ENGINES[name](settings, api_key)
    except ModuleNotFoundError as error:
        raise InvalidInput(
            f"engine {name!r} needs the package {error.name!r}. Install it with "
            f"`pip install 'ditto-roleplay[gpu]'` (CUDA) or `pip install 'ditto-roleplay[cpu]'`, "
            f"or set generation.engine to transformers or chat-api."
        ) from error


def identify(settings: GenerationSettings) -> ModelIdentity:
    """The identity of the model that the settings name, without loading it."""
    return create(settings).identity


def choose_engine(settings: GenerationSettings) -> str:
    """Resolve "auto": vllm where it is installed and there is a GPU for it, else transformers."""
    if settings.engine != "auto":
        return settings.engine
    from importlib.util import find_spec

    if find_spec("vllm") is None:
        return "transformers"
    from ditto_core.generation.transformers_engine import has_gpu

    return "vllm" if has_gpu() else "transformers"
