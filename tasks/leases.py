"""Leases: who works on a shard or a run, and whether they are still alive.

A lease is a file that its holder locks and touches every few seconds. The kernel drops the lock of a killed process at once.
A process that was stopped, or whose host hangs, keeps its lock but no longer touches the file: after `LEASE_SECONDS` another
takes over by putting a new file in its place, and the old holder, should it wake up, is told by `Lease.check` before it writes.
"""

import fcntl
import os
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from ditto_core.errors import SourceUnavailable
from ditto_core.settings import Settings
from ditto_core.shards import explained

LEASE_SECONDS = 30.0
"""Time without a touch after which a holder counts as gone; longer than any pause of a healthy process."""
_BEAT_SECONDS = 5.0
_LOOK_SECONDS = 0.2


def runs_folder(settings: Settings) -> Path:
    """Where each flow run at work holds a lease, named by its id."""
    return Path(settings.data_root).absolute() / "prefect" / "runs"


class Superseded(SourceUnavailable):
    """Another process took this work over, since this one stood still for too long. Trying again finds what the other made."""


@dataclass(frozen=True, slots=True)
class Lease:
    """What `hold` hands out."""

    path: Path
    descriptor: int

    def is_mine(self) -> bool:
        """Whether the file in place is still the one that this process locked."""
        try:
            return os.path.samestat(os.stat(self.path), os.fstat(self.descriptor))
        except FileNotFoundError:
            return False

    def check(self) -> None:
        """Refuse to go on with work that another took over.

        Raises:
            Superseded: The lease was lost.
        """
        if not self.is_mine():
            raise Superseded(f"{self.path.stem} was taken over by another process after {LEASE_SECONDS:.0f} s of silence")


@contextmanager
def hold(path: Path) -> Iterator[Lease]:
    """Wait until nobody else who is alive holds the lease, then hold it."""
    while (descriptor := _try(path)) is None:
        time.sleep(_LOOK_SECONDS)
    lease = Lease(path, descriptor)
    done = threading.Event()
    beat = threading.Thread(target=_beat, args=(descriptor, done), name=f"lease-{path.stem}", daemon=True)
    beat.start()
    try:
        yield lease
    finally:
        done.set()
        beat.join()
        os.close(descriptor)


def is_dead(path: Path) -> bool:
    """Whether a lease that was left behind has no living holder."""
    descriptor = _open(path)
    try:
        return _lock(descriptor) or _is_silent(descriptor)
    finally:
        os.close(descriptor)


def _try(path: Path) -> int | None:
    """A locked descriptor of the file in place, or None if someone alive holds it."""
    descriptor = _open(path)
    locked = _lock(descriptor)
    if locked and Lease(path, descriptor).is_mine():
        os.utime(descriptor)
        return descriptor
    if not locked and _is_silent(descriptor) and Lease(path, descriptor).is_mine():
        path.unlink(missing_ok=True)
    os.close(descriptor)
    return None


def _open(path: Path) -> int:
    with explained(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        return os.open(path, os.O_CREAT | os.O_RDWR | os.O_CLOEXEC, 0o644)


def _lock(descriptor: int) -> bool:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _is_silent(descriptor: int) -> bool:
    return time.time() - os.fstat(descriptor).st_mtime > LEASE_SECONDS


def _beat(descriptor: int, done: threading.Event) -> None:
    while not done.wait(_BEAT_SECONDS):
        os.utime(descriptor)
