"""The survey: every cell is the loss at its labelled coordinate, whatever happens meanwhile."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from landscape_widget import (
    Direction,
    Landscape,
    Problem,
    compute,
    examples,
    hessian_directions,
    load,
    random_directions,
    survey,
)
from landscape_widget.display import Display
from landscape_widget.engine.directions import as_direction
from landscape_widget.engine.grid import Grid
from landscape_widget.engine.operators import Hessian
from landscape_widget.engine.plane import Plane
from landscape_widget.engine.plane_survey import PlaneSurvey, axis_curvature, facts

from .problems import AXES, dense_hessian, make, slice_problem


def tilted() -> Problem:
    """L(x, y) = x + 10y: tells rows from columns."""
    return slice_problem(lambda x, y: x + 10 * y)


def exact(function: Callable[[Tensor, Tensor], Tensor], landscape: Landscape) -> np.ndarray:
    x, y = np.meshgrid(landscape.alphas, landscape.betas)
    return function(torch.as_tensor(x), torch.as_tensor(y)).numpy()


def plane_survey(problem: Problem, directions: Any = AXES, **settings: Any) -> PlaneSurvey:
    x, y = (as_direction(problem, d, i) for i, d in enumerate(directions))
    return PlaneSurvey(problem, Plane(problem.point, (x, y)), facts(problem), **settings)


def finish(run: PlaneSurvey) -> Landscape:
    while run.step():
        pass
    return run.landscape()


# Coordinates.


@pytest.mark.parametrize("resolution", [(9, 5), (5, 9), (17, 33), (65, 5), (5, 5)])
def test_every_cell_is_the_loss_at_its_coordinate(resolution: tuple[int, int]) -> None:
    landscape = compute(tilted(), directions=AXES, resolution=resolution, span=(2.0, 0.5), tolerance=0, progress=False)
    assert landscape.losses.shape == (resolution[1], resolution[0])
    assert landscape.alphas[[0, -1]].tolist() == [-2, 2]
    assert landscape.betas[[0, -1]].tolist() == [-0.5, 0.5]
    np.testing.assert_allclose(landscape.losses, landscape.alphas[None] + 10 * landscape.betas[:, None], atol=1e-14)
    assert landscape.alphas[resolution[0] // 2] == landscape.betas[resolution[1] // 2] == 0
    np.testing.assert_array_equal(landscape.alphas, -landscape.alphas[::-1])


def test_every_cell_of_a_network_is_its_loss_there() -> None:
    """Independent of the engine: the weights are put into the user's own model."""
    case = make("conv_batchnorm")
    problem = case.problem()
    x, y = (torch.randn(problem.num_parameters, generator=torch.Generator().manual_seed(i)).double() for i in (0, 1))
    landscape = compute(problem, directions=(x, y), resolution=(5, 9), span=(0.3, 0.1), tolerance=0, progress=False)
    model = case.model.eval()
    for row, beta in enumerate(landscape.betas):
        for column, alpha in enumerate(landscape.alphas):
            torch.nn.utils.vector_to_parameters(problem.point + alpha * x + beta * y, model.parameters())
            assert landscape.losses[row, column] == pytest.approx(float(case.whole(model).detach()), rel=1e-12)


@pytest.mark.parametrize("make_problem", [lambda: make("mlp").problem(), examples.digits_mlp, examples.regression])
def test_the_centre_cell_is_the_loss_bit_for_bit(make_problem: Callable[[], Problem]) -> None:
    problem = make_problem()
    landscape = compute(problem, resolution=5, span=0.1, tolerance=0, progress=False)
    assert landscape.losses[2, 2] == problem.loss() == landscape.recipe.center_loss


def test_default_axes_are_both_ends_of_the_spectrum() -> None:
    """[10, 9, 1, −1]: tools that order by |λ| show a bowl."""
    landscape = compute(examples.quadratic([10.0, 9.0, 1.0, -1.0]), resolution=17, tolerance=0, progress=False)
    x, y = landscape.recipe.directions
    assert (x.key, y.key) == ("largest-1", "smallest-1")
    assert (x.curvature, y.curvature) == (pytest.approx(10), pytest.approx(-1))
    assert [p.kind for p in landscape.critical] == ["saddle"]
    expected = 5 * landscape.alphas[None] ** 2 - 0.5 * landscape.betas[:, None] ** 2
    np.testing.assert_allclose(landscape.losses, expected, atol=1e-12)


