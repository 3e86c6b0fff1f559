"""Ratios of DESIGN.md, section 8, each measured in one run against its own baseline and written to a table.

`make bench` prints the table and writes it to benchmarks.md.
"""

import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import mwparserfromhell

from ditto_core import languages
from ditto_core.embedded import world
from ditto_core.generation.generator import Completion, Outcome, Request, Sampling
from ditto_core.knowledge import wikitext
from ditto_core.memo import Memo
from ditto_core.memoised import MemoisedGenerator
from ditto_core.recipe import ModelIdentity
from ditto_core.records import Message
from tests.benchmarks import knowledge

_ROUNDS = 3
_REQUESTS = 5000
_SECONDS_PER_REPLY = 0.0002  # an instant engine: 5,000 replies a second


class Instant:
    """An engine that answers at once, as a server would at 5,000 replies a second."""

    identity = ModelIdentity("instant", "")

    def generate(self, requests: Sequence[Request]) -> Iterator[Outcome]:
        for request in requests:
            time.sleep(_SECONDS_PER_REPLY)
            yield Completion(request.key(self.identity), "yes", "stop")

    def count_tokens(self, text: str) -> int:
        return len(text)

    def close(self) -> None:
        pass


def best(run: Callable[[], object]) -> float:
    """Seconds of the fastest of a few rounds."""
    times = []
    for _ in range(_ROUNDS):
        started = time.perf_counter()
        run()
        times.append(time.perf_counter() - started)
    return min(times)


def memo_ratio() -> float:
    """Run time with the memo over the run time without, all requests new."""
    requests = [Request((Message("user", str(number)),), Sampling()) for number in range(_REQUESTS)]

    def with_memo() -> None:
        with tempfile.TemporaryDirectory() as folder:
            memo = Memo(f"sqlite:///{Path(folder) / 'memo.db'}")
            list(MemoisedGenerator(Instant.identity, Instant, memo).generate(requests))
            memo.close()

    return best(with_memo) / best(lambda: list(Instant().generate(requests)))


def wikitext_ratio() -> float:
    """Pages a second of clean prose over those of parse + strip_code, on the embedded articles."""
    folder = Path(world.__file__).parent / "world" / "articles"
    pages = [path.read_text("utf-8") for path in sorted(folder.glob("*.wiki"))]
    english = languages.load("en")
    ours = best(lambda: [wikitext.prose(page, english) for page in pages])
    return best(lambda: [mwparserfromhell.parse(page).strip_code() for page in pages]) / ours


def main() -> None:
    rows = [
        ("memo on instant replies, run time with / without", memo_ratio(), "at most 1.2"),
        ("wikitext to clean prose, pages/s over parse + strip_code", wikitext_ratio(), "at least 0.7"),
        *knowledge.rows(best),
    ]
    table = "| what | measured | to hold |\n|---|---|---|\n"
    table += "".join(f"| {what} | {ratio:.2f} | {bound} |\n" for what, ratio, bound in rows)
    Path("benchmarks.md").write_text(table, "utf-8")
    print(table)


if __name__ == "__main__":
    main()
