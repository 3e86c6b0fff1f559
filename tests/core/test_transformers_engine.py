import json
import os
import shutil
import subprocess
import sys
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from itertools import groupby
from pathlib import Path

import pytest
from fixtures.tiny_model import make_tiny_model

from ditto_core.errors import InvalidInput
from ditto_core.generation.copies import Copies
from ditto_core.generation.generator import Generator, Job
from ditto_core.generation.local_model import chat_identity
from ditto_core.generation.requests import Completion, Failure, Request, Sampling
from ditto_core.generation.transformers_engine import TransformersGenerator
from ditto_core.recipe import model_identity
from ditto_core.records import Message
from ditto_core.settings import GenerationSettings

GREEDY = Sampling(max_tokens=20)
DRAWN = Sampling(temperature=0.9, top_p=0.9, repetition_penalty=1.1, max_tokens=20)


def ask(text: str, sampling: Sampling = GREEDY, sample: int = 0) -> Request:
    return Request((Message("user", text),), sampling, sample)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_tiny_model(tmp_path_factory.mktemp("tiny"))


@pytest.fixture(scope="module")
def engine(folder: Path) -> Iterator[TransformersGenerator]:
    made = TransformersGenerator(settings(folder))
    yield made
    made.close()


def settings(folder: Path) -> GenerationSettings:
    return GenerationSettings(engine="transformers", model=str(folder), max_model_len=512, batch_size=4)


def texts(engine: Generator, requests: list[Request]) -> dict[str, str]:
    replies = list(engine.generate(requests))
    assert all(isinstance(reply, Completion) for reply in replies), replies
    return {reply.key: reply.text for reply in replies if isinstance(reply, Completion)}


@pytest.mark.parametrize("sampling", [pytest.param(GREEDY, id="greedy"), pytest.param(DRAWN, id="drawn")])
def test_a_reply_is_the_same_alone_and_in_any_batch(engine: TransformersGenerator, sampling: Sampling) -> None:
    requests = [ask("who " * (1 + number * 3 % 7) + str(number), sampling) for number in range(9)]
    together = texts(engine, requests)
    assert len(set(together.values())) > 1
    assert texts(engine, requests[::-1]) == together
    for request in requests[::4]:
        assert texts(engine, [request]) == {request.key(engine.identity): together[request.key(engine.identity)]}


_LOAD_AT_ONCE = """
import threading
from concurrent.futures import ThreadPoolExecutor
from ditto_core.embedded import seed_folder
from ditto_core.generation.requests import Request, Sampling
from ditto_core.generation.transformers_engine import TransformersGenerator
from ditto_core.records import Message
from ditto_core.settings import GenerationSettings

settings = GenerationSettings(engine="transformers", model=str(seed_folder()), max_model_len=512)
request, started = Request((Message("user", "Who are you?"),), Sampling(max_tokens=8)), threading.Barrier(4)

def ask(engine):
    started.wait()
    return next(engine.generate([request])).text

engines = [TransformersGenerator(settings) for _ in range(4)]
with ThreadPoolExecutor(4) as many:
    print(*many.map(ask, engines), sep="|")
"""


def test_models_that_are_loaded_at_once_all_answer() -> None:
    """In a process of its own, since what transformers has imported once is no longer in danger."""
    done = subprocess.run([sys.executable, "-c", _LOAD_AT_ONCE], capture_output=True, text=True, timeout=120, check=False)
    assert done.stdout == "|".join(["I am an AI assistant."] * 4) + "\n", done.stderr


@pytest.mark.parametrize(("asked", "used"), [({}, "PASSIVE"), ({"OMP_WAIT_POLICY": "active"}, "ACTIVE")])
def test_threads_that_wait_leave_the_cores_to_others(asked: dict[str, str], used: str) -> None:
    environment = {name: value for name, value in os.environ.items() if name != "OMP_WAIT_POLICY"}
    command = [sys.executable, "-c", "import ditto_core.generation.transformers_engine as engine; engine.has_gpu()"]
    environment |= {"OMP_DISPLAY_ENV": "true", **asked}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=True)
    assert f"OMP_WAIT_POLICY = '{used}'" in done.stderr


