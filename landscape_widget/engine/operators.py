"""Matrices known by their products: the Hessian of a problem's mean loss."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import Tensor

from landscape_widget.engine.arguments import check_problem
from landscape_widget.engine.problem import Problem

# How torch says that an operation has no second derivative.
_NOT_TWICE = ("is not implemented", "double backward", "once_differentiable")


class Hessian:
    """H = ∇²L(θ), symmetric, shape (n, n), by double backward (Pearlmutter 1994): Hv = ∇(∇L · v).

    The Hessian of the *mean* loss over the problem's data, the same for every way of batching them.

    Parameters
    ----------
    problem
        Whose loss.
    theta
        Where, shape (n,); θ* by default.

    Examples
    --------
    >>> import torch, landscape_widget as lw
    >>> from landscape_widget import examples
    >>> H = lw.Hessian(examples.quadratic([2.0, 1.0, -1.0]))
    >>> e = torch.eye(3, dtype=torch.float64)
    >>> sorted(round(x, 12) for x in torch.linalg.eigvalsh(H @ e).tolist())
    [-1.0, 1.0, 2.0]
    """

    def __init__(self, problem: Problem, theta: Tensor | None = None) -> None:
        check_problem(problem)
        self.problem = problem
        self.theta = problem.point if theta is None else torch.as_tensor(theta).detach().to(problem.point).clone()
        if self.theta.shape != problem.point.shape:
            raise ValueError(f"expected theta of shape ({problem.num_parameters},), got {tuple(self.theta.shape)}")
        self.num_matvecs = 0
        """Hessian-vector products so far."""
        # With one batch the graph of the gradient is built once and serves all products; with more it would not fit
        # in memory.
        self._kept: tuple[Tensor, Tensor] | None = None

    @property
    def shape(self) -> tuple[int, int]:
        """(n, n)."""
        return self.theta.numel(), self.theta.numel()

    def __matmul__(self, v: Any) -> Any:
        """H @ v for v of shape (n,), or row by row for V of shape (k, n); numpy in, numpy out.

        Raises
        ------
        ValueError
            For another shape.
        """
        if isinstance(v, np.ndarray):
            return (self @ torch.tensor(v)).cpu().numpy().astype(np.float64)
        if v.dim() == 2:
            return torch.stack([self @ row for row in v])
        if v.shape != self.theta.shape:
            raise ValueError(f"expected a vector of shape ({self.theta.numel()},) or rows of it, got {tuple(v.shape)}")
        v = v.detach().to(self.theta)
        self.num_matvecs += 1
        try:
            return self._product(v)
        except RuntimeError as error:
            if not any(words in str(error) for words in _NOT_TWICE):
                raise
            raise RuntimeError(
                f"expected a loss that can be differentiated twice, got {error}; "
                "a surface along random directions needs no second derivative"
            ) from error

    def _product(self, v: Tensor) -> Tensor:
        total = torch.zeros_like(self.theta)
        for leaf, gradient in self._gradients():
            if gradient.requires_grad:
                (product,) = torch.autograd.grad(
                    gradient, leaf, v, retain_graph=self._kept is not None, materialize_grads=True
                )
                total += product
        return total

    def release(self) -> None:
        """Free the kept graph; the next product builds it anew."""
        self._kept = None

    def _gradients(self) -> Any:
        """(leaf, gradient with graph) for each batch."""
        if self._kept is not None:
            yield self._kept
            return
        for term in self.problem.terms():
            leaf = self.theta.detach().clone().requires_grad_(True)
            with torch.enable_grad(), self.problem.differentiable():
                value = self.problem.term(leaf, term)
                if not value.requires_grad:
                    continue
                # A loss linear in θ has a gradient without a graph: its Hessian is zero.
                (gradient,) = torch.autograd.grad(value, leaf, create_graph=True, materialize_grads=True)
            if self.problem.num_terms == 1:
                self._kept = leaf, gradient
            yield leaf, gradient
