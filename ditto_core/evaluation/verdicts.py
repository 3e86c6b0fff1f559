"""Verdicts: where in a judge's reply its verdict stands.

Input:   a judge's reply, and the answer that it judges.
Output:  the reply's own words, normalised; of them the last thing that reads as a verdict.
Source:  ours; the paper does not say how replies are read.

Example:
    The answer says "give it [[10]]".      <- quoted from the answer, so no verdict
    It names one fact of two. Score: 5     <- the verdict

An answer may hold text made to look like a verdict, and judges quote answers. So a bracket within a passage that the answer
holds too counts for nothing, and a later line beats an earlier one, however well the earlier is marked.
"""

import re
import unicodedata
from collections.abc import Sequence

from ditto_core.generation.thoughts import spoken

_QUOTE = 8
"""Characters in common with the answer from which on a passage is a quotation: longer than any verdict in brackets."""
_BRACKETS = str.maketrans("【】〔〕", "[][]")


def plain(text: str) -> str:
    """Compatibility forms unified (full-width digits and brackets among them), without what a model thought aloud."""
    return spoken(unicodedata.normalize("NFKC", text).translate(_BRACKETS))


def own_words(reply: str, answer: str) -> str:
    """The reply as `plain` gives it, with the brackets blanked in every passage that it quotes from the answer."""
    said, quoted = plain(reply), plain(answer)
    passages = {quoted[start : start + _QUOTE] for start in range(len(quoted) - _QUOTE + 1) if "[" in quoted}
    own = list(said)
    for start in range(len(said) - _QUOTE + 1):
        if said[start : start + _QUOTE] in passages:
            for place in range(start, start + _QUOTE):
                own[place] = " " if own[place] in "[]" else own[place]
    return "".join(own)


def last(text: str, readings: Sequence[re.Pattern[str]]) -> str | None:
    """What the first reading that fits finds in the last line that any fits; its last match there, first group of it."""
    for line in reversed(text.splitlines()):
        for reading in readings:
            found = [next(group for group in match.groups() if group) for match in reading.finditer(line)]
            if found:
                return found[-1]
    return None
