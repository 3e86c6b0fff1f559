"""Wikidata: dates, ranks, labels and batches, without a server."""

import re
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import replace

import pytest

from ditto_core import languages
from ditto_core.errors import RowFailed, SourceUnavailable
from ditto_core.knowledge import wikidata
from ditto_core.knowledge.claims import DEPRECATED, ENTITY, PREFERRED, Statement, claims, date
from ditto_core.knowledge.ranking import RankedItem, rank
from ditto_core.knowledge.source import TooHeavy
from ditto_core.knowledge.sparql import Row, Term
from ditto_core.settings import KnowledgeSettings

ENGLISH = languages.load("en")
SETTINGS = KnowledgeSettings(sparql_endpoint="http://127.0.0.1:1/query", articles="dump", batch_size=4)
LABELS = {
    "P569": "date of birth", "P106": "occupation", "P166": "award received", "P2048": "height", "P1449": "nickname",
    "Q1": "poet", "Q2": "chemist", "Q3": "physicist", "Q11573": "metre",
}  # fmt: skip
JULIAN = f"{ENTITY}Q1985786"


def item(property_id: str, qid: str, **details: object) -> Statement:
    return replace(Statement("Q9", property_id, "WikibaseItem", Term(ENTITY + qid, "uri")), **details)


def said(*statements: Statement, max_values: int = 5) -> list[str]:
    return [claim.text() for claim in claims(statements, LABELS, ENGLISH, max_values)[0]]


@pytest.mark.parametrize(
    ("value", "precision", "calendar", "expected"),
    [
        pytest.param("1867-11-07T00:00:00Z", 11, "", "7 November 1867", id="day"),
        pytest.param("1867-11-01T00:00:00Z", 10, "", "November 1867", id="month"),
        pytest.param("1867-01-01T00:00:00Z", 9, "", "1867", id="year-invents-no-first-of-january"),
        pytest.param("1867-01-01T00:00:00Z", None, "", "1867", id="plain-first-of-january"),
        pytest.param("1867-11-07T00:00:00Z", None, "", "7 November 1867", id="plain-day"),
        pytest.param("1867-01-01T00:00:00Z", 8, "", "1860s", id="decade"),
        pytest.param("1801-01-01T00:00:00Z", 7, "", "century 19", id="century-begins"),
        pytest.param("1900-01-01T00:00:00Z", 7, "", "century 19", id="century-ends"),
        pytest.param("-0427-01-01T00:00:00Z", 9, "", "428 BC", id="before-common-era-is-one-off"),
        pytest.param("0000-01-01T00:00:00Z", 9, "", "1 BC", id="year-zero"),
        pytest.param("-0450-01-01T00:00:00Z", 7, "", "century 5 BC", id="century-before-common-era"),
        pytest.param("1643-01-04T00:00:00Z", 11, JULIAN, "25 December 1642", id="julian-day"),
        pytest.param("-0099-07-10T00:00:00Z", 11, JULIAN, "12 July 100 BC", id="julian-before-common-era"),
        pytest.param("1642-01-01T00:00:00Z", 9, JULIAN, "1642", id="julian-year-stays"),
        pytest.param("1867-00-00T00:00:00Z", 11, "", "1867", id="no-month"),
        pytest.param("1000-01-01T00:00:00Z", 6, "", "", id="millennium-is-too-vague"),
        pytest.param("http://www.wikidata.org/.well-known/genid/x", 11, "", "", id="unknown"),
    ],
)
def test_dates_say_no_more_than_their_precision(value: str, precision: int | None, calendar: str, expected: str) -> None:
    assert date(value, precision, ENGLISH, calendar) == expected


def test_preferred_statements_hide_normal_ones_and_deprecated_ones_never_show() -> None:
    assert said(item("P106", "Q1"), item("P106", "Q2", rank=PREFERRED)) == ["occupation: chemist"]
    assert said(item("P106", "Q1"), item("P106", "Q3", rank=DEPRECATED)) == ["occupation: poet"]


