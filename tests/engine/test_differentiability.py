"""Losses without second derivatives are refused, and the parameters that lack them are named."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.autograd.function import once_differentiable

from landscape_widget import Problem
from landscape_widget.engine.operators import Hessian

X, Y = torch.randn(40, 6, generator=torch.Generator().manual_seed(0)), torch.arange(40) % 3


class Cut(nn.Module):
    """Two layers, with something between them."""

    def __init__(self, between: nn.Module) -> None:
        super().__init__()
        torch.manual_seed(1)
        self.first, self.between, self.second = nn.Linear(6, 8), between, nn.Linear(8, 3)

    def forward(self, x: Tensor) -> Tensor:
        return self.second(self.between(self.first(x)))


class Chosen(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return F.one_hot(x.argmax(1), x.shape[1]).to(x)


class Detached(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return torch.tanh(x).detach()


class _OnceSquare(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x: Tensor) -> Tensor:
        ctx.save_for_backward(x)
        return x * x

    @staticmethod
    @once_differentiable
    def backward(ctx, *grads: Tensor) -> Tensor:
        (x,) = ctx.saved_tensors
        return 2 * x * grads[0]


class OnceSquare(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return _OnceSquare.apply(x)  # type: ignore[return-value]


@pytest.mark.parametrize("between", [Chosen(), Detached()], ids=["argmax", "detach"])
def test_parameters_cut_off_from_the_gradient_are_named(between: nn.Module) -> None:
    problem = Problem(Cut(between), nn.CrossEntropyLoss(), (X, Y))
    with pytest.raises(RuntimeError, match=r"depends on 'first.weight', 'first.bias' but passes no gradient"):
        _ = Hessian(problem) @ problem.point
    # The rest of θ has a Hessian.
    head = Problem(Cut(between), nn.CrossEntropyLoss(), (X, Y), params="second.*")
    assert float((Hessian(head) @ torch.ones_like(head.point)).norm()) > 0


def test_an_operation_that_can_be_differentiated_only_once_is_told_with_its_parameters() -> None:
    problem = Problem(Cut(OnceSquare()), nn.CrossEntropyLoss(), (X, Y))
    with pytest.raises(RuntimeError, match=r"differentiated twice, got .*no second derivative for .*'first.weight'"):
        _ = Hessian(problem) @ problem.point


def test_parameters_that_the_loss_does_not_use_are_no_error() -> None:
    class Spare(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.used, self.spare = nn.Linear(6, 3), nn.Linear(6, 3)

        def forward(self, x: Tensor) -> Tensor:
            return self.used(x)

    problem = Problem(Spare(), nn.CrossEntropyLoss(), (X, Y))
    product = Hessian(problem) @ torch.ones_like(problem.point)
    assert float(product[:21].norm()) > 0
    assert not product[21:].any()


def test_kinks_are_no_error() -> None:
    problem = Problem(Cut(nn.ReLU()), nn.CrossEntropyLoss(), (X, Y))
    assert float((Hessian(problem) @ torch.ones_like(problem.point)).norm()) > 0
