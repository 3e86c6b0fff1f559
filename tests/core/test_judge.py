"""Judges: planted models under the lexical judge, votes of the LLM judge."""

from collections.abc import Callable
from dataclasses import replace

import pytest
from fixtures.answering import Answering

from ditto_core.evaluation import role_identity, role_knowledge, unknown_rejection
from ditto_core.evaluation.judge import LexicalJudge, LlmJudge, facts_of, judge_all, judge_prediction
from ditto_core.evaluation.scores import scores
from ditto_core.evaluation.words import content, words
from ditto_core.generation.requests import Completion, Outcome, Request, Sampling, weighed
from ditto_core.languages import load
from ditto_core.recipe import ModelIdentity, stable_hash
from ditto_core.records import Example, Judgement, Message, Prediction
from ditto_core.settings import EvaluationSettings, GenerationSettings

EN = load("en")
CANDIDATES = ("Marie Curie", "Athena", "Bob Marley", "Athena Nike")


def test_words_of_spaced_and_unspaced_languages() -> None:
    assert words("Curie’s NOBEL Prize (1903), Besançon") == {"curie", "nobel", "prize", "1903", "besancon"}
    assert words("居里夫人") == {"居里", "里夫", "夫人"}
    assert words("퀴리는 폴란드") == {"퀴리", "리는", "폴란", "란드"}
    assert content("the metal of my homeland", EN) == {"metal", "homeland"}


PEOPLE = {
    "Marie Curie": ("place of birth: Warsaw", "notable work: polonium", "occupation: physicist", "Manya"),
    "Isaac Newton": ("place of birth: Woolsthorpe", "notable work: Principia", "occupation: physicist"),
    "Bob Marley": ("place of birth: Nine Mile", "notable work: Exodus", "occupation: singer"),
    "Athena": ("parent: Zeus", "symbol: owl", "occupation: goddess"),
}


def example(label: str) -> Example:
    """Two turns: one about the role's notable work, one that is foreign to it."""
    claims = tuple(fact for fact in PEOPLE[label] if ": " in fact)
    return Example(
        messages=(
            Message("system", f"You are {label}."),
            Message("user", "What is the work you are known for?"),
            Message("user", "Which phone do you use?"),
        ),
        split="test",
        role=label,
        language="en",
        label=label,
        description="",
        kind="Q5",
        kinds=("role_specific", "contrastive"),
        sources=(label, "Q1"),
        evidence=((claims[1],), ("product: phone",)),
        candidates=tuple(PEOPLE),
        keys=("", ""),
        summary=f"{label} is known.",
        claims=claims,
        aliases=tuple(fact for fact in PEOPLE[label] if ": " not in fact),
        title=label,
        revision="",
        url="",
        licence="",
    )


EXAMPLES = [example(label) for label in PEOPLE]
LEXICAL = LexicalJudge(EN, facts_of(EXAMPLES))


def play(one: Example, *answers: str) -> Prediction:
    return Prediction(one, "planted", answers, ("",) * len(answers))


def planted(answers: Callable[[Example], tuple[str, str]]) -> dict[str, dict[str, float | None]]:
    judgements, account = judge_all([play(one, *answers(one)) for one in EXAMPLES], LEXICAL)
    account.check()
    return scores(judgements, 100, 1)["all"]


def test_a_model_that_always_refuses() -> None:
    found = planted(lambda _: ("I know nothing about that.", "I have never heard of such a thing."))
    assert found["rejection"]["mean"] == 0.5
    assert found["contrastive_refused"]["mean"] == 1
    assert found["false_refusals"]["mean"] == 1
    assert found["knowledge"]["mean"] == 1
    assert found["consistency"]["mean"] == 0


def test_a_model_that_never_refuses() -> None:
    found = planted(lambda _: ("A fine thing it is.", "The newest one, it takes lovely pictures."))
    assert found["rejection"]["mean"] == 0.5
    assert found["contrastive_refused"]["mean"] == 0
    assert found["false_refusals"]["mean"] == 0


def test_a_model_that_answers_as_another_character() -> None:
    def as_newton(one: Example) -> tuple[str, str]:
        other = "Athena" if one.label == "Isaac Newton" else "Isaac Newton"
        return f"I, {other}, wrote the Principia with my owl.", f"My name is {other}."

    assert planted(as_newton)["consistency"]["mean"] == 0


def test_perfect_evidence_in_the_role() -> None:
    found = planted(lambda one: (f"It is {one.claims[1].split(': ')[1]}.", f"I am {one.label}; I do not know phones."))
    assert {metric: found[metric]["mean"] for metric in ("consistency", "knowledge", "rejection")} == {
        "consistency": 1,
        "knowledge": 10,
        "rejection": 1,
    }
    assert all(found[metric]["coverage"] == 1 for metric in found)


