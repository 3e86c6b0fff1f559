"""Transformers engine: a model in this process, on any machine that runs torch.

In:   requests from any number of threads.
Out:  completions, batch by batch; rows of a batch are answered as they finish.

The decode loop is our own because the one of `transformers` draws from one generator for the whole batch: here each
row has a generator seeded by its request, so a draw does not depend on what else is in the batch (in float32 on a CPU;
half precision on a GPU rounds differently from batch to batch). JSON schemas cannot be enforced here: a request with
one is refused, since an
unconstrained reply under its row key would be served from the memo to engines that do constrain.

Example: `TransformersGenerator(GenerationSettings(model="models/seed"))`; its first `generate` loads the weights.
"""

import gc
import threading
from collections.abc import Callable, Iterator, Sequence
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ditto_core.errors import InvalidInput, RowFailed
from ditto_core.generation.generator import Job
from ditto_core.generation.local_model import (
    LocalGenerator,
    Prompt,
    generation_defaults,
    has_chat_template,
    our_chat_template,
)
from ditto_core.generation.requests import Sampling
from ditto_core.records import Message
from ditto_core.settings import GenerationSettings

if TYPE_CHECKING:
    import torch

_ONE_LOAD = threading.Lock()
"""Transformers neither imports its parts nor builds models in two threads at once: names are missing, or weights."""
Finished = tuple[int, list[int], str]  # row, its tokens with the stop token if there is one, finish reason


def has_gpu() -> bool:
    """Whether torch sees a GPU."""
    import torch

    return torch.cuda.is_available()


class FolderTokenizer:
    """The tokenizer of a model folder.

    Counting needs `tokenizers` alone; `transformers` is imported when the first chat is rendered, for its templates.

    Raises:
        InvalidInput: The folder has no readable tokenizer.json.
    """

    def __init__(self, folder: Path) -> None:
        from tokenizers import Tokenizer

        self._folder = folder
        self._lock = threading.Lock()
        self._rendering: Any = None
        try:
            self._plain = Tokenizer.from_file(str(folder / "tokenizer.json"))
        except Exception as error:  # tokenizers raises bare Exception
            raise InvalidInput(
                f"cannot read {str(folder / 'tokenizer.json')!r}: {error}. A model folder needs a fast tokenizer."
            ) from error
        # Counting and encoding must see whole texts, whatever was set when the file was saved.
        self._plain.no_truncation()
        self._plain.no_padding()

    @cached_property
    def stop_ids(self) -> frozenset[int]:
        """Tokens that end a reply: the tokenizer's end token and those of generation_config.json."""
        declared = generation_defaults(self._folder).get("eos_token_id")
        several = [*(declared if isinstance(declared, list) else [declared]), self._renderer().eos_token_id]
        if not has_chat_template(self._folder):
            several.append(self._plain.token_to_id("<|im_end|>"))
        return frozenset(token for token in several if isinstance(token, int))

    def encode_chat(self, messages: Sequence[Message]) -> list[int]:
        """The prompt, rendered by the chat template up to the start of the reply.

        Raises:
            RowFailed: The template refuses these messages.
        """
        import jinja2

        plain = [{"role": message.role, "content": message.content} for message in messages]
        try:
            # Templates of models that can think aloud know enable_thinking; their thoughts are no part of a dialogue.
            text = self._renderer().apply_chat_template(plain, tokenize=False, add_generation_prompt=True, enable_thinking=False)
        except jinja2.TemplateError as error:
            raise RowFailed("chat_template", f"the model's chat template refuses the messages: {error}") from error
        return list(self._plain.encode(text, add_special_tokens=False).ids)

    def decode(self, tokens: Sequence[int]) -> str:
        """Text without special tokens."""
        return str(self._plain.decode(list(tokens), skip_special_tokens=True))

    def count(self, text: str) -> int:
        """Number of tokens of a plain text."""
        return len(self._plain.encode(text, add_special_tokens=False).ids)

    def first_of(self, texts: Sequence[str]) -> list[int]:
        """The token with which each of some replies begins."""
        return [self._plain.encode(text, add_special_tokens=False).ids[0] for text in texts]

    def _renderer(self) -> Any:
        with self._lock:
            if self._rendering is None:
                try:
                    with _ONE_LOAD:
                        from transformers import AutoTokenizer

                        tokenizer = AutoTokenizer.from_pretrained(self._folder)
                except (OSError, ValueError) as error:
                    raise InvalidInput(f"cannot load the tokenizer of {str(self._folder)!r}: {error}") from error
                if not has_chat_template(self._folder):
                    tokenizer.chat_template = our_chat_template()
                self._rendering = tokenizer
            return self._rendering


