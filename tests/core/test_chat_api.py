import asyncio
import json
import socket
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from typing import Any

import pytest
from aiohttp import web
from fixtures.chat_server import KEY, Handler, Server, ask, echo, reply, serving, text

from ditto_core.errors import InvalidInput
from ditto_core.generation.chat_api import ChatApiGenerator
from ditto_core.generation.requests import Failure, Sampling


def first_fails(count: int, fault: Handler) -> Handler:
    async def handler(server: Server, request: web.Request, body: dict[str, Any]) -> web.StreamResponse:
        return await (fault if len(server.bodies) <= count else echo)(server, request, body)

    return handler


def status(code: int, text: str = "", **headers: str) -> Handler:
    async def handler(*_: Any) -> web.StreamResponse:
        return web.Response(status=code, text=text, headers=headers)

    return handler


def test_the_body_says_what_was_asked_and_the_reply_comes_back(server: Server, client: Any) -> None:
    engine = client()
    schema = json.dumps({"type": "array"})
    (outcome,) = engine.generate([ask(sampling=Sampling(0.7, 0.8, 1.1, 99), schema=schema)])
    assert (outcome.text, outcome.prompt_tokens, outcome.completion_tokens, outcome.cached_tokens) == ("echo hi", 7, 3, 2)
    body = server.bodies[0]
    assert (body["model"], body["temperature"], body["top_p"], body["max_tokens"]) == ("m", 0.7, 0.8, 99)
    assert body["repetition_penalty"] == 1.1
    assert isinstance(body["seed"], int)
    assert body["response_format"]["json_schema"]["schema"] == {"type": "array"}
    assert server.headers[0]["Authorization"] == f"Bearer {KEY}"
    assert (engine.identity.weights, engine.identity.tokenizer) == ("m@r1", "server")


@pytest.mark.parametrize("cut", [False, True], ids=["whole", "cut-at-first"])
def test_whoever_watches_reads_the_reply_as_it_is_written(server: Server, client: Any, cut: bool) -> None:
    async def stream(server: Server, request: web.Request, body: dict[str, Any]) -> web.StreamResponse:
        assert body["stream"]
        response = web.StreamResponse(headers={"Content-Type": "text/event-stream"})
        await response.prepare(request)
        for part in ("I ", "remember ", "Kraków."):
            event = {"choices": [{"delta": {"content": part}, "finish_reason": None}]}
            await response.write(f"data: {json.dumps(event)}\n\n".encode())
            if cut and len(server.bodies) == 1:
                return response
        end = {"choices": [{"delta": {}, "finish_reason": "stop"}], "usage": reply("")["usage"]}
        await response.write(f"data: {json.dumps(end)}\n\ndata: [DONE]\n\n".encode())
        return response

    server.handler = stream
    seen: list[str] = []
    (outcome,) = client().generate([replace(ask(), watch=seen.append)])
    assert (text(outcome), outcome.finish_reason, outcome.completion_tokens) == ("I remember Kraków.", "stop", 3)
    assert seen[-4:] == ["I ", "I remember ", "I remember Kraków.", "I remember Kraków."]
    assert len(server.bodies) == 1 + cut


def weighing(*likeliest: tuple[str, float]) -> Handler:
    async def handler(_server: Server, _request: web.Request, _body: dict[str, Any]) -> web.StreamResponse:
        answer = reply("B")
        top = [{"token": token, "logprob": chance} for token, chance in likeliest]
        answer["choices"][0] |= {"logprobs": {"content": [{"token": "B", "top_logprobs": top}]}, "finish_reason": "length"}
        return web.json_response(answer)

    return handler


@pytest.mark.parametrize(
    ("handler", "said", "ended"),
    [
        pytest.param(
            weighing(("B", -0.5), (" B", -9999.0), ("A", -2.0), ("C", -4.0)), '{"A": -2.0, "B": -0.5}', "stop", id="given"
        ),
        pytest.param(weighing(("C", -0.1), (" A", -3.0)), '{"A": -3.0}', "stop", id="one-among-the-likeliest"),
        pytest.param(weighing(("C", -0.1)), "B", "length", id="none-among-them"),
        pytest.param(echo, "echo hi", "stop", id="a-server-that-gives-none"),
    ],
)
def test_chances_of_choices_are_read_where_the_server_gives_them(
    server: Server, client: Any, handler: Handler, said: str, ended: str
) -> None:
    server.handler = handler
    (outcome,) = client().generate([replace(ask(), choices=("A", "B"))])
    assert (text(outcome), outcome.finish_reason) == (said, ended)
    assert (server.bodies[0]["logprobs"], server.bodies[0]["top_logprobs"]) == (True, 20)


