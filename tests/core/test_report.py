"""The report: whole, self-contained, escaped."""

import re
from dataclasses import replace
from html.parser import HTMLParser
from typing import Any

from ditto_core.evaluation.report import Report, markdown_table, render, sample_exchanges, sessions
from ditto_core.evaluation.scores import compare, scores
from ditto_core.records import Example, Judgement, Message, Prediction, Vote

EVIL = "<script>alert('x')</script> & \"quotes\""


def example(role: str, language: str = "en") -> Example:
    return Example(
        messages=(
            Message("system", f"You are {role}."),
            Message("user", f"Which metal did you name, {role}?"),
            Message("user", "Which phone do you use?"),
        ),
        split="test",
        role=role,
        language=language,
        label=role,
        description=EVIL,
        kind="Q5",
        kinds=("role_specific", "contrastive"),
        sources=(role, "Q42"),
        evidence=(("notable work: polonium",), ()),
        candidates=(role,),
        keys=("", ""),
        summary="",
        claims=(),
        aliases=(),
        title=role,
        revision="123",
        url="https://en.wikipedia.org/wiki/Marie_Curie",
        licence="CC BY-SA 4.0",
    )


def judged(role: str, model: str, consistency: tuple[int | None, ...], language: str = "en") -> Judgement:
    return Judgement(
        role, language, model, "lexical", consistency, (6.0, None), (0, 1), (0, 1), ((Vote("consistency", "", ("x",), 1.0),), ())
    )


ROLES = ("Marie <b>Curie</b>", "Athena")
BEFORE = [Prediction(example(role), "seed", ("I am an AI.", EVIL), ("", "cut")) for role in ROLES]
AFTER = [Prediction(example(role), "ditto", ("Polonium.", "A phone?"), ("", "")) for role in ROLES]
JUDGED_BEFORE = [judged(role, "seed", (0, None)) for role in ROLES]
JUDGED_AFTER = [judged(role, "ditto", (1, 1)) for role in ROLES]
SCORES_BEFORE = scores(JUDGED_BEFORE, 100, 1)
SCORES_AFTER = scores(JUDGED_AFTER, 100, 1)
REPORT = Report(
    title="Ditto <demo>",
    run={"seed LLM": "embedded", "recipe": "4be1c0"},
    judge="lexical",
    before=SCORES_BEFORE,
    after=SCORES_AFTER,
    differences=compare(JUDGED_BEFORE, JUDGED_AFTER, 100, 1),
    ledgers={"simulation": {"inputs": 9, "ok": 7, "failed": {"cut": 1}, "filtered": {"<dup>": 1}}},
    losses=[(1, 3.2), (10, 1.4), (20, float("nan")), (30, 0.9)],
    sessions=sessions(BEFORE, AFTER, JUDGED_BEFORE, JUDGED_AFTER),
)


class Tags(HTMLParser):
    """Collects tags with their attributes and checks that they close in order."""

    def __init__(self) -> None:
        super().__init__()
        self.seen: list[tuple[str, dict[str, str | None]]] = []
        self.open: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.seen.append((tag, dict(attrs)))
        if tag not in ("meta", "br"):
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.seen.append((tag, dict(attrs)))

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag


def parsed(report: Report) -> Tags:
    tags = Tags()
    tags.feed(render(report))
    assert tags.open == []
    return tags


def test_the_report_asks_for_nothing_from_outside() -> None:
    tags = parsed(REPORT)
    names = {tag for tag, _ in tags.seen}
    assert not names & {"script", "link", "img", "iframe", "object", "a", "image", "use"}
    assert not {name for _, attributes in tags.seen for name in attributes} & {"src", "href", "xlink:href", "onload"}
    assert "@import" not in render(REPORT)
    assert "url(" not in render(REPORT)


def test_every_text_from_outside_is_escaped() -> None:
    page = render(REPORT)
    assert "<script" not in page
    assert "&lt;script&gt;" in page
    assert "<b>Curie" not in page
    assert "<dup>" not in page
    assert "Ditto &lt;demo&gt;" in page


def test_the_report_shows_what_was_found() -> None:
    page = render(REPORT)
    assert "lexical (no model" in page
    assert page.count("<svg") == 2
    assert "<polyline" in page
    assert "nan" not in re.sub(r"<style>.*?</style>", "", page, flags=re.DOTALL)
    assert "4be1c0" in page
    assert "role not recognised" in page
    assert "role recognised" in page
    assert "identity unscored" in page
    assert "consistency (all) was scored on 50.0% of the turns before, 100.0% after" in page
    assert "coverage differs: 50.0% before, 100.0% after" in page
    assert "cut: 1" in page
    assert page.count("<details>") >= 2


def test_the_report_follows_dark_mode_and_narrow_screens() -> None:
    page = render(REPORT)
    assert "prefers-color-scheme:dark" in page
    assert 'name="viewport"' in page


def test_the_report_is_a_function_of_its_input() -> None:
    assert render(REPORT) == render(replace(REPORT))


def test_an_llm_judge_is_named_as_one() -> None:
    assert "judge-7b (an LLM)" in render(replace(REPORT, judge="judge-7b"))


def test_a_report_without_a_second_model_training_or_sessions_is_still_a_page() -> None:
    empty: dict[str, Any] = {"after": {}, "differences": {}, "ledgers": {}, "losses": [], "sessions": [], "run": {}}
    tags = parsed(replace(REPORT, **empty))
    assert "polyline" not in {tag for tag, _ in tags.seen}
    assert parsed(replace(REPORT, before={}, **empty)).seen


def test_a_session_that_one_model_never_played_is_shown_alone() -> None:
    shown = sessions(BEFORE, AFTER[:1], JUDGED_BEFORE, [])
    assert [session.after is None for session in shown] == [True, False]
    assert "Athena" in render(replace(REPORT, sessions=shown))


def test_markdown_table_shows_intervals_coverage_and_change() -> None:
    table = markdown_table(SCORES_BEFORE, SCORES_AFTER)
    rows = table.splitlines()
    assert rows[0] == "| all languages | before | after | change |"
    assert "| consistency | 0.00 [0.00, 0.00], 50% scored | 1.00 [1.00, 1.00], 100% scored | +1.00 |" in rows
    assert "| en | before | after | change |" not in rows
    korean = scores([*JUDGED_AFTER, judged("A", "ditto", (1, 1), "ko")], 100, 1)
    assert "| ko | before | after | change |" in markdown_table(SCORES_BEFORE, korean)
    assert "Note: consistency (all) was scored on 50.0%" in table
    assert "| knowledge | 6.00 [6.00, 6.00], 100% scored | – | – |" in markdown_table(SCORES_BEFORE, {})


def test_sample_exchanges_show_both_kinds_and_other_roles_first() -> None:
    found = sample_exchanges(BEFORE, AFTER, 3)
    assert [one.kind for one in found] == ["role_specific", "contrastive", "role_specific"]
    assert found[0].label != found[1].label
    assert "before: I am an AI." in found[0].text()
    assert len(sample_exchanges(BEFORE, AFTER, 99)) == 4
    assert sample_exchanges(BEFORE, [], 3) == []
