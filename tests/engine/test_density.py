"""Stochastic Lanczos quadrature: exact where it must be, within its errors elsewhere."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

import landscape_widget as lw
from landscape_widget import Problem, SpectralDensity, examples
from landscape_widget.engine.density import iter_spectral_density
from landscape_widget.engine.streams import other_stream

from .problems import dense_hessian, make, slice_problem

DISTINCT = np.repeat([4.0, 1.0, 0.25, -0.5], [1, 20, 50, 29])


def moments(density: SpectralDensity, power: int) -> np.ndarray:
    return density.per_probe(lambda x: x**power)


def test_it_is_exact_when_steps_reach_the_number_of_distinct_eigenvalues() -> None:
    """Nodes are the eigenvalues; the weights are the probe's squared components, so that every moment is its own."""
    problem = examples.quadratic(DISTINCT)
    density = lw.spectral_density(problem, num_probes=3, num_steps=4)
    assert density.num_matvecs == 12
    np.testing.assert_allclose(density.nodes, np.repeat([-0.5, 0.25, 1.0, 4.0], 3), atol=1e-12)
    generator = torch.Generator().manual_seed(other_stream(0, "density"))
    for probe in range(3):
        z = torch.randn(100, generator=generator, dtype=torch.float64).numpy()
        shares = z**2 / (z @ z)
        mine = density.probes == probe
        expected = [shares[value == DISTINCT].sum() for value in (-0.5, 0.25, 1.0, 4.0)]
        np.testing.assert_allclose(density.weights[mine], np.array(expected) / 3, rtol=1e-9)


def test_more_steps_than_distinct_eigenvalues_change_nothing() -> None:
    problem = examples.quadratic(DISTINCT, rotation_seed=0)
    few, many = (lw.spectral_density(problem, num_probes=2, num_steps=steps) for steps in (4, 40))
    np.testing.assert_allclose(many.nodes[many.weights > 1e-12], few.nodes, atol=1e-9)
    np.testing.assert_allclose(many.weights[many.weights > 1e-12], few.weights, rtol=1e-8)


@pytest.mark.parametrize("steps", [1, 3, 8])
def test_polynomials_of_degree_below_twice_the_steps_are_integrated_exactly(steps: int) -> None:
    """The Gauss rule of a probe: Σ w μᵖ = vᵀHᵖv."""
    case = make("mlp")
    H = dense_hessian(case).numpy()
    density = lw.spectral_density(case.problem(), num_probes=2, num_steps=steps, seed=5)
    generator = torch.Generator().manual_seed(other_stream(5, "density"))
    for probe in range(2):
        v = torch.randn(len(H), generator=generator, dtype=torch.float64).numpy()
        v /= np.linalg.norm(v)
        for power in range(2 * steps):
            expected = v @ np.linalg.matrix_power(H, power) @ v
            assert moments(density, power)[probe] == pytest.approx(expected, rel=1e-8, abs=1e-10)


@pytest.mark.parametrize("name", ["mlp", "conv_batchnorm", "attention", "unused"])
@pytest.mark.parametrize("deflated", [False, True])
def test_trace_and_norm_are_within_four_errors(name: str, deflated: bool) -> None:
    case = make(name)
    problem = case.problem()
    values = torch.linalg.eigvalsh(dense_hessian(case)).numpy()
    known = lw.hessian_directions(problem, k=3, tol=1e-6) if deflated else None
    density = lw.spectral_density(problem, num_probes=12, num_steps=80, known=known, seed=1)
    assert density.weights.sum() == pytest.approx(1.0)
    for estimate, truth in (
        (density.trace, values.sum()),
        (density.frobenius_norm, np.linalg.norm(values)),
        (density.trace_ratio, values.sum() / np.linalg.norm(values)),
        (density.fraction_below(-1e-3), (values < -1e-3).mean()),
    ):
        assert abs(estimate.mean - truth) < 4 * estimate.sem
    assert density.largest == pytest.approx(values[-1])
    assert density.smallest == pytest.approx(values[0])


def test_errors_of_the_trace_over_fifty_seeds() -> None:
    values = np.r_[6.0, np.linspace(-1, 2, 80), -2.0]
    problem = examples.quadratic(values, rotation_seed=1)
    estimates = [lw.spectral_density(problem, num_probes=20, num_steps=2, seed=seed).trace for seed in range(50)]
    off = np.array([(e.mean - values.sum()) / e.sem for e in estimates])
    assert np.abs(off).max() < 4
    assert 0.7 < off.std() < 1.4


