"""Tokens: the seed's tokenizer, and documents as token ids.

In:     documents.
Out:    a byte-level BPE with the chat template, ids, and which of them are trained.
Source: ours.
"""

from functools import lru_cache
from importlib.resources import files

from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
from transformers import PreTrainedTokenizerFast

from ditto_core.embedded.documents import Document
from ditto_core.embedded.writers import Writers
from ditto_core.errors import BrokenPromise

PAD, _START, END = "<|endoftext|>", "<|im_start|>", "<|im_end|>"
_READ = 6000
"""Documents from which the tokenizer is made."""


def train_tokenizer(writers: Writers, vocabulary: int) -> PreTrainedTokenizerFast:
    """A byte-level BPE over documents of the final mix; digits stand alone, so that years are copied well.

    Args:
        vocabulary: Number of tokens.
    """
    byte_level = pre_tokenizers.ByteLevel(add_prefix_space=False)
    core = Tokenizer(models.BPE())
    core.pre_tokenizer = pre_tokenizers.Sequence([pre_tokenizers.Digits(individual_digits=True), byte_level])
    core.decoder = decoders.ByteLevel()
    core.train_from_iterator(
        (_plain(writers.document(1.0)) for _ in range(_READ)),
        trainers.BpeTrainer(
            vocab_size=vocabulary, special_tokens=[PAD, _START, END],
            initial_alphabet=pre_tokenizers.ByteLevel.alphabet(), show_progress=False,
        ),
    )  # fmt: skip
    tokenizer: PreTrainedTokenizerFast = PreTrainedTokenizerFast(  # type: ignore[no-untyped-call]
        tokenizer_object=core, eos_token=END, pad_token=PAD
    )
    tokenizer.chat_template = files("ditto_core.training").joinpath("chatml.jinja").read_text("utf-8")
    return tokenizer


def _plain(document: Document) -> str:
    return document.text or "\n".join(f"{message.role}\n{message.content}" for message in document.messages)


def token_id(tokenizer: PreTrainedTokenizerFast, token: str) -> int:
    """The id of one token."""
    return int(tokenizer.get_vocab()[token])


class Encoder:
    """Documents as token ids and the mask of what is trained."""

    def __init__(self, tokenizer: PreTrainedTokenizerFast) -> None:
        self._core = tokenizer.backend_tokenizer
        self._start, self._end, self._pad = (token_id(tokenizer, token) for token in (_START, END, PAD))
        self._line = self._ids("\n")
        self._heads = {role: [self._start, *self._ids(f"{role}\n")] for role in ("system", "user", "assistant")}
        self.count = lru_cache(maxsize=100_000)(lambda text: len(self._ids(text)))

    def __call__(self, document: Document) -> tuple[list[int], list[bool]]:
        """Token ids, and one entry each: whether the loss falls on it."""
        if document.text:
            ids = [*self._ids(document.text), self._pad]
            return ids, [True] * len(ids)
        ids, trained = [], []
        for message in document.messages:
            head, body = self._heads[message.role], [*self._ids(message.content), self._end]
            ids += [*head, *body, *self._line]
            trained += [False] * len(head) + [message.role == "assistant"] * len(body) + [False] * len(self._line)
        return ids, trained

    def pieces(self) -> list[str]:
        """What single tokens say, where that is letters and nothing else."""
        said = {self._core.decode([place]).strip() for place in range(self._core.get_vocab_size())}
        return sorted(piece for piece in said if piece.isalpha())

    def _ids(self, text: str) -> list[int]:
        return self._core.encode(text, add_special_tokens=False).ids


def check_template(tokenizer: PreTrainedTokenizerFast, encoder: Encoder, document: Document) -> None:
    """Prove that documents are trained as the pipeline will send them.

    Raises:
        BrokenPromise: The chat template tokenises the document in another way.
    """
    chat = [{"role": message.role, "content": message.content} for message in document.messages]
    wanted = tokenizer.apply_chat_template(chat, tokenize=True, return_dict=False)
    if encoder(document)[0] != wanted:
        raise BrokenPromise(f"the encoder and the chat template disagree about {chat}")
