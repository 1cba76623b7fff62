"""Directions to span a plane with: Hessian eigenvectors, random, gradient, the user's own."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from landscape_widget.engine import lanczos
from landscape_widget.engine.arguments import check_count, check_problem, check_seed
from landscape_widget.engine.lanczos import LanczosState, RitzPairs
from landscape_widget.engine.operators import Hessian
from landscape_widget.engine.problem import Problem
from landscape_widget.landscape import Curvature, Direction

# Added to a filter's norm before dividing (Li et al. 2018, their code).
_EPSILON = 1e-10
_SUBSCRIPTS = str.maketrans("0123456789", "₀₁₂₃₄₅₆₇₈₉")


@dataclass(frozen=True)
class HessianDirections:
    """Ritz pairs at both ends of the Hessian's spectrum and what the run proves.

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

    @property
    def num_matvecs(self) -> int:
        """Hessian-vector products used."""
        return self.summary.num_matvecs

    @property
    def directions(self) -> tuple[Direction, ...]:
        """λ₁, λ₂, … λ_{N−1}, λ_N as directions of unit norm."""
        largest = [self._direction(self.largest, i, "largest") for i in range(len(self.largest))]
        smallest = [self._direction(self.smallest, i, "smallest") for i in range(len(self.smallest))]
        return (*largest, *reversed(smallest))

    def _direction(self, pairs: RitzPairs, i: int, end: str) -> Direction:
        if end == "largest":
            symbol = "λ" + str(i + 1).translate(_SUBSCRIPTS)
        else:
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
            converged=bool(pairs.converged[i]),
            preliminary=self.preliminary,
        )


def iter_hessian_directions(
    problem: Problem, k: int = 4, *, tol: float = 1e-2, seed: int = 0, max_matvecs: int = 300
) -> Iterator[Callable[[], HessianDirections]]:
    """As :func:`hessian_directions`, but yields after every product a function that makes the pairs as they stand.

    The last one's pairs are verified.

    Making the pairs costs a pass over the basis, so it is left to the caller when.
    """
    check_problem(problem)
    check_seed(seed)
    check_count(max_matvecs, "max_matvecs")
    k = _valid_k(problem, k)
    hessian = Hessian(problem)
    state: LanczosState | None = None
    for state in lanczos.run(hessian, problem.point, k, tol=tol, seed=seed, max_matvecs=max_matvecs):
        yield lambda state=state: _directions(hessian, state, *lanczos.ends(state, k, tol), preliminary=True)
    assert state is not None
    largest, smallest = lanczos.ends(state, k, tol)
    largest = lanczos.verified(hessian, state, largest, tol, descending=True)
    smallest = lanczos.verified(hessian, state, smallest, tol, descending=False)
    final = _directions(hessian, state, largest, smallest, preliminary=False)
    hessian.release()
    yield lambda: final


