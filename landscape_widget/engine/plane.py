"""A plane in parameter space: θ(α, β) = θ* + α d₁ + β d₂."""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor

from landscape_widget.keywords import hinted
from landscape_widget.landscape import Direction

# Beyond this |cos| two axes are called parallel: the plane would be a line to working precision.
_PARALLEL = 0.999
# Curvatures along an axis are divided by its norm squared, which must be a number.
_SHORTEST = 1e-150


class Plane:
    """Origin and two axes, used exactly as given.

    Parameters
    ----------
    origin
        θ*, shape (n,).
    directions
        Two directions with vectors of shape (n,), of any norm.

    Raises
    ------
    TypeError
        For an origin that is no tensor, and for anything but two Directions.
    ValueError
        For axes that are zero, not finite, of a norm whose square float64 cannot hold, of another length than the origin,
        or parallel (|cos| > 0.999), and for a direction that was saved without its vector.

    Examples
    --------
    >>> import landscape_widget as lw
    >>> from landscape_widget import examples
    >>> problem = examples.quadratic([2.0, 1.0, -1.0])
    >>> x, y = lw.hessian_directions(problem, k=1).directions
    >>> plane = lw.Plane(problem.point, (x, y))
    >>> theta = plane.point(0.5, -0.25)
    >>> float(theta.norm() ** 2)
    0.3125
    >>> plane.coordinates(theta)
    (0.5, -0.25, 0.0)
    """

    @hinted
    def __init__(self, origin: Tensor, directions: tuple[Direction, Direction]) -> None:
        _check(origin, directions)
        self.origin = origin
        self.directions = directions
        (first, length), (second, other) = (checked_axis(origin, direction) for direction in directions)
        self.axes = torch.stack([first, second])
        """Shape (2, n)."""
        self._axes = self.axes.unbind()
        self.norms: tuple[float, float] = length, other
        self.cosine = float(first.double() @ second.double()) / math.prod(self.norms)
        if abs(self.cosine) > _PARALLEL:
            raise ValueError(
                f"expected two different axes, got parallel ones (cosine {self.cosine:.6f}): "
                f"{directions[0].label!r} and {directions[1].label!r}"
            )

    def point(self, alpha: float, beta: float, *, out: Tensor | None = None) -> Tensor:
        """θ(α, β), shape (n,), always from the origin; θ(0, 0) is the origin bit for bit. Written into ``out`` where that is given."""
        x, y = self._axes
        return torch.add(self.origin, x, alpha=alpha, out=out).add_(y, alpha=beta)

    def coordinates(self, theta: Tensor) -> tuple[float, float, float]:
        """(α, β) of the point of the plane nearest to θ, and the distance of θ from the plane. Least squares in float64."""
        difference = (theta.detach().to(self.origin).reshape(-1) - self.origin).double()
        axes = self.axes.double()
        coordinates = torch.linalg.solve(axes @ axes.T, axes @ difference)
        return float(coordinates[0]), float(coordinates[1]), float((difference - coordinates @ axes).norm())


def checked_axis(origin: Tensor, direction: Direction) -> tuple[Tensor, float]:
    """A direction's vector as a tensor like the origin, shape (n,), and its norm.

    Raises
    ------
    ValueError
        For an axis that is zero, not finite, of another length than the origin or of a norm whose square float64 cannot hold.
    """
    axis = torch.as_tensor(direction.vector).detach().to(origin).reshape(-1)
    if axis.shape != origin.shape:
        raise ValueError(f"expected an axis of {origin.numel()} entries, got {axis.numel()} in {direction.label!r}")
    if not bool(torch.isfinite(axis).all()) or not bool(axis.any()):
        raise ValueError(f"expected an axis with finite entries that are not all zero, got {direction.label!r}")
    norm = float(axis.double().norm())
    if not _SHORTEST < norm < 1 / _SHORTEST:
        raise ValueError(
            f"expected an axis of a norm between {_SHORTEST:.0e} and {1 / _SHORTEST:.0e}, got {norm:.2g} in "
            f"{direction.label!r}; give it another length"
        )
    return axis, norm


def _check(origin: Any, directions: Any) -> None:
    if not isinstance(origin, Tensor):
        raise TypeError(f"expected origin as a tensor (n,), such as problem.point, got {type(origin).__name__}")
    given = list(directions) if isinstance(directions, (tuple, list)) else [directions]
    if len(given) != 2 or not all(isinstance(direction, Direction) for direction in given):
        kinds = ", ".join(type(direction).__name__ for direction in given) or "none"
        raise TypeError(
            f"expected two Directions, got {kinds}; hessian_directions, random_directions and gradient_direction make "
            "them, and survey(..., directions=...) takes tensors as they are"
        )
    for direction in given:
        if direction.vector is None:
            raise ValueError(
                f"expected a direction with its vector, got {direction.label!r} without: "
                "a landscape is saved with its axes only by save(..., keep_directions=True)"
            )
