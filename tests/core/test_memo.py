"""The memo: paid once, never lost, never another key's answer."""

import os
import signal
import sqlite3
import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from fixtures.counting import MODEL, Counting, request

from ditto_core import memo_exchange
from ditto_core.errors import InvalidInput
from ditto_core.generation.requests import Completion, Outcome, Request
from ditto_core.memo import Kept, Memo
from ditto_core.memoised import MemoisedGenerator
from ditto_core.recipe import ModelIdentity


def answers(engine: Counting, memo_url: str, texts: list[str]) -> dict[str, Outcome]:
    memo = Memo(memo_url)
    generator = MemoisedGenerator(engine.identity, lambda: engine, memo)
    found = {outcome.key: outcome for outcome in generator.generate([request(text) for text in texts])}
    memo.close()
    return found


def test_a_second_run_asks_nothing_and_loads_no_engine(memo_url: str) -> None:
    first = answers(Counting(), memo_url, ["a", "b"])
    memo = Memo(memo_url)

    def never() -> Counting:
        raise AssertionError("the engine was made")

    generator = MemoisedGenerator(MODEL, never, memo)
    second = {outcome.key: outcome for outcome in generator.generate([request("a"), request("b")])}
    memo.close()
    assert second == first


def test_answers_of_another_model_are_not_served(memo_url: str) -> None:
    answers(Counting(), memo_url, ["a"])
    other = Counting(identity=ModelIdentity("other", "tokenizer"))
    answers(other, memo_url, ["a"])
    assert other.texts() == ["a"]


def test_equal_requests_are_asked_once(memo_url: str) -> None:
    engine = Counting()
    assert len(answers(engine, memo_url, ["a", "a", "a"])) == 1
    assert engine.texts() == ["a"]


def test_a_failure_is_not_kept(memo_url: str) -> None:
    answers(Counting(failing="a"), memo_url, ["a", "b"])
    again = Counting()
    answers(again, memo_url, ["a", "b"])
    assert again.texts() == ["a"]


def test_a_new_memo_is_opened_by_many_at_once(memo_url: str) -> None:
    with ThreadPoolExecutor(8) as many:
        memos = list(many.map(Memo, [memo_url] * 8))
    for memo in memos:
        memo.close()


def test_threads_that_ask_the_same_at_once_share_one_request(memo_url: str) -> None:
    engine, memo = Counting(pause=0.05), Memo(memo_url)
    generator = MemoisedGenerator(MODEL, lambda: engine, memo)
    counts: list[int] = []

    def ask() -> None:
        counts.append(len(list(generator.generate([request(str(number)) for number in range(10)]))))

    threads = [threading.Thread(target=ask) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    memo.close()
    assert counts == [10] * 8
    assert sorted(engine.texts()) == sorted(str(number) for number in range(10))
    assert generator.usage.calls.total() == 10


_VICTIM = """
import sys, time
sys.path[:0] = [{root!r}, {root!r} + "/tests"]
from fixtures.counting import Counting, MODEL, request
from ditto_core.memo import Memo
from ditto_core.memoised import MemoisedGenerator
memo = Memo({url!r})
generator = MemoisedGenerator(MODEL, lambda: Counting(pause=0.005), memo)
for number in range(2000):
    list(generator.generate([request(str(number))]))
    print(number, flush=True)
"""


def test_a_killed_run_loses_nothing_that_it_was_given(memo_url: str) -> None:
    root = Path(__file__).parents[2]
    script = _VICTIM.format(root=str(root), url=memo_url)
    victim = subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.PIPE, text=True)
    assert victim.stdout is not None
    for _ in range(50):
        victim.stdout.readline()
    os.kill(victim.pid, signal.SIGKILL)
    given = 50 + victim.stdout.read().count("\n")
    victim.wait()
    victim.stdout.close()
    memo = Memo(memo_url)
    (counted,) = memo.kept()
    memo.close()
    assert counted.completions >= given


@pytest.mark.parametrize(
    ("content", "problem"),
    [pytest.param(b"not a database" * 500, "not a database", id="foreign-file")],
)
def test_a_foreign_file_is_refused_in_words(tmp_path: Path, content: bytes, problem: str) -> None:
    path = tmp_path / "memo.db"
    path.write_bytes(content)
    with pytest.raises(InvalidInput, match=problem):
        Memo(f"sqlite:///{path}")


