"""What a caller has switched on in torch, inference mode or autocast, changes neither the loss nor its derivatives."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader, TensorDataset

import landscape_widget as lw
from landscape_widget.engine.modes import own_modes

MODES: dict[str, Callable[[], AbstractContextManager[Any]]] = {
    "inference mode": torch.inference_mode,
    "no_grad": torch.no_grad,
    "autocast": lambda: torch.autocast("cpu", torch.bfloat16),
}
X, Y = torch.randn(40, 6, generator=torch.Generator().manual_seed(0)), torch.arange(40) % 3


@pytest.fixture(params=MODES)
def mode(request: pytest.FixtureRequest) -> Callable[[], AbstractContextManager[Any]]:
    return MODES[request.param]


def problem(**settings: Any) -> lw.Problem:
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(6, 8), nn.Tanh(), nn.Linear(8, 3))
    data = DataLoader(TensorDataset(X, Y), batch_size=16) if settings else (X, Y)
    return lw.Problem(model, nn.CrossEntropyLoss(), data, **settings)


def found(p: lw.Problem) -> list[Any]:
    """Numbers by every way into the engine that takes derivatives, and the surface itself."""
    pairs = lw.hessian_directions(p, k=2)
    return [
        pairs.largest.values,
        pairs.smallest.values,
        lw.trace(p, 8).mean,
        p.gradient().numpy(),
        p.gradient(p.point + 0.1).numpy(),
        (lw.Hessian(p, p.point + 0.1) @ torch.ones_like(p.point)).numpy(),
        lw.quadratic_range(p, torch.ones_like(p.point)).curvature,
        p.losses(torch.stack([p.point, p.point + 0.1])),
    ]


@pytest.mark.parametrize("settings", [{}, {"cache_bytes": 10}], ids=["kept", "streamed"])
def test_derivatives_and_the_surface_are_the_same_in_every_mode(mode: Any, settings: dict[str, Any]) -> None:
    expected = found(problem(**settings))
    assert np.abs(expected[0]).min() > 0
    made_outside = problem(**settings)
    with mode():
        np.testing.assert_equal(found(made_outside), expected)
        np.testing.assert_equal(found(problem(**settings)), expected)


@pytest.mark.parametrize("method", ["double backward", "kept graph", "forward over reverse", "linearize"])
def test_every_way_to_make_products_in_every_mode(mode: Any, method: str) -> None:
    p = problem()
    rows = torch.randn(2, p.num_parameters, generator=torch.Generator().manual_seed(1))
    expected = lw.Hessian(p, p.point + 0.1) @ rows
    with mode():
        made = lw.Hessian(p, p.point + 0.1, method=method) @ (rows + 0)
    torch.testing.assert_close(made, expected, rtol=1e-4, atol=1e-6)


def test_a_run_begun_in_one_mode_goes_on_outside_of_it(mode: Any) -> None:
    p = problem()
    expected = lw.hessian_directions(p, k=1).extend(3).largest.values
    with mode():
        begun = lw.hessian_directions(p, k=1)
    np.testing.assert_equal(begun.extend(3).largest.values, expected)
    np.testing.assert_allclose(lw.hessian_directions(p, k=3, start=begun).largest.values, expected, rtol=0.02)


def test_a_loss_that_takes_gradients_itself_can_be_evaluated_in_every_mode(mode: Any) -> None:
    torch.manual_seed(0)
    field = nn.Sequential(nn.Linear(2, 8), nn.Tanh(), nn.Linear(8, 1))

    def by_inputs(model: nn.Module, batch: Any) -> Tensor:
        x = batch[0].clone().requires_grad_()
        (slopes,) = torch.autograd.grad(model(x).sum(), x, create_graph=True)
        return slopes.square().mean()

    def by_parameters(model: nn.Module, batch: Any) -> Tensor:
        value = model(batch[0]).square().mean()
        gradients = torch.autograd.grad(value, list(model.parameters()), create_graph=True)
        return value + torch.stack([g.square().sum() for g in gradients]).sum()

    for loss in (by_inputs, by_parameters):
        p = lw.Problem(field, loss, [(torch.randn(10, 2),)])
        expected = p.losses(p.point[None] + 0.1)
        with mode():
            np.testing.assert_array_equal(p.losses(p.point[None] + 0.1), expected)


def test_what_the_caller_has_switched_on_stays_on_and_gradients_stay_as_they_are() -> None:
    with torch.inference_mode(), torch.autocast("cpu", torch.bfloat16):
        with own_modes():
            assert not torch.is_inference_mode_enabled()
            assert not torch.is_autocast_enabled("cpu")
            assert not torch.is_grad_enabled()
        assert torch.is_inference_mode_enabled()
        assert torch.is_autocast_enabled("cpu")
    with own_modes():
        assert torch.is_grad_enabled()
