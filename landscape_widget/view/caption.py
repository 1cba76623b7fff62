"""Captions: what a landscape shows, in plain words, made from its recipe; nothing is claimed that was not measured or proven."""

from __future__ import annotations

import numpy as np

from landscape_widget.display import Display
from landscape_widget.landscape import Curvature, Direction, Landscape, Recipe
from landscape_widget.view.numbers import number, with_error
from landscape_widget.view.patches import ritz_value

# At a saddle the gradient must be so small that beyond this share of ‖θ*‖ even the negative curvature outweighs it.
_STATIONARY = 1e-3
# A window that reaches this part of ‖θ*‖ ends there for no other reason.
_WHOLE = 0.99
# Round-off of a loss, in machine epsilons; a rise over the loss at the centre that hides everything else.
_ROUND_OFF, _WALL = 8, 1e3


def caption(landscape: Landscape) -> list[str]:
    """Sentences on what one sees: axes and unit, data, cells and their error, curvature, gradient, and the verdict on the point."""
    recipe = landscape.recipe
    return [
        sentence
        for sentence in (
            _axes(recipe),
            _what(recipe),
            *([_part(landscape)] if landscape.sem is not None else _all(landscape)),
            *_notes(recipe),
        )
        if sentence
    ]


def verdict(recipe: Recipe) -> str:
    """What kind of point θ* is, as far as it is proven.

    Negative curvature is proven by vᵀHv < −noise for one unit v. A saddle needs a gradient small against the
    curvature as well. That nothing negative was found proves no minimum; it is said with the one-sided 99 % bound of
    the Lanczos run. And since no gradient is small against curvatures near zero, such a point is called critical only
    where the gradient is round-off.
    """
    curvature, gradient = recipe.curvature, recipe.gradient_norm
    if curvature is None:
        return ""
    reach = recipe.theta_norm or 1.0
    lowest = curvature.smallest[0]
    if lowest < -curvature.noise:
        # One unit vector with vᵀHv < 0 proves one, however many Ritz values there are.
        count = max(1, curvature.num_negative)
        bound = f"at least {count:,} negative eigenvalue{'s' if count > 1 else ''}"
        if gradient is None:
            return f"Negative curvature: {bound}. The gradient was not computed, so that the trained point need not be a saddle."
        # Against the negative curvature itself: the gradient must be small for the saddle to be one.
        if gradient <= _STATIONARY * abs(lowest) * reach:
            if curvature.largest[0] > curvature.noise:
                return f"The trained point is a saddle: ‖∇L‖ = {number(gradient)}, {bound}."
            return f"The trained point is a critical point with negative curvature, {bound}; no positive curvature was found."
        return (
            f"Negative curvature at a non-stationary point: {bound}, and a gradient ‖∇L‖ = {number(gradient)} "
            "that is not small against it."
        )
    below = curvature.unseen_below
    found = "no negative curvature found, without a bound"
    if below is not None:
        found = f"no negative curvature below {number(min(below, -curvature.noise))} found (99 %)"
    if gradient is None:
        return f"{found[0].upper()}{found[1:]}; the gradient was not computed."
    if curvature.negligible(gradient, recipe.theta_norm):
        return f"A critical point up to round-off (‖∇L‖ = {number(gradient)}); {found}."
    return f"Not exactly a critical point (‖∇L‖ = {number(gradient)}); {found}."


def _all(landscape: Landscape) -> list[str]:
    """What is said of a landscape over all of the data only."""
    recipe = landscape.recipe
    return [
        *_cells(landscape),
        _curvature(recipe),
        verdict(recipe),
        *_missing_dips(landscape),
        *_window(landscape),
    ]


def _part(landscape: Landscape) -> str:
    """That only a part of the data was used, and what that makes uncertain."""
    assert landscape.sem is not None
    known, count = landscape.sem[landscape.measured & np.isfinite(landscape.sem)], landscape.recipe.num_samples
    error = f" (standard error of a cell up to {number(float(known.max()))})" if known.size else ""
    return (
        f"Preliminary, from {f'{count:,} data points' if count else 'some batches'} drawn at random{error}: "
        "axes, window and heights will change when all data are taken."
    )


def _missing_dips(landscape: Landscape) -> list[str]:
    """Where the Hessian curves down along an axis and no cell on that axis lies below the centre: why one sees no dip."""
    recipe, surface = landscape.recipe, landscape.surface()
    if recipe.axis_curvature is None or recipe.curvature is None:
        return []
    row, column = len(landscape.betas) // 2, len(landscape.alphas) // 2
    sentences = []
    for name, value, norm, line in (
        ("x", recipe.axis_curvature[0], recipe.directions[0].norm, surface[row]),
        ("y", recipe.axis_curvature[2], recipe.directions[1].norm, surface[:, column]),
    ):
        curvature = value / norm**2
        if curvature < -recipe.curvature.noise and np.isfinite(line).all() and line.min() >= surface[row, column]:
            sentences.append(
                f"Along {name} the Hessian curves down (vᵀHv = {number(curvature)}), but no cell lies below the centre: "
                "the dip is narrower than this window shows, or the loss has kinks that the Hessian does not see."
            )
    return sentences


