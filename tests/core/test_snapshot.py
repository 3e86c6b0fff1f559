"""Snapshot: an answer comes back as it was, or not at all."""

import os
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from ditto_core.knowledge.snapshot import Snapshot, take_over


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


def answered(folder: Path, *names: str) -> None:
    """Snapshots that hold their own names."""
    for name in names:
        Snapshot(folder / name).put("ab", name.encode())


def kept(folder: Path) -> dict[str, bytes | None]:
    return {path.name: Snapshot(path).get("ab") for path in sorted(folder.iterdir())}


def test_a_good_night_leaves_its_answers_to_all_runs_and_removes_those_of_failed_nights_before_it(tmp_path: Path) -> None:
    failed, good, later = "2026-11-23T023000", "2026-11-24T023000", "2026-11-25T023000"
    answered(tmp_path, "default", "mine", failed, good, later)
    take_over(tmp_path, good, "default")
    assert kept(tmp_path) == {later: later.encode(), "default": good.encode(), "mine": b"mine"}, "the later one awaits its retry"


def test_what_a_night_did_not_ask_stays_for_a_month(tmp_path: Path) -> None:
    mine = Snapshot(tmp_path / "default")
    for digest in ("ab", "cd", "ef"):
        mine.put(digest, b"of mine")
    (old,) = tmp_path.rglob("ef.gz")
    os.utime(old, (time.time() - 31 * 24 * 3600,) * 2)
    answered(tmp_path, "2026-11-24T023000")
    take_over(tmp_path, "2026-11-24T023000", "default")
    assert [mine.get(digest) for digest in ("ab", "cd", "ef")] == [b"2026-11-24T023000", b"of mine", None]


def test_a_snapshot_that_bears_a_nights_name_is_not_taken_for_a_failed_ones(tmp_path: Path) -> None:
    answered(tmp_path, "2026-11-23T023000", "2026-11-24T023000")
    take_over(tmp_path, "2026-11-24T023000", "2026-11-23T023000")
    assert kept(tmp_path) == {"2026-11-23T023000": b"2026-11-24T023000"}


def test_a_night_that_asked_nobody_leaves_the_snapshot_alone(tmp_path: Path) -> None:
    take_over(tmp_path / "none", "2026-11-24T023000", "default")
    answered(tmp_path, "default")
    take_over(tmp_path, "2026-11-24T023000", "default")
    assert kept(tmp_path) == {"default": b"default"}