def test_known_pairs_make_the_ends_sharp_and_the_errors_small() -> None:
    values = np.r_[100.0, 50.0, np.linspace(-0.5, 0.5, 200), -5.0]
    problem = examples.quadratic(values, rotation_seed=0)
    known = lw.hessian_directions(problem, k=2, tol=1e-6)
    plain, sharp = (
        lw.spectral_density(problem, num_probes=4, num_steps=30, known=pairs, seed=1) for pairs in (None, known)
    )
    assert (sharp.probes == -1).sum() == 4
    np.testing.assert_allclose(sharp.weights[sharp.probes == -1], 1 / len(values))
    np.testing.assert_allclose(sharp.nodes[[-1, -2]], [100.0, 50.0], rtol=1e-6)
    assert sharp.trace.sem < 0.1 * plain.trace.sem
    assert abs(sharp.trace.mean - values.sum()) < 4 * sharp.trace.sem
    assert sharp.outliers == pytest.approx((100.0, 50.0, -5.0), rel=1e-6)


def test_probes_do_not_depend_on_known_pairs_of_the_same_seed() -> None:
    """An eigenvector of an eigenvalue that repeats is the start vector's part in it: of a probe equal to that nothing is left."""
    problem = examples.toy_saddle(500, 550)
    known = lw.hessian_directions(problem, k=4)
    norm = lw.spectral_density(problem, num_probes=6, num_steps=12, known=known).frobenius_norm
    assert abs(norm.mean - np.sqrt(1000)) < 4 * norm.sem
    assert norm.sem < 1


@pytest.mark.parametrize("seed", [0, other_stream(0, "density")], ids=["same", "colliding"])
def test_a_probe_of_which_round_off_is_left_is_drawn_again(seed: int) -> None:
    problem = examples.quadratic([4.0] * 6)
    known = lw.hessian_directions(problem, k=1, seed=seed)
    density = lw.spectral_density(problem, num_probes=6, num_steps=12, known=known)
    assert density.frobenius_norm.mean == pytest.approx(4 * np.sqrt(6), abs=1e-9)
    assert density.trace.mean == pytest.approx(24.0, abs=1e-9)


def test_everything_known_needs_no_probe() -> None:
    problem = examples.quadratic([3.0, 1.0, -1.0], rotation_seed=0)
    known = lw.hessian_directions(problem, k=2)  # the two ends overlap
    density = lw.spectral_density(problem, known=known)
    np.testing.assert_allclose(density.nodes, [-1.0, 1.0, 3.0], atol=1e-9)
    np.testing.assert_allclose(density.weights, 1 / 3)
    assert (density.num_probes, density.num_matvecs, density.trace.sem) == (0, 0, 0.0)
    assert density.trace_ratio.mean == pytest.approx(3 / np.sqrt(11))


def test_pairs_that_have_not_converged_are_not_taken_for_known() -> None:
    problem = examples.quadratic(np.linspace(-1, 1, 300), rotation_seed=0)
    known = lw.hessian_directions(problem, k=2, tol=1e-10, max_matvecs=12)
    assert not known.largest.converged.any()
    density = lw.spectral_density(problem, num_probes=2, num_steps=5, known=known)
    assert (density.probes >= 0).all()


@pytest.mark.parametrize(
    ("values", "outliers", "bulk"),
    [
        (np.r_[100.0, np.linspace(-0.5, 0.5, 998), -0.51], [100.0], (-0.51, 0.5)),
        (np.r_[20.0, 19.9, 8.0, np.linspace(-1, 1, 400), -6.0], [20.0, 19.9, 8.0, -6.0], (-1.0, 1.0)),
        (np.linspace(1, 5, 300), [], (1.0, 5.0)),
        (np.r_[1.0, np.zeros(99)], [1.0], (0.0, 0.0)),
        (np.repeat([1.0, 0.0, -1.0], [55, 1, 44]), [], (-1.0, 1.0)),
        (np.full(30, -2.0), [], (-2.0, -2.0)),
        (np.zeros(30), [], (0.0, 0.0)),
    ],
    ids=["one", "four", "none", "rank one", "degenerate", "one value", "zero"],
)
def test_outliers_and_edges(values: np.ndarray, outliers: list[float], bulk: tuple[float, float]) -> None:
    density = lw.spectral_density(examples.quadratic(values, rotation_seed=0), num_probes=3, num_steps=60)
    assert density.outliers == pytest.approx(outliers, abs=1e-9)
    assert density.bulk == pytest.approx(bulk, abs=0.02)


