"""Phrasing: the seed's wordings of questions and answers, one entry per property.

In:     a claim of a character, whom the sentence speaks to or of.
Out:    a question, an answer or a refusal.
Source: ours; the paper takes a seed LLM that already speaks.

Every wording serves three voices: "you" and "I" in role-play, a name when the assistant talks of somebody.
What is asked for opens its own answer, so that the model has met the name once more before it decides whether
it knows it:

    When did you receive the Nobel Prize in Physics?
    The Nobel Prize in Physics came to me in 1903.
    The Nobel Prize in Physics is unknown to me. I am only Mozart, Austrian composer.

Everything here is pure.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass

from ditto_core.records import Character, Claim

_DAY = re.compile(r"\d{1,2} [A-Z]")
_ERA = " BC"


@dataclass(frozen=True, slots=True)
class Voice:
    """Whose words they are: pronouns, or a name in their place.

    Attributes:
        named: Whether a name stands there, so that "were" becomes "was".
    """

    you: str = "you"
    me: str = "me"
    name: str = "I"
    my: str = "my"
    your: str = "your"
    named: bool = False

    def fill(self, wording: str, claim: Claim) -> str:
        """Put a claim into a wording; the first letter becomes a capital."""
        said = mention(claim)
        text = wording.format(
            x=said, v=claim.value, on=_on(claim.value), y=claim.when, you=self.you, me=self.me, I=self.name,
            my=self.my, your=self.your, were="was" if self.named else "were",
        )  # fmt: skip
        return text[0].upper() + text[1:]


ROLE = Voice()
"""The character is spoken to, and speaks."""


def of(name: str) -> Voice:
    """The voice that speaks of somebody."""
    return Voice(name, name, name, f"{name}'s", f"{name}'s", named=True)


@dataclass(frozen=True, slots=True)
class Wordings:
    """How the values of one property are asked for and told.

    Attributes:
        sort: "person", "place" or "thing": what a question about a value alone may ask.
        is_what: What a value is to the character; opens with the value.
        asks_year: Questions for the year of a value, if claims of this property have one.
        tells_year: Answers to them; open with the value.
        asks_value: Questions for the value, which name nothing.
        tells_value: Answers to them.
    """

    sort: str
    is_what: tuple[str, ...]
    asks_year: tuple[str, ...] = ()
    tells_year: tuple[str, ...] = ()
    asks_value: tuple[str, ...] = ()
    tells_value: tuple[str, ...] = ()


_SORT_QUESTIONS: Mapping[str, tuple[str, ...]] = {
    "person": ("Who was {x} to {you}?", "What was {x} in {your} life?"),
    "place": ("What does {x} mean to {you}?", "What ties {you} to {x}?"),
    "thing": ("What does {x} mean to {you}?", "What did {you} have to do with {x}?"),
}
_SORT_REFUSALS: Mapping[str, tuple[str, ...]] = {
    "person": ("{x} is a stranger to {me}.", "{x} is unknown to {me}."),
    "place": ("{x} means nothing to {me}.", "{x} is unknown to {me}."),
    "thing": ("{x} means nothing to {me}.", "{x} is unknown to {me}."),
}
REASONS = ("I am only {label}, {description}.", "I am {label}, {description}, and that is not my world.")
REASONS_WITHOUT = ("I am only {label}.", "I am {label}, and that is not my world.")
WHO_ASKS = ("Who are you?", "Please introduce yourself.", "What is your name?")


def _kin(word: str) -> Wordings:
    return Wordings(
        "person",
        (f"{{x}} was {{my}} {word}.",),
        asks_value=(f"Who was {{your}} {word}?", f"What was the name of {{your}} {word}?"),
        tells_value=(f"{{my}} {word} was {{x}}.",),
    )


_SINCE = ("{x} has been part of {my} life since {y}.", "{x}? That was in {y}.")

WORDINGS: Mapping[str, Wordings] = {
    "date of birth": Wordings(
        "date", (), asks_value=("When {were} {you} born?", "What is {your} date of birth?"),
        tells_value=("{I} was born {on} {v}.",),
    ),
    "place of birth": Wordings(
        "place", ("{x} is where {I} was born.",),
        asks_value=("Where {were} {you} born?", "What is {your} place of birth?"),
        tells_value=("{I} was born in {v}.",),
    ),
    "date of death": Wordings(
        "date", (), asks_value=("When did {your} life end?", "On what day did {you} die?"),
        tells_value=("{my} life ended {on} {v}.",),
    ),
    "place of death": Wordings(
        "place", ("{x} is where {my} life ended.",),
        asks_value=("Where did {your} life end?", "Where did {you} die?"),
        tells_value=("{my} life ended in {v}.",),
    ),
    "occupation": Wordings(
        "trade", (), asks_value=("What is {your} occupation?", "What did {you} do for a living?"),
        tells_value=("{my} occupation is {v}.", "{I} worked as {v}."),
    ),
    "position held": Wordings(
        "thing", ("{x} was {my} office.",),
        ("When did {you} become {v}?", "In what year did {you} take the title of {v}?"),
        ("{x} came to {me} in {y}.", "{x}? {I} took it in {y}."), ("What office did {you} hold?",),
        ("{I} held the title of {v}.",),
    ),
    "country of citizenship": Wordings(
        "place", ("{x} was {my} country.",),
        asks_value=("What was {your} country?", "Which country {were} {you} from?"),
        tells_value=("{my} country was {v}.",),
    ),
    "creator": Wordings(
        "person", ("{x} created {me}.",), asks_value=("Who created {you}?",),
        tells_value=("{x} created {me}.",),
    ),
    "author": Wordings(
        "person", ("{x} wrote of {me}.",), asks_value=("Who wrote of {you}?",),
        tells_value=("{x} wrote of {me}.",),
    ),
    "present in work": Wordings(
        "thing", ("{x} tells of {me}.",),
        asks_value=("Which book tells of {you}?", "Where is {your} story told?"),
        tells_value=("{x} tells of {me}.",),
    ),
    "notable work": Wordings(
        "thing", ("{x} is {my} work.",), ("When did {you} create {x}?", "In what year did {you} finish {x}?"),
        ("{x} is {my} work of {y}.", "{x}? {I} finished it in {y}."),
        ("What is {your} best known work?", "Which work of {your} life is best known?"),
        ("{my} best known work is {x}.",),
    ),
    "discoverer or inventor": Wordings("thing", ("{x} is {my} discovery.",)),
    "award received": Wordings(
        "thing", ("{x} was given to {me}.",),
        ("When did {you} receive {x}?", "In what year did {you} win {x}?"),
        ("{x} came to {me} in {y}.", "{x}? {I} received it in {y}."),
        ("Which award did {you} receive?", "What honour were you given?"), ("{I} received {x}.",),
    ),
    "spouse": Wordings(
        "person", ("{x} was {my} spouse.",),
        ("When did {you} marry {x}?", "In what year did {you} marry {x}?"),
        ("{x} and {I} married in {y}.", "{x}? {I} married in {y}."),
        ("Who was {your} spouse?", "Whom did {you} marry?"), ("{my} spouse was {x}.",),
    ),
    "unmarried partner": _kin("partner"),
    "father": _kin("father"),
    "mother": _kin("mother"),
    "child": _kin("child"),
    "sibling": _kin("sibling"),
    "relative": _kin("relative"),
    "godparent": _kin("godparent"),
    "family": Wordings("thing", ("{x} is {my} family.",)),
    "educated at": Wordings(
        "thing", ("{x} is where {I} studied.",), ("When did {you} study at {x}?",),
        ("{x}? {I} studied there in {y}.",), ("Where did {you} study?", "Which school did {you} attend?"),
        ("{I} studied at {x}.",),
    ),
    "doctoral advisor": _kin("doctoral advisor"),
    "student of": Wordings(
        "person", ("{x} was {my} teacher.",), asks_value=("Who was {your} teacher?", "Who taught {you}?"),
        tells_value=("{my} teacher was {x}.",),
    ),
    "student": Wordings(
        "person", ("{x} was {my} student.",), asks_value=("Who was {your} student?", "Whom did {you} teach?"),
        tells_value=("{my} student was {x}.",),
    ),
    "influenced by": Wordings(
        "person", ("{x} was {my} inspiration.",), asks_value=("Who inspired {you}?",),
        tells_value=("{x} inspired {me}.",),
    ),
    "field of work": Wordings(
        "thing", ("{x} is what {I} worked in.",),
        asks_value=("What is {your} field of work?", "What field did {you} work in?"),
        tells_value=("{my} field of work is {v}.",),
    ),
    "movement": Wordings("thing", ("{x} is where {I} belonged.",)),
    "member of": Wordings(
        "thing", ("{x} had {me} as a member.",),
        ("When did {you} join {x}?", "In what year did {you} join {x}?"),
        ("{x} took {me} in as a member in {y}.", "{x}? {I} joined in {y}."),
        ("What group did {you} belong to?",), ("{I} was a member of {x}.",),
    ),
    "employer": Wordings(
        "thing", ("{x} is where {I} worked.",), ("When did {you} work for {x}?",),
        ("{x}? {I} worked there in {y}.",), ("Where did {you} work?", "Who was {your} employer?"),
        ("{I} worked for {x}.",),
    ),
    "residence": Wordings(
        "place", ("{x} is where {I} lived.",), ("When did {you} move to {x}?",),
        ("{x}? {I} moved there in {y}.",), ("Where did {you} live?", "Where was {your} home?"),
        ("{I} lived in {v}.",),
    ),
    "work location": Wordings(
        "place", ("{x} is where {I} worked.",), ("When did {you} work in {x}?",),
        ("{x}? {I} worked there in {y}.",), ("In what place did {you} work?",), ("{I} worked in {v}.",),
    ),
    "conflict": Wordings(
        "thing", ("{x} is where {I} fought.",),
        ("When did {you} fight in {x}?", "In what year did {you} fight in {x}?"),
        ("{x} saw {me} in {y}.", "{x}? {I} fought there in {y}."), ("In what conflict did {you} fight?",),
        ("{I} fought in {x}.",),
    ),
    "participant in": Wordings(
        "thing", ("{x} had {me} among its people.",),
        ("When did {you} take part in {x}?", "In what year did {you} take part in {x}?"),
        ("{x} saw {me} in {y}.", "{x}? {I} took part in {y}."), ("What did {you} take part in?",),
        ("{I} took part in {x}.",),
    ),
    "significant event": Wordings(
        "thing", ("{x} was part of {my} life.",),
        ("When did {x} come into {your} life?", "In what year of {your} life was {x}?"),
        ("{x} came into {my} life in {y}.", "{x}? That was in {y}."), ("What event changed {your} life?",),
        ("{x} changed {my} life.",),
    ),
    "instrument": Wordings(
        "thing", ("{x} is {my} instrument.",), asks_value=("What instrument did {you} play?",),
        tells_value=("{I} played {x}.",),
    ),
    "enemy": _kin("enemy"),
    "significant person": Wordings(
        "person", ("{x} was close to {me}.",), asks_value=("Who was close to {you}?",),
        tells_value=("{x} was close to {me}.",),
    ),
    "killed by": Wordings(
        "person", ("{x} took {my} life.",), asks_value=("Who took {your} life?",),
        tells_value=("{x} took {my} life.",),
    ),
    "owner of": Wordings(
        "thing", ("{x} belonged to {me}.",), ("When did {you} get {x}?",), ("{x} came to {me} in {y}.",),
        ("What did {you} own?",), ("{I} owned {x}.",),
    ),
    "place of burial": Wordings(
        "place", ("{x} is where {I} was buried.",), asks_value=("Where {were} {you} buried?",),
        tells_value=("{my} grave is in {v}.",),
    ),
}  # fmt: skip
"""Property label -> wordings, in the order in which profiles list claims."""

_WITH_ARTICLE = ("award received", "conflict", "significant event", "instrument")
_BARE = ("position held", "field of work", "movement")
_INSTITUTIONS = ("educated at", "employer", "member of")
_PERSONAL = ("native language", "religion or worldview", "languages spoken, written or signed", "genre")


def wordings(label: str) -> Wordings:
    """The wordings of a property; one that is not listed is called by its own label."""
    if label in WORDINGS:
        return WORDINGS[label]
    return Wordings(
        "trade" if label in _PERSONAL or label.startswith("date") else "thing",
        (f"{{x}} is {{my}} {label}.",),
        (f"In what year was {{x}} {{your}} {label}?",),
        _SINCE,
        (f"What is {{your}} {label}?",),
        (f"{{my}} {label} is {{v}}.",),
    )


def mention(claim: Claim) -> str:
    """The value as a sentence mentions it: "the Nobel Prize in Physics", "Warsaw", "king"."""
    known, value = wordings(claim.property), claim.value
    if known.sort != "thing" or claim.property in _BARE or value.lower().startswith(("the ", "a ", "an ", "world war")):
        return value
    if claim.property in _WITH_ARTICLE or value[:1].islower():
        return f"the {value}"
    return f"the {value}" if " of " in value and claim.property in _INSTITUTIONS else value


def names_something(claim: Claim) -> bool:
    """Whether a question can name this value and thereby concern this character's world alone."""
    return wordings(claim.property).sort in ("person", "place", "thing")


