"""How far from θ* the Hessian describes the loss: gradient differences against vᵀHv, in float64."""

from __future__ import annotations

import math
from collections.abc import Iterator

import torch
from torch import Tensor

from landscape_widget.engine.arguments import check_number, check_problem
from landscape_widget.engine.differentiability import told_in_words
from landscape_widget.engine.modes import own_modes
from landscape_widget.engine.problem import Problem
from landscape_widget.engine.products import DoubleBackward
from landscape_widget.keywords import hinted
from landscape_widget.spectrum import QuadraticRange

# Steps looked at, in ‖Δθ‖: from the largest downwards, each a third of the one before, to where round-off takes over.
_LARGEST, _RATIO, _NUM_STEPS = 0.1, 10**0.5, 17
# How many steps in a row must agree: one can by chance.
_IN_A_ROW = 3


@hinted
@own_modes()
def quadratic_range(problem: Problem, vector: Tensor, *, tol: float = 0.1) -> QuadraticRange:
    """Find h₀, the distance along a vector up to which the Hessian at θ* describes the loss.

    With kinks (ReLU, max-pooling) the Hessian at a point can say nothing about the visible slice: between kinks the
    loss is smooth, and its curvature is mostly in the jumps of the gradient, which no second derivative sees.

    Parameters
    ----------
    problem
        At its θ*. A copy in float64 is made.
    vector
        Shape (n,), not zero; its length does not matter.
    tol
        Differences agree within this part of |vᵀHv|, or of round-off.

    Returns
    -------
    QuadraticRange

    Raises
    ------
    TypeError, ValueError
        For a vector that is zero or of another length, and for a tolerance that is no positive number.
    RuntimeError
        Where the loss cannot be differentiated twice.

    Examples
    --------
    >>> import torch, landscape_widget as lw
    >>> from landscape_widget import examples
    >>> problem = examples.quadratic([2.0, 1.0, -1.0])
    >>> lw.quadratic_range(problem, lw.hessian_directions(problem, k=1).smallest.vectors[0]).radius
    0.1
    """
    *_, last = iter_quadratic_range(problem, vector, tol=tol)
    return last


def iter_quadratic_range(problem: Problem, vector: Tensor, *, tol: float = 0.1) -> Iterator[QuadraticRange]:
    """As :func:`quadratic_range`, yielding after every step what is known so far; the last one is the result."""
    check_problem(problem)
    check_number(tol, "tol")
    if not tol > 0:
        raise ValueError(f"expected tol above 0, got {tol}")
    vector = torch.as_tensor(vector).detach().reshape(-1)
    if vector.numel() != problem.num_parameters or not bool(vector.any()) or not bool(torch.isfinite(vector).all()):
        raise ValueError(
            f"expected a finite vector of {problem.num_parameters} entries that are not all zero, got one of {vector.numel()}"
        )
    exact = problem.in_float64()
    unit = vector.to(exact.point)
    unit = unit / unit.norm()
    with told_in_words(exact, exact.point):
        # Not a Hessian, which would refuse what is to be found out here.
        (product,) = DoubleBackward(exact, exact.point, exact.terms)(unit[None])
    curvature = float(unit @ product)
    eps = torch.finfo(exact.dtype).eps
    steps: list[float] = []
    differences: list[float] = []
    radius, agreed = 0.0, 0
    for i in range(_NUM_STEPS):
        h = _LARGEST / _RATIO**i
        ahead, behind = (exact.gradient(exact.point + sign * h * unit) for sign in (1, -1))
        steps.append(h)
        differences.append(float((ahead - behind) @ unit) / (2 * h))
        scale = max(float(ahead.norm()), float(behind.norm()), float(exact.point.norm()) * abs(curvature))
        allowed = tol * abs(curvature) + 16 * eps * scale / h
        # A gradient that is not finite agrees with nothing.
        agrees = math.isfinite(differences[-1]) and abs(differences[-1] - curvature) <= allowed
        agreed = agreed + 1 if agrees else 0
        radius = steps[-agreed] if agreed else 0.0
        yield QuadraticRange(radius, curvature, tuple(steps), tuple(differences))
        if agreed >= _IN_A_ROW:
            return
