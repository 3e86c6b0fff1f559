"""Drill-down: every role's dialogue with every model's answers, verdicts and the judge's words, as HTML.

Input:   models with their predictions and judgements.
Output:  one closed `<details>` a session; every text from outside is escaped.

Example: "Marie Curie, physicist (en)", her five questions, and beneath each the answers side by side.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from html import escape

from ditto_core.evaluation.scores import Numbers, Scores
from ditto_core.evaluation.sessions import Session, by_session, prompts
from ditto_core.records import Judgement, Prediction


@dataclass(frozen=True, slots=True)
class Contestant:
    """One model of a report.

    Attributes:
        name: Over its column.
        scores: What `scores.scores` gave.
        predictions: For the drill-down.
        judgements: Of these predictions.
        mt_bench: What `mt_bench.scores` gave, or {}.
        released: What `wikiroleeval.released_scores` gave, or {}.
    """

    name: str
    scores: Scores
    predictions: Sequence[Prediction] = ()
    judgements: Sequence[Judgement] = ()
    mt_bench: Mapping[str, Numbers] = field(default_factory=dict)
    released: Mapping[str, Mapping[str, float | None]] = field(default_factory=dict)

    def played(self) -> dict[Session, Prediction]:
        """Its predictions by session."""
        return by_session(self.predictions)

    def judged(self) -> dict[Session, Judgement]:
        """Its judgements by session."""
        return by_session(self.judgements)


def drill_down(contestants: Sequence[Contestant]) -> str:
    """All sessions that any of the models played; "" if there are none."""
    played = [(one.name, one.played(), one.judged()) for one in contestants]
    keys = sorted({key for _, predictions, _ in played for key in predictions})
    parts = [
        _session([(name, predictions.get(key), judgements.get(key)) for name, predictions, judgements in played], key[2])
        for key in keys
    ]
    return "<h2>Role by role</h2>\n" + "\n".join(parts) if parts else ""


_Side = tuple[str, Prediction | None, Judgement | None]


def _session(sides: Sequence[_Side], run: int) -> str:
    example = next(prediction.example for _, prediction, _ in sides if prediction is not None)
    turns = [
        f'<p><strong>{escape(question)}</strong> <span class="soft">{escape(kind.replace("_", "-"))}</span></p>'
        f'<div class="sides">{"".join(_side(*side, turn) for side in sides)}</div>'
        for turn, (question, kind) in enumerate(zip(prompts(example), example.kinds, strict=True))
    ]
    shown = f"{example.description} ({example.language}{f', run {run + 1}' if run else ''})"
    about = f'{escape(example.label)} <span class="soft">{escape(shown)}</span>'
    source = " · ".join(part for part in (example.title, example.url, example.revision, example.licence) if part)
    origin = f'<p class="soft">Article: {escape(source)}</p>' if source else ""
    return f'<details class="role"><summary>{about}</summary>{origin}{"".join(turns)}</details>'


def _side(name: str, prediction: Prediction | None, judgement: Judgement | None, turn: int) -> str:
    if prediction is None:
        return "<div></div>"
    failure = f" · {escape(prediction.failures[turn])}" if prediction.failures[turn] else ""
    answer = escape(prediction.answers[turn]) or "(nothing)"
    said = f'<span class="soft">{escape(name)}{failure}</span><div class="said">{answer}</div>'
    return f"<div>{said}{_verdicts(judgement, turn)}</div>"


def _verdicts(judgement: Judgement | None, turn: int) -> str:
    if judgement is None:
        return ""
    picked = _told(judgement.consistency[turn], "role recognised", "role not recognised", "identity unscored")
    refused = _told(judgement.rejection[turn], "refused", "answered", "rejection unscored")
    known = judgement.knowledge[turn]
    told = [picked, refused]
    if judgement.labels[turn] == 0 or known is not None:
        told.insert(1, "knowledge unscored" if known is None else f"knowledge {known:.1f}")
    # One text in place of a list: a page of 100 roles has ten times fewer elements, and opens that much faster.
    replies = "\n".join(f"{vote.metric}: {reply}" for vote in judgement.votes[turn] for reply in vote.replies)
    raw = f'<details><summary>the judge\'s words</summary><div class="said">{escape(replies)}</div></details>' if replies else ""
    return f'<div class="soft">{" · ".join(told)}</div>{raw}'


def _told(verdict: float | None, yes: str, no: str, unscored: str) -> str:
    return unscored if verdict is None else yes if verdict > 0.5 else no
