"""Hessian eigenvectors at both ends of the spectrum as directions."""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeVar

import torch
from torch import Tensor

from landscape_widget.engine import bounds, copies, lanczos, ritz
from landscape_widget.engine.arguments import (
    check_count,
    check_number,
    check_problem,
    check_seed,
)
from landscape_widget.engine.basis import affordable
from landscape_widget.engine.lanczos import LanczosState
from landscape_widget.engine.operators import Hessian
from landscape_widget.engine.problem import Problem
from landscape_widget.engine.ritz import Beside, RitzPairs
from landscape_widget.engine.streams import other_stream
from landscape_widget.keywords import hinted
from landscape_widget.landscape import Curvature, Direction
from landscape_widget.warn import warn

Found = TypeVar("Found")

_SUBSCRIPTS = str.maketrans("0123456789", "₀₁₂₃₄₅₆₇₈₉")
# Products that a run takes at least, as a rule: what may be spent on finding a faster way depends on it.
_TYPICAL = 60


@dataclass
class _Run:
    """A Lanczos run and the Hessian whose it is."""

    hessian: Hessian
    state: LanczosState
    seed: int
    tol: float
    max_basis: int | None


@dataclass(frozen=True)
class HessianDirections:
    """Ritz pairs at both ends of the Hessian's spectrum and what the run proves.

    The result holds the run's basis, as many vectors of θ's length as products were made or ``max_basis``, so that
    :meth:`extend` can go on; :meth:`release` frees it.

    Attributes
    ----------
    largest, smallest
        k pairs each, from the outside inwards: ``smallest.values[0]`` is λ_min.
    summary
        The same as plain numbers, with the number of negative Ritz values and the noise of a product.
    preliminary
        True while the run goes on; residuals are then the recurrence's.
    """

    largest: RitzPairs
    smallest: RitzPairs
    summary: Curvature
    preliminary: bool = False
    _run: list[_Run] = field(default_factory=list, repr=False, compare=False)

    @property
    def num_matvecs(self) -> int:
        """Hessian-vector products used, of all of the run so far."""
        return self.summary.num_matvecs

    @property
    def directions(self) -> tuple[Direction, ...]:
        """λ₁, λ₂, … λ_{N−1}, λ_N as directions of unit norm."""
        largest = [self._direction(self.largest, i, "largest") for i in range(len(self.largest))]
        smallest = [self._direction(self.smallest, i, "smallest") for i in range(len(self.smallest))]
        return (*largest, *reversed(smallest))

    @hinted
    def extend(self, k: int, *, max_matvecs: int = 300) -> HessianDirections:
        """The same run with k pairs per end: the result is as if they had been asked for at once; this one stays as it is.

        Parameters
        ----------
        k
            Pairs per end of the new result.
        max_matvecs
            Budget of further products.

        Raises
        ------
        ValueError
            After :meth:`release`, and for a result that is still preliminary.

        Examples
        --------
        >>> import landscape_widget as lw
        >>> from landscape_widget import examples
        >>> pairs = lw.hessian_directions(examples.quadratic([10.0, 9.0, 1.0, -1.0]), k=1)
        >>> [round(float(value), 6) for value in pairs.extend(2).smallest.values]
        [-1.0, 1.0]
        """
        *_, make = iter_extended(self, k, max_matvecs=max_matvecs)
        return make()

    def release(self) -> None:
        """Free the basis of the run; what was found stays, but cannot be extended."""
        self._run.clear()

    def _direction(self, pairs: RitzPairs, i: int, end: str) -> Direction:
        if end == "largest":
            symbol, converged = "λ" + str(i + 1).translate(_SUBSCRIPTS), self.summary.largest_converged
        else:
            converged = self.summary.smallest_converged
            symbol = "λₙ" if i == 0 else "λₙ₋" + str(i).translate(_SUBSCRIPTS)
        rank = "" if i == 0 else f"{_ordinal(i + 1)} "
        return Direction(
            key=f"{end}-{i + 1}",
            kind="hessian",
            symbol=symbol,
            label=f"{rank}{end} curvature",
            vector=pairs.vectors[i],
            curvature=float(pairs.values[i]),
            residual=float(pairs.residual_norms[i]),
            converged=converged[i],
            preliminary=self.preliminary,
        )


