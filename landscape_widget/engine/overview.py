"""The spectrum as a whole, a few products at a time: moments, density, h₀ and random planes, beside the pairs that are known."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Generator
from dataclasses import dataclass, replace

from landscape_widget.engine.density import iter_spectral_density
from landscape_widget.engine.directions import filters_move
from landscape_widget.engine.eigendirections import HessianDirections
from landscape_widget.engine.kinks import iter_quadratic_range
from landscape_widget.engine.moments import iter_spectral_moments
from landscape_widget.engine.problem import Problem
from landscape_widget.engine.random_planes import iter_random_planes
from landscape_widget.spectrum import QuadraticRange, RandomPlanes, SpectralDensity, SpectralMoments

# Products for each part. The first density stands after as many as one probe has steps.
_MOMENT_PROBES, _DENSITY_PROBES, _DENSITY_STEPS, _PLANE_PROBES = 48, 6, 40, 64


@dataclass(frozen=True)
class Overview:
    """What is known of the spectrum so far; None where nothing is."""

    moments: SpectralMoments | None = None
    density: SpectralDensity | None = None
    planes: RandomPlanes | None = None
    ranges: tuple[tuple[str, QuadraticRange], ...] = ()
    """Symbol of an extreme eigenvalue, and how far along its vector the Hessian describes the loss."""


def iter_overview(
    problem: Problem, known: HessianDirections, *, seed: int = 0
) -> Generator[Callable[[], Overview], None, Overview]:
    """Ever better overviews, each made when it is asked for; yields after every few products.

    Parameters
    ----------
    problem
        Whose Hessian, at θ*.
    known
        Its pairs; converged ones stand in the density exactly.
    seed
        Of all probes.

    Yields
    ------
    callable
        Makes the overview as it stands; to be called before the next is asked for.

    Returns
    -------
    Overview
        With all that there is to know.
    """
    densities = iter_spectral_density(problem, _DENSITY_PROBES, _DENSITY_STEPS, known=known, seed=seed)
    # First the density of one probe: something to see. The others follow when the numbers are there.
    density = next(densities)
    yield lambda: Overview(density=density())
    for density in itertools.islice(densities, _DENSITY_STEPS):
        yield lambda density=density: Overview(density=density())
    found = Overview(density=density())
    for moments in iter_spectral_moments(problem, _MOMENT_PROBES, method="hutch++", seed=seed):
        found = replace(found, moments=moments)
        yield lambda found=found: found
    for direction in (known.directions[0], known.directions[-1]):
        # What was found at the last step is the result.
        reached = found
        for reach in iter_quadratic_range(problem, direction.vector):
            reached = replace(found, ranges=(*found.ranges, (direction.symbol, reach)))
            yield lambda found=found: found
        found = reached
    if problem.num_parameters > 1:
        # As the random directions on offer, or Gaussian where those cannot move anything.
        kind = "filter" if filters_move(problem) else "none"
        for planes in iter_random_planes(problem, _PLANE_PROBES, kind=kind, seed=seed):
            found = replace(found, planes=planes)
            yield lambda found=found: found
    for density in densities:
        yield lambda density=density: replace(found, density=density())
    return replace(found, density=density())
