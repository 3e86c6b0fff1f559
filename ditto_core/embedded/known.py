"""The embedded world as the seed reads of it: the same profiles that the pipeline will collect.

In:     the characters of `world.entries()`, a language.
Out:    `World`: all characters, and those of the train split, which alone may be played.
Source: ours; facts as Wikidata has them, put into words by the pipeline's own functions.

Example:
    Marie Curie, Polish-French physicist and chemist; award received: Nobel Prize in Physics (1903); ...
"""

from dataclasses import dataclass

from ditto_core import languages
from ditto_core.dataset.splits import split_of
from ditto_core.embedded.world import Entry, Fact, Labels, entries, labels
from ditto_core.knowledge import claims, profiles, wikitext
from ditto_core.knowledge.claims import Statement
from ditto_core.knowledge.sparql import Term
from ditto_core.languages import Language
from ditto_core.records import Article, Character, Claim, Profile

_MAX_VALUES = 5
_SHARES = {"validation_share": 0.1, "test_share": 0.2}
_RANKS = {"preferred": claims.PREFERRED, "normal": claims.NORMAL, "deprecated": claims.DEPRECATED}
_YEAR = 9
_MARKS = "(),.;:\"'"
_LONGEST_WORD = 14  # longer ones are lines of a language without spaces


@dataclass(frozen=True, slots=True)
class World:
    """The embedded characters: all of them, and those that may be played before fine-tuning."""

    known: tuple[Profile, ...]
    playable: tuple[Profile, ...]

    def words(self) -> tuple[str, ...]:
        """Words of the playable characters and their articles; invented names are put together from them too."""
        words = {word.strip(_MARKS) for profile in self.playable for text in _texts(profile) for word in text.split()}
        return tuple(sorted(word for word in words if word.isalpha() and len(word) <= _LONGEST_WORD))


def load_world(code: str = "en") -> World:
    """All characters of whom a language tells, in the order of the file."""
    language, characters = languages.load(code), entries()
    called = labels(code, characters)
    known = tuple(_profile(entry, language, called) for entry in characters if code in entry.texts)
    return World(known, tuple(p for p in known if split_of(p.character.qid, **_SHARES) == "train"))


def _profile(entry: Entry, language: Language, called: Labels) -> Profile:
    text = entry.texts[language.code]
    character = Character(
        qid=entry.qid,
        language=language.code,
        kind=entry.kind,
        label=text.label,
        description=text.description,
        sitelinks=entry.sitelinks,
        title=text.title,
        aliases=text.aliases,
        claims=_claims(entry, language, called),
    )
    sections, links = wikitext.prose(text.wikitext, language)
    return profiles.build(character, Article(text.title, sections, links, "", "", "", ""))


def _claims(entry: Entry, language: Language, called: Labels) -> tuple[Claim, ...]:
    values = dict.fromkeys(fact.value for fact in entry.facts if not fact.is_time)
    items = {value: f"Q{number}" for number, value in enumerate(values, 10**9)}
    found = {**called.properties, **{item: called.values[value] for value, item in items.items() if value in called.values}}
    statements = [_statement(entry.qid, fact, items) for fact in entry.facts]
    said, _unsaid = claims.claims(statements, found, language, _MAX_VALUES)
    return said


def _statement(qid: str, fact: Fact, items: dict[str, str]) -> Statement:
    since = (_moment(fact.year), _YEAR) if fact.year else ("", None)
    if not fact.is_time:
        value = Term(claims.ENTITY + items[fact.value], "uri")
        return Statement(qid, fact.property_id, "WikibaseItem", value, _RANKS[fact.rank], since=since)
    precision = _YEAR + fact.value.lstrip("-").count("-")
    value = Term(_moment(fact.value))
    return Statement(qid, fact.property_id, "Time", value, _RANKS[fact.rank], precision, since=since)


def _moment(time: str) -> str:
    """A time as Wikidata's RDF has it: missing parts are 01, and the year before 1 is 0."""
    sign, parts = ("-", time[1:].split("-")) if time.startswith("-") else ("", time.split("-"))
    year = int(parts[0]) - (1 if sign else 0)
    month, day = [*parts[1:], "01", "01"][:2]
    return f"{sign if year else ''}{year:04d}-{month}-{day}T00:00:00Z"


def _texts(profile: Profile) -> list[str]:
    values = [claim.value for claim in profile.character.claims]
    return [profile.character.label, profile.character.description, *values, *(part.text for part in profile.article.sections)]
