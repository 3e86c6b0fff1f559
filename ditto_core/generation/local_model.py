"""Models that run in this process: where their files are, and the one thread that owns each of them.

In:   requests from any number of threads.
Out:  outcomes; a prompt that leaves no room for its reply fails alone, by name.

A reply never depends on the length of the context: a request is taken only if its prompt and all of `max_tokens` fit,
so `max_model_len` needs no place in the row key. (OpenAI-compatible servers refuse the rest in the same way.)

Example: eight shards call `generate` at once; their prompts are rendered in their own threads, queue in one inbox, and
run in the same batches.
"""

import atexit
import json
import re
import threading
from abc import abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from importlib import resources
from pathlib import Path
from queue import Empty, SimpleQueue
from typing import Protocol

from ditto_core.errors import BrokenPromise, InvalidInput, RowFailed, SourceUnavailable
from ditto_core.generation.generator import Answer, Generator, Job
from ditto_core.generation.requests import Completion, Failure, Outcome, weighed
from ditto_core.ledger import UNAVAILABLE
from ditto_core.recipe import ModelIdentity, digest, file_digest, model_identity
from ditto_core.records import Message
from ditto_core.settings import GenerationSettings

_HUB_ID = re.compile(r"[A-Za-z0-9][\w.-]*/[\w.-]+")
_ADAPTER_FILES = ("adapter_config.json", "adapter_model.safetensors")
_HUB_FILES = ("*.safetensors", "*.json", "*.jinja", "*.model", "*.txt")


class Tokenizer(Protocol):
    """What an engine needs of a tokenizer. Every method may be called from many threads."""

    @property
    def stop_ids(self) -> frozenset[int]:
        """Tokens that end a reply."""
        ...

    def encode_chat(self, messages: Sequence[Message]) -> list[int]:
        """The prompt, rendered by the chat template up to the start of the reply.

        Raises:
            RowFailed: The template refuses these messages.
        """
        ...

    def decode(self, tokens: Sequence[int]) -> str:
        """Text without special tokens."""
        ...

    def count(self, text: str) -> int:
        """Number of tokens of a plain text."""
        ...

    def first_of(self, texts: Sequence[str]) -> list[int]:
        """The token with which each of some replies begins."""
        ...


@dataclass(frozen=True, slots=True, eq=False)
class Prompt:
    """A job with its rendered tokens."""

    job: Job
    tokens: Sequence[int]


