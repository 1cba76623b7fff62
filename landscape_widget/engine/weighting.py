"""How much each batch's loss counts, so that L = Σ c_b · loss_b is the mean over the data."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from numbers import Real
from typing import Any

import torch
from torch import Tensor

from landscape_widget.engine.calling import describe, in_short, told
from landscape_widget.engine.data import batch_size, can_be_parted, merged, row_form, rows
from landscape_widget.engine.objective import Objective

# Batches on which an unknown loss is tried: the first ones and the last; samples of each, and where they are parted.
# Unequal parts tell a mean over samples from a mean of means.
_TRIED, _SAMPLES, _PARTED = 3, 16, 6

# A point θ as named parameters.
Named = Mapping[str, Tensor]


@dataclass(frozen=True)
class Weighting:
    """The coefficients c_b, one for each batch; the number of samples in each (None: not known); what to say of them."""

    coefficients: list[float]
    sizes: list[int | None]
    notes: list[str]

    @property
    def num_samples(self) -> int | None:
        """Over how many samples the mean is; None where a batch does not tell."""
        return None if None in self.sizes else sum(filter(None, self.sizes))

    @property
    def shares(self) -> list[float]:
        """What part of the samples each batch holds, of those that count; where a batch does not tell, by the coefficients."""
        sizes = self.coefficients if None in self.sizes else self.sizes
        counted = [float(size or 0) if c else 0.0 for size, c in zip(sizes, self.coefficients, strict=True)]
        total = math.fsum(counted) or 1.0
        return [count / total for count in counted]


def weighting(
    objective: Objective,
    batches: Iterable[Any],
    batch_weight: Callable[[Any], float] | None,
    points: Callable[[], list[Named]],
) -> Weighting:
    """One pass over the data at θ*: every batch's weight.

    The weight is the user's; or what a known criterion divides by; or the number of samples, after a trial of what
    kind of mean the loss is.

    Parameters
    ----------
    objective
        The loss of a batch.
    batches
        In the order of the coefficients.
    batch_weight
        The user's weights, or None.
    points
        Gives θ* and a point near it, on which an unknown loss is tried.

    Raises
    ------
    TypeError, ValueError
        For weights that are no numbers of at least 0, that are not known, or that are all 0; and for a loss over
        several batches that is neither a mean over their samples nor a sum.
    """
    rule, known = objective.rule, objective.rule is not None or batch_weight is not None
    weights, sizes, forms, shown = [], [], set(), []
    broadcast = ""
    for number, batch in enumerate(batches):
        sizes.append(batch_size(batch))
        if batch_weight is not None:
            weights.append(_asked(batch_weight, batch, number))
        elif rule is not None:
            weight, unequal = _ruled(objective, batch)
            weights.append(weight)
            broadcast = broadcast or unequal
        else:
            weights.append(math.nan if sizes[-1] is None else float(sizes[-1]))
            forms.add(row_form(batch) if can_be_parted(batch) else None)
            if sizes[-1] != 0:
                shown = [*shown[:_TRIED], batch]
        if len(weights) > 1 and any(map(math.isnan, weights)):
            raise ValueError(
                f"expected batches whose size can be read off their tensors' first dimension, "
                f"got {describe(batch)} as one of several; "
                "pass batch_weight=lambda batch: ... (the number of samples, tokens or elements that the batch's loss is a mean over)"
            )
    if math.isnan(weights[0]):
        weights = [1.0]
    total = math.fsum(weights)
    if total <= 0:
        cause = "batch_weight gives 0 for every batch" if batch_weight else "every target is ignored or of weight 0"
        raise ValueError(f"expected data with a positive total weight, got {total:g}: {cause}")
    notes = [broadcast] if broadcast else []
    several = sum(weight > 0 for weight in weights) > 1
    summed = rule is not None and rule.summed
    if not known:
        kind = _kind(objective, shown, points(), several=several)
        summed = kind == "sum"
        if several and not summed and (kind != "mean" or len(forms) > 1):
            notes.append(
                "batches are weighted by their number of samples, since what this loss is a mean over is not known "
                "(batch_weight= tells)"
            )
    if summed:
        notes.append(f"the summed loss is divided by {total:g} to give the mean")
    coefficients = [(1 / total if summed else w / total) if w else 0.0 for w in weights]
    return Weighting(coefficients, sizes, notes)


def _asked(batch_weight: Callable[[Any], float], batch: Any, number: int) -> float:
    """What the user's function gives for a batch, as a number."""
    with told(batch):
        given = batch_weight(batch)
    number_like = given.item() if isinstance(given, Tensor) and given.numel() == 1 else given
    expected = "expected batch_weight to return a number of at least 0"
    if not isinstance(number_like, Real):
        raise TypeError(f"{expected}, got {in_short(given)} for batch {number}: {describe(batch)}")
    weight = float(number_like)
    if not 0 <= weight < math.inf:
        raise ValueError(f"{expected}, got {weight:g} for batch {number}: {describe(batch)}")
    return weight


