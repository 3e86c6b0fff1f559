"""Snapshot: raw answers of the sources, compressed, by digest of the request.

Input:   a digest and the body of an answer.
Output:  the same body, in this run or a later one; nothing where the file is missing or damaged.
Source:  DESIGN.md, section 3: nothing is paid for twice.

Example:
    folder/3f/3f9c....gz holds what the endpoint answered to the query whose digest begins with 3f9c

Each answer is in its file, whole, before it is used: a killed run asks again only for what was in flight. Nobody waits for the
disk, though, which would cost more than most answers: a power cut may take the last ones. A file that it left empty, short or
of other content fails gzip's checksum, and its answer is asked for again.
"""

import gzip
import re
import shutil
import time
import zlib
from datetime import datetime
from pathlib import Path

from ditto_core.shards import explained, write_atomically

_LEVEL = 1  # rows repeat themselves, so little is as good as much
_KEPT_S = 30 * 24 * 3600
_NIGHT = re.compile(r"\d{4}-\d{2}-\d{2}T\d{6}")


class Snapshot:
    """Answers below one folder.

    Args:
        folder: Made at the first answer.
        complete: Whether it must hold every answer, because nobody may be asked (`--offline`).
    """

    def __init__(self, folder: Path, *, complete: bool = False) -> None:
        self.folder = folder
        self.complete = complete

    def get(self, digest: str) -> bytes | None:
        """The body kept under a digest."""
        try:
            packed = self._path(digest).read_bytes()
            return gzip.decompress(packed) if packed else None
        except (FileNotFoundError, NotADirectoryError, EOFError, gzip.BadGzipFile, zlib.error):
            return None  # never asked, or damaged since: asked again

    def put(self, digest: str, body: bytes) -> None:
        """Keep a body.

        Raises:
            InvalidInput: The disk is full or not writable.
        """
        packed = gzip.compress(body, _LEVEL, mtime=0)
        write_atomically(self._path(digest), lambda file: file.write(packed), lasting=False)

    def _path(self, digest: str) -> Path:
        return self.folder / digest[:2] / f"{digest}.gz"


def name_of_night(scheduled: datetime) -> str:
    """The snapshot in which a night keeps its answers until it is good; names sort by time."""
    return f"{scheduled:%Y-%m-%dT%H%M%S}"


def take_over(folder: Path, night: str, name: str) -> None:
    """Put a good night's answers over those of the snapshot called `name`, and remove those of earlier nights, which failed.

    What the night did not ask, such as for other settings, stays for 30 days. Each answer is moved whole: a kill in between
    leaves older ones beside the night's, which its Retry or the next good night replaces.

    Args:
        folder: Of all snapshots.
        night: Where the night kept its answers; there is none if it asked nobody.
        name: That other runs read.

    Raises:
        InvalidInput: The disk is not writable.
    """
    place, newest = folder / name, folder / night
    with explained(place):
        for answer in newest.glob("*/*.gz"):
            (place / answer.parent.name).mkdir(parents=True, exist_ok=True)
            answer.replace(place / answer.parent.name / answer.name)
        if newest.is_dir():
            limit = time.time() - _KEPT_S
            for answer in place.glob("*/*.gz"):
                if answer.stat().st_mtime < limit:
                    answer.unlink()
    nights = (path for path in folder.glob("*") if _NIGHT.fullmatch(path.name) and path.name <= night)
    for old in nights:
        if old != place:
            shutil.rmtree(old, ignore_errors=True)
