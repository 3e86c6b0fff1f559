"""Versions: a published dataset under the date of the night that made it, and what changed since the one before.

Input:   a published dataset, the shards it came from, what was lost on the way.
Output:  versions/2026-11-24/: the dataset's files, CHANGELOG.md, version.json. `versions/latest` leads to the newest.

A version is prepared beside its place and renamed whole, then `latest` is replaced in one step: a reader sees the last good
version or the new one, never half of either. Files that a version shares with its dataset are hard links where the disk has them.
In a shared store, which knows no links, a version is whole when its version.json is there.
"""

import json
import os
import shutil
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from ditto_core.records import Profile
from ditto_core.shards import ShardRef, ShardStore, explained, write_text

LATEST = "latest"
_FOLDER = "versions"
_VERSION = "version.json"

Lost = Mapping[str, Mapping[str, int]]
"""Stage -> reason -> number of rows that are not in the output."""


@dataclass(frozen=True, slots=True)
class Version:
    """One dated dataset.

    Attributes:
        name: The date, such as "2026-11-24"; the second of a day is "2026-11-24.2".
        dataset: Folder of the dataset below the data root.
        rows: Split -> number of rows.
        shards: Stage -> the shards that it came from; "profiles" among them.
    """

    name: str
    dataset: str
    rows: Mapping[str, int]
    lost: Lost
    shards: Mapping[str, Sequence[ShardRef]]

    @property
    def folder(self) -> str:
        """Below the data root."""
        return f"{_FOLDER}/{self.name}"


@dataclass(frozen=True, slots=True)
class Changes:
    """Roles that differ between two versions, one line each.

    Attributes:
        changed: With what changed: the article's revision, the facts, the description.
    """

    added: Sequence[str] = ()
    changed: Sequence[str] = ()
    dropped: Sequence[str] = ()

    def summary(self) -> str:
        """The three numbers in one line."""
        return f"{len(self.added)} roles added, {len(self.changed)} changed, {len(self.dropped)} dropped"


def all_versions(data_root: Path) -> list[Version]:
    """The versions that are there, oldest first."""
    paths = (data_root / _FOLDER).glob(f"*/{_VERSION}")
    # A kill leaves a draft, which begins with a dot.
    found = (_read(path) for path in paths if path.parent.name != LATEST and not path.parent.name.startswith("."))
    return sorted(found, key=lambda version: _order(version.name))


def next_name(versions: Sequence[Version], date: str) -> str:
    """The date, or the newest version's with the next number if that is as late: what is made last is the newest by name too."""
    newest, number = max((_order(version.name) for version in versions), default=("", 0))
    return date if date > newest else f"{newest}.{number + 1}"


def compare(store: ShardStore, before: Version, now: Version) -> Changes:
    """Which roles differ; shards that both versions share are not read.

    Raises:
        BrokenPromise: A shard of the earlier version is gone.
    """
    common = {ref.sha256 for ref in before.shards["profiles"]} & {ref.sha256 for ref in now.shards["profiles"]}
    old = dict(_profiles(store, before, common))
    new = dict(_profiles(store, now, common))
    changed = ((new[session], _difference(old[session], new[session])) for session in sorted(old.keys() & new.keys()))
    return Changes(
        added=[_shown(new[session]) for session in sorted(new.keys() - old.keys())],
        changed=[f"{_shown(profile)}: {what}" for profile, what in changed if what],
        dropped=[_shown(old[session]) for session in sorted(old.keys() - new.keys())],
    )


def changelog(before: Version | None, now: Version, changes: Changes | None) -> str:
    """CHANGELOG.md of a version; `changes` is None if the version before cannot be compared."""
    lines = [f"# {now.name}", ""]
    if before is None:
        lines += ["The first version.", ""]
    elif changes is None:
        lines += [f"The roles of {before.name} cannot be compared: shards of it are gone.", ""]
    else:
        lines += [f"Since {before.name}: {changes.summary()}.", ""]
        for title, roles in (("Added", changes.added), ("Changed", changes.changed), ("Dropped", changes.dropped)):
            lines += [f"## {title}", "", *(f"- {role}" for role in roles), ""] if roles else []
    lines += ["## Rows", "", "| split | before | now |", "|---|---|---|"]
    lines += [f"| {split} | {before.rows.get(split, 0) if before else '-'} | {rows} |" for split, rows in now.rows.items()]
    lines += ["", "## Left out, by reason", "", "| stage | reason | before | now |", "|---|---|---|---|"]
    lines += [
        f"| {stage} | {reason} | {was if before else '-'} | {is_now} |" for stage, reason, was, is_now in _losses(before, now)
    ]
    return "\n".join([*lines, ""])


