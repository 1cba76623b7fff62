"""Which strategy evaluates cells fastest: those that can win are tried, and must give what going one by one gives."""

from __future__ import annotations

import warnings
from collections.abc import Generator
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from landscape_widget.engine.data import rows, tensors
from landscape_widget.engine.memory import is_out_of_memory
from landscape_widget.engine.placed import CHANNELS_LAST
from landscape_widget.engine.ways import Points, Strategy

if TYPE_CHECKING:
    from landscape_widget.engine.evaluation import Evaluation
    from landscape_widget.engine.problem import Problem, Term

# Another strategy is taken only if it takes at most this share of the time: round-off differs between them.
_CLEARLY = 0.9
# Passes shorter than this, in seconds, may be mostly overhead, which many cells at once share: on a GPU most passes are.
_SHORT = {"cpu": 2e-4, "cuda": 1e-2}
# Passes longer than this may work on more than the caches hold: a quarter of the samples is tried, down to so few.
_LONG, _FEWEST, _PARTS = 1e-3, 8, 4
# Cells a pass that are tried, as long as each number gains on the one before; bytes that their points may take.
_CELLS, _POINTS_BYTES = (8, 16, 32, 64), 2**26
# Just below the largest block whose release tells glibc how much to hold, in bytes.
_HELD = 31 * 2**20
# A trial is repeated, so that what disturbs one pass does not decide: so often, unless this many seconds have gone by.
_REPEATS, _ENOUGH = 5, 0.01
# Losses of two strategies differ by round-off at most, relative to the largest one; metrics may count a sample otherwise.
_ROUND_OFF = {torch.float32: 1e-5, torch.float64: 1e-12}
_COUNTED_OTHERWISE = 0.01


@dataclass(frozen=True)
class Trial:
    """A strategy on some micro-batches: values of the first one beside θ*, shape (2, q), and seconds a cell for all of them."""

    strategy: Strategy
    pieces: list[Term]
    values: Tensor
    seconds: float


def fastest(evaluation: Evaluation, problem: Problem, points: Points) -> Generator[None, None, Strategy]:
    """The fastest strategy of those that can win and that agree with going one by one: tried on the first batch, or on parts of it.

    Parameters
    ----------
    evaluation
        Makes the passes.
    problem
        Whose loss.
    points
        θ* and two others, at which values are compared.
    """
    device, first = evaluation.placed.vector.device.type, next(problem.terms())
    if device == "cpu":
        _hold_memory()
    short = _SHORT.get(device, 0.0)
    parts = device == "cpu" and problem.keeps_data and problem.parts_samples
    images = _has_images(evaluation, first)
    if not (parts or images or evaluation.latest < 2 * short):
        return Strategy()
    alone = yield from _tried(evaluation, Strategy(), points, [first])
    # What is wrong here is for whoever measures this very cell to be told.
    if alone is None:
        return Strategy()
    best = alone
    if parts and alone.seconds > _LONG:
        best = yield from _fewer_samples(evaluation, problem, points, alone)
    if images:
        strategy = replace(best.strategy, channels_last=True)
        trial = yield from _tried(evaluation, strategy, points, best.pieces)
        if trial and _agree(evaluation, trial.values, best.values) and trial.seconds < _CLEARLY * best.seconds:
            best = trial
    if best is alone and alone.seconds < short:
        return (yield from _more_cells(evaluation, problem, points, alone))
    return best.strategy


def _hold_memory() -> None:
    """Have the C library keep the memory of a pass for the next one.

    glibc may give it back after every pass and ask for it again, page by page: measured, 1,600 page faults and half of the time
    of a pass of a small convolutional network. How much it holds follows the largest block, up to 32 MiB, that was
    ever freed: mallopt(3), M_MMAP_THRESHOLD.
    """
    torch.empty(_HELD, dtype=torch.uint8)


