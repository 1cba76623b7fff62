"""Pictures of a loss on a plane and how right they are: networks on random planes, and shapes that are made to be missed."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import torch
from models import WORKLOADS
from surface_peers import CRITERION, Scene, now
from torch import Tensor, nn

import landscape_widget as lw
from landscape_widget.interpolate import predict

# Losses of two runs may differ by round-off, relative to the range.
_ROUND_OFF = 1e-6


def scene(name: str, num_samples: int | None = None, seed: int = 0, span: float = 1.0) -> Scene:
    """A network of `models` with its data in one batch, as its user would give them, on a filter-normalized random plane."""
    workload = WORKLOADS[name](num_samples)
    x, y = (torch.cat(parts) for parts in zip(*workload.batches, strict=True))
    first, second = lw.random_directions(lw.Problem(workload.model, CRITERION, (x, y)), 2, seed=seed)
    return Scene(name, workload.model, x, y, (first, second), span)


@dataclass(frozen=True)
class Picture:
    """What is to be seen: a plane in a window, at a resolution, displayed on a scale."""

    name: str
    problem: lw.Problem
    directions: tuple
    span: float
    resolution: int
    scale: str = "linear"

    def draw(self, tolerance: float) -> tuple[lw.Landscape, float]:
        """The landscape and the seconds it took."""
        began = now()
        landscape = lw.compute(
            self.problem,
            directions=self.directions,
            resolution=self.resolution,
            span=self.span,
            tolerance=tolerance,
            scale=self.scale,
            progress=False,
        )
        return landscape, now() - began

    @cached_property
    def full(self) -> tuple[np.ndarray, float]:
        """Every cell measured, shape (b, a), and the seconds it took."""
        landscape, seconds = self.draw(0.0)
        assert landscape.measured.all()
        return landscape.losses, seconds

    def from_level(self, count: int) -> float:
        """The largest miss of the prediction from count × count cells, in parts of the range."""
        truth = self._shown(self.full[0])
        step = (len(truth) - 1) // (count - 1)
        measured = np.zeros(truth.shape, dtype=bool)
        measured[::step, ::step] = True
        return float(np.abs(predict(truth, measured) - truth).max() / np.ptp(truth))

    def judge(self, landscape: lw.Landscape) -> Verdict:
        """A landscape against every cell measured."""
        truth = self._shown(self.full[0])
        seen = float(np.ptp(truth))
        miss = np.abs(self._shown(landscape.surface()) - truth)
        # Where a loss is predicted that has no logarithm.
        miss[np.isnan(miss)] = np.inf
        told, recipe = landscape.error, landscape.recipe
        # The tolerance is relative to the range that was known when it was fixed.
        allowed = recipe.tolerance * (told.range or seen)
        round_off = _ROUND_OFF * seen
        bound = None if told.bound is None else told.bound / seen
        return Verdict(
            cells=landscape.num_measured,
            within=float((miss <= allowed + round_off).mean()),
            largest=float(miss.max()) / seen,
            bound=bound,
            held=None if told.bound is None else float((miss <= told.bound + round_off).mean()),
            share=told.share,
            expected=None if told.expected_largest is None else told.expected_largest / seen,
        )

    def _shown(self, losses: np.ndarray) -> np.ndarray:
        with np.errstate(invalid="ignore"):
            return np.log(losses) if self.scale == "log" else losses


@dataclass(frozen=True)
class Verdict:
    """On a landscape; misses in parts of the true range as displayed."""

    cells: int
    within: float
    """Share of all cells within the tolerance."""
    largest: float
    bound: float | None
    """Of the statement, None where there is none."""
    held: float | None
    """Share of all cells within the bound."""
    share: float
    """What the statement says of it."""
    expected: float | None
    """The largest miss, as estimated."""

    @property
    def true(self) -> bool:
        """Whether there is a statement and it holds."""
        return self.held is not None and self.held >= self.share


def hard_pictures(resolution: int, seed: int = 0) -> list[Picture]:
    """What refinement finds hard: kinks everywhere, what lies between its cells, and what never gets smooth."""
    deep = scene("deep_relu", seed=seed, span=2.0)
    named = [
        Picture(f"{DEEP}, losses", deep.problem, deep.directions, deep.span, resolution),
        Picture(f"{DEEP}, logarithms", deep.problem, deep.directions, deep.span, resolution, "log"),
    ]
    return named + [_shape(name, shape, resolution) for name, shape in _shapes(resolution).items()]


DEEP = "ReLU, 20 layers, no skips, span 2"


def _shapes(resolution: int) -> dict[str, Callable[[Tensor, Tensor], Tensor]]:
    """Functions of (u, v) in [−1, 1]²; what they have of detail is measured in cells."""
    per_cell = (resolution - 1) / 2

    def bowl(u: Tensor, v: Tensor) -> Tensor:
        return u.square() + 0.5 * v.square() + 0.1 * u

    def bump(u: Tensor, v: Tensor) -> Tensor:
        distance = torch.hypot(u - 0.37, v + 0.53) * per_cell
        return bowl(u, v) + 0.5 * (1 - (distance / 1.5).square()).clamp(min=0).square()

    def ridge(u: Tensor, v: Tensor) -> Tensor:
        across = (0.8 * u + 0.6 * v - 0.25) * per_cell
        return bowl(u, v) + 0.5 * torch.exp(-(across / 1.5).square())

    def board(u: Tensor, v: Tensor) -> Tensor:
        # Squares of 16 cells whose edges are not where a coarse grid has its lines.
        row, column = (torch.floor((w * per_cell + 5.3) / 16) for w in (v, u))
        return 0.25 * bowl(u, v) + torch.remainder(row + column, 2)

    def single_cells(u: Tensor, v: Tensor) -> Tensor:
        # Every coarser grid sees squares of one color only.
        return 0.25 * bowl(u, v) + 0.5 * torch.cos(math.pi * per_cell * u) * torch.cos(math.pi * per_cell * v)

    return {
        "a bump three cells wide on a bowl": bump,
        "an oblique ridge three cells wide on a bowl": ridge,
        "a checkerboard, squares of 16 cells": board,
        "a checkerboard, squares of one cell": single_cells,
    }


class _Point(nn.Module):
    """Two parameters, (u, v) = (0, 0)."""

    def __init__(self) -> None:
        super().__init__()
        self.theta = nn.Parameter(torch.zeros(2, dtype=torch.float64))


def _shape(name: str, shape: Callable[[Tensor, Tensor], Tensor], resolution: int) -> Picture:
    problem = lw.Problem(_Point(), lambda model: shape(*model.theta))
    return Picture(name, problem, (torch.tensor([1.0, 0.0]), torch.tensor([0.0, 1.0])), 1.0, resolution)
