"""Filters: turns that must not be trained on, each with a name and a count.

Input:   a turn.
Output:  the name of the first filter that it fails, or None.
Source:  ours; they keep what the paper's section 3.3 asks of an answer: in the role, and refusing what is foreign to it.

Example: a contrastive question that was answered instead of refused -> "answered_foreign_question"

Test sessions keep all their questions: what the model under test says to them is what is judged.
"""

import re
from collections.abc import Callable, Mapping

from ditto_core.languages import Language
from ditto_core.records import Turn


def _refused_own_question(turn: Turn, language: Language) -> bool:
    return turn.query.kind == "role_specific" and language.speaks("refusal", turn.answer)


def _answered_foreign_question(turn: Turn, language: Language) -> bool:
    return turn.query.kind == "contrastive" and not language.speaks("refusal", turn.answer)


def _speaks_as_an_assistant(turn: Turn, language: Language) -> bool:
    return language.speaks("assistant", turn.answer)


def _talks_of_the_profile(turn: Turn, language: Language) -> bool:
    return language.speaks("profile_talk", turn.answer)


FILTERS: Mapping[str, Callable[[Turn, Language], bool]] = {
    "assistant_speak": _speaks_as_an_assistant,
    "profile_talk": _talks_of_the_profile,
    "refused_own_question": _refused_own_question,
    "answered_foreign_question": _answered_foreign_question,
}
"""Name -> whether a turn is to be left out, in the order in which they are tried."""


def normalised(question: str) -> str:
    """A question without case, punctuation and spacing: what makes two of them duplicates."""
    return re.sub(r"[\W_]+", " ", question.casefold()).strip()


def rejection(turn: Turn, language: Language) -> str | None:
    """The name of the first filter that leaves the turn out."""
    return next((name for name, leaves_out in FILTERS.items() if leaves_out(turn, language)), None)
