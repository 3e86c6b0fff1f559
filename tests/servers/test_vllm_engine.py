"""The real vLLM, on a GPU or the CPU, with one load for nearly all tests: a model with an adapter laid over it."""

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any

import psutil
import pytest
from fixtures.tiny_model import make_tiny_adapter, make_tiny_model

from ditto_core.generation import stale_engines
from ditto_core.generation.generator import Generator
from ditto_core.generation.requests import Completion, Failure, Request, Sampling
from ditto_core.generation.transformers_engine import TransformersGenerator
from ditto_core.records import Message
from ditto_core.settings import GenerationSettings

# vLLM's own imports and PyTorch's deprecations, not ours.
pytestmark = pytest.mark.filterwarnings("ignore")

GREEDY = Sampling(max_tokens=20)
DRAWN = Sampling(temperature=0.9, top_p=0.9, repetition_penalty=1.1, max_tokens=20)


def ask(text: str, sampling: Sampling = GREEDY, sample: int = 0, schema: str = "") -> Request:
    return Request((Message("user", text),), sampling, sample, schema)


def texts(engine: Generator, requests: list[Request]) -> dict[str, str]:
    replies = list(engine.generate(requests))
    assert all(isinstance(reply, Completion) for reply in replies), replies
    return {reply.key: reply.text for reply in replies if isinstance(reply, Completion)}


@pytest.fixture(scope="module")
def settings(tmp_path_factory: pytest.TempPathFactory) -> GenerationSettings:
    folder = make_tiny_model(tmp_path_factory.mktemp("tiny"))
    adapter = make_tiny_adapter(folder, tmp_path_factory.mktemp("adapter"))
    return GenerationSettings(
        engine="vllm", model=str(folder), adapter=str(adapter), max_model_len=512, dtype="float32", kv_cache_gib=0.05
    )


@pytest.fixture(scope="module")
def engine(settings: GenerationSettings) -> Iterator[Any]:
    from ditto_core.generation.vllm_engine import VllmGenerator
    from ditto_core.simulation.evidence import choose

    choose("a b", ["a c", "b d"], 1)  # loads numba and llvmlite, whose library object breaks vLLM's scan of all modules
    made = VllmGenerator(settings)
    yield made
    made.close()
    made.close()


@pytest.mark.parametrize("sampling", [pytest.param(GREEDY, id="greedy"), pytest.param(DRAWN, id="drawn")])
def test_a_reply_is_the_same_alone_and_in_any_batch(engine: Any, sampling: Sampling) -> None:
    requests = [ask("who " * (1 + number * 3 % 7) + str(number), sampling) for number in range(9)]
    together = texts(engine, requests)
    assert len(set(together.values())) > 1
    assert texts(engine, requests[::-1]) == together
    for request in requests[::4]:
        assert texts(engine, [request]) == {request.key(engine.identity): together[request.key(engine.identity)]}


def test_greedy_replies_agree_with_the_transformers_engine(engine: Any, settings: GenerationSettings) -> None:
    other = TransformersGenerator(settings)
    requests = [ask(f"question {number}") for number in range(8)]
    requests.append(ask("penalised", Sampling(repetition_penalty=1.2, max_tokens=20)))
    assert texts(other, requests) == texts(engine, requests)
    assert other.identity == engine.identity
    other.close()


def test_an_adapter_changes_the_replies_and_their_keys(engine: Any, settings: GenerationSettings) -> None:
    bare = TransformersGenerator(settings.model_copy(update={"adapter": ""}))
    requests = [ask(f"question {number}") for number in range(4)]
    assert bare.identity.weights != engine.identity.weights
    assert list(texts(bare, requests).values()) != list(texts(engine, requests).values())
    bare.close()


def test_the_chances_of_choices_are_those_of_the_transformers_engine(engine: Any, settings: GenerationSettings) -> None:
    other = TransformersGenerator(settings)
    requests = [replace(ask(f"question {number}", Sampling(max_tokens=1)), choices=("A", "B", "C")) for number in range(6)]
    theirs = texts(other, requests)
    for key, chances in texts(engine, requests).items():
        assert json.loads(chances) == pytest.approx(json.loads(theirs[key]), abs=1e-2)
    other.close()


def test_an_over_long_prompt_fails_alone(engine: Any) -> None:
    good, bad = ask("short"), ask("long " * 200)
    outcomes = {outcome.key: outcome for outcome in engine.generate([bad, good])}
    assert outcomes[bad.key(engine.identity)].reason == "prompt_too_long"
    assert isinstance(outcomes[good.key(engine.identity)], Completion)


def test_more_prompts_than_one_step_takes_are_answered_by_the_same_engine(engine: Any, caplog: pytest.LogCaptureFixture) -> None:
    """vLLM reads a prompt in parts where a step is full; with a seed that kills it on a CPU."""
    requests = [ask(f"{number} " + "long " * 85, DRAWN) for number in range(12)]
    assert len(texts(engine, requests)) == 12
    assert "died" not in caplog.text


def test_draws_of_one_prompt_asked_together_read_it_once(engine: Any) -> None:
    draws = list(engine.generate([ask("draw " * 60, DRAWN, number) for number in range(3)]))
    assert len({draw.text for draw in draws}) == 3
    assert sorted(draw.cached_tokens > 0 for draw in draws) == [False, True, True]


