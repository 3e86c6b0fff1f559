"""Chat completions: the fields of a request, what servers refuse of them, and several draws in one."""

import json
import logging
import threading
from dataclasses import replace
from queue import SimpleQueue
from typing import Any

import pytest
from aiohttp import web
from fixtures.chat_server import Handler, Server, ask, echo, reply, text

from ditto_core.generation.generator import Answer, Job
from ditto_core.generation.requests import Completion, Request, Sampling
from ditto_core.records import Message


def test_what_a_server_would_take_from_its_model_is_sent_where_it_is_off(server: Server, client: Any) -> None:
    list(client().generate([ask()]))
    body = server.bodies[0]
    assert (body["repetition_penalty"], body["top_k"], body["top_p"], body["temperature"]) == (1, -1, 1, 0)
    assert not {"response_format", "logprobs", "n"} & body.keys()


@pytest.mark.parametrize(
    ("field", "said"),
    [
        pytest.param("seed", '{"error": {"message": "Unsupported parameter", "param": "seed"}}', id="seed"),
        pytest.param("response_format", '{"error": "json_schema is not supported by this model"}', id="schema"),
        pytest.param("repetition_penalty", '{"detail": "Unrecognized field: repetition_penalty"}', id="penalty"),
        pytest.param("logprobs", '{"error": {"message": "logprobs is not supported"}}', id="logprobs"),
        pytest.param(
            "top_k", '{"detail": [{"loc": ["top_k"], "msg": "Input should be greater than or equal to 0"}]}', id="range"
        ),
        pytest.param("temperature", '{"message": "gpt-5 models don\'t support temperature=0.0."}', id="temperature"),
        pytest.param(
            "top_p", '{"error": {"message": "Refused.", "param": "top_p", "code": "unsupported_value"}}', id="value-by-code"
        ),
    ],
)
def test_a_field_that_the_server_lacks_is_left_out_and_said_once(
    server: Server, client: Any, caplog: pytest.LogCaptureFixture, field: str, said: str
) -> None:
    async def lacking(server: Server, request: web.Request, body: dict[str, Any]) -> web.StreamResponse:
        return web.Response(status=400, text=said) if field in body else await echo(server, request, body)

    server.handler = lacking
    sampling, schema = Sampling(repetition_penalty=1.1), json.dumps({"type": "array"})
    engine = client(concurrency=1)
    with caplog.at_level(logging.WARNING):
        for number in range(3):
            (outcome,) = engine.generate([replace(ask(str(number), sampling, schema), choices=("A", "B"))])
            assert text(outcome) == f"echo {number}"
    assert [field in body for body in server.bodies] == [True, False, False, False]
    assert len([record for record in caplog.records if field in record.getMessage()]) == 1


UNKNOWN = "Unknown parameter: '{}'."
REASONING = {
    "repetition_penalty": (UNKNOWN, "unknown_parameter"),
    "top_k": (UNKNOWN, "unknown_parameter"),
    "max_tokens": (
        "Unsupported parameter: '{}' is not supported with this model. Use 'max_completion_tokens' instead.",
        "unsupported_parameter",
    ),
    "temperature": (
        "Unsupported value: '{}' does not support 0 with this model. Only the default (1) value.",
        "unsupported_value",
    ),
    "top_p": ("Unsupported parameter: '{}' is not supported with this model.", "unsupported_parameter"),
}
"""Field -> what OpenAI's servers say of it, and the code, where the model reasons."""


async def reasoning(server: Server, request: web.Request, body: dict[str, Any]) -> web.StreamResponse:
    for field, (said, code) in REASONING.items():
        if field in body:
            error = {"message": said.format(field), "type": "invalid_request_error", "param": field, "code": code}
            return web.json_response({"error": error}, status=400)
    return await echo(server, request, body)


def test_a_model_that_reasons_is_asked_with_what_it_takes_once_it_has_refused_field_by_field(
    server: Server, client: Any, caplog: pytest.LogCaptureFixture
) -> None:
    server.handler, engine = reasoning, client(concurrency=1)
    with caplog.at_level(logging.WARNING):
        assert [text(outcome) for word in ("a", "b") for outcome in engine.generate([ask(word)])] == ["echo a", "echo b"]
    assert len(server.bodies) == len(REASONING) + 2
    assert server.bodies[-1].keys() == {"model", "messages", "max_completion_tokens", "stream", "seed"}
    assert server.bodies[-1]["max_completion_tokens"] == Sampling().max_tokens
    said = [record.getMessage() for record in caplog.records]
    assert len(said) == len(REASONING)
    assert "does not take 'max_tokens'; asking with 'max_completion_tokens' in its place from now on" in said[2]


