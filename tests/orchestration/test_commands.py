"""What a person meets at the terminal: mistakes are explained, with the right exit code and no traceback."""

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from fixtures.stub_openai import StubServer

Ditto = Callable[..., dict[str, Any]]
WIKIDATA = "https://query.wikidata.org/sparql"


@pytest.mark.parametrize(
    ("command", "options", "problem"),
    [
        pytest.param("collect", ["--set", "knowledge.contat=x"], "Did you mean 'contact'", id="wrong-key"),
        pytest.param(
            "collect", ["--set", "knowledge.sparql_endpoint=http://127.0.0.1:9/sparql"], "127.0.0.1:9", id="endpoint-down"
        ),
        pytest.param("collect", ["--set", f"knowledge.sparql_endpoint={WIKIDATA}"], "set knowledge.contact", id="no-contact"),
        pytest.param("collect", ["--set", 'knowledge.classes=["Q1"]'], "no usable character", id="empty-result"),
        pytest.param("collect", ["--set", 'knowledge.languages=["en", "xx"]'], "language 'xx' is not known", id="language"),
        pytest.param("collect", ["--set", "knowledge.article_dump=missing.xml"], "missing.xml", id="missing-dump"),
        pytest.param("simulate", [], "Run `ditto collect`", id="nothing-collected"),
        pytest.param(
            "simulate", ["--set", "generation.engine=transformers", "--set", "generation.model=nowhere"], "nowhere", id="no-model"
        ),
        pytest.param("evaluate", [], "Run `ditto assemble`", id="nothing-assembled"),
        pytest.param("ablate", ["turnz"], "no ablation 'turnz'; there are knowledge, turns, contrastive", id="unknown-ablation"),
    ],
)
def test_a_mistake_ends_with_code_2_and_a_sentence_that_helps(
    ditto: Ditto, tmp_path: Path, command: str, options: list[str], problem: str
) -> None:
    assert problem in ditto(command, tmp_path, *options, code=2)["error"]


def test_the_shell_completes_commands() -> None:
    asked = {"_DITTO_COMPLETE": "complete_bash", "COMP_WORDS": "ditto si", "COMP_CWORD": "1"}
    ditto = Path(sys.executable).parent / "ditto"
    assert subprocess.run([ditto], env=os.environ | asked, capture_output=True, text=True).stdout.split() == ["simulate"]


def test_an_unreadable_dump_is_named_with_the_place(ditto: Ditto, tmp_path: Path) -> None:
    dump = tmp_path / "broken.xml"
    dump.write_text("<mediawiki><page><title>Mar")
    assert "broken.xml" in ditto("collect", tmp_path, "--set", f"knowledge.article_dump={dump}", code=2)["error"]
    assert not (tmp_path / "shards" / "profiles").exists()


def test_articles_are_read_on_a_system_that_does_not_tell_which_cores_a_process_may_use(
    ditto: Ditto, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delattr(os, "sched_getaffinity")  # as on macOS
    assert ditto("collect", tmp_path)["ledger"]["ok"] > 0


def test_a_collection_that_finds_no_article_fails_and_says_what_became_of_them(ditto: Ditto, tmp_path: Path) -> None:
    dump = tmp_path / "other.xml"
    dump.write_text("<mediawiki><page><title>Another Wiki</title><ns>0</ns><id>1</id></page></mediawiki>")
    said = ditto("collect", tmp_path, "--set", f"knowledge.article_dump={dump}", code=1)["error"]
    assert "profiles: nothing came through (17 in, 0 ok, 17 failed: article_missing)" in said


def test_a_character_alone_is_refused_before_anything_is_asked(ditto: Ditto, model_server: StubServer, tmp_path: Path) -> None:
    alone = ["--set", "knowledge.max_characters=1", "--set", 'knowledge.classes=["Q5"]']
    ditto("collect", tmp_path, *alone)
    assert "none of the 1 collected characters has a partner" in ditto("simulate", tmp_path, *alone, code=2)["error"]
    assert model_server.total() == 0


def test_a_full_disk_leaves_nothing_half_written(ditto: Ditto, tmp_path: Path) -> None:
    small = tmp_path / "small"
    small.mkdir()
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=600k", "tmpfs", str(small)], capture_output=True)
    assert mounted.returncode == 0, "this test mounts a small tmpfs and runs as root, as .ci/run does"
    try:
        ditto("collect", small, code=2)
        assert not list(small.rglob("*.tmp"))
    finally:
        subprocess.run(["umount", "-l", str(small)], check=True)


def test_plan_says_what_is_there_and_what_is_missing(ditto: Ditto, tmp_path: Path) -> None:
    before = {row["stage"]: row["state"] for row in ditto("plan", tmp_path)["stages"]}
    ditto("collect", tmp_path)
    after = {row["stage"]: row["state"] for row in ditto("plan", tmp_path)["stages"]}
    assert (before["collect"], after["collect"], after["simulate"]) == ("missing", "cached", "missing")


def test_what_cannot_be_tuned_is_found_out_before_anything_is_paid_for(
    ditto: Ditto, model_server: StubServer, tmp_path: Path
) -> None:
    assert "training.model" in ditto("run", tmp_path, code=2)["error"]
    assert model_server.total() == 0
    assert not (tmp_path / "shards").exists()


def test_a_model_behind_a_server_supervises_and_the_seed_llm_is_tuned_and_examined(
    ditto: Ditto, model_server: StubServer, tmp_path: Path
) -> None:
    small = ("training.model=embedded", "training.max_steps=2", "evaluation.max_answer_tokens=12", "evaluation.bootstrap=100")
    options = [word for setting in small for word in ("--set", setting)]
    first = ditto("run", tmp_path, *options)
    asked = model_server.total()
    second = ditto("run", tmp_path, *options)

    assert asked > 0
    assert Path(first["stages"][-1]["output"], "model.safetensors").exists()
    assert first["ledger"]["ok"] > 0
    assert "I am an AI assistant" in str(first["exchanges"])  # the seed answered, not the server
    assert model_server.total() == asked
    assert second["model_calls"] == 0
    other = ["--set", "training.model=embedded", "--set", "training.max_steps=3"]
    assert "Run `ditto train`" in ditto("evaluate", tmp_path, *other, code=2)["error"]  # never another training's model
