"""What a batch is: tensors, whatever holds them; their common length, their bytes, rows of them, two batches as one."""

from __future__ import annotations

import dataclasses
import hashlib
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn.utils.rnn import PackedSequence

# Entries of a tensor that are kept to compare another with.
_KEPT_ENTRIES = 256


def batch_size(batch: Any) -> int | None:
    """The common length of the batch's tensors along their first dimension; None where they have none in common."""
    sizes = {None if t.is_nested or not t.dim() else t.shape[0] for t in tensors(batch)}
    return sizes.pop() if len(sizes) == 1 else None


def tensors(batch: Any) -> list[Tensor]:
    """Every tensor inside a batch, in order."""
    return [as_tensor(leaf) for leaf in leaves(batch) if _is_numeric(leaf)]


def has_tensors(batch: Any) -> bool:
    """Whether there is any tensor inside a batch."""
    if isinstance(batch, (tuple, list)) and any(isinstance(item, Tensor) for item in batch):
        return True
    return any(_is_numeric(leaf) for leaf in leaves(batch))


def as_tensor(given: Tensor | np.ndarray) -> Tensor:
    """The tensor itself, or a copy of an array: torch knows neither negative strides nor foreign byte orders nor long doubles."""
    if isinstance(given, Tensor):
        return given
    if isinstance(given, np.ma.MaskedArray) and np.ma.is_masked(given):
        raise ValueError("expected arrays without masked entries, got a masked array; fill it: array.filled(...)")
    dtype = given.dtype.newbyteorder("=")
    if dtype.kind in "fc" and dtype.itemsize > 8 * (1 + (dtype.kind == "c")):
        dtype = np.dtype(np.float64 if dtype.kind == "f" else np.complex128)
    return torch.tensor(np.ascontiguousarray(given, dtype=dtype).reshape(given.shape))


def map_tensors(batch: Any, function: Callable[[Any], Any]) -> Any:
    """The batch with ``function`` applied to every tensor and numeric array, whatever holds them."""
    if _is_numeric(batch):
        return function(batch)
    if isinstance(batch, Mapping):
        items = {key: map_tensors(value, function) for key, value in batch.items()}
        try:
            return type(batch)(items)  # type: ignore[call-arg]
        except TypeError:  # mappings that cannot be built from a dict
            return items
    if isinstance(batch, PackedSequence):
        # The lengths stay where they are: on the CPU.
        data = function(batch.data)
        order = {name: getattr(batch, name) for name in ("sorted_indices", "unsorted_indices")}
        moved = {name: None if index is None else index.to(data.device) for name, index in order.items()}
        return batch._replace(data=data, **moved)
    if isinstance(batch, tuple) and hasattr(batch, "_fields"):
        return type(batch)(*(map_tensors(value, function) for value in batch))
    if isinstance(batch, (tuple, list)):
        return type(batch)(map_tensors(value, function) for value in batch)
    if _is_record(batch):
        values = {field.name: getattr(batch, field.name) for field in dataclasses.fields(batch) if field.init}
        return dataclasses.replace(batch, **{name: map_tensors(value, function) for name, value in values.items()})
    return batch


def leaves(batch: Any) -> Iterator[Any]:
    """What a batch holds at the ends of its tuples, lists, mappings and dataclasses, in the order of ``map_tensors``."""
    if isinstance(batch, PackedSequence):
        yield from (batch.data, *batch[1:])
    elif isinstance(batch, Mapping):
        for value in batch.values():
            yield from leaves(value)
    elif isinstance(batch, (tuple, list)):
        for value in batch:
            yield from leaves(value)
    elif _is_record(batch):
        for field in dataclasses.fields(batch):
            if field.init:
                yield from leaves(getattr(batch, field.name))
    else:
        yield batch


def is_flat(batch: Any) -> bool:
    """Whether the batch is a tuple or list of ordinary tensors of one length."""
    return isinstance(batch, (tuple, list)) and can_be_parted(batch) and all(isinstance(t, Tensor) for t in batch)


