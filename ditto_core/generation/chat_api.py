"""Chat-API engine: any server that speaks OpenAI's chat completions (vLLM, llama.cpp, SGLang, hosted ones).

In:   requests from any number of threads, the server's address, and its key if it wants one.
Out:  completions as they arrive; what the server refuses, or does not answer in time, fails by name.

Busy servers (429, 5xx), lost connections, timeouts and broken JSON are tried again with exponential backoff and jitter, for
`timeout_s` in all. A request keeps its place in the window while it waits, so a server that says 429 gets fewer requests
at a time. One attempt takes at most half of `timeout_s`, so that one hanging connection leaves time for another.

Example answer of a server:
    {"choices": [{"message": {"content": "In Warsaw."}, "finish_reason": "stop"}], "usage": {"prompt_tokens": 52, ...}}
"""

import asyncio
import json
import random
import threading
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import aiohttp

from ditto_core.errors import InvalidInput, SourceUnavailable
from ditto_core.generation.generator import Completion, Failure, Outcome, Request
from ditto_core.generation.jobs import Job, estimate_tokens, stream
from ditto_core.recipe import ModelIdentity
from ditto_core.settings import GenerationSettings

_FIRST_PAUSE_S, _LONGEST_PAUSE_S = 0.5, 30.0
_RETRIED = frozenset({408, 409, 425, 429, 500, 502, 503, 504, 529})
_TOO_LONG_CODES = frozenset(
    {"context_length_exceeded", "exceed_context_size_error", "input_tokens", "input_text", "string_above_max_length"}
)
_TOO_LONG_WORDS = ("context length", "context window", "context size")


@dataclass(frozen=True, slots=True)
class Reply:
    """What a server answered: HTTP status, body, and the seconds that it asked us to wait, if it did."""

    status: int
    body: bytes
    retry_after: float | None


class ChatApiGenerator:
    """Asks a server, with at most `settings.concurrency` requests in flight from all threads together.

    Args:
        settings: `base_url`, `model` and `revision`; the identity is "model@revision", since nobody else knows what
            weights the server holds.
        api_key: Sent as a bearer token; never part of a row key, a message or a log.

    Raises:
        InvalidInput: The key cannot be sent in a header.
    """

    def __init__(self, settings: GenerationSettings, *, api_key: str = "") -> None:
        self._key = api_key.strip()
        if not (self._key.isascii() and self._key.isprintable()):
            raise InvalidInput("DITTO_API_KEY holds characters that no HTTP header can carry; copy the key again.")
        self._settings = settings
        self._url = settings.base_url.rstrip("/") + "/chat/completions"
        self.identity = ModelIdentity(weights=f"{settings.model}@{settings.revision}", tokenizer="server")
        self._state = threading.Lock()  # guards what follows
        self._loop: asyncio.AbstractEventLoop | None = None
        self._thread: threading.Thread | None = None
        self._session: aiohttp.ClientSession | None = None
        self._closed = False
        self._tasks: set[asyncio.Task[None]] = set()  # this and the rest belong to the loop's thread
        self._window = asyncio.Semaphore(settings.concurrency)
        self._reached = False

    def generate(self, requests: Sequence[Request]) -> Iterator[Outcome]:
        """Answer requests as they finish.

        Raises:
            InvalidInput: Nothing listens at the address, the key is refused, or the server does not know the model.
        """
        chunk = self._settings.concurrency
        return stream(requests, self.identity, self._submit, chunk=chunk, window=3 * chunk)

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

    def _submit(self, jobs: Sequence[Job]) -> None:
        with self._state:
            if self._closed:
                for job in jobs:
                    job.fail("engine_unavailable", "the engine was closed")
                return
            if self._loop is None:
                self._loop = asyncio.new_event_loop()
                self._thread = threading.Thread(target=self._loop.run_forever, name="chat-api", daemon=True)
                self._thread.start()
            self._loop.call_soon_threadsafe(self._start, jobs)

    def _start(self, jobs: Sequence[Job]) -> None:
        loop = asyncio.get_running_loop()
        for job in jobs:
            task = loop.create_task(self._serve(job))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)

    async def _shut_down(self) -> None:
        tasks = [task for task in self._tasks if task is not asyncio.current_task()]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        if self._session is not None:
            await self._session.close()

    async def _serve(self, job: Job) -> None:
        """Answer one job, whatever happens."""
        try:
            async with self._window:
                if not job.abandoned.is_set():
                    job.answers.put(await self._ask(job))
        except InvalidInput as error:
            job.answers.put(error)
        except asyncio.CancelledError:
            job.fail("engine_unavailable", "the engine was closed")
            raise
        except Exception as error:  # a bug here must not leave a thread waiting for ever
            job.fail("engine_unavailable", self._clean(f"{type(error).__name__}: {error}"))

    async def _ask(self, job: Job) -> Outcome:
        body = json.dumps(payload(job.request, self._settings.model), ensure_ascii=False).encode()
        loop = asyncio.get_running_loop()
        deadline = loop.time() + self._settings.timeout_s
        pause = _FIRST_PAUSE_S
        while True:
            try:
                reply = await self._post(body, min(deadline - loop.time(), self._settings.timeout_s / 2))
                return self._read(reply, job.key)
            except SourceUnavailable as error:
                jittered = pause * random.uniform(0.5, 1.0)
                wait = jittered if error.retry_after is None else min(error.retry_after, _LONGEST_PAUSE_S) + jittered / 10
                if loop.time() + wait >= deadline:
                    limit = f"no answer within generation.timeout_s = {self._settings.timeout_s:g} s"
                    return Failure(job.key, "engine_unavailable", f"{limit}; last: {error}")
            await asyncio.sleep(wait)
            pause = min(2 * pause, _LONGEST_PAUSE_S)

    async def _post(self, body: bytes, seconds: float) -> Reply:
        """Send once.

        Raises:
            SourceUnavailable: No complete answer.
            InvalidInput: Nothing listens there, and never did.
        """
        if self._session is None:
            headers = {"Content-Type": "application/json"}
            if self._key:
                headers["Authorization"] = f"Bearer {self._key}"
            self._session = aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0), headers=headers)
        try:
            timeout = aiohttp.ClientTimeout(total=seconds)
            async with self._session.post(self._url, data=body, timeout=timeout, allow_redirects=False) as response:
                self._reached = True
                return Reply(response.status, await response.read(), _seconds(response.headers.get("Retry-After")))
        except aiohttp.InvalidURL as error:
            raise InvalidInput(
                f"generation.base_url {self._settings.base_url!r} is not an address; expected http://host:port/v1."
            ) from error
        except aiohttp.ClientConnectorError as error:
            if not self._reached:
                raise InvalidInput(
                    f"no server at generation.base_url {self._settings.base_url!r} ({error.os_error}). Start it, or "
                    f"set generation.base_url to the address that ends in /v1."
                ) from error
            raise SourceUnavailable(f"{type(error).__name__}: {error}") from error
        except (aiohttp.ClientError, TimeoutError, OSError) as error:
            raise SourceUnavailable(self._clean(f"{type(error).__name__}: {error}")) from error

    def _read(self, reply: Reply, key: str) -> Outcome:
        """What an answer means.

        Raises:
            SourceUnavailable: The same request may be answered later.
            InvalidInput: The key, the address or the model's name is wrong.
        """
        said = self._clean(reply.body[:500].decode("utf-8", "replace"))
        if reply.status == 200:
            return read_completion(reply.body, key)
        if reply.status in _RETRIED or reply.status >= 500:
            raise SourceUnavailable(f"HTTP {reply.status}: {said}", retry_after=reply.retry_after)
        if reply.status in (401, 403):
            raise InvalidInput(
                f"the server at {self._settings.base_url!r} refused the key (HTTP {reply.status}): {said} Set "
                f"DITTO_API_KEY to a key that it accepts."
            )
        if reply.status == 404 or reply.status < 400:
            raise InvalidInput(
                f"the server at generation.base_url {self._settings.base_url!r} has no chat completions for model "
                f"{self._settings.model!r} (HTTP {reply.status}): {said} Check generation.model, and that "
                f"generation.base_url ends in /v1."
            )
        reason = "prompt_too_long" if _is_too_long(reply.body) else "rejected_by_server"
        return Failure(key, reason, f"HTTP {reply.status}: {said}")

    def _clean(self, text: str) -> str:
        """Text without the key, which some servers repeat."""
        return text.replace(self._key, "***") if self._key else text


