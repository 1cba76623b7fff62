"""What a survey has found, on disk as it comes (SQLite): after a crash nothing that was committed is measured again."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import os
import re
import sqlite3
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

import numpy as np

from landscape_widget.landscape import Curvature, Direction

if TYPE_CHECKING:
    from torch import Tensor

    from landscape_widget.engine.problem import Problem

Fingerprint = Mapping[str, "str | Sequence[float]"]
"""What a journal is of, by the names a refusal uses. Texts must be equal, numbers equal up to the round-off of a loss."""

# Marks an SQLite file as a journal ("LWJn"), and its layout.
_APPLICATION, _FORMAT = 0x4C574A6E, 1
# How long to wait for another process, in seconds; its transactions take milliseconds.
_PATIENCE = 10.0
# Bytes of a vector in one row: SQLite's rows end at 10⁹.
_PART = 2**26
# Entries hashed at a time, so that no second copy of a large tensor is made.
_HASHED = 2**20
# Samples on which two losses are compared, how far from θ* (in its root mean square), and what counts as equal:
# other threads and other builds of torch add up in another order.
_SAMPLES, _NEARBY, _SAME = 16, 0.05, 1e-3

_TABLES = (
    "CREATE TABLE fingerprint (name TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID",
    "CREATE TABLE facts (name TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID",
    "CREATE TABLE vectors (name TEXT, part INTEGER, entries BLOB NOT NULL, PRIMARY KEY (name, part))",
    "CREATE TABLE planes (plane INTEGER PRIMARY KEY, x TEXT NOT NULL, y TEXT NOT NULL, UNIQUE (x, y))",
    # A blob, since SQLite makes NULL of NaN. With row numbers, which tell what another process has added.
    "CREATE TABLE points (plane INTEGER, alpha REAL, beta REAL, quantities BLOB NOT NULL, UNIQUE (plane, alpha, beta))",
    """CREATE TABLE passes (plane INTEGER, alpha REAL, beta REAL, parting TEXT NOT NULL, num_terms INTEGER NOT NULL,
    sums BLOB NOT NULL, PRIMARY KEY (plane, alpha, beta)) WITHOUT ROWID""",
)


@dataclass(frozen=True)
class Axes:
    """Directions that were found, with their vectors as arrays (n,), and what the run that found them says of the Hessian."""

    directions: tuple[Direction, ...]
    curvature: Curvature | None = None


class Journal:
    """The file: of which problem it is, the axes and facts that were found, and its planes.

    A commit outlives the process (``kill -9``), not a power failure, which may take the last ones; neither corrupts
    the file. Two processes may use it at once, on one machine: of what both find, the first stays. While it is open
    two more files lie beside it, ``…-wal`` and ``…-shm``; they are part of it. Used by one thread at a time.

    Parameters
    ----------
    path
        The file; made where there is none or an empty one.
    fingerprint
        What it is of: see :func:`fingerprint`.
    quantities
        What is measured at a point, by name: the loss, then metrics.

    Raises
    ------
    TypeError
        For what is no path.
    ValueError
        For a journal of something else, by name of what differs; a file that is none, a damaged one, and one of a
        newer format.
    OSError
        For a folder, a folder that is not there, and a file that cannot be read and written; TimeoutError where
        another process keeps it locked. Every method can raise it; what was to be committed is then still there to be.

    Examples
    --------
    >>> import tempfile
    >>> import numpy as np
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     for _ in range(2):
    ...         with Journal(f"{folder}/run.sqlite", {"data": "digits"}) as journal:
    ...             plane = journal.plane("x", "y")
    ...             values, known = plane.known(np.array([0.0, 0.5]), np.array([1.0, 1.0]))
    ...             print(known, values[known].tolist())
    ...             plane.record(np.array([0.5]), np.array([1.0]), np.array([[2.25]]))
    ...             plane.commit()
    [False False] []
    [False  True] [[2.25]]
    """

    def __init__(
        self, path: str | os.PathLike[str], fingerprint: Fingerprint, *, quantities: Sequence[str] = ("loss",)
    ) -> None:
        self.path, self.quantities = checked_path(path), tuple(quantities)
        self._planes: dict[tuple[str, str], PlaneJournal] = {}
        with _in_words(self.path):
            # Transactions are begun and ended here only.
            self._db = sqlite3.connect(
                self.path.absolute(), timeout=_PATIENCE, isolation_level=None, check_same_thread=False
            )
        try:
            self._open({"quantities": ", ".join(self.quantities), **fingerprint})
        except BaseException:
            self._db.close()
            raise

    def plane(self, x: str, y: str) -> PlaneJournal:
        """The journal of the plane of two axes, by their names. With the names exchanged it has the same points, read the other way."""
        if (x, y) not in self._planes:
            self._planes[x, y] = PlaneJournal(self, x, y)
        return self._planes[x, y]

    def fact(self, name: str) -> Any:
        """What was saved under a name, as JSON gives it back; None where nothing was."""
        with _in_words(self.path):
            found = self._db.execute("SELECT value FROM facts WHERE name = ?", (name,)).fetchone()
        return None if found is None else json.loads(found[0])

    def save_fact(self, name: str, value: Any) -> Any:
        """Save what JSON can hold; returns what counts from now on: what another process has saved before, if one has."""
        with self.transaction() as db:
            db.execute("INSERT OR IGNORE INTO facts VALUES (?, ?)", (name, _json(value)))
        return self.fact(name)

    def axes(self, name: str = "hessian") -> Axes | None:
        """The axes that were saved under a name; None where none were."""
        fact = self.fact(f"axes {name}")
        if fact is None:
            return None
        directions = tuple(
            Direction(**{**direction, "vector": self._vector(f"{name} {i}", *form)})
            for i, (direction, form) in enumerate(zip(fact["directions"], fact["forms"], strict=True))
        )
        curvature: dict[str, Any] | None = fact["curvature"]
        if curvature is None:
            return Axes(directions)
        # JSON has no tuples.
        curvature = {name: tuple(value) if isinstance(value, list) else value for name, value in curvature.items()}
        return Axes(directions, Curvature(**curvature))

    def save_axes(
        self, directions: Iterable[Direction], curvature: Curvature | None = None, *, name: str = "hessian"
    ) -> Axes:
        """Save axes with their vectors, bit for bit; returns those that count from now on.

        Found anew they could differ by round-off, and every cell with them. So where another process has saved its own
        before, these are returned.
        """
        directions = tuple(directions)
        vectors = [_array(direction.vector) for direction in directions]
        fact = {
            "directions": [dataclasses.asdict(direction.without_vector()) for direction in directions],
            "forms": [(vector.dtype.str, vector.size) for vector in vectors],
            "curvature": curvature and dataclasses.asdict(curvature),
        }
        with self.transaction() as db:
            new = db.execute("INSERT OR IGNORE INTO facts VALUES (?, ?)", (f"axes {name}", _json(fact))).rowcount
            for i, vector in enumerate(vectors if new else ()):
                entries = vector.view(np.uint8)
                parts = ((f"{name} {i}", k, entries[k : k + _PART]) for k in range(0, len(entries), _PART))
                db.executemany("INSERT INTO vectors VALUES (?, ?, ?)", parts)
        if new:
            return Axes(directions, curvature)
        found = self.axes(name)
        assert found is not None
        return found

    def close(self) -> None:
        """Commit what is recorded and close the file."""
        try:
            for plane in self._planes.values():
                plane.commit()
        finally:
            self._planes.clear()
            self._db.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

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

    def _open(self, fingerprint: Fingerprint) -> None:
        """See that the file is a journal of this, or make it one."""
        expected = f"expected the journal of a survey, got {self.path}, which is"
        with self.transaction() as db:
            (application,) = db.execute("PRAGMA application_id").fetchone()
            (layout,) = db.execute("PRAGMA user_version").fetchone()
            if not application and not db.execute("SELECT count(*) FROM sqlite_master").fetchone()[0]:
                for statement in _TABLES:
                    db.execute(statement)
                db.execute(f"PRAGMA application_id = {_APPLICATION}")
                db.execute(f"PRAGMA user_version = {_FORMAT}")
                db.executemany("INSERT INTO fingerprint VALUES (?, ?)", [(k, _json(v)) for k, v in fingerprint.items()])
            elif application != _APPLICATION:
                raise ValueError(f"{expected} an SQLite file of something else; give another path")
            elif layout > _FORMAT:
                raise ValueError(f"{expected} of format {layout}, newer than {_FORMAT}; upgrade landscape_widget")
            stored = {name: json.loads(value) for name, value in db.execute("SELECT name, value FROM fingerprint")}
            if differing := _differing(stored, fingerprint):
                raise ValueError(
                    f"expected the journal of this survey, got {self.path}, which is of another one "
                    f"({', '.join(differing)}); give another path, or remove it to begin anew"
                )
            # Passes that have come to their end; and a file that cannot be written is known by it.
            db.execute("DELETE FROM passes WHERE (plane, alpha, beta) IN (SELECT plane, alpha, beta FROM points)")
        with _in_words(self.path):
            # From here on a commit waits for no disk; a file system that cannot have it keeps the slower way.
            _patiently(self._db, "PRAGMA journal_mode = WAL")
            self._db.execute("PRAGMA synchronous = NORMAL")

    def _vector(self, name: str, dtype: str, size: int) -> np.ndarray:
        vector = np.empty(size, np.dtype(dtype))
        entries, filled = vector.view(np.uint8), 0
        with _in_words(self.path):
            for (part,) in self._db.execute("SELECT entries FROM vectors WHERE name = ? ORDER BY part", (name,)):
                entries[filled : filled + len(part)] = np.frombuffer(part, np.uint8)
                filled += len(part)
        return vector


class PlaneJournal:
    """What is known of one plane: values at points (α, β), passes half-done, the window. Made by :meth:`Journal.plane`.

    A point is known by its coordinates, bit for bit. On dyadic grids the same cell has the same ones at every
    resolution, and when the window grows or shrinks by powers of two.
    """

    def __init__(self, journal: Journal, x: str, y: str) -> None:
        self._journal, self._names = journal, (x, y)
        # The same axes in either order are one plane.
        self._exchanged = x > y
        names = tuple(sorted(self._names))
        # Keys are α + iβ, values the bytes of q float64 numbers: far smaller than tuples and arrays.
        self._points: dict[complex, bytes] = {}
        self._new: dict[complex, bytes] = {}
        self._passes: dict[complex, tuple[str, int, bytes]] = {}
        self._new_passes: set[complex] = set()
        self._last_row = 0
        with journal.transaction() as db:
            db.execute("INSERT OR IGNORE INTO planes (x, y) VALUES (?, ?)", names)
            (self._number,) = db.execute("SELECT plane FROM planes WHERE x = ? AND y = ?", names).fetchone()
            self._read(db)
            for alpha, beta, *rest in db.execute(
                "SELECT alpha, beta, parting, num_terms, sums FROM passes WHERE plane = ?", (self._number,)
            ):
                self._passes[complex(alpha, beta)] = (rest[0], rest[1], rest[2])

    @property
    def num_points(self) -> int:
        """How many points are known."""
        return len(self._points)

    def exchanged(self) -> PlaneJournal:
        """The journal of the same plane with its axes exchanged, with all that was recorded here."""
        self.commit()
        return self._journal.plane(*reversed(self._names))

    def known(self, alphas: np.ndarray, betas: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Values at points.

        Parameters
        ----------
        alphas, betas
            Coordinates, shapes (p,).

        Returns
        -------
        values : numpy.ndarray
            Shape (p, q), float64; NaN where a point is not known.
        mask : numpy.ndarray
            Shape (p,): which points are known. A measured NaN is.
        """
        found = [self._points.get(key) for key in self._keys(alphas, betas)]
        return self._rows(found, np.nan), np.array([row is not None for row in found], dtype=bool)

    def record(self, alphas: np.ndarray, betas: np.ndarray, values: np.ndarray) -> None:
        """Take measured values, shape (p, q), at points, shapes (p,); NaN and inf are kept. A point that is known stays as it is.

        Only of passes over all of the data: values of a part of them are none of the problem's.
        """
        for key, row in zip(self._keys(alphas, betas), self._checked(values, len(alphas)), strict=True):
            if key not in self._points:
                self._points[key] = self._new[key] = row
                self._passes.pop(key, None)
                self._new_passes.discard(key)

    def passed(self, alphas: np.ndarray, betas: np.ndarray, parting: str) -> tuple[np.ndarray, np.ndarray]:
        """How far passes over the data have come.

        Parameters
        ----------
        alphas, betas
            Coordinates, shapes (p,).
        parting
            How the data are parted into terms. What was recorded with another parting does not count.

        Returns
        -------
        num_terms : numpy.ndarray
            Shape (p,): so many terms, from the first, are in the sums; 0 where nothing is known.
        sums : numpy.ndarray
            Shape (p, q), float64.
        """
        found = [self._passes.get(key) for key in self._keys(alphas, betas)]
        fitting = [entry if entry is not None and entry[0] == parting else None for entry in found]
        num_terms = np.array([0 if entry is None else entry[1] for entry in fitting], dtype=int)
        return num_terms, self._rows([None if entry is None else entry[2] for entry in fitting], 0.0)

    def record_passed(
        self, alphas: np.ndarray, betas: np.ndarray, sums: np.ndarray, num_terms: int, parting: str
    ) -> None:
        """Take the sums, shape (p, q), over the first terms of passes that go on: worth it where a pass takes longer than a second."""
        for key, row in zip(self._keys(alphas, betas), self._checked(sums, len(alphas)), strict=True):
            if key not in self._points:
                self._passes[key] = (parting, num_terms, row)
                self._new_passes.add(key)

    def commit(self) -> None:
        """Put what was recorded into the file, all or nothing, and learn what other processes have put there meanwhile.

        Where another was first with a point, its values count from now on. Without anything recorded nothing is done.
        """
        if not self._new and not self._new_passes:
            return
        with self._journal.transaction() as db:
            self._read(db)
            points = [(self._number, key.real, key.imag, row) for key, row in self._new.items()]
            db.executemany("INSERT OR IGNORE INTO points VALUES (?, ?, ?, ?)", points)
            passes = [(self._number, key.real, key.imag, *self._passes[key]) for key in self._new_passes]
            db.executemany("INSERT OR REPLACE INTO passes VALUES (?, ?, ?, ?, ?, ?)", passes)
            (last_row,) = db.execute("SELECT max(rowid) FROM points").fetchone()
        # Only now: after a failure all of it is there to be committed again.
        self._last_row = last_row or 0
        self._new.clear()
        self._new_passes.clear()

    def spans(self, window: str) -> tuple[float, float] | None:
        """Half-widths along the two axes that were found for a window; None where none were."""
        return self._along(f"spans {window}")  # type: ignore[return-value]

    def save_spans(self, window: str, spans: tuple[float, float]) -> tuple[float, float]:
        """Save half-widths; returns those that count from now on: of two processes the first one's."""
        return self._save_along(f"spans {window}", spans)  # type: ignore[return-value]

    def axis_curvature(self) -> tuple[float, float, float] | None:
        """d₁ᵀHd₁, d₁ᵀHd₂, d₂ᵀHd₂ as they were computed; None where they were not."""
        return self._along("axis curvature")  # type: ignore[return-value]

    def save_axis_curvature(self, curvature: tuple[float, float, float]) -> tuple[float, float, float]:
        """Save d₁ᵀHd₁, d₁ᵀHd₂, d₂ᵀHd₂; returns what counts from now on."""
        return self._save_along("axis curvature", curvature)  # type: ignore[return-value]

    def _along(self, name: str) -> tuple[float, ...] | None:
        """Numbers in the order of the axes."""
        numbers = self._journal.fact(f"plane {self._number} {name}")
        return None if numbers is None else tuple(reversed(numbers) if self._exchanged else numbers)

    def _save_along(self, name: str, numbers: Sequence[float]) -> tuple[float, ...]:
        ordered = [float(number) for number in (reversed(numbers) if self._exchanged else numbers)]
        self._journal.save_fact(f"plane {self._number} {name}", ordered)
        counted = self._along(name)
        assert counted is not None
        return counted

    def _read(self, db: sqlite3.Connection) -> None:
        """Learn the points that were put into the file since it was last read."""
        # With the plus the few new rows are searched, not the plane's index.
        rows = db.execute(
            "SELECT alpha, beta, quantities FROM points WHERE rowid > ? AND +plane = ?", (self._last_row, self._number)
        )
        self._points.update((complex(alpha, beta), row) for alpha, beta, row in rows)

    def _keys(self, alphas: np.ndarray, betas: np.ndarray) -> list[complex]:
        alphas, betas = np.asarray(alphas, dtype=float), np.asarray(betas, dtype=float)
        if alphas.ndim != 1 or alphas.shape != betas.shape:
            raise ValueError(
                f"expected as many alphas as betas, in one dimension each, got shapes {alphas.shape} and {betas.shape}"
            )
        if not (np.isfinite(alphas).all() and np.isfinite(betas).all()):
            raise ValueError("expected finite coordinates, got inf or NaN")
        keys = np.empty(len(alphas), dtype=complex)
        # −0 and 0 are equal as keys, here and in SQLite.
        keys.real, keys.imag = (betas, alphas) if self._exchanged else (alphas, betas)
        return keys.tolist()

    def _checked(self, values: np.ndarray, count: int) -> list[bytes]:
        """The rows of an array (p, q) as bytes."""
        values, expected = np.asarray(values, dtype="<f8"), (count, len(self._journal.quantities))
        if values.shape != expected:
            raise ValueError(f"expected values of shape (points, quantities) = {expected}, got {values.shape}")
        return [row.tobytes() for row in values]

    def _rows(self, found: list[bytes | None], missing: float) -> np.ndarray:
        """Bytes as rows of an array (p, q)."""
        count = len(self._journal.quantities)
        filler = np.full(count, missing, dtype="<f8").tobytes()
        joined = b"".join(filler if row is None else row for row in found)
        return np.frombuffer(joined, dtype="<f8").reshape(len(found), count).astype(float)


