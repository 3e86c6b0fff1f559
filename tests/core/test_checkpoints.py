"""Checkpoints: the newest whole one is found, however the newer ones are damaged."""

from pathlib import Path

import pytest

from ditto_core.training import checkpoints


@pytest.mark.parametrize(
    ("step", "files", "expected"),
    [
        pytest.param(4, {"trainer_state.json": '{"global_step": 4}'}, 4, id="whole"),
        pytest.param(4, {"config.json": "x"}, 2, id="killed before the state"),
        pytest.param(4, {"trainer_state.json": '{"global_', "config.json": "x"}, 2, id="state cut"),
        pytest.param(4, {"trainer_state.json": '{"global_step": 4}', "config.json": ""}, 2, id="a file is empty"),
        pytest.param(12, {"trainer_state.json": '{"global_step": 12}'}, 2, id="the last step has nothing to go on with"),
        pytest.param(10, {"trainer_state.json": '{"global_step": 10}'}, 10, id="ten is after two"),
    ],
)
def test_the_last_complete_checkpoint_is_found(tmp_path: Path, step: int, files: dict[str, str], expected: int) -> None:
    for number, content in ((2, {"trainer_state.json": '{"global_step": 2}'}), (step, files)):
        checkpoint = tmp_path / f"checkpoint-{number}"
        checkpoint.mkdir()
        for name, text in content.items():
            (checkpoint / name).write_text(text)
    assert checkpoints.last_complete(tmp_path, 12).whole == str(tmp_path / f"checkpoint-{expected}")


def test_without_checkpoints_training_starts_anew(tmp_path: Path) -> None:
    assert checkpoints.last_complete(tmp_path / "missing", 12) == checkpoints.Found(None)


@pytest.mark.parametrize("damaged", ["model.safetensors", "optimizer.pt"])
def test_a_checkpoint_whose_tensors_were_cut_is_passed_over_and_named(tmp_path: Path, damaged: str) -> None:
    import torch
    from safetensors.torch import save_file

    for step in (2, 4):
        checkpoint = tmp_path / f"checkpoint-{step}"
        checkpoint.mkdir()
        save_file({"weight": torch.zeros(100)}, checkpoint / "model.safetensors")
        torch.save({"moment": torch.zeros(100)}, checkpoint / "optimizer.pt")
        (checkpoint / "trainer_state.json").write_text(f'{{"global_step": {step}}}')
    assert checkpoints.last_complete(tmp_path, 12) == checkpoints.Found(str(tmp_path / "checkpoint-4"))
    file = tmp_path / "checkpoint-4" / damaged
    file.write_bytes(file.read_bytes()[:-20])
    assert checkpoints.last_complete(tmp_path, 12) == checkpoints.Found(str(tmp_path / "checkpoint-2"), ("checkpoint-4",))