async def cut_json(_server: Server, request: web.Request, _body: dict[str, Any]) -> web.StreamResponse:
    return web.Response(text=json.dumps(reply("x"))[:30], content_type="application/json")


async def half_a_body(_server: Server, request: web.Request, _body: dict[str, Any]) -> web.StreamResponse:
    whole = json.dumps(reply("x")).encode()
    response = web.StreamResponse(headers={"Content-Type": "application/json", "Content-Length": str(len(whole))})
    await response.prepare(request)
    await response.write(whole[:30])
    assert request.transport is not None
    request.transport.close()
    return response


async def reset(_server: Server, request: web.Request, _body: dict[str, Any]) -> web.StreamResponse:
    assert request.transport is not None
    request.transport.abort()
    return web.Response()


async def hang(*_: Any) -> web.StreamResponse:
    await asyncio.sleep(30)
    return web.Response()


@pytest.mark.parametrize(
    ("fault", "timeout_s"),
    [
        pytest.param(status(429), 20, id="busy"),
        pytest.param(status(500), 20, id="internal"),
        pytest.param(status(503), 20, id="unavailable"),
        pytest.param(cut_json, 20, id="cut JSON"),
        pytest.param(half_a_body, 20, id="half a body"),
        pytest.param(status(200, "<html>Just a moment</html>"), 20, id="a page"),
        pytest.param(reset, 20, id="reset"),
        pytest.param(hang, 3, id="hangs"),
    ],
)
def test_what_passes_is_asked_again(server: Server, client: Any, fault: Handler, timeout_s: float) -> None:
    server.handler = first_fails(1, fault)
    (outcome,) = client(timeout_s=timeout_s).generate([ask()])
    assert text(outcome) == "echo hi"
    assert len(server.bodies) == 2


def test_retry_after_is_waited_for(server: Server, client: Any) -> None:
    server.handler = first_fails(1, status(429, **{"Retry-After": "1"}))
    start = time.monotonic()
    (outcome,) = client().generate([ask()])
    assert text(outcome) == "echo hi"
    assert time.monotonic() - start >= 1


def test_a_request_whose_time_is_over_fails_by_name(server: Server, client: Any) -> None:
    server.handler = status(503, "warming up")
    (outcome,) = client(timeout_s=1).generate([ask()])
    assert isinstance(outcome, Failure)
    assert outcome.reason == "engine_unavailable"
    assert "warming up" in outcome.detail


@pytest.mark.parametrize(
    ("said", "reason"),
    [
        ("This model's maximum context length is 512 tokens", "prompt_too_long"),
        ('{"error": {"code": "context_length_exceeded"}}', "prompt_too_long"),
        (f"no such parameter; your key is {KEY}", "rejected_by_server"),
        (
            '{"error": {"message": "max_tokens is too large: 512. This model supports at most 256 completion tokens.", '
            '"param": "max_tokens", "code": "invalid_value"}}',
            "rejected_by_server",
        ),
        (
            '{"error": {"message": "Invalid \'temperature\': expected a value <= 1.", "param": "temperature"}}',
            "rejected_by_server",
        ),
    ],
    ids=["words", "code", "other", "value-of-max-tokens", "value-of-temperature"],
)
def test_a_refusal_fails_alone_and_is_not_asked_again(server: Server, client: Any, said: str, reason: str) -> None:
    async def handler(server: Server, request: web.Request, body: dict[str, Any]) -> web.StreamResponse:
        if body["messages"][0]["content"] == "bad":
            return web.Response(status=400, text=said)
        return await echo(server, request, body)

    server.handler = handler
    outcomes = list(client().generate([ask("bad"), ask("good")]))
    (failure,) = [outcome for outcome in outcomes if isinstance(outcome, Failure)]
    assert failure.reason == reason
    assert KEY not in failure.detail
    assert len(outcomes) == len(server.bodies) == 2


