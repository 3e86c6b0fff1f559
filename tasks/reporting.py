"""What a shard says while it works and when it is done: log lines, progress artifacts, ledger tables."""

import threading
import time
from base64 import b64encode
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import islice
from typing import Any

from prefect import get_run_logger
from prefect.artifacts import create_markdown_artifact, create_progress_artifact, update_progress_artifact

from ditto_core.ledger import Ledger, Loss
from ditto_core.memoised import Usage

_SECONDS_BETWEEN_REPORTS = 5.0
_LINES = 1_000
"""Of losses in a log; all of them are in the shard's file of losses."""

Listener = Callable[[str, int, int], None]
"""Called with the name of a piece of work, steps done, and steps in all."""
_listeners: list[Listener] = []


def listen(listener: Listener) -> None:
    """Have the terminal told of every step; one listener per process, the newest wins."""
    _listeners[:] = [listener]


@dataclass(slots=True)
class Meter:
    """Progress of one piece of work: to the terminal at once, to the log and the Prefect artifact every few seconds.

    Attributes:
        name: What the terminal and the artifact call it, such as "responses-en-0003".
        total: Steps in all; may grow while the work goes on.
    """

    name: str
    total: int
    done: int = 0
    _started: float = field(default_factory=time.monotonic)
    _reported: float = field(default_factory=time.monotonic)
    _artifact: Any = None
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def step(self, done: int | None = None, note: str = "") -> None:
        """Count one step, or set the number that is done; the note says more in the log and the artifact."""
        with self._lock:
            self.done = self.done + 1 if done is None else done
            now = time.monotonic()
            finished = self._artifact is not None and self.done >= self.total
            due = finished or now - self._reported >= _SECONDS_BETWEEN_REPORTS
            if due:
                self._reported = now
        for listener in _listeners:
            listener(self.name, self.done, self.total)
        if due:
            self._report(now, note)

    def _report(self, now: float, note: str) -> None:
        rate = self.done / max(now - self._started, 1e-9)
        left = (self.total - self.done) / rate if rate else 0.0
        said = f"{self.done} of {self.total}, {rate:.1f} per second, about {left:.0f} s left"
        get_run_logger().info("%s: %s", self.name, "; ".join(filter(None, (said, note))))
        percent = 100.0 * self.done / max(self.total, 1)
        shown = f"{self.name}: {note}" if note else self.name
        if self._artifact is None:
            self._artifact = create_progress_artifact(percent, key="progress", description=shown)
        else:
            update_progress_artifact(self._artifact, percent, description=shown)


def span(labels: Sequence[str]) -> str:
    """The first and the last of a shard's roles, as its log and its name show them."""
    return f"{labels[0]} to {labels[-1]}" if labels else "none"


def traffic(usage: Usage, seconds: float) -> str:
    """What a model was asked, and how fast it answered, in one line."""
    calls, hits = usage.calls.total(), usage.hits.total()
    tokens_out, tokens_in = (count / max(seconds, 1e-9) for count in (usage.completion_tokens, usage.prompt_tokens))
    cached = usage.cached_tokens / max(usage.prompt_tokens, 1)
    return (
        f"{calls} model calls, {hits} answered by the memo; {tokens_out:.0f} tokens per second out, {tokens_in:.0f} in, "
        f"{cached:.0%} of them from the prefix cache"
    )


def losses(lost: Mapping[str, int]) -> str:
    """What was lost so far, by reason, the most frequent first; "" is nothing."""
    counts = [f"{number} {reason}" for reason, number in sorted(lost.items(), key=lambda item: (-item[1], item[0]))]
    return f"lost {', '.join(counts)}" if counts else ""


def log_ledger(what: str, ledger: Ledger) -> None:
    """The account of a shard, as the last line of its log; every lost row above it, one line each."""
    logger = get_run_logger()
    for loss in [*ledger.failures, *ledger.filters]:
        logger.info("lost %s: %s%s", loss.row, loss.reason, f" | {loss.raw[:200]!r}" if loss.raw else "")
    logger.info("%s: %s", what, describe(ledger))


def log_losses(what: str, ledger: Ledger, losses: Iterable[tuple[str, Loss]]) -> None:
    """The same for a shard whose losses were written down while it was made; of very many, the first."""
    logger = get_run_logger()
    for _, loss in islice(losses, _LINES):
        logger.info("lost %s: %s | %r", loss.row, loss.reason, loss.raw[:200])
    logger.info("%s: %s", what, describe(ledger))


def describe(ledger: Ledger) -> str:
    """The counts of a ledger in one line."""
    parts = [f"{ledger.inputs} in, {ledger.ok} ok"]
    parts += [f"{number} failed: {reason}" for reason, number in ledger.failed.items()]
    parts += [f"{number} filtered: {reason}" for reason, number in ledger.filtered.items()]
    return ", ".join(parts)


def ledger_artifact(stage: str, ledgers: Mapping[str, Ledger]) -> None:
    """A table of a stage's shards and what became of their inputs."""
    head = "| shard | inputs | ok | failed | filtered |\n|---|---|---|---|---|\n"
    total = Ledger.total(ledgers.values())
    rows = [_row(name, ledger) for name, ledger in [*ledgers.items(), ("**all**", total)]]
    create_markdown_artifact(head + "\n".join(rows), key=f"ledger-{stage}", description=f"Ledger of {stage}")


def picture(content: bytes, kind: str) -> str:
    """A picture as an address that holds it: Prefect's UI shows it in every browser, wherever the file lies."""
    return f"data:image/{kind};base64,{b64encode(content).decode()}"


def plots_artifact(description: str, drawings: Mapping[str, str]) -> None:
    """SVG files as pictures, one below the other, each under its name."""
    shown = [f"### {name}\n\n![{name}]({picture(drawing.encode(), 'svg+xml')})\n" for name, drawing in drawings.items()]
    create_markdown_artifact("\n".join(shown), key="plots", description=description)


def _row(name: str, ledger: Ledger) -> str:
    failed = ", ".join(f"{reason}: {number}" for reason, number in ledger.failed.items()) or "0"
    filtered = ", ".join(f"{reason}: {number}" for reason, number in ledger.filtered.items()) or "0"
    return f"| {name} | {ledger.inputs} | {ledger.ok} | {failed} | {filtered} |"
