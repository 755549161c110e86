"""The one skeleton of every command line: one-line errors for a user's mistakes, options as JSON."""

import argparse
import json
import logging
import sys
from collections.abc import Iterable
from pathlib import Path
from types import ModuleType
from typing import Any

from modalens.utils.errors import UserError
from modalens.utils.files import storage_fault
from modalens.utils.secrets import redacted

log = logging.getLogger("modalens")


def parser(command: ModuleType) -> argparse.ArgumentParser:
    """The command line of a stage or command: what its module says of itself, and what its `add_arguments` adds."""
    made = argparse.ArgumentParser(
        prog=f"modalens {command.__name__.rpartition('.')[2]}",
        description=command.__doc__,
        formatter_class=argparse.ArgumentDefaultsHelpFormatter,
    )
    command.add_arguments(made)
    return made


def parse(command: ModuleType, words: Iterable[Any]) -> argparse.Namespace:
    return parser(command).parse_args([str(word) for word in words])


def call(command: ModuleType, words: Iterable[Any]) -> None:
    """Run a stage or command in this process. Raises what it raises."""
    command.main(parse(command, words))


def run(command: ModuleType, words: Iterable[Any]) -> None:
    """The same as a process does it: logs to stderr, and a UserError becomes one line and exit status 1."""
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s", datefmt="%H:%M:%S", stream=sys.stderr)
    for handler in logging.getLogger().handlers:
        handler.addFilter(_redact)
    arguments = parse(command, words)
    try:
        command.main(arguments)
    except UserError as error:
        sys.exit(f"modalens: {redacted(str(error))}")
    except OSError as error:
        if not (reason := storage_fault(error)):
            raise
        sys.exit(f"modalens: {error.filename or 'a file'} cannot be read or written: {reason}")


def _redact(record: logging.LogRecord) -> bool:
    record.msg, record.args = redacted(record.getMessage()), ()
    return True


def mapping(text: str) -> dict[str, Any]:
    """argparse type: a JSON object."""
    value = json.loads(text)
    if not isinstance(value, dict):
        raise argparse.ArgumentTypeError(f"a JSON object is wanted, not {text!r}")
    return value


def pair(text: str) -> tuple[str, Path]:
    """argparse type: `audio=results/demo/features/log_mel` -> ("audio", Path)."""
    name, separator, path = text.partition("=")
    if not separator:
        raise argparse.ArgumentTypeError(f"NAME=PATH is wanted, not {text!r}")
    return name, Path(path)


COMMON: dict[str, dict[str, Any]] = {
    "key": {"type": mapping, "default": {}, "help": "what the runs are called in MLflow, JSON"},
    "device": {"default": "auto", "help": "auto, cpu, cuda, cuda:1, mps"},
    "threads": {"type": int, "default": 1, "help": "of one process"},
    "record": {"type": Path, "required": True, "help": "what MLflow is to know, JSON"},
}


def add_common(parser: argparse.ArgumentParser, *names: str) -> None:
    """Options that several stages have, one of COMMON each."""
    for name in names:
        parser.add_argument(f"--{name}", **COMMON[name])
