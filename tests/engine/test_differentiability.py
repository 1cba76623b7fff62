"""Losses without second derivatives are refused, and the parameters that lack them are named."""

from __future__ import annotations

import warnings
from collections.abc import Callable

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


class _Cubed(torch.autograd.Function):
    """x³, whose backward pass is right once."""

    @staticmethod
    def forward(ctx, x: Tensor) -> Tensor:
        ctx.save_for_backward(x)
        return x**3

    @staticmethod
    def backward(ctx, *grads: Tensor) -> Tensor:
        (x,) = ctx.saved_tensors
        return 3 * x**2 * grads[0]


class _SlopeKept(_Cubed):
    @staticmethod
    def forward(ctx, x: Tensor) -> Tensor:
        ctx.slope = 3 * x.detach() ** 2
        return x**3

    @staticmethod
    def backward(ctx, *grads: Tensor) -> Tensor:
        return ctx.slope * grads[0]


class _WithoutGradient(_Cubed):
    @staticmethod
    def backward(ctx, *grads: Tensor) -> Tensor:
        (x,) = ctx.saved_tensors
        with torch.no_grad():
            slope = 3 * x**2
        return slope * grads[0]


class _ByNumpy(_Cubed):
    @staticmethod
    def backward(ctx, *grads: Tensor) -> Tensor:
        (x,) = ctx.saved_tensors
        return torch.from_numpy(3 * x.detach().numpy() ** 2 * grads[0].detach().numpy())


class _HalfWrong(_Cubed):
    @staticmethod
    def backward(ctx, *grads: Tensor) -> Tensor:
        (x,) = ctx.saved_tensors
        return 1.5 * (x**2 + x.detach() ** 2) * grads[0]


class Applied(nn.Module):
    def __init__(self, function: type[_Cubed]) -> None:
        super().__init__()
        self.function = function

    def forward(self, x: Tensor) -> Tensor:
        return self.function.apply(x)  # type: ignore[return-value]


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("function", [_SlopeKept, _WithoutGradient, _ByNumpy, _HalfWrong])
def test_a_backward_pass_that_hides_what_it_depends_on_is_refused(function: type[_Cubed], dtype: torch.dtype) -> None:
    """Its products would be wrong, symmetric, and without an error."""
    problem = Problem(Cut(Applied(function)).to(dtype), nn.CrossEntropyLoss(), (X.to(dtype), Y))
    with pytest.raises(RuntimeError, match=r"miss the gradient's differences by \d+ % at best"):
        _ = Hessian(problem) @ problem.point
    right = Problem(Cut(Applied(_Cubed)).to(dtype), nn.CrossEntropyLoss(), (X.to(dtype), Y))
    assert float((Hessian(right) @ right.point).norm()) > 0


class Straight(nn.Module):
    """Rounds, and passes the gradient straight through."""

    def forward(self, x: Tensor) -> Tensor:
        return torch.tanh(x + (x.round() - x).detach())


def test_a_gradient_passed_straight_through_rounding_has_no_hessian() -> None:
    problem = Problem(Cut(Straight()).double(), nn.CrossEntropyLoss(), (X.double(), Y))
    with pytest.raises(RuntimeError, match="miss the gradient's differences"):
        _ = Hessian(problem) @ problem.point


class Precise(nn.Module):
    """Single precision inside, whatever comes."""

    def forward(self, x: Tensor) -> Tensor:
        return torch.tanh(x.float()).to(x.dtype)


@pytest.mark.parametrize("between", [Precise(), nn.ReLU(), nn.Hardtanh()], ids=lambda m: type(m).__name__)
def test_round_off_and_kinks_are_no_reason_to_refuse(between: nn.Module) -> None:
    problem = Problem(Cut(between).double(), nn.CrossEntropyLoss(), (X.double(), Y))
    assert float((Hessian(problem) @ torch.ones_like(problem.point)).norm()) > 0


