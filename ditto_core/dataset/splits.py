"""Splits: which side of the dataset a role is on, by hash of its id alone, so in every language the same."""

from ditto_core.recipe import stable_hash
from ditto_core.records import Split

_STEPS = 10_000


def split_of(qid: str, *, validation_share: float, test_share: float) -> Split:
    """Assign a role to a split. Growing a share moves only roles of the neighbouring split."""
    place = stable_hash(f"split:{qid}") % _STEPS
    if place < test_share * _STEPS:
        return "test"
    if place >= (1 - validation_share) * _STEPS:
        return "validation"
    return "train"
