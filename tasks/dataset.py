"""Tasks of the dataset stage: examples shard by shard, then one folder that `datasets` loads."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from itertools import islice

from prefect import get_run_logger, task
from prefect.cache_policies import NO_CACHE

from ditto_core import languages
from ditto_core.dataset import examples, filters, publish
from ditto_core.dataset.candidates import Rings
from ditto_core.errors import RowFailed
from ditto_core.evaluation import unknown_rejection, wikiroleeval
from ditto_core.generation.requests import Failure, Outcome, Request, Sampling
from ditto_core.languages import Language
from ditto_core.ledger import UNAVAILABLE, Ledger
from ditto_core.records import Dialogue, Example, Message, Turn
from ditto_core.settings import Settings
from ditto_core.shards import ShardKey, ShardRef, ShardStore
from tasks import policies, resources, toxicity

_DIALOGUES_AT_ONCE = 50
"""Whose turns are judged together."""

Verdicts = dict[Turn, bool | RowFailed | None]
"""Whether a turn's answer refuses; None if the judge could not be read, the failure if its engine did not answer."""


@policies.shard_task(name="examples", asks_model=True)  # about refusals, where settings say so
def assemble_examples(key: ShardKey, settings: Settings, language: str, dialogues: ShardRef, pairs: ShardRef) -> ShardRef:
    """Turn the sessions of one shard into rows of the dataset."""

    def compute(store: ShardStore) -> tuple[Iterable[Example], Ledger]:
        get_run_logger().info("%s: %d sessions", key.name, dialogues.rows)
        spoken, ledger = languages.load(language), Ledger()
        rings = Rings(store.read_table(pairs, ["role", "label", "kind"]))
        rows = store.read(dialogues, Dialogue)
        checks = filters.by_cues(spoken, settings.dataset)
        if settings.dataset.refusals == "judge":
            verdicts: Verdicts = {}
            checks = replace(checks, refuses=verdicts.get)
            rows = _judged(rows, spoken, settings, verdicts)
        if settings.dataset.toxicity:
            checks = replace(checks, toxicity=toxicity.load(settings.dataset.toxicity))
        return examples.assemble(rows, rings, spoken, settings.dataset, checks, ledger), ledger

    return policies.compute_once(key, settings, Example, compute)


@task(name="publish", cache_policy=NO_CACHE)
def publish_dataset(settings: Settings, recipe: str, shards: Sequence[ShardRef], stages: publish.Stages) -> publish.DatasetRef:
    """Write the dataset folder with its card and test file; one that is there and whole is left as it is."""
    store = ShardStore.of(settings)
    shown = settings.shown()
    ref = publish.publish(store, recipe, shards, stages, shown, wikiroleeval.write_test)
    get_run_logger().info("dataset %s: %s", ref.folder, ref.rows)
    return ref


def _judged(dialogues: Iterable[Dialogue], language: Language, settings: Settings, verdicts: Verdicts) -> Iterator[Dialogue]:
    """The dialogues, each after a judge has said of all its turns whether they refuse; `verdicts` has those of one group."""
    generator = resources.generator(settings, settings.evaluation.judge_generation)
    sampling = Sampling(temperature=0.0, max_tokens=settings.evaluation.max_judge_tokens)
    remaining = iter(dialogues)
    while group := list(islice(remaining, _DIALOGUES_AT_ONCE)):
        asked = {}
        for dialogue in group:
            for turn in dialogue.turns:
                role = dialogue.profile.character.label
                prompt = unknown_rejection.render(language, role, turn.query.question, turn.answer)
                asked[turn] = Request((Message("user", prompt),), sampling, purpose="refusal")
        verdicts.clear()
        for turn, reply in zip(asked, generator.answer(list(asked.values())), strict=True):
            verdicts[turn] = _verdict(reply)
        yield from group


def _verdict(reply: Outcome) -> bool | RowFailed | None:
    if isinstance(reply, Failure) and reply.reason == UNAVAILABLE:
        return RowFailed(f"verdict_{UNAVAILABLE}", reply.detail)
    if isinstance(reply, Failure) or reply.finish_reason == "length":
        return None
    verdict = unknown_rejection.parse(reply.text)
    return None if verdict is None else bool(verdict)
