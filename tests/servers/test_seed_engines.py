"""The bundled seed LLM on both engines: the same greedy replies, in the language of the question, and right ones among them."""

from random import Random

import pytest

from ditto_core import languages
from ditto_core.embedded import LANGUAGES, seed_folder
from ditto_core.embedded.documents import Writer
from ditto_core.embedded.known import load_world
from ditto_core.generation.generator import Generator
from ditto_core.generation.requests import Completion, Request, Sampling
from ditto_core.generation.transformers_engine import TransformersGenerator
from ditto_core.settings import GenerationSettings

# vLLM's own imports and PyTorch's deprecations, not ours.
pytestmark = pytest.mark.filterwarnings("ignore")

SETTINGS = GenerationSettings(engine="vllm", model=str(seed_folder()), max_model_len=1024, dtype="float32", kv_cache_gib=0.1)
_INTERVIEWS = 12


def asked(code: str, engine: Generator) -> list[tuple[Request, str]]:
    """Two lists of questions and the first questions of interviews, of invented and of train roles, with what is right."""
    writer = Writer(Random(77), languages.load(code), load_world(code), engine.count_tokens)
    lists = [writer.queries().messages for _ in range(2)]
    interviews = [writer.answers().messages[:3] for _ in range(_INTERVIEWS)]
    return [(Request(said[:-1], Sampling(max_tokens=160)), said[-1].content) for said in (*interviews, *lists)]


def replies(engine: Generator, requests: list[Request]) -> list[str]:
    found = engine.answer(requests)
    assert all(isinstance(reply, Completion) for reply in found), found
    return [reply.text for reply in found if isinstance(reply, Completion)]


def test_both_engines_give_the_seeds_greedy_replies_in_every_language() -> None:
    from ditto_core.generation.vllm_engine import VllmGenerator

    ours, theirs = TransformersGenerator(SETTINGS), VllmGenerator(SETTINGS)
    for code in LANGUAGES:
        requests, wanted = zip(*asked(code, ours), strict=True)
        mine = replies(ours, list(requests))
        assert replies(theirs, list(requests)) == mine
        assert all(languages.load(code).script_share(reply) > 0.9 for reply in mine[:_INTERVIEWS])
        right = [reply[:12] == answer[:12] for reply, answer in zip(mine[:_INTERVIEWS], wanted, strict=False)]
        assert sum(right) > _INTERVIEWS / 2, list(zip(mine, wanted, strict=True))
    theirs.close()
    ours.close()