class LocalGenerator(Generator):
    """A model with one owner thread; subclasses say how it is loaded and run in `_serve`.

    Nothing is loaded before the first request. Once closed it stays closed, so that no straggler loads the model again
    when training needs the memory.

    Args:
        settings: Their `model` is a folder or a hub id.
        load_tokenizer: Reads the tokenizer of a folder.

    Raises:
        InvalidInput: No such model.
    """

    def __init__(self, settings: GenerationSettings, load_tokenizer: Callable[[Path], Tokenizer]) -> None:
        self._settings = settings
        self._folder = model_folder(settings.model, settings.revision)
        self._adapter = model_folder(settings.adapter) if settings.adapter else None
        self.identity = chat_identity(self._folder)
        if self._adapter is not None:
            self.identity = adapted_identity(self.identity, self._adapter)
        self._limit = context_length(self._folder, settings.max_model_len)
        self._load_tokenizer = load_tokenizer
        self._loaded_tokenizer: Tokenizer | None = None
        self._loading = threading.Lock()
        self._state = threading.Lock()  # guards what follows
        self._inbox: SimpleQueue[Prompt | None] = SimpleQueue()
        self._open: set[Prompt] = set()
        self._refusal: Callable[[Job], Answer] | None = None
        self._owner: threading.Thread | None = None
        self._closing = threading.Event()

    def submit(self, jobs: Sequence[Job]) -> None:
        """Render jobs, in the caller's thread, and hand them to the owner; the first one has the model loaded."""
        tokenizer = self._tokenizer()
        prompts: list[Prompt] = []
        for job in jobs:
            if len(set(tokenizer.first_of(job.request.choices))) < len(job.request.choices):
                job.fail("choices_begin_alike", f"two of {', '.join(job.request.choices)} begin with the same token")
                continue
            try:
                tokens = tokenizer.encode_chat(job.request.messages)
            except RowFailed as error:
                job.fail(error.reason, str(error))
                continue
            room = self._limit - job.request.sampling.max_tokens
            if len(tokens) > room:
                job.fail(
                    "prompt_too_long",
                    f"the prompt has {len(tokens)} tokens, the context of {self._limit} leaves {max(room, 0)} beside a "
                    f"reply of {job.request.sampling.max_tokens}",
                )
                continue
            prompts.append(Prompt(job, tokens))
        self._enqueue(prompts)

    def count_tokens(self, text: str) -> int:
        """Length in the model's tokens; loads the tokenizer but not the model."""
        return self._tokenizer().count(text)

    def close(self) -> None:
        """Stop the owner thread and free the model; what is unanswered fails as "engine_unavailable"."""
        self._closing.set()
        self._refuse(lambda job: Failure(job.key, UNAVAILABLE, "the engine was closed"))
        self._inbox.put(None)
        if self._owner is not None and self._owner is not threading.current_thread():
            self._owner.join()
        atexit.unregister(self.close)

    @abstractmethod
    def _serve(self) -> None:
        """Load the model and answer what `_take` brings until `_closing` is set. Runs in the owner thread.

        Raises:
            InvalidInput: The model cannot be loaded.
            SourceUnavailable: The engine died for good.
        """

    def _tokenizer(self) -> Tokenizer:
        with self._loading:
            if self._loaded_tokenizer is None:
                self._loaded_tokenizer = self._load_tokenizer(self._folder)
            return self._loaded_tokenizer

    def _enqueue(self, prompts: Sequence[Prompt]) -> None:
        """Side by side, whatever other threads do: so one role's prompts find its profile in the prefix cache, however small."""
        with self._state:
            if self._refusal is not None:
                for prompt in prompts:
                    prompt.job.answers.put(self._refusal(prompt.job))
                return
            self._open.update(prompts)
            for prompt in prompts:
                self._inbox.put(prompt)
            if self._owner is None and prompts:
                # A daemon, so that a forgotten close() does not hold the process; atexit then ends it in order.
                self._owner = threading.Thread(target=self._own, name=type(self).__name__, daemon=True)
                self._owner.start()
                atexit.register(self.close)

    def _own(self) -> None:
        try:
            self._serve()
        except InvalidInput as error:
            message = str(error)
            self._refuse(lambda _job: InvalidInput(message))
        except SourceUnavailable as error:
            message = str(error)
            self._refuse(lambda job: Failure(job.key, UNAVAILABLE, message))
        except Exception as error:
            # A bug: callers must hear of it too, or they would wait for ever.
            message = f"the engine's thread ended with {type(error).__name__}: {error}"
            self._refuse(lambda _job: BrokenPromise(message))
            raise

    def _refuse(self, refusal: Callable[[Job], Answer]) -> None:
        """From now on give this answer to what is open and to all that comes."""
        with self._state:
            if self._refusal is None:
                self._refusal = refusal
            for prompt in self._open:
                prompt.job.answers.put(self._refusal(prompt.job))
            self._open.clear()

    def _take(self, *, wait: bool) -> list[Prompt]:
        """Everything in the inbox; if asked to, waits until something is there or the engine is closed."""
        taken: list[Prompt] = []
        while True:
            try:
                prompt = self._inbox.get(block=wait and not taken)
            except Empty:
                return taken
            if prompt is None:
                return taken
            taken.append(prompt)

    def _still_wanted(self, prompts: Sequence[Prompt]) -> list[Prompt]:
        """Forget those that nobody waits for."""
        with self._state:
            self._open.difference_update(prompt for prompt in prompts if prompt.job.abandoned.is_set())
            return [prompt for prompt in prompts if prompt in self._open]

    def _answer(self, prompt: Prompt, outcome: Outcome) -> None:
        with self._state:
            if prompt in self._open:
                self._open.remove(prompt)
                prompt.job.answers.put(outcome)

    def _show(self, prompt: Prompt, tokens: Sequence[int]) -> None:
        """Let whoever watches a request read the reply so far."""
        if prompt.job.request.watch is not None:
            prompt.job.request.watch(self._tokenizer().decode(tokens))

    def _complete(self, prompt: Prompt, tokens: Sequence[int], finish_reason: str, cached_tokens: int = 0) -> None:
        """Answer with a reply; its tokens end with the stop token if it was not cut."""
        text = self._tokenizer().decode(tokens[:-1] if finish_reason == "stop" else tokens)
        self._answer(
            prompt,
            Completion(prompt.job.key, text, finish_reason, len(prompt.tokens), len(tokens), cached_tokens),
        )

    def _complete_choice(self, prompt: Prompt, chances: Mapping[int, float], cached_tokens: int = 0) -> None:
        """Answer with the logarithms of the chances of the tokens with which the choices begin."""
        choices = prompt.job.request.choices
        found = dict(zip(choices, (chances[token] for token in self._tokenizer().first_of(choices)), strict=True))
        self._answer(prompt, Completion(prompt.job.key, weighed(found), "stop", len(prompt.tokens), 1, cached_tokens))

    def _fail(self, prompt: Prompt, reason: str, detail: str) -> None:
        self._answer(prompt, Failure(prompt.job.key, reason, detail))