@pytest.mark.parametrize(
    ("question", "answer", "label"),
    [
        pytest.param("Who are you?", "Warsaw is where I was born.", "Marie Curie", id="a-fact"),
        pytest.param("Who are you?", "They call me Manya.", "Marie Curie", id="an-alias"),
        pytest.param("Do you know Marie Curie?", "Marie Curie? Certainly.", "", id="an-echo-of-the-question"),
        pytest.param("Who are you?", "I am a physicist.", "", id="shared-by-two-so-a-tie"),
        pytest.param("Who are you?", "I am a physicist from Woolsthorpe.", "Isaac Newton", id="tie-broken-by-a-fact"),
        pytest.param("Who are you?", "I am a person of many talents.", "", id="no-evidence"),
        pytest.param("Who are you?", "As an AI, I can say Marie Curie found polonium.", "", id="speaks-as-assistant"),
        pytest.param("Who are you?", "", "", id="empty"),
    ],
)
def test_lexical_pick(question: str, answer: str, label: str) -> None:
    known = role_identity.cast(PEOPLE, EN)
    assert role_identity.pick(question, answer, known.traits, known, EN).label == label


def test_a_tie_that_includes_the_role_is_not_the_role() -> None:
    judged = judge_prediction(play(EXAMPLES[0], "I am a physicist.", "I am a physicist."), LEXICAL)
    assert judged.consistency == (0, 0)
    assert judged.knowledge == (1.0, None)


def test_lexical_knowledge_is_the_recall_of_the_best_line_without_the_words_of_the_question() -> None:
    evidence = ("award received: Nobel Prize in Physics", "She named polonium after Poland.")
    claims = evidence[:1]
    ask = "Which prize did you win?"
    assert role_knowledge.recall(ask, "The Nobel one, for physics.", evidence, claims, EN) == 10
    assert role_knowledge.recall(ask, "A prize in physics.", evidence, claims, EN) == 5.5
    assert role_knowledge.recall(ask, "A prize.", evidence, claims, EN) == 1
    assert role_knowledge.recall(ask, "The Nobel one, but I cannot say more.", evidence, claims, EN) == 1
    assert role_knowledge.recall(ask, "A prize.", (), (), EN) is None


@pytest.mark.parametrize(
    ("answer", "refused"),
    [
        pytest.param("I have never heard of it.", True, id="in-the-role"),
        pytest.param("As an AI language model, I do not know.", False, id="assistant"),
        pytest.param("I do not know such a thing. I'm an AI.", True, id="refuses-then-steps-out"),
        pytest.param("I’ve no idea? I don’t know it.", True, id="typographic-apostrophe"),
        pytest.param("It is blue.", False, id="answers"),
    ],
)
def test_lexical_refusal(answer: str, refused: bool) -> None:
    assert unknown_rejection.refuses(answer, EN) is refused


def test_a_turn_the_engine_failed_is_unscored_and_a_cut_one_is_judged() -> None:
    failed = Prediction(EXAMPLES[0], "m", ("", "I am Marie Curie and I do not kn"), ("engine_unavailable", "cut"))
    judgements, account = judge_all([failed], LEXICAL)
    assert judgements[0].consistency == (None, 1)
    assert judgements[0].knowledge == (None, None)
    assert judgements[0].rejection == (None, 0)
    assert account.summary() == {"inputs": 5, "ok": 2, "failed": {}, "filtered": {"no_answer": 3}}


JUDGE = ModelIdentity("judge", "judge")


class Votes(Answering):
    """Answers by a function of the request."""

    def __init__(self, reply: Callable[[Request], str | None]) -> None:
        super().__init__(JUDGE)
        self._reply = reply

    def reply(self, request: Request) -> str | Outcome | None:
        return self._reply(request)


SETTINGS = EvaluationSettings(judge="llm", judge_generation=GenerationSettings(model="judge-7b"))


def metric(request: Request) -> str:
    prompt = request.messages[0].content
    return "identity" if "[[A]]" in prompt else "knowledge" if "1 to 10" in prompt else "rejection"


def letter(request: Request, label: str) -> str:
    lines = request.messages[0].content.splitlines()
    return next(line[0] for line in lines if line[1:] == f". {label}")


def agreeing(request: Request) -> str:
    """Picks Marie Curie under whatever letter, scores 7, sees a refusal where a phone is asked for."""
    match metric(request):
        case "identity":
            return f"[[{letter(request, 'Marie Curie')}]]"
        case "knowledge":
            return "[[7]]"
        case _:
            return "[[yes]]" if "phone" in request.messages[0].content else "[[no]]"


