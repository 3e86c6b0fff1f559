"""Models evaluated side by side on a test file, by a judging model, through the real flow; and one ablation.

A judge or a player that was down is asked again by the next run, and one engine is gone before another is asked.
"""

import asyncio
import json
import re
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web
from distributed import LocalCluster
from fixtures.shard_files import shards
from fixtures.stub_openai import StubServer, reply

from ditto_core import configuration
from ditto_core.evaluation.wikiroleeval import read_judged, write_predictions, write_test
from ditto_core.records import Example, Message, Prediction
from ditto_core.settings import Settings
from tasks import recipes

Ditto = Callable[..., dict[str, Any]]
Body = dict[str, Any]
LABELS = ("Marie Curie", "Athena", "Bob Marley", "Ada Lovelace")


def session(label: str, language: str) -> Example:
    return Example(
        messages=(
            Message("system", f"You are {label}."),
            Message("user", "What are you known for?"),
            Message("user", "Which phone do you use?"),
        ),
        split="test", role=label, language=language, label=label, description="", kind="Q5",
        kinds=("role_specific", "contrastive"), sources=("", ""), evidence=((f"notable work: work of {label}",), ()),
        candidates=LABELS, keys=("", ""), summary=f"{label} is known.", claims=(f"notable work: work of {label}",), aliases=(),
        title=label, revision="", url="", licence="",
    )  # fmt: skip


def script(path: Path, *lines: tuple[str, str]) -> dict[str, str]:
    path.write_text("".join(json.dumps({"match": match, "reply": reply}) + "\n" for match, reply in lines))
    return {"engine": "scripted", "model": path.stem, "script": str(path)}


def settings(tmp_path: Path) -> list[str]:
    """Two models, one good and one that refuses everything, and a judge that reads their answers."""
    tests = tmp_path / "theirs.jsonl"
    sessions = [session(label, language) for label in LABELS for language in ("en", "zh")]
    tests.write_text(write_test(sessions) + "not json\n")
    good = script(
        tmp_path / "good.jsonl",
        (r"You are (?P<who>[^.]+)\..*phone", r"I am \g<who> and have never heard of that."),
        (r"You are (?P<who>[^.]+)\.", r"I made the work of \g<who>."),
        (".", "In character, all of it."),
    )
    shy = script(tmp_path / "shy.jsonl", (".", "I have never heard of that."))
    judge = script(
        tmp_path / "judge.jsonl",
        (r"of (?P<who>Marie Curie|Athena|Bob Marley|Ada Lovelace)\..*(?P<letter>[A-D])\. (?P=who)\n", r"[[\g<letter>]]"),
        (r"am (?P<who>Marie Curie|Athena|Bob Marley|Ada Lovelace) .*(?P<letter>[A-D])\. (?P=who)\n", r"[[\g<letter>]]"),
        (r"[A-D]\. Athena", "[[none]]"),
        (r"In character.*\[\[6\]\]", "[[9]]"),
        (r"I made the work.*\[\[6\]\]", "[[8]]"),
        (r"\[\[6\]\]", "[[1]]"),
        (r"never heard", "[[yes]]"),
        (".", "[[no]]"),
    )
    chosen = {
        "models": [{"name": "good", "generation": good}, {"name": "shy one", "generation": shy, "system_role": False}],
        "judge": "llm", "judge_generation": judge, "mt_bench": "own", "test_file": str(tests), "bootstrap": 100, "runs": 2,
    }  # fmt: skip
    return ["--set", f"evaluation={json.dumps(chosen)}", "--set", "shards=2"]


def test_a_leaderboard_on_a_test_file_is_scored_reported_and_free_the_second_time(ditto: Ditto, tmp_path: Path) -> None:
    root, options = tmp_path / "data", settings(tmp_path)
    found = ditto("leaderboard", root, *options)
    good, shy = found["scores"]["good"], found["scores"]["shy one"]
    assert {metric: good["all"][metric]["mean"] for metric in ("consistency", "knowledge", "rejection")} == {
        "consistency": 1,
        "knowledge": 8,
        "rejection": 1,
    }
    assert (shy["zh"]["knowledge"]["mean"], shy["en"]["rejection"]["mean"], shy["all"]["consistency"]["mean"]) == (1, 0.5, 0)
    ledger = found["ledger"]
    assert ledger["failed"] == {"not_json": 1}
    assert ledger["inputs"] == ledger["ok"] + 1
    folder = Path(found["report"]).parent
    table = (folder / "scores.md").read_text()
    assert table.index("| good |") < table.index("| shy one |") < table.index("*GPT-4*")
    kinds = [f"{kind}-{model}.jsonl" for kind in ("judged", "predictions") for model in ("good", "shy one")]
    assert {file.name for file in folder.iterdir()} == {
        "plot-scores.svg", "report.html", "scores.csv", "scores.json", "scores.md", *kinds
    }  # fmt: skip
    grades = json.loads((folder / "scores.json").read_text())["mt_bench"]
    assert grades["good"]["mean"]["mean"] > 8 > grades["shy one"]["mean"]["mean"] == 1
    judged, lines = read_judged((folder / "judged-good.jsonl").read_text(), "?", "?")
    assert (len(judged), lines.failed) == (2 * 8, {})
    assert judged[0][1].votes[0][0].prompt != ""

    written = json.loads((folder / "scores.json").read_text())
    assert written["judge"] == "judge (an LLM)"
    assert written["released_arithmetic"]["good"]["zh"] == {"consistency": 1.0, "knowledge": 8.0, "rejection": 1.0}

    again = ditto("leaderboard", root, *options)
    assert (again["model_calls"], again["report"]) == (0, found["report"])


