"""`explore`: what the user gives is checked, then a widget is made and the session that works for it."""

from __future__ import annotations

import dataclasses
import os
import sys
import warnings
from typing import Any

from landscape_widget.engine.arguments import check_count, check_seed, check_tolerance
from landscape_widget.engine.plane import Plane
from landscape_widget.engine.request import as_plane, as_problem, as_spans, check_reach
from landscape_widget.keywords import check_keywords, keywords
from landscape_widget.landscape import Direction
from landscape_widget.planes import offered
from landscape_widget.scheduler import scheduler
from landscape_widget.session import Session
from landscape_widget.view.settings import SETTINGS, checked_settings, resolutions
from landscape_widget.view.widget import LandscapeWidget


def explore(
    model: Any,
    loss: Any = None,
    data: Any = None,
    *,
    k: int = 2,
    directions: tuple[Any, Any] | None = None,
    span: float | tuple[float, float] | None = None,
    tolerance: float = 1e-3,
    seed: int = 0,
    max_resolution: int = 129,
    pause_when_unseen: bool | None = None,
    device: Any = None,
    params: Any = None,
    batch_weight: Any = None,
    metrics: Any = None,
    **settings: Any,
) -> LandscapeWidget:
    """The loss around a trained model as a surface to turn, refined while one looks.

    Parameters
    ----------
    model
        A :class:`Problem`, or a model with ``loss`` and ``data`` as :class:`Problem` takes them.
    k
        Hessian eigenpairs per end of the spectrum that the sliders offer; at most half of all, with a warning where more
        are asked for than there are.
    directions
        Two directions of one's own to start with, as :func:`survey` takes them, offered beside the others.
    span
        Half-width of the first window in coordinates of its axes, or a pair, as :func:`survey` takes it; found on the
        loss by default, as it is for every other plane.
    tolerance
        As in :func:`survey`.
    seed
        Of Lanczos, of the random directions and of the cells that check the prediction.
    max_resolution
        The finest grid a page may ask for, 2^k + 1 up to 4097.
    pause_when_unseen
        Pause when no page has shown a sign of life for 150 s. By default under Voila, so that its kernels can be
        culled, and for what an earlier run of the same notebook cell made; otherwise an overnight run goes on with
        the tab closed.
    device, params, batch_weight, metrics
        As in :class:`Problem`, where ``model`` is none.
    **settings
        First values of the widget's traits: ``resolution``, ``window``, ``zoom``, ``saddles``, ``log_scale``,
        ``colormap``, ``contours``, ``running``, ``direction_x``, ``direction_y``, ``height``, ``layout``.

    Returns
    -------
    LandscapeWidget
        Nothing is computed before it is displayed.

    Raises
    ------
    TypeError
        For an unknown keyword, with the nearest known one; a value of the wrong type; a model without a loss, and a
        Problem with more.
    ValueError
        For a setting or a number out of its range, a resolution that is not 2^k + 1 or beyond 2¹² + 1, a direction that
        is not offered, parallel or zero axes, spans or axes that leave the range of θ's dtype.
    TypeError, ValueError
        What :class:`Problem` raises.

    Examples
    --------
    >>> import torch, landscape_widget as lw
    >>> x = torch.linspace(-2, 2, 50).unsqueeze(1)
    >>> model = torch.nn.Sequential(torch.nn.Linear(1, 8), torch.nn.Tanh(), torch.nn.Linear(8, 1))
    >>> widget = lw.explore(model, torch.nn.MSELoss(), (x, torch.sin(3 * x)), resolution=33)
    >>> widget.resolution, widget.status  # as the last line of a cell, the widget is shown and begins
    (33, 'idle')
    >>> widget.close()
    """
    check_keywords(settings, (*SETTINGS, *keywords(explore)))
    settings = checked_settings(LandscapeWidget, settings)
    resolutions(max_resolution, settings.get("resolution"))
    check_tolerance(tolerance)
    check_seed(seed)
    check_count(k, "k")
    if not (pause_when_unseen is None or isinstance(pause_when_unseen, bool)):
        raise TypeError(f"expected pause_when_unseen as True, False or None, got {pause_when_unseen!r}")
    spans = as_spans(span)
    given = {"device": device, "params": params, "batch_weight": batch_weight, "metrics": metrics}
    problem = as_problem(model, loss, data, **given)
    plane = None if directions is None else as_plane(problem, directions)
    check_reach(problem, plane, spans)
    own = () if plane is None else _own(plane)
    if k > problem.num_parameters:
        warnings.warn(
            f"k = {k:,} pairs per end asked for, but the Hessian has only {problem.num_parameters:,} in all; "
            "half of them are offered from each end",
            stacklevel=2,
        )
    # More pairs than there are directions would be the same ones from both ends.
    k = min(k, max(1, problem.num_parameters // 2))
    _check_keys(settings, offered(k, own))
    cell = _cell() if pause_when_unseen is None else None
    _retire(cell)
    widget = LandscapeWidget(max_resolution=max_resolution, **settings)
    widget.live = True
    # The widget keeps its session; the session and the engine thread know the widget only weakly.
    widget.session = Session(
        problem,
        widget,
        k=k,
        tolerance=tolerance,
        seed=seed,
        own=own,
        spans=spans,
        pause_when_unseen=_under_voila() if pause_when_unseen is None else pause_when_unseen,
        cell=cell,
    )
    return widget


def _own(plane: Plane) -> tuple[Direction, ...]:
    """The user's two axes, with keys that differ."""
    x, y = plane.directions
    return x, dataclasses.replace(y, key=f"{y.key}-y") if x.key == y.key else y


def _check_keys(settings: dict[str, Any], known: tuple[str, ...]) -> None:
    for name in ("direction_x", "direction_y"):
        if settings.get(name) and settings[name] not in known:
            raise ValueError(
                f"expected {name} as the key of a direction ({', '.join(known)}), got {settings[name]!r}; "
                "k= offers more eigenvectors, directions= your own"
            )


def _cell() -> tuple[str, str] | None:
    """The notebook cell that is being run and this run of it, where the front end tells them (JupyterLab, Notebook 7)."""
    ipython = sys.modules.get("IPython")
    request = getattr(ipython.get_ipython(), "parent_header", None) if ipython else None
    if not isinstance(request, dict):
        return None
    cell, run = request.get("metadata", {}).get("cellId"), request.get("header", {}).get("msg_id")
    return (str(cell), str(run)) if cell and run else None


def _retire(cell: tuple[str, str] | None) -> None:
    """Let what earlier runs of this cell made rest once nobody looks: its output is gone, but Jupyter keeps its widgets."""
    for job in scheduler().jobs():
        if cell and isinstance(job, Session) and job.cell and job.cell[0] == cell[0] and job.cell[1] != cell[1]:
            job.pause_when_unseen = True


def _under_voila() -> bool:
    """Whether a Voila server runs this kernel: it says so in the environment, of a preheated kernel only by the second."""
    return os.environ.get("SERVER_SOFTWARE", "").lower().startswith("voila/") or "VOILA_PREHEAT" in os.environ
