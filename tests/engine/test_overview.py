"""The overview's parts agree with dense truth, and grow one after the other."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
import torch

from landscape_widget import examples, hessian_directions
from landscape_widget.engine.overview import Overview, iter_overview
from landscape_widget.engine.problem import Problem

from .problems import dense_hessian, make


def steps(problem: Problem) -> tuple[list[Overview], Overview]:
    overviews, seen = iter_overview(problem, hessian_directions(problem, k=2)), []
    while True:
        try:
            seen.append(next(overviews)())
        except StopIteration as end:
            return seen, end.value


def test_an_overview_grows_to_the_whole_truth() -> None:
    case = make("conv_batchnorm")
    seen, last = steps(case.problem())
    values = torch.linalg.eigvalsh(dense_hessian(case)).numpy()
    known = [[o.density is not None, o.moments is not None, o.planes is not None] for o in seen]
    assert known[0] == [True, False, False]
    for before, after in itertools.pairwise(known):
        assert after >= before  # nothing is lost again
    assert last.density is not None
    assert last.moments is not None
    assert last.planes is not None
    assert last.density.num_probes > seen[0].density.num_probes or seen[0].density.num_probes > 1  # type: ignore[union-attr]
    assert last.density.largest == pytest.approx(values[-1], rel=1e-2)
    assert last.density.smallest == pytest.approx(values[0], rel=1e-2)
    trace = last.moments.trace
    assert abs(trace.mean - values.sum()) < 4 * trace.sem + 1e-9
    assert last.planes.kind == "filter"
    assert [symbol for symbol, _ in last.ranges] == ["λ₁", "λₙ"]
    for (_, reach), value in zip(last.ranges, values[[-1, 0]], strict=True):
        assert reach.curvature == pytest.approx(value, rel=1e-2)
        assert reach.radius > 0
    assert sum(e.mean for e in (last.planes.minimum, last.planes.saddle, last.planes.maximum)) == pytest.approx(1)


def test_where_filters_cannot_move_the_planes_are_gaussian() -> None:
    """Three +1, three −1: of Gaussian planes three in four show a saddle."""
    _, last = steps(examples.quadratic([1.0, 1.0, 1.0, -1.0, -1.0, -1.0]))
    assert last.planes is not None
    assert last.planes.kind == "none"
    assert abs(last.planes.saddle.mean - 0.75) < 4 * last.planes.saddle.sem
    assert last.density is not None
    np.testing.assert_allclose([last.density.smallest, last.density.largest], [-1, 1], atol=1e-12)


@pytest.mark.parametrize("spectrum", [[0.0, 0.0, 0.0], [2.0], [-1.0, -2.0]])
def test_small_and_degenerate_spectra(spectrum: list[float]) -> None:
    problem = examples.quadratic(spectrum)
    overviews = iter_overview(problem, hessian_directions(problem, k=1))
    try:
        while True:
            next(overviews)()
    except StopIteration as end:
        last = end.value
    assert (last.planes is None) == (len(spectrum) == 1)
    assert last.moments.trace.mean == pytest.approx(sum(spectrum), abs=1e-12)
    assert math.isnan(last.moments.trace_ratio.mean) == (not any(spectrum))
