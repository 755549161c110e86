"""LRW-1000: 1,000 Mandarin words said on television, 718,018 clips, with the owners' split.

Source: Yang et al. 2019, LRW-1000: A naturally-distributed large-scale benchmark for lip reading in the wild. Layout:
images/<video>/1.jpg … (the mouths, 25 a second), audio/<name>.wav (one a word), info/trn_1000.txt, val_1000.txt and
tst_1000.txt (video, characters, pinyin, start, end), info/all_audio_video.txt (video, name of the sound, characters,
pinyin, start, end).
"""

from collections.abc import Iterator
from pathlib import Path
from urllib.parse import parse_qs, urlencode

import pandas as pd

from modalens.datasets import _corpora
from modalens.datasets._base import Dataset
from modalens.media.failure_causes import ClipError
from modalens.media.sources import DownloadOptions, Fetched
from modalens.utils.errors import UserError

LISTS = {"train": "trn_1000.txt", "validation": "val_1000.txt", "test": "tst_1000.txt"}
SOUNDS = "all_audio_video.txt"
CLIPS = {"train": 603_193, "validation": 63_237, "test": 51_588}
WORDS = 1000
RATE = 25  # pictures a second
COLUMNS = ("video", "characters", "pinyin", "start", "end")


class Lrw1000(Dataset):
    """root: the folder that holds images, audio and info. words: those to take, in pinyin ("yi qie"), all by default.
    partial: take lists that are not whole.

    One task, under any name: the word, in pinyin. The split is the owners'. Groups are the videos. Pictures and sound
    of a word become one media file, nothing coded anew. A frozen list of them names files of this machine.
    """

    describes_files = True

    def __init__(self, tasks: list[str], *, root: str, words: list[str] | None = None, partial: bool = False) -> None:
        super().__init__(tasks)
        if len(tasks) != 1:
            raise UserError(f"dataset lrw1000 has one task, the word; {len(tasks)} are asked for")
        self.root, self.words, self.partial = Path(root), words, partial

    def manifest(self) -> pd.DataFrame:
        where = "dataset lrw1000"
        sounds = self._sounds()
        rows = []
        for split, name in LISTS.items():
            part = [self._row(split, sounds, *found) for found in _rows(self.root / "info" / name, 5)]
            if self.words is None:
                _corpora.check_count(len(part), CLIPS[split], f"row of {name}", where, self.partial)
            rows += [row for row in part if self.words is None or row[self.tasks[0]] in self.words]
        words = [row[self.tasks[0]] for row in rows]
        remedy = "complete the lists, or take what is missing out of `words`"
        _corpora.check_there(words, self.words or (), "words", where, remedy)
        if self.words is None:
            _corpora.check_count(len(set(words)), WORDS, "word", where, self.partial)
        return _corpora.table(rows, self.tasks, where)

    def inputs(self) -> list[Path]:
        return [self.root / "info" / name for name in (*LISTS.values(), SOUNDS)]

    @staticmethod
    def fetch(
        source: str, _start_s: float | None, _end_s: float | None, destination: Path, _options: DownloadOptions
    ) -> Fetched:
        """The pictures and the sound that `source` names -> `destination` + .mkv, which begins with the word."""
        from modalens.datasets._reel import write_reel  # a decoder: not everywhere

        told = {name: values[0] for name, values in parse_qs(source.partition(":")[2]).items()}
        first = int(told["first"])
        every = [Path(told["pictures"], f"{number}.jpg") for number in range(first, int(told["last"]) + 1)]
        there = [picture for picture in every if picture.exists()]
        if not there:
            raise ClipError("missing", f"no picture {first}.jpg to {told['last']}.jpg in {told['pictures']}")
        path = destination.with_name(destination.name + ".mkv")
        write_reel(there, RATE, Path(told["sound"]), path)
        return Fetched(path, None, None)

    def _sounds(self) -> dict[tuple[str, str, str, str], str]:
        """{(video, pinyin, start, end): name of the sound}"""
        found = _rows(self.root / "info" / SOUNDS, 6)
        return {(video, pinyin, _time(start), _time(end)): name for _, (video, name, _, pinyin, start, end) in found}

    def _row(
        self, split: str, sounds: dict[tuple[str, str, str, str], str], place: str, cells: list[str]
    ) -> dict[str, str]:
        video, characters, pinyin, start, end = cells
        for name in (video, sound := sounds.get((video, pinyin, _time(start), _time(end)), "")):
            if "/" in name or name.startswith("."):
                raise UserError(f"{place}: {name!r} is no name of a video or a sound")
        if not sound:
            raise UserError(f"{place}: {SOUNDS} names no sound for {video}, {pinyin!r}, {start} to {end} s")
        # The owners count pictures from 1.
        first = int(float(start) * RATE) + 1
        told = {
            "pictures": (self.root / "images" / video).as_posix(),
            "first": first,
            "last": max(int(float(end) * RATE), first),
            "sound": (self.root / "audio" / f"{sound}.wav").as_posix(),
        }
        return {
            "place": place,
            "clip_id": f"{video}_{_time(start)}_{_time(end)}",
            "source": "lrw1000:" + urlencode(told),
            "group": video,
            "split": split,
            "text": characters,
            self.tasks[0]: pinyin,
        }


def _rows(path: Path, width: int) -> Iterator[tuple[str, list[str]]]:
    """(place, cells) of each line that is not blank."""
    try:
        lines = path.read_bytes().decode("utf-8-sig").splitlines()
    except OSError as error:
        raise UserError(f"{path} cannot be read ({error.strerror}); root is the folder that holds info") from error
    except UnicodeDecodeError as error:
        raise UserError(f"{path}: no text in UTF-8 (byte {error.start}); fetch it anew") from error
    if not any(map(str.strip, lines)):
        raise UserError(f"{path} is empty; fetch it anew")
    for number, line in enumerate(lines, 1):
        cells = [cell.strip() for cell in line.split(",")]
        place = f"{path}, line {number}"
        if not line.strip():
            continue
        if len(cells) != width or not all(cells):
            raise UserError(f"{place}: expected {width} cells, got {line!r}")
        for cell in cells[-2:]:
            if not cell.replace(".", "", 1).isdecimal():
                raise UserError(f"{place}: {cell!r} is no number of seconds")
        if float(cells[-1]) < float(cells[-2]):
            raise UserError(f"{place}: end {cells[-1]} lies before start {cells[-2]}")
        yield place, cells


def _time(text: str) -> str:
    return f"{float(text):.12g}"
