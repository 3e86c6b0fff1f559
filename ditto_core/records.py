"""The rows that stages hand to each other, and their Arrow schemas.

Frozen dataclasses in memory, Parquet on disk; `to_table` and `from_table` convert both ways. Stages meet only here.
"""

import dataclasses
import types
import typing
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from functools import cache
from typing import Any, Literal, TypeVar

import pyarrow as pa

Kind = Literal["role_specific", "contrastive"]
Split = Literal["train", "validation", "test"]


@dataclass(frozen=True, slots=True)
class Claim:
    """One fact of a character: "award received: Nobel Prize in Physics (1903)".

    Attributes:
        property_id: P-id.
        property: Label of the property in the character's language.
        value: Label, date or text of the value in that language.
        value_id: Q-id of the value where it is an item, else "".
        when: Year of the qualifier "point in time", "start time" or "publication date", else "".
    """

    property_id: str
    property: str
    value: str
    value_id: str = ""
    when: str = ""

    def text(self) -> str:
        """The claim as one line."""
        return f"{self.property}: {self.value}" + (f" ({self.when})" if self.when else "")


@dataclass(frozen=True, slots=True)
class Character:
    """A character as the knowledge base lists it, in one language.

    Attributes:
        qid: Wikidata id, such as "Q7186".
        language: Code of the language of label, description, aliases and claims.
        kind: Q-id of the class under which it was ranked, such as "Q5".
        sitelinks: Number of wikis with a page; the ranking's measure of fame.
        title: Title of the article in that language's Wikipedia.
    """

    qid: str
    language: str
    kind: str
    label: str
    description: str
    sitelinks: int
    title: str
    aliases: tuple[str, ...] = ()
    claims: tuple[Claim, ...] = ()


@dataclass(frozen=True, slots=True)
class Section:
    """One section of an article in clean prose; the lead has the heading ""."""

    heading: str
    text: str


@dataclass(frozen=True, slots=True)
class Article:
    """One page of a wiki as prose, with what attribution needs.

    Attributes:
        links: Titles that the page links to; pairing keeps linked characters apart.
        revision: Revision id of the text.
        timestamp: Of that revision, ISO 8601.
        licence: SPDX-like name of the text's licence.
    """

    title: str
    sections: tuple[Section, ...]
    links: tuple[str, ...]
    revision: str
    timestamp: str
    url: str
    licence: str


@dataclass(frozen=True, slots=True)
class Page:
    """What a wiki holds under a title that was asked for: the article, or the name of the reason why there is none."""

    wanted: str
    article: Article | None
    reason: str = ""


@dataclass(frozen=True, slots=True)
class Profile:
    """Everything a seed LLM is shown of a character (paper section 3.2). One row of the knowledge stage."""

    character: Character
    article: Article
    summary: str

    @property
    def session(self) -> str:
        """Name of the session: one character in one language."""
        return f"{self.character.language}:{self.character.qid}"


@dataclass(frozen=True, slots=True)
class Place:
    """A role's place among the others: in which shard it is and whom it is paired with.

    Attributes:
        profile: Digest of the profile, so that a changed one recomputes the sessions that show it and no others.
        partners: Q-ids that the role's own questions must be foreign to.
        askers: Q-ids whose questions are foreign to this role.
    """

    role: str
    label: str
    kind: str
    shard: int
    profile: str
    partners: tuple[str, ...]
    askers: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Query:
    """One question put to a role, with where it came from.

    Attributes:
        role: Q-id of the character that is asked.
        source: Q-id of the character that the question was written about: the role itself if the kind is
            "role_specific", else another whose world is foreign to the role.
        reason: Why the other of the pair cannot answer, in the writer's words.
        evidence: Claims and sentences of the source's profile that the question is about, best first.
        key: Row key of the completion that held the question.
    """

    role: str
    source: str
    kind: Kind
    question: str
    reason: str
    evidence: tuple[str, ...]
    key: str


@dataclass(frozen=True, slots=True)
class Turn:
    """A question and the role's simulated answer."""

    query: Query
    answer: str
    key: str


@dataclass(frozen=True, slots=True)
class Dialogue:
    """All turns of one role in one language: one session. One row of the simulation stage."""

    profile: Profile
    turns: tuple[Turn, ...]


@dataclass(frozen=True, slots=True)
class Message:
    """One message of a chat."""

    role: Literal["system", "user", "assistant"]
    content: str


@dataclass(frozen=True, slots=True)
class Example:
    """One row of the dataset: a conversation, then its provenance.

    Attributes:
        messages: System line of identity, then user and assistant by turns.
        kinds: Of each turn's question, in order.
        sources: Q-id each question was written about.
        evidence: For each turn the facts that its question is about.
        candidates: Four labels, the role's among them, for the identity question of the judge.
        keys: Row key of each answer.
    """

    messages: tuple[Message, ...]
    split: Split
    role: str
    language: str
    label: str
    description: str
    kind: str
    kinds: tuple[Kind, ...]
    sources: tuple[str, ...]
    evidence: tuple[tuple[str, ...], ...]
    candidates: tuple[str, ...]
    keys: tuple[str, ...]
    summary: str
    claims: tuple[str, ...]
    aliases: tuple[str, ...]
    title: str
    revision: str
    url: str
    licence: str


