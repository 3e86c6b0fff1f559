"""Peak memory and time of assembling a dataset: dialogues of any number of turns, then rows and folder in a process of its own.

`python -m tests.benchmarks.assembly simulate|assemble FOLDER TURNS` is one of the two steps; the second prints its peak in MiB
and its seconds.
"""

import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from random import Random

import pyarrow as pa

from ditto_core import languages
from ditto_core.dataset import examples, filters, publish
from ditto_core.dataset.candidates import Rings
from ditto_core.evaluation import wikiroleeval
from ditto_core.ledger import Ledger
from ditto_core.records import Article, Character, Dialogue, Example, Profile, Query, Section, Turn
from ditto_core.settings import DatasetSettings
from ditto_core.shards import ShardKey, ShardRef, ShardStore

_SHARDS = 8
_TURNS_PER_ROLE = 10
_FEW, _MANY = 10_000, 1_000_000
_WORDS = [f"{a}{b}{c}" for a in ("lo", "ma", "ti", "re", "su") for b in ("na", "vi", "ko") for c in ("r", "s", "n", "")]
_PHRASE = 10
"""Words that are drawn together: a million turns would else take longer to write than to assemble."""


def rows() -> list[tuple[str, float, str]]:
    """The rows of the table."""
    (little, quick), (much, long) = measured(_FEW), measured(_MANY)
    return [
        (f"peak memory of assemble, {_MANY:,} turns over {_FEW:,}", much / little, "at most 1.5"),
        (f"time a turn of assemble, {_MANY:,} turns over {_FEW:,}", long / quick * _FEW / _MANY, "at most 1.1"),
    ]


def measured(turns: int) -> tuple[float, float]:
    """Peak resident memory, in MiB, and seconds of a process that assembles that many turns."""
    with tempfile.TemporaryDirectory() as folder:
        command = [sys.executable, "-m", "tests.benchmarks.assembly"]
        subprocess.run([*command, "simulate", folder, str(turns)], check=True)
        done = subprocess.run([*command, "assemble", folder, str(turns)], check=True, stdout=subprocess.PIPE, text=True)
    memory, seconds = map(float, done.stdout.split())
    return memory, seconds


def _key(stage: str, shard: int) -> ShardKey:
    return ShardKey(stage, stage * 12, f"en-{shard:04d}", "inputs" * 8)


def _dialogues(roles: range) -> Iterator[Dialogue]:
    """Roles with an article of 4 kB and ten turns; a fifth of the turns fails a filter."""
    first = Random(0)
    phrases = [" ".join(first.choices(_WORDS, k=_PHRASE)) for _ in range(10_000)]
    for number in roles:
        draw = Random(number)

        def prose(words: int, draw: Random = draw) -> str:
            return " ".join(draw.choices(phrases, k=words // _PHRASE))

        turns = []
        for place in range(_TURNS_PER_ROLE):
            foreign = place % 2 == 1
            answer = f"I do not know the {prose(40)}." if foreign != (place % 5 == 0) else f"I was at the {prose(60)}."
            kind = "contrastive" if foreign else "role_specific"
            query = Query(f"Q{number}", f"Q{number}", kind, f"Did you {prose(10)}?", "", (prose(20),), "k")
            turns.append(Turn(query, answer, f"{number}-{place}"))
        character = Character(f"Q{number}", "en", "Q5", f"Name {number}", "somebody", 1, f"Name {number}")
        article = Article(f"Name {number}", (Section("", prose(600)),), (), "7", "", f"http://x/{number}", "CC0 1.0")
        yield Dialogue(Profile(character, article, prose(60)), tuple(turns))


def _simulate(store: ShardStore, turns: int) -> None:
    roles = turns // _TURNS_PER_ROLE
    for shard in range(_SHARDS):
        members = range(shard, roles, _SHARDS)
        account = Ledger(len(members), len(members))
        store.write(_key("dialogues", shard), Dialogue, _dialogues(members), account)


def _assemble(store: ShardStore, turns: int) -> None:
    roles = turns // _TURNS_PER_ROLE
    english, settings = languages.load("en"), DatasetSettings(min_function_words=0)  # the words are invented
    names = pa.array([f"Name {number}" for number in range(roles)])
    numbers = pa.array([f"Q{number}" for number in range(roles)])
    rings = Rings(pa.table({"role": numbers, "label": names, "kind": pa.array(["Q5"] * roles)}))
    checks = filters.by_cues(english, settings)
    simulated, made = [_found(store, _key("dialogues", shard)) for shard in range(_SHARDS)], []
    for shard, ref in enumerate(simulated):
        ledger = Ledger()
        rows = examples.assemble(store.read(ref, Dialogue), rings, english, settings, checks, ledger)
        made.append(store.write(_key("examples", shard), Example, rows, ledger))
    publish.publish(store, "r", made, {"dialogues": simulated, "examples": made}, {}, wikiroleeval.write_test)


def _found(store: ShardStore, key: ShardKey) -> ShardRef:
    ref = store.find(key)
    assert ref is not None
    return ref


def _main(step: str, folder: str, turns: str) -> None:
    store = ShardStore(Path(folder))
    if step == "simulate":
        _simulate(store, int(turns))
        return
    started = time.perf_counter()
    _assemble(store, int(turns))
    print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024, time.perf_counter() - started)


if __name__ == "__main__":
    _main(*sys.argv[1:])
