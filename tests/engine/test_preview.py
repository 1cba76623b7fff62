"""A picture from a part of the data: what it says of its error is true, and it is the same function."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from landscape_widget import Landscape, Problem, compute, random_directions
from landscape_widget.engine.preview import iter_preview

from .problems import make

SETTINGS: dict[str, Any] = {"resolution": 9, "window": "saddle", "spans": None, "seed": 0}


def large(num_samples: int = 4000, loss: Any = None, **settings: Any) -> Problem:
    """A network on data of one class after the other, whose passes are said to take long."""
    with torch.random.fork_rng(devices=()):
        torch.manual_seed(0)
        x = torch.randn(num_samples, 6)
        y = (x[:, :3] + 0.3 * x[:, 3:]).argmax(1).sort().values
        model = nn.Sequential(nn.Linear(6, 8), nn.Tanh(), nn.Linear(8, 3))
    problem = Problem(model, loss or nn.CrossEntropyLoss(), (x, y), **settings)
    problem.seconds_per_pass = 1.0
    return problem


def pictures(problem: Problem, axes: Any = None, **settings: Any) -> list[Landscape]:
    return [landscape for landscape in iter_preview(problem, axes, **{**SETTINGS, **settings}) if landscape is not None]


def test_levels_come_coarse_to_fine_and_say_what_they_are_from() -> None:
    problem = large()
    found = pictures(problem)
    assert [landscape.num_measured for landscape in found] == [25, 81]
    last = found[-1]
    assert not last.complete
    assert last.sem is not None
    # The trained point itself is known from all data.
    assert (last.losses[4, 4], last.sem[4, 4]) == (problem.loss(), 0.0)
    assert last.recipe.num_samples is not None
    assert 64 <= last.recipe.num_samples <= 2000
    assert all(direction.preliminary for direction in last.recipe.directions)


@pytest.mark.parametrize("reduction", ["mean", "sum"])
def test_the_standard_error_is_right(reduction: str) -> None:
    """Over many draws the change from θ* is off by about one standard error: 8 groups make a t distribution."""
    problem = large(loss=nn.CrossEntropyLoss(reduction=reduction, weight=torch.tensor([1.0, 2.0, 0.5])))
    x, y = random_directions(problem, 2, normalization="unit", seed=1)
    full = compute(problem, directions=(x, y), resolution=5, span=2.0, tolerance=0, progress=False)
    ratios = []
    for seed in range(40):
        (*_, last) = pictures(problem, (x, y), resolution=5, spans=(2.0, 2.0), seed=seed)
        assert last.sem is not None
        off = (last.losses - full.losses)[0, 0] / last.sem[0, 0]
        ratios.append(off)
        np.testing.assert_allclose(last.alphas, full.alphas)
    assert 0.6 < np.sqrt(np.mean(np.square(ratios))) < 1.8
    assert abs(np.mean(ratios)) < 0.6


def test_whole_batches_are_drawn_where_samples_cannot_be_parted() -> None:
    problem = large()
    batches = [next(problem.only([term]).terms()).batch for term in problem.pieces(next(problem.terms()), 100)]

    def loss(model: nn.Module, batch: tuple[Tensor, Tensor]) -> Tensor:
        output = model(batch[0])
        # As a loss with batch statistics: no sample stands alone.
        return nn.functional.cross_entropy(output - output.mean(0), batch[1])

    own = Problem(nn.Sequential(nn.Linear(6, 8), nn.Tanh(), nn.Linear(8, 3)), loss, batches, batch_weight=_rows)
    own.seconds_per_pass = 1.0
    (*_, last) = pictures(own, resolution=5)
    assert last.sem is not None
    assert (last.sem[0] > 0).all()
    assert np.isfinite(last.losses).all()


def test_nothing_where_a_pass_is_fast_or_the_data_are_few() -> None:
    fast = large()
    fast.seconds_per_pass = 1e-3
    assert pictures(fast) == []
    few = make("mlp").problem()
    few.seconds_per_pass = 1.0
    assert pictures(few) == []


def test_the_problem_is_as_it_was() -> None:
    problem = large()
    before, point = problem.loss(), problem.point.clone()
    pictures(problem)
    assert problem.loss() == before
    assert torch.equal(problem.point, point)
    assert problem.num_samples == 4000


def _rows(batch: tuple[Tensor, Tensor]) -> float:
    return float(len(batch[0]))