class TransformersGenerator(LocalGenerator):
    """A model run by transformers; see `LocalGenerator`.

    Raises:
        InvalidInput: No such model.
    """

    def __init__(self, settings: GenerationSettings) -> None:
        super().__init__(settings, FolderTokenizer)

    def submit(self, jobs: Sequence[Job]) -> None:
        """As every local model; a request with a schema is an error."""
        constrained = [job for job in jobs if job.request.schema]
        for job in constrained:
            job.answers.put(
                InvalidInput(
                    "the transformers engine cannot constrain replies to a JSON schema. Set simulation.query_mode to "
                    '"samples", or generation.engine to "vllm" or "chat-api".'
                )
            )
        super().submit([job for job in jobs if job not in constrained])

    def _serve(self) -> None:
        model = _load(self._folder, self._settings.dtype, self._adapter)
        waiting: list[Prompt] = []
        while not self._closing.is_set():
            waiting += self._take(wait=not waiting)
            waiting = self._still_wanted(waiting)
            if waiting:
                batch = next_batch(waiting, self._settings.batch_size)
                chosen = set(batch)
                waiting = [prompt for prompt in waiting if prompt not in chosen]
                self._run(model, batch)
        del model
        free_memory()

    def _run(self, model: Any, batch: Sequence[Prompt]) -> None:
        """Answer a batch; one that does not fit into memory is halved, one row that does not fit fails."""
        import torch

        stop_ids = self._tokenizer().stop_ids
        left = dict(enumerate(batch))
        try:
            if batch[0].job.request.choices:
                for prompt, chances in zip(batch, weigh(model, [prompt.tokens for prompt in batch]), strict=True):
                    self._complete_choice(prompt, dict(enumerate(chances)))
                return
            for row, tokens, reason in decode(
                model,
                [prompt.tokens for prompt in batch],
                [prompt.job.request.seed() for prompt in batch],
                batch[0].job.request.sampling,
                stop_ids,
                self._closing.is_set,
                lambda row, tokens: self._show(batch[row], tokens),
            ):
                self._complete(left.pop(row), tokens, reason)
            return
        except torch.OutOfMemoryError as error:
            if len(batch) == 1:
                self._fail(batch[0], "out_of_memory", str(error))
                return
        # Outside of the handler, whose traceback would keep the failed batch's tensors alive.
        free_memory()
        rest = list(left.values())
        middle = max(1, len(rest) // 2)
        for part in (rest[:middle], rest[middle:]):
            if part:
                self._run(model, part)


def next_batch(waiting: Sequence[Prompt], size: int) -> list[Prompt]:
    """Prompts to run together: the one that has waited longest and others that are answered like it, of a similar length."""

    def way(prompt: Prompt) -> tuple[Sampling, bool]:
        return prompt.job.request.sampling, bool(prompt.job.request.choices)

    group = sorted((prompt for prompt in waiting if way(prompt) == way(waiting[0])), key=lambda prompt: len(prompt.tokens))
    start = group.index(waiting[0]) // size * size
    return group[start : start + size]


def decode(
    model: Any,
    prompts: Sequence[Sequence[int]],
    seeds: Sequence[int],
    sampling: Sampling,
    stop_ids: frozenset[int],
    given_up: Callable[[], bool] = lambda: False,
    show: Callable[[int, Sequence[int]], None] = lambda _row, _tokens: None,
) -> Iterator[Finished]:
    """Continue a batch of prompts, yielding rows as they finish.

    Args:
        model: A causal language model of transformers.
        prompts: Tokens of each row, none empty.
        seeds: Of each row's draws.
        sampling: The same for all rows.
        stop_ids: Tokens that end a row.
        given_up: Asked at each step; once true, the rest is left undone.
        show: Called at each step with a row and its tokens so far.
    """
    import torch
    from transformers.cache_utils import DynamicCache

    device, length = model.device, max(map(len, prompts))
    rows = torch.arange(len(prompts), device=device)
    tokens, mask, positions = _left_padded(prompts, length, sampling.max_tokens, device)
    draws = _draws(seeds, sampling).to(device)
    stops = torch.tensor(sorted(stop_ids), dtype=torch.long, device=device)
    replies: list[list[int]] = [[] for _ in prompts]
    seen: torch.Tensor | None = None
    done = torch.zeros(len(prompts), dtype=torch.bool, device=device)
    cache = DynamicCache(config=model.config)
    for step in range(sampling.max_tokens):
        if given_up():
            return
        with torch.inference_mode():
            shown = mask[:, : length + step]
            logits = model(
                input_ids=tokens, attention_mask=shown, position_ids=positions, past_key_values=cache, use_cache=True,
                logits_to_keep=1,
            ).logits[:, -1].float()  # fmt: skip
            if seen is None:
                seen = _seen(prompts, logits)
            chosen = choose(logits, seen, draws[:, step], sampling)
            seen.scatter_(1, chosen[:, None], True)
            stopped = torch.isin(chosen, stops) & ~done
        last = step + 1 == sampling.max_tokens
        for row, token, ends, over in zip(rows.tolist(), chosen.tolist(), stopped.tolist(), done.tolist(), strict=True):
            if not over:
                replies[row].append(token)
                if ends or last:
                    yield row, replies[row], "stop" if ends else "length"
                else:
                    show(row, replies[row])
        with torch.inference_mode():
            done = done | stopped
            if bool(done.all()):
                return
            tokens, positions = chosen[:, None], positions[:, -1:] + 1
            if int(done.sum()) * 2 > len(done):
                keep = (~done).nonzero()[:, 0]
                cache.batch_select_indices(keep)
                rows, tokens, positions, mask = rows[keep], tokens[keep], positions[keep], mask[keep]
                draws, seen, done = draws[keep], seen[keep], done[keep]


def weigh(model: Any, prompts: Sequence[Sequence[int]]) -> list[list[float]]:
    """The logarithm of the chance of every token to come next, one list as long as the vocabulary for each prompt."""
    import torch

    length = max(map(len, prompts))
    tokens, mask, positions = _left_padded(prompts, length, 0, model.device)
    with torch.inference_mode():
        logits = model(input_ids=tokens, attention_mask=mask, position_ids=positions, logits_to_keep=1).logits[:, -1]
        chances: list[list[float]] = logits.float().log_softmax(-1).tolist()
        return chances


def _left_padded(
    prompts: Sequence[Sequence[int]], length: int, room: int, device: "torch.device"
) -> "tuple[torch.Tensor, torch.Tensor, torch.Tensor]":
    """Tokens and positions (rows x length), and the mask (rows x length + room).

    Padded on the left, the newest token of every row is in the last column. Pads are masked, so any id will do.
    """
    import torch

    tokens = torch.tensor([[0] * (length - len(row)) + list(row) for row in prompts], device=device)
    mask = torch.ones((len(prompts), length + room), dtype=torch.long, device=device)
    for number, row in enumerate(prompts):
        mask[number, : length - len(row)] = 0
    return tokens, mask, (mask[:, :length].cumsum(-1) - 1).clamp(min=0)


def choose(logits: "torch.Tensor", seen: "torch.Tensor", draws: "torch.Tensor", sampling: Sampling) -> "torch.Tensor":
    """The next token of each row.

    Args:
        logits: Scores, (rows, vocabulary), float32.
        seen: Which tokens a row has had, prompt included, same shape, bool.
        draws: Uniform numbers in [0, 1), (rows,).
        sampling: Temperature, top-p and repetition penalty.

    Returns:
        Token ids, (rows,).
    """
    import torch

    penalty = sampling.repetition_penalty
    if penalty != 1:
        logits = torch.where(seen, torch.where(logits > 0, logits / penalty, logits * penalty), logits)
    if sampling.temperature == 0:
        return logits.argmax(-1)
    shares, order = (logits / sampling.temperature).softmax(-1).sort(stable=True, dim=-1, descending=True)
    sums = shares.cumsum(-1)
    # The best token is always kept; others as long as those before them have not yet reached top_p.
    kept = (sums - shares < sampling.top_p).sum(-1, keepdim=True).clamp(min=1)
    targets = draws[:, None] * sums.gather(1, kept - 1)
    picks = torch.minimum((sums <= targets).sum(-1, keepdim=True), kept - 1)
    return order.gather(1, picks)[:, 0]


def _draws(seeds: Sequence[int], sampling: Sampling) -> "torch.Tensor":
    """All uniform numbers of each row, (rows, max_tokens), always drawn on the CPU: the same on every device."""
    import torch

    if sampling.temperature == 0:
        return torch.zeros((len(seeds), sampling.max_tokens))
    return torch.stack([torch.rand(sampling.max_tokens, generator=torch.Generator().manual_seed(seed)) for seed in seeds])


def _seen(prompts: Sequence[Sequence[int]], logits: "torch.Tensor") -> "torch.Tensor":
    import torch

    seen = torch.zeros_like(logits, dtype=torch.bool)
    for number, row in enumerate(prompts):
        seen[number, torch.tensor(row, device=logits.device)] = True
    return seen


def _load(folder: Path, dtype: str, adapter: Path | None) -> Any:
    gpu = has_gpu()
    chosen = ("bfloat16" if gpu else "float32") if dtype == "auto" else dtype
    try:
        with _ONE_LOAD:
            return _build(folder, chosen, adapter).to("cuda" if gpu else "cpu").eval()
    except Exception as error:  # safetensors, torch, peft and transformers each raise their own; all mean this folder
        what = f"{str(folder)!r}" + (f" with the adapter {str(adapter)!r}" if adapter else "")
        raise InvalidInput(f"cannot load the model {what} with transformers: {error}") from error


def _build(folder: Path, dtype: str, adapter: Path | None) -> Any:
    import torch
    from transformers import AutoModelForCausalLM
    from transformers.utils import logging

    logging.disable_progress_bar()  # type: ignore[no-untyped-call]  # of reading the weights; a download from the hub still shows its own
    model: Any = AutoModelForCausalLM.from_pretrained(
        folder, dtype=getattr(torch, dtype), attn_implementation="sdpa", use_safetensors=True
    )
    if adapter is None:
        return model
    from peft import PeftModel

    return PeftModel.from_pretrained(model, adapter).merge_and_unload()


def free_memory() -> None:
    """Give unreachable tensors back to the system."""
    import torch

    gc.collect()
    if torch.cuda.is_available():
        torch.cuda.empty_cache()
