"""Consistent role identity: can a judge tell from one exchange who is speaking?

Input:   one question and answer, four candidates, the role among them.
Output:  1 if the judge picks the role, 0 if it picks another or nobody, None if its reply cannot be read.
Source:  arXiv 2401.12474, section 4; prompt text in languages/en/judge_identity.txt.

Example reply of an LLM judge (the order of the candidates is another one in every vote):
    The speaker names polonium after a homeland, which only Curie did. [[B]]

Without a model (`pick`), each candidate earns points for the words of the ANSWER that are in its names (weight 3) or in
the values of its claims (weight 1). Words of the question earn nothing, so echoing it proves nothing. A word's points
shrink with the number of candidates, and of known characters, that share it: what all four share is worth 0, and so is
what more than the square root of all known characters share. The one best candidate is picked. An answer that speaks as
an assistant, that has no evidence for anyone, or that has a tie at the top, is a readable verdict: none of them.
"""

import math
import re
import unicodedata
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from ditto_core.evaluation import verdicts
from ditto_core.evaluation.words import content, value_of, words
from ditto_core.languages import Language
from ditto_core.recipe import digest, stable_hash

NONE = -1
"""A judge's readable verdict that the speaker is none of the candidates."""

_NAME_WEIGHT = 3.0
_LEAST_RARITY = 0.5
_LETTERS = "ABCDEFGHIJKLMNOPQRSTUVWXYZ"


def shuffled(candidates: Sequence[str], question: str, answer: str, vote: int) -> tuple[str, ...]:
    """The candidates in the order of one vote: drawn from the exchange and the vote alone, so the same in every run."""

    def place(label: str) -> int:
        return stable_hash(digest(["candidate order", question, answer, vote, label]))

    return tuple(sorted(candidates, key=place))


def render(language: Language, question: str, answer: str, candidates: Sequence[str]) -> str:
    """The prompt of an LLM judge, with the candidates lettered in the order given."""
    listed = "\n".join(f"{letter}. {label}" for letter, label in zip(_LETTERS, candidates, strict=False))
    return language.render("judge_identity", question=question, answer=answer, candidates=listed)


def letters(label: str, candidates: Sequence[str]) -> dict[str, float]:
    """The verdict of each letter under which a judge sees the candidates."""
    return {letter: float(name == label) for letter, name in zip(_LETTERS, candidates, strict=False)}


def parse(reply: str, candidates: Sequence[str]) -> int | None:
    """Read a judge's choice: what is in brackets, else what is labelled an answer, else what stands alone, else a name.

    Args:
        reply: The judge's words.
        candidates: In the order in which the judge saw them.

    Returns:
        Index of the candidate, `NONE`, or None for a reply without a readable verdict. The last line that holds one counts.
    """
    text = verdicts.plain(reply)
    for line in reversed(text.splitlines()):
        bracketed = re.findall(r"\[\[\s*([^\[\]]+?)\s*(?:\]|$)|([^\s\[\]]+)\s*\]\]", line)
        if bracketed:
            return _choice(bracketed[-1][0] or bracketed[-1][1], candidates)
        letter = _lettered(_without_initials(line, candidates), _LETTERS[: len(candidates)])
        if letter is not None:
            return letter
        alone = _named(line.strip(" \t*_\"'“”()[].!。"), candidates, whole=True)
        if alone is not None:
            return alone
    single = re.findall(r"\[\s*([^\[\]\n]+?)\s*\]", text)
    return _choice(single[-1], candidates) if single else _last_named(text, candidates)


def reader(label: str, candidates: Sequence[str]) -> Callable[[str], int | None]:
    """Reads replies to one prompt: 1 if the role of that label was picked, 0 if another or nobody, None as `parse`."""

    def read(reply: str) -> int | None:
        choice = parse(reply, candidates)
        return None if choice is None else int(choice != NONE and candidates[choice] == label)

    return read


@dataclass(frozen=True, slots=True)
class Traits:
    """What gives a character away: content words of its names, and of the values of its claims."""

    names: frozenset[str]
    facts: frozenset[str]


@dataclass(frozen=True, slots=True)
class Cast:
    """All known characters: their traits, and how many of them share a word."""

    traits: Mapping[str, Traits]
    shared: Mapping[str, int]


def traits(names: Sequence[str], facts: Sequence[str], language: Language) -> Traits:
    """Traits of one character; a fact without "property: " in front is one more name."""
    more = [fact for fact in facts if ": " not in fact]
    values = [value_of(fact) for fact in facts if ": " in fact]
    return Traits(content("\n".join([*names, *more]), language), content("\n".join(values), language))


def cast(candidate_facts: Mapping[str, Sequence[str]], language: Language) -> Cast:
    """Traits of every known character, from label -> claims' lines and other names."""
    known = {label: traits([label], facts, language) for label, facts in candidate_facts.items()}
    return Cast(known, Counter(word for one in known.values() for word in one.names | one.facts))


@dataclass(frozen=True, slots=True)
class Pick:
    """Verdict of the judge without a model: the label, or "" for none of them, and everyone's points."""

    label: str
    points: tuple[tuple[str, float], ...]

    def __str__(self) -> str:
        listed = ", ".join(f"{label} {points:.2f}" for label, points in self.points)
        return f"{self.label or 'none of them'} ({listed})"


