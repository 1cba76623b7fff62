"""Survey and widget joined: what is wished is measured, once, and nothing else is."""

from __future__ import annotations

import copy
import gc
import logging
import re
import threading
import weakref
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

import landscape_widget as lw
from landscape_widget import examples, exploration
from landscape_widget import session as session_module
from landscape_widget.background import SpectrumJob
from landscape_widget.engine.overview import Overview
from landscape_widget.landscape import Direction
from landscape_widget.planes import offered
from landscape_widget.scheduler import scheduler
from landscape_widget.session import Session
from landscape_widget.view.caption import caption
from landscape_widget.view.numbers import with_error
from landscape_widget.view.patches import FROM_PART, HOLE, MEASURED, Publisher, picture
from landscape_widget.view.widget import LandscapeWidget

from .view.landscapes import Clock, Page


class Bowl(nn.Module):
    """A model whose parameters are all its loss needs; ½ Σ cᵢ θᵢ² + quartic, with a saddle at 0 for mixed signs."""

    curvatures: torch.Tensor

    def __init__(self, curvatures: list[float], start: float = 0.0) -> None:
        super().__init__()
        self.theta = nn.Parameter(torch.full((len(curvatures),), start, dtype=torch.float64))
        self.register_buffer("curvatures", torch.tensor(curvatures, dtype=torch.float64))


class Loss:
    """The loss of a Bowl; counts its calls, and fails or blocks when told."""

    def __init__(self) -> None:
        self.calls = 0
        self.fails: Callable[[int], bool] = lambda _call: False
        self.before: Callable[[], None] = lambda: None
        self.hole_beyond = float("inf")

    def __call__(self, model: Bowl, batch: Any) -> torch.Tensor:
        self.calls += 1
        self.before()
        if self.fails(self.calls):
            raise RuntimeError("out of luck")
        value = 1 + 0.5 * (model.curvatures * model.theta**2).sum() + 0.1 * (model.theta**4).sum()
        return value if float(model.theta.detach().norm()) < self.hole_beyond else value * float("nan")


