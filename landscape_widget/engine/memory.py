"""Memory that is free, that a computation takes, and how torch says that there was none."""

from __future__ import annotations

import os
import weakref
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

# How torch says it where it has no type for it: of the CPU, of MPS, of CUDA outside its allocator, of cuBLAS.
_OUT_OF_MEMORY = ("DefaultCPUAllocator", "out of memory", "Invalid buffer size", "ALLOC_FAILED")

# Limit, use and what of it the kernel gives back when asked, in cgroups of both versions.
_UNIFIED = "memory.max", "memory.current", "inactive_file"
_OF_MEMORY = "memory.limit_in_bytes", "memory.usage_in_bytes", "total_inactive_file"


def is_out_of_memory(error: BaseException) -> bool:
    """Whether an error says that memory has run out."""
    if isinstance(error, (torch.cuda.OutOfMemoryError, MemoryError)):
        return True
    return isinstance(error, RuntimeError) and any(words in str(error) for words in _OUT_OF_MEMORY)


def free_memory(device: torch.device) -> int:
    """Bytes that a device has left; on the CPU not more than this process's control groups (containers) leave it."""
    if device.type == "cuda":
        return torch.cuda.mem_get_info(device)[0]
    try:
        free = os.sysconf("SC_AVPHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    except (AttributeError, ValueError, OSError):  # not every system tells
        free = 2**32
    return min([free, *free_in_control_groups()])


def free_in_control_groups(
    mounted: Path = Path("/sys/fs/cgroup"), of_process: Path = Path("/proc/self/cgroup")
) -> Iterator[int]:
    """Bytes that each control group above this process leaves it, in both versions of Linux's control groups."""
    try:
        lines = of_process.read_text().splitlines()
    except OSError:
        return
    for line in lines:
        _, controllers, path = line.split(":", 2)
        if controllers and "memory" not in controllers.split(","):
            continue
        names = _OF_MEMORY if controllers else _UNIFIED
        top = mounted / "memory" if controllers else mounted
        own = top / path.lstrip("/")
        # Inside a container the path can be the host's: then only the top is there, which is the container's own.
        for folder in (own, *own.parents):
            if folder.is_relative_to(top):
                yield from _left(folder, *names)


def _left(folder: Path, limit: str, used: str, reclaimable: str) -> Iterator[int]:
    try:
        allowed, taken = ((folder / name).read_text().strip() for name in (limit, used))
        counts = dict(line.split() for line in (folder / "memory.stat").read_text().splitlines())
        if allowed != "max":
            # Files that were read count as used until somebody needs the room.
            yield max(0, int(allowed) - int(taken) + int(counts.get(reclaimable, 0)))
    except (OSError, ValueError):
        return


def allocated(compute: Callable[[], Any]) -> list[int]:
    """Bytes of the tensors that a computation has made and still holds, after each of its operations.

    What operations take inside, and give back, is not seen: on the CPU little (the peak is what torch's profiler finds),
    on a GPU the workspaces of its libraries.
    """
    mode = _Allocations()
    with mode:
        compute()
    return mode.held


class _Allocations(TorchDispatchMode):
    """Counts the storages of all results while they live."""

    def __init__(self) -> None:
        super().__init__()
        self.held: list[int] = []
        self._now = 0
        self._known: dict[int, weakref.ref[Any]] = {}

    @classmethod
    def _should_skip_dynamo(cls) -> bool:
        # Otherwise torch imports its compiler, which takes seconds, to keep it out of here.
        return False

    @classmethod
    def is_infra_mode(cls) -> bool:
        # A mode that only looks on; torch.compile in another thread need not care.
        return True

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        # Results can be views of what was there before.
        self._note(args, new=False)
        self._note(tuple(kwargs.values()), new=False)
        made = func(*args, **kwargs)
        self._note(made, new=True)
        self.held.append(self._now)
        return made

    def _note(self, value: Any, *, new: bool) -> None:
        if isinstance(value, (tuple, list)):
            for each in value:
                self._note(each, new=new)
        elif isinstance(value, Tensor) and value.layout is torch.strided:
            storage = value.untyped_storage()
            key = id(storage)
            if key not in self._known:
                size = storage.nbytes() if new else 0
                self._now += size
                self._known[key] = weakref.ref(storage, lambda _: self._freed(key, size))

    def _freed(self, key: int, size: int) -> None:
        self._now -= size
        del self._known[key]
