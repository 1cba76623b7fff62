"""See the loss of a neural network: a surface to turn, along the directions that matter, with every number's error beside it.

Names are resolved on first use (PEP 562), so that importing the package, or opening a saved landscape, does not load
torch.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

__version__ = "0.1.0"

_HOMES = {
    "CriticalPoint": "landscape",
    "Curvature": "landscape",
    "Direction": "landscape",
    "Estimate": "spectrum",
    "Hessian": "engine.operators",
    "HessianDirections": "engine.directions",
    "Landscape": "landscape",
    "LandscapeWidget": "view.widget",
    "Plane": "engine.plane",
    "PredictionError": "landscape",
    "Problem": "engine.problem",
    "QuadraticRange": "spectrum",
    "RandomPlanes": "spectrum",
    "Recipe": "landscape",
    "RitzPairs": "engine.ritz",
    "Slice": "slice",
    "SpectralDensity": "spectrum",
    "SpectralMoments": "spectrum",
    "compute": "engine.survey",
    "explore": "exploration",
    "frobenius_norm": "engine.moments",
    "gradient_direction": "engine.directions",
    "hessian_directions": "engine.directions",
    "iter_hessian_directions": "engine.directions",
    "load": "landscape",
    "mean_curvature": "engine.moments",
    "quadratic_range": "engine.kinks",
    "random_directions": "engine.directions",
    "random_planes": "engine.random_planes",
    "random_planes_by_formula": "engine.random_planes",
    "random_planes_from_density": "engine.random_planes",
    "slice_along": "engine.slices",
    "spectral_density": "engine.density",
    "spectral_moments": "engine.moments",
    "survey": "engine.survey",
    "trace": "engine.moments",
    "trace_ratio": "engine.moments",
    "view": "view.widget",
}

__all__ = ["__version__", *sorted(_HOMES)]

if TYPE_CHECKING:
    from landscape_widget.engine.density import spectral_density
    from landscape_widget.engine.directions import (
        HessianDirections,
        gradient_direction,
        hessian_directions,
        iter_hessian_directions,
        random_directions,
    )
    from landscape_widget.engine.kinks import quadratic_range
    from landscape_widget.engine.moments import frobenius_norm, mean_curvature, spectral_moments, trace, trace_ratio
    from landscape_widget.engine.operators import Hessian
    from landscape_widget.engine.plane import Plane
    from landscape_widget.engine.problem import Problem
    from landscape_widget.engine.random_planes import (
        random_planes,
        random_planes_by_formula,
        random_planes_from_density,
    )
    from landscape_widget.engine.ritz import RitzPairs
    from landscape_widget.engine.slices import slice_along
    from landscape_widget.engine.survey import compute, survey
    from landscape_widget.exploration import explore
    from landscape_widget.landscape import (
        CriticalPoint,
        Curvature,
        Direction,
        Landscape,
        PredictionError,
        Recipe,
        load,
    )
    from landscape_widget.slice import Slice
    from landscape_widget.view.widget import LandscapeWidget, view


def __getattr__(name: str) -> Any:
    if name in _HOMES:
        return getattr(importlib.import_module(f"{__name__}.{_HOMES[name]}"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted({*globals(), *_HOMES})
