"""Directions to span a plane with: random, gradient, the user's own; and, by name, the Hessian's eigenvectors."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from landscape_widget.engine.arguments import check_count, check_problem, check_seed
from landscape_widget.engine.calling import real_tensor
from landscape_widget.engine.eigendirections import (
    HessianDirections,
    hessian_directions,
    iter_extended,
    iter_hessian_directions,
)
from landscape_widget.engine.problem import Problem
from landscape_widget.keywords import hinted
from landscape_widget.landscape import Direction

__all__ = [
    "HessianDirections",
    "as_direction",
    "gradient_direction",
    "hessian_directions",
    "iter_extended",
    "iter_hessian_directions",
    "random_directions",
]

# Added to a filter's norm before dividing (Li et al. 2018, their code).
_EPSILON = 1e-10
_SUBSCRIPTS = str.maketrans("0123456789", "₀₁₂₃₄₅₆₇₈₉")


@hinted
def random_directions(
    problem: Problem, count: int = 2, *, normalization: str = "filter", seed: int = 0
) -> tuple[Direction, ...]:
    """Gaussian random directions, normalized by a rule.

    Parameters
    ----------
    problem
        Whose parameters give the shapes and, for "filter" and "layer", the norms.
    count
        How many; direction i of a seed is the same whatever the count.
    normalization
        "none": N(0, 1) entries. "unit": ‖d‖ = 1. "filter" (Li et al. 2018): each slice along dimension 0 of a tensor
        of two or more dimensions gets the norm of that filter in θ*; tensors of one dimension (biases, normalization
        layers) and filters that are zero get direction zero. "layer": the same with whole tensors.
    seed
        Of the draw.

    Returns
    -------
    tuple of Direction
        With ``vector`` (n,) and ``norm``.

    Raises
    ------
    TypeError, ValueError
        For an unknown normalization, and for a count or seed out of range.

    Examples
    --------
    >>> import landscape_widget as lw
    >>> from landscape_widget import examples
    >>> [round(d.norm, 12) for d in lw.random_directions(examples.quadratic([2.0, -1.0]), normalization="unit")]
    [1.0, 1.0]
    """
    check_problem(problem)
    check_count(count, "count")
    check_seed(seed)
    if not isinstance(normalization, str) or normalization not in _NORMALIZATIONS:
        raise ValueError(f"expected normalization {', '.join(map(repr, _NORMALIZATIONS))}, got {normalization!r}")
    made = []
    for i in range(count):
        # On the CPU, so that every device gets the same.
        generator = torch.Generator("cpu").manual_seed(seed * 1_000_003 + i)
        draw = torch.randn(
            problem.num_parameters,
            generator=generator,
            dtype=torch.float64,
            device="cpu",
        )
        draw = draw.to(problem.point)
        vector = _NORMALIZATIONS[normalization](problem, draw)
        kind = {"none": "random", "unit": "random (unit)"}.get(normalization, f"random ({normalization}-normalized)")
        made.append(
            Direction(
                key=f"random-{i}",
                kind="random",
                symbol="r" + str(i + 1).translate(_SUBSCRIPTS),
                label=f"{kind} {i + 1}, seed {seed}",
                vector=vector,
                norm=float(vector.double().norm()),
                normalization=normalization,
                seed=seed,
            )
        )
    return tuple(made)


def filters_move(problem: Problem) -> bool:
    """Whether filter-normalized directions are not zero: some tensor of two or more dimensions has a weight that is not."""
    return any(part.dim() > 1 and bool(part.any()) for part in problem.split(problem.point))


@hinted
def gradient_direction(problem: Problem) -> Direction:
    """The unit vector along ∇L(θ*).

    Raises
    ------
    TypeError
        For what is no Problem.
    ValueError
        Where the gradient is exactly zero: there is no direction.

    Examples
    --------
    >>> import landscape_widget as lw
    >>> from landscape_widget import examples
    >>> direction = lw.gradient_direction(examples.regression())
    >>> direction.symbol, round(float(direction.vector.norm()), 6)
    ('∇L', 1.0)
    """
    check_problem(problem)
    gradient = problem.gradient()
    norm = float(gradient.double().norm())
    if norm == 0.0:
        raise ValueError("expected a point with a gradient, got ∇L = 0: a critical point has no gradient direction")
    return Direction(
        key="gradient",
        kind="gradient",
        symbol="∇L",
        label="gradient",
        vector=gradient / norm,
    )


def as_direction(problem: Problem, given: Any, position: int = 0) -> Direction:
    """A user's own axis as a :class:`Direction`, exactly as given.

    Parameters
    ----------
    problem
        Whose parameters it must fit.
    given
        A Direction, a flat tensor or array (n,), a list of tensors of the parameters' shapes, or a state_dict
        (entries that are not in θ are ignored).

    Raises
    ------
    ValueError, TypeError
        Naming the first mismatch.
    """
    if isinstance(given, Direction):
        if given.vector is None:
            raise ValueError(
                f"expected a direction with its vector, got {given.label!r} without: "
                "a landscape is saved with its axes only by save(..., keep_directions=True)"
            )
        if np.prod(np.shape(given.vector)) != problem.num_parameters:
            raise ValueError(
                f"expected a direction with {problem.num_parameters} entries, got {np.prod(np.shape(given.vector))} in {given.label!r}"
            )
        return given
    if isinstance(given, Mapping):
        missing = [name for name in problem.parameter_names if name not in given]
        if missing:
            raise ValueError(f"expected a state_dict with all of θ's tensors, got one without {missing[0]!r}")
        given = [given[name] for name in problem.parameter_names]
    if isinstance(given, Sequence) and not isinstance(given, (str, bytes)) and given and not np.isscalar(given[0]):
        parts = [_tensor(part, problem) for part in given]
        for name, shape, part in zip(problem.parameter_names, problem.parameter_shapes, parts, strict=False):
            if part.shape != shape:
                raise ValueError(f"expected a tensor of shape {tuple(shape)} for {name!r}, got {tuple(part.shape)}")
        if len(parts) != len(problem.parameter_names):
            raise ValueError(
                f"expected {len(problem.parameter_names)} tensors ({', '.join(problem.parameter_names)}), got {len(parts)}"
            )
        given = torch.cat([part.reshape(-1) for part in parts])
    if not isinstance(given, (Tensor, np.ndarray, Sequence)) or isinstance(given, (str, bytes)):
        raise TypeError(
            f"expected a direction as a Direction, a tensor, an array, a list of tensors or a state_dict, got {type(given).__name__}"
        )
    vector = _tensor(given, problem).reshape(-1)
    if vector.numel() != problem.num_parameters:
        raise ValueError(f"expected a direction with {problem.num_parameters} entries, got {vector.numel()}")
    name = "xy"[position]
    return Direction(
        key=f"own-{name}",
        kind="own",
        symbol=f"d{name}",
        label=f"own direction {name}",
        vector=vector,
        norm=float(vector.double().norm()),
    )


def _tensor(given: Any, problem: Problem) -> Tensor:
    return real_tensor(given, "a direction").detach().to(problem.point)


def _filterwise(problem: Problem, draw: Tensor) -> Tensor:
    parts = []
    for d, theta in zip(problem.split(draw), problem.split(problem.point), strict=True):
        if d.dim() <= 1:
            parts.append(torch.zeros_like(d).reshape(-1))
        else:
            rows, weights = d.reshape(len(d), -1), theta.reshape(len(theta), -1)
            parts.append((rows * (weights.norm(dim=1) / (rows.norm(dim=1) + _EPSILON))[:, None]).reshape(-1))
    return torch.cat(parts)


def _layerwise(problem: Problem, draw: Tensor) -> Tensor:
    parts = []
    for d, theta in zip(problem.split(draw), problem.split(problem.point), strict=True):
        parts.append((torch.zeros_like(d) if d.dim() <= 1 else d * (theta.norm() / (d.norm() + _EPSILON))).reshape(-1))
    return torch.cat(parts)


_NORMALIZATIONS: dict[str, Callable[[Problem, Tensor], Tensor]] = {
    "filter": _filterwise,
    "layer": _layerwise,
    "unit": lambda _problem, draw: draw / draw.norm(),
    "none": lambda _problem, draw: draw,
}
