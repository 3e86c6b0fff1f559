"""The embedded world as production sees it: RDF in Wikidata's shape, and a MediaWiki XML export for each language.

In:     world/characters.toml (facts, by hand), world/articles/<Q-id>.wiki (English wikitext, by hand), and world/<language>.toml
        (labels and articles in another language, by hand).
Out:    world.ttl and articles-<language>.xml beside this file; all ship. `python -m ditto_core.embedded.world` rewrites them.
Source: Wikidata's RDF dump format, and MediaWiki's export schema 0.11. Ids of characters and properties are Wikidata's;
        value items have placeholder ids from Q900000001 on, made from their labels, which alone matter here.

Example of a claim in characters.toml, and its statement:
    "P26 Pierre Curie | 1895"
    wd:Q7186 p:P26 [ ps:P26 wd:Q996098882 ; pq:P580 "1895-01-01T00:00:00Z"^^xsd:dateTime ; wikibase:rank ... ]
"""

import hashlib
import re
import tomllib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from string import Template
from typing import Any
from xml.sax.saxutils import escape

from ditto_core import languages
from ditto_core.embedded import LANGUAGES, world_export, world_rdf
from ditto_core.errors import BrokenPromise
from ditto_core.recipe import stable_hash
from ditto_core.shards import write_text

_SOURCES = Path(__file__).parent / "world"
_TIME = re.compile(r"(-?)(\d{4})(?:-(\d{2}))?(?:-(\d{2}))?")
_STAMP = "2026-11-24T00:00:00Z"
_PLACEHOLDER_IDS = 900_000_001
_PREFIXES = """\
@prefix wd: <http://www.wikidata.org/entity/> .
@prefix wds: <http://www.wikidata.org/entity/statement/> .
@prefix wdv: <http://www.wikidata.org/value/> .
@prefix wdt: <http://www.wikidata.org/prop/direct/> .
@prefix p: <http://www.wikidata.org/prop/> .
@prefix ps: <http://www.wikidata.org/prop/statement/> .
@prefix psv: <http://www.wikidata.org/prop/statement/value/> .
@prefix pq: <http://www.wikidata.org/prop/qualifier/> .
@prefix pqv: <http://www.wikidata.org/prop/qualifier/value/> .
@prefix wikibase: <http://wikiba.se/ontology#> .
@prefix rdfs: <http://www.w3.org/2000/01/rdf-schema#> .
@prefix skos: <http://www.w3.org/2004/02/skos/core#> .
@prefix schema: <http://schema.org/> .
@prefix xsd: <http://www.w3.org/2001/XMLSchema#> .
"""
PROPERTIES: Mapping[str, str] = {
    "P19": "place of birth",
    "P20": "place of death",
    "P22": "father",
    "P25": "mother",
    "P26": "spouse",
    "P31": "instance of",
    "P39": "position held",
    "P40": "child",
    "P69": "educated at",
    "P106": "occupation",
    "P108": "employer",
    "P166": "award received",
    "P170": "creator",
    "P463": "member of",
    "P551": "residence",
    "P569": "date of birth",
    "P570": "date of death",
    "P577": "publication date",
    "P580": "start time",
    "P585": "point in time",
    "P607": "conflict",
    "P793": "significant event",
    "P800": "notable work",
    "P802": "student",
    "P1066": "student of",
    "P1303": "instrument",
    "P1441": "present in work",
    "P1830": "owner of",
    "P3342": "significant person",
    "P3373": "sibling",
    "P7047": "enemy",
}
"""Labels of the properties that the world uses."""
_CLASSES = {"Q5": "human", "Q15632617": "fictional human", "Q95074": "fictional character"}
_TIMES = frozenset({"P569", "P570", "P577", "P580", "P585"})
_STARTS = frozenset({"P26", "P39", "P69", "P108", "P463", "P551", "P1066", "P802", "P3342", "P1830"})
_PUBLISHED = frozenset({"P800", "P1441"})


