"""What one more clip costs a finished shard, beside what the whole shard cost: media, frames, sound, features.

The clips are the demo's, in one shard. Seconds of processor of all processes of a `snakemake` call, and beside it a
call that finds all done. What is left above that is the start of each stage and the work on the clip.
"""

import argparse
import json
import tempfile
from pathlib import Path
from typing import Any

import yaml
from machine import ROOT, machine, timed

TARGETS = ("features/video/0.h5", "features/audio/0.h5", "fingerprints/0.csv")


def call(folder: Path, clips: int) -> dict[str, Any]:
    """Seconds, and seconds of processor, of the study that now has so many clips."""
    config = yaml.safe_load((ROOT / "config" / "config.yaml").read_text())
    config |= {"name": "added", "results": str(folder), "shards": 1, "dataset": config["dataset"] | {"clips": clips}}
    path = folder / "study.yaml"
    path.write_text(yaml.safe_dump(config))
    targets = [folder / "added" / name for name in TARGETS]
    where = ["--configfile", path, "--directory", folder, "--snakefile", ROOT / "Snakefile"]
    seconds, used = timed("-m", "snakemake", *targets, "--cores", 2, *where)
    return {"clips": clips, "seconds": round(seconds, 1), "processor_s": round(used, 1)}


def worked(folder: Path) -> dict[str, float]:
    records = {"decoded": "frames/0.json", "encoded": "features/video/0.json"}
    texts = {name: (folder / "added" / path).read_text() for name, path in records.items()}
    return {name: json.loads(text)["runs"][0]["metrics"][name] for name, text in texts.items()}


def main() -> None:
    line = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    line.add_argument("--clips", type=int, default=200, help="of the shard")
    line.add_argument("--output", type=Path, default=ROOT / "benchmarks" / "results" / "added.json")
    arguments = line.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        rows = []
        for step, clips in (("whole shard", 0), ("nothing new", 0), ("one more clip", 1)):
            row = {"step": step, **call(folder, arguments.clips + clips)}
            rows.append(row | (worked(folder) if step != "nothing new" else {"decoded": 0, "encoded": 0}))
            print("  ".join(f"{name} {value}" for name, value in rows[-1].items()), flush=True)
    arguments.output.parent.mkdir(parents=True, exist_ok=True)
    arguments.output.write_text(json.dumps({"machine": machine(), "rows": rows}, indent=1) + "\n")


if __name__ == "__main__":
    main()
