"""Windows: how many requests each server of the chat-api engine gets at a time.

In:   requests that want to be sent, and what became of those that were.
Out:  for each request a server with room, the least busy one first, so that replicas are used evenly.

A server's window opens by one with each quick answer until the first sign of crowding, by one per full window after it, and
halves when it is crowded (429, timeouts), as congestion control does (RFC 5681). A Retry-After closes it for that long.
Belongs to one event loop; not safe for threads.

Example: two replicas and 64 requests in flight at most: each starts with 8, has 32 after 24 answers, and 16 after a 429.
"""

import asyncio
import math
from collections import deque
from collections.abc import Sequence
from functools import partial

from ditto_core.errors import SourceUnavailable

_FIRST = 8
_LEAST = 4  # so that one hanging request does not hold up all others


class Server:
    """One address and its window.

    Attributes:
        limit: Requests that it may have in flight now; a fraction counts towards the next.
        reached: Whether it has ever answered anything.
        lacks: Fields of a request that it said it does not know.
    """

    def __init__(self, url: str, most: int) -> None:
        self.url = url
        self.limit = float(min(_FIRST, most))
        self.in_flight = self.sent = 0
        self.reached = False
        self.lacks: set[str] = set()
        self._most = most
        self._crowded_at = float(most)
        self._cut_at = -math.inf
        self._rests_until = -math.inf

    def has_room(self, now: float) -> bool:
        """Whether one more request may be sent."""
        return self.in_flight < int(self.limit) and now >= self._rests_until

    def grow(self) -> None:
        """An answer came quickly."""
        step = 1.0 if self.limit < self._crowded_at else 1.0 / self.limit
        self.limit = min(self.limit + step, float(self._most))

    def shrink(self, now: float, sent: float) -> None:
        """It is crowded. What was sent before the last cut says nothing about the window after it."""
        if sent > self._cut_at:
            self.limit = self._crowded_at = max(self.limit / 2, float(min(_LEAST, self._most)))
            self._cut_at = now

    def rest(self, now: float, seconds: float) -> None:
        """Send nothing for a while."""
        self._rests_until = max(self._rests_until, now + seconds)


class Windows:
    """The windows of all servers, and who waits for a place.

    Args:
        urls: One for each server.
        most: Requests in flight at most, over all servers.
    """

    def __init__(self, urls: Sequence[str], most: int) -> None:
        share = -(-most // len(urls))
        self.servers = [Server(url, share) for url in urls]
        self._waiting: deque[tuple[asyncio.Future[Server], Server | None]] = deque()
        self._given_up = ""

    async def enter(self, failed: Server | None = None) -> Server:
        """Wait for a place; `leave` gives it back.

        Args:
            failed: Where the request was sent before without an answer. It goes ahead of those that were not sent, and elsewhere
                if it can.

        Raises:
            SourceUnavailable: `give_up` was called.
        """
        if self._given_up:
            raise SourceUnavailable(self._given_up)
        if not self._waiting and (server := self._free(failed)):
            return server
        place: asyncio.Future[Server] = asyncio.get_running_loop().create_future()
        (self._waiting.append if failed is None else self._waiting.appendleft)((place, failed))
        self.wake()
        try:
            return await place
        except asyncio.CancelledError:
            if place.done() and not place.cancelled() and place.exception() is None:
                self.leave(place.result())
            raise

    def leave(self, server: Server) -> None:
        """Give a place back."""
        server.in_flight -= 1
        self.wake()

    def rest(self, server: Server, seconds: float) -> None:
        """Send nothing to a server for a while."""
        loop = asyncio.get_running_loop()
        server.rest(loop.time(), seconds)
        loop.call_later(seconds + 0.001, self.wake)

    def give_up(self, problem: str) -> None:
        """Turn away everyone who waits, and who comes later."""
        self._given_up = problem
        while self._waiting:
            place, _ = self._waiting.popleft()
            if not place.done():
                place.set_exception(SourceUnavailable(problem))

    def wake(self) -> None:
        """Hand out the places that are free."""
        while self._waiting:
            place, failed = self._waiting[0]
            if not place.done():  # else cancelled while it waited
                server = self._free(failed)
                if server is None:
                    return
                place.set_result(server)
            self._waiting.popleft()

    def _free(self, failed: Server | None) -> Server | None:
        """A place at the server that suits best, taken."""
        now = asyncio.get_running_loop().time()
        free = [server for server in self.servers if server.has_room(now)]
        if not free:
            return None
        server = min(free, key=partial(_preference, failed))
        server.in_flight += 1
        server.sent += 1
        return server


def _preference(failed: Server | None, server: Server) -> tuple[bool, int, int]:
    """Smallest for the server to take: another than failed before, with few requests now, with few so far."""
    return server is failed, server.in_flight, server.sent