@hinted
def hessian_directions(
    problem: Problem,
    k: int = 4,
    *,
    tol: float = 1e-2,
    seed: int = 0,
    max_matvecs: int = 300,
    max_basis: int | None = None,
    start: HessianDirections | Tensor | Sequence[Direction] | None = None,
) -> HessianDirections:
    """Eigenvectors of the Hessian at both ends of its spectrum, from one Lanczos run with full reorthogonalization.

    Parameters
    ----------
    problem
        Whose Hessian, at θ*.
    k
        Pairs *per end*. More than n are clipped, with a warning.
    tol
        A pair has converged when ‖Hy − μy‖ ≤ tol·|μ| (or is at the noise of a product).
    seed
        Of the random start vector; the same seed gives the same result.
    max_matvecs
        Budget of products for Lanczos, looking for copies included (2k more compute the residuals); what is there when
        it is spent is returned with its residuals and ``converged`` false.
    max_basis
        Vectors of length n kept at most; a full basis is replaced by the outer half of its Ritz vectors (thick
        restart, Wu & Simon 2000). By default as many as 1 GiB holds, but at least 4k + 20. Besides it the run takes 2
        vectors, and its result 2k.
    start
        Earlier vectors near the ones wanted, from a neighboring θ say: a result, directions, or a tensor (j, n). The
        run starts from their sum and a random vector of equal norm, so that what is not among them is found, too; it
        carries no ``unseen_below``.

    Returns
    -------
    HessianDirections
        ``largest`` and ``smallest`` with values, vectors (k, n) and computed residual norms.

    Raises
    ------
    FloatingPointError
        For products that are not finite.
    RuntimeError
        For a loss that cannot be differentiated twice.
    TypeError, ValueError
        For arguments of the wrong kind, out of range or of the wrong length.

    Notes
    -----
    Böttcher & Wheeler (arXiv:2208.13219) span the plane by the eigenvectors of the largest and smallest eigenvalue. A
    residual certifies *an* eigenvalue near the Ritz value; negative curvature is proven by vᵀHv < 0 whatever the
    residual. So the run ends only when, besides, an eigenvalue beyond or between the wanted ones by more than five
    tolerances would have shown, but for one random start in a thousand.

    Of an eigenvalue that repeats one start vector has a part in one eigenvector only. So another random vector then
    looks for copies: where there are none, in about four products, six or an eighth of the run's at most; where there
    are, they take their places among the pairs.

    Examples
    --------
    >>> import landscape_widget as lw
    >>> from landscape_widget import examples
    >>> pairs = lw.hessian_directions(examples.quadratic([10.0, 9.0, 1.0, -1.0]), k=1)
    >>> round(float(pairs.largest.values[0]), 6), round(float(pairs.smallest.values[0]), 6)
    (10.0, -1.0)
    >>> pairs = lw.hessian_directions(examples.toy_saddle(n=500, m=550), k=2)  # many of +1 and of −1
    >>> [round(float(value), 6) for value in pairs.largest.values], pairs.largest.isolated.tolist()
    ([1.0, 1.0], [False, False])
    """
    *_, make = iter_hessian_directions(
        problem,
        k,
        tol=tol,
        seed=seed,
        max_matvecs=max_matvecs,
        max_basis=max_basis,
        start=start,
    )
    return make()


