"""Slices along one direction: every point is the loss there, and slope, curvature and window are what they are known to be."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from landscape_widget import Direction, Problem, Slice, examples, hessian_directions, slice_along
from landscape_widget.landscape import PredictionError

from .problems import dense_hessian, make, slice_problem, whole_function

FIRST = torch.tensor([1.0, 0.0], dtype=torch.float64)


def of_one_variable(function: Callable[[Tensor], Tensor], at: float = 0.0) -> Problem:
    """L(θ₁, θ₂) = function(θ₁)."""
    return slice_problem(lambda x, y: function(x) + 0 * y, (at, 0.0))


def test_every_point_of_a_network_is_its_loss_there() -> None:
    """Independent of the engine: the weights are put into the user's own model."""
    case = make("conv_batchnorm")
    function, point = whole_function(case)
    d = torch.randn(len(point), generator=torch.Generator().manual_seed(0)).double()
    along = slice_along(case.problem(), direction=d, resolution=17, span=0.3)
    assert along.alphas[[0, -1]].tolist() == [-0.3, 0.3]
    assert along.alphas[8] == 0
    assert along.measured.all()
    for alpha, loss in zip(along.alphas, along.losses, strict=True):
        assert loss == pytest.approx(float(function(point + alpha * d)), rel=1e-12)


def test_slope_and_curvature_are_those_of_the_loss() -> None:
    case = make("mlp")
    function, point = whole_function(case)
    d = 3 * torch.randn(len(point), generator=torch.Generator().manual_seed(1)).double()
    along = slice_along(case.problem(), direction=d, resolution=5)
    assert along.slope == pytest.approx(float(torch.func.grad(function)(point) @ d), rel=1e-9)
    assert along.curvature == pytest.approx(float(d @ dense_hessian(case) @ d), rel=1e-9)
    assert along.direction.norm == pytest.approx(float(d.norm()))
    assert along.direction.curvature == pytest.approx((along.curvature or 0) / float(d @ d))
    assert along.direction.vector is not None
    assert torch.equal(along.direction.vector, d)
    close = slice_along(case.problem(), direction=d, resolution=5, span=1e-4)
    parabola = close.parabola()
    assert parabola is not None
    np.testing.assert_allclose(parabola - close.center_loss, close.losses - close.center_loss, rtol=1e-2)


def test_a_quadratic_is_its_parabola() -> None:
    along = slice_along(examples.quadratic([2.0, -1.0]), direction=[1.0, 2.0], resolution=33, span=1.5)
    assert (along.slope, along.curvature, along.center_loss) == (0, pytest.approx(-2), 0)
    np.testing.assert_allclose(along.losses, -(along.alphas**2), atol=1e-12)
    np.testing.assert_allclose(along.parabola(), along.losses, atol=1e-12)


@pytest.mark.parametrize("length", [1.0, 0.01, 30.0])
def test_the_window_ends_where_a_quartic_returns(length: float) -> None:
    """1 − x² + 2x⁴ is 1 again at √½, however long the direction is."""
    problem = slice_problem(lambda x, y: 1 - x**2 + 2 * x**4 + (y - 3) ** 2, (0.0, 3.0))
    along = slice_along(problem, direction=length * FIRST, resolution=33)
    assert along.alphas[-1] * length == pytest.approx(math.sqrt(0.5), rel=0.06)
    assert along.losses.min() == pytest.approx(1 - 1 / 8, abs=2e-3)


def test_the_window_ends_at_the_norm_of_theta_where_nothing_returns() -> None:
    along = slice_along(slice_problem(lambda x, y: 1 - x**2 + 0 * y, (0.0, 0.5)), direction=FIRST, resolution=5)
    assert along.alphas[-1] == pytest.approx(0.5)


def test_without_negative_curvature_the_loss_rises_by_itself() -> None:
    far = slice_along(of_one_variable(lambda x: 4 + (x - 30) ** 2, 30.0), direction=FIRST, resolution=5)
    assert 0.75 * 4 <= far.losses.max() - far.center_loss <= 1.33 * 4
    # Not farther than ‖θ*‖.
    near = slice_along(of_one_variable(lambda x: 4 + (x - 0.5) ** 2, 0.5), direction=FIRST, resolution=5)
    assert near.alphas[-1] == pytest.approx(0.5)


