"""Report: what an evaluation found, as one HTML file that needs nothing else.

Input:   models with scores, predictions and judgements; the dataset, ledgers and the loss curve.
Output:  `render(report)`: HTML with its style and pictures inside, no script. `sample_exchanges`: some answers side by side.
Source:  arXiv 2401.12474, section 4 and table 2.

Example: the table before/after with intervals, bars, loss curve, the dataset, settings and digests, then role by role.

Everything here is pure, and every text from outside is escaped.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from html import escape
from typing import Any

from ditto_core.evaluation import agreement, charts, leaderboard, page, tables
from ditto_core.evaluation.drill_down import Contestant, drill_down
from ditto_core.evaluation.judge import LEXICAL
from ditto_core.evaluation.scores import METRICS, scores
from ditto_core.evaluation.sessions import prompts
from ditto_core.recipe import stable_hash
from ditto_core.records import Kind, Prediction

SCALES: Mapping[str, tuple[float, float]] = {"consistency": (0.0, 1.0), "knowledge": (1.0, 10.0), "rejection": (0.0, 1.0)}


@dataclass(frozen=True, slots=True)
class Report:
    """All that a report shows.

    Attributes:
        judge: What is told of the judge; see `judge_label`.
        contestants: The models, in the order of their columns; a change is shown where there are two.
        notes: What a reader must not miss.
        differences: What `scores.compare` gave for two models, or {}.
        agreement: What `agreement.agreement` gave for two judges of the same answers, or {}.
        run: Name -> value of what was run: models, engine, settings, digests.
        statistics: Of the dataset: heads, then rows, as plain texts.
        ledgers: Stage -> summary of its ledger, in the order of the stages.
        losses: (step, loss) of the training.
    """

    title: str
    judge: str
    contestants: Sequence[Contestant]
    notes: Sequence[str] = ()
    differences: tables.Differences = field(default_factory=dict)
    agreement: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    run: Mapping[str, str] = field(default_factory=dict)
    statistics: Sequence[Sequence[str]] = ()
    ledgers: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    losses: Sequence[tuple[float, float]] = ()

    @property
    def columns(self) -> tables.Columns:
        """Model -> scores."""
        return {one.name: one.scores for one in self.contestants}


@dataclass(frozen=True, slots=True)
class Exchange:
    """One question with the answers before and after."""

    label: str
    kind: Kind
    question: str
    before: str
    after: str

    def text(self) -> str:
        """As lines of plain text."""
        return f"[{self.label}, {self.kind}] {self.question}\n  before: {self.before}\n  after:  {self.after}"


def sample_exchanges(before: Iterable[Prediction], after: Iterable[Prediction], n: int) -> list[Exchange]:
    """At most `n` questions that both have answered: other roles first, both kinds by turns, the same in every run."""
    old = {(one.example.language, one.example.role): one for one in before if one.run == 0}
    new = {(one.example.language, one.example.role): one for one in after if one.run == 0}
    found: list[tuple[int, int, Exchange]] = []
    for key in sorted(old.keys() & new.keys()):
        example = old[key].example
        seen = {"role_specific": 0, "contrastive": 0}
        order = stable_hash(f"{example.language}:{example.role}")
        for turn, (kind, question) in enumerate(zip(example.kinds, prompts(example), strict=True)):
            said = Exchange(example.label, kind, question, old[key].answers[turn], new[key].answers[turn])
            found.append((seen[kind], order, said))
            seen[kind] += 1
    ranked = [said for _, _, said in sorted(found, key=lambda entry: entry[:2])]
    own = [said for said in ranked if said.kind == "role_specific"]
    # From the other end of the ring of roles, so that a short sample shows two roles and not one twice.
    other = [said for _, _, said in sorted(found, key=lambda entry: (entry[0], -entry[1])) if said.kind == "contrastive"]
    mixed = [said for pair in zip(own, other, strict=False) for said in pair]
    shorter = min(len(own), len(other))
    return (mixed + own[shorter:] + other[shorter:])[:n]


def render(report: Report) -> str:
    """The report as one HTML document."""
    parts = (
        f"<p>Judge: <strong>{escape(report.judge)}</strong></p>",
        page.warnings(report.notes),
        _results(report),
        _runs(report),
        _mt_bench(report),
        _released(report),
        _leaderboard(report),
        _agreement(report.agreement),
        _curve(report.losses),
        _statistics(report.statistics),
        _ledgers(report.ledgers),
        page.facts("What was run", report.run),
        drill_down(report.contestants),
    )
    return page.page(report.title, parts)


def judge_label(judge: str) -> str:
    """The judge's name, with a word on what it is."""
    return "lexical (no model: names, evidence overlap, refusal cues)" if judge == LEXICAL else f"{judge} (an LLM)"