def test_torchs_own_weight_norm_by_hooks_is_refused() -> None:
    """Its fused operation has a wrong second derivative."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", FutureWarning)
        torch.manual_seed(0)
        model = nn.Sequential(nn.utils.weight_norm(nn.Linear(6, 5)), nn.Tanh(), nn.Linear(5, 3)).double().eval()
        with torch.no_grad():
            model(X.double())
        problem = Problem(model, nn.CrossEntropyLoss(), (X.double(), Y))
    with pytest.raises(RuntimeError, match="miss the gradient's differences"):
        _ = Hessian(problem) @ problem.point


@pytest.mark.parametrize("between", [Chosen(), Detached()], ids=["argmax", "detach"])
def test_parameters_cut_off_from_the_gradient_are_named(between: nn.Module) -> None:
    problem = Problem(Cut(between), nn.CrossEntropyLoss(), (X, Y))
    with pytest.raises(RuntimeError, match=r"depends on 'first.weight', 'first.bias' but passes no gradient"):
        _ = Hessian(problem) @ problem.point
    # The rest of θ has a Hessian.
    head = Problem(Cut(between), nn.CrossEntropyLoss(), (X, Y), params="second.*")
    assert float((Hessian(head) @ torch.ones_like(head.point)).norm()) > 0


class Through(nn.Module):
    def __init__(self, function: Callable[[Tensor], Tensor]) -> None:
        super().__init__()
        self.function = function

    def forward(self, x: Tensor) -> Tensor:
        return self.function(3 * x)


@pytest.mark.parametrize(
    "function",
    [
        torch.round,
        torch.floor,
        torch.ceil,
        torch.trunc,
        torch.sign,
        torch.sgn,
        lambda x: torch.round(x, decimals=1),
        lambda x: torch.div(x, 0.5, rounding_mode="floor"),
        lambda x: x.clone().round_(),
    ],
    ids=["round", "floor", "ceil", "trunc", "sign", "sgn", "decimals", "division", "in place"],
)
def test_parameters_behind_rounding_are_named(function: Callable[[Tensor], Tensor]) -> None:
    """Their gradient is not missing but zero, and so would be their part of the Hessian."""
    problem = Problem(Cut(Through(function)), nn.CrossEntropyLoss(), (X, Y))
    with pytest.raises(
        RuntimeError, match=r"depends on 'first\.weight', 'first\.bias' but passes no gradient.*rounding"
    ):
        _ = Hessian(problem) @ problem.point
    head = Problem(Cut(Through(function)), nn.CrossEntropyLoss(), (X, Y), params="second.*")
    assert float((Hessian(head) @ torch.ones_like(head.point)).norm()) > 0


@pytest.mark.parametrize(
    "function",
    [lambda x: x - x.floor(), lambda x: x * x.sign(), torch.frac, lambda x: torch.sgn(torch.complex(x, x + 1)).real],
    ids=["rest", "absolute value", "frac", "direction"],
)
def test_rounding_beside_a_path_for_the_gradient_is_no_error(function: Callable[[Tensor], Tensor]) -> None:
    problem = Problem(Cut(Through(function)).double(), nn.CrossEntropyLoss(), (X.double(), Y))
    product = Hessian(problem) @ torch.ones_like(problem.point)
    assert all(float(part.norm()) > 0 for part in problem.split(product))


def test_an_operation_that_can_be_differentiated_only_once_is_told_with_its_parameters() -> None:
    problem = Problem(Cut(OnceSquare()), nn.CrossEntropyLoss(), (X, Y))
    with pytest.raises(
        RuntimeError,
        match=r"^expected a loss that can be differentiated twice, got an operation marked once_differentiable; "
        r"no second derivative for 'first\.weight', 'first\.bias'\. Leave these",
    ) as caught:
        _ = Hessian(problem) @ problem.point
    assert str(caught.value).count("expected") == 1


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


def _of_zeros(*names: str) -> nn.Module:
    """ReLU layers, of which some are zero."""
    torch.manual_seed(1)
    model = nn.Sequential(nn.Linear(6, 16), nn.ReLU(), nn.Linear(16, 16), nn.ReLU(), nn.Linear(16, 3))
    with torch.no_grad():
        for name, part in model.named_parameters():
            if name.startswith(names):
                part.zero_()
    return model


def _pruned() -> nn.Module:
    model = _of_zeros("none")
    with torch.no_grad():
        for part in model[0].parameters():  # type: ignore[index]
            part[3] = 0
    return model


class Residual(nn.Module):
    """A block that torchvision's zero_init_residual makes the identity of what is often exactly zero."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.stem, self.inner, self.head = nn.Linear(6, 8), nn.Linear(8, 8), nn.Linear(8, 3)
        self.norm = nn.BatchNorm1d(8)
        nn.init.zeros_(self.norm.weight)

    def forward(self, x: Tensor) -> Tensor:
        x = F.relu(self.stem(x))
        return self.head(F.relu(x + self.norm(F.relu(self.inner(x)))))


BLANK = torch.where(torch.arange(40)[:, None] < 20, 0.0, X)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize(
    ("make", "x"),
    [
        (_pruned, X),
        (lambda: _of_zeros("2."), X),
        (lambda: _of_zeros(""), X),
        (lambda: _of_zeros("0.bias", "2.bias", "4.bias"), BLANK),
        (Residual, X),
    ],
    ids=["a pruned neuron", "a layer of zeros", "all zero", "blank samples without biases", "zero_init_residual"],
)
def test_kinks_exactly_at_the_point_are_no_error(make: Callable[[], nn.Module], x: Tensor, dtype: torch.dtype) -> None:
    problem = Problem(make().to(dtype), nn.CrossEntropyLoss(), (x.to(dtype), Y))
    assert float((Hessian(problem) @ torch.ones_like(problem.point)).norm()) > 0


def test_a_deep_network_with_many_kinks_has_a_hessian() -> None:
    """At every step that a person would choose some of its kinks are crossed."""
    torch.manual_seed(0)
    layers = [module for _ in range(12) for module in (nn.Linear(64, 64), nn.LayerNorm(64), nn.ReLU())]
    model = nn.Sequential(nn.Linear(6, 64), *layers, nn.Linear(64, 3))
    problem = Problem(model, nn.CrossEntropyLoss(), (X, Y))
    assert float((Hessian(problem) @ problem.point).norm()) > 0
