"""From dialogues to a folder that `datasets` loads."""

import json
from collections.abc import Iterable
from pathlib import Path

import pyarrow as pa
import pytest

from ditto_core import languages
from ditto_core.dataset import examples, filters, publish
from ditto_core.dataset.candidates import Rings, candidates
from ditto_core.dataset.splits import split_of
from ditto_core.errors import InvalidInput, RowFailed
from ditto_core.ledger import Ledger
from ditto_core.records import Article, Character, Dialogue, Example, Kind, Profile, Query, Turn
from ditto_core.settings import DatasetSettings
from ditto_core.shards import ShardKey, ShardRef, ShardStore

EN = languages.load("en")
SETTINGS = DatasetSettings(test_share=0.3, validation_share=0.2, turns_per_session=2, test_questions=3)
CHECKS = filters.by_cues(EN, SETTINGS)
RINGS = Rings(
    pa.table(
        {
            "role": [f"Q{n}" for n in range(40)],
            "label": [f"Name {n}" for n in range(40)],
            "kind": ["Q5" if n % 2 else "Q15632617" for n in range(40)],
        }
    )
)
OWN, FOREIGN = "I met Charles.", "I have never heard of that."


def turn(kind: Kind, question: str, answer: str) -> Turn:
    return Turn(Query("Q1", "Q1", kind, question, "", ("friend: Charles",), "k"), answer, question)


def dialogue(qid: str, *turns: Turn) -> Dialogue:
    character = Character(qid, "en", "Q5", f"Name {qid[1:]}", "somebody", 1, f"Name {qid[1:]}")
    return Dialogue(Profile(character, Article(f"Name {qid[1:]}", (), (), "7", "", "http://x", "CC0"), "S."), turns)


def assembled(
    dialogues: list[Dialogue], settings: DatasetSettings = SETTINGS, checks: filters.Checks = CHECKS
) -> tuple[list[Example], Ledger]:
    ledger = Ledger()
    return list(examples.assemble(dialogues, RINGS, EN, settings, checks, ledger)), ledger


def role_of(split: str) -> str:
    return next(f"Q{n}" for n in range(40) if split_of(f"Q{n}", validation_share=0.2, test_share=0.3) == split)


TURNS = (
    turn("role_specific", "one?", OWN),
    turn("role_specific", "two?", FOREIGN),
    turn("contrastive", "three?", OWN),
    turn("contrastive", "four?", FOREIGN),
    turn("role_specific", "One?", OWN),
)


def test_training_rows_leave_out_what_would_teach_the_wrong_thing_by_name() -> None:
    rows, ledger = assembled([dialogue(role_of("train"), *TURNS)])
    ledger.check()
    assert ledger.filtered == {"refused_own_question": 1, "answered_foreign_question": 1, "duplicate_question": 1}
    assert sorted(m.content for m in rows[0].messages if m.role == "user") == ["four?", "one?"]


def test_a_turn_whose_judge_did_not_answer_has_failed_and_can_be_asked_again() -> None:
    gone = RowFailed("verdict_engine_unavailable", "gone")
    checks = filters.Checks(lambda one: gone if one.query.kind == "contrastive" else one.answer == FOREIGN)
    rows, ledger = assembled([dialogue(role_of("train"), *TURNS)], checks=checks)
    ledger.check()
    assert (ledger.failed, ledger.unanswered) == ({"verdict_engine_unavailable": 2}, 2)
    assert ledger.filtered == {"refused_own_question": 1, "duplicate_question": 1}
    assert [m.content for m in rows[0].messages if m.role == "user"] == ["one?"]
    assert ledger.failures[0].raw == "three? -> I met Charles."


def test_test_sessions_keep_every_question_up_to_their_number() -> None:
    rows, ledger = assembled([dialogue(role_of("test"), *TURNS)])
    ledger.check()
    assert len(rows) == 1
    assert len(rows[0].kinds) == 3
    assert ledger.filtered == {"duplicate_question": 1, "beyond_test_questions": 1}


