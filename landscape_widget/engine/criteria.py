"""What a batch's loss is a mean *over*, so that batch means add up to the true mean over the data.

A mean of batch means is the mean over the data only if every batch is weighted by what the criterion divides by:
samples, elements, or (cross-entropy with class weights or ``ignore_index``) the summed weight of the targets.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

# The function form of a criterion divides like the module of the same row.
_CLASSWISE = (nn.CrossEntropyLoss, nn.NLLLoss, F.cross_entropy, F.nll_loss)
_ELEMENTWISE = (
    *(nn.MSELoss, nn.L1Loss, nn.SmoothL1Loss, nn.HuberLoss, nn.BCELoss, nn.BCEWithLogitsLoss),
    *(nn.PoissonNLLLoss, nn.SoftMarginLoss, nn.MultiLabelSoftMarginLoss, nn.KLDivLoss, nn.HingeEmbeddingLoss),
    *(F.mse_loss, F.l1_loss, F.smooth_l1_loss, F.huber_loss, F.binary_cross_entropy),
    *(F.binary_cross_entropy_with_logits, F.poisson_nll_loss, F.soft_margin_loss, F.kl_div),
    *(F.multilabel_soft_margin_loss, F.hinge_embedding_loss),
)
_SAMPLEWISE = (nn.MultiMarginLoss, nn.MultiLabelMarginLoss, F.multi_margin_loss, F.multilabel_margin_loss)


@dataclass(frozen=True)
class Normalizer:
    """How a known criterion divides.

    ``weight(output, target)`` is the number it divides by (or would, for a sum); ``summed`` tells that it does not
    divide; ``regroups`` that its mean does not change when batches are merged and split; ``elementwise`` that output
    and target are meant to have one shape.
    """

    weight: Callable[[Tensor, Tensor], float]
    summed: bool = False
    regroups: bool = True
    elementwise: bool = False


def normalizer(loss: Any) -> Normalizer | None:
    """What ``loss`` divides by, or None for a callable whose rule is not known (then the number of samples is used).

    Only the exact torch classes and functions count: a subclass may divide otherwise.
    """
    settings: Mapping[str, Any]
    if isinstance(loss, nn.Module):
        kind, settings = type(loss), vars(loss) | dict(loss.named_buffers())
    elif isinstance(loss, functools.partial):
        kind, settings = loss.func, loss.keywords
        # A positional argument takes the place of the output.
        if loss.args:
            return None
    else:
        kind, settings = loss, {}
    reduction, regroups = settings.get("reduction", "mean"), True
    if reduction not in ("mean", "batchmean", "sum"):
        return None
    if kind in _CLASSWISE:
        weight = functools.partial(
            _target_weight, weight=settings.get("weight"), ignore_index=int(settings.get("ignore_index", -100))
        )
    elif kind in _ELEMENTWISE:
        weight = _num_samples if reduction == "batchmean" else _num_elements
        # Weights for elements may have the shape of a batch.
        regroups = settings.get("weight") is None
    elif kind in _SAMPLEWISE:
        weight = _num_samples
    else:
        return None
    return Normalizer(weight, reduction == "sum", regroups, kind in _ELEMENTWISE)


def _target_weight(output: Tensor, target: Tensor, *, weight: Tensor | None, ignore_index: int) -> float:
    """Σ w[target] over the targets that are not ignored: the divisor of cross-entropy. Class probabilities count one each."""
    if target.is_floating_point():
        return output.numel() / output.shape[1 if output.dim() > 1 else 0]
    kept = target[target != ignore_index]
    return float(kept.numel() if weight is None else weight.double().to(kept.device)[kept].sum())


def _num_elements(output: Tensor, target: Tensor) -> float:
    return float(torch.broadcast_shapes(output.shape, target.shape).numel())


def _num_samples(output: Tensor, _target: Tensor) -> float:
    return float(output.shape[0] if output.dim() else 1)
