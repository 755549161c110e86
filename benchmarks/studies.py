"""Public data sets, as their archives are -> clips.csv and files for the studies of config/studies/.

    python benchmarks/studies.py basic_motions --data DATA --output data/basic_motions
    modalens av_mnist ...                                            # has a command of its own
    snakemake --cores 2 --configfile config/studies/basic_motions.yaml

DATA is the folder of that data set; docs/studies/ says where to get each, under which licence, and how its files lie.
"""

import argparse
import re
from collections.abc import Callable
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import pandas as pd
from study_archives import arrays, htk, listing, mouths, reading, stems

# Of the skeleton's 20 joints: head, neck, spine, hip; four each of the arms; four each of the legs.
HIP = 3
BONES = (
    *((0, 1), (1, 2), (2, HIP)),
    *((1, 4), (4, 5), (5, 6), (6, 7)),
    *((1, 8), (8, 9), (9, 10), (10, 11)),
    *((HIP, 12), (12, 13), (13, 14), (14, 15)),
    *((HIP, 16), (16, 17), (17, 18), (18, 19)),
)
VIEWS = {"fac": 216, "fou": 76, "kar": 64, "mor": 6, "pix": 240, "zer": 47}  # numbers a digit
RECORDED = {"depth": (16, 48, 64), "inertial": (None, 6), "skeleton": (None, 20, 3)}
SPLITS = ("train", "test")


def basic_motions(data: Path, output: Path) -> pd.DataFrame:
    """BasicMotions of the UEA archive: an accelerometer and a gyroscope, 3 channels of 100 samples each."""
    labels = listing(data / "labels.csv", ["activity", "split"], range(80, 81), split=SPLITS)
    stored = arrays(data / "data.npz", dict.fromkeys(("accelerometer", "gyroscope"), (80, 3, 100)))
    rows = [{name: values[place].T for name, values in stored.items()} for place in range(len(labels))]
    names = [f"recording{place:02d}" for place in range(len(labels))]
    return pd.DataFrame(
        {
            "clip_id": names,
            "recording": _saved(output, names, rows),
            "activity": labels["activity"],
            "split": labels["split"],
        }
    )


def uci_multifeature(data: Path, output: Path) -> pd.DataFrame:
    """UCI Multiple Features: six descriptions of the same digits. The last column of each file is the digit itself."""
    labels = listing(data / "labels.csv", ["digit"], range(2000, 2001))
    names = [f"digit{place:04d}" for place in range(len(labels))]
    same = pd.Series("", index=labels.index)
    for view, width in VIEWS.items():
        path = data / f"mfeat-{view}.csv"
        with reading(path):
            table = pd.read_csv(path).apply(pd.to_numeric)
            finite = np.isfinite(table.to_numpy(float)).all()
        if table.shape != (len(labels), width + 1) or not finite:
            raise SystemExit(f"{path}: expected {len(labels):,} rows of {width + 1} numbers, got {table.shape}")
        if not (table.iloc[:, -1].astype(int).astype(str) == labels["digit"]).all():
            raise SystemExit(f"{path}: expected the digit of labels.csv in the last column")
        table = table.iloc[:, :-1].set_axis([f"{view}{place}" for place in range(table.shape[1] - 1)], axis=1)
        table = pd.concat([pd.Series(names, name="clip_id"), table], axis=1)
        same += table.drop(columns="clip_id").astype(str).agg(" ".join, axis=1) + " "
        table.to_parquet(output / f"{view}.parquet")
    # Six pairs of digits are equal in all views: one digit twice, which no split may cut.
    first = dict(zip(same[::-1], names[::-1], strict=True))
    return pd.DataFrame({"clip_id": names, "digit": labels["digit"], "group": same.map(first)})


