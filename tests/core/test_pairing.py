"""Partners on the ring: strangers only, the same anywhere, and one more role moves few pairs."""

from collections.abc import Mapping

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ditto_core.records import Article, Character, Claim, Profile
from ditto_core.simulation import pairing
from ditto_core.simulation.pairing import Candidate


def candidate(number: int, *values: str, links: tuple[str, ...] = ()) -> Candidate:
    return Candidate(f"Q{number}", f"T{number}", frozenset(values), frozenset(links))


worlds = st.lists(
    st.builds(
        lambda number, values, links: candidate(number, *(f"Q{v}" for v in values), links=tuple(f"T{n}" for n in links)),
        st.integers(1, 60),
        st.sets(st.integers(1, 80), max_size=4),
        st.sets(st.integers(1, 60), max_size=4),
    ),
    max_size=40,
    unique_by=lambda one: one.qid,
)


def changed(before: Mapping[str, tuple[str, ...]], after: Mapping[str, tuple[str, ...]]) -> int:
    return sum(old != new for qid in before for old, new in zip(before[qid], after[qid], strict=True))


@given(worlds, st.integers(1, 4))
def test_the_order_of_the_characters_does_not_matter(world: list[Candidate], count: int) -> None:
    shuffled = sorted(world, key=lambda one: one.qid[::-1])
    assert pairing.partners(world, count) == pairing.partners(shuffled, count)


@given(worlds, st.integers(1, 4))
def test_partners_are_distinct_strangers_and_every_role_is_listed(world: list[Candidate], count: int) -> None:
    by_qid = {one.qid: one for one in world}
    found = pairing.partners(world, count)
    assert found.keys() == by_qid.keys()
    for role, chosen in found.items():
        assert len(chosen) == len(set(chosen)) <= count
        assert all(pairing.are_strangers(by_qid[role], by_qid[other]) for other in chosen)


@given(worlds, st.integers(1, 4))
def test_a_small_world_leaves_no_role_alone_that_has_a_stranger(world: list[Candidate], count: int) -> None:
    for role in world:
        strangers = sum(pairing.are_strangers(role, other) for other in world)
        assert len(pairing.partners(world, count)[role.qid]) == min(count, strangers)


def test_one_more_role_changes_about_one_pair_of_each_rank() -> None:
    world = [candidate(number) for number in range(300)]
    before = pairing.partners(world, 2)
    moved = [changed(before, pairing.partners([*world, candidate(newcomer)], 2)) for newcomer in range(1000, 1100)]
    assert sum(moved) / len(moved) == pytest.approx(2, abs=0.7)


def test_a_role_that_knows_everybody_has_no_partner_and_the_search_ends() -> None:
    crowd = [candidate(number) for number in range(2000)]
    hub = candidate(5000, links=tuple(one.title for one in crowd))
    found = pairing.partners([*crowd, hub], 1)
    assert found[hub.qid] == ()
    assert all(chosen and hub.qid not in chosen for qid, chosen in found.items() if qid != hub.qid)


def test_what_thousands_share_keeps_nobody_apart() -> None:
    claims = (
        Claim("P27", "country of citizenship", "France", "Q142"),
        Claim("P106", "occupation", "physicist", "Q169470"),
        Claim("P1441", "present in work", "Hamlet", "Q41567"),
        Claim("P569", "date of birth", "1867"),
    )
    character = Character("Q1", "en", "Q5", "Ada", "", 1, "Ada L.", (), claims)
    slim = pairing.candidate(Profile(character, Article("Ada L.", (), ("Byron",), "1", "", "", ""), ""))
    assert slim == Candidate("Q1", "Ada L.", frozenset({"Q41567"}), frozenset({"Byron"}))
