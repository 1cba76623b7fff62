"""Seeds of random vectors that must not depend on each other, though the user gives one seed for all."""

from __future__ import annotations

from typing import Literal

# Any order will do, but it stays, so that results do.
_STREAMS = ("first", "second", "density", "copies", "warm start")


def other_stream(seed: int, name: Literal["second", "density", "copies", "warm start"] = "second") -> int:
    """A seed for vectors that must not depend on those of ``seed``, nor on those of the streams of other names.

    What is found from one stream may be known to an estimate that draws from another: pairs of a Lanczos run, say, to
    the density's probes.
    """
    return (seed + 0x5EED * _STREAMS.index(name)) % 2**32
