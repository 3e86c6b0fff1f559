"""What a process holds for its shards is let go whole, whatever part of it is broken."""

import re
import sqlite3
from contextlib import closing
from pathlib import Path
from queue import SimpleQueue

import pytest
from fixtures.counting import request

from ditto_core import configuration
from ditto_core.errors import InvalidInput
from ditto_core.generation.generator import Answer
from ditto_core.generation.requests import Completion
from tasks import resources


def test_a_memo_that_broke_is_let_go_with_all_others_and_made_anew(tmp_path: Path) -> None:
    script = tmp_path / "script.jsonl"
    script.write_text('{"match": "", "reply": "Yes."}')
    generation = ("generation.engine=scripted", f"generation.script={script}")
    all_settings = [configuration.load("demo", None, generation, data_root=str(tmp_path / name)) for name in ("a", "b", "c")]
    before = resources.model_calls()
    generators = [resources.generator(settings, settings.generation) for settings in all_settings]
    memos = [resources.memo(settings) for settings in all_settings]
    for generator in generators:
        list(generator.generate([request("a")]))
    with closing(sqlite3.connect(tmp_path / "b" / "memo.db")) as other:
        other.executescript("DROP TABLE completions; DROP TABLE traffic")
    answers: SimpleQueue[Answer] = SimpleQueue()
    memos[1].store(Completion("key", "lost", "stop"), purpose="test", weights="weights", kept=answers.put)
    assert re.match("the memo cannot be written: no such table", str(answers.get(timeout=60)))
    with pytest.raises(InvalidInput, match="no such table: traffic"):
        resources.release()
    assert resources.model_calls() - before == 3
    for settings, memo, generator in zip(all_settings, memos, generators, strict=True):
        assert resources.memo(settings) is not memo
        assert resources.generator(settings, settings.generation) is not generator
        known = [kept.completions for kept in resources.memo(settings).kept()]
        assert known == ([] if memo is memos[1] else [1])
    resources.release()
    assert resources.model_calls() - before == 3
