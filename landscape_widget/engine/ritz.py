"""Ritz pairs at both algebraic ends of a symmetric operator from one Lanczos run, with their residuals."""

from __future__ import annotations

from collections.abc import Generator, Iterator
from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor

from landscape_widget.engine import lanczos
from landscape_widget.engine.bounds import nothing_hidden
from landscape_widget.engine.lanczos import LanczosState, SymmetricOperator

# A pair is called isolated when its gap exceeds this many residuals and errors of a product: then its vector is
# determined (Davis & Kahan 1970).
_ISOLATED = 100.0
# Products to verify pairs with that are made at once.
_BATCH = 4
# Entries taken to double precision at once.
_SLICE = 2**12


@dataclass(frozen=True)
class RitzPairs:
    """Ritz pairs at one end of the spectrum, from the outside inwards.

    Attributes
    ----------
    values
        Shape (k,), float64: λ₁ ≥ λ₂ … of the largest, λ_N ≤ λ_{N−1} … of the smallest. A run finds an eigenvalue that
        repeats exactly once; :func:`hessian_directions` then looks for copies from another random vector.
    vectors
        Shape (k, n), unit rows; the entry of largest magnitude is positive, so that pictures repeat.
    residual_norms
        Shape (k,): ‖Hy − μy‖, computed with a product (or, while still ``preliminary``, from the recurrence). There
        is an eigenvalue within that distance of the Ritz value; it need not be the extreme one.
    converged
        Shape (k,), bool: residual ≤ tol·|μ|. Where a product's own error is more than that: the recurrence's residual is,
        and the computed one at most twice the noise; no further step would make it less. False, whatever the
        residual, for a value that is known not to be the i-th because further ones beyond it have not converged yet.
    isolated
        Shape (k,), bool: the gap to the next Ritz value exceeds 100 residuals and errors of a product, so that the
        vector is determined and not only the value; and a copy of the eigenvalue, which one run cannot see, is ruled
        out with 99.9 % (while still ``preliminary``, that is not known yet). False where nobody had the time to look.
    """

    values: np.ndarray
    vectors: Tensor
    residual_norms: np.ndarray
    converged: np.ndarray
    isolated: np.ndarray

    def __len__(self) -> int:
        return len(self.values)


BothEnds = tuple[RitzPairs, RitzPairs]


@dataclass(frozen=True)
class Beside:
    """What other random vectors have shown besides a run: pairs it cannot see, as values of its own repeat, and that there are no more.

    Attributes
    ----------
    values, vectors, residuals
        Shapes (c,), (c, n), (c,): pairs orthogonal to the run's and to each other.
    unique, placed
        Shapes (2k,), for the wanted ones of all pairs, the largest and then the smallest, from the outside inwards:
        whether further copies of the value are ruled out; whether none is known that belongs further out.
    """

    values: np.ndarray
    vectors: Tensor
    residuals: np.ndarray
    unique: np.ndarray
    placed: np.ndarray

    @classmethod
    def nothing(cls, state: LanczosState, k: int, *, unique: bool) -> Beside:
        """Before anybody has looked."""
        size = 2 * min(k, state.size)
        vectors = torch.empty((0, state.basis.num_entries), dtype=state.basis.dtype, device=state.basis.device)
        return cls(np.empty(0), vectors, np.empty(0), np.full(size, unique), np.ones(size, dtype=bool))


def run(
    operator: SymmetricOperator,
    state: LanczosState,
    k: int,
    *,
    tol: float,
    max_matvecs: int,
) -> Iterator[LanczosState]:
    """Lanczos until k pairs at each end have converged, or the space or the budget is exhausted; the state after every product.

    Whether it ends depends on the state alone, so that a run that is continued for more pairs ends where it would
    have ended had they been asked for at once.
    """
    budget = state.num_matvecs + max_matvecs
    while state.num_matvecs < budget and not (state.size and has_converged(state, k, tol)):
        lanczos.step(operator, state)
        yield state


