"""Datasets in and out: files of others become a dataset that trains, and go out again; a hub receives the folder."""

import base64
import json
import os
import shutil
import socketserver
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest
from fixtures.sft_world import make_model
from fixtures.tiny_model import make_tiny_model
from huggingface_hub import constants

from ditto_core import configuration
from ditto_core.errors import InvalidInput
from ditto_core.generation.local_model import model_folder
from ditto_core.records import Example
from ditto_core.settings import Settings
from ditto_core.shards import ShardStore
from flows import exporting, importing
from tasks import handover, recipes

ROOT = Path(__file__).parents[2]
Ditto = Callable[..., dict[str, Any]]
ONE_ROLE = range(9, 10)
"""By its hash this conversation's role is for tests, so there is nothing to train on."""
AUTHORS = {
    "system": "You are Ada, mathematician.",
    "prompts": ["Who taught you?", "Who is Batman?"],
    "ref_messages": [],
    "role_consist_cands": ["Ada", "Bob", "Cid", "Dot"],
    "rejection labels": [0, 1],
    "evidence": ["- teacher: Mary", ""],
    "meta": {"label": "Ada", "lang": "en", "summary": "A mathematician."},
}


def settings_of(root: Path, imported: str = "") -> Settings:
    return configuration.load("demo", None, (f"dataset.imported={imported}",), data_root=str(root))


def write_lines(path: Path, *lines: Any) -> Path:
    path.write_text("".join((line if isinstance(line, str) else json.dumps(line)) + "\n" for line in lines))
    return path


def conversation(number: int) -> dict[str, Any]:
    said = [("system", f"You are N{number}."), ("human", "Who?"), ("gpt", f"N{number}.")]
    return {"conversations": [{"from": speaker, "value": text} for speaker, text in said]}


@pytest.fixture
def brought(tmp_path: Path) -> tuple[Settings, Path]:
    """Settings that name an imported dataset of 40 conversations and one line of the authors', and its folder."""
    file = write_lines(tmp_path / "in.jsonl", *map(conversation, range(40)), AUTHORS, "{cut", {"text": "no conversation"})
    dataset, ledger = importing.bring_in(settings_of(tmp_path), [file], "en")
    assert ledger.summary() == {"inputs": 43, "ok": 41, "failed": {"not_json": 1, "unknown_form": 1}, "filtered": {}}
    return settings_of(tmp_path, dataset.folder), tmp_path / dataset.folder


def messages(folder: Path, split: str) -> list[Any]:
    return sorted(pq.read_table(folder / f"{split}.parquet")["messages"].to_pylist(), key=str)


def test_lines_of_others_become_a_dataset_and_the_lost_ones_are_kept(brought: tuple[Settings, Path]) -> None:
    _, folder = brought
    train, test = messages(folder, "train"), messages(folder, "test")
    assert len(train) > 20
    assert any("Who is Batman?" in str(row) for row in test)
    rejected = pq.read_table(folder / "rejected.parquet").to_pylist()
    assert [(row["row"], row["reason"], row["raw"][:5]) for row in rejected] == [
        ("in.jsonl 42", "not_json", "{cut"),
        ("in.jsonl 43", "unknown_form", '{"tex'),
    ]
    sessions = [json.loads(line) for line in (folder / "test.jsonl").read_text().splitlines()]
    assert [session["system"] for session in sessions if session["meta"]["label"]] == [AUTHORS["system"]]


def test_files_with_one_name_are_all_read_and_in_their_combination(tmp_path: Path) -> None:
    files = []
    for number in range(2):
        (tmp_path / str(number)).mkdir()
        files.append(
            write_lines(tmp_path / str(number) / "train.jsonl", *map(conversation, range(20 * number, 20 * number + 20)))
        )
    both, first, second = (importing.bring_in(settings_of(tmp_path), chosen, "en")[1] for chosen in (files, files[:1], files[1:]))
    assert [ledger.ok for ledger in (both, first, second)] == [40, 20, 20]


