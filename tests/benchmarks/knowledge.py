"""Ratios of the knowledge stage: collection over a bare SPARQLWrapper loop, prose over the bare parser and on more cores."""

import contextlib
import itertools
import os
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import mwparserfromhell
from SPARQLWrapper import JSON, POST, SPARQLWrapper

from ditto_core import languages
from ditto_core.embedded import world
from ditto_core.knowledge.cleaning import articles
from ditto_core.knowledge.collection import collect_characters
from ditto_core.knowledge.dump import pages_from_dump
from ditto_core.knowledge.oxigraph import serve
from ditto_core.knowledge.snapshot import Snapshot
from ditto_core.knowledge.source import Source
from ditto_core.knowledge.sparql import Row, SparqlClient
from ditto_core.knowledge.wikipedia import Stored, default_site
from ditto_core.knowledge.wikitext import prose
from ditto_core.settings import KnowledgeSettings

_ENGLISH = languages.load("en")
_CLASSES = ("Q5", "Q15632617", "Q95074")
_COPIES = 10
_PAGES = 2000


def rows(best: Callable[[Callable[[], object]], float]) -> list[tuple[str, float, str]]:
    """Name, ratio and bound of each; `best` times a function."""
    cores = len(os.sched_getaffinity(0))
    return [
        ("ranking and facts, characters/s over a bare SPARQLWrapper loop", collection_ratio(best), "at least 1.0"),
        ("wikitext to clean prose, pages/s over parse + strip_code", wikitext_ratio(best), "at least 0.7"),
        (f"wikitext to prose, pages/s on {cores} cores over one", cores_ratio(best, cores), f"near {cores} on idle cores"),
        ("dump reader, peak memory at 10x the pages", memory_ratio(), "at most 1.2"),
    ]


class _Recorder:
    """An endpoint that remembers what it was asked."""

    def __init__(self, client: SparqlClient) -> None:
        self.client, self.queries = client, list[str]()

    def select(self, query: str, *, whole: bool = False) -> list[Row]:
        self.queries.append(query)
        return self.client.select(query, whole=whole)

    def probe(self) -> None:
        self.client.probe()


def collection_ratio(best: Callable[[Callable[[], object]], float]) -> float:
    """Seconds of the same queries one after the other by SPARQLWrapper, over those of a collection that keeps its snapshot."""
    with tempfile.TemporaryDirectory() as name, _crowd(Path(name)) as address:
        settings = KnowledgeSettings(sparql_endpoint=address, articles="dump", classes=_CLASSES)
        snapshots = (Snapshot(Path(name) / str(number)) for number in itertools.count())  # each collection begins with none

        def collect() -> _Recorder:
            source = Source(address, "knowledge.sparql_endpoint", "", 60, time.sleep, next(snapshots))
            recorder = _Recorder(SparqlClient(source))
            collect_characters(recorder, settings, _ENGLISH)
            return recorder

        queries = collect().queries

        def bare() -> None:
            for query in queries:
                wrapper = SPARQLWrapper(address)
                wrapper.setMethod(POST)
                wrapper.setReturnFormat(JSON)
                wrapper.setQuery(query)
                wrapper.query().convert()

        return best(bare) / best(collect)


@contextlib.contextmanager
def _crowd(folder: Path) -> Iterator[str]:
    """An endpoint over the characters of the embedded world, `_COPIES` of each."""
    people = [
        replace(entry, qid=f"{entry.qid}{copy:03d}", title=f"{entry.title} {copy}")
        for copy in range(_COPIES)
        for entry in world.entries()
    ]
    rdf = folder / "crowd.ttl"
    rdf.write_text(world.turtle(people), "utf-8")
    with serve(rdf, folder) as address:
        yield address


def wikitext_ratio(best: Callable[[Callable[[], object]], float]) -> float:
    """Pages a second of clean prose over those of parse + strip_code, on one core and the same pages."""
    pages = _articles() * 5
    ours = best(lambda: [prose(page, _ENGLISH) for page in pages])
    return best(lambda: [mwparserfromhell.parse(page).strip_code() for page in pages]) / ours


def cores_ratio(best: Callable[[Callable[[], object]], float], cores: int) -> float:
    """Seconds of one worker over those of all cores, on the same pages of about 5 kB, many times each."""
    site, short = default_site(_ENGLISH), _articles()
    texts = ["\n\n".join(short[first : first + 5]) for first in range(0, len(short), 5)] * 100
    pages = [(str(number), Stored(str(number), 0, "", "1", "", "wikitext", text, site)) for number, text in enumerate(texts)]
    one, all_cores = (best(lambda n=n: list(articles(pages, "en", n, 60.0))) for n in (1, cores))
    return one / all_cores


def _articles() -> list[str]:
    folder = Path(world.__file__).parent / "world" / "articles"
    return [path.read_text("utf-8") for path in sorted(folder.glob("*.wiki"))]


def memory_ratio() -> float:
    """Peak memory of reading 10 times as many pages over that of reading `_PAGES`, each in a process of its own."""
    with tempfile.TemporaryDirectory() as folder:
        small, large = (_peak(Path(folder) / f"{pages}.xml", pages) for pages in (_PAGES, 10 * _PAGES))
    return large / small


def _peak(path: Path, pages: int) -> int:
    with path.open("w", encoding="utf-8") as file:
        file.write("<mediawiki>")
        for number in range(pages):
            text = f"Page {number}. " + "words " * 500
            file.write(f"<page><title>P{number}</title><ns>0</ns><revision><id>1</id><text>{text}</text></revision></page>")
        file.write("</mediawiki>")
    command = [sys.executable, "-m", "tests.benchmarks.knowledge", str(path), str(pages)]
    return int(subprocess.run(command, check=True, capture_output=True, text=True).stdout)


def _read(path: Path, pages: int) -> None:
    wanted = [f"P{number}" for number in range(0, pages, pages // 100)]  # as many in a small export as in a large one
    found = sum(isinstance(page, Stored) for _, page in pages_from_dump(path, wanted, _ENGLISH))
    assert found == len(wanted)
    print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)


if __name__ == "__main__":
    _read(Path(sys.argv[1]), int(sys.argv[2]))
