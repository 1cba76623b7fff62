"""Joins survey and widget: what the page wishes becomes work for the engine thread, what the engine finds is shown."""

from __future__ import annotations

import logging
import math
import time
import traceback
import weakref
from collections.abc import Callable, Generator, Iterator
from pathlib import Path
from typing import Any

from landscape_widget.background import SpectrumJob
from landscape_widget.display import Display
from landscape_widget.engine.differentiability import NoSecondDerivativeError
from landscape_widget.engine.directions import (
    HessianDirections,
    gradient_direction,
    iter_hessian_directions,
)
from landscape_widget.engine.plane_survey import PlaneSurvey, facts
from landscape_widget.engine.preview import iter_preview
from landscape_widget.engine.problem import Problem
from landscape_widget.engine.threads import choose_num_threads, num_threads
from landscape_widget.landscape import Direction
from landscape_widget.planes import PlaneKey, Planes, random_offers
from landscape_widget.scheduler import scheduler
from landscape_widget.view.caption import caption
from landscape_widget.view.patches import catalog_entry
from landscape_widget.view.widget import LandscapeWidget

_log = logging.getLogger(__name__)

# After so many seconds of Lanczos a first picture is drawn along the axes as they stand, if they have not converged
# by then.
_PRELIMINARY_AFTER, _PRELIMINARY_RESOLUTION = 0.3, 5
# Of a picture from a part of the data.
_PREVIEW_RESOLUTION = 17
_CHUNK = 0.05
# While they sharpen the pairs on offer are told anew this often, in seconds: it costs a pass over Lanczos' basis.
_SHARPEN_INTERVAL = 1.0
# Without a ping for so long nobody looks: pages ping every 20 s, hidden tabs less often.
_UNSEEN = 150.0
# Traits that only tell are set at most this often, in seconds.
_TELL_INTERVAL = 0.25
# A new plane is shown when its first level is measured, or after so many seconds of measuring.
_FIRST_PICTURE = 1.0
# For so many seconds of work a choice of threads holds.
_CHOICE_HOLDS = 3.0


