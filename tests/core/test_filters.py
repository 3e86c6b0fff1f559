"""Filters of turns: each has a name, a threshold that moves it, and test sessions are not filtered."""

from typing import Any

import pyarrow as pa
import pytest

from ditto_core import languages
from ditto_core.dataset import examples, filters
from ditto_core.dataset.candidates import Rings
from ditto_core.dataset.splits import split_of
from ditto_core.errors import RowFailed
from ditto_core.ledger import Ledger
from ditto_core.records import Article, Character, Dialogue, Kind, Profile, Query, Turn
from ditto_core.settings import DatasetSettings

EN = languages.load("en")


def turn(kind: Kind, answer: str, question: str = "Did you?") -> Turn:
    return Turn(Query("Q1", "Q1", kind, question, "", (), "k"), answer, "a")


def rejection(one: Turn, language: str = "en", **changes: Any) -> str | None:
    settings, spoken = DatasetSettings(**changes), languages.load(language)
    return filters.rejection(one, spoken, settings, filters.by_cues(spoken, settings))


@pytest.mark.parametrize(
    ("kind", "answer", "reason"),
    [
        pytest.param("role_specific", "I met Charles.", None, id="own-answered"),
        pytest.param("role_specific", "I have never heard of it.", "refused_own_question", id="own-refused"),
        pytest.param("contrastive", "I don’t know such a thing.", None, id="foreign-refused"),
        pytest.param("contrastive", "I sailed there.", "answered_foreign_question", id="foreign-answered"),
        pytest.param("role_specific", "As an AI I met Charles.", "assistant_speak", id="assistant"),
        pytest.param("contrastive", "As an AI I do not know.", "assistant_speak", id="assistant-comes-first"),
        pytest.param("role_specific", "The profile says Charles.", "profile_talk", id="profile"),
        pytest.param("role_specific", "我认识查尔斯。", "wrong_language", id="another-script"),
        pytest.param("role_specific", "I met 查尔斯 in London.", None, id="a-foreign-name"),
        pytest.param(
            "role_specific", "Ich habe ihn noch im selben Jahr wieder getroffen.", "wrong_language", id="the-same-script"
        ),
        pytest.param(
            "role_specific", "My best works: Faust, Egmont, Götz, Stella, Clavigo, Urfaust.", None, id="a-list-of-names"
        ),
    ],
)
def test_a_turn_is_left_out_under_the_first_name_that_fits(kind: Kind, answer: str, reason: str | None) -> None:
    assert rejection(turn(kind, answer)) == reason


@pytest.mark.parametrize(
    ("language", "answer", "reason"),
    [
        pytest.param("zh", "我在伦敦出生，父亲是诗人。", None, id="zh"),
        pytest.param("zh", "I was born in London.", "wrong_language", id="zh-in-english"),
        pytest.param("zh", "私はロンドンでうまれました。", "wrong_language", id="zh-in-japanese"),
        pytest.param("ko", "저는 런던에서 태어났고 아버지는 시인이었습니다.", None, id="ko"),
        pytest.param("ko", "我在伦敦出生，父亲是诗人。", None, id="ko-in-hanja-passes"),
        pytest.param("ko", "I was born in London.", "wrong_language", id="ko-in-english"),
    ],
)
def test_an_answer_in_another_script_is_in_the_wrong_language(language: str, answer: str, reason: str | None) -> None:
    assert rejection(turn("role_specific", answer), language) == reason


@pytest.mark.parametrize(
    ("answer", "changes"),
    [
        pytest.param("As an AI I met Charles.", {"max_assistant_cues": 1}, id="assistant-speak"),
        pytest.param("The profile says Charles.", {"max_profile_cues": 1}, id="profile-talk"),
        pytest.param("我认识查尔斯。", {"min_script_share": 0.0}, id="script"),
        pytest.param("Ich habe ihn noch im selben Jahr wieder getroffen.", {"min_function_words": 0.0}, id="function-words"),
        pytest.param("I have never heard of it.", {"refusal_cues": 2}, id="refusal-cues"),
    ],
)
def test_a_threshold_decides(answer: str, changes: dict[str, Any]) -> None:
    assert rejection(turn("role_specific", answer)) is not None
    assert rejection(turn("role_specific", answer), **changes) is None


def test_a_judge_and_the_users_own_check_decide_where_they_are_asked() -> None:
    settings = DatasetSettings(max_toxicity=0.4)
    one = turn("role_specific", "I know nothing of it, you fool.")
    for refuses, score, reason in (
        (False, 0.4, None),
        (False, 0.5, "toxic"),
        (True, 0.0, "refused_own_question"),
        (None, 0.0, "unreadable_verdict"),
    ):
        checks = filters.Checks(lambda _, verdict=refuses: verdict, lambda _, value=score: value)
        assert filters.rejection(one, EN, settings, checks) == reason


def test_what_a_judge_that_did_not_answer_would_have_said_is_not_guessed() -> None:
    silent = filters.Checks(lambda _: RowFailed("verdict_engine_unavailable", "gone"))
    with pytest.raises(RowFailed, match="verdict_engine_unavailable"):
        filters.rejection(turn("role_specific", "I met Charles."), EN, DatasetSettings(), silent)
    assert filters.rejection(turn("role_specific", "As an AI I met Charles."), EN, DatasetSettings(), silent) == "assistant_speak"