def test_claims_come_by_importance_then_year_then_label_and_are_capped() -> None:
    birth = Statement("Q9", "P569", "Time", Term("1867-11-07T00:00:00Z"), precision=11)
    awards = [
        item("P166", "Q1"),
        item("P166", "Q2", since=("1911-01-01T00:00:00Z", 9)),
        item("P166", "Q3", since=("1903-12-10T00:00:00Z", 11)),
        item("P166", "Q3"),
    ]
    text = [
        "date of birth: 7 November 1867",
        "award received: physicist (1903)",
        "award received: chemist (1911)",
    ]
    assert said(*awards, birth) == [*text, "award received: poet"]
    assert said(birth, *reversed(awards), max_values=2) == text


@pytest.mark.parametrize(
    ("statement", "expected"),
    [
        (
            Statement("Q9", "P2048", "Quantity", Term("+1.650"), unit=f"{ENTITY}Q11573"),
            ["height: 1.65 metre"],
        ),
        (Statement("Q9", "P2048", "Quantity", Term("+200"), unit=f"{ENTITY}Q199"), ["height: 200"]),
        (Statement("Q9", "P2048", "Quantity", Term("+3"), unit=f"{ENTITY}Q404"), []),
        (Statement("Q9", "P1449", "Monolingualtext", Term("Mania", "literal", "en")), ["nickname: Mania"]),
        (Statement("Q9", "P1449", "Monolingualtext", Term("Маня", "literal", "ru")), []),
        (item("P106", "Q404"), []),
        (item("P404", "Q1"), []),
        (Statement("Q9", "P106", "WikibaseItem", Term("b0", "bnode")), []),
        (Statement("Q9", "P31", "WikibaseItem", Term(f"{ENTITY}Q1", "uri")), []),
    ],
    ids=[
        "unit",
        "no-unit",
        "unit-unlabelled",
        "own-tongue",
        "other-tongue",
        "value",
        "property",
        "some-value",
        "class",
    ],
)
def test_values_without_usable_words_are_left_out(statement: Statement, expected: list[str]) -> None:
    assert said(statement) == expected


def test_what_has_no_words_is_counted_by_reason() -> None:
    _, unsaid = claims([item("P106", "Q404"), item("P404", "Q1"), item("P106", "Q1")], LABELS, ENGLISH, 5)
    assert unsaid == Counter(value_without_label=1, property_without_label=1)


def ranked(qid: str, title: str = "Ada") -> RankedItem:
    return RankedItem(qid, "Q5", title, 7)


def facts(**texts: Sequence[tuple[str, str]]) -> wikidata.Facts:
    return wikidata.Facts({("Q9", kind): found for kind, found in texts.items()}, {})


def test_a_label_for_all_languages_stands_in_and_is_counted() -> None:
    notes: Counter[str] = Counter()
    known = facts(label=[("mul", "Ada")], description=[("en", "poet")], altLabel=[("en", "Ada  B."), ("mul", "Ada")])
    character = wikidata.character(ranked("Q9"), known, {}, ENGLISH, SETTINGS, notes)
    assert (character.label, character.aliases, notes) == ("Ada", ("Ada B.",), Counter(label_from_mul=1))


@pytest.mark.parametrize(
    ("known", "title", "reason"),
    [
        (facts(description=[("en", "poet")]), "Ada", "no_label"),
        (facts(label=[("en", "Ada")]), "Ada", "no_description"),
        (facts(label=[("en", "Ada")], description=[("en", "poet")]), "", "no_article"),
    ],
)
def test_a_character_that_lacks_something_is_lost_by_name(known: wikidata.Facts, title: str, reason: str) -> None:
    with pytest.raises(RowFailed) as caught:
        wikidata.character(ranked("Q9", title), known, {}, ENGLISH, SETTINGS, Counter())
    assert caught.value.reason == reason


