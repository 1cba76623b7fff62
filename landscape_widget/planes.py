"""The planes that one session has looked at: none is measured twice, whatever is wished for meanwhile."""

from __future__ import annotations

from typing import Any

from landscape_widget.engine.directions import filters_move, random_directions
from landscape_widget.engine.plane import Plane
from landscape_widget.engine.plane_survey import Facts, PlaneSurvey
from landscape_widget.engine.problem import Problem
from landscape_widget.landscape import Direction

_MAX_PLANES = 32
_NUM_RANDOM = 2

PlaneKey = tuple[str, str, str, int]
"""Keys of both directions, window, zoom."""


class Planes:
    """Surveys by what is wished for. One left half-done goes on, exchanged axes are turned round, the one unused longest goes.

    Parameters
    ----------
    problem
        Whose loss.
    tolerance, seed
        As in :func:`landscape_widget.survey`.
    """

    def __init__(self, problem: Problem, *, tolerance: float, seed: int) -> None:
        self.problem, self.tolerance, self.seed = problem, tolerance, seed
        self.directions: dict[str, Direction] = {}
        """What planes can be spanned by."""
        self.facts: Facts | None = None
        """What is known at θ*; needed before the first survey."""
        self._surveys: dict[PlaneKey, PlaneSurvey] = {}
        self._given: dict[tuple[str, str, str], tuple[float, float]] = {}

    def give_spans(self, x: str, y: str, window: str, spans: tuple[float, float]) -> None:
        """Set the half-widths of a plane's window, which are else found on the loss."""
        self._given[x, y, window] = spans
        self._given[y, x, window] = spans[1], spans[0]

    def survey(self, key: PlaneKey, resolution: int) -> PlaneSurvey:
        """The wished plane's survey: the one left half-done, or that of the exchanged axes turned round, or a new one."""
        x, y, window, zoom = key
        survey = self._surveys.pop(key, None)
        # Never both: one of the two goes on with all cells, the other would not know them.
        exchanged = self._surveys.pop((y, x, window, zoom), None)
        if exchanged is not None and exchanged.prepared:
            survey = exchanged.transposed()
        if survey is None:
            assert self.facts is not None
            others = [s for k, s in self._surveys.items() if k[:3] == key[:3] and s.prepared]
            known = others[0].spans if others else self._given.get(key[:3])
            survey = self.new(
                (self.directions[x], self.directions[y]),
                self.facts,
                resolution=resolution,
                tolerance=self.tolerance,
                window=window,
                spans=known,
                zoom=zoom,
            )
            # Wider and narrower windows have cells in common.
            for other in others:
                survey.absorb(other)
        if survey.grid.shape != (resolution, resolution):
            survey.set_resolution((resolution, resolution))
        # Last used last; the oldest goes first.
        self._surveys[key] = survey
        while len(self._surveys) > _MAX_PLANES:
            del self._surveys[next(iter(self._surveys))]
        return survey

    def new(self, axes: tuple[Direction, Direction], facts: Facts, *, resolution: int, **settings: Any) -> PlaneSurvey:
        """A survey that is not kept, on a square grid; further settings as of :class:`PlaneSurvey`."""
        plane, square = Plane(self.problem.point, axes), (resolution, resolution)
        return PlaneSurvey(self.problem, plane, facts, resolution=square, seed=self.seed, **settings)


def offered(k: int, own: tuple[Direction, ...]) -> tuple[str, ...]:
    """Keys of the directions that a session offers, known before any is found; at a critical point there is no gradient."""
    ends = (f"{end}-{i + 1}" for end in ("largest", "smallest") for i in range(k))
    return (*ends, *(f"random-{i}" for i in range(_NUM_RANDOM)), "gradient", *(d.key for d in own))


def random_offers(problem: Problem, seed: int) -> tuple[Direction, ...]:
    """Filter-normalized, or of unit length where those cannot move anything: weights that are zero, or of one dimension only."""
    normalization = "filter" if filters_move(problem) else "unit"
    return random_directions(problem, _NUM_RANDOM, normalization=normalization, seed=seed)
