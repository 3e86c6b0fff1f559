"""Generation: requests in, outcomes out as they finish.

In:   requests from any number of threads.
Out:  one outcome for each distinct row key.

Each request travels as a `Job` that says where its answer is to go, so an engine never waits for whoever asked, and neither memo
nor copies need a thread to pass answers on. A caller with a plain list reads `Generator.generate`; coroutines await `ask`.

Example: 100,000 requests are submitted in chunks, at most `WINDOW` of them at a time, so neither prompts nor replies
pile up and the first outcome arrives while most requests have not been rendered yet.
"""

import asyncio
import contextlib
import itertools
import threading
from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from queue import SimpleQueue
from typing import Protocol

from ditto_core.errors import DittoError
from ditto_core.generation.requests import Failure, Outcome, Request
from ditto_core.recipe import ModelIdentity

CHUNK, WINDOW = 64, 1024
"""Requests of one call of `generate` that are submitted at a time, and that may be unanswered."""

Answer = Outcome | DittoError
"""An outcome, or an error that is raised where it is awaited."""


class Answers(Protocol):
    """Where an answer is to go, such as a queue."""

    def put(self, answer: Answer, /) -> None:
        """Take an answer; called from any thread, and never waits."""
        ...


class Abandoned(Protocol):
    """Whether nobody waits any more, such as an event that is set then."""

    def is_set(self) -> bool:
        """True from the moment on in which the last one gave up."""
        ...


@dataclass(frozen=True, slots=True, eq=False)
class Job:
    """One request on its way through an engine, with where its answer is to go."""

    request: Request
    key: str
    answers: Answers
    abandoned: Abandoned

    def fail(self, reason: str, detail: str) -> None:
        """Answer with a failure."""
        self.answers.put(Failure(self.key, reason, detail))


class Generator(ABC):
    """A model that answers. Every method may be called from many threads at once.

    Attributes:
        identity: Of the model; part of the row keys.
    """

    identity: ModelIdentity

    @abstractmethod
    def submit(self, jobs: Sequence[Job]) -> None:
        """Take jobs, and answer every one of them later or at once, whatever happens; only abandoned ones may be dropped."""

    @abstractmethod
    def count_tokens(self, text: str) -> int:
        """Length of a text in the model's tokens; budgets of prompts are counted with it."""

    @abstractmethod
    def close(self) -> None:
        """Free the model's memory and end its threads and processes."""

    def generate(self, requests: Sequence[Request]) -> Iterator[Outcome]:
        """Answer requests in the order in which they finish: one outcome for each distinct row key.

        Raises:
            DittoError: What the engine answered in place of an outcome.
        """
        answers: SimpleQueue[Answer] = SimpleQueue()
        abandoned = threading.Event()
        waiting = (Job(request, key, answers, abandoned) for key, request in self._distinct(requests))
        unanswered = 0
        try:
            while True:
                while unanswered + CHUNK <= WINDOW and (jobs := list(itertools.islice(waiting, CHUNK))):
                    self.submit(jobs)
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

    def answer(self, requests: Sequence[Request]) -> list[Outcome]:
        """The outcomes of requests, in their order, once all are there.

        Raises:
            DittoError: As `generate`.
        """
        outcomes = {outcome.key: outcome for outcome in self.generate(requests)}
        return [outcomes[request.key(self.identity)] for request in requests]

    async def ask(self, requests: Sequence[Request]) -> list[Outcome]:
        """As `answer`, for a coroutine: others of its event loop run while it waits. All requests are submitted at once.

        Raises:
            DittoError: As `generate`.
        """
        wanted = dict(self._distinct(requests))
        if not wanted:
            return []
        gathered = _Gathered(len(wanted))
        abandoned = threading.Event()
        try:
            self.submit([Job(request, key, gathered, abandoned) for key, request in wanted.items()])
            outcomes = await gathered.outcomes()
        finally:
            abandoned.set()
        return [outcomes[request.key(self.identity)] for request in requests]

    def _distinct(self, requests: Sequence[Request]) -> Iterator[tuple[str, Request]]:
        seen: set[str] = set()
        for request in requests:
            key = request.key(self.identity)
            if key not in seen:
                seen.add(key)
                yield key, request


class _Gathered:
    """Takes some answers from any thread, and wakes the event loop once: when all are there, or an error is."""

    def __init__(self, wanted: int) -> None:
        self._loop = asyncio.get_running_loop()
        self._all: asyncio.Future[dict[str, Outcome]] = self._loop.create_future()
        self._wanted = wanted
        self._outcomes: dict[str, Outcome] = {}
        self._lock = threading.Lock()

    def put(self, answer: Answer) -> None:
        with self._lock:
            if not isinstance(answer, DittoError):
                self._outcomes[answer.key] = answer
                if len(self._outcomes) < self._wanted:
                    return
        with contextlib.suppress(RuntimeError):  # the loop is closed: nobody waits any more
            self._loop.call_soon_threadsafe(self._settle, answer)

    async def outcomes(self) -> dict[str, Outcome]:
        return await self._all

    def _settle(self, answer: Answer) -> None:
        if self._all.done():
            return
        if isinstance(answer, DittoError):
            self._all.set_exception(answer)
        else:
            self._all.set_result(self._outcomes)


def estimate_tokens(text: str) -> int:
    """Length of a text in tokens where no tokenizer is at hand, rounded up so that budgets err on the safe side.

    One token for each 3 ASCII characters and one for each other character; English in common tokenizers has 4 to 5
    characters a token, Chinese and Korean 1 to 2.
    """
    ascii_characters = sum(character.isascii() for character in text)
    return -(-ascii_characters // 3) + len(text) - ascii_characters
