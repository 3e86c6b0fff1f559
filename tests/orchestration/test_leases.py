"""Leases: a killed holder is replaced at once, a stopped one after its lease, and whoever comes too late writes nothing."""

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tasks import leases
from tasks.leases import LEASE_SECONDS, Superseded

ROOT = Path(__file__).parents[2]
_HOLD = """
import sys, time
from pathlib import Path
from tasks import leases
with leases.hold(Path(sys.argv[1])) as lease:
    print("held", flush=True)
    sys.stdin.readline()
    print(lease.is_mine(), flush=True)
"""


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "en-0001.lock"


@pytest.fixture
def holder(path: Path) -> Iterator["subprocess.Popen[str]"]:
    """Another process that holds the lease until it is told to go on."""
    pipe = subprocess.PIPE
    process = subprocess.Popen([sys.executable, "-c", _HOLD, str(path)], stdin=pipe, stdout=pipe, text=True, cwd=ROOT)
    with process:
        assert process.stdout is not None
        assert process.stdout.readline() == "held\n"
        yield process
        process.kill()


def silence(path: Path) -> None:
    """Let the file look as if nobody had touched it for longer than a lease."""
    past = time.time() - LEASE_SECONDS - 1
    os.utime(path, (past, past))


def test_the_lease_of_a_killed_process_is_free_at_once(path: Path, holder: "subprocess.Popen[str]") -> None:
    assert not leases.is_dead(path)
    holder.kill()
    holder.wait()
    assert leases.is_dead(path)
    with leases.hold(path) as lease:
        lease.check()


def test_a_stopped_process_loses_its_lease_and_is_told(path: Path, holder: "subprocess.Popen[str]") -> None:
    holder.send_signal(signal.SIGSTOP)
    silence(path)
    assert leases.is_dead(path)
    with leases.hold(path) as lease:
        holder.send_signal(signal.SIGCONT)
        assert holder.communicate("go on\n")[0] == "False\n"
        lease.check()


def test_whoever_lost_the_lease_is_refused(path: Path) -> None:
    with leases.hold(path) as lease:
        silence(path)
        with leases.hold(path), pytest.raises(Superseded, match="en-0001 was taken over"):
            lease.check()


def test_one_after_the_other(path: Path) -> None:
    inside, most = 0, 0

    def work() -> None:
        nonlocal inside, most
        with leases.hold(path):
            inside += 1
            most = max(most, inside)
            time.sleep(0.01)
            inside -= 1

    threads = [threading.Thread(target=work) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert (inside, most) == (0, 1)


def test_a_holder_at_work_keeps_touching_its_lease(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(leases, "_BEAT_SECONDS", 0.02)
    with leases.hold(path):
        silence(path)
        time.sleep(0.5)
        assert not leases.is_dead(path)
