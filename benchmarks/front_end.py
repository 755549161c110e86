"""The front end of lip reading at the paper's size: steps a second and memory, and what it learns of real lips.

    PYTHONPATH=src python benchmarks/front_end.py speed
    PYTHONPATH=src python benchmarks/front_end.py letters --data AVLETTERS

speed: models of BalanceMLA's paper learn LRW's 500 words from drawn numbers, 29 mouths of 80 x 80 and 1.16 s of sound a
clip, in float32 and in bfloat16. letters: the stage `train` learns AVLetters' 26 letters from its lips (the folder of
docs/studies/avletters.md, one NPZ file a clip); repetitions 1 and 2 train, one talker of them validates, 3 is tested.
"""

import argparse
import json
import tempfile
import time
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from machine import machine
from PIL import Image

from modalens.modalities import load_modality
from modalens.models import Learnt, Model, build, load_model
from modalens.stages import train
from modalens.utils import cli, hdf5

WORDS, CLIPS = 500, 32
FRAMES, SIDE = 29, 80
SAMPLES = 18_560  # 1.16 s at 16 kHz
HUBERT = {"time": 57, "channel": 768}
SIZES = {"width": 512, "layers": 6, "heads": 8}  # the paper gives layers and heads
STEPS = {"video": {"time": FRAMES, "channel": 2048}, "cube": {"time": SAMPLES // 160 + 1, "channel": 2048}}
ROWS = {
    "video": lambda: torch.randint(0, 256, (CLIPS, FRAMES, SIDE, SIDE, 3), dtype=torch.uint8),
    "cube": lambda: torch.randint(-9000, 9000, (CLIPS, SAMPLES), dtype=torch.int16),
    "audio": lambda: torch.randn(CLIPS, *HUBERT.values()),
}
ENCODERS = {"video": "lip_network", "cube": "cube_network"}
MODELS = {
    "transformer on mouths": ("transformer", ("video",)),
    "transformer on the cube of sound": ("transformer", ("cube",)),
    "BalanceMLA on mouths and HuBERT": ("balance_mla", ("audio", "video")),
}
TALKER, HELD_OUT = 10, "3"
ENTRY = {"kind": "video", "encoder": "lip_network", "decode": {"count": 24, "resize": 80, "crop": 80}}


def speed(where: torch.device, steps: int) -> dict[str, object]:
    found: dict[str, object] = {}
    for words, (name, modalities) in MODELS.items():
        for precision in (torch.float32, torch.bfloat16):
            model = build(name, {one: STEPS.get(one, HUBERT) for one in modalities}, WORDS, SIZES)
            model.learn_through({one: Learnt(ENCODERS[one], {}, None) for one in modalities if one in ENCODERS})
            called = f"{words}, {str(precision).removeprefix('torch.')}"
            found[called] = learnt(model.to(where).train(), precision, steps)
            print(called, json.dumps(found[called]), flush=True)
    return found


def learnt(model: Model, precision: torch.dtype, steps: int) -> dict[str, float]:
    """Of steps of AdamW in batches of 32: how many a second, the most memory, and that the loss falls."""
    where = next(model.parameters()).device
    rows = {name: ROWS[name]().to(where) for name in model.modalities}
    labels = torch.randint(0, WORDS, (CLIPS,), device=where)
    optimizer = torch.optim.AdamW(model.parameters(), 3e-4)
    if where.type == "cuda":
        torch.cuda.reset_peak_memory_stats(where)
    losses, began = [], 0.0
    for step in range(steps + 3):  # the first three warm up
        if step == 3:
            _wait(where)
            began = time.perf_counter()
        with torch.autocast(where.type, torch.bfloat16, enabled=precision is torch.bfloat16):
            loss = model.loss(rows, labels)["loss"]
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.detach())
    _wait(where)
    rate = steps / (time.perf_counter() - began)
    found = {"steps_a_second": round(rate, 2), "first_loss": losses[0].item(), "last_loss": losses[-1].item()}
    found["million_parameters"] = round(sum(one.numel() for one in model.parameters()) / 1e6, 1)
    if where.type == "cuda":
        found["peak_gib"] = round(torch.cuda.max_memory_allocated(where) / 2**30, 2)
    return found


def _wait(where: torch.device) -> None:
    if where.type == "cuda":
        torch.cuda.synchronize(where)


def letters(data: Path, work: Path, arguments: argparse.Namespace) -> dict[str, object]:
    table = decoded(data, work)
    options = {"network": arguments.network, "recurrent_layers": arguments.recurrent_layers}
    training = {
        "epochs": arguments.epochs,
        "patience": 10_000,
        "learning_rate": 3e-4,
        "precision": "auto",
        "device": arguments.device,
        "encoders": {"video": "unfrozen"},
        "augment": {"video": {"crop": 0.85, "flip": 0.5}},
    }
    line = ["--model", "transformer", "--options", json.dumps({"width": 256, "layers": 2, "heads": 8})]
    line += ["--training", json.dumps(training), "--seeds", *map(str, arguments.seeds), "--splits", f"{work}/splits"]
    line += ["--output", f"{work}/train", "--key", "{}", "--record", f"{work}/record.json"]
    line += ["--entries", json.dumps({"video": {**ENTRY, "options": options}}), "--decoded", f"video={work}/frames"]
    began = time.perf_counter()
    train.main(cli.parse(train, line))
    seconds = time.perf_counter() - began
    test = table[table["split"] == "test"]
    found: dict[str, object] = {"seconds": round(seconds, 1), "clips": table["split"].value_counts().to_dict()}
    for seed in arguments.seeds:
        trained = load_model(work / "train" / str(seed) / "model.pt")
        history = pd.read_csv(work / "train" / str(seed) / "history.csv")
        answers = answered(trained.model, work, test)
        right = [trained.labels[answers[clip]] == one for clip, one in zip(test["clip_id"], test["label"], strict=True)]
        found[f"seed {seed}"] = {"test_accuracy": round(float(np.mean(right)), 3), "epochs": len(history)}
    print(json.dumps(found, indent=1), flush=True)
    return found


def decoded(data: Path, work: Path) -> pd.DataFrame:
    """Lips as frames of 80 x 80, 24 a clip, and the splits, as a study would have them."""
    labels = pd.read_csv(data / "labels.csv", dtype=str)
    table = pd.DataFrame({"clip_id": [Path(file).stem for file in labels["file"]], "shard": 0})
    table["group"], table["label"] = labels["speaker"], labels["letter"]
    table["split"] = np.where(labels["repetition"] == HELD_OUT, "test", "train")
    validates = (table["split"] == "train") & (table["group"] == sorted(set(table["group"]))[0])
    table.loc[validates, "split"] = "validation"
    attributes = load_modality("video", ENTRY["decode"]).attributes()
    with hdf5.write(work / "frames" / "0.h5", attributes) as writer:
        for clip, file in zip(table["clip_id"], labels["file"], strict=True):
            with np.load(data / file, allow_pickle=False) as stored:
                lips = stored["lips"]
            shown = lips[((np.arange(24) + 0.5) * len(lips) / 24).astype(int)]
            frames = np.stack([np.asarray(Image.fromarray(one).resize((SIDE, SIDE))) for one in shown])
            writer.append(clip, np.repeat(frames[..., None], 3, -1), "")
    (work / "splits").mkdir()
    for split, rows in table.groupby("split"):
        rows.to_csv(work / "splits" / f"{split}.csv", index=False)
    pd.DataFrame({"label": sorted(set(table["label"])), "train": 1}).to_csv(
        work / "splits" / "classes.csv", index=False
    )
    return table


@torch.inference_mode()
def answered(model: Model, work: Path, test: pd.DataFrame) -> dict[str, int]:
    where = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    model.eval().to(where)
    found: dict[str, int] = {}
    for names, rows in hdf5.batches(work / "frames" / "0.h5", CLIPS, set(test["clip_id"])):
        found |= zip(names, model({"video": torch.from_numpy(rows).to(where)}).argmax(1).tolist(), strict=True)
    return found


def main() -> None:
    line = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    line.add_argument("what", choices=("speed", "letters"))
    line.add_argument("--device", default="auto")
    line.add_argument("--steps", type=int, default=30, help="of speed")
    line.add_argument("--data", type=Path, help="of letters")
    line.add_argument("--epochs", type=int, default=60)
    line.add_argument("--seeds", type=int, nargs="+", default=[0])
    line.add_argument("--network", default="resnet34")
    line.add_argument("--recurrent-layers", type=int, default=2)
    line.add_argument("--output", type=Path, help="JSON file of the numbers")
    arguments = line.parse_args()
    if arguments.what == "letters" and not (arguments.data and (arguments.data / "labels.csv").is_file()):
        line.error("letters: expected --data, a folder with labels.csv")
    where = torch.device("cuda" if arguments.device == "auto" and torch.cuda.is_available() else "cpu")
    if arguments.what == "speed":
        found = speed(where, arguments.steps)
    else:
        with tempfile.TemporaryDirectory() as work:
            found = letters(arguments.data, Path(work), arguments)
    name = torch.cuda.get_device_name(where) if where.type == "cuda" else "cpu"
    output = arguments.output or Path(__file__).parent / "results" / f"front_end_{arguments.what}.json"
    output.parent.mkdir(parents=True, exist_ok=True)
    output.write_text(json.dumps({"machine": machine(), "device": name, "found": found}, indent=1), encoding="utf-8")


if __name__ == "__main__":
    main()
