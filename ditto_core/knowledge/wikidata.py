"""Wikidata: which characters are best known, and what is known of them.

Input:   a SPARQL endpoint over Wikidata's RDF: Wikidata itself, QLever, Virtuoso, Oxigraph over a dump.
Output:  `RankedItem`s, best known first, then `Character`s with label, description, aliases and claims.
Source:  arXiv 2401.12474, section 3.2 and appendix A; the paper's COUNT over sitelinks times out today, so the stored
         `wikibase:sitelinks` ranks.

Example:
    rank(endpoint, "Q5", english, 1)  ->  [RankedItem("Q7186", "Q5", "Marie Curie", 187)]

The queries are plain SPARQL 1.1: no label service, no hints. Labels are asked for in all tags that will do and chosen
here. Where an endpoint gives up on a query, half of it is asked.
"""

from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from string import Template
from typing import TypeVar

from ditto_core.errors import RowFailed, SourceUnavailable
from ditto_core.knowledge.claims import (
    DEPRECATED,
    NORMAL,
    PREFERRED,
    Statement,
    claims,
    entity_id,
    mentioned,
    says_something,
    tidy,
)
from ditto_core.knowledge.sparql import Endpoint, QueryTooHeavy, Row, Term
from ditto_core.languages import Language
from ditto_core.ledger import Ledger
from ditto_core.records import Character
from ditto_core.settings import KnowledgeSettings

# Fame is asked for in bands, so that an endpoint never sorts millions of items to give thousands.
_FLOORS = (100, 50, 25, 10, 0)
_CEILING = 1000
_LABELS_PER_QUERY = 200

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
_TYPES = "wikibase:WikibaseItem wikibase:Time wikibase:Quantity wikibase:Monolingualtext wikibase:String"
_RANKS = {"PreferredRank": PREFERRED, "NormalRank": NORMAL, "DeprecatedRank": DEPRECATED}

# One pattern a kind of fact; $items is the batch. Properties are found through their own descriptions.
_STATEMENTS = """
SELECT ?item ?property ?type ?statement ?value ?rank WHERE {
  VALUES ?item { $items }
  VALUES ?type { $types }
  ?property wikibase:propertyType ?type ; wikibase:claim ?claim ; wikibase:statementProperty ?main .
  ?item ?claim ?statement .
  ?statement ?main ?value .
  OPTIONAL { ?statement wikibase:rank ?rank }
}"""
_VALUE_NODES = """
SELECT ?statement ?precision ?calendar ?unit WHERE {
  VALUES ?item { $items }
  VALUES ?type { wikibase:Time wikibase:Quantity }
  ?property wikibase:propertyType ?type ; wikibase:claim ?claim .
  ?item ?claim ?statement .
  ?statement ?main ?node .
  FILTER(STRSTARTS(STR(?main), "http://www.wikidata.org/prop/statement/value/P"))
  OPTIONAL { ?node wikibase:timePrecision ?precision }
  OPTIONAL { ?node wikibase:timeCalendarModel ?calendar }
  OPTIONAL { ?node wikibase:quantityUnit ?unit }
}"""
_QUALIFIERS = """
SELECT ?statement ?qualifier ?date ?precision WHERE {
  VALUES ?item { $items }
  VALUES (?qualifier ?full) { (pq:P585 pqv:P585) (pq:P580 pqv:P580) (pq:P577 pqv:P577) }
  ?property wikibase:claim ?claim .
  ?item ?claim ?statement .
  ?statement ?qualifier ?date .
  OPTIONAL { ?statement ?full ?node . ?node wikibase:timePrecision ?precision }
}"""
_PLAIN = """
SELECT ?item ?property ?type ?value WHERE {
  VALUES ?item { $items }
  VALUES ?type { $types }
  ?property wikibase:propertyType ?type ; wikibase:directClaim ?direct .
  ?item ?direct ?value .
  FILTER NOT EXISTS { ?property wikibase:claim ?claim . ?item ?claim ?statement }
}"""
_TEXTS = """
SELECT ?item ?kind ?text WHERE {
  VALUES ?item { $items }
  VALUES ?kind { $kinds }
  ?item ?kind ?text .
  FILTER(LANG(?text) IN ($tags))
}"""
_RANKING = """
SELECT ?item (MIN(STR(?name)) AS ?title) (MAX(?links) AS ?sitelinks) WHERE {
  ?item wdt:P31 wd:$cls .
  { ?item wikibase:sitelinks ?links } UNION { ?dataset schema:about ?item ; wikibase:sitelinks ?links }
  FILTER(?links >= $low $below)
  ?article schema:about ?item ; schema:isPartOf <https://$wiki.wikipedia.org/> ; schema:name ?name .
} GROUP BY ?item ORDER BY DESC(?sitelinks) ?item LIMIT $limit"""
_SINCE = tuple(f"http://www.wikidata.org/prop/qualifier/{name}" for name in ("P585", "P580", "P577"))


