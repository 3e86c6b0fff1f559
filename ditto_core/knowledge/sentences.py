"""Sentences: where one ends, in the scripts of many languages.

Input:   prose.
Output:  its sentences, in order, without the spaces between them.

Example:
    sentences("George W. Bush spoke. He left.")  ->  ["George W. Bush spoke.", "He left."]

Everything here is pure.
"""

import re
from collections.abc import Iterable

# Initials and titles before a name end no sentence: George W. Bush, Mr. Babbage.
_NO_END = r"(?<!\b\w\.)(?<!\b(?:Mr|Dr|St|Jr|Sr|Lt|vs|ca)\.)(?<!\b(?:Mrs|Rev|Gen|Col|Sgt|Mme)\.)(?<!\bProf\.)"
_SENTENCE_END = re.compile(
    rf"(?:(?<=[.!?]){_NO_END}|(?<=[.!?][\"'”’)]))\s+(?=[\"'“‘(]?[^\Wa-z])"
    r"|(?<=[।॥؟۔])\s+|(?<=[。！？])(?![」』”’）])|(?<=[。！？][」』”’）])"
)
ENDS_SENTENCE = re.compile(r"[.!?…।॥؟۔。！？][\"'”’»)\]」』）]*$")
"""Found at the end of a text whose last sentence is whole."""
_FULL_WIDTH_END = re.compile(r"[。！？][」』”’）]*$")


def sentences(text: str) -> list[str]:
    """Split prose into sentences; before a lower-case word, and after initials and titles, a dot ends none."""
    return [part.strip() for part in _SENTENCE_END.split(text) if part and part.strip()]


def gap(sentence: str) -> str:
    """What stands between a sentence and the next: a space, but none after a full-width mark."""
    return "" if _FULL_WIDTH_END.search(sentence) else " "


def joined(parts: Iterable[str]) -> str:
    """Sentences as running text."""
    return "".join(part + gap(part) for part in parts).rstrip()
