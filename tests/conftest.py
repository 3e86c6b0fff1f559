"""One `ditto serve` for all tests that look at it."""

from collections.abc import Iterator

import pytest
from fixtures.served import Served, serve


@pytest.fixture(scope="session")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    """The embedded world, twelve characters of it."""
    with serve(tmp_path_factory.mktemp("served"), "--set", "knowledge.max_characters=4") as running:
        yield running
