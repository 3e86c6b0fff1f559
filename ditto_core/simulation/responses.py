"""Response simulation: the role answers a question with its profile before it.

Input:   a profile and a question.
Output:  the answer as the model gave it, without its thoughts, or the name of what is wrong with it. Refusals are answers.
Source:  arXiv 2401.12474, section 3.3, appendix B; the prompt is languages/<code>/response_simulation.txt.

Example: "Pierre and I had married in 1895; he shared the prize with me."
"""

import sys
from collections.abc import Callable, Sequence
from functools import cache

from ditto_core.errors import RowFailed
from ditto_core.generation.requests import Completion, Request, Sampling
from ditto_core.generation.thoughts import spoken
from ditto_core.knowledge.profiles import facts, verbalise
from ditto_core.languages import Language
from ditto_core.records import Message, Profile
from ditto_core.settings import SimulationSettings
from ditto_core.simulation import evidence
from ditto_core.simulation.queries import OWN_SCRIPT

_REPEATS = 4
_SHORTEST_REPEAT = 12


def requests(
    role: Profile,
    questions: Sequence[str],
    language: Language,
    settings: SimulationSettings,
    count_tokens: Callable[[str], int],
) -> list[Request]:
    """The requests for the answers of one role, in the order of its questions.

    A profile within `settings.profile_tokens` is shown whole; of a longer one, the passages that each question retrieves
    come before the rest of the article. What the questions share is rendered, counted and indexed once: with a long article
    it costs more than all the rest.
    """
    whole = verbalise(role, language, sys.maxsize, len)  # nothing is cut, so nothing needs to be counted in tokens
    if count_tokens(whole) <= settings.profile_tokens:
        return [_request(role, whole, question, language, settings) for question in questions]
    index = evidence.Index(facts(role))
    claims = {claim.text() for claim in role.character.claims}
    counted = cache(count_tokens)
    made: list[Request] = []
    for question in questions:
        passages = [text for text in index.choose(question, settings.evidence) if text not in claims]
        shown = verbalise(role, language, settings.profile_tokens, counted, passages)
        made.append(_request(role, shown, question, language, settings))
    return made


def request(
    role: Profile,
    question: str,
    language: Language,
    settings: SimulationSettings,
    count_tokens: Callable[[str], int],
) -> Request:
    """The same for one question alone."""
    return requests(role, [question], language, settings, count_tokens)[0]


def _request(role: Profile, shown: str, question: str, language: Language, settings: SimulationSettings) -> Request:
    identity = language.identity(role.character.label, role.character.description)
    system = language.render("response_simulation", identity=identity, profile=shown)
    sampling = Sampling(settings.temperature, settings.top_p, settings.repetition_penalty, settings.max_response_tokens)
    return Request((Message("system", system), Message("user", question)), sampling, purpose="responses")


def check(completion: Completion, language: Language) -> str:
    """The answer, if it is one; whether it is in character, the dataset's filters tell, by their thresholds.

    Raises:
        RowFailed: "cut", "content_filter", "empty", "only_thought", "repeats_itself" or "wrong_language".
    """
    raw = completion.text.strip()
    answer = spoken(raw).strip()
    if completion.finish_reason == "length":
        raise RowFailed("cut", "the answer ends at the token limit", raw=raw)
    if completion.finish_reason == "content_filter":
        raise RowFailed("content_filter", "the server's filter took the answer", raw=raw)
    if not raw:
        raise RowFailed("empty", "there is no answer")
    if not answer:
        raise RowFailed("only_thought", "the reply holds a thought and nothing after it", raw=raw)
    if repeats_itself(answer):
        raise RowFailed("repeats_itself", "the answer goes round in circles", raw=raw)
    if language.script_share(answer) < OWN_SCRIPT:
        raise RowFailed("wrong_language", f"the answer is not in {language.code}", raw=raw)
    return answer


def is_in_role(answer: str, language: Language) -> bool:
    """Whether nothing in an answer is an assistant's, nor about the notes before it."""
    return not any(language.speaks(cue, answer) for cue in ("assistant", "profile_talk"))


def repeats_itself(text: str) -> bool:
    """Whether the end of a text is one passage of at least 12 characters, four times in a row."""
    return any(text.endswith(text[-length:] * _REPEATS) for length in range(_SHORTEST_REPEAT, len(text) // _REPEATS + 1))
