"""The window on slices whose return points are known, and on the examples: what is there is seen at first sight."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from landscape_widget import Curvature, Problem, examples, hessian_directions
from landscape_widget.engine.plane import Plane
from landscape_widget.engine.plane_survey import PlaneSurvey, facts
from landscape_widget.engine.window import LineSearch, WindowSearch

Loss = Callable[[float, float], float]


def spans(
    loss: Loss,
    curvatures: tuple[float, float],
    *,
    norms: tuple[float, float] = (1.0, 1.0),
    theta_norm: float = 10.0,
    window: str = "saddle",
    noise: float = 0.0,
) -> tuple[tuple[float, float], int]:
    """Half-widths, and how many points were measured."""
    search, points = WindowSearch(norms, curvatures, theta_norm, window, noise=noise), []
    while point := search.ask():
        points.append(point)
        search.tell(loss(*point))
    assert len(points) == len(set(points))
    assert search.spans is not None
    return search.spans, len(points)


def dip_of(loss: Loss, found: tuple[float, float]) -> float:
    return loss(0, 0) - min(loss(0, found[1] * i / 20) for i in range(-20, 21))


@pytest.mark.parametrize("a", [0.1, 1.0, 100.0])
@pytest.mark.parametrize("b", [0.01, 1.0])
@pytest.mark.parametrize("c", [0.01, 1.0, 30.0])
@pytest.mark.parametrize("level", [0.0, 1.0, -3.0])
def test_quartic_dip(a: float, b: float, c: float, level: float) -> None:
    """The slice L + a x² − b y² + c y⁴ returns to f(0) at |y| = √(b/c), and rises along x by one to two dips (b²/4c)."""

    def loss(x: float, y: float) -> float:
        return level + a * x**2 - b * y**2 + c * y**4

    (x, y), count = spans(loss, (2 * a, -2 * b))
    assert y == pytest.approx(math.sqrt(b / c), rel=0.06)
    rise, dip = a * x**2, b**2 / (4 * c)
    assert x <= 10
    assert 1.0 * dip <= rise <= 2.0 * dip or (x == 10 and rise < dip)
    assert count <= 60


@pytest.mark.parametrize("norms", [(1.0, 1.0), (3.0, 0.2), (1e-3, 50.0)])
def test_axes_of_any_norm_show_the_same_window(norms: tuple[float, float]) -> None:
    def loss(x: float, y: float) -> float:
        x, y = x * norms[0], y * norms[1]
        return 2 * x**2 - y**2 + y**4

    (x, y), _ = spans(loss, (4.0, -2.0), norms=norms)
    assert y * norms[1] == pytest.approx(1, rel=0.06)
    assert 0.25 <= 2 * (x * norms[0]) ** 2 <= 0.5


def test_axes_may_be_exchanged() -> None:
    (x, y), _ = spans(lambda x, y: 2 * x**2 - y**2 + y**4, (4.0, -2.0))
    assert spans(lambda x, y: 2 * y**2 - x**2 + x**4, (-2.0, 4.0))[0] == pytest.approx((y, x))


def test_two_dips_keep_both_return_points() -> None:
    (x, y), _ = spans(lambda x, y: -(x**2) + x**4 - 2 * y**2 + 8 * y**4, (-2.0, -4.0))
    assert x == pytest.approx(1.0, rel=0.06)
    assert y == pytest.approx(0.5, rel=0.06)


@pytest.mark.parametrize(("theta_norm", "reach"), [(3.0, 3.0), (0.0, 1.0)])
def test_a_dip_without_return_ends_at_the_norm_of_theta(theta_norm: float, reach: float) -> None:
    (x, y), _ = spans(lambda x, y: 10 * x**2 - y**2, (20.0, -2.0), theta_norm=theta_norm)
    assert y == reach
    assert 1.0 <= 10 * x**2 / reach**2 <= 2.0


def test_without_negative_curvature_both_axes_rise_alike() -> None:
    (x, y), count = spans(lambda x, y: 1.0 + 50 * x**2 + 0.5 * y**2, (100.0, 1.0))
    assert 50 * x**2 == pytest.approx(0.5 * y**2, rel=0.8)
    # By as much as a step of a twentieth of ‖θ‖ along the stiffer axis shows, which is more than the loss itself.
    assert 50 * x**2 == pytest.approx(50 * 0.5**2, rel=0.35)
    assert count < 12


def test_a_curvature_that_the_loss_does_not_show_gives_no_window() -> None:
    """A kink: the Hessian says −1, the loss rises."""
    (x, y), _ = spans(lambda x, y: 1 + x**2 + abs(y), (2.0, -1.0))
    assert x**2 == pytest.approx(y, rel=0.8)


def test_a_dip_below_the_noise_is_none() -> None:
    def loss(x: float, y: float) -> float:
        return 1 + x**2 + 1e-9 * (y**4 - y**2)

    (_, y), _ = spans(loss, (2.0, -2e-9), noise=0.0)
    assert y == pytest.approx(1, rel=0.06)
    (_, y), _ = spans(loss, (2.0, -2e-9), noise=1e-8)
    assert y == 10  # flat: as far as one looks


@pytest.mark.parametrize("bad", [math.nan, math.inf])
def test_a_loss_that_breaks_far_out_ends_the_window_before(bad: float) -> None:
    def loss(x: float, y: float) -> float:
        return bad if abs(y) > 2 or abs(x) > 0.3 else x**2 - y**2

    (x, y), _ = spans(loss, (2.0, -2.0))
    assert 1.8 <= y <= 2
    assert 0 < x <= 0.3


@pytest.mark.parametrize("bad", [math.nan, math.inf])
def test_a_loss_finite_at_the_centre_alone_still_ends(bad: float) -> None:
    (x, y), count = spans(lambda x, y: 1.0 if x == y == 0 else bad, (1.0, -1.0))
    assert x > 0
    assert y > 0
    assert count < 100


@pytest.mark.parametrize("slope", [0.0, 0.5, 5.0, 50.0])
def test_a_slope_does_not_hide_the_dip(slope: float) -> None:
    """At a point with a gradient along the stiff axis the dip is still a fifth of the range shown."""

    def loss(x: float, y: float) -> float:
        return slope * x + 100 * x**2 - 0.1 * y**2 + 0.1 * y**4

    found, _ = spans(loss, (200.0, -0.2))
    heights = [loss(i / 8 * found[0], j / 8 * found[1]) for i in range(-8, 9) for j in range(-8, 9)]
    assert dip_of(loss, found) >= 0.15 * (max(heights) - min(heights))


def test_wide_is_half_of_theta_and_measures_nothing() -> None:
    assert spans(lambda x, y: 0.0, (1.0, -1.0), norms=(2.0, 0.5), window="wide") == ((2.5, 10.0), 0)


def test_other_windows_are_refused() -> None:
    with pytest.raises(ValueError, match="expected window 'saddle' or 'wide', got 'narrow'"):
        spans(lambda x, y: 0.0, (1.0, 1.0), window="narrow")


def span_of(loss: Callable[[float], float], curvature: float, *, norm: float = 1.0, theta_norm: float = 10.0) -> float:
    """The half-width along a line."""
    search, asked = LineSearch(norm, curvature, theta_norm), []
    while (alpha := search.ask()) is not None:
        asked.append(alpha)
        search.tell(loss(alpha))
    assert len(asked) == len(set(asked)) <= 60
    assert search.span is not None
    return search.span


@pytest.mark.parametrize("b", [0.01, 1.0])
@pytest.mark.parametrize("c", [0.01, 1.0, 30.0])
@pytest.mark.parametrize("norm", [1.0, 0.02, 50.0])
@pytest.mark.parametrize("level", [0.0, 1.0, -3.0])
def test_a_line_ends_where_a_quartic_returns(b: float, c: float, norm: float, level: float) -> None:
    def loss(alpha: float) -> float:
        return level - b * (alpha * norm) ** 2 + c * (alpha * norm) ** 4

    assert span_of(loss, -2 * b, norm=norm) * norm == pytest.approx(math.sqrt(b / c), rel=0.06)


def test_a_line_ends_at_the_norm_of_theta() -> None:
    assert span_of(lambda t: -(t**2), -2.0, theta_norm=3.0) == 3.0
    assert span_of(lambda t: 1 + 1e-3 * t**2, 2e-3, theta_norm=3.0) == 3.0
    assert span_of(lambda t: -(t**2), -2.0, theta_norm=0.0) == 1.0


@pytest.mark.parametrize("curvature", [8.0, 0.0, -1e-3])
def test_without_a_dip_a_line_shows_the_loss_rise_by_itself(curvature: float) -> None:
    """Also where the Hessian is wrong: its curvature only seeds the search."""
    assert 0.75 * 5 <= 4 * span_of(lambda t: 5 + 4 * t**2, curvature) ** 2 <= 1.33 * 5


@pytest.mark.parametrize("cube", [0.0, 1.0, 5.0, 50.0])
def test_a_cliff_on_one_side_of_a_line_does_not_hide_the_dip(cube: float) -> None:
    def loss(t: float) -> float:
        return -(t**2) + cube * t**3 + t**4

    span = span_of(loss, -2.0, theta_norm=100.0)
    heights = [loss(i / 50 * span) for i in range(-50, 51)]
    assert -min(heights) >= 0.2 * (max(heights) - min(heights))


@pytest.mark.parametrize("bad", [math.nan, math.inf])
def test_a_line_does_not_end_where_the_loss_is_not_finite(bad: float) -> None:
    span = span_of(lambda t: -(t**2) if abs(t) < 0.3 else bad, -2.0)
    assert 0.25 <= span < 0.3


# Examples whose function takes arguments.
ARGUMENTS: dict[str, tuple[Any, ...]] = {"toy_saddle": (20, 24), "quadratic": ([10.0, 9.0, 1.0, -1.0],)}
# Nothing there curves down.
BOWLS = {"regression"}
# The exception: the Hessian curves down between the kinks, the slice that one sees across them does not, so that no
# window can show a dip.
KINKS = {"digits_cnn_relu"}
EXAMPLES = [name for name in examples.__all__ if callable(getattr(examples, name))]


def measured(name: str) -> tuple[np.ndarray, Curvature]:
    """An example's first window at 9 × 9, and what is known of its Hessian."""
    problem: Problem = getattr(examples, name)(*ARGUMENTS.get(name, ()))
    pairs = hessian_directions(problem, k=1)
    survey = PlaneSurvey(
        problem,
        Plane(problem.point, (pairs.directions[0], pairs.directions[-1])),
        facts(problem, pairs.summary),
        resolution=(9, 9),
        tolerance=0,
    )
    while survey.step():
        pass
    return survey.landscape().losses, pairs.summary


@pytest.mark.parametrize("name", EXAMPLES)
def test_the_first_window_of_an_example_shows_its_negative_curvature(name: str) -> None:
    """f(0) − min_β f(0, β) is at least 15 % of the range displayed."""
    z, curvature = measured(name)
    dip = z[4, 4] - z[:, 4].min()
    assert (curvature.smallest[0] < -curvature.noise) == (name not in BOWLS)
    assert (dip >= 0.15 * (z.max() - z.min())) == (name not in BOWLS | KINKS)
