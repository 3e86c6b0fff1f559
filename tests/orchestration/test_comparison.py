"""`ditto report A B`: two models compared, two judges or people agreed, and files that cannot be used."""

import json
from collections.abc import Callable
from pathlib import Path
from random import Random
from typing import Any

import pytest

from ditto_core.evaluation.wikiroleeval import write_judged
from ditto_core.records import Example, Judgement, Message, Prediction

Report = Callable[..., dict[str, Any]]


def session(role: str, model: str, judge: str, right: float, answer: str) -> tuple[Prediction, Judgement]:
    example = Example(
        messages=(Message("system", f"You are {role}."), Message("user", "Who are you?"), Message("user", "And now?")),
        split="test", role=role, language="en", label=role, description="", kind="Q5", kinds=("role_specific", "contrastive"),
        sources=("", ""), evidence=((), ()), candidates=(role,), keys=("", ""), summary="", claims=(), aliases=(), title="",
        revision="", url="", licence="",
    )  # fmt: skip
    judgement = Judgement(role, "en", model, judge, (right, 1.0), (1 + 9 * right, None), (0.0, right), (0, 1), ((), ()))
    return Prediction(example, model, (answer, answer), ("", "")), judgement


def judged_file(path: Path, model: str, judge: str, share: float, answer: str = "") -> Path:
    random = Random(share)
    rows = [session(f"Q{number}", model, judge, float(random.random() < share), answer or model) for number in range(40)]
    path.write_text(write_judged(rows))
    return path


@pytest.fixture
def report(main: Callable[..., tuple[str, str]]) -> Report:
    """Run `ditto report` and return the JSON object of its last line, or what it complained of."""

    def report(root: Path, *arguments: str, code: int = 0) -> dict[str, Any]:
        out, err = main("report", *arguments, "--preset", "demo", "--data-root", str(root), "--json", code=code)
        return json.loads(out.strip().splitlines()[-1]) if code == 0 else {"error": err}

    return report


def test_two_models_on_the_same_sessions_are_compared_in_pairs(report: Report, tmp_path: Path) -> None:
    first = judged_file(tmp_path / "weak.jsonl", "weak", "lexical", 0.2)
    second = judged_file(tmp_path / "strong.jsonl", "strong", "lexical", 0.9)
    found = report(tmp_path, str(first), str(second))
    change = found["differences"]["all"]["consistency"]
    assert change["low"] > 0
    assert change["sessions"] == 40
    assert "agreement" not in found
    page = Path(found["report"]).read_text()
    assert "paired, 40 sessions" in page
    assert page.count('<details class="role">') == 40
    folder = Path(found["report"]).parent
    assert "| all languages | weak | strong | change |" in (folder / "comparison.md").read_text()
    assert json.loads((folder / "comparison.json").read_text())["differences"] == found["differences"]


def test_a_judge_and_people_on_the_same_answers_are_agreed(report: Report, tmp_path: Path) -> None:
    judge = judged_file(tmp_path / "judge.jsonl", "m", "judge-7b", 0.6, answer="the same")
    lines = [json.loads(line) for line in judge.read_text().splitlines()]
    for line in lines:  # as people would label them: the authors' fields and nothing of ours
        line["meta"]["ditto"].pop("judge")
        line["meta"]["ditto"].pop("votes")
    lines[0]["consist_scores"][0] = 1 - lines[0]["consist_scores"][0]
    people = tmp_path / "people.jsonl"
    people.write_text("".join(json.dumps(line) + "\n" for line in lines))
    found = report(tmp_path, str(judge), str(people))
    assert found["agreement"]["consistency"]["same"]["value"] == pytest.approx(79 / 80)
    assert found["agreement"]["rejection"]["kappa"]["value"] == 1
    assert found["agreement"]["knowledge"]["spearman"]["value"] == pytest.approx(1)
    assert found["judge"] == "judge-7b and people"
    assert "Agreement of the two judges" in Path(found["report"]).read_text()


def test_the_folder_of_a_report_stands_for_its_tuned_model(report: Report, tmp_path: Path) -> None:
    for name, share in (("one", 0.2), ("two", 0.9)):
        (tmp_path / name).mkdir()
        judged_file(tmp_path / name / "judged-before.jsonl", "before", "lexical", 0.1)
        judged_file(tmp_path / name / "judged-after.jsonl", "after", "lexical", share)
    found = report(tmp_path, str(tmp_path / "one"), str(tmp_path / "two"))
    assert list(found["scores"]) == ["one/after", "two/after"]


def test_what_cannot_be_compared_is_told(report: Report, tmp_path: Path) -> None:
    one = judged_file(tmp_path / "one.jsonl", "m", "lexical", 0.5)
    broken = tmp_path / "broken.jsonl"
    broken.write_text("{\n")
    other = tmp_path / "other.jsonl"
    prediction, judgement = session("Q9000", "m", "lexical", 1, "x")
    other.write_text(write_judged([(prediction, judgement)]))
    assert "neither a judged file" in report(tmp_path, str(one), str(tmp_path / "none"), code=2)["error"]
    assert "not_json: 1" in report(tmp_path, str(one), str(broken), code=2)["error"]
    assert "no session in common" in report(tmp_path, str(one), str(other), code=2)["error"]
    assert "takes two runs" in report(tmp_path, str(one), code=2)["error"]