def can_be_parted(batch: Any) -> bool:
    """Whether the batch holds ordinary tensors of one length and no numbers, so that rows of it are a batch as well.

    Texts, such as the samples' names, stay as they are.
    """
    return bool(batch_size(batch)) and all(
        leaf is None or isinstance(leaf, str) or (isinstance(leaf, Tensor) and leaf.layout is torch.strided)
        for leaf in leaves(batch)
    )


def row_form(batch: Any) -> tuple[Any, ...]:
    """Shape and type of one row of every tensor: batches of one such form can be merged."""
    return tuple((t.shape[1:], t.dtype) for t in tensors(batch))


def rows(batch: Any, start: int, stop: int | None = None) -> Any:
    """Some rows of a batch that can be parted."""
    return map_tensors(batch, lambda tensor: tensor[start:stop])


def merged(first: Any, second: Any) -> Any:
    """Two batches of one form as one."""
    joined = iter([torch.cat(pair) for pair in zip(tensors(first), tensors(second), strict=True)])
    return map_tensors(first, lambda _tensor: next(joined))


def tensor_bytes(tensor: Tensor) -> bytes:
    """The entries of a tensor as they lie in memory, row by row."""
    return tensor.detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy().tobytes()


def num_bytes(batch: Any) -> int:
    """Memory of the batch's tensors, as much of them as is not left out as zero."""
    return sum((t.numel() if t.layout is torch.strided else t._nnz()) * t.element_size() for t in tensors(batch))


def largest_difference(a: Any, b: Any) -> float:
    """The largest absolute difference between two batches' tensors; inf where they have not the same form."""
    left, right = _dense(a), _dense(b)
    if [t.shape for t in left] != [t.shape for t in right]:
        return float("inf")
    return max((_distance(x, y) for x, y in zip(left, right, strict=True) if x.numel()), default=0.0)


def some_entries(batch: Any) -> np.ndarray:
    """A few entries of each tensor, evenly spread, shape (m,), float64: they tell how far another batch is from this one."""
    picked = []
    for leaf in leaves(batch):
        if _is_numeric(leaf):
            tensor = as_tensor(leaf)
            flat = (tensor if tensor.layout is torch.strided else tensor.to_dense()).detach().reshape(-1)
            if flat.numel():
                where = torch.linspace(0, flat.numel() - 1, min(_KEPT_ENTRIES, flat.numel()), dtype=torch.float64)
                entries = flat[where.long().to(flat.device)].cpu()
                picked.append((entries.abs() if entries.is_complex() else entries).double().numpy())
    return np.concatenate(picked) if picked else np.empty(0)


def digest(batch: Any) -> bytes:
    """Identifies a batch by the bytes of its tensors, and by its texts and numbers."""
    found = hashlib.blake2b(digest_size=16)
    for leaf in leaves(batch):
        if _is_numeric(leaf):
            tensor = as_tensor(leaf)
            found.update(repr((tuple(tensor.shape), tensor.dtype)).encode())
            # Sparse tensors have no one stretch of memory.
            found.update(tensor_bytes(tensor if tensor.layout is torch.strided else tensor.to_dense()))
        elif isinstance(leaf, (str, bytes, int, float, complex, np.generic)):
            found.update(repr(leaf).encode())
        elif isinstance(leaf, np.ndarray) and not leaf.dtype.hasobject:
            found.update(leaf.tobytes())
    return found.digest()


def _dense(batch: Any) -> list[Tensor]:
    return [tensor if tensor.layout is torch.strided else tensor.to_dense() for tensor in tensors(batch)]


def _distance(x: Tensor, y: Tensor) -> float:
    wide = torch.complex128 if x.is_complex() else torch.float64
    x, y = x.to(wide), y.to(wide)
    # What is not a number in both is the same.
    different = ~((x == y) | ((x != x) & (y != y)))
    return float((x - y).abs().masked_fill(~different, 0).nan_to_num(nan=float("inf")).max())


def _is_numeric(leaf: Any) -> bool:
    return isinstance(leaf, Tensor) or (isinstance(leaf, np.ndarray) and leaf.dtype.kind in "biufc")


def _is_record(batch: Any) -> bool:
    return dataclasses.is_dataclass(batch) and not isinstance(batch, type)
