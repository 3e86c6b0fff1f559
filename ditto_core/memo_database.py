"""The memo's database: how one in a file and one behind a server are opened, and what is weather in them.

In:   an address, such as sqlite:///ditto-data/memo.db or postgresql+psycopg://ditto@db/memo.
Out:  SQLAlchemy's engine for it; acts that wait for a server which restarts; words for what went wrong.
"""

import sqlite3
import time
from collections.abc import Callable
from typing import Any, TypeVar

import sqlalchemy as sa
from sqlalchemy.dialects import postgresql, sqlite

from ditto_core.errors import SourceUnavailable

_CONNECTIONS = 8
_LOCKED_S = 60  # for other processes' locks on a SQLite file
_LONGEST_WAIT_S = 600.0  # for a connection; hundreds of threads share them, each for less than a millisecond
_AWAY_S = 60.0  # for a server that restarts, or another that takes its place
_FIRST_PAUSE_S, _LONGEST_PAUSE_S = 0.1, 5.0

T = TypeVar("T")


def connect(url: str) -> sa.Engine:
    """The engine for an address; nothing is asked of the database yet."""
    engine = sa.create_engine(
        url,
        pool_size=_CONNECTIONS,
        max_overflow=_CONNECTIONS,
        pool_timeout=_LONGEST_WAIT_S,
        pool_pre_ping="sqlite" not in url,
    )
    if engine.dialect.name == "sqlite":
        sa.event.listen(engine, "connect", _tune_sqlite)
    return engine


def insert(engine: sa.Engine, table: sa.Table) -> Any:
    """An INSERT that knows ON CONFLICT; both databases have it, with the same words but in two classes."""
    return (postgresql.insert if engine.dialect.name == "postgresql" else sqlite.insert)(table)


def patiently(act: Callable[[], T], shown: str) -> T:
    """Do something, again and again while the server is away.

    Args:
        shown: The address, for the message.

    Raises:
        SourceUnavailable: It stayed away.
    """
    until, pause = time.monotonic() + _AWAY_S, _FIRST_PAUSE_S
    while True:
        try:
            return act()
        except sa.exc.DBAPIError as error:
            if not _is_away(error):
                raise
            if time.monotonic() > until:
                raise SourceUnavailable(
                    f"the database of the memo at {shown!r} does not answer: {first_line(error)}. Start it, or see why it "
                    f"cannot be reached, then run the command again; what was committed before is kept."
                ) from error
        time.sleep(pause)
        pause = min(2 * pause, _LONGEST_PAUSE_S)


def without_password(url: str) -> str:
    """An address as messages show it."""
    if "://" not in url:
        return url
    return sa.engine.make_url(url).difference_update_query(["password"]).render_as_string(hide_password=True)


def first_line(error: Exception) -> str:
    """What the database itself says of an error."""
    return str(getattr(error, "orig", None) or error).splitlines()[0]


def _is_away(error: sa.exc.DBAPIError) -> bool:
    """Whether a server hung up, or nobody answers at its address; what it has refused in words of its own has an SQLSTATE.

    A standby that is not yet promoted refuses to write, and a server that starts or ends refuses everything.
    """
    if getattr(error.orig, "sqlstate", None) in ("25006", "57P01", "57P02", "57P03"):
        return True
    lost = isinstance(error, sa.exc.OperationalError | sa.exc.InterfaceError)
    return lost and (error.connection_invalidated or getattr(error.orig, "sqlstate", "SQLite has none") is None)


def _tune_sqlite(connection: Any, _record: Any) -> None:
    """Write-ahead log: readers never wait, a killed writer leaves a sound file; wait for other processes' locks."""
    connection.execute(f"PRAGMA busy_timeout={_LOCKED_S * 1000}")
    until = time.monotonic() + _LOCKED_S
    while not _write_ahead(connection, last=time.monotonic() > until):
        time.sleep(0.02)
    connection.execute("PRAGMA synchronous=NORMAL")


def _write_ahead(connection: Any, *, last: bool) -> bool:
    """Switch the log on; of several that do so with a new file, SQLite lets none wait, it turns them away."""
    try:
        connection.execute("PRAGMA journal_mode=WAL")
    except sqlite3.OperationalError as error:
        if last or "locked" not in str(error):
            raise
        return False
    return True
