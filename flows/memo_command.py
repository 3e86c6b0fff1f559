"""memo: what the store of completions holds and what it saved; pruned by age or model, exported and imported."""

from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from ditto_core import memo_exchange
from ditto_core.errors import InvalidInput
from ditto_core.memo import Kept, Memo
from ditto_core.settings import Settings
from tasks import resources

ACTIONS = {"show": "kept", "prune": "forgotten", "export": "exported", "import": "new"}
"""Name -> what it counts."""


def run(settings: Settings, action: str, file: Path | None, days: float | None, model: str) -> dict[str, Any]:
    """Do one action and say what the memo holds after it.

    Args:
        file: Of export and import.
        days: prune forgets what is older.
        model: prune forgets what a model answered: the beginning of its name or digest, as `show` prints it.

    Returns:
        `completions`: what was pruned, exported or new; `kept`: a row for each stage and model.

    Raises:
        InvalidInput: An action lacks what it needs, or the memo or the file cannot be used.
    """
    if action not in ACTIONS:
        raise InvalidInput(f"ditto memo {action!r} is not known; known: {', '.join(ACTIONS)}")
    memo = resources.memo(settings)
    try:
        return {"action": action, "completions": _act(memo, action, file, days, model), "kept": [_row(k) for k in memo.kept()]}
    finally:
        resources.release()


def describe(result: dict[str, Any]) -> list[str]:
    """The lines that the terminal shows."""
    lines = ["stage       completions      tokens  characters   asked   saved  model"]
    for row in result["kept"]:
        counts = f"{row['completions']:11} {row['tokens']:11} {row['size']:11} {row['calls']:7} {row['hits']:7}"
        lines.append(f"{row['purpose']:11} {counts}  {row['weights'][:40]}")
    if result["action"] != "show":
        lines.append(f"{result['completions']} completions {ACTIONS[result['action']]}")
    return lines


def _act(memo: Memo, action: str, file: Path | None, days: float | None, model: str) -> int:
    if action == "show":
        return sum(kept.completions for kept in memo.kept())
    if action == "prune":
        if days is None and not model:
            raise InvalidInput("ditto memo prune forgets by age or by model: give --older-than DAYS, --model NAME, or both.")
        before = None if days is None else datetime.now(UTC) - timedelta(days=days)
        return memo.prune(before=before, weights=model)
    if file is None:
        raise InvalidInput(f"ditto memo {action} needs a file: ditto memo {action} completions.parquet")
    return memo_exchange.export(memo, file) if action == "export" else memo_exchange.load(memo, file)


def _row(kept: Kept) -> dict[str, Any]:
    return {name: getattr(kept, name) for name in ("purpose", "weights", "completions", "tokens", "size", "calls", "hits")}
