"""Pairing, query parsing, evidence, responses and the dialogues of one shard."""

import gc
import itertools
import json
import threading
from collections.abc import Sequence

import pytest
from fixtures.answering import Answering
from hypothesis import given
from hypothesis import strategies as st

from ditto_core import languages
from ditto_core.errors import InvalidInput, RowFailed
from ditto_core.generation.generator import Job
from ditto_core.generation.requests import Completion, Failure, Outcome, Request
from ditto_core.records import Article, Character, Claim, Place, Profile, Section
from ditto_core.settings import SimulationSettings
from ditto_core.simulation import dialogues, evidence, pairing, queries, responses

EN = languages.load("en")
SETTINGS = SimulationSettings(partners=1, queries_per_pair=2, profile_tokens=500)


def candidate(number: int, *values: str, links: tuple[str, ...] = ()) -> pairing.Candidate:
    return pairing.Candidate(f"Q{number}", f"T{number}", frozenset(values), frozenset(links))


def profile(qid: str, label: str, *claims: tuple[str, str]) -> Profile:
    found = tuple(Claim("P1", name, value, f"Q{abs(hash(value)) % 1000}") for name, value in claims)
    character = Character(qid, "en", "Q5", label, "somebody", 10, label, (), found)
    article = Article(label, (Section("", f"{label} was somebody."),), (), "1", "", "", "CC0")
    return Profile(character, article, "")


ADA = profile("Q1", "Ada", ("friend", "Charles"), ("pet", "Puff"))
BOB = profile("Q2", "Bob", ("boat", "Vega"))


def test_partners_do_not_depend_on_the_order_of_the_candidates() -> None:
    everyone = [candidate(number) for number in range(200)]
    assert pairing.partners(everyone, 2) == pairing.partners(everyone[::-1], 2)


@given(st.integers(min_value=1000, max_value=10**6))
def test_one_more_role_changes_few_pairs(newcomer: int) -> None:
    everyone = [candidate(number) for number in range(300)]
    before = pairing.partners(everyone, 1)
    after = pairing.partners([*everyone, candidate(newcomer)], 1)
    assert sum(before[qid] != after[qid] for qid in before) <= 12


@pytest.mark.parametrize(
    ("one", "other"),
    [
        pytest.param(candidate(1, "Q9"), candidate(2, "Q9"), id="shared-value"),
        pytest.param(candidate(1, "Q2"), candidate(2), id="claims-the-other"),
        pytest.param(candidate(1), candidate(2, links=("T1",)), id="links-to-the-other"),
        pytest.param(candidate(1), candidate(1), id="itself"),
    ],
)
def test_related_characters_are_never_partners(one: pairing.Candidate, other: pairing.Candidate) -> None:
    assert not pairing.are_strangers(one, other)
    assert pairing.partners([one, other], 1)[one.qid] == ()


@pytest.mark.parametrize(
    "reply",
    [
        pytest.param('[{"question": "a?", "reason": "r"}, {"question": "b?", "reason": "s"}]', id="plain"),
        pytest.param('Here:\n```json\n[{"question": "a?", "reason": "r"}, {"question": "b?", "reason": "s"},]\n```', id="fence"),
        pytest.param("[1] is not it: [“x”] no. " * 0 + '“[{"question": "a?", "reason": "r"}, {"question": "b?"}]”', id="quotes"),
        pytest.param("[“a?”, “b?”]", id="typographic"),
        pytest.param("［＂a?＂， ＂b?＂］", id="full-width"),
        pytest.param("[{'question': 'a?', 'reason': None}, {'question': 'b?', 'reason': 'it\\'s far'}]", id="python"),
        pytest.param('1. {"question": "a?", "reason": "r"}\n2. {"question": "b?", "reason": "s"}', id="objects-without-a-list"),
        pytest.param('[{"question": "a?", "reason": "r"}, {"question": "b?", "reason": "s"}', id="no-closing-bracket"),
        pytest.param('[{"question": "a?", "reason": "two\nlines"}, {"question": "b?"}]', id="line-break-in-a-string"),
        pytest.param('{"questions": [{"question": "a?"}, {"question": "b?"}], "note": "[1]"}', id="wrapped-in-an-object"),
    ],
)
def test_a_list_is_found_in_what_models_wrap_it_in(reply: str) -> None:
    assert [question for question, _ in queries.parse(Completion("k", reply, "stop"), 2)] == ["a?", "b?"]


@pytest.mark.parametrize(
    ("reply", "finish", "reason"),
    [
        pytest.param("As an AI I cannot.", "stop", "malformed", id="refusal"),
        pytest.param('["Who taught you ch', "length", "cut", id="cut"),
        pytest.param('["Who taught you ch', "stop", "malformed", id="broken"),
        pytest.param('["Who?"]', "stop", "too_few", id="one"),
        pytest.param("[1, 2, 3]", "stop", "too_few", id="numbers"),
        pytest.param("[" * 100_000, "stop", "malformed", id="hostile-nesting"),
    ],
)
def test_an_unusable_list_is_named_and_kept(reply: str, finish: str, reason: str) -> None:
    with pytest.raises(RowFailed) as caught:
        queries.parse(Completion("k", reply, finish), 2)
    assert (caught.value.reason, caught.value.raw) == (reason, reply)


