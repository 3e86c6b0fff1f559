"""The simulation of one shard: questions for its roles, then their answers.

Input:   the roles' places, the profiles that their prompts show, a generator.
Output:  one `Dialogue` a role, and a ledger whose unit is the turn: a question put to a role.
Source:  arXiv 2401.12474, algorithm 1.

A pair is asked for once for its role and once for its partner, often in another shard; the memo in front of the generator
makes that one request. So no shard waits for another, and each is a pure function of the profiles it shows.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass

from ditto_core.errors import RowFailed
from ditto_core.generation.generator import Completion, Generator, Outcome, Request
from ditto_core.knowledge.profiles import facts
from ditto_core.languages import Language
from ditto_core.ledger import Ledger
from ditto_core.records import Dialogue, Kind, Place, Profile, Query, Turn
from ditto_core.settings import SimulationSettings
from ditto_core.simulation import evidence, queries, responses

Pair = tuple[str, str]
"""Q-ids: whose questions they are, and to whom they are foreign."""
OnProgress = Callable[[int, int], None]
"""Called with requests done and requests in all."""


@dataclass(frozen=True, slots=True)
class Simulated:
    """What became of a shard.

    Attributes:
        dialogues: One for each role that has a turn.
        ledger: Of turns; its note "no_turns" counts the roles that have none, so that no session vanishes unsaid.
    """

    dialogues: list[Dialogue]
    ledger: Ledger


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
    pairs = sorted({pair for place in places for pair, _ in _pairs(place)})
    lists = _ask_queries(pairs, profiles, generator, language, settings, on_progress)
    ledger = Ledger()
    asked: dict[str, list[Query]] = {place.role: [] for place in places}
    for place in places:
        for pair, kind in _pairs(place):
            ledger.inputs += settings.queries_per_pair
            asked[place.role] += _put(pair, kind, place.role, lists[pair], profiles, language, settings, ledger)
    dialogues = _ask_responses(asked, profiles, generator, language, settings, ledger, on_progress)
    return Simulated(dialogues, ledger)


def _pairs(place: Place) -> list[tuple[Pair, Kind]]:
    own: list[tuple[Pair, Kind]] = [((place.role, partner), "role_specific") for partner in place.partners]
    return own + [((asker, place.role), "contrastive") for asker in place.askers]


@dataclass(frozen=True, slots=True)
class _QueryList:
    """The questions of a pair, or why there are none."""

    questions: Sequence[tuple[str, str]]
    key: str
    error: RowFailed | None = None


def _ask_queries(
    pairs: Sequence[Pair],
    profiles: Mapping[str, Profile],
    generator: Generator,
    language: Language,
    settings: SimulationSettings,
    on_progress: OnProgress,
) -> dict[Pair, _QueryList]:
    """The first valid draw of each pair. Later draws are only asked for where the earlier ones were unusable."""
    found: dict[Pair, _QueryList] = {}
    draws = settings.query_samples if settings.query_mode == "samples" else 2
    for sample in range(draws):
        open_pairs = [pair for pair in pairs if pair not in found or found[pair].error is not None]
        requests = {
            pair: queries.request(profiles[pair[0]], profiles[pair[1]], language, settings, generator.count_tokens, sample)
            for pair in open_pairs
        }
        outcomes = _collect(generator, requests.values(), on_progress)
        for pair, request in requests.items():
            found[pair] = _read_list(outcomes[request.key(generator.identity)], settings.queries_per_pair)
    return found


def _read_list(outcome: Outcome, count: int) -> _QueryList:
    try:
        return _QueryList(queries.parse(_replied(outcome), count), outcome.key)
    except RowFailed as error:
        return _QueryList((), outcome.key, error)


def _replied(outcome: Outcome) -> Completion:
    if isinstance(outcome, Completion):
        return outcome
    raise RowFailed(outcome.reason, outcome.detail)


def _put(
    pair: Pair,
    kind: Kind,
    role: str,
    answer: _QueryList,
    profiles: Mapping[str, Profile],
    language: Language,
    settings: SimulationSettings,
    ledger: Ledger,
) -> list[Query]:
    """The usable questions of a pair, as put to one of its two characters; each lost one is counted."""
    asker, partner = (profiles[qid] for qid in pair)
    if answer.error is not None:
        for number in range(settings.queries_per_pair):
            ledger.fail(f"{role} {pair} {number}", RowFailed(f"query_{answer.error.reason}", "", raw=answer.error.raw))
        return []
    index = evidence.Index(facts(asker))
    put: list[Query] = []
    earlier: list[str] = []
    for number, (question, reason) in enumerate(answer.questions):
        try:
            queries.check(question, earlier, asker, partner, language)
        except RowFailed as error:
            ledger.fail(f"{role} {pair} {number}", RowFailed(f"query_{error.reason}", "", raw=error.raw))
            continue
        earlier.append(question)
        known = index.choose(question, settings.evidence)
        put.append(Query(role, pair[0], kind, question, reason, known, answer.key))
    return put


def _ask_responses(
    asked: Mapping[str, Sequence[Query]],
    profiles: Mapping[str, Profile],
    generator: Generator,
    language: Language,
    settings: SimulationSettings,
    ledger: Ledger,
    on_progress: OnProgress,
) -> list[Dialogue]:
    """Answer all questions; those of one role stay together, so that they share its profile as a prefix."""
    requests: dict[tuple[str, Query], Request] = {}
    for role, put in asked.items():
        questions = [query.question for query in put]
        made = responses.requests(profiles[role], questions, language, settings, generator.count_tokens)
        requests.update(zip(((role, query) for query in put), made, strict=True))
    outcomes = _collect(generator, requests.values(), on_progress)
    turns: dict[str, list[Turn]] = {role: [] for role in asked}
    for (role, query), request in requests.items():
        key = request.key(generator.identity)
        try:
            turns[role].append(Turn(query, responses.check(_replied(outcomes[key]), language), key))
            ledger.ok += 1
        except RowFailed as error:
            ledger.fail(f"{role} {query.question}", RowFailed(f"response_{error.reason}", "", raw=error.raw))
    silent = sum(not done for done in turns.values())
    if silent:
        ledger.notes["no_turns"] = silent
    return [Dialogue(profiles[role], tuple(done)) for role, done in turns.items() if done]


def _collect(generator: Generator, requests: Iterable[Request], on_progress: OnProgress) -> dict[str, Outcome]:
    wanted = list(requests)
    outcomes: dict[str, Outcome] = {}
    for outcome in generator.generate(wanted):
        outcomes[outcome.key] = outcome
        on_progress(len(outcomes), len(wanted))
    return outcomes
