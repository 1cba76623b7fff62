"""The loss along one direction: a window is found, then points are measured coarse to fine, as on a plane."""

from __future__ import annotations

from collections.abc import Generator
from dataclasses import replace
from typing import Any

from landscape_widget.display import Display
from landscape_widget.engine.arguments import check_seed, check_tolerance
from landscape_widget.engine.differentiability import NoSecondDerivativeError
from landscape_widget.engine.directions import as_direction, hessian_directions
from landscape_widget.engine.grid import Grid, coordinates
from landscape_widget.engine.line import Line
from landscape_widget.engine.operators import Hessian
from landscape_widget.engine.problem import Problem
from landscape_widget.engine.request import as_problem, as_span, check_reach
from landscape_widget.engine.round_off import mostly_round_off, surely_round_off
from landscape_widget.engine.window import LineSearch
from landscape_widget.interpolate import check_resolution
from landscape_widget.keywords import hinted
from landscape_widget.landscape import Direction
from landscape_widget.slice import Slice


@hinted
def slice_along(
    model: Any,
    loss: Any = None,
    data: Any = None,
    *,
    direction: Any = None,
    resolution: int = 129,
    span: float | None = None,
    tolerance: float = 1e-3,
    seed: int = 0,
    scale: str = "linear",
    clip: float | None = None,
    device: Any = None,
    params: Any = None,
    batch_weight: Any = None,
    metrics: Any = None,
) -> Slice:
    """Measure the loss along one direction through θ*: f(α) = L(θ* + α d).

    Parameters
    ----------
    model
        A :class:`Problem`, or a model with ``loss`` and ``data`` as :class:`Problem` takes them. One parameter is
        enough.
    direction
        d, a Direction, a flat tensor or array (n,), a list of tensors, or a state_dict, used exactly as given. By
        default the Hessian's eigenvector of smallest eigenvalue.
    resolution
        Points, 2^k + 1 up to 4097.
    span
        Half-width in coordinates of the direction. By default, along negative curvature, where the loss returns to
        its value at θ* (at most ‖θ*‖; less where a slope would hide the dip), and elsewhere where the loss has risen
        by itself.
    tolerance
        How far predicted losses may be off, relative to the range of those displayed on the level of 17 points.
        Refinement stops where points are predicted so well; then points drawn at random, at least 149, check the rest.
        Where fewer are left, all are measured; 0 measures all in any case.
    seed
        Of Lanczos and of the points that are tried and checked.
    scale, clip
        How the losses are to be displayed, as in :func:`landscape_widget.survey`.
    device, params, batch_weight, metrics
        As in :class:`Problem`, where ``model`` is none.

    Returns
    -------
    Slice
        Complete: every point is measured, or predicted within a checked error.

    Raises
    ------
    TypeError
        For an unknown keyword, a value of the wrong type, a model without a loss, and a Problem with more.
    ValueError
        For a resolution that is not 2^k + 1 or beyond 2¹² + 1, a direction that is zero, not finite or does not fit the
        parameters, a span that is not positive, a span or direction that leaves the range of θ's dtype, a tolerance
        outside [0, 1), a scale that is none, and a clip that is not finite.
    RuntimeError
        Without ``direction`` for a loss that cannot be differentiated twice.
    TypeError, ValueError
        What :class:`Problem` raises.

    Notes
    -----
    Slope and curvature at θ* are computed, not read off the curve; where the loss has no Hessian, ``curvature`` is
    None, and the window is where the loss has risen.

    Examples
    --------
    >>> import landscape_widget as lw
    >>> from landscape_widget import examples
    >>> along = lw.slice_along(examples.digits_saddle())  # λ_min, so that the loss dips on both sides
    >>> bool(along.curve().min() < along.center_loss), round(along.curvature, 4)
    (True, -0.2409)
    """
    check_seed(seed)
    check_tolerance(tolerance)
    check_resolution(resolution)
    half_width, display = None if span is None else as_span(span), Display(scale, clip)
    given = {"device": device, "params": params, "batch_weight": batch_weight, "metrics": metrics}
    problem = as_problem(model, loss, data, num_axes=1, **given)
    own = None if direction is None else Line(problem.point, as_direction(problem, direction))
    check_reach(problem, own, None if half_width is None else (half_width, half_width))
    line = own or Line(problem.point, hessian_directions(problem, 1, seed=int(seed)).directions[-1])
    curvature, theta_norm = _curvature(problem, line), float(problem.point.double().norm())
    if half_width is None:
        half_width = _found_span(problem, line, curvature, theta_norm)
    for _ in problem.settle(line):
        pass
    # By the way that was settled on: the centre is the same bit for bit.
    center = problem.loss()
    grid = Grid(
        (1, int(resolution)),
        tolerance=float(tolerance),
        seed=int(seed),
        noise=mostly_round_off(center, problem.dtype),
        display=display,
        num_metrics=len(problem.metric_names),
    )
    alphas = coordinates(int(resolution), half_width)
    while len(cells := grid.ask()):
        quantities = _finished(problem.iter_line_losses(line, alphas[cells[:, 1]]))
        grid.tell(cells, quantities[:, 0], quantities[:, 1:].T)
    return Slice(
        alphas,
        grid.values[0],
        grid.measured[0],
        _with_facts(line, curvature),
        center_loss=center,
        slope=float(problem.gradient().double() @ line.axes[0].double()),
        curvature=curvature,
        error=grid.error,
        metrics={name: values[0] for name, values in zip(problem.metric_names, grid.metrics, strict=True)},
        tolerance=float(tolerance),
        seed=int(seed),
        scale=display.scale,
        clip=display.clip,
        model=problem.model_name,
        loss=problem.loss_name,
        num_parameters=problem.num_parameters,
        num_samples=problem.num_samples,
        theta_norm=theta_norm,
        dtype=str(problem.dtype).removeprefix("torch."),
        device=str(problem.device),
        strategy=problem.strategy,
        notes=tuple(problem.notes),
    )


def _curvature(problem: Problem, line: Line) -> float | None:
    """DᵀHd with the direction as it is, from one Hessian-vector product; None where there is no Hessian."""
    if problem.has_hessian is False:
        return None
    try:
        hessian = Hessian(problem)
        product = hessian @ line.axes[0]
    except NoSecondDerivativeError as error:
        # The curve needs none.
        problem.has_no_hessian(error)
        return None
    hessian.release()
    return float(line.axes[0].double() @ product.double())


def _found_span(problem: Problem, line: Line, curvature: float | None, theta_norm: float) -> float:
    """The half-width in coordinates of the direction."""
    (norm,), (direction,) = line.norms, line.directions
    along = (curvature or 0.0) / norm**2
    # Where the sign lies within its error, what would be a dip is as likely none.
    if direction.residual is not None and abs(along) <= direction.residual:
        along = 0.0
    search = LineSearch(norm, along, theta_norm, noise=surely_round_off(problem.loss(), problem.dtype))
    while (alpha := search.ask()) is not None:
        search.tell(float(_finished(problem.iter_line_losses(line, [alpha]))[0, 0]))
    assert search.span is not None
    return search.span


def _with_facts(line: Line, curvature: float | None) -> Direction:
    """The direction with its norm, and its curvature where that was not known."""
    (norm,), (direction,) = line.norms, line.directions
    known = direction.curvature if curvature is None or direction.curvature is not None else curvature / norm**2
    return replace(direction, norm=norm, curvature=known)


def _finished(steps: Generator[None, None, Any]) -> Any:
    """What a generator returns, run to its end."""
    while True:
        try:
            next(steps)
        except StopIteration as end:
            return end.value
