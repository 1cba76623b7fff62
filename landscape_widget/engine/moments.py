"""Trace, Frobenius norm, their ratio and the mean curvature of the Hessian: estimated from random probes, with standard errors."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from torch import Tensor

from landscape_widget.engine.arguments import check_count, check_problem, check_seed
from landscape_widget.engine.forward_only import ForwardDifferences
from landscape_widget.engine.operators import Hessian
from landscape_widget.engine.probes import DISTRIBUTIONS, Probes, dot, finite_products
from landscape_widget.engine.problem import Problem
from landscape_widget.engine.streams import other_stream
from landscape_widget.keywords import hinted
from landscape_widget.spectrum import MATVECS, PASSES, Estimate, SpectralMoments, jackknife, standard_error
from landscape_widget.warn import warn

METHODS = ("hutchinson", "hutch++", "forward")
# What is left of a product after it was made orthogonal to the sketch, in units of round-off, for it to count as new.
_ROUND_OFF = 32
# A bias below this share of the estimate is not warned of.
_NEGLIGIBLE = 1e-6


@dataclass
class _Samples:
    """tr H = known + E t and ‖H‖_F² = known + E q, with samples (t, q) of one probe each."""

    known: tuple[float, float] = (0.0, 0.0)
    traces: list[float] = field(default_factory=list)
    squares: list[float] = field(default_factory=list)
    biases: tuple[float, float] | None = None
    cost: int = 0
    unit: str = MATVECS
    products: str | None = None

    def add(self, traces: Tensor, squares: Tensor) -> None:
        self.traces += traces.tolist()
        self.squares += squares.tolist()


@hinted
def spectral_moments(
    problem: Problem,
    num_probes: int = 64,
    *,
    method: str = "hutchinson",
    probes: str = "rademacher",
    seed: int = 0,
) -> SpectralMoments:
    """Trace, ‖H‖_F, s = tr H/‖H‖_F and mean curvature tr H/N of the Hessian at θ*, from the same probes.

    Parameters
    ----------
    problem
        Whose Hessian.
    num_probes
        Number of random vectors; with the first two methods also that of Hessian-vector products.
    method
        "hutchinson": means of zᵀHz and ‖Hz‖² (Girard 1989; Hutchinson 1990). "hutch++" (Meyer et al. 2021,
        arXiv:2010.09649): a third of the products finds the range of the dominant eigenvalues, a third gives its share
        exactly, and a third samples the rest; keeps num_probes/3 vectors, and is exact where there are no more
        parameters than two thirds of the products. "forward": from losses alone, by second
        differences and the mixed stencil (Böttcher & Wheeler 2024): 6 passes over the data a probe.
    probes
        "rademacher" or "gaussian".
    seed
        Of the probes, which are the same on every device.

    Returns
    -------
    SpectralMoments
        Four estimates. Errors of ‖H‖_F and s are by the jackknife, as numerator and denominator share their probes.

    Raises
    ------
    TypeError, ValueError
        For an argument that cannot be meant.
    FloatingPointError
        Where products, or losses near θ*, are not finite.

    Warns
    -----
    UserWarning
        Where the bias of the finite differences exceeds the standard error: more probes will not help.

    Notes
    -----
    With few probes, under about 50, of a spectrum with few dominant eigenvalues the samples are skewed. The errors of
    ‖H‖_F and s are widened for that, by a fourth as a rule, that of the trace is not and can be too small: more probes
    help, and "hutch++", which takes these eigenvalues out.

    With ReLU or max-pooling the losses see kinks that the products do not, and "forward" may rightly differ from the
    other two.

    Examples
    --------
    >>> import landscape_widget as lw
    >>> from landscape_widget import examples
    >>> moments = lw.spectral_moments(examples.toy_saddle(n=500, m=550))
    >>> round(moments.trace.mean), round(moments.frobenius_norm.mean, 1), round(moments.trace_ratio.mean, 3)
    (100, 31.6, 3.162)
    """
    *_, moments = iter_spectral_moments(problem, num_probes, method=method, probes=probes, seed=seed)
    for name in ("trace", "frobenius_norm"):
        _warn_of_bias(getattr(moments, name), name)
    return moments


def iter_spectral_moments(
    problem: Problem,
    num_probes: int = 64,
    *,
    method: str = "hutchinson",
    probes: str = "rademacher",
    seed: int = 0,
) -> Iterator[SpectralMoments]:
    """As :func:`spectral_moments`, but yields ever better ones, every few products or passes."""
    for samples in _samples(problem, num_probes, method, probes, seed):
        yield SpectralMoments(
            trace=_trace(samples),
            frobenius_norm=_frobenius_norm(samples),
            trace_ratio=_trace_ratio(samples),
            mean_curvature=_scaled(_trace(samples), 1 / problem.num_parameters),
            method=method,
            num_probes=num_probes,
            num_parameters=problem.num_parameters,
            products=samples.products,
        )


@hinted
def trace(
    problem: Problem, num_probes: int = 64, *, method: str = "hutchinson", probes: str = "rademacher", seed: int = 0
) -> Estimate:
    """The trace of the Hessian at θ*, with its standard error; arguments as of :func:`spectral_moments`. "forward" takes 2 passes a probe.

    Examples
    --------
    >>> import landscape_widget as lw
    >>> from landscape_widget import examples
    >>> problem = examples.quadratic([10.0, 9.0, 1.0, -1.0], rotation_seed=0)
    >>> estimate = lw.trace(problem, 300)
    >>> abs(estimate.mean - 19) < 4 * estimate.sem, estimate.cost, estimate.unit
    (True, 300, 'Hessian-vector products')
    >>> round(lw.trace(problem, 300, method="hutch++").mean, 9)  # its sketch holds the whole range
    19.0
    """
    *_, estimate = iter_trace(problem, num_probes, method=method, probes=probes, seed=seed)
    return _warn_of_bias(estimate, "trace")


def iter_trace(
    problem: Problem, num_probes: int = 64, *, method: str = "hutchinson", probes: str = "rademacher", seed: int = 0
) -> Iterator[Estimate]:
    """As :func:`trace`, but yields ever better estimates."""
    return map(_trace, _samples(problem, num_probes, method, probes, seed, squares=False))


@hinted
def mean_curvature(
    problem: Problem, num_probes: int = 64, *, method: str = "hutchinson", probes: str = "rademacher", seed: int = 0
) -> Estimate:
    """The mean of the Hessian's eigenvalues at θ*, tr H/N; arguments as of :func:`trace`.

    Examples
    --------
    >>> import landscape_widget as lw
    >>> from landscape_widget import examples
    >>> round(lw.mean_curvature(examples.quadratic([3.0, 0.0, -1.0, -1.0])).mean, 12)
    0.25
    """
    return _scaled(trace(problem, num_probes, method=method, probes=probes, seed=seed), 1 / problem.num_parameters)


@hinted
def frobenius_norm(
    problem: Problem, num_probes: int = 64, *, method: str = "hutchinson", probes: str = "rademacher", seed: int = 0
) -> Estimate:
    """‖H‖_F at θ*; arguments as of :func:`spectral_moments`. "forward" takes 4 passes a probe.

    Examples
    --------
    >>> import landscape_widget as lw
    >>> from landscape_widget import examples
    >>> round(lw.frobenius_norm(examples.quadratic([3.0, 0.0, -4.0])).mean, 12)
    5.0
    """
    *_, samples = _samples(problem, num_probes, method, probes, seed, traces=False)
    return _warn_of_bias(_frobenius_norm(samples), "frobenius_norm")


@hinted
def trace_ratio(
    problem: Problem, num_probes: int = 64, *, method: str = "hutchinson", probes: str = "rademacher", seed: int = 0
) -> Estimate:
    """The ratio s = tr H/‖H‖_F at θ*; arguments as of :func:`spectral_moments`. NaN for a zero Hessian, which has none.

    A saddle with s ≫ 1 looks like a minimum on random planes: :func:`random_planes`.

    Examples
    --------
    >>> import landscape_widget as lw
    >>> from landscape_widget import examples
    >>> round(lw.trace_ratio(examples.toy_saddle(n=500, m=520)).mean, 3)
    1.265
    """
    return spectral_moments(problem, num_probes, method=method, probes=probes, seed=seed).trace_ratio


def _samples(
    problem: Problem,
    num_probes: int,
    method: str,
    probes: str,
    seed: int,
    *,
    traces: bool = True,
    squares: bool = True,
) -> Iterator[_Samples]:
    """The samples so far, again and again; checked at the call, not at the first step."""
    check_problem(problem)
    check_count(num_probes, "num_probes")
    check_seed(seed)
    for value, name, known in ((method, "method", METHODS), (probes, "probes", DISTRIBUTIONS)):
        if value not in known:
            raise ValueError(f"expected {name} {', '.join(map(repr, known))}, got {value!r}")
    if method == "forward":
        return _forward(problem, num_probes, probes, seed, traces=traces, squares=squares)
    return {"hutchinson": _hutchinson, "hutch++": _hutch_plus_plus}[method](problem, num_probes, probes, seed)


def _hutchinson(problem: Problem, num_probes: int, distribution: str, seed: int) -> Iterator[_Samples]:
    hessian, samples = Hessian(problem), _Samples()
    hessian.expect(num_probes)
    for vectors in Probes(problem.point, distribution, seed).slices(num_probes):
        made = finite_products(hessian, vectors)
        samples.add(dot(vectors, made), dot(made, made))
        samples.cost, samples.products = hessian.num_matvecs, hessian.method
        yield samples
    hessian.release()


def _hutch_plus_plus(problem: Problem, num_probes: int, distribution: str, seed: int) -> Iterator[_Samples]:
    """With tr H = tr QᵀHQ + tr PHP and tr H² = ‖HQ‖_F² + E‖HPz‖², with P = I − QQᵀ and Q the range of H on some probes."""
    hessian, n = Hessian(problem), problem.num_parameters
    hessian.expect(num_probes)
    # Of a Gaussian sketch no vector depends on the others by chance. The rest is drawn from another stream: it must not
    # depend on the sketch.
    sketch = Probes(problem.point, "gaussian", seed)
    drawn = Probes(problem.point, distribution, other_stream(seed))
    # While the sketch is made its probes are plain samples, so that there is something to show from the start.
    plain = _Samples()
    count = min(num_probes // 3, n)
    # Few parameters are measured in full: what would be left to sample has too few dimensions for fair errors.
    whole = n <= num_probes - count
    basis = problem.point.new_empty((n if whole else count, n))
    size = 0
    for vectors in sketch.slices(count):
        made = finite_products(hessian, vectors)
        plain.add(dot(vectors, made), dot(made, made))
        plain.cost, plain.products = hessian.num_matvecs, hessian.method
        for row in made:
            size = _appended(basis, size, row)
        yield plain
    while whole and size < n:
        size = _appended(basis, size, drawn.draw())
    basis = basis[:size]
    trace, squares = 0.0, 0.0
    for i in range(size):
        (made,) = finite_products(hessian, basis[i : i + 1])
        trace, squares = trace + float(dot(basis[i], made)), squares + float(dot(made, made))
    samples = _Samples(known=(trace, squares), cost=hessian.num_matvecs, products=hessian.method)
    rest = num_probes - hessian.num_matvecs if size < n else 0
    if not rest:
        yield samples
    for vectors in drawn.slices(rest):
        for _ in range(2):  # twice is enough
            vectors = vectors - (vectors @ basis.T) @ basis
        made = finite_products(hessian, vectors)
        samples.add(dot(vectors, made), dot(made, made))
        samples.cost = plain.cost = hessian.num_matvecs
        yield samples if len(samples.traces) > 1 or rest == 1 else plain
    hessian.release()


def _forward(
    problem: Problem, num_probes: int, distribution: str, seed: int, *, traces: bool, squares: bool
) -> Iterator[_Samples]:
    differences = ForwardDifferences(problem, distribution=distribution, seed=seed)
    samples = _Samples(unit=PASSES)
    for second, mixed in differences.samples(num_probes, trace=traces, squares=squares):
        samples.traces.append(second)
        samples.squares.append(mixed)
        samples.biases = differences.biases()
        samples.cost = differences.cost
        yield samples


def _appended(basis: Tensor, size: int, vector: Tensor) -> int:
    """Put what is new in a vector, normalized, into row ``size`` of the basis; the new size."""
    length = float(vector.norm())
    for _ in range(2):
        vector = vector - (basis[:size] @ vector) @ basis[:size]
    left = float(vector.norm())
    # A Hessian of low rank is exhausted: what is left is the noise of a product.
    if left <= _ROUND_OFF * torch.finfo(vector.dtype).eps * length:
        return size
    basis[size] = vector / left
    return size + 1


def _trace(samples: _Samples) -> Estimate:
    exact = not samples.traces
    mean = samples.known[0] + (0.0 if exact else float(np.mean(samples.traces)))
    sem = standard_error(np.array(samples.traces), exact=exact)
    return Estimate(mean, sem, samples.cost, samples.unit, samples.biases and samples.biases[0])


def _frobenius_norm(samples: _Samples) -> Estimate:
    estimate = _jackknifed(samples, lambda _trace, squares: np.sqrt(squares))
    if samples.biases is None or not estimate.mean:
        return estimate
    return _with_bias(estimate, samples.biases[1] / (2 * estimate.mean))


def _trace_ratio(samples: _Samples) -> Estimate:
    estimate = _jackknifed(samples, lambda trace, squares: trace / np.sqrt(squares))
    if samples.biases is None or not np.isfinite(estimate.mean):
        return estimate
    norm = _frobenius_norm(samples).mean
    # The differential of t/√q.
    return _with_bias(estimate, samples.biases[0] / norm - estimate.mean * samples.biases[1] / (2 * norm**2))


def _jackknifed(samples: _Samples, function: Callable[[Any, Any], Any]) -> Estimate:
    exact = not samples.traces
    traces, squares = (np.array(values or [0.0]) for values in (samples.traces, samples.squares))
    value, sem = jackknife(
        lambda t, q: function(samples.known[0] + t, samples.known[1] + q), traces, squares, exact=exact
    )
    return Estimate(value, sem, samples.cost, samples.unit)


def _scaled(estimate: Estimate, factor: float) -> Estimate:
    bias = None if estimate.bias is None else factor * estimate.bias
    return Estimate(factor * estimate.mean, factor * estimate.sem, estimate.cost, estimate.unit, bias)


def _with_bias(estimate: Estimate, bias: float) -> Estimate:
    return Estimate(estimate.mean, estimate.sem, estimate.cost, estimate.unit, bias)


def _warn_of_bias(estimate: Estimate, name: str) -> Estimate:
    # Where the samples agree to many digits a bias in the last ones is nothing to warn of.
    if estimate.bias is not None and abs(estimate.bias) > max(estimate.sem, _NEGLIGIBLE * abs(estimate.mean)):
        warn(
            f"the {name.replace('_', ' ')} of {estimate.mean:.4g} from losses alone may be off by {abs(estimate.bias):.2g}, more than "
            f'its standard error of {estimate.sem:.2g}: of truncation or round-off; method="hutchinson" has neither'
        )
    return estimate