def utd_mhad(data: Path, output: Path) -> pd.DataFrame:
    """UTD-MHAD: depth frames, an inertial sensor, the joints of a skeleton. Split: subjects 1, 3, 5, 7 train."""
    labels, names = _actions(data)
    rows = []
    for file in labels["file"]:
        stored = arrays(data / file, RECORDED)
        skeleton = stored["skeleton"]
        # Where somebody stands tells nothing of what is done: joints are seen from the first frame's hip.
        rows.append(stored | {"skeleton": (skeleton - skeleton[0, 0]).reshape(len(skeleton), -1)})
    found = {"clip_id": names, "recording": _saved(output, names, rows), "action": labels["action"]}
    return pd.DataFrame(found | {"group": labels["subject"], "split": labels["split"]})


def utd_mhad_pictures(data: Path, output: Path) -> pd.DataFrame:
    """UTD-MHAD as two films in millimetres: its depth frames, and its skeleton drawn as a figure of 48 x 64 pixels."""
    labels, names = _actions(data)
    rows = []
    for file in labels["file"]:
        stored = arrays(data / file, RECORDED)
        rows.append({"depth": stored["depth"], "figure": figure(stored["skeleton"])})
    found = {"clip_id": names, "recording": _saved(output, names, rows), "action": labels["action"]}
    return pd.DataFrame(found | {"group": labels["subject"], "split": labels["split"]})


def _actions(data: Path) -> tuple[pd.DataFrame, list[str]]:
    """UTD-MHAD's list, and the names of its clips."""
    path = data / "labels.csv"
    labels = listing(path, ["file", "action", "subject", "split"], range(861, 862), split=SPLITS)
    return labels, stems(labels, path)


def figure(joints: np.ndarray, height: int = 48, width: int = 64) -> np.ndarray:
    """Joints (T, 20, 3) in metres -> (T, height, width) uint16: bones at their distance in millimetres, 0 elsewhere.

    The first frame's hip is in the middle, and 2.4 m fill the height.
    """
    shown = np.zeros((len(joints), height, width), np.uint16)
    along = np.linspace(0, 1, 24)[None, :, None]
    first, last = (joints[:, list(ends)] for ends in zip(*BONES, strict=True))
    for frame, (begin, end) in enumerate(zip(first, last, strict=True)):
        points = (begin[:, None] * (1 - along) + end[:, None] * along).reshape(-1, 3)
        moved = (points - joints[0, HIP]) * height / 2.4
        row, column = (height / 2 - moved[:, 1]).round().astype(int), (width / 2 + moved[:, 0]).round().astype(int)
        inside = (row >= 0) & (row < height) & (column >= 0) & (column < width)
        # The nearest is drawn last.
        order = np.argsort(-points[inside, 2])
        distance = (points[inside, 2] * 1000).clip(1, 65_535)
        shown[frame, row[inside][order], column[inside][order]] = distance[order]
    return shown


def avletters(data: Path, output: Path) -> pd.DataFrame:
    """AVLetters: lips at 25 fps and 26 mel-frequency cepstral coefficients every 20 ms. Groups: the talkers.

    DATA as its authors lay it out (Lips/A1_Anya-lips.mat, Audio/mfcc/Clean/A1_Anya.mfcc), or one NPZ file a clip with
    labels.csv beside them. 780 clips: 26 letters, 10 talkers, 3 repetitions.
    """
    official = (data / "Lips").is_dir()
    labels = _letters(data) if official else _listed_letters(data)
    names = stems(labels, data)
    rows = []
    for name, file in zip(names, labels["file"], strict=True):
        if official:
            lips, mfcc = mouths(data / file), htk(data / "Audio/mfcc/Clean" / f"{name.removesuffix('-lips')}.mfcc")
        else:
            stored = arrays(data / file, {"lips": (None, 30, 40), "mfcc": (None, 26)})
            lips, mfcc = stored["lips"].astype(np.float32), stored["mfcc"]
        # 15 x 20 pixels: letters are told by the mouth's shape.
        step = lips.shape[1] // 15
        lips = lips.reshape(-1, 15, step, 20, step).mean(axis=(2, 4))
        rows.append({"lips": lips.reshape(len(lips), -1), "mfcc": mfcc})
    names = [name.removesuffix("-lips") for name in names]
    found = {"clip_id": names, "recording": _saved(output, names, rows), "letter": labels["letter"]}
    # Official: repetitions 1 and 2 train, 3 test. The other study leaves talkers out and does not read this column.
    split = labels["repetition"].map({"1": "train", "2": "train", "3": "test"})
    return pd.DataFrame(found | {"talker": labels["speaker"], "repetition_split": split})


