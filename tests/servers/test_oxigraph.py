"""Collection against a real SPARQL server over a small world in Wikidata's shape."""

import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from ditto_core import languages
from ditto_core.errors import InvalidInput
from ditto_core.knowledge.collection import collect_characters
from ditto_core.knowledge.oxigraph import serve
from ditto_core.knowledge.source import Source
from ditto_core.knowledge.sparql import SparqlClient
from ditto_core.records import Character, Claim
from ditto_core.settings import KnowledgeSettings

ENGLISH = languages.load("en")
PREFIXES = """
@prefix rdfs: <http://www.w3.org/2000/01/rdf-schema#> . @prefix skos: <http://www.w3.org/2004/02/skos/core#> .
@prefix schema: <http://schema.org/> . @prefix wikibase: <http://wikiba.se/ontology#> .
@prefix xsd: <http://www.w3.org/2001/XMLSchema#> . @prefix wd: <http://www.wikidata.org/entity/> .
@prefix wds: <http://www.wikidata.org/entity/statement/> . @prefix wdv: <http://www.wikidata.org/value/> .
@prefix wdt: <http://www.wikidata.org/prop/direct/> . @prefix p: <http://www.wikidata.org/prop/> .
@prefix ps: <http://www.wikidata.org/prop/statement/> . @prefix psv: <http://www.wikidata.org/prop/statement/value/> .
@prefix pq: <http://www.wikidata.org/prop/qualifier/> . @prefix pqv: <http://www.wikidata.org/prop/qualifier/value/> .
"""
PROPERTIES = {
    "P569": ("date of birth", "Time"), "P106": ("occupation", "WikibaseItem"), "P26": ("spouse", "WikibaseItem"),
    "P166": ("award received", "WikibaseItem"), "P2048": ("height", "Quantity"), "P40": ("child", "WikibaseItem"),
    "P214": ("VIAF ID", "ExternalId"), "P18": ("image", "CommonsMedia"), "P856": ("official website", "Url"),
    "P1449": ("nickname", "Monolingualtext"), "P31": ("instance of", "WikibaseItem"),
}  # fmt: skip
ITEMS = """
wd:Q1 rdfs:label "chemist"@en . wd:Q2 rdfs:label "Nobel Prize"@en . wd:Q3 rdfs:label "Pierre"@mul .
wd:Q4 rdfs:label "centimetre"@en . wd:Q5 rdfs:label "human"@en . wd:Q6 rdfs:label "nur deutsch"@de .
wd:Q7 rdfs:label "spy"@en . wd:Q8 rdfs:label "Irène"@en .
"""
PERSON = """
wd:Q{n} wdt:P31 wd:{kind} ; rdfs:label "Person {n}"@{tag} ; schema:description "person number {n}"@en .
{links} wikibase:sitelinks {sitelinks} .
<https://en.wikipedia.org/wiki/Person_{n}> schema:about wd:Q{n} ; schema:isPartOf <https://en.wikipedia.org/> ;
    schema:name "Person {n}"@en .
"""
CLAIMS = """
wd:Q100 skos:altLabel "Madame"@en, "P100"@mul, "Frau"@de .
wd:Q100 p:P569 wds:s1 . wds:s1 wikibase:rank wikibase:NormalRank ; ps:P569 "1867-11-07T00:00:00Z"^^xsd:dateTime ;
    psv:P569 wdv:v1 . wdv:v1 wikibase:timePrecision 11 .
wd:Q100 p:P106 wds:s2, wds:s3 . wds:s2 ps:P106 wd:Q1 ; wikibase:rank wikibase:NormalRank .
wds:s3 ps:P106 wd:Q7 ; wikibase:rank wikibase:DeprecatedRank .
wd:Q100 p:P26 wds:s4, wds:s9 . wds:s4 ps:P26 wd:Q3 ; pq:P580 "1895-01-01T00:00:00Z"^^xsd:dateTime ; pqv:P580 wdv:v4 .
wdv:v4 wikibase:timePrecision 9 . wds:s9 ps:P26 _:unknown .
wd:Q100 p:P166 wds:s5, wds:s6 . wds:s5 ps:P166 wd:Q2 ; pq:P585 "1911-12-10T00:00:00Z"^^xsd:dateTime .
wds:s6 ps:P166 wd:Q6 .
wd:Q100 p:P2048 wds:s7 . wds:s7 ps:P2048 "+165"^^xsd:decimal ; psv:P2048 wdv:v7 .
wdv:v7 wikibase:quantityUnit wd:Q4 .
wd:Q100 wdt:P40 wd:Q8 ; wdt:P106 wd:Q7 ; wdt:P214 "1" ; wdt:P18 <http://commons/a.jpg> ; wdt:P856 <http://a.org/> .
wd:Q100 wdt:P1449 "Mania"@en , "Маня"@ru .
"""


