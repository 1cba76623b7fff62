"""What a caller has switched on in torch for code of their own, inference mode or autocast, does not reach into the engine."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager

import torch

# Kinds of devices that autocast is switched on for, one by one.
_DEVICES = ("cpu", "cuda", "mps", "xpu")


@contextmanager
def own_modes() -> Iterator[None]:
    """No inference mode, in which nothing has a gradient, and no autocast, which computes another function; else as it was.

    Also a decorator of functions, but not of generators: their steps are in whatever mode the caller is.
    """
    if not torch.is_inference_mode_enabled() and not any(map(torch.is_autocast_enabled, _DEVICES)):
        # Entered around every pass: the ordinary case costs next to nothing.
        yield
        return
    with ExitStack() as stack:
        if torch.is_inference_mode_enabled():
            # Leaving inference mode would switch gradients on as well.
            records = torch.is_grad_enabled()
            stack.enter_context(torch.inference_mode(False))
            stack.enter_context(torch.set_grad_enabled(records))
        stack.enter_context(full_precision())
        yield


@contextmanager
def full_precision() -> Iterator[None]:
    """No autocast."""
    with ExitStack() as stack:
        for device in _DEVICES:
            if torch.is_autocast_enabled(device):
                stack.enter_context(torch.autocast(device, enabled=False))
        yield
