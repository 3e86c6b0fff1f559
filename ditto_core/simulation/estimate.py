"""Estimate: what a simulation will ask of the model, before anything is paid.

Input:   some of the profiles, how many roles there are, and how long replies were so far.
Output:  requests and tokens. Prompts are rendered and counted as the run would; replies are taken to be as long as earlier ones.

Example: 4,000 roles -> 4,000 requests for questions and 24,000 for answers, 31 million tokens in, 3 million out.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from ditto_core.generation.requests import Request
from ditto_core.languages import Language
from ditto_core.records import Profile
from ditto_core.settings import SimulationSettings
from ditto_core.simulation import queries, responses

SAMPLE = 20
"""Profiles whose prompts are counted."""
_QUESTION = "Where did you live, and who was with you?"
_ASSUMED = {"queries": 200.0, "responses": 150.0}


@dataclass(frozen=True, slots=True)
class Estimate:
    """What a run asks if each list of questions is valid at the first draw, and nothing is in the memo.

    Attributes:
        requests: For questions and answers together.
        prompt_tokens: Of all prompts; the prefix cache saves most of the work on those of one role.
        new_tokens: Of all replies.
    """

    requests: int
    prompt_tokens: int
    new_tokens: int

    def __add__(self, other: "Estimate") -> "Estimate":
        """The sum of two."""
        return Estimate(
            self.requests + other.requests, self.prompt_tokens + other.prompt_tokens, self.new_tokens + other.new_tokens
        )


def estimate(
    roles: int,
    sample: Sequence[Profile],
    language: Language,
    settings: SimulationSettings,
    count_tokens: Callable[[str], int],
    reply_tokens: Mapping[str, float],
) -> Estimate:
    """Of all roles of a language, from a sample of them.

    Args:
        roles: How many there are.
        sample: Profiles, at least one.
        reply_tokens: Purpose -> mean tokens of earlier replies; where there is none, a guess takes its place.
    """
    pairs = roles * settings.partners
    answers = 2 * pairs * settings.queries_per_pair
    partners = [*sample[1:], sample[0]]
    asked = [queries.request(*pair, language, settings, count_tokens) for pair in zip(sample, partners, strict=True)]
    answered = [responses.request(role, _QUESTION, language, settings, count_tokens) for role in sample]
    per_reply = _ASSUMED | dict(reply_tokens)
    return Estimate(
        pairs + answers,
        round(pairs * _mean_tokens(asked, count_tokens) + answers * _mean_tokens(answered, count_tokens)),
        round(pairs * per_reply["queries"] + answers * per_reply["responses"]),
    )


def _mean_tokens(requests: Sequence[Request], count_tokens: Callable[[str], int]) -> float:
    return sum(count_tokens(message.content) for request in requests for message in request.messages) / len(requests)