def test_every_language_of_a_file_has_shards_of_its_own_in_which_it_is_judged(tmp_path: Path) -> None:
    chinese = AUTHORS | {"system": "你是埃达，数学家。", "meta": {"label": "埃达", "lang": "zh"}}
    german = AUTHORS | {"meta": {"label": "Ada", "lang": "de"}}  # there are no wordings for it
    file = write_lines(tmp_path / "in.jsonl", *map(conversation, range(9)), AUTHORS, chinese, german)
    dataset, ledger = importing.bring_in(settings_of(tmp_path), [file], "en")
    assert ledger.ok == 12
    chosen = settings_of(tmp_path, dataset.folder)
    left = handover.take(chosen, "examples", recipes.dataset_recipe(chosen), "import")
    store = ShardStore(tmp_path)
    assert {code: {row.language for ref in refs for row in store.read(ref, Example)} for code, refs in left.items()} == {
        "en": {"en"},
        "zh": {"zh"},
    }


@pytest.mark.parametrize("form", ["sharegpt", "alpaca"])
def test_what_was_exported_comes_back_the_same(brought: tuple[Settings, Path], tmp_path: Path, form: str) -> None:
    settings, folder = brought
    exported = exporting.export(settings, form, tmp_path / "out")
    assert sum(exported.values()) == 41
    other = tmp_path / "other"
    if form == "alpaca":  # it has no room for the authors' sessions, whose answers are still to come
        (tmp_path / "out/test.jsonl").unlink()
    dataset, ledger = importing.bring_in(settings_of(other), [tmp_path / "out"], "en")
    assert ledger.inputs == ledger.ok + ledger.failed.get("no_conversation", 0)
    for split in ("train", "validation"):
        assert messages(other / dataset.folder, split) == messages(folder, split)


def test_a_dataset_folder_of_ours_comes_back_the_same(brought: tuple[Settings, Path], tmp_path: Path) -> None:
    _, folder = brought
    other = tmp_path / "other"
    dataset, _ = importing.bring_in(settings_of(other), [folder], "zh")
    assert (other / dataset.folder / "train.parquet").read_bytes() == (folder / "train.parquet").read_bytes()


@pytest.mark.parametrize(
    ("name", "content", "problem"),
    [
        pytest.param("missing.jsonl", None, "is no file or folder with", id="no-file"),
        pytest.param("empty.jsonl", "", r"there is no conversation in .*empty.jsonl \(no line\)", id="empty"),
        pytest.param("text.jsonl", "Who?\n", r"\(not_json 1\)", id="no-json"),
        pytest.param("broken.parquet", "PAR1", "cannot read .*broken.parquet", id="broken-parquet"),
    ],
)
def test_a_file_without_conversations_is_told(tmp_path: Path, name: str, content: str | None, problem: str) -> None:
    if content is not None:
        (tmp_path / name).write_text(content)
    with pytest.raises(InvalidInput, match=problem):
        importing.bring_in(settings_of(tmp_path / "root"), [tmp_path / name], "en")
    assert not (tmp_path / "root/datasets").exists()


@pytest.fixture
def on_the_hub(tmp_path: Path, tiny: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """The id of a model that was fetched from the hub before, where there is no network now."""
    fetched = tmp_path / "hub/models--example--tiny"
    shutil.copytree(tiny, fetched / "snapshots/0123abc")
    (fetched / "refs").mkdir()
    (fetched / "refs/main").write_text("0123abc")
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "hub"))
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    return "example/tiny"


@pytest.fixture(scope="module")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_tiny_model(tmp_path_factory.mktemp("tiny"))


def training_on(folder: str, model: str, **more: Any) -> list[str]:
    chosen = {"max_steps": 1, "global_batch": 2, "device_batch": 1, "max_length": 512} | more
    options = [f"training={json.dumps({'model': model, **chosen})}", f"dataset.imported={folder}"]
    options += ['evaluation={"max_answer_tokens": 8, "bootstrap": 100}', "shards=1"]
    return [word for option in options for word in ("--set", option)]


def test_without_a_test_session_nothing_is_evaluated(ditto: Ditto, tmp_path: Path, tiny: Path) -> None:
    none_held_out = "dataset.test_share=0"
    file = write_lines(tmp_path / "in.jsonl", *map(conversation, range(10)))
    folder = ditto("import", tmp_path, str(file), "--set", none_held_out)["output"]
    assert "has no test session" in ditto("evaluate", tmp_path, *training_on(folder, str(tiny)), code=2)["error"]