def fingerprint(
    problem: Problem, directions: Sequence[Direction] = (), *, k: int = 0, seed: int = 0
) -> dict[str, str | list[float]]:
    """What tells a problem and its axes from others, by the names that :class:`Journal` uses in a refusal.

    Parameters
    ----------
    problem
        Its parameters, data, precision and device, and its loss: by name, and by its values on a few samples at θ* and
        near it, which show another architecture or other buffers as well.
    directions
        Axes that are given, with their vectors.
    k
        Hessian eigenvectors that are found, per end of the spectrum; 0 for none.
    seed
        Of finding them.

    Returns
    -------
    dict
        Costs one reading of the data and no pass over them. However the samples are put together to batches: where
        that makes no difference to the loss it makes none here.
    """
    import torch

    axes = [f"Hessian eigenvectors, {k} per end, seed {seed}"] if k else []
    for direction in directions:
        vector = torch.as_tensor(direction.vector).detach().to(problem.point).reshape(-1)
        axes.append(_hash(vector))
    layout = repr([(name, tuple(s)) for name, s in zip(problem.parameter_names, problem.parameter_shapes, strict=True)])
    precision = str(problem.dtype).removeprefix("torch.")
    if (products := torch.get_float32_matmul_precision()) != "highest":
        precision += f" with {products} precision in products"
    return {
        "precision": precision,
        "device": problem.device.type,
        "model": problem.model_name,
        "loss": problem.loss_name,
        "parameters": _hash(problem.point, layout),
        "data": _data_hash(problem),
        "axes": " and ".join(axes),
        "losses on a few samples": _few_losses(problem),
    }


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


