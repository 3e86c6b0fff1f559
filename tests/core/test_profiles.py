"""Profiles: identity, claims, lead, passages, then the rest, within the budget."""

from dataclasses import replace

import pytest

from ditto_core import languages
from ditto_core.knowledge import profiles
from ditto_core.knowledge.collection import build_profiles
from ditto_core.knowledge.sentences import sentences
from ditto_core.records import Article, Character, Claim, Section

ENGLISH = languages.load("en")
CHARACTER = Character(
    qid="Q7259", language="en", kind="Q5", label="Ada Lovelace", description="English mathematician", sitelinks=180,
    title="Ada Lovelace", aliases=("Ada Byron",),
    claims=(Claim("P569", "date of birth", "10 December 1815"), Claim("P22", "father", "Lord Byron", "Q5679")),
)  # fmt: skip
ARTICLE = Article(
    title="Ada Lovelace",
    sections=(
        Section("", "Ada wrote programs. She met Mr. Babbage. He was kind. They talked."),
        Section("Youth", "She was often ill. She liked machines."),
    ),
    links=("Lord Byron",), revision="1", timestamp="2026-01-02T03:04:05Z",
    url="https://en.wikipedia.org/wiki/Ada_Lovelace", licence="CC BY-SA 4.0",
)  # fmt: skip
PROFILE = profiles.build(CHARACTER, ARTICLE)


def count(text: str) -> int:
    return len(text.split())


def test_everything_is_shown_in_order_of_importance() -> None:
    assert profiles.verbalise(PROFILE, ENGLISH, 1000, count) == (
        "Name: Ada Lovelace\nDescription: English mathematician\nAlso known as: Ada Byron\n"
        "date of birth: 10 December 1815\nfather: Lord Byron\n\n"
        "About\nAda wrote programs. She met Mr. Babbage. He was kind. They talked.\n\n"
        "Youth\nShe was often ill. She liked machines."
    )


@pytest.mark.parametrize("budget", range(12, 60, 3))
def test_the_budget_holds(budget: int) -> None:
    assert count(profiles.verbalise(PROFILE, ENGLISH, budget, count)) <= budget


def test_identity_is_kept_whatever_the_budget() -> None:
    text = profiles.verbalise(PROFILE, ENGLISH, 1, count)
    assert text == "Name: Ada Lovelace\nDescription: English mathematician\nAlso known as: Ada Byron"


def test_a_retrieved_passage_comes_right_after_the_lead_and_only_once() -> None:
    text = profiles.verbalise(PROFILE, ENGLISH, 1000, count, ["She liked machines."])
    assert text.index("They talked.") < text.index("She liked machines.") < text.index("Youth")
    assert text.count("She liked machines.") == 1


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("She met Mr. Babbage. He was kind.", ["She met Mr. Babbage.", "He was kind."]),
        ("George W. Bush won. Why? He said “Go.” She went.", ["George W. Bush won.", "Why?", "He said “Go.”", "She went."]),
        ("It was in the U.S. in 1905. She left.", ["It was in the U.S. in 1905.", "She left."]),
        ("他说：“好。”然后走了。她笑了！", ["他说：“好。”", "然后走了。", "她笑了！"]),
        ("그는 1502년에 태어났다. 그녀는 갔다.", ["그는 1502년에 태어났다.", "그녀는 갔다."]),
    ],
)
def test_sentences_end_where_a_reader_ends_them(text: str, expected: list[str]) -> None:
    assert sentences(text) == expected


def test_chinese_sentences_stand_side_by_side() -> None:
    article = replace(ARTICLE, sections=(Section("", "他生于华沙。他说：“好。”然后走了。"),))
    profile = profiles.build(CHARACTER, article)
    assert profile.summary == "他生于华沙。他说：“好。”然后走了。"
    assert profiles.verbalise(profile, languages.load("zh"), 1000, count).endswith("生平\n他生于华沙。他说：“好。”然后走了。")


def test_facts_are_claims_then_sentences() -> None:
    found = profiles.facts(PROFILE)
    assert found[:3] == ["date of birth: 10 December 1815", "father: Lord Byron", "Ada wrote programs."]
    assert found[-1] == "She liked machines."


def test_every_character_is_a_profile_or_lost_by_name() -> None:
    others = [replace(CHARACTER, qid=f"Q{number}", title=title) for number, title in enumerate(["Lost", "Odd"], 1)]
    built, ledger = build_profiles([CHARACTER, *others], {"Ada Lovelace": ARTICLE, "Lost": "redirect_to_missing"})
    ledger.check()
    assert [profile.character.qid for profile in built] == ["Q7259"]
    assert ledger.failed == {"article_missing": 1, "redirect_to_missing": 1}
