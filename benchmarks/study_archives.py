"""Files of the archives that `studies.py` reads: what is missing, damaged or of another size ends it in one line."""

import struct
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pandas as pd
from scipy.io import loadmat

Shape = tuple[int | None, ...]  # None: any length but 0


@contextmanager
def reading(path: Path) -> Iterator[None]:
    """Whatever a library raises of a file becomes one line."""
    try:
        yield
    except FileNotFoundError:
        raise SystemExit(f"{path}: not found") from None
    except Exception as error:  # NumPy, zlib, SciPy and pandas raise whatever the damaged bytes lead them to
        said = " ".join(str(error).split())[:200]
        raise SystemExit(f"{path}: cannot be read ({type(error).__name__}: {said})") from error


def listing(
    path: Path, filled: Sequence[str], rows: range, columns: Sequence[str] = (), **choices: Sequence[str]
) -> pd.DataFrame:
    """labels.csv as text. filled: columns without an empty cell. columns: others that must be there. rows: how many
    there may be. choices: what the cells of a column may be."""
    with reading(path):
        table = pd.read_csv(path, dtype=str, keep_default_na=False)
    if absent := [name for name in (*filled, *columns) if name not in table]:
        raise SystemExit(f"{path}: expected the columns {', '.join((*filled, *columns))}, got no {absent[0]}")
    if len(table) not in rows:
        wanted = f"{rows[0]:,}" + (f" to {rows[-1]:,}" if len(rows) > 1 else "")
        raise SystemExit(f"{path}: expected {wanted} rows, got {len(table):,}; is the archive whole?")
    for name in filled:
        if (table[name] == "").any():
            raise SystemExit(f"{path}, row {table[name].eq('').argmax() + 1}: expected a text in {name}, got nothing")
    for name, known in choices.items():
        if not (good := table[name].isin(known)).all():
            odd = table[name][~good]
            raise SystemExit(
                f"{path}, row {odd.index[0] + 1}: {name}: expected {', '.join(known)}, got {odd.iloc[0]!r}"
            )
    return table


def stems(labels: pd.DataFrame, path: Path) -> list[str]:
    """Names of clips, after their files."""
    names = labels["file"].map(lambda file: Path(file).stem)
    if names.duplicated().any():
        raise SystemExit(f"{path}: expected each file once, got {names[names.duplicated()].iloc[0]} twice")
    return names.tolist()


def arrays(path: Path, shapes: Mapping[str, Shape]) -> dict[str, np.ndarray]:
    """Arrays of numbers in an NPZ file, by name."""
    with reading(path), np.load(path, allow_pickle=False) as stored:
        if absent := [name for name in shapes if name not in stored.files]:
            raise SystemExit(f"{path}: expected the arrays {', '.join(shapes)}, got no {absent[0]}")
        return {name: shaped(path, name, stored[name], shape) for name, shape in shapes.items()}


def shaped(path: Path, name: str, array: np.ndarray, shape: Shape) -> np.ndarray:
    fits = array.ndim == len(shape) and all(
        got == wanted or (wanted is None and got) for got, wanted in zip(array.shape, shape, strict=True)
    )
    if not fits or array.dtype.kind not in "uif":
        told = ", ".join("n" if length is None else str(length) for length in shape)
        raise SystemExit(f"{path}: {name}: expected numbers of shape ({told}), got {array.dtype} of {array.shape}")
    return array


def mouths(path: Path) -> np.ndarray:
    """MATLAB's `vid`, a column of 4,800 pixels a frame, column by column -> (T, 60, 80) float32."""
    with reading(path):
        vid = loadmat(path, variable_names=["vid"])["vid"]
    vid = shaped(path, "vid", vid, (60 * 80, None))
    return vid.T.reshape(-1, 80, 60).transpose(0, 2, 1).astype(np.float32)


def htk(path: Path) -> np.ndarray:
    """HTK's parameters, a header of 12 bytes and then big-endian numbers -> (steps, coefficients) float32."""
    with reading(path):
        content = path.read_bytes()
        steps, _, size, kind = struct.unpack(">iihh", content[:12])
    if steps < 1 or size < 4 or size % 4 or len(content) != 12 + steps * size or kind & 0o2000:
        raise SystemExit(
            f"{path}: expected {steps} steps of {size} bytes, not compressed, got {len(content) - 12} bytes"
        )
    return np.frombuffer(content, ">f4", offset=12).reshape(steps, size // 4).astype(np.float32)
