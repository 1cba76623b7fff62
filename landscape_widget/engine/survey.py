"""The engine's one door: a problem becomes an iterator of ever better landscapes."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from tqdm.auto import tqdm

from landscape_widget.engine.arguments import check_seed, check_tolerance
from landscape_widget.engine.directions import hessian_directions
from landscape_widget.engine.plane import Plane
from landscape_widget.engine.plane_survey import PlaneSurvey, facts
from landscape_widget.engine.problem import Problem
from landscape_widget.engine.request import as_plane, as_problem, as_resolution, as_spans, check_reach, check_window
from landscape_widget.keywords import check_keywords, hinted, keywords
from landscape_widget.landscape import Landscape


@hinted
def survey(
    model: Any,
    loss: Any = None,
    data: Any = None,
    *,
    directions: tuple[Any, Any] | None = None,
    resolution: int | tuple[int, int] = 65,
    span: float | tuple[float, float] | None = None,
    window: str = "saddle",
    tolerance: float = 1e-3,
    seed: int = 0,
    device: Any = None,
    params: Any = None,
    batch_weight: Any = None,
) -> Iterator[Landscape]:
    """Measure the loss on a plane, coarse to fine; yields ever better landscapes.

    Parameters
    ----------
    model
        A :class:`Problem`, or a model with ``loss`` and ``data`` as :class:`Problem` takes them.
    directions
        The two axes: Directions, flat tensors or arrays (n,), lists of tensors, or state_dicts, used exactly as
        given. By default the Hessian's eigenvectors of largest and smallest eigenvalue.
    resolution
        Points along each axis, 2^k + 1 up to 4097, or a pair (along α, along β).
    span
        Half-width in coordinates of the axes, or a pair; found on the loss by default.
    window
        "saddle" (close enough to see a dip) or "wide" (half of ‖θ*‖), where ``span`` is not given.
    tolerance
        Stop refining where the prediction of the remaining cells was checked to this part of the range; 0 measures
        every cell.
    seed
        Of Lanczos and of the checked cells.
    device, params, batch_weight
        As in :class:`Problem`, where ``model`` is none.

    Yields
    ------
    Landscape
        At least one a chunk of work; the last one is complete.

    Raises
    ------
    TypeError
        For an unknown keyword, a value of the wrong type, a model without a loss, and a Problem with more.
    ValueError
        For a resolution that is not 2^k + 1 or beyond 2¹² + 1, a window that is none, parallel or zero axes, a span
        that is not positive, spans or axes that leave the range of θ's dtype, a tolerance outside [0, 1).
    TypeError, ValueError
        What :class:`Problem` raises.

    Examples
    --------
    >>> import landscape_widget as lw
    >>> from landscape_widget import examples
    >>> for landscape in lw.survey(examples.quadratic([2.0, -1.0]), resolution=17, tolerance=0):
    ...     pass
    >>> landscape.complete, landscape.losses.shape
    (True, (17, 17))
    """
    check_seed(seed)
    check_window(window)
    check_tolerance(tolerance)
    counts, spans = as_resolution(resolution), as_spans(span)
    problem = as_problem(model, loss, data, device=device, params=params, batch_weight=batch_weight)
    plane = None if directions is None else as_plane(problem, directions)
    check_reach(problem, plane, spans)
    return _survey(problem, plane, counts, spans, window, float(tolerance), int(seed))


def compute(model: Any, loss: Any = None, data: Any = None, *, progress: bool = True, **settings: Any) -> Landscape:
    """Measure the loss on a plane to the end, with a progress bar: the last landscape of :func:`survey`.

    Parameters
    ----------
    model, loss, data
        As in :func:`survey`.
    progress
        False for no bar.
    **settings
        The keywords of :func:`survey`: ``directions``, ``resolution``, ``span``, ``window``, ``tolerance``, ``seed``,
        ``device``, ``params``, ``batch_weight``.

    Raises
    ------
    TypeError, ValueError
        As :func:`survey`, before anything is computed.

    Examples
    --------
    >>> import torch, landscape_widget as lw
    >>> _ = torch.manual_seed(0)
    >>> x = torch.linspace(-2, 2, 50).unsqueeze(1)
    >>> model = torch.nn.Sequential(torch.nn.Linear(1, 8), torch.nn.Tanh(), torch.nn.Linear(8, 1))
    >>> landscape = lw.compute(model, torch.nn.MSELoss(), (x, torch.sin(3 * x)), resolution=9, progress=False)
    >>> landscape.losses.shape, landscape.recipe.num_parameters, landscape.recipe.num_samples
    ((9, 9), 25, 50)
    """
    check_keywords(settings, ("progress", *keywords(survey)))
    landscape: Landscape | None = None
    steps = survey(model, loss, data, **settings)
    with tqdm(desc="cells", unit="cell", disable=not progress) as bar:
        for landscape in steps:
            bar.total = landscape.measured.size
            bar.update(landscape.num_measured - bar.n)
    assert landscape is not None
    return landscape


def _survey(
    problem: Problem,
    plane: Plane | None,
    resolution: tuple[int, int],
    spans: tuple[float, float] | None,
    window: str,
    tolerance: float,
    seed: int,
) -> Iterator[Landscape]:
    curvature = None
    if plane is None:
        pairs = hessian_directions(problem, 1, seed=seed)
        curvature, plane = pairs.summary, Plane(problem.point, (pairs.directions[0], pairs.directions[-1]))
    run = PlaneSurvey(
        problem,
        plane,
        facts(problem, curvature),
        resolution=resolution,
        tolerance=tolerance,
        seed=seed,
        window=window,
        spans=spans,
    )
    while run.step():
        if run.prepared and not run.done:
            yield run.landscape()
    yield run.landscape()
