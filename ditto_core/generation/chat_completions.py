"""Chat completions: what the chat-api engine writes to a server, and what its answers mean. Pure.

In:   a `Request`; an answer's bytes.
Out:  the JSON body that asks it; a `Completion` for each draw, or a failure with its name.

Example answer of a server:
    {"choices": [{"message": {"content": "In Warsaw."}, "finish_reason": "stop"}], "usage": {"prompt_tokens": 52, ...}}
"""

import json
from collections.abc import AsyncIterable, Callable, Collection, Mapping, Sequence
from typing import Any

import numpy as np

from ditto_core.errors import SourceUnavailable
from ditto_core.generation.requests import Completion, Failure, Outcome, Request, weighed

_REFUSED_BY_MODELS = ("max_tokens", "top_p", "temperature")
"""Fields that every server knows, but some models refuse; an error that names one may as well be about its value."""
OPTIONAL = ("response_format", "repetition_penalty", "top_k", "seed", "logprobs", "top_logprobs", "n", *_REFUSED_BY_MODELS)
"""Fields that some servers lack; a server that says so is asked again without them, or under the name in `RENAMED`."""
RENAMED: Mapping[str, str] = {"max_tokens": "max_completion_tokens"}
"""Field -> its name for OpenAI's models that reason."""
_TOO_LONG_CODES = frozenset(
    {"context_length_exceeded", "exceed_context_size_error", "input_tokens", "input_text", "string_above_max_length"}
)
_TOO_LONG_WORDS = ("context length", "context window", "context size")
_UNKNOWN_WORDS = (
    "support",
    "must be",
    "greater than",
    "unknown",
    "unrecognized",
    "unexpected",
    "not permitted",
    "not allowed",
    "not available",
    "invalid",
)
_SPELLINGS: Mapping[str, tuple[str, ...]] = {
    "response_format": ("response_format", "response format", "json_schema", "structured output"),
    "repetition_penalty": ("repetition_penalty",),
    "top_k": ("top_k",),
    "seed": ("seed",),
    "logprobs": ("logprobs",),
    "top_logprobs": ("top_logprobs",),
    "n": ("'n'", '"n"', "`n`", "n > 1", "parameter n", "parameter: n", "n must be 1"),
    "max_tokens": ("max_completion_tokens",),
    "top_p": ("top_p",),
    "temperature": ("temperature",),
}
_LIKELIEST = 20
"""Tokens whose chances are asked for: as many as OpenAI's servers and vLLM's give."""


def payload(request: Request, model: str, lacks: Collection[str] = (), draws: int = 1) -> dict[str, Any]:
    """The JSON body of a request.

    Args:
        lacks: Those of `OPTIONAL` that the server does not take.
        draws: Replies that the server shall draw to the one prompt.
    """
    sampling = request.sampling
    body: dict[str, Any] = {
        "model": model,
        "messages": [{"role": message.role, "content": message.content} for message in request.messages],
        "temperature": sampling.temperature,
        "top_p": sampling.top_p,
        # These two are sent where they are off, too: vLLM's server takes what is missing from generation_config.json.
        "top_k": -1,
        "repetition_penalty": sampling.repetition_penalty,
        "max_tokens": sampling.max_tokens,
        "stream": request.watch is not None,
        "seed": request.seed(),
    }
    if request.schema:
        schema = {"name": "reply", "schema": json.loads(request.schema), "strict": True}
        body["response_format"] = {"type": "json_schema", "json_schema": schema}
    if request.choices:
        body |= {"logprobs": True, "top_logprobs": _LIKELIEST}
    if draws > 1:
        body["n"] = draws
    renamed = {new: body[old] for old, new in RENAMED.items() if old in lacks}
    return {field: value for field, value in body.items() if field not in lacks} | renamed


async def read_stream(lines: AsyncIterable[bytes], watch: Callable[[str], None]) -> bytes:
    """An answer that comes in parts (server-sent events), as the body that it would have been in one.

    Args:
        lines: Of the answer.
        watch: Called with the text so far at each part.
    """
    text, finish_reason, usage, is_whole = "", None, None, False
    async for line in lines:
        part = line.removeprefix(b"data:").strip()
        if not line.startswith(b"data:"):
            continue
        if part == b"[DONE]":
            is_whole = True
            continue
        try:
            event = json.loads(part)
            usage = event.get("usage") or usage
            for choice in event.get("choices", [])[:1]:
                text += choice["delta"].get("content") or ""
                finish_reason = choice.get("finish_reason") or finish_reason
        except (ValueError, LookupError, TypeError, AttributeError):
            return part  # `read_completions` says what is wrong with it
        watch(text)
    if not is_whole and finish_reason is None:
        return b""  # cut on the way
    choices = [{"message": {"content": text}, "finish_reason": finish_reason}]
    return json.dumps({"choices": choices, "usage": usage}).encode()


