"""Judgements: exchanges whose truth is planted, and what a judge says of them.

In:     a role, turns as interviews have them.
Out:    an `Exchange`, and for each metric a `Case`: the prompt of the pipeline's judge, the reply, and how it is to be read.
Source: ours; the metrics are those of arXiv 2401.12474, section 4, the prompts are rendered by the pipeline's own functions.

A reply gives its reason in the third person, in the words in which the assistant tells of people, then the verdict. It says
nothing untrue of anybody: a wrong answer stands in the prompt alone.

    The Ugly Duckling is Hans Christian Andersen's work of 1843.
    [[C]]

Everything here is pure but for the generator's state.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from random import Random

from ditto_core.embedded.known import World
from ditto_core.embedded.turns import Turns
from ditto_core.evaluation import role_identity, role_knowledge, unknown_rejection
from ditto_core.languages import Language
from ditto_core.records import Claim, Profile

METRICS = ("consistency", "knowledge", "rejection")
_OUTCOMES = {"right": 0.36, "wrong": 0.16, "refused": 0.28, "assistant": 0.08, "followed": 0.12}
"""What a role does with a question -> weight; "followed" is an answer to a foreign question."""
_FOREIGN_SHARE = 0.6
"""Of the refused questions, and of those that the assistant answers: how many are foreign ones."""
_LOWEST, _HIGHEST = 1, 10
_CANDIDATES = 4


@dataclass(frozen=True, slots=True)
class Exchange:
    """A question to a role, and an answer of which is known what is true.

    Attributes:
        claim: What is asked about.
        told: What the answer says; None if it turns the question down or speaks as an assistant.
        outcome: One of "right", "wrong", "refused", "assistant", "followed".
    """

    role: Profile
    claim: Claim
    told: Claim | None
    question: str
    answer: str
    outcome: str

    @property
    def is_own(self) -> bool:
        """Whether the question is on a fact of the role's own."""
        return self.claim in self.role.character.claims


@dataclass(frozen=True, slots=True)
class Case:
    """A judge's prompt, and what a judge should say.

    Attributes:
        verdict: What is true.
        read: How the pipeline reads a reply's verdict; None if it cannot.
    """

    prompt: str
    reply: str
    verdict: float
    read: Callable[[str], float | None]


class Planter:
    """Makes exchanges up, and judges them.

    Args:
        random: Its state is the only thing that changes.
        language: Whose judges' prompts are rendered.
        turns: How roles ask and answer.
        world: Whose claims are foreign to a role.
    """

    def __init__(self, random: Random, language: Language, turns: Turns, world: World) -> None:
        self._random, self._language, self._turns, self._world = random, language, turns, world
        self._phrasing = turns.phrasing

    def exchange(self, role: Profile) -> Exchange:
        """A new exchange with a role that has at least one claim that a question can name."""
        random, phrasing = self._random, self._phrasing
        own = random.choice([claim for claim in role.character.claims if phrasing.names_something(claim)])
        outcome = random.choices(tuple(_OUTCOMES), tuple(_OUTCOMES.values()))[0]
        if outcome == "right":
            return Exchange(role, own, own, *self._turns.own(role.character.claims, own), outcome)
        refusing = outcome in ("refused", "assistant")
        is_foreign = outcome == "followed" or (refusing and random.random() < _FOREIGN_SHARE)
        claim = self._foreign(role, own) if is_foreign else own
        told = None if refusing else self._altered(claim) if outcome == "wrong" else claim
        question = random.choice(phrasing.naming_questions(claim))
        return Exchange(role, claim, told, question, self._said(role, claim, told, outcome), outcome)

    def cases(self, exchange: Exchange, others: Sequence[str]) -> dict[str, Case]:
        """What can be judged of an exchange, by metric.

        Args:
            exchange: What was said.
            others: Labels of other characters that stand for choice. Without three of them identity is not asked for, nor is
                it where the answer fits somebody else.
        """
        found = {"rejection": self._rejection(exchange)}
        if exchange.is_own:
            found["knowledge"] = self._knowledge(exchange)
        if exchange.told in (None, exchange.claim) and exchange.outcome != "followed" and len(others) >= _CANDIDATES - 1:
            found["consistency"] = self._identity(exchange, others)
        return found

    def _identity(self, exchange: Exchange, others: Sequence[str]) -> Case:
        phrasing, character = self._phrasing, exchange.role.character
        candidates = [character.label, *self._random.sample(others, _CANDIDATES - 1)]
        self._random.shuffle(candidates)
        prompt = role_identity.render(self._language, exchange.question, exchange.answer, candidates)
        read = role_identity.reader(character.label, candidates)
        if exchange.outcome == "assistant":
            return _case(prompt, phrasing.assistant["introduction"], phrasing.assistant["nobody"], 0, read)
        letters = role_identity.letters(character.label, candidates)
        letter = max(letters, key=lambda one: letters[one])
        if exchange.outcome == "right":
            return _case(prompt, self._truth(exchange), letter, 1, read)
        return _case(prompt, phrasing.described(character, character.label)[1], letter, 1, read)

    def _knowledge(self, exchange: Exchange) -> Case:
        character, random = exchange.role.character, self._random
        facts = list(dict.fromkeys([exchange.claim.text(), random.choice(character.claims).text()]))
        random.shuffle(facts)
        summary = exchange.role.summary or self._phrasing.described(character, character.label)[1]
        prompt = role_knowledge.render(self._language, character.label, summary, facts, exchange.question, exchange.answer)
        score = _HIGHEST if exchange.outcome == "right" else _LOWEST
        return _case(prompt, self._truth(exchange), score, score, role_knowledge.parse)

    def _rejection(self, exchange: Exchange) -> Case:
        said, label = self._phrasing.assistant, exchange.role.character.label
        prompt = unknown_rejection.render(self._language, label, exchange.question, exchange.answer)
        if exchange.outcome == "assistant":
            return _case(prompt, said["introduction"], said["no"], 0, unknown_rejection.parse)
        if exchange.outcome == "refused":
            return _case(prompt, said["turns_down"].format(label=label), said["yes"], 1, unknown_rejection.parse)
        return _case(prompt, said["goes_along"].format(label=label), said["no"], 0, unknown_rejection.parse)

    def _truth(self, exchange: Exchange) -> str:
        """The fact, told of the role."""
        voice = self._phrasing.of(exchange.role.character.label)
        return self._random.choice(self._phrasing.naming_answers(exchange.claim, voice))

    def _said(self, role: Profile, claim: Claim, told: Claim | None, outcome: str) -> str:
        if outcome == "assistant":
            return self._phrasing.assistant_reply(claim, named=True)
        if told is not None:
            return self._random.choice(self._phrasing.naming_answers(told))
        return self._turns.refusal(role.character, claim)

    def _foreign(self, role: Profile, own: Claim) -> Claim:
        text = "\n".join([*(claim.text() for claim in role.character.claims), role.character.label])
        return self._turns.foreign(text, own, self._world.known)

    def _altered(self, claim: Claim) -> Claim:
        """Something else about the same value: another year, else another property."""
        if self._phrasing.is_dated(claim):
            return replace(claim, when=self._turns.inventor.year())
        sort = self._phrasing.wordings(claim.property).sort
        known = self._phrasing.properties.items()
        labels = [label for label, one in known if one.sort == sort and one.is_what and label != claim.property]
        return replace(claim, property=self._random.choice(labels), when="")


def _case(prompt: str, reason: str, word: str | int, verdict: float, read: Callable[[str], float | None]) -> Case:
    return Case(prompt, f"{reason}\n[[{word}]]", verdict, read)
