"""The spectrum as a whole, computed while nothing else is wished for."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Generator

from landscape_widget.engine.directions import HessianDirections
from landscape_widget.engine.overview import Overview, iter_overview
from landscape_widget.engine.problem import Problem
from landscape_widget.view.spectrum import spectrum_entry
from landscape_widget.view.widget import LandscapeWidget

_log = logging.getLogger(__name__)

_CHUNK = 0.05
# The page's strip is drawn anew at most this often, in seconds.
_TELL_INTERVAL = 0.5
# A surface that takes longer than so many seconds leaves this share of the time to the spectrum.
_LONG, _SHARE = 10.0, 0.2


class SpectrumJob:
    """Moments, density, h₀ and random planes of one problem, a chunk at a time; what is known is told to the widget.

    Parameters
    ----------
    problem, pairs
        Whose spectrum, and its ends as they are known.
    gradient_norm
        ‖∇L(θ*)‖, shown beside it.
    seed
        Of all probes.
    """

    def __init__(self, problem: Problem, pairs: HessianDirections, gradient_norm: float, *, seed: int) -> None:
        self._curvature, self._gradient_norm = pairs.summary, gradient_norm
        self._overviews: Generator[Callable[[], Overview], None, Overview] | None = iter_overview(
            problem, pairs, seed=seed
        )
        self._found = Overview()
        self._clock: Callable[[], float] = time.monotonic
        self._began, self._worked, self._told = self._clock(), 0.0, -float("inf")

    def due(self, eta: float | None) -> bool:
        """Whether it is the spectrum's turn beside a surface that needs ``eta`` seconds more."""
        share = _SHARE * (self._clock() - self._began)
        return self._overviews is not None and eta is not None and eta > _LONG and self._worked < share

    def advance(self, widget: LandscapeWidget) -> bool:
        """One chunk; False when all is known."""
        if self._overviews is None:
            return False
        began = self._clock()
        try:
            while True:
                make = next(self._overviews)
                if (now := self._clock()) - self._told > _TELL_INTERVAL:
                    self._found = make()
                    self.tell(widget)
                if now - began >= _CHUNK:
                    break
        except StopIteration as end:
            self._found, self._overviews = end.value, None
            self.tell(widget)
        except Exception:  # noqa: BLE001 - without the rest of the spectrum the surface is as good as before
            _log.exception("the spectrum could not be found")
            self._overviews = None
            self.tell(widget)
        self._worked += self._clock() - began
        return self._overviews is not None

    def tell(self, widget: LandscapeWidget) -> None:
        """Set the widget's trait to what is known."""
        found, self._told = self._found, self._clock()
        widget.publish(
            spectrum=spectrum_entry(
                found.density,
                self._curvature,
                self._gradient_norm,
                found.planes,
                found.moments,
                found.ranges,
                done=self._overviews is None,
            )
        )