def pick(question: str, answer: str, candidates: Mapping[str, Traits], known: Cast, language: Language) -> Pick:
    """Choose a candidate by the evidence in the answer, as the head of this module says.

    Args:
        question: What was asked; its words earn nothing.
        answer: What the model said.
        candidates: Label -> traits, the role's among them.
        known: All characters, for the rarity of words.
        language: Its cues say what speaks as an assistant.
    """
    if language.speaks("assistant", answer):
        return Pick("", tuple((label, 0.0) for label in candidates))
    said = content(answer, language) - words(question)
    present = Counter(word for one in candidates.values() for word in one.names | one.facts)
    people = max(len(known.traits), len(candidates))
    weight = {
        word: _rarity(present[word], len(candidates)) * _rare_enough(known.shared.get(word, 1), people)
        for word in said & present.keys()
    }
    points = tuple((label, _points(one, weight)) for label, one in candidates.items())
    best = max((number for _, number in points), default=0.0)
    leaders = [label for label, number in points if number == best]
    return Pick(leaders[0] if best > 0 and len(leaders) == 1 else "", points)


def _points(one: Traits, weight: Mapping[str, float]) -> float:
    by_name = sum(weight[word] for word in sorted(weight) if word in one.names)
    by_fact = sum(weight[word] for word in sorted(weight) if word in one.facts - one.names)
    return round(_NAME_WEIGHT * by_name + by_fact, 6)


def _rarity(sharing: int, people: int) -> float:
    """1 for a word of one person alone, falling to 0 for a word of everyone."""
    return 1.0 if people < 2 else 1.0 - math.log(max(1, sharing)) / math.log(people)


def _rare_enough(sharing: int, people: int) -> float:
    rarity = _rarity(min(sharing, people), people)
    return rarity if rarity >= _LEAST_RARITY else 0.0


def _lettered(line: str, letters: str) -> int | None:
    """A letter that is labelled an answer, or that stands alone or at the head of a line, or in bold."""
    # "A" is also an article: it counts as a letter only where no word of the Latin script follows.
    letter = rf"([{letters[1:]}](?![A-Za-z0-9_])|A(?=\s*(?:$|[^\w\s])|[\u3400-\u9fff\uac00-\ud7a3]))"
    label = r"(?i:answer|verdict|choice|option|character|speaker|答案|选项|选择|选|正解|정답|답|선택)"
    found = re.findall(rf"{label}(?i:\s+(?:is|be))?[\s:=*_\"'(\[是为은는]*{letter}", line)
    found += re.findall(rf"(?<![A-Za-z])([{letters}])[를을]\s*(?:고|선택|택)", line)
    if not found:
        alone = rf"^[ \t*_(\"'#\[]*([{letters}])[ \t\r*_)\"'.:,\]]*$|^[ \t*_(]*([{letters}])[).:、]"
        found = [first or second for first, second in re.findall(alone, line)]
    found = found or re.findall(rf"\*\*\s*\(?([{letters}])\)?[.:]?\s*\*\*", line)
    return letters.index(found[-1]) if found else None


def _without_initials(text: str, candidates: Sequence[str]) -> str:
    """The text without the names that begin as an answer's letter does, such as "C. S. Lewis"."""
    for name in candidates:
        if re.match(r"[A-Za-z]\.", name):
            text = re.sub(re.escape(name), " ", text, flags=re.IGNORECASE)
    return text


def _choice(verdict: str, candidates: Sequence[str]) -> int | None:
    """What stood in brackets: a letter, a letter and a name, or a name."""
    letters = _LETTERS[: len(candidates)]
    letter = re.match(r"\W*([A-Za-z])(?=\W*$|\s*[).:,、])", _without_initials(verdict, candidates))
    if letter and letter[1].upper() in letters:
        return letters.index(letter[1].upper())
    return _named(verdict, candidates)


def _last_named(text: str, candidates: Sequence[str]) -> int | None:
    """The candidate in the last line that names any; two names in one line are no verdict."""
    for line in reversed(text.splitlines()):
        named = _all_named(line, candidates)
        if named:
            return named[0] if len(named) == 1 else None
    return None


def _named(line: str, candidates: Sequence[str], *, whole: bool = False) -> int | None:
    """The one candidate that a line names, or `NONE`; `whole`: that the line consists of."""
    if re.fullmatch(r"\W*(?:none(?: of (?:them|these|the above))?|nobody|no one|都不是|以上都不是|없음)\W*", line.casefold()):
        return NONE
    named = _all_named(line, candidates)
    if len(named) != 1 or (whole and _folded(line) != _folded(candidates[named[0]])):
        return None
    return named[0]


def _all_named(line: str, candidates: Sequence[str]) -> list[int]:
    """Every candidate in a line, the longest name first, so that "Athena Nike" is not read as "Athena" too."""
    rest, found = _folded(line), []
    for index in sorted(range(len(candidates)), key=lambda index: -len(candidates[index])):
        name = _folded(candidates[index])
        if name and re.search(rf"(?<!\w){re.escape(name)}(?!\w)" if name.isascii() else re.escape(name), rest):
            found.append(index)
            rest = rest.replace(name, "\0")
    return found


def _folded(text: str) -> str:
    return unicodedata.normalize("NFKC", text).casefold()
