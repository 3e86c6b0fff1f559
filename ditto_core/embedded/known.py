"""The embedded world as the seed reads of it: the same profiles that the pipeline will collect.

In:     the characters of `world.entries()`, and world/articles/<Q-id>.wiki where it exists.
Out:    `World`: all characters, and those of the train split, which alone may be played.
Source: ours; facts as Wikidata has them, put into words by the pipeline's own functions.

Example:
    Marie Curie, Polish-French physicist and chemist; award received: Nobel Prize in Physics (1903); ...
"""

from pathlib import Path

from ditto_core import languages
from ditto_core.dataset.splits import split_of
from ditto_core.embedded.documents import World
from ditto_core.embedded.world import PROPERTIES, Entry, Fact, entries
from ditto_core.knowledge import claims, profiles, wikitext
from ditto_core.knowledge.claims import Statement
from ditto_core.knowledge.sparql import Term
from ditto_core.languages import Language
from ditto_core.records import Article, Character, Claim, Profile

_ARTICLES = Path(__file__).parent / "world" / "articles"
_MAX_VALUES = 5
_SHARES = {"validation_share": 0.1, "test_share": 0.2}
_RANKS = {"preferred": claims.PREFERRED, "normal": claims.NORMAL, "deprecated": claims.DEPRECATED}
_YEAR = 9


def load_world() -> World:
    """All characters, in the order of the file."""
    language = languages.load("en")
    known = tuple(_profile(entry, language) for entry in entries())
    return World(known, tuple(p for p in known if split_of(p.character.qid, **_SHARES) == "train"))


def _profile(entry: Entry, language: Language) -> Profile:
    character = Character(
        qid=entry.qid,
        language=language.code,
        kind=entry.kind,
        label=entry.label,
        description=entry.description,
        sitelinks=entry.sitelinks,
        title=entry.title,
        aliases=entry.aliases,
        claims=_claims(entry, language),
    )
    return profiles.build(character, _article(entry, language))


def _article(entry: Entry, language: Language) -> Article:
    path = _ARTICLES / f"{entry.qid}.wiki"
    sections, links = wikitext.prose(path.read_text("utf-8"), language) if path.exists() else ((), ())
    return Article(entry.title, sections, links, "", "", "", "")


def _claims(entry: Entry, language: Language) -> tuple[Claim, ...]:
    values = dict.fromkeys(fact.value for fact in entry.facts if not fact.is_time)
    items = {value: f"Q{number}" for number, value in enumerate(values, 10**9)}
    labels = {**PROPERTIES, **{item: value for value, item in items.items()}}
    statements = [_statement(entry.qid, fact, items) for fact in entry.facts]
    found, _unsaid = claims.claims(statements, labels, language, _MAX_VALUES)
    return found


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