def test_the_default_direction_shows_the_dip_of_a_saddle() -> None:
    problem = examples.digits_saddle()
    along = slice_along(problem)
    assert along.direction.key == "smallest-1"
    assert along.curvature == pytest.approx(examples.known.digits_saddle().eigenvalues[-1], rel=1e-3)
    losses = along.curve()
    assert len(losses) == 129
    assert losses[64] == along.center_loss == problem.loss()
    dip = along.center_loss - losses.min()
    assert dip > 0.2 * (losses.max() - losses.min())
    assert losses[0] > along.center_loss - dip / 2
    assert losses[-1] > along.center_loss - dip / 2


def test_a_dip_beside_a_cliff_is_seen() -> None:
    """−x² + 5x³ + x⁴ returns to 0 at −5.2; at 5.2 it has risen to twenty times the dip."""
    problem = slice_problem(lambda x, y: 20 - x**2 + 5 * x**3 + x**4 + 0 * y, (0.0, 30.0))
    losses = slice_along(problem, direction=FIRST, resolution=65).curve()
    assert losses[32] - losses.min() >= 0.19 * (losses.max() - losses.min())


@pytest.mark.parametrize("resolution", [257, 1025])
def test_smooth_curves_are_predicted_and_checked(resolution: int) -> None:
    def function(x: Any) -> Any:
        return 1 + torch.sin(3 * x) + x**2 if isinstance(x, Tensor) else 1 + np.sin(3 * x) + x**2

    along = slice_along(of_one_variable(function), direction=FIRST, resolution=resolution, span=1.0)
    assert along.num_measured < resolution
    assert along.error.bound is not None
    assert along.error.num_checked >= 149
    missed = np.abs(along.curve() - function(along.alphas))
    assert np.mean(missed <= along.error.bound + 1e-15) >= 0.98
    assert missed.max() <= 1e-3 * np.ptp(along.curve())
    assert along.num_measured < 257


@pytest.mark.parametrize("tolerance", [0.0, 1e-3])
def test_a_kink_is_met_to_within_the_tolerance(tolerance: float) -> None:
    along = slice_along(
        of_one_variable(lambda x: (x - 0.3).abs()), direction=FIRST, resolution=1025, span=1.0, tolerance=tolerance
    )
    missed = np.abs(along.curve() - np.abs(along.alphas - 0.3))
    assert missed.max() <= tolerance * 1.3 + 1e-15
    assert along.measured.all() == (tolerance == 0)


def test_few_points_are_all_measured() -> None:
    along = slice_along(of_one_variable(torch.exp), direction=FIRST, span=1.0)
    assert along.num_measured == 129
    assert (along.error.bound, along.error.expected_largest) == (0.0, 0.0)


def test_holes_stay_holes() -> None:
    along = slice_along(of_one_variable(lambda x: torch.log(x + 1.5)), direction=FIRST, resolution=257, span=2.0)
    outside = along.alphas < -1.5
    assert np.isnan(along.losses[along.measured & outside]).all()
    assert np.isneginf(along.losses[along.alphas == -1.5]).all()
    inside = along.alphas > -1.4
    np.testing.assert_allclose(along.curve()[inside], np.log(along.alphas[inside] + 1.5), atol=2e-3)


def test_metrics_are_measured_beside_the_loss() -> None:
    x = torch.linspace(-1, 1, 20).double()[:, None]
    model = nn.Linear(1, 1).double()
    along = slice_along(
        *(model, nn.MSELoss(), (x, 2 * x)),
        direction=[1.0, 0.0],
        resolution=9,
        span=3.0,
        metrics={
            "rms": lambda output, target: (output - target).square().mean(),
            "steep": lambda o, t: (o[-1] - o[0]) / 2,
        },
    )
    assert list(along.metrics) == ["rms", "steep"]
    np.testing.assert_allclose(along.metrics["rms"], along.losses, rtol=1e-12)
    np.testing.assert_allclose(along.metrics["steep"], model.weight.item() + along.alphas, atol=1e-12)
    assert along.num_samples == 20


