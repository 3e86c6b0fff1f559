"""Pairing: which characters a role is interviewed against.

Input:   a slim view of every profile.
Output:  role -> its partners, each a character whose world has nothing to do with the role's.
Source:  arXiv 2401.12474, algorithm 1 draws B at random; here B is the next eligible character after the role's own point on
         a hash ring, so that one more character changes about one pair.

Example: {"Q7186": ("Q692",), "Q692": ("Q4653",)}

N log N in all: the ring is sorted once, each role is found by bisection and looks at a bounded number of neighbours. Pure.
"""

from bisect import bisect_right
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from ditto_core.recipe import stable_hash
from ditto_core.records import Profile

_NEIGHBOURS = 200
# Values that say nothing of a shared life: occupation, citizenship, languages, gender, class, religion, manner of death.
_COMMON_PROPERTIES = frozenset({"P106", "P27", "P1412", "P103", "P21", "P31", "P140", "P1196", "P509", "P172"})


@dataclass(frozen=True, slots=True)
class Candidate:
    """What pairing needs to know of a profile.

    Attributes:
        values: Q-ids of its claims' values, without those that thousands share.
        links: Titles that its article links to.
    """

    qid: str
    title: str
    values: frozenset[str]
    links: frozenset[str]


def candidate(profile: Profile) -> Candidate:
    """The slim view of a profile."""
    character = profile.character
    values = {claim.value_id for claim in character.claims if claim.value_id and claim.property_id not in _COMMON_PROPERTIES}
    return Candidate(character.qid, character.title, frozenset(values), frozenset(profile.article.links))


def are_strangers(one: Candidate, other: Candidate) -> bool:
    """Whether nothing that one knows can be expected of the other: no shared value, and no mention either way."""
    return (
        one.qid != other.qid
        and not one.values & other.values
        and one.qid not in other.values
        and other.qid not in one.values
        and one.title not in other.links
        and other.title not in one.links
    )


def partners(candidates: Sequence[Candidate], count: int) -> Mapping[str, tuple[str, ...]]:
    """Choose up to `count` partners for every role.

    Returns:
        Role -> partners; a role without a stranger among its neighbours on the ring has none.
    """
    ring = sorted((stable_hash(f"ring:{candidate.qid}"), candidate.qid) for candidate in candidates)
    points = [point for point, _ in ring]
    by_qid = {candidate.qid: candidate for candidate in candidates}
    return {role.qid: _partners_of(role, count, ring, points, by_qid) for role in candidates}


def _partners_of(
    role: Candidate,
    count: int,
    ring: Sequence[tuple[int, str]],
    points: Sequence[int],
    by_qid: Mapping[str, Candidate],
) -> tuple[str, ...]:
    chosen: list[str] = []
    for number in range(count):
        start = bisect_right(points, stable_hash(f"role:{number}:{role.qid}"))
        for step in range(min(_NEIGHBOURS, len(ring))):
            other = ring[(start + step) % len(ring)][1]
            if other not in chosen and are_strangers(role, by_qid[other]):
                chosen.append(other)
                break
    return tuple(chosen)
