"""How requests get to an engine and back, for lists and for coroutines."""

import asyncio
import threading
from collections.abc import Sequence

import pytest
from fixtures.answering import Answering

from ditto_core.errors import InvalidInput
from ditto_core.generation.generator import CHUNK, WINDOW, Job
from ditto_core.generation.requests import Completion, Request, Sampling
from ditto_core.records import Message


def request(text: str) -> Request:
    return Request((Message("user", text),), Sampling())


class Echo(Answering):
    """Answers in the order of the alphabet, backwards; "broken" is an error."""

    def submit(self, jobs: Sequence[Job]) -> None:
        broken = [job for job in jobs if job.request == request("broken")]
        for job in broken:
            job.answers.put(InvalidInput("no such model"))
        super().submit(sorted((job for job in jobs if job not in broken), key=self._text, reverse=True))

    def reply(self, request: Request) -> str:
        return f"re: {request.messages[0].content}"

    @staticmethod
    def _text(job: Job) -> str:
        return job.request.messages[0].content


class Waiting(Answering):
    """Keeps jobs until a test answers them from another thread."""

    def __init__(self) -> None:
        super().__init__()
        self.jobs: list[Job] = []

    def submit(self, jobs: Sequence[Job]) -> None:
        self.jobs += jobs

    def answer_from_a_thread(self, *jobs: Job) -> None:
        thread = threading.Thread(target=lambda: [job.answers.put(Completion(job.key, "yes", "stop")) for job in jobs])
        thread.start()
        thread.join()


def texts(outcomes: Sequence[object]) -> list[str]:
    return [outcome.text for outcome in outcomes if isinstance(outcome, Completion)]


def test_a_list_gets_its_answers_in_its_own_order() -> None:
    assert texts(Echo().answer([request(letter) for letter in "abca"])) == ["re: a", "re: b", "re: c", "re: a"]


def test_a_coroutine_gets_its_answers_in_its_own_order_and_asks_twins_once() -> None:
    engine = Echo()
    assert texts(asyncio.run(engine.ask([request(letter) for letter in "abca"]))) == ["re: a", "re: b", "re: c", "re: a"]
    assert len(engine.asked) == 3


def test_nothing_is_asked_where_there_is_nothing_to_ask() -> None:
    engine = Waiting()
    assert asyncio.run(engine.ask([])) == engine.answer([]) == []
    assert engine.jobs == []


def test_an_error_in_place_of_an_answer_is_raised_where_it_is_awaited() -> None:
    with pytest.raises(InvalidInput, match="no such model"):
        asyncio.run(Echo().ask([request("a"), request("broken")]))
    with pytest.raises(InvalidInput, match="no such model"):
        Echo().answer([request("a"), request("broken")])


def test_others_go_on_while_one_coroutine_waits() -> None:
    engine, done = Waiting(), []

    async def one(letter: str) -> None:
        await engine.ask([request(letter)])
        done.append(letter)

    async def both() -> None:
        slow, quick = asyncio.create_task(one("slow")), asyncio.create_task(one("quick"))
        await asyncio.sleep(0)
        engine.answer_from_a_thread(engine.jobs[1])
        await quick
        assert done == ["quick"]
        engine.answer_from_a_thread(engine.jobs[0])
        await slow

    asyncio.run(both())
    assert done == ["quick", "slow"]


def test_who_gives_up_says_so_and_an_answer_that_comes_too_late_harms_nobody() -> None:
    engine = Waiting()

    async def impatient() -> None:
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(engine.ask([request("a"), request("b")]), 0.01)

    asyncio.run(impatient())
    assert all(job.abandoned.is_set() for job in engine.jobs)
    for job in engine.jobs:  # the event loop is closed by now
        job.answers.put(Completion(job.key, "late", "stop"))


def test_a_long_list_is_handed_over_in_parts_so_that_prompts_do_not_pile_up() -> None:
    engine = Waiting()
    outcomes = engine.generate([request(str(number)) for number in range(WINDOW + 3 * CHUNK)])
    engine_side = threading.Thread(target=lambda: next(outcomes), daemon=True)
    engine_side.start()
    while len(engine.jobs) < WINDOW:
        engine_side.join(0.01)
    assert len(engine.jobs) == WINDOW
    engine.answer_from_a_thread(*engine.jobs)
    engine_side.join()
