"""The same flows on a Dask cluster of two workers: the same bytes as on threads, also when a worker is killed."""

import os
import signal
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from distributed import LocalCluster
from fixtures.served import wait_for
from fixtures.shard_files import shards
from fixtures.stub_openai import StubServer

Ditto = Callable[..., dict[str, Any]]


@pytest.fixture(scope="module")
def cluster() -> Iterator[LocalCluster]:
    """Two workers, each with a GPU to give away, as far as Dask knows."""
    with LocalCluster(n_workers=2, threads_per_worker=2, dashboard_address=None, resources={"GPU": 1}) as cluster:
        yield cluster


def workers(cluster: LocalCluster) -> set[int]:
    """Process ids."""
    return {nanny.pid for nanny in cluster.workers.values()}


@pytest.fixture(scope="module")
def threads(ditto_on: Callable[[StubServer], Ditto], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What threads make."""
    server, root = StubServer(), tmp_path_factory.mktemp("threads")
    for command in ("collect", "simulate", "assemble"):
        ditto_on(server)(command, root)
    server.close()
    return root


def test_a_cluster_makes_the_same_bytes_as_threads(
    ditto: Ditto, cluster: LocalCluster, model_server: StubServer, threads: Path, tmp_path: Path
) -> None:
    dask = ["--set", f"dask={cluster.scheduler_address}"]
    ditto("collect", tmp_path, *dask)
    assert ditto("simulate", tmp_path, *dask)["model_calls"] == model_server.total() > 0
    assert ditto("simulate", tmp_path, *dask)["model_calls"] == 0
    ditto("assemble", tmp_path, *dask)
    for stage in ("profiles", "dialogues", "examples"):
        assert shards(tmp_path, stage) == shards(threads, stage)


def test_a_killed_worker_changes_no_byte(
    ditto: Ditto, cluster: LocalCluster, model_server: StubServer, threads: Path, tmp_path: Path
) -> None:
    ditto("collect", tmp_path)
    model_server.latency = 0.1
    before = workers(cluster)

    def kill() -> None:
        wait_for("some answers", lambda: model_server.total() > 40)
        os.kill(min(before), signal.SIGKILL)

    killer = threading.Thread(target=kill)
    killer.start()
    ditto("simulate", tmp_path, "--set", f"dask={cluster.scheduler_address}")
    killer.join()
    assert workers(cluster) != before
    assert shards(tmp_path) == shards(threads)


def test_a_scheduler_that_is_not_there_is_named(ditto: Ditto, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from flows import cluster

    monkeypatch.setattr(cluster, "_CONNECT_SECONDS", 1)
    assert "no Dask scheduler answers" in ditto("collect", tmp_path, "--set", "dask=tcp://127.0.0.1:9", code=2)["error"]