def test_slices_of_the_toy_saddle_are_exact() -> None:
    """The slice is ½(1 + α d₁,N + β d₂,N)(Aα² + 2Bαβ + Cβ²) on any plane (theory.md §3)."""
    problem = examples.toy_saddle(5, 7)
    generator = torch.Generator().manual_seed(0)
    x, y = torch.randn(2, 11, generator=generator, dtype=torch.float64)
    landscape = compute(problem, directions=(x, y), resolution=(9, 17), span=(1.0, 2.0), tolerance=0, progress=False)
    a, b, c = landscape.recipe.axis_curvature or (0, 0, 0)
    signs = torch.tensor([1.0] * 7 + [-1.0] * 3 + [0.0], dtype=torch.float64)
    assert (a, b, c) == pytest.approx((float(x @ (signs * x)), float(x @ (signs * y)), float(y @ (signs * y))))
    alpha, beta = np.meshgrid(landscape.alphas, landscape.betas)
    expected = (
        0.5 * (1 + alpha * float(x[-1]) + beta * float(y[-1])) * (a * alpha**2 + 2 * b * alpha * beta + c * beta**2)
    )
    np.testing.assert_allclose(landscape.losses, expected, atol=1e-12)


def test_predicted_cells_are_within_the_bound() -> None:
    problem = make("mlp").problem()
    settings: dict[str, Any] = {"resolution": 65, "span": 0.5, "progress": False}
    landscape, full = compute(problem, tolerance=1e-3, **settings), compute(problem, tolerance=0, **settings)
    assert landscape.complete
    assert landscape.num_measured < 1000
    assert full.measured.all()
    error = np.abs(landscape.surface() - full.losses)
    assert landscape.error.bound is not None
    assert 0 < landscape.error.bound <= 1e-3 * np.ptp(full.losses)
    assert (error <= landscape.error.bound).mean() >= 0.98
    np.testing.assert_array_equal(landscape.losses[landscape.measured], full.losses[landscape.measured])


# What is not finite.


def test_holes_stay_and_do_not_paint_the_rest() -> None:
    def function(x: Tensor, y: Tensor) -> Tensor:
        return torch.where(y > 0.6, torch.inf, torch.log(1 + x.abs() - 2 * (x < 0) * x.abs()) + y)

    landscape = compute(
        slice_problem(function), directions=AXES, resolution=17, span=(2.0, 1.0), tolerance=1e-3, progress=False
    )
    x, y = np.meshgrid(landscape.alphas, landscape.betas)
    assert landscape.measured.all()
    np.testing.assert_array_equal(landscape.losses, exact(function, landscape))
    np.testing.assert_array_equal(np.isposinf(landscape.losses), y > 0.6)
    np.testing.assert_array_equal(np.isnan(landscape.losses), (x < -1) & (y <= 0.6))
    np.testing.assert_array_equal(np.isneginf(landscape.losses), (x == -1) & (y <= 0.6))
    np.testing.assert_array_equal(landscape.surface(), landscape.losses)


def test_negative_losses_and_holes_survive_saving(tmp_path: Any) -> None:
    landscape = compute(
        slice_problem(lambda x, y: torch.log(x + 0.5) - y),
        directions=AXES,
        resolution=(5, 9),
        span=1.0,
        tolerance=0,
        progress=False,
    )
    landscape.save(tmp_path / "net.npz", keep_directions=True)
    loaded = load(tmp_path / "net.npz")
    np.testing.assert_array_equal(loaded.losses, landscape.losses)
    assert loaded.recipe == landscape.recipe
    assert loaded.error == landscape.error
    again = compute(
        slice_problem(lambda x, y: torch.log(x + 0.5) - y),
        directions=loaded.recipe.directions,
        resolution=(5, 9),
        span=1.0,
        tolerance=0,
        progress=False,
    )
    np.testing.assert_array_equal(again.losses, landscape.losses)


# Coarse to fine.


