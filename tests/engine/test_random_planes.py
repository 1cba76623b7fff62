"""How often random planes show a minimum, a saddle, a maximum: against exact values, in three ways of finding out."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
import torch

import landscape_widget as lw
from landscape_widget import Estimate, Problem, RandomPlanes, examples
from landscape_widget.engine.random_planes import iter_random_planes

from .problems import dense_hessian, make, slice_problem

# n curvatures of +1, n of −1, Gaussian planes.
EXACT = [(2, math.pi / 4), (3, 3 / 4), (4, 15 * math.pi / 64)]


def brute_force(eigenvalues: np.ndarray, planes: int = 40_000) -> np.ndarray:
    """Shares of planes that curve up, both ways, down, from as many independent planes."""
    rng = np.random.default_rng(0)
    counts = np.zeros(3)
    for _ in range(planes // 4000):
        z, w = rng.standard_normal((2, 4000, len(eigenvalues)))
        a, b, c = (eigenvalues * z * z).sum(1), (eigenvalues * z * w).sum(1), (eigenvalues * w * w).sum(1)
        up, down = (a * c > b * b) & (a > 0), (a * c > b * b) & (a < 0)
        counts += up.sum(), 4000 - up.sum() - down.sum(), down.sum()
    return counts / planes


def shares(planes: RandomPlanes) -> np.ndarray:
    return np.array([planes.minimum.mean, planes.saddle.mean, planes.maximum.mean])


def errors(planes: RandomPlanes) -> np.ndarray:
    return np.array([planes.minimum.sem, planes.saddle.sem, planes.maximum.sem])


@pytest.mark.parametrize(("n", "exact"), EXACT)
@pytest.mark.parametrize("kind", ["none", "unit"])
def test_sampled_saddles_are_as_many_as_computed_exactly(n: int, exact: float, kind: str) -> None:
    off = []
    for seed in range(12 if kind == "none" else 5):
        planes = lw.random_planes(examples.toy_saddle(n, n), 120, kind=kind, seed=seed)
        off.append((planes.saddle.mean - exact) / planes.saddle.sem)
        assert shares(planes).sum() == pytest.approx(1.0)
    assert np.abs(off).max() < 4
    assert np.std(off) < 1.5


@pytest.mark.parametrize(("n", "exact"), EXACT)
def test_saddles_from_the_density(n: int, exact: float) -> None:
    problem = examples.toy_saddle(n, n)
    known = lw.hessian_directions(problem, k=2 * n + 1, tol=1e-8)
    sharp = lw.random_planes_from_density(lw.spectral_density(problem, num_probes=16, num_steps=3, known=known), 40_000)
    noisy = lw.random_planes_from_density(lw.spectral_density(problem, num_probes=16, num_steps=3))
    for planes in (sharp, noisy):
        assert abs(planes.saddle.mean - exact) < 4 * planes.saddle.sem
    assert sharp.saddle.sem < noisy.saddle.sem


@pytest.mark.parametrize(("n", "exact"), EXACT)
def test_saddles_from_the_density_are_not_too_few_on_average(n: int, exact: float) -> None:
    """Any wrong share of the few eigenvalues makes fewer saddles: the bias of 16 probes is subtracted."""
    problem, planes = examples.toy_saddle(n, n), []
    for seed in range(30):
        density = lw.spectral_density(problem, num_probes=16, num_steps=3, seed=seed)
        planes.append(lw.random_planes_from_density(density, seed=seed))
        assert shares(planes[-1]).sum() == pytest.approx(1.0)
    saddles = np.array([each.saddle.mean for each in planes])
    assert abs(saddles.mean() - exact) < 0.02
    assert (np.abs(saddles - exact) < 4 * np.array([each.saddle.sem for each in planes])).all()


@pytest.mark.parametrize("m", [500, 520, 550, 600])
def test_three_ways_agree_where_no_eigenvalue_dominates(m: int) -> None:
    problem = examples.toy_saddle(500, m)
    exact = examples.known.toy_saddle(500, m)
    formula = lw.random_planes_by_formula(Estimate(exact.s, 0.0, 0), dominance=1 / exact.frobenius_norm)
    assert formula.saddle.mean == pytest.approx(math.exp(-(exact.s**2) / 4) / math.sqrt(2))
    assert shares(formula).sum() == pytest.approx(1.0)
    sampled = lw.random_planes(problem, 150)
    simulated = lw.random_planes_from_density(lw.spectral_density(problem, num_probes=12, num_steps=3))
    for planes in (sampled, simulated):
        assert (np.abs(shares(planes) - shares(formula)) < 4 * errors(planes)).all()


def test_the_formula_carries_the_error_of_s() -> None:
    step = 1e-5
    for s in (-2.0, 0.0, 1.3, 4.0):
        below, here, above = (
            lw.random_planes_by_formula(Estimate(s + shift, 0.1, 64), dominance=0.1) for shift in (-step, 0.0, step)
        )
        slope = (shares(above) - shares(below)) / (2 * step)
        np.testing.assert_allclose(errors(here), 0.1 * np.abs(slope), atol=1e-9)
        assert here.saddle.cost == 64


def test_the_formula_is_refused_where_it_does_not_hold() -> None:
    s = Estimate(1.0, 0.1, 64)
    with pytest.raises(ValueError, match=r"expected max\|λ\|/‖H‖_F below 0.3, got 0.45.*sample with random_planes"):
        lw.random_planes_by_formula(s, dominance=0.45)
    with pytest.raises(ValueError, match="not defined for a zero Hessian"):
        lw.random_planes_by_formula(Estimate(math.nan, math.nan, 64), dominance=0.1)
    with pytest.raises(TypeError, match="expected trace_ratio as an Estimate, got 1.0"):
        lw.random_planes_by_formula(1.0, dominance=0.1)  # type: ignore[arg-type]
    with pytest.raises(TypeError, match="expected dominance as a number"):
        lw.random_planes_by_formula(s, dominance="low")  # type: ignore[arg-type]


def test_a_saddle_on_real_data() -> None:
    """Formula 0.686 at s = 0.351; sampled 0.678."""
    problem, exact = examples.digits_saddle(), examples.known.digits_saddle()
    truth = brute_force(exact.eigenvalues[exact.eigenvalues != 0], 8_000)
    assert 0.66 < truth[1] < 0.70
    formula = lw.random_planes_by_formula(Estimate(exact.s, 0.0, 0), float(exact.eigenvalues[0]) / exact.frobenius_norm)
    assert formula.saddle.mean == pytest.approx(0.686, abs=5e-4)
    sampled = lw.random_planes(problem, 100)
    assert (np.abs(shares(sampled) - truth) < 4 * errors(sampled)).all()
    assert abs(sampled.saddle.mean - 0.68) < 0.08
    assert sampled.critical
    density = lw.spectral_density(problem, num_probes=4, num_steps=30)
    simulated = lw.random_planes_from_density(density)
    assert abs(simulated.saddle.mean - truth[1]) < 4 * simulated.saddle.sem


@pytest.mark.parametrize("name", ["mlp", "conv_batchnorm", "attention"])
@pytest.mark.parametrize("kind", ["none", "filter", "layer"])
def test_networks_with_dominant_eigenvalues(name: str, kind: str) -> None:
    """Sampled planes of every kind against as many independent directions as one likes, with the dense Hessian."""
    case = make(name)
    problem, H = case.problem(), dense_hessian(case)
    vectors = torch.stack([d.vector for d in lw.random_directions(problem, 600, normalization=kind, seed=99)])
    forms, gram = (vectors @ H @ vectors.T).numpy(), (vectors @ vectors.T).numpy()
    i, j = np.triu_indices(600, 1)
    a, b, c = forms[i, i], forms[i, j], forms[j, j]
    up, down = (a * c > b * b) & (a > 0), (a * c > b * b) & (a < 0)
    truth = np.array([up.mean(), (a * c < b * b).mean(), down.mean()])
    planes = lw.random_planes(problem, 120, kind=kind, seed=2)
    assert (np.abs(shares(planes) - truth) < 4 * errors(planes)).all()
    # The slice's curvatures in orthonormal coordinates, plane by plane, from an eigenvalue routine.
    some = np.random.default_rng(0).choice(len(i), 2000, replace=False)
    pairs = np.stack([i[some], j[some]], 1)
    D, G = gram[pairs[:, :, None], pairs[:, None]], forms[pairs[:, :, None], pairs[:, None]]
    kappa = np.sort(np.linalg.eigvals(np.linalg.solve(D, G)).real, axis=1).mean(0)
    assert planes.curvatures is not None
    for estimate, value in zip(planes.curvatures, kappa, strict=True):
        assert abs(estimate.mean - value) < 4 * math.hypot(estimate.sem, estimate.sem * math.sqrt(120 / 600))
    assert planes.critical is False
    assert planes.kind == kind


def test_planes_of_unit_axes_follow_from_the_spectrum_and_normalized_ones_do_not() -> None:
    density = lw.spectral_density(examples.toy_saddle(4, 4), num_probes=4, num_steps=3)
    ratio = lw.Estimate(0.5, 0.1, 9)
    for kind in ("none", "unit"):
        simulated, formula = (
            lw.random_planes_from_density(density, 100, kind=kind),
            lw.random_planes_by_formula(ratio, 0.1, kind=kind),
        )
        assert simulated.kind == formula.kind == kind
        assert shares(simulated).tolist() == shares(lw.random_planes_from_density(density, 100)).tolist()
        assert shares(formula).tolist() == shares(lw.random_planes_by_formula(ratio, 0.1)).tolist()
    for kind in ("filter", "layer"):
        message = f"expected kind 'none' or 'unit', got '{kind}': what {kind}-normalized planes show does not follow"
        with pytest.raises(ValueError, match=message):
            lw.random_planes_from_density(density, kind=kind)
        with pytest.raises(ValueError, match=message):
            lw.random_planes_by_formula(ratio, 0.1, kind=kind)
    for wrong, error in (("sphere", ValueError), (1, TypeError)):
        with pytest.raises(error, match="expected kind 'none', 'unit', 'filter', 'layer', got"):
            lw.random_planes_from_density(density, kind=wrong)  # type: ignore[arg-type]
        with pytest.raises(error, match="expected kind 'none', 'unit', 'filter', 'layer', got"):
            lw.random_planes(examples.toy_saddle(4, 4), kind=wrong)  # type: ignore[arg-type]


def test_results_tell_how_products_were_made() -> None:
    problem = make("mlp").problem()
    H = lw.Hessian(problem)
    _ = H @ problem.point
    density = lw.spectral_density(problem, num_probes=2, num_steps=3)
    for result in (
        *(lw.spectral_moments(problem, 6, method=method) for method in ("hutchinson", "hutch++")),
        *(density, density.without_probe(0), lw.random_planes_from_density(density, 10), lw.random_planes(problem, 4)),
    ):
        assert result.products == H.method != ""
    assert lw.spectral_moments(problem, 2, method="forward").products is None
    assert lw.random_planes_by_formula(lw.Estimate(1.0, 0.1, 9), 0.1).products is None
    known = examples.quadratic([3.0, 1.0, -1.0])
    assert lw.spectral_density(known, known=lw.hessian_directions(known, k=2)).products is None


def test_kinds_see_different_operators() -> None:
    problem = make("conv_batchnorm").problem()
    gaussian, unit, filtered = (lw.random_planes(problem, 60, kind=kind) for kind in ("none", "unit", "filter"))
    np.testing.assert_allclose(shares(gaussian), shares(unit))
    assert gaussian.curvatures is not None
    assert filtered.curvatures is not None
    assert gaussian.curvatures[1].mean != pytest.approx(filtered.curvatures[1].mean, rel=0.1)


def test_one_sided_flat_and_zero_hessians() -> None:
    down = lw.random_planes(examples.quadratic([-1.0, -2.0, -3.0]), 20)
    assert shares(down).tolist() == [0.0, 0.0, 1.0]
    # That all agree is no proof: the error is that of ten separate planes.
    assert down.maximum.sem == pytest.approx(math.sqrt(11 / (144 * 13)))
    for values in ([0.0, 0.0, 0.0], [5.0, 0.0, 0.0]):  # zero; one curved line only
        flat = lw.random_planes(examples.quadratic(values, rotation_seed=0), 20)
        assert shares(flat).tolist() == [0.0, 0.0, 0.0]
        assert flat.flat == 1.0
        assert flat.in_words().startswith(
            "Of random planes with Gaussian axes, all are flat along some line at the trained"
        )
        assert "±" not in flat.in_words()
    linear = lw.random_planes(slice_problem(lambda x, y: 3 * x - 2 * y), 5)
    assert linear.flat == 1.0
    assert linear.critical is False
    zero = lw.spectral_density(examples.quadratic([0.0, 0.0]), num_probes=2)
    assert lw.random_planes_from_density(zero, 100).flat == 1.0


def test_words_claim_a_minimum_only_at_a_critical_point() -> None:
    at, off = (lw.random_planes(slice_problem(lambda x, y: x * x + y * y, at=(t, 0.0)), 10) for t in (0.0, 0.5))
    assert (at.critical, off.critical) == (True, False)
    assert "100 ± 12 % show a minimum" in at.in_words()
    assert "minimum" not in off.in_words()
    assert "100 ± 12 % curve upwards both ways" in off.in_words()
    assert off.gradient_norm == pytest.approx(1.0)


def test_words_tell_of_planes_that_are_flat_among_others() -> None:
    rare = Estimate(0.2, 0.01, 9)
    assert "20 ± 1 % downwards both ways, 40 % are flat" in RandomPlanes("none", "sampled", rare, rare, rare).in_words()
    third = Estimate(1 / 3, 0.01, 9)
    assert "flat" not in RandomPlanes("none", "sampled", third, third, third).in_words()


def test_directions_that_are_not_kept_are_made_again(monkeypatch: pytest.MonkeyPatch) -> None:
    problem = make("mlp").problem()
    kept = lw.random_planes(problem, 12)
    monkeypatch.setattr("landscape_widget.engine.random_planes._KEPT_BYTES", 1000)
    monkeypatch.setattr("landscape_widget.engine.probes._SLICE", 1)
    made = lw.random_planes(problem, 12)
    np.testing.assert_allclose(shares(made), shares(kept))
    assert made.curvatures is not None
    assert kept.curvatures is not None
    assert made.curvatures[0].mean == pytest.approx(kept.curvatures[0].mean, rel=1e-10)


def test_the_iterator_ends_at_the_same_and_costs_a_product_a_direction() -> None:
    problem = make("mlp").problem()
    every = list(iter_random_planes(problem, 40))
    assert [planes.saddle.cost for planes in every] == [16, 32, 40]
    assert every[-1] == lw.random_planes(problem, 40)


def test_large_spectra_are_simulated_by_outliers_and_a_normal_bulk() -> None:
    values = np.r_[8.0, 6.0, -7.0, np.random.default_rng(3).normal(0.02, 0.1, 700)]
    problem = examples.quadratic(values, rotation_seed=0)
    known = lw.hessian_directions(problem, k=2, tol=1e-6)
    planes = lw.random_planes_from_density(
        lw.spectral_density(problem, num_probes=3, num_steps=30, known=known), 20_000
    )
    assert (np.abs(shares(planes) - brute_force(values, 12_000)) < 4 * errors(planes) + 0.01).all()
    assert planes.saddle.sem < 0.05  # of three probes, widened for so few


def test_every_device_and_precision_gets_the_same_planes(device: str) -> None:
    case = make("mlp")
    reference = lw.random_planes(case.problem(), 30)
    x, y = case.data
    planes = lw.random_planes(Problem(case.model.float(), case.loss, (x.float(), y), device=device), 30)
    np.testing.assert_allclose(shares(planes), shares(reference), atol=0.01)


def test_arguments() -> None:
    problem = examples.quadratic([1.0, -1.0])
    with pytest.raises(TypeError, match="expected a Problem, got int"):
        lw.random_planes(3)  # type: ignore[arg-type]
    wrong: tuple[tuple[dict[str, Any], str], ...] = (
        ({"num_probes": 2}, "expected num_probes of at least 3"),
        ({"num_probes": 0}, "expected num_probes of at least 1"),
        ({"kind": "sphere"}, "expected kind 'none', 'unit', 'filter', 'layer', got 'sphere'"),
        ({"kind": "filter"}, "expected parameters that filter-normalized directions can move, got none"),
        ({"seed": -1}, "expected a seed from 0"),
    )
    for settings, message in wrong:
        with pytest.raises(ValueError, match=message):
            lw.random_planes(problem, **settings)
    with pytest.raises(ValueError, match="at least two parameters, got one"):
        lw.random_planes(examples.quadratic([1.0]))
    with pytest.raises(ValueError, match="at least two parameters, got one"):
        lw.random_planes_from_density(lw.spectral_density(examples.quadratic([1.0])))
    with pytest.raises(TypeError, match="expected density as what spectral_density returned, got Problem"):
        lw.random_planes_from_density(problem)  # type: ignore[arg-type]


@pytest.mark.parametrize("sem", [math.inf, math.nan])
def test_the_formula_wants_to_know_how_sure_s_is(sem: float) -> None:
    with pytest.raises(ValueError, match="expected a trace ratio with a finite error"):
        lw.random_planes_by_formula(lw.Estimate(1.0, sem, 1), 0.1)