@dataclass(frozen=True, slots=True)
class RankedItem:
    """A character's place in the ranking: its class, its article and its fame."""

    qid: str
    kind: str
    title: str
    sitelinks: int


@dataclass(frozen=True, slots=True)
class Facts:
    """What the endpoint says of a batch: texts as (tag, text) by item and kind, and statements by item."""

    texts: Mapping[tuple[str, str], Sequence[tuple[str, str]]]
    statements: Mapping[str, Sequence[Statement]]


_Answer = TypeVar("_Answer")


def rank(endpoint: Endpoint, cls: str, language: Language, limit: int) -> list[RankedItem]:
    """The best known instances of a class that have an article in the language, by number of sitelinks.

    Args:
        endpoint: Over Wikidata's RDF.
        cls: Q-id; its subclasses count only where they are asked for themselves.
        language: In whose Wikipedia the article must be.
        limit: Items at most; ties are broken by the item's address.

    Raises:
        SourceUnavailable: The endpoint stays busy, or gives up even on a single number of sitelinks.
        InvalidInput: No such endpoint.
    """
    found: list[RankedItem] = []
    ceiling: int | None = None
    for floor in _FLOORS:
        if len(found) < limit:
            found += _band(endpoint, cls, language, floor, ceiling, limit - len(found))
        ceiling = floor
    return sorted(found, key=lambda item: (-item.sitelinks, item.qid))[:limit]


def describe(
    endpoint: Endpoint, items: Sequence[RankedItem], language: Language, settings: KnowledgeSettings
) -> tuple[list[Character], Ledger]:
    """Label, description, aliases and claims of ranked items.

    Returns:
        The characters, in the order of the items, and an account with one entry an item: lost are those with
        "no_label", "no_description", "no_article" or "facts_unavailable".

    Raises:
        SourceUnavailable: The endpoint is down, not just unable to answer for an item.
        InvalidInput: No such endpoint.
    """
    ledger = Ledger(inputs=len(items))
    facts: dict[str, Facts] = {}
    for start in range(0, len(items), settings.batch_size):
        qids = [item.qid for item in items[start : start + settings.batch_size]]
        answers, lost = _halved(endpoint, qids, lambda part: _facts(endpoint, part, language))
        facts.update({qid: answer for part, answer in answers for qid in part})
        for qid, error in lost.items():
            ledger.fail(qid, RowFailed("facts_unavailable", str(error), raw=str(error)))
    wanted = {name for qid, answer in facts.items() for name in mentioned(answer.statements.get(qid, ()))}
    labels = _labels(endpoint, sorted(wanted), language, ledger.notes)
    characters = []
    for item in items:
        if item.qid in facts:
            try:
                characters.append(character(item, facts[item.qid], labels, language, settings, ledger.notes))
                ledger.ok += 1
            except RowFailed as error:
                ledger.fail(item.qid, error)
    return characters, ledger


