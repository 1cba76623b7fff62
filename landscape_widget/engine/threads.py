"""How many CPU threads a pass should use: measured, since for small networks the second one only costs.

A page that draws in software, or another cell that trains, shares the cores. torch's threads then wait for each other
at every operation: measured on 2 cores beside a busy third process, a pass of a digits network took 1.0 ms with one
thread and 27 ms with two.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager

import torch

from landscape_widget.engine.problem import Problem

_REPEATS = 3
# A pass as long as this is worth all threads, and too long to repeat for a choice.
_LONG = 0.1
# More threads must save at least this share to be taken.
_WORTHWHILE = 0.8


def choose_num_threads(problem: Problem) -> int:
    """The number of threads for passes of this problem: all, unless one is nearly as fast. A few passes over the data."""
    everything = torch.get_num_threads()
    if everything == 1 or problem.device.type != "cpu":
        return everything
    began = time.perf_counter()
    problem.loss()
    if time.perf_counter() - began > _LONG:
        return everything
    with num_threads(1):
        alone = _seconds(problem)
    return everything if _seconds(problem) < _WORTHWHILE * alone else 1


@contextmanager
def num_threads(count: int) -> Iterator[None]:
    """Use ``count`` threads in this thread's torch operations; the setting of others is left as it was."""
    before = torch.get_num_threads()
    if count == before:
        yield
        return
    torch.set_num_threads(count)
    try:
        yield
    finally:
        # Threads started later take the process's last setting.
        torch.set_num_threads(before)


def _seconds(problem: Problem) -> float:
    """The middle one of a few passes: not the fastest, since what disturbs is what is to be found out."""
    seconds = []
    for _ in range(_REPEATS):
        began = time.perf_counter()
        problem.loss()
        seconds.append(time.perf_counter() - began)
    return sorted(seconds)[_REPEATS // 2]
