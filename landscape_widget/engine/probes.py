"""Random vectors to probe the Hessian with, the same on every device."""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor

from landscape_widget.engine.operators import Hessian

DISTRIBUTIONS = ("rademacher", "gaussian")
# Numbers in a slice of vectors: enough for products of small networks to go together, one vector at a time for others.
_SLICE = 2**17


class Probes:
    """Independent vectors with E z = 0 and E zzᵀ = I, drawn one after the other on the CPU.

    Parameters
    ----------
    like
        Gives length, precision and device.
    distribution
        "rademacher" (±1: the smallest variance of zᵀHz) or "gaussian".
    seed
        The same seed gives the same sequence, however it is cut into slices.
    """

    def __init__(self, like: Tensor, distribution: str, seed: int) -> None:
        self._like, self._distribution = like, distribution
        self._generator = torch.Generator("cpu").manual_seed(seed)

    def draw(self) -> Tensor:
        """The next vector, shape (n,)."""
        n = self._like.numel()
        if self._distribution == "gaussian":
            vector = torch.randn(n, generator=self._generator, dtype=torch.float64, device="cpu")
        else:
            vector = torch.randint(0, 2, (n,), generator=self._generator, dtype=torch.int8, device="cpu") * 2 - 1
        return vector.to(self._like)

    def slices(self, count: int) -> Iterator[Tensor]:
        """The next ``count`` vectors as rows, (k, n) at a time with k so small that they take little memory."""
        size = slice_size(self._like.numel())
        while count > 0:
            yield torch.stack([self.draw() for _ in range(min(size, count))])
            count -= size


def slice_size(n: int) -> int:
    """How many vectors of length n go through a product together."""
    return max(1, min(16, _SLICE // n))


def finite_products(hessian: Hessian, vectors: Tensor) -> Tensor:
    """H @ V row by row, (k, n) → (k, n).

    Raises
    ------
    FloatingPointError
        For products that are not finite.
    """
    made = hessian @ vectors
    if not bool(torch.isfinite(made).all()):
        raise FloatingPointError(
            "expected finite Hessian-vector products, got NaN or inf; the loss has no second derivative here, or overflows"
        )
    return made


def dot(a: Tensor, b: Tensor) -> Tensor:
    """Row by row aᵀb, accumulated in float64: (…, n) → (…)."""
    return (a.double() * b.double()).sum(-1)
