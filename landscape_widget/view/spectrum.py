"""The spectrum as the page draws it: the density over a signed axis, and the numbers beside it. numpy only; no Jupyter.

The format is docs/protocol.md's.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from landscape_widget.landscape import Curvature
from landscape_widget.spectrum import (
    KINDS_IN_WORDS,
    METHODS_IN_WORDS,
    Estimate,
    QuadraticRange,
    RandomPlanes,
    SpectralDensity,
    SpectralMoments,
)
from landscape_widget.view.numbers import number, with_error

_POINTS = 256
# Share of the axis that one eigenvalue is broadened by: about two pixels of a strip.
_BANDWIDTH = 0.008
# The axis shows at most so many orders of magnitude on each side of zero; what is smaller lies in its linear part.
_DECADES = 3
# Beyond the outermost nodes, in bandwidths.
_MARGIN = 4
# Nodes of this weight, relative to one eigenvalue's, are round-off.
_WEIGHTLESS = 1e-6
_LARGEST, _TINY = float(np.finfo(np.float64).max), 1e-290
# Two estimates of one eigenvalue in float32 agree to this, relative to the largest.
_SAME = 1e-4


def spectrum_entry(
    density: SpectralDensity | None,
    curvature: Curvature | None,
    gradient_norm: float | None = None,
    planes: RandomPlanes | None = None,
    moments: SpectralMoments | None = None,
    ranges: Sequence[tuple[str, QuadraticRange]] = (),
    *,
    done: bool,
) -> dict[str, Any]:
    """What is known of the spectrum, as the ``spectrum`` trait: JSON, every number in it finite.

    Parameters
    ----------
    density
        Or None while nothing is known of it.
    curvature
        Both ends, of the Lanczos run.
    gradient_norm
        ‖∇L(θ*)‖.
    planes
        What random planes would show.
    moments
        Trace and s, where they are better known than from the density.
    ranges
        Symbols of eigenvalues, and how far along their vectors the Hessian describes the loss.
    done
        Whether nothing of this will change any more; what is not known then is left out.
    """
    # Hostile values overflow here and there; what is not finite is left out or said in words.
    with np.errstate(all="ignore"):
        known = moments or density
        numbers = [
            _end("lambda_max", density, curvature),
            _end("lambda_min", density, curvature),
            _entry("trace", "tr H", "trace", _estimate(known and known.trace), _TRACE),
            _entry("trace_ratio", "s", "s = tr H/‖H‖_F", _estimate(known and known.trace_ratio), _RATIO),
            _entry("gradient", "‖∇L‖", "gradient", "" if gradient_norm is None else number(gradient_norm), _GRADIENT),
            _entry("range", "h₀", "range of the Hessian", _ranges(ranges), _RANGE),
            _entry("planes", "random planes", "random planes", _share(planes), _PLANES),
        ]
        drawn = _drawn(density) if density is not None else {}
    return {
        "done": bool(done),
        "noise": curvature.noise if curvature is not None and math.isfinite(curvature.noise) else None,
        **drawn,
        "numbers": [entry for entry in numbers if entry["text"] or not done],
        "planes": planes.in_words() if planes is not None else "",
    }


def signed_scale(*values: float) -> float:
    """Where the axis asinh(λ/c) goes over from linear to logarithmic: c, positive and finite.

    The least of the given magnitudes, so that each of them can be told from zero; but within three orders of
    magnitude of the greatest, or round-off would fill the axis.

    >>> signed_scale(-0.1, 0.5, 4.0), signed_scale(-1e-9, 2.0), signed_scale(0.0)
    (0.1, 0.002, 1.0)
    """
    sizes = [abs(value) for value in values if math.isfinite(value) and abs(value) > _TINY]
    return max(min(sizes), 10.0**-_DECADES * max(sizes)) if sizes else 1.0


def _drawn(density: SpectralDensity) -> dict[str, Any]:
    """The density over the axis u = asinh(λ/c), each node a Gaussian in u, in which bulk and outliers are equally sharp.

    In units of eigenvalues: one that stands alone has a peak of height 1, whatever the axis.
    """
    facts = {
        "num_parameters": int(density.num_parameters),
        "num_probes": int(density.num_probes),
        "num_steps": int(density.num_steps),
        "num_matvecs": int(density.num_matvecs),
    }
    counts = density.num_parameters * density.weights
    real = np.isfinite(density.nodes) & np.isfinite(counts) & (counts > _WEIGHTLESS)
    nodes, counts = density.nodes[real].astype(float), counts[real].astype(float)
    if not len(nodes):
        return facts
    low, high = float(nodes.min()), float(nodes.max())
    edges = [edge for edge in density.bulk if math.isfinite(edge)]
    scale = signed_scale(low, high, *edges)
    first, last = (math.asinh(value / scale) for value in (low, high))
    # One eigenvalue, many times: an axis from zero to it.
    width = last - first if last - first > _SAME else max(abs(first), abs(last)) or 1.0
    bandwidth = _BANDWIDTH * width
    places = np.linspace(first - _MARGIN * bandwidth, last + _MARGIN * bandwidth, _POINTS)
    offsets = (places[:, None] - np.arcsinh(nodes / scale)) / bandwidth
    heights = np.exp(-0.5 * offsets**2) @ counts
    return {
        "grid": _rounded(scale * np.sinh(places)),
        "counts": _rounded(heights),
        "scale": scale,
        "bandwidth": bandwidth,
        "bulk": edges if len(edges) == 2 else None,
        "outliers": [float(value) for value in density.outliers if math.isfinite(value)],
        **facts,
    }


def _rounded(values: np.ndarray) -> list[float]:
    """Finite, and to the digits that a picture has: half the bytes."""
    return [float(f"{value:.6g}") for value in np.clip(np.nan_to_num(values), -0.99 * _LARGEST, 0.99 * _LARGEST)]


# The numbers beside the strip


def _entry(key: str, symbol: str, label: str, text: str, explained: str) -> dict[str, str]:
    return {"key": key, "symbol": symbol, "label": label, "text": text, "help": explained}


def _end(key: str, density: SpectralDensity | None, curvature: Curvature | None) -> dict[str, str]:
    """An end of the spectrum: an eigenvalue where it has converged, else what any Ritz value is, a bound from inside."""
    upper = key == "lambda_max"
    symbol, label, explained = _ENDS[key]
    sign, relation = (1.0, "≥") if upper else (-1.0, "≤")
    node = None if density is None else density.largest if upper else density.smallest
    if node is not None and not math.isfinite(node):
        node = None
    if curvature is None:
        text = "" if node is None else f"{relation} {number(node)}"
        return _entry(key, symbol, label, text, explained)
    values, residuals, converged = (
        (curvature.largest, curvature.largest_residuals, curvature.ends_converged[0])
        if upper
        else (curvature.smallest, curvature.smallest_residuals, curvature.ends_converged[1])
    )
    value, error = values[0], curvature.error(residuals[0])
    # A node beyond the Lanczos run's last value proves that this is not the end.
    if node is not None and sign * (node - value) > error + _SAME * max(abs(value), abs(node)):
        text = f"{relation} {number(node)}"
    elif converged:
        text = with_error(value, error)
    else:
        text = f"{relation} {number(value)}, not converged yet"
    return _entry(key, symbol, label, text, explained)


def _estimate(estimate: Estimate | None) -> str:
    if estimate is None:
        return ""
    if math.isnan(estimate.mean):
        return "not defined"
    if not math.isfinite(estimate.sem):
        return f"{number(estimate.mean)}, error not known yet"
    return _measured(estimate.mean, estimate.sem)


def _measured(mean: float, sem: float) -> str:
    """A mean and its error, to the digits that are known: 36 ± 12, 6.6 ± 0.3; three digits at most, as everywhere."""
    if not (mean and sem and math.isfinite(mean)):
        return with_error(mean, sem)
    # Of an error that begins with 1 the second digit counts.
    leading, _, power = f"{sem:.1e}".partition("e")
    digits = 2 if leading.startswith("1") else 1
    known = math.floor(math.log10(abs(mean))) - int(power) + digits
    return f"{number(mean, min(3, max(1, known)))} ± {number(sem, digits)}"


def _share(planes: RandomPlanes | None) -> str:
    """How many random planes bend both ways; that they *show a saddle* is said only of a critical point."""
    if planes is None:
        return ""
    if planes.flat == 1:
        return f"all flat ({KINDS_IN_WORDS[planes.kind]}, {METHODS_IN_WORDS[planes.method]})"
    share = f"{100 * planes.saddle.mean:.0f}"
    if math.isfinite(planes.saddle.sem):
        share += f" ± {100 * planes.saddle.sem:.0f}"
    seen = "show a saddle" if planes.critical else "curve both up and down"
    return f"{share} % {seen} ({KINDS_IN_WORDS[planes.kind]}, {METHODS_IN_WORDS[planes.method]})"


def _ranges(ranges: Sequence[tuple[str, QuadraticRange]]) -> str:
    """How far the Hessian describes the loss, for each vector."""
    return ", ".join(f"{_reach(found)} along {symbol}" for symbol, found in ranges)


def _reach(found: QuadraticRange) -> str:
    if not found.radius:
        return "not at all"
    return f"{'≥' if found.radius >= found.steps[0] else '±'} {number(found.radius)}"


_ENDS = {
    "lambda_max": (
        "λ_max",
        "largest eigenvalue",
        "The largest eigenvalue of the Hessian: how fast the loss rises along the steepest direction of all, its sharpness.",
    ),
    "lambda_min": (
        "λ_min",
        "smallest eigenvalue",
        "The smallest eigenvalue of the Hessian: below zero the loss curves down along some direction, which is negative curvature.",
    ),
}
_TRACE = "The sum of all eigenvalues; what a random direction sees on average is the trace divided by the number of parameters."
_RATIO = (
    "s = tr H/‖H‖_F: the sum of the eigenvalues against the root of the sum of their squares. "
    "Where it is much greater than 1, random planes tend to curve upwards both ways, whatever negative curvature there is. "
    "Not defined for a zero Hessian."
)
_GRADIENT = (
    "The length of the gradient at the trained point: zero, up to round-off, at a critical point. "
    "A saddle needs it small against the negative curvature."
)
_PLANES = "A random plane's curvatures are averages over the whole spectrum, which can hide negative ones."
_RANGE = (
    "How far along an eigenvector the gradient changes as the Hessian says, to a tenth, in ‖Δθ‖. "
    "With kinks (ReLU, max-pooling) that can be much less than the picture shows: then its shape is not that of the eigenvalue."
)
