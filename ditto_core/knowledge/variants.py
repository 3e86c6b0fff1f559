"""Variants: the markup by which one article serves readers of several scripts and vocabularies, above all in Chinese.

Input:   wikitext, and the variant of a reader, such as "zh-cn".
Output:  wikitext with one form of each word, and a `Conversion` that puts the page's text, in order, into the variant's.
Source:  MediaWiki's documentation of -{...}- (Writing systems/Syntax), checked against MediaWiki 1.39; {{NoteTA}} of the
         Chinese Wikipedia.

Example:
    resolved("-{A|zh-cn:软件;zh-tw:軟體}-...軟體", "zh-cn")  shows 软件, and turns the 軟體 after it into 软件

What each rule does: -{a;b}- shows the reader's form; A shows it and converts all that follows, H only converts, "-" ends a
conversion, T is for the title, R and a rule without forms show their text as it is, "x=>zh-cn:y" converts one way. A wiki's own
tables of thousands of words, and the groups that NoteTA names, are no part of the text and stay out.

Everything here is pure.
"""

import re
from collections.abc import Mapping

_NEAREST: Mapping[str, tuple[str, ...]] = {
    "zh-hans": ("zh-cn", "zh-sg", "zh-my"),
    "zh-hant": ("zh-tw", "zh-hk", "zh-mo"),
    "zh-cn": ("zh-hans", "zh-sg", "zh-my"),
    "zh-sg": ("zh-my", "zh-hans", "zh-cn"),
    "zh-my": ("zh-sg", "zh-hans", "zh-cn"),
    "zh-tw": ("zh-hant", "zh-hk", "zh-mo"),
    "zh-hk": ("zh-mo", "zh-hant", "zh-tw"),
    "zh-mo": ("zh-hk", "zh-hant", "zh-tw"),
}
"""Whose forms a reader is shown where there is none for the own variant."""
_NAMES: Mapping[str, str] = {
    "zh": "原文", "zh-hans": "简体", "zh-hant": "繁體", "zh-cn": "大陆", "zh-tw": "臺灣", "zh-hk": "香港", "zh-mo": "澳門",
    "zh-sg": "新加坡", "zh-my": "大马",
}  # fmt: skip
_TAG = r"(?:zh|gan|sr|kk|ku|uz|tg)(?:-[a-zA-Z]+)?"
_FLAGS = frozenset("ATRDSNH-+")
_ADDS = frozenset("AH+")

_INERT = r"<!--.*?(?:-->|\Z)|<nowiki>.*?</nowiki>"
# "-{{" is a dash before a template, "-{{{" a rule that begins with one.
_OPENS = r"-\{(?!\{(?!\{))"
_NOTE = re.compile(r"\{\{\s*[Nn]ote[ _]?TA\s*\|([^{}]*)\}\}")
_OUTSIDE = re.compile(rf"{_INERT}|{_NOTE.pattern}|{_OPENS}", re.DOTALL)
_INSIDE = re.compile(rf"{_INERT}|\{{\{{|\}}\}}|\}}-|{_OPENS}", re.DOTALL)
_ENTITY = re.compile(r"(&[#a-zA-Z0-9]+);")
_BETWEEN = re.compile(rf";\s*(?=(?:[^;]*?=>\s*)?{_TAG}\s*:|\s*$)")
_FORM = re.compile(rf"\s*(?:(?P<before>.*?)=>\s*)?(?P<tag>{_TAG})\s*:(?P<form>.*)", re.DOTALL)
_MOST_NESTED = 10

# Characters that Unicode keeps free for programs; they stand in the wikitext while it is parsed.
_AS_IT_IS, _END, _FROM_HERE = "\ufdd0", "\ufdd1", "\ufdd2"
_STRAY = re.compile(f"[{_AS_IT_IS}{_END}{_FROM_HERE}]")
_MARK = re.compile(f"([{_AS_IT_IS}{_END}]|{_FROM_HERE}\\d+{_FROM_HERE})")


class Conversion:
    """Puts the text of one page, piece by piece in its order, into the words of a variant.

    Args:
        changes: Pairs that come into force one after the other, word -> word; None ends a pair.
    """

    def __init__(self, changes: list[Mapping[str, str | None]]) -> None:
        self._changes = changes
        self._done = 0
        self._words: dict[str, str] = {}
        self._pattern: re.Pattern[str] | None = None

    def __call__(self, text: str) -> str:
        """The next piece in the variant's words; what a rule shows stays as it is."""
        if _FROM_HERE not in text and not self._pattern:  # each rule leaves this mark
            return text
        converts = True
        out = []
        for part in _MARK.split(text):
            if part[:1] == _FROM_HERE:
                self._advance(int(part.strip(_FROM_HERE)))
            elif part in (_AS_IT_IS, _END):
                converts = part == _END
            else:
                out.append(self._pattern.sub(lambda match: self._words[match[0]], part) if converts and self._pattern else part)
        return "".join(out)

    def _advance(self, number: int) -> None:
        for change in self._changes[self._done : number]:
            for word, form in change.items():
                if form is None:
                    self._words.pop(word, None)
                else:
                    self._words[word] = form
        self._done = max(self._done, number)
        longest_first = sorted(self._words, key=lambda word: (-len(word), word))
        self._pattern = re.compile("|".join(map(re.escape, longest_first))) if longest_first else None


