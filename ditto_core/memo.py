"""The memo: row key -> raw completion, kept for good, so that nothing is paid for twice.

In:   completions, each under the row key of its request.
Out:  the same, to any thread, process or host that asks with that key; counts of what is kept and of what it saved.

Completions are committed in groups, some hundredths of a second behind, and handed out only then: a kill -9 costs what was in
flight and no more, and of two processes that asked the same at once both are told what the memo holds. SQLite by default;
PostgreSQL when several hosts share one memo (SQLAlchemy Core, same tables). `memoised.py` puts it in front of an engine.
"""

import queue
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from typing import Any, TypeVar

import sqlalchemy as sa

from ditto_core.errors import DittoError, InvalidInput, SourceUnavailable
from ditto_core.generation.requests import Completion
from ditto_core.memo_database import connect, first_line, insert, patiently, without_password

_GROUP_SECONDS = 0.02  # replies wait for it
_GROUP_ROWS = 10_000
_LOOKUP_ROWS = 500

T = TypeVar("T")
_met: set[str] = set()
"""Addresses of the memos that this process has had open."""
Told = Callable[[Completion | DittoError], None]
"""Is told what the memo holds, or why it could not keep it. Called from another thread, and never waits."""

_METADATA = sa.MetaData()
_COMPLETIONS = sa.Table(
    "completions",
    _METADATA,
    sa.Column("key", sa.String(64), primary_key=True),
    sa.Column("text", sa.Text, nullable=False),
    sa.Column("finish_reason", sa.Text, nullable=False),
    sa.Column("prompt_tokens", sa.Integer, nullable=False),
    sa.Column("completion_tokens", sa.Integer, nullable=False),
    sa.Column("purpose", sa.String(64), nullable=False),
    sa.Column("weights", sa.Text, nullable=False),
    sa.Column("created", sa.DateTime(timezone=True), nullable=False, server_default=sa.func.now()),
)
_TRAFFIC = sa.Table(
    "traffic",
    _METADATA,
    sa.Column("purpose", sa.String(64), primary_key=True),
    sa.Column("weights", sa.Text, primary_key=True),
    sa.Column("calls", sa.BigInteger, nullable=False),
    sa.Column("hits", sa.BigInteger, nullable=False),
)
ROW = ("key", "text", "finish_reason", "prompt_tokens", "completion_tokens", "purpose", "weights")
"""Columns of a kept completion, as export writes them."""


@dataclass(frozen=True, slots=True)
class Kept:
    """What the memo holds of one stage and model.

    Attributes:
        purpose: Name of the stage's requests, such as "queries".
        weights: Digest of the model's weights, or the name of a server's model.
        completions: Number of replies kept.
        tokens: New tokens of these replies.
        size: Characters of these replies.
        calls: Requests that an engine was asked, over all finished runs.
        hits: Requests that the memo answered, over all finished runs.
    """

    purpose: str
    weights: str
    completions: int
    tokens: int
    size: int
    calls: int
    hits: int


@dataclass(frozen=True, slots=True)
class _New:
    """A completion on its way into the memo, and who is told once it is there."""

    completion: Completion
    row: dict[str, Any]
    kept: Told


