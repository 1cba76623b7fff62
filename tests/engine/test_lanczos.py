"""Lanczos on operators of known spectrum: what it returns, and what it claims."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from landscape_widget import hessian_directions
from landscape_widget.engine import bounds, lanczos, ritz
from landscape_widget.engine.lanczos import LanczosState
from landscape_widget.engine.ritz import RitzPairs

from .problems import ARCHITECTURES, dense_hessian, make


class Matrix:
    """A symmetric matrix with a given spectrum and random eigenvectors, known by its products."""

    def __init__(
        self,
        spectrum: Sequence[float] | np.ndarray,
        *,
        seed: int = 0,
        dtype: torch.dtype = torch.float64,
    ):
        values = torch.tensor(np.asarray(spectrum, dtype=float))
        generator = torch.Generator().manual_seed(seed)
        rotation = torch.linalg.qr(torch.randn(len(values), len(values), generator=generator, dtype=torch.float64)).Q
        dense = (rotation * values) @ rotation.T
        self.dense = (0.5 * (dense + dense.T)).to(dtype)
        self.values = np.sort(np.asarray(spectrum, dtype=float))
        self.like = torch.zeros(len(values), dtype=dtype)
        self.num_matvecs = 0

    @property
    def shape(self) -> tuple[int, int]:
        return self.dense.shape[0], self.dense.shape[1]

    def __matmul__(self, v: Tensor) -> Tensor:
        self.num_matvecs += len(v) if v.dim() == 2 else 1
        return v @ self.dense


def last(
    H: Matrix,
    k: int = 2,
    *,
    tol: float = 1e-8,
    seed: int = 0,
    max_matvecs: int = 300,
    max_basis: int | None = None,
    near: Tensor | None = None,
) -> LanczosState:
    state = lanczos.start(H.like, seed, max_basis=max_basis, near=near)
    for _ in ritz.run(H, state, k, tol=tol, max_matvecs=max_matvecs):
        pass
    return state


def verified(H: Matrix, state: LanczosState, k: int, tol: float) -> tuple[RitzPairs, RitzPairs]:
    steps = ritz.verified(H, state, k, tol)
    while True:
        try:
            next(steps)
        except StopIteration as end:
            return end.value


def both_ends(
    H: Matrix, k: int = 2, *, tol: float = 1e-8, **settings: Any
) -> tuple[RitzPairs, RitzPairs, LanczosState]:
    state = last(H, k, tol=tol, **settings)
    return *verified(H, state, k, tol), state


def edge_of_a_bulk(n: int = 1000) -> np.ndarray:
    """λ_max 100, a bulk in ±0.5, λ_min −0.51."""
    return np.r_[100.0, np.linspace(-0.5, 0.5, n - 2), -0.51]


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32])
def test_defining_identity_holds_at_every_step(dtype: torch.dtype) -> None:
    """A Q − Q T − residual = 0, Q orthonormal, T tridiagonal: also beyond the convergence of the outer pairs."""
    H = Matrix(np.r_[50.0, np.linspace(-1, 1, 80)], dtype=dtype)
    tiny = 2e-14 if dtype == torch.float64 else 2e-5
    state = lanczos.start(H.like, seed=0)
    for m in range(1, 60):
        lanczos.step(H, state)
        if m % 10 and m != 59:
            continue
        Q = state.basis.matrix().double()
        beta = state.beta[m - 1]
        T = torch.diag(torch.tensor(state.alpha, dtype=torch.float64))
        off = torch.tensor(state.beta[: m - 1], dtype=torch.float64)
        T += torch.diag(off, 1) + torch.diag(off, -1)
        residual = torch.outer(torch.eye(m, dtype=torch.float64)[m - 1], beta * state.next.double())
        assert float((Q @ H.dense.double() - T @ Q - residual).abs().max()) < 50 * tiny
        assert float((Q @ Q.T - torch.eye(m, dtype=torch.float64)).abs().max()) < tiny
        assert float((Q @ state.next.double()).abs().max()) < tiny


@pytest.mark.parametrize(
    "spectrum",
    [
        [10.0, 9.0, 1.0, -1.0],
        np.linspace(1, 5, 40),
        -np.linspace(1, 5, 40),
        np.r_[np.geomspace(1e-6, 10, 30), -np.geomspace(1e-6, 3, 30)],
        np.r_[np.full(20, 2.0), np.full(20, -1.0), 0.5],
        edge_of_a_bulk(),
    ],
    ids=["four", "positive", "negative", "geometric", "degenerate", "edge of a bulk"],
)
def test_both_algebraic_ends(spectrum: np.ndarray | list[float]) -> None:
    H = Matrix(spectrum)
    largest, smallest, state = both_ends(H)
    if state.first_chain:  # degenerate: how often a value repeats is not promised, the values are
        assert largest.values[0] == pytest.approx(H.values[-1], rel=1e-9)
        assert smallest.values[0] == pytest.approx(H.values[0], rel=1e-9)
    else:
        np.testing.assert_allclose(largest.values, H.values[::-1][:2], rtol=1e-9)
        np.testing.assert_allclose(smallest.values, H.values[:2], rtol=1e-9)
    assert bool(largest.converged.all())
    assert bool(smallest.converged.all())


def test_default_plane_of_10_9_1_minus_1_shows_the_saddle() -> None:
    largest, smallest, _ = both_ends(Matrix([10.0, 9.0, 1.0, -1.0]), k=1)
    assert largest.values[0] == pytest.approx(10)
    assert smallest.values[0] == pytest.approx(-1)


@pytest.mark.parametrize("seed", range(5))
def test_smallest_eigenvalue_at_the_edge_of_a_bulk(seed: int) -> None:
    """At the default tolerance: the value to within its residual, flagged as not isolated, and the same every time."""
    H = Matrix(edge_of_a_bulk())
    largest, smallest, _ = both_ends(H, k=1, tol=1e-2, seed=seed)
    assert largest.values[0] == pytest.approx(100, rel=1e-9)
    assert bool(largest.isolated[0])
    assert -0.51 <= smallest.values[0] < -0.5
    assert np.abs(H.values - smallest.values[0]).min() <= smallest.residual_norms[0]
    assert not smallest.isolated[0]
    again, _ = both_ends(Matrix(edge_of_a_bulk()), k=1, tol=1e-2, seed=seed)[1:]
    assert torch.equal(again.vectors, smallest.vectors)
    assert again.values[0] == smallest.values[0]


def test_isolated_pairs_have_the_eigenvector_and_others_say_they_may_not() -> None:
    H = Matrix(edge_of_a_bulk())
    vectors = torch.linalg.eigh(H.dense).eigenvectors
    largest, smallest, _ = both_ends(H, k=1, tol=1e-8)
    assert bool(smallest.isolated[0])
    assert abs(float(smallest.vectors[0] @ vectors[:, 0])) > 1 - 1e-6
    assert abs(float(largest.vectors[0] @ vectors[:, -1])) > 1 - 1e-12


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32])
def test_residual_norms_are_those_of_the_pairs(dtype: torch.dtype) -> None:
    H = Matrix(edge_of_a_bulk(300), dtype=dtype)
    for pairs in both_ends(H, k=3, tol=1e-3)[:2]:
        vectors = pairs.vectors.double()
        residuals = (vectors @ H.dense.double() - torch.tensor(pairs.values)[:, None] * vectors).norm(dim=1)
        np.testing.assert_allclose(
            pairs.residual_norms,
            residuals,
            rtol=1e-3,
            atol=3e-5 if dtype == torch.float32 else 1e-13,
        )
        np.testing.assert_allclose(vectors.norm(dim=1), 1, rtol=1e-6)
        # An eigenvalue lies within the residual of each value.
        distance = np.abs(H.values[None] - pairs.values[:, None]).min(axis=1)
        assert (distance <= pairs.residual_norms + 1e-4 * (dtype == torch.float32) + 1e-12).all()


def test_recurrence_residuals_agree_with_computed_ones() -> None:
    H = Matrix(edge_of_a_bulk(300))
    state = last(H, k=2, tol=1e-3)
    for preliminary, computed in zip(ritz.ends(state, 2, 1e-3), verified(H, state, 2, 1e-3), strict=True):
        np.testing.assert_allclose(preliminary.residual_norms, computed.residual_norms, rtol=1e-6, atol=1e-11)


@pytest.mark.parametrize("c", [3.0, -2.0, 0.0])
def test_multiples_of_the_identity(c: float) -> None:
    """Every vector is an eigenvector: both ends are found, converged, and their vectors are orthogonal."""
    largest, smallest, state = both_ends(Matrix(np.full(30, c)), k=2)
    np.testing.assert_allclose(largest.values, c, rtol=1e-12)
    np.testing.assert_allclose(smallest.values, c, rtol=1e-12)
    assert bool(largest.converged.all())
    assert bool(smallest.converged.all())
    vectors = torch.cat([largest.vectors, smallest.vectors])
    torch.testing.assert_close(vectors @ vectors.T, torch.eye(4, dtype=torch.float64), rtol=0, atol=1e-12)
    assert bounds.unseen_below(state) == pytest.approx(c, abs=1e-10)
    assert not largest.isolated.any()
    assert state.num_matvecs == 4


def test_one_by_one() -> None:
    largest, smallest, state = both_ends(Matrix([-4.0]), k=1)
    assert largest.values[0] == smallest.values[0] == -4.0
    assert largest.vectors.tolist() == [[1.0]]
    assert bounds.unseen_below(state) == pytest.approx(-4.0)


def test_values_are_ordered_from_the_outside_inwards() -> None:
    largest, smallest, _ = both_ends(Matrix(np.r_[np.full(5, 1.0), np.full(5, 1.0 + 1e-15), np.full(5, -1.0)]), k=3)
    assert (np.diff(largest.values) <= 0).all()
    assert (np.diff(smallest.values) >= 0).all()


def test_entry_of_largest_magnitude_is_positive() -> None:
    for seed in range(4):
        for pairs in both_ends(Matrix(np.linspace(-3, 2, 25)), k=2, seed=seed)[:2]:
            for vector in pairs.vectors:
                assert float(vector[vector.abs().argmax()]) > 0


def test_vectors_are_the_same_for_every_start_where_isolated() -> None:
    H = Matrix(np.linspace(-3, 2, 25))
    first = both_ends(H, k=2, tol=1e-10, seed=0)
    other = both_ends(H, k=2, tol=1e-10, seed=1)
    for a, b in zip(first[:2], other[:2], strict=True):
        torch.testing.assert_close(a.vectors, b.vectors, rtol=0, atol=1e-8)


def test_every_product_is_counted_once() -> None:
    H = Matrix(edge_of_a_bulk(200))
    _, _, state = both_ends(H, k=2)
    assert H.num_matvecs == state.size + 4


def test_the_budget_is_kept_and_what_has_not_converged_says_so() -> None:
    H = Matrix(edge_of_a_bulk())
    _, smallest, state = both_ends(H, k=2, tol=1e-10, max_matvecs=20)
    assert state.size == 20
    assert not smallest.converged.any()
    assert (smallest.residual_norms > 1e-10 * np.abs(smallest.values)).all()


@given(
    spectrum=st.lists(st.floats(-10, 10).map(lambda x: round(x, 3)), min_size=2, max_size=25),
    k=st.integers(1, 4),
    seed=st.integers(0, 1000),
)
@settings(max_examples=60)
def test_any_spectrum(spectrum: list[float], k: int, seed: int) -> None:
    """What holds always: interlacing (Cauchy), residuals that tell the truth, orthonormal vectors."""
    H = Matrix(spectrum, seed=seed)
    k = min(k, len(spectrum))
    largest, smallest, state = both_ends(H, k=k, tol=1e-6, seed=seed)
    slack = 1e-10
    for i, value in enumerate(largest.values):
        assert value <= H.values[::-1][i] + slack
    for i, value in enumerate(smallest.values):
        assert value >= H.values[i] - slack
    for pairs in (largest, smallest):
        products = pairs.vectors @ H.dense
        residuals = (products - torch.tensor(pairs.values)[:, None] * pairs.vectors).norm(dim=1)
        np.testing.assert_allclose(pairs.residual_norms, residuals, atol=slack)
        gram = pairs.vectors @ pairs.vectors.T
        torch.testing.assert_close(gram, torch.eye(k, dtype=torch.float64), rtol=0, atol=1e-9)
    assert int((state.ritz()[0] < -state.noise).sum()) <= int((H.values < 0).sum())


def test_non_finite_products_are_refused() -> None:
    H = Matrix([1.0, 2.0, 3.0])
    H.dense[0, 0] = torch.nan
    with pytest.raises(
        FloatingPointError,
        match="expected finite Hessian-vector products, got NaN or inf",
    ):
        last(H)


@pytest.mark.parametrize("name", ARCHITECTURES)
def test_both_ends_of_every_architecture(name: str) -> None:
    case = make(name)
    values = np.sort(torch.linalg.eigvalsh(dense_hessian(case)).numpy())
    found = hessian_directions(case.problem(), k=3, tol=1e-7)
    scale = np.abs(values).max()
    np.testing.assert_allclose(found.largest.values, values[::-1][:3], atol=1e-8 * scale)
    np.testing.assert_allclose(found.smallest.values, values[:3], atol=1e-8 * scale)
    assert found.summary.num_negative <= int((values < 0).sum())
    assert found.summary.converged


def test_single_precision_claims_no_negative_curvature_where_there_is_none() -> None:
    """Positive semi-definite with a null space: round-off gives Ritz values below zero, none below the noise."""
    rng = np.random.default_rng(0)
    for seed, scale in itertools.product(range(5), (1e-3, 1.0, 1e3)):
        spectrum = scale * np.r_[rng.uniform(0.01, 10, 30), np.zeros(170)]
        H = Matrix(spectrum, seed=seed, dtype=torch.float32)
        _, smallest, state = both_ends(H, k=2, tol=1e-2, seed=seed)
        assert int((state.ritz()[0] < -state.noise).sum()) == 0
        assert state.noise < 1e-4 * H.values[-1]
        # Zero has no relative precision: such pairs count as converged at the noise, and their residual says which.
        assert bool(smallest.converged[0])
        assert float(smallest.residual_norms[0]) < 1e-4 * H.values[-1]


def test_noise_covers_the_error_of_single_precision() -> None:
    """Curvatures of a float32 net against the same net in float64: the difference is below the stated noise."""
    for name in ("mlp", "conv_batchnorm", "own_loss"):
        case = make(name)
        true = torch.linalg.eigvalsh(dense_hessian(case)).numpy()
        data = case.data if isinstance(case.data, list) else [case.data]
        single = type(case)(
            case.model.float(),
            case.loss,
            [tuple(t.float() if t.is_floating_point() else t for t in batch) for batch in data],
            case.whole,
        )
        found = hessian_directions(single.problem(), k=1, tol=1e-6)
        assert abs(found.largest.values[0] - true[-1]) < found.summary.noise + found.largest.residual_norms[0]
        assert abs(found.smallest.values[0] - true[0]) < found.summary.noise + found.smallest.residual_norms[0]
        assert found.summary.noise < 1e-4 * true[-1]
        assert found.summary.num_negative <= int((true < 0).sum())
