"""What is known of the Hessian's spectrum as a whole: estimates with their errors, moments, density, random planes. numpy only."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np

# Units of an estimate's cost.
MATVECS = "Hessian-vector products"
PASSES = "passes over the data"
# Beyond this max|λ|/‖H‖_F one eigenvalue shapes what random planes show, and the formula for them is only an indicator.
DOMINANT = 0.3
# A share that is worth a word.
_SEEN = 0.005
# Of random planes.
KINDS_IN_WORDS = {
    "none": "Gaussian axes",
    "unit": "Gaussian axes of unit norm",
    "filter": "filter-normalized axes",
    "layer": "layer-normalized axes",
}
METHODS_IN_WORDS = {"sampled": "sampled", "density": "from the spectral density", "formula": "by the formula"}


@dataclass(frozen=True)
class Estimate:
    """A number that was estimated, with its error and its cost.

    Attributes
    ----------
    mean
        The estimate; NaN for what is not defined.
    sem
        Standard error of the mean; infinite where one sample says nothing of it, NaN where the mean is not defined. Of
        what is no mean (‖H‖_F, ratios) by the jackknife, and widened for few and for skewed samples.
    cost
        What it took, in ``unit``. Estimates made together from the same probes each carry the whole cost.
    unit
        "Hessian-vector products" or "passes over the data".
    bias
        How far the mean may be off in the same direction whatever the number of samples, signed where the sign is
        known: of finite differences, seen from a second step. None where there is no such error.
    """

    mean: float
    sem: float
    cost: int
    unit: str = MATVECS
    bias: float | None = None


@dataclass(frozen=True)
class SpectralMoments:
    """The first two moments of the spectrum, and what follows from them.

    Attributes
    ----------
    trace
        tr H = Σ λ.
    frobenius_norm
        ‖H‖_F = √Σ λ².
    trace_ratio
        s = tr H/‖H‖_F. Random planes tend to show a saddle as a minimum where s ≫ 1. NaN for a zero Hessian.
    mean_curvature
        tr H/N (Böttcher & Wheeler).
    method, num_probes, num_parameters
        How they were estimated; N.
    products
        How Hessian-vector products were made, in words; None where there were none.
    """

    trace: Estimate
    frobenius_norm: Estimate
    trace_ratio: Estimate
    mean_curvature: Estimate
    method: str
    num_probes: int
    num_parameters: int
    products: str | None = None


@dataclass(frozen=True, eq=False)
class SpectralDensity:
    """The density of the Hessian's eigenvalues by stochastic Lanczos quadrature.

    Each probe gives nodes μ and weights w with Σ w f(μ) ≈ tr f(H)/N; the density is their mean over probes.

    Attributes
    ----------
    nodes, weights
        Shapes (m,): Ritz values, ascending, and their weights; Σ w = 1.
    probes
        Shape (m,): which probe a node comes from, −1 for an eigenpair that was known beforehand (weight 1/N).
    num_parameters, num_probes, num_steps, num_matvecs
        N; probes done; Lanczos steps of each, at most; Hessian-vector products.
    grid, density, bandwidth
        For drawing, shapes (g,): the density broadened by Gaussians of standard deviation ``bandwidth``, with integral
        one. For a logarithmic axis cut it off below 1/(N·bandwidth), what less than one eigenvalue gives.
    outliers
        Values clearly outside the bulk, on which all probes agree (two at least), from the outside inwards at the upper
        end, then at the lower one.
    bulk
        Lower and upper edge of the rest.
    products
        How Hessian-vector products were made, in words; None where that was not told.

    Examples
    --------
    >>> import landscape_widget as lw
    >>> from landscape_widget import examples
    >>> density = lw.spectral_density(examples.quadratic([2.0, 2.0, 1.0, -1.0]), num_probes=2, num_steps=3)
    >>> [round(x, 12) for x in (density.smallest, density.largest, float(density.weights.sum()))]
    [-1.0, 2.0, 1.0]
    """

    nodes: np.ndarray
    weights: np.ndarray
    probes: np.ndarray
    num_parameters: int
    num_probes: int
    num_steps: int
    num_matvecs: int
    grid: np.ndarray = field(default_factory=lambda: np.empty(0), repr=False)
    density: np.ndarray = field(default_factory=lambda: np.empty(0), repr=False)
    bandwidth: float = math.nan
    outliers: tuple[float, ...] = ()
    bulk: tuple[float, float] = (math.nan, math.nan)
    products: str | None = None

    def __post_init__(self) -> None:
        if not len(self.nodes) or not np.shape(self.nodes) == np.shape(self.weights) == np.shape(self.probes):
            raise ValueError(
                "expected nodes, weights and probes of one shape (m,), got "
                f"{np.shape(self.nodes)}, {np.shape(self.weights)} and {np.shape(self.probes)}"
            )
        for name in ("nodes", "weights", "probes", "grid", "density"):
            # A view, so that the arrays that came in stay writeable for whoever made them.
            array = np.asarray(getattr(self, name)).view()
            array.flags.writeable = False
            object.__setattr__(self, name, array)

    @property
    def largest(self) -> float:
        """The largest node: λ_max from below."""
        return float(self.nodes.max())

    @property
    def smallest(self) -> float:
        """The smallest node: λ_min from above."""
        return float(self.nodes.min())

    @property
    def trace(self) -> Estimate:
        """Tr H = N Σ w μ: the mean of the probes' Hutchinson estimates."""
        return self.integral(lambda x: self.num_parameters * x)

    @property
    def frobenius_norm(self) -> Estimate:
        """‖H‖_F = √(N Σ w μ²); with its error by the jackknife over probes."""
        return self._jackknife(lambda trace, squares: np.sqrt(squares))

    @property
    def trace_ratio(self) -> Estimate:
        """The ratio s = tr H/‖H‖_F, NaN for a zero Hessian; with its error by the jackknife over probes."""
        return self._jackknife(lambda trace, squares: trace / np.sqrt(squares))

    @property
    def dominance(self) -> float:
        """max|λ|/‖H‖_F: 1 where one eigenvalue is all there is, NaN for a zero Hessian."""
        norm = self.frobenius_norm.mean
        return max(abs(self.largest), abs(self.smallest)) / norm if norm else math.nan

    def fraction_below(self, value: float) -> Estimate:
        """The share of eigenvalues below a value, such as −noise.

        The error is that between probes; where many eigenvalues lie close to the value, nodes stand for several of them
        and the share is only as good as their spacing there.
        """
        return self.integral(lambda x: x < value)

    def integral(self, function: Callable[[np.ndarray], np.ndarray]) -> Estimate:
        """Tr f(H)/N for a function of arrays, with the error between probes: exact for polynomials of degree < 2·steps, per probe."""
        values = self.per_probe(function)
        return Estimate(float(values.mean()), standard_error(values, exact=not self.num_probes), self.num_matvecs)

    def per_probe(self, function: Callable[[np.ndarray], np.ndarray]) -> np.ndarray:
        """What each probe alone gives for tr f(H)/N, shape (num_probes,); one value where every eigenpair is known."""
        addends = self.weights * np.asarray(function(self.nodes), dtype=float)
        known = addends[self.probes < 0].sum()
        if not self.num_probes:
            return np.array([known])
        drawn = self.probes >= 0
        return known + self.num_probes * np.bincount(
            self.probes[drawn], weights=addends[drawn], minlength=self.num_probes
        )

    def broadened(self, grid: np.ndarray, bandwidth: float) -> np.ndarray:
        """The density at the points of a grid, each node a Gaussian of standard deviation ``bandwidth``; shape of the grid."""
        grid = np.asarray(grid, dtype=float)
        total = np.zeros(grid.shape)
        for node, weight in zip(self.nodes, self.weights, strict=True):
            total += weight * np.exp(-0.5 * ((grid - node) / bandwidth) ** 2)
        return total / (bandwidth * math.sqrt(2 * math.pi))

    def without_probe(self, probe: int) -> SpectralDensity:
        """The density of the other probes, for a jackknife; without what is for drawing."""
        others = self.probes != probe
        scale = np.where(self.probes[others] < 0, 1.0, self.num_probes / (self.num_probes - 1))
        names = self.probes[others]
        return SpectralDensity(
            self.nodes[others],
            self.weights[others] * scale,
            names - (names > probe),
            self.num_parameters,
            self.num_probes - 1,
            self.num_steps,
            self.num_matvecs,
            products=self.products,
        )

    def _jackknife(self, function: Callable[[np.ndarray, np.ndarray], np.ndarray]) -> Estimate:
        n = self.num_parameters
        trace, squares = self.per_probe(lambda x: n * x), self.per_probe(lambda x: n * x**2)
        return Estimate(*jackknife(function, trace, squares, exact=not self.num_probes), self.num_matvecs)


