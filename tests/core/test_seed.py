"""How the seed LLM is made and measured."""

import dataclasses
import hashlib
import json
import shutil
import subprocess
import sys
from collections.abc import Callable, Sequence
from dataclasses import replace
from itertools import islice, takewhile
from pathlib import Path
from random import Random

import pytest
import torch
from torch.utils.data import DataLoader
from transformers import PreTrainedTokenizerFast, Qwen3ForCausalLM

from ditto_core import languages
from ditto_core.embedded import pretrain, scores, seed_folder
from ditto_core.embedded.attention import BLOCKED
from ditto_core.embedded.batches import Plan, Stream
from ditto_core.embedded.card import Score, card
from ditto_core.embedded.documents import Writer
from ditto_core.embedded.invented import article
from ditto_core.embedded.known import load_world
from ditto_core.embedded.mix import FIFTH_ROUND, KINDS, THIRD_ROUND, Mix
from ditto_core.embedded.pretrain import PARTS, RECORD, ROUNDS, Recipe, Trainer, losses, rounds_of
from ditto_core.records import Character, Claim, Message, Profile

TINY = Recipe(
    tokens=30_000, copying_tokens=5_000, hidden=32, heads=1, layers=1, feed_forward=32, vocabulary=400, batch_tokens=4_096
)


@pytest.fixture(scope="module")
def command() -> Callable[..., int]:
    """The command in this process, which computes as it did before afterwards."""

    def command(*words: str) -> int:
        threads = torch.get_num_threads()
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(sys, "argv", ["pretrain", *words])
            try:
                return pretrain.main()
            finally:
                torch.set_num_threads(threads)
                torch.use_deterministic_algorithms(False)

    return command


