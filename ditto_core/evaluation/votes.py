"""Votes: how a judging model is asked, and what becomes of replies that cannot be read.

Input:   ballots: a request, the answer that it shows, and how to read the reply.
Output:  one `Vote` a ballot, in order. A reply without a verdict, or one that was cut, is asked once more: under a shifted
         sample number, or in words where a letter was asked for. What is then unreadable stays without a verdict.
Source:  arXiv 2401.12474, section 4: three votes at temperature 0.2.

Example: Vote(metric="knowledge", prompt="A language model plays ...", replies=("Hard to say.", "Fine. [[7]]"), verdict=7.0)
         Vote(metric="rejection", prompt="A language model plays ...", replies=('{"A": -0.02, "B": -4.1}',), verdict=1.0)
"""

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace

from ditto_core.errors import RowFailed
from ditto_core.evaluation import verdicts
from ditto_core.generation.generator import Generator
from ditto_core.generation.requests import Completion, Outcome, Request, read_weighed
from ditto_core.ledger import UNAVAILABLE
from ditto_core.records import Vote

Parse = Callable[[str], float | None]
_UNANSWERED = f"({UNAVAILABLE}: "
"""How a vote's reply begins where the engine did not answer."""


@dataclass(frozen=True, slots=True)
class Ballot:
    """One vote to ask for.

    Attributes:
        answer: What is judged; brackets that the judge quotes from it are no verdict.
        parse: Reads a verdict from the judge's own words.
        second: What to ask where the reply cannot be read; None is the same once more.
    """

    metric: str
    request: Request
    answer: str
    parse: Parse
    second: "Ballot | None" = None

    def read(self, reply: Outcome) -> float | None:
        """The verdict; a cut reply has none, because its last word is missing."""
        if not isinstance(reply, Completion) or reply.finish_reason == "length":
            return None
        return self.parse(verdicts.own_words(reply.text, self.answer))


def poll(generator: Generator, ballots: Sequence[Ballot], shift: int) -> list[Vote]:
    """Ask all ballots in one stream, then the unreadable ones once more.

    Args:
        generator: The judging model.
        ballots: What to ask.
        shift: Added to the sample number of the second try; more than any sample number of the first.
    """
    replies = generator.answer([ballot.request for ballot in ballots])
    unread = [
        number
        for number, (ballot, reply) in enumerate(zip(ballots, replies, strict=True))
        if ballot.read(reply) is None and not _is_unanswered(reply)  # which the next run asks again, for the same draw
    ]
    again = {number: ballots[number].second or _shifted(ballots[number], shift) for number in unread}
    second = dict(zip(unread, generator.answer([ballot.request for ballot in again.values()]), strict=True))
    votes = []
    for number, ballot in enumerate(ballots):
        tries = [replies[number]] + ([second[number]] if number in second else [])
        last = again.get(number, ballot)
        raw = tuple(_raw(reply) for reply in tries)
        votes.append(Vote(last.metric, last.request.messages[0].content, raw, last.read(tries[-1])))
    return votes


def missing(votes: Sequence[Vote]) -> RowFailed:
    """Why a turn has no verdict: "unreadable", or, if the judge was not there for one of the votes, by a name that asks again."""
    raw = "\n".join(reply for vote in votes for reply in vote.replies)
    if any(map(_is_lost, votes)):
        return RowFailed(f"judge_{UNAVAILABLE}", "the judge's engine did not answer", raw=raw)
    return RowFailed("unreadable", "no vote on this turn could be read", raw=raw)


def is_open(votes: Sequence[Vote], *, by_majority: bool) -> bool:
    """Whether votes that the judge's engine did not answer may change the verdict: a mean always, a majority if it is close."""
    lost = sum(map(_is_lost, votes))
    if not lost or not by_majority:
        return bool(lost)
    counted = Counter(vote.verdict for vote in votes if vote.verdict is not None).most_common()
    first, second = (*(number for _, number in counted), 0, 0)[:2]
    return first <= second + lost


def _is_lost(vote: Vote) -> bool:
    return bool(vote.replies) and vote.replies[-1].startswith(_UNANSWERED)


def _is_unanswered(reply: Outcome) -> bool:
    return not isinstance(reply, Completion) and reply.reason == UNAVAILABLE


def letter(verdicts_of: Mapping[str, float]) -> Parse:
    """A reader of the chances of single letters: the verdict of the likeliest."""

    def read(reply: str) -> float | None:
        chances = read_weighed(reply)
        return verdicts_of.get(max(chances, key=lambda choice: chances[choice])) if chances else verdicts_of.get(reply.strip())

    return read


def _shifted(ballot: Ballot, shift: int) -> Ballot:
    return replace(ballot, request=replace(ballot.request, sample=ballot.request.sample + shift))


def _raw(reply: Outcome) -> str:
    return reply.text if isinstance(reply, Completion) else f"({reply.reason}: {reply.detail})"
