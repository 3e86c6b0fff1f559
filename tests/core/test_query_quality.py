"""The sheet that people label, and what is read back from it."""

import csv
import io

import pytest

from ditto_core.errors import InvalidInput
from ditto_core.evaluation import query_quality
from ditto_core.records import Article, Character, Dialogue, Kind, Profile, Query, Turn


def dialogue(number: int) -> Dialogue:
    character = Character(f"Q{number}", "en", "Q5", f"Ada {number}", "writer", 1, "t")
    profile = Profile(character, Article("t", (), (), "1", "", "", ""), "")
    kinds: tuple[Kind, ...] = ("role_specific", "contrastive")
    queries = [Query(f"Q{number}", "Q0", kind, f"=HYPERLINK({number}{kind})?", '<b>"r"</b>', (), "k") for kind in kinds]
    turns = [Turn(query, "I did.", "k") for query in queries]
    return Dialogue(profile, tuple(turns))


ROWS = query_quality.sample([dialogue(number) for number in range(30)], "m/7B", 10)


def test_half_of_the_sheet_is_of_each_kind_and_the_same_every_time() -> None:
    assert [sum(row.kind == kind for row in ROWS) for kind in ("role_specific", "contrastive")] == [10, 10]
    assert query_quality.sample([dialogue(number) for number in reversed(range(30))], "m/7B", 10) == ROWS


def test_no_cell_is_a_formula_and_no_text_is_markup() -> None:
    cells = [cell for row in csv.reader(io.StringIO(query_quality.to_csv(ROWS))) for cell in row]
    assert not [cell for cell in cells if cell.startswith("=")]
    assert "<b>" not in query_quality.to_html(ROWS)


def test_labels_come_back_counted_by_model_and_kind() -> None:
    filled = list(csv.DictReader(io.StringIO(query_quality.to_csv(ROWS))))
    for row, label in zip(filled, ["Correct"] * 12 + ["unsure "] * 3 + ["wrong"] * 2 + [""] * 3, strict=True):
        row["label"] = label
    text = io.StringIO()
    writer = csv.DictWriter(text, filled[0])
    writer.writeheader()
    writer.writerows(filled)
    other = "\ufeffid,model,kind,label\n1,n/1B,contrastive,wrong\n"
    labels = query_quality.read({"a.csv": text.getvalue(), "b.csv": other})
    counted = sum(labels["m/7B"].values(), query_quality.Counter())
    assert counted == {"correct": 12, "unsure": 3, "wrong": 2}
    assert labels["n/1B"] == {"contrastive": {"wrong": 1}}
    drawn = query_quality.figure(labels)
    assert "m/7B" in drawn
    assert "<svg" in drawn


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        pytest.param("id,kind\n1,contrastive\n", "no column model, label", id="columns"),
        pytest.param("model,kind,label\nm,contrastive,good\n", "line 2: label 'good'", id="label"),
        pytest.param("model,kind,label\nm,contrastive,\n", "nothing is labelled", id="empty"),
        pytest.param("", "no column", id="no-text"),
    ],
)
def test_a_sheet_that_cannot_be_read_is_explained(text: str, problem: str) -> None:
    with pytest.raises(InvalidInput, match=problem):
        query_quality.read({"a.csv": text})
