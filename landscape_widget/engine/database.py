"""An SQLite file of ours: made or known again, written in transactions, its errors in words."""

from __future__ import annotations

import os
import sqlite3
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

# Marks an SQLite file as a journal ("LWJn"), and its layout.
_APPLICATION, _FORMAT = 0x4C574A6E, 1
# How long to wait for another process, in seconds; its transactions take milliseconds.
_PATIENCE = 10.0


class Database:
    """The file, open; used by one thread at a time.

    Parameters
    ----------
    path
        Made where there is no file or an empty one.
    tables
        The statements that make its tables.

    Raises
    ------
    ValueError
        For a file that is none of ours, a damaged one, and one of a newer format.
    OSError
        For a folder, a folder that is not there, and a file that cannot be read and written; TimeoutError where another
        process keeps it locked. Every method can raise it.
    """

    def __init__(self, path: Path, tables: Iterable[str]) -> None:
        self.path = path
        with _in_words(path):
            # Transactions are begun and ended here only.
            self._db = sqlite3.connect(
                path.absolute(), timeout=_PATIENCE, isolation_level=None, check_same_thread=False
            )
        try:
            self._open(tables)
        except BaseException:
            self._db.close()
            raise

    def rows(self, query: str, parameters: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
        """What a query finds."""
        with _in_words(self.path):
            return self._db.execute(query, parameters).fetchall()

    @contextmanager
    def transaction(self) -> Iterator[sqlite3.Connection]:
        """All of what is written inside, or after an exception nothing."""
        with _in_words(self.path):
            # At once for writing: one that reads first and then finds another writing would have to begin again.
            self._db.execute("BEGIN IMMEDIATE")
            try:
                yield self._db
                self._db.execute("COMMIT")
            except BaseException:
                # A full disk ends it by itself.
                if self._db.in_transaction:
                    self._db.execute("ROLLBACK")
                raise

    def close(self) -> None:
        """Close the file; the files beside it are taken in where nobody else uses them."""
        self._db.close()

    def _open(self, tables: Iterable[str]) -> None:
        expected = f"expected the journal of a survey, got {self.path}, which is"
        with self.transaction() as db:
            (application,) = db.execute("PRAGMA application_id").fetchone()
            (layout,) = db.execute("PRAGMA user_version").fetchone()
            if not application and not db.execute("SELECT count(*) FROM sqlite_master").fetchone()[0]:
                for statement in tables:
                    db.execute(statement)
                db.execute(f"PRAGMA application_id = {_APPLICATION}")
                db.execute(f"PRAGMA user_version = {_FORMAT}")
            elif application != _APPLICATION:
                raise ValueError(f"{expected} an SQLite file of something else; give another path")
            elif layout > _FORMAT:
                raise ValueError(f"{expected} of format {layout}, newer than {_FORMAT}; upgrade landscape_widget")
        with _in_words(self.path):
            # From here on a commit waits for no disk; a file system that cannot have it keeps the slower way.
            _patiently(self._db, "PRAGMA journal_mode = WAL")
            self._db.execute("PRAGMA synchronous = NORMAL")


def checked_path(path: Any) -> Path:
    """The path of a journal, which may not be there yet.

    Raises
    ------
    TypeError
        For what is no path.
    OSError
        For a folder, and for a file in a folder that is not there.
    """
    if not isinstance(path, (str, os.PathLike)):
        raise TypeError(f"expected journal as a path, a str or a pathlib.Path, got {type(path).__name__}")
    path = Path(os.fsdecode(path))
    if path.is_dir():
        raise IsADirectoryError(
            f"expected journal as the path of a file, got the folder {path}; give a file in it, such as {path / 'run.sqlite'}"
        )
    if not path.absolute().parent.is_dir():
        raise FileNotFoundError(f"expected journal in a folder that is there, got {path}; make the folder first")
    return path


@contextmanager
def _in_words(path: Path) -> Iterator[None]:
    """SQLite's errors as builtin ones, saying what to do."""
    try:
        yield
    except sqlite3.Error as error:
        code = getattr(error, "sqlite_errorcode", None)
        if code is None:  # a mistake in the use of sqlite3, such as a connection that is closed
            raise
        kind, words = _TOLD.get(code & 0xFF, (OSError, _CLOSED))
        raise kind(f"expected {words.format(path=path)} ({error})") from error


_DAMAGED = "the journal of a survey, got {path}, which is damaged; remove it to begin anew"
_CLOSED = "a journal that can be read and written, as can its folder, got {path}; give another path"
_TOLD: dict[int, tuple[type[Exception], str]] = {
    sqlite3.SQLITE_NOTADB: (
        ValueError,
        "the journal of a survey, got {path}, which is no SQLite file; give another path",
    ),
    sqlite3.SQLITE_CORRUPT: (ValueError, _DAMAGED),
    # A table or a column is missing.
    sqlite3.SQLITE_ERROR: (ValueError, _DAMAGED),
    sqlite3.SQLITE_READONLY: (PermissionError, _CLOSED),
    sqlite3.SQLITE_CANTOPEN: (PermissionError, _CLOSED),
    sqlite3.SQLITE_BUSY: (
        TimeoutError,
        "{path} to be free for a moment, but another process keeps it locked; end that one",
    ),
    sqlite3.SQLITE_FULL: (OSError, "room on the disk for {path}, but it is full; make room, and start again"),
}


def _patiently(db: sqlite3.Connection, statement: str) -> None:
    """Execute a statement that does not wait by itself while another process has the file locked."""
    deadline = time.monotonic() + _PATIENCE
    while True:
        try:
            db.execute(statement)
            return
        except sqlite3.OperationalError as error:
            if error.sqlite_errorcode & 0xFF != sqlite3.SQLITE_BUSY or time.monotonic() > deadline:
                raise
        time.sleep(0.01)
