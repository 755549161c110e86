"""Learning through the encoder on a GPU: what the tests show on a CPU, asked again there, and its memory.

    PYTHONPATH=src python benchmarks/through_encoder.py --device cuda

Pictures made here, in which a colour is stronger by the label; a network of timm with drawn weights, `--network`
test_resnet by default. Asked: `precision: auto` is bfloat16 on CUDA and its loss stays near that of float32; a training
that is killed within an epoch, augmented and in mixed precision, ends with the same numbers, bit by bit; seeds that are
trained as one have the losses that each has alone; the memory of one epoch does not grow with the clips. Each line
begins with `ok` or `FAILED`, and the exit status says whether all are well.
"""

import argparse
import json
import os
import resource
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from machine import machine, python_path

from modalens.modalities import load_modality
from modalens.models import load_model
from modalens.stages import train
from modalens.training import ensemble
from modalens.training.ensemble import Ensemble
from modalens.utils import cli, hdf5
from modalens.utils.tensors import Tensors

NEAR = 0.05  # nats
SIDE, LABELS = 32, ["blue", "green", "red"]
AUGMENT = {"image": {"crop": 0.7, "flip": 0.5}}
# Checkpoints after every epoch, and steps slow enough to be killed within one.
KILLED = (
    "import sys, time; from modalens.training import checkpoint, loop; from modalens.utils import cli\n"
    "from modalens.stages import train\n"
    "checkpoint.SECONDS_BETWEEN_CHECKPOINTS = 0.0\n"
    "real = loop.gradients\n"
    "def slow(*given): time.sleep(0.02); return real(*given)\n"
    "loop.gradients = slow\n"
    "train.main(cli.parse(train, sys.argv[1:]))"
)


class Study:
    """Made clips under `root`, and the command line that trains on them."""

    def __init__(self, root: Path, clips: int, network: str, device: str) -> None:
        self.root, self.device = root, device
        self.options = {"library": "timm", "model": network, "weights": "untrained", "side": SIDE}
        draw = np.random.default_rng(0)
        classes = np.arange(clips) % len(LABELS)
        names = [f"clip-{place:06d}" for place in range(clips)]
        with hdf5.write(root / "images" / "0.h5", load_modality("image", {"size": SIDE}).attributes()) as writer:
            for name, one in zip(names, classes, strict=True):
                picture = draw.integers(0, 160, (SIDE, SIDE, 3)).astype(np.uint8)
                picture[:, :, 2 - one] += 30
                writer.append(name, picture, name)
        table = pd.DataFrame({"clip_id": names, "shard": 0, "group": names, "label": [LABELS[one] for one in classes]})
        (root / "splits").mkdir()
        held_out = clips // 4
        table[held_out:].to_csv(root / "splits/train.csv", index=False)
        table[:held_out].to_csv(root / "splits/validation.csv", index=False)
        pd.DataFrame({"label": LABELS, "train": 1}).to_csv(root / "splits/classes.csv", index=False)

    def line(self, output: str, seeds: list[int], training: dict[str, object]) -> list[str]:
        told = {"epochs": 3, "batch_size": 32, "learning_rate": 0.001, "device": self.device, "precision": "auto"}
        told |= {"encoders": {"image": "unfrozen"}} | training
        entry = {"kind": "image", "encoder": "image_network", "options": self.options, "decode": {"size": SIDE}}
        sizes = {"sequence_size": 16, "step_size": 16, "hidden": [16]}
        found = ["--model", "late_fusion", "--options", json.dumps(sizes), "--training", json.dumps(told)]
        found += ["--entries", json.dumps({"image": entry}), "--decoded", f"image={self.root}/images"]
        found += ["--splits", f"{self.root}/splits", "--output", f"{self.root}/{output}", "--key", "{}"]
        return [*found, "--record", f"{self.root}/{output}/record.json", "--seeds", *map(str, seeds)]

    def trained(self, output: str, seeds: tuple[int, ...] = (0,), **training: object) -> dict[int, pd.DataFrame]:
        """Histories by seed."""
        train.main(cli.parse(train, self.line(output, list(seeds), training)))
        return {seed: pd.read_csv(self.root / output / str(seed) / "history.csv") for seed in seeds}

    def state(self, output: str, seed: int = 0) -> dict[str, torch.Tensor]:
        return load_model(self.root / output / str(seed) / "model.pt").model.state_dict()


