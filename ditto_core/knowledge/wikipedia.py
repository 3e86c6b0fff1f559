"""Wikipedia: articles by title, from an XML export.

Input:   the titles that are wanted, and a MediaWiki export (.xml, .gz, .bz2; schema 0.10 or 0.11).
Output:  for every title its `Article` as prose, or the reason why there is none.
Source:  arXiv 2401.12474, section 3.2; MediaWiki's export format. `action_api` asks a live wiki.

Example:
    dict(articles_from_dump(Path("enwiki.xml.bz2"), ["Ada_Lovelace", "Nobody"], english))
    ->  {"Ada_Lovelace": Article(title="Ada Lovelace", ...), "Nobody": "article_missing"}

Reasons: "article_missing", "article_empty" (no prose in it), "redirect_to_missing", "article_unreadable" (not wikitext,
too large, or given up by `clean`).
"""

import bz2
import gzip
import re
import unicodedata
import urllib.parse
import xml.etree.ElementTree as ElementTree
import zlib
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

from ditto_core.errors import InvalidInput, RowFailed
from ditto_core.knowledge.wikitext import CANONICAL, prose, title_of
from ditto_core.languages import Language
from ditto_core.records import Article, Section

MISSING, EMPTY = "article_missing", "article_empty"
REDIRECT_TO_MISSING, UNREADABLE = "redirect_to_missing", "article_unreadable"

_MAX_CHARACTERS = 2 * 1024 * 1024  # MediaWiki's own limit of a page ($wgMaxArticleSize)
_MAX_HOPS = 4
_LICENCE = "CC BY-SA 4.0"
LICENCES = {"Ditto embedded world": "CC0 1.0"}
_REDIRECT = re.compile(r"\s*#\s*redirect\s*:?\s*\[\[([^\]|]+)", re.IGNORECASE)
_EXPECTED = (
    "Expected a complete MediaWiki XML export (.xml, .gz or .bz2), such as a pages-articles dump, in "
    "knowledge.article_dump; compare its size and checksum with the source's."
)
_OPENERS: Mapping[str, Callable[..., Any]] = {".gz": gzip.open, ".bz2": bz2.open}

Prose = tuple[tuple[Section, ...], tuple[str, ...]]
Clean = Callable[[str, Language, Mapping[str, int]], Prose]


@dataclass(frozen=True, slots=True)
class Site:
    """What an export says of its wiki: namespaces by lower-case name, and how to attribute its pages."""

    namespaces: Mapping[str, int]
    page_url: str
    licence: str


@dataclass(frozen=True, slots=True)
class Page:
    """One page as stored; `redirect` is the title that it points to, or ""."""

    title: str
    namespace: int
    redirect: str
    revision: str
    timestamp: str
    model: str
    text: str


def articles_from_dump(
    path: Path, titles: Iterable[str], language: Language, clean: Clean = prose
) -> Iterator[tuple[str, Article | str]]:
    """Look titles up in an XML export, in constant memory.

    One pass finds the pages; only if some are redirects, another finds where they lead.

    Args:
        path: Of the export.
        titles: As an endpoint or a person wrote them.
        language: Of the wiki.
        clean: Turns wikitext into prose and links. May raise `RowFailed` to give a page up, such as after a time limit.

    Yields:
        (title as it was asked for, article or reason), each title once, in the order of the export.

    Raises:
        InvalidInput: No such file, not a MediaWiki export, or cut off; names file and position.
    """
    asked: dict[str, list[str]] = {}
    for title in dict.fromkeys(titles):
        asked.setdefault(normal(title), []).append(title)
    for hop in range(_MAX_HOPS):
        moved: dict[str, list[str]] = {}
        waiting = dict(asked)
        for site, page in _pages(path, language):
            names = waiting.pop(page.title, None) if page.namespace == 0 else None
            if names is None:
                continue
            if page.redirect:
                moved.setdefault(normal(page.redirect), []).extend(names)
            else:
                article = to_article(page, site, language, clean)
                yield from ((name, article) for name in names)
            if not waiting:
                break
        reason = REDIRECT_TO_MISSING if hop else MISSING
        yield from ((name, reason) for names in waiting.values() for name in names)
        if not moved:
            return
        asked = moved
    yield from ((name, REDIRECT_TO_MISSING) for names in asked.values() for name in names)


