"""Hessian-vector products and gradients against dense derivatives in float64."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from landscape_widget import Problem
from landscape_widget.engine import lanczos, ritz
from landscape_widget.engine.operators import Hessian

from .problems import (
    ARCHITECTURES,
    Case,
    dense_hessian,
    make,
    slice_problem,
    whole_function,
)


def matrix(H: Hessian) -> Tensor:
    return H @ torch.eye(H.shape[0], dtype=H.theta.dtype, device=H.theta.device)


@pytest.mark.parametrize("name", ARCHITECTURES)
def test_loss_gradient_and_hessian_are_those_of_the_mean_over_all_data(name: str, device: str) -> None:
    case = make(name)
    function, point = whole_function(case)
    problem = case.problem(device=device)
    assert torch.equal(problem.point.cpu(), point)
    assert problem.loss() == pytest.approx(float(function(point)), rel=1e-12)
    expected = torch.func.grad(function)(point)
    torch.testing.assert_close(problem.gradient().cpu(), expected, rtol=1e-10, atol=1e-13)
    dense = dense_hessian(case)
    torch.testing.assert_close(matrix(Hessian(problem)).cpu(), dense, rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("name", ["mlp", "lstm", "own_loss"])
def test_away_from_the_trained_point(name: str) -> None:
    case = make(name)
    function, point = whole_function(case)
    theta = point + 0.3 * torch.randn(len(point), dtype=point.dtype, generator=torch.Generator().manual_seed(1))
    problem = case.problem()
    here, there = Hessian(problem), Hessian(problem, theta)
    v = torch.linspace(-1, 1, len(point), dtype=point.dtype)
    _, expected = torch.autograd.functional.hvp(function, theta, v)
    assert isinstance(expected, Tensor)
    # Interleaved: neither operator takes the other's graph for its own.
    before = here @ v
    torch.testing.assert_close(there @ v, expected, rtol=1e-9, atol=1e-12)
    torch.testing.assert_close(here @ v, before, rtol=0, atol=0)
    assert not torch.allclose(before, expected, rtol=1e-2)
    torch.testing.assert_close(
        problem.gradient(theta),
        torch.func.grad(function)(theta),
        rtol=1e-10,
        atol=1e-13,
    )


def test_the_point_of_an_operator_is_its_own() -> None:
    problem = make("mlp").problem()
    theta = problem.point + 0.5
    H = Hessian(problem, theta)
    v = torch.ones_like(theta)
    first = H @ v
    theta.zero_()
    H.release()
    torch.testing.assert_close(H @ v, first, rtol=0, atol=0)


def test_products_are_counted_and_take_rows_and_numpy() -> None:
    case = make("mlp")
    H = Hessian(case.problem())
    dense = dense_hessian(case)
    V = torch.randn(3, len(dense), dtype=dense.dtype)
    torch.testing.assert_close(H @ V, V @ dense, rtol=1e-9, atol=1e-12)
    assert H.num_matvecs == 3
    single = H @ V[0].numpy()
    assert isinstance(single, np.ndarray)
    np.testing.assert_allclose(single, (dense @ V[0]).numpy(), rtol=1e-9, atol=1e-12)
    assert H.num_matvecs == 4


def test_several_batches_give_the_same_graph_or_none() -> None:
    """One batch keeps its graph between products, several do not: the products are the same."""
    case = make("own_loss")  # not regrouped: its rule is not known
    whole = Case(
        case.model,
        case.loss,
        [tuple(torch.cat(c) for c in zip(*case.data, strict=True))],
        case.whole,
    )
    several, one = Hessian(case.problem()), Hessian(whole.problem())
    assert len(list(several.problem.terms())) == 4
    assert len(list(one.problem.terms())) == 1
    v = torch.ones_like(several.theta)
    torch.testing.assert_close(several @ v, one @ v, rtol=1e-12, atol=1e-14)
    torch.testing.assert_close(one @ v, one @ v, rtol=0, atol=0)


def test_wrong_shapes_are_refused() -> None:
    problem = make("mlp").problem()
    with pytest.raises(
        ValueError,
        match=r"expected a vector of shape \(51,\) or rows of it, got \(50,\)",
    ):
        _ = Hessian(problem) @ torch.ones(50)
    with pytest.raises(ValueError, match=r"expected theta of shape \(51,\), got \(3,\)"):
        Hessian(problem, torch.ones(3))


def test_a_linear_loss_has_a_zero_hessian() -> None:
    problem = slice_problem(lambda x, y: 3 * x - 2 * y)
    assert torch.equal(matrix(Hessian(problem)), torch.zeros(2, 2, dtype=torch.float64))


def test_batches_that_do_not_touch_some_parameters() -> None:
    """One batch's loss is constant, another's linear, a third's curved: their Hessians add up."""

    def loss(model: nn.Module, batch: Tensor) -> Tensor:
        x, y = model.theta  # type: ignore[misc]
        return {0: torch.tensor(5.0, dtype=x.dtype), 1: x, 2: x * x * y}[int(batch[0])]

    class Model(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.theta = nn.Parameter(torch.tensor([2.0, 3.0], dtype=torch.float64))

    data = [(torch.tensor([kind]),) for kind in (2, 1, 0)]
    problem = Problem(Model(), lambda model, batch: loss(model, batch[0]), data, batch_weight=lambda batch: 1)
    assert problem.loss() == pytest.approx((12 + 2 + 5) / 3)
    torch.testing.assert_close(problem.gradient(), torch.tensor([13.0, 4.0], dtype=torch.float64) / 3)
    torch.testing.assert_close(matrix(Hessian(problem)), torch.tensor([[6.0, 4.0], [4.0, 0.0]]).double() / 3)


def test_finite_differences_of_the_gradient_agree() -> None:
    """Independent of automatic second derivatives."""
    problem = make("attention").problem()
    v = torch.randn(
        problem.num_parameters,
        dtype=torch.float64,
        generator=torch.Generator().manual_seed(3),
    )
    v /= v.norm()
    h = 1e-5
    difference = (problem.gradient(problem.point + h * v) - problem.gradient(problem.point - h * v)) / (2 * h)
    torch.testing.assert_close(Hessian(problem) @ v, difference, rtol=1e-5, atol=1e-8)


def test_float32_products_are_close_to_float64() -> None:
    case = make("conv_batchnorm")
    dense = dense_hessian(case)
    data = [tuple(t.float() if t.is_floating_point() else t for t in batch) for batch in case.data]
    single = Problem(case.model.float(), case.loss, data)
    error = matrix(Hessian(single)).double() - dense
    assert float(torch.linalg.matrix_norm(error, 2)) < 2e-6 * float(torch.linalg.matrix_norm(dense, 2))


def test_lanczos_sees_the_same_operator_on_every_device(device: str) -> None:
    problem = make("mlp").problem(device=device)
    (*_, state) = ritz.run(
        Hessian(problem),
        lanczos.start(problem.point, seed=0),
        2,
        tol=1e-8,
        max_matvecs=51,
    )
    reference = torch.linalg.eigvalsh(dense_hessian(make("mlp")))
    np.testing.assert_allclose(state.ritz()[0][[0, -1]], reference[[0, -1]], rtol=1e-8)


def test_a_loss_that_cannot_be_differentiated_twice_is_told_in_words() -> None:
    x, y = torch.randn(10, 4), torch.arange(10) % 3
    H = Hessian(Problem(nn.Linear(4, 3), nn.MultiMarginLoss(), (x, y)))
    with pytest.raises(
        RuntimeError,
        match="expected a loss that can be differentiated twice, got .*multi_margin",
    ):
        _ = H @ torch.ones(15)
