"""Eigenvalues that repeat: copies are found and counted, or ruled out, or nothing is claimed."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from landscape_widget import examples, hessian_directions
from landscape_widget.engine import bounds, copies, lanczos, ritz
from landscape_widget.engine.lanczos import LanczosState
from landscape_widget.engine.ritz import Beside, RitzPairs

from .test_bounds import diagonal
from .test_lanczos import Matrix, edge_of_a_bulk, last, verified


def looked(
    H: Matrix, state: LanczosState, k: int, *, tol: float = 1e-2, seed: int = 1, max_matvecs: int = 300
) -> Beside:
    steps = copies.search(H, state, k, tol=tol, seed=seed, max_matvecs=max_matvecs)
    while True:
        try:
            next(steps)
        except StopIteration as end:
            return end.value


def both_ends(H: Matrix, k: int, *, tol: float = 1e-2, seed: int = 0, **settings: int) -> tuple[RitzPairs, RitzPairs]:
    state = last(H, k, tol=tol, seed=seed, **settings)
    beside = looked(H, state, k, tol=tol, seed=seed + 1)
    steps = ritz.verified(H, state, k, tol, beside)
    while True:
        try:
            next(steps)
        except StopIteration as end:
            return end.value


@pytest.mark.parametrize("seed", range(4))
def test_a_vector_of_an_eigenvalue_that_repeats_is_not_called_determined(seed: int) -> None:
    """Each start finds another vector of the eigenspace, to round-off."""
    problem = examples.toy_saddle(50, 50)
    pairs, other = (hessian_directions(problem, k=1, seed=s) for s in (seed, seed + 1))
    assert abs(float(pairs.largest.vectors[0] @ other.largest.vectors[0])) < 0.9
    assert pairs.summary.converged
    assert not pairs.largest.isolated.any()
    assert not pairs.smallest.isolated.any()


@pytest.mark.parametrize("k", [2, 4])
def test_pairs_of_a_saddle_on_real_data_are_counted_with_their_copies(k: int) -> None:
    """Both outermost eigenvalues are sixteen-fold."""
    exact = examples.known.digits_saddle().eigenvalues
    pairs = hessian_directions(examples.digits_saddle(), k=k)
    assert pairs.summary.converged
    np.testing.assert_allclose(pairs.largest.values, exact[:k], rtol=1e-2)
    np.testing.assert_allclose(pairs.smallest.values, exact[::-1][:k], rtol=1e-2)
    assert not pairs.largest.isolated.any()
    vectors = torch.cat([pairs.largest.vectors, pairs.smallest.vectors])
    torch.testing.assert_close(vectors @ vectors.T, torch.eye(2 * k, dtype=torch.float64), rtol=0, atol=1e-2)
    assert pairs.summary.num_negative >= k
    assert [d.converged for d in pairs.directions] == [True] * 2 * k


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize(
    ("spectrum", "k"),
    [
        (np.r_[5.0, 5.0, 5.0, 4.0, np.linspace(-1, 1, 200), -3.0, -3.0], 3),
        (np.r_[5.0, 4.0, 4.0, 4.0, np.linspace(-1, 1, 200), -2.0, -3.0], 4),
        (np.r_[np.linspace(1, 5, 100), -1.0, -1.0, -1.0], 3),
        (np.full(40, -2.0), 3),
        (np.r_[np.full(20, 2.0), np.full(20, -1.0), 0.5], 4),
    ],
    ids=["outliers", "inner", "only copies are negative", "one value", "three values"],
)
def test_the_outermost_eigenvalues_are_found_as_often_as_they_are(spectrum: np.ndarray, k: int, seed: int) -> None:
    H = Matrix(spectrum)
    largest, smallest = both_ends(H, k, seed=seed)
    np.testing.assert_allclose(largest.values, H.values[::-1][:k], rtol=2e-2)
    np.testing.assert_allclose(smallest.values, H.values[:k], rtol=2e-2)
    for pairs in (largest, smallest):
        assert bool(pairs.converged.all())
        residuals = (pairs.vectors @ H.dense - torch.tensor(pairs.values)[:, None] * pairs.vectors).norm(dim=1)
        np.testing.assert_allclose(pairs.residual_norms, residuals, atol=1e-10)
        repeats = np.array([(np.abs(H.values - value) < 1e-3).sum() > 1 for value in pairs.values])
        assert not pairs.isolated[repeats].any()


def test_the_number_of_negative_eigenvalues_counts_copies() -> None:
    summary = hessian_directions(examples.quadratic([*np.linspace(1, 5, 100), -1.0, -1.0, -1.0]), k=3).summary
    np.testing.assert_allclose(summary.smallest, -1.0, rtol=1e-2)
    assert summary.num_negative == 3


@pytest.mark.parametrize("seed", range(10))
def test_outliers_that_stand_alone_are_told_so_in_few_products(seed: int) -> None:
    H = diagonal(np.r_[100.0, 50.0, np.linspace(-0.5, 0.5, 998), -0.51])
    state = last(H, 2, tol=1e-2, seed=seed)
    before = H.num_matvecs
    beside = looked(H, state, 2, seed=seed + 1)
    assert before + 4 <= H.num_matvecs <= before + 6
    assert len(beside.values) == 0
    assert beside.unique[:2].all()
    assert beside.placed.all()
    # Between the edge of the bulk and what lies just outside nothing is decided in so few.
    assert not beside.unique[2:].any()


def test_no_copy_is_ruled_out_that_is_there() -> None:
    """At any moment of looking, even when the copy has converged and the recurrence is all round-off; but for one in a thousand."""
    H = diagonal(np.r_[3.0, 3.0, np.linspace(-1, 1, 40), -1.2, -1.2])
    wrong = 0
    for seed in range(200):
        state = last(H, 1, tol=1e-2, seed=seed)
        ends = np.array([state.size - 1, 0])
        probe = lanczos.beside(state, ends, torch.empty(0, 44), torch.Generator().manual_seed(1000 + seed))
        values, ruled_out = state.ritz()[0][ends], np.zeros(2, dtype=bool)
        while state.basis.size < 44 and probe.origin < max(1, probe.size):
            lanczos.step(H, probe)
            ruled_out |= bounds.absent(probe, values, 1e-2 * np.abs(values))
        wrong += int(ruled_out.sum())
        lanczos.leave(state)
        assert state.basis.size == state.size
    assert wrong <= 3


def test_what_is_known_in_full_needs_no_look() -> None:
    pairs = hessian_directions(examples.quadratic([4.0, 2.0, 1.0, -1.0, -3.0], rotation_seed=0), k=3)
    assert pairs.num_matvecs == 5 + 6
    assert pairs.largest.isolated.all()


def test_a_budget_too_small_for_the_copies_claims_no_order() -> None:
    """Of the pairs that copies would push inwards it is not said that they have converged to the i-th."""
    H = diagonal(np.r_[3.0, 3.0, 2.5, np.linspace(-1, 1, 400), -3.0, -4.0])
    state = last(H, 2, tol=1e-2)
    exact = verified(H, state, 2, 1e-2)[0]
    assert exact.converged.all()  # of the run alone: 3 and 2.5
    lengths = set()
    for budget in range(1, 12):
        beside = looked(H, state, 2, max_matvecs=budget)
        lengths.add(len(beside.values))
        largest = ritz._halves(ritz._outermost(state, 2, 1e-2, beside))[0]
        if len(beside.values):
            np.testing.assert_allclose(largest.values, 3.0, rtol=2e-2)
        elif not beside.placed.all():
            assert largest.converged.tolist() == [True, False]
            lengths.add(-1)
        assert not largest.isolated.any()
    assert lengths == {-1, 0, 1}


@pytest.mark.parametrize(("max_basis", "restarts"), [(27, 1), (34, 0)])
def test_copies_are_found_within_a_bounded_basis(max_basis: int, restarts: int) -> None:
    """22 vectors leave too little room in one of 27: half of them make place first."""
    H = diagonal(np.r_[5.0, 5.0, 4.5, np.linspace(-1, 1, 300), -2.5, -3.0, -3.0])
    state = last(H, 2, tol=1e-8, max_basis=max_basis)
    assert (state.size, len(state.dropped)) == (22, 0)
    beside = looked(H, state, 2, tol=1e-2)
    assert len(state.dropped) == restarts
    np.testing.assert_allclose(np.sort(beside.values), [-3.0, 5.0], rtol=1e-2)
    assert state.basis.size == state.size <= max_basis
    largest, smallest = ritz._halves(ritz._outermost(state, 2, 1e-2, beside))
    np.testing.assert_allclose(np.r_[largest.values, smallest.values], [5, 5, -3, -3], rtol=1e-2)
    # The run goes on as if nobody had looked.
    for _ in range(max_basis):
        lanczos.step(H, state)
    Q = state.basis.matrix()
    torch.testing.assert_close(Q @ Q.T, torch.eye(state.size, dtype=torch.float64), rtol=0, atol=1e-12)


def test_just_after_a_restart_residuals_are_those_of_before() -> None:
    H = diagonal(edge_of_a_bulk(300))
    state = last(H, 2, tol=1e-3, max_matvecs=40)
    values, residuals = state.ritz()[0], state.residuals()
    lanczos.restart(state)
    kept = np.searchsorted(values, state.ritz()[0] - 1e-9)
    np.testing.assert_allclose(state.residuals(), residuals[kept], rtol=1e-9, atol=1e-12)
    assert not ritz.has_converged(state, 2, 1e-6)
