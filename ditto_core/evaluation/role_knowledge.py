"""Accurate role-related knowledge: does the answer say what is known about the role?

Input:   a role-specific question, the answer, the role's summary and the evidence that the question is about.
Output:  1 to 10, or None if the judge's reply cannot be read or there is nothing to compare with.
Source:  arXiv 2401.12474, section 4; prompt text in languages/en/judge_knowledge.txt.

Example reply of an LLM judge:
    Polonium and the reason are right, the year is missing. [[8]]

Without a model (`recall`): the best matching line of evidence counts, by the share of its content words that the answer
has. Words of the question are left out, and of a claim only the value is looked for. A share of 0 is 1, a share of 1 is
10. A refusal, or speaking as an assistant, is 1. This measures recall alone: what the answer makes up besides is not
seen.
"""

import re
from collections.abc import Collection, Sequence

from ditto_core.evaluation import verdicts
from ditto_core.evaluation.words import content, value_of, words
from ditto_core.languages import Language

LOWEST, HIGHEST = 1.0, 10.0

# A number that is not part of a range ("7-8") or of a longer number.
_NUMBER = r"(?<![\d.])(\d+(?:\.\d+)?)(?![\d])(?!\s*[-–~]\s*\d)"
_LABEL = (
    r"(?i:scores?|rating|grade|mark|verdict|final|answer|give(?: it| this)?(?: an?)?|rate(?: it| this)?"
    r"|评分|得分|分数|打分|점수|평점|채점)"
)
_READINGS = (
    re.compile(rf"\[\[[\s*]*{_NUMBER}(?:\s*/\s*10)?|{_NUMBER}(?:\s*/\s*10)?[分점]?[\s*]*\]\]"),
    re.compile(
        rf"{_LABEL}(?i:\s+(?:is|of|as|at|would be))?[\s:=*_\"'(\[是为은는–-]*{_NUMBER}"
        rf"|{_NUMBER}\s*(?:(?:/|(?i:out of))\s*10\b|[分점])"
    ),
    re.compile(rf"^[ \t\"“'(*_#\[]*{_NUMBER}[ \t\r\"”')*_.!。\]]*$"),
)
# Inside a sentence these may be a reference or an emphasis as well, so they count only where nothing else does.
_WEAK_READINGS = (re.compile(rf"\[\s*{_NUMBER}|\*\*\s*{_NUMBER}|{_NUMBER}\s*\]"),)


def render(language: Language, role: str, summary: str, evidence: Sequence[str], question: str, answer: str) -> str:
    """The prompt of an LLM judge."""
    listed = "\n".join(f"- {fact}" for fact in evidence)
    return language.render("judge_knowledge", role=role, summary=summary, evidence=listed, question=question, answer=answer)


def parse(reply: str) -> float | None:
    """Read a score: in double brackets, else labelled or "of 10", else alone, else in single brackets or bold.

    Returns:
        1 to 10; None for a reply without such a number. The last line that holds one counts.
    """
    text = verdicts.plain(reply)
    found = verdicts.last(text, _READINGS) or verdicts.last(text, _WEAK_READINGS)
    score = float(found) if found else None
    return score if score is not None and LOWEST <= score <= HIGHEST else None


def recall(question: str, answer: str, evidence: Sequence[str], claims: Collection[str], language: Language) -> float | None:
    """Score an answer by the evidence it holds, as the head of this module says.

    Args:
        question: What was asked; its words are left out.
        answer: What the model said.
        evidence: Claims and sentences that the question is about.
        claims: The role's claims, to tell which lines are "property: value".
        language: Its cues say what refuses and what speaks as an assistant.

    Returns:
        1 to 10, or None where no line of evidence says more than the question does.
    """
    asked = words(question)
    lines = [content(value_of(fact) if fact in claims else fact, language) - asked for fact in evidence]
    if not any(lines):
        return None
    if language.speaks("refusal", answer) or language.speaks("assistant", answer):
        return LOWEST
    said = content(answer, language)
    share = max(len(said & line) / len(line) for line in lines if line)
    return round(LOWEST + (HIGHEST - LOWEST) * share, 2)
