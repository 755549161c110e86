"""What a guided model costs where it is used: `guidance` beside the plain expert of its target, on the same clips.

    PYTHONPATH=src python benchmarks/guidance.py

Source of the claim: Zhao et al. 2023, table 3: the same latency. All answer once a round, in a random order, on one
thread unless told otherwise. The ratio is the median over the rounds of guidance's time divided by the
expert's in the same round, with a bootstrap interval of 95 % over rounds; 1 is no cost. For scale, the same ratio for a
second expert made alike, which is what no difference looks like: where parameters lie in memory moves it by 1 or 2 %,
which no interval over rounds shows. And for late fusion, which has to be given both modalities.
"""

import argparse
import json
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from machine import machine

from modalens.models import Learnt, Model, build
from modalens.utils import device

SHAPES = {"audio": {"mel": 64, "time": 1001}, "video": {"time": 8, "channel": 2048}}  # log-mel of 10 s, resnet50
CLASSES = 31
SIDE = 224  # pixels
TOKENS = {"token": 121, "channel": 768}
PLAIN = {"step_size": 0, "sequence_size": 0, "hidden": []}
PAPERS = {**PLAIN, "square": True, "plain_weight": 0.0}
RESAMPLES = 2000


def answering(model: Model, features: dict[str, torch.Tensor], where: torch.device) -> Callable[[], float]:
    """Seconds of one call: of the processor, which others on the machine do not lengthen, or until a GPU is done."""
    clock = time.process_time if where.type == "cpu" else time.perf_counter

    def call() -> float:
        began = clock()
        with torch.inference_mode():
            model(features)
        if where.type == "cuda":
            torch.cuda.synchronize(where)
        return clock() - began

    return call


def rounds(calls: dict[str, Callable[[], float]], count: int) -> dict[str, np.ndarray]:
    """Seconds by name, (count,) each: every call once a round, in an order drawn anew. What was called before a model
    leaves its numbers in the processor's cache: no model may always come after the same one."""
    names = list(calls)
    seconds: dict[str, list[float]] = {name: [] for name in names}
    order = np.random.default_rng(0)
    for turn in range(-(count // 10), count):
        for name in order.permutation(names):
            taken = calls[name]()
            if turn >= 0:  # the first tenth warms up
                seconds[name].append(taken)
    return {name: np.array(values) for name, values in seconds.items()}


def ratio(one: np.ndarray, other: np.ndarray) -> dict[str, float]:
    """Median of one / other over rounds, and its interval."""
    ratios = one / other
    drawn = np.random.default_rng(0).integers(0, len(ratios), (RESAMPLES, len(ratios)))
    low, high = np.quantile(np.median(ratios[drawn], axis=1), [0.025, 0.975])
    return {"median": float(np.median(ratios)), "low": float(low), "high": float(high)}


def through_network(name: str) -> dict[str, Model]:
    """At the paper's size, from pixels: the image encoder's network inside the models, as it is learnt. MobileOne is in
    the form that it is trained in: folding its branches makes both models faster alike."""
    options = {"library": "timm", "model": name, "weights": "untrained", "pool": "none", "side": SIDE}
    encoder = Learnt("image_network", options, None)
    height, width, channels = encoder.load(torch.device("cpu")).encode(torch.zeros(1, SIDE, SIDE, 3)).shape[1:]
    image = {"height": height, "width": width, "channel": channels}
    models = {
        "guidance": build(
            "guidance", {"image": image, "text": TOKENS}, 2, {"target": "image", "guide": "text", **PAPERS}
        ),
        "expert": build("late_fusion", {"image": image}, 2, PLAIN),
        "second expert": build("late_fusion", {"image": image}, 2, PLAIN),
    }
    for model in models.values():
        model.learn_through({"image": encoder})
    return models


def compared(
    what: str, models: dict[str, Model], every: dict[str, torch.Tensor], where: torch.device, count: int
) -> dict[str, object]:
    """Milliseconds of the expert, and how many times that each other model takes. every: what all are given."""
    calls = {
        name: answering(model.to(where).eval(), {one: every[one] for one in model.modalities}, where)
        for name, model in models.items()
    }
    seconds = rounds(calls, count)
    plain = seconds.pop("expert")
    ratios = {name: ratio(values, plain) for name, values in seconds.items()}
    milliseconds = 1000 * float(np.median(plain))
    print(f"{what}: {milliseconds:.2f} ms as the plain expert")
    for name, interval in ratios.items():
        print(f"  {name:13} {interval['median']:.3f} [{interval['low']:.3f}, {interval['high']:.3f}] of that")
    return {"expert_ms": milliseconds, "times the expert": ratios}


def main() -> None:
    line = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    line.add_argument("--rounds", type=int, default=200)
    line.add_argument("--clips", type=int, nargs="+", default=[1, 32], help="clips a call")
    line.add_argument(
        "--network", default="", help="of timm, such as mobileone_s4: also from pixels, at the paper's size"
    )
    line.add_argument("--device", default="cpu")
    line.add_argument("--threads", type=int, default=1)
    line.add_argument("--output", type=Path, default=Path(__file__).parent / "results" / "guidance.json")
    arguments = line.parse_args()
    device.set_deterministic(arguments.threads)
    where = device.resolve_device(arguments.device)
    found: dict[str, object] = {}
    for target, guide in (("video", "audio"), ("audio", "video")):
        models = {
            "guidance": build("guidance", SHAPES, CLASSES, {"target": target, "guide": guide}),
            "expert": build("late_fusion", {target: SHAPES[target]}, CLASSES, {}),
            "second expert": build("late_fusion", {target: SHAPES[target]}, CLASSES, {}),
            "late_fusion": build("late_fusion", SHAPES, CLASSES, {}),
        }
        for clips in arguments.clips:
            every = {name: torch.randn(clips, *shape.values(), device=where) for name, shape in SHAPES.items()}
            what = f"{target} guided by {guide}, {clips} clips a call"
            found[what] = compared(what, models, every, where, arguments.rounds)
    if arguments.network:
        models = through_network(arguments.network)
        for clips in arguments.clips:
            pixels = torch.randint(0, 256, (clips, SIDE, SIDE, 3), dtype=torch.uint8, device=where)
            what = f"{arguments.network} guided by text, {clips} pictures a call"
            found[what] = compared(what, models, {"image": pixels}, where, arguments.rounds)
    settings = {"rounds": arguments.rounds, "device": str(where), "threads": arguments.threads}
    arguments.output.parent.mkdir(exist_ok=True)
    arguments.output.write_text(json.dumps({"machine": machine(), **settings, "results": found}, indent=1) + "\n")


if __name__ == "__main__":
    main()
