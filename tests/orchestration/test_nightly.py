"""The nightly flow: only what changed is made again, each change is a dated version, a failed night changes nothing."""

import fcntl
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from fixtures.stub_openai import StubServer

from ditto_core.embedded import world_export

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

    third = ditto("nightly", tmp_path / "data", *nightly)
    assert (third["model_calls"], third["version"], third["changes"]) == (0, second["version"], "nothing changed")

    dump.write_text("<mediawiki><page><title>cut")
    error = ditto("nightly", tmp_path / "data", *nightly, code=1)["error"]
    assert f"versions/{second['version']} is still the latest version" in error
    assert (latest / "train.parquet").exists()


@pytest.mark.usefixtures("model_server")
def test_two_nights_never_overlap(ditto: Ditto, tmp_path: Path) -> None:
    with (tmp_path / "nightly.lock").open("w") as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        assert "another night is still at work" in ditto("nightly", tmp_path, code=2)["error"]