def precision(study: Study) -> tuple[bool, str]:
    """By what the network gives while learning."""
    seen: set[torch.dtype] = set()
    real = Ensemble.descent_gradients

    def watched(self: Ensemble, terms: Tensors) -> Tensors:
        seen.add(terms["logits"].dtype)
        return real(self, terms)

    Ensemble.descent_gradients = watched  # type: ignore[method-assign]
    try:
        mixed = study.trained("mixed")[0]["train_loss"].iloc[-1]
    finally:
        Ensemble.descent_gradients = real  # type: ignore[method-assign]
    whole = study.trained("float32", precision="float32")[0]["train_loss"].iloc[-1]
    wanted = torch.bfloat16 if study.device == "cuda" else torch.float32
    weights = {values.dtype for values in study.state("mixed").values() if values.is_floating_point()}
    near = abs(mixed - whole) < 0.25 * whole + 0.02  # the 0.02 for a task that both have solved
    fine = seen == {wanted} and weights == {torch.float32} and near
    return fine, f"logits {seen}, weights {weights}; training loss {mixed:.4f}, in float32 {whole:.4f}"


def resumes(study: Study) -> tuple[bool, str]:
    told = {"augment": AUGMENT, "epochs": 6}
    study.trained("whole", **told)
    command = [sys.executable, "-c", KILLED, *study.line("killed", [0], told)]
    with subprocess.Popen(command, env=os.environ | {"PYTHONPATH": python_path()}) as process:
        path = study.root / "killed/0/checkpoint.pt"
        while not path.exists() and process.poll() is None:
            time.sleep(0.005)
        process.send_signal(signal.SIGKILL)
    if not path.exists():
        return False, "no checkpoint was written"
    study.trained("killed", **told)
    whole, killed = study.state("whole"), study.state("killed")
    apart = [name for name, values in whole.items() if not torch.equal(values, killed[name])]
    return not apart, f"{len(whole) - len(apart)} of {len(whole)} tensors are the same, bit by bit"


def stacked(study: Study) -> tuple[bool, str]:
    """In float32: in bfloat16 rounding alone moves a loss by a percent."""
    answers: list[bool] = []
    real = ensemble.can_be_stacked

    def watched(*given: Any) -> bool:
        answers.append(real(*given))
        return answers[-1]

    ensemble.can_be_stacked = watched
    try:
        together = study.trained("together", (0, 1, 2), precision="float32", seeds_per_batch=3)
    finally:
        ensemble.can_be_stacked = real
    apart = study.trained("apart", (0, 1, 2), precision="float32", seeds_per_batch=1)
    columns = ["train_loss", "validation_loss"]
    most = max(float((together[seed][columns] - apart[seed][columns]).abs().max().max()) for seed in apart)
    times = [sum(one["seconds"].sum() for one in found.values()) for found in (together, apart)]
    how = "stacked" if answers == [True] else "not stacked, one after the other"
    return (
        most < NEAR,
        f"{how}; losses differ by {most:.1e} nats at most; {times[0]:.1f} s together, {times[1]:.1f} s one by one",
    )


def memory(study: Study) -> tuple[bool, str]:
    """Of an epoch over the clips, and over a quarter of them."""
    splits = study.root / "splits"
    whole = pd.read_csv(splits / "train.csv")
    peaks = {}
    for part in (4, 1):
        whole[::part].to_csv(splits / "train.csv", index=False)
        if study.device == "cuda":
            torch.cuda.empty_cache()
            torch.cuda.reset_peak_memory_stats()
        study.trained(f"part{part}", epochs=1)
        gpu = torch.cuda.max_memory_allocated() if study.device == "cuda" else 0
        peaks[len(whole[::part])] = (gpu / 2**20, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024)
    (few, (small, small_host)), (many, (large, large_host)) = peaks.items()
    fine = large < 1.1 * small + 1 and large_host - small_host < 200
    said = (
        f"GPU {small:.0f} MiB with {few} clips, {large:.0f} with {many}; process {small_host:.0f} and {large_host:.0f}"
    )
    return fine, said


CHECKS: dict[str, Callable[[Study], tuple[bool, str]]] = {
    "memory does not grow with the clips": memory,
    "mixed precision where the device has it": precision,
    "a killed training ends with the same numbers": resumes,
    "stacked seeds are the seeds alone": stacked,
}


def main() -> None:
    line = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    line.add_argument("--device", default="cuda")
    line.add_argument("--network", default="test_resnet", help="of timm")
    line.add_argument("--clips", type=int, default=1200)
    line.add_argument("--output", type=Path, default=Path(__file__).parent / "results" / "through_encoder.json")
    arguments = line.parse_args()
    found = {}
    root = Path(tempfile.mkdtemp())
    try:
        study = Study(root, arguments.clips, arguments.network, arguments.device)
        for name, check in CHECKS.items():
            began = time.perf_counter()
            fine, said = check(study)
            print(f"{'ok' if fine else 'FAILED'} {name}: {said} ({time.perf_counter() - began:.0f} s)", flush=True)
            found[name] = {"ok": bool(fine), "said": said}
    finally:
        shutil.rmtree(root)
    arguments.output.parent.mkdir(exist_ok=True)
    arguments.output.write_text(json.dumps({"machine": machine(), "results": found}, indent=1) + "\n")
    sys.exit(not all(one["ok"] for one in found.values()))


if __name__ == "__main__":
    main()
