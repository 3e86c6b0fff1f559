"""Windows of the chat-api engine: who may send, and when."""

import asyncio

import pytest

from ditto_core.errors import SourceUnavailable
from ditto_core.generation.window import Server, Windows


def test_a_window_opens_quickly_until_it_is_crowded_and_slowly_after_it() -> None:
    server = Server("a", 64)
    for _ in range(24):
        server.grow()
    assert server.limit == 32
    server.shrink(now=1.0, sent=0.5)
    assert server.limit == 16
    for _ in range(16):
        server.grow()
    assert 16 < server.limit < 17.5


def test_one_burst_of_refusals_halves_the_window_once() -> None:
    server = Server("a", 64)
    for _ in range(24):
        server.grow()
    for _ in range(10):
        server.shrink(now=1.0, sent=0.5)
    assert server.limit == 16
    server.shrink(now=2.0, sent=1.5)
    assert server.limit == 8


@pytest.mark.parametrize("most", [1, 2, 64])
def test_a_window_never_closes_for_good(most: int) -> None:
    server = Server("a", most)
    for moment in range(20):
        server.shrink(now=moment + 1.0, sent=moment + 0.5)
    assert server.has_room(100.0)
    assert server.limit == min(most, 4)


def test_a_resting_server_gets_nothing_until_its_rest_is_over() -> None:
    async def run() -> float:
        windows = Windows(["a"], 4)
        windows.rest(windows.servers[0], 0.1)
        start = asyncio.get_running_loop().time()
        await windows.enter()
        return asyncio.get_running_loop().time() - start

    assert asyncio.run(run()) >= 0.1


def test_what_was_sent_before_goes_first() -> None:
    async def run() -> list[str]:
        windows = Windows(["a"], 1)
        held, order = await windows.enter(), []

        async def go(name: str, again: bool) -> None:
            server = await windows.enter(held if again else None)
            order.append(name)
            windows.leave(server)

        tasks = [asyncio.create_task(go("new", False)), asyncio.create_task(go("again", True))]
        await asyncio.sleep(0)
        windows.leave(held)
        await asyncio.gather(*tasks)
        return order

    assert asyncio.run(run()) == ["again", "new"]


def test_a_place_that_its_owner_gave_up_is_free_again() -> None:
    async def run() -> None:
        windows = Windows(["a"], 1)
        held = await windows.enter()
        waiting = asyncio.create_task(windows.enter())
        await asyncio.sleep(0)
        windows.leave(held)  # the place is handed to the one who waits, who leaves before taking it
        waiting.cancel()
        await asyncio.gather(waiting, return_exceptions=True)
        await asyncio.wait_for(windows.enter(), 1)

    asyncio.run(run())


def test_after_giving_up_nobody_waits() -> None:
    async def run() -> None:
        windows = Windows(["a"], 1)
        await windows.enter()
        waiting = asyncio.create_task(windows.enter())
        await asyncio.sleep(0)
        windows.give_up("gone")
        for place in (waiting, windows.enter()):
            with pytest.raises(SourceUnavailable, match="gone"):
                await place

    asyncio.run(run())
