"""The model that evaluate, chat and ablate take is of these settings and of the dataset that is there now."""

from pathlib import Path

import pytest

from ditto_core import configuration
from ditto_core.errors import InvalidInput
from ditto_core.settings import Settings
from tasks import handover, recipes, training


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return configuration.load("demo", data_root=str(tmp_path))


def assembled(settings: Settings, folder: str) -> None:
    handover.leave_value(settings, "dataset", recipes.dataset_recipe(settings), {"folder": folder})


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


def test_without_a_training_the_command_is_named(settings: Settings) -> None:
    assembled(settings, "datasets/new")

    with pytest.raises(InvalidInput, match="Run `ditto train`"):
        training.tuned_model(settings)
