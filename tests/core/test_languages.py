"""Every language folder is complete, and its cues tell apart what they must."""

from string import Template

import pytest

from ditto_core import languages
from ditto_core.errors import InvalidInput
from ditto_core.evaluation.unknown_rejection import refuses

CODES = languages.available()


def placeholders(text: str) -> set[str]:
    return set(Template(text).get_identifiers())


def test_the_papers_languages_and_korean_ship() -> None:
    assert {"en", "zh", "ko"} <= set(CODES)


@pytest.mark.parametrize("code", CODES)
def test_every_prompt_of_english_exists_with_the_same_placeholders(code: str) -> None:
    english, language = languages.load("en"), languages.load(code)

    assert {name: placeholders(text) for name, text in language.prompts.items()} == {
        name: placeholders(text) for name, text in english.prompts.items()
    }
    assert language.words.keys() == english.words.keys()
    assert all(language.words[section].keys() == english.words[section].keys() for section in english.words)
    assert language.cues.keys() == english.cues.keys()
    assert len(language.months) == 12


@pytest.mark.parametrize("code", CODES)
def test_cues_are_lower_case_as_the_text_that_they_are_matched_in(code: str) -> None:
    language = languages.load(code)

    assert [phrase for phrases in language.cues.values() for phrase in phrases if phrase != phrase.lower()] == []


@pytest.mark.parametrize(
    ("code", "refusal", "answer", "assistant"),
    [
        ("en", "I have never heard of goals.", "I was born in Warsaw.", "I am an AI assistant and do not know."),
        ("zh", "我从未听说过这种比赛。", "我出生在华沙。", "作为AI助手，我不知道。"),
        ("ko", "그런 경기는 들어 본 적이 없소.", "나는 바르샤바에서 태어났소.", "저는 AI 비서라서 모릅니다."),
    ],
)
def test_a_refusal_in_the_role_is_told_from_an_answer_and_from_an_assistant(
    code: str, refusal: str, answer: str, assistant: str
) -> None:
    language = languages.load(code)

    assert [refuses(text, language) for text in (refusal, answer, assistant)] == [True, False, False]
    assert [language.speaks("assistant", text) for text in (refusal, answer, assistant)] == [False, False, True]


def test_an_unknown_language_is_named_with_those_that_exist() -> None:
    with pytest.raises(InvalidInput, match=r"'xx' is not known; known: en, ko, zh\. To add one, copy"):
        languages.load("xx")
