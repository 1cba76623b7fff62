"""Small models of many architectures, each with its loss on all data written down by hand, and dense Hessians of it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.attention import SDPBackend, sdpa_kernel

from landscape_widget.engine.problem import Problem


@dataclass(frozen=True)
class Case:
    """A model with loss and data as a user gives them, and ``whole(model)``: its mean loss over all data in one piece."""

    model: nn.Module
    loss: Any
    data: Any
    whole: Callable[[nn.Module], Tensor]

    def problem(self, **settings: Any) -> Problem:
        return Problem(self.model, self.loss, self.data, **settings)


class _Whole(nn.Module):
    def __init__(self, case: Case) -> None:
        super().__init__()
        self.model, self._whole = case.model.eval(), case.whole

    def forward(self) -> Tensor:
        return self._whole(self.model)


def whole_function(case: Case, names: list[str] | None = None) -> tuple[Callable[[Tensor], Tensor], Tensor]:
    """The mean loss as a function of one flat vector, and the trained point."""
    wrapped = _Whole(case)
    chosen = {
        name: p
        for name, p in wrapped.named_parameters()
        if (p.requires_grad if names is None else name.removeprefix("model.") in names)
    }

    def function(flat: Tensor) -> Tensor:
        parts = flat.split([p.numel() for p in chosen.values()])
        values = {name: part.view(p.shape) for (name, p), part in zip(chosen.items(), parts, strict=True)}
        return torch.func.functional_call(wrapped, values, ())

    return function, torch.cat([p.detach().reshape(-1) for p in chosen.values()])


def dense_hessian(case: Case, names: list[str] | None = None) -> Tensor:
    function, point = whole_function(case, names)
    with sdpa_kernel(SDPBackend.MATH):
        if any(isinstance(m, nn.LSTM) for m in case.model.modules()):  # torch.func cannot map over LSTMs
            hessian = torch.autograd.functional.hessian(function, point)
            assert isinstance(hessian, Tensor)
            return hessian
        # Twice in reverse: forward mode warns of torch.jit's deprecation.
        return torch.func.jacrev(torch.func.jacrev(function))(point)


def batches(columns: tuple[Tensor, ...], size: int) -> list[tuple[Tensor, ...]]:
    """Split into batches; the last one is smaller."""
    return list(zip(*(column.split(size) for column in columns), strict=True))


class _Tied(nn.Module):
    """Encoder and decoder share one matrix."""

    def __init__(self) -> None:
        super().__init__()
        self.encoder, self.decoder = nn.Linear(5, 5), nn.Linear(5, 5)
        self.decoder.weight = self.encoder.weight

    def forward(self, x: Tensor) -> Tensor:
        return self.decoder(torch.tanh(self.encoder(x)))


class _Unused(nn.Module):
    """One tensor that the output does not depend on, between two that it does."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.idle, self.last = nn.Linear(4, 5), nn.Linear(3, 2), nn.Linear(5, 3)

    def forward(self, x: Tensor) -> Tensor:
        return self.last(torch.tanh(self.first(x)))


class _Recurrent(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.lstm, self.head = nn.LSTM(2, 3, batch_first=True), nn.Linear(3, 1)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.lstm(x)[0][:, -1])


