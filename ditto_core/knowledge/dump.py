r"""Dump: articles by title from an XML export.

Input:   the titles that are wanted, and a MediaWiki export (.xml, .gz, .bz2; schema 0.10 or 0.11).
Output:  for every title its `Stored` page, or the reason why there is none.
Source:  MediaWiki's export format; Wikimedia's multistream dumps: bz2 streams of 100 pages and an index of their places.

Example:
    dict(pages_from_dump(Path("enwiki.xml.bz2"), ["Ada_Lovelace", "Nobody"], english))
    ->  {"Ada_Lovelace": Stored("Ada Lovelace", ...), "Nobody": "article_missing"}

An export is read once, and again only where pages are redirects. Of a multistream export whose index lies beside it
(X-multistream.xml.bz2, X-multistream-index.txt.bz2) only the streams that hold wanted pages are read.
"""

import bz2
import gzip
import html
import io
import re
import xml.etree.ElementTree as ElementTree
import zlib
from collections.abc import Callable, Container, Iterable, Iterator, Mapping
from pathlib import Path
from typing import IO, Any

from ditto_core.errors import InvalidInput
from ditto_core.knowledge.wikipedia import MISSING, REDIRECT_TO_MISSING, Site, Stored, default_site, licence_of, normal
from ditto_core.knowledge.wikis import CANONICAL
from ditto_core.languages import Language

_MAX_HOPS = 4
_CHUNK = 1 << 16
_REDIRECT_WORDS = (
    "redirect|weiterleitung|redirection|redirección|redirecionamento|rinvia|doorverwijzing|перенаправление|"
    "перенаправлення|przekieruj|yönlendir|تحويل|重定向|転送|リダイレクト|넘겨주기"
)
_REDIRECT = re.compile(rf"\s*[#＃]\s*(?:{_REDIRECT_WORDS})\s*[:：]?\s*\[\[([^\]|]+)", re.IGNORECASE)
_EXPECTED = (
    "Expected a complete MediaWiki XML export (.xml, .gz or .bz2), such as a pages-articles dump, in "
    "knowledge.article_dump; compare its size and checksum with the source's."
)
_OPENERS: Mapping[str, Callable[..., Any]] = {".gz": gzip.open, ".bz2": bz2.open}
_ROOT, _ROOT_END = b"<mediawiki>", b"</mediawiki>"


def pages_from_dump(path: Path, titles: Iterable[str], language: Language) -> Iterator[tuple[str, Stored | str]]:
    """Look titles up in an XML export, in constant memory.

    Args:
        path: Of the export.
        titles: As an endpoint or a person wrote them.
        language: Of the wiki.

    Yields:
        (title as it was asked for, page or reason), each title once, in the order of the export.

    Raises:
        InvalidInput: No such file, not a MediaWiki export, or cut off; names file and position.
    """
    asked: dict[str, list[str]] = {}
    for title in dict.fromkeys(titles):
        asked.setdefault(normal(title), []).append(title)
    for hop in range(_MAX_HOPS):
        moved: dict[str, list[str]] = {}
        waiting = dict(asked)
        for page in _pages(path, language, asked):
            names = waiting.pop(page.title, None) if page.namespace == 0 else None
            if names is None:
                continue
            if page.redirect:
                moved.setdefault(normal(page.redirect), []).extend(names)
            else:
                yield from ((name, page) for name in names)
            if not waiting:
                break
        reason = REDIRECT_TO_MISSING if hop else MISSING
        yield from ((name, reason) for names in waiting.values() for name in names)
        if not moved:
            return
        asked = moved
    yield from ((name, REDIRECT_TO_MISSING) for names in asked.values() for name in names)


def _pages(path: Path, language: Language, wanted: Container[str]) -> Iterator[Stored]:
    """All pages of an export; where it has an index, those of the streams that hold wanted ones."""
    index = _index(path)
    try:
        with _opened(path, _OPENERS.get(path.suffix, open) if index is None else open) as file:
            if index is None:
                yield from _parsed(_Told(file, path), path, default_site(language))
                return
            site = _site_of(io.BytesIO(_stream(file, path, 0) + _ROOT_END), language)
            for offset in _offsets(index, wanted):
                pages = _ROOT + _stream(file, path, offset).rstrip().removesuffix(_ROOT_END) + _ROOT_END
                yield from _parsed(io.BytesIO(pages), path, site)
    except ElementTree.ParseError as error:
        line, column = error.position
        raise InvalidInput(
            f"{str(path)!r} is damaged or cut off at line {line}, column {column}: {error.msg}. {_EXPECTED}"
        ) from error