def test_an_imported_dataset_is_trained_on_and_evaluated(ditto: Ditto, tmp_path: Path, on_the_hub: str) -> None:
    again = AUTHORS | {"prompts": ["Where do you live?", "Who is Batman?"]}
    sharegpt = write_lines(tmp_path / "sharegpt.jsonl", *map(conversation, range(40)), AUTHORS, again)
    said = ({"instruction": f"Who is A{n}?", "output": f"I am A{n}.", "system": f"You are A{n}."} for n in range(10))
    nothing = ditto("import", tmp_path, str(write_lines(tmp_path / "empty.jsonl")), code=2)
    assert "there is no conversation in" in nothing["error"]
    folder = ditto("import", tmp_path, str(sharegpt), str(write_lines(tmp_path / "alpaca.jsonl", *said)))["output"]
    options = training_on(folder, on_the_hub)
    trained = ditto("train", tmp_path, *options)
    assert trained["steps"] == 1
    (card,) = tmp_path.glob("models/*/model/README.md")
    assert "base_model: example/tiny" in card.read_text()
    assert "| started from | example/tiny, weights" in card.read_text()
    found = ditto("evaluate", tmp_path, *options)
    assert set(found["scores"]) == {"before", "after"}
    assert found["ledger"]["inputs"] == sum(
        (found["ledger"]["ok"], *found["ledger"]["failed"].values(), *found["ledger"]["filtered"].values())
    )
    for what in ("predictions", "judged"):  # also sessions that others play under the same line of identity
        played = (Path(found["report"]).parent / f"{what}-after.jsonl").read_text()
        assert AUTHORS["system"] in played
        assert len(played.splitlines()) == len(messages(tmp_path / folder, "test"))


@pytest.mark.parametrize(
    ("rows", "model", "changes", "problem"),
    [
        pytest.param(ONE_ROLE, "tiny", {}, "or lower dataset.test_share", id="one-role-only"),
        pytest.param(range(9), "nowhere", {}, "model folder 'nowhere' does not exist", id="missing-model"),
        pytest.param(range(9), "no-chatml", {}, "has no token <|im_start|>", id="template-that-cannot-be-trained"),
        pytest.param(range(9), "tiny", {"max_length": 32}, "has nothing to learn", id="sequence-shorter-than-a-turn"),
    ],
)
def test_what_cannot_be_trained_is_told_by_the_command_and_leaves_no_model(
    ditto: Ditto, tmp_path: Path, tiny: Path, rows: range, model: str, changes: dict[str, Any], problem: str
) -> None:
    models = {"tiny": tiny, "nowhere": Path("nowhere"), "no-chatml": tmp_path / "no-chatml"}
    if model == "no-chatml":
        make_model(tmp_path / "no-chatml", ("<pad>", "<end>"))
    file = write_lines(tmp_path / "in.jsonl", *map(conversation, rows))
    folder = importing.bring_in(settings_of(tmp_path), [file], "en")[0].folder
    assert problem in ditto("train", tmp_path, *training_on(folder, str(models[model]), **changes), code=2)["error"]
    assert not list(tmp_path.glob("models/*/model"))


class Hub(BaseHTTPRequestHandler):
    """The four calls of a hub that an upload of small files makes; keeps what was sent."""

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        self.server.calls.append((self.path, self.headers["Authorization"], body))  # type: ignore[attr-defined]
        if self.headers["Authorization"] != "Bearer good":
            self._answer(401, {"error": "bad token"})
        elif self.path == "/api/repos/create":
            self._answer(200, {"url": f"{self._address()}/datasets/ada/roles"})
        elif "/preupload/" in self.path:
            files = json.loads(body)["files"]
            modes = [{"path": f["path"], "uploadMode": "regular", "shouldIgnore": False} for f in files]
            self._answer(200, {"files": modes})
        elif "/commit/" in self.path:
            self._answer(
                200, {"success": True, "commitOid": "0" * 40, "commitUrl": f"{self._address()}/datasets/ada/roles/commit/0"}
            )
        else:
            self._answer(200, {"errors": [], "warnings": []})

    def do_GET(self) -> None:
        self._answer(200, {"id": "ada/roles", "sha": "0" * 40, "siblings": []})

    def _address(self) -> str:
        return f"http://{self.headers['Host']}"

    def _answer(self, status: int, body: dict[str, Any]) -> None:
        content = json.dumps(body).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, *_: object) -> None:
        """Tests stay quiet."""


