"""The networks and the loss functions of the examples."""

from __future__ import annotations

import torch
from torch import Tensor, nn


class DigitsMLP(nn.Module):
    """64-64-64-10, tanh: 8,970 parameters. Images (p, 64) → scores (p, 10)."""

    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Linear(64, 64)
        self.second = nn.Linear(64, 64)
        self.scores = nn.Linear(64, 10)

    def forward(self, images: Tensor) -> Tensor:
        hidden = torch.tanh(self.first(images))
        hidden = torch.tanh(self.second(hidden))
        return self.scores(hidden)


class DigitsCNN(nn.Module):
    """Two convolutions and a linear layer: 5,210 parameters. Images (p, 1, 8, 8) → scores (p, 10).

    Every operation is smooth (SiLU, average pooling), so the Hessian describes the visible slice.
    """

    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Conv2d(1, 16, kernel_size=3)  # 8 × 8 → 6 × 6
        self.pool = nn.AvgPool2d(2)  # → 3 × 3
        self.second = nn.Conv2d(16, 48, kernel_size=2)  # → 2 × 2
        self.scores = nn.Linear(48 * 2 * 2, 10)
        self.activation = nn.SiLU()

    def forward(self, images: Tensor) -> Tensor:
        hidden = self.pool(self.activation(self.first(images)))
        hidden = self.activation(self.second(hidden))
        return self.scores(hidden.flatten(1))


class DigitsCNNReLU(DigitsCNN):
    """The same network with ReLU and max-pooling: kinks everywhere, which no Hessian sees."""

    def __init__(self) -> None:
        super().__init__()
        self.pool = nn.MaxPool2d(2)
        self.activation = nn.ReLU()


class DigitsOneHidden(nn.Module):
    """64-16-10, tanh: 1,210 parameters. Images (p, 64) → scores (p, 10)."""

    def __init__(self) -> None:
        super().__init__()
        self.hidden = nn.Linear(64, 16)
        self.scores = nn.Linear(16, 10)

    def forward(self, images: Tensor) -> Tensor:
        return self.scores(torch.tanh(self.hidden(images)))


class WaveMLP(nn.Module):
    """1-16-16-1, tanh: 321 parameters. x (p, 1) → y (p, 1)."""

    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Linear(1, 16)
        self.second = nn.Linear(16, 16)
        self.value = nn.Linear(16, 1)

    def forward(self, x: Tensor) -> Tensor:
        hidden = torch.tanh(self.first(x))
        hidden = torch.tanh(self.second(hidden))
        return self.value(hidden)


class ToySaddle(nn.Module):
    """Böttcher and Wheeler's L(θ) = ½ θ_N (Σ_{i≤m} θ_i² − Σ_{m<i≤2n} θ_i²), N = 2n + 1, at θ* = (0, …, 0, 1)."""

    signs: Tensor

    def __init__(self, n: int, m: int, dtype: torch.dtype) -> None:
        super().__init__()
        theta = torch.zeros(2 * n + 1, dtype=dtype, device="cpu")
        theta[-1] = 1
        signs = torch.ones(2 * n, dtype=dtype, device="cpu")
        signs[m:] = -1
        self.theta = nn.Parameter(theta)
        self.register_buffer("signs", signs)

    def forward(self) -> Tensor:
        return 0.5 * self.theta[-1] * (self.signs * self.theta[:-1] ** 2).sum()


class Quadratic(nn.Module):
    """L(θ) = ½ Σ λ_i (q_i·θ)², with q_i the columns of `rotation`, or the coordinate axes, at θ* = 0."""

    eigenvalues: Tensor
    rotation: Tensor | None

    def __init__(self, eigenvalues: Tensor, rotation: Tensor | None = None) -> None:
        super().__init__()
        self.theta = nn.Parameter(torch.zeros_like(eigenvalues))
        self.register_buffer("eigenvalues", eigenvalues)
        self.register_buffer("rotation", rotation)

    def forward(self) -> Tensor:
        coordinates = self.theta if self.rotation is None else self.theta @ self.rotation
        return 0.5 * (self.eigenvalues * coordinates**2).sum()


def own_value(model: nn.Module, batch: object) -> Tensor:
    """Return the model's own value as the loss: for models that are a loss and take no data."""
    return model()