def model_folder(model: str, revision: str = "") -> Path:
    """The folder of a model; a hub id is fetched first, weights as safetensors and texts only.

    Args:
        revision: Branch, tag or commit of a hub id; "" is its main branch. The folder is that of the commit it stands for.

    Raises:
        InvalidInput: Neither a folder nor a model that the hub gives us.
    """
    if not _is_hub_id(model):
        return Path(model)
    import httpx2  # huggingface_hub's client; its own HTTP errors are among these

    try:
        return _snapshot(model, revision)
    except (OSError, ValueError, httpx2.HTTPError) as error:
        raise InvalidInput(
            f"generation.model {model!r} is not a folder here, and the Hugging Face hub did not give it: "
            f"{str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__}. Set it to a "
            f"folder with the model, check the id and the network, or fetch it once where there is one with "
            f"`hf download {model}`."
        ) from error


def folder_here(model: str, revision: str = "") -> Path | None:
    """As `model_folder`, but no hub is asked: None for a hub id that is still to be fetched."""
    if not _is_hub_id(model):
        return Path(model)
    from huggingface_hub.errors import HFValidationError, LocalEntryNotFoundError

    try:
        folder = _snapshot(model, revision, local_files_only=True)
    except HFValidationError:  # no hub has such an id, so only a folder can be meant
        return Path(model)
    except LocalEntryNotFoundError:
        return None
    return folder if any(folder.glob("*.safetensors")) else None


def _is_hub_id(model: str) -> bool:
    return not Path(model).is_dir() and _HUB_ID.fullmatch(model) is not None


def _snapshot(model: str, revision: str, *, local_files_only: bool = False) -> Path:
    from huggingface_hub import snapshot_download

    return Path(
        snapshot_download(
            model,
            revision=revision or None,
            allow_patterns=list(_HUB_FILES),
            ignore_patterns=["*/*"],
            local_files_only=local_files_only,
        )
    )


def chat_identity(folder: Path) -> ModelIdentity:
    """The identity of a model folder, with all that says how replies begin and end.

    Part of its tokenizer are our chat template where it has none, and the end tokens of generation_config.json where they
    differ from those of config.json, whose bytes are part of the weights.

    Raises:
        InvalidInput: No such folder, or no weights in it.
    """
    identity = model_identity(folder)
    parts: list[object] = [identity.tokenizer]
    if not has_chat_template(folder):
        parts.append(our_chat_template())
    ends = _end_tokens(generation_defaults(folder))
    if ends and ends != _end_tokens(_json(folder / "config.json")):
        parts.append(ends)
    return identity if len(parts) == 1 else ModelIdentity(identity.weights, digest(parts))


def _end_tokens(config: Mapping[str, object]) -> list[int]:
    """Its eos_token_id, which is a number or a list, in order."""
    declared = config.get("eos_token_id")
    return sorted({token for token in (declared if isinstance(declared, list) else [declared]) if isinstance(token, int)})


def adapted_identity(identity: ModelIdentity, adapter: Path) -> ModelIdentity:
    """The identity of a model with a LoRA adapter laid over it.

    Raises:
        InvalidInput: The folder holds no adapter.
    """
    files = [adapter / name for name in _ADAPTER_FILES]
    missing = [file.name for file in files if not file.is_file()]
    if missing:
        raise InvalidInput(
            f"generation.adapter {str(adapter)!r} holds no {' and no '.join(missing)}; expected the folder of a PEFT adapter, "
            f"such as the `adapter` that training with training.lora_rank leaves beside its model."
        )
    return ModelIdentity(digest([identity.weights, file_digest(files)]), identity.tokenizer)


def has_chat_template(folder: Path) -> bool:
    """Whether the model brings its own chat template."""
    return (folder / "chat_template.jinja").exists() or bool(_json(folder / "tokenizer_config.json").get("chat_template"))


def our_chat_template() -> str:
    """The ChatML template that training sets, for models that have none."""
    return resources.files("ditto_core.training").joinpath("chatml.jinja").read_text("utf-8")


def context_length(folder: Path, wanted: int) -> int:
    """Tokens of prompt and reply together: what is wanted, at most what the model was made for."""
    config = _json(folder / "config.json")
    text_config = config.get("text_config")
    nested = text_config if isinstance(text_config, dict) else {}
    made_for = config.get("max_position_embeddings") or nested.get("max_position_embeddings")
    return min(wanted, made_for) if isinstance(made_for, int) else wanted


def generation_defaults(folder: Path) -> dict[str, object]:
    """The model's generation_config.json, or nothing."""
    return _json(folder / "generation_config.json")


def _json(path: Path) -> dict[str, object]:
    try:
        value = json.loads(path.read_text("utf-8"))
    except FileNotFoundError:
        return {}
    except (OSError, ValueError) as error:
        raise InvalidInput(f"cannot read {str(path)!r} of the model: {error}") from error
    return value if isinstance(value, dict) else {}
