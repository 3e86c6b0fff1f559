"""Jobs: how every engine hands many requests to one worker and gets their outcomes back.

In:   the requests of one `generate()` call, from any thread.
Out:  one outcome for each distinct row key, as they finish.

Example: 100,000 requests are submitted in chunks, at most `window` of them at a time, so neither prompts nor replies
pile up and the first outcome arrives while most requests have not been rendered yet.
"""

import itertools
import threading
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from queue import SimpleQueue

from ditto_core.errors import DittoError
from ditto_core.generation.generator import Failure, Outcome, Request
from ditto_core.recipe import ModelIdentity

Answer = Outcome | DittoError


@dataclass(frozen=True, slots=True, eq=False)
class Job:
    """One request on its way through an engine.

    Attributes:
        answers: Where its call waits. An error put there is raised in the calling thread.
        abandoned: Set when nobody waits any more.
    """

    request: Request
    key: str
    answers: "SimpleQueue[Answer]"
    abandoned: threading.Event

    def fail(self, reason: str, detail: str) -> None:
        """Answer with a failure."""
        self.answers.put(Failure(self.key, reason, detail))


def stream(
    requests: Sequence[Request],
    identity: ModelIdentity,
    submit: Callable[[Sequence[Job]], None],
    *,
    chunk: int,
    window: int,
) -> Iterator[Outcome]:
    """Submit requests in order, a chunk at a time, and yield what comes back in between.

    Args:
        requests: Two with the same row key are asked once.
        identity: Of the model; part of the row keys.
        submit: Hands jobs to the engine; every one of them must be answered, whatever happens.
        chunk: Jobs per submission.
        window: Jobs that may be unanswered at a time; at least `chunk`.

    Raises:
        DittoError: What the engine answered in place of an outcome.
    """
    answers: SimpleQueue[Answer] = SimpleQueue()
    abandoned = threading.Event()
    waiting = (Job(request, key, answers, abandoned) for key, request in _distinct(requests, identity))
    unanswered = 0
    try:
        while True:
            while unanswered + chunk <= window and (jobs := list(itertools.islice(waiting, chunk))):
                submit(jobs)
                unanswered += len(jobs)
            if not unanswered:
                return
            answer = answers.get()
            if isinstance(answer, DittoError):
                raise answer
            unanswered -= 1
            yield answer
    finally:
        abandoned.set()


def _distinct(requests: Sequence[Request], identity: ModelIdentity) -> Iterator[tuple[str, Request]]:
    seen: set[str] = set()
    for request in requests:
        key = request.key(identity)
        if key not in seen:
            seen.add(key)
            yield key, request


def estimate_tokens(text: str) -> int:
    """Length of a text in tokens where no tokenizer is at hand, rounded up so that budgets err on the safe side.

    One token for each 3 ASCII characters and one for each other character; English in common tokenizers has 4 to 5
    characters a token, Chinese and Korean 1 to 2.
    """
    ascii_characters = sum(character.isascii() for character in text)
    return -(-ascii_characters // 3) + len(text) - ascii_characters
