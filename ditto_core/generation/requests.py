"""What a model is asked, and what it answers.

A `Request` is everything that shapes one reply: rendered messages, sampling, schema, sample number. Its row key is the
sha256 of all of that plus the identity of the model, after every default is filled in, so two requests share a key
exactly when the same model would be asked exactly the same thing.
"""

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from ditto_core.recipe import ModelIdentity, digest, stable_hash
from ditto_core.records import Message


@dataclass(frozen=True, slots=True)
class Sampling:
    """How the next token is chosen.

    Attributes:
        temperature: 0 is greedy.
        top_p: Share of the probability mass that is kept.
        repetition_penalty: Divides the score of tokens that were seen already; 1 is none.
        max_tokens: New tokens at most; a reply that is cut there ends with "length".
    """

    temperature: float = 0.0
    top_p: float = 1.0
    repetition_penalty: float = 1.0
    max_tokens: int = 512


@dataclass(frozen=True, slots=True)
class Request:
    """One question to the model.

    Attributes:
        sample: Number of the draw; requests that differ in it alone are independent draws.
        schema: JSON schema that the reply must follow, as canonical JSON, or "".
        choices: Beginnings of a reply, such as letters, whose chances are asked for; () for a reply in words. The completion's
            text is then that of `weighed`, or in words where a server gives no chances.
        purpose: Name of the stage, for statistics. Not part of the key.
        watch: Called with the reply so far, as often as the engine can, for someone who reads along. Not part of the key.
    """

    messages: tuple[Message, ...]
    sampling: Sampling
    sample: int = 0
    schema: str = ""
    purpose: str = ""
    choices: tuple[str, ...] = ()
    watch: Callable[[str], None] | None = field(default=None, compare=False, repr=False)

    def content(self) -> dict[str, Any]:
        """What is asked, as plain data."""
        return {
            "messages": [[message.role, message.content] for message in self.messages],
            "sampling": {name: getattr(self.sampling, name) for name in Sampling.__slots__},
            "schema": self.schema,
            "sample": self.sample,
            **({"choices": self.choices} if self.choices else {}),
        }

    def seed(self) -> int:
        """Seed of the draw, from the content and the sample number: 0 to 2^31 - 1."""
        return stable_hash(digest(self.content())) % 2**31

    def key(self, model: ModelIdentity) -> str:
        """The row key: 64 hex digits."""
        return digest(self.content() | {"model": {name: getattr(model, name) for name in ModelIdentity.__slots__}})


@dataclass(frozen=True, slots=True)
class Completion:
    """A reply as the model gave it.

    Attributes:
        key: Row key of the request.
        text: The raw reply.
        finish_reason: "stop", "length" (cut at max_tokens), or what the server said.
        cached_tokens: Tokens of the prompt that the engine had in its prefix cache.
    """

    key: str
    text: str
    finish_reason: str
    prompt_tokens: int = 0
    completion_tokens: int = 0
    cached_tokens: int = 0


@dataclass(frozen=True, slots=True)
class Failure:
    """A request that got no reply. Not kept in the memo, so the next run asks again.

    Attributes:
        key: Row key of the request.
        reason: Name for the ledger, such as "prompt_too_long" or "engine_unavailable".
        detail: What the engine said.
    """

    key: str
    reason: str
    detail: str


Outcome = Completion | Failure


def weighed(chances: Mapping[str, float]) -> str:
    """The text of a completion that was asked for choices: each with the logarithm of its chance, as JSON."""
    return json.dumps({choice: round(chance, 6) for choice, chance in chances.items()}, ensure_ascii=False)


def read_weighed(text: str) -> dict[str, float] | None:
    """The chances in such a text; None for a reply in words."""
    try:
        chances = json.loads(text)
    except (ValueError, RecursionError):
        return None
    numbers = isinstance(chances, dict) and all(isinstance(chance, int | float) for chance in chances.values())
    return chances if numbers and chances else None


def canonical_schema(schema: Mapping[str, Any]) -> str:
    """A JSON schema as the text that a request carries."""
    return json.dumps(schema, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
