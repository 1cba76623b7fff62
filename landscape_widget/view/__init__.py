"""The Jupyter side: widgets and captions made from landscapes. It knows nothing of torch.

``landscape_widget.view`` is this package and, as users call it, the function :func:`landscape_widget.view.widget.view`.
Importing a package sets the name in its parent, whatever that resolves it to, so the package itself can be called.
"""

from __future__ import annotations

import sys
from types import ModuleType
from typing import Any


class _View(ModuleType):
    def __call__(self, landscape: Any, **settings: Any) -> Any:
        from landscape_widget.view.widget import view

        return view(landscape, **settings)


sys.modules[__name__].__class__ = _View