class Memo:
    """The store of completions. Safe to use from many threads and processes. A server that goes away is waited for.

    Raises:
        InvalidInput: The database cannot be reached, or it is not a memo.
        SourceUnavailable: Its server, which this process has used before, does not answer any more.
    """

    def __init__(self, url: str) -> None:
        self._shown = without_password(url)
        with self._explained():
            self._engine = connect(url)
            if url in _met:
                patiently(self._prepare, self._shown)
            else:
                self._prepare()  # a wrong address is said at once
        _met.add(url)
        self._queue: queue.SimpleQueue[_New | None] = queue.SimpleQueue()
        self._closing = threading.Event()
        self._lock = threading.Lock()  # nothing is queued after the None that ends the writer
        self._broken: InvalidInput | None = None
        self._writer = threading.Thread(target=self._write_groups, name="memo-writer", daemon=True)
        self._writer.start()

    def lookup(self, keys: Sequence[str]) -> dict[str, Completion]:
        """Row key -> completion, for those that are known.

        Raises:
            InvalidInput: The database is damaged or gone.
            SourceUnavailable: Its server does not answer.
        """
        with self._explained():
            return self._transact(lambda connection: _known(connection, keys))

    def store(self, completion: Completion, *, purpose: str, weights: str, kept: Told) -> None:
        """Keep a completion.

        Once it is on disk, `kept` is told what the memo holds under its key: this completion, or that of another process which
        was first. An InvalidInput in its place says that the database cannot be written, such as on a full disk, and a
        SourceUnavailable that its server does not answer.
        """
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
            closed = self._closing.is_set()
            if not closed:
                self._queue.put(_New(completion, row, kept))
        if closed:
            kept(SourceUnavailable(f"the memo at {self._shown!r} was closed before a reply came; run the command again."))

    def add_traffic(self, weights: str, calls: Mapping[str, int], hits: Mapping[str, int]) -> None:
        """Add up what a run asked of a model, by purpose."""
        new = insert(self._engine, _TRAFFIC)
        statement = new.on_conflict_do_update(
            index_elements=["purpose", "weights"],
            set_={name: _TRAFFIC.c[name] + new.excluded[name] for name in ("calls", "hits")},
        )
        rows = [
            {"purpose": purpose, "weights": weights, "calls": calls.get(purpose, 0), "hits": hits.get(purpose, 0)}
            for purpose in sorted({*calls, *hits})
        ]
        if rows:
            with self._explained():
                self._transact(lambda connection: connection.execute(statement, rows))  # twice if it went away at the commit

    def kept(self) -> list[Kept]:
        """What is kept, by stage and model."""
        counted = sa.select(
            _COMPLETIONS.c.purpose,
            _COMPLETIONS.c.weights,
            sa.func.count(),
            sa.func.sum(_COMPLETIONS.c.completion_tokens),
            sa.func.sum(sa.func.length(_COMPLETIONS.c.text)),
        ).group_by(_COMPLETIONS.c.purpose, _COMPLETIONS.c.weights)
        with self._explained(), self._engine.connect() as connection:
            traffic = {(row.purpose, row.weights): (row.calls, row.hits) for row in connection.execute(sa.select(_TRAFFIC))}
            rows = {(purpose, weights): counts for purpose, weights, *counts in connection.execute(counted)}
        kept = []
        for purpose, weights in sorted({*rows, *traffic}):
            completions, tokens, size = map(int, rows.get((purpose, weights), (0, 0, 0)))
            calls, hits = traffic.get((purpose, weights), (0, 0))
            kept.append(Kept(purpose, weights, completions, tokens, size, calls, hits))
        return kept

    def rows(self) -> Iterator[list[Mapping[str, Any]]]:
        """All completions in the order of their keys, some at a time."""
        chosen = sa.select(*(_COMPLETIONS.c[name] for name in ROW)).order_by(_COMPLETIONS.c.key)
        with self._explained(), self._engine.connect().execution_options(yield_per=_LOOKUP_ROWS) as connection:
            for part in connection.execute(chosen).mappings().partitions():
                yield [dict(row) for row in part]

    def add(self, rows: Sequence[Mapping[str, Any]]) -> int:
        """Keep completions of another memo; those whose key is known stay as they are. Returns how many were new."""
        if not rows:
            return 0
        unique = _in_order({row["key"]: dict(row) for row in rows})
        statement = insert(self._engine, _COMPLETIONS).on_conflict_do_nothing(index_elements=["key"])
        with self._explained(), self._engine.begin() as connection:
            before = connection.scalar(sa.select(sa.func.count()).select_from(_COMPLETIONS)) or 0
            connection.execute(statement, unique)
            return (connection.scalar(sa.select(sa.func.count()).select_from(_COMPLETIONS)) or 0) - before

    def prune(self, *, before: datetime | None = None, weights: str = "") -> int:
        """Forget completions, and give their space back. Returns how many.

        Args:
            before: Those that were kept before this time; None is any time.
            weights: Those of models whose `Kept.weights` begin so; "" is any model.
        """
        conditions = [_COMPLETIONS.c.weights.startswith(weights, autoescape=True)] if weights else []
        if before is not None:
            conditions.append(_COMPLETIONS.c.created < before)
        with self._explained():
            with self._engine.begin() as connection:
                gone = connection.execute(sa.delete(_COMPLETIONS).where(sa.true(), *conditions)).rowcount
                if weights:
                    connection.execute(sa.delete(_TRAFFIC).where(_TRAFFIC.c.weights.startswith(weights, autoescape=True)))
            with self._engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
                connection.execute(sa.text("VACUUM"))
        return gone

    def close(self) -> None:
        """Write what is pending and let go of the database.

        Raises:
            InvalidInput: A group could not be written.
        """
        with self._lock:
            self._closing.set()
            self._queue.put(None)
        self._writer.join()
        self._engine.dispose()
        if self._broken is not None:
            raise self._broken

    def _prepare(self) -> None:
        """Make the tables where there are none, and read from them.

        Raises:
            InvalidInput: A file of something else, to which nothing is added.
        """
        tables = set(sa.inspect(self._engine).get_table_names())
        if self._engine.dialect.name == "sqlite" and tables and "completions" not in tables:
            raise InvalidInput(
                f"the memo at {self._shown!r} cannot be used: it is another program's database, with the tables "
                f"{', '.join(sorted(tables)[:5])}. Set memo_url to a file that Ditto made, or to one that does not exist yet."
            )
        for table in _METADATA.sorted_tables:
            try:
                table.create(self._engine, checkfirst=True)
            except sa.exc.DatabaseError:
                if not sa.inspect(self._engine).has_table(table.name):  # else another process has made it in this moment
                    raise
        with self._engine.connect() as connection:
            for table in _METADATA.sorted_tables:
                connection.execute(sa.select(table).limit(1)).all()

    @contextmanager
    def _explained(self) -> Iterator[None]:
        """Turn what the database says into words that help."""
        try:
            yield
        except (sa.exc.SQLAlchemyError, ModuleNotFoundError) as error:
            raise InvalidInput(
                f"the memo at {self._shown!r} cannot be used: {first_line(error)}. Expected a database that Ditto made, "
                f"or an address like sqlite:///ditto-data/memo.db; move a damaged file away to start a new one."
            ) from error

    def _transact(self, act: Callable[[sa.Connection], T]) -> T:
        """Do something in one transaction, and again from its start while the server is away; raises as `patiently`."""

        def once() -> T:
            with self._engine.begin() as connection:
                return act(connection)

        return patiently(once, self._shown)

    def _write_groups(self) -> None:
        """Body of the writer thread: take what is there, commit it, tell who waits for it; None ends it."""
        ended = False
        while not ended:
            group, ended = self._next_group()
            earlier: dict[str, Completion] = {}
            problem: DittoError | None = self._broken
            if group and problem is None:
                try:
                    earlier = self._commit(group)
                except SourceUnavailable as error:
                    problem = error  # of this group alone: the next may find the server back
                except Exception as error:  # nobody else would hear of it: who waits and `close` do
                    problem = self._broken = InvalidInput(
                        f"the memo cannot be written: {first_line(error)}. Free some space or repair the database, then "
                        f"run the command again; what was committed before is kept."
                    )
            for new in group:
                new.kept(problem or earlier.get(new.completion.key, new.completion))

    def _commit(self, group: Sequence[_New]) -> dict[str, Completion]:
        """Write a group. Returns what the memo holds under its keys if another was first with one of them, else nothing.

        Raises:
            SourceUnavailable: The server does not answer.
        """
        statement = insert(self._engine, _COMPLETIONS).on_conflict_do_nothing(index_elements=["key"])
        rows = _in_order({new.completion.key: new.row for new in group})

        def write(connection: sa.Connection) -> dict[str, Completion]:
            done = connection.execute(statement, rows, execution_options={"preserve_rowcount": True})
            return {} if done.rowcount == len(group) else _known(connection, [row["key"] for row in rows])

        return self._transact(write)

    def _next_group(self) -> tuple[list[_New], bool]:
        first = self._queue.get()
        if first is None:
            return [], True
        group = [first]
        self._closing.wait(_GROUP_SECONDS)
        while len(group) < _GROUP_ROWS:
            try:
                new = self._queue.get_nowait()
            except queue.Empty:
                return group, False
            if new is None:
                return group, True
            group.append(new)
        return group, False


def _known(connection: sa.Connection, keys: Sequence[str]) -> dict[str, Completion]:
    found = {}
    for start in range(0, len(keys), _LOOKUP_ROWS):
        part = keys[start : start + _LOOKUP_ROWS]
        for row in connection.execute(sa.select(_COMPLETIONS).where(_COMPLETIONS.c.key.in_(part))):
            found[row.key] = Completion(row.key, row.text, row.finish_reason, row.prompt_tokens, row.completion_tokens)
    return found


def _in_order(rows: Mapping[str, dict[str, Any]]) -> list[dict[str, Any]]:
    """Rows by key, or two processes that insert the same ones could each wait for the other."""
    return [rows[key] for key in sorted(rows)]
