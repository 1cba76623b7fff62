"""How losses are displayed, and how far a prediction is off as displayed."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest

from landscape_widget.display import Display

LOSSES = np.array([0.5, 1.0, np.e, 10.0, -1.0, 0.0, np.inf, -np.inf, np.nan])


def test_a_linear_display_shows_what_is_finite() -> None:
    np.testing.assert_array_equal(Display().of(LOSSES), [0.5, 1.0, np.e, 10.0, -1.0, 0.0, *[np.nan] * 3])
    assert Display().range(LOSSES) == 11.0


def test_a_logarithm_shows_what_is_positive() -> None:
    np.testing.assert_allclose(Display("log").of(LOSSES), [math.log(0.5), 0.0, 1.0, math.log(10), *[np.nan] * 5])
    assert Display("log").range(LOSSES) == pytest.approx(math.log(20))


def test_what_is_clipped_is_shown_as_the_limit_even_infinity() -> None:
    np.testing.assert_array_equal(Display(clip=2.0).of(LOSSES), [0.5, 1.0, 2.0, 2.0, -1.0, 0.0, 2.0, np.nan, np.nan])
    assert Display("log", clip=math.e).of([100.0]) == pytest.approx(1.0)


def test_misses_are_of_what_is_displayed() -> None:
    measured = np.array([1.0, np.nan, np.nan, 2.0, 50.0])
    predicted = np.array([1.5, 1.0, np.nan, np.nan, 70.0])
    np.testing.assert_array_equal(Display().miss(measured, predicted), [0.5, np.inf, 0.0, np.inf, 20.0])
    np.testing.assert_array_equal(Display(clip=10.0).miss(measured, predicted)[[0, 4]], [0.5, 0.0])
    assert Display("log").miss(np.array([2.0]), np.array([1.0]))[0] == pytest.approx(math.log(2))


def test_nothing_displayed_has_no_range() -> None:
    assert Display().range(np.array([np.nan, np.inf])) == 0.0
    assert Display("log").range(np.array([-1.0, 0.0])) == 0.0


@pytest.mark.parametrize(
    ("scale", "clip", "error", "said"),
    [
        ("sqrt", None, ValueError, "'linear' or 'log', got 'sqrt'"),
        (["log"], None, ValueError, "'linear' or 'log'"),
        ("linear", "3", TypeError, "clip as a loss or None, got '3'"),
        ("linear", True, TypeError, "clip as a loss or None, got True"),
        ("linear", math.nan, ValueError, "clip as a finite loss"),
        ("linear", math.inf, ValueError, "clip as a finite loss"),
        ("log", 0.0, ValueError, "positive on the log scale"),
    ],
)
def test_other_displays_are_refused(scale: Any, clip: Any, error: type[Exception], said: str) -> None:
    with pytest.raises(error, match=said):
        Display(scale, clip)