def test_whoever_watches_reads_the_reply_as_it_is_written(engine: TransformersGenerator) -> None:
    seen: list[str] = []
    request = ask("Who are you?")
    (whole,) = texts(engine, [request]).values()
    assert set(texts(engine, [replace(request, watch=seen.append)])) == {request.key(engine.identity)}
    assert len(set(seen)) > 5
    assert all(whole.startswith(part.rstrip("\ufffd")) for part in seen)


def test_draws_differ_by_sample_number(engine: TransformersGenerator) -> None:
    assert len(set(texts(engine, [ask("Who are you?", DRAWN, number) for number in range(4)]).values())) == 4


def test_greedy_replies_agree_with_the_generate_of_transformers(engine: TransformersGenerator, folder: Path) -> None:
    from transformers import AutoModelForCausalLM, AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(folder)
    model = AutoModelForCausalLM.from_pretrained(folder)
    for text in ("Who are you?", "When were you born, and where?"):
        prompt = tokenizer.apply_chat_template(
            [{"role": "user", "content": text}], add_generation_prompt=True, return_tensors="pt", return_dict=True
        )
        tokens = model.generate(**prompt, do_sample=False, max_new_tokens=20, repetition_penalty=1.2)
        expected = tokenizer.decode(tokens[0, prompt["input_ids"].shape[1] :], skip_special_tokens=True)
        request = ask(text, Sampling(repetition_penalty=1.2, max_tokens=20))
        assert list(texts(engine, [request]).values()) == [expected]


def test_choices_are_answered_with_the_chances_of_their_first_tokens(engine: TransformersGenerator, folder: Path) -> None:
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer

    requests = [
        Request((Message("user", "who " * (1 + number)),), Sampling(max_tokens=1), choices=("A", "B")) for number in range(6)
    ]
    found = texts(engine, requests)
    model, tokenizer = AutoModelForCausalLM.from_pretrained(folder), AutoTokenizer.from_pretrained(folder)
    first, second = tokenizer("AB", add_special_tokens=False)["input_ids"]
    for request in requests:
        chat = [{"role": "user", "content": request.messages[0].content}]
        prompt = tokenizer.apply_chat_template(chat, add_generation_prompt=True, return_tensors="pt", return_dict=True)
        with torch.no_grad():
            chances = model(**prompt).logits[0, -1].log_softmax(-1)
        expected = {"A": float(chances[first]), "B": float(chances[second])}
        assert json.loads(found[request.key(engine.identity)]) == pytest.approx(expected, abs=1e-3)
    (alike,) = engine.generate([Request(requests[0].messages, Sampling(max_tokens=1), choices=("yes", "yea"))])
    assert isinstance(alike, Failure)
    assert alike.reason == "choices_begin_alike"


def test_an_over_long_prompt_fails_alone(engine: TransformersGenerator) -> None:
    good, bad = ask("short"), ask("long " * 200)
    outcomes = {outcome.key: outcome for outcome in engine.generate([bad, good])}
    failure, completion = outcomes[bad.key(engine.identity)], outcomes[good.key(engine.identity)]
    assert isinstance(failure, Failure)
    assert failure.reason == "prompt_too_long"
    assert isinstance(completion, Completion)
    assert completion.completion_tokens == 20 or completion.finish_reason == "stop"


def test_eight_threads_get_the_replies_of_one(engine: TransformersGenerator) -> None:
    requests = [ask(f"question {number}") for number in range(24)]
    one = texts(engine, requests)
    with ThreadPoolExecutor(8) as pool:
        parts = list(pool.map(lambda start: texts(engine, requests[start::8]), range(8)))
    assert {key: text for part in parts for key, text in part.items()} == one


