"""Model, loss and data brought together: how the loss is called, what it takes for a batch, how many samples at once."""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.autograd.graph import saved_tensors_hooks

from landscape_widget.engine.batches import Batches, is_bare
from landscape_widget.engine.objective import Objective, resolve

# What a pass may keep for its backward pass; a Hessian-vector product takes about four times as much.
_PASS_BYTES = 2**28
# Samples that show whether batches can be regrouped, and how equal their outputs must be (round-off in float32).
_FEW, _SAME_OUTPUT = 8, 1e-4


def own_copy(loss: Any, model: nn.Module, device: torch.device) -> Any:
    """A loss that is a module, copied to the device in eval mode; any other as it is."""
    if not isinstance(loss, nn.Module):
        return loss
    if {id(p) for p in loss.parameters()} & {id(p) for p in model.parameters()}:
        raise ValueError(
            "expected a loss that uses the model it is given, got one that holds parameters of your own model: "
            "that part would stay constant over the whole surface; write it as loss(model, batch) with that model only"
        )
    return copy.deepcopy(loss).to(device).eval()


def called(
    model: nn.Module,
    loss: Callable[..., Any],
    data: Any,
    named: Mapping[str, Tensor],
    prepare: Callable[[Tensor | np.ndarray], Tensor],
    cache_bytes: int,
) -> tuple[Objective, Batches]:
    """How the loss is called, and the batches: of a list of bare tensors the loss tells whether it is one."""
    batches = Batches(data, prepare, cache_bytes)
    first = next(iter(batches))
    try:
        objective = resolve(model, loss, first)
        if is_bare(data) and not objective.takes_output:
            objective.learn(named, first)
        return objective, batches
    except Exception:
        if not is_bare(data):
            raise
        apart = Batches(data, prepare, cache_bytes, apart=True)
        try:
            objective = resolve(model, loss, next(iter(apart)))
            objective.learn(named, next(iter(apart)))
            return objective, apart
        except Exception:  # noqa: BLE001 - the first way is the one to tell of
            pass
        raise


def regrouped(objective: Objective, batches: Batches, theta: Tensor, value: Callable[[Tensor, Any], Tensor]) -> bool:
    """Merge and split the batches so that each pass takes as few calls as memory allows, where nothing else changes by it.

    Parameters
    ----------
    objective
        Of which criterion, and what the model gives.
    batches
        To be regrouped.
    theta
        θ*, shape (n,).
    value
        The differentiable loss of a batch at θ.

    Returns
    -------
    bool
        Whether batches may be cut: no sample's output depends on the others in its batch.
    """
    rule, columns = objective.rule, batches.columns
    if rule is None or not rule.regroups or columns is None:
        return False
    # A few samples from both ends show whether an output depends on what else is in its batch: time-first
    # sequences, batch statistics.
    front = tuple(t[:_FEW] for t in columns[0])
    back = tuple(t[-_FEW:] for t in columns[-1])
    both = tuple(torch.cat(pair) for pair in zip(front, back, strict=True))
    with torch.no_grad():
        apart = [objective.output_and_target(part)[0] for part in (front, back)]
        together, target = objective.output_and_target(both)
    if not all(isinstance(output, Tensor) and output.dim() for output in (*apart, together)):
        return False
    # Every output against every target of its batch is another function in other batches.
    if rule.elementwise and together.shape != target.shape:
        return False
    if len(together) != len(both[0]) or any(output.shape[1:] != together.shape[1:] for output in apart):
        return False
    if not float((together - torch.cat(apart)).abs().max()) <= _SAME_OUTPUT * float(together.abs().max()):
        return False
    per_sample = _saved_bytes(value, theta, both) / len(together)
    batches.rebatch(max(1, int(_PASS_BYTES / max(1.0, per_sample))))
    return True


def _saved_bytes(value: Callable[[Tensor, Any], Tensor], theta: Tensor, batch: Any) -> int:
    """Memory that the loss of a batch keeps for its backward pass, without θ itself."""
    leaf = theta.clone().requires_grad_(True)
    saved: dict[int, int] = {}

    def keep(tensor: Tensor) -> Tensor:
        if tensor.untyped_storage().data_ptr() != leaf.untyped_storage().data_ptr():
            saved[tensor.data_ptr()] = tensor.numel() * tensor.element_size()
        return tensor

    with saved_tensors_hooks(keep, lambda tensor: tensor):
        value(leaf, batch)
    return sum(saved.values())
