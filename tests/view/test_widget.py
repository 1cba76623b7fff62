"""The widget: what pages may do, what they may not, and what threads must not lose."""

from __future__ import annotations

import json
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import traitlets as t
from hypothesis import given
from hypothesis import strategies as st

import landscape_widget as lw
from landscape_widget.view.caption import caption
from landscape_widget.view.patches import Publisher, catalog_entry
from landscape_widget.view.widget import LandscapeWidget

from .landscapes import Clock, Page, X, Y, landscape, recipe

LOOKS = ["saddles", "log_scale", "colormap", "contours"]
WISHES = [*LOOKS, "direction_x", "direction_y", "resolution", "window", "zoom", "running"]
# What JSON can hold, and Python's reader of it too: NaN, lone surrogates, whole numbers of any size.
JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.sampled_from([10**400, -(2**63), 2**53, 2**53 - 1])
    | st.floats()
    | st.text(max_size=40)
    | st.sampled_from(["largest-1", "saddle", "x" * 100_000, "\ud800", "../../etc/passwd", "__class__"]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=8,
)


def live(**settings: Any) -> LandscapeWidget:
    """A widget as a session leaves it: an engine behind it and directions to choose from."""
    widget = LandscapeWidget(**settings)
    widget.live = True
    widget.catalog = [catalog_entry(d) for d in (X, Y)]
    widget.direction_x, widget.direction_y = X.key, Y.key
    return widget


def wishes(widget: LandscapeWidget) -> dict[str, Any]:
    return {name: getattr(widget, name) for name in WISHES}


def send(widget: LandscapeWidget, message: Any) -> None:
    """What a page sends, on the way it takes in a kernel; there an exception would only be logged."""
    widget._on_message(widget, message, [])


def wish(widget: LandscapeWidget, rev: int, client: Any = "page", **params: Any) -> None:
    send(widget, {"kind": "set", "client": client, "rev": rev, "params": params})


class Wire:
    """Records the state updates that a widget sends, each strict JSON."""

    def __init__(self, widget: LandscapeWidget, monkeypatch: pytest.MonkeyPatch) -> None:
        self.updates: list[dict[str, Any]] = []
        self.custom: list[dict[str, Any]] = []
        monkeypatch.setattr(widget, "_send", self.send)

    def send(self, message: dict[str, Any], buffers: Any = None) -> None:
        json.dumps(message, allow_nan=False).encode()
        if message["method"] == "update":
            self.updates.append(message["state"])
        elif message["method"] == "custom":
            self.custom.append(message["content"])


@pytest.fixture
def widget() -> Iterator[LandscapeWidget]:
    made = live()
    yield made
    made.close()


@pytest.fixture
def wire(widget: LandscapeWidget, monkeypatch: pytest.MonkeyPatch) -> Wire:
    return Wire(widget, monkeypatch)


class TestKeywords:
    def test_a_wrong_one_is_refused_with_the_right_one(self):
        with pytest.raises(TypeError, match="unexpected keyword 'resolutoin'; did you mean 'resolution'"):
            LandscapeWidget(resolutoin=33)

    def test_one_like_nothing_known_is_refused_with_all_that_are(self):
        with pytest.raises(TypeError, match=r"known are saddles, .*height"):
            LandscapeWidget(qqq=1)

    @pytest.mark.parametrize("name", ["status", "catalog", "live", "_confirmed", "resolutions"])
    def test_what_the_kernel_tells_is_no_setting(self, name: str):
        with pytest.raises(TypeError, match=f"unexpected keyword '{name}'"):
            LandscapeWidget(None, **{name: 1})

    def test_resolutions_are_offered_up_to_the_finest(self):
        assert LandscapeWidget().resolutions == [5, 9, 17, 33, 65, 129]
        assert LandscapeWidget(max_resolution=257).resolutions[-2:] == [129, 257]
        small = LandscapeWidget(max_resolution=17)
        assert (small.resolutions, small.resolution) == ([5, 9, 17], 17)

    def test_a_resolution_that_is_none_names_its_neighbours(self):
        with pytest.raises(ValueError, match="got 100; the nearest are 65 and 129"):
            LandscapeWidget(resolution=100)
        with pytest.raises(ValueError, match="got 100; the nearest are 65 and 129"):
            LandscapeWidget(max_resolution=100)

    def test_a_resolution_beyond_the_finest_says_what_to_raise(self):
        with pytest.raises(ValueError, match="at most 129, got 257; raise max_resolution="):
            LandscapeWidget(resolution=257)