@dataclass(frozen=True, slots=True)
class Prediction:
    """The model under test in one session.

    Attributes:
        example: The session of the test split that was played.
        model: Name under which the model's scores are shown.
        answers: One for each prompt, in order; "" where the engine failed.
        failures: One for each prompt: why there is no answer, else "".
        run: Number of the run, from 0; a model may play every session several times.
    """

    example: Example
    model: str
    answers: tuple[str, ...]
    failures: tuple[str, ...]
    run: int = 0


@dataclass(frozen=True, slots=True)
class Vote:
    """One vote of a judge on one turn.

    Attributes:
        metric: "consistency", "knowledge" or "rejection".
        prompt: What the judge was asked, as sent; "" for the judge without a model.
        replies: Its raw replies: a second one where the first could not be read.
        verdict: What was read; None if nothing was.
    """

    metric: str
    prompt: str
    replies: tuple[str, ...]
    verdict: float | None


@dataclass(frozen=True, slots=True)
class Judgement:
    """Verdicts over one session, one entry a turn; None is unscored, never wrong.

    Attributes:
        judge: "lexical", or the name of the judging model.
        consistency: 1 if the judge picked the role among the candidates, 0 if another or none; files of others may hold
            the share of votes.
        knowledge: 1 to 10, for role-specific questions; our judges leave contrastive ones None.
        rejection: 1 if the judge says that the role refused, else 0.
        labels: What `rejection` should be: 1 for contrastive questions.
        votes: Of each turn, on all metrics.
        run: Of the prediction.
    """

    role: str
    language: str
    model: str
    judge: str
    consistency: tuple[float | None, ...]
    knowledge: tuple[float | None, ...]
    rejection: tuple[float | None, ...]
    labels: tuple[int, ...]
    votes: tuple[tuple[Vote, ...], ...]
    run: int = 0


Record = TypeVar("Record")


def schema(record: type) -> pa.Schema:
    """The Arrow schema of a record type."""
    return pa.schema([pa.field(name, _arrow(hint)) for name, hint in _hints(record).items()])


def to_table(record: type[Record], rows: Iterable[Record]) -> pa.Table:
    """Rows as a table with that type's schema; no row gives an empty table with the same schema."""
    return pa.Table.from_pylist([_plain(row) for row in rows], schema=schema(record))


def from_table(record: type[Record], table: pa.Table) -> Iterator[Record]:
    """Rows of a table that `to_table` made."""
    row_type: Any = record
    build = _builder(row_type)
    return (build(row) for batch in table.to_batches() for row in batch.to_pylist())


def _hints(record: type) -> dict[str, Any]:
    hints = typing.get_type_hints(record)
    return {field.name: hints[field.name] for field in dataclasses.fields(record)}


_SCALARS: dict[Any, pa.DataType] = {str: pa.string(), int: pa.int64(), float: pa.float64()}


def _arrow(hint: Any) -> pa.DataType:
    if dataclasses.is_dataclass(hint):
        assert isinstance(hint, type)
        return pa.struct(list(schema(hint)))
    origin, arguments = typing.get_origin(hint), typing.get_args(hint)
    if origin is tuple:
        return pa.list_(_arrow(arguments[0]))
    if origin is Literal:
        return pa.string()
    if origin in (types.UnionType, typing.Union):
        return _arrow(next(part for part in arguments if part is not type(None)))
    return _SCALARS[hint]


def _plain(value: Any) -> Any:
    if dataclasses.is_dataclass(value):
        return {field.name: _plain(getattr(value, field.name)) for field in dataclasses.fields(value)}
    if isinstance(value, tuple):
        return [_plain(item) for item in value]
    return value


@cache
def _builder(hint: Any) -> Callable[[Any], Any]:
    """What makes a value of that type from plain data; worked out once, since a dataset has millions of rows."""
    if dataclasses.is_dataclass(hint):
        assert isinstance(hint, type)
        make: Callable[..., Any] = hint
        parts = [(name, _builder(part)) for name, part in _hints(hint).items()]
        return lambda row: make(*[build(row[name]) for name, build in parts])
    if isinstance(hint, types.UnionType):
        known = _builder(next(part for part in typing.get_args(hint) if part is not type(None)))
        return lambda value: None if value is None else known(value)
    if typing.get_origin(hint) is tuple:
        item = typing.get_args(hint)[0]
        build = _builder(item)
        return tuple if build is _as_it_is else lambda values: tuple([build(value) for value in values])
    return _as_it_is


def _as_it_is(value: Any) -> Any:
    return value