def test_landscapes_only_get_better() -> None:
    problem = make("mlp").problem()
    before = None
    for landscape in survey(problem, resolution=33, tolerance=0):
        assert landscape.losses.shape == (33, 33)
        if before is not None:
            assert landscape.measured[before.measured].all()
            np.testing.assert_array_equal(landscape.losses[before.measured], before.losses[before.measured])
            np.testing.assert_array_equal(landscape.alphas, before.alphas)
            assert landscape.recipe == before.recipe  # a survey never changes its axes or its window
        before = landscape
    assert before is not None
    assert before.measured.all()


def test_abandoned_half_way_and_begun_again() -> None:
    problem = make("mlp").problem()
    reference = compute(problem, resolution=17, tolerance=0, progress=False)
    for _ in zip(range(3), survey(problem, resolution=17, tolerance=0), strict=False):
        pass
    again = compute(problem, resolution=17, tolerance=0, progress=False)
    np.testing.assert_array_equal(again.losses, reference.losses)
    assert problem.loss() == reference.recipe.center_loss


def counted(monkeypatch: pytest.MonkeyPatch) -> list[tuple[float, float]]:
    """Points of planes whose loss was measured."""
    points: list[tuple[float, float]] = []
    measure = Problem.iter_plane_losses

    def counting(self: Problem, plane: Plane, alphas: Any, betas: Any) -> Any:
        points.extend(zip(map(float, alphas), map(float, betas), strict=True))
        return measure(self, plane, alphas, betas)

    monkeypatch.setattr(Problem, "iter_plane_losses", counting)
    return points


def test_no_cell_is_measured_twice_at_any_resolution(monkeypatch: pytest.MonkeyPatch) -> None:
    points = counted(monkeypatch)
    run = plane_survey(tilted(), resolution=(9, 9), tolerance=0, spans=(1.0, 1.0))
    for resolution in ((9, 9), (33, 17), (5, 5), (17, 17), (65, 65)):
        run.set_resolution(resolution)
        landscape = finish(run)
        assert landscape.measured.all()
        np.testing.assert_allclose(landscape.losses, landscape.alphas[None] + 10 * landscape.betas[:, None], atol=1e-14)
    assert len(points) == len(set(points)) == 65 * 65


def test_exchanged_axes_keep_every_cell(monkeypatch: pytest.MonkeyPatch) -> None:
    run = plane_survey(tilted(), resolution=(17, 9), tolerance=0, spans=(2.0, 0.5))
    finish(run)
    points = counted(monkeypatch)
    landscape = finish(run.transposed())
    assert not points
    assert landscape.losses.shape == (17, 9)
    np.testing.assert_allclose(landscape.losses, 10 * landscape.alphas[None] + landscape.betas[:, None], atol=1e-14)
    assert landscape.recipe.spans == (0.5, 2.0)


def test_what_the_check_proved_survives_an_exchange_and_a_change_of_resolution(monkeypatch: pytest.MonkeyPatch) -> None:
    run = plane_survey(tilted(), resolution=(65, 33), tolerance=1e-3, spans=(2.0, 0.5))
    before = finish(run)
    assert 0 < before.num_measured < before.measured.size
    points = counted(monkeypatch)
    after = finish(run.transposed())
    assert (after.error, after.num_measured) == (before.error, before.num_measured)
    run.set_resolution((17, 9))
    assert finish(run).measured.all()
    run.set_resolution((65, 33))
    again = finish(run)
    assert (again.error, again.num_measured) == (before.error, before.num_measured)
    other = run.transposed()
    other.set_resolution((9, 17))
    assert finish(other).measured.all()
    assert not points


def test_a_check_begun_goes_on_after_an_exchange() -> None:
    whole = np.add.outer(np.linspace(-1, 1, 65) ** 2, 3 * np.linspace(-1, 1, 33))
    first = Grid(whole.shape, tolerance=1e-3, seed=0)
    while first.num_full_levels < 3 or len(cells := first.ask()) < 149:
        cells = first.ask()
        first.tell(cells, whole[cells[:, 0], cells[:, 1]])
    first.tell(cells[:100], whole[cells[:100, 0], cells[:100, 1]])
    second = first.transposed()
    assert {tuple(c) for c in second.ask()} == {(c, r) for r, c in cells[100:]}
    second.tell(second.ask(), whole.T[tuple(second.ask().T)])
    assert second.done
    assert second.num_checked == len(cells)


