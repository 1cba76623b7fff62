"""How losses are displayed: linear or logarithmic, clipped or not; numpy only."""

from __future__ import annotations

from dataclasses import dataclass
from numbers import Real
from typing import Any

import numpy as np

SCALES = ("linear", "log")


@dataclass(frozen=True)
class Display:
    """What of a loss one sees: its value or logarithm, cut off above ``clip``.

    Attributes
    ----------
    scale
        "linear", or "log" for natural logarithms.
    clip
        Losses above it are displayed as it; None for no limit.

    Raises
    ------
    TypeError, ValueError
        For a scale that is none, and a clip that is no number, or not positive on the log scale.
    """

    scale: str = "linear"
    clip: float | None = None

    def __post_init__(self) -> None:
        if not isinstance(self.scale, str) or self.scale not in SCALES:
            raise ValueError(f"expected scale 'linear' or 'log', got {self.scale!r}")
        if self.clip is None:
            return
        if isinstance(self.clip, bool) or not isinstance(self.clip, Real):
            raise TypeError(f"expected clip as a loss or None, got {self.clip!r}")
        if not np.isfinite(self.clip) or (self.scale == "log" and self.clip <= 0):
            raise ValueError(f"expected clip as a finite loss, positive on the log scale, got {self.clip!r}")

    def of(self, losses: Any) -> np.ndarray:
        """The losses as displayed, of the same shape; NaN where they are not finite, or not positive on the log scale."""
        # A loss that is clipped is displayed, even if it is infinite; NaN and −inf never are.
        shown = np.asarray(losses, dtype=float)
        if self.clip is not None:
            shown = np.minimum(shown, self.clip)
        with np.errstate(invalid="ignore", divide="ignore"):
            shown = np.log(shown) if self.scale == "log" else shown
        return np.where(np.isfinite(shown), shown, np.nan)

    def miss(self, measured: np.ndarray, predicted: np.ndarray) -> np.ndarray:
        """|displayed − displayed as predicted|, of the same shape; inf where one of the two is a hole, 0 where both are."""
        one, other = self.of(measured), self.of(predicted)
        holes = np.isnan(one), np.isnan(other)
        miss = np.abs(np.where(holes[0] | holes[1], 0.0, one - np.where(holes[1], 0.0, other)))
        miss[holes[0] != holes[1]] = np.inf
        return miss

    def range(self, losses: np.ndarray) -> float:
        """Largest minus smallest displayed loss; 0 where nothing is displayed."""
        shown = self.of(losses)
        shown = shown[~np.isnan(shown)]
        return float(shown.max() - shown.min()) if shown.size else 0.0
