"""Report: what a run found, as one HTML file that needs nothing else, and as short texts for terminals and artifacts.

Input:   scores before and after, ledgers, the loss curve, predictions and judgements.
Output:  `render(report)`: HTML with its style and pictures inside, no script, readable on a phone, light and dark.
         `markdown_table` and `sample_exchanges`: the same for Prefect artifacts and the terminal.
Source:  arXiv 2401.12474, section 4 and table 2.

Example of `markdown_table`:
    | metric | before | after | change |
    |---|---|---|---|
    | consistency | 0.52 [0.41, 0.63], 100 % scored | 0.82 [0.74, 0.90], 100 % scored | +0.30 |

Everything here is pure, and every text from outside is escaped.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from html import escape
from typing import Any

from ditto_core.evaluation import charts
from ditto_core.evaluation.judge import LEXICAL
from ditto_core.evaluation.scores import BREAKDOWN, METRICS, Scores
from ditto_core.evaluation.sessions import prompts
from ditto_core.recipe import stable_hash
from ditto_core.records import Judgement, Kind, Prediction

_SCALES: Mapping[str, tuple[float, float]] = {
    "consistency": (0.0, 1.0),
    "knowledge": (1.0, 10.0),
    "rejection": (0.0, 1.0),
}
_MEANINGS: Mapping[str, str] = {
    "consistency": "turns in which the judge picked the role, 0 to 1",
    "knowledge": "agreement with the evidence, 1 to 10, role-specific turns",
    "rejection": "refused where it should, answered where it should, 0 to 1",
    "contrastive_refused": "contrastive turns refused; higher is better",
    "false_refusals": "role-specific turns refused; lower is better",
}
_STYLE = """
:root{color-scheme:light dark;--ground:#fff;--ink:#1d232b;--soft:#59636e;--line:#d5dae0;--card:#f5f7f9;
--before:#8a94a0;--after:#1f6feb}
@media(prefers-color-scheme:dark){:root{--ground:#14181d;--ink:#e4e8ec;--soft:#9aa4af;--line:#333b44;--card:#1c2229;
--before:#7d8794;--after:#58a6ff}}
*{box-sizing:border-box}
body{margin:0 auto;max-width:62rem;padding:1rem;background:var(--ground);color:var(--ink);
font:16px/1.5 system-ui,sans-serif;overflow-wrap:anywhere}
h1{font-size:1.6rem;line-height:1.2}h2{font-size:1.2rem;margin-top:2rem}h3{font-size:1rem}
p,dd,li{max-width:44rem}.soft{color:var(--soft)}.warn{border-left:4px solid #d29922;padding-left:.7rem}
.scroll{overflow-x:auto}table{border-collapse:collapse;overflow-wrap:normal;font-variant-numeric:tabular-nums}
th,td{text-align:left;vertical-align:top;padding:.35rem .7rem .35rem 0;border-bottom:1px solid var(--line)}
td small,th small{color:var(--soft);display:block;font-weight:400}
dl{display:grid;grid-template-columns:max-content 1fr;gap:.2rem 1rem}dt{color:var(--soft)}dd{margin:0}
details{border:1px solid var(--line);border-radius:.4rem;margin:.5rem 0;padding:.4rem .8rem}
summary{cursor:pointer}.pair{display:grid;grid-template-columns:1fr 1fr;gap:.8rem}
.said{background:var(--card);border-radius:.4rem;padding:.5rem .7rem;margin:.3rem 0;white-space:pre-wrap}
svg{width:100%;height:auto;max-width:36rem;display:block}svg text{fill:var(--ink);font:13px system-ui,sans-serif}
.before{fill:var(--before)}.after{fill:var(--after)}.whisker{stroke:var(--ink);stroke-width:1.5}
.axis{stroke:var(--line);fill:none}.curve{stroke:var(--after);stroke-width:2;fill:none}
@media(max-width:40rem){.pair{grid-template-columns:1fr}dl{grid-template-columns:1fr}dd{margin-bottom:.4rem}
th,td{padding-right:.5rem;font-size:.9rem}}
"""


@dataclass(frozen=True, slots=True)
class Session:
    """One role, before and after; what is missing is None."""

    before: Prediction | None
    after: Prediction | None
    judged_before: Judgement | None
    judged_after: Judgement | None


@dataclass(frozen=True, slots=True)
class Report:
    """All that a report shows.

    Attributes:
        run: Name -> value of what was run: model, engine, settings, digests.
        judge: Name of the judge.
        before: Scores of the seed LLM; {} if it was not judged.
        after: Scores of the fine-tuned one; {} if it was not judged.
        differences: What `scores.compare` gave, or {}.
        ledgers: Stage -> summary of its ledger, in the order of the stages.
        losses: (step, loss) of the training.
        sessions: For the drill-down.
    """

    title: str
    run: Mapping[str, str]
    judge: str
    before: Scores
    after: Scores
    differences: Mapping[str, Mapping[str, Mapping[str, Any]]]
    ledgers: Mapping[str, Mapping[str, Any]]
    losses: Sequence[tuple[float, float]]
    sessions: Sequence[Session]


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


def sessions(
    before: Iterable[Prediction],
    after: Iterable[Prediction],
    judged_before: Iterable[Judgement],
    judged_after: Iterable[Judgement],
) -> list[Session]:
    """Bring together what belongs to one role, by language and role."""
    old = {(one.example.language, one.example.role): one for one in before}
    new = {(one.example.language, one.example.role): one for one in after}
    first = {(one.language, one.role): one for one in judged_before}
    second = {(one.language, one.role): one for one in judged_after}
    return [Session(old.get(key), new.get(key), first.get(key), second.get(key)) for key in sorted(old | new)]


def sample_exchanges(before: Iterable[Prediction], after: Iterable[Prediction], n: int) -> list[Exchange]:
    """At most `n` questions that both have answered: other roles first, both kinds by turns, the same in every run."""
    found: list[tuple[int, int, Exchange]] = []
    for session in sessions(before, after, (), ()):
        if session.before is None or session.after is None:
            continue
        example = session.before.example
        seen = {"role_specific": 0, "contrastive": 0}
        order = stable_hash(f"{example.language}:{example.role}")
        for turn, (kind, question) in enumerate(zip(example.kinds, prompts(example), strict=True)):
            said = Exchange(example.label, kind, question, session.before.answers[turn], session.after.answers[turn])
            found.append((seen[kind], order, said))
            seen[kind] += 1
    ranked = [said for _, _, said in sorted(found, key=lambda entry: entry[:2])]
    own = [said for said in ranked if said.kind == "role_specific"]
    # From the other end of the ring of roles, so that a short sample shows two roles and not one twice.
    other = [said for _, _, said in sorted(found, key=lambda entry: (entry[0], -entry[1])) if said.kind == "contrastive"]
    mixed = [said for pair in zip(own, other, strict=False) for said in pair]
    shorter = min(len(own), len(other))
    return (mixed + own[shorter:] + other[shorter:])[:n]


def markdown_table(scores_before: Scores, scores_after: Scores) -> str:
    """The scores as a markdown table, a block a language; says where coverage differs. Either may be {}."""
    lines = []
    for language in _languages(scores_before, scores_after):
        old, new = scores_before.get(language, {}), scores_after.get(language, {})
        name = "all languages" if language == "all" else language
        lines += [f"| {name} | before | after | change |", "|---|---|---|---|"]
        for metric in (*METRICS, *BREAKDOWN):
            first, second = old.get(metric, {}), new.get(metric, {})
            told = (_line(score) for score in (first, second))
            cells = (metric.replace("_", " "), *told, _change(first, second))
            lines.append(f"| {' | '.join(cells)} |")
        lines.append("")
    notes = _coverage_notes(scores_before, scores_after)
    return "\n".join(lines + [f"Note: {note}." for note in notes]).strip() + "\n"


def render(report: Report) -> str:
    """The report as one HTML document."""
    parts = (
        f"<h1>{escape(report.title)}</h1>",
        f"<p>Judge: <strong>{escape(judge_label(report.judge))}</strong></p>",
        _results(report),
        _curve(report.losses),
        _ledgers(report.ledgers),
        _run(report.run),
        _drill_down(report.sessions),
    )
    return (
        '<!doctype html>\n<html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width,initial-scale=1">'
        f"<title>{escape(report.title)}</title><style>{_STYLE}</style></head>\n<body>\n"
        + "\n".join(part for part in parts if part)
        + "\n</body></html>\n"
    )


def judge_label(judge: str) -> str:
    """The judge's name, with a word on what it is."""
    return "lexical (no model: names, evidence overlap, refusal cues)" if judge == LEXICAL else f"{judge} (an LLM)"


def _languages(before: Scores, after: Scores) -> list[str]:
    """First "all", then each language unless there is only one, which would say the same twice."""
    languages = sorted((before.keys() | after.keys()) - {"all"})
    return ["all", *languages] if len(languages) > 1 else ["all"]


def _cell(score: Mapping[str, float | None]) -> tuple[str, str, str]:
    """Mean, interval and coverage."""
    mean, low, high, coverage = (score.get(key) for key in ("mean", "low", "high", "coverage"))
    scored = "" if coverage is None else f"{coverage:.0%} scored"
    if mean is None:
        return ("not scored" if score else "–"), "", scored
    interval = "" if low is None or high is None else f"[{low:.2f}, {high:.2f}]"
    return f"{mean:.2f}", interval, scored


def _line(score: Mapping[str, float | None]) -> str:
    mean, interval, scored = _cell(score)
    return ", ".join(part for part in (f"{mean} {interval}".strip(), scored) if part)


def _change(first: Mapping[str, float | None], second: Mapping[str, float | None]) -> str:
    old, new = first.get("mean"), second.get("mean")
    return "–" if old is None or new is None else f"{new - old:+.2f}"


def _coverage_notes(before: Scores, after: Scores) -> list[str]:
    notes = []
    for language in _languages(before, after):
        for metric in METRICS:
            old = before.get(language, {}).get(metric, {}).get("coverage")
            new = after.get(language, {}).get(metric, {}).get("coverage")
            if old is not None and new is not None and abs(old - new) > 1e-9:
                shares = f"{old:.1%} of the turns before, {new:.1%} after"
                notes.append(f"{metric} ({language}) was scored on {shares}: the two means are of different turns")
    return notes


def _results(report: Report) -> str:
    parts = ["<h2>Before and after</h2>"]
    parts += [f'<p class="warn">{escape(note)}.</p>' for note in _coverage_notes(report.before, report.after)]
    overall = [(style, part.get("all", {})) for style, part in (("before", report.before), ("after", report.after))]
    rows = [_bar(metric, style, part[metric]) for metric in METRICS for style, part in overall if metric in part]
    if rows:
        parts.append(charts.bars(rows, "Consistency, knowledge and rejection before and after, with 95 % intervals"))
    for language in _languages(report.before, report.after):
        parts.append(f"<h3>{'All languages' if language == 'all' else escape(language)}</h3>")
        parts.append(_score_table(report, language))
    return "\n".join(parts)


def _bar(metric: str, style: str, score: Mapping[str, float | None]) -> charts.Bar:
    least, most = _SCALES[metric]
    return charts.Bar(metric, style, score.get("mean"), score.get("low"), score.get("high"), least, most)


def _score_table(report: Report, language: str) -> str:
    old, new = report.before.get(language, {}), report.after.get(language, {})
    rows = []
    for metric in (*METRICS, *BREAKDOWN):
        first, second = old.get(metric, {}), new.get(metric, {})
        difference = report.differences.get(language, {}).get(metric, {})
        name = f"{metric.replace('_', ' ')}<small>{escape(_MEANINGS[metric])}</small>"
        change = _difference(difference) if difference else escape(_change(first, second))
        told = ("{}<small>{}</small><small>{}</small>".format(*_cell(score)) for score in (first, second))
        rows.append((name, *told, change))
    return _table(("metric", "before", "after", "change"), rows)


def _difference(difference: Mapping[str, Any]) -> str:
    if difference["difference"] is None:
        return "–"
    text = f"{difference['difference']:+.2f}"
    if difference["low"] is not None:
        text += f"<small>[{difference['low']:+.2f}, {difference['high']:+.2f}]</small>"
    note = f"<small>{escape(difference['note'])}</small>" if difference["note"] else ""
    return f"{text}<small>paired, {difference['sessions']} sessions</small>{note}"


def _curve(losses: Sequence[tuple[float, float]]) -> str:
    drawn = charts.line(losses, "Training loss by step")
    return f"<h2>Training loss</h2>\n{drawn}" if drawn else ""


def _ledgers(ledgers: Mapping[str, Mapping[str, Any]]) -> str:
    if not ledgers:
        return ""
    rows = [
        (escape(stage), str(one["inputs"]), str(one["ok"]), _reasons(one["failed"]), _reasons(one["filtered"]))
        for stage, one in ledgers.items()
    ]
    table = _table(("stage", "inputs", "ok", "failed", "filtered"), rows)
    return f"<h2>What happened to every input</h2>\n{table}"


def _reasons(counts: Mapping[str, int]) -> str:
    return "<br>".join(f"{escape(reason)}: {number}" for reason, number in counts.items()) or "0"


def _run(run: Mapping[str, str]) -> str:
    rows = "".join(f"<dt>{escape(name)}</dt><dd>{escape(str(value))}</dd>" for name, value in run.items())
    return f"<h2>What was run</h2>\n<dl>{rows}</dl>" if run else ""


def _table(heads: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A table of cells that are HTML already."""
    head = "".join(f"<th>{escape(cell)}</th>" for cell in heads)
    body = "".join(f"<tr>{''.join(f'<td>{cell}</td>' for cell in row)}</tr>" for row in rows)
    return f'<div class="scroll"><table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table></div>'


def _drill_down(shown: Sequence[Session]) -> str:
    parts = [_session(session) for session in shown]
    return "<h2>Role by role</h2>\n" + "\n".join(parts) if parts else ""


def _session(session: Session) -> str:
    prediction = session.after or session.before
    if prediction is None:
        return ""
    example = prediction.example
    turns = [
        f'<p><strong>{escape(question)}</strong> <span class="soft">{escape(kind.replace("_", "-"))}</span></p>'
        f'<div class="pair">{_side("before", session.before, session.judged_before, turn)}'
        f"{_side('after', session.after, session.judged_after, turn)}</div>"
        for turn, (question, kind) in enumerate(zip(prompts(example), example.kinds, strict=True))
    ]
    about = f'{escape(example.label)} <span class="soft">{escape(example.description)} ({escape(example.language)})</span>'
    source = " · ".join(part for part in (example.title, example.url, example.revision, example.licence) if part)
    origin = f'<p class="soft">Article: {escape(source)}</p>' if source else ""
    return f"<details><summary>{about}</summary>{origin}{''.join(turns)}</details>"


def _side(name: str, prediction: Prediction | None, judgement: Judgement | None, turn: int) -> str:
    if prediction is None:
        return "<div></div>"
    failure = f" · {escape(prediction.failures[turn])}" if prediction.failures[turn] else ""
    answer = escape(prediction.answers[turn]) or "(nothing)"
    said = f'<span class="soft">{name}{failure}</span><div class="said">{answer}</div>'
    return f"<div>{said}{_verdicts(judgement, turn)}</div>"


def _verdicts(judgement: Judgement | None, turn: int) -> str:
    if judgement is None:
        return ""
    picked = _told(judgement.consistency[turn], "role recognised", "role not recognised", "identity unscored")
    refused = _told(judgement.rejection[turn], "refused", "answered", "rejection unscored")
    known = judgement.knowledge[turn]
    verdicts = [picked, refused]
    if judgement.labels[turn] == 0:
        verdicts.insert(1, "knowledge unscored" if known is None else f"knowledge {known:.1f}")
    replies = "".join(f"<li>{escape(f'{vote.metric}: {reply}')}</li>" for vote in judgement.votes[turn] for reply in vote.replies)
    raw = f"<details><summary>the judge's words</summary><ul>{replies}</ul></details>" if replies else ""
    return f'<div class="soft">{" · ".join(verdicts)}</div>{raw}'


def _told(verdict: float | None, yes: str, no: str, unscored: str) -> str:
    return unscored if verdict is None else yes if verdict > 0.5 else no