class World:
    """An endpoint with labels and descriptions only, that fails on queries that name one of the `heavy` items."""

    def __init__(self, *heavy: str, most: int = 100, down: bool = False) -> None:
        self.heavy, self.most, self.down = heavy, most, down

    def select(self, query: str, *, whole: bool = False) -> list[Row]:
        named = [word[3:] for word in query.split("VALUES ?item {")[-1].split("}")[0].split() if word[:4] == "wd:Q"]
        if self.down or len(named) > self.most or set(self.heavy) & set(named):
            raise SourceUnavailable("busy") if self.down else TooHeavy("timeout", "")
        texts = [("2000/01/rdf-schema#label", "Ada"), ("schema.org/description", "poet")]
        return [
            {
                "item": Term(ENTITY + qid, "uri"),
                "kind": Term(kind, "uri"),
                "text": Term(text, "literal", "en"),
            }
            for qid in named
            for kind, text in texts
            if "?text" in query
        ]

    def probe(self) -> None:
        if self.down:
            raise SourceUnavailable("busy")


def test_a_batch_that_is_too_heavy_is_halved_and_one_bad_item_is_lost_alone() -> None:
    items = [ranked(f"Q{number}") for number in range(1, 11)]
    characters, ledger = wikidata.describe(World("Q3", most=2), items, ENGLISH, SETTINGS)
    ledger.check()
    assert [character.qid for character in characters] == [item.qid for item in items if item.qid != "Q3"]
    assert ledger.failed == {"facts_unavailable": 1}


def test_an_endpoint_that_is_down_is_retried_instead_of_losing_everybody() -> None:
    with pytest.raises(SourceUnavailable):
        wikidata.describe(World(down=True), [ranked("Q1"), ranked("Q2")], ENGLISH, SETTINGS)


class Fame:
    """An endpoint that ranks Q1 to Q300, each with as many sitelinks as `fame` says, ten rows a query at most."""

    def __init__(self, fame: Callable[[int], int]) -> None:
        self.fame = fame
        self.asked = 0

    def probe(self) -> None:
        pass

    def select(self, query: str, *, whole: bool = False) -> list[Row]:
        self.asked += 1
        low, high = (int(number) for number in re.findall(r"links (?:>=|<) (\d+)", query))
        digits = re.search(r'STRENDS\(STR\(\?item\), "(\w+)"\)', query)
        found = [
            number
            for number in range(1, 301)
            if low <= self.fame(number) < high and f"Q{number}".endswith(digits[1] if digits else "")
        ]
        if len(found) > 10:
            raise TooHeavy("timeout", "")
        found.sort(key=lambda number: (-self.fame(number), f"Q{number}"))
        rows = [
            (f"{ENTITY}Q{number}", "A_b", str(self.fame(number))) for number in found[: int(query.split("LIMIT ")[1].split()[0])]
        ]
        return [{"item": Term(iri), "title": Term(title), "sitelinks": Term(links)} for iri, title, links in rows]


@pytest.mark.parametrize(
    "fame",
    [
        pytest.param(lambda number: number, id="all-different"),
        pytest.param(lambda number: 7, id="all-tied"),
        pytest.param(lambda number: 500 if number <= 150 else number % 3, id="ties-at-both-ends"),
    ],
)
@pytest.mark.parametrize("limit", [5, 120, 1000])
def test_a_ranking_that_is_too_heavy_is_split_until_it_is_complete(fame: Callable[[int], int], limit: int) -> None:
    everyone = sorted(range(1, 301), key=lambda number: (-fame(number), f"Q{number}"))
    found = rank(Fame(fame), "Q5", ENGLISH, limit)
    assert [item.qid for item in found] == [f"Q{number}" for number in everyone[:limit]]
    assert found[0] == RankedItem(f"Q{everyone[0]}", "Q5", "A b", fame(everyone[0]))
