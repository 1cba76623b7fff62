"""The tools that draw a loss on a plane, ours among them: each measures every cell of a grid in its own way, on a clock.

Nobody reports set-up and cells apart. So every tool's evaluation of a cell leaves the time on a clock: what lies
between the first cell and the last is the price of cells, what came before is set-up. With one thread the clock is the
CPU time of the process: what other processes take of the machine does not count.
"""

from __future__ import annotations

import contextlib
import copy
import io
import statistics
import time
from collections.abc import Callable, Iterable
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, field, replace
from functools import cached_property
from importlib.metadata import PackageNotFoundError, version
from multiprocessing import get_context
from typing import Any, Protocol

import numpy as np
import torch
from torch import Tensor, nn

import landscape_widget as lw

CRITERION = nn.CrossEntropyLoss()


def now() -> float:
    """Seconds, of which only differences mean anything."""
    return time.process_time() if torch.get_num_threads() == 1 else time.perf_counter()


@dataclass(frozen=True)
class Scene:
    """A network at its point, its data in one batch, and a window around the point: what every tool is given."""

    name: str
    model: nn.Module
    x: Tensor
    y: Tensor
    directions: tuple[lw.Direction, lw.Direction]
    span: float = 1.0

    def new_problem(self) -> lw.Problem:
        return lw.Problem(self.model, CRITERION, (self.x, self.y))

    @cached_property
    def problem(self) -> lw.Problem:
        return self.new_problem()

    @cached_property
    def axes(self) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
        """The directions by parameter."""
        x, y = (self._by_parameter(direction.vector) for direction in self.directions)
        return x, y

    def _by_parameter(self, vector: Tensor) -> dict[str, Tensor]:
        named = dict(self.model.named_parameters())
        parts = vector.split([parameter.numel() for parameter in named.values()])
        return {name: part.view_as(parameter) for (name, parameter), part in zip(named.items(), parts, strict=True)}

    def at(self, alpha: float, beta: float) -> dict[str, Tensor]:
        """The state_dict of the point (α, β)."""
        x, y = self.axes
        return {
            name: value + alpha * x[name] + beta * y[name] if name in x else value
            for name, value in self.model.state_dict().items()
        }

    def moved(self, alpha: float, beta: float) -> nn.Module:
        """A copy of the model at the point (α, β)."""
        model = copy.deepcopy(self.model)
        model.load_state_dict(self.at(alpha, beta))
        return model

    def forward_seconds(self, seconds: float) -> float:
        """Mean time of the bare eager forward pass with the loss, from as many passes as go into ``seconds``, at least two."""
        count, began = 0, now()
        with torch.no_grad():
            while count < 2 or now() - began < seconds:
                CRITERION(self.model(self.x), self.y).item()
                count += 1
        return (now() - began) / count


@dataclass
class Clock:
    """Seconds since the start at which so many cells were measured."""

    began: float = field(default_factory=now)
    stamps: list[tuple[float, int]] = field(default_factory=list)

    def stamp(self, cells: int | None = None) -> None:
        """By default one cell more."""
        earlier = self.stamps[-1][1] if self.stamps else 0
        self.stamps.append((now() - self.began, earlier + 1 if cells is None else cells))

    @property
    def per_cell(self) -> float:
        (first, few), (last, many) = self.stamps[0], self.stamps[-1]
        return (last - first) / (many - few)

    @property
    def set_up(self) -> float:
        """Seconds before the first cell."""
        first, few = self.stamps[0]
        return max(0.0, first - few * self.per_cell)

    def seconds(self, cells: int) -> float:
        """What so many cells take."""
        return self.set_up + cells * self.per_cell


@dataclass(frozen=True)
class Drawn:
    """Losses, row β and column α, at the coordinates that the tool says they are at."""

    losses: np.ndarray
    alphas: np.ndarray
    betas: np.ndarray
    clock: Clock
    how: str = ""


class Tool(Protocol):
    """One of the compared."""

    name: str

    def draw(self, scene: Scene, count: int) -> Drawn: ...


class Ours:
    """Every cell, by the survey that a user iterates over."""

    name = f"landscape_widget {lw.__version__}"

    def draw(self, scene: Scene, count: int) -> Drawn:
        steps = lw.survey(scene.problem, directions=scene.directions, resolution=count, span=scene.span, tolerance=0)
        clock, landscape = Clock(), None
        for landscape in steps:
            if landscape.num_measured:
                clock.stamp(landscape.num_measured)
        assert landscape is not None
        strategy = getattr(landscape.recipe, "strategy", "")
        return Drawn(landscape.losses, landscape.alphas, landscape.betas, clock, strategy)


