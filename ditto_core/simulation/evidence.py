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


def choose(question: str, facts: Sequence[str], count: int) -> tuple[str, ...]:
    """The `count` facts that score highest for the question; ties in the order of the facts."""
    import bm25s

    wanted = sorted(set(_tokens(question)))
    corpus = [_tokens(fact) for fact in facts]
    if not wanted or not any(corpus):
        return ()
    index = bm25s.BM25()
    index.index(corpus, show_progress=False)
    known = [token for token in wanted if token in index.vocab_dict]
    if not known:
        return ()
    scores = index.get_scores(known)
    ranked = sorted(range(len(facts)), key=lambda place: (-float(scores[place]), place))
    return tuple(facts[place] for place in ranked[:count] if scores[place] > 0)


def _tokens(text: str) -> list[str]:
    """Lower-case words; a character each for Chinese, Japanese and Korean."""
    return _TOKEN.findall(text.lower())
