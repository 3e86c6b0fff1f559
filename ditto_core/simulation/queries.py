"""Query simulation: questions that one character can answer and another cannot.

Input:   two profiles, the role's first, so that requests of one role share a prefix.
Output:  (question, reason) pairs: role-specific for the role, contrastive for its partner.
Source:  arXiv 2401.12474, section 3.3, appendix B; the prompt is languages/<code>/query_simulation.txt.

Example reply (real models wrap it in prose and fences, which `parse` steps over):
    [{"question": "How did you find polonium?", "reason": "A playwright knew no chemistry."}]

No model is called here: `request` builds the prompt and `parse` reads the reply.
"""

import ast
import json
import re
from collections.abc import Callable, Iterator, Mapping
from itertools import islice
from typing import Any

from ditto_core.errors import RowFailed
from ditto_core.generation.requests import Completion, Request, Sampling, canonical_schema
from ditto_core.generation.thoughts import spoken
from ditto_core.knowledge.profiles import verbalise
from ditto_core.languages import Language, holds
from ditto_core.records import Message, Profile
from ditto_core.settings import SimulationSettings

_LONGEST_QUESTION = 300
_LONGEST_REASON = 300
_BRACKETS = 20  # tried as the start of the list; a hostile reply has thousands
OWN_SCRIPT = 0.5  # share of letters; names and terms of other scripts occur in any language
_DECODER = json.JSONDecoder(strict=False)
_TRAILING_COMMA = re.compile(r",\s*([\]}])")
_UNWRITABLE = re.compile("[\\x00\\ud800-\\udfff]")
_STRAIGHT_QUOTES = str.maketrans({"“": '"', "”": '"', "„": '"', "＂": '"', "，": ",", "：": ":", "［": "[", "］": "]"})


def request(
    role: Profile,
    partner: Profile,
    language: Language,
    settings: SimulationSettings,
    count_tokens: Callable[[str], int],
) -> Request:
    """The request for the first draw of one list of questions."""
    prompt = language.render(
        "query_simulation",
        role_profile=verbalise(role, language, settings.profile_tokens, count_tokens),
        partner_profile=verbalise(partner, language, settings.profile_tokens, count_tokens),
        role=role.character.label,
        partner=partner.character.label,
        count=str(settings.queries_per_pair),
    )
    sampling = Sampling(settings.temperature, settings.top_p, settings.repetition_penalty, settings.max_query_tokens)
    schema = canonical_schema(_schema(settings.queries_per_pair)) if settings.query_mode == "schema" else ""
    return Request((Message("user", prompt),), sampling, schema=schema, purpose="queries")


def parse(completion: Completion, count: int) -> list[tuple[str, str]]:
    """Read the list of questions from a reply.

    Returns:
        `count` (question, reason) pairs, stripped, in the reply's order.

    Raises:
        RowFailed: "cut" at the token limit, "content_filter", "only_thought" if nothing is said, "malformed" without a readable
            list, "too_few" with fewer questions.
    """
    text = completion.text
    if completion.finish_reason == "length":
        raise RowFailed("cut", "the reply ends at the token limit", raw=text)
    if completion.finish_reason == "content_filter":
        raise RowFailed("content_filter", "the server's filter took the reply", raw=text)
    said = spoken(text)
    if text.strip() and not said.strip():
        raise RowFailed("only_thought", "the reply holds a thought and nothing after it", raw=text)
    pairs = _best_list(said, count)
    if pairs is None:
        raise RowFailed("malformed", "expected a JSON list of questions", raw=text)
    if len(pairs) < count:
        raise RowFailed("too_few", f"expected {count} questions, found {len(pairs)}", raw=text)
    return pairs[:count]


