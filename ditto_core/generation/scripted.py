r"""Scripted engine: replies from a file, for tests and dry runs.

In:   requests, and a JSON Lines file of {"match": regex, "reply": text, "finish_reason": optional}.
Out:  for each request the reply of the first line whose regex is found in its messages, joined by newlines.

Example line (\g<name> and \g<1> stand for what the regex caught; nothing else in a reply is special):
    {"match": "You are (?P<who>[^,]+),", "reply": "I am \\g<who>, and I know no smartphones."}
"""

import hashlib
import json
import re
import threading
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from ditto_core.errors import InvalidInput
from ditto_core.generation.generator import Generator, Job, estimate_tokens
from ditto_core.generation.requests import Completion, Failure, Outcome, Request
from ditto_core.recipe import ModelIdentity
from ditto_core.settings import GenerationSettings

_REFERENCE = re.compile(r"\\g<(\w+)>")
_KEYS = {"match", "reply", "finish_reason"}


@dataclass(frozen=True, slots=True)
class Line:
    """One line of a script."""

    match: re.Pattern[str]
    reply: str
    finish_reason: str = "stop"

    def answer(self, prompt: str) -> str | None:
        """The reply with its references filled in, or None if the prompt does not match."""
        found = self.match.search(prompt)
        if found is None:
            return None
        return _REFERENCE.sub(lambda reference: found[_group(reference[1])] or "", self.reply)


class ScriptedGenerator(Generator):
    """Answers from a script.

    Attributes:
        identity: Digest of the script's bytes; another script is another model.
        asked: Every request that was answered or refused, in order.

    Raises:
        InvalidInput: The script cannot be read; the message names the line.
    """

    def __init__(self, settings: GenerationSettings) -> None:
        path = Path(settings.script)
        try:
            content = path.read_bytes()
            lines = content.decode("utf-8").split("\n")
        except (OSError, UnicodeDecodeError) as error:
            raise InvalidInput(
                f"cannot read the script {settings.script!r}: {error}. Set generation.script to a UTF-8 file "
                f'with lines of {{"match": regex, "reply": text}}.'
            ) from error
        self._lines = [_read(line, f"{path}:{number}") for number, line in enumerate(lines, 1) if line.strip()]
        self.identity = ModelIdentity(weights=hashlib.sha256(content).hexdigest(), tokenizer="scripted")
        self.asked: list[Request] = []
        self._lock = threading.Lock()

    def submit(self, jobs: Sequence[Job]) -> None:
        """Answer at once and in order; what no line matches fails as "no_scripted_reply"."""
        with self._lock:
            self.asked.extend(job.request for job in jobs)
        for job in jobs:
            job.answers.put(self._outcome(job))

    def count_tokens(self, text: str) -> int:
        """An estimate; see `estimate_tokens`."""
        return estimate_tokens(text)

    def close(self) -> None:
        """Nothing to free."""

    def _outcome(self, job: Job) -> Outcome:
        prompt = "\n".join(message.content for message in job.request.messages)
        for line in self._lines:
            text = line.answer(prompt)
            if text is not None:
                return Completion(job.key, text, line.finish_reason, self.count_tokens(prompt), self.count_tokens(text))
        return Failure(job.key, "no_scripted_reply", f"no line of the script matches {prompt[:200]!r}")


def _read(text: str, place: str) -> Line:
    try:
        row = json.loads(text)
    except ValueError as error:
        raise InvalidInput(f"{place}: not JSON ({error}); found {text[:80]!r}") from error
    if (
        not isinstance(row, dict)
        or not {"match", "reply"} <= row.keys() <= _KEYS
        or not all(isinstance(value, str) for value in row.values())
    ):
        raise InvalidInput(
            f'{place}: expected {{"match": regex, "reply": text}} and at most "finish_reason" beside them, all text; '
            f"found {text[:80]!r}"
        )
    try:
        match = re.compile(row["match"], re.DOTALL)
    except re.error as error:
        raise InvalidInput(f"{place}: {row['match']!r} is not a regular expression: {error}") from error
    for reference in _REFERENCE.findall(row["reply"]):
        group = _group(reference)
        if group not in match.groupindex and not (isinstance(group, int) and group <= match.groups):
            known = [*match.groupindex, *range(match.groups + 1)]
            raise InvalidInput(f"{place}: the reply refers to \\g<{reference}>; the regex has only {known}")
    return Line(match, row["reply"], row.get("finish_reason", "stop"))


def _group(reference: str) -> str | int:
    return int(reference) if reference.isdecimal() else reference
