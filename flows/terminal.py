"""Progress bars in the terminal, fed by the tasks' meters."""

import sys
from collections.abc import Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskID, TextColumn, TimeRemainingColumn

from tasks import reporting


@contextmanager
def progress_bars() -> Iterator[None]:
    """One bar for each piece of work under way, with rate and time left, on stderr; none if that is no terminal."""
    console = Console(file=sys.stderr)
    bars = Progress(
        TextColumn("{task.description:24}"),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("{task.fields[rate]}"),
        TimeRemainingColumn(),
        console=console,
        disable=not console.is_terminal,
        transient=True,
    )
    known: dict[str, TaskID] = {}

    def show(name: str, done: int, total: int) -> None:
        if name not in known:
            known[name] = bars.add_task(name, total=total, rate="")
        speed = bars.tasks[known[name]].speed
        bars.update(known[name], completed=done, total=total, rate=f"{speed:.1f}/s" if speed else "", visible=done < total)

    reporting.listen(show)
    with bars:
        yield
