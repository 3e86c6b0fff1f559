"""Ranking: which characters are best known.

Input:   a SPARQL endpoint over Wikidata's RDF, a class, a language.
Output:  `RankedItem`s with an article in that language, best known first.
Source:  arXiv 2401.12474, appendix A; its COUNT over sitelinks times out at Wikidata today, so the stored
         `wikibase:sitelinks` ranks, unless the count is asked for.

Example:
    rank(endpoint, "Q5", english, 1)  ->  [RankedItem("Q7186", "Q5", "Marie Curie", 187)]

Fame is asked for in bands. A band that is too heavy, or comes back cut, is asked for in smaller ones, until all is there.
"""

import math
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from string import Template
from typing import Literal

from ditto_core.knowledge.claims import entity_id
from ditto_core.knowledge.source import TooHeavy
from ditto_core.knowledge.sparql import Endpoint, Row, guarded
from ditto_core.languages import Language

# Fame is asked for in bands, so that an endpoint never sorts millions of items to give thousands.
_FLOORS = (100, 50, 25, 10, 0)
_CEILING = 10_000  # above the number of wikis
_DIGITS = 2
_PREFIXES = """\
PREFIX wd: <http://www.wikidata.org/entity/>
PREFIX wdt: <http://www.wikidata.org/prop/direct/>
PREFIX pq: <http://www.wikidata.org/prop/qualifier/>
PREFIX pqv: <http://www.wikidata.org/prop/qualifier/value/>
PREFIX wikibase: <http://wikiba.se/ontology#>
PREFIX schema: <http://schema.org/>
PREFIX rdfs: <http://www.w3.org/2000/01/rdf-schema#>
PREFIX skos: <http://www.w3.org/2004/02/skos/core#>
"""
_ARTICLE = "?article schema:about ?item ; schema:isPartOf <https://$wiki.wikipedia.org/> ; schema:name ?name ."
_RANKINGS = {
    "stored": f"""
SELECT ?item (MIN(STR(?name)) AS ?title) (MAX(?links) AS ?sitelinks) WHERE {{
  ?item $path wd:$cls .
  {{ ?item wikibase:sitelinks ?links }} UNION {{ ?dataset schema:about ?item ; wikibase:sitelinks ?links }}
  FILTER(?links >= $low && ?links < $high$part)
  {_ARTICLE}
}} GROUP BY ?item ORDER BY DESC(?sitelinks) ?item LIMIT $limit""",
    "counted": f"""
SELECT ?item (MIN(STR(?name)) AS ?title) (COUNT(DISTINCT ?page) AS ?sitelinks) WHERE {{
  ?item $path wd:$cls .
  ?page schema:about ?item ; schema:isPartOf ?site .
  {_ARTICLE}
  FILTER(true$part)
}} GROUP BY ?item HAVING (COUNT(DISTINCT ?page) >= $low && COUNT(DISTINCT ?page) < $high)
ORDER BY DESC(?sitelinks) ?item LIMIT $limit""",
}


@dataclass(frozen=True, slots=True)
class RankedItem:
    """A character's place in the ranking: its class, its article and its fame."""

    qid: str
    kind: str
    title: str
    sitelinks: int


def rank(
    endpoint: Endpoint,
    cls: str,
    language: Language,
    limit: int,
    form: Literal["stored", "counted"] = "stored",
    subclasses: bool = False,
) -> list[RankedItem]:
    """The best known instances of a class that have an article in the language, by number of sitelinks.

    Args:
        endpoint: Over Wikidata's RDF.
        cls: Q-id.
        language: In whose Wikipedia the article must be.
        limit: Items at most; ties are broken by the item's address.
        form: "stored" reads the number of sitelinks, "counted" counts them as the paper does.
        subclasses: Whether instances of subclasses count as well; a heavy question at Wikidata.

    Raises:
        SourceUnavailable: The endpoint stays busy, or gives up even on a part of the items of one number of sitelinks.
        InvalidInput: No such endpoint.
    """

    def ask(band: _Band, most: int) -> list[RankedItem]:
        values = {"cls": cls, "wiki": language.wiki, "low": band.low, "high": band.high, "part": band.condition(), "limit": most}
        pattern = guarded(("item", "title", "sitelinks"), _RANKINGS[form])
        asked = query(pattern, path="wdt:P31/wdt:P279*" if subclasses else "wdt:P31", **values)
        return parse_ranking(endpoint.select(asked, whole=not band.parts()), cls)

    found: list[RankedItem] = []
    ceiling = _CEILING
    for floor in _FLOORS:
        if len(found) < limit:
            found += _complete(ask, _Band(floor, ceiling), limit - len(found))
        ceiling = floor
    return list({item.qid: item for item in reversed(found)}.values())[::-1]  # an item may say two numbers; the larger counts


def parse_ranking(rows: Iterable[Row], kind: str) -> list[RankedItem]:
    """Rows of the ranking; a row without an item of Wikidata is no item."""
    return [
        RankedItem(qid, kind, row["title"].value.replace("_", " ").strip(), int(float(row["sitelinks"].value)))
        for row in rows
        if "item" in row and (qid := entity_id(row["item"].value))
    ]


def query(pattern: str, **values: object) -> str:
    """A pattern with its values filled in, and the prefixes of Wikidata's RDF before it."""
    return _PREFIXES + Template(pattern.lstrip()).substitute(values)


@dataclass(frozen=True, slots=True)
class _Band:
    """Items with low <= sitelinks < high; those of one number are told apart by the last digits of their ids."""

    low: int
    high: int
    digits: str = ""

    def condition(self) -> str:
        return f' && STRENDS(STR(?item), "{self.digits}")' if self.digits else ""

    def parts(self) -> list["_Band"]:
        """Smaller ones that make it up, the most famous first; none of the smallest."""
        if self.high - self.low > 1:
            middle = max(math.isqrt(max(self.low, 1) * self.high), self.low + 1)  # fame thins out fast
            return [_Band(middle, self.high), _Band(self.low, middle)]
        if len(self.digits) >= _DIGITS or self.digits.startswith("Q"):
            return []
        return [replace(self, digits=f"{before}{self.digits}") for before in ("0123456789Q" if self.digits else "0123456789")]


def _complete(ask: Callable[[_Band, int], list[RankedItem]], band: _Band, limit: int) -> list[RankedItem]:
    """The most famous of a band, in order; where the endpoint gives up or cuts its answer, from the band's parts."""
    try:
        found = ask(band, limit)
    except TooHeavy:
        parts = band.parts()
        if not parts:
            raise
        found = []
        for part in parts:
            tied = part.high - part.low == 1 and part.digits  # any part may hold the first of them
            if tied or len(found) < limit:
                found += _complete(ask, part, limit if tied else limit - len(found))
    return sorted(found, key=lambda item: (-item.sitelinks, item.qid))[:limit]
