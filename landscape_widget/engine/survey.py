"""The engine's one door: a problem becomes an iterator of ever better landscapes."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator
from contextlib import nullcontext
from typing import Any

from tqdm.auto import tqdm

from landscape_widget.display import Display
from landscape_widget.engine.arguments import check_seed, check_tolerance
from landscape_widget.engine.directions import hessian_directions
from landscape_widget.engine.journal import Axes, Journal, checked_path, fingerprint
from landscape_widget.engine.plane import Plane
from landscape_widget.engine.plane_survey import Facts, PlaneSurvey, facts
from landscape_widget.engine.problem import Problem
from landscape_widget.engine.request import as_plane, as_problem, as_resolution, as_spans, check_reach, check_window
from landscape_widget.keywords import check_keywords, hinted, keywords
from landscape_widget.landscape import Curvature, Landscape


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
    scale: str = "linear",
    clip: float | None = None,
    journal: Any = None,
    device: Any = None,
    params: Any = None,
    batch_weight: Any = None,
    metrics: Any = None,
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
        How far predicted cells may be off, relative to the range of the displayed losses on the level of 17 × 17.
        Refinement stops where cells are predicted so well; then cells drawn at random check the rest. 0 measures every
        cell.
    seed
        Of Lanczos and of the cells that are tried and checked.
    scale, clip
        How the losses are to be displayed: "linear" or "log", and a loss above which they are cut off. The tolerance
        is of what is displayed; the losses themselves are kept as they are.
    journal
        The path of a file (SQLite) that keeps what is measured: after a crash the same call goes on from there. What
        is yielded has been committed. Another problem's journal is refused.
    device, params, batch_weight, metrics
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
        that is not positive, spans or axes that leave the range of θ's dtype, a tolerance outside [0, 1), a scale that is
        none, a clip that is not finite, and the journal of another problem, naming what differs.
    OSError
        For a journal that cannot be written.
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
    counts, spans, display = as_resolution(resolution), as_spans(span), Display(scale, clip)
    path = None if journal is None else checked_path(journal)
    given = {"device": device, "params": params, "batch_weight": batch_weight, "metrics": metrics}
    problem = as_problem(model, loss, data, **given)
    plane = None if directions is None else as_plane(problem, directions)
    check_reach(problem, plane, spans)
    settings = {"resolution": counts, "tolerance": float(tolerance), "seed": int(seed), "display": display}
    if path is None:
        return _survey(problem, plane, None, **settings, window=window, spans=spans)
    axes = plane.directions if plane else ()
    found = fingerprint(problem, axes, k=0 if plane else 1, seed=int(seed))

    def opened() -> Journal:
        return Journal(path, found, quantities=("loss", *problem.metric_names))

    # Another problem's journal is refused here and now; an iterator that is never asked leaves no file open.
    opened().close()
    return _survey(problem, plane, opened, **settings, window=window, spans=spans)


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
        ``scale``, ``clip``, ``journal``, ``device``, ``params``, ``batch_weight``, ``metrics``.

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
    problem: Problem, plane: Plane | None, opened: Callable[[], Journal] | None, *, seed: int, **settings: Any
) -> Iterator[Landscape]:
    with opened() if opened else nullcontext() as journal:
        curvature = None
        if plane is None:
            plane, curvature = _hessian_plane(problem, journal, seed)
        memory = journal.plane("x", "y") if journal else None
        run = PlaneSurvey(problem, plane, _facts(problem, curvature, journal), seed=seed, journal=memory, **settings)
        while run.step():
            # Before it is yielded; and probes for a window are work, too.
            if memory:
                memory.commit()
            if run.prepared and not run.done:
                yield run.landscape()
        yield run.landscape()


def _facts(problem: Problem, curvature: Curvature | None, journal: Journal | None) -> Facts:
    """What is known at θ*; of a journal it is not computed again."""
    known = journal and journal.fact("point")
    if known:
        return Facts(**known, curvature=curvature)
    found = facts(problem, curvature)
    if journal:
        journal.save_fact("point", {k: v for k, v in dataclasses.asdict(found).items() if k != "curvature"})
    return found


def _hessian_plane(problem: Problem, journal: Journal | None, seed: int) -> tuple[Plane, Curvature | None]:
    """The plane of the extreme eigenvectors; those of a journal are not looked for again."""
    known = journal and journal.axes()
    if not known:
        pairs = hessian_directions(problem, 1, seed=seed)
        known = Axes((pairs.directions[0], pairs.directions[-1]), pairs.summary)
        known = journal.save_axes(known.directions, known.curvature) if journal else known
    return Plane(problem.point, (known.directions[0], known.directions[1])), known.curvature