def has_converged(state: LanczosState, k: int, tol: float) -> bool:
    """Whether the k Ritz pairs wanted at each end are below tolerance, by the recurrence, and none beyond them is hidden."""
    m = state.size
    if m >= state.basis.num_entries:
        return True
    # From 200 vectors on the eigenvalues of T take longer than they save if they are asked for after every product.
    if m < 2 * k or m % max(1, m // 100):
        return False
    values = state.ritz()[0]
    wanted = np.r_[np.arange(k), np.arange(m - k, m)]
    if not is_below(state.residuals()[wanted], values[wanted], tol, state.noise).all():
        return False
    return bool(settled(state, k, tol).all())


def settled(state: LanczosState, k: int, tol: float) -> np.ndarray:
    """Whether nothing is hidden beyond or between the k outermost Ritz values of each end, shape (2k,): the largest, then the smallest.

    A residual certifies *an* eigenvalue, and this that it is the one.
    """
    k = min(k, state.size)
    if state.size >= state.basis.num_entries:
        return np.ones(2 * k, dtype=bool)
    return nothing_hidden(state, k, margins(state, state.ritz()[0], tol))


def margins(state: LanczosState, values: np.ndarray, tol: float) -> np.ndarray:
    """How far from values another eigenvalue counts as another one: what a product cannot tell from round-off does not."""
    return np.maximum(tol * np.abs(values), 2 * state.noise)


def ends(state: LanczosState, k: int, tol: float) -> BothEnds:
    """The k largest and k smallest Ritz pairs of a run so far, with the recurrence's residuals |β s_m|."""
    return _halves(_outermost(state, k, tol, Beside.nothing(state, k, unique=True)))


def verified(
    operator: SymmetricOperator, state: LanczosState, k: int, tol: float, beside: Beside | None = None
) -> Generator[None, None, BothEnds]:
    """As :func:`ends`, with Rayleigh quotients and residual norms computed by one product each, ordered by them.

    A few products at a time, as many as the room that the basis leaves permits, with a yield after each. Of the run's
    pairs and of those that were found beside it the outermost ones are taken.
    """
    beside = beside or Beside.nothing(state, k, unique=True)
    pairs = _outermost(state, k, tol, beside)
    rows = pairs.vectors
    quotients, residuals = np.empty(len(rows)), np.empty(len(rows))
    batch = min(_BATCH, 1 + state.basis.capacity - state.size)
    for begin in range(0, len(rows), batch):
        products = operator @ rows[begin : begin + batch]
        for i in range(len(products)):
            quotients[begin + i], residuals[begin + i] = _rayleigh(products[i], rows[begin + i])
        del products
        yield
    half = len(rows) // 2
    # Among close values the quotients can come in another order than the Ritz values did.
    order = np.r_[
        np.argsort(-quotients[:half], kind="stable"),
        half + np.argsort(quotients[half:], kind="stable"),
    ]
    if (order != np.arange(len(order))).any():
        rows = rows[torch.as_tensor(order, device=rows.device)]
    # What the recurrence has below tolerance no further step makes better: the rest is the products' own error.
    final = pairs.converged[order] & (residuals[order] <= 2 * state.noise)
    beside = replace(beside, unique=beside.unique[order], placed=beside.placed[order])
    return _halves(_pairs(state, beside, quotients[order], rows, residuals[order], tol, final))


def wanted(state: LanczosState, k: int, beside: Beside) -> np.ndarray:
    """The k largest and then the k smallest, from the outside inwards, as indices into the run's pairs and those beside it."""
    order = np.argsort(np.r_[state.ritz()[0], beside.values], kind="stable")
    return np.r_[order[::-1][:k], order[:k]]


def _outermost(state: LanczosState, k: int, tol: float, beside: Beside) -> RitzPairs:
    """The largest pairs and then the smallest, as the rows of one tensor."""
    values, residuals = np.r_[state.ritz()[0], beside.values], np.r_[state.residuals(), beside.residuals]
    pick = wanted(state, k, beside)
    own = pick < state.size
    weights = np.zeros((len(pick), state.size))
    weights[own] = state.ritz()[1][:, pick[own]].T
    rows = state.basis.combine(torch.as_tensor(weights))
    for i in np.flatnonzero(~own):
        rows[i] = beside.vectors[pick[i] - state.size]
    for row in rows:
        positive = float(row.max()) >= -float(row.min())
        row.div_(float(row.norm()) * (1 if positive else -1))
    return _pairs(state, beside, values[pick], rows, residuals[pick], tol)


def _pairs(
    state: LanczosState,
    beside: Beside,
    values: np.ndarray,
    vectors: Tensor,
    residuals: np.ndarray,
    tol: float,
    final: np.ndarray | bool = False,
) -> RitzPairs:
    converged = (is_below(residuals, values, tol, state.noise) | final) & beside.placed
    return RitzPairs(
        values, vectors, residuals, converged, stands_apart(state, beside, values, residuals) & beside.unique
    )


def _halves(pairs: RitzPairs) -> BothEnds:
    def part(rows: slice) -> RitzPairs:
        return RitzPairs(
            pairs.values[rows],
            pairs.vectors[rows],
            pairs.residual_norms[rows],
            pairs.converged[rows],
            pairs.isolated[rows],
        )

    half = len(pairs) // 2
    return part(slice(0, half)), part(slice(half, None))


def is_below(residuals: np.ndarray, values: np.ndarray, tol: float, noise: float) -> np.ndarray:
    """Whether residuals count as converged: to a part of the value, or to the noise where that is all the value is."""
    return residuals <= np.where(np.abs(values) > noise, tol * np.abs(values), 2 * noise)


def stands_apart(state: LanczosState, beside: Beside, values: np.ndarray, residuals: np.ndarray) -> np.ndarray:
    """Whether the nearest other value that was found, the one itself left out, is further than 100 residuals or errors of a product."""
    found, error = np.r_[state.ritz()[0], beside.values], np.r_[np.zeros(state.size), beside.residuals]
    # What was found beside the run can be the same eigenvalue, less exactly.
    gaps = np.array([np.sort(np.abs(found - value) - error)[1] if len(found) > 1 else np.inf for value in values])
    return gaps > _ISOLATED * np.maximum(residuals, state.noise)


def _rayleigh(product: Tensor, y: Tensor) -> tuple[float, float]:
    """yᵀHy / yᵀy and ‖Hy − (yᵀHy / yᵀy) y‖ in double precision, slice by slice: no copy of whole vectors."""
    slices = list(zip(product.split(_SLICE), y.split(_SLICE), strict=True))
    dot = sum(float(p.double() @ v.double()) for p, v in slices)
    quotient = dot / sum(float(v.double() @ v.double()) for _, v in slices)
    square = sum(float((p.double() - quotient * v.double()).square().sum()) for p, v in slices)
    return quotient, square**0.5
