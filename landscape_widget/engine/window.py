"""The window: how far to look along each axis. Found on the true loss; the curvature only seeds the search.

Every search is a generator that yields after each probe, so that it can be stopped between two, and returns its result.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Generator
from dataclasses import dataclass, field

WINDOWS = ("saddle", "wide")

Spans = tuple[float, float]

# Share of the displayed range that a dip along negative curvature must have to be seen at first sight.
_VISIBLE_SHARE = 0.2
# Rise along the other axis, in dips.
_RISE = 1.5
# Half-width of the wide window, in ‖θ*‖.
_WIDE = 0.5
# Without negative curvature the rise shown is the loss itself, or if that is less, the rise at this part of ‖θ*‖
# along the stiffer axis.
_CLOSE = 0.05
_DOUBLINGS, _BISECTIONS, _NARROWINGS = 14, 5, 10
# Where the depth of a dip is looked for, in half-widths: a quartic is deepest at 0.71.
_PROFILE = (0.5, 0.75)


@dataclass
class Probes:
    """Losses at points of the plane, in steps of unit length along its axes; each is measured once.

    ``noise`` is a loss difference below which nothing is concluded: round-off of the loss.
    """

    loss: Callable[[float, float], float]
    noise: float
    known: dict[tuple[float, float], float] = field(default_factory=dict)

    def at(self, x: float, y: float) -> float:
        """The loss; inf where it is not finite (a window must not end there)."""
        if (x, y) not in self.known:
            value = self.loss(x, y)
            self.known[x, y] = value if math.isfinite(value) else math.inf
        return self.known[x, y]

    def along(self, axis: int, t: float) -> float:
        """The loss at a step t along one axis."""
        return self.at(t, 0.0) if axis == 0 else self.at(0.0, t)

    def lower(self, axis: int, t: float) -> float:
        """The smaller loss of the two steps ±t."""
        return min(self.along(axis, t), self.along(axis, -t))

    def lowest(self, axis: int, reach: float) -> float:
        """The smallest loss measured so far along one axis, up to a distance."""
        return min(value for point, value in self.known.items() if point[1 - axis] == 0.0 and abs(point[axis]) <= reach)

    def rise(self, axis: int, t: float) -> float:
        """How much the loss has risen at the higher of the two steps ±t."""
        return max(self.along(axis, t), self.along(axis, -t)) - self.center

    @property
    def center(self) -> float:
        """The loss at θ*."""
        return self.at(0.0, 0.0)


def find_spans(
    loss: Callable[[float, float], float],
    norms: tuple[float, float],
    curvatures: tuple[float, float],
    theta_norm: float,
    window: str,
    *,
    noise: float = 0.0,
) -> Generator[None, None, Spans]:
    """Half-widths along the two axes, in coordinates of the axes.

    "wide" looks half of ‖θ*‖ far along both. "saddle" looks just far enough: along an axis of negative curvature to
    where the loss returns to its value at the centre (at most ‖θ*‖), along the other so far that the rise is one to
    two times that dip; narrower where the dip would be under a fifth of what is displayed. Where the loss shows no dip,
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
    noise
        Round-off of the loss: smaller dips are none.

    Yields
    ------
    None
        After every probe or few.

    Returns
    -------
    tuple of float
        The half-widths.
    """
    if window not in WINDOWS:
        raise ValueError(f"expected window 'saddle' or 'wide', got {window!r}")
    reach = theta_norm or 1.0
    if window == "wide":
        spans = _WIDE * reach, _WIDE * reach
    else:
        probes = Probes(lambda x, y: loss(x / norms[0], y / norms[1]), noise)
        first = yield from _dip(probes, 0, curvatures[0], reach)
        second = yield from _dip(probes, 1, curvatures[1], reach)
        spans = yield from _spans_around(probes, first, second, curvatures, reach)
    return spans[0] / norms[0], spans[1] / norms[1]


def _spans_around(
    probes: Probes,
    first: tuple[float, float] | None,
    second: tuple[float, float] | None,
    curvatures: tuple[float, float],
    reach: float,
) -> Generator[None, None, Spans]:
    """Half-widths that show the dips along the two axes; of equal rise where there is none."""
    if first is None and second is None:
        return (yield from _equal_rise(probes, curvatures, reach))
    if first is not None and second is not None:
        spans, deeper = (first[0], second[0]), int(second[1] > first[1])
    elif second is not None:
        spans, deeper = ((yield from _width_of_rise(probes, 0, curvatures[0], _RISE * second[1], reach)), second[0]), 1
    else:
        assert first is not None
        spans, deeper = (first[0], (yield from _width_of_rise(probes, 1, curvatures[1], _RISE * first[1], reach))), 0
    return (yield from _until_visible(probes, spans, deeper))


def _dip(
    probes: Probes, axis: int, curvature: float, reach: float
) -> Generator[None, None, tuple[float, float] | None]:
    """(half-width, depth) of the dip along an axis of negative curvature; None where the loss has none above its noise.

    There may be none: the curvature has its own error, and at a kink the Hessian does not describe the slice.
    """
    if curvature >= 0:
        return None
    threshold = probes.center - probes.noise
    # Where the quadratic would have lowered the loss by a tenth of itself.
    t = min(reach, math.sqrt(0.2 * max(abs(probes.center), 1e-6) / abs(curvature)))
    low, high = 0.0, math.inf
    for _ in range(_DOUBLINGS):
        is_below = probes.lower(axis, t) < threshold
        yield
        low, high = (t, high) if is_below else (low, t)
        if (low and math.isfinite(high)) or low >= reach:
            break
        t = min(2 * t, reach) if is_below else t / 2
    if not low:
        return None
    high = min(high, reach)
    for _ in range(_BISECTIONS):
        if high - low <= 0.05 * high:
            break
        middle = 0.5 * (low + high)
        low, high = (middle, high) if probes.lower(axis, middle) < threshold else (low, middle)
        yield
    # A window does not end where the loss is not finite.
    width = high if math.isfinite(probes.rise(axis, high)) else low
    for fraction in _PROFILE:
        probes.lower(axis, fraction * width)
        yield
    return width, probes.center - probes.lowest(axis, width)


def _equal_rise(probes: Probes, curvatures: tuple[float, float], reach: float) -> Generator[None, None, Spans]:
    """Half-widths along which the loss rises equally: by as much as it is, at least by what a short step shows."""
    stiffer = int(abs(curvatures[1]) > abs(curvatures[0]))
    rise = max(abs(probes.center), probes.rise(stiffer, _CLOSE * reach))
    yield
    first = yield from _width_of_rise(probes, 0, curvatures[0], rise, reach)
    second = yield from _width_of_rise(probes, 1, curvatures[1], rise, reach)
    return first, second


def _width_of_rise(
    probes: Probes, axis: int, curvature: float, rise: float, reach: float
) -> Generator[None, None, float]:
    """The half-width at which the loss has risen by ``rise`` to within a third; at most ``reach``."""
    t = min(reach, math.sqrt(2 * rise / abs(curvature)) if curvature and 0 < rise < math.inf else 0.1 * reach)
    low, high = 0.0, math.inf
    for _ in range(_DOUBLINGS):
        got = probes.rise(axis, t)
        yield
        if 0.75 * rise <= got <= 1.33 * rise or (got < rise and t >= reach):
            break
        low, high = (t, high) if got < rise else (low, t)
        t = min(2 * t, reach) if math.isinf(high) else 0.5 * (low + high)
    return t


def _until_visible(probes: Probes, spans: Spans, axis: int) -> Generator[None, None, Spans]:
    """Narrow the window until the dip along ``axis`` is a fifth of the range it shows.

    At a point with a gradient one side of the axis, or a corner, can rise far above the dip. First the other axis is
    narrowed, then both: near the centre a slope alone makes half of the range a dip.
    """
    for attempt in range(_NARROWINGS):
        probes.lower(axis, 0.5 * spans[axis])
        seen = []
        for f in (-1, 0, 1):
            seen += [probes.at(f * spans[0], g * spans[1]) for g in (-1, 0, 1)]
            yield
        deepest = probes.lowest(axis, spans[axis])
        top, bottom = max(seen), min(*seen, deepest)
        if not top > bottom or probes.center - deepest >= _VISIBLE_SHARE * (top - bottom):
            break
        factors = (0.6, 0.6) if attempt % 2 else (0.6, 1.0) if axis else (1.0, 0.6)
        spans = spans[0] * factors[0], spans[1] * factors[1]
    return spans
