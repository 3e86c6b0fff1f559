"""The request for a list of questions, and what real models reply to it."""

import json
from dataclasses import replace

import pytest

from ditto_core import languages
from ditto_core.errors import RowFailed
from ditto_core.generation.requests import Completion
from ditto_core.records import Article, Character, Message, Profile, Section
from ditto_core.settings import SimulationSettings
from ditto_core.simulation import queries

EN = languages.load("en")
SETTINGS = SimulationSettings(queries_per_pair=2, temperature=0.5, max_query_tokens=99)


def profile(label: str) -> Profile:
    article = Article(label, (Section("", f"{label} was somebody."),), (), "1", "", "", "CC0")
    return Profile(Character("Q1", "en", "Q5", label, "somebody", 10, label), article, "")


def count(text: str) -> int:
    return len(text.split())


def ask(settings: SimulationSettings) -> queries.Request:
    return queries.request(profile("Ada"), profile("Bob"), EN, settings, count)


def parse(reply: str) -> list[tuple[str, str]]:
    return queries.parse(Completion("k", reply, "stop"), 2)


def test_the_request_is_one_user_message_with_the_role_first() -> None:
    request = ask(SETTINGS)
    text = EN.render(
        "query_simulation",
        role_profile="Name: Ada\nDescription: somebody\n\nAbout\nAda was somebody.",
        partner_profile="Name: Bob\nDescription: somebody\n\nAbout\nBob was somebody.",
        role="Ada",
        partner="Bob",
        count="2",
    )
    assert request.messages == (Message("user", text),)
    assert text.index("Name: Ada") < text.index("Name: Bob")
    assert (request.sampling.temperature, request.sampling.max_tokens, request.schema) == (0.5, 99, "")


def test_draws_of_a_pair_are_different_requests() -> None:
    assert len({replace(ask(SETTINGS), sample=sample).seed() for sample in range(3)}) == 3


def test_a_schema_bounds_every_length() -> None:
    schema = json.loads(ask(SETTINGS.model_copy(update={"query_mode": "schema"})).schema)
    assert (schema["minItems"], schema["maxItems"]) == (2, 2)
    assert all(part["maxLength"] <= 300 for part in schema["items"]["properties"].values())


@pytest.mark.parametrize(
    "reply",
    [
        pytest.param('As asked in [1]: [{"question": "a?"}, {"question": "b?"}]', id="bracket-before"),
        pytest.param('Not ["x"] but [“a?”, “b?”]', id="another-list-before"),
        pytest.param('[[{"question": "a?"}, {"question": "b?"}]]', id="nested"),
        pytest.param('{"questions": ["a?", "b?"]}', id="in-an-object"),
        pytest.param("［{“question”： “a?”}，{“question”： “b?”}］", id="full-width"),
        pytest.param('```json\n[{"question": "a?",}, {"question": "b?"},]\n```\nHope this helps!', id="trailing-commas"),
        pytest.param('[{"question": "a?", "reason": null}, {"question": "b?", "reason": 7}]', id="reasons-that-are-none"),
        pytest.param(r'["a?\ud83d", "\u0000b?"]', id="what-no-file-can-hold"),
        pytest.param('<think>["x?", "y?"] or so.</think>["a?", "b?"]', id="after-a-thought"),
        pytest.param('Perhaps ["x?", "y?"].</think>["a?", "b?"]', id="after-a-thought-opened-in-the-prompt"),
    ],
)
def test_the_list_with_the_questions_is_found(reply: str) -> None:
    assert parse(reply) == [("a?", ""), ("b?", "")]


def test_more_questions_than_asked_for_are_left_aside() -> None:
    assert parse('["a?", "b?", "c?"]') == [("a?", ""), ("b?", "")]


@pytest.mark.parametrize("reply", ['<think>["a?", "b?"]', '["a?", "b?"]</think>\n'])
def test_questions_that_were_only_thought_of_are_none(reply: str) -> None:
    with pytest.raises(RowFailed) as caught:
        parse(reply)
    assert (caught.value.reason, caught.value.raw) == ("only_thought", reply)


def refusal(question: str, role: str = "Ada", partner: str = "Bob") -> str | None:
    try:
        queries.check(question, [], profile(role), profile(partner), EN)
    except RowFailed as error:
        return error.reason
    return None


@pytest.mark.parametrize(
    ("question", "reason"),
    [
        ("", "empty"),
        (" ?! ", "empty"),
        ("Did ADA's aunt teach you?", "names_the_role"),
        ("What would you tell Bob?", "names_the_partner"),
        ("What was it like for the young?", "third_person"),
        ("What did she see?", "third_person"),
        ("“You” is all I can say?", None),
        ("Were you ever aboard?", None),
        ("Whose was it—yours?", None),
    ],
)
def test_a_question_is_refused_by_name(question: str, reason: str | None) -> None:
    assert refusal(question) == reason


@pytest.mark.parametrize(
    ("label", "question", "reason"),
    [
        pytest.param("Eve", "Were you there every evening?", None, id="inside-a-word"),
        pytest.param("C-3PO", "Did you repair C-3PO?", "names_the_partner", id="punctuation-inside"),
        pytest.param("Dr.", "Are you a Dr. too?", "names_the_partner", id="punctuation-at-the-end"),
        pytest.param("李白", "you认识李白吗? you", "names_the_partner", id="no-spaces-between-words"),
        pytest.param("Tim", "you know Tim吗? you", "names_the_partner", id="a-script-without-spaces-after-it"),
    ],
)
def test_a_name_counts_as_a_whole_word_where_words_are_spaced(label: str, question: str, reason: str | None) -> None:
    assert refusal(question, partner=label) == reason
