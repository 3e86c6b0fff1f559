"""Wikidata: what is known of characters.

Input:   a SPARQL endpoint over Wikidata's RDF (Wikidata itself, QLever, Virtuoso, Oxigraph over a dump), and `RankedItem`s.
Output:  `Character`s with label, description, aliases and claims, in the order of the items.
Source:  arXiv 2401.12474, section 3.2 and appendix A.

Example:
    describe(endpoint, [RankedItem("Q7186", "Q5", "Marie Curie", 187)], english, settings)
    ->  ([Character("Q7186", ..., claims=(Claim("P569", "date of birth", "7 November 1867"), ...))], ledger)

The queries are plain SPARQL 1.1: no label service, no hints. Labels are asked for in all tags that will do and chosen
here. Where an endpoint gives up on a query or cuts its answer, halves of it are asked until all is there.
"""

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
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
from ditto_core.knowledge.ranking import RankedItem, query
from ditto_core.knowledge.source import in_parallel
from ditto_core.knowledge.sparql import Endpoint, Row, Term, guarded
from ditto_core.languages import Language
from ditto_core.ledger import Ledger
from ditto_core.records import Character
from ditto_core.settings import KnowledgeSettings

_LABELS_PER_QUERY = 200
_LAST_RESORT = "en"  # for labels of properties and values: a claim in two languages says more than no claim

_TYPES = "wikibase:WikibaseItem wikibase:Time wikibase:Quantity wikibase:Monolingualtext wikibase:String"
_RANKS = {"PreferredRank": PREFERRED, "NormalRank": NORMAL, "DeprecatedRank": DEPRECATED}

# One pattern a kind of fact; $items is the batch. Properties are found through their own descriptions. The inner SELECT makes
# an endpoint begin with the batch: left to themselves, some join all statements of a property first.
_OF_BATCH = "{ SELECT ?item ?claim ?statement WHERE { VALUES ?item { $items } ?item ?claim ?statement } }"
_STATEMENTS = guarded(
    ("item", "property", "type", "statement", "value", "rank"),
    f"""
  {_OF_BATCH}
  VALUES ?type {{ $types }}
  ?property wikibase:claim ?claim ; wikibase:propertyType ?type ; wikibase:statementProperty ?main .
  ?statement ?main ?value .
  OPTIONAL {{ ?statement wikibase:rank ?rank }}""",
)
_VALUE_NODES = guarded(
    ("statement", "precision", "calendar", "unit"),
    f"""
  {_OF_BATCH}
  VALUES ?type {{ wikibase:Time wikibase:Quantity }}
  ?property wikibase:claim ?claim ; wikibase:propertyType ?type .
  ?statement ?main ?node .
  FILTER(STRSTARTS(STR(?main), "http://www.wikidata.org/prop/statement/value/P"))
  OPTIONAL {{ ?node wikibase:timePrecision ?precision }}
  OPTIONAL {{ ?node wikibase:timeCalendarModel ?calendar }}
  OPTIONAL {{ ?node wikibase:quantityUnit ?unit }}""",
)
_QUALIFIERS = guarded(
    ("statement", "qualifier", "date", "precision"),
    f"""
  {_OF_BATCH}
  VALUES (?qualifier ?full) {{ (pq:P585 pqv:P585) (pq:P580 pqv:P580) (pq:P577 pqv:P577) }}
  ?property wikibase:claim ?claim .
  ?statement ?qualifier ?date .
  OPTIONAL {{ ?statement ?full ?node . ?node wikibase:timePrecision ?precision }}""",
)
_PLAIN = guarded(
    ("item", "property", "type", "value"),
    """
  { SELECT ?item ?direct ?value WHERE { VALUES ?item { $items } ?item ?direct ?value } }
  VALUES ?type { $types }
  ?property wikibase:directClaim ?direct ; wikibase:propertyType ?type .
  OPTIONAL { ?property wikibase:claim ?claim . ?item ?claim ?statement }
  FILTER(!BOUND(?statement))""",
)


def _texts(*kinds: str) -> str:
    """Texts of a batch; each kind begins with the batch itself, which is a tenth of the work of asking for all kinds in one."""
    each = (f"{{ VALUES ?item {{ $items }} ?item {kind} ?text . BIND({kind} AS ?kind) }}" for kind in kinds)
    return guarded(("item", "kind", "text"), f"\n  {' UNION '.join(each)}\n  FILTER(LANG(?text) IN ($tags))")


_TEXTS = _texts("rdfs:label", "schema:description", "skos:altLabel")
_LABELS = _texts("rdfs:label")
_SINCE = tuple(f"http://www.wikidata.org/prop/qualifier/{name}" for name in ("P585", "P580", "P577"))


@dataclass(frozen=True, slots=True)
class Facts:
    """What the endpoint says of a batch: texts as (tag, text) by item and kind, and statements by item."""

    texts: Mapping[tuple[str, str], Sequence[tuple[str, str]]]
    statements: Mapping[str, Sequence[Statement]]


_Answer = TypeVar("_Answer")
_Parts = tuple[list[tuple[Sequence[str], _Answer]], dict[str, SourceUnavailable]]
"""Answers by the ids they are about, and the ids without one."""


