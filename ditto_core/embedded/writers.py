"""Writers: documents of several languages, mixed.

In:     a random generator, the shares of the languages.
Out:    `Document`s.
Source: ours.
"""

from collections.abc import Callable, Mapping, Sequence
from random import Random

from ditto_core import languages
from ditto_core.embedded.documents import Document, Writer
from ditto_core.embedded.known import load_world
from ditto_core.embedded.mix import Mix


class Writers:
    """Writers of several languages; each writes its share of the documents.

    Attributes:
        of: Code of a language -> its writer.
    """

    def __init__(
        self, random: Random, shares: Mapping[str, float], count_tokens: Callable[[str], int],
        mix: Mix | None = None, pieces: Sequence[str] = (),
    ) -> None:  # fmt: skip
        self._random, self._shares = random, shares
        self.of = {code: Writer(random, languages.load(code), load_world(code), count_tokens, mix, pieces) for code in shares}

    def document(self, progress: float) -> Document:
        """The next document."""
        code = self._random.choices(list(self._shares), list(self._shares.values()))[0]
        return self.of[code].document(progress)
