"""MLflow's SQLite file: whether it can be used, one sync at a time, and where the files of its runs lie."""

import contextlib
import fcntl
import sqlite3
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import unquote, urlparse

from modalens.utils import files
from modalens.utils.errors import UserError
from modalens.utils.secrets import redacted

LOCATION = "modalens.artifacts"  # of the experiment: where its files were put when it was made


def database(uri: str) -> Path | None:
    """The file of an SQLite address; None for a server."""
    scheme, separator, rest = uri.partition("://")
    if not separator or scheme == "file":
        raise UserError(
            f"mlflow.tracking_uri {redacted(uri)!r} is a folder, where MLflow 3 keeps no runs; "
            "set sqlite:///results/mlflow.db, or the http(s):// address of a server"
        )
    return Path(rest.removeprefix("/").partition("?")[0]) if scheme.startswith("sqlite") else None


def check_database(path: Path, wait_s: float = 30.0) -> None:
    """Raises UserError for a file that MLflow cannot use; it would say so in 70 lines. One not there is no fault."""
    if path.is_dir():
        raise UserError(f"mlflow.tracking_uri: expected an SQLite database, got the folder {path}")
    if not path.exists() or not path.stat().st_size:
        return
    keeps = "the records are kept, and the next run brings them"
    try:
        with contextlib.closing(sqlite3.connect(path, timeout=wait_s, isolation_level=None)) as file:
            file.execute("BEGIN IMMEDIATE")
            found = file.execute("PRAGMA quick_check(1)").fetchone()[0]
            file.execute("ROLLBACK")
    except sqlite3.OperationalError as error:
        if "locked" in str(error):
            raise UserError(f"{path} was locked by another program for {wait_s:g} s; end that one; {keeps}") from error
        raise UserError(f"{path} cannot be used ({error}); {keeps}") from error
    except sqlite3.DatabaseError as error:
        found = str(error)
    if found != "ok":
        raise UserError(
            f"{path} is damaged ({' '.join(found.split())[:120]}); move it away and run again: the records fill a new "
            "one; runs of your own are in the old one only"
        )


def follow(path: Path) -> None:
    """A results folder was moved, database and files together: the addresses of our experiments' files follow it."""
    with contextlib.closing(sqlite3.connect(path, isolation_level=None)) as file:
        ours = (
            "SELECT experiment_id, name, artifact_location FROM experiments JOIN experiment_tags USING (experiment_id)"
        )
        for number, name, old in file.execute(f"{ours} WHERE key = ?", (LOCATION,)).fetchall():
            new = (artifact_root(path) / name).as_uri()
            if old == new:
                continue
            if not (artifact_root(path) / name).is_dir():
                raise UserError(
                    f"{path} was moved, and the files of experiment {name!r} were not: expected them in "
                    f"{artifact_root(path) / name}, move them there from {unquote(urlparse(old).path)}"
                )
            file.execute("BEGIN IMMEDIATE")
            file.execute("UPDATE experiments SET artifact_location = ? WHERE experiment_id = ?", (new, number))
            file.execute(
                "UPDATE experiment_tags SET value = ? WHERE experiment_id = ? AND key = ?", (new, number, LOCATION)
            )
            for table, column in (("runs", "artifact_uri"), ("logged_models", "artifact_location")):
                file.execute(
                    f"UPDATE {table} SET {column} = ? || substr({column}, ?) "
                    f"WHERE experiment_id = ? AND substr({column}, 1, ?) = ?",
                    (new, len(old) + 1, number, len(old) + 1, f"{old}/"),
                )
            file.execute("COMMIT")


def artifact_root(path: Path) -> Path:
    # Absolute, as MLflow resolves relative ones against whatever directory a process happens to start in.
    return path.resolve().parent / "mlartifacts"


@contextlib.contextmanager
def locked(path: Path) -> Iterator[Path]:
    """One sync at a time on an SQLite file; yields the file to write to.

    One that is not there is made under another name and gets its own once the sync is done. Until then nobody has
    anything in it, so that it need not wait for the disk after each of its thousands of changes.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    with open(path.with_name(f".{path.name}.lock"), "w") as lock:
        fcntl.lockf(lock, fcntl.LOCK_EX)
        if path.exists():
            follow(path)
            yield path
            return
        from mlflow.store.tracking.sqlalchemy_store import SqlAlchemyStore

        with files.atomic(path) as hidden, _not_waiting():
            engine = SqlAlchemyStore(f"sqlite:///{hidden}", artifact_root(path).as_uri()).engine
            yield hidden
            engine.dispose()


@contextlib.contextmanager
def _not_waiting() -> Iterator[None]:
    """SQLite files that are opened leave it to the system when their changes reach the disk."""
    from sqlalchemy import event
    from sqlalchemy.engine import Engine

    def set_up(connection: sqlite3.Connection, _: object) -> None:
        connection.execute("PRAGMA synchronous=OFF")

    event.listen(Engine, "connect", set_up)
    try:
        yield
    finally:
        event.remove(Engine, "connect", set_up)
