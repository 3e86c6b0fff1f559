"""How the seed LLM is made and measured."""

import dataclasses
import hashlib
import json
import subprocess
import sys
from itertools import islice, takewhile
from pathlib import Path
from random import Random

import pytest
import torch
from torch.utils.data import DataLoader
from transformers import PreTrainedTokenizerFast

from ditto_core import languages
from ditto_core.embedded import scores, seed_folder
from ditto_core.embedded.batches import Plan, Stream
from ditto_core.embedded.documents import KINDS, Writer
from ditto_core.embedded.known import load_world
from ditto_core.embedded.pretrain import RECORD, SIZES, Recipe, Trainer
from ditto_core.embedded.scores import Score


def trained(out: Path, *options: str) -> "subprocess.Popen[bytes]":
    """A training of a few steps."""
    command = [sys.executable, "-m", "ditto_core.embedded.pretrain", "--name", "embedded-small", "--processes", "1"]
    return subprocess.Popen([*command, "--tokens", "12000", "--out", str(out), *options], stdout=subprocess.DEVNULL)


def weights(folder: Path) -> str:
    return hashlib.sha256((folder / "model.safetensors").read_bytes()).hexdigest()


def test_the_same_command_gives_the_same_weights_and_a_part_left_out_gives_others(tmp_path: Path) -> None:
    runs = {"one": [], "again": [], "curriculum": ["--without", "curriculum"], "muon": ["--without", "muon"]}
    for process in [trained(tmp_path / name, *options) for name, options in runs.items()]:
        assert process.wait(300) == 0
    made = {name: weights(tmp_path / name) for name in runs}
    assert made["one"] == made["again"]
    assert len(set(made.values())) == 3
    assert json.loads((tmp_path / "muon" / RECORD).read_text("utf-8"))["without"] == "muon"


@pytest.mark.parametrize("name", SIZES)
def test_the_command_has_the_recipe_of_the_seed_that_ships(name: str) -> None:
    run = json.loads((seed_folder(name) / RECORD).read_text("utf-8"))
    recipe = dataclasses.asdict(Recipe(**SIZES[name]))
    assert {key: run[key] for key in recipe} == recipe


def test_batches_are_the_same_ones_wherever_they_are_made() -> None:
    tokenizer = PreTrainedTokenizerFast.from_pretrained(seed_folder())
    plan = Plan(7, {"en": 0.6, "ko": 0.4}, True, 0.3, tokens=60_000, copying_tokens=6_000, batch_tokens=4_096)
    streams = [Stream(plan, tokenizer, rank, 2) for rank in range(2)]
    alone = [list(islice(stream, 12)) for stream in streams]
    ahead = list(islice(DataLoader(Stream(plan, tokenizer, 0, 1), batch_size=None, num_workers=2), 24))
    for place, batch in enumerate(ahead):
        assert all(torch.equal(*parts) for parts in zip(batch, alone[place % 2][place // 2], strict=True))
    assert not torch.equal(alone[0][0].ids, alone[1][0].ids)
    for batch in ahead:
        assert torch.equal(batch.targets, batch.ids[:, 1:].flatten()[batch.places])
    copied, last = KINDS.index("copies"), {KINDS[kind] for batch in ahead[-8:] for kind in batch.kinds.tolist()}
    for stream in alone:
        first = [batch.ids.numel() for batch in takewhile(lambda batch: set(batch.kinds.tolist()) == {copied}, stream)]
        assert 3_000 <= sum(first) < 4_500  # its half of the copying, and the rest of a pool
    assert len(last) > 3


def test_copying_comes_first_then_documents_grow_with_the_run() -> None:
    plan = Plan(0, {"en": 1.0}, True, 0.0, tokens=1e6, copying_tokens=1e5, batch_tokens=4_096)
    assert [plan.progress(share) for share in (0.0, 0.0999)] == [0.0, 0.0]
    grown = [plan.progress(share) for share in (0.1, 0.3, 0.6, 1.0)]
    assert grown == sorted(grown)
    assert grown[-2:] == [1.0, 1.0]
    assert dataclasses.replace(plan, copying_tokens=0.0).progress(0.0) == 1.0


def test_processes_that_write_for_a_trainer_leave_the_weights_the_same_from_run_to_run(tmp_path: Path) -> None:
    recipe = Recipe(
        tokens=30_000, copying_tokens=5_000, hidden=32, heads=1, layers=1, feed_forward=32, vocabulary=400, batch_tokens=4_096
    )
    for name in ("one", "again"):
        Trainer(recipe, tmp_path / name, torch.device("cpu"), writers=2).run()
    assert weights(tmp_path / "one") == weights(tmp_path / "again")


def test_without_minimal_pairs_foreign_questions_seldom_have_the_form_of_an_own_one() -> None:
    def alike(minimal_pairs: bool) -> int:
        world = load_world()
        writer = Writer(Random(3), languages.load("en"), world, lambda text: len(text) // 4, minimal_pairs)
        own = next(claim for claim in writer.invented().character.claims if writer.phrasing.names_something(claim))
        return sum(writer.foreign("", own, world.known).property == own.property for _ in range(200))

    assert alike(True) > 2 * alike(False)


@pytest.mark.parametrize(
    ("share", "cases", "low", "high"), [(0.5, 10, 0.237, 0.763), (1.0, 60, 0.940, 1.0), (0.0, 24, 0.0, 0.138)]
)
def test_intervals_are_wilsons(share: float, cases: int, low: float, high: float) -> None:
    assert Score("x", share, cases).interval() == pytest.approx((low, high), abs=0.001)


def test_the_card_shows_other_models_beside_the_shipped_one() -> None:
    folder = seed_folder("embedded-small")
    found, other = [Score("exact answer", 0.5, 10), Score("new row", 1.0, 60)], [Score("exact answer", 0.25, 10)]
    text = scores.card(folder, found, {"seed 1": (seed_folder(), other)})
    assert "| what | share | 95 % | cases | seed 1 |" in text
    assert "| exact answer | 0.50 | 0.24 to 0.76 | 10 | 0.25 |" in text
    assert "| new row | 1.00 | 0.94 to 1.00 | 60 |  |" in text
    assert "- seed 1: tokens" in text
