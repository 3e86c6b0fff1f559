"""Masking: the proof that the loss falls on the assistant's words and on nothing else.

In:     sequences as the trainer will see them: token ids, the mask of trained tokens, and the assistant turns of the
        conversation, each with the token that ends it.
Out:    counts for the training record, or an error that names the sequence.
Source: paper appendix C: prompts and ChatML role tokens are masked, the assistant's words are trained.

Example, one character a token, "^" under what is trained:

    <user>Hi</user><bot>Hello</bot>
                        ^^^^^^^^^^^
"""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from itertools import zip_longest

from ditto_core.errors import BrokenPromise, InvalidInput

_CUT_CHARACTER = "\N{REPLACEMENT CHARACTER}"


@dataclass(frozen=True, slots=True)
class MaskedRow:
    """One conversation as the trainer sees it.

    Attributes:
        name: For messages, such as "row 12 of train.parquet".
        token_ids: At most `training.max_length` of them.
        mask: One per token: whether the loss falls on it.
        turns: The assistant's turns as text, each with its end token.
        cut: Whether the conversation was longer than the sequence, so that its end is missing.
    """

    name: str
    token_ids: Sequence[int]
    mask: Sequence[bool]
    turns: tuple[str, ...]
    cut: bool = False


@dataclass(frozen=True, slots=True)
class MaskCounts:
    """What all rows hold together.

    Attributes:
        rows: Conversations.
        cut_rows: Of those, how many lose their end to `training.max_length`.
        tokens: In all of them, after the cut.
        trained_tokens: Of those, how many the loss falls on.
    """

    rows: int
    cut_rows: int
    tokens: int
    trained_tokens: int

    @property
    def trained_share(self) -> float:
        """Share of tokens that the loss falls on, 0 to 1."""
        return self.trained_tokens / self.tokens if self.tokens else 0.0


def trained_spans(token_ids: Sequence[int], mask: Sequence[bool]) -> list[tuple[int, int]]:
    """The longest runs of trained tokens, as half-open ranges of positions.

    Raises:
        BrokenPromise: There is not one mask entry per token.
    """
    if len(token_ids) != len(mask):
        raise BrokenPromise(f"{len(token_ids)} tokens have a loss mask of {len(mask)} entries; expected one each")
    spans: list[tuple[int, int]] = []
    start: int | None = None
    for position, trained in enumerate([*mask, False]):
        if trained and start is None:
            start = position
        elif not trained and start is not None:
            spans.append((start, position))
            start = None
    return spans


def count(rows: Iterable[MaskedRow], max_length: int) -> MaskCounts:
    """Count what there is to learn, and refuse rows without a trained token: they would count and teach nothing.

    Raises:
        InvalidInput: There are such rows; names the first and says what to change.
    """
    total = cut = tokens = trained = 0
    empty: list[MaskedRow] = []
    for row in rows:
        total += 1
        cut += row.cut
        tokens += len(row.token_ids)
        learnable = sum(map(bool, row.mask))
        trained += learnable
        if not learnable:
            empty.append(row)
    if empty:
        raise InvalidInput(_nothing_to_learn(empty, max_length))
    return MaskCounts(total, cut, tokens, trained)


def audit(rows: Iterable[MaskedRow], decode: Callable[[Sequence[int]], str]) -> int:
    """Decode the trained spans of every row, compare them with the assistant's turns, and count the rows.

    Args:
        rows: A sample of what the trainer will see.
        decode: Token ids -> text, special tokens kept.

    Raises:
        BrokenPromise: A span is not exactly one turn; names row, span, what was expected, cause and consequence.
    """
    audited = 0
    for row in rows:
        _compare(row, decode)
        audited += 1
    return audited


def _nothing_to_learn(empty: Sequence[MaskedRow], max_length: int) -> str:
    first = empty[0]
    cause = (
        f"its first answer begins after token {max_length} (training.max_length). Raise training.max_length, or filter "
        f"such conversations from the dataset"
        if first.cut
        else "it has no assistant message. Filter such conversations from the dataset"
    )
    return f"{first.name} has nothing to learn ({len(empty)} such in all): {cause}."


def _compare(row: MaskedRow, decode: Callable[[Sequence[int]], str]) -> None:
    spans = trained_spans(row.token_ids, row.mask)
    turns = row.turns[: len(spans)] if row.cut else row.turns
    for number, (span, turn) in enumerate(zip_longest(spans, turns), 1):
        found = None if span is None else decode(row.token_ids[span[0] : span[1]])
        last_of_a_cut_row = row.cut and span is not None and span[1] == len(row.token_ids)
        if found == turn or (last_of_a_cut_row and _begins(turn, found)):
            continue
        place = "no tokens" if span is None else f"tokens {span[0]} to {span[1]}"
        raise BrokenPromise(
            f"{row.name}: the loss mask is off at assistant turn {number}. Trained: {place}, {_shown(found)}. "
            f"Expected: {_shown(turn)}. Likely cause: the {{% generation %}} markers of the chat template do not stand "
            f"around the message and its end token, or a token reaches across the start of the answer. Consequence: "
            f"the model would learn the wrong words, or never to stop. Nothing was trained."
        )


def _begins(turn: str | None, found: str | None) -> bool:
    """A cut may fall inside a character of several tokens, which then decodes to the replacement character."""
    return turn is not None and found is not None and turn.startswith(found.rstrip(_CUT_CHARACTER))


def _shown(text: str | None) -> str:
    if text is None:
        return "nothing"
    return repr(text) if len(text) <= 120 else f"{text[:80]!r} ... {text[-30:]!r}"