class TestPython:
    def test_setting_and_observing(self, widget: LandscapeWidget, wire: Wire):
        seen = []
        widget.observe(lambda change: seen.append((change["old"], change["new"])), names=["resolution"])
        widget.resolution = 33
        assert seen == [(65, 33)]
        assert wire.updates == [{"resolution": 33}]

    @pytest.mark.parametrize(
        ("name", "value", "words"),
        [
            ("resolution", 34, "the nearest are 33 and 65"),
            (
                "resolution",
                1025,
                r"from 5 to 129, got 1025; explore\(\.\.\., max_resolution=\.\.\.\) allows finer ones",
            ),
            ("resolution", "big", r"expected resolution as an integer 2\^k \+ 1 .*, got 'big'"),
            ("direction_x", "largest-9", "expected a direction of the catalog"),
            ("direction_y", 3, "expected direction_y as the key of a direction, such as 'smallest-1', got 3"),
            ("window", "narrow", "expected window as 'saddle' or 'wide', got 'narrow'"),
            ("zoom", 5, "expected zoom as an integer from -4 to 4 .*, got 5"),
            ("zoom", True, "expected zoom as an integer .*, got True"),
            ("saddles", 1.5, r"expected saddles as a number from 0 \(off\) to 1 \(strong\), got 1\.5"),
            ("saddles", float("nan"), "expected saddles as a number .*, got nan"),
            ("colormap", "jet", "expected colormap as 'viridis', 'cividis', 'magma' or 'greys', got 'jet'"),
            ("contours", 1, "expected contours as True or False, got 1"),
            ("height", 10, "expected height as an integer from 120 to 4000, in pixels, got 10"),
        ],
    )
    @pytest.mark.parametrize("shown", [False, True])
    def test_a_bad_value_raises_and_changes_nothing(
        self, widget: LandscapeWidget, name: str, value: Any, words: str, shown: bool
    ):
        if shown:
            widget.show(landscape())
        before = getattr(widget, name)
        with pytest.raises(t.TraitError, match=words) as refused:
            setattr(widget, name, value)
        assert isinstance(refused.value, ValueError)
        assert getattr(widget, name) == before

    def test_numbers_of_numpy_are_numbers(self):
        widget = LandscapeWidget(resolution=np.int64(33), max_resolution=np.int64(65), saddles=np.float32(0.5))
        assert (widget.resolution, widget.resolutions, widget.saddles) == (33, [5, 9, 17, 33, 65], 0.5)
        widget.zoom = np.int8(-2)
        assert type(widget.zoom) is int
        json.dumps({name: getattr(widget, name) for name in WISHES})

    def test_an_error_in_an_observer_reaches_whoever_sets(self, widget: LandscapeWidget):
        widget.observe(lambda _change: 1 / 0, names=["resolution"])
        with pytest.raises(ZeroDivisionError):
            widget.resolution = 33

    def test_an_error_in_an_observer_does_not_reach_the_engine(self, widget: LandscapeWidget, wire: Wire):
        widget.observe(lambda _change: 1 / 0, names=["status", "progress"])
        widget.publish(status="survey", progress=0.5, error="told")
        assert (widget.status, widget.progress, widget.error) == ("survey", 0.5, "told")
        assert wire.updates == [{"status": "survey", "progress": 0.5, "error": "told"}]


