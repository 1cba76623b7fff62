"""Captions: what a landscape shows, in plain words, made from its recipe; nothing is claimed that was not measured or proven."""

from __future__ import annotations

import math

import numpy as np

from landscape_widget.landscape import Curvature, Direction, Landscape, Recipe
from landscape_widget.view.numbers import number, with_error

# A point counts as critical when the gradient is so small that beyond this share of ‖θ*‖ the curvature outweighs it.
_STATIONARY = 0.01


def caption(landscape: Landscape) -> list[str]:
    """Sentences on what one sees: axes and unit, data, cells and their error, curvature, gradient, and the verdict on the point."""
    recipe = landscape.recipe
    return [
        sentence
        for sentence in (
            _axes(recipe),
            _what(recipe),
            *_cells(landscape),
            _curvature(recipe),
            verdict(recipe),
            *_notes(recipe),
        )
        if sentence
    ]


def verdict(recipe: Recipe) -> str:
    """What kind of point θ* is, as far as it is proven.

    Negative curvature is proven by vᵀHv < −noise for one unit v. A saddle needs a gradient small against the
    curvature as well. That nothing negative was found proves no minimum; it is said with the one-sided 99 % bound of
    the Lanczos run.
    """
    curvature = recipe.curvature
    if curvature is None:
        return ""
    gradient = recipe.gradient_norm if recipe.gradient_norm is not None else math.inf
    strongest = max(map(abs, (*curvature.largest, *curvature.smallest)))
    critical = gradient <= _STATIONARY * strongest * (recipe.theta_norm or 1.0)
    lowest = curvature.smallest[0]
    if lowest < -curvature.noise:
        bound = f"at least {curvature.num_negative} negative eigenvalue{'s' if curvature.num_negative > 1 else ''}"
        # Against the negative curvature itself: the gradient must be small for the saddle to be one.
        if gradient <= _STATIONARY * abs(lowest) * (recipe.theta_norm or 1.0):
            if curvature.largest[0] > curvature.noise:
                return f"The trained point is a saddle: gradient {number(gradient)}, {bound}."
            return f"The trained point is a critical point with negative curvature, {bound}; no positive curvature was found."
        return f"Negative curvature at a non-stationary point: {bound}, and a gradient of {number(gradient)} that is not small against it."
    below = curvature.unseen_below
    found = (
        f"no negative curvature below {number(min(below, -curvature.noise))} found (99 %)"
        if below is not None
        else "no negative curvature found"
    )
    return f"{'A critical point' if critical else 'Not a critical point'} (gradient {number(gradient)}); {found}."


def _axes(recipe: Recipe) -> str:
    x, y = (_axis(d) for d in recipe.directions)
    spans = [span * d.norm for span, d in zip(recipe.spans, recipe.directions, strict=True)]
    share = [f", {number(100 * s / recipe.theta_norm, 2)} % of ‖θ*‖" if recipe.theta_norm else "" for s in spans]
    lengths = [f"±{number(s)} in ‖Δθ‖{p}" for s, p in zip(spans, share, strict=True)]
    oblique = f" The axes are not perpendicular (cosine {recipe.cosine:.2f})." if abs(recipe.cosine) > 0.01 else ""
    return f"x: {x} ({lengths[0]}); y: {y} ({lengths[1]}).{oblique}"


def _axis(direction: Direction) -> str:
    if direction.curvature is None:
        return direction.label
    if direction.kind != "hessian":
        return f"{direction.label}, curvature {number(direction.curvature)}"
    if direction.preliminary:
        return f"{direction.label}, vᵀHv = {number(direction.curvature)}, still sharpening"
    state = "" if direction.converged else ", not converged: no eigenvalue yet"
    return f"{direction.label}, {direction.symbol} = {with_error(direction.curvature, direction.residual or 0.0)}{state}"


def _what(recipe: Recipe) -> str:
    data = f"{recipe.num_samples:,} data points" if recipe.num_samples else "the data"
    loss = "" if recipe.center_loss is None else f", {number(recipe.center_loss)} at the trained point"
    return f"Height: mean {recipe.loss} of {recipe.model} ({recipe.num_parameters:,} parameters) over {data}{loss}."


def _cells(landscape: Landscape) -> list[str]:
    total, measured, error = landscape.measured.size, landscape.num_measured, landscape.error
    sentence = f"{measured:,} of {total:,} cells measured"
    surface = landscape.surface()
    finite = surface[np.isfinite(surface)]
    span = float(finite.max() - finite.min()) if finite.size else 0.0
    if measured < total:
        if error.bound is not None:
            sentence += f"; with {error.confidence:.0%} confidence at least {error.share:.0%} of the cells are within "
            sentence += f"{_relative(error.bound, span)} of the loss"
        elif error.expected_largest is not None:
            sentence += f", the others predicted; largest error expected (an estimate): {_relative(error.expected_largest, span)}"
        else:
            sentence += ", the others predicted"
    sentences = [sentence + "."]
    holes = int((landscape.measured & ~np.isfinite(landscape.losses)).sum())
    if holes:
        subject = "1 cell is a hole" if holes == 1 else f"{holes:,} cells are holes"
        sentences.append(f"{subject}: the loss is not finite there.")
    return sentences


def _relative(error: float, span: float) -> str:
    return f"{number(error)} ({number(error / span, 1)} of the range)" if span > 0 else number(error)


def _curvature(recipe: Recipe) -> str:
    curvature = recipe.curvature
    gradient = "" if recipe.gradient_norm is None else f"‖∇L‖ = {number(recipe.gradient_norm)}"
    if curvature is None:
        return f"{gradient}." if gradient else ""
    ends = (
        f"Hessian: {_value('λ_max', curvature, curvature.largest, curvature.largest_residuals)}, "
        f"{_value('λ_min', curvature, curvature.smallest, curvature.smallest_residuals)} ({curvature.num_matvecs} products)"
    )
    return f"{ends}; {gradient}." if gradient else f"{ends}."


def _value(name: str, curvature: Curvature, values: tuple[float, ...], residuals: tuple[float, ...]) -> str:
    return f"{name} = {with_error(values[0], max(residuals[0], curvature.noise))}"


def _notes(recipe: Recipe) -> list[str]:
    return [f"Note: {note}." for note in recipe.notes]

