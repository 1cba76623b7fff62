"""The window: how far to look along each axis. Found on the true loss; the curvature only seeds the search.

The search is pure: a probe that is not known yet ends it, is measured by whoever searches, and the search begins again with
all that is known; so that measuring can be stopped at any time, and what a journal knows is not measured again.
"""

from __future__ import annotations

import math
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


class _Unknown(Exception):
    """A probe must be measured first."""

    def __init__(self, x: float, y: float) -> None:
        super().__init__(x, y)
        self.point = x, y


@dataclass
class _Probes:
    """Losses at points of the plane, in steps of unit length along its axes.

    ``noise`` is a loss difference below which nothing is concluded: round-off of the loss.
    """

    noise: float
    known: dict[tuple[float, float], float] = field(default_factory=dict)
    seen: set[tuple[float, float]] = field(default_factory=set)
    """What the search has looked at since it began again: what it comes to must not depend on what it will see."""

    def at(self, x: float, y: float) -> float:
        """The loss; inf where it is not finite (a window must not end there)."""
        if (x, y) not in self.known:
            raise _Unknown(x, y)
        self.seen.add((x, y))
        return self.known[x, y]

    def tell(self, x: float, y: float, loss: float) -> None:
        """What was measured."""
        self.known[x, y] = loss if math.isfinite(loss) else math.inf

    def along(self, axis: int, t: float) -> float:
        """The loss at a step t along one axis."""
        return self.at(t, 0.0) if axis == 0 else self.at(0.0, t)

    def lower(self, axis: int, t: float) -> float:
        """The smaller loss of the two steps ±t."""
        return min(self.along(axis, t), self.along(axis, -t))

    def lowest(self, axis: int, reach: float) -> float:
        """The smallest loss seen so far along one axis, up to a distance."""
        return min(self.known[p] for p in self.seen if p[1 - axis] == 0.0 and abs(p[axis]) <= reach)

    def rise(self, axis: int, t: float) -> float:
        """How much the loss has risen at the higher of the two steps ±t."""
        return max(self.along(axis, t), self.along(axis, -t)) - self.center

    @property
    def center(self) -> float:
        """The loss at θ*."""
        return self.at(0.0, 0.0)


class WindowSearch:
    """Finds half-widths along the two axes, in coordinates of the axes (ask/tell).

    "wide" looks half of ‖θ*‖ far along both. "saddle" looks just far enough: along an axis of negative curvature to
    where the loss returns to its value at the centre (at most ‖θ*‖), along the other so far that the rise is one to
    two times that dip; narrower where the dip would be under a fifth of what is displayed. Where the loss shows no dip,
    both axes get the same rise.

    Parameters
    ----------
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

    Raises
    ------
    ValueError
        For a window that is none.
    """

    def __init__(self, norms: Spans, curvatures: Spans, theta_norm: float, window: str, *, noise: float = 0.0) -> None:
        if window not in WINDOWS:
            raise ValueError(f"expected window 'saddle' or 'wide', got {window!r}")
        self._norms, self._curvatures, self._window = norms, curvatures, window
        self._reach = theta_norm or 1.0
        self._probes = _Probes(noise)
        self._asked: tuple[float, float] | None = None
        self.spans: Spans | None = None
        """The half-widths, once they are found."""

    def ask(self) -> Spans | None:
        """The point (α, β) whose loss is needed next; None when the half-widths are found."""
        try:
            x, y = self._found()
        except _Unknown as unknown:
            self._asked = x, y = unknown.point
            return x / self._norms[0], y / self._norms[1]
        self.spans = x / self._norms[0], y / self._norms[1]
        return None

    def tell(self, loss: float) -> None:
        """The loss at the point that was asked for."""
        assert self._asked is not None
        self._probes.tell(*self._asked, loss)

    def _found(self) -> Spans:
        """The half-widths in unit steps."""
        reach, probes = self._reach, self._probes
        probes.seen.clear()
        if self._window == "wide":
            return _WIDE * reach, _WIDE * reach
        dips = _dip(probes, 0, self._curvatures[0], reach), _dip(probes, 1, self._curvatures[1], reach)
        return _spans_around(probes, *dips, self._curvatures, reach)


