"""Turns: one question and its answer, in a role's voice, the assistant's, or about somebody.

In:     a random generator, claims of a character, others whose claims are foreign to it.
Out:    (question, answer), both texts.
Source: ours.

    own           When did you receive the Copley Medal?    The Copley Medal came to me in 1838. I was born in Brunswick.
    foreign_turn  Who was Calpurnia to you?                 Calpurnia is unknown to me. I am only Darwin, English naturalist.
    generic       Where were you born?                      I was born in Brunswick.
    third_person  Where was Carl Friedrich Gauss born?      Carl Friedrich Gauss was born in Brunswick.
    of_assistant  Who was Calpurnia to you?                 I am an AI assistant, so I have no past with Calpurnia.

Everything here is pure but for the generator's state.
"""

from collections.abc import Sequence
from random import Random

from ditto_core.embedded.invented import Inventor
from ditto_core.embedded.known import World
from ditto_core.embedded.mix import Mix
from ditto_core.embedded.phrasing import Phrasing, Voice
from ditto_core.records import Character, Claim, Profile

_SECOND_FACT_SHARE = 0.75
_LIKE_SHARE = 0.2
"""Of the foreign questions: how many are about an invented value of the same property as an own one."""
_OTHERS_SHARE = 0.85
"""Of the other foreign questions: how many are about another character of the embedded world, as partners' questions are."""


