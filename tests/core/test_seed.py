"""How the seed LLM is made and measured."""

import dataclasses
import hashlib
import json
import subprocess
import sys
from pathlib import Path
from random import Random

import pytest

from ditto_core import languages
from ditto_core.embedded import scores, seed_folder
from ditto_core.embedded.documents import Writer
from ditto_core.embedded.known import load_world
from ditto_core.embedded.pretrain import RECORD, SIZES, Recipe
from ditto_core.embedded.scores import Score


def trained(out: Path, *options: str) -> "subprocess.Popen[bytes]":
    """A training of a few steps that goes on from the smaller seed."""
    command = [sys.executable, "-m", "ditto_core.embedded.pretrain", "--name", "embedded-small", "--processes", "1"]
    bounds = ["--tokens", "12000", "--minutes", "60", "--start", str(seed_folder("embedded-small"))]
    return subprocess.Popen([*command, *bounds, "--out", str(out), *options], stdout=subprocess.DEVNULL)


def weights(folder: Path) -> str:
    return hashlib.sha256((folder / "model.safetensors").read_bytes()).hexdigest()


def test_the_same_command_gives_the_same_weights_and_a_part_left_out_gives_others(tmp_path: Path) -> None:
    runs = {"one": [], "again": [], "minimal pairs": ["--without", "minimal pairs"], "muon": ["--without", "muon"]}
    for process in [trained(tmp_path / name, *options) for name, options in runs.items()]:
        assert process.wait(300) == 0
    made = {name: weights(tmp_path / name) for name in runs}
    assert made["one"] == made["again"]
    assert len(set(made.values())) == 3
    assert json.loads((tmp_path / "muon" / RECORD).read_text("utf-8"))[-1]["without"] == "muon"


def test_the_command_without_options_has_the_recipe_of_the_seed_that_ships() -> None:
    (run,) = json.loads((seed_folder() / RECORD).read_text("utf-8"))
    recipe = dataclasses.asdict(Recipe(**SIZES["embedded"]))
    assert {name: run[name] for name in recipe if name != "save_minutes"} == {
        name: value for name, value in recipe.items() if name != "save_minutes"
    }


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
    assert "- seed 1: minutes 600.0" in text