def llm(reply: Callable[[Request], str | None]) -> tuple[Judgement, Votes]:
    engine = Votes(reply)
    judge = LlmJudge(engine, EN, SETTINGS)
    return judge_prediction(play(EXAMPLES[0], "Polonium.", "No idea."), judge), engine


def test_llm_judge_maps_the_permuted_letter_back_and_asks_each_vote_as_its_own_draw() -> None:
    judged, engine = llm(agreeing)
    assert judged.judge == "judge-7b"
    assert judged.consistency == (1, 1)
    assert judged.knowledge == (7.0, None)
    assert judged.rejection == (0, 1)
    assert judged.labels == (0, 1)
    assert len(engine.asked) == 3 * 3 + 2 * 3
    assert {request.sample for request in engine.asked} == {0, 1, 2}
    assert {request.sampling.temperature for request in engine.asked} == {0.2}
    assert len(judged.votes[0]) == 9
    assert {vote.prompt for vote in judged.votes[0]} <= {request.messages[0].content for request in engine.asked}
    letters = {letter(request, "Marie Curie") for request in engine.asked if metric(request) == "identity"}
    assert len(letters) > 1


def test_llm_judge_asks_the_same_in_every_run() -> None:
    keys = [[request.key(JUDGE) for request in llm(agreeing)[1].asked] for _ in range(2)]
    assert keys[0] == keys[1]
    assert len(set(keys[0])) == len(keys[0])


def test_an_unreadable_vote_is_asked_once_more_under_a_shifted_number_then_left_out() -> None:
    def reply(request: Request) -> str:
        if metric(request) == "knowledge" and request.sample in (0, 1, 4):
            return "Hard to say."
        return "[[4]]" if metric(request) == "knowledge" and request.sample == 3 else agreeing(request)

    judged, engine = llm(reply)
    asked_again = sorted(request.sample for request in engine.asked if request.sample > 2)
    assert asked_again == [3, 4]
    assert judged.knowledge[0] == (4 + 7) / 2
    second = [vote for vote in judged.votes[0] if vote.metric == "knowledge"][1]
    assert (second.replies, second.verdict) == (("Hard to say.", "Hard to say."), None)


def by_letter(reply: Callable[[Request], str | None]) -> tuple[Judgement, Votes]:
    engine = Votes(reply)
    judge = LlmJudge(engine, EN, SETTINGS.model_copy(update={"judge_by": "letters"}))
    return judge_prediction(play(EXAMPLES[0], "Polonium.", "No idea."), judge), engine


def chances(request: Request) -> str:
    """Marie Curie is the likeliest under whatever letter; a refusal is where a phone is asked for; a score in words."""
    if not request.choices:
        return agreeing(request)
    said = letter(request, "Marie Curie") if metric(request) == "identity" else "AB"["phone" not in request.messages[0].content]
    return weighed({choice: -0.1 if choice == said else -3.0 for choice in request.choices})


def test_by_letters_the_likeliest_counts_and_one_token_is_asked_for() -> None:
    judged, engine = by_letter(chances)
    assert (judged.consistency, judged.knowledge, judged.rejection) == ((1, 1), (7.0, None), (0, 1))
    single = [request for request in engine.asked if request.choices]
    assert {request.choices for request in single} == {("A", "B", "C", "D"), ("A", "B")}
    assert {request.sampling.max_tokens for request in single} == {1}
    assert {metric(request) for request in engine.asked if not request.choices} == {"knowledge"}
    distinct = {request.key(JUDGE) for request in single}
    assert len({request.key(JUDGE) for request in single if metric(request) == "rejection"}) == 2  # one a turn
    assert 4 < len(distinct) <= 8
    assert {vote.verdict for vote in judged.votes[0] if vote.metric == "consistency"} == {1.0}
    assert any(vote.replies[0].startswith('{"A": ') for vote in judged.votes[0])


def test_an_engine_without_chances_is_asked_in_words() -> None:
    judged, engine = by_letter(lambda request: "Well." if request.choices else agreeing(request))
    plain, _ = llm(agreeing)
    assert (judged.consistency, judged.rejection) == (plain.consistency, plain.rejection)
    assert [vote.prompt for vote in judged.votes[1]] == [vote.prompt for vote in plain.votes[1]]
    assert {len(vote.replies) for vote in judged.votes[1]} == {2}
    assert len([request for request in engine.asked if not request.choices]) == 3 * 3 + 2 * 3


def test_the_choices_are_part_of_the_key_and_leave_other_keys_as_they_are() -> None:
    asked = Request((Message("user", "Who?"),), Sampling(max_tokens=1))
    assert "choices" not in asked.content()
    keys = {replace(asked, choices=choices).key(JUDGE) for choices in ((), ("A", "B"), ("A", "B", "C"))}
    assert len(keys) == 3


