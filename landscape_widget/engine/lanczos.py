"""Lanczos with full reorthogonalization: Ritz pairs at both algebraic ends of a symmetric operator from one run."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Protocol

import numpy as np
import torch
from scipy.linalg import eigh_tridiagonal
from torch import Tensor

# A pair is called isolated when its gap exceeds this many residuals: then its vector is determined (Davis & Kahan
# 1970).
_ISOLATED = 100.0


class SymmetricOperator(Protocol):
    """What Lanczos needs of a matrix."""

    @property
    def shape(self) -> tuple[int, int]: ...

    def __matmul__(self, v: Tensor) -> Tensor: ...


@dataclass(frozen=True)
class RitzPairs:
    """Ritz pairs at one end of the spectrum, from the outside inwards.

    Attributes
    ----------
    values
        Shape (k,), float64: λ₁ ≥ λ₂ … of the largest, λ_N ≤ λ_{N−1} … of the smallest.
    vectors
        Shape (k, n), unit rows; the entry of largest magnitude is positive, so that pictures repeat.
    residual_norms
        Shape (k,): ‖Hy − μy‖, computed with a product (or, while still ``preliminary``, from the recurrence). There
        is an eigenvalue within that distance of the Ritz value; it need not be the extreme one.
    converged
        Shape (k,), bool: residual ≤ tol·|μ|, or at the noise of a product where μ is zero to within it.
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


@dataclass
class LanczosState:
    """H Qᵀ = Qᵀ T + β q eᵀ: the basis (rows of Q), the tridiagonal T, and the next vector; everything there is to a run."""

    basis: Tensor
    """Storage for the basis, shape (capacity, n); the first ``size`` rows are in use."""
    next: Tensor
    generator: torch.Generator
    size: int = 0
    diagonal: list[float] = field(default_factory=list)
    off_diagonal: list[float] = field(default_factory=list)
    asymmetry: float = 0.0
    """Largest |qᵢᵀHqⱼ| seen where T has a zero: the error of a product."""
    restarted: bool = False

    def ritz(self) -> tuple[np.ndarray, np.ndarray]:
        """Eigenvalues (ascending, (m,)) and eigenvectors ((m, m)) of T."""
        diagonal, off = np.array(self.diagonal), np.array(self.off_diagonal[: self.size - 1])
        if self.size == 1:
            return diagonal, np.ones((1, 1))
        values, vectors = eigh_tridiagonal(diagonal, off)
        return np.asarray(values), np.asarray(vectors)

    @property
    def norm(self) -> float:
        """An estimate of ‖H‖₂ from below: the largest |Ritz value|."""
        return float(np.abs(self.ritz()[0]).max())

    @property
    def noise(self) -> float:
        """The error of a product: the asymmetry seen, and at least round-off."""
        return max(self.asymmetry, 4 * torch.finfo(self.basis.dtype).eps * self.norm)


def start(operator: SymmetricOperator, like: Tensor, seed: int) -> LanczosState:
    """A run from a random unit vector; ``like`` gives dtype and device, shape (n,)."""
    generator = torch.Generator().manual_seed(seed)
    state = LanczosState(
        torch.empty((16, like.numel()), dtype=like.dtype, device=like.device), torch.empty_like(like), generator
    )
    state.next = _random_unit(state)
    return state


def step(operator: SymmetricOperator, state: LanczosState) -> None:
    """One product: the basis grows by one vector. At an invariant subspace it goes on with a random orthogonal vector.

    Full reorthogonalization, twice (Parlett 1998, §6.9: "twice is enough"), keeps the basis orthogonal to round-off,
    so that no ghost copies of converged Ritz values appear.
    """
    m = state.size
    if m == len(state.basis):
        state.basis = torch.cat([state.basis, torch.empty_like(state.basis)])
    state.basis[m] = state.next
    product = operator @ state.next
    if not bool(torch.isfinite(product).all()):
        raise FloatingPointError(
            "expected finite Hessian-vector products, got NaN or inf; the loss has no second derivative here, or overflows"
        )
    basis = state.basis[: m + 1]
    overlaps = basis @ product
    state.diagonal.append(float(overlaps[m]))
    if m >= 2:
        state.asymmetry = max(state.asymmetry, float(overlaps[: m - 1].abs().max()))
    product = product - overlaps @ basis
    product = product - (basis @ product) @ basis
    state.size = m + 1
    beta = float(product.norm())
    # Below round-off of the products what is left is noise, not a new direction: the subspace is invariant.
    if (
        beta
        <= 100 * torch.finfo(product.dtype).eps * max(map(abs, [*state.diagonal, *state.off_diagonal]), default=0.0)
        or beta == 0.0
    ):
        state.off_diagonal.append(0.0)
        if state.size < operator.shape[0]:
            state.next, state.restarted = _random_unit(state), True
    else:
        state.off_diagonal.append(beta)
        state.next = product / beta


