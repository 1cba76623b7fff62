"""The grid asks for each cell once, coarse to fine, and what it says of its error is true."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from landscape_widget.engine.grid import NUM_CHECKED, Grid
from landscape_widget.interpolate import predict

COUNTS = [3, 5, 9, 17, 33]


def measure(grid: Grid, z: np.ndarray, *, chunk: int | None = None) -> list[tuple[int, int]]:
    """Answer until the grid is done; the cells in the order in which they were asked."""
    asked = []
    while len(cells := grid.ask()):
        cells = cells[:chunk]
        asked += [tuple(cell) for cell in cells.tolist()]
        grid.tell(cells, z[cells[:, 0], cells[:, 1]])
    return asked


def smooth(seed: int, count: int = 65) -> np.ndarray:
    """A sum of random waves of moderate length on a bowl or a saddle."""
    rng = np.random.default_rng(seed)
    x, y = np.meshgrid(np.linspace(-1, 1, count), np.linspace(-1, 1, count))
    z = rng.normal() * x**2 + rng.normal() * y**2
    for _ in range(4):
        kx, ky = rng.normal(size=2) * 2
        z += rng.normal() * np.sin(kx * x + ky * y + rng.uniform(0, 7))
    return z


@given(
    rows=st.sampled_from(COUNTS),
    columns=st.sampled_from(COUNTS),
    tolerance=st.sampled_from([0.0, 1e-3, 0.5]),
    chunk=st.none() | st.integers(1, 40),
    rough=st.booleans(),
    seed=st.integers(0, 50),
)
def test_every_cell_is_asked_at_most_once(
    rows: int, columns: int, tolerance: float, chunk: int | None, rough: bool, seed: int
) -> None:
    """However many are answered at a time, whatever the losses: holes, too."""
    rng = np.random.default_rng(seed)
    z = rng.normal(size=(rows, columns))
    if not rough:
        z = np.add.outer(np.linspace(-1, 1, rows) ** 2, np.linspace(-1, 1, columns))
    z[rng.random(z.shape) < 0.05 * rough] = rng.choice([np.nan, np.inf])
    grid = Grid((rows, columns), tolerance=tolerance, seed=seed)
    asked = measure(grid, z, chunk=chunk)
    assert len(asked) == len(set(asked)) == int(grid.measured.sum())
    assert grid.done
    assert grid.bound is not None
    np.testing.assert_array_equal(grid.values[grid.measured], z[grid.measured])
    if tolerance == 0:
        assert grid.measured.all()


def test_first_cells_are_a_coarse_grid_from_the_centre_outwards() -> None:
    asked = measure(Grid((33, 17), tolerance=0, seed=0), np.zeros((33, 17)))
    assert asked[0] == (16, 8)
    assert set(asked[:25]) == {(r, c) for r in range(0, 33, 8) for c in range(0, 17, 4)}


def test_answers_may_come_in_any_order_and_number() -> None:
    z = smooth(3, 33)
    one, other = Grid((33, 33), tolerance=1e-3, seed=0), Grid((33, 33), tolerance=1e-3, seed=0)
    measure(one, z)
    rng = np.random.default_rng(0)
    while len(cells := other.ask()):
        some = cells[rng.permutation(len(cells))[: rng.integers(1, len(cells) + 1)]]
        other.tell(some, z[some[:, 0], some[:, 1]])
    np.testing.assert_array_equal(one.measured, other.measured)
    assert one.bound == other.bound


def test_the_bound_is_true_on_smooth_surfaces() -> None:
    """At least 98 % of the cells within the bound, in at least 95 % of the surfaces, with most cells not measured."""
    held, measured = [], []
    for seed in range(200):
        z = smooth(seed)
        grid = Grid(z.shape, tolerance=1e-3, seed=seed)
        measure(grid, z)
        error = np.abs(predict(grid.values, grid.measured) - z)
        assert grid.bound is not None
        held.append(float((error <= grid.bound + 1e-15).mean()) >= 0.98)
        measured.append(grid.measured.mean())
        if not grid.measured.all():
            assert grid.num_checked == NUM_CHECKED
            assert grid.bound <= 1e-3 * grid.range
    assert np.mean(held) >= 0.95
    assert np.mean(measured) < 0.35


def test_prediction_misses_are_what_is_told() -> None:
    """``largest_miss``: of the last full level, predicted by the coarser ones, against what was then measured."""
    z = smooth(1, 33)
    grid = Grid(z.shape, tolerance=0, seed=0)
    measure(grid, z)
    half = np.zeros(z.shape, dtype=bool)
    half[::2, ::2] = True
    assert grid.largest_miss == pytest.approx(np.abs(predict(z, half) - z).max(), rel=1e-12)
    assert grid.bound == 0.0


@pytest.mark.parametrize(
    "function",
    [
        lambda x, y: np.sin(40 * x) * np.cos(37 * y),
        lambda x, y: np.random.default_rng(0).normal(size=x.shape),
        lambda x, y: (x > 0.01).astype(float),
    ],
    ids=["waves", "noise", "cliff"],
)
def test_a_rugged_surface_is_measured_to_the_last_cell(
    function: Callable[[np.ndarray, np.ndarray], np.ndarray],
) -> None:
    z = function(*np.meshgrid(np.linspace(-1, 1, 65), np.linspace(-1, 1, 65)))
    grid = Grid(z.shape, tolerance=1e-3, seed=0)
    measure(grid, z)
    assert grid.measured.all()
    assert grid.bound == 0.0


@pytest.mark.parametrize("value", [0.0, 3.0, -1e30])
def test_a_constant_surface_finishes_early(value: float) -> None:
    z = np.full((129, 129), value)
    grid = Grid(z.shape, tolerance=1e-3, seed=0)
    asked = measure(grid, z)
    assert len(asked) == 17 * 17 + NUM_CHECKED
    assert grid.bound == pytest.approx(0.0, abs=1e-15 * abs(value))
    assert grid.range == 0.0


def test_a_needle_that_no_level_saw_is_found_where_the_check_falls_on_it() -> None:
    """The check draws fresh cells: a patch of 5 % of the cells is missed in about 0.05 % of draws."""
    z = np.zeros((65, 65))
    z[33:48, 33:48] = 1.0
    z[::4, ::4] = 0.0  # invisible up to the level that is trusted
    grid = Grid(z.shape, tolerance=1e-3, seed=0)
    measure(grid, z)
    assert grid.measured.sum() > 17 * 17 + NUM_CHECKED
    assert np.abs(predict(grid.values, grid.measured) - z).max() <= (grid.bound or 0.0)


def test_surfaces_of_nothing_but_holes_are_measured_and_end() -> None:
    grid = Grid((17, 17), tolerance=1e-3, seed=0)
    measure(grid, np.full((17, 17), np.nan))
    assert grid.measured.all()
    assert grid.range == 0.0


@given(
    before=st.tuples(st.sampled_from(COUNTS), st.sampled_from(COUNTS)),
    after=st.tuples(st.sampled_from(COUNTS), st.sampled_from(COUNTS)),
    cut=st.integers(0, 400),
    tolerance=st.sampled_from([0.0, 1e-2]),
)
def test_cells_are_reused_between_resolutions(
    before: tuple[int, int], after: tuple[int, int], cut: int, tolerance: float
) -> None:
    """Also when left half-way: no cell that both grids have is asked again, and all keep their coordinates."""

    def z(shape: tuple[int, int]) -> np.ndarray:
        return np.add.outer(10 * np.linspace(-1, 1, shape[0]), np.linspace(-1, 1, shape[1]) ** 3)

    def places(cells: list[tuple[int, int]], shape: tuple[int, int]) -> set[tuple[float, float]]:
        return {(r / (shape[0] - 1), c / (shape[1] - 1)) for r, c in cells}

    first = Grid(before, tolerance=tolerance, seed=0)
    asked = []
    while len(asked) < cut and len(cells := first.ask()):
        cells = cells[: cut - len(asked)]
        asked += [tuple(cell) for cell in cells.tolist()]
        first.tell(cells, z(before)[cells[:, 0], cells[:, 1]])
    second = first.refined(after)
    np.testing.assert_allclose(second.values[second.measured], z(after)[second.measured], rtol=1e-12, atol=1e-12)
    more = measure(second, z(after))
    assert not places(asked, before) & places(more, after)
    # Back again: what the other resolution has measured is taken over.
    first.absorb(second)
    np.testing.assert_allclose(first.values[first.measured], z(before)[first.measured], rtol=1e-12, atol=1e-12)
    last = measure(first, z(before))
    assert not places(last, before) & (places(more, after) | places(asked, before))


def test_other_shapes_are_refused() -> None:
    with pytest.raises(ValueError, match="the nearest are 9 and 17"):
        Grid((9, 12), tolerance=0, seed=0)
