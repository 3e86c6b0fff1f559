"""SPARQL client: the one place that talks to an endpoint.

Input:   a SELECT query in portable SPARQL 1.1 and the address of an endpoint.
Output:  its rows; each maps variable names to `Term`s, unbound variables are absent.
Source:  SPARQL 1.1 Protocol and JSON results; limits of Wikimedia's query service.

Example row:
    {"item": Term("http://www.wikidata.org/entity/Q7186", "uri"), "text": Term("Marie Curie", "literal", "en")}

Endpoints cut answers in silence: JSON that stops where the time ran out, rows that stop at a limit. So a query can end
with a row of its own (`guarded`), and an answer without that row is known to be cut.
"""

import json
import urllib.error
import warnings
from collections.abc import Mapping, Sequence
from typing import Any, Literal, NamedTuple, Protocol

from SPARQLWrapper import JSON, POST, SPARQLExceptions, SPARQLWrapper

from ditto_core.errors import SourceUnavailable
from ditto_core.knowledge.source import Answer, Source, TooHeavy, Weather

_END = "endOfRows"
_STATUS = {
    SPARQLExceptions.EndPointInternalError: 500,
    SPARQLExceptions.EndPointNotFound: 404,
    SPARQLExceptions.Unauthorized: 401,
    SPARQLExceptions.URITooLong: 414,
}
"""The library turns these into exceptions of its own."""


class Term(NamedTuple):
    """One RDF term of a result row; a tuple, since answers hold millions.

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

    def select(self, query: str, *, whole: bool = False) -> list[Row]:
        """The rows of a query; `whole` says that it can't be asked for in parts."""
        ...

    def probe(self) -> None:
        """Raise `SourceUnavailable` if not even the simplest query is answered."""
        ...


def guarded(variables: Sequence[str], pattern: str) -> str:
    """A SELECT of a graph pattern whose last row is a mark: an answer without it is cut, and the client says so."""
    names = " ".join(f"?{name}" for name in variables)
    return f"SELECT {names} ?{_END} WHERE {{ {{{pattern}\n}} UNION {{ BIND(1 AS ?{_END}) }} }} ORDER BY ?{_END}"


class SparqlClient:
    """One endpoint over HTTP; polite and patient as its `Source` is."""

    def __init__(self, source: Source) -> None:
        self.source = source

    def select(self, query: str, *, whole: bool = False) -> list[Row]:
        """The rows of a SELECT query.

        Args:
            query: Plain SPARQL 1.1.
            whole: It can't be asked for in parts, so it is asked again where it is too heavy.

        Raises:
            TooHeavy: The endpoint ran out of time or rows on this query; ask for less.
            SourceUnavailable: Still busy or unreachable after all attempts.
            InvalidInput: No SPARQL endpoint at this address, or it refuses the query.
        """
        marked = f"?{_END}" in query
        try:
            return self.source.ask({"query": query}, lambda answer: self._rows(answer, marked), send=self._send, whole=whole)
        except TooHeavy as fault:
            if fault.kind == "timeout" and not self.source.answered:
                self.probe()  # it may be this query; it may be that nobody is there
            raise

    def probe(self) -> None:
        """Raise `SourceUnavailable` or `InvalidInput` if not even the simplest query is answered."""
        if not self.source.offline:
            form = {"query": "SELECT ?alive WHERE { VALUES ?alive { 1 } }"}
            try:
                self.source.ask(form, lambda answer: self._rows(answer, False), send=self._send, whole=True, keep=False)
            except TooHeavy as fault:  # nothing is lighter
                raise SourceUnavailable(str(fault), retry_after=fault.retry_after) from fault

    def _send(self, form: Mapping[str, str]) -> Answer:
        wrapper = SPARQLWrapper(self.source.address, agent=self.source.agent)
        wrapper.setMethod(POST)
        wrapper.setReturnFormat(JSON)
        wrapper.setTimeout(max(1, round(self.source.timeout_s)))
        wrapper.setQuery(form["query"])
        try:
            with warnings.catch_warnings():
                # The library warns of an answer that is no JSON; it is judged by its content.
                warnings.simplefilter("ignore", RuntimeWarning)
                response = wrapper.query().response
            return Answer(200, {name.lower(): value for name, value in response.headers.items()}, response.read())
        except SPARQLExceptions.SPARQLWrapperException as error:
            return Answer(_STATUS.get(type(error), 400), {}, str(error).encode())
        except urllib.error.HTTPError as error:
            with error:
                return Answer(error.code, {name.lower(): value for name, value in error.headers.items()}, error.read())

    def _rows(self, answer: Answer, marked: bool) -> list[Row]:
        try:
            plain = json.loads(answer.body)
        except ValueError as error:
            if answer.body.lstrip()[:1] == b"{":  # Wikidata and Oxigraph cut the JSON where the time ran out
                end = answer.body[-80:].decode("utf-8", "replace")
                raise TooHeavy("cut", f"{self.source.address} cut its answer short; it ends {end!r}.") from error
            if not answer.body.strip():
                raise Weather("cut", f"{self.source.address} answered with nothing.") from error
            raise self.source.refused(f"answered something that is not JSON: {answer.start()!r}.") from error
        try:
            rows: list[Row] = [{name: _term(term) for name, term in binding.items()} for binding in plain["results"]["bindings"]]
        except (TypeError, KeyError, AttributeError) as error:
            raise self.source.refused(f"answered JSON without SPARQL results: {answer.start()!r}.") from error
        most = answer.headers.get("x-sparql-maxrows", "")  # Virtuoso cuts rows and says so only here
        if most.isdigit() and len(rows) >= int(most):
            raise TooHeavy("rows_cut", f"{self.source.address} cut its answer at {most} rows.")
        complete = [row for row in rows if _END not in row]
        if marked and len(complete) == len(rows):
            raise TooHeavy("rows_cut", f"{self.source.address} cut its answer after {len(rows)} rows without a word.")
        return complete


def _term(plain: Mapping[str, Any]) -> Term:
    kind, language = plain["type"], plain.get("xml:lang")
    return Term(plain["value"], "literal" if kind == "typed-literal" else kind, language.lower() if language else "")
