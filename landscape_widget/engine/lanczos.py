"""Lanczos with full reorthogonalization and thick restart: a symmetric operator projected onto an orthonormal basis."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Protocol

import numpy as np
import torch
from scipy.linalg import eigh_tridiagonal
from torch import Tensor

from landscape_widget.engine.basis import Basis

# A product's error is at least this many units of round-off of ‖H‖: the part of it that is symmetric (activations
# rounded alike in every product) shows in no asymmetry. Measured on float32 networks against float64: up to 18.
_ROUND_OFF = 32


class SymmetricOperator(Protocol):
    """What Lanczos needs of a matrix: (n,) → (n,) and, row by row, (k, n) → (k, n)."""

    @property
    def shape(self) -> tuple[int, int]: ...

    def __matmul__(self, v: Tensor) -> Tensor: ...


@dataclass(frozen=True)
class Cycle:
    """The recurrence from one vector q_l on: θ and σ couple q_l to the vectors kept before it, α and β go on from there.

    The last β couples to the vector that comes next.
    """

    theta: np.ndarray
    sigma: np.ndarray
    alpha: np.ndarray
    beta: np.ndarray


@dataclass
class LanczosState:
    """H Qᵀ = Qᵀ T + β q eᵀ: the basis Q, the projection T, and the next vector q; everything there is to a run.

    T is tridiagonal until the first thick restart; then an arrow: the diagonal of the ``len(sigma)`` Ritz values
    kept, coupled by ``sigma`` to the vector after them, from which on it is tridiagonal.
    """

    basis: Basis
    next: Tensor
    generator: torch.Generator
    warm: bool = False
    """Whether the start vector held earlier vectors besides the random one."""
    locked: int = 0
    """Rows of the basis in front that are not of this run."""
    kept_out: Tensor | None = None
    """Shape (c, locked), orthonormal: combinations of these rows that the run is orthogonal to."""
    outer_norm: float = 0.0
    """‖H‖ as the run knows that these rows are of: its products have that one's round-off."""
    alpha: list[float] = field(default_factory=list)
    beta: list[float] = field(default_factory=list)
    sigma: np.ndarray = field(default_factory=lambda: np.empty(0))
    num_matvecs: int = 0
    asymmetry: float = 0.0
    """Largest error of qᵢᵀHqⱼ seen where T knows it already: the error of a product."""
    origin: int = 0
    """Which vector the present cycle starts from: it is random, or follows the kept ones."""
    chain: list[Cycle] = field(default_factory=list)
    """The earlier cycles since the last random vector."""
    first_chain: tuple[list[Cycle], float] | None = None
    """The cycles from the first random vector to its invariant subspace, and the smallest Ritz value there."""
    dropped: list[np.ndarray] = field(default_factory=list)
    """The Ritz values at each thick restart."""
    _ritz: tuple[int, np.ndarray, np.ndarray] | None = None

    @property
    def size(self) -> int:
        """Vectors of this run in the basis; fewer than products after a thick restart."""
        return len(self.alpha)

    @property
    def cycles(self) -> list[Cycle]:
        """All cycles since the last random vector, with the present one."""
        kept = len(self.sigma) if self.origin == len(self.sigma) else 0
        tail = slice(self.origin, self.size)
        present = Cycle(
            np.array(self.alpha[:kept]),
            self.sigma[:kept],
            np.array(self.alpha[tail]),
            np.array(self.beta[tail]),
        )
        return [*self.chain, present] if self.size > self.origin else [*self.chain]

    def ritz(self) -> tuple[np.ndarray, np.ndarray]:
        """Eigenvalues (ascending, (m,)) and eigenvectors ((m, m)) of T; computed once per step."""
        if self._ritz is None or self._ritz[0] != self.num_matvecs:
            alpha, beta = np.array(self.alpha), np.array(self.beta[: self.size - 1])
            kept = len(self.sigma)
            if kept:
                T = np.diag(alpha) + np.diag(beta, 1) + np.diag(beta, -1)
                if self.size > kept:
                    T[kept, :kept] = T[:kept, kept] = self.sigma
                values, vectors = np.linalg.eigh(T)
            elif self.size == 1:
                values, vectors = alpha, np.ones((1, 1))
            else:
                values, vectors = eigh_tridiagonal(alpha, beta)
            self._ritz = self.num_matvecs, np.asarray(values), np.asarray(vectors)
        return self._ritz[1:]

    def residuals(self) -> np.ndarray:
        """‖Hy − μy‖ of every Ritz pair, shape (m,), by the recurrence: β |s_m|, or the coupling to the next vector just after a restart.

        Of a run that stands behind locked rows it is what is orthogonal to them.
        """
        vectors = self.ritz()[1]
        if self.size == len(self.sigma):
            return np.abs(self.sigma @ vectors)
        return np.abs(self.beta[self.size - 1] * vectors[-1])

    @property
    def norm(self) -> float:
        """An estimate of ‖H‖₂ from below: the largest |Ritz value|."""
        return max(self.outer_norm, float(np.abs(self.ritz()[0]).max()))

    @property
    def noise(self) -> float:
        """The error of a product: twice the asymmetry seen, and at least round-off."""
        return max(
            2 * self.asymmetry,
            _ROUND_OFF * torch.finfo(self.basis.dtype).eps * self.norm,
        )

    @property
    def num_negative(self) -> int:
        """The most Ritz values below −noise that one orthonormal basis had."""
        return max(int((values < -self.noise).sum()) for values in (*self.dropped, self.ritz()[0]))