class TestWishes:
    def test_each_is_set_and_confirmed(self, widget: LandscapeWidget):
        params = {
            "direction_x": "smallest-1",
            "direction_y": "largest-1",
            "resolution": 17,
            "window": "wide",
            "zoom": -2,
            "saddles": 1,
            "log_scale": True,
            "colormap": "greys",
            "contours": False,
            "running": False,
        }
        wish(widget, 1, **params)
        assert wishes(widget) == params
        assert isinstance(widget.saddles, float)
        assert widget._confirmed == {"page": 1}

    @pytest.mark.parametrize("rev", [5, 4, -1])
    def test_a_set_that_was_dealt_with_changes_nothing(self, widget: LandscapeWidget, rev: int):
        wish(widget, 5, resolution=17)
        widget.resolution = 33
        wish(widget, rev, resolution=17)
        assert widget.resolution == 33
        assert widget._confirmed == {"page": 5}

    def test_each_page_counts_for_itself(self, widget: LandscapeWidget):
        wish(widget, 5, "a", resolution=17)
        wish(widget, 1, "b", resolution=33)
        assert widget.resolution == 33
        assert widget._confirmed == {"a": 5, "b": 1}

    def test_swapping_both_directions_is_one_change(self, widget: LandscapeWidget, wire: Wire):
        seen = []
        widget.observe(lambda _change: seen.append(widget.wished[:2]), names=["direction_x", "direction_y"])
        wish(widget, 1, direction_x="smallest-1", direction_y="largest-1")
        assert set(seen) == {("smallest-1", "largest-1")}
        assert wire.updates[0] == {"direction_x": "smallest-1", "direction_y": "largest-1"}

    @pytest.mark.parametrize(
        ("name", "value"),
        [
            ("resolution", 34),
            ("resolution", 257),
            ("resolution", 3),
            ("resolution", "33"),
            ("resolution", True),
            ("resolution", 10**400),
            ("direction_x", "largest-9"),
            ("direction_x", ""),
            ("direction_y", "\ud800"),
            ("direction_y", ["largest-1"]),
            ("window", "narrow"),
            ("window", ["wide"]),
            ("zoom", 5),
            ("zoom", True),
            ("zoom", 1.5),
            ("saddles", float("nan")),
            ("saddles", -0.1),
            ("saddles", True),
            ("saddles", 10**400),
            ("saddles", "0.5"),
            ("log_scale", 1),
            ("contours", None),
            ("colormap", "jet"),
            ("colormap", {"a": 1}),
            ("running", "no"),
        ],
    )
    def test_what_is_refused_is_answered_with_the_truth(
        self, widget: LandscapeWidget, wire: Wire, name: str, value: Any
    ):
        before = wishes(widget)
        wish(widget, 1, **{name: value})
        assert wishes(widget) == before
        assert widget._confirmed == {"page": 1}
        assert wire.updates[-1] == {name: before[name]}

    def test_one_bad_value_costs_the_others_nothing(self, widget: LandscapeWidget):
        wish(widget, 1, resolution=34, zoom=2, direction_x="nonsense", contours=False)
        assert (widget.resolution, widget.zoom, widget.direction_x, widget.contours) == (65, 2, "largest-1", False)

    @pytest.mark.parametrize(
        "name", ["height", "live", "status", "catalog", "resolutions", "_confirmed", "_esm", "layout"]
    )
    def test_other_names_are_dropped(self, widget: LandscapeWidget, wire: Wire, name: str):
        before = getattr(widget, name)
        wish(widget, 1, **{name: 500})
        widget.set_state({name: 500})
        if name != "_confirmed":
            assert getattr(widget, name) == before
        assert widget._confirmed == {"page": 1}

    def test_only_the_newest_pages_are_remembered(self, widget: LandscapeWidget):
        for i in range(100):
            wish(widget, i + 1, "faithful", zoom=0)
            wish(widget, 7, f"page-{i}", zoom=0)
        assert len(widget._confirmed) == 32
        assert widget._confirmed["faithful"] == 100
        assert widget._confirmed["page-99"] == 7

    def test_an_observer_that_raises_costs_nothing(self, widget: LandscapeWidget):
        widget.observe(lambda _change: 1 / 0, names=["resolution"])
        seen = []
        widget.observe(seen.append, names=["direction_x"])
        wish(widget, 1, resolution=33, direction_x="smallest-1", direction_y="largest-1")
        assert widget.resolution == 33
        assert len(seen) == 1
        assert widget._confirmed == {"page": 1}

    def test_nothing_to_choose_from_yet(self):
        widget = LandscapeWidget()
        widget.live = True
        wish(widget, 1, direction_x="largest-1")
        widget.set_state({"direction_x": "largest-1"})
        assert widget.direction_x == ""

    def test_without_an_engine_only_looks_change(self):
        widget = LandscapeWidget()
        wish(widget, 1, resolution=33, running=False, saddles=0.0, colormap="magma")
        assert (widget.resolution, widget.running, widget.saddles, widget.colormap) == (65, True, 0.0, "magma")


