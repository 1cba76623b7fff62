"""The Jupyter side: widgets and captions made from landscapes. It knows nothing of torch.

``landscape_widget.view`` is this package and, as users call it, the function :func:`landscape_widget.view.widget.view`.
Importing a package sets the name in its parent, whatever that resolves it to, so the package itself can be called.
"""

from __future__ import annotations

import importlib
import inspect
import sys
from types import ModuleType
from typing import Any


class _View(ModuleType):
    # The package as the function, also for whoever asks for help; the function is imported when it is needed.

    @property
    def __wrapped__(self) -> Any:
        return importlib.import_module(f"{__name__}.widget").view

    @property
    def __signature__(self) -> inspect.Signature:
        return inspect.signature(self.__wrapped__)

    @property
    def __doc__(self) -> str | None:  # pyright: ignore[reportIncompatibleVariableOverride]
        return self.__wrapped__.__doc__

    def __call__(self, landscape: Any, **settings: Any) -> Any:
        return self.__wrapped__(landscape, **settings)


sys.modules[__name__].__class__ = _View
