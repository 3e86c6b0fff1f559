"""Phrasing: the seed's wordings of questions and answers, one file a language in `wordings/`.

In:     a claim of a character, whom the sentence speaks to or of.
Out:    a question, an answer or a refusal.
Source: ours; the paper takes a seed LLM that already speaks.

Every wording serves three voices: "you" and "I" in role-play, a name when the assistant talks of somebody.
What is asked for opens its own answer, so that the model has met the name once more before it decides whether
it knows it:

    When did you receive the Nobel Prize in Physics?
    The Nobel Prize in Physics came to me in 1903.
    The Nobel Prize in Physics is unknown to me. I am only Mozart, Austrian composer.

Everything here is pure but for the reading of the files.
"""

import re
import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from ditto_core.records import Character, Claim

_FOLDER = Path(__file__).with_name("wordings")

Voice = Mapping[str, str]
"""Whose words they are: pronoun of the wordings -> what stands there."""


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
    is_what: Sequence[str] = ()
    asks_year: Sequence[str] = ()
    tells_year: Sequence[str] = ()
    asks_value: Sequence[str] = ()
    tells_value: Sequence[str] = ()


class Phrasing:
    """What can be said in one language.

    Attributes:
        properties: Label of a property -> its wordings, in the order in which profiles list claims.
        assistant: What an assistant says, and what is said to it.
        invented: Of what `Inventor` makes lives up.
        sentences_apart: What stands between two sentences.
        some_award: Label of the property for which anybody can have a value.
    """

    def __init__(self, table: Mapping[str, Any]) -> None:
        self.properties = {label: Wordings(**entry) for label, entry in table["properties"].items()}
        self.assistant: Mapping[str, Any] = table["assistant"]
        self.invented: Mapping[str, Any] = table["invented"]
        self.sentences_apart: str = table["sentences_apart"]
        self.some_award: str = next(label for label, rule in self.invented["values"].items() if rule == "award")
        self._role: Voice = table["voice"]["role"]
        self._named: Voice = table["voice"]["named"]
        self._play: Mapping[str, Any] = table["role"]
        self._sorts: Mapping[str, Mapping[str, Sequence[str]]] = table["sorts"]
        self._mention: Mapping[str, Any] = table.get("mention", {})
        self._on: Mapping[str, str] = table.get("on", {})
        self._unlisted: Mapping[str, Any] = table["unlisted"]

    def of(self, name: str) -> Voice:
        """The voice that speaks of somebody."""
        return {pronoun: form.format(name=name) for pronoun, form in self._named.items()}

    def wordings(self, label: str) -> Wordings:
        """The wordings of a property; one that is not listed is called by its own label."""
        if label in self.properties:
            return self.properties[label]
        named = label not in self._unlisted["personal"] and not label.startswith(self._unlisted["dates"])
        forms = {name: forms for name, forms in self._unlisted.items() if name not in ("personal", "dates")}
        return Wordings("thing" if named else "trade", **forms)

    def mention(self, claim: Claim) -> str:
        """The value as a sentence mentions it: "the Nobel Prize in Physics", "Warsaw", "king"."""
        value, rules = claim.value, self._mention
        if not rules or self.wordings(claim.property).sort != "thing" or claim.property in rules["bare"]:
            return value
        if value.lower().startswith(tuple(rules["has_article"])):
            return value
        takes = claim.property in rules["with_article"] or value[:1].islower()
        if takes or (" of " in value and claim.property in rules["institutions"]):
            return f"{rules['article']} {value}"
        return value

    def names_something(self, claim: Claim) -> bool:
        """Whether a question can name this value and thereby concern this character's world alone.

        Dates, numbers and texts, which are no items of Wikidata, name nothing that others could have heard of or not.
        """
        return bool(claim.value_id) and self.wordings(claim.property).sort in self._sorts

    def is_dated(self, claim: Claim) -> bool:
        """Whether a question can ask for the year of this value."""
        return bool(claim.when) and bool(self.wordings(claim.property).asks_year)

    def naming_questions(self, claim: Claim, voice: Voice | None = None) -> tuple[str, ...]:
        """Questions that name the value: for its year if it has one, else what it is to the character."""
        known = self.wordings(claim.property)
        return self._fill(known.asks_year if self.is_dated(claim) else self._sorts[known.sort]["questions"], claim, voice)

    def naming_answers(self, claim: Claim, voice: Voice | None = None) -> tuple[str, ...]:
        """Answers to `naming_questions`."""
        known = self.wordings(claim.property)
        return self._fill(known.tells_year if self.is_dated(claim) else known.is_what, claim, voice)

    def refusals(self, claim: Claim, voice: Voice | None = None) -> tuple[str, ...]:
        """What somebody says to `naming_questions` who has no part in the value."""
        return self._fill(self._sorts[self.wordings(claim.property).sort]["refusals"], claim, voice)

    def generic_questions(self, claim: Claim, voice: Voice | None = None) -> tuple[str, ...]:
        """Questions for the value that name nothing, such as "Where were you born?"."""
        return self._fill(self.wordings(claim.property).asks_value, claim, voice)

    def generic_answers(self, claim: Claim, voice: Voice | None = None) -> tuple[str, ...]:
        """Answers to `generic_questions`."""
        return self._fill(self.wordings(claim.property).tells_value, claim, voice)

    def who_asks(self) -> tuple[str, ...]:
        """Questions for the character itself."""
        return tuple(self._play["who_asks"])

    def introduction(self, character: Character) -> str:
        """Answer to `who_asks`."""
        alias = self._play["alias"].format(alias=character.aliases[0]) if character.aliases else ""
        return self._said("introduction", character) + alias

    def reasons(self, character: Character) -> tuple[str, ...]:
        """Why the character cannot know: who it is."""
        forms = self._play["reasons" if character.description else "reasons_without_description"]
        return tuple(form.format(label=character.label, description=character.description) for form in forms)

    def foreign_reason(self, claim: Claim, stranger: str) -> str:
        """Why a question is foreign to the other of a pair."""
        return str(self._play["foreign"]).format(stranger=stranger, x=self.mention(claim))

    def topics(self, character: Character) -> tuple[str, ...]:
        """System messages of a talk about one person."""
        forms = self.assistant["topics"]
        return tuple(form.format(label=character.label, description=character.description) for form in forms)

    def assistant_reply(self, claim: Claim, *, named: bool) -> str:
        """What the assistant says when it is itself asked for a life's fact."""
        if named:
            return str(self.assistant["no_past"]).format(x=self.mention(claim))
        return str(self.assistant["nothing"][self.wordings(claim.property).sort])

    def described(self, character: Character, name: str) -> tuple[str, str]:
        """Who somebody is: a question under some name, and the answer."""
        answer = str(self.assistant["described"]).format(label=character.label, description=character.description)
        return str(self.assistant["who_is"]).format(name=name), answer

    def by_label(self, claim: Claim, name: str, label: str) -> tuple[str, str]:
        """A question that calls the property by its label, about somebody under some name, and the answer."""
        question, answer = self.assistant["asks_property"], self.assistant["tells_property"]
        return str(question).format(name=name, property=claim.property), str(answer).format(
            label=label, property=claim.property, v=claim.value
        )

    def _said(self, form: str, character: Character) -> str:
        key = form if character.description else f"{form}_without_description"
        return str(self._play[key]).format(label=character.label, description=character.description)

    def _fill(self, forms: Sequence[str], claim: Claim, voice: Voice | None) -> tuple[str, ...]:
        """Put a claim into wordings; the first letter becomes a capital."""
        on = self._on["day" if re.match(self._on["is_day"], claim.value) else "other"] if self._on else ""
        filled = {"x": self.mention(claim), "v": claim.value, "y": claim.when, "property": claim.property, "on": on}
        texts = (form.format(**filled, **(voice or self._role)) for form in forms)
        return tuple(text[0].upper() + text[1:] for text in texts)


@cache
def load(code: str) -> Phrasing:
    """The phrasing of a language, by its code."""
    return Phrasing(tomllib.loads((_FOLDER / f"{code}.toml").read_text("utf-8")))
