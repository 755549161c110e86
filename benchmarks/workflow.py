"""What Snakemake itself costs a study: its dry run and its no-op, by number of clips. The media are simulated.

Each study is a CSV of N clips that are not there. Its dry run plans everything; then every result is made as an empty
file and the study is read again, when nothing is to do. Both are whole `snakemake` calls, with the memory of the
largest process. `manifest` is the first reading of the CSV, which happens once.
"""

import argparse
import csv
import json
import os
import re
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import matplotlib.pyplot as plt
import yaml
from machine import machine, python_path

ROOT = Path(__file__).resolve().parents[1]


def study(folder: Path, clips: int, per_shard: int) -> Path:
    """A config of `clips` clips in shards of about `per_shard`, two classes, two models, two seeds."""
    with (folder / "clips.csv").open("w", newline="") as file:
        rows = csv.writer(file)
        rows.writerow(["clip_id", "file", "label"])
        rows.writerows((f"clip{number:08d}", f"{number:08d}.mp4", "ab"[number % 2]) for number in range(clips))
    config = {
        "name": "simulated",
        "results": str(folder),
        "dataset": {"name": "folder", "csv": str(folder / "clips.csv"), "media": str(folder)},
        "tasks": ["label"],
        "shards": max(1, clips // per_shard),
        "modalities": {"audio": "log_mel", "video": {"encoder": "resnet50", "options": {"weights": "untrained"}}},
        "models": {"audio_only": {}, "video_only": {}, "late_fusion": {}},
        "seeds": [0, 1, 2, 3, 4],
    }
    path = folder / "study.yaml"
    path.write_text(yaml.safe_dump(config))
    return path


READ = """
import sys
from pathlib import Path
from modalens.config import resolve, workflow
study = resolve.resolve(resolve.load(Path(sys.argv[1])))
workflow.ensure_manifest(study, Path(study["results"]) / study["name"] / "manifest")
"""


def snakemake(config: Path, *arguments: str) -> tuple[float, float, float, str]:
    """(seconds, seconds of processor, MB of the largest process, what was printed) of one call."""
    command = ["-m", "snakemake", *arguments, "--cores", "1", "--configfile", str(config)]
    command += ["--directory", str(config.parent), "--snakefile", str(ROOT / "Snakefile"), "--nocolor"]
    return measured(config.parent / "time.json", command)


def measured(report: Path, arguments: list[str]) -> tuple[float, float, float, str]:
    """The same of one Python process and its children."""
    # A process of its own counts the memory of its own children only.
    code = "import json, resource, subprocess, sys; r = subprocess.run(sys.argv[2:]).returncode; "
    code += "used = resource.getrusage(resource.RUSAGE_CHILDREN); "
    code += "json.dump([used.ru_utime + used.ru_stime, used.ru_maxrss], open(sys.argv[1], 'w')); sys.exit(r)"
    started = time.perf_counter()
    done = subprocess.run(
        [sys.executable, "-c", code, str(report), sys.executable, *arguments],
        cwd=ROOT, text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
        env={**os.environ, "PYTHONPATH": python_path()},
    )  # fmt: skip
    seconds = time.perf_counter() - started
    if done.returncode:
        sys.exit(done.stdout[-4000:])
    processor, memory = json.loads(report.read_text())
    return seconds, processor, memory / 1024, done.stdout


def jobs(text: str) -> int:
    found = re.search(r"^total +(\d+)$", text, flags=re.M)
    return int(found[1]) if found else 0


def measure(clips: int, per_shard: int) -> dict[str, Any]:
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        config = study(folder, clips, per_shard)
        # As a call does that runs jobs: a dry run would write it to a draft, each time.
        first, first_cpu, first_mb, _ = measured(folder / "time.json", ["-c", READ, str(config)])
        dry, dry_cpu, dry_mb, text = snakemake(config, "-n", "--quiet", "rules")
        planned = jobs(text)
        *_, listing = snakemake(config, "--summary")
        outputs = [line.split("\t")[0] for line in listing.splitlines() if line.startswith(str(folder))]
        for path in map(Path, outputs):
            path.parent.mkdir(parents=True, exist_ok=True)
            path.touch()
        snakemake(config, "--touch", "--quiet", "all")
        idle, idle_cpu, idle_mb, text = snakemake(config, "-n")
        if "Nothing to be done" not in text:
            sys.exit(f"the simulated study of {clips} clips is not finished: {text[-2000:]}")
    return {
        "clips": clips, "shards": max(1, clips // per_shard), "jobs": planned,
        "manifest_s": round(first, 1), "dry_run_s": round(dry, 1), "no_op_s": round(idle, 1),
        "manifest_cpu_s": round(first_cpu, 1), "dry_run_cpu_s": round(dry_cpu, 1),
        "no_op_cpu_s": round(idle_cpu, 1),
        "dry_run_mb": round(dry_mb), "no_op_mb": round(idle_mb), "manifest_mb": round(first_mb),
    }  # fmt: skip


def draw(rows: list[dict[str, Any]], path: Path) -> None:
    """Processor's seconds and memory by number of clips, and a line of twice the cost for twice the clips."""
    figure, (seconds, memory) = plt.subplots(1, 2, figsize=(8, 3.2), layout="constrained")
    clips = [row["clips"] for row in rows]
    names = {"manifest": "first reading of the list", "dry_run": "dry run, nothing done yet", "no_op": "nothing to do"}
    for name, label in names.items():
        seconds.plot(clips, [row[f"{name}_cpu_s"] for row in rows], marker="o", label=label)
        memory.plot(clips, [row[f"{name}_mb"] for row in rows], marker="o", label=label)
    for axes, title in ((seconds, "seconds of processor"), (memory, "MB of the largest process")):
        low, high = min(clips), max(clips)
        start = max(line.get_ydata()[-1] for line in axes.get_lines()) * low / high
        axes.plot([low, high], [start, start * high / low], color="grey", linestyle=":", label="linear")
        axes.set(xscale="log", yscale="log", xlabel="clips", title=title)
    seconds.legend(fontsize=7)
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=120)


def main() -> None:
    line = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.ArgumentDefaultsHelpFormatter)
    line.add_argument("--clips", type=int, nargs="+", default=[1000, 10_000, 100_000])
    line.add_argument("--per-shard", type=int, default=500, help="clips of one job")
    line.add_argument("--output", type=Path, default=ROOT / "benchmarks" / "results" / "workflow.json")
    line.add_argument("--figure", type=Path, help="picture of the growth, e.g. docs/scaling.png")
    arguments = line.parse_args()
    rows = []
    for clips in arguments.clips:
        rows.append(measure(clips, arguments.per_shard))
        print("  ".join(f"{name} {value:,}" for name, value in rows[-1].items()), flush=True)
    arguments.output.parent.mkdir(parents=True, exist_ok=True)
    arguments.output.write_text(json.dumps({"machine": machine(), "rows": rows}, indent=1))
    if arguments.figure:
        draw(rows, arguments.figure)


if __name__ == "__main__":
    main()
