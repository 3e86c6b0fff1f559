"""The memo: paid once, never lost, never another key's answer."""

import os
import re
import signal
import sqlite3
import subprocess
import sys
import threading
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from datetime import UTC, datetime, timedelta
from pathlib import Path
from queue import SimpleQueue

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from fixtures.answering import Answering
from fixtures.postgresql import PostgreSQL

from ditto_core import configuration, memo_exchange
from ditto_core.errors import InvalidInput, SourceUnavailable
from ditto_core.generation.generator import Answer, Job
from ditto_core.generation.requests import Completion, Failure, Outcome, Request, Sampling
from ditto_core.memo import Kept, Memo
from ditto_core.memoised import MemoisedGenerator
from ditto_core.recipe import ModelIdentity
from ditto_core.records import Message
from tasks import resources

MODEL = ModelIdentity("weights", "tokenizer")


def request(text: str) -> Request:
    return Request((Message("user", text),), Sampling(), purpose="test")


class Counting(Answering):
    """Says what it was asked, after a while, and fails what it is told to."""

    def __init__(self, *, failing: str = "", pause: float = 0.0, identity: ModelIdentity = MODEL) -> None:
        super().__init__(identity)
        self._failing, self._pause = failing, pause

    def texts(self) -> list[str]:
        return [request.messages[0].content for request in self.asked]

    def reply(self, request: Request) -> Outcome:
        text, key = request.messages[0].content, request.key(self.identity)
        time.sleep(self._pause)
        return Failure(key, "refused", "") if text == self._failing else Completion(key, f"re: {text}", "stop", 3, 2)


@pytest.fixture(params=["sqlite", "postgresql"])
def url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    if request.param == "postgresql":
        address: str = request.getfixturevalue("postgresql").database()
        return address
    return f"sqlite:///{tmp_path / 'memo.db'}"


def answers(engine: Counting, url: str, texts: list[str]) -> dict[str, Outcome]:
    memo = Memo(url)
    generator = MemoisedGenerator(engine.identity, lambda: engine, memo)
    found = {outcome.key: outcome for outcome in generator.generate([request(text) for text in texts])}
    memo.close()
    return found


def test_a_second_run_asks_nothing_and_loads_no_engine(url: str) -> None:
    first = answers(Counting(), url, ["a", "b"])
    memo = Memo(url)

    def never() -> Counting:
        raise AssertionError("the engine was made")

    generator = MemoisedGenerator(MODEL, never, memo)
    second = {outcome.key: outcome for outcome in generator.generate([request("a"), request("b")])}
    memo.close()
    assert second == first


def test_answers_of_another_model_are_not_served(url: str) -> None:
    answers(Counting(), url, ["a"])
    other = Counting(identity=ModelIdentity("other", "tokenizer"))
    answers(other, url, ["a"])
    assert other.texts() == ["a"]


def test_equal_requests_are_asked_once(url: str) -> None:
    engine = Counting()
    assert len(answers(engine, url, ["a", "a", "a"])) == 1
    assert engine.texts() == ["a"]


def test_a_failure_is_not_kept(url: str) -> None:
    answers(Counting(failing="a"), url, ["a", "b"])
    again = Counting()
    answers(again, url, ["a", "b"])
    assert again.texts() == ["a"]


def test_a_new_memo_is_opened_by_many_at_once(url: str) -> None:
    with ThreadPoolExecutor(8) as many:
        memos = list(many.map(Memo, [url] * 8))
    for memo in memos:
        memo.close()


def test_threads_that_ask_the_same_at_once_share_one_request(url: str) -> None:
    engine, memo = Counting(pause=0.05), Memo(url)
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
sys.path[:0] = [{root!r}, {root!r} + "/tests", {tests!r}]
from test_memo import Counting, MODEL, request
from ditto_core.memo import Memo
from ditto_core.memoised import MemoisedGenerator
memo = Memo({url!r})
generator = MemoisedGenerator(MODEL, lambda: Counting(pause=0.005), memo)
for number in range(2000):
    list(generator.generate([request(str(number))]))
    print(number, flush=True)
