"""A hook into a study's own processes: what they are called with, and a stop when a file is about to get its name."""

import json
import os
import subprocess
import time
from pathlib import Path

import psutil

# Read by every Python that finds it on PYTHONPATH, decode workers included.
HOOK = """
import json, os, re, sys, time

def stand_still(event, arguments):
    if event == "os.rename" and re.search(os.environ["STAND_STILL_AT"], os.fspath(arguments[1])):
        with open(os.environ["STAND_STILL_SIGN"], "w") as sign:
            sign.write(os.fspath(arguments[1]))
        time.sleep(600)

if "STAND_STILL_AT" in os.environ:
    sys.addaudithook(stand_still)
if "CALLS" in os.environ and sys.orig_argv[1:3] == ["-m", "modalens"]:
    with open(os.environ["CALLS"], "a") as calls:
        calls.write(json.dumps(sys.orig_argv) + "\\n")
"""


def hooked(folder: Path, environment: dict[str, str], **more: str) -> dict[str, str]:
    folder.mkdir(exist_ok=True)
    (folder / "sitecustomize.py").write_text(HOOK)
    return {**environment, "PYTHONPATH": str(folder), **more}


def calls(command: list[str], cwd: Path, environment: dict[str, str], folder: Path) -> list[list[str]]:
    """Run a command; the command line of each stage that it called, in their order."""
    noted = folder / "calls"
    done = subprocess.run(command, cwd=cwd, env=hooked(folder, environment, CALLS=str(noted)), text=True,
                          stdout=subprocess.PIPE, stderr=subprocess.STDOUT)  # fmt: skip
    assert done.returncode == 0, done.stdout[-8000:]
    return [json.loads(line) for line in noted.read_text().splitlines()]


def kill_at(command: list[str], cwd: Path, environment: dict[str, str], moment: str, folder: Path) -> str:
    """SIGKILL a command and all that it started just before a file whose path matches `moment` gets its name; that
    path. folder: for the hook."""
    sign = folder / "sign"
    environment = hooked(folder, environment, STAND_STILL_AT=moment, STAND_STILL_SIGN=str(sign))
    with (folder / "output").open("w") as output:
        process = subprocess.Popen(command, cwd=cwd, env=environment, stdout=output, stderr=subprocess.STDOUT)
    while not (sign.exists() and sign.stat().st_size):
        assert process.poll() is None, f"it ended before {moment}: {(folder / 'output').read_text()[-4000:]}"
        time.sleep(0.02)
    main = psutil.Process(process.pid)
    for one in (main, *main.children(recursive=True)):
        one.kill()
    assert process.wait(timeout=30) != 0
    return os.path.relpath(sign.read_text(), cwd)