@pytest.mark.parametrize("values", [DISTINCT, np.full(30, -2.0), np.zeros(30)], ids=["spread", "one value", "zero"])
def test_the_curve_to_draw(values: np.ndarray) -> None:
    density = lw.spectral_density(examples.quadratic(values), num_probes=2, num_steps=10)
    step = density.grid[1] - density.grid[0]
    assert density.density.sum() * step == pytest.approx(1.0, abs=1e-3)
    assert density.grid[0] < density.smallest <= density.largest < density.grid[-1]
    wide = density.broadened(density.grid, 2 * density.bandwidth)
    assert wide.max() < density.density.max()
    assert not density.density.flags.writeable


def test_a_single_and_a_linear_parameter() -> None:
    single = lw.spectral_density(examples.quadratic([-3.0]), num_probes=2)
    assert (single.smallest, single.largest, single.num_matvecs) == (-3.0, -3.0, 2)
    assert single.trace_ratio.mean == pytest.approx(-1.0)
    flat = lw.spectral_density(slice_problem(lambda x, y: 3 * x - 2 * y), num_probes=2)
    assert (flat.smallest, flat.largest) == (0.0, 0.0)
    assert np.isnan([flat.trace_ratio.mean, flat.dominance]).all()


def test_the_iterator_shows_the_first_run_while_it_goes_on_and_then_the_finished_ones() -> None:
    problem = examples.quadratic(np.linspace(-1, 2, 60), rotation_seed=0)
    made = [make() for make in iter_spectral_density(problem, num_probes=3, num_steps=5)]
    assert [d.num_matvecs for d in made if d.num_probes == 1][:5] == [1, 2, 3, 4, 5]
    assert [len(d.nodes) for d in made[:5]] == [1, 2, 3, 4, 5]
    assert [d.num_probes for d in made] == sorted(d.num_probes for d in made)
    assert all(d.weights.sum() == pytest.approx(1.0) for d in made)
    final = lw.spectral_density(problem, num_probes=3, num_steps=5)
    np.testing.assert_array_equal(made[-1].nodes, final.nodes)
    assert final.num_matvecs == 15


def test_makers_give_the_density_of_their_own_time() -> None:
    problem = examples.quadratic(np.linspace(-1, 2, 60), rotation_seed=0)
    makers = list(iter_spectral_density(problem, num_probes=2, num_steps=4))
    assert [make().num_matvecs for make in makers][:4] == [1, 2, 3, 4]


def test_every_device_and_precision_gets_the_same_probes(device: str) -> None:
    case = make("mlp")
    reference = lw.spectral_density(case.problem(), num_probes=3, num_steps=20)
    x, y = case.data
    single = Problem(case.model.float(), case.loss, (x.float(), y), device=device)
    density = lw.spectral_density(single, num_probes=3, num_steps=20)
    assert density.trace.mean == pytest.approx(reference.trace.mean, rel=1e-4)
    assert density.largest == pytest.approx(reference.largest, rel=1e-4)


def test_arguments() -> None:
    problem = examples.quadratic([1.0, -1.0])
    with pytest.raises(TypeError, match="expected a Problem, got int"):
        lw.spectral_density(3)  # type: ignore[arg-type]
    for settings, message in (
        ({"num_probes": 0}, "expected num_probes of at least 1, got 0"),
        ({"num_steps": -1}, "expected num_steps of at least 1, got -1"),
        ({"seed": -1}, "expected a seed from 0"),
    ):
        with pytest.raises(ValueError, match=message):
            lw.spectral_density(problem, **settings)
    wrong: Any = [1.0]
    with pytest.raises(TypeError, match="expected known as what hessian_directions returned, got list"):
        lw.spectral_density(problem, known=wrong)
    with pytest.raises(ValueError, match="expected nodes, weights and probes of one shape"):
        SpectralDensity(np.zeros(2), np.ones(3), np.zeros(2), 2, 1, 1, 1)


def test_pairs_of_another_problem_are_refused() -> None:
    other = lw.hessian_directions(examples.quadratic([1.0, -1.0]), k=1)
    with pytest.raises(ValueError, match="known pairs of this problem's Hessian, of 3 parameters, got pairs of 2"):
        lw.spectral_density(examples.quadratic([2.0, 1.0, -1.0]), known=other)
