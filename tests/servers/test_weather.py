"""Collection through a proxy that misbehaves: the result is that of a fair day, and every fault is counted by its kind."""

import random
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest
from fixtures.weather import FAULTS, Plan, Proxy

from ditto_core import languages
from ditto_core.embedded import world_rdf
from ditto_core.errors import InvalidInput, SourceUnavailable
from ditto_core.knowledge.collection import collect_characters
from ditto_core.knowledge.oxigraph import serve
from ditto_core.knowledge.snapshot import Snapshot
from ditto_core.knowledge.source import Source
from ditto_core.knowledge.sparql import SparqlClient
from ditto_core.ledger import Ledger
from ditto_core.records import Character
from ditto_core.settings import KnowledgeSettings

ENGLISH = languages.load("en")
KINDS = {
    "429": "throttled", "429-retry-after": "throttled", "403": "banned", "500": "server_error", "502": "server_error",
    "503": "server_error", "504": "server_error", "reset": "connection", "cut-json": "cut", "error-inside": "cut",
    "cut-transfer": "connection", "html": "web_page", "empty": "cut", "hang": "timeout", "fewer-rows": "rows_cut",
}  # fmt: skip


@pytest.fixture(scope="module")
def oxigraph(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with serve(world_rdf(), tmp_path_factory.mktemp("oxigraph")) as address:
        yield address


@pytest.fixture
def proxy(oxigraph: str) -> Iterator[Proxy]:
    proxy = Proxy(oxigraph)
    yield proxy
    proxy.close()


def collected(address: str, snapshot: Snapshot | None = None, timeout_s: float = 10.0) -> tuple[list[Character], Ledger, Source]:
    settings = KnowledgeSettings(
        sparql_endpoint=address, articles="dump", batch_size=4, max_characters=20, classes=("Q5", "Q15632617")
    )
    source = Source(address, "knowledge.sparql_endpoint", "ops@example.org", timeout_s, lambda seconds: None, snapshot)
    characters, ledger = collect_characters(SparqlClient(source), settings, ENGLISH)
    ledger.check()
    return characters, ledger, source


def random_weather(seed: int) -> Plan:
    """Three of ten attempts meet a fault; which ones does not depend on the order in which requests arrive."""
    met: Counter[str] = Counter()

    def plan(number: int, body: str) -> str:
        met[body] += 1
        drawn = random.Random(f"{seed} {met[body]} {body}")
        return drawn.choice(FAULTS) if drawn.random() < 0.3 else ""

    return plan


@pytest.fixture(scope="module")
def fair(oxigraph: str) -> list[Character]:
    characters, _, source = collected(oxigraph)
    assert len(characters) > 30
    assert not source.faults
    return characters


@pytest.mark.parametrize("fault", FAULTS)
def test_many_answers_are_bad_and_the_result_is_that_of_a_fair_day(proxy: Proxy, fair: list[Character], fault: str) -> None:
    every = 12 if fault == "hang" else 3  # each hang takes a second
    met: Counter[str] = Counter()

    def plan(number: int, body: str) -> str:
        if number % every != 1 or met[body] == 4:  # passing weather: in step with others, one request would meet all of it
            return ""
        met[body] += 1
        return fault

    proxy.plan = plan
    characters, ledger, source = collected(proxy.address, timeout_s=0.5 if fault == "hang" else 10.0)
    assert characters == fair
    assert not ledger.failures
    assert set(source.faults) == {KINDS[fault]}
    assert source.faults.total() >= (2 if fault == "hang" else 5)


@pytest.mark.parametrize("seed", range(3))
def test_all_faults_together_change_nothing_either(proxy: Proxy, fair: list[Character], seed: int, tmp_path: Path) -> None:
    proxy.plan = random_weather(seed)
    characters, ledger, source = collected(proxy.address, Snapshot(tmp_path / "snapshot"), timeout_s=2.0)
    assert (characters, ledger.failures) == (fair, [])
    assert len(source.faults) > 4
    assert max(proxy.asked.values()) == 1  # nothing is asked again that was answered
    again, _, second = collected(proxy.address, Snapshot(tmp_path / "snapshot"))
    assert (again, second.asked) == (fair, 0)


def test_no_more_requests_are_in_work_at_once_than_the_rules_allow(proxy: Proxy, fair: list[Character]) -> None:
    assert collected(proxy.address)[0] == fair
    assert 1 < proxy.most <= 5  # Wikimedia allows no more
    assert proxy.agents == {"Ditto/0.1 (ops@example.org)"}


def test_an_endpoint_with_a_row_limit_is_asked_in_parts_until_all_is_there(proxy: Proxy, fair: list[Character]) -> None:
    proxy.plan = lambda number, body: "fewer-rows-25"
    characters, ledger, source = collected(proxy.address)
    assert (characters, ledger.failures) == (fair, [])
    assert source.faults["rows_cut"] > 10


def test_a_character_that_nobody_can_answer_for_is_lost_alone_and_by_name(proxy: Proxy, fair: list[Character]) -> None:
    poison = fair[5].qid
    proxy.plan = lambda number, body: "500" if f"wd%3A{poison}+" in body and "direct" in body else ""
    characters, ledger, _ = collected(proxy.address)
    assert characters == [character for character in fair if character.qid != poison]
    assert {loss.row: loss.reason for loss in ledger.failures} == {poison: "facts_unavailable"}


@pytest.mark.parametrize(
    ("fault", "error", "message"),
    [
        ("403", InvalidInput, r"bans this client"),
        ("html", InvalidInput, r"web page"),
        ("503", SourceUnavailable, r"503"),
        ("reset", SourceUnavailable, r"connection"),
    ],
)
def test_weather_that_does_not_pass_is_told_by_its_name(proxy: Proxy, fault: str, error: type[Exception], message: str) -> None:
    proxy.plan = lambda number, body: fault
    with pytest.raises(error, match=message):
        collected(proxy.address)


def test_a_snapshot_alone_is_enough_and_says_what_it_lacks(proxy: Proxy, fair: list[Character], tmp_path: Path) -> None:
    collected(proxy.address, Snapshot(tmp_path))
    proxy.close()
    characters, _, source = collected(proxy.address, Snapshot(tmp_path, complete=True))
    assert (characters, source.asked) == (fair, 0)
    next(tmp_path.rglob("*.gz")).write_bytes(b"damaged")
    with pytest.raises(InvalidInput, match="without --offline"):
        collected(proxy.address, Snapshot(tmp_path, complete=True))
