"""What a random plane would show: the probability that its slice through θ* is curved like a minimum, a saddle or a maximum."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from scipy.special import ndtr
from torch import Tensor

from landscape_widget.engine.arguments import check_count, check_number, check_problem, check_seed
from landscape_widget.engine.directions import random_directions
from landscape_widget.engine.operators import Hessian
from landscape_widget.engine.probes import dot, finite_products, slice_size
from landscape_widget.engine.problem import Problem
from landscape_widget.keywords import hinted
from landscape_widget.landscape import is_round_off
from landscape_widget.spectrum import (
    DOMINANT,
    Estimate,
    RandomPlanes,
    SpectralDensity,
    error_of_left_out,
    spread_of_left_out,
)

KINDS = ("none", "unit", "filter", "layer")
# Units of round-off within which a determinant is zero.
_ROUND_OFF = 32
# Directions up to this size together are kept; others are made again from their seeds.
_KEPT_BYTES = 2**30
# A part of the spectrum counts as a bulk, whose quadratic forms are normal, if its every |λ| is below this share of
# ‖H‖_F; spectra of fewer eigenvalues have none.
_BULK, _SMALL = 0.05, 512
# Of separate planes, how many must be of a kind for the normal approximation of its share.
_RARE = 5
# Planes simulated together.
_CHUNK = 1000


@hinted
def random_planes(problem: Problem, num_probes: int = 64, *, kind: str = "none", seed: int = 0) -> RandomPlanes:
    """How often the slice on a random plane is curved up, both ways, or down at θ*: sampled with Hessian-vector products.

    Parameters
    ----------
    problem
        Whose loss; with two parameters or more.
    num_probes
        Random directions z, a product each. All m(m − 1)/2 planes of two of them are looked at.
    kind
        Of the directions, as ``normalization`` of :func:`random_directions`: "none" (Gaussian), "unit", "filter" or
        "layer". Planes of the first two are the same; filter normalization sees another operator, S H S with
        S = diag(‖θ_f‖/√n_f), and so another share of saddles.
    seed
        Of the directions, which are the same on every device.

    Returns
    -------
    RandomPlanes
        Three probabilities with errors by the jackknife over directions, and the mean curvatures κ₋ and κ₊. Where (nearly)
        all planes agree the error is at least that of num_probes/2 separate planes that do (Laplace's rule).

    Raises
    ------
    TypeError, ValueError
        For an argument that cannot be meant, and for a kind whose directions are zero for these parameters.
    FloatingPointError
        Where products are not finite.

    Notes
    -----
    The slice's second derivatives at θ* are A = z₁ᵀHz₁, B = z₁ᵀHz₂, C = z₂ᵀHz₂: the sign of AC − B² does not depend on
    the axes' lengths and angle. It is a saddle only if the gradient vanishes, too: ``critical`` tells.

    Examples
    --------
    Of a saddle with 4 positive and 4 negative curvatures 15π/64 = 74 % of random planes show a saddle:

    >>> import landscape_widget as lw
    >>> from landscape_widget import examples
    >>> planes = lw.random_planes(examples.toy_saddle(n=4, m=4), num_probes=200)
    >>> abs(planes.saddle.mean - 0.736) < 4 * planes.saddle.sem
    True
    >>> planes.in_words()
    'Of random planes with Gaussian axes, ... show a minimum, ... a saddle, ... a maximum at the trained point (sampled).'
    """
    *_, planes = iter_random_planes(problem, num_probes, kind=kind, seed=seed)
    return planes


def iter_random_planes(
    problem: Problem, num_probes: int = 64, *, kind: str = "none", seed: int = 0
) -> Iterator[RandomPlanes]:
    """As :func:`random_planes`, but yields ever better ones, every few products."""
    check_problem(problem)
    check_count(num_probes, "num_probes")
    check_seed(seed)
    if num_probes < 3:
        raise ValueError(f"expected num_probes of at least 3, for an error of the planes of two, got {num_probes}")
    _check_kind(kind)
    if problem.num_parameters < 2:
        raise ValueError("expected at least two parameters, got one: it makes no plane")
    return _sampled(problem, num_probes, kind, seed)


@hinted
def random_planes_from_density(
    density: SpectralDensity, num_planes: int = 10_000, *, kind: str = "none", seed: int = 0
) -> RandomPlanes:
    """How often the slice on a Gaussian plane is curved up, both ways, or down: simulated from the spectrum alone.

    Only the eigenvalues matter for Gaussian axes. Those beyond 5 % of ‖H‖_F are simulated one by one, each the mean of
    an N-th part of the density, those of the bulk together, as their sums are normal. No further product is needed.

    Parameters
    ----------
    density
        Of :func:`spectral_density`.
    num_planes
        How many to simulate.
    kind
        "none" (Gaussian) or "unit", as in :func:`random_planes`: the planes of both are the same.
    seed
        Of the simulation.

    Returns
    -------
    RandomPlanes
        Errors are those of the simulation and, by the jackknife, of the density's probes, whose bias is subtracted.

    Raises
    ------
    TypeError, ValueError
        For an argument that cannot be meant, and for filter- and layer-normalized planes: they see S H S, of which the
        eigenvalues of H tell nothing.

    Examples
    --------
    >>> import landscape_widget as lw
    >>> from landscape_widget import examples
    >>> density = lw.spectral_density(examples.toy_saddle(n=500, m=550), num_probes=8, num_steps=3)
    >>> planes = lw.random_planes_from_density(density)
    >>> exact = 0.05805  # of s = 3.162
    >>> abs(planes.saddle.mean - exact) < 4 * planes.saddle.sem
    True
    """
    if not isinstance(density, SpectralDensity):
        raise TypeError(f"expected density as what spectral_density returned, got {type(density).__name__}")
    check_count(num_planes, "num_planes")
    _check_depends_on_the_spectrum(kind)
    check_seed(seed)
    if density.num_parameters < 2:
        raise ValueError("expected at least two parameters, got one: it makes no plane")
    left_out = [density.without_probe(i) for i in range(density.num_probes)] if density.num_probes > 1 else []
    split = _split(density)
    spectra = [_Spectrum.of(each, split) for each in (density, *left_out)]
    counts = np.zeros((len(spectra), 3))
    rng = np.random.default_rng(seed)
    for first in range(0, num_planes, _CHUNK):
        draw = _Draw.of(rng, min(_CHUNK, num_planes - first), sum(split))
        for i, spectrum in enumerate(spectra):
            counts[i] += _signs(*spectrum.planes(draw), np.finfo(float).eps).sum(1)
    shares = counts / num_planes
    estimates = []
    for share, others in zip(_unbiased(shares), shares[1:].T, strict=True):
        simulation = _binomial_sem(share, num_planes)
        # One probe alone tells nothing of its error; where every pair is known there is none.
        probes = error_of_left_out(others) if left_out else (math.inf if density.num_probes else 0.0)
        estimates.append(Estimate(float(share), math.hypot(simulation, probes), density.num_matvecs))
    return RandomPlanes(kind, "density", *estimates, products=density.products)


def _unbiased(shares: np.ndarray) -> np.ndarray:
    """The shares of all probes, in row 0, less their bias as seen from the rows with one probe left out each (Quenouille 1956).

    What a wrong number of eigenvalues of a kind does to a share is not linear in it: with few of them planes show one
    kind too often.
    """
    all_probes, left_out = shares[0], shares[1:]
    if not len(left_out):
        return all_probes
    corrected = np.maximum(all_probes - (len(left_out) - 1) * (left_out.mean(axis=0) - all_probes), 0.0)
    # Still as many planes as there are.
    return corrected * (all_probes.sum() / corrected.sum()) if corrected.any() else all_probes


@hinted
def random_planes_by_formula(trace_ratio: Estimate, dominance: float, *, kind: str = "none") -> RandomPlanes:
    """How often the slice on a Gaussian plane is curved up, both ways, or down: by the formula in s = tr H/‖H‖_F.

    P(saddle) = e^(−s²/4)/√2 and P(minimum) = Φ(s) − P(saddle) Φ(s/√2), of a maximum with −s: the limit where no
    eigenvalue dominates.

    Parameters
    ----------
    trace_ratio
        s with its error, of :func:`trace_ratio`, :func:`spectral_moments` or a density; NaN is refused.
    dominance
        max|λ|/‖H‖_F, such as a density's; 0.3 and more are refused.
    kind
        "none" (Gaussian) or "unit", as in :func:`random_planes`: the planes of both are the same.

    Raises
    ------
    TypeError
        For an argument of the wrong kind.
    ValueError
        Where the formula does not hold: there it is only an indicator, and the probability must be sampled. So, too, for
        filter- and layer-normalized planes, which see S H S and so another s.

    Examples
    --------
    >>> import landscape_widget as lw
    >>> planes = lw.random_planes_by_formula(lw.Estimate(1.0, 0.1, 64), dominance=0.1)
    >>> round(planes.saddle.mean, 3), round(planes.minimum.mean, 3), round(planes.maximum.mean, 3)
    (0.551, 0.423, 0.027)
    """
    _check_depends_on_the_spectrum(kind)
    check_number(dominance, "dominance")
    if not isinstance(trace_ratio, Estimate):
        raise TypeError(f"expected trace_ratio as an Estimate, got {trace_ratio!r}; trace_ratio(problem) makes one")
    s, sem = trace_ratio.mean, trace_ratio.sem
    if not math.isfinite(s):
        raise ValueError(f"expected a finite trace ratio, got {s}: s = tr H/‖H‖_F is not defined for a zero Hessian")
    if not math.isfinite(sem):
        raise ValueError(f"expected a trace ratio with a finite error, got ± {sem}: one probe tells of no spread")
    if not 0 <= dominance < DOMINANT:
        raise ValueError(
            f"expected max|λ|/‖H‖_F below {DOMINANT}, got {dominance:.3g}: the formula holds where no eigenvalue dominates; "
            "sample with random_planes, or use random_planes_from_density"
        )
    (low, low_slope), (saddle, saddle_slope), (high, high_slope) = (
        _one_sided(s),
        _saddle(s),
        _one_sided(-s),
    )
    minimum, middle, maximum = (
        Estimate(value, abs(slope) * sem, trace_ratio.cost, trace_ratio.unit)
        for value, slope in ((low, low_slope), (saddle, saddle_slope), (high, high_slope))
    )
    return RandomPlanes(kind, "formula", minimum, middle, maximum)


def _check_kind(kind: Any) -> None:
    if not isinstance(kind, str):
        raise TypeError(f"expected kind {', '.join(map(repr, KINDS))}, got {kind!r}")
    if kind not in KINDS:
        raise ValueError(f"expected kind {', '.join(map(repr, KINDS))}, got {kind!r}")


def _check_depends_on_the_spectrum(kind: Any) -> None:
    _check_kind(kind)
    if kind not in ("none", "unit"):
        raise ValueError(
            f"expected kind 'none' or 'unit', got {kind!r}: what {kind}-normalized planes show does not follow from the "
            "Hessian's spectrum; sample with random_planes"
        )


def _saddle(s: float) -> tuple[float, float]:
    """P(saddle) and its derivative in s."""
    value = math.exp(-(s**2) / 4) / math.sqrt(2)
    return value, -0.5 * s * value


def _one_sided(s: float) -> tuple[float, float]:
    """P(minimum) and its derivative in s."""
    (saddle, slope), t = _saddle(s), s / math.sqrt(2)
    value = float(ndtr(s)) - saddle * float(ndtr(t))
    return max(0.0, value), _normal(s) - slope * float(ndtr(t)) - saddle * _normal(t) / math.sqrt(2)


def _normal(x: float) -> float:
    return math.exp(-(x**2) / 2) / math.sqrt(2 * math.pi)


# Sampling with products


def _sampled(problem: Problem, num_probes: int, kind: str, seed: int) -> Iterator[RandomPlanes]:
    hessian, directions = Hessian(problem), _Directions(problem, kind, seed, num_probes)
    hessian.expect(num_probes)
    gradient_norm, theta_norm = (float(v.double().norm()) for v in (problem.gradient(), problem.point))
    forms, gram = np.zeros((num_probes, num_probes)), np.zeros((num_probes, num_probes))
    ratios: list[float] = []
    step = slice_size(problem.num_parameters)
    for first in range(0, num_probes, step):
        last = min(first + step, num_probes)
        vectors = torch.stack([directions[i] for i in range(first, last)])
        made = finite_products(hessian, vectors)
        for i in range(last):
            forms[i, first:last] = dot(directions[i], made).cpu().numpy()
            gram[i, first:last] = dot(directions[i], vectors).cpu().numpy()
        ratios += (dot(made, made) / dot(vectors, vectors)).tolist()
        if last >= 3:
            norm = math.sqrt(problem.num_parameters * float(np.mean(ratios)))  # ‖H‖_F
            noise = _ROUND_OFF * torch.finfo(problem.dtype).eps * norm
            yield _of_pairs(
                forms[:last, :last],
                gram[:last, :last],
                kind=kind,
                eps=torch.finfo(problem.dtype).eps,
                cost=hessian.num_matvecs,
                critical=is_round_off(gradient_norm, noise, theta_norm),
                gradient_norm=gradient_norm,
                products=hessian.method,
            )
    hessian.release()


class _Directions:
    """Random direction i of a seed: kept where memory allows, else made again."""

    def __init__(self, problem: Problem, kind: str, seed: int, count: int) -> None:
        self._problem, self._kind = problem, kind
        self._seeds = np.random.SeedSequence(seed).generate_state(count)
        self._room = _KEPT_BYTES // (problem.num_parameters * problem.point.element_size())
        self._kept: dict[int, Tensor] = {}

    def __getitem__(self, i: int) -> Tensor:
        if i in self._kept:
            return self._kept[i]
        (direction,) = random_directions(self._problem, 1, normalization=self._kind, seed=int(self._seeds[i]))
        if not direction.norm:
            raise ValueError(
                f"expected parameters that {self._kind}-normalized directions can move, got none: "
                'tensors of one dimension and zero filters stay where they are; use kind="none"'
            )
        if len(self._kept) < self._room:
            self._kept[i] = direction.vector
        return direction.vector


def _of_pairs(
    forms: np.ndarray,
    gram: np.ndarray,
    *,
    kind: str,
    eps: float,
    cost: int,
    critical: bool,
    gradient_norm: float,
    products: str,
) -> RandomPlanes:
    """From ZᵀHZ and ZᵀZ, of which the upper triangles are filled; shapes (m, m)."""
    m = len(forms)
    first, second = np.triu_indices(m, 1)
    a, b, c = forms[first, first], forms[first, second], forms[second, second]
    x, y, z = gram[first, first], gram[first, second], gram[second, second]
    estimates = []
    for shown in _signs(a, b, c, eps):
        mean, sem = _over_pairs(shown.astype(float), m)
        # A few directions make what is rare; the jackknife cannot tell what one more of them would change.
        rare = min(mean, 1 - mean) * (m // 2) < _RARE
        estimates.append(Estimate(mean, max(sem, _binomial_sem(0.0, m // 2)) if rare else sem, cost))
    # Eigenvalues of (DᵀD)⁻¹DᵀHD, a 2 × 2 matrix, from its trace and discriminant.
    area = x * z - y**2
    half = (a * z - 2 * b * y + c * x) / (2 * area)
    root = np.sqrt(np.maximum(half**2 - (a * c - b**2) / area, 0.0))
    curvatures = Estimate(*_over_pairs(half - root, m), cost), Estimate(*_over_pairs(half + root, m), cost)
    return RandomPlanes(
        kind,
        "sampled",
        *estimates,
        critical=critical,
        gradient_norm=gradient_norm,
        curvatures=curvatures,
        products=products,
    )


def _over_pairs(values: np.ndarray, m: int) -> tuple[float, float]:
    """Mean over all pairs of m directions, and its error by leaving each direction out (Arvesen 1969)."""
    first, second = np.triu_indices(m, 1)
    of_direction = np.bincount(first, values, m) + np.bincount(second, values, m)
    left_out = (values.sum() - of_direction) / ((m - 1) * (m - 2) / 2)
    return float(values.mean()), spread_of_left_out(left_out)


def _signs(a: np.ndarray, b: np.ndarray, c: np.ndarray, eps: float) -> np.ndarray:
    """Whether [[A, B], [B, C]] is positive definite, indefinite, negative definite, (3, p); none where it is singular to round-off."""
    determinant = a * c - b**2
    sure = np.abs(determinant) > _ROUND_OFF * eps * (np.abs(a * c) + b**2)
    definite = sure & (determinant > 0)
    return np.stack([definite & (a > 0), sure & (determinant < 0), definite & (a < 0)])


def _binomial_sem(share: float, count: int) -> float:
    """Standard error of a share; where all agree that of Laplace's rule of succession, since none would be a claim."""
    if 0 < share < 1:
        return math.sqrt(share * (1 - share) / count)
    return math.sqrt((count + 1) / ((count + 2) ** 2 * (count + 3)))


# Simulating from a density


@dataclass(frozen=True)
class _Draw:
    """What is random in a simulated plane: two normals for each eigenvalue, three for the bulk."""

    first: np.ndarray
    second: np.ndarray
    bulk: np.ndarray

    @classmethod
    def of(cls, rng: np.random.Generator, planes: int, count: int) -> _Draw:
        return cls(
            rng.standard_normal((planes, count)),
            rng.standard_normal((planes, count)),
            rng.standard_normal((3, planes)),
        )


@dataclass(frozen=True)
class _Spectrum:
    """N eigenvalues: the outer ones one by one, the rest by its two moments."""

    values: np.ndarray
    trace: float
    norm: float

    @classmethod
    def of(cls, density: SpectralDensity, split: tuple[int, int]) -> _Spectrum:
        n, (below, above) = density.num_parameters, split
        ends = np.cumsum(density.weights) * n
        ends *= n / ends[-1]
        # The i-th from below is the mean of the density's i-th N-th part: where weights are off by a part of an
        # eigenvalue, so is one eigenvalue, and no plane gets one of a kind too many.
        sums = np.r_[0.0, np.cumsum(np.diff(ends, prepend=0.0) * density.nodes)]
        places = np.r_[np.arange(below), n - 1 - np.arange(above)]
        low, high = (np.interp(places + i, np.r_[0.0, ends], sums) for i in (0, 1))
        # How much of each node lies between the outer ones.
        inner = np.diff(np.clip(np.r_[0.0, ends], below, n - above))
        return cls(
            high - low,
            float(inner @ density.nodes),
            math.sqrt(float(inner @ density.nodes**2)),
        )

    def planes(self, draw: _Draw) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """A, B and C of each plane; the same draw gives nearly the same of nearly the same spectrum."""
        a, b, c = draw.bulk * self.norm * np.array([[math.sqrt(2)], [1.0], [math.sqrt(2)]])
        return (
            a + self.trace + draw.first**2 @ self.values,
            b + (draw.first * draw.second) @ self.values,
            c + self.trace + draw.second**2 @ self.values,
        )


def _split(density: SpectralDensity) -> tuple[int, int]:
    """How many eigenvalues at the lower and upper end to simulate one by one."""
    n = density.num_parameters
    if n <= _SMALL:
        return 0, n
    edge = _BULK * density.frobenius_norm.mean
    below, above = (
        math.ceil(n * density.weights[outer].sum() - 1e-9) for outer in (density.nodes < -edge, density.nodes > edge)
    )
    return below, above