def payload(request: Request, model: str) -> dict[str, Any]:
    """The JSON body of a request. Fields that only some servers know are sent only where they say something."""
    sampling = request.sampling
    body: dict[str, Any] = {
        "model": model,
        "messages": [{"role": message.role, "content": message.content} for message in request.messages],
        "temperature": sampling.temperature,
        "top_p": sampling.top_p,
        "max_tokens": sampling.max_tokens,
        "seed": request.seed(),
    }
    if sampling.repetition_penalty != 1:
        body["repetition_penalty"] = sampling.repetition_penalty
    if request.schema:
        schema = {"name": "reply", "schema": json.loads(request.schema), "strict": True}
        body["response_format"] = {"type": "json_schema", "json_schema": schema}
    return body


def read_completion(body: bytes, key: str) -> Outcome:
    """The reply in a server's 200 answer; without any choice it is a failure, "empty_choices".

    Raises:
        SourceUnavailable: Cut or wrong JSON.
    """
    try:
        answer = json.loads(body)
        choices = answer["choices"]
        if not choices:
            return Failure(key, "empty_choices", body[:500].decode("utf-8", "replace"))
        text, finish_reason = choices[0]["message"]["content"], choices[0].get("finish_reason")
        if not isinstance(text, str | None):
            raise TypeError("content is not text")
        usage = answer.get("usage") or {}
        cached = (usage.get("prompt_tokens_details") or {}).get("cached_tokens")
        counts = [int(count or 0) for count in (usage.get("prompt_tokens"), usage.get("completion_tokens"), cached)]
    except (ValueError, LookupError, TypeError, AttributeError) as error:
        problem = f"not a chat completion ({type(error).__name__}); the answer begins"
        raise SourceUnavailable(f"{problem} {body[:200].decode('utf-8', 'replace')!r}") from error
    return Completion(key, text or "", finish_reason or "", *counts)


def _is_too_long(body: bytes) -> bool:
    """Whether an error says that the context is too short; servers name it in code, type, param or only in words."""
    try:
        answer = json.loads(body)
    except ValueError:
        answer = {"error": body.decode("utf-8", "replace")}
    error = answer.get("error", answer) if isinstance(answer, Mapping) else {}
    if not isinstance(error, Mapping):
        error = {"message": error}
    if {str(error.get(field)) for field in ("code", "type", "param")} & _TOO_LONG_CODES:
        return True
    return any(words in str(error.get("message")).lower() for words in _TOO_LONG_WORDS)


def _seconds(header: str | None) -> float | None:
    """Retry-After in seconds; its date form is ignored, since the clocks may differ."""
    try:
        return max(0.0, float(header)) if header else None
    except ValueError:
        return None
