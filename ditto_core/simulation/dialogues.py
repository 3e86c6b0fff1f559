"""The simulation of one shard: questions for its roles, then their answers.

Input:   the roles' places, the profiles that their prompts show, a generator.
Output:  one `Dialogue` a role, and a ledger whose unit is the turn: a question put to a role.
Source:  arXiv 2401.12474, algorithm 1.

Many roles are under way at once, each a coroutine in the shard's thread: one waits for another draw of its questions while the
next one answers already, so that the engine never runs dry between questions and answers. They start in the order of the shard,
which keeps the requests of one role together for the engine's prefix cache.

A pair is asked for once for its role and once for its partner, often in another shard; the memo in front of the generator
makes that one request. So no shard waits for another, and each is a pure function of the profiles it shows.
"""

import asyncio
from collections import Counter, defaultdict
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache

from ditto_core.errors import RowFailed
from ditto_core.generation.generator import Generator
from ditto_core.generation.requests import Completion, Outcome, Request
from ditto_core.knowledge.profiles import facts
from ditto_core.languages import Language
from ditto_core.ledger import UNAVAILABLE, Ledger
from ditto_core.records import Dialogue, Kind, Message, Place, Profile, Query, Turn
from ditto_core.settings import SimulationSettings
from ditto_core.simulation import evidence, queries, responses

ROLES_AT_ONCE = 128
"""Of one shard: with about six requests each, and several shards at once, they keep a large engine's batch full."""

_COUNTED = 50_000
"""Texts whose length is remembered: the sentences of about as many profiles as are under way."""

Pair = tuple[str, str]
"""Q-ids: whose questions they are, and to whom they are foreign."""
OnProgress = Callable[[int, Mapping[str, int]], None]
"""Called, in the thread of the shard, with how many of its `planned` replies are there, and with turns lost, by reason."""


@dataclass(frozen=True, slots=True)
class Simulated:
    """What became of a shard.

    Attributes:
        dialogues: One for each role that has a turn.
        ledger: Of turns; its note "no_turns" counts the roles that have none, so that no session vanishes unsaid.
    """

    dialogues: list[Dialogue]
    ledger: Ledger


@dataclass(frozen=True, slots=True)
class _QueryList:
    """The questions of a pair, or why there are none."""

    questions: Sequence[tuple[str, str]]
    key: str
    error: RowFailed | None = None


def planned(places: Sequence[Place], settings: SimulationSettings) -> int:
    """Replies that a shard waits for: a list of questions for each of its pairs, then an answer to each question."""
    pairs = [pair for place in places for pair, _ in _pairs(place)]
    return len(set(pairs)) + len(pairs) * settings.queries_per_pair


def simulate(
    places: Sequence[Place],
    profiles: Mapping[str, Profile],
    generator: Generator,
    language: Language,
    settings: SimulationSettings,
    on_progress: OnProgress,
) -> Simulated:
    """Simulate all sessions of a shard.

    Args:
        places: The shard's roles.
        profiles: Of these, their partners and their askers.
    """
    index = lru_cache(2 * ROLES_AT_ONCE)(lambda qid: evidence.Index(facts(profiles[qid])))  # a role is in many pairs
    counted = lru_cache(_COUNTED)(generator.count_tokens)
    shard = _Shard(profiles, generator, language, settings, index, counted)
    played = asyncio.run(_played(places, shard, on_progress))
    ledger = Ledger.total(account for _, account in played)
    dialogues = [Dialogue(profiles[place.role], tuple(turns)) for place, (turns, _) in zip(places, played, strict=True) if turns]
    if len(dialogues) < len(places):
        ledger.notes["no_turns"] = len(places) - len(dialogues)
    return Simulated(dialogues, ledger)


async def _played(places: Sequence[Place], shard: "_Shard", on_progress: OnProgress) -> list[tuple[list[Turn], Ledger]]:
    """All sessions, side by side: the turns of each place, and their account."""
    wanted: dict[str, list[Pair]] = defaultdict(list)
    for pair in dict.fromkeys(pair for place in places for pair, _ in _pairs(place)):
        wanted[pair[0]].append(pair)
    lists: dict[Pair, asyncio.Task[_QueryList]] = {}
    room = asyncio.Semaphore(ROLES_AT_ONCE)
    done, lost = 0, Counter[str]()

    def there_are(replies: int) -> None:
        nonlocal done
        done += replies
        on_progress(done, lost)

    async def ask_list(pair: Pair) -> _QueryList:
        found = await shard.ask_list(pair)
        there_are(1)
        return found

    async def play(place: Place) -> tuple[list[Turn], Ledger]:
        async with room:
            # All lists that begin with one profile are asked side by side.
            for pair in (pair for asked, _ in _pairs(place) for pair in wanted.pop(asked[0], ())):
                lists[pair] = group.create_task(ask_list(pair))
            turns, account = await shard.play(place, {pair: await lists[pair] for pair, _ in _pairs(place)})
        lost.update(account.failed)
        there_are(account.inputs)
        return turns, account

    try:
        async with asyncio.TaskGroup() as group:
            sessions = [group.create_task(play(place)) for place in places]
    except ExceptionGroup as several:  # what stops one, such as a refused key, stops all: it is told once
        raise several.exceptions[0] from None
    return [session.result() for session in sessions]