"""


def test_a_killed_run_loses_nothing_that_it_was_given(url: str) -> None:
    root = Path(__file__).parents[2]
    script = _VICTIM.format(root=str(root), tests=str(Path(__file__).parent), url=url)
    victim = subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.PIPE, text=True)
    assert victim.stdout is not None
    for _ in range(50):
        victim.stdout.readline()
    os.kill(victim.pid, signal.SIGKILL)
    given = 50 + victim.stdout.read().count("\n")
    victim.wait()
    victim.stdout.close()
    memo = Memo(url)
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


def test_a_reply_that_cannot_be_stored_is_the_same_now_and_from_the_memo(url: str) -> None:
    first = answers(Garbled(), url, ["a"])
    (outcome,) = first.values()
    assert isinstance(outcome, Completion)
    assert outcome.text == "a\ufffdb\ufffdc"
    assert answers(Counting(), url, ["a"]) == first


class Held(Counting):
    """Answers when it is told to, and drops what nobody waits for any more, as engines do."""

    def __init__(self) -> None:
        super().__init__()
        self.jobs: list[Job] = []

    def submit(self, jobs: Sequence[Job]) -> None:
        self.jobs += jobs

    def release(self) -> None:
        super().submit([job for job in self.jobs if not job.abandoned.is_set()])
        self.jobs.clear()


def asking(url: str) -> tuple[Held, MemoisedGenerator, Memo]:
    engine, memo = Held(), Memo(url)
    return engine, MemoisedGenerator(MODEL, lambda: engine, memo), memo


def job(text: str) -> tuple[Job, "SimpleQueue[Answer]", threading.Event]:
    answers: SimpleQueue[Answer] = SimpleQueue()
    abandoned = threading.Event()
    return Job(request(text), request(text).key(MODEL), answers, abandoned), answers, abandoned


def test_whoever_still_waits_is_answered_when_another_gives_up(url: str) -> None:
    engine, generator, memo = asking(url)
    (first, nothing, gave_up), (second, answers, _) = job("a"), job("a")
    generator.submit([first])
    generator.submit([second])
    gave_up.set()
    engine.release()
    outcome = answers.get(timeout=60)
    memo.close()
    assert isinstance(outcome, Completion)
    assert engine.texts() == ["a"]
    assert not nothing.empty()  # told too, though it does not listen


def test_what_everybody_gave_up_is_dropped_and_asked_anew_by_who_comes_later(url: str) -> None:
    engine, generator, memo = asking(url)
    (first, _, gave_up), (later, answers, _) = job("a"), job("a")
    generator.submit([first])
    gave_up.set()
    assert engine.jobs[0].abandoned.is_set()
    generator.submit([later])
    assert len(engine.jobs) == 2
    engine.release()
    outcome = answers.get(timeout=60)
    memo.close()
    assert isinstance(outcome, Completion)
    assert engine.texts() == ["a"]


class Saying(Held):
    """Says the same to everything, unlike others."""

    def __init__(self, said: str) -> None:
        super().__init__()
        self._said = said

    def reply(self, request: Request) -> Outcome:
        return Completion(request.key(self.identity), self._said, "stop")


def test_of_two_processes_that_ask_the_same_at_once_both_are_given_what_was_kept(url: str) -> None:
    engines = Saying("one"), Saying("two")
    memos = Memo(url), Memo(url)
    (first, answer, _), (second, other_answer, _), (alone, third, _) = job("a"), job("a"), job("b")
    for engine, memo, jobs in zip(engines, memos, ([first], [second, alone]), strict=True):
        MemoisedGenerator(MODEL, lambda engine=engine: engine, memo).submit(jobs)
    given = []
    for engine, answers in zip(engines, (answer, other_answer), strict=True):
        engine.release()
        given.append(answers.get(timeout=60))
    assert given == [Completion(first.key, "one", "stop")] * 2
    assert third.get(timeout=60) == Completion(alone.key, "two", "stop")
    for memo in memos:
        memo.close()


def test_two_that_keep_the_same_in_another_order_do_not_wait_for_each_other(url: str) -> None:
    memos = Memo(url), Memo(url)
    counts = {"prompt_tokens": 1, "completion_tokens": 1}
    words = {"text": "", "finish_reason": "stop", "purpose": "test", "weights": "weights"}
    rows = [{"key": f"{number:04}", **words, **counts} for number in range(3000)]
    with ThreadPoolExecutor(2) as pool:
        list(pool.map(lambda memo, rows: memo.add(rows), memos, (rows, rows[::-1])))
    assert [kept.completions for kept in memos[0].kept()] == [3000]
    for memo in memos:
        memo.close()


def test_a_restart_of_the_server_costs_time_and_no_reply(postgresql: PostgreSQL) -> None:
    url = postgresql.database()
    engine, generator, memo = asking(url)
    (first, answers, _), (other, later, _) = job("a"), job("b")
    generator.submit([first])
    with ThreadPoolExecutor(1) as pool:
        with postgresql.away():
            engine.release()
            asked = pool.submit(generator.submit, [other])
            time.sleep(0.5)
            assert answers.empty()
            assert not asked.done()
        asked.result()
    engine.release()
    given = [answers.get(timeout=60), later.get(timeout=60)]
    generator.close()
    memo.close()
    with ThreadPoolExecutor(1) as pool:  # between two stages the memo is opened again
        with postgresql.away():
            opened = pool.submit(Memo, url)
            time.sleep(0.5)
            assert not opened.done()
        memo = opened.result()
    found = memo.lookup([first.key, other.key])
    memo.close()
    assert [found[first.key], found[other.key]] == given


def test_a_server_that_stays_away_is_named_without_a_password_and_may_come_back(
    postgresql: PostgreSQL, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("ditto_core.memo._AWAY_S", 0.2)
    url = postgresql.database().replace("postgres@", "postgres:hunter2@") + "&password=hunter2"
    engine, generator, memo = asking(url)
    (first, answers, _), (other, unasked, _), (again, later, _) = job("a"), job("b"), job("a")
    generator.submit([first])
    with postgresql.away():
        engine.release()
        generator.submit([other])
        for problem in (answers.get(timeout=60), unasked.get(timeout=60)):
            assert isinstance(problem, SourceUnavailable)
            assert re.search(r"memo at .*host=%2Ftmp%2Fpostgresql-.* does not answer: ", str(problem))
            assert "hunter2" not in str(problem)
    generator.submit([again])
    engine.release()
    assert later.get(timeout=60) == Completion(first.key, "re: a", "stop", 3, 2)
    memo.close()


def test_a_reply_that_comes_after_the_memo_was_closed_is_refused(url: str) -> None:
    engine, generator, memo = asking(url)
    late, answers, _ = job("a")
    generator.submit([late])
    memo.close()
    engine.release()
    assert isinstance(answers.get(timeout=60), SourceUnavailable)


def test_a_memo_that_broke_is_let_go_with_all_others_and_made_anew(tmp_path: Path) -> None:
    script = tmp_path / "script.jsonl"
    script.write_text('{"match": "", "reply": "Yes."}')
    generation = ("generation.engine=scripted", f"generation.script={script}")
    all_settings = [configuration.load("demo", None, generation, data_root=str(tmp_path / name)) for name in ("a", "b", "c")]
    before = resources.model_calls()
    generators = [resources.generator(settings, settings.generation) for settings in all_settings]
    memos = [resources.memo(settings) for settings in all_settings]
    for generator in generators:
        list(generator.generate([request("a")]))
    with closing(sqlite3.connect(tmp_path / "b" / "memo.db")) as other:
        other.executescript("DROP TABLE completions; DROP TABLE traffic")
    answers: SimpleQueue[Answer] = SimpleQueue()
    memos[1].store(Completion("key", "lost", "stop"), purpose="test", weights="weights", kept=answers.put)
    assert re.match("the memo cannot be written: no such table", str(answers.get(timeout=60)))
    with pytest.raises(InvalidInput, match="no such table: traffic"):
        resources.release()
    assert resources.model_calls() - before == 3
    for settings, memo, generator in zip(all_settings, memos, generators, strict=True):
        assert resources.memo(settings) is not memo
        assert resources.generator(settings, settings.generation) is not generator
        known = [kept.completions for kept in resources.memo(settings).kept()]
        assert known == ([] if memo is memos[1] else [1])
    resources.release()
    assert resources.model_calls() - before == 3


class Refusing(Held):
    """Refuses when it is asked, after somebody else has come to wait for the same."""

    def submit(self, jobs: Sequence[Job]) -> None:
        self.jobs += jobs
        while len(self.jobs) == len(jobs) and not self.joined.wait(60):
            raise TimeoutError
        raise InvalidInput("no such model")

    joined = threading.Event()


def test_who_waits_for_what_another_could_not_ask_is_told_why(url: str) -> None:
    engine, memo = Refusing(), Memo(url)
    generator = MemoisedGenerator(MODEL, lambda: engine, memo)
    with ThreadPoolExecutor(1) as pool:
        first = pool.submit(lambda: list(generator.generate([request("a")])))
        while not engine.jobs:
            time.sleep(0.01)
        second, answers, _ = job("a")
        generator.submit([second])
        engine.joined.set()
        with pytest.raises(InvalidInput):
            first.result()
        assert isinstance(answers.get(timeout=60), InvalidInput)
    memo.close()


def test_what_it_holds_and_what_it_saved_is_counted_by_stage_and_model(url: str) -> None:
    for _ in range(2):
        memo = Memo(url)
        generator = MemoisedGenerator(MODEL, Counting, memo)
        metered = generator.metered()
        list(generator.generate([request("a"), request("b")]))
        list(metered.generate([request("a")]))
        assert (metered.usage.calls.total(), metered.usage.hits.total()) == (0, 1)
        generator.close()
        memo.close()
    memo = Memo(url)
    assert memo.kept() == [Kept("test", "weights", completions=2, tokens=4, size=10, calls=2, hits=4)]
    memo.close()


def test_it_is_pruned_by_age_and_by_model(url: str) -> None:
    answers(Counting(), url, ["a", "b"])
    answers(Counting(identity=ModelIdentity("other", "")), url, ["a"])
    memo = Memo(url)
    now = datetime.now(UTC)
    assert memo.prune(before=now - timedelta(hours=1)) == 0
    assert memo.prune(weights="oth") == 1
    assert [kept.weights for kept in memo.kept()] == ["weights"]
    assert memo.prune(before=now + timedelta(hours=1)) == 2
    assert memo.kept() == []
    memo.close()


def test_it_is_carried_to_another_database_as_parquet(url: str, tmp_path: Path) -> None:
    first = answers(Counting(), url, ["a", "b", "c"])
    memo, file = Memo(url), tmp_path / "out.parquet"
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
