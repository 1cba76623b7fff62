"""Prediction of unmeasured cells, level by level, by interpolating subdivision; numpy only.

A grid of 2^k+1 points holds coarser grids of 2^j+1 points (an axis of one point makes it a line, and holds no coarser
one). Each level predicts the points that are new in the next one by the four-point rule of Deslauriers & Dubuc (1989),
which reproduces cubics; where a cell is measured, measured minus predicted (the *detail coefficient*) is the local
error of the prediction.
"""

from __future__ import annotations

from numbers import Integral

import numpy as np

LARGEST_RESOLUTION = 2**12 + 1
"""Finest grid that is measured, along an axis: more cells than a screen has pixels, and 100 MB an array."""

# Weights of the points at −3, −1, 1, 3 half-steps: inside, and at the ends, where the cubic through the four nearest
# points is taken.
_INSIDE = np.array([-1.0, 9.0, 9.0, -1.0]) / 16.0
_END = np.array([5.0, 15.0, -5.0, 1.0]) / 16.0


def exponent(count: int) -> int:
    """K of a count 2^k + 1.

    Raises
    ------
    TypeError
        For what is no integer.
    ValueError
        For any other count; the message names the nearest two.
    """
    if isinstance(count, bool) or not isinstance(count, Integral):
        raise TypeError(f"expected a resolution as an integer 2^k + 1 (5, 9, 17, 33, 65, ...), got {count!r}")
    k = (int(count) - 1).bit_length() - 1 if count > 1 else 0
    if count != 2**k + 1 or count < 3:
        low = max(1, k)
        raise ValueError(
            f"expected a resolution of the form 2^k + 1 (5, 9, 17, 33, 65, ...), got {count}; "
            f"the nearest are {2**low + 1} and {2 ** (low + 1) + 1}"
        )
    return k


def check_resolution(count: int) -> None:
    """Refuse a number of points along an axis that cannot be measured.

    Raises
    ------
    TypeError, ValueError
        As of :func:`exponent`, and for more than 2¹² + 1.
    """
    exponent(count)
    if count > LARGEST_RESOLUTION:
        raise ValueError(
            f"expected a resolution of at most {LARGEST_RESOLUTION:,} points along an axis (2^12 + 1), got {count:,}; "
            "a smaller span shows finer detail"
        )


def num_levels(shape: tuple[int, int], coarsest: int = 2) -> int:
    """Number of levels of a grid whose coarsest has at most 2^coarsest + 1 points along each axis."""
    return max(1, max(_halvings(count) for count in shape) - coarsest + 1)


def strides(shape: tuple[int, int], level: int, coarsest: int = 2) -> tuple[int, int]:
    """Distance of neighbouring points of a level along each axis, in cells of the full grid."""
    row, column = (2 ** max(0, _halvings(count) - coarsest - level) for count in shape)
    return row, column


def _halvings(count: int) -> int:
    """How often the steps between so many points can be made twice as long; an axis of one point has none."""
    return 0 if count == 1 else exponent(count)


def level_mask(shape: tuple[int, int], level: int) -> np.ndarray:
    """Which cells belong to a level (all coarser ones included), bool, shape ``shape``."""
    row, column = strides(shape, level)
    mask = np.zeros(shape, dtype=bool)
    mask[::row, ::column] = True
    return mask


def predict(values: np.ndarray, measured: np.ndarray) -> np.ndarray:
    """The full grid: measured values where measured, predictions elsewhere, NaN where nothing can be said.

    A hole (measured, not finite) does not spread: next to one the prediction falls back to the mean of the two
    nearest points, and between a hole and a finite point nothing is predicted.

    Parameters
    ----------
    values, measured
        Shapes (b, a) with b and a of the form 2^k + 1, or 1.

    Returns
    -------
    numpy.ndarray
        Shape (b, a), float64.
    """
    # Of what is measured nothing is predicted, whatever the numbers of points.
    return np.array(values, dtype=float) if measured.all() else predict_all(values, measured)[0]


def predict_all(values: np.ndarray, measured: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The full grid as of :func:`predict`, and what was predicted for every cell, the measured ones too.

    Where a cell is measured, measured minus predicted is its detail coefficient. Nothing predicts the coarsest level:
    NaN there.

    Returns
    -------
    tuple of numpy.ndarray
        Two arrays of shape (b, a), float64.
    """
    full = np.where(measured, values, np.nan)
    expected = np.full(full.shape, np.nan)
    shape = (values.shape[0], values.shape[1])
    row, column = strides(shape, 0)
    for level in range(1, num_levels(shape)):
        finer_row, finer_column = strides(shape, level)
        # Rows first on the old columns, then columns on all rows: the tensor product of the one-dimensional rule.
        if finer_row < row:
            part = np.s_[::finer_row, ::column]
            _fill(full[part], expected[part], measured[part])
        if finer_column < column:
            part = np.s_[::finer_row, ::finer_column]
            _fill(full[part].T, expected[part].T, measured[part].T)
        row, column = finer_row, finer_column
    return full, expected


def _fill(values: np.ndarray, expected: np.ndarray, measured: np.ndarray) -> None:
    """Predict the odd rows of ``values`` from the even ones, in place; those that are measured stay."""
    expected[1::2] = midpoints(values[::2])
    values[1::2] = np.where(measured[1::2], values[1::2], expected[1::2])


def midpoints(known: np.ndarray) -> np.ndarray:
    """Values half-way between neighbouring rows, shape (m, …) → (m − 1, …)."""
    left, right = known[:-1], known[1:]
    # Losses near the largest float may overflow in the cubic; the mean of two does not.
    with np.errstate(invalid="ignore", over="ignore"):
        linear = 0.5 * left + 0.5 * right
        linear[~(np.isfinite(left) & np.isfinite(right))] = np.nan
        if len(known) < 4:
            return linear
        cubic = np.empty_like(linear)
        cubic[1:-1] = _combine(_INSIDE, known[:-3], known[1:-2], known[2:-1], known[3:])
        cubic[0] = _combine(_END, *known[:4])
        cubic[-1] = _combine(_END, *known[:-5:-1])
    return np.where(np.isfinite(cubic) & np.isfinite(linear), cubic, linear)


def _combine(weights: np.ndarray, *rows: np.ndarray) -> np.ndarray:
    return sum((w * r for w, r in zip(weights, rows, strict=True)), np.zeros_like(rows[0]))
