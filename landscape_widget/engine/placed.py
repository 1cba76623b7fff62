"""A copy of a model whose parameters lie in one vector: to be at a point, it is written there."""

from __future__ import annotations

import copy
import threading
from collections.abc import Callable, Iterable, Sequence

import torch
from torch import Tensor, nn

# How images and the weights of convolutions over them can lie in memory: channels innermost.
CHANNELS_LAST = {4: torch.channels_last, 5: torch.channels_last_3d}


class Placed:
    """A model of its own at a point of its own, so that nobody else sees it move, and nothing needs to be put back.

    What is no part of θ (frozen parameters, buffers) is shared with the model it is made from.

    Parameters
    ----------
    model
        In eval mode; it is not written to.
    names
        Of the parameters that are θ, in the order in which they are laid out.
    point
        θ*, shape (n,); its dtype is that of θ.
    channels_last
        Whether weights of convolutions lie in memory with their channels innermost.
    """

    def __init__(self, model: nn.Module, names: Sequence[str], point: Tensor, *, channels_last: bool = False) -> None:
        self.vector = point.clone()
        # Passes of the user's thread and of the engine's would move the model under each other's feet.
        self.lock = threading.RLock()
        self._holds: object = None
        self._copied: list[tuple[Tensor, Tensor]] = []
        given = dict(model.named_parameters())
        parts = self.vector.split([given[name].numel() for name in names])
        views = {name: part.view(given[name].shape) for name, part in zip(names, parts, strict=True)}
        placed = {}
        for name, parameter in given.items():
            source = views.get(name, parameter.detach())
            layout = CHANNELS_LAST.get(source.dim()) if channels_last else None
            own = source.to(parameter.dtype, memory_format=layout or torch.preserve_format)
            if own.data_ptr() != source.data_ptr() and name in views:
                self._copied.append((own, source))
            placed[name] = nn.Parameter(own, requires_grad=False)
        self.model = twin(model, {id(given[name]): parameter for name, parameter in placed.items()})
        # A model may have its own way of being copied.
        for name, parameter in self.model.named_parameters():
            parameter.data = placed[name].data

    def at(self, key: object, write: Callable[[Tensor], object]) -> None:
        """Be at the point that ``write`` writes into a vector (n,), unless this very ``key`` was the last one."""
        if self._holds is key:
            return
        self._holds = None
        write(self.vector)
        for own, view in self._copied:
            own.copy_(view)
        self._holds = key


def twin(model: nn.Module, instead: dict[int, nn.Parameter] | None = None) -> nn.Module:
    """A copy of the modules that shares their tensors, but for those parameters that others are given for, by id."""
    tensors: Iterable[Tensor] = (*model.parameters(), *model.buffers())
    return copy.deepcopy(model, {**{id(tensor): tensor for tensor in tensors}, **(instead or {})})