def character(
    item: RankedItem,
    facts: Facts,
    labels: Mapping[str, str],
    language: Language,
    settings: KnowledgeSettings,
    notes: Counter[str],
) -> Character:
    """Put one item together; what fell back to another language or has no words is added to `notes`.

    Raises:
        RowFailed: "no_label", "no_description" or "no_article".
    """
    label, tag = _chosen(facts.texts.get((item.qid, "label"), ()), language)
    description, _ = _chosen(facts.texts.get((item.qid, "description"), ()), language)
    for reason, text in (("no_label", label), ("no_description", description), ("no_article", item.title)):
        if not text:
            raise RowFailed(reason, f"{item.qid} has none in {language.code}", raw=label)
    if tag != language.wiki:
        notes[f"label_from_{tag}"] += 1
    aliases = {tidy(text) for _, text in facts.texts.get((item.qid, "altLabel"), ())}
    said, unsaid = claims(facts.statements.get(item.qid, ()), labels, language, settings.max_values)
    notes.update(unsaid)
    return Character(
        qid=item.qid,
        language=language.code,
        kind=item.kind,
        label=label,
        description=description,
        sitelinks=item.sitelinks,
        title=item.title,
        aliases=tuple(sorted(aliases - {label, ""}))[: settings.max_values],
        claims=said,
    )


def parse_ranking(rows: Iterable[Row], kind: str) -> list[RankedItem]:
    """Rows of the ranking; a row without an item of Wikidata is no item."""
    return [
        RankedItem(qid, kind, row["title"].value.replace("_", " ").strip(), int(float(row["sitelinks"].value)))
        for row in rows
        if "item" in row and (qid := entity_id(row["item"].value))
    ]


def parse_texts(rows: Iterable[Row]) -> dict[tuple[str, str], list[tuple[str, str]]]:
    """Labels, descriptions and aliases as (item, kind) -> sorted (tag, text)."""
    texts: dict[tuple[str, str], list[tuple[str, str]]] = {}
    for row in rows:
        key = entity_id(row["item"].value), row["kind"].value.replace("#", "/").rpartition("/")[2]
        texts.setdefault(key, []).append((row["text"].language, row["text"].value))
    return {key: sorted(set(found)) for key, found in texts.items()}


def parse_statements(
    main: Iterable[Row], value_nodes: Iterable[Row], qualifiers: Iterable[Row], plain: Iterable[Row]
) -> dict[str, list[Statement]]:
    """The rows of the four fact queries as statements by item."""
    details = {row["statement"].value: row for row in value_nodes}
    since: dict[str, tuple[int, str, int | None]] = {}
    for row in qualifiers:
        name = row["statement"].value
        place = _SINCE.index(row["qualifier"].value)
        candidate = place, row["date"].value, _number(row.get("precision"))
        if row["date"].kind == "literal" and (name not in since or candidate[:2] < since[name][:2]):
            since[name] = candidate
    statements: dict[str, list[Statement]] = {}
    for row in main:
        plainly = _statement(row)
        name = row["statement"].value
        detail = details.get(name, {})
        statement = replace(
            plainly,
            rank=_RANKS.get(row["rank"].value.rpartition("#")[2], NORMAL) if "rank" in row else NORMAL,
            precision=_number(detail.get("precision")),
            calendar=detail["calendar"].value if "calendar" in detail else "",
            unit=detail["unit"].value if "unit" in detail else "",
            since=since[name][1:] if name in since else ("", None),
        )
        statements.setdefault(statement.item, []).append(statement)
    for row in plain:
        statement = _statement(row)
        statements.setdefault(statement.item, []).append(statement)
    return {
        item: [statement for statement in found if says_something(statement.property_id)] for item, found in statements.items()
    }


def _statement(row: Row) -> Statement:
    kind = row["type"].value.rpartition("#")[2]
    return Statement(entity_id(row["item"].value), entity_id(row["property"].value), kind, row["value"])


def _number(term: Term | None) -> int | None:
    return int(float(term.value)) if term else None


