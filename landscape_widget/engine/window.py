"""The window: how far to look along each axis. Found on the true loss; the curvature only seeds the search."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

import numpy as np

WINDOWS = ("saddle", "wide")

# Share of the displayed range that a dip along negative curvature must have to be seen at first sight.
_VISIBLE_SHARE = 0.2
# Rise along the other axis, in dips.
_RISE = 1.5
# Half-width of the wide window, in ‖θ*‖.
_WIDE = 0.5
_DOUBLINGS, _BISECTIONS, _PROFILE, _NARROWINGS = 14, 5, 8, 10


@dataclass
class Probes:
    """Losses along the axes, each measured once: ``loss(alpha, beta)`` is asked through :meth:`at`."""

    loss: Callable[[float, float], float]
    known: dict[tuple[float, float], float] = field(default_factory=dict)

    def at(self, alpha: float, beta: float) -> float:
        """The loss at a point; inf where it is not finite (a window must not end there)."""
        key = (alpha, beta)
        if key not in self.known:
            value = self.loss(alpha, beta)
            self.known[key] = value if math.isfinite(value) else math.inf
        return self.known[key]


def find_spans(
    loss: Callable[[float, float], float],
    norms: tuple[float, float],
    curvatures: tuple[float, float],
    theta_norm: float,
    window: str,
) -> Iterator[tuple[float, float] | None]:
    """Half-widths along the two axes, in coordinates of the axes; yields None after every probe and the half-widths last.

    "wide" looks half of ‖θ*‖ far along both. "saddle" looks just far enough: along an axis of negative curvature to
    where the loss returns to its value at the centre (at most ‖θ*‖), along the other so far that the rise is one to
    two times that dip; narrower where the dip would be under a fifth of what is displayed. Without negative curvature
    both axes get the same rise.

    Parameters
    ----------
    loss
        ``loss(alpha, beta)``.
    norms
        ‖d₁‖, ‖d₂‖.
    curvatures
        vᵀHv along the *unit* axes.
    theta_norm
        ‖θ*‖; 0 counts as 1.
    window
        "saddle" or "wide".
    """
    if window not in WINDOWS:
        raise ValueError(f"expected window 'saddle' or 'wide', got {window!r}")
    reach = theta_norm or 1.0
    if window == "wide":
        yield (_WIDE * reach / norms[0], _WIDE * reach / norms[1])
        return
    # In units of ‖Δθ‖ from here on.
    probes = Probes(lambda a, b: loss(a / norms[0], b / norms[1]))
    axes = [lambda t: (t, 0.0), lambda t: (0.0, t)]
    dips: list[tuple[float, float] | None] = []
    for axis, curvature in zip(axes, curvatures, strict=True):
        dip = None
        if curvature < 0:
            for dip in _dip(probes, axis, curvature, reach):  # noqa: B007 - the last value is the result
                yield None
        # A curvature whose dip the loss itself does not show (its residual, a kink) gives no window.
        dips.append(dip if dip and dip[1] > 0 else None)
    if dips[0] is None and dips[1] is None:
        spans = [0.0, 0.0]
        rise = math.nan
        stiff = int(abs(curvatures[1]) > abs(curvatures[0]))
        for number in (stiff, 1 - stiff):
            if math.isnan(rise):
                center = probes.at(0.0, 0.0)
                rise = max(abs(center), _rise(probes, axes[number], 0.05 * reach))
            for span in _width_for_rise(probes, axes[number], curvatures[number], rise, reach):
                spans[number] = span
                yield None
    else:
        spans = [dip[0] if dip else 0.0 for dip in dips]
        for number, dip in enumerate(dips):
            other = dips[1 - number]
            if dip is None and other is not None:
                for span in _width_for_rise(probes, axes[number], curvatures[number], _RISE * other[1], reach):
                    spans[number] = span
                    yield None
        deeper = max((d[1], -i) for i, d in enumerate(dips) if d is not None)
        for narrowed in _until_visible(probes, (spans[0], spans[1]), -deeper[1]):
            spans = list(narrowed)
            yield None
    yield (spans[0] / norms[0], spans[1] / norms[1])


def _dip(
    probes: Probes, axis: Callable[[float], tuple[float, float]], curvature: float, reach: float
) -> Iterator[tuple[float, float]]:
    """(half-width, depth) of the dip along an axis of negative curvature; better with every item."""
    center = probes.at(0.0, 0.0)

    def below(t: float) -> bool:
        return min(probes.at(*axis(t)), probes.at(*axis(-t))) < center

    # Where the quadratic would have lowered the loss by a tenth of itself.
    t = min(reach, math.sqrt(2 * 0.1 * max(abs(center), 1e-6) / abs(curvature)))
    low, high = 0.0, reach
    for _ in range(_DOUBLINGS):
        if below(t):
            low = t
            if t >= reach:
                break
            t = min(2 * t, reach)
        else:
            high = t
            if low:
                break
            t /= 2
        yield t, 0.0
    if not low:
        low = high = t
    for _ in range(_BISECTIONS):
        if high - low <= 0.05 * high:
            break
        middle = 0.5 * (low + high)
        low, high = (middle, high) if below(middle) else (low, middle)
        yield high, 0.0
    width = high
    deepest = center
    for fraction in np.linspace(0, 1, _PROFILE + 1)[1:]:
        deepest = min(deepest, probes.at(*axis(float(fraction) * width)), probes.at(*axis(-float(fraction) * width)))
        yield width, center - deepest


def _rise(probes: Probes, axis: Callable[[float], tuple[float, float]], t: float) -> float:
    return max(probes.at(*axis(t)), probes.at(*axis(-t))) - probes.at(0.0, 0.0)


def _width_for_rise(
    probes: Probes, axis: Callable[[float], tuple[float, float]], curvature: float, rise: float, reach: float
) -> Iterator[float]:
    """The half-width at which the loss has risen by ``rise`` to within a third; at most ``reach``."""
    t = math.sqrt(2 * rise / abs(curvature)) if curvature and rise > 0 else 0.1 * reach
    t = min(t, reach)
    low, high = 0.0, math.inf
    for _ in range(_DOUBLINGS):
        got = _rise(probes, axis, t)
        yield t
        if 0.75 * rise <= got <= 1.33 * rise or (got < rise and t >= reach):
            return
        low, high = (t, high) if got < rise else (low, t)
        t = min(2 * t, reach) if math.isinf(high) else 0.5 * (low + high)


def _until_visible(probes: Probes, spans: tuple[float, float], number: int) -> Iterator[tuple[float, float]]:
    """Narrow the window until the dip along axis ``number`` is a fifth of the range it shows.

    At a point with a gradient one side of the axis, or a corner, can rise far above the dip. First the other axis is
    narrowed, then both: near the centre a slope alone makes half of the range a dip.
    """
    for attempt in range(_NARROWINGS):
        yield spans
        center = probes.at(0.0, 0.0)
        fractions = np.linspace(-1, 1, 5)
        border = [probes.at(float(f) * spans[0], float(g) * spans[1]) for f in fractions for g in fractions]
        along = [
            probes.at(*((float(f) * spans[0], 0.0) if number == 0 else (0.0, float(f) * spans[1]))) for f in fractions
        ]
        top, bottom = max(border), min(border)
        if not top > bottom or center - min(along) >= _VISIBLE_SHARE * (top - bottom):
            return
        factors = [0.6, 0.6] if attempt % 2 else [1.0 if i == number else 0.6 for i in (0, 1)]
        spans = (spans[0] * factors[0], spans[1] * factors[1])
