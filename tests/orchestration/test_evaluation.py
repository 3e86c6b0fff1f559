"""Models evaluated side by side on a test file, by a judging model, through the real flow; and one ablation."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

from fixtures.shard_files import shards
from fixtures.stub_openai import StubServer

from ditto_core.evaluation.wikiroleeval import read_judged, write_predictions, write_test
from ditto_core.records import Example, Message, Prediction

Ditto = Callable[..., dict[str, Any]]
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
