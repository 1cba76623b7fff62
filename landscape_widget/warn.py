"""Warnings that point at the line of the user's that they are about."""

from __future__ import annotations

import sys
import warnings


def warn(message: str) -> None:
    """A UserWarning at the innermost line outside of this package, however deep inside of it the reason lies."""
    frame, level = sys._getframe(), 1
    # With contextlib, which stands between where a function is decorated with a context. From Python 3.12 on
    # `skip_file_prefixes` of warnings.warn does this.
    inside = __name__.partition(".")[0], "contextlib"
    while frame.f_back is not None and frame.f_globals.get("__name__", "").partition(".")[0] in inside:
        frame, level = frame.f_back, level + 1
    warnings.warn(message, stacklevel=level)