class _Attention(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.mix, self.head = nn.Linear(4, 12), nn.Linear(4, 3)

    def forward(self, x: Tensor) -> Tensor:
        q, k, v = self.mix(x).unflatten(-1, (3, 2, 2)).permute(2, 0, 3, 1, 4)
        attended = F.scaled_dot_product_attention(q, k, v, is_causal=True)
        return self.head(attended.transpose(1, 2).flatten(2)).mean(1)


class _TwoInputs(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.left, self.right = nn.Linear(3, 4), nn.Linear(2, 4)

    def forward(self, x: Tensor, y: Tensor) -> Tensor:
        return torch.tanh(self.left(x)) * self.right(y)


def _mlp(inputs: int = 4, outputs: int = 3) -> nn.Sequential:
    return nn.Sequential(nn.Linear(inputs, 6), nn.Tanh(), nn.Linear(6, outputs))


def mlp() -> Case:
    x, y = torch.randn(100, 4), torch.randint(0, 3, (100,))
    return Case(_mlp(), nn.CrossEntropyLoss(), (x, y), lambda m: F.cross_entropy(m(x), y))


def conv_batchnorm() -> Case:
    model = nn.Sequential(
        nn.Conv2d(1, 3, 3, bias=False), nn.BatchNorm2d(3), nn.SiLU(), nn.Flatten(), nn.Linear(3 * 4, 3)
    )
    x, y = torch.randn(50, 1, 4, 4) * 2 + 1, torch.randint(0, 3, (50,))
    model.train()(x)  # running statistics of their own
    return Case(model, nn.CrossEntropyLoss(), batches((x, y), 16), lambda m: F.cross_entropy(m(x), y))


def tied() -> Case:
    x, y = torch.randn(30, 5), torch.randn(30, 5)
    return Case(_Tied(), nn.MSELoss(), batches((x, y), 8), lambda m: F.mse_loss(m(x), y))


def frozen() -> Case:
    model = _mlp()
    model[0].weight.requires_grad_(False)
    x, y = torch.randn(30, 4), torch.randn(30, 3)
    return Case(model, F.mse_loss, (x, y), lambda m: F.mse_loss(m(x), y))


def unused() -> Case:
    x, y = torch.randn(30, 4), torch.randint(0, 3, (30,))
    return Case(_Unused(), F.cross_entropy, batches((x, y), 7), lambda m: F.cross_entropy(m(x), y))


def lstm() -> Case:
    x, y = torch.randn(20, 4, 2), torch.randn(20, 1)
    return Case(_Recurrent(), nn.MSELoss(), batches((x, y), 6), lambda m: F.mse_loss(m(x), y))


def attention() -> Case:
    x, y = torch.randn(20, 5, 4), torch.randint(0, 3, (20,))
    return Case(_Attention(), nn.CrossEntropyLoss(), batches((x, y), 6), lambda m: F.cross_entropy(m(x), y))


def dict_batches() -> Case:
    class Named(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.net = _TwoInputs()

        def forward(self, *, features: Tensor, extra: Tensor) -> Tensor:
            return self.net(features, extra)

    x, e, y = torch.randn(25, 3), torch.randn(25, 2), torch.randn(25, 4)
    data = [{"features": a, "extra": b, "labels": c} for a, b, c in batches((x, e, y), 10)]
    return Case(Named(), nn.MSELoss(), data, lambda m: F.mse_loss(m(features=x, extra=e), y))


def two_inputs() -> Case:
    a, b, y = torch.randn(25, 3), torch.randn(25, 2), torch.randn(25, 4)
    return Case(_TwoInputs(), nn.MSELoss(), batches((a, b, y), 10), lambda m: F.mse_loss(m(a, b), y))


def nested_inputs() -> Case:
    a, b, y = torch.randn(25, 3), torch.randn(25, 2), torch.randn(25, 4)
    data = [((p, q), t) for p, q, t in batches((a, b, y), 10)]
    return Case(_TwoInputs(), nn.MSELoss(), data, lambda m: F.mse_loss(m(a, b), y))


def own_loss() -> Case:
    """A penalty on the weights inside the loss: functional_call must reach them, too."""
    x, y = torch.randn(100, 4), torch.randint(0, 3, (100,))

    def loss(model: nn.Module, batch: tuple[Tensor, Tensor]) -> Tensor:
        penalty = sum(((p**2).sum() for p in model.parameters()), torch.zeros(()))
        return F.cross_entropy(model(batch[0]), batch[1]) + 0.1 * penalty

    return Case(_mlp(), loss, batches((x, y), 32), lambda m: loss(m, (x, y)))


ARCHITECTURES = {
    make.__name__: make
    for make in (
        *(mlp, conv_batchnorm, tied, frozen, unused, lstm, attention),
        *(dict_batches, two_inputs, nested_inputs, own_loss),
    )
}


def make(name: str) -> Case:
    """A case in float64 with seeded weights and data; torch's default precision and random state are put back."""
    before = torch.get_default_dtype()
    with torch.random.fork_rng(devices=()):
        torch.manual_seed(0)
        torch.set_default_dtype(torch.float64)
        try:
            return ARCHITECTURES[name]()
        finally:
            torch.set_default_dtype(before)


class Slice(nn.Module):
    """A model of two parameters whose loss is a given function of them: the plane of its axes is known exactly."""

    def __init__(self, function: Callable[[Tensor, Tensor], Tensor], at: tuple[float, float] = (0.0, 0.0)) -> None:
        super().__init__()
        self.theta = nn.Parameter(torch.tensor(at, dtype=torch.float64))
        self._function = function

    def forward(self) -> Tensor:
        return self._function(self.theta[0], self.theta[1])


def slice_problem(function: Callable[[Tensor, Tensor], Tensor], at: tuple[float, float] = (0.0, 0.0)) -> Problem:
    """L(θ₁, θ₂) = function(θ₁, θ₂)."""
    return Problem(Slice(function, at), lambda model, batch: model())


AXES = (torch.tensor([1.0, 0.0]), torch.tensor([0.0, 1.0]))
