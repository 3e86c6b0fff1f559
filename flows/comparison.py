"""report A B: two judged files side by side, whoever made them.

Two models on the same sessions are compared pairwise; where the answers are the same, the two are judges, and it is their
agreement that is told. Human labels are a judged file whose scores people gave.
"""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any
from urllib.parse import unquote

import typer

from ditto_core.errors import InvalidInput
from ditto_core.evaluation import agreement, report, tables, wikiroleeval
from ditto_core.evaluation.drill_down import Contestant
from ditto_core.evaluation.scores import compare, scores
from ditto_core.ledger import Ledger
from ditto_core.recipe import digest
from ditto_core.settings import Settings
from ditto_core.shards import write_text


def print_comparison(settings: Settings, runs: Sequence[Path], as_json: bool) -> None:
    """What `ditto report A B` prints.

    Raises:
        InvalidInput: Not two runs, or as in `compare_runs`.
    """
    if len(runs) != 2:
        raise InvalidInput(f"`ditto report` takes two runs to compare, or none; found {len(runs)}")
    found = compare_runs(settings, *runs)
    typer.echo(f"{found['judge']}\n{found['table']}\nReport: {found['report']}")
    if as_json:
        typer.echo(json.dumps(found, ensure_ascii=False))


def compare_runs(settings: Settings, first: Path, second: Path) -> dict[str, Any]:
    """Write report.html, comparison.md and comparison.json; returns what `--json` shows.

    Args:
        settings: The data root, and the bootstrap of the intervals.
        first: A judged file, or the folder of an evaluation's report, whose tuned model is taken.
        second: The same.

    Raises:
        InvalidInput: No such file, no judged session in it, or no session in common.
    """
    files = [_judged_file(place) for place in (first, second)]
    names = [unquote(file.stem.removeprefix("judged-")) for file in files]
    if names[0] == names[1]:
        names = [f"{file.parent.name}/{name}" for file, name in zip(files, names, strict=True)]
    if names[0] == names[1]:
        names = [f"{names[0]} ({number})" for number in (1, 2)]
    bootstrap, seed = settings.evaluation.bootstrap, settings.evaluation.seed
    sides, lines = [], {}
    for file, name in zip(files, names, strict=True):
        judged, lines[name] = _read(file, name)
        judgements = [judgement for _, judgement in judged]
        predictions = [prediction for prediction, _ in judged]
        sides.append(Contestant(name, scores(judgements, bootstrap, seed), predictions, judgements))
    shared = sides[0].played().keys() & sides[1].played().keys()
    if not shared:
        raise InvalidInput(f"{files[0]} and {files[1]} have no session in common: nothing can be compared")
    differences = compare(sides[0].judgements, sides[1].judgements, bootstrap, seed)
    agreed = {}
    if all(sides[0].played()[key].answers == sides[1].played()[key].answers for key in shared):
        agreed = agreement.agreement(sides[0].judgements, sides[1].judgements, bootstrap, seed)
    return _write(settings, sides, files, differences, agreed, lines)


def _write(
    settings: Settings,
    sides: list[Contestant],
    files: list[Path],
    differences: tables.Differences,
    agreed: Mapping[str, Mapping[str, Any]],
    lines: Mapping[str, Ledger],
) -> dict[str, Any]:
    judge = " and ".join(dict.fromkeys(one.judgements[0].judge for one in sides))
    page = report.Report(
        title=f"{sides[0].name} and {sides[1].name}",
        judge=judge,
        contestants=sides,
        differences=differences,
        agreement=agreed,
        run={one.name: str(file) for one, file in zip(sides, files, strict=True)},
        ledgers={name: ledger.summary() for name, ledger in lines.items()},
    )
    text = tables.markdown(page.columns, differences) + (f"\n{agreement.markdown(agreed)}" if agreed else "")
    html = report.render(page)
    folder = Path(settings.data_root) / "reports" / f"comparison-{digest(html)[:12]}"
    shown = {"judge": judge, "scores": page.columns, "differences": differences, **({"agreement": agreed} if agreed else {})}
    write_text(folder / "comparison.md", f"Judge: {judge}\n\n{text}")
    write_text(folder / "comparison.json", json.dumps(shown, indent=1) + "\n")
    write_text(folder / "report.html", html)
    return {**shown, "report": str(folder / "report.html"), "table": text}


def _judged_file(place: Path) -> Path:
    """The file itself, or the tuned model's in the folder of a report."""
    if place.is_dir():
        judged = sorted(place.glob("judged-*.jsonl"))
        tuned = [file for file in judged if file.name == "judged-after.jsonl"]
        if not tuned and len(judged) != 1:
            listed = ", ".join(file.name for file in judged) or "none"
            raise InvalidInput(f"{str(place)!r} holds no judged-after.jsonl; name one of its files (there are: {listed})")
        return (tuned or judged)[0]
    if not place.is_file():
        raise InvalidInput(f"{str(place)!r} is neither a judged file nor the folder of a report")
    return place


def _read(file: Path, name: str) -> tuple[list[Any], Ledger]:
    try:
        judged, lines = wikiroleeval.read_judged(file.read_text("utf-8"), name, name)
    except (OSError, UnicodeDecodeError) as error:
        raise InvalidInput(f"cannot read {str(file)!r}: {error}") from error
    if not judged:
        reasons = ", ".join(f"{reason}: {number}" for reason, number in lines.failed.items()) or "it is empty"
        raise InvalidInput(f"{str(file)!r} holds no judged session ({reasons})")
    return judged, lines
