"""A dyadic grid: which cells are known, which to measure next (ask/tell). Pure numpy: deciding is apart from measuring."""

from __future__ import annotations

import numpy as np

from landscape_widget.interpolate import exponent, level_mask, num_levels, predict

# Levels below this one (17 × 17) are always measured in full: a coarser grid says nothing about what it misses.
_FIRST_TRUSTED_LEVEL = 2
# Fresh cells that prove "95 % confidence, at least 98 % of the cells": 0.98^149 < 0.05 (Clopper & Pearson 1934).
NUM_CHECKED = 149


class Grid:
    """Cells of a (rows, columns) = (β, α) grid, coarse to fine, each measured once.

    ``ask`` names the next cells, ``tell`` takes their losses. When a level from 17 × 17 on was predicted by the
    coarser ones to within ``tolerance`` of the range seen, the refinement stops and 149 cells drawn at random from
    the rest check the prediction; if one misses, it goes on.

    Parameters
    ----------
    shape
        (rows, columns), each 2^k + 1.
    tolerance
        Relative to the range of the finite losses; 0 measures every cell.
    seed
        Of the draw of checked cells.
    """

    def __init__(self, shape: tuple[int, int], *, tolerance: float, seed: int) -> None:
        for count in shape:
            exponent(count)
        self.shape, self.tolerance, self.seed = shape, tolerance, seed
        self.values = np.full(shape, np.nan)
        self.measured = np.zeros(shape, dtype=bool)
        self.level = 0
        """The level being measured."""
        self.largest_miss: float | None = None
        """Largest |measured − predicted| among the cells new in the last full level."""
        self.bound: float | None = None
        """Largest miss among the checked cells, once the check has passed; 0 for a full grid."""
        self.num_checked = 0
        # What ask() gave last, until tell() changes it.
        self._asked: np.ndarray | None = None
        self._checking: np.ndarray | None = None
        self._expected: np.ndarray | None = None

    def ask(self) -> np.ndarray:
        """Cells to measure next, shape (m, 2): rows of (row, column), from the centre outwards; empty when the grid is done."""
        if self._asked is None:
            self._asked = np.empty((0, 2), dtype=int)
            while self.bound is None and not len(self._asked):
                self._asked = self._wanted()
                if not len(self._asked):
                    self._close()
        return self._asked

    def tell(self, cells: np.ndarray, losses: np.ndarray) -> None:
        """The losses of some cells, shapes (m, 2) and (m,); NaN and inf are kept."""
        rows, columns = np.asarray(cells).T
        self.values[rows, columns] = losses
        self.measured[rows, columns] = True
        self._asked = None

    @property
    def done(self) -> bool:
        """Whether nothing is left to measure."""
        return len(self.ask()) == 0

    @property
    def range(self) -> float:
        """Largest minus smallest finite loss."""
        finite = self.values[self.measured & np.isfinite(self.values)]
        return float(finite.max() - finite.min()) if finite.size else 0.0

    def refined(self, shape: tuple[int, int]) -> Grid:
        """A grid of another shape that knows every cell the two have in common."""
        other = Grid(shape, tolerance=self.tolerance, seed=self.seed)
        mine, theirs = zip(*(_common(a, b) for a, b in zip(self.shape, shape, strict=True)), strict=True)
        other.values[theirs], other.measured[theirs] = self.values[mine], self.measured[mine]
        return other

    def absorb(self, other: Grid) -> None:
        """Take over the cells that ``other`` has measured and this grid has too."""
        if other is self:
            return
        common = other.refined(self.shape)
        new = common.measured & ~self.measured
        self.values[new], self.measured[new] = common.values[new], True
        self._asked = None

    def transposed(self) -> Grid:
        """The same grid with its axes exchanged: its cells, how far it is, and what the check has shown."""
        rows, columns = self.shape
        other = Grid((columns, rows), tolerance=self.tolerance, seed=self.seed)
        other.values, other.measured = self.values.T.copy(), self.measured.T.copy()
        other.level, other.largest_miss = self.level, self.largest_miss
        other.bound, other.num_checked = self.bound, self.num_checked
        if self._checking is not None and self._expected is not None:
            other._checking, other._expected = self._checking.T.copy(), self._expected.T.copy()
        return other

    def _wanted(self) -> np.ndarray:
        mask = level_mask(self.shape, self.level) if self._checking is None else self._checking
        cells = np.argwhere(mask & ~self.measured)
        middle = (np.array(self.shape) - 1) / 2
        distance = np.abs((cells - middle) / middle).max(axis=1) if len(cells) else np.empty(0)
        return cells[np.argsort(distance, kind="stable")]

    def _close(self) -> None:
        """The wanted cells are all measured: judge them and decide what is next."""
        if self._checking is not None:
            assert self._expected is not None
            miss = _largest_miss(self.values, self._expected, self._checking)
            passed = miss <= self._allowed
            self.bound, self.num_checked = (miss, int(self._checking.sum())) if passed else (None, 0)
            self._checking = self._expected = None
            self.level += 0 if passed else 1
            return
        if self.level > 0:
            coarser = level_mask(self.shape, self.level - 1)
            new = level_mask(self.shape, self.level) & ~coarser
            self.largest_miss = _largest_miss(self.values, predict(self.values, coarser & self.measured), new)
        if self.measured.all():
            self.bound = 0.0
        elif self._trusted():
            self._start_check()
        else:
            self.level = min(self.level + 1, num_levels(self.shape) - 1)

    @property
    def _allowed(self) -> float:
        """The tolerance as a loss difference; on a plateau the round-off of a prediction."""
        largest = np.abs(self.values[self.measured & np.isfinite(self.values)]).max(initial=0.0)
        return max(self.tolerance * self.range, float(8 * np.finfo(float).eps * largest))

    def _trusted(self) -> bool:
        return (
            self.tolerance > 0
            and self.level >= _FIRST_TRUSTED_LEVEL
            and self.largest_miss is not None
            and self.largest_miss <= self._allowed
            and int((~self.measured).sum()) > NUM_CHECKED
        )

    def _start_check(self) -> None:
        rng = np.random.default_rng(self.seed)
        unmeasured = np.flatnonzero(~self.measured)
        self._expected = predict(self.values, self.measured)
        self._checking = np.zeros(self.shape, dtype=bool)
        self._checking.flat[rng.choice(unmeasured, NUM_CHECKED, replace=False)] = True


def _largest_miss(values: np.ndarray, expected: np.ndarray, mask: np.ndarray) -> float:
    """Largest |measured − predicted| over a mask; inf where a hole was not foreseen or a finite value was not predicted."""
    measured, predicted = values[mask], expected[mask]
    if not measured.size:
        return 0.0
    finite = np.isfinite(measured)
    if not np.array_equal(finite, np.isfinite(predicted)):
        return float("inf")
    return float(np.abs(measured[finite] - predicted[finite]).max(initial=0.0))


def _common(mine: int, theirs: int) -> tuple[slice, slice]:
    """The points two dyadic axes share, as slices of each."""
    if mine >= theirs:
        return slice(None, None, (mine - 1) // (theirs - 1)), slice(None)
    return slice(None), slice(None, None, (theirs - 1) // (mine - 1))