def _fewer_samples(
    evaluation: Evaluation, problem: Problem, points: Points, alone: Trial
) -> Generator[None, None, Trial]:
    """The best trial with a quarter of the samples at a time, a quarter of those, and so on."""
    (whole,) = alone.pieces
    best, per_sample = alone, alone.seconds / len(whole.batch[0])
    count = len(whole.batch[0]) // _PARTS
    while count >= _FEWEST:
        # Several, as in a pass, so that they do not stay in the caches.
        pieces = [replace(whole, batch=rows(whole.batch, count * i, count * (i + 1))) for i in range(_PARTS)]
        trial = yield from _tried(evaluation, Strategy(rows=count), points, pieces)
        if trial is None or trial.seconds / (_PARTS * count) > _CLEARLY * per_sample:
            break
        best, per_sample = trial, trial.seconds / (_PARTS * count)
        count //= _PARTS
    if best is alone:
        return alone
    total = torch.zeros_like(alone.values)
    for piece in evaluation.cut(problem, whole, best.strategy):
        for row, index in enumerate((1, 2)):
            values, _ = evaluation.tried(best.strategy, points, [index], piece)
            total[row] += _weights(piece, values) * values[0]
            yield
    return best if _agree(evaluation, total, _weights(whole, alone.values) * alone.values) else alone


def _more_cells(
    evaluation: Evaluation, problem: Problem, points: Points, alone: Trial
) -> Generator[None, None, Strategy]:
    """How many cells a pass are the fastest; one, where more are not, or do not agree on a last batch of another size."""
    best, previous = Strategy(), float("inf")
    for cells in _CELLS:
        if cells * evaluation.placed.vector.nbytes > _POINTS_BYTES:
            break
        trial = yield from _tried(evaluation, Strategy(cells), points, alone.pieces)
        if trial is None or not _agree(evaluation, trial.values, alone.values) or trial.seconds > _CLEARLY * previous:
            break
        previous = trial.seconds
        if trial.seconds < _CLEARLY * alone.seconds:
            best = trial.strategy
    if best.cells > 1 and problem.keeps_data:
        *_, last = problem.terms()
        reference = yield from _tried(evaluation, Strategy(), points, [last])
        trial = yield from _tried(evaluation, best, points, [last])
        if not (reference and trial and _agree(evaluation, trial.values, reference.values)):
            return Strategy()
    return best


def _tried(
    evaluation: Evaluation, strategy: Strategy, points: Points, pieces: list[Term]
) -> Generator[None, None, Trial | None]:
    """A trial; None where the strategy fails, or gives other values for the same point in another place of a pass."""
    found: dict[int, Tensor] = {}
    taken: list[float] = []
    while not taken or (len(taken) < 2 * _REPEATS and sum(taken) < _ENOUGH):
        for order in ([1], [2, 1, 0]):
            indices = (order * strategy.cells)[: strategy.cells]
            seconds = 0.0
            for number, piece in enumerate(pieces):
                try:
                    with warnings.catch_warnings():
                        if strategy.cells > 1:
                            # What cannot be mapped over is done in a loop, and torch warns of that.
                            warnings.simplefilter("error")
                        values, more = evaluation.tried(strategy, points, indices, piece)
                except Exception as error:  # noqa: BLE001 - what another strategy cannot do, going one by one can
                    if is_out_of_memory(error) and evaluation.placed.vector.is_cuda:
                        torch.cuda.empty_cache()
                    return None
                seconds += more
                yield
                for index, row in zip(indices, values, strict=True) if number == 0 else ():
                    if not torch.equal(found.setdefault(index, row).view(torch.int64), row.view(torch.int64)):
                        return None
            taken.append(seconds)
    return Trial(strategy, pieces, torch.stack([found[1], found[2]]), min(taken) / strategy.cells)


def _agree(evaluation: Evaluation, values: Tensor, reference: Tensor) -> bool:
    """Whether losses differ by round-off only, and metrics hardly; both of shape (p, q)."""
    largest = reference.nan_to_num(0.0, 0.0, 0.0).abs().amax(0)
    allowed = _COUNTED_OTHERWISE * largest.clamp(min=1.0)
    allowed[0] = _ROUND_OFF[evaluation.placed.vector.dtype] * largest[0]
    same = (values == reference) | (values.isnan() & reference.isnan())
    return bool((same | ((values - reference).abs() <= allowed)).all())


def _weights(piece: Term, values: Tensor) -> Tensor:
    """What the loss and the metrics of a micro-batch count; shape (q,)."""
    return values.new_tensor([piece.coefficient, *[piece.share] * (values.shape[1] - 1)])


def _has_images(evaluation: Evaluation, piece: Term) -> bool:
    """Whether there are images, and weights of convolutions over them."""
    dimensions = {parameter.dim() for parameter in evaluation.placed.model.parameters()} & set(CHANNELS_LAST)
    return any(tensor.dim() in dimensions for tensor in tensors(piece.batch))
