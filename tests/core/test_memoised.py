"""The memo in front of an engine: who waits for a reply, and what becomes of it when others give up, close or go away."""

import re
import threading
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from queue import SimpleQueue

import pytest
from fixtures.counting import MODEL, Counting, request
from fixtures.postgresql import PostgreSQL

from ditto_core.errors import InvalidInput, SourceUnavailable
from ditto_core.generation.generator import Answer, Job
from ditto_core.generation.requests import Completion, Outcome, Request
from ditto_core.memo import Memo
from ditto_core.memoised import MemoisedGenerator


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


def asking(memo_url: str) -> tuple[Held, MemoisedGenerator, Memo]:
    engine, memo = Held(), Memo(memo_url)
    return engine, MemoisedGenerator(MODEL, lambda: engine, memo), memo


def job(text: str) -> tuple[Job, "SimpleQueue[Answer]", threading.Event]:
    answers: SimpleQueue[Answer] = SimpleQueue()
    abandoned = threading.Event()
    return Job(request(text), request(text).key(MODEL), answers, abandoned), answers, abandoned


def test_whoever_still_waits_is_answered_when_another_gives_up(memo_url: str) -> None:
    engine, generator, memo = asking(memo_url)
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


def test_what_everybody_gave_up_is_dropped_and_asked_anew_by_who_comes_later(memo_url: str) -> None:
    engine, generator, memo = asking(memo_url)
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


def test_of_two_processes_that_ask_the_same_at_once_both_are_given_what_was_kept(memo_url: str) -> None:
    engines = Saying("one"), Saying("two")
    memos = Memo(memo_url), Memo(memo_url)
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


def test_two_that_keep_the_same_in_another_order_do_not_wait_for_each_other(memo_url: str) -> None:
    memos = Memo(memo_url), Memo(memo_url)
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
    monkeypatch.setattr("ditto_core.memo_database._AWAY_S", 0.2)
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


def test_a_reply_that_comes_after_the_memo_was_closed_is_refused(memo_url: str) -> None:
    engine, generator, memo = asking(memo_url)
    late, answers, _ = job("a")
    generator.submit([late])
    memo.close()
    engine.release()
    assert isinstance(answers.get(timeout=60), SourceUnavailable)


class Refusing(Held):
    """Refuses when it is asked, after somebody else has come to wait for the same."""

    def submit(self, jobs: Sequence[Job]) -> None:
        self.jobs += jobs
        while len(self.jobs) == len(jobs) and not self.joined.wait(60):
            raise TimeoutError
        raise InvalidInput("no such model")

    joined = threading.Event()


def test_who_waits_for_what_another_could_not_ask_is_told_why(memo_url: str) -> None:
    engine, memo = Refusing(), Memo(memo_url)
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
