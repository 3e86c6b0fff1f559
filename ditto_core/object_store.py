"""A folder that several machines share by its URL, such as one in an object store.

In:   local files, each with the name that it has in the folder.
Out:  the same files in the folder, and from there on other machines.
Source: fsspec; for s3:// the package s3fs, which takes keys, region and AWS_ENDPOINT_URL from the environment.

Whether a file is whole, its reader must tell: Ditto's are named in a manifest, which is sent last.

Example: ObjectStore("s3://bucket/ditto").put(Path("a.parquet"), "shards/a.parquet")
"""

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

import fsspec

from ditto_core.errors import InvalidInput, SourceUnavailable


class ObjectStore:
    """A folder at a URL. Safe to use from many threads.

    Raises:
        InvalidInput: Nothing here can read such a URL.
    """

    def __init__(self, url: str) -> None:
        self.url = url
        try:
            # Listings are not remembered, since other machines write here, too.
            on_disk = fsspec.utils.get_protocol(url) == "file"
            options = {"auto_mkdir": True} if on_disk else {"use_listings_cache": False}
            self._files, self._root = fsspec.core.url_to_fs(url, **options)
        except (ImportError, ValueError) as error:
            raise InvalidInput(
                f"shared_store {url!r} cannot be used: {error} Expected the URL of a folder, such as s3://bucket/ditto after "
                f"`pip install 'ditto-roleplay[s3]'`."
            ) from error

    def has(self, name: str) -> bool:
        """Whether there is such a file; raises as `put` does."""
        with self._explained(name):
            return bool(self._files.exists(self._at(name)))

    def put(self, path: Path, name: str) -> None:
        """Send a file.

        Raises:
            InvalidInput: The store refuses us, or there is no such bucket.
            SourceUnavailable: It cannot be reached or has a fault; later it may work.
        """
        with self._explained(name):
            self._files.put_file(str(path), self._at(name))

    def fetch(self, name: str, file: BinaryIO) -> None:
        """Write the content of a file that is there into another; raises as `put` does."""
        with self._explained(name), self._files.open(self._at(name), "rb") as there:
            shutil.copyfileobj(there, file)

    def remove(self, name: str) -> None:
        """Remove a file, or a folder with all that is in it; what is not there is no error. Raises as `put` does."""
        with self._explained(name):
            if self._files.exists(self._at(name)):
                self._files.rm(self._at(name), recursive=True)

    def _at(self, name: str) -> str:
        return f"{self._root}/{name}"

    @contextmanager
    def _explained(self, name: str) -> Iterator[None]:
        try:
            yield
        except Exception as error:  # the file systems behind fsspec have no common base of what they raise
            said = f"{type(error).__name__}: {error}"
            if isinstance(error, PermissionError | FileNotFoundError) or type(error).__name__ == "NoCredentialsError":
                raise InvalidInput(
                    f"shared_store {self.url!r} refused {name!r} ({said}). Check the URL, the bucket, and the keys in "
                    f"the environment, such as AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY."
                ) from error
            raise SourceUnavailable(f"shared_store {self.url!r} failed at {name!r}: {said}") from error
