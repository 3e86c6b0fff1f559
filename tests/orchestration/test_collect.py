"""collect as a command: what a source answered once is not asked again, and is enough without the source."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from fixtures.weather import Proxy

from ditto_core.embedded import world_rdf
from ditto_core.knowledge.oxigraph import serve

Ditto = Callable[..., dict[str, Any]]


@pytest.fixture
def proxy(tmp_path: Path) -> Iterator[Proxy]:
    with serve(world_rdf(), tmp_path / "oxigraph") as address:
        proxy = Proxy(address)
        yield proxy
        proxy.close()


def test_a_second_run_asks_nobody_and_an_offline_one_needs_nobody(ditto: Ditto, proxy: Proxy, tmp_path: Path) -> None:
    endpoint = ["--set", f"knowledge.sparql_endpoint={proxy.address}"]
    proxy.plan = lambda number, body: "503" if number % 4 == 1 else ""
    root = tmp_path / "data"
    first = ditto("collect", root, *endpoint)
    assert first["requests"] == proxy.total > 10
    assert first["ledger"]["notes"]["fault_server_error"] > 2
    assert first["ledger"]["failed"] == {}
    second = ditto("collect", root, *endpoint)
    assert (second["requests"], second["output"], second["ledger"]["ok"]) == (0, first["output"], first["ledger"]["ok"])
    proxy.close()
    assert ditto("collect", root, *endpoint, "--offline")["ledger"]["ok"] == first["ledger"]["ok"]
    empty = ditto("collect", tmp_path / "empty", *endpoint, "--offline", code=2)
    assert "without --offline" in empty["error"]
