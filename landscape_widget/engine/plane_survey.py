"""The survey of one plane: a window is found, then cells are measured coarse to fine, in steps short enough to stop between."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Generator, Iterator
from dataclasses import dataclass, replace

import numpy as np
import torch

from landscape_widget import __version__
from landscape_widget.display import Display
from landscape_widget.engine.critical import slice_critical_points
from landscape_widget.engine.data import tensor_bytes, tensors
from landscape_widget.engine.differentiability import NoSecondDerivativeError
from landscape_widget.engine.grid import Grid, coordinates
from landscape_widget.engine.journal import PlaneJournal
from landscape_widget.engine.operators import Hessian
from landscape_widget.engine.plane import Plane
from landscape_widget.engine.problem import Problem
from landscape_widget.engine.round_off import mostly_round_off, surely_round_off
from landscape_widget.engine.window import WindowSearch
from landscape_widget.landscape import CriticalPoint, Curvature, Direction, Landscape, Recipe

# A chunk of work between two chances to stop, in seconds (or one micro-batch, if that takes longer).
_CHUNK = 0.05
# Ritz vectors of one run are orthogonal to within this |cos|, in single precision too.
_ORTHOGONAL = 1e-4
# Extrema less persistent than this share of the range are noise.
_PERSISTENCE = 2e-3


@dataclass(frozen=True)
class Facts:
    """What is known of a problem at θ*, whatever the plane."""

    theta_norm: float
    gradient_norm: float
    center_loss: float
    data_digest: str
    curvature: Curvature | None = None


def facts(problem: Problem, curvature: Curvature | None = None) -> Facts:
    """Loss, gradient and norms at θ*: one gradient and one pass over the data."""
    return Facts(
        theta_norm=float(problem.point.double().norm()),
        gradient_norm=float(problem.gradient().double().norm()),
        center_loss=problem.loss(),
        data_digest=_digest(problem),
        curvature=curvature,
    )


def axis_curvature(problem: Problem, plane: Plane) -> tuple[float, float, float]:
    """d₁ᵀHd₁, d₁ᵀHd₂, d₂ᵀHd₂ with the axes as they are: from two Hessian-vector products."""
    hessian = Hessian(problem)
    products = (hessian @ plane.axes).double()
    hessian.release()
    projected = plane.axes.double() @ products.T
    return float(projected[0, 0]), float(0.5 * (projected[0, 1] + projected[1, 0])), float(projected[1, 1])


class PlaneSurvey:
    """The survey of one plane in one window: its state in plain sight, advanced in short steps.

    Parameters
    ----------
    problem, plane, facts
        What is surveyed.
    resolution
        (columns, rows) = (points along α, points along β), each 2^k + 1.
    tolerance, seed
        Of the refinement: as in :func:`landscape_widget.survey`.
    window
        "saddle" or "wide"; how the half-widths are found where ``spans`` is None.
    spans
        Half-widths along the axes.
    zoom
        The half-widths are multiplied by 2^zoom.
    display
        How the losses are seen: what the tolerance is relative to.
    journal
        What is known of the plane already, and where what is found is written; the caller commits.
    """

    def __init__(
        self,
        problem: Problem,
        plane: Plane,
        facts: Facts,
        *,
        resolution: tuple[int, int],
        tolerance: float = 1e-3,
        seed: int = 0,
        window: str = "saddle",
        spans: tuple[float, float] | None = None,
        zoom: int = 0,
        display: Display | None = None,
        journal: PlaneJournal | None = None,
    ) -> None:
        self.problem, self.plane, self.facts, self.journal = problem, plane, facts, journal
        self.window, self.spans, self.zoom, self.tolerance, self.seed = window, spans, zoom, tolerance, seed
        self.display = display or Display()
        self.curvature: tuple[float, float, float] | None = None
        self.seconds, self.num_cells = 0.0, 0
        """Time spent on cells, and how many."""
        self.grid = self._new_grid((resolution[1], resolution[0]))
        # One for each resolution seen, with its verdict on the prediction.
        self._grids = {self.grid.shape: self.grid}
        self._critical: tuple[object, tuple[CriticalPoint, ...]] = (None, ())
        self._settled = False
        self._steps = self._run()

    @property
    def prepared(self) -> bool:
        """Whether the window is known, and how cells are evaluated, so that there is a landscape to show."""
        known = self.curvature is not None or self.problem.has_hessian is False
        return self.spans is not None and known and self._settled

    @property
    def done(self) -> bool:
        """Whether nothing is left to measure at this resolution."""
        return self.prepared and self.grid.done

    @property
    def eta(self) -> float | None:
        """Seconds to measure the cells that are still expected to be needed; None before the first cell."""
        if not self.num_cells:
            return None
        return 0.0 if self.done else self.grid.num_remaining * self.seconds / self.num_cells

    def step(self) -> bool:
        """Work for one chunk (50 ms, or one micro-batch where that takes longer); False when there is nothing left to do.

        After an exception (of the user's loss) it can be called again: what was found and measured is kept.
        """
        began, worked = time.perf_counter(), False
        while not self.done and not (worked and time.perf_counter() - began > _CHUNK):
            worked = True
            try:
                next(self._steps)
            except Exception:
                self._steps = self._run()
                raise
        return worked

    def set_resolution(self, resolution: tuple[int, int]) -> None:
        """Go on at another resolution with every cell measured so far; one that was finished before is finished."""
        shape = (resolution[1], resolution[0])
        grid = self._grids.get(shape) or self._new_grid(shape)
        grid.show(self.display)
        for other in self._grids.values():
            grid.absorb(other)
        self.grid = self._grids[shape] = grid

    def show(self, display: Display) -> None:
        """Go on until the losses are as sure as displayed otherwise."""
        self.display = display
        self.grid.show(display)

    def absorb(self, other: PlaneSurvey) -> None:
        """Take over what a survey of the same axes and half-widths at another zoom has measured."""
        assert self.spans == other.spans
        for grid in other._grids.values():
            self.grid.absorb(grid, self.zoom - other.zoom)

    def coordinates(self) -> tuple[np.ndarray, np.ndarray]:
        """(alphas, betas), symmetric about an exact 0."""
        assert self.spans is not None
        rows, columns = self.grid.shape
        scale = 2.0**self.zoom
        return coordinates(columns, self.spans[0] * scale), coordinates(rows, self.spans[1] * scale)

    def transposed(self) -> PlaneSurvey:
        """The survey of the same plane with its axes exchanged, with every cell measured so far and what they proved."""
        assert self.spans is not None
        x, y = self.plane.directions
        other = PlaneSurvey(
            self.problem,
            Plane(self.plane.origin, (y, x)),
            self.facts,
            resolution=self.grid.shape,
            tolerance=self.tolerance,
            seed=self.seed,
            window=self.window,
            spans=(self.spans[1], self.spans[0]),
            zoom=self.zoom,
            display=self.display,
            journal=self.journal and self.journal.exchanged(),
        )
        if self.curvature is not None:
            a, b, c = self.curvature
            other.curvature = c, b, a
        other.seconds, other.num_cells, other._settled = self.seconds, self.num_cells, self._settled
        other._grids = {shape[::-1]: grid.transposed() for shape, grid in self._grids.items()}
        other.grid = other._grids[self.grid.shape[::-1]]
        return other

    def landscape(self) -> Landscape:
        """The landscape as it stands. Critical points are those of the last full level (looking for them costs more than a chunk)."""
        alphas, betas = self.coordinates()
        grid, names = self.grid, self.problem.metric_names
        landscape = Landscape(
            alphas,
            betas,
            grid.values.copy(),
            grid.measured.copy(),
            self._recipe(),
            error=grid.error,
            metrics={name: values.copy() for name, values in zip(names, grid.metrics, strict=True)},
        )
        state = (grid.shape, grid.num_full_levels, grid.bound)
        if state != self._critical[0] and grid.num_full_levels > 0:
            surface = landscape.surface()
            threshold = _PERSISTENCE * Display().range(surface[grid.measured])
            self._critical = state, slice_critical_points(surface, alphas, betas, threshold=threshold)
        return replace(landscape, critical=self._critical[1] if state == self._critical[0] else ())

    def _new_grid(self, shape: tuple[int, int]) -> Grid:
        return Grid(
            shape,
            tolerance=self.tolerance,
            seed=self.seed,
            noise=mostly_round_off(self.facts.center_loss, self.problem.dtype),
            display=self.display,
            num_metrics=len(self.problem.metric_names),
        )

    def _run(self) -> Iterator[None]:
        if self.curvature is None and self.problem.has_hessian is not False:
            self.curvature = self._known_axis_curvature()
            yield
        # Before the first probe: all losses are to be evaluated the same way.
        yield from self.problem.settle(self.plane)
        self._settled = True
        if self.spans is None:
            self.spans = yield from self._find_spans()
        while True:
            yield from self._measure(self.grid)

    def _find_spans(self) -> Generator[None, None, tuple[float, float]]:
        known = self.journal and self.journal.spans(self.window)
        if known:
            return known
        a, _, c = self.curvature or (0.0, 0.0, 0.0)
        norms = self.plane.norms
        x, y = self.plane.directions
        search = WindowSearch(
            norms,
            (_beyond_error(a / norms[0] ** 2, x), _beyond_error(c / norms[1] ** 2, y)),
            self.facts.theta_norm,
            self.window,
            noise=surely_round_off(self.facts.center_loss, self.problem.dtype),
        )
        while point := search.ask():
            alpha, beta = point
            quantities = yield from self._quantities(np.array([alpha]), np.array([beta]))
            search.tell(float(quantities[0, 0]))
        assert search.spans is not None
        return self.journal.save_spans(self.window, search.spans) if self.journal else search.spans

    def _measure(self, grid: Grid) -> Iterator[None]:
        """Measure as many of the cells that the grid wants as go into one pass."""
        cells = grid.ask()[: self.problem.cells_per_pass]
        alphas, betas = self.coordinates()
        pass_ = self._quantities(alphas[cells[:, 1]], betas[cells[:, 0]])
        quantities = None
        while quantities is None:
            began = time.perf_counter()
            try:
                next(pass_)
            except StopIteration as end:
                quantities = end.value
            self.seconds += time.perf_counter() - began
            yield
        grid.tell(cells, quantities[:, 0], quantities[:, 1:].T)
        self.num_cells += len(cells)
        # The resolution may have changed meanwhile.
        self.grid.absorb(grid)

    def _quantities(self, alphas: np.ndarray, betas: np.ndarray) -> Generator[None, None, np.ndarray]:
        """Loss and metrics at points of the plane, shape (p, q): what is not known already is measured, a micro-batch at a time."""
        if self.journal is None:
            return (yield from self.problem.iter_plane_losses(self.plane, alphas, betas))
        values, known = self.journal.known(alphas, betas)
        if not known.all():
            new = ~known
            values[new] = yield from self.problem.iter_plane_losses(self.plane, alphas[new], betas[new])
            self.journal.record(alphas[new], betas[new], values[new])
        return values

    def _known_axis_curvature(self) -> tuple[float, float, float] | None:
        known = self.journal and self.journal.axis_curvature()
        found = known or self._axis_curvature()
        return self.journal.save_axis_curvature(found) if self.journal and found and not known else found

    def _axis_curvature(self) -> tuple[float, float, float] | None:
        x, y = self.plane.directions
        # Ritz vectors of one run: the projected Hessian is diagonal. Those of two runs are not orthogonal.
        of_one_run = x.kind == y.kind == "hessian" and abs(self.plane.cosine) < _ORTHOGONAL
        if of_one_run and x.curvature is not None and y.curvature is not None:
            a, b = self.plane.norms
            return x.curvature * a**2, 0.0, y.curvature * b**2
        try:
            return axis_curvature(self.problem, self.plane)
        except NoSecondDerivativeError as error:
            # The surface needs none.
            self.problem.has_no_hessian(error)
            return None

    def _recipe(self) -> Recipe:
        problem, plane = self.problem, self.plane
        assert self.spans is not None
        directions = tuple(replace(d, norm=norm) for d, norm in zip(plane.directions, plane.norms, strict=True))
        scale = 2.0**self.zoom
        center = self.grid.values[self.grid.shape[0] // 2, self.grid.shape[1] // 2]
        return Recipe(
            directions=(directions[0], directions[1]),
            spans=(self.spans[0] * scale, self.spans[1] * scale),
            window=self.window,
            resolution=(self.grid.shape[1], self.grid.shape[0]),
            tolerance=self.tolerance,
            seed=self.seed,
            model=problem.model_name,
            loss=problem.loss_name,
            num_parameters=problem.num_parameters,
            num_samples=problem.num_samples,
            theta_norm=self.facts.theta_norm,
            gradient_norm=self.facts.gradient_norm,
            # As the strategy evaluates it, which differs by round-off.
            center_loss=float(center) if np.isfinite(center) else self.facts.center_loss,
            cosine=plane.cosine,
            axis_curvature=self.curvature,
            curvature=self.facts.curvature,
            dtype=str(problem.dtype).removeprefix("torch."),
            device=str(problem.device),
            data_digest=self.facts.data_digest,
            versions=_versions(),
            notes=tuple(problem.notes),
            scale=self.display.scale,
            clip=self.display.clip,
            strategy=problem.strategy,
        )


def _beyond_error(curvature: float, direction: Direction) -> float:
    """A curvature, or 0 where its sign lies within its error: what would be a dip is as likely none."""
    return 0.0 if direction.residual is not None and abs(curvature) <= direction.residual else curvature


def _digest(problem: Problem) -> str:
    """Identifies the data: a hash over the first batch's bytes and the number of samples."""
    digest = hashlib.blake2b(str(problem.num_samples).encode(), digest_size=8)
    for tensor in tensors(next(problem.terms()).batch):
        digest.update(tensor_bytes(tensor))
    return digest.hexdigest()


def _versions() -> dict[str, str]:
    return {"landscape_widget": __version__, "torch": torch.__version__, "numpy": np.__version__}