class TestTraitUpdates:
    """The second path: ``jslink``, marimo, and pages that do not keep to the protocol."""

    def test_looks_and_wishes_are_set(self, widget: LandscapeWidget):
        widget.set_state({"saddles": 0.25, "resolution": 33, "zoom": 1})
        assert (widget.saddles, widget.resolution, widget.zoom) == (0.25, 33, 1)

    @pytest.mark.parametrize(
        "state",
        [
            {"resolution": 34},
            {"resolution": 1025},
            {"zoom": True},
            {"saddles": float("nan")},
            {"direction_x": "\ud800"},
            {"colormap": ["jet"]},
            "running",
            ["running"],
            None,
        ],
    )
    @pytest.mark.parametrize("shown", [False, True])
    def test_invalid_values_are_answered_with_the_truth(
        self, widget: LandscapeWidget, wire: Wire, state: Any, shown: bool
    ):
        if shown:
            widget.show(landscape())
            wire.updates.clear()
        before = wishes(widget)
        widget.set_state(state)
        assert wishes(widget) == before
        if isinstance(state, dict):
            assert wire.updates[-1] == {name: before[name] for name in state}


class TestHostilePages:
    @given(JSON)
    def test_any_json_is_survived(self, message: Any):
        widget = live()
        before = wishes(widget)
        send(widget, message)
        widget.set_state(message)
        assert wishes(widget) == before or isinstance(message, dict)
        json.dumps(widget.get_state(), allow_nan=False, default=repr).encode()
        widget.close()

    @given(
        st.lists(
            st.fixed_dictionaries(
                {"kind": st.sampled_from(["hello", "ack", "ping", "set", "grid", "bye"]) | JSON},
                optional={
                    "client": st.sampled_from(["a", "b"]) | JSON,
                    "rev": st.integers(0, 5) | JSON,
                    "epoch": st.integers(-1, 3) | JSON,
                    "seq": st.integers(-1, 9) | JSON,
                    "params": st.dictionaries(st.sampled_from([*WISHES, "live", "_esm"]), JSON) | JSON,
                },
            ),
            max_size=8,
        )
    )
    def test_messages_that_nearly_fit_change_only_valid_wishes(self, messages: list[Any]):
        widget = live()
        widget.show(landscape())
        for message in messages:
            send(widget, message)
        assert widget.live
        assert widget.status == "idle"
        assert widget.resolution in widget.resolutions
        assert widget.direction_x in ("largest-1", "smallest-1")
        assert widget.direction_y in ("largest-1", "smallest-1")
        assert -4 <= widget.zoom <= 4
        assert 0 <= widget.saddles <= 1
        for name in ("log_scale", "contours", "running"):
            assert isinstance(getattr(widget, name), bool)
        assert isinstance(widget.zoom, int)
        assert not isinstance(widget.zoom, bool)
        assert len(widget._confirmed) <= 32
        json.dumps(widget.get_state(), allow_nan=False, default=repr).encode()
        widget.close()

    @pytest.mark.parametrize("client", ["", "x" * 33, "\ud800", "a\nb", 7, None, ["a"], "é"])
    def test_a_client_that_is_none_is_not_greeted(self, widget: LandscapeWidget, wire: Wire, client: Any):
        heard = []
        widget.on_page(heard.append)
        send(widget, {"kind": "hello", "client": client, "epoch": -1, "seq": -1})
        wish(widget, 1, client, zoom=1)
        assert not heard
        assert not wire.custom
        assert widget._confirmed == {}


