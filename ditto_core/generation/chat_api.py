"""Chat-API engine: any server that speaks OpenAI's chat completions (vLLM, llama.cpp, SGLang, hosted ones).

In:   requests from any number of threads, the addresses of one server or of several with the same model, and a key.
Out:  completions as they arrive; what the server refuses, or does not answer in time, fails by name.

Busy servers (429, 5xx), lost connections, timeouts and broken JSON are tried again with exponential backoff and jitter, for
`timeout_s` in all; the windows of `window.py` say how many are in flight. One attempt takes at most half of `timeout_s`, so
that a hanging connection leaves time for another. Servers that answer nothing at all for `timeout_s` are given up: the rest
fails at once. A field of `chat_completions.OPTIONAL` that a server refuses is left out from then on, or sent under its other
name; the log says so once.

Draws of one prompt that are submitted together go as one request with `n`, so that a provider bills the prompt once; a server
that lacks `n`, or draws fewer, is asked for the others one by one. The seed of such a request is that of its first draw.
"""

import asyncio
import json
import logging
import random
import threading
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace

import aiohttp
import uvloop

from ditto_core.errors import InvalidInput, SourceUnavailable
from ditto_core.generation.chat_completions import (
    OPTIONAL,
    RENAMED,
    is_too_long,
    payload,
    read_completions,
    read_stream,
    retry_after,
    unknown_field,
)
from ditto_core.generation.generator import Answer, Generator, Job, estimate_tokens
from ditto_core.generation.requests import Failure, Outcome, Request
from ditto_core.generation.window import Server, Windows
from ditto_core.ledger import UNAVAILABLE
from ditto_core.recipe import ModelIdentity
from ditto_core.settings import GenerationSettings

_LOG = logging.getLogger(__name__)
_JSON = json.JSONEncoder(ensure_ascii=False)
_FIRST_PAUSE_S, _LONGEST_PAUSE_S = 0.5, 30.0
_RETRIED = frozenset({408, 409, 425, 429, 500, 502, 503, 504, 529})
_CROWDED = frozenset({408, 429, 503, 504, 529})


@dataclass(frozen=True, slots=True)
class Reply:
    """What a server answered: HTTP status, body, and the seconds that it asked us to wait, if it did."""

    status: int
    body: bytes
    retry_after: float | None


