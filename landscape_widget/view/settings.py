"""What a widget's traits may be set to, in words: a wrong value is refused with what was expected, not in traitlets' terms."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import numpy as np
import traitlets as t

from landscape_widget.interpolate import check_resolution, exponent

# What a page may ask for: looks always, the rest where there is an engine.
LOOKS = ("saddles", "log_scale", "colormap", "contours")
WISHES = (*LOOKS, "direction_x", "direction_y", "resolution", "window", "zoom", "running")
SETTINGS = (*WISHES, "height", "layout")
"""Traits that can be given when a widget is made."""

WINDOWS = ("saddle", "wide")
COLORMAPS = ("viridis", "cividis", "magma", "greys")
_SWITCH = "True or False"
_EXPECTED = {
    "saddles": "a number from 0 (off) to 1 (strong)",
    "log_scale": _SWITCH,
    "colormap": ", ".join(map(repr, COLORMAPS[:-1])) + f" or {COLORMAPS[-1]!r}",
    "contours": _SWITCH,
    "direction_x": "the key of a direction, such as 'largest-1'",
    "direction_y": "the key of a direction, such as 'smallest-1'",
    "resolution": "an integer 2^k + 1 (5, 9, 17, 33, 65, ...)",
    "window": "'saddle' or 'wide'",
    "zoom": "an integer from -4 to 4 (half-widths are multiplied by 2^zoom)",
    "running": f"{_SWITCH} (False stops, True goes on)",
    "height": "an integer from 120 to 4000, in pixels",
    "layout": "an ipywidgets.Layout or a dict of its properties",
}


class SettingError(t.TraitError, ValueError):
    """A value that a trait cannot have: a ValueError to whoever gives settings, a TraitError to traitlets."""


def checked(trait: Any, value: Any) -> Any:
    """A setting as its trait takes it.

    Raises
    ------
    SettingError
        For what the trait cannot be; stricter than traitlets, to whom a bool is a number, and NaN one in every range.
    """
    # numpy's numbers are as good as Python's.
    value = value.item() if isinstance(value, np.generic) else value
    try:
        if isinstance(value, bool) == isinstance(trait, t.Bool):
            value = trait.validate(None, value)
            if not isinstance(value, float) or math.isfinite(value):
                return value
    except (t.TraitError, ValueError, TypeError, OverflowError):
        pass
    raise SettingError(f"expected {trait.name} as {_EXPECTED[str(trait.name)]}, got {value!r}")


def checked_settings(widget: type[t.HasTraits], settings: Mapping[str, Any]) -> dict[str, Any]:
    """All of some settings, checked, for a widget of this class.

    Raises
    ------
    SettingError
        For the first that its trait cannot be.
    TypeError, ValueError
        For a resolution that is none, naming the nearest two.
    """
    if "resolution" in settings:
        check_resolution(settings["resolution"])
    return {name: checked(getattr(widget, name), value) for name, value in settings.items()}


def resolutions(finest: int, wished: int | None) -> dict[str, Any]:
    """The resolutions offered up to the finest allowed, and the first one: 65 or what is wished.

    Raises
    ------
    TypeError, ValueError
        For what is not 2^k + 1 or more than 2¹² + 1, and for a first one beyond the finest.
    """
    check_resolution(finest)
    offered = [2**k + 1 for k in range(2, exponent(finest) + 1)] or [int(finest)]
    if wished is None:
        return {"resolutions": offered, "resolution": min(65, int(finest))}
    exponent(wished)
    if wished > finest:
        raise ValueError(f"expected a resolution of at most {finest}, got {wished}; raise max_resolution=")
    return {"resolutions": offered, "resolution": int(wished)}
