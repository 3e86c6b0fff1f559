"""SPARQL client: what an endpoint's failures mean, against a real HTTP server that misbehaves."""

import json
import threading
import time
from collections.abc import Iterator
from email.utils import formatdate
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from ditto_core.errors import InvalidInput, SourceUnavailable
from ditto_core.knowledge.source import Source, TooHeavy
from ditto_core.knowledge.sparql import SparqlClient, Term, guarded

GOOD = json.dumps({"head": {}, "results": {"bindings": [{"x": {"type": "literal", "value": "Ada", "xml:lang": "EN"}}]}})
Answer = tuple[int, dict[str, str], str]
JSON = {"Content-Type": "application/sparql-results+json"}


class Handler(BaseHTTPRequestHandler):
    server: "Script"

    def do_POST(self) -> None:
        self.rfile.read(int(self.headers["Content-Length"]))
        self.server.agents.append(self.headers["User-Agent"])
        answers = self.server.answers
        status, headers, body = answers.pop(0) if len(answers) > 1 else answers[0]
        if status == 0:  # too slow
            time.sleep(1.5)
            return
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(body.encode())

    def log_message(self, *_: object) -> None:
        pass


class Script(ThreadingHTTPServer):
    answers: list[Answer]
    agents: list[str]


@pytest.fixture
def script() -> Iterator[Script]:
    server = Script(("127.0.0.1", 0), Handler)
    server.answers, server.agents = [], []
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield server
    server.shutdown()
    server.server_close()


def ask(script: Script, *answers: Answer) -> tuple[list[float], object]:
    """The waits of the client, and its rows or error."""
    script.answers = list(answers)
    waits: list[float] = []
    address = f"http://127.0.0.1:{script.server_port}/query"
    client = SparqlClient(Source(address, "knowledge.sparql_endpoint", "ops@example.org", 1, waits.append))
    try:
        return waits, client.select("SELECT ?x WHERE { VALUES ?x { 1 } }")
    except (SourceUnavailable, InvalidInput) as error:
        return waits, error


def test_rows_carry_languages_and_the_agent_says_whom_to_write(script: Script) -> None:
    assert ask(script, (200, JSON, GOOD)) == ([], [{"x": Term("Ada", "literal", "en")}])
    assert script.agents == ["Ditto/0.1 (ops@example.org)"]


def test_a_busy_endpoint_is_asked_again_after_the_time_that_it_names(script: Script) -> None:
    busy = (429, {"Retry-After": "7"}, "slow down")
    waits, rows = ask(script, busy, (503, {}, "restarting"), (200, JSON, GOOD))
    assert waits == [7.0, 2.0]
    assert isinstance(rows, list)


def test_an_endpoint_that_stays_busy_says_when_to_come_back(script: Script) -> None:
    waits, error = ask(script, (429, {"Retry-After": "9999"}, "slow down"))
    assert waits == [120.0] * 7
    assert isinstance(error, SourceUnavailable)
    assert error.retry_after == 9999


@pytest.mark.parametrize(
    "answer",
    [
        pytest.param((500, {}, "java.util.concurrent.TimeoutException"), id="blazegraph-timeout"),
        pytest.param((504, {}, ""), id="gateway-timeout"),
        pytest.param((429, {}, '{"exception": "timeout"}'), id="qlever-timeout"),
        pytest.param((200, JSON, GOOD[:-20]), id="cut"),
        pytest.param((200, JSON, GOOD[:-4] + "\nevaluation timed out"), id="cut-with-the-error-inside"),
        pytest.param((200, JSON | {"X-SPARQL-MaxRows": "1"}, GOOD), id="virtuoso-row-limit"),
    ],
)
def test_a_query_that_is_too_heavy_is_not_repeated(script: Script, answer: Answer) -> None:
    waits, error = ask(script, answer)
    assert sum(waits) <= 1
    assert isinstance(error, TooHeavy)


def test_a_web_page_may_be_a_passing_fault(script: Script) -> None:
    page = (200, {"Content-Type": "text/html"}, "<html>maintenance</html>")
    waits, error = ask(script, page, page, (200, JSON, GOOD))
    assert (waits, isinstance(error, list)) == ([1.0, 2.0], True)


def test_a_date_says_when_to_come_back_as_well_as_a_number(script: Script) -> None:
    busy = (503, {"Retry-After": formatdate(time.time() + 60, usegmt=True)}, "")
    (wait,), rows = ask(script, busy, (200, JSON, GOOD))
    assert 55 < wait <= 61
    assert isinstance(rows, list)


def test_an_answer_that_ends_without_the_query_s_own_mark_is_cut(script: Script) -> None:
    script.answers = [(200, JSON, GOOD)]
    source = Source(f"http://127.0.0.1:{script.server_port}/query", "knowledge.sparql_endpoint", "", 1, lambda _: None)
    with pytest.raises(TooHeavy, match="without a word"):
        SparqlClient(source).select(guarded(("x",), "VALUES ?x { 1 }"))


@pytest.mark.parametrize(
    "answer",
    [
        pytest.param((400, {}, "parse error"), id="refused"),
        pytest.param((404, {}, "nothing here"), id="wrong-path"),
        pytest.param((200, {"Content-Type": "application/json"}, '{"hello": 1}'), id="other-json"),
        pytest.param((200, {"Content-Type": "text/plain"}, "hello"), id="text"),
    ],
)
def test_what_is_no_sparql_endpoint_is_the_users_to_mend(script: Script, answer: Answer) -> None:
    waits, error = ask(script, answer)
    assert waits == []
    assert isinstance(error, InvalidInput)
    assert f"127.0.0.1:{script.server_port}" in str(error)


def test_a_host_that_nobody_knows_is_told_soon() -> None:
    waits: list[float] = []
    source = Source("http://no-such-host.invalid/sparql", "knowledge.sparql_endpoint", "", 1, waits.append)
    with pytest.raises(SourceUnavailable, match="nobody knows the host"):
        SparqlClient(source).select("SELECT ?x WHERE { VALUES ?x { 1 } }", whole=True)
    assert waits == [1.0, 2.0]


def test_a_query_without_an_answer_is_too_heavy_only_where_others_are_answered(script: Script) -> None:
    source = Source(f"http://127.0.0.1:{script.server_port}/query", "knowledge.sparql_endpoint", "", 1, lambda _: None)
    slow: Answer = (0, {}, "")
    script.answers = [slow, (200, JSON, GOOD), slow]
    with pytest.raises(TooHeavy, match="did not answer within 1 s"):
        SparqlClient(source).select("SELECT ?x WHERE { VALUES ?x { 1 } }")
    waits, error = ask(script, slow)
    assert waits == [1.0, 2.0]
    assert isinstance(error, SourceUnavailable)
    assert not isinstance(error, TooHeavy)