def test_a_reply_without_choices_fails_by_name(server: Server, client: Any) -> None:
    async def handler(*_: Any) -> web.StreamResponse:
        return web.json_response({"choices": []})

    server.handler = handler
    (outcome,) = client().generate([ask()])
    assert outcome.reason == "empty_choices"


@pytest.mark.parametrize(
    ("code", "words"), [(401, "DITTO_API_KEY"), (402, "no credit"), (403, "DITTO_API_KEY"), (404, "generation.model")]
)
def test_what_only_the_user_can_mend_ends_the_run(server: Server, client: Any, code: int, words: str) -> None:
    server.handler = status(code, f"bad key {KEY}")
    with pytest.raises(InvalidInput, match=words) as caught:
        list(client().generate([ask(), ask("b")]))
    assert KEY not in str(caught.value)


def test_no_server_at_the_address_is_said_at_once(client: Any) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        engine = client(base_url=f"http://127.0.0.1:{free.getsockname()[1]}/v1")
        with pytest.raises(InvalidInput, match=r"generation\.base_url"):
            list(engine.generate([ask()]))


async def slow(server: Server, request: web.Request, body: dict[str, Any]) -> web.StreamResponse:
    await asyncio.sleep(0.02)
    return await echo(server, request, body)


def test_concurrency_bounds_all_threads_together(server: Server, client: Any) -> None:
    server.handler = slow
    engine = client(concurrency=5)
    with ThreadPoolExecutor(8) as pool:
        parts = list(pool.map(lambda part: list(engine.generate([ask(f"{part}-{n}") for n in range(10)])), range(8)))
    assert {text(outcome) for part in parts for outcome in part} == {f"echo {p}-{n}" for p in range(8) for n in range(10)}
    assert server.most == 5


def test_closing_answers_what_is_in_flight(server: Server, client: Any) -> None:
    server.handler = hang
    engine = client()
    with ThreadPoolExecutor(1) as pool:
        waiting = pool.submit(lambda: list(engine.generate([ask("a"), ask("b")])))
        while len(server.bodies) < 2:
            time.sleep(0.01)
        engine.close()
        assert {outcome.reason for outcome in waiting.result(60)} == {"engine_unavailable"}


def replies_of(engine: ChatApiGenerator, count: int) -> set[str]:
    return {text(outcome) for outcome in engine.generate([ask(str(number)) for number in range(count)])}


def test_replicas_get_the_same_share(server: Server, client: Any) -> None:
    with serving() as other:
        server.handler = other.handler = slow
        engine = client(replicas=(other.base_url,), concurrency=4)
        assert replies_of(engine, 100) == {f"echo {number}" for number in range(100)}
        assert min(len(server.bodies), len(other.bodies)) >= 30
        engine.close()


def test_a_crowded_server_gets_fewer_requests_and_answers_all(server: Server, client: Any) -> None:
    async def crowded(server: Server, request: web.Request, body: dict[str, Any]) -> web.StreamResponse:
        if server.running > 6:
            return web.Response(status=429)
        await asyncio.sleep(0.02)
        return await echo(server, request, body)

    server.handler = crowded
    assert replies_of(client(concurrency=64), 300) == {f"echo {number}" for number in range(300)}
    assert len(server.bodies) < 2 * 300


def test_a_dead_replica_does_not_hold_up_the_others(server: Server, client: Any) -> None:
    with serving() as dying:
        dying.handler = hang
        engine = client(replicas=(dying.base_url,), concurrency=8, timeout_s=4)
        assert replies_of(engine, 40) == {f"echo {number}" for number in range(40)}
        engine.close()


def test_servers_that_answer_nothing_are_given_up(server: Server, client: Any) -> None:
    server.handler = status(503, "warming up")
    start = time.monotonic()
    outcomes = list(client(timeout_s=1, concurrency=2).generate([ask(str(number)) for number in range(40)]))
    assert {outcome.reason for outcome in outcomes} == {"engine_unavailable"}
    assert len(outcomes) == 40
    assert time.monotonic() - start < 10