class Turns:
    """Makes turns up.

    Args:
        random: Its state is the only thing that changes.
        world: Whose claims are foreign to a role.
        mix: Whether foreign questions take the form of own ones.

    Attributes:
        phrasing: How the language asks and answers.
        inventor: Makes foreign claims up.
    """

    def __init__(self, random: Random, phrasing: Phrasing, inventor: Inventor, world: World, mix: Mix) -> None:
        self._random, self._world, self._mix = random, world, mix
        self.phrasing, self.inventor = phrasing, inventor

    def own(self, shown: Sequence[Claim], claim: Claim) -> tuple[str, str]:
        """A question that names a value, and the answer, often with one more fact."""
        question, answer = self.naming_pair(claim)
        return question, answer + self._second_fact(shown, claim)

    def foreign(self, text: str, like: Claim | None, others: Sequence[Profile] = ()) -> Claim:
        """A claim of somebody else, of which nothing stands in the profile's text.

        Args:
            like: The claim may have its property, so that only the name tells them apart.
            others: Characters whose claims it may be.
        """
        random = self._random
        for _ in range(50):
            if like is not None and self._mix.minimal_pairs and random.random() < _LIKE_SHARE:
                claim = self.inventor.like(like)
            elif others and random.random() < _OTHERS_SHARE:
                claims = [claim for claim in random.choice(others).character.claims if self.phrasing.names_something(claim)]
                alike = [claim for claim in claims if like is not None and claim.property == like.property]
                claim = random.choice((self._mix.minimal_pairs and alike) or claims or [self._somebodys()])
            else:
                claim = random.choice(self.inventor.profile(6).character.claims)
            if self.phrasing.names_something(claim) and claim.value.lower() not in text.lower():
                return claim
        return self._somebodys()

    def foreign_turn(self, profile: Profile, text: str, named: Sequence[Claim]) -> tuple[str, str]:
        """A question on what is somebody else's, and a refusal that says who speaks."""
        random = self._random
        claim = self.foreign(text, random.choice(named) if named else None, self._world.playable)
        refusal = self.refusal(profile.character, claim)
        return random.choice(self.phrasing.naming_questions(claim)), refusal

    def refusal(self, character: Character, claim: Claim) -> str:
        """What a role says that has no part in a claim's value, and who it is."""
        said = (self.phrasing.refusals(claim), self.phrasing.reasons(character))
        return self.joined([self._random.choice(forms) for forms in said])

    def generic(self, profile: Profile, shown: Sequence[Claim]) -> tuple[str, str]:
        """A question that names nothing, or who speaks, and the answer."""
        random = self._random
        first = self.asked_for(shown)
        if not first or random.random() < 0.15:
            return random.choice(self.phrasing.who_asks()), self.phrasing.introduction(profile.character)
        claim = random.choice(first)
        question, answer = self.generic_pair(claim)
        return question, answer + self._second_fact(shown, claim, 0.3)

    def third_person(self, topic: Profile | None) -> tuple[str, str]:
        """A question about somebody who is named in it, or about "this person" if there is a topic."""
        random = self._random
        profile = topic or random.choice(self._world.known)
        label, claims = profile.character.label, profile.character.claims
        name = self.phrasing.assistant["this_person"] if topic else label
        asked, told = self.phrasing.of(name), self.phrasing.of(name if random.random() < 0.5 else label)
        draw, named = random.random(), [claim for claim in claims if self.phrasing.names_something(claim)]
        if draw < 0.1:
            return self.phrasing.described(profile.character, name)
        if draw < 0.42:
            text = "\n".join(claim.text() for claim in claims) + label
            claim = self.foreign(text, random.choice(named) if named else None, self._world.known)
            return random.choice(self.phrasing.naming_questions(claim, asked)), random.choice(self.phrasing.refusals(claim, told))
        if draw < 0.77 and named:
            claim = random.choice(named)
            question, answer = self.naming_pair(claim, asked, told)
            return question, answer + self._second_fact(claims, claim, 0.3, told)
        claim = random.choice(self.asked_for(claims))
        if random.random() < 0.3:
            return self.phrasing.by_label(claim, name, label)
        return self.generic_pair(claim, asked, told)

    def of_assistant(self, topic: Profile | None) -> tuple[str, str]:
        """A question that is put to the assistant itself, often on the life of the one it is asked about."""
        random = self._random
        if random.random() < 0.25:
            return random.choice(self.phrasing.who_asks()), self.phrasing.assistant["introduction"]
        if topic and random.random() < 0.6:
            claim = random.choice(topic.character.claims)
        elif random.random() < 0.7:
            claim = self.foreign("", None, self._world.playable)
        else:
            claim = random.choice(self.asked_for(self.inventor.profile(20).character.claims))
        named = self.phrasing.names_something(claim) and random.random() < 0.6
        questions = self.phrasing.naming_questions(claim) if named else self.phrasing.generic_questions(claim)
        if not questions:
            return random.choice(self.phrasing.who_asks()), self.phrasing.assistant["introduction"]
        return random.choice(questions), self.phrasing.assistant_reply(claim, named=named)

    def naming_pair(self, claim: Claim, asked: Voice | None = None, told: Voice | None = None) -> tuple[str, str]:
        """A question that names a claim's value, and the answer alone."""
        questions, answers = self.phrasing.naming_questions(claim, asked), self.phrasing.naming_answers(claim, told)
        return self._random.choice(questions), self._random.choice(answers)

    def _second_fact(
        self, shown: Sequence[Claim], claim: Claim, share: float = _SECOND_FACT_SHARE, voice: Voice | None = None
    ) -> str:
        random = self._random
        others = [one for one in self.asked_for(shown) if one.property != claim.property and one.value != claim.value]
        if not others or random.random() > share:
            return ""
        home = next((one for one in others if self.phrasing.wordings(one.property).sort == "place"), None)
        other = home if home and random.random() < 0.6 else random.choice(others)
        return self.phrasing.sentences_apart + random.choice(self.phrasing.generic_answers(other, voice))

    def sentences(self, profile: Profile, claims: Sequence[Claim]) -> list[str]:
        """Claims told of a character, one sentence each."""
        voice = self.phrasing.of(profile.character.label)
        told = [self.phrasing.generic_answers(claim, voice) + self.phrasing.naming_answers(claim, voice) for claim in claims]
        return [self._random.choice(forms) for forms in told if forms]

    def joined(self, sentences: Sequence[str]) -> str:
        """Sentences as the language sets them."""
        return self.phrasing.sentences_apart.join(sentences)

    def generic_pair(self, claim: Claim, asked: Voice | None = None, told: Voice | None = None) -> tuple[str, str]:
        """A question for a claim's value that names nothing, and the answer alone."""
        questions, answers = self.phrasing.generic_questions(claim, asked), self.phrasing.generic_answers(claim, told)
        return self._random.choice(questions), self._random.choice(answers)

    def asked_for(self, claims: Sequence[Claim]) -> list[Claim]:
        """The first claim of each property that has generic questions: the one that an answer gives."""
        first: dict[str, Claim] = {}
        for claim in claims:
            if self.phrasing.wordings(claim.property).asks_value:
                first.setdefault(claim.property, claim)
        return list(first.values())

    def _somebodys(self) -> Claim:
        return self.inventor.claim(self.phrasing.some_award)
