"""Source: one remote address that is asked by POST, politely and patiently, and never twice for the same.

Input:   a form, and a function that reads the answer or says by type what is wrong with it.
Output:  what that function read; the raw body is kept in the snapshot first.
Source:  Wikimedia's rules: at most 5 requests in parallel, Retry-After, a User-Agent with contact.

Failures sort by remedy. Ask less: `TooHeavy`. Ask again later: `Weather`. Nothing helps but other settings: `InvalidInput`.
Each is counted by its kind: throttled, banned, server_error, timeout, connection, unknown_host, cut, rows_cut, web_page, busy.
"""

import http.client
import socket
import threading
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from email.utils import parsedate_to_datetime
from typing import NoReturn, TypeVar
from urllib.parse import urlsplit

import requests
import urllib3

from ditto_core.errors import InvalidInput, SourceUnavailable
from ditto_core.knowledge.snapshot import Snapshot
from ditto_core.recipe import digest

PARALLEL = 5
_ATTEMPTS = 8
_ATTEMPTS_OF_A_STRANGER = 3  # an address that has answered nothing yet may be the wrong one
_STRANGE = frozenset({"web_page", "unknown_host", "timeout"})  # what a wrong address looks like
_LONGEST_WAIT = 120.0
_GAVE_UP = b""  # stands in the snapshot for an answer: the source gave up on this, so its parts were asked for
_LOOPBACK = frozenset({"127.0.0.1", "localhost", "::1"})

_Read = TypeVar("_Read")
_Item = TypeVar("_Item")


class Weather(SourceUnavailable):
    """A passing fault of a source, by kind.

    Args:
        kind: Under which it is counted.
        problem: What was asked, what came back, and what to check.
        retry_after: Seconds that the source asked us to wait, if it said so.
    """

    def __init__(self, kind: str, problem: str, *, retry_after: float | None = None) -> None:
        super().__init__(problem, retry_after=retry_after)
        self.kind = kind


class TooHeavy(Weather):
    """The source gave up on this request. Half of it may pass; the same again hardly."""


@dataclass(frozen=True, slots=True)
class Answer:
    """An answer of HTTP as it came; header names in lower case."""

    status: int
    headers: Mapping[str, str]
    body: bytes

    def start(self) -> str:
        """How the body begins, on one line, for messages."""
        return " ".join(self.body[:400].decode("utf-8", "replace").split())[:160]

    def retry_after(self) -> float | None:
        """Seconds to wait as the source wants them, from a number or from a date and the answer's own."""
        wait = self.headers.get("retry-after", "").strip()
        if not wait or wait.isdigit():
            return float(wait) if wait else None
        try:
            until, now = (parsedate_to_datetime(text) for text in (wait, self.headers.get("date", "")))
            return max((until - now).total_seconds(), 0.0)
        except (TypeError, ValueError):
            return None


Send = Callable[[Mapping[str, str]], Answer]
"""Sends a form once. Raises OSError, HTTPException or ValueError where there is no answer at all."""


