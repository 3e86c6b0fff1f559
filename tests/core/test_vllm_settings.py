"""What vLLM is told, as far as no engine is needed for it; tests/servers runs the real one."""

from pathlib import Path

import pytest
from fixtures.tiny_model import make_tiny_model

from ditto_core.errors import InvalidInput
from ditto_core.generation.engines import identify
from ditto_core.generation.vllm_engine import gpus
from ditto_core.settings import GenerationSettings


def test_each_copy_gets_gpus_of_its_own() -> None:
    settings = GenerationSettings(engine="vllm", tensor_parallel_size=2, data_parallel_size=2)
    assert [gpus(copy, settings, ["4", "5", "6", "7"]) for copy in range(2)] == [["4", "5"], ["6", "7"]]
    with pytest.raises(InvalidInput, match="need 4, there are 3"):
        gpus(0, settings, ["0", "1", "2"])


def test_an_adapter_that_is_none_is_said_before_anything_is_loaded(tmp_path: Path) -> None:
    model = make_tiny_model(tmp_path / "model")
    (tmp_path / "empty").mkdir()
    with pytest.raises(InvalidInput, match=r"no adapter_config.json and no adapter_model.safetensors"):
        identify(GenerationSettings(engine="vllm", model=str(model), adapter=str(tmp_path / "empty")))


def test_a_server_takes_no_adapter() -> None:
    with pytest.raises(ValueError, match="set model to the adapter's name there"):
        GenerationSettings(engine="chat-api", adapter="somewhere")
