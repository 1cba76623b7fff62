"""Ways to evaluate loss and metrics at points: one by one in a model of their own, or several in one mapped pass."""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from landscape_widget.engine.objective import Objective
from landscape_widget.engine.placed import Placed, twin


@dataclass(frozen=True)
class Strategy:
    """How cells are evaluated: how many in one pass, how images lie in memory, how many samples a micro-batch has at most."""

    cells: int = 1
    channels_last: bool = False
    rows: int | None = None

    def __str__(self) -> str:
        way = (
            f"{self.cells} cells a pass" if self.cells > 1 else "channels last" if self.channels_last else "one by one"
        )
        return way if self.rows is None else f"{way}, {self.rows} samples at a time"


@dataclass(frozen=True)
class Points:
    """Points of which each is written into a vector (n,) when it is needed."""

    count: int
    write: Callable[[int, Tensor], object]


# From a batch, and whether metrics are wanted, the loss and the metrics at the points of a pass: one number each, or (p,).
Measure = Callable[[Any, bool], list[float] | list[Tensor]]


class OneByOne:
    """A model of its own is put where the point is, and called as it is."""

    def __init__(self, placed: Placed, objective: Objective, names: Sequence[str]) -> None:
        self._placed, self._objective, self._names = placed, objective, names

    def start(self, points: Points, indices: Sequence[int]) -> Measure:
        """At the first of these points."""
        key, write = object(), functools.partial(points.write, indices[0])
        objective, placed = self._objective, self._placed

        def measure(batch: Any, with_metrics: bool) -> list[float] | list[Tensor]:
            placed.at(key, write)
            named = None
            if objective.differentiates:
                parameters = dict(placed.model.named_parameters())
                named = {name: parameters[name].detach() for name in self._names}
            values = objective.measured(batch, named, with_metrics=with_metrics)
            if placed.vector.is_cuda:
                # Not waited for.
                return [value.detach().double().reshape(1) for value in values]
            return [value.item() for value in values]

        return measure


class Together:
    """Several points in one pass, mapped over by torch.func.vmap; a pass has always the same number of them."""

    def __init__(self, placed: Placed, objective: Objective, names: Sequence[str], cells: int) -> None:
        # A model may keep what it has computed, which is of no use outside the mapped function.
        model = twin(placed.model)
        self._objective, self._names, self._cells, self._point = objective.on(model), names, cells, placed.vector
        parameters = dict(model.named_parameters())
        self._forms = [(parameters[name].shape, parameters[name].dtype) for name in names]

    def start(self, points: Points, indices: Sequence[int]) -> Measure:
        """At these points, of which the last one is repeated where they are fewer than a pass takes."""
        vectors = self._point.new_empty(self._cells, self._point.numel())
        for slot, vector in enumerate(vectors):
            points.write(indices[min(slot, len(indices) - 1)], vector)
        columns = vectors.split([shape.numel() for shape, _ in self._forms], dim=1)
        named = {
            name: column.view(self._cells, *shape).to(dtype)
            for name, column, (shape, dtype) in zip(self._names, columns, self._forms, strict=True)
        }

        def measure(batch: Any, with_metrics: bool) -> list[Tensor]:
            def at_one(named: dict[str, Tensor]) -> tuple[Tensor, ...]:
                return tuple(self._objective.measured(batch, named, with_metrics=with_metrics))

            return [values.double() for values in torch.func.vmap(at_one)(named)]

        return measure


def as_rows(quantities: list[Any]) -> np.ndarray | Tensor:
    """What was measured, with points as rows and quantities as columns, (p, q): on a GPU as a tensor there."""
    if isinstance(quantities[0], float):
        return np.array([quantities])
    rows = torch.stack(quantities, dim=1)
    return rows if rows.is_cuda else rows.numpy()
