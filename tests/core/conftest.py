"""Servers that the core's tests share."""

from collections.abc import Iterator

import pytest
from fixtures.postgresql import PostgreSQL, running


@pytest.fixture(scope="session")
def postgresql() -> Iterator[PostgreSQL]:
    with running() as server:
        yield server
