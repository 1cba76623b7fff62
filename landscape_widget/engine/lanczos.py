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
# The run goes on until it is so many times as long as when its pairs converged first.
_SECOND_THOUGHTS = 1.25
# A product's error is at least this many units of round-off of ‖H‖: the part of it that is symmetric (activations
# rounded alike in every product) shows in no asymmetry. Measured on float32 networks against float64: up to 18.
_ROUND_OFF = 32


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
        Shape (k,), float64: λ₁ ≥ λ₂ … of the largest, λ_N ≤ λ_{N−1} … of the smallest. An eigenvalue that repeats
        exactly is found once: which inner one a value is, is known only where no such was missed.
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
    _ritz: tuple[int, np.ndarray, np.ndarray] | None = None

    def ritz(self) -> tuple[np.ndarray, np.ndarray]:
        """Eigenvalues (ascending, (m,)) and eigenvectors ((m, m)) of T; computed once per step."""
        if self._ritz is None or self._ritz[0] != self.size:
            diagonal, off = np.array(self.diagonal), np.array(self.off_diagonal[: self.size - 1])
            values, vectors = (diagonal, np.ones((1, 1))) if self.size == 1 else eigh_tridiagonal(diagonal, off)
            self._ritz = self.size, np.asarray(values), np.asarray(vectors)
        return self._ritz[1:]

    def residuals(self) -> np.ndarray:
        """‖Hy − μy‖ = β |s_m| of every Ritz pair, shape (m,), by the recurrence."""
        return np.abs(self.off_diagonal[self.size - 1] * self.ritz()[1][-1])

    @property
    def norm(self) -> float:
        """An estimate of ‖H‖₂ from below: the largest |Ritz value|."""
        return float(np.abs(self.ritz()[0]).max())

    @property
    def noise(self) -> float:
        """The error of a product: twice the asymmetry seen, and at least round-off."""
        return max(2 * self.asymmetry, _ROUND_OFF * torch.finfo(self.basis.dtype).eps * self.norm)


def start(like: Tensor, seed: int) -> LanczosState:
    """A run from a random unit vector; ``like`` gives dtype and device, shape (n,)."""
    generator = torch.Generator("cpu").manual_seed(seed)
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
    state.size = m + 1
    beta = float(product.norm())
    # At round-off of the products what is left is noise, not a new direction: the subspace is invariant.
    scale = max(map(abs, [*state.diagonal, *state.off_diagonal]))
    if beta <= _ROUND_OFF * torch.finfo(product.dtype).eps * scale:
        state.off_diagonal.append(0.0)
        if state.size < operator.shape[0]:
            state.next, state.restarted = _random_unit(state), True
    else:
        state.off_diagonal.append(beta)
        # The second time: a short remainder of a long product is orthogonal to the basis only to that ratio.
        state.next = _orthonormal(state, product / beta)


def ends(state: LanczosState, k: int, tol: float) -> tuple[RitzPairs, RitzPairs]:
    """The k largest and k smallest Ritz pairs of a run so far, with the recurrence's residuals |β s_m|."""
    order = np.arange(state.size)
    return _pairs(state, order[::-1][:k], tol), _pairs(state, order[:k], tol)


def has_converged(state: LanczosState, k: int, tol: float) -> bool:
    """Whether the k Ritz pairs wanted at each end have residuals below tolerance, by the recurrence."""
    n = state.basis.shape[1]
    if state.size >= n:
        return True
    # A start vector can be poor in an extreme eigenvector; a few steps more than pairs wanted guard against stopping
    # on an inner one.
    if state.size < 2 * k + 8:
        return False
    wanted = np.r_[np.arange(k), np.arange(state.size - k, state.size)]
    return bool(_below_tolerance(state.ritz()[0][wanted], state.residuals()[wanted], tol, state.noise).all())


