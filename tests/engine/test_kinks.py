"""h₀: gradient differences agree with vᵀHv as far as the loss is smooth, and no further."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor, nn

import landscape_widget as lw
from landscape_widget import Problem, examples
from landscape_widget.engine.kinks import iter_quadratic_range, quadratic_range

from .problems import make


def on_a_line(loss) -> Problem:
    class Line(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.theta = nn.Parameter(torch.zeros(2))

    return Problem(Line(), lambda model: loss(model.theta[0]) + model.theta[1] ** 2)


FIRST = torch.tensor([3.0, 0.0])


@pytest.mark.parametrize("kink", [0.05, 0.004, 2e-5, 3e-7])
def test_the_radius_ends_at_a_kink(kink: float) -> None:
    """½x² up to ± kink, with a slope more beyond."""
    found = quadratic_range(on_a_line(lambda x: x * x / 2 + torch.relu(x.abs() - kink)), FIRST)
    assert found.curvature == pytest.approx(1.0, abs=1e-12)
    assert kink / math.sqrt(10) - 1e-12 <= found.radius <= kink
    assert "only within" in found.in_words()


def test_the_radius_ends_where_higher_orders_begin() -> None:
    """x²/2 + c x⁴/4: the difference is 1 + c h², so that a tenth is reached at √(0.1/c)."""
    found = quadratic_range(on_a_line(lambda x: x**2 / 2 + 1e4 * x**4 / 4), FIRST)
    edge = math.sqrt(0.1 / 1e4)
    assert edge / math.sqrt(10) <= found.radius <= edge
    for step, difference in zip(found.steps, found.differences, strict=True):
        assert difference == pytest.approx(1 + 1e4 * step**2, rel=1e-8)


def test_a_quadratic_is_described_as_far_as_one_looks() -> None:
    problem = examples.quadratic([2.0, 1.0, -1.0])
    found = quadratic_range(problem, torch.randn(3, dtype=torch.float64, generator=torch.Generator().manual_seed(0)))
    assert found.radius == found.steps[0] == 0.1
    assert "at least within" in found.in_words()
    flat = quadratic_range(on_a_line(lambda x: 3 * x), FIRST)
    assert (flat.curvature, flat.radius) == (0.0, 0.1)


class _Wrong(torch.autograd.Function):
    """x²/2 whose second derivative is said to be 2."""

    @staticmethod
    def forward(ctx, x: Tensor) -> Tensor:
        ctx.save_for_backward(x)
        return x * x / 2

    @staticmethod
    def backward(ctx, *grads: Tensor) -> Tensor:
        (x,) = ctx.saved_tensors
        return grads[0] * (2 * x - x.detach())


def test_a_hessian_of_another_function_agrees_nowhere() -> None:
    found = quadratic_range(on_a_line(lambda x: _Wrong.apply(x + 1.0)), FIRST)
    assert found.curvature == pytest.approx(2.0)
    assert found.radius == 0
    assert found.differences[0] == pytest.approx(1.0)
    assert "agrees with the gradient's differences at no step" in found.in_words()


def test_smooth_networks_are_described_and_their_relu_twin_is_not() -> None:
    """Tanh and SiLU agree up to the size of the picture; with ReLU the Hessian holds between kinks only."""
    radii = {}
    for name in ("digits_cnn", "digits_cnn_relu"):
        problem = getattr(examples, name)()
        vector = lw.hessian_directions(problem, k=1).smallest.vectors[0]
        found = quadratic_range(problem, vector)
        radii[name] = found.radius
    assert radii["digits_cnn"] >= 0.009
    assert 0 < radii["digits_cnn_relu"] < 1e-3


@pytest.mark.parametrize("name", ["mlp", "conv_batchnorm", "tied", "lstm", "attention", "dict_batches", "own_loss"])
def test_the_copy_in_float64_is_the_same_problem(name: str) -> None:
    exact = make(name).problem()
    assert exact.in_float64() is exact
    case = make(name)
    single = Problem(case.model.float(), case.loss, case.data)
    twin = single.in_float64()
    assert twin.dtype == torch.float64
    assert torch.equal(twin.point, single.point.double())
    assert single.dtype == torch.float32
    assert twin.loss() == pytest.approx(single.loss(), rel=1e-5)
    # Equal to float64 round-off, not only to that of float32: weights and data are the very same numbers.
    reference = Problem(case.model.double(), case.loss, list(single._batches))
    assert twin.loss() == pytest.approx(reference.loss(), rel=1e-12)
    torch.testing.assert_close(twin.gradient(), reference.gradient(), rtol=1e-9, atol=1e-12)


def test_progress_is_told_and_bad_input_refused() -> None:
    problem = make("mlp").problem()
    found = list(iter_quadratic_range(problem, torch.ones(51)))
    assert [len(f.steps) for f in found] == list(range(1, len(found) + 1))
    with pytest.raises(ValueError, match="expected a finite vector of 51 entries that are not all zero, got one of 3"):
        quadratic_range(problem, torch.ones(3))
    with pytest.raises(ValueError, match="not all zero"):
        quadratic_range(problem, torch.zeros(51))
    with pytest.raises(ValueError, match="expected tol above 0, got -1"):
        quadratic_range(problem, torch.ones(51), tol=-1)