class ChatApiGenerator(Generator):
    """Asks a server, with at most `settings.concurrency` requests in flight from all threads together.

    Args:
        settings: `base_url`, `replicas`, `model` and `revision`; the identity is "model@revision", since nobody else knows
            what weights the servers hold.
        api_key: Sent as a bearer token; never part of a row key, a message or a log.

    Raises:
        InvalidInput: The key cannot be sent in a header.
    """

    def __init__(self, settings: GenerationSettings, *, api_key: str = "") -> None:
        self._key = api_key.strip()
        if not (self._key.isascii() and self._key.isprintable()):
            raise InvalidInput("DITTO_API_KEY holds characters that no HTTP header can carry; copy the key again.")
        self._settings = settings
        self.identity = ModelIdentity(weights=f"{settings.model}@{settings.revision}", tokenizer="server")
        self._state = threading.Lock()  # guards what follows
        self._loop: asyncio.AbstractEventLoop | None = None
        self._thread: threading.Thread | None = None
        self._session: aiohttp.ClientSession | None = None
        self._closed = False
        self._tasks: set[asyncio.Task[None]] = set()  # this and the rest belong to the loop's thread
        self._windows = Windows((settings.base_url, *settings.replicas), settings.concurrency)
        self._answered = 0.0

    def submit(self, jobs: Sequence[Job]) -> None:
        """Send jobs as the windows have room.

        An InvalidInput in place of an outcome says that nothing listens at the address, that the key is refused, that the
        account has no credit, or that the server does not know the model.
        """
        with self._state:
            if self._closed:
                for job in jobs:
                    job.fail(UNAVAILABLE, "the engine was closed")
                return
            if self._loop is None:
                self._loop = uvloop.new_event_loop()
                self._thread = threading.Thread(target=self._loop.run_forever, name="chat-api", daemon=True)
                self._thread.start()
            self._loop.call_soon_threadsafe(self._start, jobs)

    def count_tokens(self, text: str) -> int:
        """An estimate, since the tokenizer is the server's; see `estimate_tokens`."""
        return estimate_tokens(text)

    def close(self) -> None:
        """Close the connections and end the thread; what is unanswered fails as "engine_unavailable"."""
        with self._state:
            self._closed = True
            loop, thread, self._loop = self._loop, self._thread, None
        if loop is not None and thread is not None:
            asyncio.run_coroutine_threadsafe(self._shut_down(), loop).result()
            loop.call_soon_threadsafe(loop.stop)
            thread.join()
            loop.close()

    def _start(self, jobs: Sequence[Job]) -> None:
        loop = asyncio.get_running_loop()
        for draws in _draws(jobs):
            task = loop.create_task(self._serve(draws))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)

    async def _shut_down(self) -> None:
        tasks = [task for task in self._tasks if task is not asyncio.current_task()]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        if self._session is not None:
            await self._session.close()

    async def _serve(self, draws: Sequence[Job]) -> None:
        """Answer the draws of one prompt, whatever happens."""
        try:
            server = await self._windows.enter()
            draws = [job for job in draws if not job.abandoned.is_set()]  # each has its own that wait for it
            if not draws:
                self._windows.leave(server)
                return
            answers: Sequence[Answer] = await self._ask(draws, server)
        except InvalidInput as error:
            answers = [error] * len(draws)
        except SourceUnavailable as error:
            answers = _failures(draws, UNAVAILABLE, str(error))
        except asyncio.CancelledError:
            for job in draws:
                job.fail(UNAVAILABLE, "the engine was closed")
            raise
        except Exception as error:  # a bug here must not leave a thread waiting for ever
            answers = _failures(draws, UNAVAILABLE, self._clean(f"{type(error).__name__}: {error}"))
        for job, answer in zip(draws, answers, strict=False):
            job.answers.put(answer)
        for job in draws[len(answers) :]:
            self._start([job])

    async def _ask(self, draws: Sequence[Job], server: Server) -> Sequence[Outcome]:
        """Send until there is an answer or the time is over; the place at `server` is given back."""
        loop = asyncio.get_running_loop()
        started, pause = loop.time(), _FIRST_PAUSE_S
        deadline = started + self._settings.timeout_s
        problem = ""
        while True:
            try:
                return await self._attempt(draws, server, min(deadline - loop.time(), self._settings.timeout_s / 2))
            except SourceUnavailable as error:
                problem = str(error)
            finally:
                self._windows.leave(server)
            wait = pause * random.uniform(0.5, 1.0)
            try:
                async with asyncio.timeout_at(deadline):
                    await asyncio.sleep(wait)
                    server = await self._windows.enter(failed=server)
            except TimeoutError:
                break
            pause = min(2 * pause, _LONGEST_PAUSE_S)
        detail = f"no answer within generation.timeout_s = {self._settings.timeout_s:g} s; last: {problem}"
        if self._answered < started:
            self._windows.give_up(detail)
        return _failures(draws, UNAVAILABLE, detail)

    async def _attempt(self, draws: Sequence[Job], server: Server, seconds: float) -> Sequence[Outcome]:
        """Send once, tell the window how it went, and read the answer: of as many of the first draws as the server made.

        Raises:
            SourceUnavailable: The same request may be answered later.
            InvalidInput: As in `_read`, or nothing listens there, and never did.
        """
        loop = asyncio.get_running_loop()
        sent = loop.time()
        if "n" in server.lacks:
            draws = draws[:1]
        request = draws[0].request
        body = payload(request, self._settings.model, server.lacks, len(draws))
        try:
            reply = await self._post(server, _JSON.encode(body).encode(), seconds, request.watch)
        except SourceUnavailable as error:
            if isinstance(error.__cause__, TimeoutError):
                server.shrink(loop.time(), sent)
            raise
        if reply.status in _CROWDED:
            server.shrink(loop.time(), sent)
            if reply.retry_after is not None:
                self._windows.rest(server, reply.retry_after)
        elif loop.time() - sent < seconds / 2:
            server.grow()
        if reply.status in (400, 422) and (field := unknown_field(reply.body, body.keys() & set(OPTIONAL))):
            self._note_lack(server, field)
            return await self._attempt(draws, server, seconds)
        outcomes = self._read(server, reply, draws)
        self._answered = loop.time()
        if len(outcomes) < len(draws):
            self._note_lack(server, "n")
        return outcomes

    def _note_lack(self, server: Server, field: str) -> None:
        if field not in server.lacks:
            server.lacks.add(field)
            instead = f"with {RENAMED[field]!r} in its place" if field in RENAMED else "without it"
            _LOG.warning("the server at %s does not take %r; asking %s from now on", server.url, field, instead)

    async def _post(self, server: Server, body: bytes, seconds: float, watch: Callable[[str], None] | None) -> Reply:
        if self._session is None:
            headers = {"Content-Type": "application/json"}
            if self._key:
                headers["Authorization"] = f"Bearer {self._key}"
            self._session = aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0), headers=headers)
        try:
            timeout = aiohttp.ClientTimeout(total=seconds)
            url = server.url.rstrip("/") + "/chat/completions"
            async with self._session.post(url, data=body, timeout=timeout, allow_redirects=False) as response:
                server.reached = True
                if watch is not None and response.content_type == "text/event-stream":
                    answer = await read_stream(response.content, watch)
                else:
                    answer = await response.read()
                return Reply(response.status, answer, retry_after(response.headers.get("Retry-After")))
        except aiohttp.InvalidURL as error:
            raise InvalidInput(f"generation.base_url {server.url!r} is not an address; expected http://host:port/v1.") from error
        except aiohttp.ClientConnectorError as error:
            if not server.reached:
                raise InvalidInput(
                    f"no server at generation.base_url {server.url!r} ({error.os_error}). Start it, or "
                    f"set generation.base_url to the address that ends in /v1."
                ) from error
            raise SourceUnavailable(f"{type(error).__name__}: {error}") from error
        except (aiohttp.ClientError, TimeoutError, OSError) as error:
            raise SourceUnavailable(self._clean(f"{type(error).__name__}: {error}")) from error

    def _read(self, server: Server, reply: Reply, draws: Sequence[Job]) -> Sequence[Outcome]:
        """What an answer means.

        Raises:
            SourceUnavailable: The same request may be answered later.
            InvalidInput: The key, the address or the model's name is wrong, or the account has no credit.
        """
        if reply.status == 200:
            return read_completions(reply.body, [job.key for job in draws], draws[0].request.choices)
        said = self._clean(reply.body[:500].decode("utf-8", "replace"))
        if reply.status in _RETRIED or reply.status >= 500:
            raise SourceUnavailable(f"HTTP {reply.status}: {said}")
        if reply.status in (401, 403):
            raise InvalidInput(
                f"the server at {server.url!r} refused the key (HTTP {reply.status}): {said} Set "
                f"DITTO_API_KEY to a key that it accepts."
            )
        if reply.status == 402:
            raise InvalidInput(
                f"the account at {server.url!r} has no credit (HTTP 402): {said} Add credit, then run the same command again: "
                f"all answers are kept."
            )
        if reply.status == 404 or reply.status < 400:
            raise InvalidInput(
                f"the server at generation.base_url {server.url!r} has no chat completions for model "
                f"{self._settings.model!r} (HTTP {reply.status}): {said} Check generation.model, and that "
                f"generation.base_url ends in /v1."
            )
        reason = "prompt_too_long" if is_too_long(reply.body) else "rejected_by_server"
        return _failures(draws, reason, f"HTTP {reply.status}: {said}")

    def _clean(self, text: str) -> str:
        """Text without the key, which some servers repeat."""
        return text.replace(self._key, "***") if self._key else text


def _draws(jobs: Sequence[Job]) -> Iterable[Sequence[Job]]:
    """Jobs that may go as one request: those that differ in the number of the draw alone, where there is anything to draw."""
    alike: dict[Request, list[Job]] = {}
    for job in jobs:
        drawn = job.request.sampling.temperature > 0 and job.request.watch is None
        alike.setdefault(replace(job.request, sample=0) if drawn else job.request, []).append(job)
    return alike.values()


def _failures(draws: Sequence[Job], reason: str, detail: str) -> list[Failure]:
    return [Failure(job.key, reason, detail) for job in draws]
