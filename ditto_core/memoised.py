"""The memo in front of an engine: what was asked before is answered from it, the rest is asked once and kept.

Two threads that ask the same at once share one request. Failures are not kept: the next run asks again.

Example: a shard asks 500 questions; the memo knows 480, another shard has 2 in flight, the engine is asked 18.
"""

import re
import threading
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace

from ditto_core.generation.generator import Completion, Generator, Outcome, Request
from ditto_core.memo import Memo
from ditto_core.recipe import ModelIdentity

_UNWRITABLE = re.compile("[\\x00\\ud800-\\udfff]")


class Usage:
    """What was asked, by purpose. May be counted from many threads at once.

    Attributes:
        calls: Requests that an engine answered or failed.
        hits: Requests that the memo answered, or that another thread had in flight.
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


class MemoisedGenerator:
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
        self._in_flight: dict[str, _Flight] = {}

    def generate(self, requests: Sequence[Request]) -> Iterator[Outcome]:
        """Answer requests: known ones first, then new ones as the engine finishes them, then those another thread asked."""
        return self.serve(requests, (self.usage,))

    def metered(self) -> "Metered":
        """The same generator with a count of its own, such as for one shard."""
        return Metered(self)

    def serve(self, requests: Sequence[Request], usages: Sequence[Usage]) -> Iterator[Outcome]:
        """As `generate`, counted in each of the given usages."""
        wanted = {request.key(self.identity): request for request in requests}
        # Claimed before it is looked up: a request that another thread finishes in between is then found in the memo.
        mine, theirs = self._claim(wanted)
        try:
            known = self._memo.lookup(list(mine))
            for key, completion in known.items():
                _hit(usages, wanted[key])
                mine[key].outcome = completion
                self._land({key: mine[key]})
                yield completion
            unknown = {key: wanted[key] for key in mine if key not in known}
            if unknown:
                yield from self._ask(unknown, mine, usages)
        finally:
            self._land(mine)
        orphaned = []
        for key, flight in theirs.items():
            if flight.landed is not None:
                flight.landed.wait()
            if flight.outcome is None:
                orphaned.append(wanted[key])
                continue
            _hit(usages, wanted[key])
            yield flight.outcome
        if orphaned:  # the thread that asked these was interrupted
            yield from self.serve(orphaned, usages)

    def count_tokens(self, text: str) -> int:
        """As the engine counts; makes the engine, which loads its tokenizer alone."""
        return self.engine.count_tokens(text)

    def close(self) -> None:
        """Free the engine, if one was made, and note in the memo what was asked. The memo is closed by its owner."""
        with self._lock:
            engine, self._engine = self._engine, None
            usage, self.usage = self.usage, Usage()
        if engine is not None:
            engine.close()
        self._memo.add_traffic(self.identity.weights, usage.calls, usage.hits)

    @property
    def engine(self) -> Generator:
        """The engine behind the memo."""
        with self._lock:
            if self._engine is None:
                self._engine = self._make_engine()
            return self._engine

    def _ask(self, requests: dict[str, Request], flights: "dict[str, _Flight]", usages: Sequence[Usage]) -> Iterator[Outcome]:
        for answer in self.engine.generate(list(requests.values())):
            outcome, request = _writable(answer), requests[answer.key]
            for usage in usages:
                usage.call(request.purpose, outcome)
            if isinstance(outcome, Completion):
                self._memo.store(outcome, purpose=request.purpose, weights=self.identity.weights)
            flights[outcome.key].outcome = outcome
            self._land({outcome.key: flights[outcome.key]})
            yield outcome

    def _claim(self, keys: Iterable[str]) -> "tuple[dict[str, _Flight], dict[str, _Flight]]":
        """Split keys into those that this thread now answers and those that another has in flight."""
        mine: dict[str, _Flight] = {}
        theirs: dict[str, _Flight] = {}
        with self._lock:
            for key in keys:
                if key in self._in_flight:
                    theirs[key] = self._in_flight[key].watched()
                else:
                    mine[key] = self._in_flight[key] = _Flight()
        return mine, theirs

    def _land(self, flights: "dict[str, _Flight]") -> None:
        with self._lock:
            for key, flight in flights.items():
                if self._in_flight.get(key) is flight:
                    del self._in_flight[key]
                if flight.landed is not None:
                    flight.landed.set()


@dataclass(slots=True)
class _Flight:
    """A request under way; `landed` is there once another thread waits for it, which few do."""

    landed: threading.Event | None = None
    outcome: Outcome | None = None

    def watched(self) -> "_Flight":
        """Itself, for one more to wait for."""
        self.landed = self.landed or threading.Event()
        return self


class Metered:
    """A memoised generator as one shard sees it. Its `close` frees nothing: the engine is everybody's.

    Attributes:
        usage: What was asked through this object alone.
    """

    def __init__(self, shared: MemoisedGenerator) -> None:
        self.identity = shared.identity
        self.usage = Usage()
        self._shared = shared

    def generate(self, requests: Sequence[Request]) -> Iterator[Outcome]:
        """As the shared generator."""
        return self._shared.serve(requests, (self._shared.usage, self.usage))

    def count_tokens(self, text: str) -> int:
        """As the shared generator."""
        return self._shared.count_tokens(text)

    def close(self) -> None:
        """Nothing to free."""


def _hit(usages: Sequence[Usage], request: Request) -> None:
    for usage in usages:
        usage.hit(request.purpose)


def _writable(outcome: Outcome) -> Outcome:
    """A reply without what no file and no database can hold: NUL and halves of surrogate pairs, which JSON can escape."""
    if isinstance(outcome, Completion) and _UNWRITABLE.search(outcome.text):
        return replace(outcome, text=_UNWRITABLE.sub("\ufffd", outcome.text))
    return outcome
