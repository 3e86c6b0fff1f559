"""SPARQL client: the one place that talks to an endpoint.

Input:   a SELECT query in portable SPARQL 1.1 and the address of an endpoint.
Output:  its rows; each maps variable names to `Term`s, unbound variables are absent.
Source:  SPARQL 1.1 Protocol and JSON results; limits of Wikimedia's query service.

Example row:
    {"item": Term("http://www.wikidata.org/entity/Q7186", "uri"), "text": Term("Marie Curie", "literal", "en")}

Failures sort by remedy. Ask less: `QueryTooHeavy`. Ask again later: `SourceUnavailable`, after the client has tried a
few times itself. Nothing helps but another address or query: `InvalidInput`.
"""

import http.client
import json
import urllib.error
import warnings
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Literal, Protocol

from ditto_core.errors import InvalidInput, SourceUnavailable

_LONGEST_WAIT = 120.0
_USER_AGENT = "Ditto/0.1 ({contact})"


class QueryTooHeavy(SourceUnavailable):
    """The endpoint gave up on this query. Half of it may pass; the same again would not."""


@dataclass(frozen=True, slots=True)
class Term:
    """One RDF term of a result row.

    Attributes:
        value: The IRI, or the text of the literal.
        language: Tag of the literal in lower case, or "".
    """

    value: str
    kind: Literal["uri", "literal", "bnode"] = "literal"
    language: str = ""


Row = Mapping[str, Term]


class Endpoint(Protocol):
    """Anything that answers SELECT queries."""

    def select(self, query: str) -> list[Row]:
        """The rows of a query."""
        ...


class SparqlClient:
    """One endpoint over HTTP, polite and patient.

    Args:
        endpoint: Address that takes SPARQL queries by POST.
        contact: Mail address or page for the User-Agent; "" where nobody asks for one.
        timeout_s: Seconds that one request may take.
        sleep: Waits that many seconds; an argument so that tests need not wait.
        attempts: Tries per query while the endpoint is busy.
    """

    def __init__(self, endpoint: str, contact: str, timeout_s: float, sleep: Callable[[float], None], attempts: int = 4) -> None:
        self._endpoint = endpoint
        self._agent = _USER_AGENT.format(contact=contact or "no contact given")
        self._timeout_s = timeout_s
        self._sleep = sleep
        self._attempts = attempts

    def select(self, query: str) -> list[Row]:
        """The rows of a SELECT query.

        Raises:
            QueryTooHeavy: The endpoint ran out of time or rows on this query; ask for less.
            SourceUnavailable: Still busy or unreachable after all attempts; carries the Retry-After it named.
            InvalidInput: No SPARQL endpoint at this address, or it refuses the query.
        """
        for attempt in range(1, self._attempts + 1):
            try:
                return self._ask(query)
            except QueryTooHeavy:
                raise
            except SourceUnavailable as busy:
                if attempt == self._attempts:
                    raise
                wait = 2.0 ** (attempt - 1) if busy.retry_after is None else busy.retry_after
                self._sleep(min(wait, _LONGEST_WAIT))
        raise AssertionError("attempts must be positive")

    def _ask(self, query: str) -> list[Row]:
        from SPARQLWrapper import JSON, POST, SPARQLExceptions, SPARQLWrapper

        wrapper = SPARQLWrapper(self._endpoint, agent=self._agent)
        wrapper.setMethod(POST)
        wrapper.setReturnFormat(JSON)
        wrapper.setTimeout(max(1, round(self._timeout_s)))
        wrapper.setQuery(query)
        try:
            with warnings.catch_warnings():
                # An HTML answer is judged below, by its content; the library would only warn.
                warnings.simplefilter("ignore", RuntimeWarning)
                response = wrapper.query().response
                body, headers = response.read(), response.headers
        except SPARQLExceptions.EndPointInternalError as error:
            raise self._too_heavy(f"answered 500: {_start(str(error))}") from error
        except SPARQLExceptions.SPARQLWrapperException as error:
            raise self._refused(f"refused the query: {_start(str(error))}") from error
        except urllib.error.HTTPError as error:
            raise self._http_failure(error) from error
        except (urllib.error.URLError, OSError, http.client.HTTPException) as error:
            raise self._connection_failure(error) from error
        return self._rows(body, headers)

    def _rows(self, body: bytes, headers: Mapping[str, str]) -> list[Row]:
        try:
            answer = json.loads(body)
        except ValueError as error:
            text = body.decode("utf-8", "replace")
            if text.lstrip()[:1] == "{":  # Wikidata and Oxigraph cut the JSON where the time ran out
                raise self._too_heavy(f"cut its answer short; it ends {text[-80:]!r}") from error
            if text.lstrip()[:1] == "<":
                raise SourceUnavailable(
                    f"{self._endpoint} answered with a web page instead of results; it begins {_start(text)!r}. "
                    f"If this stays, check knowledge.sparql_endpoint."
                ) from error
            raise self._refused(f"answered something that is not JSON: {_start(text)!r}") from error
        try:
            rows: list[Row] = [{name: _term(term) for name, term in binding.items()} for binding in answer["results"]["bindings"]]
        except (TypeError, KeyError, AttributeError) as error:
            raise self._refused(f"answered JSON without SPARQL results: {_start(body.decode('utf-8', 'replace'))!r}") from error
        most = headers.get("X-SPARQL-MaxRows", "")  # Virtuoso cuts rows and says so only here
        if most.isdigit() and len(rows) >= int(most):
            raise self._too_heavy(f"cut its answer at {most} rows")
        return rows

    def _http_failure(self, error: urllib.error.HTTPError) -> Exception:
        with error:
            text = _start(error.read().decode("utf-8", "replace"))
        wait = error.headers.get("Retry-After", "").strip()
        retry_after = float(wait) if wait.isdigit() else None
        if error.code == 504 or (error.code == 429 and retry_after is None):
            return self._too_heavy(f"answered {error.code}: {text}")  # QLever says 429 where its time ran out
        if error.code in (408, 429) or error.code >= 500:
            return SourceUnavailable(
                f"{self._endpoint} is busy: it answered {error.code}: {text}. Run again later.",
                retry_after=retry_after,
            )
        return self._refused(f"answered {error.code}: {text}")

    def _connection_failure(self, error: Exception) -> Exception:
        cause = error.reason if isinstance(error, urllib.error.URLError) else error
        if isinstance(cause, TimeoutError):
            return self._too_heavy(f"did not answer within {self._timeout_s:g} s")
        if isinstance(cause, ConnectionRefusedError):
            return self._refused("refuses connections; is the server running, and is the port right?")
        return SourceUnavailable(
            f"the connection to {self._endpoint} failed: {cause}. Check the network and the address, and run again."
        )

    def _too_heavy(self, what: str) -> QueryTooHeavy:
        return QueryTooHeavy(
            f"{self._endpoint} {what}. Lower knowledge.batch_size or knowledge.max_characters, or raise knowledge.timeout_s."
        )

    def _refused(self, what: str) -> InvalidInput:
        return InvalidInput(
            f"knowledge.sparql_endpoint {self._endpoint!r} {what} Expected a SPARQL 1.1 endpoint over Wikidata's RDF, "
            f"such as https://query.wikidata.org/sparql."
        )


def _term(plain: Mapping[str, Any]) -> Term:
    kind = plain["type"]
    language = str(plain.get("xml:lang", "")).lower()
    return Term(plain["value"], "literal" if kind == "typed-literal" else kind, language)


def _start(text: str) -> str:
    return " ".join(text.split())[:160]