@pytest.mark.parametrize(
    ("one", "other", "same"),
    [
        ("Did you see it?", "did you  see it", True),
        ("“Did you see it?”", "Did you, see it!", True),
        ("Did you see it?", "Did you see him?", False),
        ("你见过他吗？", "你见过他吗", True),
    ],
)
def test_duplicates_are_seen_through_case_punctuation_and_spacing(one: str, other: str, same: bool) -> None:
    assert (filters.normalised(one) == filters.normalised(other)) is same


LONG = "I was born in London in December 1815, and my mother had me taught mathematics by the best tutors of the day."


@pytest.mark.parametrize(
    ("question", "answer", "threshold", "alike"),
    [
        pytest.param("Where were you born, then?", LONG, 0.8, True, id="a-word-more-in-the-question"),
        pytest.param("Where were you born, then?", LONG, 1.0, False, id="threshold-one-wants-the-same"),
        pytest.param("Where were you born?", LONG.replace("London", "Paris"), 0.8, True, id="a-word-of-the-answer"),
        pytest.param("Where were you born?", "In a house in London that is long gone.", 0.8, False, id="another-answer"),
        pytest.param("Whom did you teach?", LONG[::-1], 0.8, False, id="something-else"),
    ],
)
def test_near_duplicates_are_turns_whose_question_and_answer_are_almost_the_same(
    question: str, answer: str, threshold: float, alike: bool
) -> None:
    near = filters.NearDuplicates(threshold)
    assert not near.add(turn("role_specific", LONG, "Where were you born?"))
    assert near.add(turn("role_specific", answer, question)) is alike


ADA = Character("Q1", "en", "Q5", "Ada Lovelace", "mathematician", 1, "T", aliases=("Augusta King", "Eve"))


@pytest.mark.parametrize(
    ("answer", "introduces"),
    [
        ("I am Ada Lovelace, and I wrote notes.", True),
        ("I’m Augusta King.", True),
        ("I am a friend of Babbage.", False),
        ("They named Ada Lovelace Day after me.", False),
        ("I worked as every evening.", False),
        ("I spoke as Eve.", True),
    ],
)
def test_an_answer_that_says_who_speaks_is_an_introduction(answer: str, introduces: bool) -> None:
    assert filters.Introductions(ADA, EN).has(answer) is introduces


def train_role(settings: DatasetSettings) -> str:
    shares = {"validation_share": settings.validation_share, "test_share": settings.test_share}
    return next(f"Q{n}" for n in range(1, 40) if split_of(f"Q{n}", **shares) == "train")


def introduced(turns: list[Turn], **changes: Any) -> tuple[list[int], dict[str, int]]:
    """Introductions in each session that Ada's turns make, and what was filtered."""
    settings = DatasetSettings(near_duplicate=1.0, contrastive_share=1, **changes)
    role = train_role(settings)
    article = Article("T", (), (), "7", "", "http://x", "CC0")
    profile = Profile(Character(role, "en", "Q5", "Ada Lovelace", "", 1, "T"), article, "")
    ledger = Ledger()
    rings = Rings(pa.table({"role": [role], "label": ["Ada Lovelace"], "kind": ["Q5"]}))
    checks = filters.by_cues(EN, settings)
    rows = list(examples.assemble([Dialogue(profile, tuple(turns))], rings, EN, settings, checks, ledger))
    ledger.check()
    return [sum("I am Ada" in message.content for message in row.messages) for row in rows], ledger.filtered


NAMED = [turn("role_specific", f"I am Ada Lovelace, born in {year}.", f"Born in {year}?") for year in range(6)]
PLAIN = [turn("role_specific", f"I wrote {word}.", f"{word}?") for word in ("notes", "letters", "programs", "poems")]


@pytest.mark.parametrize(
    ("turns", "allowed", "sessions", "filtered"),
    [
        pytest.param(NAMED, 2, [2, 2, 2], {}, id="each-session-begins-anew"),
        pytest.param(NAMED, 1, [1], {"self_introduction": 5}, id="a-session-that-never-fills"),
        pytest.param(NAMED, 0, [], {"self_introduction": 6}, id="none"),
        pytest.param(PLAIN, 0, [0, 0], {}, id="nobody-introduces"),
    ],
)
def test_a_session_introduces_its_role_as_often_as_it_may_and_no_more(
    turns: list[Turn], allowed: int, sessions: list[int], filtered: dict[str, int]
) -> None:
    assert introduced(turns, turns_per_session=2, max_self_introductions=allowed) == (sessions, filtered)


def test_introductions_are_counted_among_other_turns() -> None:
    sessions, filtered = introduced(NAMED + PLAIN, turns_per_session=3, max_self_introductions=1)
    assert max(sessions) == 1
    assert sum(sessions) + filtered["self_introduction"] == 6


def test_every_filter_has_its_thresholds_in_the_settings() -> None:
    fields = DatasetSettings.model_fields.keys()
    assert all(field in fields for thresholds in filters.THRESHOLDS.values() for field in thresholds)
