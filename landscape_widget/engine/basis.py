"""Orthonormal vectors of the length of θ: stored once, grown without copying, rotated in place."""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor

from landscape_widget.engine.modes import full_precision, own_modes

_FIRST_BLOCK = 16
# Columns rotated at once, at least.
_NARROWEST = 256
# What the vectors of a run take at most unless more are wanted.
_BYTES = 2**30


def affordable(like: Tensor) -> int:
    """How many vectors like this one 1 GiB holds."""
    return _BYTES // (like.numel() * like.element_size())


class Basis:
    """Rows of length n in blocks, so that growing never holds the old and the new storage at once.

    Parameters
    ----------
    like
        A vector of shape (n,) that gives dtype and device.
    capacity
        The most rows there will be.
    """

    def __init__(self, like: Tensor, capacity: int) -> None:
        self.num_entries, self.dtype, self.device, self.capacity = (
            like.numel(),
            like.dtype,
            like.device,
            capacity,
        )
        self.size = 0
        self._blocks: list[Tensor] = []

    def append(self, vector: Tensor) -> None:
        """Store a vector (n,) as the next row."""
        held = sum(map(len, self._blocks))
        if self.size == held:
            # As many again as there are: the number of blocks stays small.
            rows = min(max(held, _FIRST_BLOCK), self.capacity - held)
            # What is made in inference mode could not be written to outside of it.
            with own_modes():
                self._blocks.append(torch.empty((rows, self.num_entries), dtype=self.dtype, device=self.device))
            position, block = 0, self._blocks[-1]
        else:
            position, block = self.size, self._blocks[0]
            for block in self._blocks:
                if position < len(block):
                    break
                position -= len(block)
        block[position] = vector
        self.size += 1

    @full_precision()
    def overlaps(self, vector: Tensor) -> Tensor:
        """Q v, shape (size,)."""
        return torch.cat([block @ vector for block in self._rows()]) if self.size else vector.new_empty(0)

    @full_precision()
    def subtract_(self, vector: Tensor, coefficients: Tensor) -> Tensor:
        """Make v − Qᵀ c of v, in place."""
        for block, part in zip(self._rows(), coefficients.split(self._lengths()), strict=True):
            vector.addmv_(block.T, part, alpha=-1)
        return vector

    @full_precision()
    def combine(self, weights: Tensor) -> Tensor:
        """W Q for weights of shape (k, l): k new vectors, shape (k, n), of the first l rows."""
        weights = weights.to(self._like)
        made = torch.zeros((len(weights), self.num_entries), dtype=self.dtype, device=self.device)
        rows = weights.shape[1]
        for block, part in zip(self._rows(rows), weights.split(self._lengths(rows), dim=1), strict=True):
            made.addmm_(part, block)
        return made

    @full_precision()
    def rotate_(self, weights: Tensor) -> None:
        """Replace Q by W Q for weights of shape (l, size), l ≤ size; slice by slice, with room for one vector more."""
        weights = weights.to(self._like)
        width = max(_NARROWEST, self.num_entries // (self.size + len(weights)))
        for begin in range(0, self.num_entries, width):
            columns = slice(begin, begin + width)
            rotated = weights @ torch.cat([block[:, columns] for block in self._rows()])
            for block, part in zip(
                self._rows(len(weights)),
                rotated.split(self._lengths(len(weights))),
                strict=True,
            ):
                block[:, columns] = part
        self.size = len(weights)

    def matrix(self) -> Tensor:
        """A copy of Q, shape (size, n)."""
        return torch.cat(list(self._rows()))

    def truncate(self, size: int) -> None:
        """Keep the first rows only; their storage stays."""
        self.size = size

    def clear(self) -> None:
        """Free the storage."""
        self._blocks, self.size = [], 0

    @property
    def _like(self) -> Tensor:
        return torch.empty(0, dtype=self.dtype, device=self.device)

    def _rows(self, size: int | None = None) -> Iterator[Tensor]:
        """The first rows, block by block; all that are in use by default."""
        left = self.size if size is None else size
        for block in self._blocks:
            if left <= 0:
                return
            yield block[:left]
            left -= len(block)

    def _lengths(self, size: int | None = None) -> list[int]:
        return [len(block) for block in self._rows(size)]
