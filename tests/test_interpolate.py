"""Prediction of unmeasured cells: exact where it claims to be, and holes stay where they are."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from landscape_widget.interpolate import (
    check_resolution,
    exponent,
    level_mask,
    midpoints,
    num_levels,
    predict,
    predict_all,
    strides,
)

COUNTS = [5, 9, 17, 33, 65]


def grid(shape: tuple[int, int]) -> tuple[np.ndarray, np.ndarray]:
    return np.meshgrid(np.linspace(-1, 1, shape[1]), np.linspace(-1, 1, shape[0]))


@pytest.mark.parametrize("k", range(1, 12))
def test_exponent(k: int) -> None:
    assert exponent(2**k + 1) == k


@pytest.mark.parametrize(
    ("count", "low", "high"),
    [(-3, 3, 5), (0, 3, 5), (1, 3, 5), (2, 3, 5), (4, 3, 5), (6, 5, 9), (64, 33, 65), (66, 65, 129)],
)
def test_other_counts_are_refused_with_the_nearest_two(count: int, low: int, high: int) -> None:
    with pytest.raises(ValueError, match=rf"2\^k \+ 1 .*, got {count}; the nearest are {low} and {high}$"):
        exponent(count)


@given(rows=st.sampled_from(COUNTS), columns=st.sampled_from(COUNTS), seed=st.integers(0, 100))
def test_bicubics_are_exact_up_to_the_borders(rows: int, columns: int, seed: int) -> None:
    """Every polynomial of degree three along each axis, from the coarsest level, on any rectangle."""
    shape = rows, columns
    x, y = grid(shape)
    coefficients = np.random.default_rng(seed).normal(size=(4, 4))
    z = np.polynomial.polynomial.polyval2d(x, y, coefficients)
    measured = level_mask(shape, 0)
    assert measured.sum() == min(rows, 5) * min(columns, 5)
    np.testing.assert_allclose(predict(np.where(measured, z, 1e9), measured), z, rtol=0, atol=1e-12 * np.abs(z).max())


@pytest.mark.parametrize("shape", [(5, 9), (9, 65), (65, 9), (3, 17), (129, 5)])
def test_rows_are_not_columns(shape: tuple[int, int]) -> None:
    x, y = grid(shape)
    measured = level_mask(shape, 0)
    np.testing.assert_allclose(predict(np.where(measured, x + 10 * y, 0), measured), x + 10 * y, atol=1e-12)


@given(rows=st.sampled_from(COUNTS), columns=st.sampled_from(COUNTS))
def test_levels_are_nested_and_end_with_every_cell(rows: int, columns: int) -> None:
    shape = rows, columns
    masks = [level_mask(shape, level) for level in range(num_levels(shape))]
    for coarse, fine in itertools.pairwise(masks):
        assert (fine | ~coarse).all()
        assert fine.sum() > coarse.sum()
    assert masks[-1].all()
    assert strides(shape, len(masks) - 1) == (1, 1)


@given(data=st.data())
def test_measured_cells_are_returned_as_they_are(data: st.DataObject) -> None:
    shape = data.draw(st.tuples(st.sampled_from(COUNTS[:3]), st.sampled_from(COUNTS[:3])))
    rng = np.random.default_rng(data.draw(st.integers(0, 1000)))
    values = rng.normal(size=shape)
    values[rng.random(shape) < 0.1] = rng.choice([np.nan, np.inf, -np.inf])
    measured = rng.random(shape) < data.draw(st.floats(0, 1))
    before = values.copy()
    np.testing.assert_array_equal(predict(values, measured)[measured], values[measured])
    np.testing.assert_array_equal(values, before)


@given(
    row=st.integers(0, 16),
    column=st.integers(0, 16),
    hole=st.sampled_from([np.nan, np.inf, -np.inf]),
    everything=st.booleans(),
)
def test_a_hole_does_not_spread(row: int, column: int, hole: float, everything: bool) -> None:
    """A measured cell that is not finite leaves only the cells between it and its neighbours unpredicted; the rest stays a plane."""
    shape = (33, 33)
    x, y = grid(shape)
    z = x + 10 * y
    measured = np.ones(shape, dtype=bool) if everything else level_mask(shape, 2)
    z_hole = z.copy()
    z_hole[2 * row, 2 * column] = hole
    filled = predict(z_hole, measured)
    rows, columns = np.indices(shape)
    near = (abs(rows - 2 * row) <= 1) & (abs(columns - 2 * column) <= 1)
    np.testing.assert_allclose(filled[~near], z[~near], atol=1e-12)
    assert not np.isfinite(filled[near & ~measured]).any()


@given(count=st.sampled_from(COUNTS), seed=st.integers(0, 100))
def test_a_line_is_a_grid_of_one_row(count: int, seed: int) -> None:
    """The same levels, and the same prediction, as each row of a grid that is the same along the other axis."""
    z = np.random.default_rng(seed).normal(size=(1, count))
    assert num_levels((1, count)) == num_levels((count, count))
    for level in range(num_levels((1, count))):
        row, column = strides((1, count), level)
        assert (row, column) == (1, strides((count, count), level)[1])
        measured = level_mask((1, count), level)
        np.testing.assert_array_equal(measured[0], level_mask((count, count), level)[0])
        many = np.repeat(measured, count, axis=0)
        expected = predict(np.repeat(z, count, axis=0), many)
        np.testing.assert_array_equal(predict(z, measured)[0], expected[0])
        np.testing.assert_array_equal(predict(z.T, measured.T)[:, 0], expected[0])


@pytest.mark.parametrize("count", [1, 2])
def test_what_is_to_be_measured_has_three_points_along_an_axis(count: int) -> None:
    with pytest.raises(ValueError, match=rf"got {count}; the nearest are 3 and 5$"):
        check_resolution(count)


def test_what_is_not_yet_known_is_nan() -> None:
    assert np.isnan(predict(np.zeros((9, 9)), np.zeros((9, 9), dtype=bool))).all()
    corner = np.zeros((9, 9), dtype=bool)
    corner[0, 0] = True
    assert np.isfinite(predict(np.zeros((9, 9)), corner)).sum() == 1


def test_huge_losses_do_not_overflow() -> None:
    huge = np.full((5, 3), 1.7e308)
    np.testing.assert_array_equal(midpoints(huge), huge[:-1])


def test_error_falls_by_sixteen_from_level_to_level() -> None:
    """Fourth order: the local error of a smooth function."""
    shape = (129, 129)
    x, y = grid(shape)
    z = np.sin(2 * x + y) * np.exp(y)
    errors = [np.abs(predict(z, level_mask(shape, level)) - z).max() for level in (1, 2, 3, 4)]
    ratios = np.array(errors[:-1]) / np.array(errors[1:])
    assert (ratios > 10).all()


def test_details_are_what_the_coarser_levels_miss() -> None:
    """The prediction of each level by the coarser ones, also where cells are measured; nothing predicts the coarsest."""
    z = np.random.default_rng(0).normal(size=(17, 33))
    everything = np.ones(z.shape, dtype=bool)
    surface, expected = predict_all(z, everything)
    np.testing.assert_array_equal(surface, z)
    assert np.isnan(expected[level_mask((17, 33), 0)]).all()
    # Columns that are new in the last level are predicted from the full columns beside them.
    np.testing.assert_allclose(expected[:, 1::2], midpoints(z[:, ::2].T).T)
    partly = level_mask((17, 33), 1)
    filled, same = predict_all(z, partly)
    np.testing.assert_array_equal(filled, predict(z, partly))
    np.testing.assert_array_equal(same[~partly], filled[~partly])