@dataclass(frozen=True)
class RandomPlanes:
    """How often a random plane's slice is curved up, both ways, or down at θ*: a minimum, saddle or maximum if θ* is critical.

    Attributes
    ----------
    kind
        Of the plane's axes: "none" (Gaussian), "unit", "filter" or "layer", as in ``random_directions``. Each sees
        another operator; only "none" and "unit" span the same planes.
    method
        "sampled" with products, from the spectral "density", or by "formula".
    minimum, saddle, maximum
        Probability that both curvatures of the slice at θ* are positive, that they differ in sign, that both are
        negative. Where they do not add up to one, the rest is flat along some line.
    critical
        Whether the gradient is round-off, so that the slice *shows* a minimum, saddle or maximum. Otherwise these are
        statements on the sign of the slice's curvature only. None where the gradient was not computed.
    gradient_norm
        ‖∇L(θ*)‖.
    curvatures
        Means of κ₋ and κ₊, the eigenvalues of (DᵀD)⁻¹DᵀHD, which alone can be compared with those of H. None where not
        computed.
    products
        How Hessian-vector products were made, in words; None where there were none, and by the formula.
    """

    kind: str
    method: str
    minimum: Estimate
    saddle: Estimate
    maximum: Estimate
    critical: bool | None = None
    gradient_norm: float | None = None
    curvatures: tuple[Estimate, Estimate] | None = None
    products: str | None = None

    @property
    def flat(self) -> float:
        """The share of planes on which a curvature is zero to working precision."""
        return max(0.0, 1.0 - self.minimum.mean - self.saddle.mean - self.maximum.mean)

    def in_words(self) -> str:
        """One sentence that claims no more than is known."""
        if self.critical:
            seen = "show a minimum", "a saddle", "a maximum"
        else:
            seen = "curve upwards both ways", "up one way and down the other", "downwards both ways"
        shares = [_percent(estimate) for estimate in (self.minimum, self.saddle, self.maximum)]
        parts = ", ".join(f"{share} {words}" for share, words in zip(shares, seen, strict=True))
        if self.flat == 1:
            parts = "all are flat along some line"
        elif self.flat >= _SEEN:
            parts += f", {100 * self.flat:.0f} % are flat along some line"
        return (
            f"Of random planes with {KINDS_IN_WORDS[self.kind]}, {parts} at the trained point "
            f"({METHODS_IN_WORDS[self.method]})."
        )


