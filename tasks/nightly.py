"""Task of the nightly flow: the dataset of a night becomes a dated version, and old versions go."""

from prefect import get_run_logger, task
from prefect.cache_policies import NO_CACHE

from ditto_core.dataset import versions
from ditto_core.dataset.versions import Changes, Version
from ditto_core.errors import BrokenPromise
from ditto_core.settings import Settings
from ditto_core.shards import ShardStore
from tasks import handover


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
        versions.share(store, before)  # the night that made it may have lost the connection
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