class Session:
    """One widget's work. Created by :func:`landscape_widget.explore`; advanced by the engine thread only.

    Nothing is computed before a page says hello. The newest wish wins: a plane left half-done is kept, and goes on
    when it is wished for again.

    Parameters
    ----------
    problem, widget
        What is explored, and where it is shown; the widget is known only weakly.
    k
        Hessian eigenpairs per end of the spectrum.
    tolerance, seed
        As in :func:`landscape_widget.explore`.
    own
        The user's two axes, or none.
    spans
        Half-widths of the first plane, in the window that the widget has now; None where they are to be found.
    pause_when_unseen
        Whether to rest when no page has shown a sign of life for 150 s; may be set later.
    cell
        The notebook cell that made the widget, and which run of it; None where it is unknown or of no interest.
    """

    def __init__(
        self,
        problem: Problem,
        widget: LandscapeWidget,
        *,
        k: int,
        tolerance: float,
        seed: int,
        own: tuple[Direction, ...],
        spans: tuple[float, float] | None,
        pause_when_unseen: bool,
        cell: tuple[str, str] | None = None,
    ) -> None:
        self.problem, self.seed, self.own, self.spans = problem, seed, own, spans
        self._first_window = widget.window
        self._widget = weakref.ref(widget)
        self.pause_when_unseen, self.cell = pause_when_unseen, cell
        self._last_sign: float | None = None
        self._last_told = -float("inf")
        self._planes = Planes(problem, tolerance=tolerance, seed=seed)
        self._shown: tuple[Any, ...] | None = None
        self._failed_wish: tuple[Any, ...] | None = None
        self._spectrum: SpectrumJob | None = None
        # The survey is done, and its last picture waits to be sent.
        self._finishing = False
        self._k = k
        self._opening: Iterator[None] | None = self._open(k)
        self._num_threads, self._chosen = 1, -float("inf")
        self._clock: Callable[[], float] = time.monotonic
        widget.observe(self._on_direction, names=["direction_x", "direction_y"])
        widget.observe(self._on_wish, names=["resolution", "window", "zoom", "running", "log_scale"])
        widget.on_page(self._on_page)

    def advance(self) -> bool:
        """One chunk of work for what is wished now; False when there is nothing to do."""
        widget, self._finishing = self._widget(), False
        # A closed widget has no comm.
        if widget is None or widget.comm is None or self._last_sign is None:
            return False
        if self.pause_when_unseen and self._clock() - self._last_sign > _UNSEEN:
            return False
        if not widget.running:
            self._tell(widget, force=True, status="paused", eta=None)
            # Continue tries again.
            self._failed_wish = None
            return False
        wish = widget.wished
        if wish == self._failed_wish:
            return False
        try:
            with num_threads(self._best_num_threads()):
                return self._advance(widget, wish)
        except Exception as error:  # noqa: BLE001 - an exception in a thread is seen by nobody: it is shown on the page
            _log.exception("the landscape engine failed")
            self._failed_wish = wish
            if self._opening is not None:
                # A generator that has raised is exhausted.
                self._opening = self._open(self._k)
            widget.publish(status="error", error=_told(error), eta=None)
            return False

    def _advance(self, widget: LandscapeWidget, wish: tuple[str, str, str, int, int]) -> bool:
        if widget.error:
            self._failed_wish = None
            widget.publish(error="")
        if self._opening is None:
            if self._spectrum is not None and self._spectrum.due(widget.eta):
                return self._spectrum.advance(widget)
            worked = self._advance_plane(widget, wish[:4], wish[4])
            return worked or (self._spectrum is not None and self._spectrum.advance(widget))
        if next(self._opening, self) is self:
            self._opening = None
        return True

    def _best_num_threads(self) -> int:
        """Threads for the passes to come; asked again now and then, since a page that draws in software takes cores away."""
        now = self._clock()
        if now - self._chosen > _CHOICE_HOLDS:
            self._num_threads = choose_num_threads(self.problem)
            self._chosen = self._clock()
        return self._num_threads

    def flush(self) -> bool:
        """Send what waits for its turn; with the last picture gone, say that all is done."""
        widget = self._widget()
        waiting = widget is not None and widget.flush()
        if self._finishing and not waiting:
            self._finishing = False
            self._tell(widget, force=True, status="done", progress=1.0, eta=None)
        return waiting

    def _open(self, k: int) -> Iterator[None]:
        """Find directions to offer."""
        try:
            yield from self._find_hessian_directions(k)
        except NoSecondDerivativeError as error:
            self.problem.has_no_hessian(error)
            self._open_without_hessian()

    def _find_hessian_directions(self, k: int) -> Iterator[None]:
        """Find the Hessian directions; when that takes longer, a first picture is drawn meanwhile along axes that still sharpen."""
        told = yield from self._preview()
        shown = bool(told or self.own)
        if self.own and not told:
            told = yield from self._preliminary(self.own, None)
        began = chunk = told_at = time.perf_counter()
        make: Callable[[], HessianDirections] | None = None
        for num_matvecs, make in enumerate(iter_hessian_directions(self.problem, k, seed=self.seed), start=1):
            now = time.perf_counter()
            # Before as many products as pairs are wanted the two ends are the same vectors.
            if not shown and now - began > _PRELIMINARY_AFTER and num_matvecs >= 2 * k + 2:
                shown, pairs = True, make()
                told = yield from self._preliminary((pairs.directions[0], pairs.directions[-1]), pairs)
                told_at = time.perf_counter()
            elif shown and not self.own and now - told_at > _SHARPEN_INTERVAL:
                told_at = now
                if (widget := self._widget()) is not None:
                    widget.publish(catalog=_catalog(make()))
            said = f"Looking for the directions of largest and smallest curvature: {num_matvecs} Hessian-vector products so far."
            self._tell(self._widget(), status="directions", caption=[said, *told], eta=None)
            if now - chunk > _CHUNK:
                yield
                chunk = time.perf_counter()
        assert make is not None
        pairs = make()
        pairs.release()
        at_point = self._planes.facts = facts(self.problem, pairs.summary)
        found = [*pairs.directions, *random_offers(self.problem, self.seed)]
        # Along round-off one sees the floating-point numbers, not the loss.
        slope = at_point.gradient_norm
        if math.isfinite(slope) and not pairs.summary.negligible(slope, at_point.theta_norm):
            found.append(gradient_direction(self.problem))
        self._offer(found, default=self.own or (pairs.directions[0], pairs.directions[-1]))
        self._spectrum = SpectrumJob(self.problem, pairs, at_point.gradient_norm, seed=self.seed)
        if (widget := self._widget()) is not None and self._spectrum is not None:
            self._spectrum.tell(widget)

    def _open_without_hessian(self) -> None:
        """Offer the directions that need no second derivative."""
        at_point = self._planes.facts = facts(self.problem)
        found = list(random_offers(self.problem, self.seed))
        if math.isfinite(at_point.gradient_norm) and at_point.gradient_norm > 0:
            found.append(gradient_direction(self.problem))
        self._offer(found, default=self.own or (found[0], found[1]))

    def _preview(self) -> Generator[None, None, list[str]]:
        """Where a pass takes long, a picture from a part of the data; returns its caption, empty where there is none."""
        told: list[str] = []
        for landscape in iter_preview(
            self.problem,
            self.own or None,
            resolution=_PREVIEW_RESOLUTION,
            window=self._first_window,
            spans=self.spans,
            seed=self.seed,
        ):
            widget = self._widget()
            self._tell(widget, status="directions", eta=None)
            if landscape is not None and widget is not None:
                widget.publish(catalog=[catalog_entry(d) for d in landscape.recipe.directions])
                widget.show(landscape, new_epoch=not told)
                _see_off(widget)
                told = caption(landscape)
            yield
        return told

    def _preliminary(
        self, axes: tuple[Direction, ...], pairs: HessianDirections | None
    ) -> Generator[None, None, list[str]]:
        """A 5 × 5 picture along the user's own axes, or along the extreme Ritz vectors as they stand; returns its caption."""
        survey = self._planes.new(
            (axes[0], axes[1]),
            facts(self.problem, pairs.summary if pairs else None),
            resolution=_PRELIMINARY_RESOLUTION,
            tolerance=0.0,
            window=self._first_window,
            spans=self.spans,
        )
        while survey.step():
            yield
        widget = self._widget()
        if widget is not None:
            widget.publish(catalog=_catalog(pairs) if pairs else [catalog_entry(d) for d in axes])
            widget.show(survey.landscape(), new_epoch=True)
            _see_off(widget)
        return caption(survey.landscape())

    def _offer(self, found: list[Direction], default: tuple[Direction, ...]) -> None:
        widget = self._widget()
        if widget is None:
            return
        known = self._planes.directions = {d.key: d for d in (*found, *self.own)}
        # What was wished meanwhile is kept.
        first, second = default[0].key, default[1].key
        if self.spans is not None:
            self._planes.give_spans(first, second, self._first_window, self.spans)
        x = widget.direction_x if widget.direction_x in known else ""
        y = widget.direction_y if widget.direction_y in known and widget.direction_y != x else ""
        x = x or (first if y != first else second)
        y = y or (second if x != second else first)
        at_point = self._planes.facts
        widget.publish(catalog=[catalog_entry(d, at_point and at_point.curvature) for d in known.values()])
        widget.publish(direction_x=x, direction_y=y)

    def _advance_plane(self, widget: LandscapeWidget, key: PlaneKey, resolution: int) -> bool:
        if key[0] not in self._planes.directions or key[1] not in self._planes.directions:
            return False
        survey = self._planes.survey(key, resolution)
        if survey.prepared:
            survey.show(_display(widget, survey))
        worked = survey.step()
        shown = (key, survey.grid.shape)
        new = shown != self._shown
        # The old picture stays until there is something to see of the new one: a first level, or what slow cells gave
        # in a second.
        if survey.prepared and not (
            new and not survey.grid.num_full_levels and not survey.done and survey.seconds < _FIRST_PICTURE
        ):
            if worked or new:
                self._shown = shown
                force = new or survey.done
                widget.show(survey.landscape(), new_epoch=new, caption_too=self._due(force))
                if not survey.done:
                    cells = int(survey.grid.measured.sum())
                    progress = cells / (cells + survey.grid.num_remaining)
                    self._tell(widget, force=force, status="survey", progress=progress, eta=survey.eta)
                if new:
                    _see_off(widget)
            # "Done" must not overtake the picture that it is said of.
            self._finishing = survey.done and widget.status != "done"
        else:
            self._tell(widget, status="window", progress=0.0, eta=None)
        return worked

    def _due(self, force: bool) -> bool:
        return force or self._clock() - self._last_told > _TELL_INTERVAL

    def _tell(self, widget: LandscapeWidget | None, *, force: bool = False, **traits: Any) -> None:
        """Set traits that only tell, not more often than a person can read; a change of status goes out at once."""
        if widget is None or not (self._due(force) or traits["status"] != widget.status):
            return
        self._last_told = self._clock()
        widget.publish(**traits)

    def _on_direction(self, change: Any) -> None:
        widget = self._widget()
        if widget is not None and change["old"] and widget.direction_x == widget.direction_y:
            # Choosing the other axis's direction swaps them.
            setattr(widget, "direction_y" if change["name"] == "direction_x" else "direction_x", change["old"])
        scheduler().wake(self)

    def _on_wish(self, _change: Any) -> None:
        scheduler().wake(self)

    def _on_page(self, _event: str) -> None:
        self._last_sign = self._clock()
        # A sign of life is no wish: it must not put this widget before the one the user is busy with.
        scheduler().wake(self, first=False)


def _display(widget: LandscapeWidget, survey: PlaneSurvey) -> Display:
    """How the page shows the losses: logarithms only where all of them are positive."""
    measured = survey.grid.values[survey.grid.measured]
    return Display("log" if widget.log_scale and not (measured <= 0).any() else "linear")


def _catalog(pairs: HessianDirections) -> list[dict[str, Any]]:
    return [catalog_entry(direction, pairs.summary) for direction in pairs.directions]


def _see_off(widget: LandscapeWidget) -> None:
    """Wait until a new epoch's first picture has gone out, as long as only the rate holds it back: the next pass may take minutes."""
    for _ in range(8):
        if not widget.flush():
            return
        time.sleep(0.01)


def _told(error: Exception) -> str:
    """An error as the page shows it: its own words, and where it was raised; no folders, which are no visitor's business."""
    frames = traceback.extract_tb(error.__traceback__)
    where = f" ({Path(frames[-1].filename).name}, line {frames[-1].lineno}, in {frames[-1].name})" if frames else ""
    return f"{type(error).__name__}: {error}{where}"
