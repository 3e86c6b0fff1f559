"""The embedded world and what the seed LLM may read of it."""

import json
import re
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import replace
from random import Random

import pytest

from ditto_core import languages
from ditto_core.embedded import LANGUAGES, SEEDS, phrasing, seed_folder, world, world_export, world_rdf
from ditto_core.embedded.documents import Document, Writer
from ditto_core.embedded.known import load_world
from ditto_core.embedded.mix import FIFTH_ROUND, FOURTH_ROUND, SECOND_ROUND, THIRD_ROUND, Mix
from ditto_core.evaluation import unknown_rejection
from ditto_core.records import Claim
from ditto_core.simulation.queries import check

WORLDS = {code: load_world(code) for code in LANGUAGES}
KNOWN = WORLDS["en"]
PIECES = sorted({word[:3] for world_of in WORLDS.values() for word in world_of.words()})
HELD_OUT = {profile.character.qid for profile in KNOWN.known} - {profile.character.qid for profile in KNOWN.playable}


def writer_of(code: str, seed: int) -> Writer:
    return Writer(Random(seed), languages.load(code), WORLDS[code], lambda text: len(text) // 4, FOURTH_ROUND, PIECES)


@pytest.fixture(scope="module", params=LANGUAGES)
def code(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture(scope="module")
def documents(code: str) -> list[Document]:
    writer = writer_of(code, 5)
    return [writer.document(1.0) for _ in range(900)]


def test_a_hundred_characters_each_with_an_article_facts_and_an_id_of_its_own() -> None:
    characters = world.entries()

    assert len({entry.qid for entry in characters}) == len({entry.texts["en"].label for entry in characters}) == 100
    assert all(len(entry.facts) >= 5 for entry in characters)
    assert all(profile.article.sections for profile in KNOWN.known)
    assert 20 <= len(HELD_OUT) <= 40


@pytest.mark.parametrize("code", LANGUAGES[1:])
def test_the_smaller_parts_have_facts_articles_and_roles_of_both_kinds(code: str) -> None:
    known = WORLDS[code].known
    english = {profile.character.qid: profile.character for profile in KNOWN.known}

    assert len(known) == 24
    assert 6 <= sum(profile.character.qid in HELD_OUT for profile in known) <= 12
    for profile in known:
        assert profile.article.sections
        assert len(profile.character.claims) >= min(7, len(english[profile.character.qid].claims))
        assert all(phrasing.load(code).properties[claim.property].sort for claim in profile.character.claims)


@pytest.mark.parametrize("code", LANGUAGES)
def test_what_ships_is_what_the_sources_say(code: str) -> None:
    characters = world.entries()

    assert world_rdf().read_text("utf-8") == world.turtle(characters)
    assert world_export(code).read_text("utf-8") == world.export(code, characters)


def test_the_seeds_are_small_and_of_two_sizes() -> None:
    weights = [(seed_folder(name) / "model.safetensors").stat().st_size for name in SEEDS]

    assert weights[0] > 2 * weights[1]
    assert sum(weights) < 12e6


def test_a_new_character_moves_no_other_items_id() -> None:
    characters = world.entries()
    newest = characters[-1]

    before, after = (set(world.turtle(some).splitlines()) for some in (characters[:-1], characters))

    assert before <= after
    assert any(newest.texts["en"].label in line for line in after - before)


def test_held_out_roles_are_never_played_before_fine_tuning(code: str, documents: list[Document]) -> None:
    chats = [document for document in documents if document.kind in ("answers", "queries")]
    name = languages.load(code).words["profile"]["name"]
    held_out = [profile.character.label for profile in WORLDS[code].known if profile.character.qid in HELD_OUT]
    played = [label for label in held_out for chat in chats if f"{name}: {label}\n" in chat.messages[0].content]

    assert len(chats) > 200
    assert played == []


def test_no_chat_has_the_bare_line_of_identity(code: str, documents: list[Document]) -> None:
    language = languages.load(code)
    bare = {language.identity(profile.character.label, profile.character.description) for profile in WORLDS[code].known}

    assert {document.messages[0].content for document in documents if document.messages} & bare == set()


@pytest.mark.parametrize("code", LANGUAGES)
def test_foreign_questions_are_about_nothing_that_the_profile_holds(code: str) -> None:
    writer = writer_of(code, 6)
    for _ in range(100):
        profile = writer.invented()
        text = writer.verbalised(profile)
        assert writer.turns.foreign(text, None, WORLDS[code].known).value.lower() not in text.lower()


def test_foreign_questions_are_mostly_on_what_other_characters_did(code: str) -> None:
    writer = writer_of(code, 7)
    values = {claim.value for profile in WORLDS[code].known for claim in profile.character.claims}

    asked = [writer.turns.foreign("", None, WORLDS[code].known).value in values for _ in range(200)]

    assert sum(asked) > 120


def test_lists_of_questions_never_repeat_one(documents: list[Document]) -> None:
    lists = [json.loads(d.messages[1].content) for d in documents if d.kind == "queries"]
    assert lists
    assert all(len({one["question"] for one in asked}) == len(asked) for asked in lists)
    assert {len(asked) for asked in lists} >= {3, 4, 5, 6}


def test_questions_of_a_list_are_on_facts_that_follow_each_other(code: str) -> None:
    writer, said = writer_of(code, 8), phrasing.load(code)
    roles = {profile.character.label: profile.character for profile in WORLDS[code].playable}
    looked_at = 0
    for _ in range(60):
        prompt, reply = writer.queries().messages
        profiles = "\n\n".join(prompt.content.split("\n\n")[:-2])  # what is to be done follows
        shown, stranger = (part.splitlines() for part in re.split(r"\n\n(?=[^\n]+: )", profiles)[1:3])
        role = roles.get(shown[0].partition(": ")[2])
        if role is None:
            continue
        claims = [claim for claim in role.claims if claim.text() in shown and said.names_something(claim)]
        asked = [one["question"] for one in json.loads(reply.content)]
        places = [next(place for place, claim in enumerate(claims) if one in said.naming_questions(claim)) for one in asked]
        known = "\n".join(stranger).lower()
        between = [claim for claim in claims[places[0] : places[-1] + 1] if claim.value.lower() not in known]
        names = (role.label.lower(), stranger[0].partition(": ")[2].lower())
        left = [claim for claim in between if not any(name in said.naming_questions(claim)[0].lower() for name in names)]
        assert len(left) == len(asked), (asked, left)
        looked_at += 1
    assert looked_at > 5


@pytest.mark.parametrize("code", LANGUAGES)
def test_every_refusal_is_heard_as_one_and_no_answer_is(code: str) -> None:
    language, said = languages.load(code), phrasing.load(code)
    for profile in WORLDS[code].known:
        for claim in filter(said.names_something, profile.character.claims):
            assert all(unknown_rejection.refuses(text, language) for text in said.refusals(claim))
            assert not any(unknown_rejection.refuses(text, language) for text in said.naming_answers(claim))


@pytest.mark.parametrize("code", LANGUAGES)
def test_every_question_passes_the_simulations_checks_and_the_assistant_says_what_it_is(code: str) -> None:
    language, said, writer = languages.load(code), phrasing.load(code), writer_of(code, 10)
    someone, somebody_else = writer.invented(), writer.invented()
    for profile in WORLDS[code].known:
        for claim in profile.character.claims:
            questions = said.generic_questions(claim)
            questions += said.naming_questions(claim) if said.names_something(claim) else ()
            for question in questions:
                check(question, [], someone, somebody_else, language)
            assert language.speaks("assistant", said.assistant_reply(claim, named=said.names_something(claim)))


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
    assert phrasing.load("en").mention(claim) == said


def test_invented_values_follow_their_rules_and_words_of_the_world_are_mixed_in() -> None:
    inventor = writer_of("en", 9).inventor

    awards = [inventor.make("award") for _ in range(400)]

    assert len(set(awards)) > 380
    assert any("Award for Best" in award for award in awards)
    assert not any("{" in award or "}" in award for award in awards)
    assert inventor.make("Lower")[0].isupper()


@pytest.mark.parametrize("code", LANGUAGES)
def test_names_are_put_together_from_pieces_in_the_languages_own_letters(code: str) -> None:
    writer = Writer(Random(1), languages.load(code), WORLDS[code], len, replace(SECOND_ROUND, pieced=1.0), ["Ж", *PIECES])
    words = [writer.inventor.make("made_up") for _ in range(100)]

    assert "Ж" not in "".join(words)
    assert all(word.startswith(tuple(PIECES)) for word in words)


def test_crowded_lives_have_several_values_of_a_property_some_of_them_alike() -> None:
    def lives(crowded: float) -> list[Sequence[Claim]]:
        inventor = Writer(Random(2), languages.load("en"), KNOWN, len, replace(SECOND_ROUND, crowded=crowded)).inventor
        return [inventor.profile(12).character.claims for _ in range(100)]

    def with_four_of_a_property(some: list[Sequence[Claim]]) -> int:
        return sum(max(Counter(claim.property for claim in claims).values()) >= 4 for claims in some)

    def with_one_value_in_another(some: list[Sequence[Claim]]) -> int:
        pairs = [[(a.value, b.value) for a in claims for b in claims if a.property == b.property] for claims in some]
        return sum(any(longer.startswith(f"{value} ") for value, longer in found) for found in pairs)

    crowded, plain = lives(1.0), lives(0.0)
    assert with_four_of_a_property(crowded) > 50
    assert with_four_of_a_property(plain) == 0
    assert with_one_value_in_another(crowded) > 20
    assert with_one_value_in_another(plain) == 0


@pytest.mark.parametrize("code", LANGUAGES)
def test_lives_have_several_properties_that_no_wording_knows(code: str) -> None:
    several, single = (unlisted_of_lives(code, most) for most in (6, 1))
    assert sum(len({claim.property for claim in claims}) >= 4 for claims in several) > 30
    assert max(len({claim.property for claim in claims}) for claims in single) == 1


def test_values_of_properties_that_no_wording_knows_are_of_any_sort() -> None:
    several, single = (unlisted_of_lives("en", most) for most in (6, 1))
    battles = [
        sum(claim.value.startswith(("Battle of ", "Siege of ")) for claims in lives for claim in claims)
        for lives in (several, single)
    ]
    assert battles[0] > 5
    assert battles[1] == 0


def unlisted_of_lives(code: str, most: int) -> list[list[Claim]]:
    mix = replace(THIRD_ROUND, unlisted=1.0, most_unlisted=most)
    inventor = Writer(Random(4), languages.load(code), WORLDS[code], len, mix).inventor
    listed = phrasing.load(code).properties
    return [[claim for claim in inventor.profile(12).character.claims if claim.property not in listed] for _ in range(100)]


def claims_of_lives(mix: Mix) -> list[tuple[Claim, ...]]:
    inventor = Writer(Random(4), languages.load("en"), WORLDS["en"], len, mix).inventor
    return [inventor.profile(12).character.claims for _ in range(200)]


@pytest.mark.parametrize("further", range(3))
def test_later_lives_have_the_labels_of_wikidata_and_names_with_signs_in_them(further: int) -> None:
    lives = claims_of_lives(replace(THIRD_ROUND, unlisted=1.0, pieced=0.0, further=further))
    claims = [claim for life in lives for claim in life]
    assert any(claim.property == "nominated for" for claim in claims) == (further > 0)
    assert any(" & " in claim.value for claim in claims) == (further > 0)
    assert any(claim.property == "languages spoken, written or signed" for claim in claims) == (further > 1)
    assert any(claim.value.startswith("Collar of the ") for claim in claims) == (further > 1)


def test_in_a_lifelike_life_a_value_does_not_tell_under_what_property_it_stands() -> None:
    usual, lifelike = (claims_of_lives(replace(THIRD_ROUND, unlisted=0.0, crowded=0.0, lifelike=share)) for share in (0.0, 1.0))

    def count(lives: list[tuple[Claim, ...]], is_meant: Callable[[Claim], bool]) -> int:
        return sum(map(is_meant, (claim for life in lives for claim in life)))

    def is_rare(claim: Claim) -> bool:
        return claim.property in ("instrument", "influenced by", "work location", "movement", "unmarried partner")

    def is_battle_elsewhere(claim: Claim) -> bool:
        return claim.value.startswith("Battle of ") and claim.property not in ("conflict", "participant in")

    def twice(lives: list[tuple[Claim, ...]]) -> int:
        return sum(len({claim.value for claim in life}) < len(life) for life in lives)

    assert count(lifelike, is_rare) > 3 * count(usual, is_rare)
    assert count(lifelike, is_battle_elsewhere) > 10 > count(usual, is_battle_elsewhere) == 0
    assert twice(lifelike) > 50 > 20 > twice(usual)


def test_questions_on_lifelike_lives_name_no_value_twice_in_a_list_and_some_name_none() -> None:
    writer = Writer(
        Random(4), languages.load("en"), WORLDS["en"], lambda text: len(text) // 3, replace(FIFTH_ROUND, lifelike=1.0)
    )
    for _ in range(100):
        questions = [entry["reason"] for entry in json.loads(writer.queries().messages[1].content)]
        assert len(set(questions)) == len(questions)
    unnamed = {q for label in writer.phrasing.properties for q in writer.phrasing.generic_questions(Claim("P0", label, "it"))}
    asked = [message.content for _ in range(50) for message in writer.lookups().messages if message.role == "user"]
    assert 0.1 < sum(question in unnamed for question in asked) / len(asked) < 0.3


@pytest.mark.parametrize(
    ("claim", "named"),
    [
        (Claim("P166", "award received", "Nobel Prize", "Q7191"), True),
        (Claim("P1411", "nominated for", "Academy Award", "Q19020"), True),
        (Claim("P2031", "work period (start)", "1981"), False),  # of a year nobody can say that it is a stranger's
        (Claim("P1971", "number of children", "5"), False),
        (Claim("P1196", "manner of death", "natural causes", "Q3739104"), False),
        (Claim("P106", "occupation", "actor", "Q33999"), False),
    ],
)
def test_a_question_names_what_is_somebodys_own(claim: Claim, named: bool) -> None:
    assert phrasing.load("en").names_something(claim) == named


@pytest.mark.parametrize("code", LANGUAGES)
def test_a_judges_reply_is_read_as_what_was_planted(code: str) -> None:
    writer, language = writer_of(code, 3), languages.load(code)
    people = WORLDS[code].known
    labels = [profile.character.label for profile in people]
    outcomes, verdicts = Counter[str](), Counter[tuple[str, float]]()
    for place in range(300):
        role = people[place % len(people)]
        exchange = writer.planter.exchange(role)
        outcomes[exchange.outcome] += 1
        assert unknown_rejection.refuses(exchange.answer, language) == (exchange.outcome == "refused")
        assert exchange.is_own == (exchange.claim in role.character.claims)
        for metric, case in writer.planter.cases(exchange, [label for label in labels if label != role.character.label]).items():
            verdicts[metric, case.verdict] += 1
            assert case.read(case.reply) == case.verdict
    assert set(outcomes) == {"right", "wrong", "refused", "assistant", "followed"}
    assert {verdict for verdict, count in verdicts.items() if count >= 10} == {
        *(("consistency", 0), ("consistency", 1), ("knowledge", 1), ("knowledge", 10), ("rejection", 0), ("rejection", 1)),
    }


@pytest.mark.parametrize("code", LANGUAGES)
def test_a_judges_reply_says_nothing_untrue_of_anybody(code: str) -> None:
    writer, people = writer_of(code, 4), WORLDS[code].known
    for place in range(300):
        exchange = writer.planter.exchange(people[place % len(people)])
        if exchange.outcome == "wrong" and exchange.told:
            voice = writer.phrasing.of(exchange.role.character.label)
            untrue = writer.phrasing.naming_answers(exchange.told, voice)
            replies = [case.reply for case in writer.planter.cases(exchange, ()).values()]
            assert not any(reply.startswith(untrue) for reply in replies)