def test_a_password_in_the_address_is_not_shown() -> None:
    with pytest.raises(InvalidInput) as caught:
        Memo("postgresql+psycopg://ditto:hunter2@127.0.0.1:9/memo")
    assert "hunter2" not in str(caught.value)


def test_a_file_of_another_program_is_refused_and_left_alone(tmp_path: Path) -> None:
    path = tmp_path / "other.db"
    with closing(sqlite3.connect(path)) as other:
        other.execute("CREATE TABLE recipes (name TEXT)")
        other.commit()
    with pytest.raises(InvalidInput, match="recipes"):
        Memo(f"sqlite:///{path}")
    with closing(sqlite3.connect(path)) as other:
        assert other.execute("SELECT name FROM sqlite_master").fetchall() == [("recipes",)]


def test_a_damaged_file_is_said_in_words_when_it_is_met(tmp_path: Path) -> None:
    path = tmp_path / "memo.db"
    url = f"sqlite:///{path}"
    answers(Counting(), url, [f"{number}" + "x" * 500 for number in range(200)])
    content = bytearray(path.read_bytes())
    content[4096:] = b"\x5a" * (len(content) - 4096)
    path.write_bytes(content)
    with pytest.raises(InvalidInput, match=r"move a damaged file away"):
        answers(Counting(), url, [f"{number}" + "x" * 500 for number in range(200)])


class Garbled(Counting):
    """Replies with what JSON can escape and no database can hold."""

    def reply(self, request: Request) -> Outcome:
        return Completion(request.key(self.identity), "a\x00b\ud800c", "stop")


def test_a_reply_that_cannot_be_stored_is_the_same_now_and_from_the_memo(memo_url: str) -> None:
    first = answers(Garbled(), memo_url, ["a"])
    (outcome,) = first.values()
    assert isinstance(outcome, Completion)
    assert outcome.text == "a\ufffdb\ufffdc"
    assert answers(Counting(), memo_url, ["a"]) == first


def test_what_it_holds_and_what_it_saved_is_counted_by_stage_and_model(memo_url: str) -> None:
    for _ in range(2):
        memo = Memo(memo_url)
        generator = MemoisedGenerator(MODEL, Counting, memo)
        metered = generator.metered()
        list(generator.generate([request("a"), request("b")]))
        list(metered.generate([request("a")]))
        assert (metered.usage.calls.total(), metered.usage.hits.total()) == (0, 1)
        generator.close()
        memo.close()
    memo = Memo(memo_url)
    assert memo.kept() == [Kept("test", "weights", completions=2, tokens=4, size=10, calls=2, hits=4)]
    memo.close()


def test_it_is_pruned_by_age_and_by_model(memo_url: str) -> None:
    answers(Counting(), memo_url, ["a", "b"])
    answers(Counting(identity=ModelIdentity("other", "")), memo_url, ["a"])
    memo = Memo(memo_url)
    now = datetime.now(UTC)
    assert memo.prune(before=now - timedelta(hours=1)) == 0
    assert memo.prune(weights="oth") == 1
    assert [kept.weights for kept in memo.kept()] == ["weights"]
    assert memo.prune(before=now + timedelta(hours=1)) == 2
    assert memo.kept() == []
    memo.close()


def test_it_is_carried_to_another_database_as_parquet(memo_url: str, tmp_path: Path) -> None:
    first = answers(Counting(), memo_url, ["a", "b", "c"])
    memo, file = Memo(memo_url), tmp_path / "out.parquet"
    assert memo_exchange.export(memo, file) == 3
    bytes_before = file.read_bytes()
    memo_exchange.export(memo, file)
    assert file.read_bytes() == bytes_before
    memo.close()
    other = f"sqlite:///{tmp_path / 'other.db'}"
    copy = Memo(other)
    assert (memo_exchange.load(copy, file), memo_exchange.load(copy, file)) == (3, 0)
    copy.close()
    never = Counting()
    assert answers(never, other, ["a", "b", "c"]) == first
    assert never.texts() == []


def test_a_file_that_is_no_export_is_refused(tmp_path: Path) -> None:
    memo = Memo(f"sqlite:///{tmp_path / 'memo.db'}")
    pq.write_table(pa.table({"a": [1]}), tmp_path / "foreign.parquet")
    for name in ("foreign.parquet", "missing.parquet"):
        with pytest.raises(InvalidInput, match=name):
            memo_exchange.load(memo, tmp_path / name)
    memo.close()
