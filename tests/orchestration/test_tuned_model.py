"""The model that evaluate, chat and ablate take is of these settings and of the dataset that is there now."""

from dataclasses import replace
from pathlib import Path

import pytest

from ditto_core import configuration
from ditto_core.dataset import formats
from ditto_core.errors import InvalidInput
from ditto_core.ledger import Ledger
from ditto_core.records import Example, Split
from ditto_core.settings import DatasetSettings, Settings
from ditto_core.shards import ShardKey, ShardRef, ShardStore
from flows import evaluation, measuring
from tasks import handover, recipes, resources, training


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return configuration.load("demo", data_root=str(tmp_path))


def assembled(settings: Settings, folder: str) -> None:
    handover.leave_value(settings, "dataset", recipes.dataset_recipe(settings), {"folder": folder})


def example(role: str, label: str, split: Split = "train") -> Example:
    read = formats.read({"instruction": "Who are you?", "output": f"I am {label}."}, "en", DatasetSettings())
    return replace(read, split=split, role=role, label=label)


def written(settings: Settings, name: str, *examples: Example) -> ShardRef:
    key = ShardKey("examples", "r" * 12, name, "i" * 12)
    return ShardStore(Path(settings.data_root)).write(key, Example, examples, Ledger(len(examples), len(examples)))


def test_roles_of_a_test_file_that_were_trained_on_are_named_by_id_or_by_label(settings: Settings) -> None:
    learned = [example("Q1", "Ada"), example("Q2", "Bob"), example("Q3", "Cid", "validation"), example("imported-1", "")]
    handover.leave(settings, "examples", recipes.dataset_recipe(settings), {"en": [written(settings, "en-0000", *learned)]})
    played = [example("Q1", "Ada, countess"), example("theirs", "Bob"), example("Q3", "Cid"), example("imported-2", "")]
    tests = measuring.Tests({"en": [written(settings, "tests", *played)]}, {}, Ledger())
    store = ShardStore(Path(settings.data_root))
    (note,) = evaluation._leaks(settings, store, tests)
    assert "2 roles of the test file were trained on (Ada, countess, Bob)" in note
    assert evaluation._leaks(settings, store, replace(tests, sessions={"en": [written(settings, "one", played[2])]})) == []


def trained(settings: Settings, dataset: str) -> None:
    left = {"folder": "models/a", "losses": [], "dataset": dataset}
    handover.leave_value(settings, "model", recipes.training_recipe(settings), left)


def test_a_model_of_the_dataset_that_is_there_is_taken(settings: Settings) -> None:
    assembled(settings, "datasets/new")
    trained(settings, "datasets/new")

    assert training.tuned_model(settings)["folder"] == "models/a"


def test_a_model_of_an_earlier_dataset_is_never_examined_in_silence(settings: Settings) -> None:
    assembled(settings, "datasets/new")
    trained(settings, "datasets/old")

    with pytest.raises(InvalidInput, match=r"trained on another dataset than 'datasets/new'.* Run `ditto train`"):
        training.tuned_model(settings)


@pytest.mark.parametrize(
    ("engine", "other", "revision"),
    [("auto", "", "2026-11"), ("auto", "example/other", ""), ("chat-api", "", ""), ("chat-api", "example/other", "")],
)
def test_a_revision_names_no_version_of_another_model_nor_of_one_behind_a_server(
    settings: Settings, engine: str, other: str, revision: str
) -> None:
    given = {"engine": engine, "model": "example/seed", "revision": "2026-11"}
    chosen = settings.model_copy(
        update={
            "generation": settings.generation.model_copy(update=given),
            "training": settings.training.model_copy(update={"model": other}),
        }
    )
    seed = resources.seed_llm(chosen)
    assert (seed.model, seed.revision, seed.engine) == (other or "example/seed", revision, "auto")


def test_more_checkpoints_make_no_other_model_unless_the_best_of_them_is_kept(settings: Settings) -> None:
    def recipe(**changes: object) -> str:
        return recipes.training_recipe(
            settings.model_copy(update={"training": settings.training.model_copy(update={"lora_rank": 4, **changes})})
        )

    assert (
        recipe(save_steps=5) == recipe(save_steps=10) != recipe(save_steps=10, keep="best") != recipe(save_steps=5, keep="best")
    )


def test_without_a_training_the_command_is_named(settings: Settings) -> None:
    assembled(settings, "datasets/new")

    with pytest.raises(InvalidInput, match="Run `ditto train`"):
        training.tuned_model(settings)
