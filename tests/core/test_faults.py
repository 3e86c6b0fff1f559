"""A server in bad weather: what passes is asked again, what stays is named, and nothing is lost or asked for in vain."""

import asyncio
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web
from fixtures.stub_openai import StubServer, completion

from ditto_core import languages
from ditto_core.generation.chat_api import ChatApiGenerator
from ditto_core.ledger import UNAVAILABLE
from ditto_core.memo import Memo
from ditto_core.memoised import MemoisedGenerator
from ditto_core.recipe import stable_hash
from ditto_core.records import Article, Character, Claim, Place, Profile, Section
from ditto_core.settings import GenerationSettings, SimulationSettings
from ditto_core.simulation import dialogues

EN = languages.load("en")
SETTINGS = SimulationSettings(queries_per_pair=3, profile_tokens=200, temperature=0)
ROLES = 24


def profile(number: int) -> Profile:
    claims = (Claim("P1", "friend", f"Friend{number}"),)
    character = Character(f"Q{number}", "en", "Q5", f"Person{number * 7919}x", "somebody", 1, "t", (), claims)
    return Profile(character, Article("t", (Section("", "Somebody once."),), (), "1", "", "", "CC0"), "")


PROFILES = {f"Q{number}": profile(number) for number in range(ROLES)}
PLACES = [Place(f"Q{n}", f"P{n}", "Q5", 0, "", (f"Q{(n + 1) % ROLES}",), (f"Q{(n - 1) % ROLES}",)) for n in range(ROLES)]


async def half_a_body(request: web.Request, whole: bytes) -> web.StreamResponse:
    response = web.StreamResponse(headers={"Content-Type": "application/json", "Content-Length": str(len(whole))})
    await response.prepare(request)
    await response.write(whole[: len(whole) // 2])
    assert request.transport is not None
    request.transport.close()
    return response


async def reset(request: web.Request) -> web.StreamResponse:
    assert request.transport is not None
    request.transport.abort()
    return web.Response()


async def weather(request: web.Request, body: dict[str, Any], times: int) -> web.StreamResponse | None:
    """Half of the requests meet a fault that passes, some of them twice; one hangs."""
    number = stable_hash(json.dumps(body["messages"]))
    if times == 0 and number % 50 == 0:
        await asyncio.sleep(10)  # beyond the 8 s of one attempt
    fault = (number + times) % 9
    if times > 1 or fault > 4:
        return None
    if fault == 0:
        return web.Response(status=429, headers={"Retry-After": "0.1"})
    if fault == 1:
        return web.Response(status=500, text="worker died")
    if fault == 2:
        return await reset(request)
    if fault == 3:
        return await half_a_body(request, json.dumps(completion("I was there.")).encode())
    return web.Response(text="<html>one moment</html>", content_type="application/json")


async def poison(_request: web.Request, body: dict[str, Any], _times: int) -> web.StreamResponse | None:
    """One answer in two is unusable for good, each in a way of its own."""
    if len(body["messages"]) == 1:
        return None
    fault = stable_hash(json.dumps(body["messages"])) % 10
    answers = [
        completion("I was", finish_reason="length"),
        completion(None, finish_reason="content_filter"),
        completion(""),
        {"choices": []},
    ]
    if fault == 4:
        return web.json_response({"error": {"code": "context_length_exceeded"}}, status=400)
    return web.json_response(answers[fault]) if fault < 4 else None


@pytest.fixture
def server() -> Iterator[StubServer]:
    made = StubServer(latency=0)
    yield made
    made.close()


def simulated(server: StubServer, memo: Path, timeout_s: float = 16) -> dialogues.Simulated:
    generation = GenerationSettings(engine="chat-api", model="m", base_url=server.base_url, concurrency=16, timeout_s=timeout_s)
    store = Memo(f"sqlite:///{memo}")
    engine = ChatApiGenerator(generation)
    try:
        generator = MemoisedGenerator(engine.identity, lambda: engine, store)
        return dialogues.simulate(PLACES, PROFILES, generator, EN, SETTINGS, lambda done, lost: None)
    finally:
        engine.close()
        store.close()


def test_weather_costs_time_but_not_one_row(server: StubServer, tmp_path: Path) -> None:
    calm = simulated(server, tmp_path / "calm.db")
    asked = set(server.asked)
    server.asked.clear()
    server.fault = weather
    stormy = simulated(server, tmp_path / "storm.db")
    stormy.ledger.check()
    assert stormy.ledger.failed == {}
    assert stormy == calm
    assert stormy.ledger.ok == ROLES * 6
    assert set(server.asked) == asked
    assert server.total() > 1.5 * len(asked)


def test_what_stays_wrong_is_named_row_by_row_and_the_good_rows_are_there(server: StubServer, tmp_path: Path) -> None:
    calm = simulated(server, tmp_path / "calm.db")
    server.fault = poison
    poisoned = simulated(server, tmp_path / "poison.db")
    poisoned.ledger.check()
    assert set(poisoned.ledger.failed) == {
        "response_cut", "response_content_filter", "response_empty", "response_empty_choices", "response_prompt_too_long"
    }  # fmt: skip
    whole = {turn for dialogue in calm.dialogues for turn in dialogue.turns}
    kept = {turn for dialogue in poisoned.dialogues for turn in dialogue.turns}
    assert kept < whole
    assert poisoned.ledger.ok == len(kept) == len(whole) - sum(poisoned.ledger.failed.values())
    # What the server refused is not kept: the next run asks again, and only that.
    server.asked.clear()
    server.fault = None
    again = simulated(server, tmp_path / "poison.db")
    refused = poisoned.ledger.failed["response_empty_choices"] + poisoned.ledger.failed["response_prompt_too_long"]
    assert 0 < server.total() <= refused  # two turns may share a request
    assert again.ledger.ok == poisoned.ledger.ok + refused


def test_a_prompt_that_kills_the_server_every_time_fails_alone(server: StubServer, tmp_path: Path) -> None:
    async def deadly(request: web.Request, body: dict[str, Any], _times: int) -> web.StreamResponse | None:
        return await reset(request) if "Person23757x" in body["messages"][0]["content"] and len(body["messages"]) > 1 else None

    server.fault = deadly
    result = simulated(server, tmp_path / "memo.db", timeout_s=3)
    result.ledger.check()
    assert result.ledger.failed == {f"response_{UNAVAILABLE}": 6}
    assert result.ledger.ok == (ROLES - 1) * 6
    assert len(result.dialogues) == ROLES - 1


def test_a_storm_of_refusals_passes_and_every_row_is_there(server: StubServer, tmp_path: Path) -> None:
    refused = 0

    async def storm(_request: web.Request, _body: dict[str, Any], _times: int) -> web.StreamResponse | None:
        nonlocal refused
        refused += 1
        return web.Response(status=(429, 503, 529)[refused % 3], headers={"Retry-After": "0.2"}) if refused <= 60 else None

    server.fault = storm
    result = simulated(server, tmp_path / "memo.db", timeout_s=60)
    result.ledger.check()
    assert result.ledger.ok == result.ledger.inputs == ROLES * 6
