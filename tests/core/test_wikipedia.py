"""Wikipedia: every title gets its article or a reason, from exports of any packing."""

import bz2
import gzip
import re
from collections.abc import Callable, Container, Iterable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from ditto_core import languages
from ditto_core.errors import InvalidInput
from ditto_core.knowledge.cleaning import articles
from ditto_core.knowledge.dump import pages_from_dump
from ditto_core.knowledge.wikipedia import Stored, default_site, to_article
from ditto_core.languages import Language
from ditto_core.records import Article, Section

ENGLISH = languages.load("en")


def articles_from_dump(path: Path, titles: Iterable[str], language: Language) -> Iterator[tuple[str, Article | str]]:
    for title, page in pages_from_dump(path, titles, language):
        yield title, page if isinstance(page, str) else to_article(page, language)


SITE = (
    '<siteinfo><sitename>%s</sitename><base>https://en.wikipedia.org/wiki/Main_Page</base><namespaces>'
    '<namespace key="0" case="first-letter" /><namespace key="6">Bild</namespace></namespaces></siteinfo>'
)  # fmt: skip


def page(title: str, text: str, redirect: str = "", ns: int = 0, model: str = "wikitext") -> str:
    pointer = f'<redirect title="{redirect}" />' if redirect else ""
    return (
        f"<page><title>{title}</title><ns>{ns}</ns><id>1</id>{pointer}<revision><id>42</id>"
        f"<timestamp>2026-01-02T03:04:05Z</timestamp><model>{model}</model><text>{text}</text></revision></page>"
    )


PAGES = [
    page("Ada L", "#REDIRECT [[Ada Lovelace#Life]]", "Ada Lovelace#Life"),
    page("Ada Lovelace", "[[Bild:a.jpg|mini|x]]'''Ada''' met [[Lord Byron]]."),
    page("Old Ada", "#redirect [[Ada L]]"),
    page("Ring", "#REDIRECT [[Gnir]]", "Gnir"),
    page("Gnir", "#REDIRECT [[Ring]]", "Ring"),
    page("Lost", "#REDIRECT [[Nowhere]]", "Nowhere"),
    page("Hollow", "{{Infobox|a=b}}"),
    page("Data", "{}", model="json"),
    page("Huge", "x" * (2 * 1024 * 1024 + 1)),
    page("Talk", "No.", ns=1),
    page("É A/B?", "{{PAGENAME}} is a title."),
]


def export(pages: list[str], sitename: str = "Wikipedia") -> bytes:
    head = '<mediawiki xmlns="http://www.mediawiki.org/xml/export-0.11/" version="0.11" xml:lang="en">'
    return (head + SITE % sitename + "".join(pages) + "</mediawiki>").encode()


@pytest.fixture
def dump(tmp_path: Path) -> Path:
    path = tmp_path / "wiki.xml"
    path.write_bytes(export(PAGES))
    return path


def test_an_article_keeps_what_attribution_needs(dump: Path) -> None:
    found = dict(articles_from_dump(dump, ["Ada Lovelace"], ENGLISH))
    assert found == {
        "Ada Lovelace": Article(
            title="Ada Lovelace",
            sections=(Section("", "Ada met Lord Byron."),),
            links=("Lord Byron",),
            revision="42",
            timestamp="2026-01-02T03:04:05Z",
            url="https://en.wikipedia.org/wiki/Ada_Lovelace",
            licence="CC BY-SA 4.0",
        )
    }


@pytest.mark.parametrize("asked", ["ada_Lovelace", "Ada L", "Old Ada", "Ada  Lovelace"])
def test_titles_are_found_under_other_spellings_and_through_redirects(dump: Path, asked: str) -> None:
    article = dict(articles_from_dump(dump, [asked, "Ada Lovelace"], ENGLISH))[asked]
    assert isinstance(article, Article)
    assert article.title == "Ada Lovelace"


@pytest.mark.parametrize(
    ("asked", "reason"),
    [
        ("Nobody", "article_missing"),
        ("Talk", "article_missing"),
        ("", "article_missing"),
        ("Hollow", "article_empty"),
        ("Lost", "redirect_to_missing"),
        ("Ring", "redirect_to_missing"),
        ("Data", "article_unreadable"),
        ("Huge", "article_too_large"),
    ],
)
def test_a_title_without_an_article_gets_a_reason(dump: Path, asked: str, reason: str) -> None:
    assert dict(articles_from_dump(dump, [asked], ENGLISH)) == {asked: reason}


def test_every_title_is_answered_once_in_one_go(dump: Path) -> None:
    asked = [
        "Ada L",
        "Ada Lovelace",
        "ada Lovelace",
        "Old Ada",
        "Ring",
        "Lost",
        "Hollow",
        "Nobody",
        "Huge",
        "Huge",
    ]
    answers = [title for title, _ in articles_from_dump(dump, asked, ENGLISH)]
    assert sorted(answers) == sorted(set(asked))


def test_addresses_are_quoted_as_the_wiki_does(dump: Path) -> None:
    article = dict(articles_from_dump(dump, ["É A/B?"], ENGLISH))["É A/B?"]
    assert isinstance(article, Article)
    assert article.url == "https://en.wikipedia.org/wiki/%C3%89_A/B%3F"
    assert article.sections[0].text == "É A/B? is a title."


