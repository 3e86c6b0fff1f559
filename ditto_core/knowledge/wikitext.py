r"""Wikitext: the markup of a wiki page as sections of clean prose.

Input:   wikitext, the language it is in, and the names of the wiki's namespaces.
Output:  `Section`s, the lead first, and the titles of the articles that the page links to.
Source:  arXiv 2401.12474, section 3.2 (the article is part of a profile); MediaWiki's markup.

Example:
    prose("'''Ada''' ([[London]], {{circa|1815}}) wrote.<ref>x</ref>\n== See also ==\n* [[Byron]]", english)
    ->  ((Section("", "Ada (London, c. 1815) wrote."),), ("London", "Byron"))

One walk over mwparserfromhell's nodes; removing nodes from its tree costs four times the parse. All is pure.
Hostile markup can take the parser very long: callers limit the size, or the time in a process of its own.
"""

import html
import re
from collections.abc import Iterable, Mapping
from typing import Any

import mwparserfromhell
from mwparserfromhell import nodes

from ditto_core.knowledge.sentences import ENDS_SENTENCE, sentences
from ditto_core.knowledge.templates import is_quote, shown
from ditto_core.knowledge.variants import resolved
from ditto_core.knowledge.wikis import CANONICAL, CATEGORY, FILE, MEDIA, SKIPPED_HEADINGS
from ditto_core.languages import Language
from ditto_core.records import Section

_SISTERS = "wikt wiktionary s wikisource q wikiquote commons c d wikidata m meta n b v voy mw"
_INTERWIKI = frozenset(_SISTERS.split())
_LANGUAGE_LINK = re.compile(r"[a-z]{2,3}(-[a-z]+)*|simple|be-x-old|zh-min-nan")
_SILENT = (
    "ref references table gallery math chem timeline score imagemap syntaxhighlight source style script templatestyles "
    "includeonly hiero graph mapframe maplink section inputbox categorytree del s strike img indicator ce"
)
_SILENT_TAGS = frozenset(_SILENT.split())
_BLOCK_TAGS = frozenset({"blockquote", "p", "div", "poem", "center", "hr", "pre", "dl", "ul", "ol"})
_LIST_MARK = "\x00"  # starts a line that the page shows as a list item

_LINK = re.compile(r"\[\[([^\[\]|<>{}\n]+)")
_STYLE = re.compile(r"'{2,5}")
_SWITCH = re.compile(r"__[^\W\d_]{3,}(?:_[^\W\d_]+)*__")
_LEFT_REF = re.compile(r"<ref\b[^<>]*/>|<ref\b.*?(?:</ref\s*>|$)", re.IGNORECASE)
_LEFT_TAG = re.compile(r"</?[a-zA-Z][^<>\n]*>")
_LEFT_LINE = re.compile(r"^\s*(?:[|!}]|\{\||\{\{)")
_HATNOTES = re.compile(r"\A\s*(?:''(?!').*''\s*\n\s*)+")  # "This article is about ...", in italics above the lead
_NAVIGATION = re.compile(r"\s[|·•→]\s|^←|^«[^»]*$|^[^«]*»$")  # "previous | next", "next »", but not « a quotation »
# A file's link that is never closed, to the end of its line.
_LEFT_FILE = re.compile(r"[^\W\d]+:[^|\n\[\]]+\.(?:jpe?g|png|svg|gif|tiff?|webp|og[gv]|webm|pdf)\s*\|.*", re.IGNORECASE)
_LEFT_BRACKETS = re.compile(r"\[\[|\]\]|\{\{|\}\}")
_BARE_URL = re.compile(r"\[?\bhttps?://[^\s\]]+\]?")
_SPACES = re.compile(r"[ \t\u00a0\u2000-\u200b\u202f\u3000]+")
_BRACKET = re.compile(r"[(\[（]")
_IN_BRACKETS = tuple(
    (re.compile(pattern), replacement)
    for pattern, replacement in (
        (r"[,;]?\s*\b(?:pronounced|pronunciation:?|IPA:?|listen|audio)\s*(?=[;,)])", ""),
        (r"([(\[（])[\s,;:，、；：؛،]+", r"\1"),
        (r"[\s,;:，、；：؛،]+([)\]）])", r"\1"),
        (r"[(（\[](?:\s|or|and|also|lit\.|[*†~〜～–—―－・·/,;:，、；：؛،])*[)）\]]", ""),
        (r"\[\d{1,3}\]", ""),
    )
)
_TIDY = tuple(
    (re.compile(pattern), replacement)
    for pattern, replacement in (
        (r"([。，、；：])(?:\s*[。，、；：])+", r"\1"),
        (r"(?<!\.)\.\s?\.(?!\.)", "."),
        (r"([,;])(?:\s*[,;])+", r"\1"),
        (r" +([,.;:!?)\]])(?!\d)", r"\1"),
        (r"“\s*”|\"\s*\"|«\s*»", ""),
        (r" {2,}", " "),
    )
)


