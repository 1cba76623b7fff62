"""The spectrum as the page is sent it: every number finite, a curve that counts eigenvalues, words that claim what is known."""

from __future__ import annotations

import dataclasses
import json
import math
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from landscape_widget.landscape import Curvature
from landscape_widget.spectrum import Estimate, QuadraticRange, RandomPlanes, SpectralDensity, SpectralMoments
from landscape_widget.view.spectrum import signed_scale, spectrum_entry
from landscape_widget.view.widget import LandscapeWidget, view

from .landscapes import CURVATURE, landscape, recipe

SOME = Estimate(0.25, 0.03, 64)
PLANES = RandomPlanes("none", "sampled", Estimate(0.7, 0.05, 64), SOME, Estimate(0.05, 0.01, 64), critical=False)


def density(nodes: Any, weights: Any = None, *, n: int = 1000, probes: Any = 0, **more: Any) -> SpectralDensity:
    """A density with the given nodes; of one probe unless told."""
    nodes = np.asarray(nodes, dtype=float)
    weights = np.full(len(nodes), 1 / len(nodes)) if weights is None else np.asarray(weights, dtype=float)
    probes = np.broadcast_to(probes, nodes.shape)
    return SpectralDensity(nodes, weights, probes, n, max(1, len(set(probes[probes >= 0]))), 64, 64, **more)


def text(entry: dict[str, Any], key: str) -> str:
    return next(number["text"] for number in entry["numbers"] if number["key"] == key)


class TestCurve:
    def test_one_eigenvalue_alone_has_a_peak_of_one(self):
        n = 1000
        weights = [1 / n, (n - 3) / n, 2 / n]
        entry = spectrum_entry(density([-1.0, 0.01, 50.0], weights, n=n, bulk=(0.01, 0.01)), None, done=True)
        grid, counts = np.array(entry["grid"]), np.array(entry["counts"])
        assert counts[grid < -0.5].max() == pytest.approx(1, abs=0.05)
        assert counts[np.abs(grid - 0.01) < 0.02].max() == pytest.approx(n - 3, rel=0.05)
        assert counts[grid > 10].max() == pytest.approx(2, rel=0.05)
        assert grid[counts[grid > 10].argmax() + (grid <= 10).sum()] == pytest.approx(50, rel=0.03)

    def test_its_area_over_the_axis_is_the_number_of_eigenvalues(self):
        generator = np.random.default_rng(0)
        shown = density([*generator.normal(0.0, 0.1, 200).tolist(), 3.0, 4.0], n=8970)
        entry = spectrum_entry(shown, None, done=True)
        places = np.arcsinh(np.array(entry["grid"]) / entry["scale"])
        area = np.trapezoid(entry["counts"], places) / (entry["bandwidth"] * math.sqrt(2 * math.pi))
        assert area == pytest.approx(8970, rel=1e-3)

    def test_the_grid_is_even_on_the_axis_and_holds_every_node(self):
        entry = spectrum_entry(density([-0.02, 0.5, 2.84]), None, done=True)
        places = np.arcsinh(np.array(entry["grid"]) / entry["scale"])
        assert len(entry["grid"]) == len(entry["counts"]) <= 256
        np.testing.assert_allclose(np.diff(places), np.diff(places)[0], rtol=1e-3)
        assert entry["grid"][0] < -0.02
        assert entry["grid"][-1] > 2.84

    def test_what_was_counted_goes_with_it(self):
        entry = spectrum_entry(density([-1.0, 0.0, 5.0], outliers=(5.0, -1.0), bulk=(0.0, 0.0)), CURVATURE, done=False)
        assert entry["outliers"] == [5.0, -1.0]
        assert entry["bulk"] == [0.0, 0.0]
        assert (entry["num_parameters"], entry["num_probes"], entry["num_matvecs"]) == (1000, 1, 64)
        assert entry["noise"] == CURVATURE.noise
        assert entry["done"] is False

    def test_one_eigenvalue_many_times(self):
        for value in (2.0, -2.0, 0.0, 1e-300, 1e300):
            entry = spectrum_entry(density([value, value]), None, done=True)
            assert max(entry["counts"]) == pytest.approx(1000, rel=0.1)
            assert entry["grid"] == sorted(entry["grid"])

    @pytest.mark.parametrize("values", [(-0.5, 100.0), (-1.0, 0.001), (3.0, 4.0), (-7.0, -2.0)])
    def test_the_scale_lies_among_the_magnitudes(self, values):
        sizes = sorted(map(abs, values))
        assert signed_scale(*values) == max(sizes[0], sizes[1] / 1000)


