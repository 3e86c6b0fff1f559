"""Summary: what a dataset holds, counted in one pass over its shards.

Input:   the rows of each example shard, as plain columns.
Output:  counts by split and by language, as in the paper's table 1, how lengths are distributed, and the licences of the
         articles behind them.
Source:  arXiv 2401.12474, table 1.

Example: train: 3,902 roles, 7,086 sessions, 36,164 turns.

Only counts and the ids of roles are kept, so memory does not grow with the text.
"""

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

COLUMNS = ["messages", "split", "role", "language", "kinds", "licence"]
"""Of an `Example`: what `Summary.add` reads."""


@dataclass(slots=True)
class Counts:
    """Of some rows.

    Attributes:
        questions: Length of a question in characters -> number of questions; `answers` likewise. Characters, because words
            are not separated in every language.
        session_turns: Turns of a session -> number of sessions.
    """

    roles: set[str] = field(default_factory=set)
    role_specific: int = 0
    contrastive: int = 0
    questions: Counter[int] = field(default_factory=Counter)
    answers: Counter[int] = field(default_factory=Counter)
    session_turns: Counter[int] = field(default_factory=Counter)

    @property
    def sessions(self) -> int:
        """Rows."""
        return self.session_turns.total()

    @property
    def turns(self) -> int:
        """Questions with their answers."""
        return self.role_specific + self.contrastive

    def add(self, row: Mapping[str, Any]) -> None:
        """Count one row."""
        self.roles.add(row["role"])
        self.session_turns[len(row["kinds"])] += 1
        self.role_specific += row["kinds"].count("role_specific")
        self.contrastive += row["kinds"].count("contrastive")
        for message in row["messages"]:
            if message["role"] != "system":
                lengths = self.questions if message["role"] == "user" else self.answers
                lengths[len(message["content"])] += 1


def quantile(lengths: Counter[int], share: float) -> int:
    """The length that at least `share` of all do not exceed; 0 if there are none."""
    below, total = 0, lengths.total()
    for length in sorted(lengths):
        below += lengths[length]
        if below >= share * total:
            return length
    return 0


@dataclass(slots=True)
class Summary:
    """Of a dataset, built up shard by shard."""

    by_split: dict[str, Counts] = field(default_factory=dict)
    by_language: dict[str, Counts] = field(default_factory=dict)
    licences: set[str] = field(default_factory=set)

    @property
    def sessions(self) -> int:
        """Rows of all splits."""
        return sum(counts.sessions for counts in self.by_split.values())

    def add(self, rows: Iterable[Mapping[str, Any]]) -> None:
        """Count the rows of one shard."""
        for row in rows:
            self.by_split.setdefault(row["split"], Counts()).add(row)
            self.by_language.setdefault(row["language"], Counts()).add(row)
            self.licences.add(row["licence"])
