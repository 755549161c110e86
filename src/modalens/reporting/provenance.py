"""Where a page comes from: commit, machine and versions."""

import os
import platform
import subprocess
from importlib import metadata
from pathlib import Path

PACKAGES = ["modalens", "torch", "torchaudio", "torchvision", "numpy", "scipy", "pandas", "scikit-learn", "h5py"]
PACKAGES += ["av", "decord", "snakemake", "mlflow", "altair", "vl-convert-python", "jinja2"]


def provenance() -> dict[str, str]:
    """Commit, machine and versions; packages that are not installed are left out."""
    rows = {"code": commit(), "machine": f"{platform.platform()}, {os.cpu_count()} CPU cores"}
    rows["python"] = platform.python_version()
    for name in PACKAGES:
        try:
            rows[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            continue
    return rows


def commit() -> str:
    def git(*words: str) -> str:
        command = ["git", "-C", str(Path(__file__).parent), *words]
        return subprocess.run(command, capture_output=True, text=True, check=True, timeout=20).stdout.strip()

    try:
        # Of an installed copy in someone's project, the project's commit says nothing.
        git("ls-files", "--error-unmatch", str(Path(__file__)))
        return f"commit {git('rev-parse', 'HEAD')}{' with uncommitted changes' if git('status', '--porcelain') else ''}"
    except (OSError, subprocess.SubprocessError):
        return "not in a git repository"