def test_pages_become_articles_in_worker_processes_and_a_slow_one_is_given_up_alone(tmp_path: Path) -> None:
    slow = page("Slow", "[[File:a|thumb|[[b]] " * 2000)
    pages = [page(f"Page {number}", f"Page {number}.") for number in range(40)]
    path = tmp_path / "wiki.xml"
    path.write_bytes(export([*pages[:20], slow, *pages[20:]]))
    asked = [f"Page {number}" for number in range(40)]
    found = list(articles(pages_from_dump(path, [*asked, "Slow", "Nobody"], ENGLISH), "en", workers=2, limit_s=1.0))
    assert [title for title, _ in found] == [*asked[:20], "Slow", *asked[20:], "Nobody"]
    reasons = {title: article for title, article in found if isinstance(article, str)}
    assert reasons == {"Slow": "article_too_slow", "Nobody": "article_missing"}


def test_a_page_on_which_the_cleaner_breaks_is_given_up_alone() -> None:
    whole = Stored("Ada", 0, "", "1", "2026-11-01T00:00:00Z", "wikitext", "Ada was a countess.", default_site(ENGLISH))
    broken = replace(whole, title="Broken", site=None)  # type: ignore[arg-type]
    found = dict(articles([("Broken", broken), ("Ada", whole)], "en", workers=1, limit_s=10.0))
    assert found["Broken"] == "article_unreadable"
    assert isinstance(found["Ada"], Article)


def test_the_embedded_world_is_free_of_conditions(tmp_path: Path) -> None:
    path = tmp_path / "world.xml"
    path.write_bytes(export(PAGES, "Ditto embedded world"))
    article = dict(articles_from_dump(path, ["Ada Lovelace"], ENGLISH))["Ada Lovelace"]
    assert isinstance(article, Article)
    assert article.licence == "CC0 1.0"


def multistream(content: bytes) -> bytes:
    return bz2.compress(content[:500]) + bz2.compress(content[500:])


@pytest.mark.parametrize(
    ("name", "pack"),
    [("a.xml.gz", gzip.compress), ("a.xml.bz2", bz2.compress), ("b.xml.bz2", multistream)],
    ids=["gz", "bz2", "multistream"],
)
def test_packed_exports_are_read(tmp_path: Path, name: str, pack: Callable[[bytes], bytes]) -> None:
    path = tmp_path / name
    path.write_bytes(pack(export(PAGES)))
    assert isinstance(dict(articles_from_dump(path, ["Ada L"], ENGLISH))["Ada L"], Article)


def indexed(folder: Path, pages: list[str], damaged: Container[int] = ()) -> Path:
    """A multistream export of two pages a stream with its index, as Wikimedia ships it; some streams without content."""
    head, tail = export([]).split(b"</siteinfo>")
    packed, lines = bz2.compress(head + b"</siteinfo>\n"), []
    for number in range(0, len(pages), 2):
        titles = [re.search("<title>(.*?)</title>", text) for text in pages[number : number + 2]]
        lines += [f"{len(packed)}:1:{title[1]}" for title in titles if title]
        content = "".join(pages[number : number + 2]).encode() + (tail if number + 2 >= len(pages) else b"")
        stream = bz2.compress(content)
        packed += bytes(len(stream)) if number in damaged else stream
    (folder / "wiki-multistream-index.txt.bz2").write_bytes(bz2.compress("\n".join(lines).encode()))
    path = folder / "wiki-multistream.xml.bz2"
    path.write_bytes(packed)
    return path


def test_of_a_multistream_export_with_its_index_only_the_wanted_streams_are_read(tmp_path: Path) -> None:
    pages = [*PAGES, page("Q&amp;A", "Q &amp;amp; A is asked.")]
    plain = tmp_path / "wiki.xml"
    plain.write_bytes(export(pages))
    asked = ["ada_Lovelace", "Old Ada", "Ring", "Lost", "Nobody", "Q&A", "É A/B?", "Talk"]
    expected = dict(articles_from_dump(plain, asked, ENGLISH))
    assert dict(articles_from_dump(indexed(tmp_path, pages, damaged=[6]), asked, ENGLISH)) == expected
    assert isinstance(expected["Q&A"], Article)
    with pytest.raises(InvalidInput, match=r"no whole bz2 stream at byte \d+"):
        list(articles_from_dump(indexed(tmp_path, pages, damaged=[6]), ["Hollow"], ENGLISH))


def test_an_index_that_is_none_is_named(tmp_path: Path) -> None:
    path = indexed(tmp_path, PAGES)
    (tmp_path / "wiki-multistream-index.txt.bz2").write_bytes(bz2.compress(b"<html>"))
    with pytest.raises(InvalidInput, match="no index of a multistream dump"):
        list(articles_from_dump(path, ["Ada L"], ENGLISH))


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("a.xml", export(PAGES)[:900], r"a\.xml.*cut off at line 1, column"),
        ("a.xml.gz", gzip.compress(export(PAGES))[:-20], r"a\.xml\.gz.*past byte \d+"),
        ("a.xml.bz2", bz2.compress(export(PAGES))[:-20], r"a\.xml\.bz2.*past byte \d+"),
        ("a.xml.gz", export(PAGES), r"a\.xml\.gz.*cannot be unpacked"),
        ("a.xml", b"", r"line 1, column 0"),
        ("a.xml", b"plain words", r"line 1, column 0"),
        ("a.xml", b"<html><body>404</body></html>", r"begins with <html>"),
    ],
    ids=["cut-xml", "cut-gz", "cut-bz2", "not-gz", "empty", "not-xml", "not-mediawiki"],
)
def test_a_damaged_export_is_named_with_its_place(tmp_path: Path, name: str, content: bytes, message: str) -> None:
    path = tmp_path / name
    path.write_bytes(content)
    with pytest.raises(InvalidInput, match=message):
        list(articles_from_dump(path, ["Nobody"], ENGLISH))


def test_an_export_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(InvalidInput, match=r"none\.xml"):
        list(articles_from_dump(tmp_path / "none.xml", ["Ada"], ENGLISH))
