"""What changes a digest, and what must not."""

import os
from collections.abc import Callable
from dataclasses import fields, replace
from pathlib import Path

import pytest

from ditto_core.errors import InvalidInput
from ditto_core.generation.requests import Request, Sampling
from ditto_core.recipe import ModelIdentity, digest, model_identity
from ditto_core.records import Message

MODEL = ModelIdentity("weights", "tokenizer")
REQUEST = Request((Message("system", "You are Ada."), Message("user", "Who are you?")), Sampling(0.7, 0.8, 1.1, 64), 0, "", "x")


@pytest.mark.parametrize(
    "edit",
    [
        pytest.param(lambda r: replace(r, messages=(Message("system", "You are Bob."), r.messages[1])), id="system-line"),
        pytest.param(lambda r: replace(r, messages=(r.messages[0], Message("user", "Who?"))), id="question"),
        pytest.param(lambda r: replace(r, messages=(*r.messages, Message("assistant", ""))), id="one-more-message"),
        pytest.param(lambda r: replace(r, sample=1), id="sample"),
        pytest.param(lambda r: replace(r, schema="{}"), id="schema"),
        *(
            pytest.param(lambda r, n=f.name: replace(r, sampling=replace(r.sampling, **{n: 2})), id=f"sampling-{f.name}")
            for f in fields(Sampling)
        ),
    ],
)
def test_whatever_shapes_the_reply_changes_the_row_key(edit: Callable[[Request], Request]) -> None:
    assert edit(REQUEST).key(MODEL) != REQUEST.key(MODEL)


@pytest.mark.parametrize("field", fields(ModelIdentity), ids=lambda field: field.name)
def test_another_model_changes_the_row_key(field) -> None:
    assert REQUEST.key(replace(MODEL, **{field.name: "other"})) != REQUEST.key(MODEL)


def test_the_purpose_of_a_request_is_not_part_of_its_key() -> None:
    assert replace(REQUEST, purpose="y").key(MODEL) == REQUEST.key(MODEL)


def test_the_seed_depends_on_the_sample_and_not_on_the_weights() -> None:
    assert replace(REQUEST, sample=1).seed() != REQUEST.seed()
    assert 0 <= REQUEST.seed() < 2**31


@pytest.fixture
def model(tmp_path: Path) -> Path:
    for name in ("model.safetensors", "config.json", "tokenizer.json", "chat_template.jinja"):
        (tmp_path / name).write_bytes(b"0123456789")
    return tmp_path


@pytest.mark.parametrize(
    ("name", "part"),
    [
        ("model.safetensors", "weights"),
        ("config.json", "weights"),
        ("tokenizer.json", "tokenizer"),
        ("chat_template.jinja", "tokenizer"),
    ],
)
def test_one_byte_of_the_model_changes_its_identity(model: Path, name: str, part: str) -> None:
    before = model_identity(model)
    (model / name).write_bytes(b"0123456780")
    after = model_identity(model)
    assert getattr(after, part) != getattr(before, part)


def test_a_readme_beside_the_weights_does_not_change_the_identity(model: Path) -> None:
    before = model_identity(model)
    (model / "README.md").write_text("more")
    assert model_identity(model) == before


@pytest.mark.parametrize(("make", "problem"), [(False, "does not exist"), (True, "no \\*.safetensors")])
def test_a_folder_without_a_model_is_named(tmp_path: Path, make: bool, problem: str) -> None:
    folder = tmp_path / "model"
    if make:
        folder.mkdir()
    with pytest.raises(InvalidInput, match=problem):
        model_identity(folder)


def test_a_digest_does_not_depend_on_the_order_of_keys() -> None:
    assert digest({"a": 1, "b": [2]}) == digest({"b": (2,), "a": 1})


@pytest.fixture
def large(model: Path) -> Path:
    """A model whose weights are large enough to be read once; the file is sparse."""
    with (model / "model.safetensors").open("wb") as file:
        file.truncate(65 << 20)
    os.utime(model / "model.safetensors", (1_000_000_000, 1_000_000_000))
    return model


def test_large_weights_are_read_once(large: Path) -> None:
    before = model_identity(large)
    weights = large / "model.safetensors"
    times = weights.stat()
    with weights.open("r+b") as file:
        file.write(b"x")
    os.utime(weights, ns=(times.st_atime_ns, times.st_mtime_ns))  # as nobody does by accident: it shows that nothing was read
    assert model_identity(large) == before


def test_one_byte_of_large_weights_changes_their_digest(large: Path) -> None:
    before = model_identity(large)
    with (large / "model.safetensors").open("r+b") as file:
        file.write(b"x")
    after = model_identity(large)
    assert after.weights != before.weights
    assert model_identity(large) == after


def test_a_damaged_note_of_digests_is_not_trusted(large: Path) -> None:
    before = model_identity(large)
    (large / ".ditto-digests.json").write_text("[cut")
    assert model_identity(large) == before
