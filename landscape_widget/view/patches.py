"""What the page shows of a landscape, as arrays, and the patches that bring a page up to date. numpy only; no Jupyter.

The format is docs/protocol.md's.
"""

from __future__ import annotations

import dataclasses
import math
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from landscape_widget.landscape import Curvature, Direction, Landscape
from landscape_widget.view.numbers import number, with_error

UNKNOWN, PREDICTED, MEASURED, HOLE, FROM_PART = 0, 1, 2, 3, 4
_LARGEST = float(np.finfo(np.float32).max)

# At most 20 messages a second and 8 without an answer; a page that is silent for 2 s (kernel busy, tab hidden) gets
# one a second.
_INTERVAL, _CREDITS, _PATIENCE, _SLOW = 0.05, 8, 2.0, 1.0
# With so many unanswered nobody is there: a server would only pile them up. Whoever comes back says hello and gets
# everything.
_FORGOTTEN = 40


@dataclass(frozen=True)
class Picture:
    """A landscape as the page takes it.

    ``heights`` float32: loss − centre loss, subtracted in float64 first, so that a small variation of a large loss
    survives; ``log_heights`` float32: log₁₀ of the loss, taken in float64; ``states`` uint8. All of shape (b, a).
    """

    heights: np.ndarray
    log_heights: np.ndarray
    states: np.ndarray
    header: dict[str, Any]

    def message(self, epoch: int, seq: int) -> tuple[dict[str, Any], list[bytes]]:
        """The whole picture as a ``grid`` message."""
        return {"kind": "grid", **self.header, "epoch": epoch, "seq": seq}, [a.tobytes() for a in self.arrays]

    @property
    def arrays(self) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Heights, log-heights and states."""
        return self.heights, self.log_heights, self.states


def picture(landscape: Landscape) -> Picture:
    """The page's view of a landscape."""
    surface, recipe, bends = landscape.surface(), landscape.recipe, landscape.recipe.axis_curvature
    finite = np.isfinite(surface)
    states = np.where(finite, PREDICTED, UNKNOWN).astype(np.uint8)
    states[landscape.measured] = MEASURED
    states[landscape.measured & ~np.isfinite(landscape.losses)] = HOLE
    if landscape.sem is not None:
        states[finite] = FROM_PART
    known = landscape.losses[landscape.measured & np.isfinite(landscape.losses)]
    lowest = float(known.min()) if known.size else 0.0
    center = lowest if recipe.center_loss is None or not math.isfinite(recipe.center_loss) else recipe.center_loss
    with np.errstate(all="ignore"):
        # Finite in float64 stays finite in float32, or the page could not draw it.
        heights = np.where(finite, np.clip(surface - center, -_LARGEST, _LARGEST), 0.0).astype(np.float32)
        # A prediction can undershoot zero beside a steep wall; that must not cost the log scale of positive losses.
        log_heights = np.where(finite, np.log10(np.maximum(surface, lowest)), 0.0).astype(np.float32)
    if not lowest > 0:
        log_heights = np.zeros_like(heights)
    header = _strict(
        {
            "alphas": landscape.alphas.tolist(),
            "betas": landscape.betas.tolist(),
            "x": catalog_entry(recipe.directions[0], recipe.curvature),
            "y": catalog_entry(recipe.directions[1], recipe.curvature),
            "units": ["‖Δθ‖" if abs(d.norm - 1) < 1e-3 else "× d" for d in recipe.directions],
            "norms": [d.norm for d in recipe.directions],
            "cosine": recipe.cosine,
            "theta_norm": recipe.theta_norm,
            "center_loss": recipe.center_loss,
            "log_ok": lowest > 0,
            "measured": landscape.num_measured,
            "cells": landscape.measured.size,
            "critical": [dataclasses.asdict(point) for point in landscape.critical],
            "curvature": list(bends) if bends and all(map(math.isfinite, bends)) else None,
        }
    )
    return Picture(heights, log_heights, states, header)


def catalog_entry(direction: Direction, known: Curvature | None = None) -> dict[str, Any]:
    """A direction as the page lists it, with the error that is known of the Hessian's products."""
    label = direction.label
    if direction.kind == "hessian" and direction.curvature is not None:
        label += f" ({ritz_value(direction, known)})"
    return _strict(
        {
            "key": direction.key,
            "group": direction.kind,
            "symbol": direction.symbol,
            "label": label,
            "curvature": direction.curvature,
            "residual": direction.residual,
            "converged": direction.converged,
            "preliminary": direction.preliminary,
            "help": _HELP.get(direction.kind, ""),
        }
    )


def ritz_value(direction: Direction, known: Curvature | None = None) -> str:
    """What is known of a Hessian direction's curvature; an eigenvalue's sign λ only where it has converged."""
    assert direction.curvature is not None
    if direction.preliminary:
        return f"vᵀHv = {number(direction.curvature)}, still sharpening"
    value = number(direction.curvature)
    if direction.residual is not None:
        error = direction.residual if known is None else known.error(direction.residual)
        value = with_error(direction.curvature, error)
    return (
        f"{direction.symbol} = {value}" if direction.converged else f"vᵀHv = {value}, not converged: no eigenvalue yet"
    )


