"""Tokens: masks worked out by hand for three kinds of template, what packing leaves of them, and templates that are refused."""

import re
import subprocess
from dataclasses import replace
from pathlib import Path
from typing import Any

import jinja2
import pytest
from fixtures.sft_world import CHATML, conversations, make_model, spec, write

from ditto_core.errors import BrokenPromise, InvalidInput
from ditto_core.training import masking, sft, tokens
from ditto_core.training import run as runs

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

TWO_TURNS = [
    {"role": "system", "content": "You are Ada."},
    {"role": "user", "content": "Who?"},
    {"role": "assistant", "content": "Ada, sir."},
    {"role": "user", "content": "Why?"},
    {"role": "assistant", "content": "No idea."},
]
# By hand: what stands between ⟦ and ⟧ is trained, all else is not.
CHATML_BY_HAND = (
    "<|im_start|>system\nYou are Ada.<|im_end|>\n<|im_start|>user\nWho?<|im_end|>\n<|im_start|>assistant\n⟦Ada, sir.<|im_end|>⟧\n"
    "<|im_start|>user\nWhy?<|im_end|>\n<|im_start|>assistant\n⟦No idea.<|im_end|>⟧\n"
)
LLAMA_BY_HAND = (
    "<|start_header_id|>system<|end_header_id|>\n\nYou are Ada.<|eot_id|>"
    "<|start_header_id|>user<|end_header_id|>\n\nWho?<|eot_id|>"
    "<|start_header_id|>assistant<|end_header_id|>\n\n⟦Ada, sir.<|eot_id|>⟧"
    "<|start_header_id|>user<|end_header_id|>\n\nWhy?<|eot_id|>"
    "<|start_header_id|>assistant<|end_header_id|>\n\n⟦No idea.<|eot_id|>⟧"
)
LLAMA = ("<|pad|>", "<|start_header_id|>", "<|end_header_id|>", "<|eot_id|>")


def known_to_trl(name: str) -> str:
    import trl

    return (Path(trl.__file__).parent / "chat_templates" / f"{name}.jinja").read_text()


@pytest.mark.parametrize(
    ("kind", "source", "by_hand"),
    [
        pytest.param("ours", "own", CHATML_BY_HAND, id="ours"),
        pytest.param("llama3", "trl", LLAMA_BY_HAND, id="one-that-TRL-knows"),
        pytest.param("without", "ours", CHATML_BY_HAND, id="one-without-markers"),
    ],
)
def test_the_mask_is_the_one_worked_out_by_hand(tmp_path: Path, kind: str, source: str, by_hand: str) -> None:
    if kind == "llama3":
        make_model(tmp_path, LLAMA, known_to_trl("llama3"))
    else:
        make_model(tmp_path, template=runs.TEMPLATE.read_text() if kind == "ours" else "{{ messages }}")
    chat = tokens.load_chat(tmp_path)
    (row,) = tokens.mask_rows("x", [(1, TWO_TURNS)], chat, 400)
    pieces = re.split("[⟦⟧]", by_hand)
    ids = [chat.tokenizer(piece, add_special_tokens=False)["input_ids"] for piece in pieces]
    assert chat.source == source
    assert row.token_ids == [token for piece in ids for token in piece]
    assert row.mask == [number % 2 == 1 for number, piece in enumerate(ids) for _ in piece]
    assert row.turns == (pieces[1], pieces[3])


@pytest.mark.parametrize(
    ("specials", "template", "problem"),
    [
        pytest.param(("<pad>", "<end>"), "{{ messages }}", r"has no token <\|im_start\|>.*none that TRL can train", id="unknown"),
        pytest.param(
            CHATML,
            "{% for m in messages %}{% generation %}{{ m.role + m.content }}<|im_end|>{% endgeneration %}{% endfor %}",
            "cannot be trained.*expected the answer and the token that ends it",
            id="markers-around-the-prompt-too",
        ),
        pytest.param(
            CHATML,
            "{% for m in messages %}{{ m.role }}{% if m.role == 'assistant' %}{% generation %}{{ m.content }}{% endgeneration %}"
            "{% endif %}<|im_end|>{% endfor %}",
            "cannot be trained",
            id="the-end-is-not-trained",
        ),
        pytest.param(
            CHATML,
            "{% generation %}{% endgeneration %}{{ raise_exception('roles must alternate') }}",
            "refused by the model's chat template: roles must alternate",
            id="a-template-that-refuses",
        ),
    ],
)
def test_a_template_that_cannot_be_trained_is_refused(
    tmp_path: Path, specials: tuple[str, ...], template: str, problem: str
) -> None:
    make_model(tmp_path, specials, template)
    with pytest.raises(InvalidInput, match=problem):
        tokens.load_chat(tmp_path)


def test_packing_changes_neither_which_tokens_are_trained_nor_how_many(folder: Path) -> None:
    sums = {}
    for packing in (False, True):
        wanted = spec(folder, "packing", packing=packing, max_length=400)
        trainer, counted = sft._prepare(runs.plan(replace(wanted, validation="")))
        labels = [label for row in trainer.train_dataset for label in row["labels"] if label != -100]
        sums[packing] = (len(labels), sum(labels), counted["trained_tokens"], len(trainer.train_dataset))
    assert sums[True][:3] == sums[False][:3]
    assert sums[True][0] == sums[True][2]
    assert sums[True][3] < sums[False][3] == 24


def test_our_template_renders_chatml_with_and_without_markers() -> None:
    from transformers.utils.chat_template_utils import render_jinja_template

    template = runs.TEMPLATE.read_text()
    assert render_jinja_template([CONVERSATION], chat_template=template)[0] == [RENDERED]
    plain = jinja2.Environment().from_string(re.sub(r"\{%-?\s*(end)?generation\s*-?%\}", "", template))
    assert plain.render(messages=CONVERSATION) == RENDERED
    prompt = plain.render(messages=CONVERSATION[:2], add_generation_prompt=True)
    assert RENDERED.startswith(prompt)
    assert prompt.endswith("<|im_start|>assistant\n")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model and a dataset of 24 rows."""
    folder = tmp_path_factory.mktemp("tokens")
    make_model(folder / "model")
    write(folder / "train.parquet", conversations(24))
    return folder


@pytest.fixture(scope="module")
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
