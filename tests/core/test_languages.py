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


@pytest.mark.parametrize(
    ("code", "cue", "text"),
    [
        ("en", "assistant", "I'm an AI."),
        ("en", "assistant", "I am an AI assistant, so I have no past with Calpurnia."),
        ("en", "assistant", "_As an AI_, I cannot say."),
        ("zh", "assistant", "我是AI助手，和长安没有过往。"),
        ("zh", "assistant", "作为一个人工智能，我没有过去。"),
        ("ko", "assistant", "저는 AI 비서라서 그런 곳이 없습니다."),
        ("ko", "assistant", "저는 AI입니다."),
        ("ko", "assistant", "저는 인공지능이라서 그런 곳이 없습니다."),
        ("en", "profile_talk", "That is in my profile."),
        ("zh", "profile_talk", "根据这份资料，我生于长安。"),
        ("ko", "profile_talk", "제공된 자료에는 없습니다."),
        ("en", "refusal", "I don’t know."),
        ("en", "refusal", "That I can't say!"),
        ("en", "refusal", "‘Unknown to me’, I fear."),
        ("zh", "refusal", "足球，我一无所知。"),
        ("ko", "refusal", "저는 모르겠습니다만."),
    ],
)
def test_a_cue_is_heard_next_to_punctuation_and_with_particles(code: str, cue: str, text: str) -> None:
    assert languages.load(code).speaks(cue, text)


@pytest.mark.parametrize(
    ("code", "cue", "text"),
    [
        ("en", "assistant", "I served as an aide-de-camp."),
        ("en", "refusal", "It means nothing to men."),
        ("zh", "assistant", "我是Aisha。"),
        ("ko", "assistant", "저는 Aida로서 노래했소."),
    ],
)
def test_a_cue_is_not_heard_within_a_longer_word(code: str, cue: str, text: str) -> None:
    assert not languages.load(code).speaks(cue, text)


@pytest.mark.parametrize(
    ("code", "answer"),
    [
        ("en", "I served as an aide-de-camp, then as an aircraft mechanic."),
        ("en", "I am an airman."),
        ("en", "I began as an assistant to Davy."),
        ("en", "The article appeared in L'Aurore."),
        ("en", "According to the information that our scouts brought, the bridge stood."),
        ("zh", "我作为助手在实验室工作，后来写了这篇文章。"),
        ("zh", "我研究人工智能，根据资料写成了这部书。"),
        ("ko", "나는 대통령의 비서로서 일했고 이 문서를 썼소."),
        ("ko", "저는 인공지능을 연구했습니다. 저는 Aida를 보았습니다."),
    ],
)
def test_ordinary_speech_of_a_role_holds_no_cue(code: str, answer: str) -> None:
    assert not any(languages.load(code).speaks(cue, answer) for cue in ("assistant", "profile_talk"))


def test_an_unknown_language_is_named_with_those_that_exist() -> None:
    with pytest.raises(InvalidInput, match=r"'xx' is not known; known: en, ko, zh\. To add one, copy"):
        languages.load("xx")