def start(like: Tensor, seed: int, *, max_basis: int | None = None, near: Tensor | None = None) -> LanczosState:
    """A run from a random unit vector, or from the sum of it and of earlier vectors.

    Parameters
    ----------
    like
        Gives dtype and device, shape (n,).
    seed
        Of all random vectors of the run.
    max_basis
        Vectors in the basis before a thick restart; n by default.
    near
        Earlier eigenvectors, shape (k, n), which need not be exact. Their normalized sum and the random vector get
        equal weight, so that what is not among them is found, too.
    """
    n = like.numel()
    generator = torch.Generator("cpu").manual_seed(seed)
    basis = Basis(like, min(n, max_basis or n))
    state = LanczosState(basis, torch.empty(0), generator, warm=near is not None)
    state.next = _random_unit(state)
    if near is not None:
        earlier = near.to(like).sum(0)
        norm = float(earlier.norm())
        if norm > 0.0:
            state.next.add_(earlier, alpha=1 / norm)
        state.next.div_(float(state.next.norm()))
    return state


def step(operator: SymmetricOperator, state: LanczosState) -> None:
    """One product: the basis grows by one vector. At an invariant subspace it goes on with a random orthogonal vector.

    Full reorthogonalization, twice (Parlett 1998, §6.9: "twice is enough"), keeps the basis orthogonal to round-off,
    so that no ghost copies of converged Ritz values appear.
    """
    if state.basis.size == state.basis.capacity:
        restart(state)
    m, kept = state.size, len(state.sigma)
    product = (operator @ state.next).detach()
    if not bool(torch.isfinite(product).all()):
        raise FloatingPointError(
            "expected finite Hessian-vector products, got NaN or inf; the loss has no second derivative here, or overflows"
        )
    state.basis.append(state.next)
    state.num_matvecs += 1
    overlaps = state.basis.overlaps(product)
    *known, alpha = overlaps[state.locked :].double().tolist()
    known = np.array(known)
    state.alpha.append(alpha)
    if kept and m == kept:
        known = known - state.sigma
    else:
        known = known[:-1]
    if len(known):
        state.asymmetry = max(state.asymmetry, float(np.abs(known).max()))
    product = state.basis.subtract_(product, _to_subtract(state, overlaps))
    beta = float(product.norm())
    # At round-off of the products what is left is noise, not a new direction: the subspace is invariant.
    scale = max(map(abs, [*state.alpha, *state.beta, *state.sigma, state.outer_norm]))
    round_off = _ROUND_OFF * torch.finfo(product.dtype).eps * scale
    if beta > round_off:
        state.beta.append(beta)
        # The second time: a short remainder of a long product is orthogonal to the basis only to that ratio.
        state.next = _orthonormal(state, product.div_(beta))
        return
    state.beta.append(round_off)
    if state.first_chain is None:
        state.first_chain = state.cycles, float(state.ritz()[0][0])
    state.beta[-1] = 0.0
    state.chain, state.origin = [], state.size
    if state.basis.size < operator.shape[0]:
        state.next = _random_unit(state)


