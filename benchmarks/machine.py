"""What a benchmark ran on, to stand beside its numbers."""

import os
import platform
from importlib import metadata
from pathlib import Path

PACKAGES = ("torch", "torchvision", "decord", "av", "h5py", "snakemake", "mlflow")


def machine() -> dict[str, object]:
    """Processor, cores that this process may use, memory, versions."""
    information = Path("/proc/cpuinfo")
    lines = information.read_text().splitlines() if information.exists() else []
    models = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
    present = {name for name in PACKAGES if _version(name)}
    return {
        "processor": models[0] if models else platform.processor(),
        "cores": cores,
        "memory_gib": round(memory, 1),
        "system": platform.system(),
        "python": platform.python_version(),
        **{name: _version(name) for name in sorted(present)},
    }


def _version(name: str) -> str:
    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        return ""
