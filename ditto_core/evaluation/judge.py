"""Judge: verdicts on every turn of a session, from an LLM or without a model.

Input:   `Prediction`s, and the facts of the characters that stand for choice.
Output:  one `Judgement` a prediction; a turn without a readable verdict is unscored, never wrong.
Source:  arXiv 2401.12474, section 4: temperature 0.2, three votes.

Example:
    Judgement(role="Q7186", judge="lexical", consistency=(1, 0), knowledge=(8.5, None), rejection=(0, 1), ...)

`LlmJudge` asks for each metric `votes` times, each vote with its own sample number and order of candidates. A reply
that cannot be read, or was cut, is asked once more under a shifted sample number and then left out. Consistency and
rejection go by the majority of the readable votes (a draw is no verdict), knowledge by their mean. `LexicalJudge` is
deterministic; its rules are at the head of role_identity, role_knowledge and unknown_rejection. With `judge_by = "letters"`
the LLM gives no reasons: identity and rejection are the likeliest of single letters, by their chances, one token a vote (the
same one for all votes on rejection, since chances do not vary from draw to draw). Both judges leave turns alone
that the model never answered. Knowledge is asked on role-specific turns only.
"""

from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean
from typing import Protocol

from ditto_core.evaluation import role_identity, role_knowledge, unknown_rejection
from ditto_core.evaluation.sessions import CUT, prompts
from ditto_core.evaluation.votes import Ballot, Parse, is_open, letter, missing, poll
from ditto_core.generation.generator import Generator
from ditto_core.generation.requests import Request, Sampling
from ditto_core.languages import Language, load
from ditto_core.ledger import Ledger
from ditto_core.records import Example, Judgement, Message, Prediction, Vote
from ditto_core.settings import EvaluationSettings

LEXICAL = "lexical"
"""Name of the judge without a model."""


class Judge(Protocol):
    """Whoever gives verdicts on sessions of one language."""

    name: str

    def judge(self, predictions: Sequence[Prediction]) -> list[Judgement]:
        """Judge sessions: one judgement a prediction, in order."""
        ...


def judge_all(predictions: Sequence[Prediction], judge: Judge) -> tuple[list[Judgement], Ledger]:
    """Judge sessions, and account for every verdict that was expected: consistency, knowledge, rejection of each turn.

    A verdict has failed as "unreadable" if the judge gave none, and as "judge_engine_unavailable" if it hangs on a vote that the
    judge's engine did not answer: the next run asks again. It is filtered as "no_answer" if the model under test said nothing
    that could be judged, "no_candidates" if the role was not among the candidates, and "no_evidence" if the lexical judge had
    nothing to compare with.
    """
    judgements = judge.judge(predictions)
    ledger = Ledger()
    for prediction, judgement in zip(predictions, judgements, strict=True):
        for turn in range(len(prediction.answers)):
            _account(ledger, prediction, judgement, turn)
    return judgements, ledger


def judge_prediction(prediction: Prediction, judge: Judge) -> Judgement:
    """Judge one session."""
    return judge.judge([prediction])[0]


def facts_of(examples: Iterable[Example]) -> dict[str, tuple[str, ...]]:
    """Label -> claims and aliases: what the lexical judge knows of the characters that stand for choice."""
    return {example.label: example.claims + example.aliases for example in examples}