def normal(title: str) -> str:
    """The form in which a wiki stores a title: composed letters, spaces, first letter large."""
    return title_of(unicodedata.normalize("NFC", title))


def default_site(language: Language) -> Site:
    """The language's Wikipedia, for exports that don't say where they come from."""
    return Site(CANONICAL, f"https://{language.wiki}.wikipedia.org/wiki/", _LICENCE)


def to_article(page: Page, site: Site, language: Language, clean: Clean) -> Article | str:
    """One page as an article, or the reason why it is none; sizes are limited here, times only by `clean`."""
    if page.model not in ("", "wikitext") or len(page.text) > _MAX_CHARACTERS:
        return UNREADABLE
    try:
        sections, links = clean(page.text, language, site.namespaces)
    except RowFailed as error:
        return error.reason
    if not sections:
        return EMPTY
    address = urllib.parse.quote(page.title.replace(" ", "_"), safe="/:(),!*'~")
    return Article(
        title=page.title,
        sections=sections,
        links=links,
        revision=page.revision,
        timestamp=page.timestamp,
        url=site.page_url + address,
        licence=site.licence,
    )


def _pages(path: Path, language: Language) -> Iterator[tuple[Site, Page]]:
    try:
        opened = _OPENERS.get(path.suffix, open)(path, "rb")
    except OSError as error:
        raise InvalidInput(f"{str(path)!r} cannot be opened: {error}. {_EXPECTED}") from error
    with opened as file:
        try:
            yield from _parsed(file, path, language)
        except ElementTree.ParseError as error:
            line, column = error.position
            raise InvalidInput(
                f"{str(path)!r} is damaged or cut off at line {line}, column {column}: {error.msg}. {_EXPECTED}"
            ) from error
        except (EOFError, OSError, zlib.error) as error:
            raise InvalidInput(
                f"{str(path)!r} cannot be unpacked past byte {file.tell()} of its content: {error}. {_EXPECTED}"
            ) from error


def _parsed(file: IO[bytes], path: Path, language: Language) -> Iterator[tuple[Site, Page]]:
    site = default_site(language)
    elements = ElementTree.iterparse(file, events=("start", "end"))
    _, root = next(elements)
    if _name(root) != "mediawiki":
        raise InvalidInput(f"{str(path)!r} begins with <{_name(root)}> instead of <mediawiki>. {_EXPECTED}")
    for event, element in elements:
        if event == "end" and _name(element) == "siteinfo":
            site = _site(element, site)
        elif event == "end" and _name(element) == "page":
            page = _page(element)
            root.clear()  # or the tree of all pages so far would stay in memory
            if page.title:
                yield site, page


def _name(element: ElementTree.Element) -> str:
    return element.tag.rpartition("}")[2]


def _children(element: ElementTree.Element) -> dict[str, ElementTree.Element]:
    """Children by name; of several with one name, such as revisions, the last."""
    return {_name(child): child for child in element}


def _text(parts: Mapping[str, ElementTree.Element], name: str) -> str:
    return (parts[name].text or "").strip() if name in parts else ""


def _site(element: ElementTree.Element, default: Site) -> Site:
    parts = _children(element)
    names = {(child.text or "").strip().lower(): int(child.get("key", "0")) for child in parts.get("namespaces", ())}
    base = _text(parts, "base")
    return Site(
        namespaces={**CANONICAL, **{name: key for name, key in names.items() if name}},
        page_url=f"{base.rpartition('/')[0]}/" if "/" in base else default.page_url,
        licence=LICENCES.get(_text(parts, "sitename"), default.licence),
    )


def _page(element: ElementTree.Element) -> Page:
    parts = _children(element)
    revision = _children(parts["revision"]) if "revision" in parts else {}
    text = (revision["text"].text or "") if "text" in revision else ""
    redirect = parts["redirect"].get("title", "") if "redirect" in parts else ""
    if not redirect and (match := _REDIRECT.match(text)):
        redirect = match[1]
    namespace = _text(parts, "ns")
    return Page(
        title=normal(_text(parts, "title")),
        namespace=int(namespace) if namespace.lstrip("-").isdigit() else 0,
        redirect=redirect,
        revision=_text(revision, "id"),
        timestamp=_text(revision, "timestamp"),
        model=_text(revision, "model"),
        text=text,
    )