def score_bars(columns: tables.Columns, title: str) -> str:
    """Bars of the three metrics, a colour a model; "" without a score."""
    rows = [
        charts.Bar(metric, name, series, one.get("mean"), one.get("low"), one.get("high"), *SCALES[metric])
        for metric in METRICS
        for series, (name, scores) in enumerate(columns.items())
        if (one := tables.number(scores, "all", metric))
    ]
    return charts.bars(rows, title) if rows else ""


def _results(report: Report) -> str:
    columns = report.columns
    parts = [f"<h2>{escape(' and '.join(columns)).capitalize() if len(columns) == 2 else 'Scores'}</h2>"]
    parts.append(page.warnings(tables.coverage_notes(columns)))
    parts.append(score_bars(columns, "Consistency, knowledge and rejection, with 95 % intervals"))
    for language in tables.languages(columns):
        parts.append(f"<h3>{'All languages' if language == 'all' else escape(language)}</h3>")
        parts.append(tables.html(columns, report.differences, language))
    return "\n".join(parts)


def _runs(report: Report) -> str:
    """Means of each run, where the sessions were played more than once: how much is the draw's doing."""
    rows = []
    for one in report.contestants:
        for run in sorted({judgement.run for judgement in one.judgements}):
            found = scores([judgement for judgement in one.judgements if judgement.run == run], 100, 0)["all"]
            rows.append([escape(one.name), str(run + 1), *(_mean(found[metric].get("mean")) for metric in METRICS)])
    drawn = page.table(("model", "run", *METRICS), rows)
    return f"<h2>Run by run</h2>\n{drawn}" if len(rows) > len(report.contestants) else ""


def _released(report: Report) -> str:
    rows = [
        [escape(one.name), escape(language), *(_mean(means[metric]) for metric in METRICS)]
        for one in report.contestants
        for language, means in one.released.items()
    ]
    if not rows:
        return ""
    told = "Plain means without intervals; unlike above, a rejection that could not be read counts as wrong."
    drawn = page.table(("model", "language", *METRICS), rows)
    summary = "<summary>The same, averaged as the authors' released scorer does</summary>"
    return f'<details>{summary}<p class="soft">{told}</p>{drawn}</details>'


def _mean(value: float | None) -> str:
    return "–" if value is None else f"{value:.2f}"


def _mt_bench(report: Report) -> str:
    graded = {one.name: one.mt_bench for one in report.contestants if one.mt_bench}
    if not graded:
        return ""
    names = list(dict.fromkeys(name for table in graded.values() for name in table))
    rows = [[escape(model), *(tables.cell_html(table.get(name, {})) for name in names)] for model, table in graded.items()]
    return f"<h2>MT-Bench role-play</h2>\n{page.table(['model', *names], rows)}"


def _leaderboard(report: Report) -> str:
    if not report.columns:
        return ""
    ours = leaderboard.rows(report.columns, {one.name: one.mt_bench for one in report.contestants})
    drawn = leaderboard.html(ours, leaderboard.published("table_2"))
    return (
        f"<h2>Beside the paper's figures</h2>\n<details><summary>Leaderboard with table 2 of the paper</summary>{drawn}</details>"
    )


def _agreement(table: Mapping[str, Mapping[str, Any]]) -> str:
    rows = [
        [escape(metric), escape(name), agreement.told(row[name]), f"{row['turns']} of {row['of']}"]
        for metric, row in table.items()
        for name in row
        if name not in ("turns", "of")
    ]
    heads = ("metric", "measure", "value", "turns scored by both")
    return f"<h2>Agreement of the two judges</h2>\n{page.table(heads, rows)}" if rows else ""


def _curve(losses: Sequence[tuple[float, float]]) -> str:
    drawn = charts.line(losses, "Training loss by step")
    return f"<h2>Training loss</h2>\n{drawn}" if drawn else ""


def _statistics(rows: Sequence[Sequence[str]]) -> str:
    if not rows:
        return ""
    return f"<h2>The dataset</h2>\n{page.table(rows[0], [[escape(cell) for cell in row] for row in rows[1:]])}"


def _ledgers(ledgers: Mapping[str, Mapping[str, Any]]) -> str:
    if not ledgers:
        return ""
    rows = [
        (escape(stage), str(one["inputs"]), str(one["ok"]), _reasons(one["failed"]), _reasons(one["filtered"]))
        for stage, one in ledgers.items()
    ]
    table = page.table(("stage", "inputs", "ok", "failed", "filtered"), rows)
    return f"<h2>What happened to every input</h2>\n{table}"


def _reasons(counts: Mapping[str, int]) -> str:
    return "<br>".join(f"{escape(reason)}: {number}" for reason, number in counts.items()) or "0"