class TestHello:
    def test_each_is_acknowledged(self, widget: LandscapeWidget, wire: Wire):
        heard = []
        widget.on_page(heard.append)
        for _ in range(3):
            send(widget, {"kind": "hello", "client": "page", "epoch": -1, "seq": -1})
        assert [m["kind"] for m in wire.custom] == ["hello_ack"] * 3
        assert wire.custom[0] == {"kind": "hello_ack", "client": "page", "epoch": 0, "seq": -1}
        assert heard == ["hello"] * 3

    def test_a_page_that_lacks_something_gets_the_grid(self, widget: LandscapeWidget, wire: Wire):
        clock = Clock()
        widget._publisher = Publisher(widget._post, clock)
        widget.show(landscape(), new_epoch=True)
        clock.now += 1
        send(widget, {"kind": "hello", "client": "page", "epoch": -1, "seq": -1})
        assert [m["kind"] for m in wire.custom] == ["grid", "grid", "hello_ack"]
        assert (wire.custom[-1]["epoch"], wire.custom[-1]["seq"]) == (1, 0)

    def test_a_page_that_has_everything_gets_no_grid(self, widget: LandscapeWidget, wire: Wire):
        widget.show(landscape(), new_epoch=True)
        send(widget, {"kind": "hello", "client": "page", "epoch": 1, "seq": 0})
        assert [m["kind"] for m in wire.custom] == ["grid", "hello_ack"]

    def test_a_ping_is_a_sign_of_life(self, widget: LandscapeWidget):
        heard = []
        widget.on_page(heard.append)
        send(widget, {"kind": "ping", "client": "page"})
        assert heard == ["ping"]

    def test_an_answer_sends_what_waited_for_it(self, widget: LandscapeWidget, wire: Wire):
        clock, heard = Clock(), []
        widget.on_page(heard.append)
        widget._publisher = Publisher(widget._post, clock)
        for i in range(12):
            widget.show(landscape(np.full((5, 5), i + 1.0)))
            clock.now += 1 / 16
        assert len(wire.custom) == 8
        send(widget, {"kind": "ack", "epoch": 1, "seq": 7})
        assert len(wire.custom) == 9
        assert heard == []
        # Where the answer came too soon after the last message, somebody must come back for the rest.
        widget.show(landscape(np.full((5, 5), 77.0)))
        send(widget, {"kind": "ack", "epoch": 1, "seq": 8})
        assert heard == ["ack"]


class TestSnapshot:
    def test_it_is_serialised_for_whoever_asks_and_never_pushed(self, widget: LandscapeWidget, wire: Wire):
        assert widget.get_state()["_grid"] is None
        widget.show(landscape(), new_epoch=True)
        state = widget.get_state()["_grid"]
        assert (state["epoch"], state["seq"], state["measured"]) == (1, 0, 45)
        assert np.frombuffer(state["heights"], np.float32)[-1] == 48 - 0.5
        assert not any("_grid" in update for update in wire.updates)

    def test_a_page_restored_from_it_follows_the_patches(self, widget: LandscapeWidget, wire: Wire):
        clock, page = Clock(), Page()
        widget._publisher = Publisher(lambda m, b: page.messages.append((m, b)), clock)
        widget.show(landscape(), new_epoch=True)
        late = Page()
        header = widget.get_state()["_grid"]
        late.take_grid(header, [header.pop(name) for name in ("heights", "log_heights", "states")])
        clock.now += 1
        widget.show(landscape(np.arange(45.0).reshape(5, 9)), new_epoch=False)
        late.send(*page.messages[-1])
        np.testing.assert_array_equal(late.arrays[0], np.arange(45.0).reshape(5, 9) - 0.5)


