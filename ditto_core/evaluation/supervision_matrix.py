"""Cross-supervision: every supervisor LLM teaches every seed LLM.

Input:   scores of each supervisor with the profile in context, of each seed as it is, and of each tuned seed.
Output:  a table, three scatter plots with their diagonal, and the settings of each cell.
Source:  arXiv 2401.12474, section 6 and figure 5: supervision performance across, imitation performance up.

Example: cell ("7B", "1.8B") is the seed 1.8B fine-tuned on what 7B wrote. A point above the diagonal is a seed that plays its
roles better, without a profile, than its supervisor does with it.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from html import escape

from ditto_core.errors import InvalidInput
from ditto_core.evaluation import charts, page, tables
from ditto_core.evaluation.report import SCALES
from ditto_core.evaluation.scores import METRICS, Scores
from ditto_core.settings import ModelSettings, SeedSettings, Settings

Name = tuple[str, str]
"""Names of a cell's supervisor and seed."""


@dataclass(frozen=True, slots=True)
class Matrix:
    """All that was measured.

    Attributes:
        supervision: Supervisor -> scores with the profile in context.
        seeds: Seed -> scores before it was tuned.
        cells: Scores of the tuned seed.
        failures: Cell -> why it has no scores.
    """

    supervision: Mapping[str, Scores]
    seeds: Mapping[str, Scores]
    cells: Mapping[Name, Scores]
    failures: Mapping[Name, str]


def cells(settings: Settings) -> dict[Name, Settings]:
    """The settings of every cell, all cells of one supervisor together, so that its memory is taken once.

    Raises:
        InvalidInput: No supervisor or no seed.
    """
    matrix = settings.matrix
    if not matrix.supervisors or not matrix.seeds:
        raise InvalidInput(
            "a matrix needs supervisors and seeds: list them as [[matrix.supervisors]] and [[matrix.seeds]] in the settings "
            "file, each with a name, a supervisor with a generation, a seed with a model."
        )
    return {
        (supervisor.name, seed.name): cell(settings, supervisor, seed)
        for supervisor in matrix.supervisors
        for seed in matrix.seeds
    }


def cell(settings: Settings, supervisor: ModelSettings, seed: SeedSettings) -> Settings:
    """The settings of one cell: as for any run, one LLM simulates and another is tuned."""
    evaluation = settings.evaluation.model_copy(update={"system_role": seed.system_role, "models": ()})
    training = settings.training.model_copy(update={"model": seed.model})
    return settings.model_copy(update={"generation": supervisor.generation, "training": training, "evaluation": evaluation})


def columns(matrix: Matrix) -> dict[str, Scores]:
    """All scores by the name that tables and files give them."""
    return {
        **{f"{name} with profiles": scores for name, scores in matrix.supervision.items()},
        **{f"{name} untrained": scores for name, scores in matrix.seeds.items()},
        **{f"{seed} taught by {supervisor}": scores for (supervisor, seed), scores in matrix.cells.items()},
    }


def points(matrix: Matrix, metric: str) -> list[charts.Point]:
    """One a cell: supervision performance across, imitation performance up."""
    found = []
    for (supervisor, seed), scores in matrix.cells.items():
        x = tables.number(matrix.supervision.get(supervisor, {}), "all", metric).get("mean")
        y = tables.number(scores, "all", metric).get("mean")
        if x is not None and y is not None:
            found.append(charts.Point(supervisor, f"seed {seed}", x, y))
    return found


def plots(matrix: Matrix) -> dict[str, str]:
    """Metric -> its scatter plot; a metric without a point has none."""
    return {
        metric: charts.scatter(
            points(matrix, metric),
            SCALES[metric],
            "supervisor with profiles",
            "tuned seed without",
            f"{metric}: supervision and imitation performance, with the diagonal",
        )
        for metric in METRICS
        if points(matrix, metric)
    }


def markdown(matrix: Matrix) -> str:
    """One row a seed, one column a supervisor, a block a metric."""
    supervisors, lines = list(matrix.supervision), []
    for metric in METRICS:
        lines += [f"| {metric} | untrained | {' | '.join(f'taught by {name}' for name in supervisors)} |"]
        lines += ["|---" * (len(supervisors) + 2) + "|"]
        lines.append(
            f"| *supervisor with profiles* | | {' | '.join(_told(matrix.supervision[s], metric) for s in supervisors)} |"
        )
        for seed, before in matrix.seeds.items():
            row = [_told(before, metric), *(_cell(matrix, (supervisor, seed), metric) for supervisor in supervisors)]
            lines.append(f"| {seed} | {' | '.join(row)} |")
        lines.append("")
    return "\n".join([*lines, *(f"Failed: {_called(name)}: {why}" for name, why in matrix.failures.items())]).strip() + "\n"


def render(matrix: Matrix, judge: str, run: Mapping[str, str]) -> str:
    """The report of a matrix as one HTML document."""
    drawn = "".join(f"<div><h3>{metric}</h3>{plot}</div>" for metric, plot in plots(matrix).items())
    every = columns(matrix)
    parts = [
        f"<p>Judge: <strong>{escape(judge)}</strong></p>",
        page.warnings([f"{_called(name)} failed: {why}" for name, why in matrix.failures.items()]),
        page.warnings(tables.coverage_notes(every)),
        f'<h2>Supervision and imitation</h2><p class="soft">Above the diagonal a seed without a profile plays better than its '
        f'supervisor with it.</p><div class="plots">{drawn}</div>',
        *(_block(matrix, metric) for metric in METRICS),
        page.facts("What was run", run),
    ]
    return page.page("Cross-supervision", parts)


def _block(matrix: Matrix, metric: str) -> str:
    supervisors = list(matrix.supervision)
    rows = [["<em>supervisor with profiles</em>", "", *(_html(matrix.supervision[name], metric) for name in supervisors)]]
    for seed, before in matrix.seeds.items():
        told = [_html(matrix.cells.get((supervisor, seed), {}), metric) for supervisor in supervisors]
        rows.append([escape(seed), _html(before, metric), *told])
    heads = ["seed", "untrained", *(f"taught by {name}" for name in supervisors)]
    return f"<h2>{metric.capitalize()}</h2>{page.table(heads, rows)}"


def _html(scores: Scores, metric: str) -> str:
    return tables.cell_html(tables.number(scores, "all", metric))


def _cell(matrix: Matrix, name: Name, metric: str) -> str:
    return "failed" if name in matrix.failures else _told(matrix.cells.get(name, {}), metric)


def _told(scores: Scores, metric: str) -> str:
    return tables.line(tables.number(scores, "all", metric))


def _called(name: Name) -> str:
    return f"{name[1]} taught by {name[0]}"