def test_a_cluster_measures_what_threads_measure(ditto: Ditto, tmp_path: Path) -> None:
    options = settings(tmp_path)
    found = {dask: ditto("leaderboard", tmp_path / f"data{dask}", *options, "--set", f"dask={dask}") for dask in ("", "local")}
    assert found[""]["scores"] == found["local"]["scores"]
    for stage in ("predictions", "judgements"):
        assert shards(tmp_path / "data", stage) == shards(tmp_path / "datalocal", stage) != {}


def served(server: StubServer, name: str, timeout_s: int = 60) -> dict[str, Any]:
    """A model of the stub's, by a name of its own."""
    return {"engine": "chat-api", "model": name, "base_url": server.base_url, "concurrency": 4, "timeout_s": timeout_s}


def of_one_server(tmp_path: Path, server: StubServer, *players: str, timeout_s: int = 60) -> list[str]:
    """Models that play, and one that judges, all behind a server that answers each with the verdict that its prompt shows."""
    tests = tmp_path / "theirs.jsonl"
    tests.write_text(write_test([session(label, "en") for label in LABELS]))
    shown = ("[[A]]", "[[6]]", "[[no]]")
    server.answer = lambda last, _first, _seed: next((verdict for verdict in shown if verdict in last), "It was so.")
    chosen = {
        "models": [{"name": name, "generation": served(server, name, timeout_s)} for name in players],
        "judge": "llm", "judge_generation": served(server, "judge", timeout_s), "mt_bench": "own",
        "test_file": str(tests), "bootstrap": 100,
    }  # fmt: skip
    return ["--set", f"evaluation={json.dumps(chosen)}", "--set", "shards=2"]


def is_verdict(body: Body) -> bool:
    return body["model"] == "judge" and not is_grade(body)


def is_grade(body: Body) -> bool:
    return "[assistant]" in body["messages"][0]["content"]


def is_mt_bench_answer(body: Body) -> bool:
    return body["model"] == "player" and body["messages"][0]["role"] == "user"


@pytest.mark.parametrize(
    ("hit", "stage"),
    [
        pytest.param(is_verdict, "judgements", id="verdicts"),
        pytest.param(is_grade, "mt-bench", id="grades"),
        pytest.param(is_mt_bench_answer, "mt-bench-answers", id="answers-to-mt-bench"),
    ],
)
def test_what_a_model_that_was_down_left_is_all_that_the_next_run_asks(
    ditto: Ditto, model_server: StubServer, tmp_path: Path, hit: Callable[[Body], bool], stage: str
) -> None:
    answered: Counter[str] = Counter()
    passed, lets_pass = 0, 10

    async def fail(_request: web.Request, body: Body, _times: int) -> web.Response | None:
        nonlocal passed
        if hit(body) and passed >= lets_pass:
            return web.Response(status=503)
        passed += hit(body)
        answered[json.dumps([body["model"], body["messages"], body.get("seed")])] += 1
        return None

    model_server.fault = fail
    failed = ditto("leaderboard", tmp_path, *of_one_server(tmp_path, model_server, "player", timeout_s=4), code=1)["error"]
    assert re.search(rf"{stage}: the engine left \d+ of \d+ rows unanswered; all answers are kept", failed), failed

    lets_pass, paid = 10**6, model_server.drawn
    second = ditto("leaderboard", tmp_path, *of_one_server(tmp_path, model_server, "player"))
    assert second["model_calls"] == model_server.drawn - paid > 0
    assert set(answered.values()) == {1}, "nothing is paid twice"
    assert second["ledger"] == {"inputs": second["ledger"]["ok"], "ok": second["ledger"]["ok"], "failed": {}, "filtered": {}}
    assert second["scores"]["player"]["all"]["rejection"]["coverage"] == 1


class Loaded:
    """Watches which models' engines are there while a server is asked: one that is released closes its connections.

    Attributes:
        order: The models that asked, one after the other.
        together: Models whose engines were there at the same time.
    """

    def __init__(self, server: StubServer) -> None:
        self.order: list[str] = []
        self.together: set[frozenset[str]] = set()
        self._connections: defaultdict[str, set[asyncio.Transport]] = defaultdict(set)
        server.fault = self._watch

    async def _watch(self, request: web.Request, body: Body, _times: int) -> None:
        model, transport = body["model"], request.transport
        if transport is None:
            return
        self._connections[model].add(transport)
        if self.order[-1:] != [model]:
            self.order.append(model)
        for _ in range(20):  # the end of a connection is seen a moment later
            others = {name for name, held in self._connections.items() if not all(one.is_closing() for one in held)} - {model}
            if not others:
                return
            await asyncio.sleep(0.02)
        self.together.add(frozenset({model, *others}))


