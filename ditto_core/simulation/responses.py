"""Response simulation: the role answers a question with its profile before it.

Input:   a profile and a question.
Output:  the answer as the model gave it, or the name of what is wrong with it. Refusals are answers.
Source:  arXiv 2401.12474, section 3.3, appendix B; the prompt is languages/<code>/response_simulation.txt.

Example: "Pierre and I had married in 1895; he shared the prize with me."
"""

import sys
from collections.abc import Callable

from ditto_core.errors import RowFailed
from ditto_core.generation.generator import Completion, Request, Sampling
from ditto_core.knowledge.profiles import facts, verbalise
from ditto_core.languages import Language
from ditto_core.records import Message, Profile
from ditto_core.settings import SimulationSettings
from ditto_core.simulation import evidence

_REPEATS = 4
_SHORTEST_REPEAT = 12


def request(
    role: Profile,
    question: str,
    language: Language,
    settings: SimulationSettings,
    count_tokens: Callable[[str], int],
) -> Request:
    """The request for one answer; of a long article the passages that the question retrieves come before the rest."""
    character = role.character
    whole = verbalise(role, language, sys.maxsize, count_tokens)
    fits = count_tokens(whole) <= settings.profile_tokens
    system = language.render(
        "response_simulation",
        identity=language.identity(character.label, character.description),
        profile=whole if fits else _cut(role, question, language, settings, count_tokens),
    )
    sampling = Sampling(settings.temperature, settings.top_p, settings.repetition_penalty, settings.max_response_tokens)
    return Request((Message("system", system), Message("user", question)), sampling, purpose="responses")


def _cut(
    role: Profile,
    question: str,
    language: Language,
    settings: SimulationSettings,
    count_tokens: Callable[[str], int],
) -> str:
    """A profile that does not fit: what the question retrieves goes before the rest of the article."""
    claims = {claim.text() for claim in role.character.claims}
    retrieved = evidence.choose(question, facts(role), settings.evidence)
    passages = [text for text in retrieved if text not in claims]
    return verbalise(role, language, settings.profile_tokens, count_tokens, passages)


def check(completion: Completion, language: Language) -> str:
    """The answer, if it can be used.

    Raises:
        RowFailed: "cut", "empty", "assistant_speak", "profile_talk" or "repeats_itself".
    """
    answer = completion.text.strip()
    if completion.finish_reason == "length":
        raise RowFailed("cut", "the answer ends at the token limit", raw=answer)
    if not answer:
        raise RowFailed("empty", "there is no answer")
    for cue, reason in (("assistant", "assistant_speak"), ("profile_talk", "profile_talk")):
        if language.speaks(cue, answer):
            raise RowFailed(reason, "the answer steps out of the role", raw=answer)
    if repeats_itself(answer):
        raise RowFailed("repeats_itself", "the answer goes round in circles", raw=answer)
    return answer


def repeats_itself(text: str) -> bool:
    """Whether the end of a text is one passage of at least 12 characters, four times in a row."""
    return any(text.endswith(text[-length:] * _REPEATS) for length in range(_SHORTEST_REPEAT, len(text) // _REPEATS + 1))