def prose(
    wikitext: str, language: Language, namespaces: Mapping[str, int] = CANONICAL
) -> tuple[tuple[Section, ...], tuple[str, ...]]:
    """Clean prose by section, and the titles of linked articles in the order of the page.

    Sections without prose, those named in `language.skipped_headings` and everything below them are left out.
    Paragraphs are separated by line ends. List items stay only where they are sentences.

    Args:
        wikitext: Of one page.
        language: In which dates are written and headings skipped.
        namespaces: Name of a namespace in lower case -> its number, from the wiki's siteinfo.
    """
    names = {**CANONICAL, **namespaces}
    walk = _Walk(language, names)
    in_variant, convert = resolved(_without_open_comment(wikitext), _variant(language))
    walk.add(mwparserfromhell.parse(in_variant, skip_style_tags=True).nodes)
    converted = [(level, convert(heading), convert(text)) for level, heading, text in walk.sections()]
    sections = [Section(heading, _clean(text)) for heading, text in _kept(converted, language)]
    return tuple(section for section in sections if section.text), _links(wikitext, names)


def title_of(target: str) -> str:
    """A page's title as the wiki writes it: spaces, first letter large, no fragment."""
    title = " ".join(target.partition("#")[0].replace("_", " ").split())
    first = title[:1].upper()
    return (first if len(first) == 1 else title[:1]) + title[1:]


class _Walk:
    """Collects the text that a reader sees, split at the headings."""

    def __init__(self, language: Language, namespaces: Mapping[str, int]) -> None:
        self._language = language
        self._namespaces = namespaces
        self._out: list[str] = []
        self._cuts: list[tuple[int, str, int]] = [(0, "", 0)]  # level, heading, where its text begins

    def sections(self) -> list[tuple[int, str, str]]:
        """(level, heading, raw text), the lead first."""
        ends = [start for _, _, start in self._cuts[1:]] + [len(self._out)]
        return [
            (level, heading, "".join(self._out[start:end])) for (level, heading, start), end in zip(self._cuts, ends, strict=True)
        ]

    def add(self, found: Iterable[Any]) -> None:
        """Walk over nodes in order."""
        for node in found:
            kind = type(node)
            if kind is nodes.Text:
                self._out.append(node.value)
            elif kind is nodes.Wikilink:
                self._link(node)
            elif kind is nodes.Tag:
                self._tag(node)
            elif kind is nodes.Template:
                self._template(node)
            elif kind is nodes.HTMLEntity:
                self._out.append(html.unescape(str(node)))
            elif kind is nodes.ExternalLink:
                if node.title is not None and node.brackets:
                    self.add(node.title.nodes)
            elif kind is nodes.Heading:
                title = _tidied(" ".join(self._text(node.title.nodes).split()))
                self._cuts.append((node.level, title, len(self._out)))
            elif kind is nodes.Argument and node.default is not None:
                self.add(node.default.nodes)

    def _text(self, found: Iterable[Any]) -> str:
        inner = _Walk(self._language, self._namespaces)
        inner.add(found)
        return "".join(inner._out)

    def _link(self, node: nodes.Wikilink) -> None:
        target = str(node.title).strip()
        prefix, colon, rest = target.lstrip(":").partition(":")
        name = prefix.strip().replace("_", " ").lower() if colon else ""
        if colon and not target.startswith(":"):
            if self._namespaces.get(name) in (FILE, CATEGORY, MEDIA):
                return
            if _LANGUAGE_LINK.fullmatch(prefix.strip()) and not rest.startswith(" "):
                return
        if node.text is not None and str(node.text).strip():
            self.add(node.text.nodes)
        elif colon and (name in _INTERWIKI or name in self._namespaces):
            self._out.append(rest)
        elif target.startswith(":"):
            self._out.append(target[1:])
        else:
            self.add(node.title.nodes)

    def _tag(self, node: nodes.Tag) -> None:
        name = str(node.tag).strip().lower()
        markup = node.wiki_markup
        if markup in ("*", "#", ";"):  # ":" indents quotations
            self._out.append(_LIST_MARK)
        elif name == "br":
            self._out.append(" ")
        elif name == "nowiki":
            self._out.append(html.unescape(str(node.contents)) if node.contents is not None else "")
        elif name not in _SILENT_TAGS and node.contents is not None:
            around = "\n" if name in _BLOCK_TAGS else ""
            self._out.append(around)
            self.add(node.contents.nodes)
            self._out.append(around)

    def _template(self, node: nodes.Template) -> None:
        name = str(node.name).strip()
        arguments = _Lazy(self._text, node)
        around = "\n" if is_quote(name) else ""
        self._out.append(f"{around}{shown(name, arguments, self._language)}{around}")


