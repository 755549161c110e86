"""Stage `features`: one encoder over one shard of frames or waveforms, once; every training reads the result."""

import argparse
import time
from pathlib import Path
from typing import Any

import numpy as np
import torch

from modalens import device, records, registry, store
from modalens.cli import UserError, mapping, parser, run
from modalens.options import resolve
from modalens.progress import progress


def load_encoder(name: str, options: dict[str, Any], where: torch.device) -> Any:
    """An encoder by its public name. options: from the config file; a misspelt one raises UserError."""
    maker = registry.load("encoders", name)
    return maker(where, **resolve(maker, options, f"encoders.{name}"))


def attributes(name: str, encoder: Any, preprocessing: dict[str, Any]) -> dict[str, Any]:
    """What rows were made with. Features are compared only with features of equal attributes."""
    return {
        "encoder": name,
        "options": encoder.options,
        "preprocessing": preprocessing,
        "weights": encoder.weights,
    }


def encode_file(name: str, encoder: Any, source: Path, output: Path) -> int:
    """source: decoded clips by id. output: float16 features by the same ids. Returns the number of clips."""
    preprocessing = store.attributes(source)
    if preprocessing.get("kind") != encoder.input:
        raise UserError(f"{name} encodes {encoder.input}, but {source} holds {preprocessing.get('kind')!r}")
    count = len(store.ids(source))
    with store.write(output, attributes(name, encoder, preprocessing)) as writer:
        steps = -(-count // encoder.batch_size)
        for ids, rows in progress(store.batches(source, encoder.batch_size), f"{name} {output.stem}", "batches", steps):
            for clip_id, row in zip(ids, encode(encoder, rows), strict=True):
                writer.append(clip_id, row)
    return count


def encode(encoder: Any, rows: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    """(B, ...) decoded clips -> (B, ...) float16."""
    encoded: np.ndarray[Any, Any] = encoder.encode(torch.from_numpy(rows)).cpu().numpy()
    return encoded


def main(arguments: argparse.Namespace) -> None:
    device.repeatable(arguments.threads)
    where = device.choose(arguments.device)
    encoder = load_encoder(arguments.encoder, arguments.options, where)
    started = time.perf_counter()
    count = encode_file(arguments.encoder, encoder, arguments.input, arguments.output)
    seconds = time.perf_counter() - started
    done = records.Run(
        key={"encoder": arguments.encoder, "shard": arguments.output.stem},
        params={**encoder.options, "weights_identity": encoder.weights, "device": where.type},
        metrics={"clips": count, "seconds": seconds, "clips_per_second": count / seconds},
    )
    records.write(arguments.record, "features", [done])


def command_line() -> argparse.ArgumentParser:
    line = parser(__doc__)
    line.add_argument("--encoder", required=True, help="a module of modalens/encoders")
    line.add_argument("--options", type=mapping, default={}, help="the encoder's options, JSON")
    line.add_argument("--input", type=Path, required=True, help="frames or waveforms of one shard, HDF5")
    line.add_argument("--output", type=Path, required=True, help="features of the shard, HDF5")
    line.add_argument("--device", default="auto", help="auto, cpu, cuda, cuda:1, mps")
    line.add_argument("--threads", type=int, default=1)
    line.add_argument("--record", type=Path, required=True)
    return line


if __name__ == "__main__":
    run(main, command_line())
