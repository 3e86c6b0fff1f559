"""Summary: what a dataset holds, counted in one pass over its shards.

Input:   the rows of each example shard, as plain columns.
Output:  counts by split and by language, as in the paper's table 1, and the licences of the articles behind them.
Source:  arXiv 2401.12474, table 1.

Example: train: 3,902 roles, 7,086 sessions, 36,164 turns.

Only counts and the ids of roles are kept, so memory does not grow with the text.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

COLUMNS = ["messages", "split", "role", "language", "kinds", "licence"]
"""Of an `Example`: what `Summary.add` reads."""


@dataclass(slots=True)
class Counts:
    """Of some rows.

    Attributes:
        question_characters: Of all questions together; `answer_characters` likewise. Characters, because words
            are not separated in every language.
    """

    roles: set[str] = field(default_factory=set)
    sessions: int = 0
    role_specific: int = 0
    contrastive: int = 0
    question_characters: int = 0
    answer_characters: int = 0

    @property
    def turns(self) -> int:
        """Questions with their answers."""
        return self.role_specific + self.contrastive

    def add(self, row: Mapping[str, Any]) -> None:
        """Count one row."""
        self.roles.add(row["role"])
        self.sessions += 1
        self.role_specific += row["kinds"].count("role_specific")
        self.contrastive += row["kinds"].count("contrastive")
        for message in row["messages"]:
            self.question_characters += len(message["content"]) if message["role"] == "user" else 0
            self.answer_characters += len(message["content"]) if message["role"] == "assistant" else 0


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
