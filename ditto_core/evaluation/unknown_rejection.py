"""Unknown question rejection: does the role turn down what it cannot know?

Input:   one question and answer.
Output:  1 if the answer refuses, 0 if it goes along, None if the judge's reply cannot be read. The label to compare
         with is 1 for contrastive questions.
Source:  arXiv 2401.12474, section 4; prompt text in languages/en/judge_rejection.txt.

Example reply of an LLM judge:
    The speaker says that leagues and seasons are unknown to her. [[yes]]

Without a model (`refuses`): a sentence has one of the language's refusal cues and does not speak as an assistant: "as
an AI I cannot answer" steps out of the role and is not the role's refusal.
"""

import re
from collections.abc import Mapping, Sequence

from ditto_core.evaluation import verdicts
from ditto_core.languages import Language
from ditto_core.records import Kind

_YES = r"(?i:yes|true|refused|rejected)|1|是|拒绝|예|네|はい"
_NO = r"(?i:no|false|answered|not refused|not rejected)|0|否|不是|未拒绝|아니요|아니오|いいえ"
_EITHER = rf"({_NO}|{_YES})(?![\w/])"
LETTERS: Mapping[str, float] = {"A": 1.0, "B": 0.0}
"""What a judge that may say one letter alone means by it."""
_LABEL = (
    r"(?i:verdict|answer|decision|final|judge?ment|refused|turned down|结论|答案|判断结果|判断|判定|结果|是否回绝"
    r"|정답|답|판정|결론|판단|물리쳤는가)"
)
_READINGS = (
    re.compile(rf"\[\[[\s*\"']*{_EITHER}|(?<!\w){_EITHER}[\s*]*\]\]"),
    re.compile(rf"{_LABEL}(?i:\s+is)?[?\s]*[:=]?[\s*_\"'(\[是为은는]*(?<!\w){_EITHER}"),
    re.compile(rf"^[ \t\"“'(*_#`\[]*{_EITHER}[ \t\r\"”')*_.!。`\]]*$"),
)
# Inside a sentence these may be an emphasis as well, so they count only where nothing else does.
_WEAK_READINGS = (
    re.compile(rf"\[[\s*]*{_EITHER}|\*\*\s*{_EITHER}"),
    re.compile(rf"^[\s\"'(*_]*{_EITHER}(?=\s*[,.;:—–-])"),
)
_IS_NO = re.compile(rf"(?:{_NO})\Z")
_SENTENCE_END = re.compile(r"(?<=[.!?])\s+|(?<=[。！？])|\n")


def labels(kinds: Sequence[Kind]) -> tuple[int, ...]:
    """What should be: 1 for contrastive questions, else 0."""
    return tuple(int(kind == "contrastive") for kind in kinds)


def render(language: Language, role: str, question: str, answer: str) -> str:
    """The prompt of an LLM judge."""
    return language.render("judge_rejection", role=role, question=question, answer=answer)


def parse(reply: str) -> int | None:
    """Read yes or no: in double brackets, else labelled, else alone, else in single brackets, bold or leading.

    Returns:
        1 for refused, 0 for answered, None for neither. The last line that holds one counts.
    """
    text = verdicts.plain(reply)
    found = verdicts.last(text, _READINGS) or verdicts.last(text, _WEAK_READINGS)
    return None if found is None else int(_IS_NO.match(found) is None)


def refuses(answer: str, language: Language) -> bool:
    """Whether a sentence of the answer refuses in the role."""
    return any(
        language.speaks("refusal", sentence) and not language.speaks("assistant", sentence)
        for sentence in _SENTENCE_END.split(answer)
    )
