"""The widget: traits, validation of what pages say, and patches to them. It computes nothing and knows nothing of torch.

``docs/protocol.md`` in the repository describes the messages. Everything that comes from a page is hostile until
validated.
"""

from __future__ import annotations

import contextlib
import logging
import threading
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import anywidget
import traitlets as t

from landscape_widget.interpolate import exponent
from landscape_widget.keywords import check_keywords
from landscape_widget.landscape import Landscape
from landscape_widget.view.caption import caption
from landscape_widget.view.patches import Publisher, picture
from landscape_widget.view.settings import (
    COLORMAPS,
    LOOKS,
    SETTINGS,
    WINDOWS,
    WISHES,
    SettingError,
    checked,
    checked_settings,
    resolutions,
)
from landscape_widget.view.spectrum import spectrum_entry

_log = logging.getLogger(__name__)

_STATIC = Path(__file__).parent / "static"
# Pages that are remembered as confirmed; an old one may ask again.
_MAX_CLIENTS = 32


class LandscapeWidget(anywidget.AnyWidget):
    """A loss surface to turn, with its sliders. Made by :func:`landscape_widget.explore` and :func:`landscape_widget.view`.

    Attributes
    ----------
    direction_x, direction_y
        Keys of directions in ``catalog``.
    resolution
        Points along each axis: 5, 9, 17, …, at most ``max_resolution``.
    window, zoom
        "saddle" or "wide"; the half-widths are multiplied by 2^zoom.
    saddles
        Strength of saddle highlighting, 0 (off) to 1.
    log_scale, colormap, contours, height
        Look; height in pixels.
    layout
        As of every widget.
    running
        False stops, True goes on; what was measured is kept.
    status, progress, eta, error, caption, catalog, spectrum
        Read only: what goes on. Observers run on the engine's thread.

    Raises
    ------
    TypeError
        For an unknown keyword, with the nearest known one.
    ValueError
        For a setting out of its range, also when it is set later; that one is a traitlets.TraitError, too.
    """

    # One for all widgets, so that linked ones cannot wait for each other. Whoever changes traits holds it: traitlets
    # keeps notifications and updates that wait in attributes of the instance, which threads would lose for each other.
    _trait_lock = threading.RLock()

    _esm = t.Unicode("").tag(sync=True)
    _css = t.Unicode("").tag(sync=True)

    direction_x = t.Unicode("").tag(sync=True)
    direction_y = t.Unicode("").tag(sync=True)
    resolution = t.Int(65).tag(sync=True)
    window = t.Enum(WINDOWS, "saddle").tag(sync=True)
    zoom = t.Int(0, min=-4, max=4).tag(sync=True)
    saddles = t.Float(0.5, min=0, max=1).tag(sync=True)
    log_scale = t.Bool(False).tag(sync=True)
    colormap = t.Enum(COLORMAPS, "viridis").tag(sync=True)
    contours = t.Bool(True).tag(sync=True)
    running = t.Bool(True).tag(sync=True)
    height = t.Int(460, min=120, max=4000).tag(sync=True)

    live = t.Bool(False).tag(sync=True)
    status = t.Enum(["idle", "directions", "window", "survey", "paused", "done", "error"], "idle").tag(sync=True)
    progress = t.Float(0.0).tag(sync=True)
    eta = t.Float(None, allow_none=True).tag(sync=True)
    error = t.Unicode("").tag(sync=True)
    caption = t.List(t.Unicode()).tag(sync=True)
    catalog = t.List(t.Dict()).tag(sync=True)
    spectrum = t.Dict().tag(sync=True)
    resolutions = t.List(t.Int(), [5, 9, 17, 33, 65, 129]).tag(sync=True)
    _confirmed = t.Dict().tag(sync=True)
    # Serialised afresh for whoever asks for the full state; the trait itself never changes, so nothing is pushed.
    _grid = t.Any(None, allow_none=True).tag(
        sync=True, echo_update=False, to_json=lambda _value, widget: widget._snapshot()
    )

    def __init__(self, landscape: Landscape | None = None, *, max_resolution: int = 129, **settings: Any) -> None:
        check_keywords(settings, SETTINGS if landscape is None else (*LOOKS, "height", "layout"))
        settings = checked_settings(LandscapeWidget, settings)
        # Before super().__init__, which already serialises the state.
        self._publisher = Publisher(self._post)
        self.session: object = None
        """Keeps whoever computes for this widget alive as long as the widget is."""
        self._on_page: list[Callable[[str], None]] = []
        self.landscape: Landscape | None = None
        """The landscape on show; None before there is one."""
        if landscape is not None:
            self._fit(landscape, settings)
        else:
            settings.update(resolutions(max_resolution, settings.get("resolution")))
        super().__init__(_esm=_asset("widget.js"), _css=_asset("widget.css"), **settings)
        self.on_msg(self._on_message)

    def __setattr__(self, name: str, value: Any) -> None:
        with self._trait_lock:
            super().__setattr__(name, checked(getattr(LandscapeWidget, name), value) if name in SETTINGS else value)

    @t.validate("resolution")
    def _valid_resolution(self, proposal: Any) -> int:
        value, offered = proposal["value"], self.resolutions
        if value not in offered:
            try:
                exponent(value)
            except ValueError as error:
                raise SettingError(str(error)) from None
            if self.landscape is not None and not self.live:
                raise SettingError(
                    f"expected the resolution at which this landscape was measured, {offered[0]}, got {value}; "
                    f"compute(..., resolution={value}) or explore(...) measures at another"
                )
            raise SettingError(
                f"expected a resolution from {offered[0]} to {offered[-1]}, got {value}; "
                "explore(..., max_resolution=...) allows finer ones"
            )
        return value

    @t.validate("direction_x", "direction_y")
    def _valid_direction(self, proposal: Any) -> str:
        keys = [entry["key"] for entry in self.catalog]
        if keys and proposal["value"] not in keys:
            raise SettingError(f"expected a direction of the catalog ({', '.join(keys)}), got {proposal['value']!r}")
        return proposal["value"]

    @property
    def wished(self) -> tuple[str, str, str, int, int]:
        """Both directions, window, zoom and resolution as they are together, never half of a change."""
        with self._trait_lock:
            return self.direction_x, self.direction_y, self.window, self.zoom, self.resolution

    def set_state(self, sync_data: dict[str, Any]) -> None:
        """Apply what a page (or ``jslink``) sets: only what a page may change, and only to valid values."""
        if not isinstance(sync_data, Mapping):
            return
        with self._trait_lock:
            accepted, refused = self._judged(sync_data)
            super().set_state(accepted)
            if refused:
                self.send_state(refused)

    def publish(self, **traits: Any) -> None:
        """Set traits from the engine's thread, together. An observer that raises is logged: it must not stop the engine."""
        with self._trait_lock, self.hold_sync():
            for name, value in traits.items():
                self._set({name: value})

    def show(self, landscape: Landscape, *, new_epoch: bool = False, caption_too: bool = True) -> None:
        """Show a landscape; a new epoch is one of another plane, window or resolution."""
        shown = picture(landscape)
        with self._trait_lock:
            self.landscape = landscape
            self._publisher.show(shown, new_epoch=new_epoch)
        if caption_too:
            self.publish(caption=caption(landscape))

    def flush(self) -> bool:
        """Send what waits for its turn; True while something waits that only needs time."""
        with self._trait_lock:
            return self._publisher.flush()

    def on_page(self, callback: Callable[[str], None]) -> None:
        """Call ``callback("hello" | "ping" | "ack")`` when a page shows a sign of life."""
        self._on_page.append(callback)

    def _repr_mimebundle_(self, **kwargs: Any) -> Any:
        if not (_STATIC / "widget.js").exists():
            raise FileNotFoundError("the page is not built: run `make build`, or `npm ci && npm run build` in js/")
        return super()._repr_mimebundle_(**kwargs)

    def _fit(self, landscape: Landscape, settings: dict[str, Any]) -> None:
        """A saved landscape: its own directions and resolution, and nothing to ask an engine for."""
        shown = picture(landscape)
        x, y = landscape.recipe.directions
        settings.update(
            catalog=[shown.header["x"], shown.header["y"]],
            direction_x=x.key,
            direction_y=y.key,
            resolution=max(landscape.losses.shape),
            resolutions=[max(landscape.losses.shape)],
            caption=caption(landscape),
            spectrum=spectrum_entry(None, landscape.recipe.curvature, landscape.recipe.gradient_norm, done=True),
            status="done",
            progress=1.0,
        )
        if landscape.recipe.window in ("saddle", "wide"):
            settings["window"] = landscape.recipe.window
        self.landscape = landscape
        self._publisher.current, self._publisher.epoch, self._publisher.seq = shown, 1, 0

    def _snapshot(self) -> dict[str, Any] | None:
        with self._trait_lock:
            return self._publisher.snapshot()

    def _post(self, message: dict[str, Any], buffers: list[bytes]) -> None:
        self.send(message, buffers)

    def _on_message(self, _widget: Any, message: Any, _buffers: Any) -> None:
        """Whatever a page sends; what does not fit the protocol is dropped."""
        if not isinstance(message, Mapping):
            return
        kind = message.get("kind")
        if kind == "hello" and _is_client(message.get("client")):
            self._greet(str(message["client"]), message.get("epoch"), message.get("seq"))
        elif kind == "ack" and _is_count(message.get("epoch")) and _is_count(message.get("seq")):
            with self._trait_lock:
                self._publisher.acknowledged(message["epoch"], message["seq"])
                waiting = self._publisher.flush()
            if waiting:
                self._tell("ack")
        elif kind == "ping":
            self._tell("ping")
        elif (
            kind == "set"
            and _is_client(message.get("client"))
            and _is_count(message.get("rev"))
            and isinstance(message.get("params"), Mapping)
        ):
            self._wish(str(message["client"]), message["rev"], message["params"])

    def _greet(self, client: str, epoch: Any, seq: Any) -> None:
        with self._trait_lock:
            publisher = self._publisher
            if (epoch, seq) == (publisher.epoch, publisher.seq):
                publisher.acknowledged(epoch, seq)
            else:
                publisher.repeat()
            self.send({"kind": "hello_ack", "client": client, "epoch": publisher.epoch, "seq": publisher.seq})
        self._tell("hello")

    def _wish(self, client: str, rev: int, params: Mapping[Any, Any]) -> None:
        with self._trait_lock:
            if self._confirmed.get(client, -1) >= rev:
                return
            accepted, refused = self._judged(params)
            with self.hold_sync():
                # The two directions together, so that swapping them is one change and not two planes.
                self._set({name: accepted.pop(name) for name in ("direction_x", "direction_y") if name in accepted})
                for name, value in accepted.items():
                    self._set({name: value})
            # The newest last: the oldest goes first.
            others = [(c, r) for c, r in self._confirmed.items() if c != client]
            self._confirmed = {**dict(others[-_MAX_CLIENTS + 1 :]), client: rev}
            if refused:
                self.send_state(refused)

    def _set(self, values: Mapping[str, Any]) -> None:
        """Set traits at once. An observer that raises is logged and costs no other trait its change."""
        try:
            with self.hold_trait_notifications():
                for name, value in values.items():
                    setattr(self, name, value)
        except t.TraitError:
            raise
        except Exception:  # noqa: BLE001 - observers are the user's: they can raise anything
            _log.exception("an observer of %s failed", ", ".join(values))

    def _judged(self, wishes: Mapping[Any, Any]) -> tuple[dict[str, Any], list[str]]:
        """Of what a page wishes: the valid values, and the names of the others. Names that are no traits of a page's are dropped."""
        known = [name for name in WISHES if name in wishes]
        accepted = {}
        for name in known:
            with contextlib.suppress(t.TraitError):
                accepted[name] = self._valid(name, wishes[name])
        return accepted, [name for name in known if name not in accepted]

    def _valid(self, name: str, value: Any) -> Any:
        """The value a page wished, validated at once: later, one bad value would spoil those that come with it."""
        trait = getattr(LandscapeWidget, name)
        if name not in LOOKS and not self.live:
            raise SettingError(f"{name} needs an engine")
        if name in ("direction_x", "direction_y") and not self.catalog:
            raise SettingError("there is no direction yet")
        return trait._validate(self, checked(trait, value))

    def _tell(self, event: str) -> None:
        for callback in self._on_page:
            callback(event)