def _band(endpoint: Endpoint, cls: str, language: Language, low: int, high: int | None, limit: int) -> list[RankedItem]:
    """Items with low <= sitelinks < high; where the endpoint gives up, the upper half and then the lower."""
    below = "" if high is None else f"&& ?links < {high}"
    query = _filled(_RANKING, cls=cls, low=low, below=below, wiki=language.wiki, limit=limit)
    try:
        return parse_ranking(endpoint.select(query), cls)
    except QueryTooHeavy:
        middle = (low + (high or 2 * _CEILING)) // 2 if high is None or high - low > 1 else low
        if middle == low or (high is None and low >= _CEILING):
            raise
        upper = _band(endpoint, cls, language, middle, high, limit)
        rest = limit - len(upper)
        return upper + (_band(endpoint, cls, language, low, middle, rest) if rest else [])


def _facts(endpoint: Endpoint, qids: Sequence[str], language: Language) -> Facts:
    kinds = "rdfs:label schema:description skos:altLabel"
    items = " ".join(f"wd:{qid}" for qid in qids)
    texts = endpoint.select(_filled(_TEXTS, items=items, kinds=kinds, tags=_tags(language)))
    parts = (_STATEMENTS, _VALUE_NODES, _QUALIFIERS, _PLAIN)
    main, nodes, qualifiers, plain = (endpoint.select(_filled(part, items=items, types=_TYPES)) for part in parts)
    return Facts(parse_texts(texts), parse_statements(main, nodes, qualifiers, plain))


def _labels(endpoint: Endpoint, ids: Sequence[str], language: Language, notes: Counter[str]) -> dict[str, str]:
    """Id -> label for all that have a usable one; the others are left to the caller."""

    def ask(part: Sequence[str]) -> Mapping[tuple[str, str], Sequence[tuple[str, str]]]:
        items = " ".join(f"wd:{name}" for name in part)
        query = _filled(_TEXTS, items=items, kinds="rdfs:label", tags=_tags(language))
        return parse_texts(endpoint.select(query))

    labels = {}
    for start in range(0, len(ids), _LABELS_PER_QUERY):
        answers, lost = _halved(endpoint, ids[start : start + _LABELS_PER_QUERY], ask)
        notes["label_unavailable"] += len(lost)
        for part, texts in answers:
            for name in part:
                label, tag = _chosen(texts.get((name, "label"), ()), language)
                if label:
                    labels[name] = label
                    notes[f"value_label_from_{tag}"] += tag != language.wiki
    for note in [note for note, count in notes.items() if not count]:
        del notes[note]
    return labels


def _halved(
    endpoint: Endpoint, ids: Sequence[str], ask: Callable[[Sequence[str]], _Answer]
) -> tuple[list[tuple[Sequence[str], _Answer]], dict[str, SourceUnavailable]]:
    """Ask for a batch, or for its halves where that fails; lost are the single ids that still fail.

    Raises:
        SourceUnavailable: The endpoint doesn't answer the simplest question either, so the ids are not to blame.
    """
    try:
        return [(ids, ask(ids))], {}
    except SourceUnavailable as error:
        if len(ids) == 1:
            endpoint.select("SELECT ?alive WHERE { VALUES ?alive { 1 } }")
            return [], {ids[0]: error}
    middle = len(ids) // 2
    answers, lost = _halved(endpoint, ids[:middle], ask)
    more_answers, more_lost = _halved(endpoint, ids[middle:], ask)
    return answers + more_answers, {**lost, **more_lost}


def _chosen(texts: Iterable[tuple[str, str]], language: Language) -> tuple[str, str]:
    """The text in the first tag that has one, and that tag."""
    by_tag = dict(sorted(texts, reverse=True))
    for tag in (language.wiki, *language.label_fallbacks):
        text = tidy(by_tag.get(tag, ""))
        if text:
            return text, tag
    return "", ""


def _tags(language: Language) -> str:
    return ", ".join(f'"{tag}"' for tag in (language.wiki, *language.label_fallbacks))


def _filled(pattern: str, **values: object) -> str:
    return _PREFIXES + Template(pattern.lstrip()).substitute(values)
