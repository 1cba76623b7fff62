"""What a survey has found, on disk as it comes (SQLite): after a crash nothing that was committed is measured again."""

from __future__ import annotations

import copy
import dataclasses
import json
import os
import sqlite3
from collections.abc import Iterable, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Any, Self

import numpy as np

from landscape_widget.engine.database import Database, checked_path
from landscape_widget.engine.fingerprint import Fingerprint, differing, fingerprint
from landscape_widget.landscape import Curvature, Direction

__all__ = ["Axes", "Journal", "PlaneJournal", "checked_path", "fingerprint"]

# Bytes of a vector in one row: SQLite's rows end at 10⁹.
_PART = 2**26
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
        self._file = Database(self.path, _TABLES)
        try:
            self._know({"quantities": ", ".join(self.quantities), **fingerprint})
        except BaseException:
            self._file.close()
            raise

    def plane(self, x: str, y: str) -> PlaneJournal:
        """The journal of the plane of two axes, by their names. With the names exchanged it has the same points, read the other way."""
        first, second = sorted((x, y))
        if (first, second) not in self._planes:
            self._planes[first, second] = PlaneJournal(self, first, second)
        plane = self._planes[first, second]
        return plane if x == first else plane.exchanged()

    def fact(self, name: str) -> Any:
        """What was saved under a name, as JSON gives it back; None where nothing was."""
        found = self._file.rows("SELECT value FROM facts WHERE name = ?", (name,))
        return json.loads(found[0][0]) if found else None

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
            self._file.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def transaction(self) -> AbstractContextManager[sqlite3.Connection]:
        """All of what is written inside, or after an exception nothing."""
        return self._file.transaction()

    def _know(self, fingerprint: Fingerprint) -> None:
        """See that it is the journal of this, or make it that."""
        with self.transaction() as db:
            stored = {name: json.loads(value) for name, value in db.execute("SELECT name, value FROM fingerprint")}
            if not stored:
                db.executemany("INSERT INTO fingerprint VALUES (?, ?)", [(k, _json(v)) for k, v in fingerprint.items()])
            elif others := differing(stored, fingerprint):
                raise ValueError(
                    f"expected the journal of this survey, got {self.path}, which is of another one "
                    f"({', '.join(others)}); give another path, or remove it to begin anew"
                )
            # Passes that have come to their end; and a file that cannot be written is known by it.
            db.execute("DELETE FROM passes WHERE (plane, alpha, beta) IN (SELECT plane, alpha, beta FROM points)")

    def _vector(self, name: str, dtype: str, size: int) -> np.ndarray:
        vector = np.empty(size, np.dtype(dtype))
        entries, filled = vector.view(np.uint8), 0
        # A part at a time: no second copy of a large vector.
        while filled < len(entries):
            ((part,),) = self._file.rows("SELECT entries FROM vectors WHERE name = ? AND part = ?", (name, filled))
            entries[filled : filled + len(part)] = np.frombuffer(part, np.uint8)
            filled += len(part)
        return vector


class PlaneJournal:
    """What is known of one plane: values at points (α, β), passes half-done, the window. Made by :meth:`Journal.plane`.

    A point is known by its coordinates, bit for bit. On dyadic grids the same cell has the same ones at every
    resolution, and when the window grows or shrinks by powers of two.
    """

    def __init__(self, journal: Journal, x: str, y: str) -> None:
        self._journal, self._exchanged = journal, False
        # Keys are α + iβ, values the bytes of q float64 numbers: far smaller than tuples and arrays.
        self._points: dict[complex, bytes] = {}
        self._new: dict[complex, bytes] = {}
        self._passes: dict[complex, tuple[str, int, bytes]] = {}
        self._new_passes: set[complex] = set()
        self._last_row = 0
        with journal.transaction() as db:
            db.execute("INSERT OR IGNORE INTO planes (x, y) VALUES (?, ?)", (x, y))
            (self._number,) = db.execute("SELECT plane FROM planes WHERE x = ? AND y = ?", (x, y)).fetchone()
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
        """The same journal, read and written with the axes exchanged: what one of the two takes, both know."""
        other = copy.copy(self)
        other._exchanged = not self._exchanged
        return other

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


def _json(value: Any) -> str:
    # numpy's numbers are none of JSON's.
    return json.dumps(value, default=lambda number: number.item())


def _array(vector: Any) -> np.ndarray:
    """A direction's vector, a tensor on any device or an array, as an array (n,)."""
    vector = vector.detach().cpu() if hasattr(vector, "detach") else vector
    return np.ascontiguousarray(vector).reshape(-1)