class _Single(nn.Module):
    def __init__(self, at: float) -> None:
        super().__init__()
        self.theta = nn.Parameter(torch.tensor(at, dtype=torch.float64))

    def forward(self) -> Tensor:
        return self.theta


def test_one_parameter_is_enough() -> None:
    along = slice_along(_Single(0.5), lambda model: (model() ** 2 - 1) ** 2, resolution=17, span=0.5)
    assert along.num_parameters == 1
    sign = float(along.direction.vector[0])
    assert abs(sign) == pytest.approx(1)
    assert along.slope == pytest.approx(sign * 4 * 0.5 * (0.25 - 1))
    assert along.curvature == pytest.approx(12 * 0.25 - 4)
    np.testing.assert_allclose(along.losses, ((0.5 + sign * along.alphas) ** 2 - 1) ** 2, atol=1e-12)


def test_a_loss_without_second_derivatives_has_a_curve_all_the_same() -> None:
    class Once(torch.autograd.Function):
        @staticmethod
        def forward(ctx: Any, x: Tensor) -> Tensor:
            ctx.save_for_backward(x)
            return x**2

        @staticmethod
        @torch.autograd.function.once_differentiable
        def backward(ctx: Any, *grads: Tensor) -> Tensor:
            (x,) = ctx.saved_tensors
            return 2 * x * grads[0]

    problem = of_one_variable(Once.apply, 1.0)
    along = slice_along(problem, direction=FIRST, resolution=9)
    assert along.curvature is along.direction.curvature is along.parabola() is None
    assert along.slope == pytest.approx(2)
    np.testing.assert_allclose(along.losses, (1 + along.alphas) ** 2, atol=1e-12)
    assert any("no Hessian" in note for note in along.notes)
    with pytest.raises(RuntimeError, match="expected a loss whose second derivatives"):
        slice_along(of_one_variable(Once.apply, 1.0))


def test_a_direction_may_come_in_every_form() -> None:
    model = nn.Linear(2, 1).double()
    x, y = torch.randn(2, 8, 2, generator=torch.Generator().manual_seed(0)).double()
    problem = Problem(model, nn.MSELoss(), (x, y[:, :1]))
    state = {"weight": torch.tensor([[1.0, -2.0]]), "bias": torch.tensor([0.5])}
    flat = [1.0, -2.0, 0.5]
    vector = torch.tensor(flat)
    own = Direction(key="mine", kind="own", symbol="m", label="mine", vector=vector)
    forms = [flat, np.array(flat), vector, list(state.values()), state, own]
    slices = [slice_along(problem, direction=form, resolution=5, span=1.0) for form in forms]
    for along in slices[1:]:
        np.testing.assert_array_equal(along.losses, slices[0].losses)
    assert slices[-1].direction.key == "mine"
    assert slices[-1].direction.norm == pytest.approx(math.sqrt(5.25))


def test_the_curvature_is_this_problems_whatever_the_direction_says() -> None:
    pairs = hessian_directions(examples.quadratic([2.0, -1.0]), 1)
    along = slice_along(examples.quadratic([4.0, 3.0]), direction=pairs.directions[-1], resolution=5, span=1.0)
    assert along.curvature == pytest.approx(3)


def test_the_same_seed_gives_the_same_slice() -> None:
    one, other = (slice_along(examples.digits_saddle(), resolution=257, seed=3) for _ in range(2))
    np.testing.assert_array_equal(one.alphas, other.alphas)
    np.testing.assert_array_equal(one.curve(), other.curve())