class TestNumbers:
    def test_everything_known(self):
        shown = density(np.r_[-1.0, np.zeros(98), 2.84], probes=np.arange(100) % 2, n=100)
        entry = spectrum_entry(shown, CURVATURE, 1e-5, PLANES, done=True)
        assert [number["key"] for number in entry["numbers"]] == [
            "lambda_max",
            "lambda_min",
            "trace",
            "trace_ratio",
            "gradient",
            "planes",
        ]
        assert all(number["help"].endswith(".") for number in entry["numbers"])
        assert text(entry, "lambda_max") == "2.84 ± 0.002"
        assert text(entry, "lambda_min") == "−1 ± 0.01"
        assert text(entry, "gradient") == "1·10⁻⁵"
        assert entry["planes"] == PLANES.in_words()

    def test_what_is_to_come_is_listed_and_what_never_comes_is_not(self):
        waiting = spectrum_entry(None, CURVATURE, 0.5, done=False)
        assert [number["text"] == "" for number in waiting["numbers"]] == [False, False, True, True, False, True, True]
        assert "grid" not in waiting
        done = spectrum_entry(None, CURVATURE, 0.5, done=True)
        assert [number["key"] for number in done["numbers"]] == ["lambda_max", "lambda_min", "gradient"]

    def test_a_ritz_value_is_a_bound_until_it_has_converged(self):
        early = dataclasses.replace(CURVATURE, converged=False)
        assert text(spectrum_entry(None, early, done=False), "lambda_max") == "≥ 2.84, not converged yet"
        assert text(spectrum_entry(None, early, done=False), "lambda_min") == "≤ −1, not converged yet"
        alone = spectrum_entry(density([-3.0, 0.0, 7.0]), None, done=False)
        assert (text(alone, "lambda_max"), text(alone, "lambda_min")) == ("≥ 7", "≤ −3")

    def test_an_end_that_has_converged_is_told_before_the_others_have(self):
        early = dataclasses.replace(
            CURVATURE, converged=False, largest_converged=(True, False), smallest_converged=(False, True)
        )
        entry = spectrum_entry(None, early, done=False)
        assert text(entry, "lambda_max") == "2.84 ± 0.002"
        assert text(entry, "lambda_min") == "≤ −1, not converged yet"

    def test_a_node_beyond_the_ends_that_were_found_is_told(self):
        entry = spectrum_entry(density([-3.0, 0.0, 2.8401]), CURVATURE, done=True)
        assert text(entry, "lambda_min") == "≤ −3"
        assert text(entry, "lambda_max") == "2.84 ± 0.002"

    def test_estimates_have_the_digits_that_are_known(self):
        estimate = Estimate(1234.5, 0.0, 64)
        moments = SpectralMoments(
            dataclasses.replace(estimate, mean=36.3, sem=12.3),
            estimate,
            dataclasses.replace(estimate, mean=-0.2249, sem=0.6),
            estimate,
            "hutchinson",
            64,
            1000,
        )
        entry = spectrum_entry(density([0.0, 1.0]), None, moments=moments, done=True)
        assert text(entry, "trace") == "36 ± 12"
        assert text(entry, "trace_ratio") == "−0.2 ± 0.6"

    def test_one_probe_has_no_error_and_a_zero_hessian_no_ratio(self):
        assert text(spectrum_entry(density([0.0, 1.0]), None, done=True), "trace") == "500, error not known yet"
        zero = spectrum_entry(density([0.0, 0.0], probes=[0, 1]), None, done=True)
        assert text(zero, "trace_ratio") == "not defined"

    @pytest.mark.parametrize("critical", [True, False, None])
    def test_only_a_critical_point_shows_a_saddle(self, critical):
        words = text(
            spectrum_entry(None, None, planes=dataclasses.replace(PLANES, critical=critical), done=True), "planes"
        )
        seen = "show a saddle" if critical else "curve both up and down"
        assert words == f"25 ± 3 % {seen} (Gaussian axes, sampled)"

    def test_planes_that_are_all_flat_are_told_so(self):
        none = Estimate(0.0, 0.14, 9)
        flat = dataclasses.replace(PLANES, minimum=none, saddle=none, maximum=none)
        assert text(spectrum_entry(None, None, planes=flat, done=True), "planes") == "all flat (Gaussian axes, sampled)"

    @pytest.mark.parametrize("kind", ["none", "unit", "filter", "layer"])
    @pytest.mark.parametrize("method", ["sampled", "density", "formula"])
    def test_kind_and_method_are_those_of_the_whole_sentence(self, kind, method):
        planes = dataclasses.replace(PLANES, kind=kind, method=method)
        axes, origin = (
            text(spectrum_entry(None, None, planes=planes, done=True), "planes").split(" (")[1][:-1].split(", ")
        )
        assert f"with {axes}," in planes.in_words()
        assert f"({origin})" in planes.in_words()

    def test_it_never_speaks_of_a_minimum_in_full_space(self):
        positive = dataclasses.replace(CURVATURE, smallest=(0.5, 0.6), num_negative=0)
        entry = spectrum_entry(density([0.5, 2.84]), positive, 0.0, PLANES, done=True)
        assert "minimum" not in json.dumps(entry["numbers"])