def test_a_schema_shapes_the_reply_and_a_bad_one_fails_alone(engine: Any) -> None:
    schema = {"type": "object", "properties": {"n": {"enum": [1, 2]}}, "required": ["n"], "additionalProperties": False}
    good, bad = ask("n?", schema=json.dumps(schema)), ask("n?", schema='{"type": "no such type"}')
    outcomes = {outcome.key: outcome for outcome in engine.generate([bad, good])}
    completion, failure = outcomes[good.key(engine.identity)], outcomes[bad.key(engine.identity)]
    assert json.loads(completion.text)["n"] in (1, 2)
    assert isinstance(failure, Failure)


def test_a_shared_prefix_is_read_from_the_cache(engine: Any) -> None:
    system = Message("system", "profile " * 40)
    for question in "ab":
        (outcome,) = engine.generate([Request((system, Message("user", question)), GREEDY)])
    assert outcome.cached_tokens > 0


def test_eight_threads_get_the_replies_of_one(engine: Any) -> None:
    requests = [ask(f"question {number}") for number in range(24)]
    one = texts(engine, requests)
    with ThreadPoolExecutor(8) as pool:
        parts = list(pool.map(lambda start: texts(engine, requests[start::8]), range(8)))
    assert {key: text for part in parts for key, text in part.items()} == one


def test_an_engine_that_dies_is_started_again_and_the_prompt_that_kills_it_fails_alone(
    engine: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Runs last of those that share the engine: it uses up its lives."""
    from vllm.v1.engine.llm_engine import LLMEngine

    whole_step, whole_add, poison = LLMEngine.step, LLMEngine.add_request, "poison " * 9
    poisoned: set[int] = set()

    def add(self: Any, name: str, prompt: Any, *rest: Any, **named: Any) -> Any:
        if len(prompt["prompt_token_ids"]) > len(poison):
            poisoned.add(id(self))
        return whole_add(self, name, prompt, *rest, **named)

    def step(self: Any) -> Any:
        if id(self) in poisoned:
            poisoned.discard(id(self))
            raise RuntimeError("illegal memory access")
        return whole_step(self)

    monkeypatch.setattr(LLMEngine, "add_request", add)
    monkeypatch.setattr(LLMEngine, "step", step)
    good, bad = [ask("good a"), ask("good b")], ask(poison)
    outcomes = {outcome.key: outcome for outcome in engine.generate([good[0], bad, good[1]])}
    assert outcomes[bad.key(engine.identity)].reason == "kills_engine"
    assert all(isinstance(outcomes[request.key(engine.identity)], Completion) for request in good)
    assert len(texts(engine, [ask("after it")])) == 1


def test_an_engine_that_dies_of_anything_is_given_up(engine: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    from vllm.v1.engine.llm_engine import LLMEngine

    def step(_self: Any) -> Any:
        raise RuntimeError("the GPU has fallen off the bus")

    monkeypatch.setattr(LLMEngine, "step", step)
    outcomes = list(engine.generate([ask(f"request {number}") for number in range(6)]))
    assert len(outcomes) == 6
    assert {outcome.reason for outcome in outcomes} == {"kills_engine", "engine_unavailable"}
    assert sum(outcome.reason == "kills_engine" for outcome in outcomes) == 3


APART = (
    "import sys\n"
    "from ditto_core.generation.engines import create\n"
    "from ditto_core.generation.requests import Request, Sampling\n"
    "from ditto_core.records import Message\n"
    "from ditto_core.settings import GenerationSettings\n"
    "if __name__ == '__main__':\n"
    "    engine = create(GenerationSettings(engine='vllm', model=sys.argv[1], max_model_len=256, kv_cache_gib=0.05))\n"
    "    outcome, = engine.generate([Request((Message('user', 'hi'),), Sampling(max_tokens=4))])\n"
    "    print('ANSWERED', type(outcome).__name__, flush=True)\n"
    "    sys.stdin.read()\n"
)


def test_an_engine_in_a_process_of_its_own_outlives_a_killed_run_until_the_next_load(
    settings: GenerationSettings, tmp_path: Path
) -> None:
    (tmp_path / "run.py").write_text(APART)
    command = [sys.executable, str(tmp_path / "run.py"), settings.model]
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[2]), "VLLM_ENABLE_V1_MULTIPROCESSING": "1"}
    pipe = subprocess.PIPE
    with (
        (tmp_path / "stderr").open("w") as errors,
        subprocess.Popen(command, stdin=pipe, stdout=pipe, stderr=errors, text=True, env=environment) as run,
    ):
        assert run.stdout is not None
        said = next((line for line in run.stdout if line.startswith("ANSWERED")), "")  # among vLLM's own lines
        assert said == "ANSWERED Completion\n", (tmp_path / "stderr").read_text()[-2000:]
        left = psutil.Process(run.pid).children(recursive=True)
        assert left
        run.kill()
    stale_engines.end_stale()
    psutil.wait_procs(left, timeout=10)
    assert not [process for process in left if process.is_running() and process.status() != psutil.STATUS_ZOMBIE]