def beside(state: LanczosState, pairs: np.ndarray, others: Tensor, generator: torch.Generator) -> LanczosState:
    """A run from a new random vector in what is orthogonal to some Ritz vectors of another and to further vectors, of shape (c, n).

    It stands behind these in the same basis, so that the first one must not go on before :func:`leave`. What it finds
    is of the operator as projected there; an eigenvector that the first run's start has no part in lies there whole.

    Parameters
    ----------
    pairs
        Which Ritz pairs.
    """
    for vector in others:
        state.basis.append(vector)
    rows = torch.as_tensor(state.ritz()[1][:, pairs].T.copy())
    kept_out = torch.block_diag(rows, torch.eye(len(others), dtype=rows.dtype, device=rows.device))
    other = LanczosState(
        state.basis,
        torch.empty(0),
        generator,
        locked=state.basis.size,
        kept_out=kept_out.to(dtype=state.basis.dtype, device=state.basis.device),
        outer_norm=state.norm,
    )
    other.next = _random_unit(other)
    return other


def leave(state: LanczosState) -> None:
    """Take off the basis what stands behind a run."""
    state.basis.truncate(state.size)


def restart(state: LanczosState) -> None:
    """Shrink the basis to half its capacity: the outer Ritz vectors of both ends (Wu & Simon 2000).

    How many are kept does not depend on how many are wanted, so that asking for more later continues the same run.
    """
    (values, vectors), m = state.ritz(), state.size
    keep = max(2, m // 2)
    pick = np.r_[np.arange(keep // 2), np.arange(m - (keep - keep // 2), m)]
    state.dropped.append(values)
    state.chain = state.cycles
    state.sigma = state.beta[m - 1] * vectors[-1, pick]
    state.alpha, state.beta = values[pick].tolist(), [0.0] * keep
    state.basis.rotate_(torch.as_tensor(vectors[:, pick].T.copy()))
    state.origin, state._ritz = keep, None


def _random_unit(state: LanczosState) -> Tensor:
    """A random unit vector orthogonal to a run; drawn on the CPU so that every device gets the same."""
    basis = state.basis
    vector = torch.randn(basis.num_entries, generator=state.generator, dtype=torch.float64, device="cpu")
    vector = vector.to(dtype=basis.dtype, device=basis.device)
    return _orthonormal(state, _orthonormal(state, vector))


def _orthonormal(state: LanczosState, vector: Tensor) -> Tensor:
    """The part of a vector orthogonal to a run and to what it is kept out of, normalized; in place."""
    state.basis.subtract_(vector, _to_subtract(state, state.basis.overlaps(vector)))
    return vector.div_(float(vector.norm()))


def _to_subtract(state: LanczosState, overlaps: Tensor) -> Tensor:
    """What to subtract of each row of the basis for a vector to be orthogonal to a run and to what it is kept out of."""
    if state.kept_out is None:
        return overlaps
    locked, own = overlaps[: state.locked], overlaps[state.locked :]
    return torch.cat([state.kept_out.T @ (state.kept_out @ locked), own])
