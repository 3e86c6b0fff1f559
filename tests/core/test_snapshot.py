"""Snapshot: an answer comes back as it was, or not at all."""

from collections.abc import Callable
from pathlib import Path

import pytest

from ditto_core.knowledge.snapshot import Snapshot


def test_an_answer_comes_back_and_an_empty_one_is_one(tmp_path: Path) -> None:
    snapshot = Snapshot(tmp_path)
    snapshot.put("ab", b"answer")
    snapshot.put("ac", b"")
    assert [snapshot.get(digest) for digest in ("ab", "ac", "ad")] == [b"answer", b"", None]


@pytest.mark.parametrize(
    "damage",
    [
        pytest.param(lambda packed: b"", id="empty"),
        pytest.param(lambda packed: packed[:-1], id="short"),
        pytest.param(lambda packed: bytes(len(packed)), id="zeros"),
        pytest.param(lambda packed: packed[:-9] + b"?" + packed[-8:], id="altered"),
    ],
)
def test_a_file_that_a_power_cut_or_a_bad_disk_left_counts_as_not_there(tmp_path: Path, damage: Callable[[bytes], bytes]) -> None:
    snapshot = Snapshot(tmp_path)
    snapshot.put("ab", b"answer")
    (path,) = tmp_path.rglob("ab.gz")
    path.write_bytes(damage(path.read_bytes()))
    assert snapshot.get("ab") is None