class Bench:
    """An explored Bowl whose session is advanced by hand, with a page on the other end."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, **settings: Any) -> None:
        self.loss, self.clock, self.page = Loss(), Clock(), Page()
        curvatures = settings.pop("curvatures", [3.0, 2.0, 0.5, -0.5, -1.0])
        if not settings.pop("spectrum", False):
            monkeypatch.setattr(session_module, "SpectrumJob", lambda *_args, **_settings: None)
        problem = lw.Problem(Bowl(curvatures), self.loss)
        self.widget: LandscapeWidget = lw.explore(problem, **{"tolerance": 0.0, "resolution": 9, **settings})
        assert isinstance(self.widget.session, Session)
        self.session = self.widget.session
        self.session._clock = self.clock
        self.widget._publisher = Publisher(self.page.send, self.clock)
        self.loss.calls = 0
        self.rev = 0

    def say(self, kind: str, **more: Any) -> None:
        self.widget._on_message(self.widget, {"kind": kind, "client": "page", **more}, [])

    def hello(self) -> None:
        self.say("hello", epoch=-1, seq=-1)

    def wish(self, **params: Any) -> None:
        self.rev += 1
        self.say("set", rev=self.rev, params=params)

    def tick(self) -> bool:
        """One chunk, a quarter of a second later, and all of it reaches the page."""
        worked = self.session.advance()
        self.clock.now += 0.25
        self.session.flush()
        self.widget._publisher.acknowledged(self.widget._publisher.epoch, self.widget._publisher.seq)
        return worked

    def run(self, chunks: int = 2000) -> int:
        """To the end; how often the loss was called."""
        before = self.loss.calls
        for _ in range(chunks):
            if not self.tick():
                return self.loss.calls - before
        raise AssertionError("the session does not come to an end")

    def until(self, reached: Callable[[], bool]) -> None:
        for _ in range(2000):
            if reached():
                return
            assert self.tick()

    @property
    def states(self) -> np.ndarray:
        return self.page.arrays[2]

    @property
    def header(self) -> dict[str, Any]:
        assert self.page.header is not None
        return self.page.header


class Asleep:
    """A scheduler that only writes down who was woken."""

    def __init__(self) -> None:
        self.woken: list[tuple[Any, bool]] = []

    def wake(self, job: Any, *, first: bool = True) -> None:
        self.woken.append((weakref.ref(job), first))

    def jobs(self) -> list[Any]:
        return [job for reference, _ in self.woken if (job := reference()) is not None]


@pytest.fixture(autouse=True)
def small_chunks(monkeypatch: pytest.MonkeyPatch) -> None:
    """A chunk is one cell: a test can stop wherever it likes, on any machine."""
    monkeypatch.setattr("landscape_widget.engine.plane_survey._CHUNK", 0.0)
    monkeypatch.setattr(session_module, "_CHUNK", 0.0)
    monkeypatch.setattr(session_module, "_PRELIMINARY_AFTER", float("inf"))
    monkeypatch.setattr(session_module, "_FIRST_PICTURE", float("inf"))
    # One way of computing, not the fastest on this machine: calls are counted.
    monkeypatch.setattr(session_module, "choose_num_threads", lambda _problem: torch.get_num_threads())


@pytest.fixture
def asleep(monkeypatch: pytest.MonkeyPatch) -> Asleep:
    made = Asleep()
    monkeypatch.setattr(session_module, "scheduler", lambda: made)
    return made


@pytest.fixture
def bench(monkeypatch: pytest.MonkeyPatch, asleep: Asleep) -> Iterator[Bench]:
    made = Bench(monkeypatch)
    yield made
    made.widget.close()


@pytest.fixture
def make(monkeypatch: pytest.MonkeyPatch, asleep: Asleep) -> Iterator[Callable[..., Bench]]:
    made: list[Bench] = []

    def one(**settings: Any) -> Bench:
        made.append(Bench(monkeypatch, **settings))
        return made[-1]

    yield one
    for each in made:
        each.widget.close()


class TestBeginning:
    def test_nothing_is_computed_before_somebody_looks(self, bench: Bench):
        bench.widget.resolution = 17
        assert bench.run() == 0
        assert not bench.page.messages
        assert (bench.widget.live, bench.widget.status, bench.widget.catalog) == (True, "idle", [])

    def test_a_hello_brings_the_surface_along_the_extreme_directions(self, bench: Bench):
        bench.hello()
        bench.run()
        assert (bench.widget.status, bench.widget.progress, bench.widget.eta) == ("done", 1.0, None)
        assert (bench.widget.direction_x, bench.widget.direction_y) == ("largest-1", "smallest-1")
        assert [bench.header["x"]["curvature"], bench.header["y"]["curvature"]] == pytest.approx([3.0, -1.0])
        assert (bench.states == MEASURED).all()
        shown = bench.widget.landscape
        assert shown is not None
        np.testing.assert_array_equal(bench.page.arrays[0], (shown.losses - 1.0).astype(np.float32))
        assert bench.widget.caption[0].startswith("x: largest curvature, λ₁ = 3")

    def test_the_catalog_is_in_slider_order(self, bench: Bench):
        bench.hello()
        bench.run()
        keys = [entry["key"] for entry in bench.widget.catalog]
        assert keys == ["largest-1", "largest-2", "smallest-2", "smallest-1", "random-0", "random-1"]

    def test_a_gradient_is_offered_where_there_is_one(self, monkeypatch: pytest.MonkeyPatch, asleep: Asleep):
        widget: LandscapeWidget = lw.explore(Bowl([3.0, 1.0, -1.0], start=0.5), Loss(), resolution=5)
        assert isinstance(widget.session, Session)
        widget._on_message(widget, {"kind": "hello", "client": "page", "epoch": -1, "seq": -1}, [])
        while widget.session.advance():
            pass
        assert widget.error == ""
        assert widget.catalog[-1]["key"] == "gradient"

    def test_a_gradient_of_round_off_is_none(self, asleep: Asleep):
        widget: LandscapeWidget = lw.explore(examples.digits_saddle(), k=1, resolution=5)
        assert isinstance(widget.session, Session)
        widget._on_message(widget, {"kind": "hello", "client": "page", "epoch": -1, "seq": -1}, [])
        while not widget.catalog or widget.catalog[-1]["group"] == "hessian":
            assert widget.session.advance()
        at_point = widget.session._planes.facts
        assert at_point is not None
        assert 0 < at_point.gradient_norm < 1e-15
        assert [entry["key"] for entry in widget.catalog] == ["largest-1", "smallest-1", "random-0", "random-1"]

    def test_the_catalog_and_the_caption_tell_one_error(self, bench: Bench):
        bench.hello()
        bench.run()
        shown = bench.widget.landscape
        assert shown is not None
        assert shown.recipe.curvature is not None
        assert shown.recipe.directions[0].residual is not None
        told = with_error(3.0, shown.recipe.curvature.error(shown.recipe.directions[0].residual))
        labels = bench.widget.catalog[0]["label"], bench.header["x"]["label"]
        assert labels == (f"largest curvature (λ₁ = {told})",) * 2
        assert f"λ₁ = {told} " in bench.widget.caption[0]
        assert f"λ_max = {told}," in " ".join(bench.widget.caption)

    def test_random_directions_move_also_where_no_filter_does(self, make: Callable[..., Bench]):
        bench = make()  # one tensor of one dimension
        bench.hello()
        bench.run()
        bench.wish(direction_x="random-0", direction_y="random-1")
        assert bench.run() > 0
        assert (bench.widget.error, bench.widget.status) == ("", "done")
        assert "random (unit) 1, seed 0" in bench.widget.caption[0]

    def test_random_directions_are_filter_normalized_where_that_moves(self, asleep: Asleep):
        model = nn.Linear(2, 2)
        widget: LandscapeWidget = lw.explore(model, nn.MSELoss(), (torch.eye(2), torch.ones(2, 2)), resolution=5)
        assert isinstance(widget.session, Session)
        widget._on_message(widget, {"kind": "hello", "client": "page", "epoch": -1, "seq": -1}, [])
        while widget.session.advance():
            pass
        norms = [d.norm for key, d in widget.session._planes.directions.items() if key.startswith("random")]
        assert norms == pytest.approx([float(model.weight.detach().norm())] * 2, rel=1e-6)

    def test_a_direction_may_be_named_before_it_is_found(self, asleep: Asleep):
        own = torch.eye(6)[:2]
        model = Bowl([3.0, 2.0, 1.0, 0.5, -0.5, -1.0], start=0.5)
        for x, y in [("largest-2", "smallest-2"), ("random-1", "gradient"), ("own-y", "own-x")]:
            widget: LandscapeWidget = lw.explore(
                model, Loss(), directions=own, resolution=5, direction_x=x, direction_y=y
            )
            assert isinstance(widget.session, Session)
            widget._on_message(widget, {"kind": "hello", "client": "page", "epoch": -1, "seq": -1}, [])
            while widget.session.advance():
                pass
            assert (widget.error, widget.direction_x, widget.direction_y) == ("", x, y)
            keys = {entry["key"] for entry in widget.catalog}
            assert keys == set(offered(2, widget.session.own))

    def test_the_surface_grows_from_coarse_to_fine(self, bench: Bench):
        bench.hello()
        bench.run()
        cells = [m["measured"] for m, _ in bench.page.messages if "measured" in m]
        assert cells == sorted(cells)
        assert 25 <= cells[0] <= 26  # the first level stands before anything is shown
        assert cells[-1] == 81
        assert len(set(cells)) > 10
        assert bench.page.gaps == 0

    def test_each_status_comes_in_its_turn(self, bench: Bench):
        seen = []
        bench.widget.observe(lambda change: seen.append(change["new"]), names=["status"])
        bench.hello()
        bench.run()
        assert seen == ["directions", "window", "survey", "done"]

    @pytest.mark.parametrize("answers", [True, False])
    def test_done_is_said_after_the_last_picture_has_gone(self, bench: Bench, answers: bool):
        """However fast cells come and however slowly pictures go: at 20 a second, or one a second to a silent page."""
        on_the_page = []
        bench.widget.observe(
            lambda change: on_the_page.append(bench.header["measured"]) if change["new"] == "done" else None,
            names=["status"],
        )
        bench.hello()
        waited = 0
        while bench.widget.status != "done":
            worked, waiting = bench.session.advance(), bench.session.flush()
            bench.clock.now += 0.001
            if answers:
                bench.widget._publisher.acknowledged(bench.widget._publisher.epoch, bench.widget._publisher.seq)
            waited += not worked and waiting
            assert worked or waiting or bench.widget.status == "done"
        assert waited > 10
        assert on_the_page == [81]

    def test_a_wish_made_before_done_is_said_is_dealt_with_first(self, bench: Bench):
        bench.hello()
        while bench.session.advance():
            bench.session.flush()
            bench.clock.now += 0.001
        assert bench.session.flush()
        bench.wish(resolution=17)
        while bench.header["cells"] == 81:
            assert bench.widget.status != "done"
            bench.tick()
        bench.run()
        assert (bench.widget.status, bench.header["measured"]) == ("done", 17 * 17)

    def test_more_pairs_than_directions_are_no_more_directions(self, make: Callable[..., Bench]):
        with pytest.warns(UserWarning, match="k = 4 pairs per end asked for, but the Hessian has only 3"):
            bench = make(curvatures=[2.0, -1.0, 0.5], k=4)
        bench.hello()
        bench.run()
        assert [e["key"] for e in bench.widget.catalog if e["group"] == "hessian"] == ["largest-1", "smallest-1"]


class TestPreliminary:
    def test_axes_that_still_sharpen_are_drawn_and_replaced_once(self, bench: Bench, monkeypatch: pytest.MonkeyPatch):
        monkeypatch.setattr(session_module, "_PRELIMINARY_AFTER", -1.0)
        # With k = 1 four products are enough for a first picture, of five there are.
        bench.session._opening = bench.session._open(1)
        bench.hello()
        bench.until(lambda: bench.page.header is not None)
        assert bench.header["epoch"] == 1
        assert bench.states.shape == (5, 5)
        assert bench.header["x"]["preliminary"] is True
        assert "still sharpening" in bench.header["x"]["label"]
        assert all(entry["preliminary"] for entry in bench.widget.catalog)
        assert any("still sharpening" in sentence for sentence in bench.widget.caption)
        assert bench.widget.direction_x == ""
        bench.run()
        assert bench.header["epoch"] == 2
        assert bench.header["x"]["preliminary"] is False
        assert not any(entry["preliminary"] for entry in bench.widget.catalog)
        assert [m["epoch"] for m, _ in bench.page.messages if m["kind"] == "grid"] == [1, 2]

    def test_where_passes_take_long_a_part_of_the_data_comes_first(self, asleep: Asleep):
        x = torch.randn(3000, 4, generator=torch.Generator().manual_seed(0))
        model = nn.Sequential(nn.Linear(4, 3), nn.Tanh(), nn.Linear(3, 2))
        problem = lw.Problem(model, nn.CrossEntropyLoss(), (x, (x[:, 0] > 0).long()))
        problem.seconds_per_pass = 1.0
        widget: LandscapeWidget = lw.explore(problem, resolution=5)
        assert isinstance(widget.session, Session)
        widget._on_message(widget, {"kind": "hello", "client": "page", "epoch": -1, "seq": -1}, [])
        shown: list[lw.Landscape] = []
        while widget.session.advance():
            if widget.landscape is not None and (not shown or widget.landscape is not shown[-1]):
                shown.append(widget.landscape)
        assert widget.error == ""
        first, last = shown[0], shown[-1]
        assert first.sem is not None
        assert any(s.startswith("Preliminary, from") for s in caption(first))
        assert first.recipe.directions[0].preliminary
        assert set(picture(first).states[::4, ::4].ravel()) == {FROM_PART}
        assert last.sem is None
        assert last.complete
        assert last.recipe.num_samples == 3000
        assert not last.recipe.directions[0].preliminary

    def test_pairs_on_offer_sharpen_while_lanczos_goes_on(
        self, make: Callable[..., Bench], monkeypatch: pytest.MonkeyPatch
    ):
        monkeypatch.setattr(session_module, "_PRELIMINARY_AFTER", -1.0)
        monkeypatch.setattr(session_module, "_SHARPEN_INTERVAL", -1.0)
        bench = make(curvatures=[*np.linspace(0.5, 3.0, 20), -1.0])
        bench.session._opening = bench.session._open(1)
        seen: list[float] = []

        def note(change: Any) -> None:
            (smallest,) = (entry for entry in change["new"] if entry["key"] == "smallest-1")
            if smallest["preliminary"]:
                seen.append(smallest["curvature"])

        bench.widget.observe(note, names="catalog")
        bench.hello()
        bench.run()
        assert len(seen) > 5
        assert seen == sorted(seen, reverse=True)  # Cauchy: from inside
        assert seen[0] > seen[-1] + 1e-3
        assert seen[-1] == pytest.approx(-1.0, abs=1e-2)

    def test_a_wish_made_meanwhile_is_kept(self, bench: Bench, monkeypatch: pytest.MonkeyPatch):
        monkeypatch.setattr(session_module, "_PRELIMINARY_AFTER", -1.0)
        bench.session._opening = bench.session._open(1)
        bench.hello()
        bench.until(lambda: bool(bench.widget.catalog))
        bench.wish(direction_x="smallest-1")
        bench.run()
        assert (bench.widget.direction_x, bench.widget.direction_y) == ("smallest-1", "largest-1")
        assert bench.header["x"]["key"] == "smallest-1"

    def test_own_directions_are_drawn_first(self, make: Callable[..., Bench]):
        bench = make(directions=(torch.eye(5)[0], torch.eye(5)[4] * 2))
        bench.hello()
        bench.until(lambda: bench.page.header is not None)
        assert [bench.header["x"]["key"], bench.header["y"]["key"]] == ["own-x", "own-y"]
        bench.run()
        assert [bench.header["x"]["key"], bench.header["y"]["key"]] == ["own-x", "own-y"]
        assert bench.header["norms"] == pytest.approx([1.0, 2.0])
        assert bench.header["units"] == ["‖Δθ‖", "× d"]
        assert [e["key"] for e in bench.widget.catalog][-2:] == ["own-x", "own-y"]
        assert "largest-1" in [e["key"] for e in bench.widget.catalog]


class TestWishes:
    @pytest.fixture
    def done(self, bench: Bench) -> Bench:
        bench.hello()
        bench.run()
        return bench

    def test_another_direction_is_another_plane(self, done: Bench):
        done.wish(direction_x="largest-2")
        assert done.run() >= 81
        assert done.header["epoch"] == 2
        assert done.header["x"]["curvature"] == pytest.approx(2.0)
        assert done.widget.status == "done"

    def test_coming_back_measures_nothing(self, done: Bench):
        first = done.page.arrays[0].copy()
        done.wish(direction_x="largest-2")
        done.run()
        done.wish(direction_x="largest-1")
        assert done.run() == 0
        assert done.header["epoch"] == 3
        np.testing.assert_array_equal(done.page.arrays[0], first)
        assert (done.widget.status, done.widget.progress) == ("done", 1.0)

    def test_a_plane_left_half_done_goes_on(self, done: Bench):
        done.wish(resolution=17, direction_x="largest-2")
        done.until(lambda: done.header["epoch"] == 2 and done.header["measured"] > 60)
        before, measured = done.loss.calls, done.header["measured"]
        done.wish(direction_x="largest-1", resolution=9)
        assert done.run() == 0
        done.wish(direction_x="largest-2", resolution=17)
        done.run()
        # One cell was measured already, and waited to be told.
        assert 17 * 17 - measured - 1 <= done.loss.calls - before <= 17 * 17 - measured
        assert (done.states == MEASURED).all()

    def test_choosing_the_other_axis_swaps_and_measures_nothing(self, done: Bench):
        first = done.page.arrays[0].copy()
        done.wish(direction_x="smallest-1")
        assert (done.widget.direction_x, done.widget.direction_y) == ("smallest-1", "largest-1")
        assert done.run() == 0
        np.testing.assert_array_equal(done.page.arrays[0], first.T)
        assert [done.header["x"]["key"], done.header["y"]["key"]] == ["smallest-1", "largest-1"]
        assert done.header["curvature"] == pytest.approx([-1.0, 0.0, 3.0])

    def test_both_at_once_swap_as_well(self, done: Bench):
        done.wish(direction_x="smallest-1", direction_y="largest-1")
        assert done.run() == 0
        assert done.header["x"]["key"] == "smallest-1"
        assert done.header["epoch"] == 2

    def test_from_python_too(self, done: Bench):
        done.widget.direction_x = done.widget.direction_y
        assert (done.widget.direction_x, done.widget.direction_y) == ("smallest-1", "largest-1")
        done.widget.direction_y = "smallest-1"
        assert (done.widget.direction_x, done.widget.direction_y) == ("largest-1", "smallest-1")
        assert done.run() == 0

    def test_cells_measured_after_a_swap_are_known_after_the_next(self, done: Bench):
        done.wish(resolution=17)
        done.until(lambda: done.header["measured"] > 100)
        done.wish(direction_x="smallest-1")
        done.run()
        assert done.header["measured"] == 17 * 17
        done.wish(direction_x="largest-1")
        assert done.run() == 0

    def test_a_finer_grid_adds_to_what_is_measured(self, done: Bench):
        first = done.page.arrays[0].copy()
        done.wish(resolution=17)
        assert done.run() == 17 * 17 - 81
        np.testing.assert_array_equal(done.page.arrays[0][::2, ::2], first)

    def test_a_coarser_grid_measures_nothing(self, done: Bench):
        first = done.page.arrays[0].copy()
        done.wish(resolution=5)
        assert done.run() == 0
        np.testing.assert_array_equal(done.page.arrays[0], first[::2, ::2])
        done.wish(resolution=9)
        assert done.run() == 0
        np.testing.assert_array_equal(done.page.arrays[0], first)

    def test_resolution_from_python(self, done: Bench):
        seen = []
        done.widget.observe(lambda change: seen.append(change["new"]), names=["resolution"])
        done.widget.resolution = 33
        done.run(5000)
        assert seen == [33]
        assert done.states.shape == (33, 33)

    def test_the_wide_window_looks_half_of_theta_far(self, monkeypatch: pytest.MonkeyPatch, asleep: Asleep):
        widget: LandscapeWidget = lw.explore(Bowl([3.0, 1.0, -1.0], start=2.0), Loss(), resolution=5)
        assert isinstance(widget.session, Session)
        widget._on_message(widget, {"kind": "hello", "client": "page", "epoch": -1, "seq": -1}, [])
        spans = []
        for window in ("saddle", "wide", "saddle"):
            widget.window = window
            while widget.session.advance():
                pass
            assert widget.landscape is not None
            assert widget.landscape.recipe.window == window
            spans.append(widget.landscape.recipe.spans)
        assert spans[1] == pytest.approx((np.sqrt(3.0),) * 2)
        assert spans[0] == spans[2] != spans[1]

    def test_zoom_doubles_the_window_that_was_found(self, done: Bench):
        alphas = done.header["alphas"]
        done.wish(zoom=1)
        # None to look for the window again; a quarter of the wider one is the inner part of the other.
        assert done.run() == 81 - 25
        assert done.header["alphas"] == pytest.approx([2 * a for a in alphas])
        done.wish(zoom=0)
        assert done.run() == 0
        assert done.header["alphas"] == alphas

    def test_looks_are_the_pages_own_business(self, done: Bench, asleep: Asleep):
        asleep.woken.clear()
        done.wish(saddles=0.1, colormap="greys", contours=False)
        assert not asleep.woken
        assert done.run() == 0
        assert done.header["epoch"] == 1

    def test_logarithms_are_refined_where_they_are_less_sure(self, make: Callable[..., Bench]):
        bench = make(curvatures=[3000.0, 2000.0], tolerance=1e-3, resolution=65, span=1.0)
        bench.hello()
        bench.run(20_000)
        linear = bench.header["measured"]
        bench.wish(log_scale=True)
        assert bench.run(20_000) > 0
        assert bench.header["measured"] > linear
        assert bench.header["epoch"] == 1
        assert bench.widget.landscape is not None
        assert bench.widget.landscape.recipe.scale == "log"
        assert any("of the range of log-losses" in sentence for sentence in bench.widget.caption)

    @pytest.mark.parametrize("span", [0.25, (0.5, 0.125)])
    def test_a_given_span_is_the_first_window(self, make: Callable[..., Bench], span: float | tuple[float, float]):
        bench = make(span=span)
        bench.hello()
        assert bench.run() < 81 + 60
        x, y = span if isinstance(span, tuple) else (span, span)
        assert [bench.header["alphas"][-1], bench.header["betas"][-1]] == [x, y]
        shown = bench.widget.landscape
        assert shown is not None
        assert shown.recipe.spans == (x, y)
        bench.wish(zoom=1)
        assert bench.run() == 81 - 25
        assert [bench.header["alphas"][-1], bench.header["betas"][-1]] == [2 * x, 2 * y]
        bench.wish(zoom=0, direction_x="smallest-1")
        assert bench.run() == 0
        assert [bench.header["alphas"][-1], bench.header["betas"][-1]] == [y, x]
        # Every other plane and window is found on the loss.
        bench.wish(direction_x="largest-2")
        bench.run()
        assert bench.header["alphas"][-1] not in (x, y)

    def test_a_given_span_is_that_of_the_first_picture_too(self, make: Callable[..., Bench]):
        bench = make(directions=(torch.eye(5)[0], torch.eye(5)[4]), span=(0.5, 0.25), window="wide")
        bench.hello()
        spans = []
        while bench.tick():
            landscape = bench.widget.landscape
            if landscape is not None and (not spans or landscape is not spans[-1][0]):
                spans.append((landscape, landscape.recipe.spans, landscape.losses.shape))
        assert {s[1] for s in spans} == {(0.5, 0.25)}
        assert [spans[0][2], spans[-1][2]] == [(5, 5), (9, 9)]

    def test_a_hole_is_kept_shown_and_told(self, make: Callable[..., Bench]):
        bench = make(window="wide")
        bench.loss.hole_beyond = 0.6
        bench.hello()
        bench.run()
        assert bench.widget.error == ""
        holes = int((bench.states == HOLE).sum())
        assert 0 < holes < 81
        assert f"{holes} cells are holes: the loss is not finite there." in bench.widget.caption


class TestStop:
    def test_stop_keeps_what_is_measured_and_continue_goes_on(self, bench: Bench):
        bench.hello()
        bench.until(lambda: bench.page.header is not None and bench.header["measured"] > 40)
        bench.wish(running=False)
        measured = bench.header["measured"]
        assert bench.run() == 0
        assert (bench.widget.status, bench.widget.eta) == ("paused", None)
        assert bench.header["measured"] == measured
        bench.wish(running=True)
        # One cell was measured already, and waited to be told.
        assert 81 - measured - 1 <= bench.run() <= 81 - measured
        assert (bench.widget.status, bench.header["epoch"]) == ("done", 1)

    def test_stop_before_there_is_anything(self, bench: Bench):
        bench.widget.running = False
        bench.hello()
        assert bench.run() == 0
        assert bench.widget.status == "paused"
        bench.widget.running = True
        bench.run()
        assert bench.widget.status == "done"

    def test_stop_and_continue_when_all_is_done(self, bench: Bench):
        bench.hello()
        bench.run()
        bench.wish(running=False)
        bench.run()
        assert bench.widget.status == "paused"
        bench.wish(running=True)
        assert bench.run() == 0
        assert bench.widget.status == "done"


class TestUnseen:
    def test_where_asked_for_it_pauses_until_somebody_looks(self, make: Callable[..., Bench]):
        bench = make(pause_when_unseen=True)
        bench.hello()
        bench.until(lambda: bench.page.header is not None)
        bench.clock.now += 151
        assert bench.run() == 0
        assert bench.widget.status == "survey"
        bench.say("ping")
        assert bench.run() > 0
        assert bench.widget.status == "done"

    def test_a_ping_in_time_keeps_it_going(self, make: Callable[..., Bench]):
        bench = make(pause_when_unseen=True)
        bench.hello()
        for _ in range(10):
            bench.clock.now += 100
            bench.say("ping")
            assert bench.tick()

    def test_elsewhere_it_goes_on_unseen(self, bench: Bench):
        bench.hello()
        bench.tick()
        bench.clock.now += 1e6
        assert bench.run() > 81

    @pytest.mark.parametrize(
        ("server", "pauses"), [("voila/0.5.13", True), ("Voila/0.5", True), ("jupyter_server/2.21", False), ("", False)]
    )
    def test_voila_pauses_by_default(
        self, make: Callable[..., Bench], monkeypatch: pytest.MonkeyPatch, server: str, pauses: bool
    ):
        monkeypatch.setenv("SERVER_SOFTWARE", server)
        assert make().session.pause_when_unseen is pauses
        assert make(pause_when_unseen=not pauses).session.pause_when_unseen is not pauses

    def test_what_an_earlier_run_of_a_cell_made_pauses(
        self, make: Callable[..., Bench], asleep: Asleep, monkeypatch: pytest.MonkeyPatch
    ):
        monkeypatch.setattr(exploration, "scheduler", lambda: asleep)
        made = {}
        for name, cell, settings in (
            ("elsewhere", None, {}),
            ("another cell", ("b", "1"), {}),
            ("first run", ("a", "2"), {}),
            ("told to go on", ("a", "2"), {"pause_when_unseen": False}),
            ("second run", ("a", "3"), {}),
            ("in the same run", ("a", "3"), {}),
        ):
            monkeypatch.setattr(exploration, "_cell", lambda cell=cell: cell)
            made[name] = make(**settings)
            made[name].hello()
        assert [name for name, bench in made.items() if bench.session.pause_when_unseen] == ["first run"]

    @pytest.mark.parametrize(
        ("request_", "cell"),
        [
            ({"header": {"msg_id": "7"}, "metadata": {"cellId": "a"}}, ("a", "7")),
            ({"header": {"msg_id": "7"}, "metadata": {}}, None),
            ({}, None),
            (None, None),
        ],
    )
    def test_a_cell_is_known_where_the_front_end_tells_it(
        self, monkeypatch: pytest.MonkeyPatch, request_: Any, cell: tuple[str, str] | None
    ):
        monkeypatch.setattr("IPython.get_ipython", lambda: type("Shell", (), {"parent_header": request_}))
        assert exploration._cell() == cell

    def test_outside_of_notebooks_there_is_no_cell(self):
        assert exploration._cell() is None

    def test_a_preheated_kernel_of_voila_pauses_too(self, make: Callable[..., Bench], monkeypatch: pytest.MonkeyPatch):
        monkeypatch.setenv("VOILA_PREHEAT", "True")
        assert make().session.pause_when_unseen


class TestErrors:
    def test_an_error_in_mid_survey_is_shown_and_a_wish_recovers(self, bench: Bench, caplog: pytest.LogCaptureFixture):
        bench.hello()
        bench.until(lambda: bench.page.header is not None and bench.header["measured"] > 40)
        bench.loss.fails = lambda _call: True
        with caplog.at_level(logging.CRITICAL):
            bench.run()
        assert bench.widget.status == "error"
        assert re.fullmatch(r"RuntimeError: out of luck \(test_session\.py, line \d+, in \w+\)", bench.widget.error)
        calls = bench.loss.calls
        bench.say("ping")
        assert bench.run() == 0
        assert bench.loss.calls == calls
        bench.loss.fails = lambda _call: False
        bench.wish(direction_x="largest-2")
        bench.run()
        assert (bench.widget.status, bench.widget.error) == ("done", "")
        # And back: the plane that failed goes on with what it had.
        bench.wish(direction_x="largest-1")
        assert bench.run() <= 40
        assert (bench.widget.status, bench.widget.error, bench.header["measured"]) == ("done", "", 81)

    @pytest.mark.parametrize("wish", [{"resolution": 5}, {"resolution": 17}, {"zoom": -1}, {"window": "wide"}])
    def test_any_other_wish_tries_again(self, bench: Bench, caplog: pytest.LogCaptureFixture, wish: dict[str, Any]):
        bench.hello()
        bench.until(lambda: bench.page.header is not None)
        bench.loss.fails = lambda _call: True
        bench.run()
        bench.loss.fails = lambda _call: False
        bench.wish(**wish)
        bench.run()
        assert (bench.widget.status, bench.widget.error) == ("done", "")

    @pytest.mark.parametrize("call", [1, 8, 20])
    def test_continue_tries_again_wherever_it_failed(self, bench: Bench, caplog: pytest.LogCaptureFixture, call: int):
        bench.loss.fails = lambda calls: calls == call
        bench.hello()
        bench.run()
        assert bench.widget.status == "error"
        assert re.fullmatch(r"RuntimeError: out of luck \(test_session\.py, line \d+, in \w+\)", bench.widget.error)
        bench.wish(running=False)
        bench.run()
        bench.wish(running=True)
        bench.run()
        assert (bench.widget.status, bench.widget.error) == ("done", "")
        assert (bench.states == MEASURED).all()

    def test_an_observer_of_the_users_that_fails_stops_nothing(self, bench: Bench, caplog: pytest.LogCaptureFixture):
        bench.widget.observe(lambda _change: 1 / 0, names=["status", "progress", "caption", "catalog", "direction_x"])
        bench.hello()
        bench.run()
        assert (bench.widget.status, bench.widget.error) == ("done", "")
        assert "ZeroDivisionError" in caplog.text

    def test_a_wish_while_it_fails_is_not_the_one_that_failed(self, bench: Bench, caplog: pytest.LogCaptureFixture):
        bench.hello()
        bench.until(lambda: bench.page.header is not None)

        def wish_and_fail() -> None:
            bench.loss.before = lambda: None
            bench.wish(direction_x="largest-2")
            raise RuntimeError("out of luck")

        bench.loss.before = wish_and_fail
        while bench.session.advance():
            pass
        assert bench.widget.status == "error"
        bench.run()
        assert (bench.widget.status, bench.header["x"]["key"]) == ("done", "largest-2")


class TestLife:
    def test_a_dropped_widget_takes_its_session_along(self):
        """With the real engine thread."""
        loss, done = Loss(), threading.Event()
        widget: LandscapeWidget = lw.explore(lw.Problem(Bowl([3.0, 1.0, -1.0]), loss), resolution=5)
        widget.observe(lambda change: done.set() if change["new"] == "done" else None, names=["status"])
        widget._on_message(widget, {"kind": "hello", "client": "page", "epoch": -1, "seq": -1}, [])
        assert done.wait(60)
        session = widget.session
        gone = [weakref.ref(widget), weakref.ref(session)]
        widget.close()
        del widget, session
        # The engine thread may be in the middle of a round; when it takes up something later, that is over.
        later = threading.Event()

        class Last:
            def advance(self) -> bool:
                later.set()
                return False

            def flush(self) -> bool:
                return False

        last = Last()
        scheduler().wake(last)
        assert later.wait(60)
        gc.collect()
        assert [reference() for reference in gone] == [None, None]

    def test_a_closed_widget_rests(self, bench: Bench):
        bench.hello()
        bench.tick()
        bench.widget.close()
        assert bench.session.advance() is False

    def test_a_session_whose_widget_is_gone_rests(self, make: Callable[..., Bench]):
        bench = make()
        bench.hello()
        session = bench.session
        session._widget = weakref.ref(LandscapeWidget())  # collected at once or not: closed below
        other = session._widget()
        if other is not None:
            other.close()
        del other
        gc.collect()
        assert session.advance() is False
        assert session.flush() is False

    def test_the_newest_wish_of_two_widgets_is_first(self, make: Callable[..., Bench], asleep: Asleep):
        a, b = make(), make()
        asleep.woken.clear()
        a.hello()
        b.hello()
        b.say("ping")
        a.wish(resolution=17)
        b.wish(window="wide")
        woken = [("a" if job() is a.session else "b", first) for job, first in asleep.woken]
        assert woken == [("a", False), ("b", False), ("b", False), ("a", True), ("b", True)]

    def test_a_cell_can_be_run_while_the_engine_works(self):
        """The engine thread waits in the loss; meanwhile the main thread sets traits and asks for the state."""
        loss, inside, go, done = Loss(), threading.Event(), threading.Event(), threading.Event()
        widget: LandscapeWidget = lw.explore(lw.Problem(Bowl([3.0, 1.0, -1.0]), loss), resolution=5)

        def before() -> None:
            inside.set()
            assert go.wait(60)

        loss.before = before
        widget.observe(lambda change: done.set() if change["new"] == "done" else None, names=["status"])
        widget._on_message(widget, {"kind": "hello", "client": "page", "epoch": -1, "seq": -1}, [])
        assert inside.wait(60)
        widget.resolution = 9
        widget.set_state({"saddles": 0.75})
        assert widget.get_state()["saddles"] == 0.75
        go.set()
        assert done.wait(60)
        assert widget.landscape is not None
        assert widget.landscape.losses.shape == (9, 9)
        widget.close()

    def test_the_model_is_as_before(self, asleep: Asleep):
        torch.manual_seed(3)
        first, last = nn.Linear(2, 4), nn.Linear(4, 1)
        model = nn.Sequential(first, nn.BatchNorm1d(4), nn.Dropout(0.5), last)
        first.weight.requires_grad_(False)
        first.weight.grad = torch.ones_like(first.weight)
        model.train()
        data = torch.randn(16, 2), torch.randn(16, 1)
        state, random = copy.deepcopy(model.state_dict()), torch.get_rng_state()
        widget: LandscapeWidget = lw.explore(model, nn.MSELoss(), data, resolution=5)
        assert isinstance(widget.session, Session)
        widget._on_message(widget, {"kind": "hello", "client": "page", "epoch": -1, "seq": -1}, [])
        for _ in range(20):
            widget.session.advance()
        widget.running = False  # Stop
        widget.session.advance()
        widget.running = True
        while widget.session.advance() or widget.session.flush():
            pass
        assert (widget.status, widget.error) == ("done", "")
        assert model.training
        assert all(torch.equal(state[name], tensor) for name, tensor in model.state_dict().items())
        assert [p.requires_grad for p in model.parameters()] == [False, True, True, True, True, True]
        assert first.weight.grad is not None
        assert torch.equal(first.weight.grad, torch.ones_like(first.weight))
        assert last.weight.grad is None
        assert torch.equal(torch.get_rng_state(), random)


class TestRates:
    def test_traits_that_only_tell_are_set_four_times_a_second(self, make: Callable[..., Bench]):
        bench = make(resolution=17)
        updates: list[Any] = []
        bench.widget.observe(updates.append, names=["progress", "eta", "caption"])
        bench.hello()
        bench.until(lambda: bench.widget.status == "survey")
        updates.clear()
        for _ in range(100):  # a second
            bench.session.advance()
            bench.clock.now += 0.01
        told = {name: sum(u["name"] == name for u in updates) for name in ("progress", "eta", "caption")}
        assert 1 <= told["progress"] <= 5
        assert told["caption"] <= 5
        assert told["eta"] <= 5

    def test_ten_widgets_stay_far_below_what_a_server_drops(
        self, make: Callable[..., Bench], monkeypatch: pytest.MonkeyPatch
    ):
        benches = [make(resolution=17) for _ in range(10)]
        counts = [0] * 10

        def count(number: int) -> Callable[..., None]:
            def send(_message: Any, buffers: Any = None) -> None:
                counts[number] += 1

            return send

        for number, bench in enumerate(benches):
            bench.hello()
            bench.until(lambda bench=bench: bench.widget.status == "survey")
            monkeypatch.setattr(bench.widget, "_send", count(number))
            bench.widget._publisher._send = bench.widget._post
        for _ in range(100):
            for bench in benches:
                bench.session.advance()
                bench.session.flush()
                bench.widget._publisher.acknowledged(bench.widget._publisher.epoch, bench.widget._publisher.seq)
                bench.clock.now += 0.01
        assert all(5 <= c <= 30 for c in counts)
        assert sum(counts) < 300


class TestExplore:
    MODEL = Bowl([3.0, 1.0, -1.0])

    def test_a_wrong_keyword_has_a_hint_and_costs_nothing(self):
        loss = Loss()
        with pytest.raises(TypeError, match="'resolutoin'; did you mean 'resolution'"):
            lw.explore(self.MODEL, loss, resolutoin=33)
        with pytest.raises(TypeError, match="'tolerence'; did you mean 'tolerance'"):
            lw.explore(self.MODEL, loss, tolerence=1e-3)
        with pytest.raises(TypeError, match="'max_res'; did you mean 'max_resolution'"):
            lw.explore(self.MODEL, loss, max_res=33)
        assert loss.calls == 0

    @pytest.mark.parametrize(
        ("settings", "error", "words"),
        [
            ({"resolution": 100}, ValueError, "nearest are 65 and 129"),
            ({"resolution": 257}, ValueError, "raise max_resolution="),
            ({"max_resolution": 100}, ValueError, "nearest are 65 and 129"),
            ({"max_resolution": 2**30 + 1}, ValueError, "expected a resolution of at most 4,097 points"),
            ({"max_resolution": 4097, "resolution": 8193}, ValueError, "at most 4,097 points .*, got 8,193"),
            ({"span": 1e308}, ValueError, r"stays below 1.1e\+307 in float64, got 1e\+308"),
            ({"directions": 1e-310 * torch.eye(3).double()[:2]}, ValueError, "give it another length"),
            ({"tolerance": -1.0}, ValueError, "expected a tolerance"),
            ({"tolerance": float("nan")}, ValueError, "expected a tolerance"),
            ({"k": 0}, ValueError, "expected k of at least 1"),
            ({"k": "2"}, TypeError, "expected k as an integer, got '2'"),
            ({"tolerance": "fine"}, TypeError, "expected tolerance as a number, got 'fine'"),
            ({"resolution": "big"}, TypeError, r"expected a resolution as an integer 2\^k \+ 1 .*, got 'big'"),
            ({"max_resolution": "big"}, TypeError, r"expected a resolution as an integer 2\^k \+ 1 .*, got 'big'"),
            ({"span": "wide"}, TypeError, "expected span as a number, got 'wide'"),
            ({"span": -1.0}, ValueError, "expected a positive span"),
            ({"span": (1.0, 2.0, 3.0)}, ValueError, "expected a span as one number or a pair .*, got 3 of them"),
            ({"window": "big"}, ValueError, "expected window as 'saddle' or 'wide', got 'big'"),
            (
                {"colormap": "jet"},
                ValueError,
                "expected colormap as 'viridis', 'cividis', 'magma' or 'greys', got 'jet'",
            ),
            ({"saddles": 2}, ValueError, r"expected saddles as a number from 0 \(off\) to 1 \(strong\), got 2"),
            ({"zoom": 1.5}, ValueError, "expected zoom as an integer from -4 to 4 .*, got 1.5"),
            ({"log_scale": "yes"}, ValueError, "expected log_scale as True or False, got 'yes'"),
            ({"running": None}, ValueError, "expected running as True or False .*, got None"),
            ({"height": "tall"}, ValueError, "expected height as an integer from 120 to 4000, in pixels, got 'tall'"),
            (
                {"direction_x": "largest-7"},
                ValueError,
                "direction_x as the key of a direction .largest-1, smallest-1, random-0, .*got 'largest-7'; k= offers",
            ),
            ({"layout": 5}, ValueError, "expected layout as an ipywidgets.Layout or a dict of its properties, got 5"),
            ({"pause_when_unseen": "yes"}, TypeError, "expected pause_when_unseen as True, False or None, got 'yes'"),
            ({"directions": torch.eye(3)[:1]}, ValueError, r"expected directions as a pair \(d1, d2\), got 1 of them"),
            ({"directions": "hessian"}, TypeError, r"expected directions as a pair \(d1, d2\), got str"),
            ({"directions": 7}, TypeError, "pair"),
            ({"directions": (torch.eye(3)[0], torch.eye(3)[0])}, ValueError, "parallel"),
            ({"directions": (torch.eye(3)[0], torch.zeros(3))}, ValueError, "all zero"),
            ({"directions": (torch.eye(3)[0], torch.ones(4))}, ValueError, "3 entries, got 4"),
        ],
    )
    def test_bad_settings_are_refused_at_once(self, settings: dict[str, Any], error: type[Exception], words: str):
        with pytest.raises(error, match=words):
            lw.explore(lw.Problem(self.MODEL, Loss()), **settings)

    @pytest.mark.parametrize(
        "settings",
        [{"window": "big"}, {"colormap": "jet"}, {"resolution": 100}, {"resolution": 257}, {"span": 0}, {"k": 0}],
        ids=str,
    )
    def test_bad_settings_cost_no_pass_over_the_data(self, settings: dict[str, Any]):
        loss = Loss()
        with pytest.raises(ValueError, match="expected "):
            lw.explore(self.MODEL, loss, **settings)
        assert loss.calls == 0

    def test_of_more_pairs_than_there_are_it_is_said(self):
        with pytest.warns(
            UserWarning, match="k = 1,000,000 pairs per end asked for, but the Hessian has only 3 in all"
        ) as said:
            widget = lw.explore(lw.Problem(self.MODEL, Loss()), k=10**6)
        assert said[0].filename == __file__
        assert isinstance(widget.session, Session)
        assert widget.session._k == 1
        widget.close()

    def test_a_problem_comes_alone(self):
        problem = lw.Problem(self.MODEL, Loss())
        with pytest.raises(TypeError, match="give them to Problem"):
            lw.explore(problem, Loss())
        with pytest.raises(TypeError, match="give them to Problem"):
            lw.explore(problem, device="cpu")

    def test_a_model_needs_a_loss(self):
        with pytest.raises(
            TypeError, match=r"expected a Problem, got Bowl; make one with Problem\(model, loss, data\), or give loss"
        ):
            lw.explore(self.MODEL)

    def test_two_own_directions_of_one_name_are_two(self, make: Callable[..., Bench]):
        first = Direction("random-0", "random", "r₁", "mine", vector=torch.eye(5)[0])
        second = Direction("random-0", "random", "r₁", "mine too", vector=torch.eye(5)[1])
        bench = make(directions=(first, second))
        bench.hello()
        bench.run()
        assert bench.widget.error == ""
        assert [bench.header["x"]["label"], bench.header["y"]["label"]] == ["mine", "mine too"]


@pytest.mark.parametrize(("held_back", "looks"), [(0, 1), (3, 4), (10**6, 8)])
def test_a_first_picture_is_seen_off_unless_more_than_the_rate_holds_it_back(held_back: int, looks: int):
    class Widget:
        looked = 0

        def flush(self) -> bool:
            self.looked += 1
            return self.looked <= held_back

    widget = Widget()
    session_module._see_off(widget)  # type: ignore[arg-type]
    assert widget.looked == looks


class TestWithoutHessian:
    def test_a_loss_without_second_derivatives_is_explored_along_other_directions(self, asleep: Asleep):
        """Margin losses, straight-through rounding and functions that hide their slope have a surface, too."""
        torch.manual_seed(0)
        data = torch.randn(12, 4), torch.arange(12) % 3
        widget = lw.explore(nn.Linear(4, 3), nn.MultiMarginLoss(), data, resolution=9, tolerance=0.0)
        widget._on_message(widget, {"kind": "hello", "client": "page", "epoch": -1, "seq": -1}, [])
        assert isinstance(widget.session, Session)
        for _ in range(2000):
            if not widget.session.advance():
                break
            widget.session.flush()
        assert (widget.status, widget.error) != ("error", "")
        assert widget.error == ""
        assert [entry["group"] for entry in widget.catalog] == ["random", "random", "gradient"]
        assert widget.landscape is not None
        assert widget.landscape.measured.all()
        assert any("no Hessian" in sentence for sentence in widget.caption)
        widget.close()


class TestSpectrum:
    """The spectrum as a whole is found when nothing else is wished for."""

    @staticmethod
    def numbers(bench: Bench) -> dict[str, str]:
        return {entry["key"]: entry["text"] for entry in bench.widget.spectrum["numbers"]}

    def test_it_comes_after_the_surface_and_is_told_to_the_page(self, make: Callable[..., Bench]):
        bench = make(spectrum=True)
        bench.hello()
        bench.until(lambda: bench.page.header is not None and bench.header["measured"] == 81)
        # The ends are known from the start.
        assert self.numbers(bench)["lambda_min"].startswith("−1")
        assert not bench.widget.spectrum["done"]
        bench.run()
        assert bench.widget.status == "done"
        assert bench.widget.spectrum["done"] is True
        # Of all five eigenvalues, 3 + 2 + 0.5 − 0.5 − 1: exact, as the five are found.
        assert self.numbers(bench)["lambda_max"].startswith("3")
        assert self.numbers(bench)["lambda_min"].startswith("−1")
        assert self.numbers(bench)["trace"].startswith("4")
        assert "%" in self.numbers(bench)["planes"]

    def test_a_wish_goes_first(self, make: Callable[..., Bench], monkeypatch: pytest.MonkeyPatch):
        monkeypatch.setattr("landscape_widget.background._CHUNK", 0.0)
        bench = make(spectrum=True)
        bench.hello()
        bench.until(lambda: bench.page.header is not None and bench.header["measured"] == 81)
        bench.wish(resolution=17)
        bench.until(lambda: bench.header["measured"] == 289)
        assert not bench.widget.spectrum["done"]
        bench.run()
        assert bench.widget.spectrum["done"]

    def test_stop_stops_it_too(self, make: Callable[..., Bench], monkeypatch: pytest.MonkeyPatch):
        monkeypatch.setattr("landscape_widget.background._CHUNK", 0.0)
        bench = make(spectrum=True)
        bench.hello()
        bench.until(lambda: bench.page.header is not None and bench.header["measured"] == 81)
        bench.wish(running=False)
        assert bench.run() == 0
        assert not bench.widget.spectrum["done"]
        bench.wish(running=True)
        bench.run()
        assert bench.widget.spectrum["done"]

    def test_a_long_survey_leaves_it_a_share(self, monkeypatch: pytest.MonkeyPatch):
        clock = Clock()
        monkeypatch.setattr("landscape_widget.background._CHUNK", 0.0)
        problem = lw.Problem(Bowl([3.0, 2.0, -1.0]), Loss())
        job = SpectrumJob(problem, lw.hessian_directions(problem, k=1), 0.0, seed=0)
        job._clock, job._began = clock, clock.now
        clock.now += 100
        assert job.due(eta=60.0)
        assert not job.due(eta=2.0)  # soon done
        assert not job.due(eta=None)  # nothing to share with
        job._worked = 25.0
        assert not job.due(eta=60.0)

    def test_its_failure_leaves_the_surface(
        self, make: Callable[..., Bench], monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
    ):
        def fails(*_args: Any, **_settings: Any) -> Iterator[Any]:
            yield Overview
            raise FloatingPointError("expected finite products")

        monkeypatch.setattr("landscape_widget.background.iter_overview", fails)
        bench = make(spectrum=True)
        bench.hello()
        bench.run()
        assert (bench.widget.status, bench.widget.error) == ("done", "")
        assert bench.widget.spectrum["done"]
        assert self.numbers(bench)["lambda_max"].startswith("3")
        assert "the spectrum could not be found" in caplog.text
