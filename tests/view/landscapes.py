"""Landscapes and pages to test with."""

from __future__ import annotations

import dataclasses
import json
from typing import Any

import numpy as np

from landscape_widget.landscape import Curvature, Direction, Landscape, Recipe

X = Direction("largest-1", "hessian", "λ₁", "largest curvature", curvature=2.84, residual=0.002, converged=True)
Y = Direction("smallest-1", "hessian", "λₙ", "smallest curvature", curvature=-1.0, residual=0.01, converged=True)
CURVATURE = Curvature(
    largest=(2.84, 1.5),
    largest_residuals=(0.002, 0.01),
    smallest=(-1.0, -0.5),
    smallest_residuals=(0.01, 0.02),
    num_negative=2,
    noise=1e-6,
    num_matvecs=30,
    converged=True,
    unseen_below=-1.2,
)
RECIPE = Recipe(
    directions=(X, Y),
    spans=(0.5, 0.25),
    window="saddle",
    resolution=(9, 5),
    tolerance=1e-3,
    seed=0,
    model="Net",
    loss="CrossEntropyLoss",
    num_parameters=8970,
    num_samples=1437,
    theta_norm=12.5,
    gradient_norm=1e-5,
    center_loss=0.5,
    axis_curvature=(2.84, 0.0, -1.0),
    curvature=CURVATURE,
)


def recipe(**changes: Any) -> Recipe:
    return dataclasses.replace(RECIPE, **changes)


def landscape(losses: Any = None, measured: Any = None, *, of: Recipe | None = None, **more: Any) -> Landscape:
    """A landscape of the given losses (b, a); by default z = x + 10y on 5 rows and 9 columns."""
    if losses is None:
        losses = np.arange(9)[None, :] + 10.0 * np.arange(5)[:, None]
    losses = np.array(losses, dtype=np.float64)
    rows, columns = losses.shape
    measured = np.ones(losses.shape, bool) if measured is None else np.array(measured)
    betas, alphas = np.linspace(-0.25, 0.25, rows), np.linspace(-0.5, 0.5, columns)
    return Landscape(alphas, betas, losses, measured, recipe(resolution=(columns, rows)) if of is None else of, **more)


class Clock:
    """A clock that stands still until it is told."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


class Page:
    """The page's end of docs/protocol.md, as js/src/store.js has it, and a record of what was sent."""

    def __init__(self) -> None:
        self.messages: list[tuple[dict[str, Any], list[bytes]]] = []
        self.header: dict[str, Any] | None = None
        self.gaps = 0

    def send(self, message: dict[str, Any], buffers: list[bytes] | None = None) -> None:
        """Takes a message as a page does; it must be strict JSON."""
        message = json.loads(json.dumps(message, allow_nan=False))
        self.messages.append((message, buffers or []))
        if message["kind"] == "grid":
            self.take_grid(message, buffers or [])
        elif message["kind"] == "patch":
            self.take_patch(message, buffers or [])

    def take_grid(self, message: dict[str, Any], buffers: list[bytes]) -> None:
        if self.header and message["epoch"] < self.header["epoch"]:
            return
        self.header = dict(message)
        shape = len(message["betas"]), len(message["alphas"])
        kinds = (np.float32, np.float32, np.uint8)
        self.arrays = [np.frombuffer(b, k).reshape(shape).copy() for b, k in zip(buffers, kinds, strict=True)]

    def take_patch(self, message: dict[str, Any], buffers: list[bytes]) -> None:
        header = self.header
        if header and (message["epoch"], message["seq"]) <= (header["epoch"], header["seq"]):
            return
        if not header or message["epoch"] > header["epoch"] or message["seq"] > header["seq"] + 1:
            self.gaps += 1
            return
        cells = np.frombuffer(buffers[0], np.uint32)
        for array, buffer in zip(self.arrays, buffers[1:], strict=True):
            array.ravel()[cells] = np.frombuffer(buffer, array.dtype)
        header["seq"], header["measured"] = message["seq"], message["measured"]
        header["critical"] = message.get("critical", header["critical"])

    @property
    def kinds(self) -> list[str]:
        return [message["kind"] for message, _ in self.messages]

    @property
    def last(self) -> dict[str, Any]:
        return self.messages[-1][0]
