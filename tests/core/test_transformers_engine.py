"""The transformers engine on a random tiny Qwen3, in float32 on the CPU."""

import json
import shutil
import threading
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import pytest
from fixtures.tiny_model import make_tiny_model

from ditto_core.errors import InvalidInput
from ditto_core.generation.generator import Completion, Failure, Generator, Outcome, Request, Sampling, create
from ditto_core.records import Message
from ditto_core.settings import GenerationSettings

GREEDY = Sampling(max_tokens=24)
SAMPLED = Sampling(temperature=0.9, top_p=0.8, repetition_penalty=1.1, max_tokens=24)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_tiny_model(tmp_path_factory.mktemp("tiny"))


def settings(folder: Path, **changes: object) -> GenerationSettings:
    return GenerationSettings.model_validate(
        {"engine": "transformers", "model": str(folder), "max_model_len": 512, "batch_size": 8} | changes
    )


@pytest.fixture(scope="module")
def engine(folder: Path) -> Iterator[Generator]:
    generator = create(settings(folder))
    yield generator
    generator.close()


def ask(text: str, sampling: Sampling = GREEDY, sample: int = 0) -> Request:
    return Request((Message("system", "You are Ada."), Message("user", text)), sampling, sample)


def asked(count: int, sampling: Sampling = GREEDY) -> list[Request]:
    return [ask(f"{number}: " + "why? " * (number % 5 * 4), sampling) for number in range(count)]


def texts(engine: Generator, requests: Sequence[Request]) -> dict[str, str]:
    outcomes = list(engine.generate(requests))
    assert all(isinstance(outcome, Completion) for outcome in outcomes), outcomes
    return {outcome.key: outcome.text for outcome in outcomes if isinstance(outcome, Completion)}


def only(outcomes: Iterator[Outcome]) -> Outcome:
    (outcome,) = outcomes
    return outcome


@pytest.mark.parametrize(
    "sampling",
    [
        pytest.param(GREEDY, id="greedy"),
        pytest.param(replace(GREEDY, repetition_penalty=1.3), id="greedy-penalised"),
        pytest.param(SAMPLED, id="sampled"),
    ],
)
def test_a_reply_depends_on_its_request_alone(engine: Generator, folder: Path, sampling: Sampling) -> None:
    requests = asked(12, sampling)
    together = texts(engine, requests)
    assert texts(engine, requests[::-1]) == together
    assert len(set(together.values())) > 6
    alone: dict[str, str] = {}
    for request in requests[:4]:
        alone |= texts(engine, [request])
    assert alone.items() <= together.items()
    again = create(settings(folder, batch_size=3))
    assert texts(again, requests) == together
    again.close()


def test_samples_of_one_prompt_are_independent_draws(engine: Generator) -> None:
    draws = texts(engine, [ask("Who?", SAMPLED, sample) for sample in range(6)])
    assert len(set(draws.values())) > 3


def test_greedy_with_penalty_agrees_with_the_library(engine: Generator, folder: Path) -> None:
    import transformers

    tokenizer = transformers.AutoTokenizer.from_pretrained(folder)
    model = transformers.AutoModelForCausalLM.from_pretrained(folder, dtype="float32")
    for request in asked(4, replace(GREEDY, repetition_penalty=1.3)):
        chat = [{"role": message.role, "content": message.content} for message in request.messages]
        inputs = tokenizer.apply_chat_template(chat, add_generation_prompt=True, return_tensors="pt")
        output = model.generate(**inputs, max_new_tokens=24, do_sample=False, repetition_penalty=1.3)
        expected = tokenizer.decode(output[0, inputs["input_ids"].shape[1] :], skip_special_tokens=True)
        outcome = only(engine.generate([request]))
        assert isinstance(outcome, Completion)
        assert (outcome.text, outcome.prompt_tokens) == (expected, inputs["input_ids"].shape[1])


def test_the_end_token_ends_a_reply_and_is_not_part_of_it(folder: Path, tmp_path: Path) -> None:
    engine = create(settings(folder))
    first = only(engine.generate([ask("x", replace(GREEDY, max_tokens=9))]))
    engine.close()
    assert isinstance(first, Completion)
    assert (first.finish_reason, first.completion_tokens) == ("length", 9)
    copy = tmp_path / "copy"
    shutil.copytree(folder, copy)
    third = list(_tokens(folder, ask("x")))[2]
    (copy / "generation_config.json").write_text(json.dumps({"eos_token_id": [third]}))
    engine = create(settings(copy))
    outcome = only(engine.generate([ask("x", replace(GREEDY, max_tokens=9))]))
    engine.close()
    assert isinstance(outcome, Completion)
    assert (outcome.finish_reason, outcome.completion_tokens) == ("stop", 3)
    assert first.text.startswith(outcome.text)


def _tokens(folder: Path, request: Request) -> Iterator[int]:
    """The greedy reply's tokens, by the engine's own loop."""
    import transformers

    from ditto_core.generation.transformers_engine import ChatTokenizer, decode

    model = transformers.AutoModelForCausalLM.from_pretrained(folder, dtype="float32").eval()
    prompt = ChatTokenizer(folder).encode_chat(request.messages)
    for _row, reply, _reason in decode(model, [prompt], request.sampling, [0], frozenset()):
        yield from reply


