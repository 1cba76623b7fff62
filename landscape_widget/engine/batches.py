"""The batches of a problem: whatever gives them, read once and kept, or streamed and proven repeatable."""

from __future__ import annotations

import copy
import itertools
import random
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from landscape_widget.engine.data import (
    batch_size,
    digest,
    is_flat,
    largest_difference,
    map_tensors,
    num_bytes,
    row_form,
    some_entries,
)

# Samples a batch when a bare Dataset is given.
_DATASET_BATCH = 256

_REPEAT = (
    "expected a loader that gives the same batches in every pass, got {} (shuffling or augmentation), and it is larger "
    "than the cache (cache_bytes=); pass shuffle=False and fixed transforms, or raise cache_bytes="
)


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
    apart
        Whether a list of bare tensors is a list of batches, not one batch of several tensors.

    Raises
    ------
    ValueError
        For no batches at all, and for a loader that does not fit the cache and gives other batches in a second pass.
    """

    def __init__(
        self, data: Any, prepare: Callable[[Tensor | np.ndarray], Tensor], cache_bytes: int, *, apart: bool = False
    ) -> None:
        self._source, self._prepare = data if apart else _as_iterable(data), prepare
        self._cache: list[Any] | None = []
        self._digests: list[tuple[bytes, np.ndarray]] | None = None
        size, read = 0, self._cache
        with preserved_rng():
            for raw in self._source:
                read.append(map_tensors(raw, prepare))
                size += num_bytes(read[-1])
                if size > cache_bytes:
                    self._cache = None
                    break
            if self._cache is None:
                self._require_repeatable(read, cache_bytes)
            elif not any(batch_size(batch) != 0 for batch in self._cache):
                raise ValueError(
                    "expected at least one batch of data with at least one sample, got none; "
                    "check the data set's length, its filters, and drop_last"
                )

    @property
    def cached(self) -> bool:
        """Whether the batches are kept."""
        return self._cache is not None

    def mapped(self, function: Callable[[Tensor], Tensor]) -> Batches:
        """The same batches with a function applied to every tensor, also to those that are read anew."""
        twin, prepare = copy.copy(self), self._prepare
        twin._prepare = lambda tensor: function(prepare(tensor))
        if self._cache is not None:
            twin._cache = [map_tensors(batch, function) for batch in self._cache]
        return twin

    def __iter__(self) -> Iterator[Any]:
        if self._cache is not None:
            yield from self._cache
            return
        known, seen = self._digests, []
        for number, raw in enumerate(self._source):
            seen.append((digest(raw), some_entries(raw)))
            if known is not None and [before for before, _ in known[number : number + 1]] != [seen[-1][0]]:
                size = _how_far(known[number][1], seen[-1][1]) if number < len(known) else ""
                raise ValueError(_REPEAT.format(f"another batch {number} than in the first one{size}"))
            yield map_tensors(raw, self._prepare)
        if known is not None and len(seen) != len(known):
            raise ValueError(_REPEAT.format(f"{len(seen)} batches instead of {len(known)}"))
        # Only a pass that came to its end tells what every other one must give.
        self._digests = seen

    @property
    def columns(self) -> list[tuple[Tensor, ...]] | None:
        """The kept batches as equally formed tuples of tensors, None where they are not: only such can be regrouped."""
        if self._cache is None or not all(is_flat(batch) for batch in self._cache):
            return None
        forms = {row_form(batch) for batch in self._cache}
        return [tuple(batch) for batch in self._cache] if len(forms) == 1 else None

    def rebatch(self, rows: int) -> None:
        """Merge and split the kept batches so that each has ``rows`` samples, the last one fewer."""
        assert self.columns is not None
        merged = [torch.cat(list(column)) for column in zip(*self.columns, strict=True)]
        self._cache = list(zip(*(column.split(rows) for column in merged), strict=True))

    def _require_repeatable(self, read: list[Any], cache_bytes: int) -> None:
        """The first whole pass, compared with the batches read so far; every later one is compared with it."""
        if iter(self._source) is self._source:
            raise ValueError(
                f"expected data that can be read again, got a one-shot iterator larger than the cache ({cache_bytes:,} bytes); "
                "pass a DataLoader or a list, or raise cache_bytes="
            )
        # Entry by entry as far as batches are still at hand, so that a difference can be said in numbers.
        for number, (batch, before) in enumerate(itertools.zip_longest(self, read)):
            if number >= len(read):
                continue
            if batch is None:
                raise ValueError(_REPEAT.format(f"{number} batches instead of at least {len(read)}"))
            difference = largest_difference(before, batch)
            if difference:
                raise ValueError(
                    _REPEAT.format(f"batch {number} with a difference of {difference:g} in the second one")
                )


def _how_far(before: np.ndarray, after: np.ndarray) -> str:
    """The difference between two batches, of which some entries were kept, in words."""
    if before.shape != after.shape:
        return ", of another shape"
    difference = float(np.abs(after - before).max()) if len(before) else 0.0
    return f", with a difference of at least {difference:g}" if difference else ", in entries that were not kept"


class _PrivateLoader:
    """A DataLoader whose passes draw from copies of its random generators, from the same state each time.

    So the user's generators stay as they are, and a shuffling loader with a generator of its own repeats itself.
    """

    def __init__(self, loader: DataLoader) -> None:
        self._loader = copy.copy(loader)
        self._drawn: list[tuple[torch.Generator, Tensor]] = []
        # torch refuses to set these on a finished loader; on a copy that nobody else has it does no harm.
        own = vars(self._loader)
        # Persistent workers belong to the pass that the user may be in.
        own["_iterator"] = None
        # Every pass draws a seed for the workers, without a generator from torch's global one.
        own["generator"] = self._copied(loader.generator or torch.Generator("cpu").manual_seed(0))
        own["sampler"] = self._sampler(loader.sampler)
        if loader.batch_sampler is not None:
            own["batch_sampler"] = self._sampler(loader.batch_sampler)

    def __iter__(self) -> Iterator[Any]:
        for generator, state in self._drawn:
            generator.set_state(state)
        return iter(self._loader)

    def _sampler(self, sampler: Any) -> Any:
        """A copy that draws from copies, of a sampler or of one inside a batch sampler."""
        private = copy.copy(sampler)
        if isinstance(getattr(sampler, "generator", None), torch.Generator):
            private.generator = self._copied(sampler.generator)
        if hasattr(sampler, "sampler"):
            private.sampler = self._sampler(sampler.sampler)
        return private

    def _copied(self, generator: torch.Generator) -> torch.Generator:
        twin = torch.Generator(generator.device)
        twin.set_state(generator.get_state())
        self._drawn.append((twin, generator.get_state()))
        return twin


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


def is_bare(data: Any) -> bool:
    """Whether the data are a list of bare tensors or arrays: one batch of several tensors, or several batches of one."""
    return isinstance(data, list) and bool(data) and all(isinstance(item, (Tensor, np.ndarray)) for item in data)


def _as_iterable(data: Any) -> Iterable[Any]:
    if isinstance(data, DataLoader):
        return _PrivateLoader(data)
    if isinstance(data, Dataset):
        return _as_iterable(DataLoader(data, batch_size=_DATASET_BATCH, shuffle=False))
    if data is None or isinstance(data, (tuple, Mapping, Tensor, np.ndarray)):
        return [data]
    if is_bare(data):
        return [data]
    if isinstance(data, Iterable) and not isinstance(data, (str, bytes)):
        return data
    raise TypeError(
        f"expected data as a DataLoader, a Dataset, an (x, y) pair, a list of batches or a dict batch, got {type(data).__name__}"
    )
