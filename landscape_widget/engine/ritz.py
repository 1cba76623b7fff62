"""Ritz pairs at both algebraic ends of a symmetric operator from one Lanczos run, with their residuals."""

from __future__ import annotations

from collections.abc import Generator, Iterator
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from landscape_widget.engine import lanczos
from landscape_widget.engine.bounds import nothing_hidden
from landscape_widget.engine.lanczos import LanczosState, SymmetricOperator

# A pair is called isolated when its gap exceeds this many residuals: then its vector is determined (Davis & Kahan
# 1970).
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
        Shape (k,), float64: λ₁ ≥ λ₂ … of the largest, λ_N ≤ λ_{N−1} … of the smallest. An eigenvalue that repeats
        exactly is found once: which inner one a value is, is known only where no such was missed.
    vectors
        Shape (k, n), unit rows; the entry of largest magnitude is positive, so that pictures repeat.
    residual_norms
        Shape (k,): ‖Hy − μy‖, computed with a product (or, while still ``preliminary``, from the recurrence). There
        is an eigenvalue within that distance of the Ritz value; it need not be the extreme one.
    converged
        Shape (k,), bool: residual ≤ tol·|μ|. Where a product's own error is more than that: the recurrence's residual is,
        and the computed one at most twice the noise; no further step would make it less.
    isolated
        Shape (k,), bool: the gap to the next Ritz value exceeds 100 residuals, so that the vector is determined and
        not only the value.
    """

    values: np.ndarray
    vectors: Tensor
    residual_norms: np.ndarray
    converged: np.ndarray
    isolated: np.ndarray

    def __len__(self) -> int:
        return len(self.values)


BothEnds = tuple[RitzPairs, RitzPairs]


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
    if not _is_below(state.residuals()[wanted], values[wanted], tol, state.noise).all():
        return False
    # What a product cannot tell from round-off is not looked for.
    return nothing_hidden(state, k, np.maximum(tol * np.abs(values), 2 * state.noise))


def ends(state: LanczosState, k: int, tol: float) -> BothEnds:
    """The k largest and k smallest Ritz pairs of a run so far, with the recurrence's residuals |β s_m|."""
    return _halves(_outermost(state, k, tol))


def verified(operator: SymmetricOperator, state: LanczosState, k: int, tol: float) -> Generator[None, None, BothEnds]:
    """As :func:`ends`, with Rayleigh quotients and residual norms computed by one product each, ordered by them.

    A few products at a time, as many as the room that the basis leaves permits, with a yield after each.
    """
    pairs = _outermost(state, k, tol)
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
    return _halves(_pairs(state, quotients[order], rows, residuals[order], tol, final))


def _outermost(state: LanczosState, k: int, tol: float) -> RitzPairs:
    """The largest pairs and then the smallest, as the rows of one tensor."""
    (values, vectors), residuals = state.ritz(), state.residuals()
    order = np.arange(state.size)
    pick = np.r_[order[::-1][:k], order[:k]]
    rows = state.basis.combine(torch.as_tensor(vectors[:, pick].T.copy()))
    for row in rows:
        positive = float(row.max()) >= -float(row.min())
        row.div_(float(row.norm()) * (1 if positive else -1))
    return _pairs(state, values[pick], rows, residuals[pick], tol)


def _pairs(
    state: LanczosState,
    values: np.ndarray,
    vectors: Tensor,
    residuals: np.ndarray,
    tol: float,
    final: np.ndarray | bool = False,
) -> RitzPairs:
    converged = _is_below(residuals, values, tol, state.noise) | final
    return RitzPairs(
        values,
        vectors,
        residuals,
        converged,
        _isolated(state.ritz()[0], values, residuals),
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


def _is_below(residuals: np.ndarray, values: np.ndarray, tol: float, noise: float) -> np.ndarray:
    """Whether residuals count as converged: to a part of the value, or to the noise where that is all the value is."""
    return residuals <= np.where(np.abs(values) > noise, tol * np.abs(values), 2 * noise)


def _isolated(all_values: np.ndarray, values: np.ndarray, residuals: np.ndarray) -> np.ndarray:
    """Whether the nearest other Ritz value is further than 100 residuals; the value's own copy in ``all_values`` is left out."""
    gaps = np.array([np.sort(np.abs(all_values - value))[1] if len(all_values) > 1 else np.inf for value in values])
    return gaps > _ISOLATED * residuals


def _rayleigh(product: Tensor, y: Tensor) -> tuple[float, float]:
    """yᵀHy / yᵀy and ‖Hy − (yᵀHy / yᵀy) y‖ in double precision, slice by slice: no copy of whole vectors."""
    slices = list(zip(product.split(_SLICE), y.split(_SLICE), strict=True))
    dot = sum(float(p.double() @ v.double()) for p, v in slices)
    quotient = dot / sum(float(v.double() @ v.double()) for _, v in slices)
    square = sum(float((p.double() - quotient * v.double()).square().sum()) for p, v in slices)
    return quotient, square**0.5