class LineSearch:
    """Finds the half-width along one direction, in coordinates of it (ask/tell).

    Along negative curvature it is where the loss returns to its value at the centre (at most ‖θ*‖), narrower where a
    slope would hide the dip; elsewhere it is where the loss has risen by itself, at least by what a short step shows.

    Parameters
    ----------
    norm
        ‖d‖.
    curvature
        vᵀHv along the *unit* direction.
    theta_norm, noise
        As of :class:`WindowSearch`.
    """

    def __init__(self, norm: float, curvature: float, theta_norm: float, *, noise: float = 0.0) -> None:
        self._norm, self._curvature = norm, curvature
        self._reach = theta_norm or 1.0
        self._probes = _Probes(noise)
        self._asked: tuple[float, float] | None = None
        self.span: float | None = None
        """The half-width, once it is found."""

    def ask(self) -> float | None:
        """The coordinate whose loss is needed next; None when the half-width is found."""
        try:
            self.span = self._found() / self._norm
        except _Unknown as unknown:
            self._asked = unknown.point
            return unknown.point[0] / self._norm
        return None

    def tell(self, loss: float) -> None:
        """The loss at the coordinate that was asked for."""
        assert self._asked is not None
        self._probes.tell(*self._asked, loss)

    def _found(self) -> float:
        """The half-width in unit steps."""
        probes, curvature, reach = self._probes, self._curvature, self._reach
        probes.seen.clear()
        if dip := _dip(probes, 0, curvature, reach):
            # A plane whose other axis has no width.
            return _until_visible(probes, (dip[0], 0.0), 0)[0]
        rise = max(abs(probes.center), probes.rise(0, _CLOSE * reach))
        return _width_of_rise(probes, 0, curvature, rise, reach)


def _spans_around(
    probes: _Probes,
    first: tuple[float, float] | None,
    second: tuple[float, float] | None,
    curvatures: tuple[float, float],
    reach: float,
) -> Spans:
    """Half-widths that show the dips along the two axes; of equal rise where there is none."""
    if first is None and second is None:
        return _equal_rise(probes, curvatures, reach)
    if first is not None and second is not None:
        spans, deeper = (first[0], second[0]), int(second[1] > first[1])
    elif second is not None:
        spans, deeper = (_width_of_rise(probes, 0, curvatures[0], _RISE * second[1], reach), second[0]), 1
    else:
        assert first is not None
        spans, deeper = (first[0], _width_of_rise(probes, 1, curvatures[1], _RISE * first[1], reach)), 0
    return _until_visible(probes, spans, deeper)


def _dip(probes: _Probes, axis: int, curvature: float, reach: float) -> tuple[float, float] | None:
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
    # A window does not end where the loss is not finite.
    width = high if math.isfinite(probes.rise(axis, high)) else low
    for fraction in _PROFILE:
        probes.lower(axis, fraction * width)
    return width, probes.center - probes.lowest(axis, width)


def _equal_rise(probes: _Probes, curvatures: tuple[float, float], reach: float) -> Spans:
    """Half-widths along which the loss rises equally: by as much as it is, at least by what a short step shows."""
    stiffer = int(abs(curvatures[1]) > abs(curvatures[0]))
    rise = max(abs(probes.center), probes.rise(stiffer, _CLOSE * reach))
    first = _width_of_rise(probes, 0, curvatures[0], rise, reach)
    second = _width_of_rise(probes, 1, curvatures[1], rise, reach)
    return first, second


def _width_of_rise(probes: _Probes, axis: int, curvature: float, rise: float, reach: float) -> float:
    """The half-width at which the loss has risen by ``rise`` to within a third; at most ``reach``."""
    t = min(reach, math.sqrt(2 * rise / abs(curvature)) if curvature and 0 < rise < math.inf else 0.1 * reach)
    low, high = 0.0, math.inf
    for _ in range(_DOUBLINGS):
        got = probes.rise(axis, t)
        if 0.75 * rise <= got <= 1.33 * rise or (got < rise and t >= reach):
            break
        low, high = (t, high) if got < rise else (low, t)
        t = min(2 * t, reach) if math.isinf(high) else 0.5 * (low + high)
    return t


def _until_visible(probes: _Probes, spans: Spans, axis: int) -> Spans:
    """Narrow the window until the dip along ``axis`` is a fifth of the range it shows.

    At a point with a gradient one side of the axis, or a corner, can rise far above the dip. First the other axis is
    narrowed, then both: near the centre a slope alone makes half of the range a dip.
    """
    for attempt in range(_NARROWINGS):
        probes.lower(axis, 0.5 * spans[axis])
        seen = []
        for f in (-1, 0, 1):
            seen += [probes.at(f * spans[0], g * spans[1]) for g in (-1, 0, 1)]
        deepest = probes.lowest(axis, spans[axis])
        top, bottom = max(seen), min(*seen, deepest)
        if not top > bottom or probes.center - deepest >= _VISIBLE_SHARE * (top - bottom):
            break
        both = attempt % 2 or not spans[1 - axis]
        factors = (0.6, 0.6) if both else (0.6, 1.0) if axis else (1.0, 0.6)
        spans = spans[0] * factors[0], spans[1] * factors[1]
    return spans
