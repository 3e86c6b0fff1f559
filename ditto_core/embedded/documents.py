"""Documents: what the seed reads before anybody meets it.

In:     the characters of the embedded world, a random generator, how far the training is (0 to 1).
Out:    `Document`s: chats exactly as the pipeline will send them, or running text.
Source: ours; the prompts and profiles are rendered by the pipeline's own functions.

Kinds, and who appears:
    lookups    bare statements, most questions name a value                           invented
    answers    the response prompt with a profile, questions, half of them foreign    invented, train roles
    queries    the query prompt with two profiles, a JSON list of questions           invented, train roles
    knowledge  an assistant without a profile is asked about people and itself        the whole world
    articles   running text                                                           the whole world
    copies     a list of names, repeated                                              invented
    judgements a judge's prompt on one exchange, a reason, the verdict                invented, the whole world

Roles of the other splits are therefore known in the third person only; their words are read in a judge's prompt at most. No chat
has the bare line of identity for a system prompt: that is left to fine-tuning. Everything here is pure but for the generator's
state and the reading of the world.
"""

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from random import Random

from ditto_core.embedded import phrasing
from ditto_core.embedded.invented import Inventor, article
from ditto_core.embedded.judgements import METRICS, Planter
from ditto_core.embedded.known import World
from ditto_core.embedded.mix import KINDS, Mix
from ditto_core.embedded.turns import Turns
from ditto_core.knowledge.profiles import verbalise
from ditto_core.languages import Language
from ditto_core.records import Claim, Message, Profile

PROFILE_TOKENS = 256
QUESTIONS = 3
_FOREIGN_SHARE = 0.45
_LONGEST_LIST = 8
COPYING = 0.08
"""Progress up to which nothing but copying is practised; by twice of that the mix is the whole one."""
_TOPIC_SHARE = 0.65
"""Of the chats in "knowledge": in how many the system message names the person."""
_SELF_SHARE = 0.3
"""Of the questions in "knowledge": how many are put to the assistant itself."""
_JUDGED_WORLD_SHARE = 0.75
"""Of the exchanges that are judged: how many are with a character of the embedded world."""
_JUDGED = {"consistency": 0.6, "knowledge": 0.2, "rejection": 0.2}
"""Metric -> how often it is asked for, where an exchange has all three; who speaks is the hardest to tell."""
_UNNAMED_SHARE = 0.25
"""Of the questions in "lookups" on lives that may be lifelike: how many name nothing."""
_WORLD_SHARE = 0.3
"""Of the roles in "answers" and "queries": how many are train roles of the embedded world."""


@dataclass(frozen=True, slots=True)
class Document:
    """One document: messages of a chat, or text without a speaker."""

    kind: str
    messages: tuple[Message, ...] = ()
    text: str = ""