class LexicalJudge:
    """Judges without a model, by names, evidence and cues.

    Args:
        language: Of the sessions; its cues say what refuses and what speaks as an assistant.
        candidate_facts: Label -> claims' lines and other names, of all characters that may be candidates, as `facts_of`
            makes them. A candidate that is missing here is known by its label alone.
    """

    def __init__(self, language: Language, candidate_facts: Mapping[str, Sequence[str]]) -> None:
        self.name = LEXICAL
        self._language = language
        self._known = role_identity.cast(candidate_facts, language)

    def judge(self, predictions: Sequence[Prediction]) -> list[Judgement]:
        """Judge sessions; see `Judge`."""
        return [self._session(prediction) for prediction in predictions]

    def _session(self, prediction: Prediction) -> Judgement:
        example = prediction.example
        candidates = {
            label: self._known.traits.get(label) or role_identity.traits([label], (), self._language)
            for label in example.candidates
        }
        if example.label in candidates:
            own = [example.label, *example.aliases]
            candidates[example.label] = role_identity.traits(own, example.claims, self._language)
        turns = [self._turn(prediction, turn, candidates) for turn in range(len(prediction.answers))]
        return _judgement(prediction, self.name, turns)

    def _turn(
        self,
        prediction: Prediction,
        turn: int,
        candidates: Mapping[str, role_identity.Traits],
    ) -> "_Verdicts":
        example, answer = prediction.example, prediction.answers[turn]
        if not _was_answered(prediction, turn):
            return _Verdicts()
        question, votes = prompts(example)[turn], []
        if example.label in candidates:
            picked = role_identity.pick(question, answer, candidates, self._known, self._language)
            votes.append(Vote("consistency", "", (str(picked),), float(picked.label == example.label)))
        if example.kinds[turn] == "role_specific":
            evidence, claims = example.evidence[turn], frozenset(example.claims)
            share = role_knowledge.recall(question, answer, evidence, claims, self._language)
            votes.append(Vote("knowledge", "", ("nothing to compare with" if share is None else str(share),), share))
        refused = unknown_rejection.refuses(answer, self._language)
        votes.append(Vote("rejection", "", ("refused" if refused else "answered",), float(refused)))
        return _counted(votes)


class LlmJudge:
    """Judges with an LLM, all votes of all sessions in one stream.

    Args:
        generator: The judging model.
        language: Of the sessions; its folder holds the prompts. One without judging prompts is judged with the English.
        settings: `votes`, `judge_by`, `judge_temperature`, `max_judge_tokens`; the name shown is `judge_generation.model`.
    """

    def __init__(self, generator: Generator, language: Language, settings: EvaluationSettings) -> None:
        self.name = settings.judge_generation.model
        self._generator = generator
        self._language = language if "judge_identity" in language.prompts else load("en")
        self._votes = settings.votes
        self._letters = settings.judge_by == "letters"
        self._sampling = Sampling(temperature=settings.judge_temperature, max_tokens=settings.max_judge_tokens)

    def judge(self, predictions: Sequence[Prediction]) -> list[Judgement]:
        """Judge sessions; see `Judge`."""
        placed = [item for index, one in enumerate(predictions) for item in self._ballots(index, one)]
        cast: dict[tuple[int, int], list[Vote]] = defaultdict(list)
        polled = poll(self._generator, [ballot for _, ballot in placed], self._votes)
        for (place, _), vote in zip(placed, polled, strict=True):
            cast[place].append(vote)
        return [
            _judgement(prediction, self.name, [_counted(cast[index, turn]) for turn in range(len(prediction.answers))])
            for index, prediction in enumerate(predictions)
        ]

    def _ballots(self, index: int, prediction: Prediction) -> Iterator[tuple[tuple[int, int], Ballot]]:
        """Every vote on a session, with the places of session and turn."""
        example, language = prediction.example, self._language
        for turn, (question, answer) in enumerate(zip(prompts(example), prediction.answers, strict=True)):
            if not _was_answered(prediction, turn):
                continue
            for vote in range(self._votes):
                if example.label in example.candidates:
                    order = role_identity.shuffled(example.candidates, question, answer, vote)
                    prompt = role_identity.render(language, question, answer, order)
                    ballot = self._in_words("consistency", vote, prompt, answer, role_identity.reader(example.label, order))
                    letters = role_identity.letters(example.label, order)
                    yield (index, turn), self._chosen(ballot, "judge_identity_letter", letters)
                if example.kinds[turn] == "role_specific":
                    facts = example.evidence[turn]
                    prompt = role_knowledge.render(language, example.label, example.summary, facts, question, answer)
                    yield (index, turn), self._in_words("knowledge", vote, prompt, answer, role_knowledge.parse)
                prompt = unknown_rejection.render(language, example.label, question, answer)
                ballot = self._in_words("rejection", vote, prompt, answer, unknown_rejection.parse)
                yield (index, turn), self._chosen(ballot, "judge_rejection_letter", unknown_rejection.LETTERS)

    def _in_words(self, metric: str, vote: int, prompt: str, answer: str, parse: Parse) -> Ballot:
        request = Request((Message("user", prompt),), self._sampling, sample=vote, purpose="judgement")
        return Ballot(metric, request, answer, parse)

    def _chosen(self, ballot: Ballot, wording: str, verdicts_of: Mapping[str, float]) -> Ballot:
        """The ballot, or the same question for a single letter; where there are no chances to read, it is asked in words."""
        if not self._letters:
            return ballot
        prompt = f"{ballot.request.messages[0].content}\n\n{self._language.render(wording)}"
        request = Request((Message("user", prompt),), Sampling(max_tokens=1), purpose="judgement", choices=tuple(verdicts_of))
        return Ballot(ballot.metric, request, ballot.answer, letter(verdicts_of), second=ballot)


