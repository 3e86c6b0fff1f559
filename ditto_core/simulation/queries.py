"""Query simulation: questions that one character can answer and another cannot.

Input:   two profiles, the role's first, so that requests of one role share a prefix.
Output:  (question, reason) pairs: role-specific for the role, contrastive for its partner.
Source:  arXiv 2401.12474, section 3.3, appendix B; the prompt is languages/<code>/query_simulation.txt.

Example reply (real models wrap it in prose and fences, which `parse` steps over):
    [{"question": "How did you find polonium?", "reason": "A playwright knew no chemistry."}]

No model is called here: `request` builds the prompt and `parse` reads the reply.
"""

import json
import re
from collections.abc import Callable, Mapping
from itertools import islice
from typing import Any

from ditto_core.errors import RowFailed
from ditto_core.generation.generator import Completion, Request, Sampling, canonical_schema
from ditto_core.knowledge.profiles import verbalise
from ditto_core.languages import Language
from ditto_core.records import Message, Profile
from ditto_core.settings import SimulationSettings

_LONGEST_QUESTION = 300
_LONGEST_REASON = 300
_BRACKETS = 20  # tried as the start of the list; a hostile reply has thousands
_TRAILING_COMMA = re.compile(r",\s*([\]}])")
_STRAIGHT_QUOTES = str.maketrans({"“": '"', "”": '"', "„": '"', "＂": '"', "，": ",", "：": ":", "［": "[", "］": "]"})


def request(
    role: Profile,
    partner: Profile,
    language: Language,
    settings: SimulationSettings,
    count_tokens: Callable[[str], int],
    sample: int,
) -> Request:
    """The request for one list of questions."""
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
    return Request((Message("user", prompt),), sampling, sample, schema, "queries")


def parse(completion: Completion, count: int) -> list[tuple[str, str]]:
    """Read the list of questions from a reply.

    Returns:
        `count` (question, reason) pairs, stripped, in the reply's order.

    Raises:
        RowFailed: "cut" at the token limit, "malformed" without a readable list, "too_few" with fewer questions.
    """
    text = completion.text
    if completion.finish_reason == "length":
        raise RowFailed("cut", "the reply ends at the token limit", raw=text)
    items = _first_list(text)
    if items is None:
        raise RowFailed("malformed", "expected a JSON list of questions", raw=text)
    pairs = [pair for pair in map(_pair, items) if pair is not None]
    if len(pairs) < count:
        raise RowFailed("too_few", f"expected {count} questions, found {len(pairs)}", raw=text)
    return pairs[:count]


def check(question: str, earlier: list[str], role: Profile, partner: Profile, language: Language) -> None:
    """Refuse a question that gives the game away or is not put to the character.

    Raises:
        RowFailed: "duplicate", "names_the_role", "names_the_partner" or "third_person".
    """
    if _plain(question) in map(_plain, earlier):
        raise RowFailed("duplicate", "the same question twice", raw=question)
    if role.character.label.lower() in question.lower():
        raise RowFailed("names_the_role", f"the question names {role.character.label}", raw=question)
    if partner.character.label.lower() in question.lower():
        raise RowFailed("names_the_partner", f"the question names {partner.character.label}", raw=question)
    if not language.speaks("second_person", f" {question} "):
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


def _first_list(text: str) -> list[Any] | None:
    """The first JSON list in a text: as it stands, else with trailing commas and typographic quotes mended."""
    for candidate in (text, _TRAILING_COMMA.sub(r"\1", text.translate(_STRAIGHT_QUOTES))):
        for match in islice(re.finditer(r"\[", candidate), _BRACKETS):
            start = match.start()
            try:
                value, _ = json.JSONDecoder().raw_decode(candidate, start)
            except (ValueError, RecursionError):
                value = None
            if isinstance(value, list) and value:
                return value
    return None


def _pair(item: Any) -> tuple[str, str] | None:
    if isinstance(item, str) and item.strip():
        return item.strip(), ""
    if isinstance(item, dict) and isinstance(item.get("question"), str) and item["question"].strip():
        return item["question"].strip(), str(item.get("reason", "")).strip()
    return None


def _plain(question: str) -> str:
    return re.sub(r"\W+", " ", question.lower()).strip()