@dataclass(frozen=True)
class QuadraticRange:
    """Where along a unit vector v the curvature at θ* is that of the loss.

    Attributes
    ----------
    radius
        h₀: up to this ‖Δθ‖ the gradient differences agree with vᵀHv. 0 where they do at no step: then the Hessian is
        that of another function than the gradient, or a kink goes through θ* itself.
    curvature
        vᵀHv in float64.
    steps, differences
        Shapes (s,), the steps h from the largest one downwards and [∇L(θ+hv) − ∇L(θ−hv)]·v/2h there.
    """

    radius: float
    curvature: float
    steps: tuple[float, ...]
    differences: tuple[float, ...]

    def in_words(self) -> str:
        """One sentence that claims no more than was seen."""
        if not self.radius:
            return (
                f"vᵀHv = {self.curvature:.3g} agrees with the gradient's differences at no step down to "
                f"{self.steps[-1]:.0e}: the Hessian does not describe the loss here."
            )
        if self.radius >= self.steps[0]:
            return f"The Hessian describes the loss along this direction at least within ± {self.radius:.2g}."
        return f"The Hessian describes the loss along this direction only within ± {self.radius:.1e} (kinks or higher order)."


def standard_error(values: np.ndarray, *, exact: bool = False) -> float:
    """Standard error of the mean of samples; infinite for a single one, zero where nothing was sampled (``exact``)."""
    if exact:
        return 0.0
    return float(np.std(values, ddof=1) / math.sqrt(len(values))) if len(values) > 1 else math.inf


def jackknife(function: Callable[..., np.ndarray], *samples: np.ndarray, exact: bool = False) -> tuple[float, float]:
    """A function of the samples' means, and its standard error by leaving each sample out in turn (Efron & Stein 1981).

    Samples are arrays of one shape (m,), paired: their correlation is in the result. The error is widened for few and
    for skewed samples, whose spread is underestimated just where their mean is: so that four errors hold as good as
    always.
    """
    count = len(samples[0])
    with np.errstate(invalid="ignore", divide="ignore"):
        value = float(function(*(np.mean(sample) for sample in samples)))
        if not math.isfinite(value):
            return math.nan, math.nan
        if exact:
            return value, 0.0
        if count < 2:
            return value, math.inf
        left_out = function(*((np.sum(sample) - sample) / (count - 1) for sample in samples))
    return value, error_of_left_out(left_out)


def error_of_left_out(values: np.ndarray) -> float:
    """The jackknife's standard error, widened for few and for skewed samples, from the estimates with one left out each, shape (m,)."""
    return spread_of_left_out(values) * _widening(values)


def _widening(values: np.ndarray) -> float:
    """How much further z = 4 errors must reach, to first order in 1/√m and 1/m, for m samples; from the values with one left out each.

    Student's t lies beyond z (1 + (z² + 1)/(4 (m − 1))) as often as a normal variable beyond z (Fisher 1926), and the
    mean of samples of skewness γ, on the side of its short tail, beyond z (1 + z |γ|/(3√m)) (Johnson 1978).
    """
    if not np.isfinite(values).all():
        return 1.0
    z, count, off = 4, len(values), values - values.mean()
    spread = float(np.sqrt(np.mean(off**2)))
    if not spread:
        return 1.0
    skewness = float(np.mean((off / spread) ** 3))
    return 1 + (z**2 + 1) / (4 * (count - 1)) + z * abs(skewness) / (3 * math.sqrt(count))


def spread_of_left_out(values: np.ndarray) -> float:
    """The jackknife's standard error from the estimates with one sample left out each, shape (m,)."""
    if not np.isfinite(values).all():
        return math.inf
    return float(math.sqrt((len(values) - 1) * np.var(values)))


def _percent(estimate: Estimate) -> str:
    return f"{100 * estimate.mean:.0f} ± {100 * estimate.sem:.0f} %"
