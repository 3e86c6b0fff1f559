"""Copies: several engines of one model as one, so that each GPU, or group of GPUs, has the weights to itself.

In:   requests from any number of threads.
Out:  completions of all copies as they finish.

Prompts that begin alike go to the same copy, since only its prefix cache holds their beginning. Nothing is shared between copies,
so that one that dies loses no other, and a reply does not depend on which of them gave it.

Example: two copies; all questions to Marie Curie go to the first, all to Ada Lovelace to the second.
"""

from collections import defaultdict
from collections.abc import Sequence

from ditto_core.generation.generator import Generator, Job
from ditto_core.generation.local_model import LocalGenerator
from ditto_core.recipe import stable_hash

_BEGINNING = 1000
"""Characters: past the words that all prompts of a stage share, and into the profile."""


class Copies(Generator):
    """A generator over copies of one model, of which there is at least one."""

    def __init__(self, copies: Sequence[LocalGenerator]) -> None:
        self._copies = copies
        self.identity = copies[0].identity

    def submit(self, jobs: Sequence[Job]) -> None:
        """Hand each job to the copy that has its beginning."""
        parts: dict[int, list[Job]] = defaultdict(list)
        for job in jobs:
            beginning = job.request.messages[0].content[:_BEGINNING]
            parts[stable_hash(beginning) % len(self._copies)].append(job)
        for number, part in parts.items():
            self._copies[number].submit(part)

    def count_tokens(self, text: str) -> int:
        """As any of the copies counts."""
        return self._copies[0].count_tokens(text)

    def close(self) -> None:
        """Close all copies."""
        for copy in self._copies:
            copy.close()
