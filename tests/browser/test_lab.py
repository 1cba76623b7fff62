"""The widget in a real JupyterLab with a real kernel."""

from __future__ import annotations

import inspect
import re
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from harness import LabPage, Surface, Witness

from landscape_widget import examples

Lab = Callable[..., LabPage]

IMPORTS = "import landscape_widget as lw\nfrom landscape_widget import examples\n"
SHOW_DIGITS = IMPORTS + "w = lw.explore(examples.digits_mlp_early(), resolution=17)\nw"

# A network whose survey stands still as soon as its first 25 cells are on show, until `go_on` is set. (A grid of no
# more than 25 cells is the preliminary picture, along directions that still change.)
SHOW_HELD = (
    IMPORTS
    + """
import threading
import torch

calls = 0
go_on = threading.Event()
on_main_thread = lambda: threading.current_thread() is threading.main_thread()

def loss(model, batch):
    global calls
    calls += 1
    shown = None if on_main_thread() else w.landscape
    if shown is not None and shown.measured.size > 25 <= shown.measured.sum():
        go_on.wait()
    x, y = batch
    return torch.nn.functional.mse_loss(model(x), y)

torch.manual_seed(0)
model = torch.nn.Sequential(torch.nn.Linear(1, 16), torch.nn.Tanh(), torch.nn.Linear(16, 1))
x = torch.linspace(-2, 2, 200).unsqueeze(1)
w = lw.explore(model, loss, (x, torch.sin(3 * x)), resolution=33)
w
"""
)

HELD = "data.status === 'survey' && data.cells > 25 && data.measured >= 25 && data.painted === data.epoch"


def test_a_trained_network_becomes_a_surface(lab: Lab, witness: Witness):
    notebook = lab(SHOW_DIGITS)
    notebook.run(0)
    surface = Surface(notebook.page)
    data = surface.wait_until_done()
    assert data["cells"] == 17 * 17
    assert 25 <= data["measured"] <= data["cells"]
    assert np.isfinite(surface.heights()).all()
    # A surface in many shades, not an empty box.
    assert len(np.unique(surface.pixels().reshape(-1, 3), axis=0)) > 200
    assert witness.outside == []


def test_another_cell_runs_while_the_survey_is_held(lab: Lab):
    notebook = lab(SHOW_HELD, "6 * 7", "go_on.set()")
    notebook.run(0)
    surface = Surface(notebook.page)
    surface.wait(HELD)
    assert notebook.run(1) == "42"
    assert surface.data()["status"] == "survey"
    notebook.run(2)
    surface.wait_until_done("data.cells === 33 * 33")


def test_the_survey_goes_on_while_a_cell_blocks_the_kernel(lab: Lab, tmp_path: Path):
    flag = tmp_path / "flag"
    wait_for_flag = f"import pathlib, time\nwhile not pathlib.Path({str(flag)!r}).exists(): time.sleep(0.05)"
    notebook = lab(SHOW_HELD, f"go_on.set()\n{wait_for_flag}", "w.resolution")
    notebook.run(0)
    surface = Surface(notebook.page)
    surface.wait(HELD)
    notebook.start(1)
    surface.wait_until_done()
    surface.press("resolution", "Home")  # what is wished now is not forgotten
    flag.touch()
    notebook.finish(1)
    notebook.run_until(2, "5")
    surface.wait_until_done("data.cells === 25")
    assert surface.data()["cells"] == "25"


def test_sliders_are_obeyed_while_a_cell_awaits_and_afterwards(lab: Lab, tmp_path: Path):
    running, flag = tmp_path / "running", tmp_path / "flag"
    awaiting = (
        f"import asyncio, pathlib\npathlib.Path({str(running)!r}).touch()\n"
        f"while not pathlib.Path({str(flag)!r}).exists(): await asyncio.sleep(0.02)\nprint('awaited')"
    )
    notebook = lab(SHOW_DIGITS, awaiting, "w.resolution")
    notebook.run(0)
    surface = Surface(notebook.page)
    surface.wait_until_done("data.cells === 17 * 17")
    notebook.start(1)
    notebook.wait_for_file(running)
    # Twice: a page whose first message was lost in the cell could send no other.
    surface.press("resolution", "ArrowLeft")
    surface.wait_until_done("data.cells === 81")
    surface.press("resolution", "ArrowLeft")
    surface.wait_until_done("data.cells === 25")
    flag.touch()
    assert notebook.finish(1) == "awaited"
    surface.press("resolution", "ArrowRight")
    surface.wait_until_done("data.cells === 81")
    notebook.run_until(2, "9")