def ends(state: LanczosState, k: int, tol: float) -> tuple[RitzPairs, RitzPairs]:
    """The k largest and k smallest Ritz pairs of a run so far, with the recurrence's residuals |β s_m|."""
    values, vectors = state.ritz()
    residuals = np.abs(state.off_diagonal[state.size - 1] * vectors[-1])
    k = min(k, state.size)
    order = np.arange(state.size)
    return (
        _pairs(state, values, vectors, residuals, order[::-1][:k], tol),
        _pairs(state, values, vectors, residuals, order[:k], tol),
    )


def has_converged(state: LanczosState, k: int, tol: float) -> bool:
    """Whether the k Ritz pairs wanted at each end have residuals below tolerance, by the recurrence."""
    n = state.basis.shape[1]
    if state.size >= n:
        return True
    # A start vector can be poor in an extreme eigenvector; a few steps more than pairs wanted guard against stopping
    # on an inner one.
    if state.size < 2 * k + 8:
        return False
    values, vectors = state.ritz()
    residuals = np.abs(state.off_diagonal[state.size - 1] * vectors[-1])
    wanted = np.r_[np.arange(k), np.arange(state.size - k, state.size)]
    return bool(_below_tolerance(values[wanted], residuals[wanted], tol, state.noise).all())


def verified(operator: SymmetricOperator, state: LanczosState, pairs: RitzPairs, tol: float) -> RitzPairs:
    """The pairs with Rayleigh quotients and residual norms computed by one product each."""
    products = torch.stack([operator @ y for y in pairs.vectors])
    values = (products * pairs.vectors).double().sum(1).cpu().numpy()
    residuals = (
        (products.double() - torch.as_tensor(values).to(products.device)[:, None] * pairs.vectors.double())
        .norm(dim=1)
        .cpu()
        .numpy()
    )
    return RitzPairs(
        values,
        pairs.vectors,
        residuals,
        _below_tolerance(values, residuals, tol, state.noise),
        _isolated(state.ritz()[0], values, residuals),
    )


def unseen_below(state: LanczosState) -> float | None:
    """The one-sided 99 % statement: with that probability λ_min ≥ this value.

    Kuczyński & Woźniakowski (1992, Theorem 4.2): after k products from a random start, P(μ_min − λ_min > ε (λ_max −
    λ_min)) ≤ 1.648 √n e^(−√ε (2k − 1)). None where the run met an invariant subspace, for which the bound does not
    hold.
    """
    if state.restarted or state.size < 2:
        return None
    n, k = state.basis.shape[1], state.size
    values = state.ritz()[0]
    if k >= n:
        return float(values[0] - state.noise)
    root = math.log(1.648 * math.sqrt(n) / 0.01) / (2 * k - 1)
    epsilon = root**2
    if epsilon >= 0.5:
        return None
    # The spread λ_max − λ_min is itself known only from inside: μ's spread is at least (1 − 2ε) of it.
    return float(values[0] - epsilon * (values[-1] - values[0]) / (1 - 2 * epsilon))


def run(
    operator: SymmetricOperator, like: Tensor, k: int, *, tol: float, seed: int, max_matvecs: int
) -> Iterator[LanczosState]:
    """Lanczos until k pairs at each end have converged, or the space or the budget is exhausted; the state after every product."""
    state = start(operator, like, seed)
    while state.size < min(max_matvecs, like.numel()):
        step(operator, state)
        yield state
        if has_converged(state, k, tol):
            return


def _pairs(
    state: LanczosState, values: np.ndarray, vectors: np.ndarray, residuals: np.ndarray, pick: np.ndarray, tol: float
) -> RitzPairs:
    basis = state.basis[: state.size]
    rows = torch.as_tensor(vectors[:, pick].T.copy()).to(basis) @ basis
    rows = rows / rows.norm(dim=1, keepdim=True)
    largest = rows.gather(1, rows.abs().argmax(1, keepdim=True))
    return RitzPairs(
        values[pick],
        rows * largest.sign(),
        residuals[pick],
        _below_tolerance(values[pick], residuals[pick], tol, state.noise),
        _isolated(values, values[pick], residuals[pick]),
    )


def _below_tolerance(values: np.ndarray, residuals: np.ndarray, tol: float, noise: float) -> np.ndarray:
    return residuals <= np.maximum(tol * np.abs(values), 4 * noise)


def _isolated(all_values: np.ndarray, values: np.ndarray, residuals: np.ndarray) -> np.ndarray:
    """Whether the nearest other Ritz value is further than 100 residuals; the value's own copy in ``all_values`` is left out."""
    gaps = np.array([np.sort(np.abs(all_values - value))[1] if len(all_values) > 1 else np.inf for value in values])
    return gaps > _ISOLATED * residuals


def _random_unit(state: LanczosState) -> Tensor:
    """A random unit vector orthogonal to the basis; drawn on the CPU so that every device gets the same."""
    basis = state.basis[: state.size]
    vector = torch.randn(basis.shape[1], generator=state.generator, dtype=torch.float64).to(basis)
    for _ in range(2):
        vector = vector - (basis @ vector) @ basis
        vector = vector / vector.norm()
    return vector
