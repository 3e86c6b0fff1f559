"""Candidates: the four labels among which a judge looks for the role (paper section 4).

Input:   a role, and all characters of its language.
Output:  its label and three others, in an order of their own.
Source:  arXiv 2401.12474, section 4: four candidates.

Example: "Q7186" -> ("Athena", "Marie Curie", "Bob Marley", "Ada Lovelace")

Everyone stands on a ring by hash; a role's candidates are its successors there, so an added character changes few of them.
"""

from collections.abc import Iterator

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from ditto_core.recipe import stable_hash

CANDIDATES = 4
"""Choices of the identity question (paper section 4)."""

Places = npt.NDArray[np.uint64]


class Rings:
    """All characters of a language on one ring, and on one per class; in arrays, because there may be millions.

    Args:
        others: Columns "role" (Q-id), "label" and "kind" (Q-id of the class).
    """

    def __init__(self, others: pa.Table) -> None:
        roles = others.column("role")
        places: Places = np.fromiter((_place(role.as_py()) for role in roles), np.uint64, len(roles))
        order = np.argsort(places)
        self._places = places[order]
        self._labels = others.column("label").combine_chunks().take(pa.array(order))
        encoded = others.column("kind").combine_chunks().dictionary_encode()
        self._kinds = encoded.indices.to_numpy(zero_copy_only=False)[order]
        rings = [np.flatnonzero(self._kinds == kind) for kind in range(len(encoded.dictionary))]
        self._rings = [(ring, self._places[ring]) for ring in rings]
        self._everyone = (np.arange(len(self._places)), self._places)

    def label(self, qid: str) -> str:
        """The label of a character."""
        return str(self._labels[self._at(qid)].as_py())

    def after(self, qid: str) -> Iterator[str]:
        """Labels of the others in the role's order: those of its class, then all."""
        own = self._at(qid)
        first = np.uint64(stable_hash(f"candidates:{qid}"))
        for ring, places in (self._rings[self._kinds[own]], self._everyone):
            start = int(np.searchsorted(places, first, side="right"))
            for step in range(len(ring)):
                place = int(ring[(start + step) % len(ring)])
                if place != own:
                    yield str(self._labels[place].as_py())

    def _at(self, qid: str) -> int:
        return int(np.searchsorted(self._places, np.uint64(_place(qid))))


def candidates(qid: str, rings: Rings) -> tuple[str, ...]:
    """The role's label and three others, in an order of their own.

    The others are of the role's class; where that has too few, the whole language lends some, since a choice among fewer than
    four would be easier than the others' and flatter the score.
    """
    chosen = [rings.label(qid)]
    for label in rings.after(qid):
        if len(chosen) == CANDIDATES:
            break
        if label not in chosen:
            chosen.append(label)
    return tuple(sorted(chosen, key=lambda name: stable_hash(f"{qid}:{name}")))


def _place(qid: str) -> int:
    return stable_hash(f"ring:{qid}")
