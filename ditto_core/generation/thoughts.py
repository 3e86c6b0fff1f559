"""Thoughts: what a reasoning model writes before it speaks, and what is left without it.

Input:   a reply as the model gave it.
Output:  what is said in it.
Source:  the tags that open models write, as their chat templates name them.

Example: "<think>Who asks? I am Ada.</think>In London." -> "In London."

Some templates open the thought in the prompt, so that a reply may hold only its end.
"""

import re

_OPENING = re.compile(r"<(?:think|thinking|reasoning)>")
_CLOSING = re.compile(r"</(?:think|thinking|reasoning)>")


def spoken(reply: str) -> str:
    """The reply from its last thought on; "" where that has no end, so that nothing in it is surely said."""
    said = _CLOSING.split(reply)[-1]
    return "" if _OPENING.search(said) else said