def check(question: str, earlier: list[str], role: Profile, partner: Profile, language: Language) -> None:
    """Refuse a question that gives the game away or is not put to the character.

    Raises:
        RowFailed: "empty", "duplicate", "wrong_language", "names_the_role", "names_the_partner" or "third_person".
    """
    if not _plain(question):
        raise RowFailed("empty", "there is no question", raw=question)
    if _plain(question) in map(_plain, earlier):
        raise RowFailed("duplicate", "the same question twice", raw=question)
    if language.script_share(question) < OWN_SCRIPT:
        raise RowFailed("wrong_language", f"the question is not in {language.code}", raw=question)
    if _names(question, role):
        raise RowFailed("names_the_role", f"the question names {role.character.label}", raw=question)
    if _names(question, partner):
        raise RowFailed("names_the_partner", f"the question names {partner.character.label}", raw=question)
    if not language.speaks("second_person", f" {_plain(question)} "):
        raise RowFailed("third_person", "the question is not put to the character", raw=question)


def _schema(count: int) -> Mapping[str, Any]:
    """Bounded everywhere: a grammar guarantees a valid prefix only, so nothing may go on for ever."""
    item = {
        "type": "object",
        "properties": {
            "question": {"type": "string", "minLength": 5, "maxLength": _LONGEST_QUESTION},
            "reason": {"type": "string", "minLength": 1, "maxLength": _LONGEST_REASON},
        },
        "required": ["question", "reason"],
        "additionalProperties": False,
    }
    return {"type": "array", "items": item, "minItems": count, "maxItems": count}


def _best_list(text: str, count: int) -> list[tuple[str, str]] | None:
    """The questions of the first JSON list that holds `count` of them, else of the one that holds most.

    Brackets in the prose around a reply, such as "as in [1]", are lists too, so the first list need not be the answer.
    """
    best: list[tuple[str, str]] | None = None
    for items in _lists(text):
        pairs = [pair for pair in map(_pair, items) if pair is not None]
        if len(pairs) >= count:
            return pairs
        if items and (best is None or len(pairs) > len(best)):
            best = pairs
    return best


def _lists(text: str) -> Iterator[list[Any]]:
    """Lists in a text: JSON as it stands, then with trailing commas and typographic quotes mended, then looser forms."""
    mended = _TRAILING_COMMA.sub(r"\1", text.translate(_STRAIGHT_QUOTES))
    for candidate in (text, mended):
        for value in _json_at("[", candidate):
            if isinstance(value, list) and value:
                yield value
    yield _python_list(mended)
    yield [value for value in _json_at("{", mended) if isinstance(value, dict) and "question" in value]


def _json_at(bracket: str, text: str) -> Iterator[Any]:
    """JSON values that begin with a bracket; line breaks inside of strings are let pass."""
    for match in islice(re.finditer(re.escape(bracket), text), _BRACKETS):
        try:
            yield _DECODER.raw_decode(text, match.start())[0]
        except (ValueError, RecursionError):
            continue


def _python_list(text: str) -> list[Any]:
    """A list in Python's spelling, which some models write: quotes of the other kind, None for null."""
    start, end = text.find("["), text.rfind("]")
    try:
        value = ast.literal_eval(text[start : end + 1].strip()) if 0 <= start < end else []
    except (ValueError, SyntaxError, MemoryError, RecursionError):
        return []
    return value if isinstance(value, list) else []


def _pair(item: Any) -> tuple[str, str] | None:
    if isinstance(item, str):
        return _text(item), ""
    if isinstance(item, dict) and isinstance(item.get("question"), str):
        reason = item.get("reason")
        return _text(item["question"]), _text(reason) if isinstance(reason, str) else ""
    return None


def _text(value: str) -> str:
    """A string of a reply without what JSON escapes can hold but no file can: NUL and halves of surrogate pairs."""
    return _UNWRITABLE.sub(" ", value).strip()


def _names(question: str, character: Profile) -> bool:
    """Whether a question holds the character's label."""
    label = character.character.label.lower()
    return bool(label) and holds(question.lower(), label)


def _plain(question: str) -> str:
    return re.sub(r"\W+", " ", question.lower()).strip()
