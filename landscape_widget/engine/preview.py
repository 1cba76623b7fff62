"""A first picture from a part of the data, with each cell's standard error, where a pass over all of it takes long."""

from __future__ import annotations

import math
import time
from collections.abc import Generator
from dataclasses import replace

import numpy as np

from landscape_widget.engine.eigendirections import HessianDirections, iter_hessian_directions
from landscape_widget.engine.plane import Plane
from landscape_widget.engine.plane_survey import PlaneSurvey, facts
from landscape_widget.engine.problem import Problem
from landscape_widget.interpolate import level_mask, num_levels
from landscape_widget.landscape import Direction, Landscape

# A pass over all of the data that takes longer, in seconds, is worth a preview; one over its part is to take so long.
_WORTH, _PASS = 0.03, 0.01
# The first pass of all takes longer than others; one that took no more than this is made again.
_UNSURE = 0.5
# So many groups of samples, whose spread tells the standard error; the fewest samples of each.
_GROUPS, _FEWEST = 8, 8
# Lanczos on the part of the data: for so many seconds, and at least so many products.
_LANCZOS, _PRODUCTS = 0.3, 8
_CHUNK = 0.05


def iter_preview(
    problem: Problem,
    axes: tuple[Direction, ...] | None,
    *,
    resolution: int,
    window: str,
    spans: tuple[float, float] | None,
    seed: int,
) -> Generator[Landscape | None]:
    """Landscapes from a part of the data, coarse to fine, and None between chunks of work.

    Nothing where a pass over all data is fast, and where no part of them can be had.

    The loss at θ* is that of all data; the part tells how it changes from there. For that the standard error of a cell
    is the standard deviation of the change over the groups of samples, divided by √(number of groups).

    Parameters
    ----------
    problem
        Whose loss.
    axes
        None for those of the part's own Hessian, as far as they are found in a moment.
    resolution
        Points along each axis, 2^k + 1.
    window, spans, seed
        As in :class:`PlaneSurvey`.
    """
    seconds = problem.seconds_per_pass
    if _WORTH < seconds < _UNSURE:
        began = time.perf_counter()
        problem.loss()
        seconds = time.perf_counter() - began
    if seconds < _WORTH:
        return
    size = (problem.num_samples or 0) * _PASS / max(seconds, _PASS)
    sampled = problem.sampled(max(_FEWEST, int(size / _GROUPS)), 2 * _GROUPS, seed)
    if sampled is None:
        return
    # Along the extreme eigenvectors of some samples these very samples curve more than others do. So the axes and the
    # window are found with other ones than those whose losses are shown.
    others, groups = sampled[::2], sampled[1::2]
    part = problem.only([term for group in others for term in group.terms()])
    pairs = None
    if axes is None:
        pairs = yield from _directions(part, seed)
        axes = tuple(replace(d, preliminary=True) for d in (pairs.directions[0], pairs.directions[-1]))
    plane = Plane(problem.point, (axes[0], axes[1]))
    survey = PlaneSurvey(
        part,
        plane,
        facts(part, pairs.summary if pairs else None),
        resolution=(resolution, resolution),
        tolerance=0.0,
        seed=seed,
        window=window,
        spans=spans,
    )
    while not survey.prepared:
        survey.step()
        yield None
    num_samples = sum(group.num_samples or 0 for group in groups)
    center, share = problem.loss(), num_samples / (problem.num_samples or math.inf)
    frame = survey.landscape()
    frame = replace(frame, recipe=replace(frame.recipe, center_loss=center, num_samples=num_samples or None))
    losses = np.full((len(groups), resolution, resolution), np.nan)
    middle, known, began = resolution // 2, np.zeros((resolution, resolution), dtype=bool), time.perf_counter()
    for level in range(num_levels((resolution, resolution))):
        new = np.argwhere(level_mask((resolution, resolution), level) & ~known)
        for row, column in new:
            point = frame.alphas[column : column + 1], frame.betas[row : row + 1]
            for group, values in zip(groups, losses, strict=True):
                values[row, column] = group.plane_losses(plane, *point)[0]
            if time.perf_counter() - began > _CHUNK:
                yield None
                began = time.perf_counter()
        known[tuple(new.T)] = True
        yield _landscape(frame, center, losses - losses[:, middle, middle][:, None, None], known, share)


def _directions(part: Problem, seed: int) -> Generator[None, None, HessianDirections]:
    """The part's extreme Ritz vectors as they stand after a moment."""
    began = time.perf_counter()
    for num_matvecs, make in enumerate(iter_hessian_directions(part, 1, seed=seed), start=1):
        found = make
        yield None
        if num_matvecs >= _PRODUCTS and time.perf_counter() - began > _LANCZOS:
            break
    pairs = found()
    pairs.release()
    return pairs


def _landscape(frame: Landscape, center: float, changes: np.ndarray, known: np.ndarray, share: float) -> Landscape:
    """The mean change from θ* over the groups, and its standard error for samples drawn without replacement."""
    with np.errstate(invalid="ignore"):
        sem = changes.std(axis=0, ddof=1) / math.sqrt(len(changes)) * math.sqrt(max(0.0, 1.0 - share))
        losses = center + changes.mean(axis=0)
    return replace(
        frame,
        losses=losses,
        measured=known.copy(),
        metrics={},
        sem=sem,
        critical=(),
    )
