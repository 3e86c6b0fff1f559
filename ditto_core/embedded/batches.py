"""Batches: documents as tensors, endlessly, each stream the same for the same seed.

In:     a recipe's random seed, languages and number of tokens; a tokenizer.
Out:    batches of documents of similar length.
Source: ours.

A stream is a function of its place alone: how far the training is, it reads off the tokens that it has given itself. So batches
can be made ahead, in other processes, and are the same ones.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from random import Random
from typing import NamedTuple

import torch
from torch.utils.data import IterableDataset, get_worker_info
from transformers import PreTrainedTokenizerFast

from ditto_core.embedded.documents import COPYING, Document
from ditto_core.embedded.mix import KINDS, Mix
from ditto_core.embedded.tokens import PAD, Encoder, check_template, token_id
from ditto_core.embedded.writers import Writers

_POOLED = 10
"""Documents are sorted by length in pools of about so many batches."""
_LENGTH = 430  # tokens of a document, about
_FULL = 0.6  # share of the run by which documents have their full length


class Batch(NamedTuple):
    """Documents of similar length, padded on the right.

    Attributes:
        ids: (documents, width) token ids.
        places: (trained,) where a trained token is predicted, counted through `ids` without its last column.
        targets: (trained,) ids of these tokens.
        kinds: (trained,) index in `KINDS` of the document that a token is in.
    """

    ids: torch.Tensor
    places: torch.Tensor
    targets: torch.Tensor
    kinds: torch.Tensor


@dataclass(frozen=True, slots=True)
class Plan:
    """What all streams of a training have in common.

    Attributes:
        seed: Random seed.
        languages: Code of a language -> share of the documents.
        mix: Of the documents.
        tokens: Of the whole training, padding included.
        copying_tokens: Of these, the first ones: nothing but lists to copy. 0 leaves the growing of documents out, too.
        batch_tokens: Of one batch, padding included.
    """

    seed: int
    languages: Mapping[str, float]
    mix: Mix
    tokens: float
    copying_tokens: float
    batch_tokens: int

    def progress(self, share: float) -> float:
        """Of the documents, at a share of the run: nothing but copying at first, then growing with the share."""
        copied = self.copying_tokens / self.tokens
        if not copied:
            return 1.0
        if share < copied:
            return 0.0
        return COPYING + (1 - COPYING) * min(1.0, (share - copied) / max(_FULL - copied, 1e-9))


class Stream(IterableDataset[Batch]):
    """The batches of one trainer, or of one of its workers.

    Args:
        rank: Which of the trainers.
        trainers: How many there are.
    """

    def __init__(self, plan: Plan, tokenizer: PreTrainedTokenizerFast, rank: int, trainers: int) -> None:
        self._plan, self._tokenizer, self._rank, self._trainers = plan, tokenizer, rank, trainers

    def __iter__(self) -> Iterator[Batch]:
        """Endless batches; a pool of documents is sorted by length, cut, shuffled.

        Raises:
            BrokenPromise: The chat template tokenises in another way than documents are.
        """
        worker, plan = get_worker_info(), self._plan
        place, streams = (worker.id, worker.num_workers) if worker else (0, 1)
        place, streams = self._rank * streams + place, self._trainers * streams
        encoder, pad = Encoder(self._tokenizer), token_id(self._tokenizer, PAD)
        random = Random(plan.seed * 1000 + 11 + place)
        writers = Writers(random, plan.languages, encoder.count, plan.mix, encoder.pieces())
        for writer in writers.of.values():
            check_template(self._tokenizer, encoder, writer.answers())
        given = 0
        while True:
            progress = plan.progress(given * streams / plan.tokens)
            size = plan.batch_tokens if progress else plan.batch_tokens // 4  # copying is learned in many small steps
            documents = [writers.document(progress) for _ in range(max(2, _POOLED * size // _LENGTH))]
            batches = _cut([(document, *encoder(document)) for document in documents], size)
            random.shuffle(batches)
            for rows in batches:
                batch = _batch(rows, pad)
                given += batch.ids.numel()
                yield batch


_Row = tuple[Document, list[int], list[bool]]


def _cut(rows: list[_Row], size: int) -> list[list[_Row]]:
    batches: list[list[_Row]] = [[]]
    for row in sorted(rows, key=lambda row: len(row[1])):
        if batches[-1] and (len(batches[-1]) + 1) * len(row[1]) > size:
            batches.append([])
        batches[-1].append(row)
    return batches


def _batch(rows: list[_Row], pad: int) -> Batch:
    width = len(rows[-1][1])
    ids = torch.tensor([row + [pad] * (width - len(row)) for _, row, _ in rows])
    trained = torch.tensor([row + [False] * (width - len(row)) for _, _, row in rows])[:, 1:]
    kinds = torch.tensor([KINDS.index(document.kind) for document, _, _ in rows])[:, None].expand(trained.shape)
    return Batch(ids, torch.nonzero(trained.flatten())[:, 0], ids[:, 1:][trained], kinds[trained])