def test_a_survey_goes_on_after_an_error_of_the_loss(monkeypatch: pytest.MonkeyPatch) -> None:
    run = plane_survey(tilted(), resolution=(17, 17), tolerance=0, spans=(1.0, 1.0))
    measure, passes = Problem.iter_plane_losses, []

    def failing(self: Problem, plane: Plane, alphas: np.ndarray, betas: np.ndarray) -> Any:
        passes.append(set(zip(alphas.tolist(), betas.tolist(), strict=True)))
        if len(passes) == 5:
            raise RuntimeError("out of luck")
        return measure(self, plane, alphas, betas)

    monkeypatch.setattr(Problem, "iter_plane_losses", failing)
    with pytest.raises(RuntimeError, match="out of luck"):
        finish(run)
    assert finish(run).measured.all()
    # Only the pass that failed was tried twice.
    assert passes[4] == passes[5]
    del passes[4]
    assert sum(map(len, passes)) == len(set.union(*passes)) == 17 * 17


def test_wider_and_narrower_windows_share_their_cells(monkeypatch: pytest.MonkeyPatch) -> None:
    wide, narrow = (plane_survey(tilted(), resolution=(17, 9), tolerance=0, spans=(1.0, 2.0), zoom=z) for z in (1, -1))
    finish(wide)
    points = counted(monkeypatch)
    narrow.absorb(wide)
    landscape = finish(narrow)
    np.testing.assert_allclose(landscape.losses, landscape.alphas[None] + 10 * landscape.betas[:, None], atol=1e-14)
    # Every fourth cell along each axis, of half the wide window along each half.
    assert len(points) == 17 * 9 - 5 * 3


def test_a_survey_on_the_log_scale_goes_on_where_logarithms_are_less_sure() -> None:
    run = plane_survey(slice_problem(lambda x, y: 1e-6 + x**2 + y**2), resolution=(129, 129), spans=(1.0, 1.0))
    linear = finish(run)
    run.show(Display("log"))
    assert not run.done
    log = finish(run)
    assert (linear.recipe.scale, log.recipe.scale) == ("linear", "log")
    assert log.num_measured > linear.num_measured
    assert log.error.range == pytest.approx(math.log(2e6), rel=1e-3)
    exact = 1e-6 + np.add.outer(log.betas**2, log.alphas**2)
    assert np.quantile(np.abs(np.log(log.surface() / exact)), 0.98) <= 1e-3 * log.error.range


