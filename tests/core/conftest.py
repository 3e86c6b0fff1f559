"""Servers that the core's tests share."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from fixtures.chat_server import KEY, Server, serving
from fixtures.postgresql import PostgreSQL, running

from ditto_core.settings import GenerationSettings

if TYPE_CHECKING:
    from ditto_core.generation.chat_api import ChatApiGenerator


@pytest.fixture(scope="session")
def postgresql() -> Iterator[PostgreSQL]:
    with running() as server:
        yield server


@pytest.fixture(params=["sqlite", "postgresql"])
def memo_url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """Address of a new memo."""
    if request.param == "postgresql":
        address: str = request.getfixturevalue("postgresql").database()
        return address
    return f"sqlite:///{tmp_path / 'memo.db'}"


@pytest.fixture
def server() -> Iterator[Server]:
    with serving() as made:
        yield made


@pytest.fixture
def client(server: Server) -> Iterator["Callable[..., ChatApiGenerator]"]:
    from ditto_core.generation.chat_api import ChatApiGenerator

    made: list[ChatApiGenerator] = []

    def make(**changes: Any) -> ChatApiGenerator:
        defaults = {"engine": "chat-api", "model": "m", "revision": "r1", "base_url": server.base_url, "timeout_s": 20}
        made.append(ChatApiGenerator(GenerationSettings(**(defaults | changes)), api_key=KEY))
        return made[-1]

    yield make
    for engine in made:
        engine.close()
        engine.close()