def resolved(wikitext: str, variant: str) -> tuple[str, Conversion]:
    """The wikitext with every rule replaced by what it shows, and the conversion that its text must go through.

    Args:
        wikitext: Of one page.
        variant: Of the reader; forms of the nearest variants stand in, and in the end any.
    """
    changes: list[Mapping[str, str | None]] = []
    wikitext = _STRAY.sub("", wikitext)
    if "-{" in wikitext or _NOTE.search(wikitext):
        wikitext = _Page(wikitext, variant, changes).resolved()
    return wikitext, Conversion(changes)


class _Page:
    def __init__(self, text: str, variant: str, changes: list[Mapping[str, str | None]]) -> None:
        self._text, self._variant, self._changes = text, variant, changes

    def resolved(self) -> str:
        out, position = [], 0
        while match := _OUTSIDE.search(self._text, position):
            out.append(self._text[position : match.start()])
            position = match.end()
            if match[0] == "-{":
                shown, position = self._rule(position, 1)
                out.append(f"{self._mark()}{_AS_IT_IS}{shown}{_END}")
            elif match[1] is not None:
                self._note(match[1])
                out.append(self._mark())
            else:
                out.append(match[0])
        return "".join(out) + self._text[position:]

    def _mark(self) -> str:
        return f"{_FROM_HERE}{len(self._changes)}{_FROM_HERE}"

    def _rule(self, position: int, depth: int) -> tuple[str, int]:
        """What the rule whose inside begins at `position` shows, and where the text goes on; the innermost rules come first."""
        inside, templates = [], 0
        while match := _INSIDE.search(self._text, position):
            inside.append(self._text[position : match.start()])
            position = match.end()
            if match[0] == "}-" and templates <= 0:
                return self._shown("".join(inside)), position
            if match[0] == "-{" and depth < _MOST_NESTED:
                shown, position = self._rule(position, depth + 1)
                inside.append(shown)
            else:
                templates += (match[0] == "{{") - (match[0] == "}}")
                inside.append(match[0])
        return "".join(inside) + self._text[position:], len(self._text)  # never closed: no rule

    def _note(self, inside: str) -> None:
        """{{NoteTA|zh-cn:..;zh-tw:..|2=..|T=..|G1=..}}: its numbered arguments hold for the page."""
        for argument in inside.split("|"):
            key, equals, value = argument.partition("=")
            numbered = equals and key.strip().isdecimal() and not value.startswith(">")
            if numbered or re.match(rf"\s*{_TAG}\s*:|[^=]*=>", argument):
                self._shown(f"H|{value if numbered else argument}")

    def _shown(self, markup: str) -> str:
        """What the inside of -{...}- shows; what it converts is added to the changes."""
        flags, bar, body = markup.partition("|")
        names = {flag.strip() for flag in flags.split(";")} - {""}
        if not bar or not all(name in _FLAGS or re.fullmatch(_TAG, name) for name in names):
            body, names = markup, set()
        if names - _FLAGS or "R" in names:
            return body
        if "N" in names:
            return _NAMES.get(body.strip(), "")
        both_ways, one_way = _forms(body)
        if body and names & (_ADDS | {"-"}) and not both_ways and not one_way:
            both_ways = {self._variant: body}  # a word that no other rule touches
        pairs = self._pairs(both_ways, one_way)
        if "-" in names:
            self._changes.append(dict.fromkeys(pairs))
            return ""
        if names & _ADDS:
            self._changes.append(pairs)
        if "D" in names:
            return "".join(f"{_NAMES.get(tag, tag)}：{form}；" for tag, form in both_ways.items())
        if "H" in names or names == {"T"}:
            return ""
        return self._chosen(both_ways, one_way) if both_ways or one_way else body

    def _order(self) -> tuple[str, ...]:
        return (self._variant, *_NEAREST.get(self._variant, ()))

    def _pairs(self, both_ways: Mapping[str, str], one_way: Mapping[str, Mapping[str, str]]) -> dict[str, str]:
        """Word -> the variant's word for it."""
        own = next((both_ways[tag] for tag in self._order() if tag in both_ways), None)
        pairs = {} if own is None else dict.fromkeys(both_ways.values(), own)
        return {**pairs, **one_way.get(self._variant, {})}

    def _chosen(self, both_ways: Mapping[str, str], one_way: Mapping[str, Mapping[str, str]]) -> str:
        """The reader's form; MediaWiki shows an error where there is none, we show any."""
        nearest = [both_ways[tag] for tag in self._order() if tag in both_ways]
        others = [both_ways[tag] for tag in ("zh", *both_ways) if tag in both_ways]
        last = [form for forms in one_way.values() for form in forms.values()]
        return [*nearest, *one_way.get(self._variant, {}).values(), *others, *last][0]


def _forms(body: str) -> tuple[dict[str, str], dict[str, dict[str, str]]]:
    """Tag -> form, and tag -> word -> form of the one-way rules; nothing where one of them is no rule."""
    both_ways: dict[str, str] = {}
    one_way: dict[str, dict[str, str]] = {}
    for part in _BETWEEN.split(_ENTITY.sub("\\1\0", body)):
        if ":" not in part:
            continue
        match = _FORM.fullmatch(part.replace("\0", ";"))
        if not match:
            return {}, {}
        tag, form = match["tag"].lower(), match["form"].strip()
        before = (match["before"] or "").strip()
        if before:
            one_way.setdefault(tag, {})[before] = form
        elif form:
            both_ways[tag] = form
    return both_ways, one_way