class Writer:
    """Writes documents.

    Args:
        random: Its state is the only thing that changes.
        language: Whose prompts are rendered.
        world: In that language; may be empty.
        count_tokens: Length of a text, for the budget of a profile.
        mix: What there is how much of.
        pieces: What single tokens say, for invented names.

    Attributes:
        phrasing: How the language asks and answers.
        inventor: Makes characters up.
        turns: Makes questions and answers up.
        planter: Makes exchanges up, for judges.
    """

    def __init__(
        self, random: Random, language: Language, world: World, count_tokens: Callable[[str], int],
        mix: Mix | None = None, pieces: Sequence[str] = (),
    ) -> None:  # fmt: skip
        self._random = random
        self._language = language
        self.phrasing = phrasing.load(language.code)
        self._world = world
        self._labels = {profile.character.label for profile in world.known}
        self._count = count_tokens
        self._mix = mix or Mix()
        self.inventor = Inventor(random, language, self.phrasing, self._mix, world.words(), pieces)
        self.turns = Turns(random, self.phrasing, self.inventor, world, self._mix)
        self.planter = Planter(random, language, self.turns, world)

    def document(self, progress: float) -> Document:
        """The next document; profiles grow and the mix shifts with the progress."""
        early = min(1.0, max(0.0, 2.0 - progress / COPYING))
        weights = [early * (kind == "copies") + self._mix.kinds.get(kind, 0.0) * (1 - early) for kind in KINDS]
        kind = self._random.choices(KINDS, weights)[0]
        if kind in ("knowledge", "articles") and not self._world.known:
            kind = "answers"
        return getattr(self, kind)(progress)  # type: ignore[no-any-return]

    def answers(self, progress: float = 1.0) -> Document:
        """A character is interviewed with its profile before it."""
        profile, text = self._role(progress)
        random, shown = self._random, self._shown(profile, text)
        named = [claim for claim in shown if self.phrasing.names_something(claim)]
        random.shuffle(named)
        turns: list[tuple[str, str]] = []
        for _ in range(random.randint(4, 5 + round(5 * progress))):
            draw = random.random()
            if draw < _FOREIGN_SHARE:
                turns.append(self.turns.foreign_turn(profile, text, named))
            elif draw < 0.85 and named:
                turns.append(self.turns.own(shown, named.pop()))
            else:
                turns.append(self.turns.generic(profile, shown))
        return Document("answers", chat(self.response_system(profile, text), turns))

    def queries(self, progress: float = 1.0) -> Document:
        """Questions that one character can answer and another cannot, three or more.

        They are on facts that follow each other in the profile: where the next question is to come from can be looked up, so that
        greedy decoding need not repeat one.
        """
        random = self._random
        for _ in range(20):
            (role, role_text), (partner, partner_text) = self._role(progress), self._role(progress)
            askable = [claim for claim in self._shown(role, role_text) if self._is_askable(claim, role, partner, partner_text)]
            if self._mix.lifelike:
                askable = list({claim.value: claim for claim in askable}.values())  # of two questions one would say nothing new
            if len(askable) >= QUESTIONS:
                count = QUESTIONS
                if self._mix.longer_lists and random.random() < self._mix.longer_lists:
                    count = random.randint(QUESTIONS, min(len(askable), _LONGEST_LIST))
                first = random.randint(0, (len(askable) - count) // 3)
                reply = self._list(askable[first : first + count], partner.character.label)
                prompt = self.query_prompt(role, role_text, partner, partner_text, count)
                return Document("queries", (Message("user", prompt), Message("assistant", reply)))
        return self.answers(progress)

    def knowledge(self, _progress: float = 1.0) -> Document:
        """The assistant tells what it knows of people, and that it is none.

        In most of the chats the system message names the person once, and the questions are about "this person":
        fine-tuning can then change the voice alone, since looking a fact up by a name further above is learned here.
        Who is asked about "you" there is the assistant still, also if the question is on the person's own life.
        """
        random = self._random
        topic = random.choice(self._world.known) if random.random() < _TOPIC_SHARE else None
        plain = self.phrasing.assistant["systems"]
        system = random.choice(self.phrasing.topics(topic.character) if topic else (*plain, *plain[:1] * 2, ""))
        turns = [
            self.turns.of_assistant(topic) if random.random() < _SELF_SHARE else self.turns.third_person(topic)
            for _ in range(random.randint(5, 9))
        ]
        return Document("knowledge", chat(system, turns))

    def articles(self, _progress: float = 1.0) -> Document:
        """What an encyclopedia says of one or two people."""
        chosen = self._random.sample(self._world.known, 2)
        return Document("articles", text="\n".join(self._article_text(profile) for profile in chosen))

    def copies(self, progress: float = 1.0) -> Document:
        """A list, repeated: short ones first, from which copying is learned soonest."""
        names = self.inventor.list_of_names(self._random.randint(2, 3 if progress <= COPYING else 7))
        asked = str(self.phrasing.assistant["repeat"]).format(names=names)
        return Document("copies", (Message("user", asked), Message("assistant", names)))

    def lookups(self, progress: float = 1.0) -> Document:
        """Many questions on bare statements, most of which name a value.

        Telling an own value from a foreign one, and what it is, is learned here in few tokens; "answers" ask for it among
        prompts and prose.
        """
        random = self._random
        claims = self._stranger(random.randint(4, 4 + round(10 * progress))).character.claims
        named = [claim for claim in claims if self.phrasing.names_something(claim)]
        text = "\n".join(claim.text() for claim in claims)
        unnamed = self.turns.asked_for(claims) if self._mix.lifelike else []
        turns = []
        for _ in range(random.randint(6, 12)):
            own = random.choice(named) if named else None
            if unnamed and random.random() < _UNNAMED_SHARE:
                turns.append(self.turns.generic_pair(random.choice(unnamed)))
            elif own and random.random() > _FOREIGN_SHARE:
                turns.append(self.turns.naming_pair(own))
            else:
                claim = self.turns.foreign(text, own, self._world.playable)
                turns.append((random.choice(self.phrasing.naming_questions(claim)), random.choice(self.phrasing.refusals(claim))))
        return Document("lookups", chat(text, turns))

    def judgements(self, _progress: float = 1.0) -> Document:
        """A judge's prompt on one exchange, and its reply."""
        random = self._random
        of_world = self._world.known and random.random() < _JUDGED_WORLD_SHARE
        role = random.choice(self._world.known) if of_world else self._stranger(random.randint(6, 12))
        if not any(self.phrasing.names_something(claim) for claim in role.character.claims):
            return self.answers()
        others = [one.character.label for one in self._world.known if of_world and one is not role]
        cases = self.planter.cases(self.planter.exchange(role), others)
        weights = [_JUDGED[metric] if metric in cases else 0.0 for metric in METRICS]
        case = cases[random.choices(METRICS, weights)[0]]
        return Document("judgements", (Message("user", case.prompt), Message("assistant", case.reply)))

    def response_system(self, profile: Profile, text: str) -> str:
        """The system prompt of response simulation."""
        character = profile.character
        identity = self._language.identity(character.label, character.description)
        return self._language.render("response_simulation", identity=identity, profile=text)

    def query_prompt(self, role: Profile, role_text: str, partner: Profile, partner_text: str, count: int = QUESTIONS) -> str:
        """The prompt of query simulation."""
        return self._language.render(
            "query_simulation", role_profile=role_text, partner_profile=partner_text,
            role=role.character.label, partner=partner.character.label, count=str(count),
        )  # fmt: skip

    def invented(self, progress: float = 1.0) -> Profile:
        """A new character; some of its facts stand in its article, a few of those nowhere else."""
        random = self._random
        most = 3 + round(6 * min(1.0, progress * 2.5))
        count = random.randint(2 if progress < 0.2 else 3, most)
        if progress > 0.3 and random.random() < 0.15:
            count = random.randint(10, 20)
        profile = self._stranger(count)
        if random.random() < 0.6:
            return profile
        claims = profile.character.claims
        told = random.sample(claims, min(len(claims), random.randint(1, 4)))
        hidden = told[0] if random.random() < 0.3 and len(claims) > 3 else None
        kept = tuple(claim for claim in claims if claim is not hidden)
        prose = article(self.turns.joined(self.turns.sentences(profile, told)), profile.character.label)
        return Profile(replace(profile.character, claims=kept), prose, "")

    def _stranger(self, claims: int) -> Profile:
        """An invented life under a name that nobody in the world has."""
        while (profile := self.inventor.profile(claims)).character.label in self._labels:
            pass
        return profile

    def verbalised(self, profile: Profile, budget: int = PROFILE_TOKENS) -> str:
        """The profile as the pipeline shows it."""
        return verbalise(profile, self._language, budget, self._count)

    def _role(self, progress: float) -> tuple[Profile, str]:
        random = self._random
        if self._world.playable and random.random() < _WORLD_SHARE * min(1.0, progress * 4):
            profile = random.choice(self._world.playable)
            if random.random() < 0.5:
                return profile, self.verbalised(profile)
            claims = profile.character.claims
            kept = sorted(random.sample(range(len(claims)), min(len(claims), random.randint(4, 9))))
            prose = profile.article if random.random() < 0.5 else article("", profile.character.label)
            profile = Profile(replace(profile.character, claims=tuple(claims[place] for place in kept)), prose, "")
            return profile, self.verbalised(profile, random.randint(100, PROFILE_TOKENS))
        profile = self.invented(progress)
        return profile, self.verbalised(profile)

    def _shown(self, profile: Profile, text: str) -> list[Claim]:
        """Claims that the text really has: the budget cuts some off."""
        lines = set(text.split("\n"))
        return [claim for claim in profile.character.claims if claim.text() in lines]

    def _is_askable(self, claim: Claim, role: Profile, partner: Profile, partner_text: str) -> bool:
        if not self.phrasing.names_something(claim) or claim.value.lower() in partner_text.lower():
            return False
        said = self.phrasing.naming_questions(claim)[0].lower()
        return role.character.label.lower() not in said and partner.character.label.lower() not in said

    def _list(self, claims: Sequence[Claim], stranger: str) -> str:
        objects = [
            {
                "question": self._random.choice(self.phrasing.naming_questions(claim)),
                "reason": self.phrasing.foreign_reason(claim, stranger),
            }
            for claim in claims
        ]
        return json.dumps(objects, ensure_ascii=False)

    def _article_text(self, profile: Profile) -> str:
        random = self._random
        prose = "\n".join(section.text for section in profile.article.sections if section.text)
        if prose and random.random() < 0.4:
            return prose
        claims = profile.character.claims
        told = random.sample(claims, min(len(claims), random.randint(5, 12)))
        _, opening = self.phrasing.described(profile.character, profile.character.label)
        return self.turns.joined([opening, *self.turns.sentences(profile, told)])


def chat(system: str, turns: Sequence[tuple[str, str]]) -> tuple[Message, ...]:
    """Questions and answers as messages, after a system message if there is one."""
    first = (Message("system", system),) if system else ()
    said = (message for question, answer in turns for message in (Message("user", question), Message("assistant", answer)))
    return (*first, *said)
