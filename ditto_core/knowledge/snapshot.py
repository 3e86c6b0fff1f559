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
import zlib
from pathlib import Path

from ditto_core.shards import write_atomically

_LEVEL = 1  # rows repeat themselves, so little is as good as much


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