@pytest.mark.parametrize(
    ("question", "reason"),
    [
        ("What did you see?", "duplicate"),
        ("Did Ada teach you?", "names_the_role"),
        ("Do you know Bob?", "names_the_partner"),
        ("What did she see there?", "third_person"),
        ("你在那里看见了什么?", "wrong_language"),
    ],
)
def test_a_question_that_gives_the_game_away_is_named(question: str, reason: str) -> None:
    with pytest.raises(RowFailed) as caught:
        queries.check(question, ["What did you see"], ADA, BOB, EN)
    assert caught.value.reason == reason


def test_evidence_is_what_shares_words_with_the_question() -> None:
    facts = ["friend: Charles", "pet: Puff", "Ada lived in London."]
    assert evidence.choose("Who was Charles to you?", facts, 2) == ("friend: Charles",)
    assert evidence.choose("Nothing shared", facts, 2) == ()
    assert evidence.choose("你住在哪里", ["住所: 伦敦", "朋友: 查尔斯"], 1) == ("住所: 伦敦",)


@pytest.mark.parametrize(
    ("answer", "finish", "reason"),
    [
        ("I saw", "length", "cut"),
        ("  ", "stop", "empty"),
        ("我从没听说过。", "stop", "wrong_language"),
        ("", "content_filter", "content_filter"),
        ("I said it. " + "And I said it again. " * 6, "stop", "repeats_itself"),
    ],
)
def test_an_unusable_answer_is_named(answer: str, finish: str, reason: str) -> None:
    with pytest.raises(RowFailed) as caught:
        responses.check(Completion("k", answer, finish), EN)
    assert caught.value.reason == reason


def test_a_refusal_is_an_answer() -> None:
    assert responses.check(Completion("k", "I have never heard of it.", "stop"), EN) == "I have never heard of it."


class Script(Answering):
    """Writes two questions for every pair and answers everything, but for what it is told to break; None is no reply."""

    def __init__(self, lists: Sequence[str | None] = ()) -> None:
        super().__init__()
        self._lists = list(lists)
        self.samples: list[int] = []
        self.together: list[int] = []

    def submit(self, jobs: Sequence[Job]) -> None:
        self.together += [len(jobs)] if jobs[0].request.purpose == "queries" else []
        super().submit(jobs)

    def reply(self, request: Request) -> str | Outcome | None:
        if request.purpose == "queries":
            self.samples.append(request.sample)
            questions = [{"question": f"What of {name}, do you know?", "reason": ""} for name in ("Charles", "Puff")]
            return self._lists.pop(0) if self._lists else json.dumps(questions)
        if "Puff" in request.messages[1].content:
            return Failure(request.key(self.identity), "prompt_too_long", "")
        return "I have never heard of that."


PLACES = [
    Place("Q1", "Ada", "Q5", 0, "a", ("Q2",), ()),
    Place("Q2", "Bob", "Q5", 0, "b", (), ("Q1",)),
]


def run(script: Script) -> dialogues.Simulated:
    return dialogues.simulate(PLACES, {"Q1": ADA, "Q2": BOB}, script, EN, SETTINGS, lambda done, lost: None)


def test_a_pair_gives_specific_turns_to_its_role_and_foreign_ones_to_its_partner() -> None:
    result = run(Script())
    kinds = {d.profile.character.qid: [(t.query.kind, t.query.source) for t in d.turns] for d in result.dialogues}
    assert kinds == {"Q1": [("role_specific", "Q1")], "Q2": [("contrastive", "Q1")]}
    assert result.dialogues[1].turns[0].query.evidence == ("friend: Charles",)
    result.ledger.check()
    assert result.ledger.failed == {"response_prompt_too_long": 2}


def test_progress_is_told_in_replies_so_that_it_moves_from_the_first_list_on() -> None:
    told: list[int] = []
    dialogues.simulate(PLACES, {"Q1": ADA, "Q2": BOB}, Script(), EN, SETTINGS, lambda done, _lost: told.append(done))
    steps = [after - before for before, after in itertools.pairwise([0, *told])]
    assert sorted(steps) == [1, 2, 2]  # one list of two questions, put to two roles
    assert told[-1] == dialogues.planned(PLACES, SETTINGS)


def test_a_valid_draw_is_not_followed_by_another() -> None:
    script = Script()
    run(script)
    assert script.samples == [0]


