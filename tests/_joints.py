"""Known joint distributions, and the predictions of models that know them, but for noise."""

import numpy as np
import pandas as pd

from modalens.datasets.known_answer import TASKS, KnownAnswer
from modalens.stats.coalitions import coalitions, to_text
from modalens.stats.information import Joint

NAMES = ("audio", "video")


def joint_of(label, symbols: int = 2) -> Joint:
    """Independent uniform audio and video symbols, label a function of both."""
    table = np.zeros((symbols * symbols, symbols, symbols))
    for audio in range(symbols):
        for video in range(symbols):
            table[label(audio, video), audio, video] = 1 / symbols**2
    return Joint(NAMES, table[table.sum(axis=(1, 2)) > 0])


def random_joint(seed: int, shape: tuple[int, ...] = (3, 4, 4)) -> Joint:
    table = np.random.default_rng(seed).random(shape) ** 4
    return Joint(NAMES, table / table.sum())


def known_joints() -> dict[str, Joint]:
    """The usual examples, the demo's tasks and some drawn ones."""
    found = {
        "RDN": Joint(NAMES, np.array([[[0.5, 0], [0, 0]], [[0, 0], [0, 0.5]]])),
        "UNQ": joint_of(lambda _, video: video),
        "XOR": joint_of(lambda audio, video: audio ^ video),
        "AND": joint_of(lambda audio, video: audio & video),
        "COPY": joint_of(lambda audio, video: 2 * audio + video),
    }
    found |= {task: KnownAnswer([task]).joint(task) for task in TASKS}
    return found | {f"drawn {seed}": random_joint(seed) for seed in range(3)}


def predictions_of(joint: Joint, clips: int, seeds: int = 1, noise: float = 0.0, seed: int = 0) -> pd.DataFrame:
    """Of a model that gives each class its probability given the symbols that it was shown, in all coalitions.

    noise: standard deviation of what is added to the logits, anew for each seed, clip and coalition.
    """
    rng = np.random.default_rng(seed)
    drawn = np.unravel_index(rng.choice(joint.table.size, size=clips, p=joint.table.ravel()), joint.table.shape)
    label, symbols = drawn[0], dict(zip(joint.modalities, drawn[1:], strict=True))
    classes = np.array([f"c{index}" for index in range(len(joint.table))])
    frames = []
    for number in range(seeds):
        for kept in coalitions(joint.modalities):
            hidden = tuple(axis for axis, name in enumerate(joint.modalities, start=1) if name not in kept)
            table = joint.table.sum(axis=hidden)
            posterior = (table / np.maximum(table.sum(axis=0), 1e-12))[:, *(symbols[name] for name in kept)]
            posterior = np.broadcast_to(posterior.reshape(len(classes), -1), (len(classes), clips)).T
            logits = np.log(posterior + 1e-4) + noise * rng.standard_normal(posterior.shape)
            probabilities = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
            frame = pd.DataFrame(probabilities, columns=[f"p_{name}" for name in classes])
            frame["clip_id"] = [f"clip{index:05d}" for index in range(clips)]
            frame["group"], frame["seed"], frame["model"] = frame["clip_id"], number, "model"
            frame["coalition"] = to_text(kept)
            frame["replacement"] = "" if kept == joint.modalities else "blank@input"
            frame["label"], frame["predicted"] = classes[label], classes[probabilities.argmax(axis=1)]
            frame["log_probability"] = np.log(probabilities[np.arange(clips), label])
            frames.append(frame)
    return pd.concat(frames, ignore_index=True)
