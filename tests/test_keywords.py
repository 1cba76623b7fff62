"""Every public function says what it would have taken for a keyword that it does not know, and warns at the caller's line."""

from __future__ import annotations

import dataclasses
import inspect
import warnings
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import landscape_widget as lw
from landscape_widget import examples
from landscape_widget.keywords import keywords


def public_callables() -> dict[str, Callable[..., Any]]:
    """All that a user calls with keywords.

    Frozen values are made by the package, and their constructors are Python's; settings of a widget are its traits
    (tests/view/test_widget.py).
    """
    found = {f"lw.{name}": getattr(lw, name) for name in lw.__all__}
    found |= {f"examples.{name}": getattr(examples, name) for name in examples.__all__}
    found |= {"Landscape.save": lw.Landscape.save, "HessianDirections.extend": lw.HessianDirections.extend}
    return {
        name: each
        for name, each in found.items()
        if callable(each) and not dataclasses.is_dataclass(each) and each not in (lw.LandscapeWidget, lw.view)
    }


CALLABLES = public_callables()


def misspelt(name: str) -> str:
    return name[:-1] + 2 * name[-1]


def test_none_is_forgotten() -> None:
    assert len(CALLABLES) >= 30
    assert {
        "lw.trace",
        "lw.Hessian",
        "lw.Plane",
        "lw.explore",
        "lw.iter_hessian_directions",
        "examples.quadratic",
    } <= CALLABLES.keys()


@pytest.mark.parametrize("name", CALLABLES)
def test_a_misspelt_keyword_names_the_nearest(name: str) -> None:
    function = CALLABLES[name]
    known, parameters = keywords(function), inspect.signature(function).parameters.values()
    needed = sum(p.default is p.empty and p.kind is p.POSITIONAL_OR_KEYWORD for p in parameters)
    assert known, "nothing to misspell"
    for keyword in known:
        given: dict[str, Any] = {misspelt(keyword): None}
        with pytest.raises(TypeError, match=f"unexpected keyword '{misspelt(keyword)}'; did you mean '{keyword}'"):
            function(*[None] * needed, **given)


FORWARD: dict[str, Any] = {"num_probes": 4, "method": "forward"}


@pytest.mark.parametrize(
    ("function", "settings"),
    [
        (lw.trace, FORWARD),
        (lw.mean_curvature, FORWARD),
        (lw.frobenius_norm, FORWARD),
        (lw.trace_ratio, FORWARD),
        (lw.spectral_moments, FORWARD),
        (lw.hessian_directions, {"k": 21}),
        (lambda problem, k: lw.hessian_directions(problem, k=1).extend(k), {"k": 21}),
        (lambda problem, k: next(lw.iter_hessian_directions(problem, k=k)), {"k": 21}),
        (lw.spectral_density, {"num_probes": 1}),
    ],
    ids=["trace", "mean", "norm", "ratio", "moments", "pairs", "more pairs", "pairs one by one", "density"],
)
def test_warnings_point_at_the_line_of_the_caller(
    function: Callable[..., Any], settings: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("landscape_widget.engine.basis._BYTES", 100)
    monkeypatch.setattr("landscape_widget.engine.density._LEAST_STEPS", 2)
    monkeypatch.setattr("landscape_widget.engine.forward_only.ForwardDifferences.biases", lambda _: (1e6, 1e6))
    problem = examples.quadratic(np.linspace(-1, 2, 20))
    with warnings.catch_warnings(record=True) as seen:
        warnings.simplefilter("always")
        function(problem, **settings)
    assert seen
    assert {each.filename for each in seen} == {__file__}


def test_a_density_keeps_no_more_vectors_than_memory_allows(monkeypatch: pytest.MonkeyPatch) -> None:
    problem = examples.quadratic(np.linspace(-1, 1, 60))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        full = lw.spectral_density(problem, num_probes=1, num_steps=40)
        few = lw.spectral_density(problem, num_probes=1, num_steps=40, max_basis=30)
    assert (full.num_steps, full.num_matvecs) == (40, 40)
    assert (few.num_steps, few.num_matvecs) == (30, 30)
    monkeypatch.setattr("landscape_widget.engine.basis._BYTES", 60 * 8 * 26)
    message = "num_steps = 40 asked for, but 1 GiB holds 26 vectors; max_basis=40 allows as many steps"
    with pytest.warns(UserWarning, match=message):
        bounded = lw.spectral_density(problem, num_probes=1, num_steps=40)
    assert (bounded.num_steps, bounded.num_matvecs) == (26, 26)
    monkeypatch.setattr("landscape_widget.engine.basis._BYTES", 1)
    with pytest.warns(UserWarning, match="holds 24 vectors"):
        assert lw.spectral_density(problem, num_probes=1).num_steps == 24
    assert lw.spectral_density(problem, num_probes=1, max_basis=50, num_steps=50).num_matvecs == 50
    with pytest.raises(ValueError, match="expected max_basis of at least 1, got 0"):
        lw.spectral_density(problem, max_basis=0)
