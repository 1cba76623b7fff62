"""Memory that is free, and how torch says that there was none."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import torch

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