def test_window_and_zoom_change_what_is_measured(lab: Lab):
    notebook = lab(SHOW_DIGITS, "print(w.window, w.zoom)")
    notebook.run(0)
    surface = Surface(notebook.page)
    first = surface.wait_until_done()
    half_widths = "[widget.state.grid.header.alphas.at(-1), widget.state.grid.header.betas.at(-1)]"
    close = surface.tell(half_widths)
    surface.control("wide").click()
    second = surface.wait_until_done(f"data.epoch > {first['epoch']}")
    wide = surface.tell(half_widths)
    assert (np.array(wide) > np.array(close)).all()
    assert surface.control("wide").get_attribute("aria-pressed") == "true"
    notebook.run_until(1, "wide 0")

    surface.control("saddle window").click()
    third = surface.wait_until_done(f"data.epoch > {second['epoch']}")
    assert surface.tell(half_widths) == close
    surface.control("twice the range").click()
    fourth = surface.wait_until_done(f"data.epoch > {third['epoch']}")
    assert surface.tell(half_widths) == pytest.approx([2 * width for width in close])
    notebook.run_until(1, "saddle 1")
    surface.control("half the range").click()
    surface.wait_until_done(f"data.epoch > {fourth['epoch']}")
    assert surface.tell(half_widths) == close


def test_the_log_scale_relabels_the_colour_bar(lab: Lab):
    notebook = lab(SHOW_DIGITS, "w.log_scale")
    notebook.run(0)
    surface = Surface(notebook.page)
    surface.wait_until_done()
    bar = surface.root.locator(".lw-colorbar")

    def places() -> list[str]:
        return bar.locator(".lw-bar-tick").evaluate_all(
            "ticks => ticks.map(tick => `${tick.textContent} at ${tick.style.getPropertyValue('--lw-at')}`)"
        )

    linear = places()
    surface.control("log scale").check()
    bar.get_by_text("loss (log scale)").wait_for()
    logarithmic = places()
    assert len(logarithmic) > 1
    assert not set(logarithmic) & set(linear)
    notebook.run_until(1, "True")
    surface.control("log scale").uncheck()
    bar.get_by_text("loss", exact=True).wait_for()
    assert len(places()) > 1
    assert not set(logarithmic) & set(places())
    notebook.run_until(1, "False")


def test_the_value_under_the_pointer_is_read_out(lab: Lab):
    notebook = lab(SHOW_DIGITS, "print(w.landscape.surface().min(), w.landscape.surface().max())")
    notebook.run(0)
    surface = Surface(notebook.page)
    surface.wait_until_done()
    lowest, highest = map(float, notebook.run(1).split())
    surface.canvas.hover()
    readout = surface.root.locator(".lw-readout")
    readout.wait_for()
    said = re.fullmatch(r"α (\S+)\s+β (\S+)\s+loss (\d+\.\d+)\s+(measured|predicted)", readout.inner_text())
    assert said, readout.inner_text()
    assert 0.999 * lowest <= float(said[3]) <= 1.001 * highest
    surface.control("home").hover()
    readout.wait_for(state="hidden")


def test_the_sliders_choose_plane_resolution_and_highlighting(lab: Lab):
    notebook = lab(SHOW_DIGITS, "print(w.direction_x, w.direction_y)", "w.resolution", "w.saddles")
    notebook.run(0)
    surface = Surface(notebook.page)
    first = surface.wait_until_done()
    keys = [entry["key"] for entry in surface.tell("widget.state.get('catalog')")]
    x, y = notebook.run(1).split()
    assert x == keys[0]
    assert {x, y} < set(keys)

    surface.press("x direction", "ArrowRight")
    second = surface.wait_until_done(f"data.epoch > {first['epoch']}")
    notebook.run_until(1, f"{keys[1]} {y}")

    # The other axis's direction swaps the two.
    surface.press("x direction", *["ArrowRight"] * (keys.index(y) - 1))
    third = surface.wait_until_done(f"data.epoch > {second['epoch']}")
    assert y in notebook.run(1).split()
    assert len(set(notebook.run(1).split())) == 2

    surface.press("resolution", "ArrowRight")
    surface.wait_until_done(f"data.epoch > {third['epoch']} && data.cells === 33 * 33")
    notebook.run_until(2, "33")

    surface.press("saddle highlighting", "End")
    notebook.run_until(3, "1.0")


def test_what_python_sets_is_shown(lab: Lab):
    notebook = lab(SHOW_DIGITS, "w.resolution = 9; w.saddles = 0.0; w.colormap = 'greys'")
    notebook.run(0)
    surface = Surface(notebook.page)
    surface.wait_until_done()
    notebook.run(1)
    surface.wait_until_done("data.cells === 81")
    assert surface.control("saddle highlighting").input_value() == "0"
    assert surface.control("colormap").input_value() == "greys"


def test_a_plane_seen_before_is_not_measured_again(lab: Lab):
    notebook = lab(SHOW_HELD, "go_on.set()", "calls")
    notebook.run(0)
    notebook.run(1)
    surface = Surface(notebook.page)
    first = surface.wait_until_done()
    heights = surface.heights()
    surface.press("y direction", "ArrowLeft")
    second = surface.wait_until_done(f"data.epoch > {first['epoch']}")
    assert not np.array_equal(surface.heights(), heights)
    calls = notebook.run(2)
    surface.press("y direction", "ArrowRight")
    surface.wait_until_done(f"data.epoch > {second['epoch']}")
    assert np.array_equal(surface.heights(), heights)
    assert notebook.run(2) == calls


