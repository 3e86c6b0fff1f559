"""Wikipedia: one page of a wiki as an article.

Input:   a `Stored` page, as `dump` or `action_api` found it.
Output:  its `Article` as prose, or the reason why there is none.
Source:  arXiv 2401.12474, section 3.2.

Example:
    to_article(Stored("Ada Lovelace", ..., text="[[Ada]] wrote.", site=...), english)  ->  Article("Ada Lovelace", ...)

Reasons: "article_missing", "article_empty" (no prose in it), "redirect_to_missing", "article_unreadable" (not wikitext,
hidden, or it ended its worker), "article_too_large" and "article_too_slow" (by limits), "article_unavailable" (the wiki
answers, but not with this page).
"""

import re
import unicodedata
import urllib.parse
from collections.abc import Mapping
from dataclasses import dataclass

from ditto_core.knowledge.wikis import CANONICAL
from ditto_core.knowledge.wikitext import prose, title_of
from ditto_core.languages import Language
from ditto_core.records import Article

MISSING, EMPTY = "article_missing", "article_empty"
REDIRECT_TO_MISSING, UNREADABLE = "redirect_to_missing", "article_unreadable"
TOO_LARGE, TOO_SLOW, UNAVAILABLE = "article_too_large", "article_too_slow", "article_unavailable"

_MAX_CHARACTERS = 2 * 1024 * 1024  # MediaWiki's own limit of a page ($wgMaxArticleSize)
_OWN_TITLE = re.compile(r"\{\{\s*(?:FULL|BASE)?PAGENAME\s*\}\}")
_LICENCE = "CC BY-SA 4.0"
_LICENCES = {"Ditto embedded world": "CC0 1.0"}


@dataclass(frozen=True, slots=True)
class Site:
    """What a wiki says of itself: namespaces by lower-case name, and how to attribute its pages."""

    namespaces: Mapping[str, int]
    page_url: str
    licence: str


@dataclass(frozen=True, slots=True)
class Stored:
    """One page as its wiki stores it; `redirect` is the title that it points to, or ""."""

    title: str
    namespace: int
    redirect: str
    revision: str
    timestamp: str
    model: str
    text: str
    site: Site


def normal(title: str) -> str:
    """The form in which a wiki stores a title: composed letters, spaces, first letter large."""
    return title_of(unicodedata.normalize("NFC", title))


def default_site(language: Language) -> Site:
    """The language's Wikipedia, for sources that don't say where they come from."""
    return Site(CANONICAL, f"https://{language.wiki}.wikipedia.org/wiki/", _LICENCE)


def licence_of(sitename: str) -> str:
    """The licence of a wiki's texts, by the wiki's name."""
    return _LICENCES.get(sitename, _LICENCE)


def to_article(page: Stored, language: Language) -> Article | str:
    """One page as an article, or the reason why it is none. Its size is limited here, its time by `cleaning`."""
    if page.model not in ("", "wikitext"):
        return UNREADABLE
    if len(page.text) > _MAX_CHARACTERS:
        return TOO_LARGE
    text = _OWN_TITLE.sub(lambda _: page.title, page.text)
    sections, links = prose(text, language, page.site.namespaces)
    if not sections:
        return EMPTY
    address = urllib.parse.quote(page.title.replace(" ", "_"), safe="/:(),!*'~")
    return Article(
        title=page.title,
        sections=sections,
        links=links,
        revision=page.revision,
        timestamp=page.timestamp,
        url=page.site.page_url + address,
        licence=page.site.licence,
    )
