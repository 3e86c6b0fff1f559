"""Words: texts as sets of comparable words, for the judge that works without a model.

Input:   a text in any of our languages.
Output:  its words: compatibility forms unified, accents and case dropped, possessive 's cut. Chinese, Japanese and
         Korean runs become overlapping pairs of characters: they are not spaced, or their particles are glued on.
Source:  ours; the paper has no judge without a model.

Example:
    "Curie’s Nobel Prize (1903)"  ->  {"curie", "nobel", "prize", "1903"}
    "居里夫人"                     ->  {"居里", "里夫", "夫人"}
"""

import re
import unicodedata

from ditto_core.languages import Language

_PAIRED = "\u3040-\u30ff\u3400-\u4dbf\u4e00-\u9fff\uac00-\ud7a3"
_RUN = re.compile(rf"[{_PAIRED}]+|(?:(?![{_PAIRED}])[^\W_])+(?:'(?:(?![{_PAIRED}])[^\W_])+)?")
_IS_PAIRED = re.compile(rf"[{_PAIRED}]")


def words(text: str) -> frozenset[str]:
    """All words of a text."""
    found: set[str] = set()
    for run in _RUN.findall(_fold(text)):
        if _IS_PAIRED.match(run):
            found.update(run[start : start + 2] for start in range(max(1, len(run) - 1)))
        else:
            found.add(run.removesuffix("'s"))
    return frozenset(found)


def content(text: str, language: Language) -> frozenset[str]:
    """The words of a text that carry meaning: all but the language's function words, if it lists any."""
    return words(text) - frozenset(language.cues.get("function_words", ()))


def value_of(fact: str) -> str:
    """The value of a claim's line: "award received: Nobel Prize" gives "Nobel Prize"; without a colon, the line."""
    _property, colon, value = fact.partition(": ")
    return value if colon else fact


def _fold(text: str) -> str:
    parts = unicodedata.normalize("NFKD", text.replace("’", "'"))
    bare = "".join(char for char in parts if unicodedata.category(char) != "Mn")
    return unicodedata.normalize("NFKC", bare).casefold()