def test_every_model_and_the_judge_are_loaded_once_and_alone(ditto: Ditto, model_server: StubServer, tmp_path: Path) -> None:
    loaded = Loaded(model_server)
    ditto("leaderboard", tmp_path, *of_one_server(tmp_path, model_server, "one", "another"))
    assert (loaded.order, loaded.together) == (["one", "another", "judge"], set())


@pytest.fixture(params=["threads", "cluster"])
def workers(request: pytest.FixtureRequest) -> Iterator[str]:
    """The setting `dask`: nothing, or a cluster that outlives the command."""
    if request.param == "threads":
        yield ""
        return
    with LocalCluster(n_workers=1, threads_per_worker=2, dashboard_address=None) as cluster:
        yield cluster.scheduler_address


def test_an_engine_is_gone_before_the_next_stage_asks_another(
    ditto: Ditto, model_server: StubServer, workers: str, tmp_path: Path
) -> None:
    model_server.answer = lambda last, first, seed: verdict(last) or reply(last, first)
    loaded = Loaded(model_server)
    judge = [
        "--set",
        "dataset.refusals=judge",
        "--set",
        f"evaluation.judge_generation={json.dumps(served(model_server, 'judge'))}",
    ]
    small = ["--set", "dataset.test_share=0.5", "--set", "evaluation.bootstrap=100", "--set", "shards=1"]
    found = ditto("ablate", tmp_path, "knowledge", *judge, *small, "--set", f"dask={workers}")
    assert (loaded.order, loaded.together) == (["stub", "judge", "stub"], set()), "simulates, tells refusals, plays"
    assert found["model_calls"] == model_server.drawn


def verdict(last: str) -> str:
    """Of a judge of refusals; "" where the prompt is none of its."""
    return ("[[yes]]" if "never heard" in last else "[[no]]") if "turns its question down" in last else ""


def with_a_judge_of(**generation: Any) -> Settings:
    judge = {"engine": "chat-api", "model": "judge", **generation}
    chosen = ("evaluation.judge=llm", "dataset.refusals=judge", f"evaluation.judge_generation={json.dumps(judge)}")
    return configuration.load("demo", None, chosen)


@pytest.mark.parametrize(
    "recipe",
    [
        pytest.param(recipes.dataset_recipe, id="refusals"),
        pytest.param(lambda settings: recipes.judgement_recipe(settings, ["en"]), id="verdicts"),
        pytest.param(recipes.grading_recipe, id="grades"),
    ],
)
def test_a_judge_that_takes_longer_prompts_judges_anew(recipe: Callable[[Settings], str]) -> None:
    before = with_a_judge_of(max_model_len=2048)
    assert recipe(with_a_judge_of(max_model_len=4096)) != recipe(before)
    assert recipe(with_a_judge_of(max_model_len=2048, concurrency=3)) == recipe(before)


def test_prediction_files_of_anyone_are_judged_side_by_side(ditto: Ditto, tmp_path: Path) -> None:
    answers = {"silent": "A fine day.", "sound": "I made the work of {label}; I have never heard of phones."}
    files = []
    for name, answer in answers.items():
        said = [(one, answer.format(label=one.label)) for one in (session(label, "en") for label in LABELS)]
        lines = write_predictions([Prediction(one, "", (text, text), ("", "")) for one, text in said]).splitlines()
        theirs = [json.loads(line) for line in lines]
        for line in theirs:  # as the authors write them: nothing of ours
            del line["meta"]["ditto"]
        files.append(tmp_path / f"{name}.jsonl")
        files[-1].write_text("".join(json.dumps(line) + "\n" for line in theirs))
    found = ditto("judge", tmp_path / "data", *map(str, files), "--set", "evaluation.bootstrap=100")
    assert found["scores"]["sound"]["all"]["consistency"]["mean"] == 1
    assert found["scores"]["silent"]["all"]["consistency"]["mean"] == 0
    assert found["scores"]["sound"]["all"]["contrastive_refused"]["mean"] == 1
    assert "| +1.00 [+1.00, +1.00] |" in found["table"]
    assert found["ledger"]["inputs"] == found["ledger"]["ok"]


def test_the_knowledge_ablation_shows_the_profile_and_takes_it_away(
    ditto: Ditto, model_server: StubServer, tmp_path: Path
) -> None:
    options = ["--set", "dataset.test_share=0.5", "--set", "evaluation.bootstrap=100", "--set", "shards=1"]
    found = ditto("ablate", tmp_path, "knowledge", *options)
    assert set(found["scores"]) == {"with the profile", "without the profile"}
    assert "(Δ " in found["table"]
    assert "as published" in Path(found["report"]).read_text()
    systems = [json.loads(prompt)[0][0]["content"] for prompt in model_server.asked]
    played = [text for text in systems if "Play this character" in text]
    assert any("Name: " in text for text in played)
    assert any("Name: " not in text for text in played)
