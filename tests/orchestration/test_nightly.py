"""The nightly flow: only what changed is made again, each change is a dated version, a failed night changes nothing."""

import fcntl
import os
import re
import time
from collections.abc import Callable
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest
from fixtures.stub_openai import StubServer
from fixtures.weather import Proxy
from prefect.runtime import flow_run

from ditto_core.embedded import world_export, world_rdf
from ditto_core.knowledge.oxigraph import serve
from tasks.nightly import remove_abandoned_drafts

Ditto = Callable[..., dict[str, Any]]


def page(export: str, title: str) -> str:
    return re.search(rf"  <page>\n    <title>{title}</title>.*?</page>\n", export, re.DOTALL)[0]  # type: ignore[index]


def files(stage: Path) -> list[Path]:
    return [path for path in stage.rglob("*.parquet") if ".lost." not in path.name]


def test_a_night_makes_again_what_changed_and_keeps_the_last_good_version(
    ditto: Ditto, model_server: StubServer, tmp_path: Path
) -> None:
    dump, whole = tmp_path / "wiki.xml", world_export().read_text("utf-8")
    newton, einstein = page(whole, "Isaac Newton"), page(whole, "Albert Einstein")
    nightly = ["--set", f"knowledge.article_dump={dump}", "--keep", "1"]
    latest = tmp_path / "data" / "versions" / "latest"

    dump.write_text(whole.replace(newton, ""))
    first = ditto("nightly", tmp_path / "data", *nightly)
    assert first["model_calls"] == model_server.total() > 0

    revised = re.sub(r"<id>(\d+)</id>\n      <timestamp>", r"<id>9\1</id>\n      <timestamp>", einstein)
    dump.write_text(whole.replace(einstein, revised.replace("</text>", "He is remembered.</text>")))
    second = ditto("nightly", tmp_path / "data", *nightly)
    assert second["changes"] == "1 roles added, 1 changed, 0 dropped"
    assert 0 < second["model_calls"] < first["model_calls"]
    changelog = (latest / "CHANGELOG.md").read_text("utf-8")
    assert "- Isaac Newton (en:Q935)" in changelog
    assert re.search(r"- Albert Einstein \(en:Q937\): article, revision (\d+) to 9\1\n", changelog)
    assert [path.name for path in sorted(latest.parent.iterdir())] == [second["version"], "latest"]

    shards = tmp_path / "data" / "shards"
    assert {stage.name: len(files(stage)) for stage in shards.iterdir()} == {
        "characters": 1, "pages": 3, "profiles": 3, "pairs": 1, "dialogues": 3, "examples": 3,
    }, "shards that only a dropped version had are gone"  # fmt: skip

    latest.unlink()  # as if the night had been killed before it led there
    draft = latest.with_name(".2026-11-24.77.tmp")
    draft.mkdir()
    os.utime(draft, times=(0, 0))
    third = ditto("nightly", tmp_path / "data", *nightly)
    assert (third["model_calls"], third["version"], third["changes"]) == (0, second["version"], "nothing changed")
    assert latest.readlink() == Path(second["version"])
    assert not draft.exists()

    dump.write_text("<mediawiki><page><title>cut")
    error = ditto("nightly", tmp_path / "data", *nightly, code=1)["error"]
    assert f"versions/{second['version']} is still the latest version" in error
    assert (latest / "train.parquet").exists()


@pytest.mark.usefixtures("model_server")
def test_two_nights_never_overlap(ditto: Ditto, tmp_path: Path) -> None:
    with (tmp_path / "nightly.lock").open("w") as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        assert "another night is still at work" in ditto("nightly", tmp_path, code=2)["error"]


@pytest.mark.usefixtures("model_server")
def test_a_good_night_gives_its_answers_to_all_other_runs_and_a_failed_one_keeps_them_for_its_retry(
    ditto: Ditto, tmp_path: Path
) -> None:
    root, dump, world = tmp_path / "data", tmp_path / "wiki.xml", world_rdf().read_text("utf-8")
    (tmp_path / "world.ttl").write_text(world.replace('"1643-01-04T00:00:00Z"', '"1642-12-25T00:00:00Z"'))
    dump.write_bytes(world_export().read_bytes())
    with serve(world_rdf(), tmp_path / "old") as old, serve(tmp_path / "world.ttl", tmp_path / "new") as new:
        proxy = Proxy(old)
        options = ["--set", f"knowledge.sparql_endpoint={proxy.address}", "--set", f"knowledge.article_dump={dump}"]
        ditto("collect", root, *options)
        before = {path.name for path in files(root / "shards" / "characters")}

        dump.write_text("<mediawiki><page><title>cut")
        ditto("nightly", root, *options, code=1)
        (failed,) = (path for path in (root / "snapshots").iterdir() if path.name != "default")
        assert any(failed.rglob("*.gz"))

        dump.write_bytes(world_export().read_bytes())
        proxy.upstream = new
        time.sleep(1)  # names of snapshots tell seconds apart
        ditto("nightly", root, *options)
        proxy.close()
    assert [path.name for path in (root / "snapshots").iterdir()] == ["default"]
    after = {path.name for path in files(root / "shards" / "characters")}
    made = root / "handover"
    left = {path.name: path.read_bytes() for path in made.glob("*.json") if "settings" not in path.name}
    assert ditto("collect", root, *options, "--offline")["requests"] == 0
    assert {name: (made / name).read_bytes() for name in left} == left
    assert before < after


@pytest.mark.usefixtures("model_server")
def test_a_night_that_is_retried_late_is_not_older_than_the_newest_version(
    ditto: Ditto, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def night(day: str, *options: str) -> dict[str, Any]:
        monkeypatch.setitem(flow_run.FIELDS, "scheduled_start_time", lambda: datetime.fromisoformat(f"{day}T02:30:00Z"))
        return ditto("nightly", tmp_path, "--set", "knowledge.max_characters=2", "--set", "shards=1", *options)

    assert night("2026-11-25")["version"] == "2026-11-25"
    (tmp_path / "wiki.xml").write_text(world_export().read_text("utf-8").replace("</text>", "Much is told of this.</text>"))
    edited = night("2026-11-24", "--set", f"knowledge.article_dump={tmp_path / 'wiki.xml'}")
    assert edited["version"] == "2026-11-25.2"
    assert (tmp_path / "versions" / "latest").readlink() == Path("2026-11-25.2")


def test_a_night_removes_what_killed_processes_had_begun_to_write(tmp_path: Path) -> None:
    folders = ["datasets/.0123abcd.77.tmp", "versions/.2026-11-24.77.tmp", "datasets/.4567abcd.78.tmp", "datasets/89ab"]
    names = ["shards/pairs/0a/.en-0a.parquet.77.0123abcd.tmp", "handover/.pairs-0a.json.77.0123abcd.tmp", "shards/mine.tmp"]
    names += [f"{folder}/train.parquet" for folder in folders]
    for name in names:
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    (tmp_path / "versions/.latest.77.tmp").symlink_to("../datasets/89ab")
    for path in tmp_path.rglob("*"):
        os.utime(path, times=(0, 0), follow_symlinks=False)
    (tmp_path / "datasets/.4567abcd.78.tmp/train.parquet").touch()  # somebody writes to it
    remove_abandoned_drafts(tmp_path)
    left = {str(path.relative_to(tmp_path)) for path in tmp_path.rglob("*") if not path.is_dir()}
    assert left == {"shards/mine.tmp", "datasets/.4567abcd.78.tmp/train.parquet", "datasets/89ab/train.parquet"}
