"""The widget in a real Voila, where there are no cells to run and visitors are strangers."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
from harness import PATIENCE_MS, Surface, voila_server
from playwright.sync_api import Page

SHOW_DIGITS = """
import landscape_widget as lw
from landscape_widget import examples
w = lw.explore(examples.digits_mlp_early(), resolution=17)
w
"""


# A widget to be shown, and one that is greeted as by a page: the engine asks the one that was wished for last first, so
# when the greeted one is done, however slow the engine, the other one has been asked many times.
SHOW_COUNTED = """
import threading, time, torch
import landscape_widget as lw

computed = set()

def make(name):
    def loss(model, batch):
        if threading.current_thread() is not threading.main_thread():
            computed.add(name)
        return torch.nn.functional.mse_loss(model(batch[0]), batch[1])

    torch.manual_seed(0)
    x = torch.linspace(-2, 2, 50).unsqueeze(1)
    model = torch.nn.Sequential(torch.nn.Linear(1, 8), torch.nn.Tanh(), torch.nn.Linear(8, 1))
    return lw.explore(model, loss, (x, torch.sin(3 * x)), resolution=17)

greeted, w = make("greeted"), make("shown")
greeted._on_message(greeted, {"kind": "hello", "client": "nobody", "epoch": -1, "seq": -1}, [])
w.resolution = 33
w.resolution = 17
while greeted.status not in ("done", "error"):
    time.sleep(0.02)
w
"""
REPORT = "f'{w.status} {w.landscape}, computed: {sorted(computed)}'"


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


def test_a_preheated_kernel_computes_nothing_before_its_visitor_comes(tmp_path: Path, page: Page):
    flag = tmp_path / "ready"
    cells = [SHOW_COUNTED, f"import pathlib\npathlib.Path({str(flag)!r}).write_text({REPORT})"]
    options = ("--preheat_kernel=True", "--pool_size=1")
    with voila_server(tmp_path, *options, notebooks={"page.ipynb": cells}) as server:
        page.goto("about:blank")
        deadline = time.monotonic() + PATIENCE_MS / 1000
        while not (flag.exists() and flag.read_text()) and time.monotonic() < deadline:
            page.wait_for_timeout(100)
        assert flag.read_text() == "idle None, computed: ['greeted']"
        page.goto(f"{server.address}voila/render/page.ipynb")
        assert Surface(page).wait_until_done()["cells"] == 17 * 17
        page.goto("about:blank")


def test_the_dark_theme_is_followed(voila: Callable[..., Page]):
    surface = Surface(voila(SHOW_DIGITS, query="?theme=dark"))
    surface.wait_until_done()
    assert surface.pixels()[2, 2].mean() < 60
