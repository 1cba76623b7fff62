"""Trace and Frobenius norm of the Hessian from losses alone: second differences and the mixed stencil (Böttcher & Wheeler 2024)."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator

import numpy as np
import torch
from torch import Tensor

from landscape_widget.engine.probes import Probes
from landscape_widget.engine.problem import Problem
from landscape_widget.engine.streams import other_stream

# The first step tried, ‖hd‖ as a share of ‖θ‖, and the share that error by truncation or round-off may be of a second
# difference before another step is tried.
_SHARE, _ENOUGH = 0.03, 0.02
# Factors of two by which the step may shrink and grow, and directions it is chosen on.
_SHRINK, _GROW, _PILOTS = 12, 4, 2
# Every so manyth direction is measured with half the step, too.
_EVERY = 4


class ForwardDifferences:
    """T(d) = [L(θ+hd) − 2L(θ) + L(θ−hd)]/h² and B(d, e) = [L(θ+hd+he) − L(θ+hd−he) − L(θ−hd+he) + L(θ−hd−he)]/(4h²).

    E T = tr H and E B² = ‖H‖_F², both up to O(h²), for independent vectors with E zzᵀ = I; the gradient cancels. The
    step is chosen so that truncation and round-off, about 4u|L|/h², are both small beside |T|, near ‖hd‖ = 3 % of ‖θ‖.

    Attributes
    ----------
    step
        h.
    cost
        Passes over the data so far.
    """

    def __init__(self, problem: Problem, *, distribution: str, seed: int) -> None:
        self.problem, self.cost = problem, 0
        self._probes = Probes(problem.point, distribution, seed)
        (self._center,) = self._losses([problem.point])
        self._unit = torch.finfo(problem.dtype).eps / 2
        self.step = self._chosen_step(seed)
        self._changes: tuple[list[float], list[float]] = [], []

    @property
    def round_off(self) -> float:
        """4u|L|/h²: what rounding of the losses may add to T."""
        return self._rounding(self.step)

    def samples(self, count: int, *, trace: bool, squares: bool) -> Iterator[tuple[float, float]]:
        """T(d) and B(d, e)² of ``count`` pairs of directions; NaN for the one that is not wanted."""
        for i in range(count):
            d, e = self._probes.draw(), self._probes.draw()
            wanted: list[Callable[[float], float]] = [
                (lambda h: self._second_difference(d, h)) if trace else _nothing,  # noqa: B023 - used at once
                (lambda h: self._mixed(d, e, h) ** 2) if squares else _nothing,  # noqa: B023
            ]
            values = [difference(self.step) for difference in wanted]
            if i % _EVERY == 0:
                for changes, value, difference in zip(self._changes, values, wanted, strict=True):
                    changes.append(value - difference(self.step / 2))
            if not all(math.isfinite(v) for v, w in zip(values, wanted, strict=True) if w is not _nothing):
                raise FloatingPointError(
                    f"expected finite losses near θ, got NaN or inf within ‖Δθ‖ = {self.step * float(d.norm()):.3g}; "
                    'method="hutchinson" needs none'
                )
            yield values[0], values[1]

    def biases(self) -> tuple[float, float]:
        """Bias of T and of B², from half the step on some of the same directions.

        An error c·h² changes by ¾ of itself (Richardson 1911), so 4/3 of the mean change is the error. Never taken for
        smaller than round-off.
        """
        floors = self.round_off, (self.round_off / 4) ** 2
        changes = (4 / 3 * float(np.mean(change)) for change in self._changes)
        first, second = (
            math.copysign(max(abs(change), floor), change) for change, floor in zip(changes, floors, strict=True)
        )
        return first, second

    def _chosen_step(self, seed: int) -> float:
        n, norm = self.problem.num_parameters, float(self.problem.point.double().norm())
        # At θ = 0 there is no scale to start from; the losses then tell.
        step = _SHARE * (norm or 1.0) / math.sqrt(n)
        # Of another stream, so that the step does not depend on the directions it is used on; Gaussian, so that T is
        # not small where only the trace is.
        pilots = Probes(self.problem.point, "gaussian", other_stream(seed))
        directions = [pilots.draw() for _ in range(_PILOTS)]
        coarse, fine = self._pilots(directions, step), self._pilots(directions, step / 2)
        for _ in range(_SHRINK):
            if not self._truncated(coarse, fine, step):
                break
            step, coarse, fine = step / 2, fine, self._pilots(directions, step / 4)
        for _ in range(_GROW):
            if self._rounding(step) <= _ENOUGH * _rms(coarse):
                break
            wider = self._pilots(directions, 2 * step)
            if self._truncated(wider, coarse, 2 * step):
                break
            step, coarse = 2 * step, wider
        return step

    def _truncated(self, coarse: np.ndarray, fine: np.ndarray, step: float) -> bool:
        """Whether T changes between two steps by more than a small share and more than round-off explains."""
        change = _rms(coarse - fine)
        return not change <= max(_ENOUGH * _rms(fine), 2 * self._rounding(step / 2))

    def _rounding(self, step: float) -> float:
        return 4 * self._unit * abs(self._center) / step**2

    def _pilots(self, directions: list[Tensor], step: float) -> np.ndarray:
        return np.array([self._second_difference(d, step) for d in directions])

    def _second_difference(self, d: Tensor, h: float) -> float:
        theta = self.problem.point
        up, down = self._losses([theta.add(d, alpha=h), theta.add(d, alpha=-h)])
        return ((up - self._center) + (down - self._center)) / h**2

    def _mixed(self, d: Tensor, e: Tensor, h: float) -> float:
        theta = self.problem.point
        points = [theta.add(d, alpha=a * h).add_(e, alpha=b * h) for a in (1, -1) for b in (1, -1)]
        same, first, second, opposite = self._losses(points)
        return ((same - first) - (second - opposite)) / (4 * h**2)

    def _losses(self, points: list[Tensor]) -> list[float]:
        self.cost += len(points)
        return self.problem.losses(torch.stack(points)).tolist()


def _rms(values: np.ndarray) -> float:
    return float(np.sqrt(np.mean(values**2)))


def _nothing(_step: float) -> float:
    return math.nan
