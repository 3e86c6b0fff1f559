"""Stale engines: processes of vLLM that a killed run left behind, holding the memory that the next load needs.

vLLM's processes show a title that begins as we say; ours says the host and the process that loads the engine. An engine whose
owner is gone serves nobody. An id that was given out again is told by its age, since an owner is older than its engine. (A parent
would tell nothing, since orphans get a new one, and a variable of ours would be lost: the title is written over the environment.)

Example: a run is ended with SIGKILL; "ditto@gpu1:4711::EngineCore" keeps 70 GiB of the GPU until the next load calls `end_stale`.
"""

import os
import platform
import re
from collections.abc import Mapping

import psutil

_TITLE = re.compile(r"ditto@(.+):(\d+)::\w+")
_SECONDS_TO_END = 10


def mark() -> Mapping[str, str]:
    """Environment for the load of an engine that this process owns."""
    return {"VLLM_PROCESS_NAME_PREFIX": f"ditto@{platform.node()}:{os.getpid()}"}


def end_stale() -> list[int]:
    """End the engines of this host and user whose owner is gone; returns the ids of their processes once they are gone too."""
    stale = [process for process in psutil.process_iter() if _is_stale(process)]
    for process in stale:
        try:
            process.kill()
        except psutil.Error:  # it has ended by itself, or it is another user's
            continue
    gone, _ = psutil.wait_procs(stale, timeout=_SECONDS_TO_END)
    return sorted(process.pid for process in gone)


def _is_stale(process: psutil.Process) -> bool:
    try:
        title = _TITLE.fullmatch(next(iter(process.cmdline()), "").rstrip())
        if title is None or title[1] != platform.node():
            return False
        owner = int(title[2])
        return not psutil.pid_exists(owner) or psutil.Process(owner).create_time() > process.create_time()
    except psutil.Error:  # gone in this moment
        return False
