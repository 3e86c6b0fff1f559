"""Profiles: what a seed LLM is shown of a character, as text within a budget.

Input:   a `Character` (label, description, aliases, claims) and its `Article` as prose.
Output:  `Profile`, and its text: identity first, then claims, then the lead, then passages and sections in order.
Source:  arXiv 2401.12474, section 3.2 and appendix A.

Example:
    Name: Marie Curie
    Description: Polish-French physicist and chemist
    Also known as: Madame Curie
    date of birth: 7 November 1867
    award received: Nobel Prize in Physics (1903)

    About
    Marie Curie was ...

Everything here is pure.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence

from ditto_core.knowledge.sentences import gap, joined, sentences
from ditto_core.languages import Language
from ditto_core.records import Article, Character, Profile

_SUMMARY_SENTENCES = 3


def build(character: Character, article: Article) -> Profile:
    """Join a character and its article; the summary is the first sentences of the lead."""
    lead = article.sections[0].text if article.sections else ""
    return Profile(character, article, joined(sentences(lead)[:_SUMMARY_SENTENCES]))


def facts(profile: Profile) -> list[str]:
    """Claims, then sentences of the article: what evidence for a question is chosen from."""
    prose = (sentence for section in profile.article.sections for sentence in sentences(section.text))
    return [claim.text() for claim in profile.character.claims] + list(prose)


def verbalise(
    profile: Profile,
    language: Language,
    budget: int,
    count_tokens: Callable[[str], int],
    passages: Sequence[str] = (),
) -> str:
    """The profile as text of at most `budget` tokens.

    Args:
        budget: Tokens, as `count_tokens` counts them. Parts are taken whole, in order of importance, until
            one doesn't fit; the identity lines are always kept.
        passages: Sentences of the article to take right after the lead, such as those that a question retrieves.

    Returns:
        Lines of identity and claims, then the article as paragraphs with their headings.
    """
    lines = _identity_lines(profile, language)
    used = count_tokens("\n".join(lines))
    for line in (claim.text() for claim in profile.character.claims):
        used += count_tokens("\n" + line)
        if used > budget:
            return "\n".join(lines)
        lines.append(line)
    title = language.words["profile"]["article"]
    used += count_tokens(f"\n\n{title}\n")
    chosen = list(_within(budget - used, _article_sentences(profile, passages), count_tokens))
    if not chosen:
        return "\n".join(lines)
    return "\n".join(lines) + f"\n\n{title}\n" + _paragraphs(chosen)


def _identity_lines(profile: Profile, language: Language) -> list[str]:
    character, words = profile.character, language.words["profile"]
    lines = [f"{words['name']}: {character.label}"]
    if character.description:
        lines.append(f"{words['description']}: {character.description}")
    if character.aliases:
        lines.append(f"{words['aliases']}: {'; '.join(character.aliases)}")
    return lines


def _article_sentences(profile: Profile, passages: Sequence[str]) -> Iterator[tuple[str, str]]:
    """(heading, sentence) pairs: the lead, then the passages, then the rest in order, none twice."""
    taken = set(passages)
    lead, rest = profile.article.sections[:1], profile.article.sections[1:]
    for section in lead:
        for sentence in sentences(section.text):
            taken.add(sentence)
            yield "", sentence
    in_lead = {sentence for section in lead for sentence in sentences(section.text)}
    yield from (("", passage) for passage in passages if passage not in in_lead)
    for section in rest:
        yield from ((section.heading, s) for s in sentences(section.text) if s not in taken)


def _within(budget: int, pairs: Iterable[tuple[str, str]], count_tokens: Callable[[str], int]) -> Iterator[tuple[str, str]]:
    shown = ""
    for heading, sentence in pairs:
        budget -= count_tokens(f" {sentence}")
        if heading != shown:
            budget -= count_tokens(f"\n\n{heading}\n")
        shown = heading
        if budget < 0:
            return
        yield heading, sentence


def _paragraphs(pairs: Sequence[tuple[str, str]]) -> str:
    text, shown = "", ""
    for heading, sentence in pairs:
        if heading != shown:
            text += f"\n\n{heading}\n{sentence}"
        else:
            text += gap(text) + sentence if text else sentence
        shown = heading
    return text