def _strict(value: Any) -> Any:
    """The same with None for every number that JSON does not have: one NaN in a trait would end every page's reload."""
    if isinstance(value, dict):
        return {key: _strict(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_strict(item) for item in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


_HELP = {
    "hessian": "An eigenvector of the Hessian at the trained point: along it the loss curves with its eigenvalue λ.",
    "random": "A random direction: it sees the average of all curvatures, and can hide a saddle.",
    "gradient": "The direction in which the loss grows fastest at the trained point.",
    "own": "A direction you gave.",
}


class Publisher:
    """Brings pages up to date: differences to what was sent last, so that slowing down loses nothing.

    Parameters
    ----------
    send
        ``send(message, buffers)``; must be thread-safe.
    clock
        Seconds, monotonic.
    """

    def __init__(
        self, send: Callable[[dict[str, Any], list[bytes]], None], clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._send, self._clock = send, clock
        self.current: Picture | None = None
        """What pages have been sent."""
        self.epoch, self.seq = 0, -1
        self._waiting: Picture | None = None
        self._new_epoch, self._repeat = True, False
        # What nobody has answered, and since when.
        self._sent: list[int] = []
        self._silent_since = self._last = -math.inf

    def show(self, shown: Picture, *, new_epoch: bool) -> None:
        """Offer a newer picture; it goes out as soon as rate and credits allow (see :meth:`flush`)."""
        self._waiting = shown
        self._new_epoch = self._new_epoch or new_epoch
        self.flush()

    def flush(self) -> bool:
        """Send what waits, if it may go; True while something waits that only needs time (not a page's answer)."""
        shown = self._waiting or self.current
        if shown is None or not (self._waiting or self._repeat):
            return False
        now = self._clock()
        if now - self._last < _INTERVAL:
            return True
        # Whoever said hello is there.
        if not self._repeat:
            if len(self._sent) >= _FORGOTTEN:
                return False
            if len(self._sent) >= _CREDITS and (now - self._last < _SLOW or now - self._silent_since < _PATIENCE):
                return True
        self._deliver(shown, now)
        return False

    def repeat(self) -> None:
        """Send the whole picture again: for a page that joined late or missed something."""
        self._sent, self._repeat = [], True
        self.flush()

    def acknowledged(self, epoch: int, seq: int) -> None:
        """A page has got everything up to ``seq``."""
        self._silent_since = self._clock()
        if epoch == self.epoch:
            self._sent = [s for s in self._sent if s > seq]

    def snapshot(self) -> dict[str, Any] | None:
        """The state for whoever asks for all of it."""
        if self.current is None:
            return None
        header, buffers = self.current.message(self.epoch, self.seq)
        del header["kind"]
        return {**header, **dict(zip(("heights", "log_heights", "states"), buffers, strict=True))}

    def _deliver(self, shown: Picture, now: float) -> None:
        """Send a picture: whole, or what has changed of it."""
        before, repeat = self.current, self._repeat
        new_epoch = self._new_epoch or before is None or before.states.shape != shown.states.shape
        self.current, self._waiting, self._new_epoch, self._repeat = shown, None, False, False
        if before is None or new_epoch:
            self.epoch, self.seq, self._sent = self.epoch + 1, 0, []
            self._post(*shown.message(self.epoch, 0), now)
        elif repeat or _lasting(before.header) != _lasting(shown.header):
            self.seq += shown is not before
            self._post(*shown.message(self.epoch, self.seq), now)
        else:
            message, buffers = _patch(before, shown)
            if message is not None:
                self.seq += 1
                self._post({**message, "epoch": self.epoch, "seq": self.seq}, buffers, now)

    def _post(self, message: dict[str, Any], buffers: list[bytes], now: float) -> None:
        if not self._sent:
            self._silent_since = now
        self._sent.append(message["seq"])
        self._last = now
        self._send(message, buffers)


def _lasting(header: dict[str, Any]) -> dict[str, Any]:
    """What a patch cannot change."""
    return {name: value for name, value in header.items() if name not in ("measured", "critical")}


def _patch(before: Picture, after: Picture) -> tuple[dict[str, Any] | None, list[bytes]]:
    """The cells that differ, as message and buffers; (None, []) where none does."""
    changed = np.zeros(before.states.shape, dtype=bool)
    for old, new in zip(before.arrays, after.arrays, strict=True):
        changed |= old != new
    cells = np.flatnonzero(changed)
    message: dict[str, Any] = {"kind": "patch", "measured": after.header["measured"]}
    if before.header["critical"] != after.header["critical"]:
        message["critical"] = after.header["critical"]
    elif not len(cells):
        return None, []
    return message, [cells.astype(np.uint32).tobytes(), *(a.ravel()[cells].tobytes() for a in after.arrays)]
