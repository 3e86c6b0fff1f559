"""Settings: layers, bounds, and mistakes explained."""

from pathlib import Path

import pytest

from ditto_core import configuration
from ditto_core.errors import InvalidInput


def test_layers_are_laid_over_each_other(tmp_path: Path) -> None:
    config = tmp_path / "ditto.toml"
    config.write_text("[training]\nmax_steps = 7\nseed = 1\n")
    loaded = configuration.load("demo", config, ["training.seed=2"], data_root="there")
    assert (loaded.training.max_steps, loaded.training.seed, loaded.data_root) == (7, 2, "there")
    assert loaded.generation.model == "embedded"


@pytest.mark.parametrize(
    ("assignment", "problem"),
    [
        pytest.param("trainin.seed=1", "'trainin' is not known. Did you mean 'training'", id="section"),
        pytest.param("training.max_step=1", "Did you mean 'max_steps'", id="key"),
        pytest.param("training.max_steps=0", "greater than or equal to 1 .found 0", id="bound"),
        pytest.param('knowledge.classes=["human"]', "'human' is not a Wikidata item", id="class"),
        pytest.param("dataset.test_share=0.99", "must leave something to train on", id="shares"),
        pytest.param("training", "expected stage.field=value", id="no-equals"),
        pytest.param("generation.engine=gpt", "'vllm', 'transformers', 'chat-api' or 'scripted'", id="engine"),
    ],
)
def test_a_mistake_is_explained(assignment: str, problem: str) -> None:
    with pytest.raises(InvalidInput, match=problem):
        configuration.load("demo", None, [assignment])


def test_without_a_preset_the_settings_are_the_papers() -> None:
    assert configuration.load() == configuration.load("paper")
    assert configuration.load().training.learning_rate == 2e-6


def test_an_unknown_preset_lists_the_known_ones() -> None:
    with pytest.raises(InvalidInput, match="known: demo, lora, paper, tiny"):
        configuration.load("huge")


def test_a_file_that_is_no_toml_is_named(tmp_path: Path) -> None:
    (tmp_path / "x.toml").write_text("a = = b")
    with pytest.raises(InvalidInput, match=r"x.toml"):
        configuration.load("demo", tmp_path / "x.toml")
