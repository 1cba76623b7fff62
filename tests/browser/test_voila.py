"""The widget in a real Voila, where there are no cells to run and visitors are strangers."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from harness import Surface
from playwright.sync_api import Page

SHOW_DIGITS = """
import landscape_widget as lw
from landscape_widget import examples
w = lw.explore(examples.digits_mlp_early(), resolution=17)
w
"""


def test_a_visitor_sees_the_surface_and_moves_its_sliders(voila: Callable[..., Page]):
    surface = Surface(voila(SHOW_DIGITS))
    first = surface.wait_until_done()
    assert first["cells"] == 17 * 17
    assert len(np.unique(surface.pixels().reshape(-1, 3), axis=0)) > 200
    surface.press("resolution", "ArrowLeft")
    second = surface.wait_until_done("data.cells === 81")
    surface.press("y direction", "ArrowLeft")
    surface.wait_until_done(f"data.epoch > {second['epoch']}")


def test_two_visitors_do_not_disturb_each_other(voila: Callable[..., Page]):
    page = voila(SHOW_DIGITS)
    other = page.context.new_page()
    other.goto(page.url)
    surface, others = Surface(page), Surface(other)
    others.wait_until_done()
    others.press("resolution", "ArrowLeft")
    others.wait_until_done("data.cells === 81")
    page.bring_to_front()
    assert surface.wait_until_done()["cells"] == 17 * 17


def test_the_dark_theme_is_followed(voila: Callable[..., Page]):
    surface = Surface(voila(SHOW_DIGITS, query="?theme=dark"))
    surface.wait_until_done()
    assert surface.pixels()[2, 2].mean() < 60
