"""What a run claims about eigenvalues it has not seen: true, sharp, and told only where it holds."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from landscape_widget.engine import bounds, lanczos
from landscape_widget.engine.lanczos import LanczosState

from .test_lanczos import Matrix, edge_of_a_bulk, last


def diagonal(spectrum: np.ndarray, dtype: torch.dtype = torch.float64) -> Matrix:
    """For a random start vector as good as any other matrix of that spectrum, and eigenvectors are known."""
    H = Matrix([0.0])
    H.values, H.like = np.sort(spectrum), torch.zeros(len(spectrum), dtype=dtype)
    H.dense = torch.diag(torch.tensor(H.values)).to(dtype)
    return H


def steps(H: Matrix, count: int, *, seed: int = 0, max_basis: int | None = None) -> LanczosState:
    state = lanczos.start(H.like, seed, max_basis=max_basis)
    for _ in range(count):
        lanczos.step(H, state)
    return state


@pytest.mark.parametrize("max_basis", [None, 10])
def test_overlaps_grow_as_the_recurrence_says(max_basis: int | None) -> None:
    """G(λ) is Σ (zᵀqⱼ)² / (zᵀq₁)² of the eigenvector z of λ, for all λ; the largest sum of all cycles after restarts."""
    H = diagonal(np.linspace(-1, 1, 40))
    state = lanczos.start(H.like, 0, max_basis=max_basis)
    first, seen = state.next.clone(), torch.zeros(40, dtype=torch.float64)
    for m in range(1, 23):
        lanczos.step(H, state)
        overlaps = torch.cat([state.basis.matrix(), state.next[None]]).square().sum(0) / first.square()
        if max_basis is None or state.size == max_basis or m == 22:
            seen = torch.maximum(seen, overlaps)
        if max_basis is None or m == 22:
            np.testing.assert_allclose(np.exp(bounds._growth(state.cycles, H.values)), seen, rtol=1e-6)
    assert len(state.cycles) == (1 if max_basis is None else 4)


@pytest.mark.parametrize("max_basis", [None, 24])
@pytest.mark.parametrize(
    "spectrum",
    [edge_of_a_bulk(150), np.linspace(0, 1, 150) ** 3, -np.geomspace(1e-4, 1, 150)],
    ids=["edge of a bulk", "positive", "geometric"],
)
def test_nothing_is_below_what_is_unseen_but_for_one_start_in_a_hundred(
    spectrum: np.ndarray, max_basis: int | None
) -> None:
    H, wrong = diagonal(spectrum), 0
    for seed in range(60):
        state = lanczos.start(H.like, seed, max_basis=max_basis)
        said = []
        for m in range(1, 46):
            lanczos.step(H, state)
            if m in (10, 45):
                said.append(bounds.unseen_below(state))
        assert said[-1] is not None
        assert said[-1] > H.values[0] - 0.03 * (H.values[-1] - H.values[0])
        wrong += any(value is not None and value > H.values[0] for value in said)
    # Four or more have a probability of 0.3 % where the statement is sharp.
    assert wrong <= 3


def test_single_precision_does_not_spoil_the_statement() -> None:
    """A small eigenvalue below a bulk that round-off of the largest one reaches into."""
    H = diagonal(np.r_[100.0, np.linspace(-0.1, 0.1, 298), -0.3], torch.float32)
    wrong = 0
    for seed in range(50):
        values = [bounds.unseen_below(steps(H, m, seed=seed)) for m in (5, 30)]
        wrong += any(value is not None and value > -0.3 + 1e-6 for value in values)
    assert wrong <= 2


def test_it_is_far_sharper_than_what_holds_for_every_spectrum() -> None:
    """Kuczyński & Woźniakowski (1992) bound the error before the run; the recurrence knows how the run went."""
    n, k = 400, 40
    H = diagonal(np.r_[np.linspace(0, 0.2, n - 3), 1, 0.9, -0.1])
    values = steps(H, k).ritz()[0]
    a_priori = values[0] - (np.log(1.648 * np.sqrt(n) / 0.01) / (2 * k - 1)) ** 2 * (values[-1] - values[0])
    said = bounds.unseen_below(steps(H, k))
    assert said is not None
    assert H.values[0] - said < 0.01 * (H.values[0] - a_priori)


def test_a_statement_that_turned_out_wrong_is_not_made() -> None:
    """An eigenvector in which the start vector has no part shows only at the restart from a random vector."""
    H = diagonal(np.r_[-5.0, np.linspace(1, 2, 6), 2.0])
    state = lanczos.start(H.like, 0)
    state.next[0] = 0.0
    state.next /= state.next.norm()
    before: list[float | None] = []
    while state.size < 7:
        lanczos.step(H, state)
        before.append(bounds.unseen_below(state))
    assert state.first_chain is not None
    # Nothing tells it apart from a run that saw everything, until the new vector meets it.
    assert before[5] == pytest.approx(1.0, abs=1e-6)
    assert state.ritz()[0][0] < 0
    assert before[-1] is None


def test_the_whole_space_leaves_nothing_unseen() -> None:
    H = Matrix(np.r_[np.full(5, 2.0), np.full(5, -1.0)])
    state = last(H, 5, tol=0.0)
    assert state.size == 10
    assert state.first_chain
    assert bounds.unseen_below(state) == pytest.approx(-1.0, abs=1e-12)
    np.testing.assert_allclose(state.ritz()[0], H.values, atol=1e-12)


def test_a_warm_start_makes_no_statement() -> None:
    H = diagonal(np.linspace(-1, 1, 100))
    state = lanczos.start(H.like, 0, near=torch.eye(100, dtype=torch.float64)[:2])
    for _ in range(30):
        lanczos.step(H, state)
    assert bounds.unseen_below(state) is None


@pytest.mark.parametrize("spectrum", [[0.0] * 20, [3.0] * 20], ids=["zero", "identity"])
def test_one_product_tells_a_multiple_of_the_identity(spectrum: list[float]) -> None:
    state = steps(diagonal(np.array(spectrum)), 1)
    assert bounds.unseen_below(state) == pytest.approx(spectrum[0], abs=1e-9)


def test_few_products_make_no_empty_statement() -> None:
    assert bounds.unseen_below(steps(diagonal(np.linspace(-1, 1, 400)), 2)) is None


def test_a_run_does_not_stop_on_the_second_of_two_small_eigenvalues() -> None:
    # Stopping at the first convergence is wrong for about one start in twenty-five here.
    rng = np.random.default_rng(0)
    spectrum = np.r_[np.geomspace(4, 1e-3, 12), rng.normal(0, 1e-4, 50), -0.0173, -0.0233]
    matrix = Matrix(spectrum)
    for seed in range(100):
        state = last(matrix, 1, tol=5e-2, seed=seed)
        assert state.ritz()[0][0] == pytest.approx(-0.0233, rel=1e-2), seed
