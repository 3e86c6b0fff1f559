"""The memo: row key -> raw completion, in front of the generator, so that nothing is paid for twice.

`MemoisedGenerator` looks every request up first, asks the engine for the rest only, and keeps what came back. Completions are
committed in groups, at most 0.2 s behind, so a kill -9 costs what was in flight and no more. Two threads that ask the same
at once share one request. Failures are not kept: the next run asks again.

SQLite by default; PostgreSQL when several hosts share one memo (SQLAlchemy Core, same table).
"""

import queue
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import sqlalchemy as sa
from sqlalchemy.dialects import postgresql, sqlite

from ditto_core.errors import InvalidInput
from ditto_core.generation.generator import Completion, Failure, Generator, Outcome, Request
from ditto_core.recipe import ModelIdentity

_GROUP_SECONDS = 0.2
_GROUP_ROWS = 500
_LOOKUP_ROWS = 500

_METADATA = sa.MetaData()
_COMPLETIONS = sa.Table(
    "completions",
    _METADATA,
    sa.Column("key", sa.String(64), primary_key=True),
    sa.Column("text", sa.Text, nullable=False),
    sa.Column("finish_reason", sa.String(32), nullable=False),
    sa.Column("prompt_tokens", sa.Integer, nullable=False),
    sa.Column("completion_tokens", sa.Integer, nullable=False),
    sa.Column("purpose", sa.String(64), nullable=False),
    sa.Column("weights", sa.String(255), nullable=False),
)


class Memo:
    """The store of completions. Safe to use from many threads and processes.

    Raises:
        InvalidInput: The database cannot be reached, or the file is not a memo.
    """

    def __init__(self, url: str) -> None:
        try:
            self._engine = sa.create_engine(url)
            if self._engine.dialect.name == "sqlite":
                sa.event.listen(self._engine, "connect", _tune_sqlite)
            _METADATA.create_all(self._engine)
            with self._engine.connect() as connection:
                connection.execute(sa.select(_COMPLETIONS).limit(1))
        except (sa.exc.SQLAlchemyError, ModuleNotFoundError) as error:
            shown = sa.engine.make_url(url).render_as_string(hide_password=True) if "://" in url else url
            raise InvalidInput(
                f"the memo at {shown!r} cannot be used: {_first_line(error)}. Expected a database that Ditto made, "
                f"or an address like sqlite:///ditto-data/memo.db; move a damaged file away to start a new one."
            ) from error
        self._pending: dict[str, tuple[Completion, dict[str, Any]]] = {}
        self._queue: queue.SimpleQueue[dict[str, Any] | None] = queue.SimpleQueue()
        self._lock = threading.Lock()
        self._broken: Exception | None = None
        self._writer = threading.Thread(target=self._write_groups, name="memo-writer", daemon=True)
        self._writer.start()

    def lookup(self, keys: Sequence[str]) -> dict[str, Completion]:
        """Row key -> completion, for those that are known."""
        with self._lock:
            found = {key: self._pending[key][0] for key in keys if key in self._pending}
        missing = [key for key in keys if key not in found]
        with self._engine.connect() as connection:
            for start in range(0, len(missing), _LOOKUP_ROWS):
                part = missing[start : start + _LOOKUP_ROWS]
                rows = connection.execute(sa.select(_COMPLETIONS).where(_COMPLETIONS.c.key.in_(part)))
                for row in rows:
                    found[row.key] = Completion(row.key, row.text, row.finish_reason, row.prompt_tokens, row.completion_tokens)
        return found

    def store(self, completion: Completion, *, purpose: str, weights: str) -> None:
        """Keep a completion; it is on disk at most 0.2 s later.

        Raises:
            InvalidInput: An earlier group could not be written, such as on a full disk.
        """
        if self._broken is not None:
            raise self._broken
        row = {
            "key": completion.key,
            "text": completion.text,
            "finish_reason": completion.finish_reason,
            "prompt_tokens": completion.prompt_tokens,
            "completion_tokens": completion.completion_tokens,
            "purpose": purpose,
            "weights": weights,
        }
        with self._lock:
            self._pending[completion.key] = (completion, row)
        self._queue.put(row)

    def count(self) -> dict[str, int]:
        """Purpose -> number of completions kept."""
        with self._engine.connect() as connection:
            counted = sa.select(_COMPLETIONS.c.purpose, sa.func.count().label("number")).group_by(_COMPLETIONS.c.purpose)
            return {row.purpose: row.number for row in connection.execute(counted)}

    def close(self) -> None:
        """Write what is pending and let go of the database.

        Raises:
            InvalidInput: A group could not be written.
        """
        self._queue.put(None)
        self._writer.join()
        self._engine.dispose()
        if self._broken is not None:
            raise self._broken

    def _write_groups(self) -> None:
        """Body of the writer thread: take what is there, commit it, pause; None ends it."""
        while True:
            group, ended = self._next_group()
            if group:
                try:
                    self._insert(group)
                except sa.exc.SQLAlchemyError as error:
                    self._broken = InvalidInput(
                        f"the memo cannot be written: {_first_line(error)}. Free some space or repair the database, then "
                        f"run the command again; what was committed before is kept."
                    )
                    return
                with self._lock:
                    for row in group:
                        self._pending.pop(row["key"], None)
            if ended:
                return

    def _next_group(self) -> tuple[list[dict[str, Any]], bool]:
        first = self._queue.get()
        if first is None:
            return [], True
        group = [first]
        time.sleep(_GROUP_SECONDS / 2)
        while len(group) < _GROUP_ROWS:
            try:
                row = self._queue.get_nowait()
            except queue.Empty:
                return group, False
            if row is None:
                return group, True
            group.append(row)
        return group, False

    def _insert(self, rows: list[dict[str, Any]]) -> None:
        make = postgresql.insert if self._engine.dialect.name == "postgresql" else sqlite.insert
        unique = list({row["key"]: row for row in rows}.values())
        with self._engine.begin() as connection:
            connection.execute(make(_COMPLETIONS).on_conflict_do_nothing(index_elements=["key"]), unique)


