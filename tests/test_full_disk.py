"""A disk that is full, or cannot be written: one line that names the file, and nothing half-written."""

import errno
import os
import subprocess
import sys

import pytest

from modalens.utils import files
from modalens.utils.errors import UserError

WRITERS = {
    "HDF5": "writer = hdf5.write(path, {})\nwith writer as file: file.append('a', np.random.rand(100_000))",
    "model": "torch_file.write(path, {'a': torch.rand(100_000)})",
    "Parquet": "parquet.write(path, pd.DataFrame({'a': np.random.rand(100_000)}))",
    "text": "files.write_text(path, 'x' * 400_000)",
}
PROGRAM = """
import resource, sys
import numpy as np, pandas as pd, torch
from modalens.utils import files, hdf5, parquet, torch_file
from modalens.utils.errors import UserError
resource.setrlimit(resource.RLIMIT_FSIZE, (50_000, 50_000))
path = sys.argv[1]
try:
    {}
except UserError as error:
    print(error)
"""


@pytest.mark.slow
@pytest.mark.parametrize("kind", WRITERS)
def test_a_writer_that_runs_out_of_room_says_so_in_one_line(tmp_path, kind):
    """The limit on a file's size is one kind of no room that needs neither root nor a disk."""
    path = tmp_path / "out"
    program = PROGRAM.format(WRITERS[kind].replace("\n", "\n    "))
    done = subprocess.run([sys.executable, "-c", program, str(path)], capture_output=True, text=True)
    assert done.stdout == f"{path} cannot be written: file too large\n", done.stderr
    assert (done.returncode, done.stderr) == (0, "")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("error", "said"),
    [
        (OSError(errno.ENOSPC, "x"), os.strerror(errno.ENOSPC).lower()),
        (OSError(errno.EROFS, "x", "y"), "read-only file system"),
        (OSError("Can't write data (file write failed: errno = 28, error message = 'No space')"), "no space left"),
        (
            OSError("[Errno 28] Error writing bytes to file. Detail: [errno 28] No space"),
            "no space left",
        ),
        (OSError(errno.EBADF, "a mistake of the program's"), ""),
        (ValueError("errno = 28"), ""),
    ],
)
def test_faults_of_the_storage_are_told_from_those_of_the_program(error, said):
    assert files.storage_fault(error).startswith(said)
    assert bool(files.storage_fault(error)) == bool(said)
    with pytest.raises(RuntimeError) as outer:
        raise RuntimeError("while saving") from error
    assert files.storage_fault(outer.value).startswith(said)


def test_a_name_too_long_and_a_file_in_the_place_of_a_folder_are_one_line(tmp_path):
    with pytest.raises(UserError, match="cannot be written: file name too long"):
        files.write_text(tmp_path / ("x" * 300), "")
    (tmp_path / "file").write_text("")
    for path in (tmp_path / "file" / "a.txt", tmp_path / "file" / "b" / "a.txt"):
        with pytest.raises(UserError, match=r"cannot be written: (not a directory|file exists)"):
            files.write_text(path, "")


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write anywhere")
def test_a_folder_that_cannot_be_written_is_one_line(tmp_path):
    tmp_path.chmod(0o500)
    with pytest.raises(UserError, match="cannot be written: permission denied"):
        files.write_text(tmp_path / "a.txt", "")


def test_a_mistake_in_the_program_keeps_its_traceback(tmp_path):
    with pytest.raises(ZeroDivisionError), files.atomic(tmp_path / "a.txt"):
        1 / 0  # noqa: B018
