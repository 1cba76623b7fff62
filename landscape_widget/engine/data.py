"""The data of a problem: whatever holds batches, read once and kept, or streamed and proven repeatable."""

from __future__ import annotations

import copy
import random
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset, IterableDataset

# Samples a batch when a bare Dataset is given.
_DATASET_BATCH = 256
# How many batches of a streamed loader are read twice to prove that it repeats itself.
_REPEATED_BATCHES = 4


class Batches:
    """Batches in a fixed order, the same in every pass.

    Parameters
    ----------
    data
        A DataLoader, a Dataset, one batch (tuple, list of tensors, dict, tensor, or None for a loss without data), a
        list of batches, or any iterable of batches. A one-shot iterator is read once, which needs the cache.
    prepare
        Applied to every tensor: moves it to the device and to the model's precision.
    cache_bytes
        Up to this size the batches are kept (on the device); beyond it they are read anew in every pass.

    Raises
    ------
    ValueError
        For no batches at all, and for a loader that does not fit the cache and gives other batches in a second pass.
    """

    def __init__(self, data: Any, prepare: Callable[[Tensor | np.ndarray], Tensor], cache_bytes: int) -> None:
        self._source, self._prepare = _as_iterable(data), prepare
        self._cache: list[Any] | None = []
        size = 0
        with preserved_rng():
            for raw in self._source:
                batch = map_tensors(raw, prepare)
                size += num_bytes(batch)
                self._cache.append(batch)
                if size > cache_bytes:
                    self._cache = None
                    break
            if self._cache is None:
                self._require_repeatable(cache_bytes)
            elif not self._cache:
                raise ValueError(
                    "expected at least one batch of data, got an empty loader; a shuffled-out or filtered data set may be the cause"
                )

    @property
    def cached(self) -> bool:
        """Whether the batches are kept."""
        return self._cache is not None

    def __iter__(self) -> Iterator[Any]:
        if self._cache is not None:
            yield from self._cache
        else:
            for raw in self._source:
                yield map_tensors(raw, self._prepare)

    @property
    def columns(self) -> list[tuple[Tensor, ...]] | None:
        """The kept batches as equally formed tuples of tensors, None where they are not: only such can be regrouped."""
        if self._cache is None or not all(_is_flat(batch) for batch in self._cache):
            return None
        shapes = {tuple((t.shape[1:], t.dtype) for t in batch) for batch in self._cache}
        return [tuple(batch) for batch in self._cache] if len(shapes) == 1 else None

    def rebatch(self, rows: int) -> None:
        """Merge and split the kept batches so that each has ``rows`` samples, the last one fewer."""
        assert self.columns is not None
        merged = [torch.cat(list(column)) for column in zip(*self.columns, strict=True)]
        self._cache = list(zip(*(column.split(rows) for column in merged), strict=True))

    def _require_repeatable(self, cache_bytes: int) -> None:
        if iter(self._source) is self._source:
            raise ValueError(
                f"expected data that can be read again, got a one-shot iterator larger than the cache ({cache_bytes:,} bytes); "
                "pass a DataLoader or a list, or raise cache_bytes="
            )
        first, second = iter(self), iter(self)
        for number in range(_REPEATED_BATCHES):
            a, b = next(first, None), next(second, None)
            difference = largest_difference(a, b)
            if difference:
                raise ValueError(
                    f"expected a loader that gives the same batches in every pass, got batch {number} with a "
                    f"difference of {difference:g} in the second one (shuffling or augmentation), "
                    f"and it is larger than the cache ({cache_bytes:,} bytes); "
                    "pass shuffle=False and fixed transforms, or raise cache_bytes="
                )


def batch_size(batch: Any) -> int | None:
    """The common length of the batch's tensors along their first dimension; None where they have none in common."""
    sizes = {len(t) if t.dim() else None for t in tensors(batch)}
    return sizes.pop() if len(sizes) == 1 else None


def tensors(batch: Any) -> list[Tensor]:
    """Every tensor inside a batch, in order."""
    found: list[Tensor] = []
    map_tensors(batch, lambda t: found.append(torch.as_tensor(t)) or t)
    return found


def map_tensors(batch: Any, function: Callable[[Any], Any]) -> Any:
    """The batch with ``function`` applied to every tensor and numeric array, whatever holds them."""
    if isinstance(batch, Tensor) or (isinstance(batch, np.ndarray) and batch.dtype.kind in "biufc"):
        return function(batch)
    if isinstance(batch, Mapping):
        items = {key: map_tensors(value, function) for key, value in batch.items()}
        try:
            return type(batch)(items)  # type: ignore[call-arg]
        except TypeError:  # mappings that cannot be built from a dict
            return items
    if isinstance(batch, tuple) and hasattr(batch, "_fields"):
        return type(batch)(*(map_tensors(value, function) for value in batch))
    if isinstance(batch, (tuple, list)):
        return type(batch)(map_tensors(value, function) for value in batch)
    return batch


def num_bytes(batch: Any) -> int:
    """Memory of the batch's tensors."""
    return sum(t.numel() * t.element_size() for t in tensors(batch))


def largest_difference(a: Any, b: Any) -> float:
    """The largest absolute difference between two batches' tensors; inf where they have not the same form."""
    left, right = tensors(a), tensors(b)
    if [t.shape for t in left] != [t.shape for t in right]:
        return float("inf")
    return max(
        (float((x.double() - y.double()).abs().max()) for x, y in zip(left, right, strict=True) if x.numel()),
        default=0.0,
    )


@contextmanager
def preserved_rng() -> Iterator[None]:
    """Leave the random states of torch, numpy and Python as they were: a shuffling loader draws from them.

    Only for the caller's own thread: these states are shared by the whole process.
    """
    python, legacy = random.getstate(), np.random.get_state()  # noqa: NPY002 - the legacy state is what transforms draw from
    # Without CUDA in use there is no state of its to keep, and asking would start it.
    devices = range(torch.cuda.device_count()) if torch.cuda.is_initialized() else ()
    with torch.random.fork_rng(devices=devices):
        try:
            yield
        finally:
            random.setstate(python)
            np.random.set_state(legacy)  # noqa: NPY002


def _as_iterable(data: Any) -> Iterable[Any]:
    if isinstance(data, DataLoader):
        if data.generator is not None:
            return data
        # Every pass over a loader draws a seed for its workers, by default from torch's global generator.
        private = copy.copy(data)
        private.generator = torch.Generator("cpu").manual_seed(0)
        return private
    if isinstance(data, (Dataset, IterableDataset)):
        return _as_iterable(DataLoader(data, batch_size=_DATASET_BATCH, shuffle=False))
    if data is None or isinstance(data, (tuple, Mapping, Tensor, np.ndarray)):
        return [data]
    if isinstance(data, list):
        return [data] if data and all(isinstance(item, (Tensor, np.ndarray)) for item in data) else data
    if isinstance(data, Iterable) and not isinstance(data, (str, bytes)):
        return data
    raise TypeError(
        f"expected data as a DataLoader, a Dataset, an (x, y) pair, a list of batches or a dict batch, got {type(data).__name__}"
    )


def _is_flat(batch: Any) -> bool:
    return (
        isinstance(batch, (tuple, list))
        and batch_size(batch) is not None
        and all(isinstance(item, Tensor) for item in batch)
    )