def test_after_an_unusable_draw_the_others_are_asked_together_and_the_first_valid_one_is_kept() -> None:
    kept = json.dumps([{"question": f"Why {n}, do you know?", "reason": ""} for n in ("Charles", "Byron")])
    script = Script(["no list", kept])
    result = run(script)
    assert (script.samples, script.together) == ([0, 1, 2], [1, 2])
    assert [turn.query.question[:3] for turn in result.dialogues[0].turns] == ["Why", "Why"]


def test_a_pair_without_a_valid_draw_loses_its_questions_by_name() -> None:
    result = run(Script(["no"] * 3))
    result.ledger.check()
    assert result.ledger.failed == {"query_malformed": 4}
    assert all(loss.raw == "no" for loss in result.ledger.failures)


LIST = json.dumps(["What of Charles, do you know?", "Do you sail?"])


@pytest.mark.parametrize(
    ("lists", "samples"),
    [
        pytest.param([None, LIST], [0], id="first"),
        pytest.param(["no", None, LIST], [0, 1, 2], id="second-of-three"),
        pytest.param(["no", None, "no"], [0, 1, 2], id="second-and-the-third-is-unusable"),
        pytest.param(["no", "no", None], [0, 1, 2], id="last"),
    ],
)
def test_a_draw_that_the_engine_left_unanswered_is_asked_again_another_day(lists: list[str | None], samples: list[int]) -> None:
    script = Script(lists)
    result = run(script)
    assert script.samples == samples
    assert result.ledger.failed == {"query_engine_unavailable": 4}
    assert result.ledger.unanswered == 4


def test_an_outage_after_a_valid_draw_loses_nothing() -> None:
    result = run(Script(["no", LIST, None]))
    assert result.ledger.failed == {}
    assert [turn.query.question for turn in result.dialogues[0].turns] == json.loads(LIST)


class Refusing(Script):
    """A server that refuses the key, to all lists in the same moment."""

    def __init__(self) -> None:
        super().__init__()
        self.jobs: list[Job] = []

    def submit(self, jobs: Sequence[Job]) -> None:
        self.jobs += jobs
        if len(self.jobs) == 12:
            threading.Timer(0.05, lambda: [job.answers.put(InvalidInput("no such key")) for job in self.jobs]).start()


def test_what_stops_all_is_told_once_and_without_a_traceback(caplog: pytest.LogCaptureFixture) -> None:
    around = [f"Q{number}" for number in range(6)] * 2
    places = [
        Place(role, role, "Q5", 0, "a", (around[number + 1], around[number + 2]), (around[number + 5],))
        for number, role in enumerate(around[:6])
    ]
    profiles = {role: profile(role, f"Number {role}", ("pet", f"Puff {role}")) for role in around}

    def told() -> str:  # nothing of the error is left when it returns, so that asyncio would complain of what nobody looked at
        try:
            dialogues.simulate(places, profiles, Refusing(), EN, SETTINGS, lambda done, lost: None)
        except InvalidInput as error:
            return str(error)
        return ""

    assert told() == "no such key"
    gc.collect()
    assert caplog.text == ""


class Historian(Script):
    """Keeps the messages of every answer's request."""

    def __init__(self) -> None:
        super().__init__()
        self.shown: list[list[str]] = []

    def reply(self, request: Request) -> str | Outcome | None:
        if request.purpose == "responses":
            self.shown.append([f"{message.role}: {message.content}" for message in request.messages[1:]])
        return super().reply(request)


def test_with_a_history_a_role_sees_its_earlier_exchanges_and_no_lost_ones() -> None:
    settings = SETTINGS.model_copy(update={"history_turns": 1})
    lists = ["What of Puff, do you know?", "Do you like Charles?", "Do you sail?"]
    script = Historian()
    script._lists = [json.dumps(lists)]
    settings = settings.model_copy(update={"queries_per_pair": 3})
    result = dialogues.simulate(PLACES[:1], {"Q1": ADA, "Q2": BOB}, script, EN, settings, lambda done, lost: None)
    assert script.shown == [
        [f"user: {lists[0]}"],
        [f"user: {lists[1]}"],
        [f"user: {lists[1]}", "assistant: I have never heard of that.", f"user: {lists[2]}"],
    ]
    assert result.ledger.ok == 2


def test_with_a_history_a_role_is_not_shown_where_it_stepped_out() -> None:
    class Assistant(Historian):
        def reply(self, request: Request) -> str | Outcome | None:
            said = super().reply(request)
            asked_of_puff = request.purpose == "responses" and "Puff" in request.messages[-1].content
            return "As an AI I know no Puff." if asked_of_puff else said

    script = Assistant()
    script._lists = [json.dumps(["What of Puff, do you know?", "Do you sail?"])]
    settings = SETTINGS.model_copy(update={"history_turns": 1, "queries_per_pair": 2})
    dialogues.simulate(PLACES[:1], {"Q1": ADA, "Q2": BOB}, script, EN, settings, lambda done, lost: None)
    assert script.shown[1] == ["user: Do you sail?"]
