"""The report: whole, self-contained, escaped."""

import re
from dataclasses import replace
from html.parser import HTMLParser
from typing import Any

from ditto_core.evaluation.drill_down import Contestant
from ditto_core.evaluation.report import Report, judge_label, render, sample_exchanges
from ditto_core.evaluation.scores import compare, scores
from ditto_core.evaluation.tables import as_csv, markdown
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
COLUMNS = {"before": SCORES_BEFORE, "after": SCORES_AFTER}
REPORT = Report(
    title="Ditto <demo>",
    judge=judge_label("lexical"),
    contestants=(
        Contestant("before", SCORES_BEFORE, BEFORE, JUDGED_BEFORE),
        Contestant("after", SCORES_AFTER, AFTER, JUDGED_AFTER),
    ),
    differences=compare(JUDGED_BEFORE, JUDGED_AFTER, 100, 1),
    run={"seed LLM": "embedded", "recipe": "4be1c0"},
    statistics=[["", "roles"], ["train <all>", "3,902"]],
    ledgers={"simulation": {"inputs": 9, "ok": 7, "failed": {"cut": 1}, "filtered": {"<dup>": 1}}},
    losses=[(1, 3.2), (10, 1.4), (20, float("nan")), (30, 0.9)],
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
    assert "train &lt;all&gt;" in page
    assert '<p class="warn">2 roles leaked.</p>' in render(replace(REPORT, notes=["2 roles leaked"]))
    assert page.count("<details>") >= 2


def test_the_report_follows_dark_mode_and_narrow_screens() -> None:
    page = render(REPORT)
    assert "prefers-color-scheme:dark" in page
    assert 'name="viewport"' in page


def test_the_report_is_a_function_of_its_input() -> None:
    assert render(REPORT) == render(replace(REPORT))


def test_an_llm_judge_is_named_as_one() -> None:
    assert "judge-7b (an LLM)" in render(replace(REPORT, judge=judge_label("judge-7b")))


def test_a_report_without_a_second_model_training_or_sessions_is_still_a_page() -> None:
    empty: dict[str, Any] = {"differences": {}, "ledgers": {}, "losses": [], "run": {}, "statistics": ()}
    tags = parsed(replace(REPORT, contestants=[Contestant("before", SCORES_BEFORE)], **empty))
    assert "polyline" not in {tag for tag, _ in tags.seen}
    assert parsed(replace(REPORT, contestants=[], **empty)).seen


def test_a_session_that_one_model_never_played_is_shown_alone() -> None:
    sides = [REPORT.contestants[0], Contestant("after", SCORES_AFTER, AFTER[:1], ())]
    page = render(replace(REPORT, contestants=sides))
    assert "Athena" in page
    assert page.count("<div></div>") == 2


def test_every_model_of_a_report_has_its_column_and_its_answers() -> None:
    third = Contestant("a <third>", SCORES_AFTER, AFTER, JUDGED_AFTER, {"mean": {"mean": 7.25, "coverage": 1.0}})
    page = render(replace(REPORT, contestants=[*REPORT.contestants, third]))
    assert "<th>a &lt;third&gt;</th>" in page
    assert page.count("Polonium.") == 4
    assert "7.25" in page
    assert "<th>change</th>" not in page


def test_runs_and_the_released_arithmetic_are_shown_beside_the_scores() -> None:
    twice = [*JUDGED_AFTER, *(replace(one, run=1, consistency=(0.0, 0.0)) for one in JUDGED_AFTER)]
    side = Contestant(
        "m", scores(twice, 100, 1), AFTER, twice, released={"all": {"consistency": 0.5, "knowledge": None, "rejection": 1}}
    )
    page = render(replace(REPORT, contestants=[side], differences={}))
    assert "<td>m</td><td>1</td><td>1.00</td>" in page
    assert "<td>m</td><td>2</td><td>0.00</td>" in page
    assert "<td>m</td><td>all</td><td>0.50</td><td>–</td><td>1.00</td>" in page
    assert "Run by run" not in render(REPORT)


def test_the_papers_figures_are_marked_as_published() -> None:
    page = render(REPORT)
    assert page.count('<tr class="published">') == 19
    assert "as published in arXiv 2401.12474: another test set" in page


def test_markdown_shows_intervals_coverage_and_change() -> None:
    table = markdown(COLUMNS)
    rows = table.splitlines()
    assert rows[0] == "| all languages | before | after | change |"
    assert "| consistency | 0.00 [0.00, 0.00], 50% scored | 1.00 [1.00, 1.00], 100% scored | +1.00 |" in rows
    assert "| consistency | 0.00 [0.00, 0.00], 50% scored | 1.00 [1.00, 1.00], 100% scored | +1.00 [+1.00, +1.00] |" in markdown(
        COLUMNS, REPORT.differences
    )
    assert "| en | before | after | change |" not in rows
    korean = scores([*JUDGED_AFTER, judged("A", "ditto", (1, 1), "ko")], 100, 1)
    assert "| ko | before | after | change |" in markdown({"before": SCORES_BEFORE, "after": korean})
    assert "Note: consistency (all) was scored on 50.0% of the turns before, 100.0% after" in table
    assert "| knowledge | 6.00 [6.00, 6.00], 100% scored | – | – |" in markdown({"before": SCORES_BEFORE, "after": {}})
    assert "| all languages | before |" in markdown({"before": SCORES_BEFORE})


def test_csv_has_a_row_for_each_model_language_and_metric() -> None:
    rows = as_csv(COLUMNS, "lexical").splitlines()
    assert rows[0] == "model,judge,language,metric,mean,low,high,coverage"
    assert "after,lexical,en,consistency,1.0,1.0,1.0,1.0" in rows
    assert len(rows) == 1 + 2 * 2 * 5


def test_sample_exchanges_show_both_kinds_and_other_roles_first() -> None:
    found = sample_exchanges(BEFORE, AFTER, 3)
    assert [one.kind for one in found] == ["role_specific", "contrastive", "role_specific"]
    assert found[0].label != found[1].label
    assert "before: I am an AI." in found[0].text()
    assert len(sample_exchanges(BEFORE, AFTER, 99)) == 4
    assert sample_exchanges(BEFORE, [], 3) == []
