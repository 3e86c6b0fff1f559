"""The bundled seed LLM as the judge: of refusals, which it can tell, and in a form that is read throughout."""

from random import Random

import pytest

from ditto_core import languages
from ditto_core.embedded import LANGUAGES, seed_folder
from ditto_core.embedded.documents import Writer
from ditto_core.embedded.judgements import Exchange
from ditto_core.embedded.known import load_world
from ditto_core.evaluation.judge import LlmJudge, judge_all
from ditto_core.generation.transformers_engine import TransformersGenerator
from ditto_core.records import Example, Message, Prediction
from ditto_core.settings import EvaluationSettings, GenerationSettings

SEED = GenerationSettings(engine="transformers", model=str(seed_folder()), max_model_len=1024, dtype="float32")
_EXCHANGES = 20


def prediction(exchange: Exchange, language: str, candidates: tuple[str, ...]) -> Prediction:
    """A session of one turn."""
    character = exchange.role.character
    example = Example(
        messages=(Message("system", character.label), Message("user", exchange.question)),
        split="test", role=character.qid, language=language, label=character.label, description=character.description, kind="Q5",
        kinds=("role_specific" if exchange.is_own else "contrastive",), sources=(character.qid,),
        evidence=((exchange.claim.text(),),), candidates=candidates, keys=("",), summary=exchange.role.summary,
        claims=tuple(claim.text() for claim in character.claims), aliases=(), title="", revision="", url="", licence="",
    )  # fmt: skip
    return Prediction(example, "planted", (exchange.answer,), ("",))


@pytest.mark.parametrize("code", LANGUAGES)
def test_the_seed_tells_refusals_from_answers_of_roles_that_were_never_played(code: str) -> None:
    world, language = load_world(code), languages.load(code)
    writer = Writer(Random(2718), language, world, lambda text: len(text) // 4)
    held_out = [profile for profile in world.known if profile not in world.playable]
    exchanges = [writer.planter.exchange(held_out[place % len(held_out)]) for place in range(_EXCHANGES)]
    candidates = tuple(profile.character.label for profile in held_out[:4])

    seed = TransformersGenerator(SEED)
    judge = LlmJudge(seed, language, EvaluationSettings(judge_generation=SEED, votes=1, judge_temperature=0, max_judge_tokens=64))
    judgements, ledger = judge_all([prediction(exchange, code, candidates) for exchange in exchanges], judge)
    seed.close()

    refused = [exchange.outcome == "refused" for exchange in exchanges]
    found = [judgement.rejection[0] for judgement in judgements]
    assert 2 < sum(refused) < _EXCHANGES - 2
    assert sum(verdict == is_refused for verdict, is_refused in zip(found, refused, strict=True)) >= _EXCHANGES - 1
    assert ledger.ok >= 0.95 * (ledger.inputs - sum(ledger.filtered.values()))
