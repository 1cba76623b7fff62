"""Critical points of surfaces where they are known."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from landscape_widget.engine.critical import slice_critical_points
from landscape_widget.landscape import CriticalPoint

Surface = Callable[[np.ndarray, np.ndarray], np.ndarray]


def find(
    function: Surface,
    *,
    columns: int = 33,
    rows: int = 33,
    span: tuple[float, float] = (1.0, 1.0),
    threshold: float = 0.0,
) -> tuple[CriticalPoint, ...]:
    alphas, betas = np.linspace(-1, 1, columns) * span[0], np.linspace(-1, 1, rows) * span[1]
    return slice_critical_points(function(*np.meshgrid(alphas, betas)), alphas, betas, threshold=threshold)


@pytest.mark.parametrize(
    ("kind", "function"),
    [
        ("minimum", lambda x, y: x**2 + y**2),
        ("minimum", lambda x, y: x**2 + 0.1 * y**2 + x * y * 0.3),
        ("maximum", lambda x, y: -(x**2) - 2 * y**2),
        ("saddle", lambda x, y: x**2 - y**2),
        ("saddle", lambda x, y: y**2 - x**2),
        ("saddle", lambda x, y: x * y),
        ("saddle", lambda x, y: -x * y),
        ("saddle", lambda x, y: x**2 - y**2 + y**4 + 0.3 * x * y),
        ("monkey saddle", lambda x, y: x**3 - 3 * x * y**2),
    ],
)
@pytest.mark.parametrize("shape", [(33, 33), (9, 65), (5, 9)])
def test_one_point_at_the_centre(kind: str, function: Surface, shape: tuple[int, int]) -> None:
    found = [p for p in find(function, rows=shape[0], columns=shape[1]) if (p.alpha, p.beta) == (0, 0)]
    assert [p.kind for p in found] == [kind]
    assert found[0].loss == 0
    assert (found[0].row, found[0].column) == (shape[0] // 2, shape[1] // 2)


@pytest.mark.parametrize(
    "function", [lambda x, y: x + 2 * y, lambda x, y: 0 * x, lambda x, y: np.exp(x) + y, lambda x, y: np.floor(2 * x)]
)
def test_slopes_and_plateaus_have_none(function: Surface) -> None:
    assert find(function) == ()


def test_coordinates_are_alpha_along_columns() -> None:
    (point,) = find(lambda x, y: (x - 1) ** 2 + (y + 6) ** 2, rows=17, columns=9, span=(4.0, 8.0))
    assert (point.alpha, point.beta) == (1.0, -6.0)
    assert (point.column, point.row) == (5, 2)


def four_wells(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """(x² − 1)² + (y² − 1)²: 4 minima at (±1, ±1), a maximum at 0, 4 saddles at (±1, 0) and (0, ±1)."""
    return (x**2 - 1) ** 2 + (y**2 - 1) ** 2


def test_four_wells() -> None:
    found = find(four_wells, rows=65, columns=65, span=(2.0, 2.0))
    places = {
        kind: sorted((p.alpha, p.beta) for p in found if p.kind == kind) for kind in ("minimum", "saddle", "maximum")
    }
    assert places["minimum"] == [(-1, -1), (-1, 1), (1, -1), (1, 1)]
    assert places["saddle"] == [(-1, 0), (0, -1), (0, 1), (1, 0)]
    assert places["maximum"] == [(0, 0)]
    # Wells are all 1 deep below the saddles between them; the global minimum is paired with nothing.
    depths = [p.persistence for p in found if p.kind == "minimum"]
    assert depths.count(None) == 1
    assert [d for d in depths if d is not None] == pytest.approx([1, 1, 1])


def test_two_wells_of_different_depth() -> None:
    """The shallower well is as persistent as it is deep; the deeper one is the global minimum."""
    found = find(lambda x, y: (x**2 - 1) ** 2 + 0.2 * x + y**2, rows=65, columns=129, span=(2.0, 2.0))
    assert Counter(p.kind for p in found) == {"minimum": 2, "saddle": 1}
    shallow = next(p for p in found if p.kind == "minimum" and p.persistence is not None)
    saddle = next(p for p in found if p.kind == "saddle")
    assert shallow.alpha > 0
    assert shallow.persistence == pytest.approx(saddle.loss - shallow.loss)
    assert saddle.persistence == pytest.approx(shallow.persistence)


@given(seed=st.integers(0, 300), rows=st.integers(4, 14), columns=st.integers(4, 14))
def test_indices_add_up_to_the_euler_number(seed: int, rows: int, columns: int) -> None:
    """On a disc whose rim is higher than all inside: minima − saddles + maxima = 1, a monkey saddle counting twice (Morse)."""
    rng = np.random.default_rng(seed)
    # Ties, too: a few different heights only.
    z = rng.normal(size=(rows, columns)) if seed % 2 else rng.integers(0, 3, (rows, columns)).astype(float)
    rim = np.ones_like(z, dtype=bool)
    rim[1:-1, 1:-1] = False
    # The rim rises all the way round once, so that it is one basin's wall and has no extremum inside.
    z[rim] = 10.0
    found = Counter(p.kind for p in slice_critical_points(z, np.arange(columns) * 1.0, np.arange(rows) * 1.0))
    inside = found["minimum"] - found["saddle"] - 2 * found["monkey saddle"] + found["maximum"]
    assert inside == 1


@given(seed=st.integers(0, 100))
def test_turning_the_surface_over_exchanges_minima_and_maxima(seed: int) -> None:
    z = np.random.default_rng(seed).normal(size=(9, 12))
    alphas, betas = np.arange(12) * 1.0, np.arange(9) * 1.0
    turned = {"minimum": "maximum", "maximum": "minimum", "saddle": "saddle", "monkey saddle": "monkey saddle"}
    up = {(turned[p.kind], p.row, p.column, p.persistence) for p in slice_critical_points(z, alphas, betas)}
    down = {(p.kind, p.row, p.column, p.persistence) for p in slice_critical_points(-z, alphas, betas)}
    # One difference: which extremum is the global one. All saddles agree.
    assert {u[:3] for u in up} == {d[:3] for d in down}
    assert {u for u in up if u[0] == "saddle"} == {d for d in down if d[0] == "saddle"}


def test_noise_is_left_out_by_the_threshold() -> None:
    rng = np.random.default_rng(0)

    def noisy(x: np.ndarray, y: np.ndarray) -> np.ndarray:
        return four_wells(x, y) + 2e-2 * rng.uniform(-1, 1, x.shape)

    assert len(find(noisy, rows=65, columns=65, span=(1.8, 1.8))) > 20
    found = find(noisy, rows=65, columns=65, span=(1.8, 1.8), threshold=0.1)
    assert Counter(p.kind for p in found) == {"minimum": 4, "saddle": 4, "maximum": 1}
    for p in found:
        assert min(abs(abs(p.alpha) - t) for t in (0, 1)) < 0.2


@pytest.mark.parametrize("hole", [np.nan, np.inf, -np.inf])
def test_nothing_is_said_beside_holes(hole: float) -> None:
    def holed(x: np.ndarray, y: np.ndarray) -> np.ndarray:
        z = four_wells(x, y)
        z[np.abs(x - 1) + np.abs(y - 1) < 0.3] = hole
        return z

    found = find(holed, rows=65, columns=65, span=(2.0, 2.0))
    assert sorted((p.alpha, p.beta) for p in found if p.kind == "minimum") == [(-1, -1), (-1, 1), (1, -1)]
    assert Counter(p.kind for p in found)["maximum"] == 1


def test_most_persistent_first() -> None:
    rng = np.random.default_rng(1)
    found = slice_critical_points(rng.normal(size=(20, 20)), np.arange(20) * 1.0, np.arange(20) * 1.0)
    sizes = [np.inf if p.persistence is None else p.persistence for p in found]
    assert sizes == sorted(sizes, reverse=True)


def test_persistences_are_those_of_the_plain_algorithm() -> None:
    """Union–find over all vertices in order (Edelsbrunner & Harer 2010, §VII.1), written as plainly as it can be."""
    for seed in range(30):
        rng = np.random.default_rng(seed)
        z = rng.normal(size=(8, 7))
        z[rng.random(z.shape) < 0.1] = np.nan
        found = {
            (p.row, p.column): p.persistence
            for p in slice_critical_points(z, np.arange(7) * 1.0, np.arange(8) * 1.0)
            if p.kind == "minimum"
        }
        plain = _plain_persistences(z)
        for cell, persistence in found.items():
            assert persistence == pytest.approx(plain[cell]) if plain[cell] is not None else persistence is None


def _plain_persistences(z: np.ndarray) -> dict[tuple[int, int], float | None]:
    component: dict[tuple[int, int], tuple[int, int]] = {}
    persistence: dict[tuple[int, int], float | None] = {}
    for row, column in sorted(
        (cell for cell in np.ndindex(z.shape) if not np.isnan(z[cell])), key=lambda cell: z[cell]
    ):
        ring = [(0, 1), (1, 1), (1, 0), (0, -1), (-1, -1), (-1, 0)]
        touched = {component[row + r, column + c] for r, c in ring if (row + r, column + c) in component}
        oldest = min(touched, key=lambda cell: z[cell], default=(row, column))
        component[row, column] = oldest
        if not touched:
            persistence[row, column] = None
        for young in touched - {oldest}:
            persistence[young] = float(z[row, column] - z[young])
            component = {cell: oldest if root == young else root for cell, root in component.items()}
    return persistence
