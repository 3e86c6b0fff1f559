"""Collection from a real Virtuoso: other quirks than Oxigraph's, the same characters."""

import time
from pathlib import Path

import pytest
from fixtures.debian import virtuoso

from ditto_core import languages
from ditto_core.embedded import world_rdf
from ditto_core.knowledge.collection import collect_characters
from ditto_core.knowledge.oxigraph import serve
from ditto_core.knowledge.source import Source
from ditto_core.knowledge.sparql import SparqlClient
from ditto_core.records import Character
from ditto_core.settings import KnowledgeSettings


def collected(address: str, ranking: str) -> tuple[list[Character], Source]:
    settings = KnowledgeSettings(
        sparql_endpoint=address, articles="dump", ranking=ranking, classes=("Q5", "Q15632617", "Q95074"), max_characters=30
    )
    source = Source(address, "knowledge.sparql_endpoint", "", 60, time.sleep)
    characters, ledger = collect_characters(SparqlClient(source), settings, languages.load("en"))
    assert not ledger.failures
    return characters, source


@pytest.mark.parametrize("ranking", ["stored", "counted"])
@pytest.mark.parametrize("rows", [10_000, 120], ids=["no-limit", "row-limit"])
def test_virtuoso_and_oxigraph_give_the_same_characters(tmp_path: Path, rows: int, ranking: str) -> None:
    with virtuoso(tmp_path / "virtuoso", world_rdf(), rows) as address:
        found, source = collected(address, ranking)
    with serve(world_rdf(), tmp_path / "oxigraph") as address:
        expected, _ = collected(address, ranking)
    assert found == expected
    assert len(found) == 48
    assert set(source.faults) == ({"rows_cut"} if rows == 120 else set())