ANY = st.floats(allow_nan=True, allow_infinity=True)


class TestFinite:
    @settings(max_examples=150, deadline=None)
    @given(st.data())
    def test_json_takes_it_whatever_the_density(self, data):
        size = data.draw(st.integers(1, 6))
        numbers = st.lists(ANY, min_size=size, max_size=size)
        probes = np.array(data.draw(st.lists(st.integers(0, 1), min_size=size, max_size=size)))
        probes[0] = 0
        shown = SpectralDensity(
            np.array(data.draw(numbers)),
            np.array(data.draw(numbers)),
            probes,
            data.draw(st.integers(1, 10**12)),
            int(probes.max()) + 1,
            64,
            64,
            outliers=tuple(data.draw(st.lists(ANY, max_size=3))),
            bulk=(data.draw(ANY), data.draw(ANY)),
        )
        ends = data.draw(st.lists(ANY, min_size=6, max_size=6))
        curvature = Curvature((ends[0],), (ends[1],), (ends[2],), (ends[3],), 0, ends[4], 1, data.draw(st.booleans()))
        estimate = Estimate(data.draw(ANY), data.draw(ANY), 1)
        planes = dataclasses.replace(PLANES, saddle=estimate)
        entry = spectrum_entry(shown, curvature, ends[5], planes, done=data.draw(st.booleans()))
        json.dumps(entry, allow_nan=False)
        assert all(isinstance(number["text"], str) for number in entry["numbers"])
        if "grid" in entry:
            assert len(entry["grid"]) == len(entry["counts"])
            assert entry["scale"] > 0


class TestTrait:
    def test_unknown_until_it_is_told_and_a_page_cannot_set_it(self):
        widget = LandscapeWidget()
        assert widget.spectrum == {}
        widget.set_state({"spectrum": {"numbers": ["forged"]}})
        assert widget.spectrum == {}
        widget.publish(spectrum=spectrum_entry(None, CURVATURE, done=False))
        assert widget.get_state(["spectrum"])["spectrum"]["done"] is False

    def test_a_saved_landscape_tells_what_its_recipe_holds(self):
        entry = view(landscape(of=recipe())).spectrum
        assert entry["done"] is True
        assert text(entry, "lambda_max") == "2.84 ± 0.002"
        assert text(entry, "gradient") == "1·10⁻⁵"


def reaching(radius: float) -> QuadraticRange:
    return QuadraticRange(radius, 1.0, (0.1, 0.03, 0.01), (1.0, 1.0, 1.0))


@pytest.mark.parametrize(
    ("ranges", "text"),
    [
        ([], ""),
        ([("λ₁", reaching(0.1)), ("λₙ", reaching(0.01))], "≥ 0.1 along λ₁, ± 0.01 along λₙ"),
        ([("λₙ", reaching(0.0))], "not at all along λₙ"),
    ],
)
def test_how_far_the_hessian_describes_the_loss(ranges: list[tuple[str, QuadraticRange]], text: str) -> None:
    numbers = spectrum_entry(None, None, ranges=ranges, done=False)["numbers"]
    assert {entry["key"]: entry["text"] for entry in numbers}["range"] == text
