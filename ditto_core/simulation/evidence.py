"""Evidence: the claims and sentences of a profile that a question is about, by BM25.

Input:   a question and the facts of a profile, as `profiles.facts` lists them.
Output:  the best of them, best first; only those that share a word with the question.
Source:  Robertson and Zaragoza 2009 (BM25), as the package bm25s computes it.

Example: choose("Who was your teacher in Athens?", ["student of: Socrates", "place of death: Athens"], 1)
         -> ("place of death: Athens",)
"""

import re
from collections.abc import Sequence

_TOKEN = re.compile(r"[぀-ヿ㐀-鿿가-힯]|[^\W_]+")


class Index:
    """The facts of one profile, made ready for many questions: indexing costs far more than a look-up."""

    def __init__(self, facts: Sequence[str]) -> None:
        import bm25s

        self._facts = tuple(facts)
        self._index = bm25s.BM25()
        corpus = [_tokens(fact) for fact in facts]
        self._is_empty = not any(corpus)
        if not self._is_empty:
            self._index.index(corpus, show_progress=False)

    def choose(self, question: str, count: int) -> tuple[str, ...]:
        """The `count` facts that score highest for the question; ties in the order of the facts."""
        if self._is_empty:
            return ()
        known = [token for token in sorted(set(_tokens(question))) if token in self._index.vocab_dict]
        if not known:
            return ()
        scores = self._index.get_scores(known)
        ranked = sorted(range(len(self._facts)), key=lambda place: (-float(scores[place]), place))
        return tuple(self._facts[place] for place in ranked[:count] if scores[place] > 0)


def choose(question: str, facts: Sequence[str], count: int) -> tuple[str, ...]:
    """The same for one question alone."""
    return Index(facts).choose(question, count)


def _tokens(text: str) -> list[str]:
    """Lower-case words; a character each for Chinese, Japanese and Korean."""
    return _TOKEN.findall(text.lower())
