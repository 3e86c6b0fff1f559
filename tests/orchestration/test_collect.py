"""collect as a command: what a source answered once is not asked again, not after a kill either, and is enough by itself."""

import json
import random
import signal
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from fixtures.stub_wiki import StubWiki
from fixtures.weather import Proxy

from ditto_core import languages
from ditto_core.embedded import world_export, world_rdf
from ditto_core.knowledge.oxigraph import serve
from ditto_core.knowledge.source import PARALLEL
from ditto_core.records import Profile, from_table
from ditto_core.shards import read_groups

Ditto = Callable[..., dict[str, Any]]
_KILLS = 3


@contextmanager
def before(address: str) -> Iterator[Proxy]:
    proxy = Proxy(address)
    try:
        yield proxy
    finally:
        proxy.close()


@pytest.fixture(scope="module")
def endpoint(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with serve(world_rdf(), tmp_path_factory.mktemp("oxigraph")) as address:
        yield address


@pytest.fixture
def proxy(endpoint: str) -> Iterator[Proxy]:
    with before(endpoint) as proxy:
        yield proxy


@pytest.fixture
def wiki() -> Iterator[Proxy]:
    stub = StubWiki(world_export())
    with before(stub.address) as proxy:
        yield proxy
    stub.close()


def test_a_second_run_needs_nobody_and_an_offline_one_says_what_it_lacks(ditto: Ditto, proxy: Proxy, tmp_path: Path) -> None:
    endpoint = ["--set", f"knowledge.sparql_endpoint={proxy.address}"]
    proxy.plan = lambda number, body: "503" if number % 4 == 1 else ""
    root = tmp_path / "data"
    first = ditto("collect", root, *endpoint)
    assert first["requests"] == proxy.total > 10
    assert first["ledger"]["notes"]["fault_server_error"] > 2
    assert first["ledger"]["failed"] == {}
    proxy.close()
    second = ditto("collect", root, *endpoint)
    assert (second["requests"], second["output"], second["ledger"]["ok"]) == (0, first["output"], first["ledger"]["ok"])
    empty = ditto("collect", tmp_path / "empty", *endpoint, "--offline", code=2)
    assert "without --offline" in empty["error"]


def test_three_languages_of_the_embedded_world_become_profiles_each_in_its_own_words(ditto: Ditto, tmp_path: Path) -> None:
    root, chosen = tmp_path / "data", ["en", "zh", "ko"]
    settings = [f"knowledge.languages={json.dumps(chosen)}", "knowledge.max_characters=100"]
    done = ditto("collect", root, *(word for setting in settings for word in ("--set", setting)))
    assert (done["ledger"]["inputs"], done["ledger"]["ok"]) == (148, 148)
    files = (file for file in (root / done["output"]).glob("*.parquet") if ".lost." not in file.name)
    rows = [profile for file in files for group in read_groups(file) for profile in from_table(Profile, group)]
    told = {code: [profile for profile in rows if profile.character.language == code] for code in chosen}
    assert {code: len(profiles) for code, profiles in told.items()} == {"en": 100, "zh": 24, "ko": 24}
    for code, profiles in told.items():
        language = languages.load(code)
        assert all(language.script_share(profile.article.sections[0].text) > 0.9 for profile in profiles)
        assert {f"https://{code}.wikipedia.org"} == {profile.article.url.partition("/wiki/")[0] for profile in profiles}


def test_a_run_killed_at_any_point_asks_again_only_for_what_was_in_flight_and_gives_the_same_bytes(
    ditto: Ditto, start: Callable[..., Any], proxy: Proxy, wiki: Proxy, tmp_path: Path
) -> None:
    options = [f"sparql_endpoint={proxy.address}", "articles=api", f"article_api={wiki.address}", "batch_size=2"]
    options = [word for option in options for word in ("--set", f"knowledge.{option}")]

    def files(root: Path) -> dict[str, bytes]:
        return {file.name: file.read_bytes() for file in sorted((root / "shards").rglob("*.parquet"))}

    def answered() -> int:
        return len(proxy.asked) + len(wiki.asked)

    whole = ditto("collect", tmp_path / "whole", *options)
    assert whole["requests"] == answered() > 20
    proxy.asked.clear()
    wiki.asked.clear()
    for point in sorted(random.Random(4).sample(range(1, whole["requests"]), _KILLS)):
        process = start("collect", tmp_path / "killed", *options)
        while answered() < point and process.poll() is None:
            time.sleep(0.001)
        process.send_signal(signal.SIGKILL)
        process.communicate()
        assert process.returncode == -signal.SIGKILL, f"the kill at {point} of {whole['requests']} answers came too late"
    ditto("collect", tmp_path / "killed", *options)
    assert files(tmp_path / "killed") == files(tmp_path / "whole")
    assert (proxy.asked + wiki.asked).total() - answered() <= _KILLS * PARALLEL  # the same request
    assert answered() <= whole["requests"] + _KILLS * PARALLEL  # a batch of texts is smaller where some are there already