def hessian_directions(
    problem: Problem, k: int = 4, *, tol: float = 1e-2, seed: int = 0, max_matvecs: int = 300
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
        Budget of products for Lanczos (2k more compute the residuals); what is there when it is spent is returned with
        its residuals and ``converged`` false.

    Returns
    -------
    HessianDirections
        ``largest`` and ``smallest`` with values, vectors (k, n) and computed residual norms.

    Notes
    -----
    Böttcher & Wheeler (arXiv:2208.13219) span the plane by the eigenvectors of the largest and smallest eigenvalue. A
    residual certifies *an* eigenvalue near the Ritz value; negative curvature is proven by vᵀHv < 0 whatever the
    residual.

    Examples
    --------
    >>> import landscape_widget as lw
    >>> from landscape_widget import examples
    >>> pairs = lw.hessian_directions(examples.quadratic([10.0, 9.0, 1.0, -1.0]), k=1)
    >>> round(float(pairs.largest.values[0]), 6), round(float(pairs.smallest.values[0]), 6)
    (10.0, -1.0)
    """
    *_, make = iter_hessian_directions(problem, k, tol=tol, seed=seed, max_matvecs=max_matvecs)
    return make()


def random_directions(
    problem: Problem, count: int = 2, *, normalization: str = "filter", seed: int = 0
) -> tuple[Direction, ...]:
    """Gaussian random directions, normalized by a rule.

    Parameters
    ----------
    problem
        Whose parameters give the shapes and, for "filter" and "layer", the norms.
    count
        How many; direction i of a seed is the same whatever the count.
    normalization
        "none": N(0, 1) entries. "unit": ‖d‖ = 1. "filter" (Li et al. 2018): each slice along dimension 0 of a tensor
        of two or more dimensions gets the norm of that filter in θ*; tensors of one dimension (biases, normalization
        layers) and filters that are zero get direction zero. "layer": the same with whole tensors.
    seed
        Of the draw.

    Returns
    -------
    tuple of Direction
        With ``vector`` (n,) and ``norm``.

    Raises
    ------
    TypeError, ValueError
        For an unknown normalization, and for a count or seed out of range.

    Examples
    --------
    >>> import landscape_widget as lw
    >>> from landscape_widget import examples
    >>> [round(d.norm, 12) for d in lw.random_directions(examples.quadratic([2.0, -1.0]), normalization="unit")]
    [1.0, 1.0]
    """
    check_problem(problem)
    check_count(count, "count")
    check_seed(seed)
    if normalization not in _NORMALIZATIONS:
        raise ValueError(f"expected normalization {', '.join(map(repr, _NORMALIZATIONS))}, got {normalization!r}")
    made = []
    for i in range(count):
        # On the CPU, so that every device gets the same.
        generator = torch.Generator("cpu").manual_seed(seed * 1_000_003 + i)
        draw = torch.randn(problem.num_parameters, generator=generator, dtype=torch.float64, device="cpu")
        draw = draw.to(problem.point)
        vector = _NORMALIZATIONS[normalization](problem, draw)
        kind = {"none": "random", "unit": "random (unit)"}.get(normalization, f"random ({normalization}-normalized)")
        made.append(
            Direction(
                key=f"random-{i}",
                kind="random",
                symbol="r" + str(i + 1).translate(_SUBSCRIPTS),
                label=f"{kind} {i + 1}, seed {seed}",
                vector=vector,
                norm=float(vector.double().norm()),
                normalization=normalization,
                seed=seed,
            )
        )
    return tuple(made)


def gradient_direction(problem: Problem) -> Direction:
    """The unit vector along ∇L(θ*).

    Raises
    ------
    ValueError
        Where the gradient is exactly zero: there is no direction.
    """
    check_problem(problem)
    gradient = problem.gradient()
    norm = float(gradient.double().norm())
    if norm == 0.0:
        raise ValueError("expected a point with a gradient, got ∇L = 0: a critical point has no gradient direction")
    return Direction(key="gradient", kind="gradient", symbol="∇L", label="gradient", vector=gradient / norm)


def as_direction(problem: Problem, given: Any, position: int = 0) -> Direction:
    """A user's own axis as a :class:`Direction`, exactly as given.

    Parameters
    ----------
    problem
        Whose parameters it must fit.
    given
        A Direction, a flat tensor or array (n,), a list of tensors of the parameters' shapes, or a state_dict
        (entries that are not in θ are ignored).

    Raises
    ------
    ValueError, TypeError
        Naming the first mismatch.
    """
    if isinstance(given, Direction):
        if given.vector is None:
            raise ValueError(
                f"expected a direction with its vector, got {given.label!r} without: "
                "a landscape is saved with its axes only by save(..., keep_directions=True)"
            )
        if np.prod(np.shape(given.vector)) != problem.num_parameters:
            raise ValueError(
                f"expected a direction with {problem.num_parameters} entries, got {np.prod(np.shape(given.vector))} in {given.label!r}"
            )
        return given
    if isinstance(given, Mapping):
        missing = [name for name in problem.parameter_names if name not in given]
        if missing:
            raise ValueError(f"expected a state_dict with all of θ's tensors, got one without {missing[0]!r}")
        given = [given[name] for name in problem.parameter_names]
    if isinstance(given, Sequence) and not isinstance(given, (str, bytes)) and given and not np.isscalar(given[0]):
        parts = [_tensor(part, problem) for part in given]
        for name, shape, part in zip(problem.parameter_names, problem.parameter_shapes, parts, strict=False):
            if part.shape != shape:
                raise ValueError(f"expected a tensor of shape {tuple(shape)} for {name!r}, got {tuple(part.shape)}")
        if len(parts) != len(problem.parameter_names):
            raise ValueError(
                f"expected {len(problem.parameter_names)} tensors ({', '.join(problem.parameter_names)}), got {len(parts)}"
            )
        given = torch.cat([part.reshape(-1) for part in parts])
    if not isinstance(given, (Tensor, np.ndarray, Sequence)) or isinstance(given, (str, bytes)):
        raise TypeError(
            f"expected a direction as a Direction, a tensor, an array, a list of tensors or a state_dict, got {type(given).__name__}"
        )
    vector = _tensor(given, problem).reshape(-1)
    if vector.numel() != problem.num_parameters:
        raise ValueError(f"expected a direction with {problem.num_parameters} entries, got {vector.numel()}")
    name = "xy"[position]
    return Direction(
        key=f"own-{name}",
        kind="own",
        symbol=f"d{name}",
        label=f"own direction {name}",
        vector=vector,
        norm=float(vector.double().norm()),
    )


def _tensor(given: Any, problem: Problem) -> Tensor:
    # A copy of what is not a tensor: torch warns of views into read-only arrays.
    tensor = given if isinstance(given, Tensor) else torch.tensor(np.ascontiguousarray(given))
    return tensor.detach().to(problem.point)


def _directions(
    hessian: Hessian, state: LanczosState, largest: RitzPairs, smallest: RitzPairs, *, preliminary: bool
) -> HessianDirections:
    noise = state.noise
    summary = Curvature(
        largest=tuple(largest.values.tolist()),
        largest_residuals=tuple(largest.residual_norms.tolist()),
        smallest=tuple(smallest.values.tolist()),
        smallest_residuals=tuple(smallest.residual_norms.tolist()),
        num_negative=int((state.ritz()[0] < -noise).sum()),
        noise=noise,
        num_matvecs=hessian.num_matvecs,
        converged=bool(largest.converged.all() and smallest.converged.all()),
        unseen_below=lanczos.unseen_below(state),
    )
    return HessianDirections(largest, smallest, summary, preliminary)


def _valid_k(problem: Problem, k: int) -> int:
    check_count(k, "k")
    if k > problem.num_parameters:
        warnings.warn(
            f"k = {k} pairs per end asked for, but the Hessian has only {problem.num_parameters}; clipped", stacklevel=3
        )
    return min(k, problem.num_parameters)


def _filterwise(problem: Problem, draw: Tensor) -> Tensor:
    parts = []
    for d, theta in zip(problem.split(draw), problem.split(problem.point), strict=True):
        if d.dim() <= 1:
            parts.append(torch.zeros_like(d).reshape(-1))
        else:
            rows, weights = d.reshape(len(d), -1), theta.reshape(len(theta), -1)
            parts.append((rows * (weights.norm(dim=1) / (rows.norm(dim=1) + _EPSILON))[:, None]).reshape(-1))
    return torch.cat(parts)


def _layerwise(problem: Problem, draw: Tensor) -> Tensor:
    parts = []
    for d, theta in zip(problem.split(draw), problem.split(problem.point), strict=True):
        parts.append((torch.zeros_like(d) if d.dim() <= 1 else d * (theta.norm() / (d.norm() + _EPSILON))).reshape(-1))
    return torch.cat(parts)


_NORMALIZATIONS: dict[str, Callable[[Problem, Tensor], Tensor]] = {
    "filter": _filterwise,
    "layer": _layerwise,
    "unit": lambda _problem, draw: draw / draw.norm(),
    "none": lambda _problem, draw: draw,
}


def _ordinal(i: int) -> str:
    return f"{i}{'th' if 10 <= i % 100 <= 20 else {1: 'st', 2: 'nd', 3: 'rd'}.get(i % 10, 'th')}"