def view(landscape: Landscape, **settings: Any) -> LandscapeWidget:
    """A landscape on the page, without an engine: everything that only shows works, what would measure is disabled.

    Parameters
    ----------
    landscape
        From ``compute``, ``survey`` or ``load``.
    **settings
        ``saddles``, ``log_scale``, ``colormap``, ``contours``, ``height``, ``layout``.

    Raises
    ------
    TypeError
        For anything that is no landscape, and for unknown keywords, with the nearest known one.
    ValueError
        For a setting out of its range.

    Examples
    --------
    >>> import landscape_widget as lw
    >>> from landscape_widget import examples
    >>> landscape = lw.compute(examples.toy_saddle(n=3, m=4), resolution=9)
    >>> widget = lw.view(landscape, saddles=1.0)
    >>> widget.status, widget.resolution, widget.landscape is landscape
    ('done', 9, True)
    """
    if not isinstance(landscape, Landscape):
        raise TypeError(f"expected a Landscape (from compute, survey or load), got {type(landscape).__name__}")
    return LandscapeWidget(landscape, **settings)


def _asset(name: str) -> str:
    """A built file of the page; empty where it is not built, which is said when the widget is displayed."""
    path = _STATIC / name
    return path.read_text(encoding="utf-8") if path.exists() else ""


def _is_client(value: Any) -> bool:
    # Printable: a lone surrogate in a trait could never be sent again, to nobody.
    return isinstance(value, str) and 0 < len(value) <= 32 and value.isascii() and value.isprintable()


def _is_count(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and -1 <= value < 2**53


__all__ = ["LandscapeWidget", "view"]
