"""Milliseconds a picture of the networks in the guidance paper's tables 1 to 3, from pixels to the answer, in one run.

    PYTHONPATH=src python benchmarks/latency.py                              # CPU, two networks a family
    PYTHONPATH=src python benchmarks/latency.py --all --device cuda          # as the paper: all, on a GPU

All answer once a round, in a random order, after a warm-up; the median over rounds divided by the pictures a call.
Weights are drawn: they do not change the time. MobileOne is folded to the form that it is used in. CLIP is its
picture's tower and the cosine with two captions, as `zero_shot` has it, whose own vectors are made once. Float32, as
models are kept. What the guided model costs beside its plain one, with intervals, is benchmarks/guidance.py's.
"""

import argparse
import json
from pathlib import Path

import numpy as np
import torch
from guidance import PAPERS, PLAIN, SIDE, TOKENS, answering, rounds
from machine import machine
from timm.utils.model import reparameterize_model

from modalens.models import Learnt, Model, build
from modalens.utils import device

CLASSES = 2  # violent or not
CLIPS = {
    "clip_rn50": "resnet50_clip",
    "clip_rn101": "resnet101_clip",
    "clip_vit_b_32": "vit_base_patch32_clip_224",
    "clip_vit_b_16": "vit_base_patch16_clip_224",
    "clip_vit_l_14": "vit_large_patch14_clip_224",
}
MOBILES = {f"mobileone_s{size}": f"mobileone_s{size}" for size in range(5)}
FEW = ("clip_rn50", "clip_vit_b_32", "mobileone_s0", "mobileone_s4", "guidance_frozen")
CAPTIONS = {"target": "image", "captions": {"a": "violent", "b": "not violent"}}


def network(row: str) -> Model:
    """A row of the tables, as published.csv calls it."""
    if row in CLIPS:
        return _through(CLIPS[row], "zero_shot", CAPTIONS, pool="mean")
    if row in MOBILES:
        return _folded(_through(MOBILES[row], "late_fusion", PLAIN))
    return _folded(_through("mobileone_s4", "guidance", {"target": "image", "guide": "text", **PAPERS}))


def _through(name: str, model: str, options: dict[str, object], pool: str = "none") -> Model:
    settings = {"library": "timm", "model": name, "weights": "untrained", "pool": pool, "side": SIDE}
    encoder = Learnt("image_network", settings, None)
    loaded = encoder.load(torch.device("cpu"))
    sizes = loaded.encode(torch.zeros(1, SIDE, SIDE, 3, dtype=torch.uint8)).shape[1:]
    shapes = {"image": dict(zip(loaded.axes, sizes, strict=True))}
    found = build(model, shapes | ({"text": TOKENS} if model == "guidance" else {}), CLASSES, options)
    found.learn_through({"image": encoder})
    return found.eval()


def _folded(model: Model) -> Model:
    """Without the branches that MobileOne has while it learns: the same answers from fewer operations."""
    pixels = torch.randint(0, 256, (2, SIDE, SIDE, 3), dtype=torch.uint8)
    with torch.no_grad():
        before = model({"image": pixels})
        through = model.normalizers["image"]
        through.network = reparameterize_model(through.network)
        torch.testing.assert_close(model({"image": pixels}), before, rtol=1e-3, atol=1e-3)
    return model


def measured(models: dict[str, Model], pictures: int, where: torch.device, count: int) -> dict[str, float]:
    """Milliseconds a picture by row."""
    pixels = torch.randint(0, 256, (pictures, SIDE, SIDE, 3), dtype=torch.uint8, device=where)
    calls = {row: answering(model, {"image": pixels}, where) for row, model in models.items()}
    return {row: 1000 * float(np.median(taken)) / pictures for row, taken in rounds(calls, count).items()}


def main() -> None:
    line = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    line.add_argument("--all", action="store_true", help="every row of the tables, where the machine is a fast one")
    line.add_argument("--rounds", type=int, default=20)
    line.add_argument("--pictures", type=int, nargs="+", default=[1, 32], help="a call")
    line.add_argument("--device", default="cpu")
    line.add_argument("--threads", type=int, default=1)
    line.add_argument("--output", type=Path, default=Path(__file__).parent / "results" / "latency.json")
    arguments = line.parse_args()
    device.set_deterministic(arguments.threads)
    where = device.resolve_device(arguments.device)
    rows = [*CLIPS, *MOBILES, "guidance_frozen"] if arguments.all else FEW
    models = {row: network(row).to(where) for row in rows}
    found = {str(one): measured(models, one, where, arguments.rounds) for one in arguments.pictures}
    for row in rows:
        times = ", ".join(f"{times[row]:8.3f} ms ({one} a call)" for one, times in found.items())
        count = sum(values.numel() for values in models[row].normalizers["image"].parameters()) / 1e6
        print(f"{row:16} {times}, {count:.1f} million parameters in the picture's network")
    name = torch.cuda.get_device_name(where) if where.type == "cuda" else "cpu"
    settings = {"device": name, "threads": arguments.threads, "rounds": arguments.rounds}
    arguments.output.parent.mkdir(exist_ok=True)
    arguments.output.write_text(json.dumps({"machine": machine(), **settings, "milliseconds": found}, indent=1) + "\n")


if __name__ == "__main__":
    main()