def test_what_one_thread_asks_together_stays_together(folder: Path) -> None:
    order: list[str] = []

    class Recording(TransformersGenerator):
        def _serve(self) -> None:
            while not self._closing.is_set():
                for prompt in self._take(wait=True):
                    order.append(prompt.job.request.messages[0].content)
                    self._fail(prompt, "seen", "")

    recording = Recording(settings(folder))
    roles = [[Request((Message("system", role), Message("user", str(n))), GREEDY) for n in range(24)] for role in "abcdefgh"]
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda requests: list(recording.generate(requests)), roles))
    recording.close()
    assert len(order) == 8 * 24
    assert len(list(groupby(order))) == 8


def test_copies_answer_as_one_and_prompts_that_begin_alike_share_one(engine: TransformersGenerator, folder: Path) -> None:
    served: list[dict[str, int]] = []

    class Counted(TransformersGenerator):
        def submit(self, jobs: Sequence[Job]) -> None:
            for job in jobs:
                served[self.number][job.request.messages[0].content] += 1
            super().submit(jobs)

    together = []
    for number in range(2):
        served.append(Counter())
        together.append(Counted(settings(folder)))
        together[-1].number = number  # type: ignore[attr-defined]
    copies = Copies(together)
    roles = [Message("system", f"You are number {number}.") for number in range(6)]
    requests = [Request((role, Message("user", question)), GREEDY) for question in ("Who?", "When?") for role in roles]
    assert texts(copies, requests) == texts(engine, requests)
    assert copies.identity == engine.identity
    assert sorted([*served[0].values(), *served[1].values()]) == [2] * 6
    assert served[0]
    assert served[1]
    copies.close()


def test_identity_and_token_counts_need_no_model(folder: Path) -> None:
    fresh = TransformersGenerator(settings(folder))
    assert fresh.count_tokens("abc") == 3
    assert fresh._owner is None
    fresh.close()


@pytest.mark.parametrize(
    ("declare", "is_another"),
    [
        pytest.param(lambda end: {"eos_token_id": end}, False, id="the-same"),
        pytest.param(lambda end: {"eos_token_id": [end]}, False, id="the-same-in-a-list"),
        pytest.param(lambda _end: {}, False, id="none"),
        pytest.param(lambda end: {"eos_token_id": [end - 1, end]}, True, id="one-more"),
        pytest.param(lambda end: {"eos_token_id": end - 1}, True, id="another"),
    ],
)
def test_another_end_of_replies_makes_another_identity(
    folder: Path, tmp_path: Path, declare: Callable[[int], dict[str, object]], is_another: bool
) -> None:
    edited = shutil.copytree(folder, tmp_path / "edited")
    end = json.loads((folder / "config.json").read_text("utf-8"))["eos_token_id"]
    (edited / "generation_config.json").write_text(json.dumps(declare(end)))
    assert (chat_identity(edited) != chat_identity(folder)) == is_another
    assert chat_identity(folder) == model_identity(folder), "row keys of models that agree with themselves stay"


def test_a_closed_engine_fails_what_comes_and_closes_again(folder: Path) -> None:
    fresh = TransformersGenerator(settings(folder))
    assert texts(fresh, [ask("hello")])
    fresh.close()
    fresh.close()
    (outcome,) = fresh.generate([ask("hello")])
    assert isinstance(outcome, Failure)
    assert outcome.reason == "engine_unavailable"


def test_a_missing_folder_is_the_users_mistake(tmp_path: Path) -> None:
    with pytest.raises(InvalidInput, match="does not exist"):
        TransformersGenerator(settings(tmp_path / "none"))


def test_a_folder_with_a_broken_config_is_reported_to_the_caller(folder: Path, tmp_path: Path) -> None:
    broken = shutil.copytree(folder, tmp_path / "broken")
    (broken / "model.safetensors").write_bytes(b"no weights")
    fresh = TransformersGenerator(settings(broken))
    with pytest.raises(InvalidInput, match=r"cannot load the model|Error"):
        list(fresh.generate([ask("hello")]))
    fresh.close()