def _window(landscape: Landscape) -> list[str]:
    """What is odd about the window: that it ends at ‖θ*‖, shows nothing but round-off, or one wall."""
    recipe, sentences = landscape.recipe, []
    lengths = [span * d.norm for span, d in zip(recipe.spans, recipe.directions, strict=True)]
    if recipe.window == "saddle" and recipe.theta_norm:
        ends = [name for name, length in zip("xy", lengths, strict=True) if length >= _WHOLE * recipe.theta_norm]
        if ends:
            sentences.append(
                f"Along {' and '.join(ends)} the window reaches as far as ‖θ*‖, where the search for its end stops: "
                "within that the loss changes little, or does not come back."
            )
    center = recipe.center_loss
    if center is None or not np.isfinite(center) or not landscape.measured.any():
        return sentences
    shown = Display().range(landscape.losses[landscape.measured])
    round_off = _ROUND_OFF * float(np.finfo(recipe.dtype).eps) * abs(center)
    if landscape.num_measured > 1 and shown <= round_off:
        sentences.append(
            f"The loss changes by {number(shown)} here, about its round-off in {recipe.dtype}: a wider window, or float64, "
            "shows more."
        )
    if center and shown > _WALL * abs(center):
        sentences.append(
            f"The loss rises to {shown / abs(center):,.0f} times its value at the trained point: a narrower window "
            "or the log scale shows what is near it."
        )
    return sentences


def _axes(recipe: Recipe) -> str:
    x, y = (_axis(d, recipe.curvature) for d in recipe.directions)
    spans = [span * d.norm for span, d in zip(recipe.spans, recipe.directions, strict=True)]
    share = [f", {number(100 * s / recipe.theta_norm, 2)} % of ‖θ*‖" if recipe.theta_norm else "" for s in spans]
    lengths = [f"±{number(s)} in ‖Δθ‖{p}" for s, p in zip(spans, share, strict=True)]
    oblique = f" The axes are not perpendicular (cosine {recipe.cosine:.2f})." if abs(recipe.cosine) > 0.01 else ""
    return f"x: {x} ({lengths[0]}); y: {y} ({lengths[1]}).{oblique}"


def _axis(direction: Direction, known: Curvature | None) -> str:
    if direction.curvature is None:
        return direction.label
    if direction.kind != "hessian":
        return f"{direction.label}, curvature {number(direction.curvature)}"
    return f"{direction.label}, {ritz_value(direction, known)}"


def _what(recipe: Recipe) -> str:
    data = f"{recipe.num_samples:,} data points" if recipe.num_samples else "the data"
    loss = "" if recipe.center_loss is None else f", {number(recipe.center_loss)} at the trained point"
    name = "loss" if recipe.loss == "<lambda>" else recipe.loss
    return f"Height: mean {name} of {recipe.model} ({recipe.num_parameters:,} parameters) over {data}{loss}."


def _cells(landscape: Landscape) -> list[str]:
    total, measured, error = landscape.measured.size, landscape.num_measured, landscape.error
    sentence = f"{measured:,} of {total:,} cells measured"
    surface = landscape.surface()
    unknown = int((~np.isfinite(surface) & ~landscape.measured).sum())
    if measured < total:
        sentence += (
            f", {total - measured - unknown:,} predicted, {unknown:,} unknown" if unknown else ", the others predicted"
        )
        if error.bound is not None:
            sentence += (
                f"; with {100 * error.confidence:.0f} % confidence at least {100 * error.share:.0f} % of the cells are "
                f"within {_relative(error.bound, landscape)} of the loss"
            )
        if error.expected_largest is not None:
            sentence += f"; largest error expected (an estimate): {_relative(error.expected_largest, landscape)}"
    sentences = [sentence + "."]
    holes = int((landscape.measured & ~np.isfinite(landscape.losses)).sum())
    if holes:
        subject = "1 cell is a hole" if holes == 1 else f"{holes:,} cells are holes"
        sentences.append(f"{subject}: the loss is not finite there.")
    return sentences


def _relative(error: float, landscape: Landscape) -> str:
    """An error of what is displayed, with its share of the range."""
    recipe = landscape.recipe
    span = landscape.error.range or Display(recipe.scale, recipe.clip).range(landscape.surface())
    # A difference of logarithms is a factor.
    told = f"{number(100 * np.expm1(error))} %" if recipe.scale == "log" else number(error)
    clipped = "" if recipe.clip is None else f", losses cut off at {number(recipe.clip)}"
    kind = "range of log-losses" if recipe.scale == "log" else "range"
    return f"{told} ({number(error / span, 1)} of the {kind}{clipped})" if span > 0 else told


def _curvature(recipe: Recipe) -> str:
    curvature = recipe.curvature
    gradient = "" if recipe.gradient_norm is None else f"‖∇L‖ = {number(recipe.gradient_norm)}"
    if curvature is None:
        return f"{gradient}." if gradient else ""
    largest = with_error(curvature.largest[0], curvature.error(curvature.largest_residuals[0]))
    smallest = with_error(curvature.smallest[0], curvature.error(curvature.smallest_residuals[0]))
    upper, lower = curvature.ends_converged
    known = (
        f"λ_max = {largest}" if upper else f"largest Ritz value {largest}",
        f"λ_min = {smallest}" if lower else f"smallest Ritz value {smallest}",
    )
    missing = ("no eigenvalues yet", "a Ritz value is no eigenvalue yet", "further ones are to come")[upper + lower]
    state = "" if curvature.converged else f"; not all converged: {missing}"
    ends = f"Hessian: {', '.join(known)} ({curvature.num_matvecs:,} Hessian-vector products{state})"
    return f"{ends}; {gradient}." if gradient else f"{ends}."


def _notes(recipe: Recipe) -> list[str]:
    return [f"Note: {note}." for note in recipe.notes]
