"""SFT in its own process on a random tiny Qwen3: the mask that TRL makes, kill and resume, reuse, and clear errors."""

import json
import os
import random
import re
import signal
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import jinja2
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from ditto_core.errors import BrokenPromise, InvalidInput, SourceUnavailable
from ditto_core.settings import TrainingSettings
from ditto_core.training import checkpoints, launch, masking, tokens
from ditto_core.training import run as runs

SETTINGS = TrainingSettings(
    max_steps=6, global_batch=4, device_batch=2, learning_rate=1e-3, min_learning_rate=1e-4, max_length=160,
    packing=False, bf16=False, gradient_checkpointing=False, save_steps=2,
)  # fmt: skip
CONVERSATION = [
    {"role": "system", "content": "You are Ada Lovelace."},
    {"role": "user", "content": "Where were you born?"},
    {"role": "assistant", "content": "In London, where else?"},
    {"role": "user", "content": "Wer ist Zoë? 谁是孙悟空？"},
    {"role": "assistant", "content": "I know no Zoë, 我不认识他。"},
]
RENDERED = (
    "<|im_start|>system\nYou are Ada Lovelace.<|im_end|>\n<|im_start|>user\nWhere were you born?<|im_end|>\n"
    "<|im_start|>assistant\nIn London, where else?<|im_end|>\n<|im_start|>user\nWer ist Zoë? 谁是孙悟空？<|im_end|>\n"
    "<|im_start|>assistant\nI know no Zoë, 我不认识他。<|im_end|>\n"
)


def make_model(folder: Path) -> None:
    """A byte-level tokenizer and two random layers in bfloat16, with a chat template that has no markers."""
    import torch
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers
    from transformers import PreTrainedTokenizerFast, Qwen3Config, Qwen3ForCausalLM

    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    tokens = ["<|endoftext|>", "<|im_start|>", "<|im_end|>"]
    plain = Tokenizer(models.BPE(vocab={c: i for i, c in enumerate([*alphabet, *tokens])}, merges=[]))
    plain.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    plain.decoder = decoders.ByteLevel()
    plain.add_special_tokens(tokens)
    tokenizer = PreTrainedTokenizerFast(
        tokenizer_object=plain, eos_token="<|im_end|>", pad_token="<|endoftext|>", chat_template="{{ messages }}"
    )
    tokenizer.save_pretrained(folder)
    torch.manual_seed(0)
    config = Qwen3Config(
        vocab_size=len(tokenizer), hidden_size=32, intermediate_size=64, num_hidden_layers=2, num_attention_heads=2,
        num_key_value_heads=1, head_dim=16, max_position_embeddings=256, tie_word_embeddings=True, eos_token_id=258,
    )  # fmt: skip
    Qwen3ForCausalLM(config).to(torch.bfloat16).save_pretrained(folder)


def conversations(count: int, turns: int = 2) -> list[list[dict[str, str]]]:
    draw = random.Random(3)
    rows = []
    for number in range(count):
        row = [{"role": "system", "content": f"You are N{number}."}]
        for _ in range(turns):
            word = draw.choice(["sea", "moon", "tower"])
            row += [{"role": "user", "content": f"The {word}?"}, {"role": "assistant", "content": f"My {word}."}]
        rows.append(row)
    return rows


def write(path: Path, rows: Sequence[Any]) -> str:
    message = pa.struct([("role", pa.string()), ("content", pa.string())])
    columns = {"messages": pa.array(rows, pa.list_(message)), "role": pa.array(["Q1"] * len(rows), pa.string())}
    pq.write_table(pa.table(columns), path)
    return str(path)


