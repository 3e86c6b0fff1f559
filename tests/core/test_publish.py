"""The published folder: what is in it, that `datasets` loads it, and that the same rows give the same bytes."""

import hashlib
import json
import subprocess
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path
from random import Random

import pyarrow.parquet as pq
import pytest

from ditto_core.dataset import publish
from ditto_core.errors import InvalidInput, RowFailed
from ditto_core.ledger import Ledger
from ditto_core.records import Example, Message, Split
from ditto_core.shards import ShardKey, ShardRef, ShardStore

MESSAGES = (Message("system", "You are Ada."), Message("user", "Did you?"), Message("assistant", "I did."))
BASE = Example(
    messages=MESSAGES,
    split="train",
    role="Q1",
    language="en",
    label="Ada",
    description="",
    kind="Q5",
    kinds=("role_specific",),
    sources=("Q1",),
    evidence=(("friend: Charles",),),
    candidates=("Ada", "Bob", "Cid", "Dot"),
    keys=("k",),
    summary="",
    claims=(),
    aliases=(),
    title="Ada [writer]",
    revision="7",
    url="https://en.example.org/wiki/Ada_(writer)",
    licence="CC BY-SA 4.0",
)


def row(role: str, split: Split = "train", language: str = "en") -> Example:
    return replace(BASE, role=role, split=split, language=language)


def shard(store: ShardStore, name: str, *rows: Example) -> ShardRef:
    return store.write(ShardKey("examples", "r" * 12, name, "i" * 12), Example, rows, Ledger(len(rows), len(rows)))


def lost() -> Ledger:
    ledger = Ledger(inputs=2, ok=0)
    ledger.fail("Q2 Who?", RowFailed("response_cut", "too long", raw="I was"))
    ledger.filter("Q3", "refused_own_question", "Who? -> I don't know.")
    return ledger


def make(root: Path, *rows: Example) -> Path:
    store = ShardStore(root)
    parts = [shard(store, f"en-{number:04d}", *rows[number::2]) for number in range(2)]
    dialogues = store.write(ShardKey("dialogues", "r" * 12, "en-0000", "i" * 12), Message, [], lost())
    settings = {"knowledge": {"contact": "ada@example.org", "languages": ["en"]}, "shards": 2}
    stages = {"dialogues": [dialogues], "examples": parts}
    return root / publish.publish(store, "r", parts, stages, settings, session_lines).folder


def session_lines(sessions: Iterable[Example]) -> str:
    return "".join(f"{session.role}\n" for session in sessions)


ROWS = (row("Q1"), row("Q2", "test"), row("Q3"), row("Q4", language="zh"))


def loaded(folder: Path, cache: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, list[dict[str, object]]]:
    monkeypatch.setenv("HF_HOME", str(cache / "hf"))
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    from datasets import load_dataset

    return {name: list(split) for name, split in load_dataset(str(folder), cache_dir=str(cache / "cache")).items()}


