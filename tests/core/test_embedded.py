"""The embedded world and what the seed LLM may read of it."""

import json
from random import Random

import pytest

from ditto_core import languages
from ditto_core.embedded import SEEDS, phrasing, seed_folder, world
from ditto_core.embedded.documents import Document, Writer
from ditto_core.embedded.known import load_world
from ditto_core.records import Claim

KNOWN = load_world()
HELD_OUT = {profile.character.label for profile in KNOWN.known} - {profile.character.label for profile in KNOWN.playable}


@pytest.fixture(scope="module")
def documents() -> list[Document]:
    writer = Writer(Random(5), languages.load("en"), KNOWN, lambda text: len(text) // 4)
    return [writer.document(1.0) for _ in range(600)]


def test_a_hundred_characters_each_with_an_article_facts_and_an_id_of_its_own() -> None:
    characters = world.entries()

    assert len({entry.qid for entry in characters}) == len({entry.label for entry in characters}) == 100
    assert all(len(entry.facts) >= 5 for entry in characters)
    assert all(profile.article.sections for profile in KNOWN.known)
    assert 20 <= len(HELD_OUT) <= 40


def test_what_ships_is_what_the_sources_say() -> None:
    characters = world.entries()

    assert world.world_rdf().read_text("utf-8") == world.turtle(characters)
    assert world.world_export().read_text("utf-8") == world.export(characters)


def test_the_seeds_are_small_and_of_two_sizes() -> None:
    weights = [(seed_folder(name) / "model.safetensors").stat().st_size for name in SEEDS]

    assert weights[0] > 2 * weights[1]
    assert sum(weights) < 12e6


def test_a_new_character_moves_no_other_items_id() -> None:
    characters = world.entries()
    newest = characters[-1]

    before, after = (set(world.turtle(some).splitlines()) for some in (characters[:-1], characters))

    assert before <= after
    assert any(newest.label in line for line in after - before)


def test_held_out_roles_are_never_played_before_fine_tuning(documents: list[Document]) -> None:
    chats = [document for document in documents if document.kind in ("answers", "queries")]
    played = [label for label in HELD_OUT for chat in chats if f"Name: {label}\n" in chat.messages[0].content]

    assert len(chats) > 200
    assert played == []


def test_no_chat_has_the_bare_line_of_identity(documents: list[Document]) -> None:
    systems = [document.messages[0].content for document in documents if document.messages]

    without_profile = [text for text in systems if text.startswith("You are ") and "Name: " not in text]

    assert [text for text in without_profile if "assistant" not in text and "about" not in text] == []


def test_foreign_questions_are_about_nothing_that_the_profile_holds() -> None:
    writer = Writer(Random(6), languages.load("en"), KNOWN, lambda text: len(text) // 4)
    for _ in range(100):
        profile = writer.invented()
        text = writer.verbalised(profile)
        assert writer.foreign(text, None).value.lower() not in text.lower()


def test_lists_of_questions_never_repeat_one(documents: list[Document]) -> None:
    lists = [json.loads(d.messages[1].content) for d in documents if d.kind == "queries"]

    assert lists
    assert all(len({one["question"] for one in asked}) == 3 for asked in lists)


@pytest.mark.parametrize(
    ("claim", "said"),
    [
        (Claim("P166", "award received", "Nobel Prize in Physics"), "the Nobel Prize in Physics"),
        (Claim("P39", "position held", "pharaoh"), "pharaoh"),
        (Claim("P19", "place of birth", "Warsaw"), "Warsaw"),
        (Claim("P793", "significant event", "voyage of the Beagle"), "the voyage of the Beagle"),
    ],
)
def test_values_are_mentioned_as_english_mentions_them(claim: Claim, said: str) -> None:
    assert phrasing.mention(claim) == said