class PlainLoop:
    """What one writes without a tool."""

    name = "load_state_dict in a loop"

    def draw(self, scene: Scene, count: int) -> Drawn:
        clock, axis = Clock(), np.linspace(-scene.span, scene.span, count)
        return Drawn(self.losses(scene, axis, axis, clock), axis, axis, clock)

    def losses(self, scene: Scene, alphas: np.ndarray, betas: np.ndarray, clock: Clock | None = None) -> np.ndarray:
        """Shape (b, a)."""
        clock, model = clock or Clock(), copy.deepcopy(scene.model)
        losses = np.empty((len(betas), len(alphas)))
        with torch.no_grad():
            for row, beta in enumerate(betas.tolist()):
                for column, alpha in enumerate(alphas.tolist()):
                    model.load_state_dict(scene.at(alpha, beta))
                    losses[row, column] = CRITERION(model(scene.x), scene.y).item()
                    clock.stamp()
        return losses


class LossLandscapes:
    """Its plane between three models, the corners of the window: the same loop as its random plane's, along given axes."""

    def __init__(self) -> None:
        import loss_landscapes
        from loss_landscapes.metrics import Loss

        self._tool, self._loss = loss_landscapes, Loss
        self.name = f"loss-landscapes {version('loss-landscapes')}"

    def draw(self, scene: Scene, count: int) -> Drawn:
        clock, span = Clock(), scene.span
        corners = [scene.moved(*corner) for corner in ((-span, -span), (span, -span), (-span, span))]
        metric = _on_clock(self._loss(CRITERION, scene.x, scene.y), clock)
        losses = self._tool.planar_interpolation(*corners, metric, steps=count)
        # Its first index goes along the first axis; its steps begin at the corner and end one before the other.
        axis = span * (2 * np.arange(count) / count - 1)
        return Drawn(losses.T, axis, axis, clock)


class Landscaper:
    """`compute_loss_landscape` along the same axes; each tensor of them it gives a norm of its own."""

    def __init__(self) -> None:
        from landscaper.compute import compute_loss_landscape

        # Its annotations say less than it returns.
        self._compute: Any = compute_loss_landscape
        self.name = f"Landscaper {version('landscaper')}"

    def draw(self, scene: Scene, count: int) -> Drawn:
        clock, model = Clock(), copy.deepcopy(scene.model)
        axes = [[axis[name].clone() for name, _ in model.named_parameters()] for axis in scene.axes]
        # Its unit is ‖θ‖.
        distance = scene.span * scene.directions[0].norm / _norm(model.parameters())
        loss = _on_clock(lambda model, data: CRITERION(model(data[0]), data[1]).item(), clock)
        with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):
            losses, coordinates = self._compute(
                model, (scene.x, scene.y), axes, loss, steps=count, distance=distance, dim=2, device="cpu"
            )
        alphas, betas = (np.asarray(axis) / distance * scene.span for axis in coordinates)
        return Drawn(losses.T, alphas, betas, clock)


def peers() -> tuple[list[Tool], list[str]]:
    """The other tools, and of those that are missing why."""
    found: list[Tool] = [PlainLoop()]
    missing = []
    for tool in (LossLandscapes, Landscaper):
        try:
            found.append(tool())
        except (ImportError, PackageNotFoundError) as error:
            missing.append(f"{tool.__name__} is not measured: {error}.")
    return found, missing


@dataclass(frozen=True)
class Alone:
    """Figures of a process in which nothing but one tool was ever run."""

    forward: float
    """Seconds of a bare forward pass before the tool."""
    per_cell: float
    """Median over rounds."""


def alone(tool: type[Tool], scene: Scene, count: int, repeats: int) -> Alone:
    """A tool in a fresh process.

    There glibc gives large activations back to the system after every pass and pays for page faults in the next; after
    the first gradient it keeps them. A peer's user who loads weights and evaluates them pays so in every cell.
    """
    with ProcessPoolExecutor(1, get_context("spawn")) as pool:
        # Without what was made of it here.
        return pool.submit(_alone, tool, replace(scene), count, repeats, torch.get_num_threads()).result()


def _alone(tool: type[Tool], scene: Scene, count: int, repeats: int, threads: int) -> Alone:
    torch.set_num_threads(threads)
    forward = scene.forward_seconds(0.5)
    made = tool()
    return Alone(forward, statistics.median(made.draw(scene, count).clock.per_cell for _ in range(repeats)))


def _norm(parameters: Iterable[Tensor]) -> float:
    return float(torch.cat([parameter.detach().reshape(-1) for parameter in parameters]).norm())


def _on_clock(measure: Callable[..., float], clock: Clock) -> Callable[..., Any]:
    def measured(*arguments: Any) -> float:
        value = measure(*arguments)
        clock.stamp()
        return value

    return measured