def test_what_the_run_before_made_rests_when_nobody_looks_at_it(lab: Lab):
    notebook = lab(
        "made = []", SHOW_DIGITS.removesuffix("w") + "made.append(w)\nw", "[w.session.pause_when_unseen for w in made]"
    )
    notebook.run(0)
    for _ in range(2):
        notebook.run(1)
        Surface(notebook.page).wait_until_done()
    assert notebook.run(2) == "[True, False]"


def test_a_reload_in_mid_stream_loses_nothing(lab: Lab):
    notebook = lab(SHOW_HELD, "go_on.set()")
    notebook.run(0)
    before = Surface(notebook.page).wait(HELD)
    notebook.reload()
    surface = Surface(notebook.page)
    after = surface.wait(HELD)
    assert after["measured"] >= before["measured"]
    notebook.run(1)
    surface.wait_until_done("data.cells === 33 * 33")
    assert np.isfinite(surface.heights()).all()


def test_a_second_tab_shows_and_steers_the_same_widget(lab: Lab):
    notebook = lab(SHOW_DIGITS)
    notebook.run(0)
    surface = Surface(notebook.page)
    surface.wait_until_done()
    second = Surface(notebook.second_tab().page)
    second.wait_until_done("data.cells === 17 * 17")
    assert np.array_equal(second.heights(), surface.heights())
    second.press("resolution", "ArrowLeft")
    second.wait_until_done("data.cells === 81")
    notebook.page.bring_to_front()
    surface.wait_until_done("data.cells === 81")


def test_stop_keeps_what_was_measured_and_continue_goes_on(lab: Lab):
    notebook = lab(SHOW_HELD, "go_on.set()")
    notebook.run(0)
    surface = Surface(notebook.page)
    surface.wait(HELD)
    surface.control("stop").click()
    notebook.run(1)
    stopped = surface.wait("data.status === 'paused'")
    assert 25 <= stopped["measured"] < stopped["cells"] or stopped["cells"] == 25
    surface.control("continue").click()
    surface.wait_until_done("data.cells === 33 * 33")


def test_the_camera_stays_when_the_data_change(lab: Lab):
    notebook = lab(SHOW_DIGITS)
    notebook.run(0)
    surface = Surface(notebook.page)
    first = surface.wait_until_done()
    home = surface.tell("widget.camera")
    surface.canvas.focus()
    for _ in range(3):
        notebook.page.keyboard.press("ArrowRight")
    turned = surface.tell("widget.camera")
    assert turned != home
    surface.press("resolution", "ArrowLeft")
    surface.wait_until_done(f"data.epoch > {first['epoch']} && data.cells === 81")
    assert surface.tell("widget.camera") == pytest.approx(turned)


def test_the_widget_follows_the_theme(lab: Lab):
    notebook = lab(SHOW_DIGITS)
    notebook.run(0)
    surface = Surface(notebook.page)
    surface.wait_until_done()
    assert surface.pixels()[2, 2].mean() > 200
    notebook.set_theme("JupyterLab Dark")
    notebook.page.wait_for_function("root => root.landscapeWidget.theme.dark", arg=surface.root.element_handle())
    assert surface.pixels()[2, 2].mean() < 60


def test_keys_pressed_in_the_widget_do_not_reach_the_notebook(lab: Lab):
    notebook = lab(SHOW_DIGITS, "1 + 1")
    notebook.run(0)
    surface = Surface(notebook.page)
    surface.wait_until_done()
    for target in (surface.canvas, surface.control("resolution"), surface.control("saddle highlighting")):
        target.focus()
        for key in "ddxb":  # delete, cut, insert below
            notebook.page.keyboard.press(key)
    assert notebook.num_cells() == 2


def made(name: str) -> str | None:
    """How a problem of the examples is made; None for what is no problem."""
    if not callable(function := getattr(examples, name)):
        return None
    required = [p for p in inspect.signature(function).parameters.values() if p.default is p.empty]
    return f"examples.{name}({ARGUMENTS[name] if required else ''})"


ARGUMENTS = {"quadratic": "[2.0, 1.0, -1.0]", "toy_saddle": "n=3, m=4"}

# Along its smallest curvature the slice rises at once: kinks within any visible step outweigh vᵀHv < 0.
NO_DIP = {"digits_cnn_relu"}


def test_the_first_window_shows_the_dip_of_every_example_that_has_one(lab: Lab):
    problems = {name: call for name in examples.__all__ if (call := made(name))}
    cells = [f"w = lw.explore({call}, resolution=17)\nw" for call in problems.values()]
    notebook = lab(IMPORTS, "w.landscape.recipe.curvature.num_negative", *cells)
    notebook.run(0)
    dips = {}
    for index, name in enumerate(problems):
        notebook.run(index + 2)
        surface = Surface(notebook.page, index)
        surface.wait_until_done()
        if int(notebook.run(1)) > 0:
            heights = surface.heights()
            dips[name] = -np.nanmin(heights[:, heights.shape[1] // 2]) / np.ptp(heights[np.isfinite(heights)])
    assert len(dips) >= 8
    assert {name for name, dip in dips.items() if dip < 0.15} == NO_DIP, dips
