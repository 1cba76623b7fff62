"""Thick restart: the same pairs from a bounded basis, the identity that still holds, and the memory it takes."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.multiprocessing.reductions import StorageWeakRef
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from landscape_widget.engine import lanczos, ritz
from landscape_widget.engine.basis import Basis

from .test_bounds import diagonal
from .test_lanczos import Matrix, both_ends, edge_of_a_bulk, last, verified


class Memory(TorchDispatchMode):
    """The most bytes of tensors that live at once, of those made inside."""

    def __init__(self) -> None:
        super().__init__()
        self.peak, self._live = 0, {}

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        made = func(*args, **(kwargs or {}))
        for tensor in tree_leaves(made):
            if isinstance(tensor, Tensor):
                storage = tensor.untyped_storage()
                self._live[storage._cdata] = StorageWeakRef(storage), storage.nbytes()
        self._live = {key: entry for key, entry in self._live.items() if not entry[0].expired()}
        self.peak = max(self.peak, sum(size for _, size in self._live.values()))
        return made


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32])
def test_defining_identity_holds_through_restarts(dtype: torch.dtype) -> None:
    """A Q − Q T − residual = 0 with the arrow T, Q orthonormal, T = QᵀAQ."""
    H = Matrix(np.r_[50.0, np.linspace(-1, 1, 80)], dtype=dtype)
    tiny = 1e-13 if dtype == torch.float64 else 1e-4
    state = lanczos.start(H.like, seed=0, max_basis=20)
    for m in range(1, 60):
        lanczos.step(H, state)
        if m not in (20, 21, 22, 30, 31, 45, 59):
            continue
        Q, size, kept = state.basis.matrix().double(), state.size, len(state.sigma)
        T = np.diag(state.alpha) + np.diag(state.beta[:-1], 1) + np.diag(state.beta[:-1], -1)
        T[kept, :kept] = T[:kept, kept] = state.sigma
        identity = torch.eye(size, dtype=torch.float64)
        assert float((Q @ Q.T - identity).abs().max()) < tiny
        assert float((Q @ state.next.double()).abs().max()) < tiny
        product = Q @ H.dense.double()
        remainder = product - torch.tensor(T) @ Q - torch.outer(identity[-1], state.beta[-1] * state.next.double())
        assert float(remainder.abs().max()) < 50 * tiny
        np.testing.assert_allclose(state.ritz()[0], torch.linalg.eigvalsh(Q @ product.T), atol=50 * tiny)
    assert state.size <= 20
    assert state.num_matvecs == H.num_matvecs == 59


@pytest.mark.parametrize(
    "spectrum",
    [
        np.linspace(1, 5, 120),
        -np.linspace(1, 5, 120),
        np.r_[np.full(60, 2.0), np.full(59, -1.0), 0.5],
        edge_of_a_bulk(),
        np.r_[np.geomspace(1e-3, 10, 150), -np.geomspace(1e-3, 3, 150)],
    ],
    ids=["positive", "negative", "degenerate", "edge of a bulk", "geometric"],
)
def test_both_ends_from_a_small_basis(spectrum: np.ndarray) -> None:
    H = diagonal(spectrum)
    largest, smallest, state = both_ends(H, k=2, tol=1e-7, max_basis=28, max_matvecs=1500)
    assert state.size <= 28
    if state.first_chain is None:
        np.testing.assert_allclose(largest.values, H.values[::-1][:2], rtol=1e-9)
        np.testing.assert_allclose(smallest.values, H.values[:2], rtol=1e-9)
    else:
        np.testing.assert_allclose((largest.values[0], smallest.values[0]), H.values[[-1, 0]], rtol=1e-9)
    assert bool(largest.converged.all())
    assert bool(smallest.converged.all())


def test_recurrence_residuals_are_the_computed_ones_after_restarts() -> None:
    H = Matrix(edge_of_a_bulk(300))
    state = last(H, k=2, tol=1e-4, max_basis=28, max_matvecs=1000)
    assert len(state.dropped) > 2
    for preliminary, computed in zip(ritz.ends(state, 2, 1e-4), verified(H, state, 2, 1e-4), strict=True):
        np.testing.assert_allclose(preliminary.residual_norms, computed.residual_norms, rtol=1e-6, atol=1e-11)


def test_more_pairs_continue_the_same_run_through_restarts() -> None:
    """What a restart keeps does not depend on how many pairs are wanted."""
    H = diagonal(edge_of_a_bulk(500))
    at_once = last(H, k=4, tol=1e-5, max_basis=40, max_matvecs=2000)
    state = last(H, k=1, tol=1e-5, max_basis=40, max_matvecs=2000)
    few = state.num_matvecs
    for _ in ritz.run(H, state, 4, tol=1e-5, max_matvecs=2000):
        pass
    assert len(state.dropped) > 0
    assert few < state.num_matvecs == at_once.num_matvecs
    np.testing.assert_allclose(state.ritz()[0], at_once.ritz()[0], rtol=1e-13)


def test_negative_values_seen_before_a_restart_are_not_forgotten() -> None:
    """Each count is over one orthonormal basis: the largest of them holds, and never exceeds the truth."""
    H = diagonal(np.r_[np.linspace(-1, -0.2, 30), np.linspace(0.2, 1, 170)])
    state, counts = lanczos.start(H.like, seed=0, max_basis=28), []
    for _ in range(100):
        lanczos.step(H, state)
        counts.append(state.num_negative)
    assert counts == sorted(counts)
    assert int((state.ritz()[0] < 0).sum()) <= counts[-1] <= 30
    assert counts[-1] >= 8


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32])
def test_memory_is_the_basis_and_six_vectors(dtype: torch.dtype) -> None:
    """With restarts, preliminary pairs and the verified result of k = 2 (its four vectors among the six)."""
    n, max_basis = 8_000, 28
    spectrum = torch.cat([torch.linspace(-1, 1, n - 4), torch.tensor([5.0, 4.0, -3.0, -2.0])]).to(dtype)

    class Diagonal:
        shape = n, n

        def __matmul__(self, v: Tensor) -> Tensor:
            return spectrum * v

    with Memory() as memory:
        state = lanczos.start(torch.empty(n, dtype=dtype), seed=0, max_basis=max_basis)
        while len(state.dropped) < 3 or state.size < max_basis:
            lanczos.step(Diagonal(), state)
            if state.size >= max_basis - 1:
                ritz.ends(state, 2, 1e-4)
        # The largest moment: the verification over a full basis.
        largest, smallest = verified(Diagonal(), state, 2, 1e-4)  # type: ignore[arg-type]
    np.testing.assert_allclose(np.r_[largest.values, smallest.values], [5, 4, -3, -2], rtol=1e-5)
    vector = n * spectrum.element_size()
    # Besides, three slices in double precision and coefficients, whatever the length.
    assert max_basis * vector < memory.peak <= (max_basis + 6) * vector + 3 * 8 * ritz._SLICE + 20_000


def test_a_basis_grows_without_copying_and_rotates_in_place() -> None:
    generator = torch.Generator().manual_seed(0)
    rows = torch.linalg.qr(torch.randn(1000, 40, generator=generator, dtype=torch.float64)).Q.T.contiguous()
    basis = Basis(rows[0], 50)
    for row in rows:
        basis.append(row)
    assert torch.equal(basis.matrix(), rows)
    weights = torch.randn(7, 40, generator=generator, dtype=torch.float64)
    torch.testing.assert_close(basis.combine(weights), weights @ rows)
    vector = torch.randn(1000, generator=generator, dtype=torch.float64)
    torch.testing.assert_close(basis.overlaps(vector), rows @ vector)
    left = basis.subtract_(vector.clone(), rows @ vector)
    torch.testing.assert_close(left, vector - rows.T @ (rows @ vector))
    basis.rotate_(weights)
    torch.testing.assert_close(basis.matrix(), weights @ rows)
    basis.append(vector)
    torch.testing.assert_close(basis.matrix(), torch.cat([weights @ rows, vector[None]]))
    assert basis.size == 8
