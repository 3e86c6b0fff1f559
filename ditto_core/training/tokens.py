r"""Tokens: conversations as the trainer will see them, and which of their tokens are trained.

In:     a model folder's tokenizer and chat template; conversations.
Out:    the tokenizer with a template that marks what the assistant says; `MaskedRow`s.
Source: paper appendix C: prompts and ChatML role tokens are masked.

Example, our template; what stands between the marks is trained:

    <|im_start|>user\nWho?<|im_end|>\n<|im_start|>assistant\n[Ada, sir.<|im_end|>]\n
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from ditto_core.errors import BrokenPromise, InvalidInput
from ditto_core.training.masking import MaskedRow, trained_spans
from ditto_core.training.run import TEMPLATE

END = "<|im_end|>"
"""What ends a turn in our template."""
_CHATML = ("<|im_start|>", END)
_NO_LOSS = -100
_PROBE = "a probe"


@dataclass(frozen=True, slots=True)
class Chat:
    """A tokenizer with a template that can be trained.

    Attributes:
        tokenizer: With the template set, for training and for the tuned model's folder alike.
        source: "own" (the model's, which has markers), "ours" (ChatML) or "trl" (TRL's trainable form of the model's).
        end: What the template trains behind an answer: the token that ends the turn, and perhaps a line break.
        trims: Whether the template takes spaces off an answer's ends.
    """

    tokenizer: Any
    source: str
    end: str
    trims: bool

    def turn(self, answer: str) -> str:
        """An answer as it is trained."""
        return (answer.strip() if self.trims else answer) + self.end

    def decode(self, ids: Sequence[int]) -> str:
        """Text of tokens, special ones kept."""
        return str(self.tokenizer.decode(list(ids), skip_special_tokens=False, clean_up_tokenization_spaces=False))


def load_chat(folder: Path) -> Chat:
    """The model's tokenizer, with a chat template that marks what the assistant says.

    The model's own template stays if it has such markers; else ours takes its place, if the tokenizer is made for ChatML;
    else the form that TRL knows of the model's. The engines ask the tuned model in the words that it was trained with.

    Raises:
        InvalidInput: It cannot be loaded, there is no such template, or the template trains other words than the answers.
    """
    from transformers import AutoTokenizer
    from trl.chat_template_utils import get_training_chat_template, has_generation_markers

    try:
        tokenizer: Any = AutoTokenizer.from_pretrained(folder, local_files_only=True)
    except (OSError, ValueError) as error:
        raise InvalidInput(f"cannot load a tokenizer from {str(folder)!r}: {error}") from error
    if tokenizer.chat_template and has_generation_markers(tokenizer.chat_template):
        return _probed(tokenizer, "own", folder)
    missing = [token for token in _CHATML if token not in tokenizer.get_vocab()]
    if not missing:
        tokenizer.chat_template = TEMPLATE.read_text("utf-8")
        tokenizer.eos_token = END
        return _probed(tokenizer, "ours", folder)
    try:
        tokenizer.chat_template = get_training_chat_template(tokenizer)
    except (ValueError, TypeError) as error:
        raise InvalidInput(
            f"the tokenizer in {str(folder)!r} has no token {' and no token '.join(missing)}, and its chat template "
            f"has no {{% generation %}} markers and is none that TRL can train. Choose a ChatML model, such as one of the "
            f"Qwen family, or add the markers to its template."
        ) from error
    return _probed(tokenizer, "trl", folder)


def mask_rows(
    name: str, conversations: Iterable[tuple[int, Sequence[Mapping[str, str]]]], chat: Chat, max_length: int
) -> Iterator[MaskedRow]:
    """Tokenise conversations and mark what the assistant says, cut as the trainer cuts them.

    Args:
        name: Of the file, for messages.
        conversations: (row number, messages of {role, content}).
        chat: From `load_chat`.
        max_length: Tokens that are kept.

    Raises:
        InvalidInput: The template refuses a conversation.
    """
    for number, messages in conversations:
        row = f"row {number} of {Path(name).name}"
        ids, mask = _masked(chat.tokenizer, messages, row)
        yield MaskedRow(
            name=row,
            token_ids=ids[:max_length],
            mask=mask[:max_length],
            turns=tuple(chat.turn(turn["content"]) for turn in messages if turn["role"] == "assistant"),
            cut=len(ids) > max_length,
        )


def as_trained(prepared: Iterable[Mapping[str, Any]], sample: Sequence[MaskedRow], chat: Chat) -> list[MaskedRow]:
    """The sampled rows with the mask that the trainer made of them, found by their tokens, packed or not.

    Args:
        prepared: The trainer's rows: `input_ids`, `labels` with -100 where the loss does not fall, and when packed
            the `seq_lengths` of the conversations in a row.
        sample: Rows from `mask_rows`.
        chat: Its round trip (such as Unicode NFC) is applied to the expected turns.

    Raises:
        BrokenPromise: A sampled row is not among the trainer's.
    """
    wanted = {tuple(row.token_ids) for row in sample}
    masks: dict[tuple[int, ...], list[bool]] = {}
    for row in prepared:
        start = 0
        for length in row.get("seq_lengths") or [len(row["input_ids"])]:
            ids = tuple(row["input_ids"][start : start + length])
            if ids in wanted:
                masks[ids] = [label != _NO_LOSS for label in row["labels"][start : start + length]]
            start += length
    lost = [row.name for row in sample if tuple(row.token_ids) not in masks]
    if lost:
        raise BrokenPromise(
            f"{lost[0]} is not among the rows that the trainer prepared ({len(lost)} of {len(sample)} sampled ones are "
            f"not). It tokenises or cuts conversations in another way than this version of Ditto expects; nothing was "
            f"trained. Install the versions in constraints.txt."
        )
    return [
        replace(
            row,
            mask=masks[tuple(row.token_ids)],
            turns=tuple(chat.decode(chat.tokenizer(turn, add_special_tokens=False)["input_ids"]) for turn in row.turns),
        )
        for row in sample
    ]


def _probed(tokenizer: Any, source: str, folder: Path) -> Chat:
    """Learn from a short conversation what the template trains, and refuse one that trains more than answers and their end."""
    spoken = f" {_PROBE} "
    messages = [{"role": "user", "content": "?"}, {"role": "assistant", "content": spoken}]
    ids, mask = _masked(tokenizer, messages, f"a conversation, by the chat template in {str(folder)!r},")
    chat = Chat(tokenizer, source, "", False)
    spans = [chat.decode(ids[start:end]) for start, end in trained_spans(ids, mask)]
    trained = spans[0] if len(spans) == 1 else ""
    trims = not trained.startswith(spoken)
    end = trained.removeprefix(_PROBE if trims else spoken)
    if trained == end or not any(token in end for token in tokenizer.get_added_vocab()):
        raise InvalidInput(
            f"the chat template in {str(folder)!r} cannot be trained: of the answer {spoken!r} it marks {spans} as trained; "
            f"expected the answer and the token that ends it. Move the {{% generation %}} markers around these two."
        )
    return replace(chat, end=end, trims=trims)


def _masked(tokenizer: Any, messages: Sequence[Mapping[str, str]], row: str) -> tuple[list[int], list[bool]]:
    from jinja2 import TemplateError

    try:
        encoded = tokenizer.apply_chat_template(messages, tokenize=True, return_dict=True, return_assistant_tokens_mask=True)
    except TemplateError as error:
        raise InvalidInput(f"{row} is refused by the model's chat template: {error}") from error
    return list(encoded["input_ids"]), [bool(entry) for entry in encoded["assistant_masks"]]