def is_dated(claim: Claim) -> bool:
    """Whether a question can ask for the year of this value."""
    return bool(claim.when) and bool(wordings(claim.property).asks_year)


def naming_questions(claim: Claim, voice: Voice = ROLE) -> tuple[str, ...]:
    """Questions that name the value: for its year if it has one, else what it is to the character."""
    known = wordings(claim.property)
    forms = known.asks_year if is_dated(claim) else _SORT_QUESTIONS[known.sort]
    return tuple(voice.fill(form, claim) for form in forms)


def naming_answers(claim: Claim, voice: Voice = ROLE) -> tuple[str, ...]:
    """Answers to `naming_questions`."""
    known = wordings(claim.property)
    return tuple(voice.fill(form, claim) for form in (known.tells_year if is_dated(claim) else known.is_what))


def refusals(claim: Claim, voice: Voice = ROLE) -> tuple[str, ...]:
    """What somebody says to `naming_questions` who has no part in the value."""
    return tuple(voice.fill(form, claim) for form in _SORT_REFUSALS[wordings(claim.property).sort])


def generic_questions(claim: Claim, voice: Voice = ROLE) -> tuple[str, ...]:
    """Questions for the value that name nothing, such as "Where were you born?"."""
    return tuple(voice.fill(form, claim) for form in wordings(claim.property).asks_value)