@pytest.fixture
def hub() -> Iterator[ThreadingHTTPServer]:
    server = ThreadingHTTPServer(("127.0.0.1", 0), Hub)
    server.calls = []  # type: ignore[attr-defined]
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield server
    server.shutdown()
    server.server_close()


def pushed(settings: Settings, address: str, token: str) -> "subprocess.CompletedProcess[str]":
    command = [sys.executable, "-c", "from flows.cli import main; main()", "export", "--preset", "demo", "--push", "ada/roles"]
    command += ["--data-root", settings.data_root, "--set", f"dataset.imported={settings.dataset.imported}"]
    environment = {**os.environ, "HF_ENDPOINT": address, "HF_TOKEN": token, "HF_HUB_DISABLE_XET": "1"}
    return subprocess.run(command, capture_output=True, text=True, check=False, env=environment, cwd=ROOT)


def test_push_sends_the_folder_with_the_token_of_the_environment(
    brought: tuple[Settings, Path], hub: ThreadingHTTPServer
) -> None:
    settings, folder = brought
    address = f"http://127.0.0.1:{hub.server_port}"
    done = pushed(settings, address, "good")
    assert done.returncode == 0, done.stderr
    calls = hub.calls  # type: ignore[attr-defined]
    assert {authorization for _, authorization, _ in calls} == {"Bearer good"}
    created = json.loads(calls[0][2])
    assert (created["type"], created["visibility"]) == ("dataset", "private")
    commit = next(body for path, _, body in calls if "/commit/" in path)
    files = {line["value"]["path"]: line["value"] for line in map(json.loads, commit.splitlines()) if line["key"] == "file"}
    assert set(files) == {file.name for file in folder.iterdir()}
    assert base64.b64decode(files["train.parquet"]["content"]) == (folder / "train.parquet").read_bytes()

    refused = pushed(settings, address, "bad")
    assert refused.returncode == 2
    assert "status 401" in refused.stderr
    assert "Traceback" not in refused.stderr
    without = pushed(settings, address, "")
    assert without.returncode == 2
    assert "HF_TOKEN" in without.stderr


def test_a_token_of_the_hub_is_sent_without_the_spaces_around_it_and_not_at_all_if_no_header_can_carry_it(
    brought: tuple[Settings, Path], hub: ThreadingHTTPServer
) -> None:
    settings, _ = brought
    address = f"http://127.0.0.1:{hub.server_port}"
    done = pushed(settings, address, " good\n")
    assert done.returncode == 0, done.stderr
    calls = hub.calls  # type: ignore[attr-defined]
    sent = len(calls)
    refused = pushed(settings, address, "go\nod-secret")
    assert refused.returncode == 2
    assert "HF_TOKEN holds characters that no HTTP header can carry" in refused.stderr
    assert "od-secret" not in refused.stdout + refused.stderr
    assert len(calls) == sent


def test_a_push_to_where_no_hub_listens_ends_with_a_sentence(brought: tuple[Settings, Path]) -> None:
    settings, _ = brought
    refused = pushed(settings, "http://127.0.0.1:9", "good")
    assert refused.returncode == 2, refused.stderr
    assert "error: no hub can be reached at http://127.0.0.1:9" in refused.stderr
    assert "Traceback" not in refused.stderr


def test_a_hub_that_hangs_up_is_told_by_push_and_where_a_model_is_fetched(
    brought: tuple[Settings, Path], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    settings, _ = brought
    with socketserver.ThreadingTCPServer(("127.0.0.1", 0), socketserver.BaseRequestHandler) as silent:
        threading.Thread(target=silent.serve_forever, daemon=True).start()
        address = f"http://127.0.0.1:{silent.server_address[1]}"
        failed = pushed(settings, address, "good")
        monkeypatch.setattr(constants, "ENDPOINT", address)
        monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "hub"))
        with pytest.raises(InvalidInput, match="the Hugging Face hub did not give it"):
            model_folder("example/tiny")
        silent.shutdown()
    assert failed.returncode == 1, failed.stderr
    assert f"failed: the hub at {address} did not answer" in failed.stderr
    assert "Traceback" not in failed.stderr
