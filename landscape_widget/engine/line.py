"""A line in parameter space: θ(α) = θ* + α d."""

from __future__ import annotations

import torch
from torch import Tensor

from landscape_widget.engine.plane import checked_axis
from landscape_widget.landscape import Direction


class Line:
    """Origin and one direction, used exactly as given.

    Parameters
    ----------
    origin
        θ*, shape (n,).
    direction
        With a vector of shape (n,), of any norm.

    Raises
    ------
    ValueError
        For a direction that is zero, not finite, of a norm whose square float64 cannot hold, or of another length than
        the origin.
    """

    def __init__(self, origin: Tensor, direction: Direction) -> None:
        axis, norm = checked_axis(origin, direction)
        self.origin, self.directions = origin, (direction,)
        self.axes = axis[None]
        """Shape (1, n)."""
        self.norms: tuple[float] = (norm,)

    def point(self, alpha: float, *, out: Tensor | None = None) -> Tensor:
        """θ(α), shape (n,), always from the origin; θ(0) is the origin bit for bit. Written into ``out`` where that is given."""
        return torch.add(self.origin, self.axes[0], alpha=alpha, out=out)
