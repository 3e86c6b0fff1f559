"""The memo in front of an engine: what was asked before is answered from it, the rest is asked once and kept.

Two that ask the same at once share one request, in one process; of two processes both are given the reply that was kept first.
Failures are not kept: the next run asks again.

Example: a shard asks 500 questions; the memo knows 480, another shard has 2 in flight, the engine is asked 18.
"""

import re
import threading
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

from ditto_core.errors import BrokenPromise, DittoError
from ditto_core.generation.generator import Answer, Generator, Job
from ditto_core.generation.requests import Completion, Outcome
from ditto_core.memo import Memo, Told
from ditto_core.recipe import ModelIdentity

_UNWRITABLE = re.compile("[\\x00\\ud800-\\udfff]")


class Usage:
    """What was asked, by purpose. May be counted from many threads at once.

    Attributes:
        calls: Requests that an engine answered or failed.
        hits: Requests that the memo answered, or that somebody else had in flight.
        prompt_tokens: Of the requests that an engine answered; `completion_tokens` of its replies.
        cached_tokens: Tokens of these prompts that the engine had in its prefix cache.
    """

    def __init__(self) -> None:
        self.calls: Counter[str] = Counter()
        self.hits: Counter[str] = Counter()
        self.prompt_tokens = self.completion_tokens = self.cached_tokens = 0
        self._lock = threading.Lock()

    def call(self, purpose: str, outcome: Outcome) -> None:
        """Count what an engine was asked."""
        with self._lock:
            self.calls[purpose] += 1
            if isinstance(outcome, Completion):
                self.prompt_tokens += outcome.prompt_tokens
                self.completion_tokens += outcome.completion_tokens
                self.cached_tokens += outcome.cached_tokens

    def hit(self, purpose: str) -> None:
        """Count what cost nothing."""
        with self._lock:
            self.hits[purpose] += 1


class MemoisedGenerator(Generator):
    """A `Generator` that pays for each row key once.

    Args:
        identity: Of the model, so that keys are known before anything is loaded.
        engine: Makes the engine at the first request that the memo does not know.
    """

    def __init__(self, identity: ModelIdentity, engine: Callable[[], Generator], memo: Memo) -> None:
        self.identity = identity
        self.usage = Usage()
        self._make_engine = engine
        self._engine: Generator | None = None
        self._memo = memo
        self._lock = threading.Lock()
        self._flying = threading.Lock()  # guards what follows, and who is aboard
        self._in_flight: dict[str, _Flight] = {}

    def submit(self, jobs: Sequence[Job]) -> None:
        """Answer known ones at once; new ones when the engine, or whoever asked them before, has the answer."""
        self.serve(jobs, (self.usage,))

    def metered(self) -> "Metered":
        """The same generator with a count of its own, such as for one shard."""
        return Metered(self)

    def serve(self, jobs: Sequence[Job], usages: Sequence[Usage]) -> None:
        """As `submit`, counted in each of the given usages."""
        # Claimed before they are looked up: what somebody else finishes in between is then found in the memo.
        mine = self._claim([_Waiting(job, usages) for job in jobs])
        try:
            known = self._memo.lookup(list(mine))
            for key, completion in known.items():
                mine[key].land(completion)
            unknown = [flight for key, flight in mine.items() if key not in known]
            if unknown:
                self.engine.submit([Job(flight.request, flight.key, flight, flight) for flight in unknown])
        except DittoError as error:
            for flight in mine.values():
                flight.land(error)
        except BaseException as error:
            for flight in mine.values():
                flight.land(BrokenPromise(f"asking ended with {type(error).__name__}: {error}"))
            raise

    def count_tokens(self, text: str) -> int:
        """As the engine counts; makes the engine, which loads its tokenizer alone."""
        return self.engine.count_tokens(text)

    def close(self) -> None:
        """Free the engine, if one was made, and note in the memo what was asked. The memo is closed by its owner."""
        with self._lock:
            engine, self._engine = self._engine, None
            usage, self.usage = self.usage, Usage()
        try:
            if engine is not None:
                engine.close()
        finally:
            self._memo.add_traffic(self.identity.weights, usage.calls, usage.hits)

    @property
    def engine(self) -> Generator:
        """The engine behind the memo."""
        with self._lock:
            if self._engine is None:
                self._engine = self._make_engine()
            return self._engine

    def keep(self, reply: Completion, purpose: str, kept: Told) -> None:
        """Keep a reply of the engine in the memo, which tells `kept` what it holds then, or why it could not."""
        clean = replace(reply, text=_UNWRITABLE.sub("\ufffd", reply.text)) if _UNWRITABLE.search(reply.text) else reply
        self._memo.store(clean, purpose=purpose, weights=self.identity.weights, kept=kept)

    def leave(self, flight: "_Flight", *, only_abandoned: bool = False) -> "Sequence[_Waiting]":
        """End a flight: nobody can join it any more. Returns who waits for it.

        Args:
            only_abandoned: Leave it under way if somebody still waits.
        """
        with self._flying:
            if only_abandoned and flight.is_awaited():
                return ()
            if self._in_flight.get(flight.key) is flight:
                del self._in_flight[flight.key]
            waiting, flight.waiting = flight.waiting, []
            return waiting

    def _claim(self, comers: "Sequence[_Waiting]") -> "dict[str, _Flight]":
        """Let each join the flight of its key; those that are new are returned."""
        mine: dict[str, _Flight] = {}
        with self._flying:
            for comer in comers:
                key = comer.job.key
                if key not in self._in_flight:
                    mine[key] = self._in_flight[key] = _Flight(self, comer.job)
                self._in_flight[key].waiting.append(comer)
        return mine