def _differing(stored: Fingerprint, given: Fingerprint) -> list[str]:
    """What differs, in words; of what is only a consequence of something else nothing is said."""
    names = [name for name in {**stored, **given} if not _equal(stored.get(name), given.get(name))]
    if "precision" in names:
        # All other numbers were read in it.
        names = ["precision"]
    exact = [name for name in names if isinstance(stored.get(name, given.get(name)), str)]
    return [_contrast(name, stored.get(name), given.get(name)) for name in exact or names]


def _equal(stored: Any, given: Any) -> bool:
    if isinstance(stored, str) or isinstance(given, str) or stored is None or given is None:
        return stored == given
    a, b = np.asarray(stored, dtype=float), np.asarray(given, dtype=float)
    scale = np.abs(a[np.isfinite(a)]).max(initial=0.0)
    # Relative to each number; one that is nearly nothing beside the others has their round-off.
    return a.shape == b.shape and np.allclose(b, a, rtol=_SAME, atol=_SAME**2 * scale, equal_nan=True)


def _contrast(name: str, stored: Any, given: Any) -> str:
    texts = [value for value in (stored, given) if isinstance(value, str) and not re.search("[0-9a-f]{32}", value)]
    return f"other {name}: {texts[0]} instead of {texts[1]}" if len(texts) == 2 else f"other {name}"


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