class TestView:
    def test_it_shows_a_landscape_without_an_engine(self):
        shown = landscape()
        widget: LandscapeWidget = lw.view(shown, colormap="cividis", height=300)
        assert widget.live is False
        assert widget.session is None
        assert widget.landscape is shown
        assert [entry["key"] for entry in widget.catalog] == ["largest-1", "smallest-1"]
        assert (widget.direction_x, widget.direction_y) == ("largest-1", "smallest-1")
        assert (widget.resolution, widget.resolutions) == (9, [9])
        assert (widget.status, widget.progress, widget.colormap, widget.height) == ("done", 1.0, "cividis", 300)
        assert widget.caption == caption(shown)
        assert widget.get_state()["_grid"]["cells"] == 45

    def test_it_is_a_function_and_the_package_it_lives_in(self):
        import landscape_widget.view.patches as patches

        assert isinstance(lw.view(landscape()), LandscapeWidget)
        assert patches.picture(landscape()).header["cells"] == 45
        code = "import landscape_widget as lw; print(callable(lw.view)); import landscape_widget.view.widget; print(callable(lw.view))"
        done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
        assert done.stdout == "True\nTrue\n"

    @pytest.mark.parametrize("first", ["view", "view.patches", "view.widget"])
    def test_its_help_is_the_functions_whatever_was_imported_first(self, first: str):
        code = f"""
import inspect, importlib
import landscape_widget as lw

if {first!r} != "view":
    importlib.import_module("landscape_widget.{first}")
assert str(inspect.signature(lw.view)) == "(landscape: 'Landscape', **settings: 'Any') -> 'LandscapeWidget'"
help = lw.view.__doc__
assert help.startswith("A landscape on the page") and "Raises" in help and ">>> widget = lw.view(" in help

from landscape_widget.view.widget import view
assert help == view.__doc__ == lw.view.__doc__
assert inspect.signature(lw.view) == inspect.signature(view)
"""
        subprocess.run([sys.executable, "-c", code], check=True)

    @pytest.mark.parametrize("given", [None, "net.npz", np.zeros((5, 5))])
    def test_what_is_no_landscape_is_refused(self, given: Any):
        with pytest.raises(TypeError, match=r"expected a Landscape .* got (NoneType|str|ndarray)"):
            lw.view(given)

    def test_a_bad_setting_is_refused(self):
        with pytest.raises(ValueError, match="expected colormap as 'viridis', .* or 'greys', got 'jet'"):
            lw.view(landscape(), colormap="jet")
        widget = lw.view(landscape(), layout={"width": "50%"}, height=200)
        assert (widget.layout.width, widget.height) == ("50%", 200)

    @pytest.mark.parametrize("name", ["resolution", "window", "direction_x", "running", "colourmap"])
    def test_what_needs_an_engine_is_no_setting(self, name: str):
        with pytest.raises(TypeError, match=f"unexpected keyword '{name}'"):
            lw.view(landscape(), **{name: 1})

    def test_it_keeps_its_resolution(self):
        widget = lw.view(landscape())
        with pytest.raises(ValueError, match=r"measured, 9, got 33; compute\(\.\.\., resolution=33\) or explore"):
            widget.resolution = 33
        wish(widget, 1, resolution=33, direction_x="smallest-1")
        assert (widget.resolution, widget.direction_x) == (9, "largest-1")

    def test_a_landscape_from_elsewhere_need_not_be_dyadic(self):
        widget = lw.view(landscape(np.ones((4, 21)), of=recipe(window="given")))
        assert widget.resolution == 21
        assert widget.get_state()["_grid"]["cells"] == 84

    def test_a_hello_is_answered(self, monkeypatch: pytest.MonkeyPatch):
        widget = lw.view(landscape())
        wire = Wire(widget, monkeypatch)
        send(widget, {"kind": "hello", "client": "page", "epoch": -1, "seq": -1})
        assert [m["kind"] for m in wire.custom] == ["grid", "hello_ack"]

    def test_it_works_where_torch_is_not(self, tmp_path: Path):
        landscape().save(tmp_path / "net.npz")
        code = """if True:
            import sys
            sys.modules["torch"] = None
            import landscape_widget as lw
            widget = lw.view(lw.load("net.npz"))
            widget._on_message(widget, {"kind": "hello", "client": "page", "epoch": -1, "seq": -1}, [])
            widget.saddles = 0.9
            print(widget.get_state()["_grid"]["cells"], widget.resolution, len(widget.caption) > 3)
        """
        done = subprocess.run(
            [sys.executable, "-W", "error", "-c", code], cwd=tmp_path, capture_output=True, text=True, check=False
        )
        assert done.stdout == "45 9 True\n", done.stderr