def world() -> str:
    properties = "".join(
        f'wd:{name} rdfs:label "{label}"@en ; wikibase:propertyType wikibase:{kind} ; '
        f"wikibase:directClaim wdt:{name} ; wikibase:claim p:{name} ; wikibase:statementProperty ps:{name} .\n"
        for name, (label, kind) in PROPERTIES.items()
    )
    rows = [(100, "Q5", "en", 90), (101, "Q5", "mul", 120), (102, "Q95074", "en", 90), (103, "Q5", "en", 90)]
    people = "".join(
        PERSON.format(n=n, kind=kind, tag=tag, sitelinks=count, links=links)
        for n, kind, tag, count in rows
        for links in [f"wd:Q{n}" if n % 2 else f"<http://data/{n}> schema:about wd:Q{n} ;"]  # both places of the count
    )
    tree = "wd:Q95074 wdt:P279 wd:Q15632617 .\n<https://de.wikipedia.org/wiki/P> schema:about wd:Q100 ; "
    tree += 'schema:isPartOf <https://de.wikipedia.org/> ; schema:name "P"@de .\n'
    odd = "wd:Q104 wdt:P31 wd:Q5 ; wikibase:sitelinks 500 .\nwd:Q102 wdt:P31 wd:Q5 .\n"  # no article; of two classes
    bare = PERSON.format(n=105, kind="Q5", tag="fr", sitelinks=5, links="wd:Q105")
    return PREFIXES + properties + ITEMS + people + tree + odd + bare + CLAIMS


@pytest.fixture(scope="module")
def endpoint(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    folder = tmp_path_factory.mktemp("oxigraph")
    (folder / "world.ttl").write_text(world(), "utf-8")
    with serve(folder / "world.ttl", folder / "stores") as address:
        yield address


def collected(endpoint: str, **changes: object) -> tuple[list[Character], dict[str, object]]:
    chosen = {"classes": ("Q5", "Q95074"), "batch_size": 2, **changes}
    settings = KnowledgeSettings(sparql_endpoint=endpoint, articles="dump", **chosen)
    client = SparqlClient(Source(endpoint, "knowledge.sparql_endpoint", "", settings.timeout_s, time.sleep))
    characters, ledger = collect_characters(client, settings, ENGLISH)
    ledger.check()
    return characters, ledger.summary()


def test_characters_come_by_fame_with_one_entry_a_ranked_item(endpoint: str) -> None:
    characters, summary = collected(endpoint)
    assert [character.qid for character in characters] == ["Q101", "Q100", "Q102", "Q103"]
    assert [character.kind for character in characters] == ["Q5"] * 4
    assert summary == {
        "inputs": 5,
        "ok": 4,
        "failed": {"no_label": 1},
        "filtered": {},
        "notes": {
            "label_from_mul": 1,
            "unknown_value": 1,
            "value_in_other_language": 1,
            "value_label_from_mul": 1,
            "value_without_label": 1,
        },
    }


def test_claims_carry_ranks_dates_units_and_qualifiers(endpoint: str) -> None:
    characters, _ = collected(endpoint)
    person = characters[1]
    assert person.aliases == ("Madame", "P100")
    assert person.title == "Person 100"
    assert person.claims == (
        Claim("P569", "date of birth", "7 November 1867"),
        Claim("P106", "occupation", "chemist", "Q1"),
        Claim("P166", "award received", "Nobel Prize", "Q2", "1911"),
        Claim("P26", "spouse", "Pierre", "Q3", "1895"),
        Claim("P40", "child", "Irène", "Q8"),
        Claim("P1449", "nickname", "Mania"),
        Claim("P2048", "height", "165 centimetre"),
    )


def test_the_batch_size_changes_nothing(endpoint: str) -> None:
    assert collected(endpoint, batch_size=1) == collected(endpoint, batch_size=50)


def test_instances_of_subclasses_count_where_they_are_asked_for(endpoint: str) -> None:
    characters, _ = collected(endpoint, classes=("Q15632617",), subclasses=True)
    assert [(character.qid, character.kind) for character in characters] == [("Q102", "Q15632617")]
    with_equals, without = collected(endpoint, subclasses=True), collected(endpoint)
    assert {character.qid for character in with_equals[0]} == {character.qid for character in without[0]}


def test_the_paper_s_count_ranks_by_articles(endpoint: str) -> None:
    characters, _ = collected(endpoint, ranking="counted")
    assert [(character.qid, character.sitelinks) for character in characters] == [
        ("Q100", 2), ("Q101", 1), ("Q102", 1), ("Q103", 1),
    ]  # fmt: skip


def test_the_ranking_stops_at_the_limit(endpoint: str) -> None:
    characters, _ = collected(endpoint, max_characters=2, classes=("Q5",))
    assert [character.qid for character in characters] == ["Q101", "Q100"]


def test_a_store_is_loaded_once_and_the_server_ends_with_the_block(tmp_path: Path) -> None:
    rdf = tmp_path / "world.ttl"
    rdf.write_text(world(), "utf-8")
    with serve(rdf, tmp_path / "stores") as first, serve(rdf, tmp_path / "stores") as second:
        assert first != second
    assert len(list((tmp_path / "stores").iterdir())) == 1
    alive = subprocess.run(["ps", "-eo", "args"], capture_output=True, text=True, check=True).stdout
    assert str(tmp_path) not in alive
    with pytest.raises(InvalidInput, match="refuses connections"):
        collected(first)


def test_an_address_that_is_no_sparql_endpoint_is_named(endpoint: str) -> None:
    with pytest.raises(InvalidInput, match=r"answered 404|refused"):
        collected(endpoint.replace("/query", "/nothing"))


@pytest.mark.parametrize("content", ["<a> <b> .", None], ids=["not-rdf", "missing"])
def test_a_file_that_cannot_be_loaded_is_named(tmp_path: Path, content: str | None) -> None:
    rdf = tmp_path / "broken.ttl"
    if content is not None:
        rdf.write_text(content)
    with pytest.raises(InvalidInput, match=r"broken\.ttl"), serve(rdf, tmp_path / "stores"):
        pass
    assert not list(tmp_path.glob("stores/*"))
