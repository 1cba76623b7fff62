"""Loss and metrics at many points, a micro-batch at a time, by the strategy that was measured to be the fastest here."""

from __future__ import annotations

import os
import time
from collections.abc import Generator, Iterator, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor

from landscape_widget.engine.data import map_tensors, num_bytes
from landscape_widget.engine.memory import free_memory, is_out_of_memory
from landscape_widget.engine.modes import own_modes
from landscape_widget.engine.objective import Objective
from landscape_widget.engine.placed import CHANNELS_LAST, Placed
from landscape_widget.engine.settling import fastest
from landscape_widget.engine.ways import OneByOne, Points, Strategy, Together, as_rows

if TYPE_CHECKING:
    from landscape_widget.engine.problem import Problem, Term


class Evaluation:
    """Loss and metrics of a problem at many points.

    Parameters
    ----------
    placed
        A copy of the problem's model; only passes made here move it.
    objective
        The problem's.
    names
        Of the parameters that are θ, in their order.
    """

    def __init__(self, placed: Placed, objective: Objective, names: Sequence[str]) -> None:
        self.strategy = Strategy()
        self.objective, self.placed = objective.on(placed.model), placed
        self.latest = 0.0
        """Seconds that the latest micro-batch took; on a GPU only to queue it."""
        self._names, self._settled = names, False
        self._ways: dict[tuple[int, bool], OneByOne | Together] = {}
        self._pieces: dict[Strategy, list[Term]] = {}

    def anew(self) -> Evaluation:
        """For the same loss over other data."""
        return Evaluation(self.placed, self.objective, self._names)

    def run(self, problem: Problem, points: Points, *, with_metrics: bool) -> Generator[None, None, np.ndarray]:
        """Loss, and metrics, at the points, shape (p, q), float64; yields after every micro-batch.

        When memory runs out, half as many cells are evaluated at once, then half as many samples.

        Raises
        ------
        MemoryError
            Where not even one sample fits; and what the loss itself raises.
        """
        done, count = [], 0
        while count < points.count:
            indices = range(count, min(count + self.strategy.cells, points.count))
            try:
                done.append((yield from self._pass(problem, points, indices, with_metrics)))
                count += len(indices)
            except (RuntimeError, MemoryError) as error:
                if not is_out_of_memory(error):
                    raise
                self._halve(problem, error)
        if not done:
            return np.empty((0, 1 + with_metrics * len(self.objective.metrics)))
        # One transfer for all points.
        return np.concatenate(done) if isinstance(done[0], np.ndarray) else torch.cat(done).cpu().numpy()

    def settle(self, problem: Problem, points: Points) -> Iterator[None]:
        """Choose the strategy, once, by what passes take; yields after each of a few.

        Parameters
        ----------
        problem
            Whose loss.
        points
            Three: θ* and two others, at which all ways must agree.
        """
        # A loss that takes gradients itself must be called as it is.
        if not self._settled and not self.objective.differentiates:
            self._use((yield from fastest(self, problem, points)))
        self._settled = True

    def tried(self, strategy: Strategy, points: Points, indices: Sequence[int], piece: Term) -> tuple[Tensor, float]:
        """One pass over one micro-batch: loss and metrics, shape (p, q), on the CPU; and its seconds.

        Raises
        ------
        Exception
            Whatever a strategy cannot do.
        """
        # Where this thread computes, what others do meanwhile does not count; what is on a device is waited for.
        clock = time.thread_time if self.placed.vector.device.type == "cpu" and os.name != "nt" else time.perf_counter
        with self.placed.lock, own_modes():
            batch = _channels_last(piece.batch) if strategy.channels_last else piece.batch
            measure = self._way(strategy).start(points, indices)
            began = clock()
            values = torch.as_tensor(as_rows(measure(batch, True))).cpu()
            return values, clock() - began

    def _pass(
        self, problem: Problem, points: Points, indices: Sequence[int], with_metrics: bool
    ) -> Generator[None, None, np.ndarray | Tensor]:
        """One pass over the data for the points of these indices, as many as the strategy takes at most; shape (p, q)."""
        strategy, total, measure, queued = self.strategy, None, None, None
        for piece in self._micro_batches(problem, strategy):
            with self.placed.lock, own_modes():
                began = time.perf_counter()
                measure = measure or self._way(strategy).start(points, indices)
                loss, *metrics = measure(piece.batch, with_metrics)
                # In float64, on the device: no rounding from many small batches.
                values: list[Any] = [piece.coefficient * loss, *(piece.share * metric for metric in metrics)]
                total = values if total is None else [a + b for a, b in zip(total, values, strict=True)]
                self.latest = time.perf_counter() - began
            queued = _keep_pace(self.placed.vector.device, queued)
            yield
        assert total is not None
        return as_rows(total)[: len(indices)]

    def _micro_batches(self, problem: Problem, strategy: Strategy) -> Iterator[Term]:
        """The addends of L, cut and laid out for a strategy; kept with the data, if there is room for copies of them."""
        if strategy in self._pieces:
            yield from self._pieces[strategy]
            return
        keeps, made = problem.keeps_data, []
        if keeps and strategy.channels_last:
            needed = sum(num_bytes(term.batch) for term in problem.terms())
            keeps = needed < free_memory(self.placed.vector.device) // 4
        for term in problem.terms():
            for piece in self.cut(problem, term, strategy):
                made += [piece] if keeps else []
                yield piece
        if keeps:
            self._pieces[strategy] = made

    def cut(self, problem: Problem, term: Term, strategy: Strategy) -> list[Term]:
        """A term as addends of no more samples than the strategy allows, laid out as it wants them."""
        with self.placed.lock, own_modes():
            pieces = problem.pieces(term, strategy.rows) if strategy.rows else [term]
            if strategy.channels_last:
                pieces = [replace(piece, batch=_channels_last(piece.batch)) for piece in pieces]
        return pieces

    def _way(self, strategy: Strategy) -> OneByOne | Together:
        """How the points of a strategy are taken."""
        key = strategy.cells, strategy.channels_last
        if key not in self._ways:
            self._ways[key] = self._made(*key)
        return self._ways[key]

    def _made(self, cells: int, channels_last: bool) -> OneByOne | Together:
        placed, objective = self.placed, self.objective
        if cells > 1:
            return Together(placed, objective, self._names, cells)
        if channels_last:
            placed = Placed(placed.model, self._names, placed.vector, channels_last=True)
            objective = objective.on(placed.model)
        return OneByOne(placed, objective, self._names)

    def _use(self, strategy: Strategy) -> None:
        """Go on by another strategy; what only others need is given up."""
        self.strategy = strategy
        self._ways = {key: way for key, way in self._ways.items() if key == (strategy.cells, strategy.channels_last)}
        self._pieces = {kept: pieces for kept, pieces in self._pieces.items() if kept == strategy}

    def _halve(self, problem: Problem, error: BaseException) -> None:
        """Half as many cells, or samples, at once."""
        strategy = self.strategy
        if strategy.cells > 1:
            self._use(replace(strategy, cells=strategy.cells // 2))
        else:
            largest = strategy.rows or 1
            if strategy.rows is None and problem.parts_samples:
                largest = max(len(term.batch[0]) for term in problem.terms())
            if largest == 1:
                raise MemoryError(
                    "expected memory for the loss of one batch, got none; pass the data in smaller batches"
                ) from error
            self._use(replace(strategy, rows=largest // 2))
        if self.placed.vector.is_cuda:
            torch.cuda.empty_cache()


def _channels_last(batch: Any) -> Any:
    """The batch with its images' channels innermost in memory."""

    def laid_out(tensor: Any) -> Any:
        layout = CHANNELS_LAST.get(tensor.dim()) if isinstance(tensor, Tensor) else None
        return tensor.contiguous(memory_format=layout) if layout and tensor.layout is torch.strided else tensor

    return map_tensors(batch, laid_out)


def _keep_pace(device: torch.device, queued: torch.cuda.Event | None) -> torch.cuda.Event | None:
    """Have at most the micro-batch just queued waiting on the device, so that a pass can be stopped where it is."""
    if device.type != "cuda":
        return None
    if queued is not None:
        queued.synchronize()
    latest = torch.cuda.Event()
    latest.record(torch.cuda.current_stream(device))
    return latest