def test_on_the_log_scale_the_tolerance_is_of_logarithms() -> None:
    along = slice_along(
        of_one_variable(lambda x: torch.exp(8 * x) + torch.exp(-6 * x)),
        *(None, None),
        direction=FIRST,
        resolution=1025,
        span=1.0,
        scale="log",
    )
    true = np.log(np.exp(8 * along.alphas) + np.exp(-6 * along.alphas))
    assert (along.scale, along.clip) == ("log", None)
    assert np.abs(np.log(along.curve()) - true).max() <= 1e-3 * np.ptp(true)
    assert along.num_measured < 1025


QUADRATIC = (2.0, -1.0)


@pytest.mark.parametrize(
    ("settings", "kind", "words"),
    [
        ({"resolution": 1}, ValueError, r"2\^k \+ 1 .*, got 1; the nearest are 3 and 5"),
        ({"resolution": 100}, ValueError, r"got 100; the nearest are 65 and 129"),
        ({"resolution": (9, 9)}, TypeError, "expected a resolution as an integer"),
        ({"resolution": 8193}, ValueError, "expected a resolution of at most 4,097"),
        ({"span": 0.0}, ValueError, "expected a positive span"),
        ({"span": (1.0, 2.0)}, TypeError, "expected span as a number"),
        ({"span": 1e308}, ValueError, "expected a span within which"),
        ({"tolerance": 1.0}, ValueError, "expected a tolerance from 0"),
        ({"seed": -1}, ValueError, "expected a seed from 0"),
        ({"scale": "sqrt"}, ValueError, "expected scale 'linear' or 'log'"),
        ({"direction": [0.0, 0.0]}, ValueError, "finite entries that are not all zero"),
        ({"direction": [1.0, math.nan]}, ValueError, "finite entries that are not all zero"),
        ({"direction": [1.0, 2.0, 3.0]}, ValueError, "expected a direction with 2 entries, got 3"),
        ({"direction": [1e-200, 0.0]}, ValueError, "expected an axis of a norm between"),
        ({"direction": "gradient"}, TypeError, "expected a direction as a Direction"),
        ({"loss": nn.MSELoss()}, TypeError, "expected either a Problem or model, loss and data"),
        ({"directon": [1.0, 0.0]}, TypeError, "unexpected keyword 'directon'; did you mean 'direction'"),
    ],
)
def test_errors_in_words(settings: dict[str, Any], kind: type[Exception], words: str) -> None:
    with pytest.raises(kind, match=words):
        slice_along(examples.quadratic(QUADRATIC), **settings)


def test_a_model_alone_is_refused() -> None:
    with pytest.raises(TypeError, match="expected a Problem, got Linear"):
        slice_along(nn.Linear(2, 1))


def test_slices_are_frozen_and_leave_the_givers_arrays_alone() -> None:
    d = Direction(key="mine", kind="own", symbol="m", label="mine")
    alphas = np.linspace(-1, 1, 5)
    along = Slice(alphas, alphas**2, [True, False, True, False, True], d, center_loss=0.0, slope=0.0, curvature=2.0)
    with pytest.raises(ValueError, match="read-only"):
        along.losses[0] = 1
    alphas[0] = -1.0
    np.testing.assert_allclose(along.curve()[[0, 2, 4]], [1, 0, 1])
    assert (along.num_measured, along.error) == (3, PredictionError())
    assert repr(along) == "<Slice of 5 points, 3 measured, loss 0 to 1; along m>"


def test_arrays_must_fit_together() -> None:
    d, alphas = Direction(key="mine", kind="own", symbol="m", label="mine"), np.linspace(-1, 1, 5)
    with pytest.raises(ValueError, match=r"expected losses of the shape of alphas, \(5,\), got \(4,\)"):
        Slice(alphas, alphas[1:], alphas > 0, d, center_loss=0.0, slope=0.0)
    with pytest.raises(ValueError, match=r"expected accuracy of the shape of alphas, \(5,\), got \(1, 5\)"):
        Slice(*(alphas, alphas, alphas > 0, d), center_loss=0.0, slope=0.0, metrics={"accuracy": alphas[None]})
    with pytest.raises(ValueError, match=r"expected alphas of shape \(a,\), got \(1, 5\)"):
        Slice(alphas[None], alphas, alphas > 0, d, center_loss=0.0, slope=0.0)