def _opened(path: Path, opener: Callable[..., Any]) -> IO[bytes]:
    try:
        file: IO[bytes] = opener(path, "rb")
    except OSError as error:
        raise InvalidInput(f"{str(path)!r} cannot be opened: {error}. {_EXPECTED}") from error
    return file


class _Told:
    """A packed file whose damage is told with its place."""

    def __init__(self, file: IO[bytes], path: Path) -> None:
        self._file, self._path = file, path

    def read(self, size: int) -> bytes:
        try:
            return self._file.read(size)
        except (EOFError, OSError, zlib.error) as error:
            raise InvalidInput(
                f"{str(self._path)!r} cannot be unpacked past byte {self._file.tell()} of its content: {error}. {_EXPECTED}"
            ) from error


def _index(path: Path) -> Path | None:
    base = path.name.removesuffix(".xml.bz2")
    names = (f"{base}-index.txt.bz2", f"{base}-index.txt") if base != path.name else ()
    return next((path.with_name(name) for name in names if path.with_name(name).is_file()), None)


def _offsets(index: Path, wanted: Container[str]) -> list[int]:
    """Places of the streams that hold wanted pages; a line of the index is offset:page id:title."""
    offsets = set()
    with _opened(index, _OPENERS.get(index.suffix, open)) as file:
        for line in _lines(_Told(file, index)):
            offset, _, rest = line.partition(":")
            if not offset.isdigit():
                raise InvalidInput(f"{str(index)!r} is no index of a multistream dump: it holds the line {line[:80]!r}.")
            if normal(html.unescape(rest.partition(":")[2])) in wanted:
                offsets.add(int(offset))
    return sorted(offsets)


def _lines(file: _Told) -> Iterator[str]:
    left = b""
    while chunk := file.read(_CHUNK):
        *lines, left = (left + chunk).split(b"\n")
        yield from (line.decode("utf-8", "replace") for line in lines if line)
    if left:
        yield left.decode("utf-8", "replace")


def _stream(file: IO[bytes], path: Path, offset: int) -> bytes:
    """The content of the one bz2 stream at a place."""
    file.seek(offset)
    unpacker = bz2.BZ2Decompressor()
    parts = []
    while not unpacker.eof:
        packed = file.read(_CHUNK)
        try:
            if not packed:
                raise EOFError("the file ends within it")
            parts.append(unpacker.decompress(packed))
        except (EOFError, OSError) as error:
            raise InvalidInput(f"{str(path)!r} has no whole bz2 stream at byte {offset}: {error}. {_EXPECTED}") from error
    return b"".join(parts)


def _site_of(head: IO[bytes], language: Language) -> Site:
    """What the head of an export says of its wiki."""
    site = default_site(language)
    for _, element in ElementTree.iterparse(head):
        if _name(element) == "siteinfo":
            site = _site(element, site)
    return site


def _parsed(file: Any, path: Path, site: Site) -> Iterator[Stored]:
    elements = ElementTree.iterparse(file, events=("start", "end"))
    _, root = next(elements)
    if _name(root) != "mediawiki":
        raise InvalidInput(f"{str(path)!r} begins with <{_name(root)}> instead of <mediawiki>. {_EXPECTED}")
    for event, element in elements:
        if event == "end" and _name(element) == "siteinfo":
            site = _site(element, site)
        elif event == "end" and _name(element) == "page":
            page = _page(element, site)
            root.clear()  # or the tree of all pages so far would stay in memory
            if page.title:
                yield page


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
        licence=licence_of(_text(parts, "sitename")),
    )


def _page(element: ElementTree.Element, site: Site) -> Stored:
    parts = _children(element)
    revision = _children(parts["revision"]) if "revision" in parts else {}
    text = (revision["text"].text or "") if "text" in revision else ""
    redirect = parts["redirect"].get("title", "") if "redirect" in parts else ""
    if not redirect and (match := _REDIRECT.match(text)):
        redirect = match[1]
    namespace = _text(parts, "ns")
    return Stored(
        title=normal(_text(parts, "title")),
        namespace=int(namespace) if namespace.lstrip("-").isdigit() else 0,
        redirect=redirect,
        revision=_text(revision, "id"),
        timestamp=_text(revision, "timestamp"),
        model=_text(revision, "model"),
        text=text,
        site=site,
    )