def describe(
    endpoint: Endpoint, items: Sequence[RankedItem], language: Language, settings: KnowledgeSettings
) -> tuple[list[Character], Ledger]:
    """Label, description, aliases and claims of ranked items.

    Returns:
        The characters, in the order of the items, and an account with one entry an item: lost are those with
        "no_label", "no_description", "no_article", "facts_unavailable" or "labels_unavailable" (of a claim).

    Raises:
        SourceUnavailable: The endpoint is down, not just unable to answer for an item.
        InvalidInput: No such endpoint.
    """
    ledger = Ledger(inputs=len(items))
    facts: dict[str, Facts] = {}
    batches = _batched([item.qid for item in items], settings.batch_size)
    for answers, lost in _in_parts(endpoint, batches, lambda qids: _facts(endpoint, qids, language)):
        facts.update({qid: answer for part, answer in answers for qid in part})
        for qid, error in lost.items():
            ledger.fail(qid, RowFailed("facts_unavailable", str(error), raw=str(error)))
    wanted = {name for qid, answer in facts.items() for name in mentioned(answer.statements.get(qid, ()))}
    labels, unknown = _labels(endpoint, sorted(wanted), language, ledger.notes)
    characters = []
    for item in items:
        if item.qid in facts:
            try:
                if unknown:
                    _refuse_unknown(item.qid, facts[item.qid], unknown)
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
    tags = (language.wiki, *language.label_fallbacks)
    label, tag = _chosen(facts.texts.get((item.qid, "label"), ()), tags)
    description, _ = _chosen(facts.texts.get((item.qid, "description"), ()), tags)
    for reason, text in (("no_label", label), ("no_description", description), ("no_article", item.title)):
        if not text:
            raise RowFailed(reason, f"{item.qid} has none in {language.code}", raw=label)
    if tag != language.wiki:
        notes[f"label_from_{tag}"] += 1
    # Virtuoso was seen to send texts of other languages too, in spite of the query's filter.
    aliases = {tidy(text) for tag, text in facts.texts.get((item.qid, "altLabel"), ()) if tag in tags}
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


def _facts(endpoint: Endpoint, qids: Sequence[str], language: Language) -> Facts:
    values = {
        "items": " ".join(f"wd:{qid}" for qid in qids),
        "tags": _quoted((language.wiki, *language.label_fallbacks)),
        "types": _TYPES,
    }
    patterns = (_TEXTS, _STATEMENTS, _VALUE_NODES, _QUALIFIERS, _PLAIN)
    texts, main, nodes, qualifiers, plain = (
        endpoint.select(query(pattern, **values), whole=len(qids) == 1) for pattern in patterns
    )
    return Facts(parse_texts(texts), parse_statements(main, nodes, qualifiers, plain))


def _refuse_unknown(qid: str, facts: Facts, unknown: Mapping[str, SourceUnavailable]) -> None:
    """A claim must not be missing because the endpoint would not say a label."""
    for name in sorted(mentioned(facts.statements.get(qid, ())) & unknown.keys()):
        raise RowFailed("labels_unavailable", f"the label of {name}: {unknown[name]}", raw=name)


def _labels(
    endpoint: Endpoint, ids: Sequence[str], language: Language, notes: Counter[str]
) -> tuple[dict[str, str], dict[str, SourceUnavailable]]:
    """Id -> label for all that have a usable one, and the ids for which there was no answer."""
    tags = tuple(dict.fromkeys((language.wiki, *language.label_fallbacks, _LAST_RESORT)))

    def ask(part: Sequence[str]) -> Mapping[tuple[str, str], Sequence[tuple[str, str]]]:
        items = " ".join(f"wd:{name}" for name in part)
        asked = query(_LABELS, items=items, tags=_quoted(tags))
        return parse_texts(endpoint.select(asked, whole=len(part) == 1))

    labels: dict[str, str] = {}
    unknown: dict[str, SourceUnavailable] = {}
    for answers, lost in _in_parts(endpoint, _batched(ids, _LABELS_PER_QUERY), ask):
        unknown |= lost
        for part, texts in answers:
            for name in part:
                label, tag = _chosen(texts.get((name, "label"), ()), tags)
                if label:
                    labels[name] = label
                    notes.update([f"value_label_from_{tag}"] if tag != language.wiki else [])
    return labels, unknown


def _in_parts(
    endpoint: Endpoint, batches: Iterable[Sequence[str]], ask: Callable[[Sequence[str]], _Answer]
) -> Iterator[_Parts[_Answer]]:
    """All batches side by side, each halved where it must be."""
    return in_parallel(lambda batch: _halved(endpoint, batch, ask), batches)


def _halved(endpoint: Endpoint, ids: Sequence[str], ask: Callable[[Sequence[str]], _Answer]) -> _Parts[_Answer]:
    """Ask for a batch, or for its halves where that fails; lost are the single ids that still fail.

    Raises:
        SourceUnavailable: The endpoint doesn't answer the simplest question either, so the ids are not to blame.
    """
    try:
        return [(ids, ask(ids))], {}
    except SourceUnavailable as error:
        if len(ids) == 1:
            endpoint.probe()
            return [], {ids[0]: error}
    middle = len(ids) // 2
    answers, lost = _halved(endpoint, ids[:middle], ask)
    more_answers, more_lost = _halved(endpoint, ids[middle:], ask)
    return answers + more_answers, {**lost, **more_lost}


def _batched(items: Sequence[str], size: int) -> list[Sequence[str]]:
    """The items in groups of at most `size`."""
    return [items[start : start + size] for start in range(0, len(items), size)]


def _chosen(texts: Iterable[tuple[str, str]], tags: Iterable[str]) -> tuple[str, str]:
    """The text in the first tag that has one, and that tag."""
    by_tag = dict(sorted(texts, reverse=True))
    for tag in tags:
        text = tidy(by_tag.get(tag, ""))
        if text:
            return text, tag
    return "", ""


def _quoted(tags: Iterable[str]) -> str:
    return ", ".join(f'"{tag}"' for tag in tags)
