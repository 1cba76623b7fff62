"""The density of the Hessian's eigenvalues by stochastic Lanczos quadrature."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace

import numpy as np
import torch
from scipy.linalg import eigh_tridiagonal
from torch import Tensor

from landscape_widget.engine.arguments import check_count, check_problem, check_seed
from landscape_widget.engine.basis import affordable
from landscape_widget.engine.directions import HessianDirections
from landscape_widget.engine.operators import Hessian
from landscape_widget.engine.probes import dot, finite_products
from landscape_widget.engine.problem import Problem
from landscape_widget.engine.streams import other_stream
from landscape_widget.keywords import hinted
from landscape_widget.spectrum import SpectralDensity
from landscape_widget.warn import warn

# An off-diagonal entry of so many units of round-off of ‖H‖ ends a run: the probe's subspace is invariant.
_ROUND_OFF = 32
# Points for drawing; the bandwidth is that share of the spectrum's width.
_POINTS, _BANDWIDTH = 1024, 0.005
# Values are outliers when the gap below them exceeds this share of the width of the rest, all of them on one side have
# no more than this share of the eigenvalues, and the probes agree on each of them to within this share of its gap.
_GAP, _FEW, _AGREED = 0.2, 0.05, 0.05
# Relative widths below this are those of a single eigenvalue.
_ONE_VALUE = 1e-6
# A weight of round-off: one eigenvalue of ten million has 1e-7.
_WEIGHTLESS = 1e-13
# Steps of a run whatever their vectors take.
_LEAST_STEPS = 24
# Of a unit vector, what must be left outside the other known ones for it to be known, too.
_INDEPENDENT = 0.5


@hinted
def spectral_density(
    problem: Problem,
    num_probes: int = 8,
    num_steps: int = 64,
    *,
    known: HessianDirections | None = None,
    max_basis: int | None = None,
    seed: int = 0,
) -> SpectralDensity:
    """The density of the Hessian's eigenvalues at θ*, by stochastic Lanczos quadrature.

    Parameters
    ----------
    problem
        Whose Hessian.
    num_probes
        Random unit vectors, a Lanczos run each; the errors are those between them.
    num_steps
        Products of a run, at most. A run keeps as many vectors of n numbers, and ends early where its subspace is
        invariant. It is exact when the steps reach the number of distinct eigenvalues.
    max_basis
        Vectors of length n that a run keeps at most, and so its steps. By default as many as 1 GiB holds, but at least
        24; that they are fewer than ``num_steps`` is warned of, and the result's ``num_steps`` tells.
    known
        Pairs of :func:`hessian_directions`. The converged ones enter with the weight 1/N that they have, and the
        probes sample what is orthogonal to them: the density is then sharp at both ends.
    seed
        Of the probes, which are the same on every device.

    Returns
    -------
    SpectralDensity
        Nodes and weights, with Σ w = 1, a curve to draw, outliers and edges of the bulk.

    Raises
    ------
    TypeError, ValueError
        For an argument that cannot be meant.
    FloatingPointError
        Where products are not finite.

    Warns
    -----
    UserWarning
        Where memory allows fewer steps than were asked for.

    Notes
    -----
    Golub & Welsch (1969) for one probe, whose nodes are the Ritz values and whose weights are the squared first
    components of the eigenvectors of T; Ubaru, Chen & Saad (2017) for the mean over probes; Ghorbani, Krishnan & Xiao
    (2019) for networks.

    Examples
    --------
    >>> import landscape_widget as lw
    >>> from landscape_widget import examples
    >>> density = lw.spectral_density(examples.toy_saddle(n=500, m=550), num_probes=4, num_steps=3)
    >>> density.num_matvecs, [round(float(x), 9) for x in density.nodes[[0, -1]]]
    (12, [-1.0, 1.0])
    >>> abs(density.trace.mean - 100) < 4 * density.trace.sem
    True
    """
    makers = iter_spectral_density(problem, num_probes, num_steps, known=known, max_basis=max_basis, seed=seed)
    least = min(num_steps, problem.num_parameters)
    if max_basis is None and (held := _held(problem)) < least:
        warn(
            f"num_steps = {num_steps} asked for, but 1 GiB holds {held} vectors; max_basis={least} allows as many steps"
        )
    *_, make = makers
    return make()


def iter_spectral_density(
    problem: Problem,
    num_probes: int = 8,
    num_steps: int = 64,
    *,
    known: HessianDirections | None = None,
    max_basis: int | None = None,
    seed: int = 0,
) -> Iterator[Callable[[], SpectralDensity]]:
    """As :func:`spectral_density`, but yields after every product a function that makes the density as it stands.

    That is the density of the finished runs; of the first one while it goes on. Nothing is warned of.
    """
    check_problem(problem)
    check_count(num_probes, "num_probes")
    check_count(num_steps, "num_steps")
    check_seed(seed)
    if known is not None and not isinstance(known, HessianDirections):
        raise TypeError(f"expected known as what hessian_directions returned, got {type(known).__name__}")
    if known is not None and known.largest.vectors.shape[1] != problem.num_parameters:
        raise ValueError(
            f"expected known pairs of this problem's Hessian, of {problem.num_parameters} parameters, "
            f"got pairs of {known.largest.vectors.shape[1]}"
        )
    if max_basis is not None:
        check_count(max_basis, "max_basis")
    num_steps = min(num_steps, _held(problem) if max_basis is None else max_basis)
    return _iterate(problem, num_probes, num_steps, known, seed)


def _held(problem: Problem) -> int:
    """How many vectors a run keeps at most if nothing else is wished."""
    return max(_LEAST_STEPS, affordable(problem.point))


def _iterate(
    problem: Problem, num_probes: int, num_steps: int, known: HessianDirections | None, seed: int
) -> Iterator[Callable[[], SpectralDensity]]:
    hessian, n, eps = Hessian(problem), problem.num_parameters, torch.finfo(problem.dtype).eps
    hessian.expect(num_probes * min(num_steps, n))
    values, vectors = _known_pairs(problem, known)
    left = n - len(values)
    # Not the stream that the known pairs were found from, or what is left of a probe would be no random vector.
    generator = torch.Generator("cpu").manual_seed(other_stream(seed, "density"))
    rules: list[tuple[np.ndarray, np.ndarray]] = []

    def making(rules: list[tuple[np.ndarray, np.ndarray]]) -> Callable[[], SpectralDensity]:
        # Bound now: products go on while the caller waits.
        cost = hessian.num_matvecs
        products = hessian.method if cost else None
        return lambda: _assembled(values, rules, n, num_steps, cost, products)

    if not left:
        yield making([])
    for _ in range(num_probes if left else 0):
        probe = _probe(problem.point, vectors, generator)
        rule: tuple[list[float], list[float]] = [], []
        for rule in _lanczos(hessian, probe, vectors, min(num_steps, left)):
            yield making(list(rules) or [quadrature(*rule, eps)])
        rules.append(quadrature(*rule, eps))
        yield making(list(rules))
    hessian.release()


def quadrature(diagonal: list[float], off_diagonal: list[float], eps: float) -> tuple[np.ndarray, np.ndarray]:
    """Nodes and weights of the Gauss rule of a tridiagonal matrix: its eigenvalues, and the squared first components of its vectors.

    Nodes that agree to round-off, ``eps`` relative to the largest, are one: a run that goes on beyond all distinct
    eigenvalues finds copies of those that repeat, and the eigenvectors of T share the weight between them at will.
    """
    if len(diagonal) == 1:
        return np.array(diagonal), np.ones(1)
    nodes, vectors = eigh_tridiagonal(np.array(diagonal), np.array(off_diagonal[: len(diagonal) - 1]))
    weights = vectors[0] ** 2
    group = np.r_[0, np.cumsum(np.diff(nodes) > _ROUND_OFF * eps * np.abs(nodes).max())]
    merged = np.bincount(group, weights)
    # Of several without weight any is their mean.
    share = (weights + np.finfo(float).tiny) / np.bincount(group, weights + np.finfo(float).tiny)[group]
    return np.bincount(group, share * nodes), merged


def _probe(like: Tensor, known: Tensor, generator: torch.Generator) -> Tensor:
    """The next random unit vector orthogonal to the known ones, of which there are fewer than dimensions."""
    while True:
        drawn = torch.randn(like.numel(), generator=generator, dtype=torch.float64, device="cpu").to(like)
        probe = _orthogonal(drawn, known)
        left = float(probe.norm())
        # Round-off of a vector that known ones were made of, given to another seed by chance, is no random direction.
        if left > _ROUND_OFF * torch.finfo(like.dtype).eps * float(drawn.norm()):
            return probe / left


def _lanczos(
    hessian: Hessian, probe: Tensor, known: Tensor, num_steps: int
) -> Iterator[tuple[list[float], list[float]]]:
    """Diagonal and off-diagonal of T after each step from a probe, in the space orthogonal to the known vectors.

    Unlike the run for eigenpairs it never restarts, since T must stay that of the probe, and it stops at an invariant
    subspace, of which the rule is exact.
    """
    # Known vectors and basis in one storage: both are projected out, twice (Parlett 1998, §6.9).
    basis = torch.cat([known, probe.new_empty((num_steps, len(probe)))])
    size = len(known)
    diagonal: list[float] = []
    off_diagonal: list[float] = []
    vector = probe
    for _ in range(num_steps):
        basis[size] = vector
        size += 1
        (product,) = finite_products(hessian, vector[None])
        diagonal.append(float(dot(vector, product)))
        rest = _orthogonal(product, basis[:size])
        beta = float(rest.double().norm())
        yield diagonal, off_diagonal
        if beta <= _ROUND_OFF * torch.finfo(probe.dtype).eps * max(map(abs, [*diagonal, *off_diagonal])):
            return
        off_diagonal.append(beta)
        vector = rest / beta
        # A short remainder of a long product is orthogonal only to the ratio of the two.
        vector = _orthogonal(vector, basis[:size])
        vector = vector / vector.norm()


def _orthogonal(vector: Tensor, basis: Tensor) -> Tensor:
    for _ in range(2):
        vector = vector - (basis @ vector) @ basis
    return vector


def _known_pairs(problem: Problem, known: HessianDirections | None) -> tuple[np.ndarray, Tensor]:
    """Converged pairs, values (k,) and orthonormal vectors (k, n), each once: with few parameters both ends hold the same."""
    values: list[float] = []
    vectors = problem.point.new_empty((0, problem.num_parameters))
    for pairs in () if known is None else (known.largest, known.smallest):
        for value, vector, converged in zip(pairs.values, pairs.vectors, pairs.converged, strict=True):
            rest = _orthogonal(vector.to(problem.point), vectors)
            if converged and float(rest.norm()) > _INDEPENDENT:
                values.append(float(value))
                vectors = torch.cat([vectors, rest[None] / rest.norm()])
    return np.array(values), vectors


def _assembled(
    known: np.ndarray,
    rules: list[tuple[np.ndarray, np.ndarray]],
    n: int,
    num_steps: int,
    num_matvecs: int,
    products: str | None,
) -> SpectralDensity:
    share = (n - len(known)) / n
    nodes = np.concatenate([known, *(nodes for nodes, _ in rules)])
    weights = np.concatenate([np.full(len(known), 1 / n), *(share * w / len(rules) for _, w in rules)])
    probes = np.repeat(np.arange(-1, len(rules)), [len(known), *(len(nodes) for nodes, _ in rules)])
    order = np.argsort(nodes, kind="stable")
    bare = SpectralDensity(
        nodes[order], weights[order], probes[order], n, len(rules), num_steps, num_matvecs, products=products
    )
    width, size = bare.largest - bare.smallest, max(abs(bare.largest), abs(bare.smallest))
    # One eigenvalue, many times, has a width of round-off.
    bandwidth = _BANDWIDTH * ((width if width > _ONE_VALUE * size else size) or 1.0)
    grid = np.linspace(bare.smallest - 4 * bandwidth, bare.largest + 4 * bandwidth, _POINTS)
    above, below = _ranked(bare, 1), _ranked(bare, -1)
    upper = lower = 0
    for _ in range(2):  # what is an outlier at one end makes the rest look narrower from the other
        upper = _num_outliers(bare, 1, above, float(below[:, lower].min()))
        lower = _num_outliers(bare, -1, below, float(above[:, upper].max()))
    return replace(
        bare,
        grid=grid,
        density=bare.broadened(grid, bandwidth),
        bandwidth=bandwidth,
        outliers=(*above[:, :upper].mean(0).tolist(), *below[:, :lower].mean(0).tolist()),
        bulk=(float(below[:, lower].min()), float(above[:, upper].max())),
    )


def _num_outliers(density: SpectralDensity, sign: int, ranked: np.ndarray, other_edge: float) -> int:
    """How many values at the upper (sign 1) or lower (−1) end are clearly outside the rest, which ends at the other edge.

    An eigenvalue is the same in every probe, what stands for a part of the bulk is not; of a single probe it is not known.
    """
    if density.num_probes == 1:
        return 0
    values, bottom = sign * ranked, sign * other_edge
    best = 0
    for rank in range(1, values.shape[1]):
        outer, inner = values[:, rank - 1], values[:, rank].max()
        gap = outer.min() - inner
        share = density.per_probe(lambda x, edge=inner: sign * x > edge).mean()
        if share > _FEW or np.ptp(outer) > _AGREED * gap:
            break
        if gap > _GAP * (inner - bottom):
            best = rank
    return best


def _ranked(density: SpectralDensity, sign: int) -> np.ndarray:
    """Each probe's values from one end inwards, known ones among them, shape (num_probes, shortest): rank r of all is one value."""
    rows = []
    for probe in range(max(1, density.num_probes)):
        # Where a run went on with round-off its nodes have the weight of round-off squared.
        mine = ((density.probes == probe) | (density.probes < 0)) & (density.weights > _WEIGHTLESS)
        rows.append(np.sort(density.nodes[mine])[::-sign])
    shortest = min(map(len, rows))
    return np.array([row[:shortest] for row in rows])
