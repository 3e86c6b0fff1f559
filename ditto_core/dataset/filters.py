"""Filters: turns that must not be trained on, each with a name, a count and a threshold in the settings.

Input:   a turn, its role, and what was said of it by a judge or by the user's own check.
Output:  the name of the first filter that it fails, or None.
Source:  ours; they keep what the paper's section 3.3 asks of an answer: in the role, refusing what is foreign to it, and
         not naming itself over and over.

Example: a contrastive question that was answered instead of refused -> "answered_foreign_question"

Test sessions keep all their questions: what the model under test says to them is what is judged. `NearDuplicates` and
`Introductions` look at a role's other turns too; duplicates are sought within a role, because one question is put to many
roles on purpose, and so that a changed role never changes another's rows.
"""

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cache
from string import Template
from typing import Any
from zlib import crc32

from ditto_core.errors import RowFailed
from ditto_core.languages import Language, holds
from ditto_core.records import Character, Turn
from ditto_core.settings import DatasetSettings

THRESHOLDS: Mapping[str, tuple[str, ...]] = {
    "assistant_speak": ("max_assistant_cues",),
    "profile_talk": ("max_profile_cues",),
    "wrong_language": ("min_script_share", "min_function_words"),
    "unreadable_verdict": ("refusals",),
    "refused_own_question": ("refusals", "refusal_cues"),
    "answered_foreign_question": ("refusals", "refusal_cues"),
    "toxic": ("toxicity", "max_toxicity"),
    "duplicate_question": (),
    "near_duplicate": ("near_duplicate",),
    "self_introduction": ("max_self_introductions",),
    "beyond_contrastive_share": ("contrastive_share",),
    "beyond_test_questions": ("test_questions",),
    "too_few_turns": ("min_turns",),
}
"""Name of each filter -> the fields of `DatasetSettings` that hold its thresholds."""

_FEW_WORDS = 8
_WORD = re.compile(r"[^\W_]+(?:'[^\W_]+)*")
_SHINGLE = 4
_PERMUTATIONS = 128


@dataclass(frozen=True, slots=True)
class Checks:
    """What decides about a turn beside the settings.

    Attributes:
        refuses: Whether an answer turns its question down; None if a judge was asked and could not be read, the failure if
            it did not answer.
        toxicity: Of an answer, 0 to 1; None for no such check.
    """

    refuses: Callable[[Turn], bool | RowFailed | None]
    toxicity: Callable[[str], float] | None = None


def by_cues(language: Language, settings: DatasetSettings) -> Checks:
    """Refusals by the language's cues, no check for toxicity."""
    return Checks(lambda turn: language.heard("refusal", turn.answer) >= settings.refusal_cues)


def rejection(turn: Turn, language: Language, settings: DatasetSettings, checks: Checks) -> str | None:
    """The name of the first filter that leaves the turn out by itself.

    Raises:
        RowFailed: The judge did not answer, so that nobody knows.
    """
    answer = turn.answer
    if (reason := out_of_role(turn, language, settings)) is not None:
        return reason
    if _is_foreign(answer, language, settings):
        return "wrong_language"
    refused = checks.refuses(turn)
    if isinstance(refused, RowFailed):
        raise refused
    if refused is None:
        return "unreadable_verdict"
    if refused and turn.query.kind == "role_specific":
        return "refused_own_question"
    if not refused and turn.query.kind == "contrastive":
        return "answered_foreign_question"
    if checks.toxicity is not None and checks.toxicity(answer) > settings.max_toxicity:
        return "toxic"
    return None


def out_of_role(turn: Turn, language: Language, settings: DatasetSettings) -> str | None:
    """The name of the first filter that an answer meets which no role would give; test sessions hold none either."""
    if language.heard("assistant", turn.answer) > settings.max_assistant_cues:
        return "assistant_speak"
    if language.heard("profile_talk", turn.answer) > settings.max_profile_cues:
        return "profile_talk"
    return None


def normalised(text: str) -> str:
    """A text without case, punctuation and spacing: what makes two questions duplicates."""
    return re.sub(r"[\W_]+", " ", text.casefold()).strip()


class NearDuplicates:
    """The turns of one role so far; tells whether another says almost the same.

    Two turns are alike by the estimated Jaccard similarity (MinHash, 128 permutations) of the overlapping runs of four
    characters of question and answer together, so that the measure needs no words and works in every language.
    """

    def __init__(self, threshold: float) -> None:
        self._threshold = threshold
        self._seen: list[Any] = []

    def add(self, turn: Turn) -> bool:
        """Whether the turn is like an earlier one; if not, it is remembered."""
        text = f"{normalised(turn.query.question)} | {normalised(turn.answer)}"
        sketch = _no_sketch().copy()
        sketch.update_batch({text[start : start + _SHINGLE] for start in range(max(1, len(text) - _SHINGLE + 1))})
        if any(sketch.jaccard(other) >= self._threshold for other in self._seen):
            return True
        self._seen.append(sketch)
        return False


@cache
def _no_sketch() -> Any:
    """The sketch of no text; its permutations are drawn once. The library mixes the hashes, so that a fast one serves."""
    from datasketch import MinHash  # loads scipy, seconds that only the assembly should take

    return MinHash(_PERMUTATIONS, hashfunc=lambda shingle: crc32(shingle.encode()))


class Introductions:
    """Whether an answer says who is speaking, by the language's phrases with the role's names filled in."""

    def __init__(self, character: Character, language: Language) -> None:
        names = {name.lower() for name in (character.label, *character.aliases) if name}
        cues = language.cues.get("introduction", ())
        self._phrases = [Template(cue).substitute(label=name) for cue in cues for name in names]

    def has(self, answer: str) -> bool:
        """Whether the answer introduces the speaker by name."""
        plain = answer.lower().replace("’", "'")
        return any(holds(plain, phrase) for phrase in self._phrases)


def _is_foreign(answer: str, language: Language, settings: DatasetSettings) -> bool:
    """Another script, or, where words stand apart, hardly one of the words that no sentence of the language does without."""
    if language.script_share(answer) < settings.min_script_share:
        return True
    words = _WORD.findall(answer.casefold().replace("’", "'"))
    if not language.words_apart or len(words) < _FEW_WORDS:
        return False
    common = frozenset(language.cues.get("function_words", ()))
    return sum(word in common for word in words) < settings.min_function_words * len(words)