@dataclass(frozen=True, slots=True)
class _Waiting:
    """A job that waits, and who counts it."""

    job: Job
    usages: Sequence[Usage]


class _Flight:
    """A request under way, for all that wait for it; to the engine it is where the answer goes."""

    def __init__(self, generator: MemoisedGenerator, first: Job) -> None:
        self.request, self.key = first.request, first.key
        self.waiting: list[_Waiting] = []
        self._generator = generator

    def put(self, answer: Answer) -> None:
        """The engine's answer. A reply is kept first, so that whoever asks next finds it."""
        if isinstance(answer, Completion):
            self._generator.keep(answer, self.request.purpose, lambda held: self.land(held, paid=answer))
        elif isinstance(answer, DittoError):
            self.land(answer)
        else:
            self.land(answer, paid=answer)

    def is_set(self) -> bool:
        """Whether nobody waits any more."""
        if self.is_awaited():
            return False
        self._generator.leave(self, only_abandoned=True)
        return not self.waiting

    def is_awaited(self) -> bool:
        """Whether somebody waits."""
        return not all(waiting.job.abandoned.is_set() for waiting in self.waiting)

    def land(self, answer: Answer, *, paid: Outcome | None = None) -> None:
        """Tell all that wait; the first of them asked for what an engine was `paid` for, the others got it from us."""
        for number, waiting in enumerate(self._generator.leave(self)):
            if not isinstance(answer, DittoError):
                for usage in waiting.usages:
                    if paid is not None and number == 0:
                        usage.call(self.request.purpose, paid)
                    else:
                        usage.hit(self.request.purpose)
            waiting.job.answers.put(answer)


class Metered(Generator):
    """A memoised generator as one shard sees it. Its `close` frees nothing: the engine is everybody's.

    Attributes:
        usage: What was asked through this object alone.
    """

    def __init__(self, shared: MemoisedGenerator) -> None:
        self.identity = shared.identity
        self.usage = Usage()
        self._shared = shared

    def submit(self, jobs: Sequence[Job]) -> None:
        """As the shared generator."""
        self._shared.serve(jobs, (self._shared.usage, self.usage))

    def count_tokens(self, text: str) -> int:
        """As the shared generator."""
        return self._shared.count_tokens(text)

    def close(self) -> None:
        """Nothing to free."""
