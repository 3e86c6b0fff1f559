"""Rows: a file that shows a profile is refused, and a general dataset is mixed in by its share."""

from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from fixtures.sft_world import conversations, write

from ditto_core.errors import BrokenPromise, InvalidInput
from ditto_core.settings import TrainingSettings
from ditto_core.training import rows

SUMMARY = "Ada Lovelace was an English mathematician who wrote the first published program for a machine that was never built."


def dataset(path: Path, system: str, question: str = "Who?") -> Path:
    messages = [
        {"role": "system", "content": system},
        {"role": "user", "content": question},
        {"role": "assistant", "content": SUMMARY},
    ]
    table: dict[str, Any] = {"messages": [messages] * 2, "summary": ["", SUMMARY], "claims": [[], ["occupation: mathematician"]]}
    pq.write_table(pa.table(table), path)
    return path


def test_a_row_without_profile_passes_even_if_the_answer_tells_it(tmp_path: Path) -> None:
    rows.check_rows(dataset(tmp_path / "train.parquet", "You are Ada Lovelace, English mathematician."))


@pytest.mark.parametrize(
    ("system", "question"),
    [
        pytest.param(f"You are Ada. {SUMMARY}", "Who?", id="article-in-the-system-line"),
        pytest.param("You are Ada.", f"{SUMMARY} Who?", id="article-in-the-question"),
        pytest.param("You are Ada.\noccupation: mathematician", "Who?", id="claim-in-the-system-line"),
    ],
)
def test_a_row_that_shows_the_profile_is_refused_by_its_number(tmp_path: Path, system: str, question: str) -> None:
    path = dataset(tmp_path / "train.parquet", system, question)
    with pytest.raises(BrokenPromise, match=r"row 2 of train.parquet: the (system|user) message shows the role's profile"):
        rows.check_rows(path)


@pytest.mark.parametrize(("share", "added"), [(0.0, 0), (0.2, 6), (0.5, 24)])
def test_as_many_conversations_are_mixed_in_as_make_up_their_share(tmp_path: Path, share: float, added: int) -> None:
    own = rows.conversations(Path(write(tmp_path / "own.parquet", conversations(24))))
    other = write(tmp_path / "other.parquet", conversations(30, turns=1))
    settings = TrainingSettings(mix_in=other, mix_share=share, seed=1)
    mixed = rows.mixed(own, settings)
    assert mixed.slice(0, 24) == own
    drawn = mixed.slice(24)["messages"].to_pylist()
    assert len(drawn) == added
    assert len({str(row) for row in drawn}) == added
    assert rows.mixed(own, settings) == mixed
    if share == 0.2:
        assert rows.mixed(own, settings.model_copy(update={"seed": 2})) != mixed


def test_a_file_with_too_few_conversations_is_told(tmp_path: Path) -> None:
    own = rows.conversations(Path(write(tmp_path / "own.parquet", conversations(24))))
    other = write(tmp_path / "other.parquet", conversations(3))
    with pytest.raises(InvalidInput, match=r"needs 24 of .*other.parquet', which holds 3"):
        rows.mixed(own, TrainingSettings(mix_in=other, mix_share=0.5))
