"""Leaderboard, cross-supervision matrix and ablations: settings of each cell, tables, plots, and whose figures are whose."""

import re
from typing import Any
from xml.etree import ElementTree

import pytest

from ditto_core.configuration import load, parse
from ditto_core.errors import InvalidInput
from ditto_core.evaluation import ablations, leaderboard, supervision_matrix
from ditto_core.evaluation.page import picture
from ditto_core.evaluation.scores import compare, scores
from ditto_core.evaluation.supervision_matrix import Matrix
from ditto_core.records import Judgement


def judged(role: str, consistency: float) -> Judgement:
    return Judgement(role, "en", "m", "lexical", (consistency,), (1 + 9 * consistency,), (0,), (0,), ((),))


def scored(consistency: float) -> dict[str, Any]:
    return scores([judged("A", consistency), judged("B", consistency)], 100, 1)


def model(name: str, **more: Any) -> dict[str, Any]:
    return {"name": name, "generation": {"engine": "scripted", "model": name, "script": name}, **more}


def seed(name: str, **more: Any) -> dict[str, Any]:
    return {"name": name, "model": name, **more}


SETTINGS = parse({
    "knowledge": {"sparql_endpoint": "embedded", "articles": "dump"},
    "matrix": {"supervisors": [model("big"), model("small")], "seeds": [seed("small"), seed("tiny", system_role=False)]},
})  # fmt: skip


def test_a_leaderboard_puts_the_best_first_and_the_papers_rows_beneath_marked() -> None:
    ours = leaderboard.rows({"weak": scored(0), "strong": scored(1)}, {"strong": {"mean": {"mean": 7.5}}})
    text = leaderboard.markdown(ours, leaderboard.published("table_2"))
    lines = text.splitlines()
    assert lines[2].startswith("| strong | 1.00 [1.00, 1.00] | 10.00 [10.00, 10.00] | 1.00 [1.00, 1.00] | 7.50 | 100.0% |")
    assert lines[3].startswith("| weak |")
    assert "| *Qwen-72B-Chat + Ditto* | *0.90* | *6.64* | *0.82* | *8.43* | *–* |" in lines
    assert "In italics: as published in arXiv 2401.12474: another test set" in text
    assert len(leaderboard.published("table_2")) == 19
    assert leaderboard.html(ours, []).count("<tr>") == 3


def test_a_cell_is_a_run_with_another_supervisor() -> None:
    cells = supervision_matrix.cells(SETTINGS)
    assert list(cells) == [("big", "small"), ("big", "tiny"), ("small", "small"), ("small", "tiny")]
    cell = cells["big", "tiny"]
    assert (cell.generation.model, cell.training.model, cell.evaluation.system_role) == ("big", "tiny", False)


def test_a_matrix_without_models_says_how_to_list_them() -> None:
    with pytest.raises(InvalidInput, match=r"\[\[matrix.supervisors\]\]"):
        supervision_matrix.cells(load("demo"))


@pytest.mark.parametrize(
    ("table", "problem"),
    [
        pytest.param({"matrix": {"seeds": [seed("a"), seed("a")]}}, "given more than once: a", id="twice"),
        pytest.param({"evaluation": {"models": [model("after")]}}, "given more than once: after", id="taken-name"),
        pytest.param(
            {"matrix": {"supervisors": [{"name": "a", "generation": {"modle": "x"}}]}}, "Did you mean 'model'", id="key"
        ),
        pytest.param({"matrix": {"seeds": [{"name": "a", "modle": "x"}]}}, "Did you mean 'model'", id="key-of-a-seed"),
        pytest.param({"evaluation": {"mt_bench": "own"}}, 'set evaluation.judge = "llm"', id="mt-bench-needs-a-model"),
    ],
)
def test_a_mistake_in_a_list_of_models_is_named(table: dict[str, Any], problem: str) -> None:
    with pytest.raises(InvalidInput, match=re.escape(problem)):
        parse({"knowledge": {"sparql_endpoint": "embedded", "articles": "dump"}, **table})


MATRIX = Matrix(
    supervision={"big": scored(0.9), "small <s>": scored(0.5)},
    seeds={"tiny": scored(0.1)},
    cells={("big", "tiny"): scored(0.7)},
    failures={("small <s>", "tiny"): "the disk is full"},
)


def test_a_point_is_supervision_across_and_imitation_up() -> None:
    assert [(point.name, point.series, point.x, point.y) for point in supervision_matrix.points(MATRIX, "consistency")] == [
        ("big", "seed tiny", 0.9, 0.7)
    ]
    knowledge = supervision_matrix.points(MATRIX, "knowledge")[0]
    assert (knowledge.x, knowledge.y) == pytest.approx((9.1, 7.3))


def test_the_matrix_page_has_three_plots_with_diagonals_and_names_what_failed() -> None:
    page = supervision_matrix.render(MATRIX, "lexical", {"settings": "{}"})
    assert page.count('class="diagonal"') == 3
    assert "tiny taught by small &lt;s&gt; failed: the disk is full" in page
    assert "<s>" not in page
    empty = supervision_matrix.render(Matrix(MATRIX.supervision, {}, {}, {}), "lexical", {})
    assert "<svg" not in empty


def test_a_plot_is_a_file_of_its_own_in_the_colours_of_the_page() -> None:
    drawn = picture(supervision_matrix.plots(MATRIX)["knowledge"])
    root = ElementTree.fromstring(drawn)
    assert root.tag == "{http://www.w3.org/2000/svg}svg"
    assert "--c1:" in (root[0].text or "")
    assert [circle.get("class") for circle in root.iter("{http://www.w3.org/2000/svg}circle")] == ["s0", "s0"]


def test_the_matrix_table_has_a_row_a_seed_and_a_column_a_supervisor() -> None:
    text = supervision_matrix.markdown(MATRIX)
    assert "| consistency | untrained | taught by big | taught by small <s> |" in text
    assert "| tiny | 0.10 [0.10, 0.10], 100% scored | 0.70 [0.70, 0.70], 100% scored | failed |" in text
    assert "Failed: tiny taught by small <s>: the disk is full" in text


def test_ablations_vary_one_setting_and_nothing_else() -> None:
    for kind, path in (("knowledge", "evaluation.context"), ("turns", "dataset.turns_per_session")):
        for variant in ablations.variants(SETTINGS, kind).values():
            section, field = path.split(".")
            plain, varied = SETTINGS.model_dump(), variant.model_dump()
            plain[section].pop(field)
            varied[section].pop(field)
            assert varied == plain
    shares = [variant.dataset.contrastive_share for variant in ablations.variants(SETTINGS, "contrastive").values()]
    assert shares == [0, 0.25, 0.5]
    with pytest.raises(InvalidInput, match="there are knowledge, turns, contrastive"):
        ablations.variants(SETTINGS, "seed")


def test_an_ablation_is_one_table_with_paired_differences_from_the_first() -> None:
    first, second = [judged("A", 1), judged("B", 1)], [judged("A", 1), judged("B", 0)]
    columns = {"with the profile": scores(first, 100, 1), "without the profile": scores(second, 100, 1)}
    differences = {"without the profile": compare(first, second, 100, 1)}
    text = ablations.markdown(columns, differences)
    assert "| with the profile | 1.00 [1.00, 1.00], 100% scored |" in text
    assert "(Δ -0.50 [-1.00, +0.00])" in text
    page = ablations.render("knowledge", columns, differences, "lexical", {})
    assert "Qwen-1.8B without the profile" in page
    assert "as published" in page
    assert "Qwen-1.8B without" not in ablations.render("turns", columns, differences, "lexical", {})