def verified(
    operator: SymmetricOperator, state: LanczosState, pairs: RitzPairs, tol: float, *, descending: bool
) -> RitzPairs:
    """The pairs with Rayleigh quotients and residual norms computed by one product each, ordered by them as before."""
    products = torch.stack([operator @ y for y in pairs.vectors]).double()
    vectors = pairs.vectors.double()
    quotients = (products * vectors).sum(1) / (vectors * vectors).sum(1)
    residuals = (products - quotients[:, None] * vectors).norm(dim=1).cpu().numpy()
    values = quotients.cpu().numpy()
    # Among close values the quotients can come in another order than the Ritz values did.
    order = np.argsort(-values if descending else values, kind="stable")
    values, residuals = values[order], residuals[order]
    return RitzPairs(
        values,
        pairs.vectors[torch.as_tensor(order, device=pairs.vectors.device)],
        residuals,
        _below_tolerance(values, residuals, tol, state.noise),
        _isolated(state.ritz()[0], values, residuals),
    )


def unseen_below(state: LanczosState) -> float | None:
    """The one-sided 99 % statement: with that probability λ_min ≥ this value.

    Kuczyński & Woźniakowski (1992, Theorem 4.2): after k products from a random start, P(μ_min − λ_min > ε (λ_max −
    λ_min)) ≤ 1.648 √n e^(−√ε (2k − 1)). None where the run met an invariant subspace, for which the bound does not
    hold; over the whole space the Ritz value is λ_min to within the noise.
    """
    n, k, values = state.basis.shape[1], state.size, state.ritz()[0]
    if k >= n:
        return float(values[0] - state.noise)
    if state.restarted:
        return None
    # The spread λ_max − λ_min is itself known only from inside: where the same bound holds at λ_max too, μ's spread is
    # at least (1 − 2ε) of it. So each end gets half of the 1 %.
    epsilon = (math.log(1.648 * math.sqrt(n) / 0.005) / (2 * k - 1)) ** 2
    if epsilon >= 0.5:
        return None
    return float(values[0] - epsilon * (values[-1] - values[0]) / (1 - 2 * epsilon) - state.noise)


def run(
    operator: SymmetricOperator, like: Tensor, k: int, *, tol: float, seed: int, max_matvecs: int
) -> Iterator[LanczosState]:
    """Lanczos until k pairs at each end have converged, or the space or the budget is exhausted; the state after every product.

    A residual certifies *an* eigenvalue: a pair can converge to the second of two before the start vector's small part
    in the first has grown. So the run goes on for a quarter more products, and ends only if the pairs still stand.
    """
    state = start(like, seed)
    enough = 0
    while state.size < min(max_matvecs, like.numel()):
        step(operator, state)
        yield state
        if not has_converged(state, k, tol):
            enough = 0
        elif not enough:
            enough = math.ceil(_SECOND_THOUGHTS * state.size)
        if enough and state.size >= enough:
            return


def _pairs(state: LanczosState, pick: np.ndarray, tol: float) -> RitzPairs:
    (values, vectors), residuals = state.ritz(), state.residuals()
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
    return residuals <= np.maximum(tol * np.abs(values), 2 * noise)


def _isolated(all_values: np.ndarray, values: np.ndarray, residuals: np.ndarray) -> np.ndarray:
    """Whether the nearest other Ritz value is further than 100 residuals; the value's own copy in ``all_values`` is left out."""
    gaps = np.array([np.sort(np.abs(all_values - value))[1] if len(all_values) > 1 else np.inf for value in values])
    return gaps > _ISOLATED * residuals


def _random_unit(state: LanczosState) -> Tensor:
    """A random unit vector orthogonal to the basis; drawn on the CPU so that every device gets the same."""
    n = state.basis.shape[1]
    vector = torch.randn(n, generator=state.generator, dtype=torch.float64, device="cpu").to(state.basis)
    return _orthonormal(state, _orthonormal(state, vector))


def _orthonormal(state: LanczosState, vector: Tensor) -> Tensor:
    """The part of a vector orthogonal to the basis, normalized."""
    basis = state.basis[: state.size]
    vector = vector - (basis @ vector) @ basis
    return vector / vector.norm()