@dataclass(frozen=True, slots=True)
class Fact:
    """A claim as written in characters.toml.

    Attributes:
        value: Label of an item, or a time such as "1867-11-07", "1867-11", "1867" or "-0069".
        year: Of the statement, "" if none; BCE years are negative.
        rank: "normal", "preferred" or "deprecated".
    """

    property_id: str
    value: str
    year: str
    rank: str

    @property
    def is_time(self) -> bool:
        """Whether the value is a time and not an item."""
        return self.property_id in _TIMES


@dataclass(frozen=True, slots=True)
class Text:
    """A character in one language.

    Attributes:
        language: Language tag of its label: Wikidata often has it as "mul" only.
        title: Of its article.
    """

    label: str
    language: str
    description: str
    aliases: tuple[str, ...]
    title: str
    wikitext: str


@dataclass(frozen=True, slots=True)
class Entry:
    """A character, in every language that tells of it.

    Attributes:
        texts: Code of a language -> what it says; "en" is always there.
    """

    qid: str
    kind: str
    sitelinks: int
    facts: tuple[Fact, ...]
    texts: Mapping[str, Text]


@dataclass(frozen=True, slots=True)
class Labels:
    """What one language calls properties and values; it may lack some.

    Attributes:
        properties: Id -> label.
        values: English label -> label.
    """

    properties: Mapping[str, str]
    values: Mapping[str, str]


def entries() -> list[Entry]:
    """All characters, in the order of the file."""
    others = {code: _table(code)["characters"] for code in LANGUAGES if code != "en"}
    return [
        _entry(qid, row, {code: table[qid] for code, table in others.items() if qid in table})
        for qid, row in _table("characters").items()
    ]


def labels(code: str, characters: Sequence[Entry]) -> Labels:
    """What a language calls properties, and the values of these characters."""
    names = {entry.texts["en"].label: entry.texts[code].label for entry in characters if code in entry.texts}
    if code == "en":
        values = {fact.value: fact.value for entry in characters for fact in entry.facts if not fact.is_time}
        return Labels(PROPERTIES, values | names)
    table = _table(code)
    return Labels(table["properties"], table["values"] | names)


def turtle(characters: Sequence[Entry]) -> str:
    """The characters, their value items and their properties as Turtle."""
    items = _items(characters)
    blocks = [_PREFIXES]
    blocks += [_property(property_id) for property_id in PROPERTIES]
    for code in LANGUAGES:
        known = labels(code, characters)
        named = {items[value]: label for value, label in known.values.items() if _is_placeholder(items.get(value, "Q0"))}
        blocks += [f"wd:{item} rdfs:label {_text(label, code)} ." for item, label in {**known.properties, **named}.items()]
    blocks += [f"wd:{qid} rdfs:label {_text(label)} ." for qid, label in _CLASSES.items()]
    blocks += ["\n".join(_character(entry, items)) for entry in characters]
    return "\n".join(blocks) + "\n"


def export(code: str, characters: Sequence[Entry]) -> str:
    """The articles of a language as a MediaWiki XML export; an alias of some characters is a redirect."""
    texts = [entry.texts[code] for entry in characters if code in entry.texts]
    pages = [_page(number, text.title, text.wikitext) for number, text in enumerate(texts, 1)]
    redirects = [text for text in texts if text.aliases][:3]
    pages += [_page(1000 + number, text.aliases[0], f"#REDIRECT [[{text.title}]]") for number, text in enumerate(redirects)]
    pages.append(_page(2000, "Template:Ditto", "A page that is no article.", namespace=10))
    return Template(_EXPORT_HEAD).substitute(wiki=languages.load(code).wiki) + "".join(pages) + "</mediawiki>\n"


def main() -> None:
    """Rewrite all files."""
    characters = entries()
    write_text(world_rdf(), turtle(characters))
    for code in LANGUAGES:
        write_text(world_export(code), export(code, characters))


def _table(name: str) -> dict[str, Any]:
    return tomllib.loads((_SOURCES / f"{name}.toml").read_text("utf-8"))