def test_top_p_draws_only_from_the_nucleus_and_in_its_proportions() -> None:
    import torch

    from ditto_core.generation.transformers_engine import _Choice

    count = 4000
    sampling = Sampling(temperature=1.0, top_p=0.75, max_tokens=1)
    choice = _Choice([[0]] * count, sampling, range(count), torch.device("cpu"))
    scores = torch.tensor([0.1, 0.5, 0.1, 0.3]).log().expand(count, 4)
    tokens = choice.next(scores, 0).tolist()
    assert set(tokens) == {1, 3}
    assert tokens.count(1) / count == pytest.approx(0.5 / 0.8, abs=0.03)


def test_a_prompt_too_long_for_the_context_fails_alone(engine: Generator) -> None:
    long = ask("why " * 200)
    outcomes = {outcome.key: outcome for outcome in engine.generate([ask("a"), long, ask("b")])}
    failure = outcomes.pop(long.key(engine.identity))
    assert isinstance(failure, Failure)
    assert failure.reason == "prompt_too_long"
    assert "512" in failure.detail
    assert len(outcomes) == 2
    assert all(isinstance(outcome, Completion) for outcome in outcomes.values())


def test_equal_requests_are_asked_once(engine: Generator) -> None:
    assert len(list(engine.generate([ask("same"), ask("same"), ask("other")]))) == 2


def test_eight_threads_share_one_load_and_get_their_own_replies(folder: Path) -> None:
    engine = create(settings(folder))
    requests = asked(40)
    with ThreadPoolExecutor(8) as pool:
        parts = list(pool.map(lambda part: texts(engine, requests[part::8]), range(8)))
    owners = [thread for thread in threading.enumerate() if thread.name == "TransformersGenerator"]
    assert len([thread for thread in owners if thread is engine._owner]) == 1  # type: ignore[attr-defined]
    merged = {key: text for part in parts for key, text in part.items()}
    assert merged == texts(engine, requests)
    engine.close()
    assert not any(thread is engine._owner for thread in threading.enumerate())  # type: ignore[attr-defined]


def test_closing_answers_what_is_open_and_stays_closed(folder: Path) -> None:
    engine = create(settings(folder))
    outcomes = engine.generate(asked(30, replace(GREEDY, max_tokens=300)))
    next(outcomes)
    engine.close()
    engine.close()
    reasons = {outcome.reason for outcome in outcomes if isinstance(outcome, Failure)}
    assert reasons == {"engine_unavailable"}
    assert isinstance(only(engine.generate([ask("late")])), Failure)


def test_counting_tokens_loads_no_model(folder: Path) -> None:
    engine = create(settings(folder))
    assert engine.count_tokens("Zoë") == 4
    assert engine._owner is None  # type: ignore[attr-defined]
    engine.close()


def test_a_model_without_chat_template_gets_ours_and_another_identity(folder: Path, tmp_path: Path) -> None:
    from ditto_core.recipe import model_identity

    bare = tmp_path / "bare"
    shutil.copytree(folder, bare)
    (bare / "chat_template.jinja").unlink()
    engine, full = create(settings(bare)), create(settings(folder))
    assert engine.identity.weights == model_identity(folder).weights
    assert engine.identity.tokenizer != model_identity(bare).tokenizer
    one, other = only(engine.generate([ask("a")])), only(full.generate([ask("a")]))
    engine.close()
    full.close()
    assert isinstance(one, Completion)
    assert isinstance(other, Completion)
    assert one.text == other.text


def test_a_template_that_refuses_a_message_fails_that_row_alone(folder: Path, tmp_path: Path) -> None:
    strict = tmp_path / "strict"
    shutil.copytree(folder, strict)
    (strict / "chat_template.jinja").write_text(
        "{% if messages[0]['role'] == 'system' %}{{ raise_exception('no system role') }}{% endif %}"
        "{{ messages[0]['content'] }}"
    )
    engine = create(settings(strict))
    plain = Request((Message("user", "hello"),), GREEDY)
    outcomes = {outcome.key: outcome for outcome in engine.generate([ask("a"), plain])}
    engine.close()
    failure = outcomes[ask("a").key(engine.identity)]
    assert isinstance(failure, Failure)
    assert failure.reason == "template_refused"
    assert isinstance(outcomes[plain.key(engine.identity)], Completion)


def test_a_schema_is_refused_with_the_way_out(engine: Generator) -> None:
    with pytest.raises(InvalidInput, match="samples"):
        list(engine.generate([replace(ask("a"), schema='{"type":"array"}')]))


@pytest.mark.parametrize(
    ("damage", "problem"),
    [
        pytest.param(lambda f: (f / "model.safetensors").unlink(), "no \\*.safetensors", id="no-weights"),
        pytest.param(
            lambda f: (f / "model.safetensors").write_bytes(b"junk"), "cannot load the model", id="bad-weights"
        ),
        pytest.param(lambda f: (f / "tokenizer.json").write_text("{"), "cannot load the tokenizer", id="bad-tokenizer"),
        pytest.param(shutil.rmtree, "does not exist", id="no-folder"),
    ],
)
def test_a_damaged_model_is_the_users_to_mend(folder: Path, tmp_path: Path, damage: object, problem: str) -> None:
    broken = tmp_path / "broken"
    shutil.copytree(folder, broken)
    damage(broken)  # type: ignore[operator]
    with pytest.raises(InvalidInput, match=problem):
        list(create(settings(broken)).generate([ask("a")]))