@hinted
def iter_hessian_directions(
    problem: Problem,
    k: int = 4,
    *,
    tol: float = 1e-2,
    seed: int = 0,
    max_matvecs: int = 300,
    max_basis: int | None = None,
    start: HessianDirections | Tensor | Sequence[Direction] | None = None,
) -> Iterator[Callable[[], HessianDirections]]:
    """As :func:`hessian_directions`, but yields after every product a function that makes the pairs as they stand.

    Parameters
    ----------
    problem, k, tol, seed, max_matvecs, max_basis, start
        As of :func:`hessian_directions`; they are checked at the call.

    Yields
    ------
    callable
        Makes :class:`HessianDirections`: ``preliminary`` ones, with residuals by the recurrence, and at last those that
        :func:`hessian_directions` returns, whose pairs are verified. Making them costs a pass over the basis, so it is
        left to the caller when; a function is to be called before the next is asked for, or not at all.

    Examples
    --------
    >>> import landscape_widget as lw
    >>> from landscape_widget import examples
    >>> improving = lw.iter_hessian_directions(examples.quadratic([10.0, 9.0, 1.0, -1.0], rotation_seed=0), k=1)
    >>> seen = [make() for make in improving]
    >>> all(a.largest.values[0] <= b.largest.values[0] + 1e-9 for a, b in zip(seen, seen[1:]))
    True
    >>> seen[0].preliminary, seen[-1].preliminary, round(float(seen[-1].largest.values[0]), 6)
    (True, False, 10.0)
    """
    check_problem(problem)
    check_seed(seed)
    check_count(max_matvecs, "max_matvecs")
    check_number(tol, "tol")
    if not 0 <= tol < 1:
        raise ValueError(f"expected tol from 0 to below 1, as a part of |μ|, got {tol}")
    k = _valid_k(problem, k)
    capacity = _capacity(problem, k, max_matvecs, max_basis)
    near = None if start is None else _vectors(problem, start)
    # Earlier vectors of the same seed were made of its first random vector, which would not be a fresh one.
    first = seed if near is None else other_stream(seed, "warm start")
    state = lanczos.start(problem.point, first, max_basis=capacity, near=near)
    yield from _advance(_Run(Hessian(problem), state, seed, tol, max_basis), k, max_matvecs)


def iter_extended(
    found: HessianDirections, k: int, *, max_matvecs: int = 300
) -> Iterator[Callable[[], HessianDirections]]:
    """As :meth:`HessianDirections.extend`, but yields as :func:`iter_hessian_directions` does."""
    check_count(max_matvecs, "max_matvecs")
    if not found._run:
        raise ValueError(
            "expected directions that hold their run, got released or preliminary ones; ask for all pairs with hessian_directions"
        )
    (run,) = found._run
    problem = run.hessian.problem
    k = _valid_k(problem, k)
    basis = run.state.basis
    needed = run.state.num_matvecs + max_matvecs
    if run.max_basis is None:
        basis.capacity = max(basis.capacity, _capacity(problem, k, needed, None))
    else:
        basis.capacity = max(basis.capacity, _least_basis(problem, k, needed))
    yield from _advance(run, k, max_matvecs)


def _advance(run: _Run, k: int, max_matvecs: int) -> Iterator[Callable[[], HessianDirections]]:
    hessian, state, tol = run.hessian, run.state, run.tol
    hessian.expect(min(max_matvecs, _TYPICAL))

    def preliminary() -> HessianDirections:
        return _result(run, ritz.ends(state, k, tol), preliminary=True)

    left = max_matvecs
    for _ in ritz.run(hessian, state, k, tol=tol, max_matvecs=max_matvecs):
        left -= 1
        yield preliminary
    beside = Beside.nothing(state, k, unique=False)
    if ritz.has_converged(state, k, tol):
        seed = other_stream(run.seed, "copies")
        looking = copies.search(hessian, state, k, tol=tol, seed=seed, max_matvecs=left)
        beside = yield from _showing(looking, preliminary)
    pairs = yield from _showing(ritz.verified(hessian, state, k, tol, beside), preliminary)
    final = _result(run, pairs, preliminary=False)
    hessian.release()
    yield lambda: final