class _Lazy(Mapping[str, str]):
    """A template's arguments, rendered when asked for: most templates vanish, and boxes hold much."""

    def __init__(self, render: Any, node: nodes.Template) -> None:
        self._render = render
        self._values = {str(parameter.name).strip(): parameter.value for parameter in node.params}

    def __getitem__(self, key: str) -> str:
        return str(self._render(self._values[key].nodes))

    def __iter__(self) -> Any:
        return iter(self._values)

    def __len__(self) -> int:
        return len(self._values)


def _kept(sections: Iterable[tuple[int, str, str]], language: Language) -> Iterable[tuple[str, str]]:
    skipping = 0
    for level, heading, text in sections:
        if skipping and level > skipping:
            continue
        plain = heading.lower().rstrip(":：")
        skipping = level if plain in language.skipped_headings or plain in SKIPPED_HEADINGS else 0
        if not skipping:
            yield heading, text if level else _HATNOTES.sub("", text)


def _clean(raw: str) -> str:
    paragraphs: list[str] = []
    announces = False  # the last paragraph ends with a colon, and nothing has followed it yet
    for line in raw.split("\n"):
        text = line.replace(_LIST_MARK, "") if _LIST_MARK in line else line
        if not text.strip() or _LEFT_LINE.match(text):
            continue
        text = _tidied(_LEFT_FILE.sub("", text) if "|" in text else text)
        if not any(map(str.isalnum, text)) or (_NAVIGATION.search(text) and not ENDS_SENTENCE.search(text)):
            continue
        if _LIST_MARK in line and not ENDS_SENTENCE.search(text):
            if announces:  # "His works:" and then a list that is no prose
                paragraphs.append(_without_announcement(paragraphs.pop()))
                announces = False
            continue
        announces = text.endswith((":", "："))
        paragraphs.append(text)
    if announces:
        paragraphs.append(_without_announcement(paragraphs.pop()))
    return "\n".join(filter(None, paragraphs))


def _without_announcement(paragraph: str) -> str:
    """A paragraph without its last sentence."""
    return paragraph.removesuffix(sentences(paragraph)[-1]).rstrip()


def _tidied(text: str) -> str:
    if "<" in text:
        text = _LEFT_TAG.sub("", _LEFT_REF.sub("", text))
    if "://" in text:
        text = _BARE_URL.sub("", text)
    if "''" in text:
        text = _STYLE.sub("", text)
    if "__" in text:
        text = _SWITCH.sub("", text)
    text = _SPACES.sub(" ", _LEFT_BRACKETS.sub("", text))
    for pattern, replacement in (*_IN_BRACKETS, *_TIDY) if _BRACKET.search(text) else _TIDY:
        text = pattern.sub(replacement, text)
    return text.strip()


def _without_open_comment(wikitext: str) -> str:
    """A comment that nothing ends hides the rest of its page."""
    start = wikitext.find("<!--", wikitext.rfind("-->") + 1)
    return wikitext if start < 0 else wikitext[:start]


def _links(wikitext: str, namespaces: Mapping[str, int]) -> tuple[str, ...]:
    titles: dict[str, None] = {}
    for match in _LINK.finditer(wikitext):
        target = match[1].strip()
        prefix, colon, _ = target.lstrip(":").partition(":")
        if colon:
            name = prefix.strip().replace("_", " ").lower()
            if name in namespaces or name in _INTERWIKI or _LANGUAGE_LINK.fullmatch(prefix):
                continue
        if title := title_of(target):
            titles[html.unescape(title) if "&" in title else title] = None
    return tuple(titles)


def _variant(language: Language) -> str:
    """The reader's variant of a Chinese wiki: that of the language's labels, where a script stands for its largest place."""
    first = next((tag for tag in language.label_fallbacks if tag.startswith("zh")), "zh-hans")
    return {"zh-hans": "zh-cn", "zh-hant": "zh-tw"}.get(first, first)
