"""Articles from a real MediaWiki, on fair days and on others: the same records as from its own export."""

import gzip
import random
from collections.abc import Iterator
from pathlib import Path

import pytest
from fixtures.debian import MediaWiki
from fixtures.stub_wiki import StubWiki
from fixtures.weather import FAULTS, Proxy

from ditto_core import languages
from ditto_core.embedded import world_export
from ditto_core.errors import InvalidInput
from ditto_core.knowledge.action_api import pages_from_api
from ditto_core.knowledge.dump import pages_from_dump
from ditto_core.knowledge.snapshot import Snapshot
from ditto_core.knowledge.source import Source
from ditto_core.knowledge.wikipedia import Stored

GERMAN_WIKI = languages.load("en")  # the wiki's own words come from its siteinfo, the language only dates the prose
TITLES = [f"Person {number}" for number in range(60)]
ODD = {
    "person_3": "Person 3", "  Person   4 ": "Person 4", "Weiter": "Person 5", "Im Kreis": "redirect_to_missing",
    "Ins Leere": "redirect_to_missing", "Niemand": "article_missing", "A|B": "article_missing", "": "article_missing",
    "A<b>": "article_missing", "Datei:x.jpg": "article_missing", "x" * 300: "article_missing", "É/Ü? & Co.": "É/Ü? & Co.",
}  # fmt: skip


def page(title: str, text: str) -> str:
    return (
        f"<page><title>{title}</title><ns>0</ns><revision><timestamp>2026-01-02T03:04:05Z</timestamp>"
        f"<contributor><username>Someone</username></contributor><model>wikitext</model><format>text/x-wiki</format>"
        f'<text xml:space="preserve">{text}</text></revision></page>'
    )


def export() -> bytes:
    pages = [page(title, f"'''{title}''' lebt.[[Datei:{title}.jpg|mini|Bild]] " + "Satz. " * 100) for title in TITLES]
    pages += [page("Weiter", "#WEITERLEITUNG [[Person 5]]"), page("Ins Leere", "#REDIRECT [[Nirgends]]")]
    pages += [page("Im Kreis", "#REDIRECT [[Im Kreis]]"), page("É/Ü? &amp; Co.", "Eine Firma.")]
    pages += [page("Riese", "lang " * 30_000)]
    head = '<mediawiki xmlns="http://www.mediawiki.org/xml/export-0.11/" version="0.11" xml:lang="de">'
    return (head + "".join(pages) + "</mediawiki>").encode()


@pytest.fixture(scope="module")
def wiki(tmp_path_factory: pytest.TempPathFactory) -> MediaWiki:
    folder = tmp_path_factory.mktemp("wiki")
    path = folder / "export.xml.gz"
    path.write_bytes(gzip.compress(export()))
    return MediaWiki(folder / "mediawiki", path, "de")


@pytest.fixture(scope="module")
def address(wiki: MediaWiki) -> Iterator[str]:
    with wiki.serving() as address:
        yield address


@pytest.fixture
def proxy(address: str) -> Iterator[Proxy]:
    proxy = Proxy(address)
    yield proxy
    proxy.close()


def asked(address: str, folder: Path, titles: list[str], name: str = "day") -> tuple[dict[str, Stored | str], Source]:
    source = Source(address, "knowledge.article_api", "ops@example.org", 5.0, lambda seconds: None, Snapshot(folder / name))
    return dict(pages_from_api(titles, GERMAN_WIKI, source, Snapshot(folder / "revisions"))), source


def test_every_title_is_a_page_or_has_its_reason(address: str, tmp_path: Path) -> None:
    found, _ = asked(address, tmp_path, [*TITLES, *ODD])
    assert {title: found[title] if isinstance(found[title], str) else found[title].title for title in ODD} == ODD
    person = found["Person 7"]
    assert isinstance(person, Stored)
    assert person.text.startswith("'''Person 7''' lebt.")
    assert (person.timestamp, person.site.namespaces["datei"]) == ("2026-01-02T03:04:05Z", 6)


def test_the_wiki_and_its_export_give_the_same_pages(address: str, tmp_path: Path) -> None:
    path = tmp_path / "export.xml"
    path.write_bytes(export())
    live, _ = asked(address, tmp_path, TITLES)
    dumped = dict(pages_from_dump(path, TITLES, GERMAN_WIKI))

    def told(page: Stored | str) -> object:
        return page if isinstance(page, str) else (page.title, page.text.strip(), page.timestamp, page.model)

    assert {title: told(page) for title, page in live.items()} == {title: told(page) for title, page in dumped.items()}


def test_a_wiki_with_small_answers_is_asked_on_and_only_a_page_that_fits_into_none_is_lost(
    wiki: MediaWiki, address: str, tmp_path: Path
) -> None:
    titles = [*TITLES[:20], "Riese", *TITLES[20:], *ODD]
    fair, _ = asked(address, tmp_path / "fair", titles)
    wiki.set("size", "$wgAPIMaxResultSize = 9000;")
    try:
        found, _ = asked(address, tmp_path / "small", titles)
    finally:
        wiki.set("size", "")
    assert found == {**fair, "Riese": "article_too_large"}


@pytest.mark.parametrize("seed", range(2))
def test_weather_changes_nothing(proxy: Proxy, address: str, tmp_path: Path, seed: int) -> None:
    titles = [*TITLES, *ODD]
    fair, _ = asked(address, tmp_path / "fair", titles)
    weather = random.Random(seed)
    faults = [*(fault for fault in FAULTS if fault != "fewer-rows"), "maxlag"]
    proxy.plan = lambda number, body: weather.choice(faults) if number % 2 == 0 else ""
    found, source = asked(proxy.address, tmp_path / "foul", titles)
    assert found == fair
    assert source.faults.total() >= 2


def test_a_later_run_asks_for_revisions_first_and_then_for_what_was_edited(wiki: MediaWiki, proxy: Proxy, tmp_path: Path) -> None:
    before, _ = asked(proxy.address, tmp_path, TITLES)
    again, same = asked(proxy.address, tmp_path, TITLES)
    assert (again, same.asked) == (before, 0)
    wiki.edit("Person 9", "Neu.")
    proxy.asked.clear()
    after, _ = asked(proxy.address, tmp_path, TITLES, name="next-day")
    assert [title for title in TITLES if after[title] != before[title]] == ["Person 9"]
    texts = [body for body in proxy.asked if "content" in body]
    assert len(texts) == 1
    assert texts[0].count("%7C") < 5  # one revision, not fifty


def test_an_address_that_speaks_json_but_of_no_wiki_is_named(tmp_path: Path) -> None:
    stub = StubWiki(world_export())
    stub.query = lambda form: {"batchcomplete": True}
    with pytest.raises(InvalidInput, match="says nothing of a wiki"):
        asked(stub.address, tmp_path, TITLES)
    stub.close()