def write(store: ShardStore, version: Version, text: str) -> None:
    """Put the version in its place and lead `latest` to it."""
    place = store.data_root / version.folder
    draft = place.with_name(f".{place.name}.{os.getpid()}.tmp")
    with explained(place):
        shutil.rmtree(draft, ignore_errors=True)
        try:
            shutil.copytree(store.data_root / version.dataset, draft, copy_function=_link)
            write_text(draft / "CHANGELOG.md", text)
            write_text(draft / _VERSION, json.dumps(asdict(version), indent=1, sort_keys=True) + "\n")
            draft.rename(place)
        finally:
            shutil.rmtree(draft, ignore_errors=True)
    lead_to(store, version)
    share(store, version)


def lead_to(store: ShardStore, version: Version) -> None:
    """Lead `latest` to a version."""
    latest = store.data_root / _FOLDER / LATEST
    pointer = latest.with_name(f".{LATEST}.{os.getpid()}.tmp")
    with explained(latest):
        pointer.unlink(missing_ok=True)
        pointer.symlink_to(version.name)
        pointer.replace(latest)


def share(store: ShardStore, version: Version) -> None:
    """Send a version to the shared store, if there is one that lacks it."""
    store.share_folder(version.folder, last=_VERSION)


def prune(store: ShardStore, keep: int, in_use: frozenset[str]) -> list[str]:
    """Remove all but the newest versions, with the datasets and shards that only they had.

    Args:
        keep: Number of versions that stay, at least 1.
        in_use: Folders and shards below the data root that something else still names.

    Returns:
        Names of the removed versions.
    """
    versions = all_versions(store.data_root)
    old, kept = versions[:-keep], versions[-keep:]
    needed = in_use | {version.dataset for version in kept} | _uris(kept)
    for uri in _uris(old) - needed:
        store.remove(uri)
    for version in old:  # last of all, here: as long as a version is listed, the next call ends what this one could not
        if store.shared is not None:
            store.shared.remove(version.folder)
        if version.dataset not in needed:
            shutil.rmtree(store.data_root / version.dataset, ignore_errors=True)
        shutil.rmtree(store.data_root / version.folder)
    return [version.name for version in old]


def _read(path: Path) -> Version:
    plain = json.loads(path.read_text("utf-8"))
    shards = {stage: [ShardRef(**ref) for ref in refs] for stage, refs in plain["shards"].items()}
    return Version(plain["name"], plain["dataset"], plain["rows"], plain["lost"], shards)


def _order(name: str) -> tuple[str, int]:
    date, _, number = name.partition(".")
    return date, int(number or 1)


def _profiles(store: ShardStore, version: Version, without: set[str]) -> Iterator[tuple[str, Profile]]:
    for ref in version.shards["profiles"]:
        if ref.sha256 not in without:
            for profile in store.read(ref, Profile):
                yield profile.session, profile


def _difference(old: Profile, new: Profile) -> str:
    """What a reader would notice; a changed number of sitelinks is not."""
    parts = []
    if old.article != new.article:
        parts.append(f"article, revision {old.article.revision} to {new.article.revision}")
    if old.character.claims != new.character.claims:
        parts.append("facts")
    if (old.character.label, old.character.description) != (new.character.label, new.character.description):
        parts.append("label or description")
    return ", ".join(parts)


def _shown(profile: Profile) -> str:
    return f"{profile.character.label} ({profile.session})"


def _losses(before: Version | None, now: Version) -> Iterator[tuple[str, str, int, int]]:
    was: Lost = before.lost if before else {}
    for stage in dict.fromkeys([*now.lost, *was]):
        old, new = was.get(stage, {}), now.lost.get(stage, {})
        for reason in sorted(old.keys() | new.keys()):
            yield stage, reason, old.get(reason, 0), new.get(reason, 0)


def _uris(versions: Sequence[Version]) -> frozenset[str]:
    return frozenset(ref.uri for version in versions for refs in version.shards.values() for ref in refs)


def _link(source: str, target: str) -> str:
    try:
        os.link(source, target)
    except OSError:
        shutil.copy2(source, target)
    return target
