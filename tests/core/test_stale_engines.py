"""Real processes: an engine whose run was killed is ended, one whose run lives is left alone."""

import subprocess
import sys
from pathlib import Path

import psutil
import pytest

from ditto_core.generation import stale_engines

ROOT = Path(__file__).parents[2]
RUN = (
    "import subprocess, sys, time\n"
    "from ditto_core.generation.stale_engines import mark\n"
    "title = mark()['VLLM_PROCESS_NAME_PREFIX'] + '::EngineCore'\n"
    "command = [title, '-c', 'import time; time.sleep(300)']\n"
    "engine = subprocess.Popen(command, executable=sys.executable, start_new_session=True)\n"
    "print(engine.pid, flush=True); time.sleep(300)\n"
)


@pytest.fixture
def run():  # type: ignore[no-untyped-def]
    """A process that has started an engine of its own: the process, and the engine."""
    with subprocess.Popen([sys.executable, "-c", RUN], cwd=ROOT, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        engine = psutil.Process(int(process.stdout.readline()))
        yield process, engine
        process.kill()
    if engine.is_running():
        engine.kill()


def test_the_engine_of_a_killed_run_is_ended_and_that_of_a_living_one_is_not(run) -> None:  # type: ignore[no-untyped-def]
    process, engine = run
    assert engine.pid not in stale_engines.end_stale()
    assert engine.status() != psutil.STATUS_ZOMBIE
    process.kill()
    process.wait()
    assert engine.is_running()
    assert engine.pid in stale_engines.end_stale()
    assert not engine.is_running() or engine.status() == psutil.STATUS_ZOMBIE
