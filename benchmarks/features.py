"""What ResNet50's features cost: ours beside the network as torchvision gives it, and beside what the machine can do.

The usual way: `resnet50(weights=...)`, float32, on normalised NCHW tensors of one clip's frames at a time. Ours: the
encoder of the stage, in the precision it chooses by itself. The same frames, weights and threads, alternating; medians.
The limit is the machine's own rate of products of large square matrices in the same precision, measured in between.
Then the whole stage, reading and writing HDF5 included, and its memory for two sizes of a shard.
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import torch
import torchvision
from machine import machine, python_path
from torch import Tensor, nn

from modalens.encoders._pixels import IMAGENET_MEAN as MEAN
from modalens.encoders._pixels import IMAGENET_STD as STD
from modalens.encoders.resnet50 import Resnet50
from modalens.utils import device, hdf5

ROOT = Path(__file__).resolve().parents[1]
FRAMES, SIZE = 8, 224
# Multiplications and additions of one 224 x 224 picture, He et al. 2015: 3.8e9 of each, 4.1e9 as torchvision has it.
OPERATIONS = 2 * 4.089e9
SIDE = 2048


def usual(weights: dict[str, Tensor], where: torch.device) -> Callable[[Tensor], Tensor]:
    network = torchvision.models.resnet50(weights=None)
    network.fc = nn.Identity()
    network.load_state_dict(weights)
    network.eval().to(where)
    mean, std = (torch.tensor(values, device=where).view(1, 3, 1, 1) for values in (MEAN, STD))

    @torch.inference_mode()
    def encode(batch: Tensor) -> Tensor:
        clips = []
        for clip in batch:
            pixels = clip.to(where).permute(0, 3, 1, 2).contiguous().float() / 255
            clips.append(network((pixels - mean) / std))
        return torch.stack(clips).cpu()

    return encode


def seconds(work: Callable[[], object], where: torch.device) -> float:
    """On a CPU the processor's: others may use the machine."""
    clock = time.process_time if where.type == "cpu" else time.perf_counter
    began = clock()
    work()
    if where.type == "cuda":
        torch.cuda.synchronize()
    return clock() - began


def shard(path: Path, clips: int) -> None:
    draw = np.random.default_rng(0)
    with hdf5.write(path, {"form": "frames"}) as writer:
        for number in range(clips):
            writer.append(f"clip{number}", draw.integers(0, 256, (FRAMES, SIZE, SIZE, 3), np.uint8))


def stage(folder: Path, clips: int, arguments: argparse.Namespace) -> tuple[float, float]:
    """Clips a second as the stage's own record says, and the most memory of its process in MiB."""
    shard(folder / "in.h5", clips)
    command: list[object] = [
        "-m",
        "modalens",
        "features",
        "--encoder",
        "resnet50",
        "--options",
        '{"weights": "untrained"}',
    ]
    command += ["--input", folder / "in.h5", "--output", folder / "out.h5", "--record", folder / "out.json"]
    command += ["--device", arguments.device, "--threads", arguments.threads]
    environment = os.environ | {"PYTHONPATH": python_path()}
    environment.pop("PYTHONDONTWRITEBYTECODE", None)
    script = "import resource, subprocess, sys; subprocess.run(sys.argv[1:], check=True); "
    script += "print(resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss)"
    line = [sys.executable, "-c", script, sys.executable, *map(str, command)]
    done = subprocess.run(line, env=environment, capture_output=True, text=True)
    if done.returncode:
        sys.exit(done.stderr)
    (run,) = json.loads((folder / "out.json").read_text())["runs"]
    return run["metrics"]["clips_per_second"], int(done.stdout.split()[-1]) / 1024


def main() -> None:
    line = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    line.add_argument("--clips", type=int, default=16, help="of each turn")
    line.add_argument("--turns", type=int, default=3)
    line.add_argument("--threads", type=int, default=1)
    line.add_argument("--device", default="cpu")
    line.add_argument("--shards", type=int, nargs="+", default=[16, 64], help="clips of the shards for the stage")
    line.add_argument("--output", type=Path, default=ROOT / "benchmarks" / "results" / "features.json")
    arguments = line.parse_args()
    device.set_deterministic(arguments.threads)
    where = device.resolve_device(arguments.device)

    encoder = Resnet50(where, weights="untrained")
    torch.manual_seed(0)
    weights = torchvision.models.resnet50(weights=None).state_dict()
    weights = {name: values for name, values in weights.items() if not name.startswith("fc.")}
    plain = usual(weights, where)
    frames = torch.randint(0, 256, (arguments.clips, FRAMES, SIZE, SIZE, 3), dtype=torch.uint8)
    kind = torch.bfloat16 if encoder._bfloat16 else torch.float32
    matrix = torch.randn(SIDE, SIDE, device=where, dtype=kind)

    def ours() -> Tensor:
        return torch.cat([encoder.encode(part).cpu() for part in frames.split(encoder.batch_size)])

    routes = {"ours": ours, "torchvision": lambda: plain(frames), "products": lambda: matrix @ matrix}
    likeness = nn.functional.cosine_similarity(ours().float(), plain(frames).float(), dim=2).min().item()
    spent: dict[str, list[float]] = {name: [] for name in routes}
    for _ in range(arguments.turns):
        for name, work in routes.items():
            spent[name].append(seconds(work, where))
    middle = {name: statistics.median(values) for name, values in spent.items()}
    rate = OPERATIONS * FRAMES * arguments.clips / middle["ours"]
    possible = 2 * SIDE**3 / middle["products"]

    stages = []
    with tempfile.TemporaryDirectory() as folder:
        for clips in arguments.shards:
            found, memory = stage(Path(folder), clips, arguments)
            stages.append({"clips": clips, "clips_per_second": found, "peak_mib": memory})
    content = {
        "machine": machine(), "device": str(where), "threads": arguments.threads, "precision": str(kind),
        "torchvision_to_ours": middle["torchvision"] / middle["ours"], "least_cosine": likeness,
        "clips_per_second": arguments.clips / middle["ours"], "share_of_matrix_rate": rate / possible,
        "matrix_gflops": possible / 1e9, "stage": stages,
        "stage_to_encoder": stages[-1]["clips_per_second"] / (arguments.clips / middle["ours"]),
    }  # fmt: skip
    arguments.output.parent.mkdir(parents=True, exist_ok=True)
    arguments.output.write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")
    for name, value in content.items():
        print(f"{name}: {value:.4g}" if isinstance(value, float) else f"{name}: {value}")
    print(pd.DataFrame(stages).round(2).to_string(index=False))


if __name__ == "__main__":
    main()