def read_completions(body: bytes, keys: Sequence[str], wanted: Collection[str] = ()) -> list[Outcome]:
    """The replies in a server's 200 answer, one for each key; without any choice all are failures, "empty_choices".

    Args:
        keys: Row keys of the draws that were asked for. A server that draws fewer leaves the last of them without an outcome.
        wanted: The request's choices, whose chances are the reply where the server gives any of them.

    Raises:
        SourceUnavailable: Cut or wrong JSON.
    """
    try:
        answer = json.loads(body)
        choices = answer["choices"]
        if not choices:
            return [Failure(key, "empty_choices", body[:500].decode("utf-8", "replace")) for key in keys]
        usage = answer.get("usage") or {}
        cached = (usage.get("prompt_tokens_details") or {}).get("cached_tokens")
        prompt, new, held = (int(count or 0) for count in (usage.get("prompt_tokens"), usage.get("completion_tokens"), cached))
        outcomes: list[Outcome] = []
        drawn = list(zip(keys, choices, strict=False))
        for number, (key, choice) in enumerate(drawn):
            share = new // len(drawn) + (number < new % len(drawn))  # the server counts the new tokens of all draws together
            counts = (0, share, 0) if number else (prompt, share, held)
            outcomes.append(_completion(choice, key, wanted, counts))
        return outcomes
    except (ValueError, LookupError, TypeError, AttributeError) as error:
        problem = f"not a chat completion ({type(error).__name__}); the answer begins"
        raise SourceUnavailable(f"{problem} {body[:200].decode('utf-8', 'replace')!r}") from error


def _completion(choice: Mapping[str, Any], key: str, wanted: Collection[str], counts: tuple[int, int, int]) -> Completion:
    text, finish_reason = choice["message"]["content"], choice.get("finish_reason")
    if not isinstance(text, str | None):
        raise TypeError("content is not text")
    if chances := _chances(choice, wanted):
        text, finish_reason = weighed(chances), "stop"
    return Completion(key, text or "", finish_reason or "", *counts)


def _chances(choice: Mapping[str, Any], wanted: Collection[str]) -> dict[str, float]:
    """Choice -> logarithm of its chance to begin the reply; one that is not among the likeliest tokens is left out."""
    if not wanted:
        return {}
    first: Mapping[str, Any] = next(iter((choice.get("logprobs") or {}).get("content") or ()), {})
    chances: dict[str, float] = {}
    for token in first.get("top_logprobs") or ():
        begins = str(token["token"]).strip()
        if begins in wanted:  # with and without a space before it
            chances[begins] = float(np.logaddexp(chances.get(begins, -np.inf), token["logprob"]))
    return {begins: chances[begins] for begins in wanted if begins in chances}


def is_too_long(body: bytes) -> bool:
    """Whether an error says that the context is too short; servers name it in code, type, param or only in words."""
    error = _error(body)
    if {str(error.get(field)) for field in ("code", "type", "param")} & _TOO_LONG_CODES:
        return True
    return any(words in str(error.get("message")).lower() for words in _TOO_LONG_WORDS)


def unknown_field(body: bytes, sent: Collection[str]) -> str | None:
    """Which of the `OPTIONAL` fields that were sent an error says the server does not know, or does not take for its model."""
    error = _error(body)
    message, is_unsupported = str(error.get("message")).lower(), str(error.get("code")).startswith("unsupported")
    for field in OPTIONAL:
        by_model = field in _REFUSED_BY_MODELS
        named = str(error.get("param")) == field and (is_unsupported or not by_model)
        said = message if any(words in message for words in (("support",) if by_model else _UNKNOWN_WORDS)) else ""
        if field in sent and (named or any(name in said for name in _SPELLINGS[field])):
            return field
    return None


def _error(body: bytes) -> Mapping[str, Any]:
    """What an error answer says, as a table with at least a message."""
    try:
        answer = json.loads(body)
    except ValueError:
        answer = body.decode("utf-8", "replace")
    error = answer.get("error", answer) if isinstance(answer, Mapping) else answer
    if isinstance(error, Mapping) and "message" in error:
        return error
    extra = error if isinstance(error, Mapping) else {}
    return {**extra, "message": error if isinstance(error, str) else json.dumps(error)}


def retry_after(header: str | None) -> float | None:
    """Retry-After in seconds; its date form is ignored, since the clocks may differ."""
    try:
        return max(0.0, float(header)) if header else None
    except ValueError:
        return None