@dataclass(slots=True)
class Source:
    """One address. Safe to use from many threads.

    Attributes:
        address: That takes forms by POST.
        setting: Name of the setting that holds the address, for messages.
        contact: Mail address or page for the User-Agent; "" where nobody asks for one.
        timeout_s: Seconds without a byte after which a request is given up.
        sleep: Waits that many seconds; an argument so that tests need not wait.
        snapshot: Where answers are kept, or None to ask every time.
        faults: How often each kind of fault was met.
        asked: Requests sent.
        answered: Whether there was ever a good answer.
    """

    address: str
    setting: str
    contact: str
    timeout_s: float
    sleep: Callable[[float], None]
    snapshot: Snapshot | None = None
    faults: Counter[str] = field(default_factory=Counter)
    asked: int = 0
    answered: bool = False
    _session: requests.Session = field(init=False)
    _slots: threading.BoundedSemaphore = field(init=False)
    _lock: threading.Lock = field(default_factory=threading.Lock)
    _gate: threading.Lock = field(default_factory=threading.Lock)

    def __post_init__(self) -> None:
        self._session = requests.Session()
        adapter = requests.adapters.HTTPAdapter(pool_connections=1, pool_maxsize=PARALLEL)
        self._session.mount("http://", adapter)
        self._session.mount("https://", adapter)
        self._session.headers["User-Agent"] = self.agent
        self._slots = threading.BoundedSemaphore(PARALLEL)
        try:
            host = urlsplit(self.address).hostname
        except ValueError as error:
            raise self.refused(f"is no address: {error}.") from error
        self._session.trust_env = host not in _LOOPBACK  # loopback is never behind a proxy

    @property
    def agent(self) -> str:
        """The User-Agent."""
        return f"Ditto/0.1 ({self.contact or 'no contact given'})"

    @property
    def offline(self) -> bool:
        """Whether nobody may be asked."""
        return self.snapshot is not None and self.snapshot.complete

    def ask(
        self,
        form: Mapping[str, str],
        read: Callable[[Answer], _Read],
        *,
        send: Send | None = None,
        whole: bool = False,
        keep: bool = True,
    ) -> _Read:
        """What `read` makes of the answer to a form; from the snapshot where it is there.

        Args:
            form: Fields of the POST.
            read: Reads a complete answer, or raises what is wrong with it.
            send: Sends the form once and gives what came back, whatever its status; a plain POST if there is none.
            whole: The form cannot be made smaller: what is too heavy is asked again like what is busy.
            keep: Whether the snapshot takes part.

        Raises:
            TooHeavy: Now, or when the snapshot was made; ask for less.
            SourceUnavailable: Still busy or unreachable after all attempts; carries the Retry-After it named.
            InvalidInput: Not what the settings promise at this address, or not in the snapshot although it must be.
        """
        key = digest([self.address, form]) if keep else ""
        kept = self.snapshot.get(key) if self.snapshot and keep else None
        if kept == _GAVE_UP and (self.offline or not whole):
            raise TooHeavy("gave_up_before", f"{self.address} gave up on this request when the snapshot was made.")
        if kept:
            return read(Answer(200, {}, kept))
        if self.snapshot and self.offline:
            raise InvalidInput(
                f"the snapshot {str(self.snapshot.folder)!r} has no answer of {self.address} to {str(form)[-160:]!r}. "
                f"Run once without --offline, with the same settings."
            )
        return self._patiently(form, read, send or self._post, key, whole)

    def _patiently(self, form: Mapping[str, str], read: Callable[[Answer], _Read], send: Send, key: str, whole: bool) -> _Read:
        for attempt in range(1, _ATTEMPTS + 1):
            try:
                answer = self._once(form, send)
                found = read(answer)
            except Weather as fault:
                with self._lock:
                    self.faults[fault.kind] += 1
                splits = isinstance(fault, TooHeavy) and not whole
                strange = fault.kind in _STRANGE and not self.answered
                if splits or attempt == (_ATTEMPTS_OF_A_STRANGER if strange else _ATTEMPTS):
                    self._keep(key, _GAVE_UP)
                    self._give_up(fault)
                self._wait(2.0 ** (attempt - 1) if fault.retry_after is None else fault.retry_after)
            else:
                self.answered = True
                self._keep(key, answer.body)
                return found
        raise AssertionError("attempts must be positive")

    def _give_up(self, fault: Weather) -> NoReturn:
        if fault.kind == "banned":  # asking on makes it worse
            raise InvalidInput(str(fault)) from fault
        if fault.kind == "web_page" and not self.answered:
            raise self.refused(f"answers with a web page: {fault}") from fault
        if fault.kind == "throttled" and fault.retry_after is None:
            self._wait(1.0)  # the halves are asked for next, and not in a hurry
        raise fault

    def _keep(self, key: str, body: bytes) -> None:
        if self.snapshot and key:
            self.snapshot.put(key, body)

    def _wait(self, seconds: float) -> None:
        with self._gate:  # the others hold back as well: a source that is busy is busy for all
            self.sleep(min(seconds, _LONGEST_WAIT))

    def _once(self, form: Mapping[str, str], send: Send) -> Answer:
        with self._gate:
            pass
        try:
            with self._slots:
                with self._lock:
                    self.asked += 1
                answer = send(form)
        except ValueError as error:
            raise self.refused(f"is no address: {error}.") from error
        except (OSError, http.client.HTTPException) as error:
            raise self._connection_failure(error) from error
        self._judge(answer)
        return answer

    def _post(self, form: Mapping[str, str]) -> Answer:
        response = self._session.post(
            self.address, data=dict(form), timeout=self.timeout_s, headers={"Accept": "application/json"}
        )
        return Answer(response.status_code, {name.lower(): value for name, value in response.headers.items()}, response.content)

    def _connection_failure(self, error: Exception) -> Exception:
        causes = set(_causes(error))
        if causes & {
            TimeoutError,
            requests.exceptions.Timeout,
            requests.exceptions.ReadTimeout,
            urllib3.exceptions.ReadTimeoutError,
        }:
            return TooHeavy("timeout", f"{self.address} did not answer within {self.timeout_s:g} s. {_SMALLER}")
        if socket.gaierror in causes:
            return Weather(
                "unknown_host", f"nobody knows the host of {self.address}: {error}. Check the address and the network."
            )
        if ConnectionRefusedError in causes and not self.answered:
            return self.refused("refuses connections; is the server running, and is the port right?")
        return Weather("connection", f"the connection to {self.address} failed: {error}. Check the network and the address.")

    def _judge(self, answer: Answer) -> None:
        """Raise what the status says."""
        status, said = answer.status, f"{self.address} answered {answer.status}: {answer.start()}"
        wait = answer.retry_after()
        if status == 429 and wait is None:
            raise TooHeavy("throttled", f"{said}. {_SMALLER}")  # QLever says so where its time ran out
        if status in (408, 429):
            raise Weather("throttled", f"{said}. Run again later.", retry_after=wait)
        if status == 403:
            # Wikimedia bans who ignores Retry-After; it passes for who waits.
            raise Weather("banned", f"{said}. It bans this client: set knowledge.contact and wait.", retry_after=wait)
        if status in (500, 504) and wait is None:
            raise TooHeavy("server_error", f"{said}. {_SMALLER}")
        if status >= 500:
            raise Weather("server_error", f"{said}. Run again later.", retry_after=wait)
        if status != 200:
            raise self.refused(f"answered {status}: {answer.start()}.")
        if answer.body.lstrip()[:1] == b"<":
            raise Weather(
                "web_page",
                f"{self.address} answered with a web page; it begins {answer.start()!r}. If this stays, check {self.setting}.",
            )

    def refused(self, what: str) -> InvalidInput:
        """The error of an address that is not what its setting must hold."""
        return InvalidInput(f"{self.setting} {self.address!r} {what} {_EXPECTED.get(self.setting, '')}".strip())


def _causes(error: BaseException | None) -> Iterator[type[BaseException]]:
    """Types of an error and of all that led to it."""
    while error is not None:
        yield type(error)
        error = error.__cause__ or error.__context__


_SMALLER = "Lower knowledge.batch_size or knowledge.max_characters, or raise knowledge.timeout_s."
_EXPECTED = {
    "knowledge.sparql_endpoint": "Expected a SPARQL 1.1 endpoint over Wikidata's RDF, such as https://query.wikidata.org/sparql.",
    "knowledge.article_api": "Expected a MediaWiki Action API, such as https://{lang}.wikipedia.org/w/api.php.",
}


def in_parallel(work: Callable[[_Item], _Read], items: Iterable[_Item]) -> Iterator[_Read]:
    """The results of `work`, in the order of the items, as many at a time as a source allows.

    Raises:
        Whatever `work` raises first; work that has not begun then never does.
    """
    with ThreadPoolExecutor(PARALLEL, thread_name_prefix="source") as pool:
        try:
            yield from pool.map(work, items)
        except BaseException:
            pool.shutdown(cancel_futures=True)
            raise
