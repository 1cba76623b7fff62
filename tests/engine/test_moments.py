"""Trace, Frobenius norm, their ratio and the mean curvature: against dense truth, with products and from losses alone."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

import landscape_widget as lw
from landscape_widget import Estimate, Problem, SpectralMoments, examples
from landscape_widget.engine.forward_only import ForwardDifferences
from landscape_widget.engine.moments import iter_spectral_moments, iter_trace
from landscape_widget.engine.probes import Probes
from landscape_widget.examples.networks import Quadratic as QuadraticForm
from landscape_widget.examples.networks import own_value
from landscape_widget.spectrum import jackknife, standard_error

from .problems import dense_hessian, make, slice_problem

# One outlier, a bulk, a negative end: in eigenvectors of no special direction.
SPECTRUM = np.r_[6.0, np.linspace(-1, 2, 80), -2.0]
SPECTRA = ["mlp", "conv_batchnorm", "tied", "frozen", "unused", "lstm", "attention", "dict_batches", "own_loss"]
QUANTITIES = ("trace", "frobenius_norm", "trace_ratio", "mean_curvature")


def truth(eigenvalues: np.ndarray) -> dict[str, float]:
    trace, norm = float(eigenvalues.sum()), float(np.linalg.norm(eigenvalues))
    return dict(zip(QUANTITIES, (trace, norm, trace / norm, trace / len(eigenvalues)), strict=True))


def scores(moments: SpectralMoments, eigenvalues: np.ndarray) -> list[float]:
    """How many standard errors each estimate is off, and beyond round-off."""
    off = []
    for quantity, value in truth(eigenvalues).items():
        estimate = getattr(moments, quantity)
        off.append((estimate.mean - value) / (estimate.sem + 1e-12 * np.abs(eigenvalues).sum()))
    return off


@pytest.mark.parametrize("method", ["hutchinson", "hutch++"])
@pytest.mark.parametrize("probes", ["rademacher", "gaussian"])
def test_estimates_are_within_four_errors_on_fifty_seeds(method: str, probes: str) -> None:
    problem = examples.quadratic(SPECTRUM, rotation_seed=1)
    off = np.array(
        [
            scores(lw.spectral_moments(problem, 90, method=method, probes=probes, seed=seed), SPECTRUM)
            for seed in range(50)
        ]
    )
    assert np.abs(off).max() < 4
    # The errors are neither too small nor too large: the scores are spread like standard normal ones.
    assert ((off.std(axis=0) > 0.7) & (off.std(axis=0) < 1.4)).all()
    assert (np.abs(off.mean(axis=0)) < 0.6).all()


@pytest.mark.parametrize("name", SPECTRA)
@pytest.mark.parametrize("probes", ["rademacher", "gaussian"])
@pytest.mark.parametrize("method", ["hutchinson", "hutch++", "forward"])
def test_squares_of_few_probes_are_within_four_errors_on_fifty_seeds(name: str, probes: str, method: str) -> None:
    """Skewed to the right: where their mean is too small their spread is, too, so that plain errors would be passed."""
    eigenvalues, vectors = torch.linalg.eigh(dense_hessian(make(name)))
    # The same Hessian, whose products cost next to nothing.
    problem = Problem(QuadraticForm(eigenvalues, vectors), own_value)
    exact = truth(eigenvalues.numpy())
    off = []
    for seed in range(50):
        moments = lw.spectral_moments(problem, 64, method=method, probes=probes, seed=seed)
        for quantity in ("frobenius_norm", "trace_ratio"):
            estimate = getattr(moments, quantity)
            off.append((estimate.mean - exact[quantity]) / (estimate.sem + 1e-12))
    assert np.abs(off).max() < 4
    if moments.trace.sem:  # else everything was measured
        assert 0.6 < np.std(off) < 1.2


@pytest.mark.parametrize("skewed", [False, True])
def test_errors_of_squares_are_widened_by_no_more_than_they_need(skewed: bool) -> None:
    """Of 64 nearly normal ones by less than a tenth, of Gaussian squares, with skewness √8, by about a half."""
    draw = np.random.default_rng(0).standard_normal((200, 64))
    samples = draw**2 if skewed else 3 + draw
    factors = [jackknife(np.sqrt, row)[1] * 2 * np.sqrt(row.mean()) / standard_error(row) for row in samples]
    low, high = (1.3, 1.6) if skewed else (1.05, 1.2)
    assert low < np.median(factors) < high


@pytest.mark.parametrize("name", ["mlp", "conv_batchnorm", "tied", "frozen", "attention", "dict_batches"])
@pytest.mark.parametrize("method", ["hutchinson", "hutch++", "forward"])
def test_networks(name: str, method: str) -> None:
    case = make(name)
    eigenvalues = torch.linalg.eigvalsh(dense_hessian(case)).numpy()
    moments = lw.spectral_moments(case.problem(), 100, method=method, seed=3)
    assert np.abs(scores(moments, eigenvalues)).max() < 4
    assert moments.trace.sem < 0.15 * np.abs(eigenvalues).sum()


@pytest.mark.parametrize("method", ["hutchinson", "hutch++", "forward"])
@pytest.mark.parametrize(("m", "s"), [(500, 0.0), (520, 1.265), (550, 3.162), (600, 6.325)])
def test_trace_ratio_of_the_toy_saddle(m: int, s: float, method: str) -> None:
    estimate = lw.trace_ratio(examples.toy_saddle(500, m), 60, method=method, probes="gaussian")
    assert abs(estimate.mean - s) < 4 * estimate.sem
    assert estimate.sem < 1.0
    # A diagonal Hessian's trace, and with products its norm, is the same for every ±1 probe.
    exact = lw.spectral_moments(examples.toy_saddle(500, m), 3, method=method)
    if method != "hutch++":
        assert exact.trace.mean == pytest.approx(2 * m - 1000, abs=1e-9)
    if method == "hutchinson":
        assert exact.trace_ratio.mean == pytest.approx(s, abs=5e-4)
        assert exact.trace_ratio.sem < 1e-12


def test_hutch_plus_plus_is_exact_where_its_sketch_holds_the_range() -> None:
    eigenvalues = np.r_[5.0, 3.0, 1.0, -2.0, -4.0, np.zeros(195)]
    problem = examples.quadratic(eigenvalues, rotation_seed=0)
    moments = lw.spectral_moments(problem, 24, method="hutch++")
    for quantity, value in truth(eigenvalues).items():
        estimate = getattr(moments, quantity)
        assert estimate.mean == pytest.approx(value, abs=1e-12)
        assert estimate.sem < 1e-12
    # Five products suffice for five eigenvalues; the others of the third kept for the sketch's share go to the rest.
    assert moments.trace.cost == 24


def test_hutch_plus_plus_over_the_whole_space_spends_no_more() -> None:
    moments = lw.spectral_moments(examples.quadratic([3.0, 1.0, -1.0], rotation_seed=0), 30, method="hutch++")
    assert moments.trace.mean == pytest.approx(3.0)
    assert moments.frobenius_norm.mean == pytest.approx(math.sqrt(11))
    assert (moments.trace.sem, moments.trace_ratio.sem, moments.trace.cost) == (0.0, 0.0, 6)


def test_hutch_plus_plus_is_exact_where_products_suffice_for_every_direction() -> None:
    values = np.linspace(-1.0, 3.0, 40)
    problem = examples.quadratic(values, rotation_seed=0)
    exact, sampled = (lw.spectral_moments(problem, count, method="hutch++") for count in (60, 57))
    assert exact.trace.mean == pytest.approx(values.sum(), abs=1e-12)
    assert exact.frobenius_norm.mean == pytest.approx(np.linalg.norm(values), abs=1e-12)
    assert (exact.trace.sem, exact.trace.cost) == (0.0, 60)
    assert sampled.trace.sem > 0


def test_hutch_plus_plus_needs_fewer_products_for_a_decaying_spectrum() -> None:
    eigenvalues = 1.0 / np.arange(1, 200) ** 2
    problem = examples.quadratic(eigenvalues, rotation_seed=0)
    errors = {
        method: [lw.trace(problem, 60, method=method, seed=seed).mean - eigenvalues.sum() for seed in range(20)]
        for method in ("hutchinson", "hutch++")
    }
    assert np.std(errors["hutch++"]) < 0.1 * np.std(errors["hutchinson"])


@pytest.mark.parametrize("method", ["hutchinson", "hutch++", "forward"])
def test_costs_count_products_or_passes(method: str, monkeypatch: pytest.MonkeyPatch) -> None:
    problem = make("mlp").problem()
    passes = 0
    evaluate = problem.losses

    def counted(points: torch.Tensor) -> np.ndarray:
        nonlocal passes
        passes += len(points)
        return evaluate(points)

    monkeypatch.setattr(problem, "losses", counted)
    estimate = lw.spectral_moments(problem, 31, method=method).trace_ratio
    if method == "forward":
        assert estimate.unit == "passes over the data"
        assert estimate.cost == passes > 6 * 31
        only = lw.trace(problem, 31, method=method), lw.frobenius_norm(problem, 31, method=method)
        assert only[0].cost < only[1].cost < estimate.cost
    else:
        assert (estimate.cost, estimate.unit, estimate.bias, passes) == (31, "Hessian-vector products", None, 0)


def test_each_function_gives_what_the_moments_hold() -> None:
    problem = make("mlp").problem()
    for method in ("hutchinson", "hutch++", "forward"):
        moments = lw.spectral_moments(problem, 20, method=method, seed=7)
        for quantity in QUANTITIES:
            alone, together = getattr(lw, quantity)(problem, 20, method=method, seed=7), getattr(moments, quantity)
            assert (alone.mean, alone.sem) == pytest.approx((together.mean, together.sem), rel=1e-12)


@pytest.mark.parametrize("method", ["hutchinson", "hutch++", "forward"])
def test_iterators_end_at_the_same_estimate_and_improve(method: str) -> None:
    problem = examples.quadratic(SPECTRUM, rotation_seed=1)
    estimates = list(iter_trace(problem, 90, method=method))
    assert estimates[-1] == lw.trace(problem, 90, method=method)
    assert len(estimates) >= 4
    assert [e.cost for e in estimates] == sorted(e.cost for e in estimates)
    assert estimates[-1].sem < estimates[0].sem
    *_, last = iter_spectral_moments(problem, 90, method=method)
    assert last.trace.mean == pytest.approx(estimates[-1].mean, rel=1e-12)


def test_a_single_probe_tells_nothing_of_its_error() -> None:
    moments = lw.spectral_moments(examples.quadratic(SPECTRUM, rotation_seed=1), 1)
    assert moments.trace.sem == moments.trace_ratio.sem == math.inf
    assert math.isfinite(moments.trace.mean)


@pytest.mark.parametrize("method", ["hutchinson", "hutch++", "forward"])
def test_one_sided_zero_and_single_spectra(method: str) -> None:
    negative = lw.spectral_moments(examples.quadratic([-1.0, -2.0, -2.0]), 200, method=method)
    assert abs(negative.trace.mean + 5) <= 4 * negative.trace.sem + 1e-6
    assert abs(negative.trace_ratio.mean + 5 / 3) <= 4 * negative.trace_ratio.sem + 1e-6
    zero = lw.spectral_moments(slice_problem(lambda x, y: 3 * x - 2 * y), 9, method=method)
    assert (zero.trace.mean, zero.frobenius_norm.mean) == pytest.approx((0.0, 0.0), abs=1e-6)
    if method != "forward":  # whose differences are never quite zero
        assert math.isnan(zero.trace_ratio.mean)
        assert math.isnan(zero.trace_ratio.sem)
    single = lw.spectral_moments(examples.quadratic([-3.0]), 9, method=method)
    assert (single.trace.mean, single.frobenius_norm.mean) == pytest.approx((-3.0, 3.0))
    assert single.trace_ratio.mean == pytest.approx(-1.0)


def test_estimates_are_the_same_however_probes_are_sliced(monkeypatch: pytest.MonkeyPatch) -> None:
    problem = make("mlp").problem()
    before = lw.spectral_moments(problem, 40)
    monkeypatch.setattr("landscape_widget.engine.probes._SLICE", 1)
    after = lw.spectral_moments(problem, 40)
    assert after.trace.mean == pytest.approx(before.trace.mean, rel=1e-12)
    assert after.frobenius_norm.sem == pytest.approx(before.frobenius_norm.sem, rel=1e-9)


@pytest.mark.parametrize("method", ["hutchinson", "hutch++", "forward"])
def test_every_device_and_precision_gets_the_same_probes(device: str, method: str) -> None:
    case = make("mlp")
    reference = lw.spectral_moments(case.problem(), 24, method=method)
    x, y = case.data
    single = Problem(case.model.float(), case.loss, (x.float(), y), device=device)
    got = lw.spectral_moments(single, 24, method=method)
    assert got.trace.mean == pytest.approx(reference.trace.mean, rel=2e-3, abs=2e-3)
    assert got.frobenius_norm.mean == pytest.approx(reference.frobenius_norm.mean, rel=2e-3)


@pytest.mark.parametrize("distribution", ["rademacher", "gaussian"])
def test_probes_are_isotropic(distribution: str) -> None:
    (vectors,) = Probes(torch.zeros(5, dtype=torch.float64), distribution, 0).slices(16)
    many = torch.cat([vectors, *Probes(torch.zeros(5, dtype=torch.float64), distribution, 1).slices(20_000)])
    covariance = many.T @ many / len(many)
    assert float((covariance - torch.eye(5)).abs().max()) < 0.05


# From losses alone


@pytest.mark.parametrize("distribution", ["rademacher", "gaussian"])
def test_differences_agree_with_products_along_the_same_directions(distribution: str) -> None:
    problem = make("mlp").problem()
    H = lw.Hessian(problem)
    differences = ForwardDifferences(problem, distribution=distribution, seed=4)
    probes = Probes(problem.point, distribution, 4)
    for second, mixed in differences.samples(6, trace=True, squares=True):
        d, e = probes.draw(), probes.draw()
        assert second == pytest.approx(float(d @ (H @ d)), rel=0.05, abs=0.05)
        assert math.sqrt(mixed) == pytest.approx(abs(float(e @ (H @ d))), rel=0.05, abs=0.05)


def test_the_mixed_stencil_squares_to_the_frobenius_norm_for_both_distributions() -> None:
    """E B² = ‖H‖_F² needs independent isotropic directions only."""
    eigenvalues = np.array([3.0, 1.0, -1.0, -2.0, 0.5])
    problem = examples.quadratic(eigenvalues, rotation_seed=2)
    for probes in ("rademacher", "gaussian"):
        estimate = lw.frobenius_norm(problem, 1200, method="forward", probes=probes)
        assert estimate.sem < 0.05 * np.linalg.norm(eigenvalues)
        assert abs(estimate.mean - np.linalg.norm(eigenvalues)) < 4 * estimate.sem


class Quartic(nn.Module):
    """½ Σ λθ² + c Σ θ⁴: a bias of a known sign."""

    def __init__(self, c: float, offset: float = 0.0, dtype: torch.dtype = torch.float64) -> None:
        super().__init__()
        self.theta = nn.Parameter(torch.zeros(20, dtype=dtype))
        self.c, self.offset = c, offset

    def forward(self) -> torch.Tensor:
        return (0.5 * self.theta**2 + self.c * self.theta**4).sum() + self.offset


def whole(model: nn.Module, _batch: Any) -> torch.Tensor:
    return model()


def test_the_bias_of_a_step_is_seen_from_half_of_it() -> None:
    differences = ForwardDifferences(Problem(Quartic(1.0), whole), distribution="rademacher", seed=0)
    (sample,) = differences.samples(1, trace=True, squares=False)
    error = sample[0] - 20.0
    assert error > 0
    assert differences.biases()[0] == pytest.approx(error, rel=1e-6)


def test_the_step_follows_the_loss_where_theta_gives_no_scale() -> None:
    """At θ = 0 a loss that bends within 1e-3 gets a smaller step than one that does not."""
    bent = ForwardDifferences(Problem(Quartic(1e6), whole), distribution="rademacher", seed=0)
    straight = ForwardDifferences(Problem(Quartic(0.0), whole), distribution="rademacher", seed=0)
    assert bent.step < 0.1 * straight.step
    estimate = lw.trace(Problem(Quartic(1e6), whole), 8, method="forward", probes="gaussian")
    assert estimate.bias is not None
    assert abs(estimate.mean - 20) < 4 * estimate.sem + abs(estimate.bias)


def test_round_off_is_told_and_makes_the_step_grow() -> None:
    precise = ForwardDifferences(Problem(Quartic(0.0), whole), distribution="rademacher", seed=0)
    model = Quartic(0.0, offset=300.0, dtype=torch.float32)
    problem = Problem(model, whole)
    rough = ForwardDifferences(problem, distribution="rademacher", seed=0)
    assert rough.step > 1.5 * precise.step
    assert rough.round_off == pytest.approx(2 * np.finfo(np.float32).eps * 300 / rough.step**2)
    with pytest.warns(UserWarning, match=r"trace of .* from losses alone may be off by .* truncation or round-off"):
        estimate = lw.trace(problem, 4, method="forward")
    assert estimate.bias is not None
    assert abs(estimate.mean - 20) < max(2 * abs(estimate.bias), 4 * estimate.sem)


def test_losses_that_are_not_finite_nearby_are_told() -> None:
    problem = slice_problem(lambda x, y: torch.log(x) + torch.sqrt(y), at=(1e-320, 1e-320))
    with pytest.raises(FloatingPointError, match=r'expected finite losses near θ, got NaN or inf.*method="hutchinson"'):
        lw.trace(problem, 4, method="forward")


def test_products_that_are_not_finite_are_told() -> None:
    problem = slice_problem(lambda x, y: torch.abs(x) ** 1.5 + y, at=(0.0, 1.0))
    with pytest.raises(FloatingPointError, match="expected finite Hessian-vector products"):
        lw.trace(problem, 4)


# Arguments


@pytest.mark.parametrize("function", [lw.trace, lw.frobenius_norm, lw.trace_ratio, lw.mean_curvature, iter_trace])
def test_arguments(function: Any) -> None:
    problem = examples.quadratic([1.0, -1.0])
    with pytest.raises(TypeError, match="expected a Problem, got Linear"):
        function(nn.Linear(2, 1))
    with pytest.raises(ValueError, match="expected num_probes of at least 1, got 0"):
        function(problem, 0)
    with pytest.raises(TypeError, match="expected num_probes as an integer, got 2.5"):
        function(problem, 2.5)
    with pytest.raises(TypeError, match="expected seed as an integer"):
        function(problem, seed="a")
    with pytest.raises(ValueError, match=r"expected method 'hutchinson', 'hutch\+\+', 'forward', got 'exact'"):
        function(problem, method="exact")
    with pytest.raises(ValueError, match="expected probes 'rademacher', 'gaussian', got 'uniform'"):
        function(problem, probes="uniform")


def test_an_estimate_is_a_plain_value() -> None:
    assert Estimate(1.0, 0.5, 3) == Estimate(1.0, 0.5, 3, unit="Hessian-vector products", bias=None)
