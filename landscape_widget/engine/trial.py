"""One trial at θ*: what the loss must be before anything around it is measured."""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn

from landscape_widget.engine.calling import describe
from landscape_widget.engine.data import tensors

# Widths of central differences, in steps; how well they must agree, relative to them, and how far the gradient must be off.
_WIDTHS = 0.2, 0.1
_AGREE, _APART = 0.03, 0.1
# Kinks can do that at one point in thirty, but hardly at these widths, at which it must show again at one of so many points.
_NARROW, _AGAIN = (0.02, 0.01), 4

# The loss of a batch at θ.
BatchLoss = Callable[[Tensor, Any], Tensor]


def check_differentiable(
    value_of: BatchLoss, plain_of: BatchLoss, theta: Tensor, batch: Any, outer: list[nn.Parameter]
) -> None:
    """Raise ValueError for a loss whose graph does not reach θ, or reaches a parameter of the user's own model (``outer``).

    Also for one that is another function where a gradient is recorded. One batch tells.
    """
    leaf = theta.clone().requires_grad_(True)
    with torch.enable_grad(), _without_checkpoints():
        value = value_of(leaf, batch)
        reached = [leaf, *outer]
        gradient, *others = (
            torch.autograd.grad(value, reached, allow_unused=True) if value.requires_grad else [None] * len(reached)
        )
    if gradient is not None and any(other is not None for other in others):
        raise ValueError(
            "expected a loss that uses the model it is given, got one that also uses the parameters of your own model: "
            "that part would stay constant over the whole surface; write it as loss(model, batch) with that model only"
        )
    if gradient is None:
        raise ValueError(
            "expected a loss that depends on the model's parameters through a graph, got one without: .detach(), .item(), "
            "argmax or torch.no_grad() cuts it, and so does a loss that uses another model than the one it is given"
        )
    recorded = float(value.detach())
    plain = float(plain_of(theta, batch))
    if abs(recorded - plain) > 1e-4 * abs(plain):
        raise ValueError(
            f"expected the same loss with and without a gradient being recorded, got {recorded:.8g} and {plain:.8g}; "
            "the curvature would be that of another function than the surface"
        )


def cut_gradient(value_of: BatchLoss, plain_of: BatchLoss, theta: Tensor, step: Tensor, batch: Any) -> str | None:
    """A word of a loss whose gradient at θ + ``step`` is not its derivative, found along ``step``; None where it is, or nobody can tell.

    Part of such a loss is cut off: by .detach(), .data, state_dict() or a straight-through estimator. Central
    differences with two widths must agree before they are believed, and what they say must show at a second random
    point, with a smaller part of θ's neighborhood between them.
    """
    if not _misses(value_of, plain_of, theta, step, batch, _WIDTHS):
        return None
    generator = torch.Generator().manual_seed(0)
    signs = (torch.randint(0, 2, step.shape, generator=generator) * 2 - 1 for _ in range(_AGAIN))
    if not any(_misses(value_of, plain_of, theta, step * sign.to(step), batch, _NARROW) for sign in signs):
        return None
    return (
        "the gradient is not the derivative of the loss: .detach(), .data, state_dict() or a straight-through estimator "
        "cuts a part off, which the surface shows and the curvatures leave out"
    )


def _misses(
    value_of: BatchLoss, plain_of: BatchLoss, theta: Tensor, step: Tensor, batch: Any, widths: tuple[float, float]
) -> bool:
    """Whether the slope along ``step`` at θ + ``step`` is certainly not what central differences give."""
    there = (theta + step).requires_grad_(True)
    with torch.enable_grad():
        value = value_of(there, batch)
        (gradient,) = torch.autograd.grad(value, there, materialize_grads=True) if value.requires_grad else (None,)
    if gradient is None:
        return False
    slope = float(gradient.double() @ step.double())
    there = there.detach()
    wide, narrow = (
        float(plain_of(there + h * step, batch).double() - plain_of(there - h * step, batch).double()) / (2 * h)
        for h in widths
    )
    noise = torch.finfo(value.dtype).eps * abs(float(value.detach())) / min(widths)
    size = max(abs(slope), abs(narrow))
    believed = abs(wide - narrow) <= _AGREE * abs(narrow) + noise and size > noise / _AGREE
    return believed and abs(slope - narrow) > _APART * size


def check_repeatable(plain_of: BatchLoss, theta: Tensor, batch: Any) -> None:
    """Raise ValueError for a loss that draws random numbers."""
    first, second = (float(plain_of(theta, batch)) for _ in range(2))
    if abs(first - second) > 1e-5 * abs(first):
        raise ValueError(
            f"expected the same loss from two evaluations at the same weights, got {first:.8g} and {second:.8g} on the first batch; "
            "a loss that draws random numbers needs a generator that it seeds itself"
        )


def why_not_finite(
    plain_of: BatchLoss, theta: Tensor, named: Mapping[str, Tensor], batches: Iterable[tuple[int, Any]]
) -> str:
    """What makes the loss at θ NaN or infinite: a parameter, a batch's data, or what the loss makes of them; for a message."""
    for name, part in named.items():
        if not bool(part.isfinite().all()):
            return f": the parameter {name} itself is not finite"
    for number, batch in batches:
        if math.isfinite(float(plain_of(theta, batch))):
            continue
        held = tensors(batch)
        told = f". It is so for batch {number}, {describe(batch)}"
        if any(not bool(t.isfinite().all()) for t in held):
            return f"{told}, whose data are not finite"
        if any(_whole_numbers(t) and bool((t < 0).all()) for t in held):
            return (
                f"{told}, whose labels are all negative: if they are ignored, the mean is 0/0; "
                "pass batch_weight=lambda batch: ... (the number of labels that count), 0 for such a batch"
            )
        return told
    return ""


def _whole_numbers(tensor: Tensor) -> bool:
    return bool(tensor.numel()) and not tensor.is_floating_point() and not tensor.is_complex()


@contextmanager
def _without_checkpoints() -> Iterator[None]:
    """Refuse gradient checkpointing: it computes layers again when θ is no longer in the model, with other weights."""
    refusal = (
        "expected a model without gradient checkpointing, got one that recomputes layers in the backward pass, "
        "which cannot be differentiated by θ; switch it off: it changes memory, not the loss"
    )
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        try:
            yield
        except RuntimeError as error:
            if "torch.utils.checkpoint" in str(error):
                raise ValueError(refusal) from error
            if "backward through the graph a second time" in str(error):
                raise ValueError(
                    "expected a loss that only returns its value, got one that frees its graph; leave out .backward()"
                ) from error
            raise
    for warning in caught:
        # The reentrant form cuts the graph, and only warns of it.
        if "None of the inputs have requires_grad=True" in str(warning.message):
            raise ValueError(refusal)
        warnings.warn_explicit(warning.message, warning.category, warning.filename, warning.lineno)