class TestThreads:
    def test_no_update_is_lost_between_engine_and_pages(self, widget: LandscapeWidget, wire: Wire):
        count, seen = 1500, []
        start = threading.Barrier(3)
        widget.observe(lambda change: seen.append(change["new"]), names=["progress"])

        def engine() -> None:
            start.wait()
            for i in range(count):
                widget.publish(progress=float(i + 1), eta=float(i))

        def page() -> None:
            start.wait()
            for i in range(count):
                widget.set_state({"saddles": (i % 100) / 100, "zoom": i % 4})

        threads = [threading.Thread(target=target) for target in (engine, page)]
        for thread in threads:
            thread.start()
        start.wait()
        for i in range(count):
            widget.height = 200 + i
            widget.get_state()
        for thread in threads:
            thread.join()
        assert seen == [float(i + 1) for i in range(count)]
        # A page that follows the updates ends with the truth.
        followed = {name: value for update in wire.updates for name, value in update.items()}
        assert followed["progress"] == count
        assert followed["height"] == 200 + count - 1
        assert [u["height"] for u in wire.updates if "height" in u] == list(range(200, 200 + count))

    @pytest.mark.parametrize("engine_first", [True, False])
    def test_a_change_waits_for_the_end_of_another(self, widget: LandscapeWidget, engine_first: bool):
        """What a thread reads or sets while another sets is never half of it."""
        ended: list[bool] = []

        def other() -> None:
            if engine_first:
                widget.height = 300
            else:
                assert widget.wished[4] == 33

        def in_between(_change: Any) -> None:
            thread = threading.Thread(target=other)
            thread.start()
            thread.join(timeout=0.1)
            ended.append(not thread.is_alive())
            threads.append(thread)

        threads: list[threading.Thread] = []
        widget.observe(in_between, names=["progress", "resolution"])
        if engine_first:
            widget.publish(progress=0.5)
        else:
            widget.resolution = 33
        for thread in threads:
            thread.join()
        assert ended == [False]

    def test_the_state_can_be_asked_for_while_the_engine_shows(self, widget: LandscapeWidget, wire: Wire):
        clock, stop = Clock(), threading.Event()
        widget._publisher = Publisher(widget._post, clock)
        errors: list[BaseException] = []

        def engine() -> None:
            try:
                i = 0
                while not stop.is_set():
                    clock.now += 5
                    shape = (5, 5) if i // 10 % 2 else (5, 9)
                    widget.show(landscape(np.full(shape, i + 1.0)), new_epoch=i % 10 == 0)
                    widget._publisher.acknowledged(widget._publisher.epoch, widget._publisher.seq)
                    i += 1
            except BaseException as error:  # noqa: BLE001
                errors.append(error)

        thread = threading.Thread(target=engine)
        thread.start()
        for i in range(300):
            send(widget, {"kind": "hello", "client": "page", "epoch": -1, "seq": -1})
            wish(widget, i, saddles=i / 300)
            state = widget.get_state()["_grid"]
            if state is not None:
                cells = len(state["alphas"]) * len(state["betas"])
                assert len(state["heights"]) == 4 * cells == 4 * len(state["states"])
                assert len(set(np.frombuffer(state["heights"], np.float32))) == 1
        stop.set()
        thread.join()
        assert not errors

    def test_linked_widgets_do_not_wait_for_each_other(self):
        a, b = live(), live()
        link = t.link((a, "saddles"), (b, "saddles"))
        start = threading.Barrier(2)

        def drive(widget: LandscapeWidget, offset: float) -> None:
            start.wait()
            for i in range(500):
                widget.publish(saddles=offset + i / 1000)

        threads = [threading.Thread(target=drive, args=pair, daemon=True) for pair in ((a, 0.0), (b, 0.4))]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(timeout=60)
        assert not any(thread.is_alive() for thread in threads)
        link.unlink()
        assert a.saddles == b.saddles