@dataclass(slots=True)
class Usage:
    """What a run asked for, by purpose.

    Attributes:
        calls: Requests that an engine answered or failed.
        hits: Requests that the memo answered, or that another thread had in flight.
    """

    calls: Counter[str] = field(default_factory=Counter)
    hits: Counter[str] = field(default_factory=Counter)
    tokens: Counter[str] = field(default_factory=Counter)


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
        wanted = {request.key(self.identity): request for request in requests}
        # Claimed before it is looked up: a request that another thread finishes in between is then found in the memo.
        mine, theirs = self._claim(wanted)
        try:
            known = self._memo.lookup(list(mine))
            for key, completion in known.items():
                self.usage.hits[wanted[key].purpose] += 1
                mine[key].outcome = completion
                self._land({key: mine[key]})
                yield completion
            unknown = {key: wanted[key] for key in mine if key not in known}
            if unknown:
                yield from self._ask(unknown, mine)
        finally:
            self._land(mine)
        for key, flight in theirs.items():
            flight.landed.wait()
            self.usage.hits[wanted[key].purpose] += 1
            yield flight.outcome or Failure(key, "engine_unavailable", "the thread that asked this was interrupted")

    def count_tokens(self, text: str) -> int:
        """As the engine counts; makes the engine, which loads its tokenizer alone."""
        return self.engine.count_tokens(text)

    def close(self) -> None:
        """Free the engine, if one was made. The memo is closed by its owner."""
        with self._lock:
            engine, self._engine = self._engine, None
        if engine is not None:
            engine.close()

    @property
    def engine(self) -> Generator:
        """The engine behind the memo."""
        with self._lock:
            if self._engine is None:
                self._engine = self._make_engine()
            return self._engine

    def _ask(self, requests: dict[str, Request], flights: "dict[str, _Flight]") -> Iterator[Outcome]:
        for outcome in self.engine.generate(list(requests.values())):
            request = requests[outcome.key]
            self.usage.calls[request.purpose] += 1
            if isinstance(outcome, Completion):
                self.usage.tokens[request.purpose] += outcome.completion_tokens
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
                    theirs[key] = self._in_flight[key]
                else:
                    mine[key] = self._in_flight[key] = _Flight()
        return mine, theirs

    def _land(self, flights: "dict[str, _Flight]") -> None:
        with self._lock:
            for key, flight in flights.items():
                if self._in_flight.get(key) is flight:
                    del self._in_flight[key]
                flight.landed.set()


@dataclass(slots=True)
class _Flight:
    """A request under way, and who waits for it."""

    landed: threading.Event = field(default_factory=threading.Event)
    outcome: Outcome | None = None


def _tune_sqlite(connection: Any, _record: Any) -> None:
    """Write-ahead log: readers never wait, a killed writer leaves a sound file; wait for other processes' locks."""
    connection.execute("PRAGMA journal_mode=WAL")
    connection.execute("PRAGMA synchronous=NORMAL")
    connection.execute("PRAGMA busy_timeout=60000")


def _first_line(error: Exception) -> str:
    return str(getattr(error, "orig", None) or error).splitlines()[0]
