"""Examples: one role's simulated turns become conversations with the profile taken away.

Input:   `Dialogue`s, one after another.
Output:  `Example`s: identity line, then user and assistant by turns; provenance beside them. What is left out is in the ledger.
Source:  arXiv 2401.12474, sections 3.3 (mixed sessions), 3.4 (identity line) and 4 (four candidates).

Example: system "You are Marie Curie, Polish-French physicist and chemist.", user "How did you ...?", assistant "I ..."

Order and candidates are drawn by hash of what they belong to, so the same dialogues give the same rows anywhere. Pure; one
dialogue is in memory at a time.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from random import Random

from ditto_core.dataset.candidates import Rings, candidates
from ditto_core.dataset.filters import Checks, Introductions, NearDuplicates, normalised, out_of_role, rejection
from ditto_core.dataset.splits import split_of
from ditto_core.errors import RowFailed
from ditto_core.languages import Language
from ditto_core.ledger import Ledger
from ditto_core.recipe import stable_hash
from ditto_core.records import Dialogue, Example, Message, Split, Turn
from ditto_core.settings import DatasetSettings


def assemble(
    dialogues: Iterable[Dialogue],
    rings: Rings,
    language: Language,
    settings: DatasetSettings,
    checks: Checks,
    ledger: Ledger,
) -> Iterator[Example]:
    """Rows of all splits, role by role.

    Args:
        rings: All characters of the language.
        checks: How refusals are seen, and the user's own check.
        ledger: Receives the account of the turns while the rows are taken.
    """
    for dialogue in dialogues:
        ledger.inputs += len(dialogue.turns)
        qid = dialogue.profile.character.qid
        split = split_of(qid, validation_share=settings.validation_share, test_share=settings.test_share)
        if split == "test":
            sessions = _test_session(dialogue, language, settings, ledger)
        else:
            sessions = _training_sessions(dialogue, language, settings, checks, ledger)
        for turns in sessions:
            if len(turns) < settings.min_turns:
                for turn in turns:
                    ledger.filter(qid, "too_few_turns", _text(turn))
                continue
            ledger.ok += len(turns)
            yield _example(dialogue, turns, split, candidates(qid, rings), language)


def _training_sessions(
    dialogue: Dialogue, language: Language, settings: DatasetSettings, checks: Checks, ledger: Ledger
) -> Iterator[Sequence[Turn]]:
    """As many sessions as the usable turns fill."""
    qid = dialogue.profile.character.qid
    usable = _usable(dialogue, lambda turn: rejection(turn, language, settings, checks), ledger)
    balanced = _balanced(_mixed(qid, usable), settings.contrastive_share, ledger)
    near = NearDuplicates(settings.near_duplicate)
    introductions = Introductions(dialogue.profile.character, language)
    session: list[Turn] = []
    introduced = 0
    for turn in balanced:
        introduces = introductions.has(turn.answer)
        if introduces and introduced >= settings.max_self_introductions:
            ledger.filter(qid, "self_introduction", _text(turn))
        elif near.add(turn):
            ledger.filter(qid, "near_duplicate", _text(turn))
        else:
            session.append(turn)
            introduced += introduces
        if len(session) == settings.turns_per_session:
            yield session
            session, introduced = [], 0
    if session:
        yield session


def _test_session(dialogue: Dialogue, language: Language, settings: DatasetSettings, ledger: Ledger) -> Iterator[Sequence[Turn]]:
    """One session, with every question that it has room for; its answers, references to the authors' format, are a role's."""
    qid = dialogue.profile.character.qid
    mixed = _mixed(qid, _usable(dialogue, lambda turn: out_of_role(turn, language, settings), ledger))
    for turn in mixed[settings.test_questions :]:
        ledger.filter(qid, "beyond_test_questions", _text(turn))
    if mixed:
        yield mixed[: settings.test_questions]


def _usable(dialogue: Dialogue, reason_against: Callable[[Turn], str | None], ledger: Ledger) -> list[Turn]:
    """The turns that nothing speaks against, each question once."""
    usable: dict[str, Turn] = {}
    for turn in dialogue.turns:
        plain = normalised(turn.query.question)
        try:
            reason = "duplicate_question" if plain in usable else reason_against(turn)
        except RowFailed as failure:
            ledger.fail(dialogue.profile.character.qid, RowFailed(failure.reason, "the judge did not answer", raw=_text(turn)))
            continue
        if reason is None:
            usable[plain] = turn
        else:
            ledger.filter(dialogue.profile.character.qid, reason, _text(turn))
    return list(usable.values())


def _balanced(turns: Sequence[Turn], share: float, ledger: Ledger) -> Iterator[Turn]:
    """The turns in their order, without the contrastive ones that come after their share is full."""
    own = sum(turn.query.kind == "role_specific" for turn in turns)
    room = len(turns) if share == 1 else int(own * share / (1 - share))
    for turn in turns:
        if turn.query.kind == "contrastive":
            room -= 1
            if room < 0:
                ledger.filter(turn.query.role, "beyond_contrastive_share", _text(turn))
                continue
        yield turn


def _mixed(qid: str, turns: Sequence[Turn]) -> list[Turn]:
    """Both kinds in one order that belongs to the role."""
    mixed = list(turns)
    Random(stable_hash(f"order:{qid}")).shuffle(mixed)
    return mixed


def _text(turn: Turn) -> str:
    return f"{turn.query.question} -> {turn.answer}"


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
