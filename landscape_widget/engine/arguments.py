"""Checks of what a user passes, before anything is computed: expected, got, what to do."""

from __future__ import annotations

from numbers import Integral, Real
from typing import Any

from landscape_widget.engine.problem import Problem

_LARGEST_SEED = 2**32 - 1


def check_problem(problem: Any) -> None:
    """Raise TypeError for anything but a Problem: a model alone has no loss."""
    if not isinstance(problem, Problem):
        raise TypeError(f"expected a Problem, got {type(problem).__name__}; make one with Problem(model, loss, data)")


def check_seed(seed: Any) -> None:
    """Raise TypeError or ValueError for a seed that is no integer from 0 to 2³² − 1, the range of numpy's legacy seeds.

    What is derived from it (times a million, plus a count) stays below torch's 2⁶³.
    """
    if isinstance(seed, bool) or not isinstance(seed, Integral):
        raise TypeError(f"expected seed as an integer, got {seed!r}")
    if not 0 <= int(seed) <= _LARGEST_SEED:
        raise ValueError(f"expected a seed from 0 to {_LARGEST_SEED:,}, got {seed}")


def check_count(value: Any, name: str) -> None:
    """Raise TypeError or ValueError for a number of things that is no integer of at least 1."""
    if isinstance(value, bool) or not isinstance(value, Integral):
        raise TypeError(f"expected {name} as an integer, got {value!r}")
    if value < 1:
        raise ValueError(f"expected {name} of at least 1, got {value}")


def check_tolerance(tolerance: Any) -> None:
    """Raise TypeError or ValueError for a tolerance that is no number from 0 to below 1."""
    check_number(tolerance, "tolerance")
    if not 0 <= tolerance < 1:
        raise ValueError(
            f"expected a tolerance from 0 (measure every cell) to below 1, as a part of the range, got {tolerance}"
        )


def check_number(value: Any, name: str) -> None:
    """Raise TypeError for what is no real number."""
    if isinstance(value, bool) or not isinstance(value, Real):
        raise TypeError(f"expected {name} as a number, got {value!r}")
