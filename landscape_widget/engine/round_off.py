"""Round-off of a loss, a sum over the batch: differences below it mean nothing."""

from __future__ import annotations

import torch

# In machine epsilons: what it surely is less than, and what it mostly is.
_SURELY, _MOSTLY = 64, 8


def surely_round_off(loss: float, dtype: torch.dtype) -> float:
    """A difference of losses that may be round-off: a dip less deep is none."""
    return _SURELY * torch.finfo(dtype).eps * abs(loss)


def mostly_round_off(loss: float, dtype: torch.dtype) -> float:
    """A difference of losses that is probably round-off: nothing is refined to less."""
    return _MOSTLY * torch.finfo(dtype).eps * abs(loss)
