"""Cleaning: stored pages to articles, in worker processes.

Input:   (title, page or reason) pairs, as `dump` and `action_api` give them.
Output:  (title, article or reason) pairs in the same order.
Source:  hostile markup takes the parser very long and holds the interpreter's lock: only a process can be stopped.

Example:
    dict(articles(pages_from_dump(path, titles, english), "en", workers=2, limit_s=30.0))
    ->  {"Ada Lovelace": Article(...), "Worst page": "article_too_slow"}
"""

import logging
import multiprocessing
from collections import deque
from collections.abc import Iterable, Iterator
from concurrent.futures import Future
from concurrent.futures import TimeoutError as TookTooLong
from multiprocessing.synchronize import Semaphore

from pebble import ProcessExpired, ProcessPool

from ditto_core import languages
from ditto_core.knowledge.wikipedia import TOO_SLOW, UNREADABLE, Stored, to_article
from ditto_core.records import Article

_LOG = logging.getLogger(__name__)
_AHEAD = 8  # pages a worker that are handed over before the oldest is waited for
_START_S = 10.0  # after which nobody waits any more for a worker to start


def articles(
    found: Iterable[tuple[str, Stored | str]], language: str, workers: int, limit_s: float
) -> Iterator[tuple[str, Article | str]]:
    """Turn pages into articles on all cores; a page that takes too long is given up alone.

    Args:
        found: Pages, or reasons, which are passed on.
        language: Code of the language of the pages.
        workers: Processes.
        limit_s: Seconds that one page may take; its process is ended then, and a new one begun.

    Yields:
        (title, article or reason), in the order of `found`.
    """
    # A fork of a process with threads may hold a lock that nobody frees; a server that forks has none.
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload([__name__])  # or each worker would load the parser by itself, half a second each time
    up = context.Semaphore(0)
    pool = ProcessPool(max_workers=workers, context=context, initializer=_say_up, initargs=(up,))
    waiting: deque[tuple[str, Future[Article | str] | str]] = deque()
    any_handed = False
    try:
        for title, page in found:
            handed = page if isinstance(page, str) else pool.schedule(_article, args=(page, language), timeout=limit_s)
            any_handed = any_handed or handed is not page
            waiting.append((title, handed))
            if len(waiting) >= workers * _AHEAD:
                yield _done(*waiting.popleft())
        while waiting:
            yield _done(*waiting.popleft())
    finally:
        for _ in range(workers if any_handed else 0):  # one that is stopped while it starts prints a traceback
            up.acquire(timeout=_START_S)
        pool.stop()  # type: ignore[no-untyped-call]
        pool.join()


def _say_up(up: Semaphore) -> None:
    up.release()


def _article(page: Stored, language: str) -> Article | str:
    return to_article(page, languages.load(language))


def _done(title: str, handed: "Future[Article | str] | str") -> tuple[str, Article | str]:
    if isinstance(handed, str):
        return title, handed
    try:
        return title, handed.result()
    except TookTooLong:
        return title, TOO_SLOW
    except ProcessExpired:
        return title, UNREADABLE
    except Exception as error:  # whatever the parser makes of one page, the others are read
        _LOG.warning("%r cannot be read: %s: %s", title, type(error).__name__, error)
        return title, UNREADABLE