Shown = Callable[[], HessianDirections]


def _showing(steps: Generator[None, None, Found], shown: Shown) -> Generator[Shown, None, Found]:
    """The result of steps, with something to show after each."""
    while True:
        try:
            next(steps)
        except StopIteration as end:
            return end.value
        yield shown


def _result(run: _Run, pairs: ritz.BothEnds, *, preliminary: bool) -> HessianDirections:
    (largest, smallest), state = pairs, run.state
    settled = ritz.settled(state, len(largest), run.tol)
    summary = Curvature(
        largest=tuple(largest.values.tolist()),
        largest_residuals=tuple(largest.residual_norms.tolist()),
        smallest=tuple(smallest.values.tolist()),
        smallest_residuals=tuple(smallest.residual_norms.tolist()),
        # One orthonormal basis is that of the run, another the pairs', which can hold copies that the run does not.
        num_negative=max(state.num_negative, int((smallest.values < -state.noise).sum())),
        noise=state.noise,
        num_matvecs=run.hessian.num_matvecs,
        converged=bool(largest.converged.all() and smallest.converged.all()),
        unseen_below=bounds.unseen_below(state),
        method=run.hessian.method,
        largest_converged=tuple((largest.converged & settled[: len(largest)]).tolist()),
        smallest_converged=tuple((smallest.converged & settled[len(largest) :]).tolist()),
    )
    return HessianDirections(largest, smallest, summary, preliminary, [] if preliminary else [run])


def _valid_k(problem: Problem, k: int) -> int:
    check_count(k, "k")
    if k > problem.num_parameters:
        warn(f"k = {k} pairs per end asked for, but the Hessian has only {problem.num_parameters}; clipped")
    return min(k, problem.num_parameters)


def _capacity(problem: Problem, k: int, max_matvecs: int, max_basis: int | None) -> int:
    """Vectors that the basis may hold."""
    least = _least_basis(problem, k, max_matvecs)
    if max_basis is None:
        return min(max(least, affordable(problem.point)), max_matvecs, problem.num_parameters)
    check_count(max_basis, "max_basis")
    if max_basis < least:
        raise ValueError(f"expected max_basis of at least 4k + 20 = {4 * k + 20} for k = {k} per end, got {max_basis}")
    return min(max_basis, problem.num_parameters)


def _least_basis(problem: Problem, k: int, max_matvecs: int) -> int:
    """Room for the half that a thick restart keeps, 2k wanted vectors and some next ones, and as many new ones."""
    return min(4 * k + 20, max_matvecs, problem.num_parameters)


def _vectors(problem: Problem, given: Any) -> Tensor:
    """Earlier vectors as unit rows (j, n)."""
    if isinstance(given, HessianDirections):
        given = given.directions
    if not isinstance(given, Tensor):
        if not isinstance(given, Sequence) or not all(isinstance(d, Direction) for d in given) or not given:
            raise TypeError(f"expected start as HessianDirections, directions or a tensor, got {type(given).__name__}")
        if any(d.vector is None for d in given):
            raise ValueError("expected start with directions that have their vectors, got one without")
        given = torch.stack([torch.as_tensor(d.vector) for d in given])
    rows = torch.atleast_2d(given.detach()).to(problem.point)
    if rows.dim() != 2 or rows.shape[1] != problem.num_parameters:
        raise ValueError(
            f"expected start with vectors of {problem.num_parameters} entries, got shape {tuple(given.shape)}"
        )
    norms = rows.norm(dim=1, keepdim=True)
    if not bool((torch.isfinite(norms) & (norms > 0)).all()):
        raise ValueError("expected start with finite vectors that are not zero, got one that is")
    return rows / norms


def _ordinal(i: int) -> str:
    return f"{i}{'th' if 10 <= i % 100 <= 20 else {1: 'st', 2: 'nd', 3: 'rd'}.get(i % 10, 'th')}"