@pytest.fixture(scope="module")
def begun(command: Callable[..., int], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the first round of a tiny seed, to be copied: its tokenizer, which later rounds take, is most of the work."""
    out = tmp_path_factory.mktemp("begun") / "seed"
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(ROUNDS, "tiny", (TINY,))
        assert command("--name", "tiny", "--processes", "1", "--out", str(out)) == 0
    return out


def weights(folder: Path) -> str:
    return hashlib.sha256((folder / "model.safetensors").read_bytes()).hexdigest()


def test_the_same_command_gives_the_same_weights_in_another_process(tmp_path: Path, command: Callable[..., int]) -> None:
    words = ("--name", "embedded-small", "--processes", "1", "--tokens", "12000", "--out")
    with subprocess.Popen([sys.executable, "-m", "ditto_core.embedded.pretrain", *words, tmp_path / "there"]) as running:
        assert command(*words, str(tmp_path / "here")) == 0
        assert running.wait(400) == 0
    assert weights(tmp_path / "there") == weights(tmp_path / "here")


def test_a_part_left_out_gives_other_weights_and_is_recorded(
    tmp_path: Path, begun: Path, command: Callable[..., int], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(ROUNDS, "tiny", (TINY, replace(TINY, mix=FIFTH_ROUND)))
    made = set()
    for part in ("", *PARTS):
        out = shutil.copytree(begun, tmp_path / f"without {part}")
        options = ("--without", part) if part else ()
        assert command("--name", "tiny", "--from-round", "2", "--processes", "1", "--out", str(out), *options) == 0
        assert [run["without"] for run in rounds_of(out)] == ["", part]
        made.add(weights(out))
    assert len(made) == 1 + len(PARTS)


def test_a_later_round_goes_on_from_what_the_one_before_has_saved(
    tmp_path: Path, begun: Path, command: Callable[..., int], monkeypatch: pytest.MonkeyPatch
) -> None:
    later = replace(TINY, copying_tokens=0, mix=FIFTH_ROUND, attention=BLOCKED)
    monkeypatch.setitem(ROUNDS, "tiny", (TINY, later, later))
    whole, parts = tmp_path / "whole", shutil.copytree(begun, tmp_path / "parts")
    for out, options in ((whole, ()), (parts, ("--from-round", "2"))):
        assert command("--name", "tiny", "--processes", "1", "--out", str(out), *options) == 0
    assert weights(whole) == weights(parts) != weights(begun)
    assert [run["attention"] for run in rounds_of(whole)] == ["sdpa", BLOCKED, BLOCKED]
    assert [run | {"wall_minutes": 0} for run in rounds_of(parts)] == [run | {"wall_minutes": 0} for run in rounds_of(whole)]


@pytest.mark.parametrize(("asked", "done"), [("2", 0), ("2", 2), ("3", 1), ("6", 5), ("0", 0)])
def test_a_round_that_cannot_follow_is_turned_down(
    tmp_path: Path, asked: str, done: int, command: Callable[..., int], capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / RECORD).write_text(json.dumps([{}] * done), "utf-8")
    with pytest.raises(SystemExit, match="2"):
        command("--from-round", asked, "--out", str(tmp_path))
    assert f"round {asked} was asked for; embedded has 5, and {done} stand in {tmp_path / RECORD}" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("words", "has_it"),
    [
        (("--name", "embedded-small", "--without", "lifelike"), False),
        (("--from-round", "5", "--without", "curriculum"), False),
        (("--without", "lifelike"), True),
    ],
)
def test_leaving_out_what_no_round_has_is_turned_down(
    tmp_path: Path,
    words: Sequence[str],
    has_it: bool,
    command: Callable[..., int],
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("CXX", "no-compiler")  # the next complaint, so that nothing is trained
    (tmp_path / RECORD).write_text(json.dumps([{}] * 4), "utf-8")
    with pytest.raises(SystemExit, match="2"):
        command("--compile", "--out", str(tmp_path), *words)
    assert ("no round of embedded" not in capsys.readouterr().err) == has_it


def test_compiling_without_a_compiler_is_turned_down(
    tmp_path: Path, command: Callable[..., int], capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CXX", "no-compiler")
    with pytest.raises(SystemExit, match="2"):
        command("--compile", "--out", str(tmp_path))
    assert "--compile needs a C++ compiler, and there is no no-compiler" in capsys.readouterr().err
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("name", ROUNDS)
def test_the_command_has_the_recipe_of_the_seed_that_ships(name: str) -> None:
    for run, recipe in zip(rounds_of(seed_folder(name)), map(dataclasses.asdict, ROUNDS[name]), strict=True):
        assert {key: run[key] for key in recipe} == recipe


def test_batches_are_the_same_ones_wherever_they_are_made() -> None:
    tokenizer = PreTrainedTokenizerFast.from_pretrained(seed_folder())
    plan = Plan(7, {"en": 0.6, "ko": 0.4}, THIRD_ROUND, tokens=60_000, copying_tokens=6_000, batch_tokens=4_096)
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
    plan = Plan(0, {"en": 1.0}, Mix(), tokens=1e6, copying_tokens=1e5, batch_tokens=4_096)
    assert [plan.progress(share) for share in (0.0, 0.0999)] == [0.0, 0.0]
    grown = [plan.progress(share) for share in (0.1, 0.3, 0.6, 1.0)]
    assert grown == sorted(grown)
    assert grown[-2:] == [1.0, 1.0]
    assert dataclasses.replace(plan, copying_tokens=0.0).progress(0.0) == 1.0


def test_attention_in_blocks_gives_the_losses_of_the_librarys_own() -> None:
    tokenizer = PreTrainedTokenizerFast.from_pretrained(seed_folder())
    plan = Plan(1, {"en": 1.0}, Mix(), tokens=1e6, copying_tokens=0.0, batch_tokens=4_096)
    batch = next(batch for batch in Stream(plan, tokenizer, 0, 1) if batch.ids.shape[1] > 300)  # three blocks
    model = Qwen3ForCausalLM.from_pretrained(seed_folder(), dtype=torch.float32)  # trained: it needs what it attends to
    hidden = model.model(input_ids=batch.ids).last_hidden_state
    found = losses(model, batch)
    model.set_attn_implementation(BLOCKED)
    assert torch.allclose(hidden, model.model(input_ids=batch.ids).last_hidden_state, atol=1e-3)
    in_blocks = losses(model, batch)
    assert found.mean() < 1
    assert abs(found.mean() - in_blocks.mean()) < 0.01  # in bfloat16
    assert not torch.equal(found, in_blocks)


def test_processes_that_write_for_a_trainer_leave_the_weights_the_same_from_run_to_run(tmp_path: Path, begun: Path) -> None:
    for name in ("one", "again"):
        out = shutil.copytree(begun, tmp_path / name)
        Trainer(TINY, out, torch.device("cpu"), writers=2, goes_on=True).run()
    assert weights(tmp_path / "one") == weights(tmp_path / "again") != weights(begun)


def test_without_minimal_pairs_foreign_questions_seldom_have_the_form_of_an_own_one() -> None:
    def alike(minimal_pairs: bool) -> int:
        world = load_world()
        writer = Writer(Random(3), languages.load("en"), world, lambda text: len(text) // 4, Mix(minimal_pairs=minimal_pairs))
        own = next(claim for claim in writer.invented().character.claims if writer.phrasing.names_something(claim))
        return sum(writer.turns.foreign("", own, world.known).property == own.property for _ in range(200))

    assert alike(True) > 2 * alike(False)


@pytest.mark.parametrize(
    ("share", "cases", "low", "high"), [(0.5, 10, 0.237, 0.763), (1.0, 60, 0.940, 1.0), (0.0, 24, 0.0, 0.138)]
)
def test_intervals_are_wilsons(share: float, cases: int, low: float, high: float) -> None:
    assert Score("x", share, cases).interval() == pytest.approx((low, high), abs=0.001)


def test_the_card_shows_other_models_beside_the_shipped_one() -> None:
    folder = seed_folder("embedded-small")
    found, other = [Score("exact answer", 0.5, 10), Score("new row", 1.0, 60)], [Score("exact answer", 0.25, 10)]
    text = card(folder, found, {"seed 1": (seed_folder(), other)})
    assert "| what | share | 95 % | cases | seed 1 |" in text
    assert "| exact answer | 0.50 | 0.24 to 0.76 | 10 | 0.25 |" in text
    assert "| new row | 1.00 | 0.94 to 1.00 | 60 |  |" in text
    assert "- seed 1: round 1: tokens 50,000,000, " in text
    assert "| hidden | 96 |" in text


def test_the_card_tells_rounds_that_a_model_beside_shares_only_once(begun: Path) -> None:
    text = card(begun, [Score("exact answer", 0.5, 10)], {"again": (begun, []), "another": (seed_folder(), [])})
    assert "- again: the seed's own rounds up to number 1\n- another: round 1: tokens 50,000,000, " in text


class _Says(scores.Seed):
    """Says one thing to everybody."""

    def __init__(self, reply: str) -> None:
        self._reply = reply

    def count(self, text: str) -> int:
        return len(text) // 4

    def replies(self, prompts: Sequence[Sequence[Message]], most: int) -> list[str]:
        return [self._reply] * len(prompts)


@pytest.mark.parametrize(
    ("reply", "shares"),
    [
        ("I am an AI assistant.", {"names something": 0, "refuses what is its own": 0, "speaks as an AI assistant": 1}),
        ("That is unknown to me.", {"names something": 0, "refuses what is its own": 1, "speaks as an AI assistant": 0}),
    ],
)
def test_a_role_is_asked_without_its_profile_and_what_it_does_instead_is_told_apart(reply: str, shares: dict[str, float]) -> None:
    found = scores.Examiner(_Says(reply), "en", 5).scores()
    rows = [score for score in found if "in character without profile" in score.name or "bare line" in score.name]
    assert [score.cases for score in rows] == [5, 5, 5, 5, 15] * 2
    for what, share in shares.items():
        assert [score.share for score in rows if what in score.name] == [share] * 2


def test_where_a_person_was_born_and_died_in_one_place_either_answer_is_right() -> None:
    where = (Claim("P19", "place of birth", "Vienna", "Q1741"), Claim("P20", "place of death", "Vienna", "Q1741"))
    person = Profile(Character("Q1", "en", "Q5", "Ada", "painter", 1, "Ada", (), where), article("", "Ada"), "")

    def found(reply: str) -> float:
        rows = scores.Examiner(_Says(reply), "en", 1, 0, [person]).scores()
        return next(
            score.share for score in rows if score.name == "exact answer with profile, names something undated (other people)"
        )

    assert [found(f"Vienna is where {what}.") for what in ("I was born", "my life ended", "I lived")] == [1, 1, 0]
