"""Steps of the nightly flow: what killed runs left goes, the dataset becomes a dated version, and old versions go."""

import os
import re
import shutil
import time
from collections.abc import Iterator
from pathlib import Path

from prefect import get_run_logger, task
from prefect.cache_policies import NO_CACHE

from ditto_core.dataset import versions
from ditto_core.dataset.versions import Changes, Version
from ditto_core.errors import BrokenPromise
from ditto_core.settings import Settings
from ditto_core.shards import ShardStore
from tasks import handover

_DRAFT = re.compile(r"\..+\.\d+(\.[0-9a-f]{8})?\.tmp")
"""Names under which files and folders are written: .NAME.PROCESS.tmp, and .NAME.PROCESS.RANDOM.tmp of a single file."""
_DRAFT_FOLDERS = ("datasets", "versions", "shards", "handover")
_ABANDONED_S = 24 * 3600
"""After this long without a change nobody is at work on a draft."""


def remove_abandoned_drafts(data_root: Path) -> None:
    """Remove what killed processes had begun to write, of any run: nobody finishes it or knows its name."""
    limit = time.time() - _ABANDONED_S
    for draft in (draft for folder in _DRAFT_FOLDERS for draft in _drafts(data_root / folder)):
        try:
            is_folder = draft.is_dir() and not draft.is_symlink()
            parts = [draft, *(draft.rglob("*") if is_folder else ())]  # a file that grows does not touch its folder
            if max(part.lstat().st_mtime for part in parts) >= limit:
                continue
            if is_folder:
                shutil.rmtree(draft)
            else:
                draft.unlink()
        except OSError:
            continue  # renamed by its process after all, gone with the draft around it, or for another night to remove


def _drafts(folder: Path) -> Iterator[Path]:
    for place, folders, files in os.walk(folder):  # which, other than rglob, bears that others rename meanwhile
        yield from (Path(place, name) for name in [*folders, *files] if _DRAFT.fullmatch(name))


@task(name="version", cache_policy=NO_CACHE)
def record_version(settings: Settings, made: Version, keep: int) -> tuple[Version, str]:
    """Write the version with its changelog, unless the last one has the same rows, then remove what is too old.

    Returns:
        The newest version, and in one line what changed.
    """
    store, logger = ShardStore.of(settings), get_run_logger()
    before = next(reversed(versions.all_versions(store.data_root)), None)
    if before is not None and before.dataset == made.dataset:
        logger.info("nothing changed since %s", before.name)
        versions.lead_to(store, before)  # the night that made it may have been killed here
        versions.share(store, before)  # or have lost the connection
        return before, "nothing changed"
    changes = _changes(store, before, made)
    versions.write(store, made, versions.changelog(before, made, changes))
    summary = changes.summary() if changes else "cannot be compared with the version before" if before else "the first version"
    logger.info("version %s: %s", made.name, summary)
    for name in versions.prune(store, keep, handover.in_use(settings)):
        logger.info("version %s is removed: the newest %d stay", name, keep)
    return made, summary


def _changes(store: ShardStore, before: Version | None, made: Version) -> Changes | None:
    if before is None:
        return None
    try:
        return versions.compare(store, before, made)
    except BrokenPromise as error:
        get_run_logger().warning("%s", error)
        return None