def test_votes_go_by_majority_and_a_draw_or_silence_is_no_verdict() -> None:
    def split(request: Request) -> str | None:
        if metric(request) == "rejection":
            return {0: "[[yes]]", 1: "[[yes]]", 2: "[[no]]"}[request.sample % 3]
        if metric(request) == "identity":
            picks = {0: f"[[{letter(request, 'Marie Curie')}]]", 1: f"[[{letter(request, 'Athena')}]]"}
            return picks.get(request.sample % 3, "who knows")
        return None

    judged, _ = llm(split)
    assert judged.rejection == (1, 1)
    assert judged.consistency == (None, None)
    assert judged.knowledge == (None, None)
    assert any("engine_unavailable" in reply for vote in judged.votes[0] for reply in vote.replies)


def test_a_verdict_that_is_missing_because_the_judge_was_down_is_told_from_one_that_cannot_be_read() -> None:
    def partly_down(request: Request) -> str | None:
        match metric(request):
            case "identity":
                return agreeing(request) if request.sample % 3 else None
            case "knowledge":
                return None if request.sample else "Hard to say."
            case _:
                return "Hm."

    judge = LlmJudge(Votes(partly_down), EN, SETTINGS)
    judgements, account = judge_all([play(EXAMPLES[0], "Polonium.", "No idea.")], judge)
    account.check()
    assert judgements[0].consistency == (1, 1), "two votes agree, the third is not needed"
    assert (account.ok, account.failed) == (2, {"judge_engine_unavailable": 1, "unreadable": 2})
    assert account.unanswered == 1


def test_a_vote_that_was_not_answered_is_not_drawn_anew_and_leaves_a_mean_open() -> None:
    asked: list[int] = []

    def away_once(request: Request) -> str | None:
        if metric(request) != "knowledge":
            return agreeing(request)
        asked.append(request.sample)
        return None if request.sample == 1 else "[[6]]"

    judgements, account = judge_all([play(EXAMPLES[0], "Polonium.", "No idea.")], LlmJudge(Votes(away_once), EN, SETTINGS))
    assert sorted(asked) == [0, 1, 2]
    assert judgements[0].knowledge[0] == 6
    assert (account.ok, account.failed) == (4, {"judge_engine_unavailable": 1})


def test_a_reply_that_was_cut_has_no_verdict() -> None:
    class Cut(Votes):
        def reply(self, request: Request) -> Outcome:
            return Completion(request.key(self.identity), str(super().reply(request)), "length")

    judge = LlmJudge(Cut(agreeing), EN, SETTINGS)
    judgements, account = judge_all([play(EXAMPLES[0], "Polonium.", "No idea.")], judge)
    assert judgements[0].rejection == (None, None)
    assert account.failed == {"unreadable": 5}


def test_ten_percent_of_garbage_changes_the_coverage_and_not_the_mean() -> None:
    def garbled(request: Request) -> str:
        # All draws of one prompt are garbage together, so that asking again does not help; identity is asked under
        # other orders, so its garbage is drawn from the exchange alone.
        exchange = request.messages[0].content.split("Exactly one")[0]
        return "Well, well." if stable_hash(exchange) % 10 == 0 else agreeing(request)

    marie = EXAMPLES[0]
    chat = [Message("user", f"{topic} number {turn}?") for turn in range(50) for topic in ("Which metal", "Which phone")]
    many = replace(
        marie,
        messages=(marie.messages[0], *chat),
        kinds=marie.kinds * 50,
        evidence=marie.evidence * 50,
        sources=marie.sources * 50,
        keys=marie.keys * 50,
    )
    sessions = [replace(many, role=f"Q{number}") for number in range(2)]
    predictions = [play(one, *([f"Polonium, says {one.role}.", "No idea."] * 50)) for one in sessions]
    clean = scores(judge_all(predictions, LlmJudge(Votes(agreeing), EN, SETTINGS))[0], 100, 1)["all"]
    dirty = scores(judge_all(predictions, LlmJudge(Votes(garbled), EN, SETTINGS))[0], 100, 1)["all"]
    for name in ("consistency", "knowledge", "rejection"):
        assert clean[name]["coverage"] == 1
        coverage = dirty[name]["coverage"]
        assert coverage is not None
        assert 0.8 < coverage < 0.97
        assert dirty[name]["mean"] == clean[name]["mean"]


def test_the_prompt_hides_the_role_from_the_identity_question() -> None:
    _, engine = llm(agreeing)
    prompt = next(request for request in engine.asked if metric(request) == "identity").messages[0].content
    assert "You are Marie Curie" not in prompt
    assert "Polonium." in prompt
