"""The widget: traits, validation of what pages say, and patches to them. It computes nothing and knows nothing of torch.

``docs/protocol.md`` in the repository describes the messages. Everything that comes from a page is hostile until
validated.
"""

from __future__ import annotations

import math
import threading
from collections.abc import Callable, Mapping
from difflib import get_close_matches
from pathlib import Path
from typing import Any

import anywidget
import traitlets as t

from landscape_widget.interpolate import exponent
from landscape_widget.landscape import Landscape
from landscape_widget.view.caption import caption
from landscape_widget.view.patches import Picture, Publisher, picture

_STATIC = Path(__file__).parent / "static"
# Pages that are remembered as confirmed; an old one may ask again.
_MAX_CLIENTS = 32
_WISHES = (
    "direction_x",
    "direction_y",
    "resolution",
    "window",
    "zoom",
    "saddles",
    "log_scale",
    "colormap",
    "contours",
    "running",
)
DEFAULT_RESOLUTIONS = (5, 9, 17, 33, 65, 129)


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
    running
        False stops, True goes on; what was measured is kept.
    status, progress, eta, error, caption, catalog
        Read only: what goes on. Observers run on the engine's thread.

    Raises
    ------
    TypeError
        For an unknown keyword, with the nearest known one.
    """

    _esm = t.Unicode("").tag(sync=True)
    _css = t.Unicode("").tag(sync=True)

    direction_x = t.Unicode("").tag(sync=True)
    direction_y = t.Unicode("").tag(sync=True)
    resolution = t.Int(65).tag(sync=True)
    window = t.Enum(["saddle", "wide"], "saddle").tag(sync=True)
    zoom = t.Int(0, min=-4, max=4).tag(sync=True)
    saddles = t.Float(0.5, min=0, max=1).tag(sync=True)
    log_scale = t.Bool(False).tag(sync=True)
    colormap = t.Enum(["viridis", "cividis", "magma", "greys"], "viridis").tag(sync=True)
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
    resolutions = t.List(t.Int(), list(DEFAULT_RESOLUTIONS)).tag(sync=True)
    _confirmed = t.Dict().tag(sync=True)
    # Serialised afresh for whoever asks for the full state; the trait itself never changes, so nothing is pushed.
    _grid = t.Any(None, allow_none=True).tag(
        sync=True, echo_update=False, to_json=lambda _value, widget: widget._snapshot()
    )

    def __init__(self, landscape: Landscape | None = None, *, max_resolution: int = 129, **settings: Any) -> None:
        known = [*_WISHES, "height", "layout"]
        for name in settings:
            if name not in known:
                near = get_close_matches(name, known, 1)
                raise TypeError(
                    f"unexpected keyword {name!r}"
                    + (f"; did you mean {near[0]!r}?" if near else f"; known are {', '.join(known)}")
                )
        exponent(max_resolution)
        # Before super().__init__, which already serialises the state.
        self._trait_lock = threading.RLock()
        self._publisher = Publisher(self._post)
        self.session: object = None
        """Keeps whoever computes for this widget alive as long as the widget is."""
        self._on_page: list[Callable[[str], None]] = []
        self.landscape: Landscape | None = None
        """The landscape on show; None before there is one."""
        if landscape is not None:
            self._fit(landscape, settings)
        else:
            settings.setdefault(
                "resolutions", [r for r in DEFAULT_RESOLUTIONS if r <= max_resolution] or [max_resolution]
            )
            if settings.get("resolution", 65) > max_resolution:
                settings["resolution"] = max_resolution
        self._allowed = {"max_resolution": max_resolution}
        super().__init__(_esm=_asset("widget.js"), _css=_asset("widget.css"), **settings)
        self.on_msg(self._on_message)

    @t.validate("resolution")
    def _valid_resolution(self, proposal: Any) -> int:
        exponent(proposal["value"])
        if proposal["value"] > self._allowed["max_resolution"] and self.landscape is None:
            raise t.TraitError(
                f"expected a resolution of at most {self._allowed['max_resolution']}, got {proposal['value']}; raise max_resolution="
            )
        return proposal["value"]

    @t.validate("direction_x", "direction_y")
    def _valid_direction(self, proposal: Any) -> str:
        keys = [entry["key"] for entry in self.catalog]
        if keys and proposal["value"] not in keys:
            raise t.TraitError(f"expected a direction of the catalog ({', '.join(keys)}), got {proposal['value']!r}")
        return proposal["value"]

    def set_state(self, sync_data: dict[str, Any]) -> None:
        """Apply what a page (or ``jslink``) sets: only what a page may change; the lock keeps the engine's updates apart."""
        allowed = {
            name: value
            for name, value in sync_data.items()
            if name in _WISHES or name in ("layout", "tabbable", "tooltip")
        }
        with self._trait_lock:
            super().set_state(allowed)

    def publish(self, **traits: Any) -> None:
        """Set traits from the engine's thread, together."""
        with self._trait_lock, self.hold_sync():
            for name, value in traits.items():
                setattr(self, name, value)

    def show(self, landscape: Landscape, *, new_epoch: bool = False, caption_too: bool = True) -> None:
        """Show a landscape; a new epoch is one of another plane, window or resolution."""
        with self._trait_lock:
            self.landscape = landscape
            self._publisher.show(picture(landscape), new_epoch=new_epoch)
        if caption_too:
            self.publish(caption=caption(landscape))

    def flush(self) -> bool:
        """Send what waits for its turn; True while something still waits."""
        with self._trait_lock:
            return self._publisher.flush()

    def on_page(self, callback: Callable[[str], None]) -> None:
        """Call ``callback("hello" | "ping")`` when a page shows a sign of life."""
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
            status="done",
            progress=1.0,
            window=landscape.recipe.window,
        )
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
            if publisher.current is not None and (epoch, seq) != (publisher.epoch, publisher.seq):
                publisher.repeat()
            self.send({"kind": "hello_ack", "client": client, "epoch": publisher.epoch, "seq": publisher.seq})
        self._tell("hello")

    def _wish(self, client: str, rev: int, params: Mapping[Any, Any]) -> None:
        with self._trait_lock:
            if self._confirmed.get(client, -1) >= rev:
                return
            wishes = {name: value for name, value in params.items() if name in _WISHES and _is_plain(value)}
            refused = []
            # Together, so that swapping the two directions is one change and not two planes.
            with self.hold_sync(), self.hold_trait_notifications():
                for name, value in wishes.items():
                    before = getattr(self, name)
                    try:
                        setattr(self, name, self._coerce(name, value))
                    except (t.TraitError, ValueError, TypeError):
                        setattr(self, name, before)
                        refused.append(name)
            recent = list(self._confirmed.items())[-_MAX_CLIENTS + 1 :]
            self._confirmed = {**dict(recent), client: rev}
            if refused and self.comm is not None:
                self.send_state(refused)

    def _coerce(self, name: str, value: Any) -> Any:
        """The value a page wished, validated at once.

        Inside hold_trait_notifications traitlets puts cross-validation off to the end, where one bad value would spoil all.
        """
        trait = self.traits()[name]
        value = (
            float(value)
            if isinstance(trait, t.Float) and isinstance(value, int) and not isinstance(value, bool)
            else value
        )
        value = trait._validate(self, value)
        if name == "resolution" and value not in self.resolutions:
            raise t.TraitError(f"resolution {value} is not offered")
        if name in ("direction_x", "direction_y") and value not in [entry["key"] for entry in self.catalog]:
            raise t.TraitError(f"direction {value!r} is not in the catalog")
        if isinstance(value, float) and not math.isfinite(value):
            raise t.TraitError(f"{name} must be finite")
        return value

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
        For anything that is no landscape, and for unknown keywords.
    """
    if not isinstance(landscape, Landscape):
        raise TypeError(f"expected a Landscape (from compute, survey or load), got {type(landscape).__name__}")
    return LandscapeWidget(landscape, **settings)


def _asset(name: str) -> str:
    """A built file of the page; empty where it is not built, which is said when the widget is displayed."""
    path = _STATIC / name
    return path.read_text(encoding="utf-8") if path.exists() else ""


def _is_client(value: Any) -> bool:
    return isinstance(value, str) and 0 < len(value) <= 32


def _is_count(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and -1 <= value < 2**53


def _is_plain(value: Any) -> bool:
    return isinstance(value, (bool, int, float)) or (isinstance(value, str) and len(value) <= 64)


__all__ = ["LandscapeWidget", "Picture", "view"]