def test_metrics_are_measured_with_the_loss_and_saved_with_it(tmp_path: Path) -> None:
    """Accuracy and largest weight beside the loss, each at its own coordinates, by whatever strategy."""
    case = make("mlp")

    def accuracy(output: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
        return (output.argmax(1) == target).double().mean()

    problem = Problem(case.model, case.loss, case.data, metrics={"accuracy": accuracy})
    landscape = compute(problem, resolution=(9, 5), span=1.0, tolerance=0, progress=False)
    x, y = (d.vector for d in landscape.recipe.directions)
    model, (inputs, target) = case.model.eval(), case.data
    for row, beta in enumerate(landscape.betas):
        for column, alpha in enumerate(landscape.alphas):
            torch.nn.utils.vector_to_parameters(problem.point + alpha * x + beta * y, model.parameters())
            expected = float(accuracy(model(inputs), target))
            assert landscape.metrics["accuracy"][row, column] == pytest.approx(expected, abs=1e-12)
    landscape.save(tmp_path / "with.npz")
    again = load(tmp_path / "with.npz")
    np.testing.assert_array_equal(again.metrics["accuracy"], landscape.metrics["accuracy"])


def test_zoom_multiplies_the_window() -> None:
    run = plane_survey(tilted(), resolution=(5, 5), tolerance=0, spans=(1.0, 2.0), zoom=-2)
    landscape = finish(run)
    assert landscape.recipe.spans == (0.25, 0.5)
    assert landscape.alphas[-1] == 0.25
    np.testing.assert_allclose(landscape.losses, landscape.alphas[None] + 10 * landscape.betas[:, None], atol=1e-14)


def test_progress_counts_down() -> None:
    run = plane_survey(tilted(), resolution=(17, 17), tolerance=0, spans=(1.0, 1.0))
    assert not run.done
    assert run.eta is None
    finish(run)
    assert run.done
    assert run.eta == 0
    assert run.num_cells == 17 * 17
    assert not run.step()


# Facts.


def test_facts_are_those_of_the_point() -> None:
    case = make("mlp")
    problem = case.problem()
    found = facts(problem)
    assert found.theta_norm == pytest.approx(float(problem.point.norm()))
    assert found.gradient_norm == pytest.approx(float(problem.gradient().norm()))
    assert found.center_loss == problem.loss()
    assert found.data_digest == facts(case.problem()).data_digest
    other = Problem(case.model, case.loss, (case.data[0] + 1e-9, case.data[1]))
    assert facts(other).data_digest != found.data_digest


def test_axis_curvature_is_of_the_axes_as_they_are() -> None:
    case = make("mlp")
    H, problem = dense_hessian(case), case.problem()
    x, y = torch.randn(2, 51, generator=torch.Generator().manual_seed(0), dtype=torch.float64) * 3
    plane = Plane(problem.point, (as_direction(problem, x, 0), as_direction(problem, y, 1)))
    assert axis_curvature(problem, plane) == pytest.approx((float(x @ H @ x), float(x @ H @ y), float(y @ H @ y)))


def test_axis_curvature_of_scaled_or_mixed_hessian_directions() -> None:
    """Known without a product for Ritz vectors of one run, scaled or not; measured for those of two."""
    import dataclasses

    problem = examples.quadratic(np.linspace(-1, 3, 30), rotation_seed=0)
    pairs = hessian_directions(problem, k=1, tol=1e-10)
    x, y = pairs.directions
    long = dataclasses.replace(x, vector=3 * x.vector)
    run = PlaneSurvey(problem, Plane(problem.point, (long, y)), facts(problem), resolution=(5, 5), spans=(1.0, 1.0))
    assert finish(run).recipe.axis_curvature == pytest.approx((27, 0, -1), abs=1e-8)
    assert x.curvature is not None
    skew = dataclasses.replace(y, vector=(x.vector + y.vector) / np.sqrt(2), curvature=1.0)
    run = PlaneSurvey(problem, Plane(problem.point, (x, skew)), facts(problem), resolution=(5, 5), spans=(1.0, 1.0))
    assert finish(run).recipe.axis_curvature == pytest.approx((3, 3 / np.sqrt(2), 1), abs=1e-8)


def test_the_recipe_tells_how_it_was_made() -> None:
    problem = make("mlp").problem()
    recipe = compute(problem, resolution=(5, 9), window="wide", seed=4, tolerance=0, progress=False).recipe
    assert (recipe.model, recipe.loss, recipe.num_parameters, recipe.num_samples) == (
        "Sequential",
        "CrossEntropyLoss",
        51,
        100,
    )
    assert (recipe.resolution, recipe.window, recipe.seed, recipe.tolerance) == ((5, 9), "wide", 4, 0.0)
    assert recipe.spans == pytest.approx((0.5 * recipe.theta_norm,) * 2, rel=1e-6)
    assert recipe.curvature is not None
    assert recipe.curvature.largest[0] == recipe.directions[0].curvature
    assert (recipe.dtype, recipe.device) == ("float64", "cpu")
    assert set(recipe.versions) == {"landscape_widget", "torch", "numpy"}


def test_slice_curvature_agrees_with_second_differences() -> None:
    """On a smooth network the surface at θ* curves as vᵀHv says (theory.md §4)."""
    problem = make("mlp").problem()
    landscape = compute(problem, resolution=5, span=2e-3, tolerance=0, progress=False)
    h = landscape.alphas[3]
    a, _, c = landscape.recipe.axis_curvature or (0, 0, 0)
    z = landscape.losses
    assert (z[2, 3] - 2 * z[2, 2] + z[2, 1]) / h**2 == pytest.approx(a, rel=1e-4)
    assert (z[3, 2] - 2 * z[2, 2] + z[1, 2]) / h**2 == pytest.approx(c, rel=1e-3)


def test_everything_runs_on_every_device(device: str) -> None:
    problem = make("attention").problem(device=device)
    here = compute(problem, resolution=9, tolerance=0, span=0.5, progress=False)
    there = compute(make("attention").problem(), resolution=9, tolerance=0, span=0.5, progress=False)
    np.testing.assert_allclose(here.losses, there.losses, rtol=1e-6)
    assert here.recipe.device.startswith(device)


@pytest.mark.parametrize("form", ["tensor", "list", "numpy", "tensors", "state_dict", "directions", "read-only"])
def test_directions_in_every_form(form: str) -> None:
    problem = make("mlp").problem()
    x, y = torch.randn(2, 51, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    settings: dict[str, Any] = {"resolution": 5, "span": 0.2, "tolerance": 0, "progress": False}
    reference = compute(problem, directions=(x, y), **settings)

    def given(vector: Tensor) -> Any:
        array = vector.numpy().copy()
        array.flags.writeable = form != "read-only"
        return {
            "tensor": vector,
            "list": vector.tolist(),
            "numpy": array,
            "read-only": array,
            "tensors": problem.split(vector),
            "state_dict": dict(zip(problem.parameter_names, problem.split(vector), strict=True)),
            "directions": as_direction(problem, vector),
        }[form]

    pair: Any = [given(x), given(y)] if form == "list" else (given(x), given(y))
    np.testing.assert_array_equal(compute(problem, directions=pair, **settings).losses, reference.losses)


# Bad input: refused at the call, before anything is computed.

BAD: list[tuple[str, dict[str, Any], type[Exception], str]] = [
    ("resolution", {"resolution": 64}, ValueError, "got 64; the nearest are 33 and 65"),
    ("second resolution", {"resolution": (65, 100)}, ValueError, "got 100; the nearest are 65 and 129"),
    (
        "three resolutions",
        {"resolution": (5, 5, 5)},
        ValueError,
        r"expected a resolution as .* or a pair \(for x, for y\), got 3 of them",
    ),
    ("resolution in words", {"resolution": "fine"}, TypeError, r"resolution as an integer 2\^k \+ 1 .*, got 'fine'"),
    ("no resolution", {"resolution": None}, TypeError, r"resolution as an integer 2\^k \+ 1 .*, got None"),
    ("window", {"window": "zoom"}, ValueError, "expected window 'saddle' or 'wide', got 'zoom'"),
    ("window in numbers", {"window": 0.5}, ValueError, "got 0.5; span= gives the half-widths in numbers"),
    ("window as an array", {"window": np.ones(2)}, ValueError, "expected window 'saddle' or 'wide', got array"),
    ("tolerance", {"tolerance": -1e-3}, ValueError, "expected a tolerance from 0"),
    ("tolerance in percent", {"tolerance": 1}, ValueError, "to below 1, as a part of the range, got 1"),
    ("span", {"span": 0.0}, ValueError, r"expected a positive span \(the half-width along an axis\), got 0.0"),
    ("infinite span", {"span": (1.0, np.inf)}, ValueError, "expected a positive span"),
    ("NaN span", {"span": np.nan}, ValueError, "expected a positive span"),
    ("span as a tensor", {"span": torch.tensor(0.5)}, TypeError, "expected span as a number, got tensor"),
    ("span of a dict", {"span": {"x": 1.0}}, TypeError, "expected span as a number, got {'x': 1.0}"),
    ("three spans", {"span": (1.0, 2.0, 3.0)}, ValueError, "expected a span as one number or a pair .*, got 3 of them"),
    (
        "one direction",
        {"directions": (torch.ones(51),)},
        ValueError,
        r"expected directions as a pair \(d1, d2\), got 1 of them",
    ),
    (
        "a state_dict",
        {"directions": {"0.weight": torch.ones(6, 4)}},
        TypeError,
        "expected directions as a pair .*, got dict",
    ),
    (
        "parallel",
        {"directions": (torch.ones(51), 2 * torch.ones(51))},
        ValueError,
        "expected two different axes, got parallel ones",
    ),
    ("zero", {"directions": (torch.ones(51), torch.zeros(51))}, ValueError, "finite entries that are not all zero"),
    (
        "too short",
        {"directions": (torch.ones(51), torch.ones(50))},
        ValueError,
        "expected a direction with 51 entries, got 50",
    ),
    ("directions in words", {"directions": "hessian"}, TypeError, "expected directions as a pair .*, got str"),
    ("a number of directions", {"directions": 2}, TypeError, "expected directions as a pair .*, got int"),
    ("a set of directions", {"directions": {1, 2}}, TypeError, "expected directions as a pair .*, got set"),
    ("two words", {"directions": ("x", "y")}, TypeError, "expected a direction as a Direction, a tensor, .*, got str"),
    (
        "too fine",
        {"resolution": 2**20 + 1},
        ValueError,
        "expected a resolution of at most 4,097 points .*, got 1,048,577",
    ),
    ("too fine along y", {"resolution": (5, 8193)}, ValueError, "at most 4,097 points .*, got 8,193"),
    (
        "too wide",
        {"span": 1e308},
        ValueError,
        r"span within which θ\* \+ α d stays below 1.1e\+307 in float64, got 1e\+308",
    ),
    ("beyond any float", {"span": 10**400}, ValueError, "expected a positive span"),
    (
        "too wide along a long axis",
        {"directions": (torch.eye(51)[0], 1e30 * torch.eye(51)[1]), "span": (1.0, 1e280)},
        ValueError,
        r"expected a span within which .*, got 1e\+280",
    ),
    (
        "too short an axis",
        {"directions": (torch.eye(51)[0].double(), 1e-310 * torch.eye(51)[1].double())},
        ValueError,
        "expected an axis of a norm between 1e-150 and .* in 'own direction y'; give it another length",
    ),
    ("seed", {"seed": "today"}, TypeError, "expected seed as an integer, got 'today'"),
    ("keyword", {"span_x": 1.0}, TypeError, "unexpected keyword 'span_x'; did you mean 'span'?"),
    ("keyword like none", {"qqqq": 1.0}, TypeError, "unexpected keyword 'qqqq'; known are .*directions, resolution"),
]


@pytest.mark.parametrize(("settings", "kind", "message"), [row[1:] for row in BAD], ids=[row[0] for row in BAD])
@pytest.mark.parametrize("call", [survey, compute])
def test_bad_input_is_refused_at_the_call(
    call: Callable[..., Any],
    settings: dict[str, Any],
    kind: type[Exception],
    message: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    problem = make("mlp").problem()

    def computed(*_: Any) -> Any:
        raise AssertionError("something was computed")

    monkeypatch.setattr(Problem, "_evaluate", computed)
    monkeypatch.setattr(Hessian, "__matmul__", computed)
    with pytest.raises(kind, match=message):
        call(problem, **settings)


def test_the_finest_grid_and_the_widest_window_in_single_precision() -> None:
    problem = Problem(nn.Linear(2, 1), nn.MSELoss(), (torch.eye(2), torch.ones(2, 1)))
    assert problem.num_parameters == 3
    survey(problem, resolution=4097, span=2e37)
    with pytest.raises(ValueError, match=r"below 2.1e\+37 in float32, got 1e\+300"):
        survey(problem, span=1e300)
    axes = torch.eye(3)[:2]
    survey(problem, directions=1e-30 * axes)
    with pytest.raises(ValueError, match="moved by its own norm in float32, got 'own direction x' of norm 1e-41"):
        survey(problem, directions=1e-41 * axes)


def test_of_a_grid_that_is_measured_in_full_no_error_is_left() -> None:
    settings: dict[str, Any] = {"directions": AXES, "resolution": 33, "span": 1.0, "progress": False}
    problem = slice_problem(lambda x, y: torch.sin(3 * x) * y**2)
    full, part = compute(problem, tolerance=0, **settings), compute(problem, tolerance=0.1, **settings)
    assert (full.error.bound, full.error.expected_largest) == (0.0, 0.0)
    assert not part.measured.all()
    assert part.error.expected_largest is not None
    assert part.error.expected_largest > 0


def test_a_model_without_a_loss_is_refused() -> None:
    with pytest.raises(
        TypeError, match=r"expected a Problem, got Linear; make one with Problem\(model, loss, data\), or"
    ):
        survey(nn.Linear(2, 2))


@pytest.mark.parametrize("more", ["loss", "data", "device", "params", "batch_weight"])
def test_a_problem_comes_alone(more: str) -> None:
    with pytest.raises(TypeError, match=f"got a Problem with {more}; give them to Problem"):
        survey(make("mlp").problem(), **{more: "cpu"})


def test_directions_go_by_their_name() -> None:
    with pytest.raises(TypeError, match=r"got a Problem with loss; .*axes as directions=\(d1, d2\)"):
        compute(make("mlp").problem(), (torch.ones(51), torch.arange(51.0)))


def test_model_loss_and_data_are_a_problem() -> None:
    case = make("mlp")
    settings: dict[str, Any] = {"resolution": 5, "span": 0.2, "progress": False}
    expected = compute(Problem(case.model, case.loss, case.data, params="0.*"), **settings)
    landscape = compute(case.model, case.loss, case.data, params="0.*", **settings)
    # By which strategy cells are evaluated is measured: it may differ, and the losses with it by round-off.
    np.testing.assert_allclose(landscape.losses, expected.losses, rtol=1e-12)
    chosen = {name: getattr(expected.recipe, name) for name in ("strategy", "center_loss")}
    assert dataclasses.replace(landscape.recipe, **chosen) == expected.recipe
    *_, last = survey(case.model, case.loss, case.data, params=["0.*"], resolution=5, span=0.2)
    np.testing.assert_allclose(last.losses, expected.losses, rtol=1e-12)


def test_one_parameter_spans_no_plane() -> None:
    with pytest.raises(ValueError, match="expected a problem with at least two parameters.*params= chooses"):
        compute(examples.quadratic([2.0]), progress=False)


@pytest.mark.parametrize(
    ("origin", "directions", "kind", "message"),
    [
        ([0.0, 0.0], AXES, TypeError, "expected origin as a tensor .*, got list"),
        (torch.zeros(2), AXES, TypeError, r"expected two Directions, got Tensor, Tensor; .*survey\(\.\.\., directions"),
        (torch.zeros(2), 7, TypeError, "expected two Directions, got int"),
        (torch.zeros(2), (), TypeError, "expected two Directions, got none"),
        (torch.zeros(2), (Direction("a", "own", "a", "mine"),), TypeError, "expected two Directions, got Direction;"),
        (
            torch.zeros(2),
            (Direction("a", "own", "a", "mine"),) * 2,
            ValueError,
            r"with its vector, got 'mine' without: .*save\(\.\.\., keep_directions=True\)",
        ),
    ],
)
def test_what_makes_no_plane_is_refused(origin: Any, directions: Any, kind: type[Exception], message: str) -> None:
    with pytest.raises(kind, match=message):
        Plane(origin, directions)


def test_a_curvature_within_its_error_does_not_choose_the_window() -> None:
    # A flat axis with a slope: whichever sign the error gives the curvature, the window must be the same.
    problem = slice_problem(lambda x, y: 4 * x**2 + 1e-3 * y + y**4)
    x, y = (as_direction(problem, d, i) for i, d in enumerate(AXES))
    spans = []
    for sign in (-1, 1):
        axes = x, dataclasses.replace(y, kind="hessian", curvature=sign * 1e-9, residual=1e-6, converged=False)
        run = PlaneSurvey(problem, Plane(problem.point, axes), facts(problem), resolution=(9, 9), tolerance=0)
        run.curvature = 8.0, 0.0, sign * 1e-9
        finish(run)
        spans.append(run.spans)
    assert spans[0] == spans[1]


def test_a_loss_without_second_derivatives_is_surveyed_along_other_directions() -> None:
    x, y = torch.randn(20, 4, generator=torch.Generator().manual_seed(0)), torch.arange(20) % 3
    torch.manual_seed(1)
    problem = Problem(torch.nn.Linear(4, 3), torch.nn.MultiMarginLoss(), (x, y))
    landscape = compute(problem, directions=random_directions(problem), resolution=9, tolerance=0)
    assert landscape.measured.all()
    assert landscape.recipe.axis_curvature is None
    assert landscape.losses[4, 4] == problem.loss()
    (note,) = landscape.recipe.notes
    assert "no Hessian" in note
    assert "multi_margin" in note
    with pytest.raises(RuntimeError, match="differentiated twice"):
        compute(problem, resolution=9)