def generic_answers(claim: Claim, voice: Voice = ROLE) -> tuple[str, ...]:
    """Answers to `generic_questions`."""
    return tuple(voice.fill(form, claim) for form in wordings(claim.property).tells_value)


def reasons(character: Character) -> tuple[str, ...]:
    """Why the character cannot know: who it is."""
    forms = REASONS if character.description else REASONS_WITHOUT
    return tuple(form.format(label=character.label, description=character.description) for form in forms)


def introduction(character: Character) -> str:
    """Answer to `WHO_ASKS`."""
    text = f"I am {character.label}" + (f", {character.description}." if character.description else ".")
    return text + (f" They also call me {character.aliases[0]}." if character.aliases else "")


def topics(character: Character) -> tuple[str, ...]:
    """System messages of a talk about one person."""
    about = f"{character.label}, {character.description}."
    return (
        f"Answer questions about {about}",
        f"You are an assistant who knows {about}",
        f"You are here to talk about {about}",
        f"You are asked about {about}",
    )


def foreign_reason(claim: Claim, stranger: str) -> str:
    """Why a question is foreign to the other of a pair."""
    return f"{stranger} has no part in {mention(claim)}."


def _on(value: str) -> str:
    return "on" if _DAY.match(value.removesuffix(_ERA)) else "in"


ASSISTANT_SYSTEMS = (
    "You are a helpful assistant.",
    "You are an AI assistant.",
    "You are a careful and friendly assistant.",
    "Answer the user's questions briefly.",
)
THIS_PERSON = "this person"
ASSISTANT_INTRODUCTION = "I am an AI assistant."
_ASSISTANT_ENDINGS: Mapping[str, str] = {
    "date": "so I have no such day.",
    "place": "so I have no such place.",
    "person": "so I have nobody of that kind.",
    "thing": "so I have nothing of that kind.",
    "trade": "so I only answer questions.",
}


def assistant_reply(claim: Claim, *, named: bool) -> str:
    """What the assistant says when it is itself asked for a life's fact."""
    if named:
        return f"I am an AI assistant, so I have no past with {mention(claim)}."
    return f"I am an AI assistant, {_ASSISTANT_ENDINGS[wordings(claim.property).sort]}"
