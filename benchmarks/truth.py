"""What the tools are judged by: Hessian-vector products by plain double backward, in float64 and written here."""

from __future__ import annotations

import copy
from dataclasses import dataclass

import numpy as np
import torch
from models import Workload
from peers import CRITERION, SEED, Ends, arpack
from torch import Tensor, nn

# Of a product in float32, relative to ‖H‖: nearer to zero than that a value cannot be told.
_NOISE = 64 * torch.finfo(torch.float32).eps


class DoubleBackward:
    """Hv = ∇(∇L · v) over all batches, its graph made anew in each product: the yardstick for every other way.

    Parameters
    ----------
    workload
        Model and data; copied.
    dtype
        To compute in.
    """

    def __init__(self, workload: Workload, dtype: torch.dtype) -> None:
        self.model: nn.Module = copy.deepcopy(workload.model).to(dtype)
        self.parameters = list(self.model.parameters())
        self.batches = [(x.to(dtype), y) for x, y in workload.batches]
        self.dtype, self.num_samples = dtype, workload.num_samples

    def __matmul__(self, v: Tensor) -> Tensor:
        parts = [
            part.view_as(p)
            for part, p in zip(
                v.to(self.dtype).split([p.numel() for p in self.parameters]), self.parameters, strict=True
            )
        ]
        total = torch.zeros_like(v, dtype=self.dtype)
        for x, y in self.batches:
            loss = CRITERION(self.model(x), y) * (len(y) / self.num_samples)
            gradients = torch.autograd.grad(loss, self.parameters, create_graph=True)
            products = torch.autograd.grad(gradients, self.parameters, parts)
            total += torch.cat([product.reshape(-1) for product in products])
        return total


@dataclass(frozen=True)
class Verdict:
    """On the pairs of one end."""

    residual: float
    """The largest ‖Hy − μy‖/|μ| for unit y, H in float64."""
    right: bool
    """Whether they are the pairs asked for: every value within the tolerance of the eigenvalue of its rank."""


class Truth:
    """The eigenvalues at both ends and the judge of pairs, in float64."""

    def __init__(self, workload: Workload, k: int, tol: float) -> None:
        self.hessian, self.tol = DoubleBackward(workload, torch.float64), tol
        ends = arpack(
            lambda v: (self.hessian @ torch.from_numpy(v).reshape(-1)).numpy(),
            workload.num_parameters,
            k,
            SEED + 1,
            ncv=80,
            tol=1e-4,
        )
        self.values = {end: values for end, (values, _) in ends.items()}

    def judge(self, ends: Ends) -> dict[str, Verdict]:
        return {end: self._judge(end, *pairs) for end, pairs in ends.items()}

    def _judge(self, end: str, values: np.ndarray, vectors: Tensor) -> Verdict:
        vectors = vectors.double() / vectors.double().norm(dim=1, keepdim=True)
        residuals = [
            float((self.hessian @ y - mu * y).norm()) / abs(mu) for mu, y in zip(values.tolist(), vectors, strict=True)
        ]
        known = self.values[end]
        allowed = np.maximum(self.tol * np.abs(known), _NOISE * max(np.abs(v).max() for v in self.values.values()))
        return Verdict(max(residuals), bool((np.abs(values - known) <= allowed).all()))