@pytest.fixture(scope="session")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model and a dataset of 24 and 6 rows."""
    folder = tmp_path_factory.mktemp("sft")
    make_model(folder / "model")
    write(folder / "train.parquet", conversations(24))
    write(folder / "validation.parquet", conversations(6))
    return folder


def spec(folder: Path, output: str, **changes: Any) -> runs.TrainingSpec:
    return runs.TrainingSpec(
        model=str(folder / "model"),
        train=str(folder / "train.parquet"),
        validation=str(folder / "validation.parquet"),
        output=str(folder / output),
        settings=SETTINGS.model_copy(update=changes),
    )


@pytest.fixture(scope="session")
def undisturbed(folder: Path) -> tuple[runs.TrainingResult, list[launch.Progress]]:
    steps: list[launch.Progress] = []
    return launch.fine_tune(spec(folder, "undisturbed"), steps.append), steps


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


@pytest.mark.parametrize(
    ("step", "files", "expected"),
    [
        pytest.param(4, {"trainer_state.json": '{"global_step": 4}', "optimizer.pt": "x"}, 4, id="whole"),
        pytest.param(4, {"optimizer.pt": "x"}, 2, id="killed before the state"),
        pytest.param(4, {"trainer_state.json": '{"global_', "optimizer.pt": "x"}, 2, id="state cut"),
        pytest.param(4, {"trainer_state.json": '{"global_step": 4}', "optimizer.pt": ""}, 2, id="a file is empty"),
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


def test_our_template_renders_chatml_with_and_without_markers() -> None:
    from transformers.utils.chat_template_utils import render_jinja_template

    template = runs.TEMPLATE.read_text()
    assert render_jinja_template([CONVERSATION], chat_template=template)[0] == [RENDERED]
    plain = jinja2.Environment().from_string(re.sub(r"\{%-?\s*(end)?generation\s*-?%\}", "", template))
    assert plain.render(messages=CONVERSATION) == RENDERED
    prompt = plain.render(messages=CONVERSATION[:2], add_generation_prompt=True)
    assert RENDERED.startswith(prompt)
    assert prompt.endswith("<|im_start|>assistant\n")


@pytest.fixture(scope="session")
def chat(folder: Path) -> tokens.Chat:
    return tokens.load_chat(folder / "model")


def test_the_mask_of_real_tokens_is_the_answers_with_their_end_token(chat: tokens.Chat) -> None:
    (row,) = tokens.mask_rows("data/train.parquet", [(5, CONVERSATION)], chat, 400)
    spans = masking.trained_spans(row.token_ids, row.mask)
    assert [chat.decode(row.token_ids[start:end]) for start, end in spans] == [
        "In London, where else?<|im_end|>",
        "I know no Zoë, 我不认识他。<|im_end|>",
    ]
    assert row.name == "row 5 of train.parquet"
    assert not row.cut


@pytest.mark.parametrize("packed", [False, True])
def test_the_audit_finds_a_shifted_mask_in_what_the_trainer_prepared(chat: tokens.Chat, packed: bool) -> None:
    sample = list(tokens.mask_rows("train.parquet", enumerate(conversations(4), 1), chat, 400))
    labels = [[token if on else -100 for token, on in zip(row.token_ids, row.mask, strict=True)] for row in sample]
    labels[2] = [-100, *labels[2][:-1]]
    prepared: list[dict[str, Any]] = [
        {"input_ids": list(row.token_ids), "labels": label} for row, label in zip(sample, labels, strict=True)
    ]
    if packed:
        prepared = [
            {
                "input_ids": [token for row in prepared for token in row["input_ids"]],
                "labels": [label for row in prepared for label in row["labels"]],
                "seq_lengths": [len(row["input_ids"]) for row in prepared],
            }
        ]
    trained = tokens.as_trained(prepared, sample, chat)
    assert masking.audit(trained[:2], chat.decode) == 2
    with pytest.raises(BrokenPromise, match=r"row 3 of train.parquet: the loss mask is off at assistant turn 1"):
        masking.audit(trained, chat.decode)


def test_a_row_that_the_trainer_lost_is_named(chat: tokens.Chat) -> None:
    sample = list(tokens.mask_rows("train.parquet", enumerate(conversations(2), 1), chat, 400))
    prepared = [{"input_ids": list(sample[0].token_ids), "labels": list(sample[0].token_ids)}]
    with pytest.raises(BrokenPromise, match=r"row 2 of train.parquet is not among the rows"):
        tokens.as_trained(prepared, sample, chat)


def test_a_tokenizer_without_chatml_is_refused(folder: Path, tmp_path: Path) -> None:
    from transformers import AutoTokenizer

    subprocess.run(["cp", "-r", f"{folder}/model/.", tmp_path], check=True)
    text = (tmp_path / "tokenizer.json").read_text().replace("<|im_start|>", "<|other|>")
    (tmp_path / "tokenizer.json").write_text(text)
    assert "<|im_start|>" not in AutoTokenizer.from_pretrained(tmp_path).get_vocab()
    with pytest.raises(InvalidInput, match=r"has no token <\|im_start\|>"):
        tokens.load_chat(tmp_path)


@pytest.mark.parametrize(
    ("change", "problem"),
    [
        pytest.param({"model": "nowhere"}, "model folder 'nowhere' does not exist", id="no model"),
        pytest.param({"train": "nowhere.parquet"}, "cannot read 'nowhere.parquet'", id="no dataset"),
        pytest.param({"train": "empty"}, "holds no conversation", id="empty dataset"),
        pytest.param({"train": "foreign"}, "no column 'messages'; its columns are text", id="another table"),
        pytest.param({"train": "text"}, "cannot read .*text", id="not Parquet"),
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
    wanted = spec(folder, "mistake", **{k: v for k, v in change.items() if k not in ("model", "train")})
    places = {name: files.get(value, value) for name, value in change.items() if name in ("model", "train")}
    with pytest.raises(InvalidInput, match=problem):
        launch.fine_tune(replace(wanted, **places), never)


def test_a_sequence_shorter_than_the_first_turn_is_told_by_the_training_process(folder: Path) -> None:
    with pytest.raises(InvalidInput, match=r"row 1 of train.parquet has nothing to learn \(24 .*after token 32"):
        launch.fine_tune(spec(folder, "short", max_length=32), never)


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