def _json(value: Any) -> str:
    # numpy's numbers are none of JSON's.
    return json.dumps(value, default=lambda number: number.item())


def _array(vector: Any) -> np.ndarray:
    """A direction's vector, a tensor on any device or an array, as an array (n,)."""
    vector = vector.detach().cpu() if hasattr(vector, "detach") else vector
    return np.ascontiguousarray(vector).reshape(-1)


def _hash(tensor: Tensor, told: str = "") -> str:
    found = hashlib.blake2b(told.encode(), digest_size=16)
    _update(found, tensor)
    return found.hexdigest()


def _update(found: Any, tensor: Tensor) -> None:
    from landscape_widget.engine.data import tensor_bytes

    for part in tensor.reshape(-1).split(_HASHED):
        found.update(tensor_bytes(part))


def _data_hash(problem: Problem) -> str:
    """A hash over all of the data: column by column where samples may be parted in any way, else batch by batch."""
    from landscape_widget.engine.data import digest

    columns: list[Any] = []
    for term in problem.terms():
        if not problem.parts_samples:
            columns = columns or [hashlib.blake2b(digest_size=16)]
            columns[0].update(digest(term.batch) + f"{term.coefficient:.6g}".encode())
            continue
        for i, tensor in enumerate(term.batch):
            if i == len(columns):
                form = repr((tuple(tensor.shape[1:]), tensor.dtype))
                columns.append(hashlib.blake2b(form.encode(), digest_size=16))
            _update(columns[i], tensor)
    return hashlib.blake2b(b"".join(column.digest() for column in columns), digest_size=16).hexdigest()


def _few_losses(problem: Problem) -> list[float]:
    """The mean loss of a few samples at θ* and at a point near it, always the same one."""
    import torch

    point = problem.point
    wave = torch.arange(point.numel(), dtype=torch.float64).sin().to(point)
    size = float(point.double().square().mean().sqrt()) or 1.0
    term = problem.head(next(problem.terms()), _SAMPLES)
    losses = []
    for theta in (point, point + _NEARBY * size * wave):
        # A loss may differentiate by itself.
        with torch.enable_grad(), problem.differentiable():
            # Its share of the whole depends on how the data are parted.
            losses.append(float(problem.term(theta, term).detach()) / term.coefficient)
    return losses
