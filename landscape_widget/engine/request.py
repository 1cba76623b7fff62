"""What `survey`, `compute` and `explore` are asked for, in all the forms it may come in; refused in words before anything is computed."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from typing import Any

import torch

from landscape_widget.engine.arguments import check_number
from landscape_widget.engine.directions import as_direction
from landscape_widget.engine.line import Line
from landscape_widget.engine.plane import Plane
from landscape_widget.engine.problem import Problem
from landscape_widget.engine.window import WINDOWS
from landscape_widget.interpolate import check_resolution

_LARGEST = sys.float_info.max
# A page may zoom out so many times.
_ZOOM = 2**4


def as_problem(model: Any, loss: Any = None, data: Any = None, *, num_axes: int = 2, **more: Any) -> Problem:
    """A Problem, given as such or as what it is made of; ``more`` as of :class:`Problem`, None where not given.

    Parameters
    ----------
    num_axes
        How many axes are wanted of its parameters: two span a plane, one a line.

    Raises
    ------
    TypeError
        For a Problem with more, and for a model without a loss.
    ValueError
        For a single parameter where a plane is wanted, which it does not span.
    TypeError, ValueError
        What :class:`Problem` raises.
    """
    if isinstance(model, Problem):
        given = ", ".join(k for k, v in {"loss": loss, "data": data, **more}.items() if v is not None)
        if given:
            raise TypeError(
                f"expected either a Problem or model, loss and data, got a Problem with {given}; give them to Problem(...), "
                "and axes as directions=(d1, d2)"
            )
        problem = model
    elif loss is None:
        raise TypeError(
            f"expected a Problem, got {type(model).__name__}; make one with Problem(model, loss, data), "
            "or give loss and data here"
        )
    else:
        problem = Problem(model, loss, data, **more)
    if problem.num_parameters < num_axes:
        raise ValueError(
            "expected a problem with at least two parameters, which a plane needs, got one with 1; "
            "params= chooses which ones count"
        )
    return problem


def as_plane(problem: Problem, directions: Any) -> Plane:
    """The plane that two directions of one's own span.

    Raises
    ------
    TypeError, ValueError
        For anything but a pair, for directions that do not fit the parameters, and for axes that are zero or parallel.
    """
    given = "directions as a pair (d1, d2)"
    if isinstance(directions, (str, bytes, Mapping)) or not hasattr(directions, "__getitem__"):
        raise TypeError(f"expected {given}, got {type(directions).__name__}")
    x, y = _both(directions, given)
    return Plane(problem.point, (as_direction(problem, x, 0), as_direction(problem, y, 1)))


def as_resolution(resolution: Any) -> tuple[int, int]:
    """(Points along α, points along β) from one number or two.

    Raises
    ------
    TypeError, ValueError
        For anything but 2^k + 1, naming the nearest two, and for more than 2¹² + 1.
    """
    pair = _both(resolution, "a resolution as one integer 2^k + 1 or a pair (for x, for y)")
    for count in pair:
        check_resolution(count)
    return int(pair[0]), int(pair[1])


def as_spans(span: Any) -> tuple[float, float] | None:
    """Half-widths along the two axes from one number or two; None stays None.

    Raises
    ------
    TypeError, ValueError
        For anything but positive finite numbers.
    """
    if span is None:
        return None
    x, y = _both(span, "a span as one number or a pair (for x, for y)")
    return as_span(x), as_span(y)


def as_span(span: Any) -> float:
    """The half-width along one axis.

    Raises
    ------
    TypeError, ValueError
        For anything but a positive finite number.
    """
    check_number(span, "span")
    if not 0 < span <= _LARGEST:
        raise ValueError(f"expected a positive span (the half-width along an axis), got {span}")
    return float(span)


def check_reach(problem: Problem, plane: Plane | Line | None, spans: tuple[float, ...] | None) -> None:
    """Refuse a window in which θ overflows, and axes so short that their coordinates would.

    Raises
    ------
    ValueError
        Naming the span or axis, and the type whose range it leaves.
    """
    limit, name = torch.finfo(problem.dtype).max / _ZOOM, str(problem.dtype).removeprefix("torch.")
    # Eigenvectors have norm 1, so that no entry is larger.
    peaks, norms = ((1.0, 1.0), (1.0, 1.0)) if plane is None else (plane.axes.abs().amax(1).tolist(), plane.norms)
    furthest = float(problem.point.abs().max())
    # A window that is found on the loss reaches as far as ‖θ*‖.
    reach = float(problem.point.double().norm()) or 1.0
    for i, (peak, norm) in enumerate(zip(peaks, norms, strict=True)):
        if spans is not None and not (spans[i] <= limit and spans[i] * peak + furthest <= limit):
            raise ValueError(
                f"expected a span within which θ* + α d stays below {limit:.2g} in {name}, got {spans[i]:g}; "
                "it is the half-width in coordinates of the axis"
            )
        if spans is None and reach / norm > limit:
            assert plane is not None
            raise ValueError(
                f"expected axes along which θ* can be moved by its own norm in {name}, got {plane.directions[i].label!r} "
                f"of norm {norm:.2g}; give it another length"
            )


def check_window(window: Any) -> None:
    """Raise ValueError for a window that is none."""
    if not isinstance(window, str) or window not in WINDOWS:
        raise ValueError(f"expected window 'saddle' or 'wide', got {window!r}; span= gives the half-widths in numbers")


def _both(value: Any, what: str) -> tuple[Any, Any]:
    """The two items of a pair; twice the same of what has no items."""
    if isinstance(value, (str, bytes, Mapping)) or not hasattr(value, "__getitem__") or getattr(value, "ndim", 1) == 0:
        return value, value
    if len(value) != 2:
        raise ValueError(f"expected {what}, got {len(value)} of them")
    return value[0], value[1]
