"""Languages: prompt templates and wordings, one folder each. Adding a language is adding a folder.

A folder holds `language.toml` (wordings, cues) and one text file a prompt, with `$name` placeholders.
"""

import re
import tomllib
import unicodedata
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from string import Template

from ditto_core.errors import InvalidInput

_FOLDER = Path(__file__).parent
_LETTER = r"[^\W_\u3040-\u30ff\u3400-\u9fff\uac00-\ud7af]"
"""Of a script whose words end where its letters end: not of Chinese and Japanese, nor of Korean, which glues particles on."""


@dataclass(frozen=True, slots=True)
class Language:
    """The wordings of one language, as written in its folder.

    Attributes:
        code: Name of the folder, such as "en".
        wiki: Subdomain of the Wikipedia and language tag of its labels.
        label_fallbacks: Language tags to try, in order, for a label that `wiki` lacks.
        words: Section of language.toml -> key -> text, for "profile" and "dates".
        months: Twelve names, January first.
        cues: "refusal", "assistant", "profile_talk", "introduction" and others -> lower-case phrases, heard as whole words.
        skipped_headings: Lower-case headings of sections that are no prose about the subject.
        scripts: How the Unicode names of its letters begin, such as "LATIN".
        words_apart: Whether spaces stand between words and the cue "function_words" lists whole words.
        prompts: Name of the file without ".txt" -> text with `$name` placeholders.
    """

    code: str
    wiki: str
    label_fallbacks: tuple[str, ...]
    identity_templates: tuple[str, str]
    words: Mapping[str, Mapping[str, str]]
    months: tuple[str, ...]
    cues: Mapping[str, tuple[str, ...]]
    skipped_headings: frozenset[str]
    scripts: tuple[str, ...]
    words_apart: bool
    prompts: Mapping[str, str]

    def identity(self, label: str, description: str) -> str:
        """The one line that stays in the system prompt (paper section 3.4)."""
        with_description, without = self.identity_templates
        return Template(with_description if description else without).substitute(label=label, description=description)

    def render(self, prompt: str, **values: str) -> str:
        """Fill the placeholders of a prompt; a missing value is a `KeyError` that names it."""
        return Template(self.prompts[prompt]).substitute(values).strip()

    def speaks(self, cue: str, text: str) -> bool:
        """Whether `text` holds one of the phrases listed under `cue`."""
        return self.heard(cue, text) > 0

    def script_share(self, text: str) -> float:
        """Share of the letters of a text that are of the language's scripts; 1 where there is no letter."""
        letters = {char: number for char, number in Counter(text).items() if char.isalpha()}
        own = sum(number for char, number in letters.items() if unicodedata.name(char, "").startswith(self.scripts))
        return own / sum(letters.values()) if letters else 1.0

    def heard(self, cue: str, text: str) -> int:
        """How many of the phrases listed under `cue` the text holds."""
        plain = text.lower().replace("’", "'")
        return sum(holds(plain, phrase) for phrase in self.cues[cue])


def holds(text: str, phrase: str) -> bool:
    """Whether a text holds a phrase as whole words: "every" does not hold "eve", while "저는 ai입니다" holds "저는 ai"."""
    if phrase not in text:  # the usual case, and far cheaper to see
        return False
    before, after = (rf"(?<!{_LETTER})" if _is_letter(phrase[:1]) else "", rf"(?!{_LETTER})" if _is_letter(phrase[-1:]) else "")
    return re.search(before + re.escape(phrase) + after, text) is not None


def _is_letter(character: str) -> bool:
    return re.match(_LETTER, character) is not None


@cache
def available() -> tuple[str, ...]:
    """Codes of the languages that ship with Ditto, sorted."""
    return tuple(sorted(path.parent.name for path in _FOLDER.glob("*/language.toml")))


@cache
def load(code: str) -> Language:
    """Read one language.

    Raises:
        InvalidInput: No such folder; the message lists those that exist.
    """
    folder = _FOLDER / code
    if code not in available():
        raise InvalidInput(
            f"language {code!r} is not known; known: {', '.join(available())}. "
            f"To add one, copy the folder languages/en and translate it."
        )
    table = tomllib.loads((folder / "language.toml").read_text("utf-8"))
    months = tuple(table["dates"].pop("months"))
    return Language(
        code=code,
        wiki=table["wiki"],
        label_fallbacks=tuple(table["label_fallbacks"]),
        identity_templates=(table["identity"], table["identity_without_description"]),
        words={"profile": table["profile"], "dates": table["dates"]},
        months=months,
        cues={name: tuple(phrases) for name, phrases in table["cues"].items()},
        skipped_headings=frozenset(table["headings"]["skipped"]),
        scripts=tuple(table["scripts"]),
        words_apart=table["words_apart"],
        prompts={path.stem: path.read_text("utf-8") for path in folder.glob("*.txt")},
    )