DRAWS = [replace(Request((Message("user", "Vote."),), Sampling(temperature=1)), sample=number) for number in range(3)]


async def drawing(server: Server, _request: web.Request, body: dict[str, Any]) -> web.StreamResponse:
    """A server that draws as often as it is asked to."""
    number = len(server.bodies)
    choices = [reply(f"{number}.{draw}")["choices"][0] for draw in range(body.get("n", 1))]
    return web.json_response({"choices": choices, "usage": {"prompt_tokens": 7, "completion_tokens": 8}})


def test_draws_of_one_prompt_are_one_request_whose_prompt_counts_once(server: Server, client: Any) -> None:
    server.handler = drawing
    drawn = list(client().generate([*DRAWS, ask("other", Sampling(temperature=1))]))
    assert sorted(body.get("n", 1) for body in server.bodies) == [1, 3]
    place = next(number for number, body in enumerate(server.bodies, 1) if "n" in body)  # the two requests race each other
    assert server.bodies[place - 1]["seed"] == DRAWS[0].seed()
    three = [outcome for outcome in drawn if outcome.completion_tokens < 8]
    assert len({outcome.key for outcome in drawn}) == 4
    assert [outcome.text for outcome in three] == [f"{place}.{draw}" for draw in range(3)]
    assert [outcome.prompt_tokens for outcome in three] == [7, 0, 0]
    assert [outcome.completion_tokens for outcome in three] == [3, 3, 2]


def test_a_greedy_prompt_is_not_drawn_from(server: Server, client: Any) -> None:
    server.handler = drawing
    list(client().generate([replace(draw, sampling=Sampling()) for draw in DRAWS]))
    assert [body.get("n") for body in server.bodies] == [None, None, None]


async def refusing_draws(server: Server, request: web.Request, body: dict[str, Any]) -> web.StreamResponse:
    if "n" in body:
        return web.Response(status=400, text='{"error": {"message": "n > 1 is not supported"}}')
    return await drawing(server, request, body)


async def drawing_once(server: Server, request: web.Request, body: dict[str, Any]) -> web.StreamResponse:
    return await drawing(server, request, body | {"n": 1})


@pytest.mark.parametrize(("handler", "requests"), [(refusing_draws, 4), (drawing_once, 3)])
def test_a_server_that_draws_once_is_asked_again_and_it_is_said_once(
    server: Server, client: Any, caplog: pytest.LogCaptureFixture, handler: Handler, requests: int
) -> None:
    server.handler, engine = handler, client()
    with caplog.at_level(logging.WARNING):
        assert len({text(outcome) for outcome in engine.generate(DRAWS)}) == 3
        assert len(server.bodies) == requests
        again = [replace(draw, messages=(Message("user", "Again."),)) for draw in DRAWS]
        assert len({text(outcome) for outcome in engine.generate(again)}) == 3
    assert len(server.bodies) == requests + 3
    assert len([record for record in caplog.records if "'n'" in record.getMessage()]) == 1


def test_every_draw_of_a_request_that_fails_is_answered(server: Server, client: Any) -> None:
    async def refusing(_server: Server, _request: web.Request, _body: dict[str, Any]) -> web.StreamResponse:
        return web.Response(status=400, text='{"error": {"message": "this model\'s maximum context length is 10"}}')

    server.handler = refusing
    assert [outcome.reason for outcome in client().generate(DRAWS)] == ["prompt_too_long"] * 3


def test_a_draw_that_is_still_wanted_is_answered_though_the_one_before_it_is_not(server: Server, client: Any) -> None:
    engine, answers, given_up = client(), SimpleQueue[Answer](), threading.Event()
    given_up.set()
    unwanted, wanted = (
        Job(draw, draw.key(engine.identity), answers, abandoned)
        for draw, abandoned in zip(DRAWS, (given_up, threading.Event()), strict=False)
    )
    engine.submit([unwanted, wanted])
    answer = answers.get(timeout=60)
    assert isinstance(answer, Completion)
    assert (answer.key, len(server.bodies)) == (wanted.key, 1)
    assert server.bodies[0].get("n") is None
