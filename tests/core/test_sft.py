"""SFT in its own process on a random tiny Qwen3: the mask that TRL makes, kill and resume, reuse, and clear errors."""

import json
import os
import signal
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import psutil
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from fixtures.sft_world import SETTINGS, conversations, make_model, spec, write

from ditto_core.errors import InvalidInput, SourceUnavailable
from ditto_core.training import checkpoints, devices, launch
from ditto_core.training import run as runs


@pytest.fixture(scope="session")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model and a dataset of 24 and 6 rows."""
    folder = tmp_path_factory.mktemp("sft")
    make_model(folder / "model")
    write(folder / "train.parquet", conversations(24))
    write(folder / "validation.parquet", conversations(6))
    return folder


@pytest.fixture(scope="session")
def undisturbed(folder: Path) -> tuple[runs.TrainingResult, list[launch.Progress]]:
    steps: list[launch.Progress] = []
    return launch.fine_tune(spec(folder, "undisturbed"), steps.append), steps


PLACES = ("model", "train", "validation")


def never(progress: launch.Progress) -> None:
    raise AssertionError(f"nothing should be trained, but step {progress.step} was")


def test_a_run_reports_each_step_and_leaves_a_model_with_its_record(
    folder: Path, undisturbed: tuple[runs.TrainingResult, list[launch.Progress]]
) -> None:
    result, steps = undisturbed
    assert [progress.step for progress in steps] == [1, 2, 3, 4, 5, 6]
    assert {progress.of for progress in steps} == {6}
    assert all(progress.tokens_per_second > 0 for progress in steps)
    assert steps[-1].eta_seconds == 0
    assert [(progress.step, progress.loss) for progress in steps] == list(result.losses)
    assert result.losses[-1][1] < result.losses[0][1]
    assert result.eval_loss is not None
    assert result.eval_loss < result.losses[0][1]
    record = json.loads((folder / "undisturbed/training.json").read_text())
    assert (record["rows"], record["audited_rows"], record["cut_rows"], record["steps"]) == (24, 24, 0, 6)
    assert 0.05 < result.trained_token_share == record["trained_token_share"] < 0.5
    assert sorted(path.name for path in (folder / "undisturbed").iterdir()) == [
        ".lock", "loss.png", "model", "spec.json", "training.json",
    ]  # fmt: skip


def test_the_learning_rate_warms_up_and_falls_to_the_minimum(
    undisturbed: tuple[runs.TrainingResult, list[launch.Progress]],
) -> None:
    rates = [progress.learning_rate for progress in undisturbed[1]]
    assert rates[0] == 0  # of 6 steps one warms up
    assert rates[1] == pytest.approx(1e-3)
    assert rates[1:] == sorted(rates[1:], reverse=True)
    assert 1e-4 < rates[-1] < 2.5e-4


def test_the_model_keeps_the_number_format_of_its_seed_and_stops_at_the_end_token(
    folder: Path, undisturbed: tuple[runs.TrainingResult, list[launch.Progress]]
) -> None:
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer

    tuned = AutoModelForCausalLM.from_pretrained(undisturbed[0].folder)
    seed = AutoModelForCausalLM.from_pretrained(folder / "model")
    assert tuned.dtype == seed.dtype == torch.bfloat16
    assert tuned.state_dict().keys() == seed.state_dict().keys()
    assert tuned.lm_head.weight.data_ptr() == tuned.model.embed_tokens.weight.data_ptr()
    assert not torch.equal(tuned.model.embed_tokens.weight, seed.model.embed_tokens.weight)
    tokenizer = AutoTokenizer.from_pretrained(undisturbed[0].folder)
    assert tokenizer.chat_template == runs.TEMPLATE.read_text()
    assert tokenizer.eos_token_id == tuned.config.eos_token_id == 258


def test_the_same_run_is_not_trained_again(folder: Path, undisturbed: tuple[runs.TrainingResult, list[launch.Progress]]) -> None:
    assert launch.fine_tune(spec(folder, "undisturbed"), never) == undisturbed[0]
    assert launch.fine_tune(spec(folder, "undisturbed", save_steps=3, audit_rows=2), never) == undisturbed[0]


@pytest.mark.parametrize("change", [{"max_steps": 7}, {"learning_rate": 2e-3}, {"seed": 1}, {"max_length": 128}])
def test_a_changed_setting_is_another_run(
    folder: Path, undisturbed: tuple[runs.TrainingResult, list[launch.Progress]], change: dict[str, Any]
) -> None:
    assert runs.finished(runs.plan(spec(folder, "undisturbed", **change))) is None


def test_an_altered_model_is_not_trusted(
    folder: Path, tmp_path: Path, undisturbed: tuple[runs.TrainingResult, list[launch.Progress]]
) -> None:
    run = runs.plan(replace(spec(folder, "undisturbed"), output=str(tmp_path)))
    subprocess.run(["cp", "-r", f"{folder}/undisturbed/.", tmp_path], check=True)
    assert runs.finished(run) is not None
    with (tmp_path / "model/model.safetensors").open("r+b") as file:
        file.seek(-1, os.SEEK_END)
        file.write(b"\x7f")
    assert runs.finished(run) is None


def test_kill_9_loses_nothing_and_resumes_to_the_same_weights(
    folder: Path, undisturbed: tuple[runs.TrainingResult, list[launch.Progress]]
) -> None:
    wanted = spec(folder, "killed")
    caller = (
        "import sys; from ditto_core.training import launch, run\n"
        "wanted = run.loads(sys.stdin.read())\n"
        "launch.fine_tune(wanted.spec, lambda progress: print(progress.step, flush=True))"
    )
    with subprocess.Popen([sys.executable, "-c", caller], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        process.stdin.write(runs.dumps(runs.plan(wanted)))
        process.stdin.close()
        assert [process.stdout.readline().strip() for _ in range(5)] == ["1", "2", "3", "4", "5"]
        process.send_signal(signal.SIGKILL)
    kept = runs.plan(wanted).checkpoints
    assert checkpoints.last_complete(kept, 6).whole == str(kept / "checkpoint-4")
    (kept / "checkpoint-6").mkdir(exist_ok=True)  # cut short by the kill
    (kept / "checkpoint-6/trainer_state.json").write_text('{"global_step": 6, "log_hist')

    seen: list[int] = []
    result = launch.fine_tune(wanted, lambda progress: seen.append(progress.step))
    assert seen == [5, 6]  # and not none, as if the killed caller's training had lived on and finished
    assert result.identity == undisturbed[0].identity
    assert result.losses == undisturbed[0].losses
    record, reference = (json.loads((folder / name / "training.json").read_text()) for name in ("killed", "undisturbed"))
    assert record["tokens"] == reference["tokens"]


def test_an_interrupted_call_leaves_no_process_and_no_model(folder: Path) -> None:
    def interrupt(progress: launch.Progress) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        launch.fine_tune(spec(folder, "interrupted", packing=True), interrupt)
    assert subprocess.run(["pgrep", "-f", str(folder / "interrupted")], capture_output=True, check=False).stdout == b""
    assert not (folder / "interrupted/model").exists()


def test_a_worker_that_hangs_keeps_no_interrupted_call(folder: Path) -> None:
    def interrupt(progress: launch.Progress) -> None:
        for process in psutil.process_iter(["cmdline"]):
            command = process.info["cmdline"] or []
            if str(folder / "hanging/spec.json") in command and "accelerate.commands.launch" not in command:
                process.suspend()
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        launch.fine_tune(spec(folder, "hanging", accelerate=two_processes(folder)), interrupt)
    assert subprocess.run(["pgrep", "-f", str(folder / "hanging/spec.json")], capture_output=True, check=False).stdout == b""


@pytest.mark.parametrize(
    ("change", "problem"),
    [
        pytest.param({"model": "nowhere"}, "model folder 'nowhere' does not exist", id="no model"),
        pytest.param({"train": "nowhere.parquet"}, "cannot read 'nowhere.parquet'", id="no dataset"),
        pytest.param({"train": "empty"}, "holds no conversation", id="empty dataset"),
        pytest.param({"train": "foreign"}, "no column 'messages'; its columns are text", id="another table"),
        pytest.param({"train": "text"}, "cannot read .*text", id="not Parquet"),
        pytest.param({"keep": "best", "validation": ""}, "has none. Raise dataset.validation_share", id="no held-out roles"),
        pytest.param({"min_learning_rate": 1.0}, "min_learning_rate is 1, above", id="rates the wrong way round"),
        pytest.param({"device_batch": 3}, "global_batch=4 is not a multiple .*device_batch=3", id="batch"),
        pytest.param({"device_batch": 8}, "such as training.global_batch=8", id="batch too small"),
    ],
)
def test_a_users_mistake_is_told_before_anything_is_loaded(
    folder: Path, tmp_path: Path, change: dict[str, Any], problem: str
) -> None:
    files = {name: str(tmp_path / name) for name in ("empty", "foreign", "text")}
    write(Path(files["empty"]), [])
    pq.write_table(pa.table({"text": ["a"]}), files["foreign"])
    Path(files["text"]).write_text("messages")
    wanted = spec(folder, "mistake", **{k: v for k, v in change.items() if k not in PLACES})
    places = {name: files.get(value, value) for name, value in change.items() if name in PLACES}
    with pytest.raises(InvalidInput, match=problem):
        launch.fine_tune(replace(wanted, **places), never)


def test_the_process_alone_answers_a_mistake_with_a_line_and_code_2(tmp_path: Path) -> None:
    (tmp_path / "spec.json").write_text('{"spec": {}}')
    for argument, problem in (("spec.json", "not the specification"), ("missing.json", "cannot read or write")):
        command = [sys.executable, "-m", "ditto_core.training.sft", str(tmp_path / argument)]
        process = subprocess.run(command, capture_output=True, text=True, check=False)
        answer = json.loads(process.stdout)
        assert (process.returncode, answer["kind"], process.stderr) == (2, "InvalidInput", "")
        assert problem in answer["error"]


def test_a_process_that_the_system_killed_is_explained() -> None:
    error = launch._failure(1, {}, ["died with <Signals.SIGKILL: 9>.\n"])
    assert isinstance(error, SourceUnavailable)
    assert "ran out of memory" in str(error)
    assert "\nBoom" in str(launch._failure(1, {}, ["Boom\n"]))


def test_a_run_survives_its_file(folder: Path) -> None:
    run = runs.plan(spec(folder, "file"))
    assert runs.loads(runs.dumps(run)) == run


def test_the_losses_are_those_of_a_plain_trl_script(
    folder: Path, undisturbed: tuple[runs.TrainingResult, list[launch.Progress]]
) -> None:
    script = Path(__file__).parents[1] / "fixtures/plain_trl.py"
    command = [sys.executable, str(script), str(folder / "model"), str(folder / "train.parquet"), str(runs.TEMPLATE)]
    plain = json.loads(subprocess.run(command, capture_output=True, text=True, check=True, cwd=folder).stdout.splitlines()[-1])
    assert [round(loss, 4) for loss in plain["losses"]] == [round(loss, 4) for _, loss in undisturbed[0].losses]


@pytest.fixture(scope="module")
def adapted(folder: Path) -> tuple[runs.TrainingResult, list[str]]:
    """Three steps of an adapter, with a quarter of the rows mixed in, of which the best by held-out loss are kept."""
    other = write(folder / "general.parquet", conversations(20, turns=1))
    changes = {"lora_rank": 4, "max_steps": 3, "save_steps": 1, "keep": "best", "mix_in": other, "mix_share": 0.25}
    notes: list[str] = []
    return launch.fine_tune(spec(folder, "adapted", **changes), lambda _: None, notes.append), notes


def test_the_adapter_on_the_seed_says_what_the_merged_weights_say(
    folder: Path, adapted: tuple[runs.TrainingResult, list[str]]
) -> None:
    import torch
    from peft import PeftModel
    from transformers import AutoModelForCausalLM

    ids = torch.tensor([[3, 50, 100, 7, 9]])
    with torch.no_grad():
        seed = AutoModelForCausalLM.from_pretrained(folder / "model", dtype=torch.float32)
        before = seed(ids).logits
        with_adapter = PeftModel.from_pretrained(seed, folder / "adapted/adapter")(ids).logits
        merged = AutoModelForCausalLM.from_pretrained(adapted[0].folder, dtype=torch.float32)(ids).logits
    assert not torch.allclose(before, merged, atol=1e-3)
    assert torch.allclose(with_adapter, merged, atol=0.02)  # the merged weights are rounded to the seed's bfloat16


def test_the_best_step_is_kept_and_the_log_says_what_was_trained(
    folder: Path, adapted: tuple[runs.TrainingResult, list[str]]
) -> None:
    record = json.loads((folder / "adapted/training.json").read_text())
    by_step = dict(map(tuple, record["eval_losses"]))
    assert record["eval_loss"] == pytest.approx(min(by_step.values()), abs=1e-6)
    assert by_step[record["kept_step"]] == min(by_step.values())
    assert record["rows"] == 24 + 8
    assert adapted[1][0] == "4 conversations a step: 2 at once on 1 device(s), 2 passes; 0.4 epochs in all"
    assert "32 conversations, 0 of them cut" in adapted[1][1]
    card = (folder / "adapted/model/README.md").read_text()
    assert f"kept: step {record['kept_step']}" in card
    assert adapted[0].identity.weights in card
    assert (folder / "adapted/loss.png").read_bytes().startswith(b"\x89PNG")


def two_processes(folder: Path) -> str:
    """An accelerate configuration."""
    file = folder / "two.yaml"
    # MULTI_CPU would be started by mpirun; "several GPUs" without GPUs starts the same processes by torchrun.
    file.write_text("distributed_type: MULTI_GPU\nuse_cpu: true\nnum_machines: 1\nnum_processes: 2\n")
    return str(file)


def test_two_processes_by_a_configuration_file_train_the_same_batches(
    folder: Path, undisturbed: tuple[runs.TrainingResult, list[launch.Progress]]
) -> None:
    notes: list[str] = []
    result = launch.fine_tune(spec(folder, "two", accelerate=two_processes(folder)), lambda _: None, notes.append)
    assert notes[0] == "4 conversations a step: 2 at once on 2 device(s), 1 passes; 1.0 epochs in all"
    assert [loss for _, loss in result.losses] == pytest.approx([loss for _, loss in undisturbed[0].losses], abs=2e-3)


def test_a_full_disk_is_told_and_leaves_no_model(folder: Path, tmp_path: Path) -> None:
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=100k", "tmpfs", str(tmp_path)], capture_output=True, check=False
    )
    assert mounted.returncode == 0, "this test mounts a small tmpfs and runs as root, as .ci/run does"
    try:
        with pytest.raises(InvalidInput, match=r"the disk of .* is full|No space left"):
            launch.fine_tune(replace(spec(folder, "full"), output=str(tmp_path / "run")), lambda _: None)
        assert not (tmp_path / "run/model").exists()
        assert not (tmp_path / "run/training.json").exists()
    finally:
        subprocess.run(["umount", "-l", str(tmp_path)], check=True)


@pytest.mark.parametrize(
    ("name", "problem"),
    [
        pytest.param(
            "fsdp9", "'fsdp9' cannot be read.*or one of fsdp1, fsdp2, multi_gpu, single_gpu, zero1, zero2, zero3", id="name"
        ),
        pytest.param("missing.yaml", "'missing.yaml' cannot be read", id="file"),
    ],
)
def test_an_accelerate_configuration_that_is_none_lists_those_that_are(folder: Path, name: str, problem: str) -> None:
    with pytest.raises(InvalidInput, match=problem):
        launch.fine_tune(spec(folder, "mistake", accelerate=name), never)


@pytest.mark.parametrize("name", ["multi_gpu", "fsdp2", "zero3"])
def test_trl_s_configurations_run_on_the_devices_of_this_machine(name: str) -> None:
    chosen = devices.choose(SETTINGS.model_copy(update={"accelerate": name}))
    assert chosen.processes == max(1, devices.count_gpus())
    assert Path(chosen.options[1]).name == f"{name}.yaml"
    assert Path(chosen.options[1]).exists()
