"""Devices: how many processes a training runs in, and the command that starts them: `accelerate launch`, on a CPU Python alone.

In:     the settings, and the GPUs of this machine.
Out:    `Devices`: number of processes and command line.
Source: the configurations that TRL ships; a user's own accelerate configuration in the home folder plays no part.
"""

import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import yaml

from ditto_core.errors import InvalidInput
from ditto_core.settings import TrainingSettings

_GPU_DEVICES = ("/dev/nvidiactl", "/dev/kfd", "/dev/dxg")


@dataclass(frozen=True, slots=True)
class Devices:
    """Where a training runs.

    Attributes:
        processes: One a device.
        options: Of `accelerate launch`; none where nothing needs one, on one CPU: its own start takes several seconds.
    """

    processes: int
    options: tuple[str, ...]


def choose(settings: TrainingSettings) -> Devices:
    """The devices that the settings name, or all GPUs of this machine, or its CPU.

    Full training on several GPUs shards weights and optimizer (FSDP2): 7 billion weights in float32 with Adam's two
    moments and gradients are 112 GB, more than one card holds.

    Raises:
        InvalidInput: `training.accelerate` is no configuration.
    """
    gpus = count_gpus()
    precision = ("--mixed_precision", "bf16" if settings.bf16 and gpus else "no")
    if settings.accelerate:
        path, table = _configuration(settings.accelerate)
        processes = int(table.get("num_processes", 1))
        if Path(settings.accelerate) != path:  # TRL's are written for eight
            processes = max(1, gpus)
        return Devices(processes, ("--config_file", str(path), "--num_processes", str(processes), *precision))
    if gpus == 0:
        return Devices(1, ())
    name = "single_gpu" if gpus == 1 else "multi_gpu" if settings.lora_rank else "fsdp2"
    path, _ = _configuration(name)
    return Devices(gpus, ("--config_file", str(path), "--num_processes", str(gpus), *precision))


def command(devices: Devices, module: str, arguments: Sequence[str]) -> list[str]:
    """The whole command line that runs a module."""
    python = [sys.executable, "-m"]
    if devices.options:
        return [*python, "accelerate.commands.launch", *devices.options, "--module", module, *arguments]
    return [*python, module, *arguments]


def count_gpus() -> int:
    """GPUs that a training process would see; 0 on a machine without any.

    Asked in a process of its own: torch stays out of this one, and no context is left on a GPU.
    """
    if not any(Path(device).exists() for device in _GPU_DEVICES):
        return 0
    probe = [sys.executable, "-c", "import torch; print(torch.cuda.device_count())"]
    answer = subprocess.run(probe, capture_output=True, text=True, check=False)
    return int(answer.stdout) if answer.stdout.strip().isdigit() else 0


def _configuration(name: str) -> tuple[Path, dict[str, Any]]:
    """A file of the user's, or one that TRL ships, by its name."""
    trl = find_spec("trl")
    assert trl is not None
    assert trl.origin is not None
    shipped = Path(trl.origin).with_name("accelerate_configs")
    own = Path(name)
    path = own if own.suffix in (".yaml", ".yml") else shipped / f"{name}.yaml"
    try:
        table = yaml.safe_load(path.read_text("utf-8"))
    except (OSError, yaml.YAMLError) as error:
        known = ", ".join(sorted(file.stem for file in shipped.glob("*.yaml")))
        raise InvalidInput(
            f"training.accelerate={name!r} cannot be read: {error}. Expected the path of a .yaml file that `accelerate "
            f"config` wrote, or one of {known}."
        ) from error
    if not isinstance(table, dict):
        raise InvalidInput(f"training.accelerate={name!r} holds no table of settings; write it with `accelerate config`.")
    return path, table