def _listed_letters(data: Path) -> pd.DataFrame:
    path = data / "labels.csv"
    if not path.exists():
        raise SystemExit(f"{data}: expected Lips/ and Audio/ of AVLetters, or labels.csv and NPZ files, got neither")
    columns = ["file", "letter", "repetition", "speaker"]
    return listing(path, columns, range(780, 781), repetition=("1", "2", "3"))


def _letters(data: Path) -> pd.DataFrame:
    """What the names of AVLetters' files say: letter, repetition, talker."""
    named = [(path, re.fullmatch(r"([A-Z])([123])_(\w+)-lips", path.stem)) for path in sorted(data.glob("Lips/*.mat"))]
    odd = [path for path, match in named if not match]
    if odd or len(named) != 780:
        raise SystemExit(
            f"{data}/Lips: expected 780 files such as A1_Anya-lips.mat, got {len(named)}, {len(odd)} of other names"
        )
    rows = [(f"Lips/{path.name}", *match.groups()) for path, match in named if match]
    return pd.DataFrame(rows, columns=["file", "letter", "repetition", "speaker"])


def flipkart(data: Path, output: Path) -> pd.DataFrame:
    """Flipkart's products: a picture, a title, a description, brand and prices. Groups: the brands, whose products
    share words and pictures; one without a brand is a group of its own."""
    columns = ["image", "title", "description", "category", "subcategory", "brand", "retail_price", "discounted_price"]
    labels = listing(data / "labels.csv", ["id", "image", "category"], range(1047, 1051), columns)
    if absent := [name for name in labels["image"] if not (data / name).is_file()]:
        raise SystemExit(f"{data}: {len(absent):,} of {len(labels):,} pictures not found, first {absent[0]}")
    (output / "images").symlink_to((data / "images").resolve(), target_is_directory=True)
    brand = labels["brand"].str.strip().str.lower()
    return pd.DataFrame({"clip_id": labels["id"], **labels[columns], "group": brand.where(brand != "", labels["id"])})


def _saved(output: Path, names: list[str], rows: list[dict[str, np.ndarray]]) -> list[str]:
    (output / "clips").mkdir()
    for name, row in zip(names, rows, strict=True):
        np.savez_compressed(output / "clips" / f"{name}.npz", **row)
    return [f"clips/{name}.npz" for name in names]


STUDIES: dict[str, Callable[[Path, Path], pd.DataFrame]] = {
    one.__name__: one for one in (avletters, basic_motions, flipkart, uci_multifeature, utd_mhad, utd_mhad_pictures)
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("study", choices=STUDIES)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--output", type=Path, required=True, help="folder to make")
    arguments = parser.parse_args()
    clips = made(arguments.study, arguments.data, arguments.output)
    print(f"{arguments.output / 'clips.csv'}: {len(clips)} clips")


def made(study: str, data: Path, output: Path) -> pd.DataFrame:
    """All of `output`, or nothing of it."""
    if not data.is_dir():
        raise SystemExit(f"{data}: expected the folder of {study}, got none")
    if output.exists() and not (output.is_dir() and not any(output.iterdir())):
        raise SystemExit(f"{output} is there already; remove it, or name another folder")
    try:
        output.parent.mkdir(parents=True, exist_ok=True)
        with TemporaryDirectory(dir=output.parent, prefix=f".{output.name}.") as scratch:
            part = Path(scratch, output.name)
            part.mkdir()
            clips = STUDIES[study](data, part)
            clips.to_csv(part / "clips.csv", index=False)
            part.rename(output)
    except OSError as error:
        raise SystemExit(f"{output} cannot be written ({error.strerror})") from error
    return clips


if __name__ == "__main__":
    main()