def _entry(qid: str, row: Mapping[str, Any], others: Mapping[str, Mapping[str, Any]]) -> Entry:
    wikitext = (_SOURCES / "articles" / f"{qid}.wiki").read_text("utf-8").strip()
    texts = {"en": _told(row, "mul" if row.get("mul") else "en", wikitext)}
    texts |= {code: _told(other, code, other["article"]) for code, other in others.items()}
    return Entry(qid, row.get("class", "Q5"), row["sitelinks"], tuple(_fact(line) for line in row["claims"]), texts)


def _told(row: Mapping[str, Any], language: str, wikitext: str) -> Text:
    return Text(row["label"], language, row["description"], tuple(row["aliases"]), row.get("title", row["label"]), wikitext)


def _fact(line: str) -> Fact:
    body, _, rank = line.partition(" ! ")
    body, _, year = body.partition(" | ")
    property_id, _, value = body.partition(" ")
    return Fact(property_id, value.strip(), year.strip(), rank.strip() or "normal")


def _items(characters: Sequence[Entry]) -> dict[str, str]:
    """Label -> id: the characters' own, and for all other values a placeholder that no other entry moves."""
    values = {fact.value for entry in characters for fact in entry.facts if not fact.is_time}
    placeholders = {value: f"Q{_PLACEHOLDER_IDS + stable_hash(value) % _PLACEHOLDER_IDS}" for value in sorted(values)}
    if len(set(placeholders.values())) < len(values):
        raise BrokenPromise("two values of the embedded world have the same placeholder; change _PLACEHOLDER_IDS")
    return placeholders | {entry.texts["en"].label: entry.qid for entry in characters}


def _is_placeholder(qid: str) -> bool:
    return int(qid[1:]) >= _PLACEHOLDER_IDS


def _property(property_id: str) -> str:
    kind = "Time" if property_id in _TIMES else "WikibaseItem"
    return (
        f"wd:{property_id} a wikibase:Property ; "
        f"wikibase:propertyType wikibase:{kind} ; wikibase:directClaim wdt:{property_id} ; "
        f"wikibase:claim p:{property_id} ; wikibase:statementProperty ps:{property_id} ; "
        f"wikibase:statementValue psv:{property_id} ; wikibase:qualifier pq:{property_id} ; "
        f"wikibase:qualifierValue pqv:{property_id} ."
    )


def _character(entry: Entry, items: Mapping[str, str]) -> Iterator[str]:
    subject = f"wd:{entry.qid}"
    yield f"{subject} a wikibase:Item ; wdt:P31 wd:{entry.kind} ; wikibase:sitelinks {entry.sitelinks} ;"
    for code, text in entry.texts.items():
        if code != "en":
            yield f"{subject}"
        yield f"  rdfs:label {_text(text.label, text.language)} ; schema:description {_text(text.description, code)} ;"
        yield f"  skos:altLabel {', '.join(_text(alias, code) for alias in text.aliases)} ."
        wiki = f"https://{languages.load(code).wiki}.wikipedia.org/"
        yield f"<{wiki}wiki/{text.title.replace(' ', '_')}> schema:about {subject} ; schema:isPartOf <{wiki}> ;"
        yield f'  schema:inLanguage "{code}" ; schema:name {_text(text.title, code)} .'
    best = {fact.property_id for fact in entry.facts if fact.rank == "preferred"}
    for fact in entry.facts:
        wanted = "preferred" if fact.property_id in best else "normal"
        yield from _statement(entry.qid, fact, items, truthy=fact.rank == wanted)