def _ruled(objective: Objective, batch: Any) -> tuple[float, str]:
    """What a known criterion divides a batch's loss by, and a word where it compares tensors of unequal shapes."""
    assert objective.rule is not None
    with torch.no_grad():
        output, target = objective.output_and_target(batch)
        if not (isinstance(output, Tensor) and isinstance(target, Tensor)):
            # Raises what is to be said of it.
            objective.value({}, batch)
        with told(batch):
            weight = objective.rule.weight(output, target)
    if weight < 0 or not math.isfinite(weight):
        raise ValueError(
            f"expected class weights that add up to at least 0 in every batch, got {weight:g} for {describe(batch)}"
        )
    unequal = objective.rule.elementwise and output.shape != target.shape
    shapes = f"outputs of shape {tuple(output.shape)} and targets of shape {tuple(target.shape)}"
    return weight, f"{shapes} are broadcast: the loss is a mean over {weight:g} pairs" if unequal else ""


def _kind(objective: Objective, batches: list[Any], points: list[Named], *, several: bool) -> str | None:
    """Whether an unknown loss is a "mean" over samples or a "sum" over them; None where that cannot be tried.

    The loss of some samples is compared with the losses of two parts of them: of a few batches' own samples, and of
    samples of two batches together. A mean over tokens, or one with class weights, is neither.

    Raises
    ------
    ValueError
        For a loss that is neither, where there are several batches to weigh.
    """
    trials = [
        (rows(batch, 0, _SAMPLES), min(_PARTED, len_ - 1))
        for batch in batches
        if can_be_parted(batch) and (len_ := batch_size(batch) or 0) > 1
    ]
    first = batches[0] if batches else None
    for other in batches[1:]:
        if can_be_parted(first) and can_be_parted(other) and row_form(first) == row_form(other):
            front = rows(first, 0, _PARTED)
            trials.append((merged(front, rows(other, 0, _SAMPLES - _PARTED)), batch_size(front) or 0))
    found: set[str] = set()
    for i, (whole, cut) in enumerate(trials):
        # One point is enough once the first batch was tried at both.
        for point in points if i == 0 else points[-1:]:
            kind, values = _tried(objective, point, whole, cut)
            found.add(kind)
            if kind == "neither" and several and _repeats(objective, point, whole):
                count = batch_size(whole) or 0
                raise ValueError(
                    "expected a loss that is a mean over the samples of its batch, or a sum, got one that is neither: "
                    f"{values[0]:.6g} for {count} samples, {values[1]:.6g} for {cut} of them and {values[2]:.6g} for "
                    f"the other {count - cut}; pass batch_weight=lambda batch: ... (what the batch's loss is a mean over: "
                    "tokens that are not padding, the sum of class weights; len(batch[0]) to count samples all the same)"
                    + ("; nan is likely the mean over none" if any(map(math.isnan, values)) else "")
                )
    found.discard("either")
    return found.pop() if len(found) == 1 and not found & {"neither", "unknown"} else None


def _tried(objective: Objective, point: Named, whole: Any, cut: int) -> tuple[str, list[float]]:
    """What the loss looks like on one batch and its two parts."""
    pieces = [(rows(whole, *limits), slice(*limits)) for limits in ((0, cut), (cut, None))]
    try:
        losses = objective.parts(point, whole, pieces)
    except Exception:  # noqa: BLE001 - a loss that takes only whole batches is not to be parted
        return "unknown", []
    # Round-off of a loss that is computed in single precision is far below.
    tolerance = torch.finfo(losses[0].dtype).eps ** 0.5
    values = [float(loss) for loss in losses]
    together, front, back = values
    if not math.isfinite(together):
        return "unknown", values
    scale = tolerance * max(map(abs, values))
    count = batch_size(whole) or 1
    mean = abs(together - (cut * front + (count - cut) * back) / count) <= scale
    total = abs(together - (front + back)) <= scale
    return {(True, True): "either", (True, False): "mean", (False, True): "sum"}.get((mean, total), "neither"), values


def _repeats(objective: Objective, point: Named, batch: Any) -> bool:
    """Whether the loss has one value: of one that draws random numbers nothing can be said."""
    first, second = (float(objective.plain(point, batch)) for _ in range(2))
    return first == second