def test_a_test_session_holds_no_answer_of_an_assistant_nor_of_the_notes() -> None:
    said = ("I met Charles.", "As an AI I met nobody.", "The profile says so.")
    asked = [turn("role_specific", f"{number}?", answer) for number, answer in enumerate(said)]
    rows, ledger = assembled([dialogue(role_of("test"), *asked)])
    assert [len(row.kinds) for row in rows] == [1]
    assert ledger.filtered == {"assistant_speak": 1, "profile_talk": 1}


def test_a_row_shows_the_identity_line_and_nothing_of_the_profile() -> None:
    role = role_of("train")
    rows, _ = assembled([dialogue(role, *TURNS)])
    assert rows[0].messages[0].content == f"You are Name {role[1:]}, somebody."


def test_candidates_are_four_of_one_class_with_the_role_among_them() -> None:
    names = candidates("Q1", RINGS)
    assert len(set(names)) == 4
    assert "Name 1" in names
    assert all(int(name.split()[1]) % 2 for name in names)


def test_a_role_is_on_one_side_only_and_the_shares_hold() -> None:
    splits = [split_of(f"Q{n}", validation_share=0.1, test_share=0.2) for n in range(5000)]
    assert abs(splits.count("test") / 5000 - 0.2) < 0.02
    assert abs(splits.count("validation") / 5000 - 0.1) < 0.02


def shard(store: ShardStore, rows: list[Example]) -> ShardRef:
    return store.write(ShardKey("examples", "r" * 12, "en-0000", "i" * 12), Example, rows, Ledger(len(rows), len(rows)))


def no_lines(_sessions: Iterable[Example]) -> str:
    return ""


def rows_of(*splits: str) -> list[Example]:
    made = [assembled([dialogue(role_of(split), *TURNS)])[0] for split in splits]
    return [row for rows in made for row in rows]


def test_the_folder_loads_with_datasets(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_HOME", str(tmp_path / "hf"))
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    from datasets import load_dataset

    store = ShardStore(tmp_path)
    ref = publish.publish(store, "r", [shard(store, rows_of("train", "test"))], {}, {}, no_lines)
    loaded = load_dataset(str(tmp_path / ref.folder), cache_dir=str(tmp_path / "cache"))
    assert {name: len(rows) for name, rows in loaded.items()} == {"train": 1, "test": 1}
    assert loaded["train"].column_names[0] == "messages"
    assert "| train | 1 | 1 | 2 |" in (tmp_path / ref.folder / "README.md").read_text()


def test_publishing_again_finds_it_and_a_changed_file_is_made_again(tmp_path: Path) -> None:
    store = ShardStore(tmp_path)
    parts = [shard(store, rows_of("train"))]
    first = publish.publish(store, "r", parts, {}, {}, no_lines)
    file = tmp_path / first.folder / "train.parquet"
    content, stamp = file.read_bytes(), file.stat().st_mtime_ns
    assert publish.publish(store, "r", parts, {}, {}, no_lines) == first
    assert file.stat().st_mtime_ns == stamp
    file.write_bytes(content[:-1])
    assert publish.publish(store, "r", parts, {}, {}, no_lines) == first
    assert file.read_bytes() == content


def test_a_dataset_without_training_rows_is_refused_in_words(tmp_path: Path) -> None:
    store = ShardStore(tmp_path)
    with pytest.raises(InvalidInput, match="no row for train"):
        publish.publish(store, "r", [shard(store, rows_of("test"))], {}, {}, no_lines)
    assert not any((tmp_path / "datasets").iterdir())


def test_the_manifest_is_the_last_word(tmp_path: Path) -> None:
    store = ShardStore(tmp_path)
    ref = publish.publish(store, "r", [shard(store, rows_of("train"))], {}, {}, no_lines)
    manifest = json.loads((tmp_path / ref.folder / "manifest.json").read_text())
    assert set(manifest["files"]) == {file.name for file in (tmp_path / ref.folder).iterdir()} - {"README.md", "manifest.json"}


def test_contrastive_turns_stop_at_their_share_and_the_rest_is_counted() -> None:
    many = [turn("contrastive", f"{n}?", FOREIGN) for n in range(9)] + [turn("role_specific", "own?", OWN)]
    rows, ledger = assembled([dialogue(role_of("train"), *many)])
    ledger.check()
    assert sorted(kind for row in rows for kind in row.kinds) == ["contrastive", "role_specific"]
    assert ledger.filtered == {"beyond_contrastive_share": 8}