def test_datasets_loads_the_splits_and_not_the_rejected_rows(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    splits = loaded(make(tmp_path, *ROWS), tmp_path, monkeypatch)
    assert {name: len(rows) for name, rows in splits.items()} == {"train": 3, "test": 1}
    first = splits["test"][0]
    assert next(iter(first)) == "messages"
    assert first["messages"] == [{"role": message.role, "content": message.content} for message in MESSAGES]


@pytest.mark.parametrize("split", publish.SPLITS)
def test_a_split_without_rows_is_a_file_with_the_schema(tmp_path: Path, split: str) -> None:
    table = pq.read_table(make(tmp_path, row("Q1")) / f"{split}.parquet")
    assert table.num_rows == (split == "train")
    assert table.column_names[0] == "messages"


def test_every_lost_row_is_kept_with_its_stage_reason_and_text(tmp_path: Path) -> None:
    folder = make(tmp_path, *ROWS)
    assert pq.read_table(folder / publish.REJECTED).to_pylist() == [
        {"stage": "dialogues", "outcome": "failed", "row": "Q2 Who?", "reason": "response_cut", "raw": "I was"},
        {
            "stage": "dialogues",
            "outcome": "filtered",
            "row": "Q3",
            "reason": "refused_own_question",
            "raw": "Who? -> I don't know.",
        },
    ]
    assert json.loads((folder / "manifest.json").read_text())["rejected"] == 2


def test_the_same_rows_give_the_same_bytes(tmp_path: Path) -> None:
    one, other = make(tmp_path / "a", *ROWS), make(tmp_path / "b", *ROWS)
    digests = [{file.name: hashlib.sha256(file.read_bytes()).hexdigest() for file in folder.iterdir()} for folder in (one, other)]
    assert digests[0] == digests[1]
    assert one.name == other.name


@pytest.mark.parametrize("name", ["test.parquet", publish.TEST_FILE, publish.REJECTED])
def test_a_file_that_is_gone_is_made_again(tmp_path: Path, name: str) -> None:
    file = make(tmp_path, *ROWS) / name
    content = file.read_bytes()
    file.unlink()
    assert make(tmp_path, *ROWS) == file.parent
    assert file.read_bytes() == content


def test_nothing_but_the_folder_is_left(tmp_path: Path) -> None:
    folder = make(tmp_path, *ROWS)
    assert list((tmp_path / "datasets").iterdir()) == [folder]
    assert sorted(file.name for file in folder.iterdir()) == [
        "README.md",
        "manifest.json",
        "rejected.parquet",
        "test.jsonl",
        "test.parquet",
        "train.parquet",
        "validation.parquet",
    ]


def test_the_card_counts_attributes_and_names_nobody_s_mail(tmp_path: Path) -> None:
    card = (make(tmp_path, *ROWS) / "README.md").read_text()
    assert "\nlicense: cc-by-sa-4.0\nlanguage:\n- en\n- zh\n" in card
    assert "\nsize_categories:\n- n<1K\n" in card
    assert "| train | 3 | 3 | 3 | 3 | 0 |" in card
    assert "| en | 3 | 3 | 3 | 3 | 0 |" in card
    assert "| en | a question, in characters | 8.0 | 8 | 8 | 8 | 8 |" in card
    assert "| en | a session, in turns | 1.0 | 1 | 1 | 1 | 1 |" in card
    assert "| dialogues | 2 | 0 | response_cut 1 | refused_own_question 1 |" in card
    assert r"- [Ada \[writer\]](<https://en.example.org/wiki/Ada_(writer)>), revision 7, CC BY-SA 4.0" in card
    assert "ada@example.org" not in card


def test_the_card_names_nobody_s_servers(tmp_path: Path) -> None:
    server = {"base_url": "http://gpu.example.org/v1", "replicas": ["http://second.example.org/v1"], "model": "m"}
    settings = {"generation": server, "evaluation": {"models": [{"name": "theirs", "generation": server}]}}
    store = ShardStore(tmp_path)
    folder = publish.publish(store, "r", [shard(store, "en-0000", *ROWS)], {}, settings, session_lines).folder
    card = (tmp_path / folder / "README.md").read_text()
    assert '"name": "theirs"' in card
    assert "example.org/v1" not in card


def test_articles_under_several_licences_are_not_called_by_one(tmp_path: Path) -> None:
    card = (make(tmp_path, row("Q1"), replace(row("Q2"), licence="CC0 1.0")) / "README.md").read_text()
    assert "\nlicense: other\n" in card


def test_the_card_shows_each_filter_with_its_threshold_and_a_turn_that_it_left_out(tmp_path: Path) -> None:
    store = ShardStore(tmp_path)
    ledger = Ledger(inputs=2, ok=1)
    ledger.filter("Q1", "near_duplicate", "Where | when? -> In " + "London " * 40)
    part = store.write(ShardKey("examples", "r" * 12, "en-0000", "i" * 12), Example, [row("Q1")], ledger)
    ref = publish.publish(store, "r", [part], {"examples": [part]}, {"dataset": {"near_duplicate": 0.9}}, session_lines)
    card = (tmp_path / ref.folder / "README.md").read_text()
    assert r"| near_duplicate | near_duplicate = 0.9 | 1 | Where \| when? -\> In London" in card
    assert "| toxic |  | 0 |  |" in card


def test_a_published_file_has_groups_of_rows_that_a_reader_can_skip(tmp_path: Path) -> None:
    store = ShardStore(tmp_path)
    parts = [shard(store, f"en-{number:04d}", *(row(f"Q{number}-{n}") for n in range(700))) for number in range(3)]
    ref = publish.publish(store, "r", parts, {}, {}, session_lines)
    file = pq.ParquetFile(tmp_path / ref.folder / "train.parquet")
    assert [file.metadata.row_group(n).num_rows for n in range(file.num_row_groups)] == [1000, 1000, 100]
    assert [row["role"] for row in file.read(["role"]).to_pylist()][699:701] == ["Q0-699", "Q1-0"]


def test_an_altered_test_file_is_not_trusted(tmp_path: Path) -> None:
    folder = make(tmp_path, *ROWS)
    (folder / publish.TEST_FILE).write_text("Q9\n")
    assert publish.find(tmp_path, f"datasets/{folder.name}") is None


def test_a_full_disk_leaves_no_folder_that_looks_whole(tmp_path: Path) -> None:
    mount = ["mount", "-t", "tmpfs", "-o", "size=400k", "tmpfs", str(tmp_path)]
    mounted = subprocess.run(mount, capture_output=True, check=False)
    assert mounted.returncode == 0, "this test mounts a small tmpfs and runs as root, as .ci/run does"
    try:
        store = ShardStore(tmp_path)
        draw = Random(1)
        part = shard(store, "en-0000", *(replace(row(f"Q{n}"), summary=draw.randbytes(500).hex()) for n in range(400)))
        with pytest.raises(InvalidInput, match=r"No space left.*nothing half-written"):
            publish.publish(store, "r", [part], {}, {}, session_lines)
        assert not list((tmp_path / "datasets").iterdir())
    finally:
        subprocess.run(["umount", "-l", str(tmp_path)], check=True)
