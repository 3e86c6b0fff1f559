"""Masking: trained spans by hand, and audits of masks that are off by one token, one turn or one end token."""

from collections.abc import Sequence

import pytest

from ditto_core.errors import BrokenPromise, InvalidInput
from ditto_core.training.masking import MaskedRow, audit, count, trained_spans

# One character is one token; "/" ends a turn. The second line is the mask by hand.
TEXT = "s:be Ada/u:who?/a:Ada, sir/u:why?/a:no idea/"
MASK = "..................^^^^^^^^^.........^^^^^^^^"
TURNS = ("Ada, sir/", "no idea/")


def row(text: str = TEXT, mask: str = MASK, turns: tuple[str, ...] = TURNS, *, cut: bool = False) -> MaskedRow:
    return MaskedRow("row 7 of train.parquet", [ord(c) for c in text], [c == "^" for c in mask], turns, cut)


def decode(ids: Sequence[int]) -> str:
    return "".join(map(chr, ids))


@pytest.mark.parametrize(
    ("mask", "spans"),
    [
        pytest.param("", [], id="empty"),
        pytest.param("....", [], id="nothing trained"),
        pytest.param("^^^^", [(0, 4)], id="all trained"),
        pytest.param("..^^.^", [(2, 4), (5, 6)], id="two turns, the second at the end"),
        pytest.param("^..^^.", [(0, 1), (3, 5)], id="one token at the start"),
    ],
)
def test_spans_are_the_longest_runs_of_trained_tokens(mask: str, spans: list[tuple[int, int]]) -> None:
    assert trained_spans(range(len(mask)), [c == "^" for c in mask]) == spans


def test_a_mask_of_another_length_is_refused() -> None:
    with pytest.raises(BrokenPromise, match="3 tokens have a loss mask of 2 entries"):
        trained_spans([1, 2, 3], [True, False])


def test_a_right_mask_passes_and_is_counted() -> None:
    assert audit([row(), row()], decode) == 2
    counts = count([row(), row()], 100)
    assert (counts.rows, counts.cut_rows, counts.tokens, counts.trained_tokens) == (2, 0, 88, 34)
    assert counts.trained_share == pytest.approx(34 / 88)


@pytest.mark.parametrize(
    ("mask", "seen"),
    [
        pytest.param("." + MASK[:-1], "turn 1.*tokens 19 to 28, 'da, sir/u'.*Expected: 'Ada, sir/'", id="shifted right"),
        pytest.param(MASK[1:] + ".", "turn 1.*tokens 17 to 26, ':Ada, sir'", id="shifted left"),
        pytest.param(MASK[:-1] + ".", "turn 2.*'no idea'.*Expected: 'no idea/'", id="end token not trained"),
        pytest.param("." * 30 + MASK[30:], "turn 1.*'no idea/'.*Expected: 'Ada, sir/'", id="first turn not trained"),
        pytest.param(MASK[:30] + "." * 14, "turn 2.*no tokens, nothing.*Expected: 'no idea/'", id="last turn not trained"),
        pytest.param("^" * 9 + MASK[9:], "turn 1.*'s:be Ada/'.*", id="system line trained"),
        pytest.param("." * 18 + "^" * 26, "turn 1.*'Ada, sir/u:why", id="everything after the first answer trained"),
    ],
)
def test_a_mask_that_is_off_is_reported_with_span_expectation_cause_and_consequence(mask: str, seen: str) -> None:
    with pytest.raises(BrokenPromise, match=f"^row 7 of train.parquet.*{seen}.*Likely cause.*Consequence"):
        audit([row(), row(mask=mask)], decode)


@pytest.mark.parametrize("length", [19, 26, 27, 30, 36, 40, 43])
def test_a_row_cut_anywhere_after_its_first_trained_token_passes(length: int) -> None:
    cut = row(TEXT[:length], MASK[:length], cut=True)
    assert audit([cut], decode) == 1
    assert count([cut], length).cut_rows == 1


def test_a_cut_inside_a_character_of_several_tokens_passes() -> None:
    whole = "a:Zoë/".encode()
    cut = MaskedRow("row 1", whole[:5], [False, False, True, True, True], ("Zoë/",), True)
    assert audit([cut], lambda ids: bytes(ids).decode(errors="replace")) == 1


def test_a_cut_row_with_a_shifted_mask_is_still_caught() -> None:
    with pytest.raises(BrokenPromise, match="turn 1"):
        audit([row(TEXT[:30], ("." + MASK)[:30], cut=True)], decode)


def test_a_row_whose_answers_were_all_cut_off_is_refused_by_name() -> None:
    with pytest.raises(InvalidInput, match=r"row 7 of train.parquet.*\(1 such in all\).*after token 18.*max_length"):
        count([row(), row(TEXT[:18], MASK[:18], cut=True)], 18)


def test_a_row_without_an_answer_is_refused_by_name() -> None:
    with pytest.raises(InvalidInput, match=r"row 7 of train.parquet has nothing to learn.*no assistant message"):
        count([row("u:who?/", ".......", ())], 100)
