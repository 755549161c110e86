"""What HDF5 writes into, so that a full disk is an error of ours and none inside the library.

HDF5 2.0 that cannot write what it still holds cannot close the file either: it reports so whenever one of its objects
goes, and ends the process with SIGSEGV at its exit. Here the first fault is kept, everything after it is dropped, and
HDF5 closes a file that nobody will read; then the fault is raised.
"""

import io
import os
from pathlib import Path
from typing import Any


class Sink(io.RawIOBase):
    """The file object that h5py asks for."""

    def __init__(self, path: Path) -> None:
        self._file = path.open("w+b", buffering=0)
        self._place = self._end = 0
        self._fault: OSError | None = None

    def check(self) -> None:
        """Raises the OSError that was kept."""
        if self._fault:
            raise self._fault

    def close(self) -> None:
        try:
            self._file.close()
        except OSError as error:  # where a server has the last word, as on NFS
            self._fault = self._fault or error
        super().close()

    def write(self, content: Any) -> int:
        piece = memoryview(content).cast("B")
        while len(piece) and not self._fault:
            try:
                self._file.seek(self._place + content.nbytes - len(piece))
                piece = piece[self._file.write(piece) :]
            except OSError as error:
                self._fault = error
        self.seek(self._place + content.nbytes)
        self._end = max(self._end, self._place)
        return int(content.nbytes)

    def readinto(self, buffer: Any) -> int:
        """Zeros where something was dropped."""
        piece = memoryview(buffer).cast("B")
        self._file.seek(self._place)
        count = self._file.readinto(piece) or 0
        piece[count:] = bytes(len(piece) - count)
        self.seek(self._place + len(piece))
        return len(piece)

    def truncate(self, size: int | None = None) -> int:
        self._end = self._place if size is None else size
        if not self._fault:
            try:
                self._file.truncate(self._end)
            except OSError as error:
                self._fault = error
        return self._end

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        self._place = offset + {os.SEEK_SET: 0, os.SEEK_CUR: self._place, os.SEEK_END: self._end}[whence]
        return self._place

    def tell(self) -> int:
        return self._place