def _statement(qid: str, fact: Fact, items: Mapping[str, str], *, truthy: bool) -> Iterator[str]:
    name = hashlib.sha1(f"{qid} {fact}".encode(), usedforsecurity=False).hexdigest()
    value = _moment(fact.value) if fact.is_time else f"wd:{items[fact.value]}"
    if truthy:
        yield f"wd:{qid} wdt:{fact.property_id} {value} ."
    yield f"wd:{qid} p:{fact.property_id} wds:{qid}-{name} ."
    yield f"wds:{qid}-{name} a wikibase:Statement ; wikibase:rank wikibase:{fact.rank.capitalize()}Rank ;"
    yield f"  ps:{fact.property_id} {value} ."
    if fact.is_time:
        yield f"wds:{qid}-{name} psv:{fact.property_id} wdv:{name} ."
        yield _value_node(name, fact.value)
    if fact.year:
        qualifier = _qualifier(fact.property_id)
        yield f"wds:{qid}-{name} pq:{qualifier} {_moment(fact.year)} ; pqv:{qualifier} wdv:q{name} ."
        yield _value_node(f"q{name}", fact.year)


def _qualifier(property_id: str) -> str:
    if property_id in _STARTS:
        return "P580"
    return "P577" if property_id in _PUBLISHED else "P585"


def _value_node(name: str, time: str) -> str:
    precision = 9 + time.lstrip("-").count("-")
    return (
        f"wdv:{name} a wikibase:TimeValue ; wikibase:timeValue {_moment(time)} ; "
        f'wikibase:timePrecision "{precision}"^^xsd:integer ; '
        f"wikibase:timeCalendarModel wd:Q1985727 ."
    )


def _moment(time: str) -> str:
    """A time as Wikidata exports it: missing parts become 01, and year -N becomes -(N-1)."""
    match = _TIME.fullmatch(time)
    if match is None:
        raise ValueError(f"{time!r} is not a time like 1867-11-07, 1867-11, 1867 or -0069")
    sign, year, month, day = match.groups()
    if sign:
        year = f"-{int(year) - 1:04d}" if int(year) > 1 else "0000"
    return f'"{year}-{month or "01"}-{day or "01"}T00:00:00Z"^^xsd:dateTime'


def _text(text: str, language: str = "en") -> str:
    escaped = text.replace("\\", "\\\\").replace('"', '\\"')
    return f'"{escaped}"@{language}'


def _page(number: int, title: str, text: str, namespace: int = 0) -> str:
    return (
        f"  <page>\n    <title>{escape(title)}</title>\n    <ns>{namespace}</ns>\n    <id>{number}</id>\n"
        + (f'    <redirect title="{escape(text[12:-2])}" />\n' if text.startswith("#REDIRECT") else "")
        + f"    <revision>\n      <id>{100_000 + number}</id>\n      <timestamp>{_STAMP}</timestamp>\n"
        f"      <contributor><username>Ditto</username><id>1</id></contributor>\n"
        f"      <model>wikitext</model>\n      <format>text/x-wiki</format>\n"
        f'      <text bytes="{len(text.encode())}" xml:space="preserve">{escape(text)}</text>\n'
        f"      <sha1>{_sha1(text)}</sha1>\n"
        f"    </revision>\n  </page>\n"
    )


def _sha1(text: str) -> str:
    """As MediaWiki writes it: in base 36, 31 digits."""
    number, digits = int(hashlib.sha1(text.encode(), usedforsecurity=False).hexdigest(), 16), ""
    while number:
        number, digit = divmod(number, 36)
        digits = "0123456789abcdefghijklmnopqrstuvwxyz"[digit] + digits
    return digits.zfill(31)


_EXPORT_HEAD = """\
<mediawiki xmlns="http://www.mediawiki.org/xml/export-0.11/" version="0.11" xml:lang="$wiki">
  <siteinfo>
    <sitename>Ditto embedded world</sitename>
    <dbname>${wiki}wiki</dbname>
    <base>https://$wiki.wikipedia.org/wiki/Main_Page</base>
    <generator>Ditto</generator>
    <case>first-letter</case>
    <namespaces>
      <namespace key="-1" case="first-letter">Special</namespace>
      <namespace key="0" case="first-letter" />
      <namespace key="1" case="first-letter">Talk</namespace>
      <namespace key="6" case="first-letter">File</namespace>
      <namespace key="10" case="first-letter">Template</namespace>
      <namespace key="14" case="first-letter">Category</namespace>
    </namespaces>
  </siteinfo>
"""

if __name__ == "__main__":
    main()