def _pairs(place: Place) -> list[tuple[Pair, Kind]]:
    own: list[tuple[Pair, Kind]] = [((place.role, partner), "role_specific") for partner in place.partners]
    return own + [((asker, place.role), "contrastive") for asker in place.askers]


@dataclass(frozen=True, slots=True)
class _Shard:
    """What all roles of a shard share.

    Attributes:
        index: Q-id -> the facts of that profile, ready for questions.
        count_tokens: As the generator counts, remembered: a profile's sentences are weighed in each of its pairs.
    """

    profiles: Mapping[str, Profile]
    generator: Generator
    language: Language
    settings: SimulationSettings
    index: Callable[[str], evidence.Index]
    count_tokens: Callable[[str], int]

    async def ask_list(self, pair: Pair) -> _QueryList:
        """The first valid draw of a pair.

        One draw is asked for alone; where it is unusable, the others are asked together, which share the reading of their prompt.
        A draw that the engine left unanswered may yet be valid, so none after it is taken: another day would find another list.
        """
        role, partner = (self.profiles[qid] for qid in pair)
        draws = self.settings.query_samples if self.settings.query_mode == "samples" else 2
        first = queries.request(role, partner, self.language, self.settings, self.count_tokens)
        found = await self._draw([first])
        if found.error is not None and found.error.reason != UNAVAILABLE and draws > 1:
            found = await self._draw([replace(first, sample=sample) for sample in range(1, draws)])
        return found

    async def _draw(self, requests: Sequence[Request]) -> _QueryList:
        """The first of some draws that is valid or unanswered, else the last."""
        found = _QueryList((), "")
        for outcome in await self.generator.ask(requests):
            try:
                return _QueryList(queries.parse(_replied(outcome), self.settings.queries_per_pair), outcome.key)
            except RowFailed as error:
                found = _QueryList((), outcome.key, error)
                if error.reason == UNAVAILABLE:
                    break
        return found

    async def play(self, place: Place, lists: Mapping[Pair, _QueryList]) -> tuple[list[Turn], Ledger]:
        """Put all questions to a role, and account for each of them."""
        ledger = Ledger()
        put: list[Query] = []
        for pair, kind in _pairs(place):
            ledger.inputs += self.settings.queries_per_pair
            put += self._usable(pair, kind, place.role, lists[pair], ledger)
        turns: list[Turn] = []
        role = self.profiles[place.role]
        requests = responses.requests(role, [query.question for query in put], self.language, self.settings, self.count_tokens)
        async for query, outcome in self._answers(put, requests, turns):
            try:
                turns.append(Turn(query, responses.check(_replied(outcome), self.language), outcome.key))
                ledger.ok += 1
            except RowFailed as error:
                ledger.fail(f"{place.role} {query.question}", RowFailed(f"response_{error.reason}", "", raw=error.raw))
        return turns, ledger

    def _usable(self, pair: Pair, kind: Kind, role: str, answer: _QueryList, ledger: Ledger) -> list[Query]:
        """The usable questions of a pair, as put to one of its two characters; each lost one is counted."""
        asker, partner = (self.profiles[qid] for qid in pair)
        if answer.error is not None:
            for number in range(self.settings.queries_per_pair):
                ledger.fail(f"{role} {pair} {number}", RowFailed(f"query_{answer.error.reason}", "", raw=answer.error.raw))
            return []
        index = self.index(pair[0])
        put: list[Query] = []
        earlier: list[str] = []
        for number, (question, reason) in enumerate(answer.questions):
            try:
                queries.check(question, earlier, asker, partner, self.language)
            except RowFailed as error:
                ledger.fail(f"{role} {pair} {number}", RowFailed(f"query_{error.reason}", "", raw=error.raw))
                continue
            earlier.append(question)
            known = index.choose(question, self.settings.evidence)
            put.append(Query(role, pair[0], kind, question, reason, known, answer.key))
        return put

    async def _answers(
        self, put: Sequence[Query], requests: Sequence[Request], turns: Sequence[Turn]
    ) -> AsyncIterator[tuple[Query, Outcome]]:
        """The outcome for each question, in order; with a history one after another, since each shows the turns before it.

        An answer that steps out of the role is not shown as the role's own words.
        """
        if not self.settings.history_turns:
            for query, outcome in zip(put, await self.generator.ask(requests), strict=True):
                yield query, outcome
            return
        for query, request in zip(put, requests, strict=True):
            system, question = request.messages
            in_role = [turn for turn in turns if responses.is_in_role(turn.answer, self.language)]
            earlier = [
                message
                for turn in in_role[-self.settings.history_turns :]
                for message in (Message("user", turn.query.question), Message("assistant", turn.answer))
            ]
            (outcome,) = await self.generator.ask([replace(request, messages=(system, *earlier, question))])
            yield query, outcome


def _replied(outcome: Outcome) -> Completion:
    if isinstance(outcome, Completion):
        return outcome
    raise RowFailed(outcome.reason, outcome.detail)
