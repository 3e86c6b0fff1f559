"""Collection: the two steps of the knowledge stage that its tasks call.

Input:   an endpoint and settings; then characters and what became of their articles.
Output:  characters, then profiles, each with an account of every input.
Source:  arXiv 2401.12474, section 3.2.

Example:
    characters, ledger = collect_characters(client, settings, english)
    articles = dict(cleaning.articles(pages_from_dump(path, titles, english), "en", workers=2, limit_s=30.0))
    profiles, lost = build_profiles(characters, articles)
"""

from collections.abc import Iterable, Mapping

from ditto_core.errors import RowFailed
from ditto_core.knowledge import profiles
from ditto_core.knowledge.ranking import RankedItem, rank
from ditto_core.knowledge.sparql import Endpoint
from ditto_core.knowledge.wikidata import describe
from ditto_core.languages import Language
from ditto_core.ledger import Ledger
from ditto_core.records import Article, Character, Profile
from ditto_core.settings import KnowledgeSettings


def collect_characters(endpoint: Endpoint, settings: KnowledgeSettings, language: Language) -> tuple[list[Character], Ledger]:
    """Rank all classes and describe what they list; an item of several classes counts for the first.

    Returns:
        Characters by class, then fame, and an account with one entry a ranked item.

    Raises:
        SourceUnavailable: The endpoint is busy or down.
        InvalidInput: No such endpoint.
    """
    items: dict[str, RankedItem] = {}
    empty = []
    for cls in settings.classes:
        ranked = rank(endpoint, cls, language, settings.max_characters, settings.ranking, settings.subclasses)
        empty += [] if ranked else [cls]
        for item in ranked:
            items.setdefault(item.qid, item)
    characters, ledger = describe(endpoint, list(items.values()), language, settings)
    ledger.notes.update(f"no_items_of_{cls}" for cls in empty)
    return characters, ledger


def build_profiles(characters: Iterable[Character], articles: Mapping[str, Article | str]) -> tuple[list[Profile], Ledger]:
    """Join characters and articles.

    Args:
        characters: Each with the title of its article.
        articles: Title -> article, or the reason why there is none; a title that is not there is "article_missing".

    Returns:
        Profiles in the order of the characters, and an account with one entry a character.
    """
    built = []
    ledger = Ledger()
    for character in characters:
        ledger.inputs += 1
        article = articles.get(character.title, "article_missing")
        if isinstance(article, str):
            problem = f"{character.qid} names the article {character.title!r}"
            ledger.fail(character.qid, RowFailed(article, problem, raw=character.title))
        else:
            ledger.ok += 1
            built.append(profiles.build(character, article))
    return built, ledger
