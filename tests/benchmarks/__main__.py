"""Ratios of DESIGN.md, section 8, each measured in one run against its own baseline and written to a table.

`make bench` prints the table and writes it to benchmarks.md.
"""

import time
from collections.abc import Callable
from pathlib import Path

from tests.benchmarks import assembly, generation, knowledge, orchestration, training

_ROUNDS = 3


def best(run: Callable[[], object]) -> float:
    """Seconds of the fastest of a few rounds."""
    times = []
    for _ in range(_ROUNDS):
        started = time.perf_counter()
        run()
        times.append(time.perf_counter() - started)
    return min(times)


def main() -> None:
    rows = [
        *generation.rows(best),
        *knowledge.rows(best),
        *orchestration.rows(),
        *assembly.rows(),
        ("train, tokens/s over a plain TRL script", training.speed_ratio(), "at least 0.97"),
    ]
    table = "| what | measured | to hold |\n|---|---|---|\n"
    for what, measured, bound in rows:
        table += f"| {what} | {measured if isinstance(measured, str) else f'{measured:.2f}'} | {bound} |\n"
    Path("benchmarks.md").write_text(table, "utf-8")
    print(table)


if __name__ == "__main__":
    main()