@dataclass(frozen=True, slots=True)
class _Verdicts:
    """All verdicts on one turn."""

    consistency: int | None = None
    knowledge: float | None = None
    rejection: int | None = None
    votes: tuple[Vote, ...] = ()


def _account(ledger: Ledger, prediction: Prediction, judgement: Judgement, turn: int) -> None:
    expected: dict[str, float | None] = {
        "consistency": judgement.consistency[turn],
        "rejection": judgement.rejection[turn],
    }
    if judgement.labels[turn] == 0:
        expected["knowledge"] = judgement.knowledge[turn]
    for metric, verdict in expected.items():
        row = f"{judgement.language}:{judgement.role}#{turn} {metric}"
        votes = [vote for vote in judgement.votes[turn] if vote.metric == metric]
        raw = "\n".join(reply for vote in votes for reply in vote.replies)
        ledger.inputs += 1
        if is_open(votes, by_majority=metric != "knowledge"):
            ledger.fail(row, missing(votes))
        elif verdict is not None:
            ledger.ok += 1
        elif not _was_answered(prediction, turn):
            ledger.filter(row, "no_answer", raw)
        elif metric == "consistency" and prediction.example.label not in prediction.example.candidates:
            ledger.filter(row, "no_candidates", raw)
        elif judgement.judge == LEXICAL:
            ledger.filter(row, "no_evidence", raw)
        else:
            ledger.fail(row, missing(votes))


def _was_answered(prediction: Prediction, turn: int) -> bool:
    """Whether the model said something, if only nothing or half of it; an engine that failed proves nothing."""
    return prediction.failures[turn] in ("", CUT)


def _counted(votes: Sequence[Vote]) -> _Verdicts:
    readable: dict[str, list[float]] = defaultdict(list)
    for vote in votes:
        if vote.verdict is not None:
            readable[vote.metric].append(vote.verdict)
    return _Verdicts(
        consistency=_majority(readable["consistency"]),
        knowledge=fmean(readable["knowledge"]) if readable["knowledge"] else None,
        rejection=_majority(readable["rejection"]),
        votes=tuple(votes),
    )


def _majority(verdicts: Sequence[float]) -> int | None:
    """The verdict of more than half; a draw is none."""
    counts = Counter(int(verdict) for verdict in verdicts)
    return None if counts[0] == counts[1] else int(counts[1] > counts[0])


def _judgement(prediction: Prediction, judge: str, turns: Sequence[_Verdicts]) -> Judgement:
    example = prediction.example
    return Judgement(
        role=example.role,
        language=example.language,
        model=prediction.model,
        judge=judge,
        consistency=tuple(turn.consistency for turn in turns),
        knowledge=tuple(turn.knowledge for turn in turns),
        rejection=tuple(turn.rejection for turn in turns),
        labels=unknown_rejection.labels(example.kinds),
        votes=tuple(turn.votes for turn in turns),
        run=prediction.run,
    )
