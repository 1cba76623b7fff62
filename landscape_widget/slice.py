"""The loss along one direction: a frozen value. numpy only."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from types import MappingProxyType
from typing import Any

import numpy as np

from landscape_widget.interpolate import predict
from landscape_widget.landscape import Direction, PredictionError


@dataclass(frozen=True, eq=False, repr=False)
class Slice:
    """f(α) = L(θ* + α d): the loss along one direction, measured in full or in part.

    Attributes
    ----------
    alphas
        Coordinates along the direction, shape (a,), ascending, 0 in the middle.
    losses
        Shape (a,), float64. Meaningful only where ``measured``; a measured NaN or inf is what the loss gave.
    measured
        Shape (a,), bool.
    direction
        d, exactly as it was given, and its norm.
    center_loss
        f(0).
    slope
        f′(0) = dᵀ∇L.
    curvature
        f″(0) = dᵀHd; None where the loss has no Hessian.
    error
        How far the predicted losses may be off.
    metrics
        Further quantities by name, each of shape (a,), meaningful only where ``measured``.
    tolerance, seed, scale, clip
        As they were given to :func:`landscape_widget.slice_along`.
    model, loss, num_parameters, num_samples, theta_norm, dtype, device, strategy, notes
        Of the problem, as in a landscape's :class:`landscape_widget.Recipe`.

    Raises
    ------
    ValueError
        For arrays whose shapes do not fit together.

    Examples
    --------
    >>> import landscape_widget as lw
    >>> from landscape_widget import examples
    >>> along = lw.slice_along(examples.quadratic([2.0, -1.0]), direction=[1.0, 1.0], resolution=9, span=2.0)
    >>> along
    <Slice of 9 points, 9 measured, loss 0 to 2; along dx>
    >>> along.slope, along.curvature
    (0.0, 1.0)
    """

    alphas: np.ndarray
    losses: np.ndarray
    measured: np.ndarray
    direction: Direction
    center_loss: float
    slope: float
    curvature: float | None = None
    error: PredictionError = field(default_factory=PredictionError)
    metrics: Mapping[str, np.ndarray] = field(default_factory=dict)
    tolerance: float = 0.0
    seed: int = 0
    scale: str = "linear"
    clip: float | None = None
    model: str = ""
    loss: str = ""
    num_parameters: int | None = None
    num_samples: int | None = None
    theta_norm: float | None = None
    dtype: str = "float32"
    device: str = "cpu"
    strategy: str = ""
    notes: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if np.ndim(self.alphas) != 1:
            raise ValueError(f"expected alphas of shape (a,), got {np.shape(self.alphas)}")
        shape = np.shape(self.alphas)
        for name, array in {"losses": self.losses, "measured": self.measured, **self.metrics}.items():
            if np.shape(array) != shape:
                raise ValueError(f"expected {name} of the shape of alphas, {shape}, got {np.shape(array)}")
        for name, dtype in (("alphas", float), ("losses", float), ("measured", bool)):
            object.__setattr__(self, name, _frozen(getattr(self, name), dtype))
        metrics = {str(name): _frozen(array, float) for name, array in self.metrics.items()}
        object.__setattr__(self, "metrics", MappingProxyType(metrics))

    def __repr__(self) -> str:
        """One line: the arrays would fill a screen."""
        finite = self.losses[self.measured & np.isfinite(self.losses)]
        losses = f", loss {finite.min():.4g} to {finite.max():.4g}" if finite.size else ""
        points = f"{len(self.alphas):,} points, {self.num_measured:,} measured"
        return f"<Slice of {points}{losses}; along {self.direction.symbol}>"

    def curve(self) -> np.ndarray:
        """The losses at full resolution, shape (a,): measured where measured, predicted elsewhere, NaN where neither is known.

        Raises
        ------
        ValueError
            Where losses are to be predicted and their number is not 2^k + 1.
        """
        return self._curve.copy()

    @cached_property
    def _curve(self) -> np.ndarray:
        return predict(self.losses[None], self.measured[None])[0]

    def parabola(self) -> np.ndarray | None:
        """What slope and curvature at θ* promise: f(0) + α f′(0) + ½ α² f″(0), shape (a,); None without a Hessian."""
        if self.curvature is None:
            return None
        return self.center_loss + self.slope * self.alphas + 0.5 * self.curvature * self.alphas**2

    @property
    def num_measured(self) -> int:
        """Number of measured points."""
        return int(self.measured.sum())


def _frozen(array: Any, dtype: type) -> np.ndarray:
    """A view that nobody writes to, so that what came in stays writeable for whoever made it."""
    view = np.asarray(array, dtype=dtype).view()
    view.flags.writeable = False
    return view
