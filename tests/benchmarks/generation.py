"""What generation costs beside the model: the memo, the chat-api client, pairing.

The stub server runs in a process of its own, so that the CPU time of this one is the client's alone.
"""

import asyncio
import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import aiohttp

from ditto_core.generation.chat_api import ChatApiGenerator
from ditto_core.generation.chat_completions import payload
from ditto_core.generation.generator import Generator, Job
from ditto_core.generation.requests import Completion, Request, Sampling
from ditto_core.memo import Memo
from ditto_core.memoised import MemoisedGenerator
from ditto_core.recipe import ModelIdentity
from ditto_core.records import Message
from ditto_core.settings import GenerationSettings
from ditto_core.simulation import pairing
from tests.benchmarks import engine, peers

_REQUESTS = 5000
_SECONDS_PER_REPLY = 0.0002  # an instant engine: 5,000 replies a second
_ASKED, _IN_FLIGHT, _LATENCY_S = 2000, 64, 0.02
_ROLES = 1_000_000

Rows = list[tuple[str, float | str, str]]
"""What, measured, and what to hold."""


class Instant(Generator):
    """An engine that answers at once, as a server would at 5,000 replies a second."""

    identity = ModelIdentity("instant", "")

    def submit(self, jobs: Sequence[Job]) -> None:
        for job in jobs:
            time.sleep(_SECONDS_PER_REPLY)
            job.answers.put(Completion(job.key, "yes", "stop"))

    def count_tokens(self, text: str) -> int:
        return len(text)

    def close(self) -> None:
        pass


def rows(best: Callable[[Callable[[], object]], float]) -> Rows:
    cpu, memo_cpu, speed = chat_api_ratios()
    with _stub() as address:
        others = peers.rows(address)
    return [
        ("memo on instant replies, run time with / without", memo_ratio(best), "at most 1.2"),
        ("chat-api, client CPU over bare aiohttp and parsing", cpu, "at most 1.2"),
        ("memo before chat-api, client CPU with / without", memo_cpu, "at most 1.2"),
        ("chat-api, requests per second over bare aiohttp", speed, "at least 0.85"),
        *others,
        *engine.rows(),
        (f"pairing {_ROLES:,} roles, CPU seconds", pairing_seconds(), "seconds"),
    ]


def memo_ratio(best: Callable[[Callable[[], object]], float]) -> float:
    """Run time with the memo over the run time without, all requests new."""
    requests = [Request((Message("user", str(number)),), Sampling()) for number in range(_REQUESTS)]

    return best(lambda: _with_memo(Instant(), requests)) / best(lambda: list(Instant().generate(requests)))


def _with_memo(engine: Generator, requests: Sequence[Request]) -> None:
    """Ask an engine through a memo that knows nothing yet."""
    with tempfile.TemporaryDirectory() as folder:
        memo = Memo(f"sqlite:///{Path(folder) / 'memo.db'}")
        list(MemoisedGenerator(engine.identity, lambda: engine, memo).generate(requests))
        memo.close()


def chat_api_ratios(rounds: int = 3) -> tuple[float, float, float]:
    """Client CPU over that of a bare loop, CPU with the memo over that without, requests per second over the bare loop's.

    Best of a few rounds, by turns.
    """
    asked = [Request((Message("system", "You are Ada." * 100), Message("user", str(n))), Sampling()) for n in range(_ASKED)]
    with _stub() as address:
        settings = GenerationSettings(engine="chat-api", model="m", base_url=address, concurrency=_IN_FLIGHT)
        engine = ChatApiGenerator(settings)
        ours, kept, bare = [], [], []
        list(engine.generate(asked[:_IN_FLIGHT]))  # connections and the window are open
        for _ in range(rounds):
            ours.append(_measured(lambda: list(engine.generate(asked))))
            kept.append(_measured(lambda: _with_memo(engine, asked)))
            bare.append(_measured(lambda: asyncio.run(_bare(address, asked))))
        engine.close()
    (cpu, wall), (kept_cpu, _), (bare_cpu, bare_wall) = (map(min, zip(*runs, strict=True)) for runs in (ours, kept, bare))
    return cpu / bare_cpu, kept_cpu / cpu, bare_wall / wall


def pairing_seconds() -> float:
    """CPU seconds in which a million roles are paired, each with a claim and a link of its own."""

    def role(number: int) -> pairing.Candidate:
        links = frozenset({f"T{number * 7 % _ROLES}"})
        return pairing.Candidate(f"Q{number}", f"T{number}", frozenset({f"V{number % 5000}"}), links)

    roles = [role(number) for number in range(_ROLES)]
    cpu, _ = _measured(lambda: pairing.partners(roles, 1))
    return cpu


async def _bare(address: str, asked: Sequence[Request]) -> list[str]:
    """What a short script would do: a window, a post, the text of the answer."""
    window = asyncio.Semaphore(_IN_FLIGHT)
    async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0)) as session:

        async def ask(request: Request) -> str:
            async with window, session.post(f"{address}/chat/completions", json=payload(request, "m")) as response:
                return str(json.loads(await response.read())["choices"][0]["message"]["content"])

        return await asyncio.gather(*map(ask, asked))


def _measured(run: Callable[[], object]) -> tuple[float, float]:
    """CPU seconds of this process, and wall seconds."""
    cpu, wall = time.process_time(), time.perf_counter()
    run()
    return time.process_time() - cpu, time.perf_counter() - wall


@contextmanager
def _stub() -> Iterator[str]:
    script = (
        "import sys; sys.path.insert(0, sys.argv[1])\n"
        "from fixtures.stub_openai import StubServer\n"
        "server = StubServer(latency=float(sys.argv[2]))\n"
        "print(server.base_url, flush=True); sys.stdin.read()"
    )
    command = [sys.executable, "-c", script, str(Path(__file__).parents[1]), str(_LATENCY_S)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as server:
        assert server.stdout is not None
        assert server.stdin is not None
        yield server.stdout.readline().strip()
        server.stdin.close()
