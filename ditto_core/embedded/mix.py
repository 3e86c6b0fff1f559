"""Mix: what there is how much of in a training's documents.

In:     nothing.
Out:    `Mix`, a part of a recipe, and the larger seed's.
Source: ours.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field

KINDS = ("answers", "queries", "knowledge", "articles", "copies", "lookups", "judgements")
"""Kinds of documents, as `documents` tells of them."""


WITHOUT_LOOKUPS = {"answers": 0.33, "queries": 0.18, "knowledge": 0.42, "articles": 0.04, "copies": 0.03, "lookups": 0.0}


@dataclass(frozen=True, slots=True)
class Mix:
    """Weights, and shares from 0 to 1; the defaults are those of the larger seed's first round and of the scores' lives.

    Attributes:
        kinds: Of `KINDS` -> weight; 0 for one that is not there.
        minimal_pairs: Whether foreign questions take the form of an own one where they can: only the name tells them apart then.
        longer_lists: Of the lists of questions: how many are longer than the pipeline's, to practise what the next one is.
        crowded: Of the invented lives: how many have several values of a property, and values that begin alike, as real ones do.
        unlisted: Of the invented lives: how many have properties that no wording knows.
        most_unlisted: Of these properties: the most that a life has. With several, to which one a value belongs must be read.
        pieced: Of the words in invented names: how many are put together from the tokenizer's pieces instead, many of which
            occur in no word that is read here, but in others' names.
        further: Of the wordings' further lists of properties and forms of names, for later rounds: how many lives draw from.
        lifelike: Of the invented lives: how many have any property as often as another, values that do not look like their
            property, and a value under two of them, as real ones have. What stands under a label must be read then.
    """

    kinds: Mapping[str, float] = field(default_factory=lambda: {**WITHOUT_LOOKUPS, "lookups": 0.3})
    minimal_pairs: bool = True
    longer_lists: float = 0.0
    crowded: float = 0.0
    unlisted: float = 0.2
    most_unlisted: int = 1
    pieced: float = 0.0
    further: int = 0
    lifelike: float = 0.0


SECOND_ROUND = Mix(
    {"answers": 0.22, "queries": 0.13, "knowledge": 0.46, "articles": 0.03, "copies": 0.02, "lookups": 0.14},
    longer_lists=0.25, crowded=0.25, unlisted=0.3, pieced=0.4,
)  # fmt: skip
"""What the larger seed reads in its second round: more of the world's people; names and lives more like real ones."""


THIRD_ROUND = Mix(
    {"answers": 0.28, "queries": 0.14, "knowledge": 0.40, "articles": 0.02, "copies": 0.02, "lookups": 0.14},
    longer_lists=0.25, crowded=0.35, unlisted=0.6, most_unlisted=6, pieced=0.4,
)  # fmt: skip
"""What it reads in its third round: lives with several properties that no wording knows, as real ones have."""


FOURTH_ROUND = Mix(
    {
        "answers": 0.24, "queries": 0.14, "knowledge": 0.3, "articles": 0.01, "copies": 0.01, "lookups": 0.12, "judgements": 0.18,
    },
    longer_lists=0.25, crowded=0.4, unlisted=0.7, most_unlisted=6, pieced=0.4, further=1,
)  # fmt: skip
"""What it reads in its fourth round: the labels that Wikidata has for people, names with signs in them, and a judge's work."""


FIFTH_ROUND = Mix(
    {
        "answers": 0.25, "queries": 0.2, "knowledge": 0.32, "articles": 0.01, "copies": 0.01, "lookups": 0.12, "judgements": 0.09,
    },
    longer_lists=0.25, crowded=0.4, unlisted=0.7, most_unlisted=6, pieced=0.4, further=2, lifelike=0.5,
)  # fmt: skip
"""What it reads in its fifth round: lives in which a value does not tell under what property it stands."""
