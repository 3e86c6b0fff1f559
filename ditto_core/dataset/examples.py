"""Examples: one role's simulated turns become conversations with the profile taken away.

Input:   a `Dialogue`.
Output:  `Example`s: identity line, then user and assistant by turns; provenance beside them.
Source:  arXiv 2401.12474, sections 3.3 (mixed sessions), 3.4 (identity line) and 4 (four candidates).

Example: system "You are Marie Curie, Polish-French physicist and chemist.", user "How did you ...?", assistant "I ..."

Order and candidates are drawn by hash of what they belong to, so the same dialogues give the same rows anywhere. Pure.
"""

from bisect import bisect_right
from collections.abc import Iterable, Iterator, Sequence
from random import Random

from ditto_core.dataset.filters import normalised, rejection
from ditto_core.dataset.splits import split_of
from ditto_core.languages import Language
from ditto_core.ledger import Ledger
from ditto_core.recipe import stable_hash
from ditto_core.records import Dialogue, Example, Message, Split, Turn
from ditto_core.settings import DatasetSettings

CANDIDATES = 4
"""Choices of the identity question (paper section 4)."""

Other = tuple[str, str, str]
"""Q-id, label and class of a character that may stand beside a role as a candidate."""


def assemble(
    dialogues: Iterable[Dialogue], others: Sequence[Other], language: Language, settings: DatasetSettings
) -> tuple[list[Example], Ledger]:
    """Rows of all splits of one shard, and the account of its turns.

    Args:
        others: All characters of the language.
    """
    rows: list[Example] = []
    ledger = Ledger()
    rings = Rings(others)
    for dialogue in dialogues:
        ledger.inputs += len(dialogue.turns)
        qid = dialogue.profile.character.qid
        split = split_of(qid, validation_share=settings.validation_share, test_share=settings.test_share)
        kept = list(_kept(dialogue, split, language, ledger))
        mixed = _mixed(qid, kept)
        if split != "test":
            mixed = _balanced(mixed, settings.contrastive_share, ledger)
        for turns in _sessions(mixed, split, settings):
            if len(turns) < settings.min_turns:
                for turn in turns:
                    ledger.filter(qid, "too_few_turns", turn.query.question)
                continue
            ledger.ok += len(turns)
            rows.append(_example(dialogue, turns, split, candidates(qid, rings), language))
        if split == "test":
            for turn in mixed[settings.test_questions :]:
                ledger.filter(qid, "beyond_test_questions", turn.query.question)
    return rows, ledger


def candidates(qid: str, rings: "Rings") -> tuple[str, ...]:
    """The role's label and three others, in an order of their own.

    The others are of the role's class; where that has too few, the whole language lends some, since a choice among fewer than
    four would be easier than the others' and flatter the score.
    """
    label, kind = rings.labels[qid]
    chosen = [label]
    for ring in (rings.by_kind[kind], rings.all):
        start = bisect_right(ring, (stable_hash(f"candidates:{qid}"), "", ""))
        for step in range(len(ring)):
            if len(chosen) == CANDIDATES:
                break
            _, other, other_label = ring[(start + step) % len(ring)]
            if other != qid and other_label not in chosen:
                chosen.append(other_label)
    return tuple(sorted(chosen, key=lambda name: stable_hash(f"{qid}:{name}")))


class Rings:
    """All characters of a language on one ring, and on one per class."""

    def __init__(self, others: Sequence[Other]) -> None:
        self.labels = {qid: (label, kind) for qid, label, kind in others}
        self.all = sorted((stable_hash(f"ring:{qid}"), qid, label) for qid, label, _ in others)
        self.by_kind: dict[str, list[tuple[int, str, str]]] = {}
        for place in self.all:
            self.by_kind.setdefault(self.labels[place[1]][1], []).append(place)


def _kept(dialogue: Dialogue, split: Split, language: Language, ledger: Ledger) -> Iterator[Turn]:
    """The usable turns, mixed: both kinds in one order that belongs to the role."""
    qid = dialogue.profile.character.qid
    seen: set[str] = set()
    for turn in dialogue.turns:
        question = turn.query.question
        plain = normalised(question)
        reason = None if split == "test" else rejection(turn, language)
        if plain in seen:
            reason = "duplicate_question"
        if reason is not None:
            ledger.filter(qid, reason, f"{question} -> {turn.answer}")
            continue
        seen.add(plain)
        yield turn


def _sessions(turns: Sequence[Turn], split: Split, settings: DatasetSettings) -> Iterator[Sequence[Turn]]:
    """One session of a test role; as many as its turns fill for all others."""
    if split == "test":
        if turns:
            yield turns[: settings.test_questions]
        return
    for start in range(0, len(turns), settings.turns_per_session):
        yield turns[start : start + settings.turns_per_session]


def _balanced(turns: Sequence[Turn], share: float, ledger: Ledger) -> list[Turn]:
    """The turns in their order, without the contrastive ones that come after their share is full."""
    own = sum(turn.query.kind == "role_specific" for turn in turns)
    room = len(turns) if share == 1 else int(own * share / (1 - share))
    kept: list[Turn] = []
    for turn in turns:
        if turn.query.kind == "contrastive":
            room -= 1
            if room < 0:
                ledger.filter(turn.query.role, "beyond_contrastive_share", turn.query.question)
                continue
        kept.append(turn)
    return kept


def _mixed(qid: str, turns: Sequence[Turn]) -> list[Turn]:
    mixed = list(turns)
    Random(stable_hash(f"order:{qid}")).shuffle(mixed)
    return mixed


def _example(dialogue: Dialogue, turns: Sequence[Turn], split: Split, names: tuple[str, ...], language: Language) -> Example:
    character, article = dialogue.profile.character, dialogue.profile.article
    messages = [Message("system", language.identity(character.label, character.description))]
    for turn in turns:
        messages += [Message("user", turn.query.question), Message("assistant", turn.answer)]
    return Example(
        messages=tuple(messages),
        split=split,
        role=character.qid,
        language=language.code,
        label=character.label,
        description=character.description,
        kind=character.kind,
        kinds=tuple(turn.query.kind for turn in turns),
        sources=tuple(turn.query.source for turn in turns),
        evidence=tuple(turn.query.evidence for turn in turns),
        candidates=names,
        keys=tuple(turn.key for turn in turns),
        summary=dialogue.profile.summary,
        claims=tuple(claim.text() for claim in character.claims),
        aliases=character.aliases,
        title=article.title,
        revision=article.revision,
        url=article.url,
        licence=article.licence,
    )
