"""What a Lanczos run from a random vector proves about eigenvalues it has not seen.

Let z be an eigenvector of H with eigenvalue λ. Its overlaps zᵀqⱼ with the basis follow the recurrence of the basis
itself, zᵀHqⱼ = λ zᵀqⱼ: all of them are known multiples of zᵀq₁. As the basis is orthonormal, Σⱼ (zᵀqⱼ)² ≤ 1. So where
the multiples have grown to Σⱼ (zᵀqⱼ)² / (zᵀq₁)² = G(λ), an eigenvalue λ needs |zᵀq₁| ≤ 1/√G, and for q₁ uniform on
the sphere that has a probability of at most √(2n / (π G)).

(van Dorsselaer, Hochstenbach & van der Vorst 2000, who take the last term of the sum. The event does not depend on how
many steps are made: the statement may be read after every product, and stays true through a thick restart, whose
vectors are polynomials in H times q₁, too.)
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from landscape_widget.engine.lanczos import Cycle, LanczosState

_UNSEEN = 0.01
# Hidden eigenvalues are ruled out with this probability of error for each wanted pair, further than so many
# tolerances away from the Ritz values.
_HIDDEN = 1e-3
_HIDDEN_TOLERANCES = 5
# Where the overlaps are rescaled: their squares do not overflow.
_LARGE = 1e100


def unseen_below(state: LanczosState) -> float | None:
    """The one-sided 99 % statement: with that probability λ_min ≥ this value.

    None for a warm start, as long as the statement would be empty, and where it has turned out wrong. It is made for
    the first random vector, up to where its subspace was invariant. Over the whole space the Ritz value is λ_min to
    within the noise.
    """
    n, values = state.basis.num_entries, state.ritz()[0]
    if state.size >= n or not (values.any() or any(state.beta)):
        return float(values[0] - state.noise)
    if state.warm:
        return None
    cycles, lowest = state.first_chain or (state.cycles, float(values[0]))
    distance = _excluded_from(cycles, lowest, state.norm, _threshold(n, _UNSEEN))
    if distance is None or values[0] < lowest - distance - state.noise:
        return None
    return lowest - distance - state.noise


def nothing_hidden(state: LanczosState, k: int, margins: np.ndarray) -> np.ndarray:
    """Of the k Ritz values of each end, whether eigenvalues beyond it, or between it and those further out, are ruled out.

    A residual certifies *an* eigenvalue: a pair can converge to the second of two before the start vector's small part
    in the first has grown. Here that part is given the time to have grown.

    Parameters
    ----------
    margins
        Shape (m,): how far from each Ritz value an eigenvalue counts as another one.

    Returns
    -------
    array of bool
        Shape (2k,), from the outside inwards: the largest ones, then the smallest.
    """
    if _is_invariant(state):
        # The subspace holds all that its random vector has a part in.
        return np.ones(2 * k, dtype=bool)
    values = state.ritz()[0]
    margins = _HIDDEN_TOLERANCES * margins
    # Half of the square of a warm start's vector is random.
    threshold = _threshold(state.basis.num_entries, _HIDDEN) + np.log(2) * state.warm
    ruled_out = []
    for sign, picked in ((-1, np.arange(state.size - k, state.size)[::-1]), (1, np.arange(k))):
        outside, inside = sign * values[picked] - margins[picked], sign * values[picked] + margins[picked]
        # Just outside each value, and just inside its outer neighbor: no room is between them where the two have met.
        inside = np.r_[outside[0], inside[:-1]]
        growth = _growth(state.cycles, sign * np.r_[outside, inside]).reshape(2, k).min(axis=0)
        growth[1:][inside[1:] >= outside[1:]] = np.inf
        ruled_out.append(np.logical_and.accumulate(growth >= threshold))
    return np.concatenate(ruled_out)


def absent(state: LanczosState, values: np.ndarray, margins: np.ndarray) -> np.ndarray:
    """Whether eigenvectors of these eigenvalues, to within the margins, are ruled out in what a run is not kept out of.

    All of shape (v,); margins are as in :func:`nothing_hidden`.
    """
    far = np.asarray((np.abs(state.ritz()[0][:, None] - values) > margins).all(axis=0))
    if _is_invariant(state):
        return far
    points = np.concatenate([values - margins, values, values + margins])
    growth = _growth(state.cycles, points).reshape(3, -1).min(axis=0)
    return far & (growth >= _threshold(state.basis.num_entries, _HIDDEN))


def _is_invariant(state: LanczosState) -> bool:
    """Whether the subspace is invariant, so that a new random vector comes next; just after a restart it looks so, too."""
    return state.size == state.origin and not state.chain


def _threshold(n: int, probability: float) -> float:
    """The logarithm of G with √(2n / (π G)) = probability."""
    return float(np.log(2 * n / np.pi / probability**2))


def _excluded_from(cycles: Sequence[Cycle], lowest: float, norm: float, threshold: float) -> float | None:
    """How far below its smallest Ritz value a chain of cycles rules eigenvalues out; None if further than ‖H‖."""
    # The growth increases with the distance: all polynomials of the recurrence have their roots above.
    distances = norm * np.geomspace(1e-16, 1, 65)
    excluded = _growth(cycles, lowest - distances) >= threshold
    if not excluded.any():
        return None
    first = int(excluded.argmax())
    if first == 0:
        return float(distances[0])
    distances = np.geomspace(distances[first - 1], distances[first], 33)[1:]
    excluded = _growth(cycles, lowest - distances) >= threshold
    return float(distances[int(excluded.argmax())] if excluded.any() else distances[-1])


def _growth(cycles: Sequence[Cycle], points: np.ndarray) -> np.ndarray:
    """The logarithm of G at the given points, shape (p,), from the cycles since the last random vector."""
    largest = np.full(len(points), -np.inf)
    scale = np.zeros(len(points))
    with np.errstate(divide="ignore", invalid="ignore"):
        for cycle in cycles:
            kept = cycle.sigma[:, None] / (points - cycle.theta[:, None])
            overlap, before = np.ones(len(points)), (cycle.sigma[:, None] * kept).sum(0)
            total = 1 + (kept**2).sum(0)
            for alpha, beta in zip(cycle.alpha, cycle.beta, strict=True):
                overlap, before = (
                    ((points - alpha) * overlap - before) / beta,
                    beta * overlap,
                )
                total = total + overlap**2
                if total.max() > _LARGE:
                    factor = np.sqrt(total)
                    overlap, before, total = (
                        overlap / factor,
                        before / factor,
                        np.ones(len(points)),
                    )
                    scale = scale + np.log(factor)
            largest = np.fmax(largest, 2 * scale + np.log(total))
            scale = scale + np.log(np.abs(overlap))
    return largest
