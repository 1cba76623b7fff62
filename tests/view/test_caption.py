"""Sentences: every claim is proven, every number has its unit or its error."""

from __future__ import annotations

import dataclasses
import re
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from landscape_widget.landscape import Curvature, Direction, PredictionError
from landscape_widget.view.caption import caption, verdict

from .landscapes import CURVATURE, RECIPE, X, Y, landscape, recipe


def curvature(**changes: Any) -> Curvature:
    return dataclasses.replace(CURVATURE, **changes)


NOTHING_NEGATIVE = curvature(smallest=(1e-9, 2e-9), num_negative=0, unseen_below=-0.02)


class TestVerdict:
    def test_a_saddle(self):
        assert verdict(recipe(gradient_norm=1e-5)) == (
            "The trained point is a saddle: ‖∇L‖ = 1·10⁻⁵, at least 2 negative eigenvalues."
        )

    def test_one_negative_eigenvalue_is_one(self):
        assert verdict(recipe(curvature=curvature(num_negative=1))).endswith("at least 1 negative eigenvalue.")

    def test_a_proven_one_is_one_even_if_no_ritz_value_says_so(self):
        assert "at least 1 negative eigenvalue" in verdict(recipe(curvature=curvature(num_negative=0)))

    def test_negative_curvature_where_the_gradient_is_not_small(self):
        sentence = verdict(recipe(gradient_norm=0.8))
        assert sentence.startswith("Negative curvature at a non-stationary point: at least 2 negative eigenvalues")
        assert "‖∇L‖ = 0.8" in sentence
        assert "saddle" not in sentence

    def test_the_gradient_is_compared_with_the_negative_curvature_itself(self):
        # Small against λ_max = 2.84, not against λ_min = −1e-4.
        slight = curvature(smallest=(-1e-4, -1e-5))
        assert "non-stationary" in verdict(recipe(curvature=slight, gradient_norm=1e-3))

    def test_negative_curvature_within_the_noise_proves_nothing(self):
        noisy = curvature(smallest=(-1e-7, 0.0), noise=1e-6, num_negative=0)
        sentence = verdict(recipe(curvature=noisy))
        assert "no negative curvature" in sentence
        assert "saddle" not in sentence

    def test_an_unconverged_pair_proves_negative_curvature_too(self):
        loose = curvature(smallest_residuals=(0.9, 0.9), converged=False)
        assert "is a saddle" in verdict(recipe(curvature=loose))

    def test_nothing_negative_found_is_said_with_its_bound(self):
        assert verdict(recipe(curvature=NOTHING_NEGATIVE, gradient_norm=1e-3)) == (
            "Not exactly a critical point (‖∇L‖ = 0.001); no negative curvature below −0.02 found (99 %)."
        )

    def test_only_a_gradient_of_round_off_makes_a_critical_point_where_nothing_is_negative(self):
        # Along a direction without curvature even a small gradient leads far down.
        sentence = verdict(recipe(curvature=NOTHING_NEGATIVE, gradient_norm=1e-9))
        assert sentence.startswith("A critical point up to round-off (‖∇L‖ = 1·10⁻⁹)")

    def test_the_bound_is_never_better_than_the_noise(self):
        known = dataclasses.replace(NOTHING_NEGATIVE, unseen_below=0.3)
        assert "below −1·10⁻⁶ found (99 %)" in verdict(recipe(curvature=known))

    def test_without_a_bound_none_is_claimed(self):
        sentence = verdict(recipe(curvature=dataclasses.replace(NOTHING_NEGATIVE, unseen_below=None)))
        assert "no negative curvature found, without a bound" in sentence
        assert "%" not in sentence

    def test_a_point_with_a_gradient_is_not_called_critical(self):
        sentence = verdict(recipe(curvature=NOTHING_NEGATIVE, gradient_norm=3.0))
        assert sentence.startswith("Not exactly a critical point (‖∇L‖ = 3)")

    def test_no_positive_curvature_is_no_saddle(self):
        hill = curvature(largest=(-0.5, -0.7))
        sentence = verdict(recipe(curvature=hill))
        assert "saddle" not in sentence
        assert "no positive curvature was found" in sentence

    @pytest.mark.parametrize("found", [CURVATURE, NOTHING_NEGATIVE])
    def test_an_unknown_gradient_is_said(self, found: Curvature):
        sentence = verdict(recipe(curvature=found, gradient_norm=None))
        assert "gradient was not computed" in sentence
        assert "∞" not in sentence
        assert "is a saddle" not in sentence

    def test_nothing_known_nothing_said(self):
        assert verdict(recipe(curvature=None)) == ""

    NUMBERS = st.floats(-1e6, 1e6)

    @given(
        st.tuples(NUMBERS, NUMBERS),
        st.tuples(NUMBERS, NUMBERS),
        st.floats(0, 1e3),
        st.none() | st.floats(0, 1e3),
        st.none() | NUMBERS,
        st.floats(0, 10),
    )
    def test_it_never_claims_more_than_is_proven(
        self,
        largest: tuple[float, float],
        smallest: tuple[float, float],
        noise: float,
        gradient: float | None,
        below: float | None,
        theta_norm: float,
    ):
        found = curvature(largest=largest, smallest=smallest, noise=noise, unseen_below=below)
        sentence = verdict(recipe(curvature=found, gradient_norm=gradient, theta_norm=theta_norm))
        assert "minimum" not in sentence
        assert "full space" not in sentence
        if "is a saddle" in sentence:
            assert smallest[0] < -noise
            assert largest[0] > noise
            assert gradient is not None
            assert gradient <= 0.01 * abs(smallest[0]) * (theta_norm or 1)
        if "no negative" in sentence:
            assert smallest[0] >= -noise


class TestAxes:
    def test_what_they_are_how_long_and_how_sure(self):
        assert caption(landscape())[0] == (
            "x: largest curvature, λ₁ = 2.84 ± 0.002 (±0.5 in ‖Δθ‖, 4 % of ‖θ*‖); "
            "y: smallest curvature, λₙ = −1 ± 0.01 (±0.25 in ‖Δθ‖, 2 % of ‖θ*‖)."
        )

    def test_the_unit_is_the_distance_whatever_the_axis_length(self):
        long = dataclasses.replace(X, norm=4.0)
        assert "±2 in ‖Δθ‖, 16 % of ‖θ*‖" in caption(landscape(of=recipe(directions=(long, Y))))[0]

    def test_a_whole_theta_is_a_hundred_per_cent(self):
        assert "±12.5 in ‖Δθ‖, 100 % of ‖θ*‖" in caption(landscape(of=recipe(spans=(12.5, 0.25))))[0]

    def test_no_share_of_a_theta_of_zero(self):
        assert "%" not in caption(landscape(of=recipe(theta_norm=0.0)))[0]

    def test_a_pair_that_has_not_converged_is_no_eigenvalue(self):
        loose = dataclasses.replace(X, converged=False, residual=0.4)
        sentence = caption(landscape(of=recipe(directions=(loose, Y))))[0]
        assert "vᵀHv = 2.84 ± 0.4, not converged: no eigenvalue yet" in sentence
        assert "λ₁" not in sentence

    def test_a_pair_that_sharpens(self):
        early = dataclasses.replace(X, preliminary=True, converged=False)
        assert (
            "x: largest curvature, vᵀHv = 2.84, still sharpening ("
            in caption(landscape(of=recipe(directions=(early, Y))))[0]
        )

    def test_a_pair_without_residual_claims_no_error(self):
        bare = dataclasses.replace(X, residual=None)
        assert "λ₁ = 2.84 (" in caption(landscape(of=recipe(directions=(bare, Y))))[0]

    def test_random_and_own_directions(self):
        random = Direction("random-0", "random", "r₁", "random (filter-normalized) 1, seed 0", norm=3.0)
        own = Direction("own-y", "own", "dy", "own direction y", curvature=0.3)
        sentence = caption(landscape(of=recipe(directions=(random, own), cosine=0.123)))[0]
        assert "x: random (filter-normalized) 1, seed 0 (±1.5 in ‖Δθ‖" in sentence
        assert "y: own direction y, curvature 0.3 (" in sentence
        assert sentence.endswith("The axes are not perpendicular (cosine 0.12).")


class TestHeight:
    def test_which_loss_of_what_over_how_many(self):
        assert caption(landscape())[1] == (
            "Height: mean CrossEntropyLoss of Net (8,970 parameters) over 1,437 data points, 0.5 at the trained point."
        )

    def test_a_loss_without_a_name(self):
        sentence = caption(landscape(of=recipe(loss="<lambda>")))[1]
        assert sentence.startswith("Height: mean loss of Net (8,970 parameters) over")

    def test_an_unknown_number_of_samples(self):
        sentence = caption(landscape(of=recipe(num_samples=None, center_loss=None)))[1]
        assert sentence == "Height: mean CrossEntropyLoss of Net (8,970 parameters) over the data."


class TestMissingDips:
    AXIS = np.linspace(-1, 1, 9)

    def said(self, losses: np.ndarray, **changes: Any) -> list[str]:
        return [s for s in caption(landscape(losses, of=recipe(**changes))) if "curves down" in s]

    def test_a_dip_that_is_seen_needs_no_words(self):
        assert self.said(np.add.outer(-(self.AXIS**2), self.AXIS**2)) == []

    def test_a_kink_where_the_hessian_curves_down_is_said(self):
        (sentence,) = self.said(np.add.outer(np.abs(self.AXIS), self.AXIS**2))
        assert sentence.startswith("Along y the Hessian curves down (vᵀHv = −1), but no cell lies below the centre")

    def test_the_axis_is_the_right_one(self):
        bowl = np.add.outer(self.AXIS**2, self.AXIS**2)
        (sentence,) = self.said(bowl, axis_curvature=(-0.5, 0.0, 1.0))
        assert sentence.startswith("Along x the Hessian curves down (vᵀHv = −0.5)")

    def test_a_curvature_within_the_noise_is_none(self):
        assert self.said(np.add.outer(self.AXIS**2, self.AXIS**2), axis_curvature=(1.0, 0.0, -1e-7)) == []

    def test_beside_unknown_cells_and_holes_nothing_is_said(self):
        losses = np.add.outer(self.AXIS**2, self.AXIS**2)
        losses[0, 4] = np.inf
        assert self.said(losses) == []


class TestCells:
    LOSSES = np.add.outer(np.linspace(-1, 1, 9) ** 2, np.linspace(-1, 1, 9))

    def cells(self, error: PredictionError | None = None, losses: Any = None, measured: Any = None) -> list[str]:
        losses = self.LOSSES if losses is None else losses
        if measured is None:
            measured = np.zeros((9, 9), bool)
            measured[::2, ::2] = True
        shown = landscape(np.where(measured, losses, np.nan), measured, error=error or PredictionError())
        sentences = caption(shown)
        return [s for s in sentences if "cell" in s and "Hessian" not in s]

    def test_all(self):
        assert self.cells(measured=np.ones((9, 9), bool)) == ["81 of 81 cells measured."]

    def test_predicted_ones_with_the_checked_bound(self):
        bound = PredictionError(bound=3e-4, num_checked=149)
        (sentence,) = self.cells(bound)
        assert sentence == (
            "25 of 81 cells measured, the others predicted; with 95 % confidence at least 98 % of the cells are within "
            "0.0003 (0.0001 of the range) of the loss."
        )

    def test_predicted_ones_with_an_estimate(self):
        assert self.cells(PredictionError(expected_largest=0.03)) == [
            "25 of 81 cells measured, the others predicted; largest error expected (an estimate): 0.03 (0.01 of the range)."
        ]

    def test_both_relative_to_what_the_tolerance_is_of(self):
        error = PredictionError(bound=3e-4, num_checked=158, expected_largest=0.01, range=5.0)
        (sentence,) = self.cells(error)
        assert sentence.endswith(
            "are within 0.0003 (6·10⁻⁵ of the range) of the loss; "
            "largest error expected (an estimate): 0.01 (0.002 of the range)."
        )

    @pytest.mark.parametrize(
        ("display", "words"),
        [
            ({"scale": "log"}, "within 1 % (0.005 of the range of log-losses) of the loss"),
            ({"clip": 3.0}, "within 0.00995 (0.005 of the range, losses cut off at 3) of the loss"),
        ],
    )
    def test_errors_are_of_what_is_displayed(self, display: dict[str, Any], words: str):
        measured = np.zeros((9, 9), bool)
        measured[::2, ::2] = True
        error = PredictionError(bound=np.log(1.01), num_checked=158, range=2.0)
        shown = landscape(np.where(measured, self.LOSSES, np.nan), measured, error=error)
        (sentence,) = [
            s
            for s in caption(dataclasses.replace(shown, recipe=dataclasses.replace(shown.recipe, **display)))
            if "cells measured" in s
        ]
        assert words in sentence

    def test_predicted_ones_without_either(self):
        assert self.cells() == ["25 of 81 cells measured, the others predicted."]

    def test_unknown_ones_are_not_called_predicted(self):
        measured = np.zeros((9, 9), bool)
        measured[4, 4] = True
        assert self.cells(measured=measured) == ["1 of 81 cells measured, 0 predicted, 80 unknown."]

    @pytest.mark.parametrize(("count", "words"), [(1, "1 cell is a hole"), (2, "2 cells are holes")])
    def test_holes_are_counted(self, count: int, words: str):
        losses = self.LOSSES.copy()
        losses.flat[[0, 80][:count]] = np.inf, np.nan
        sentences = self.cells(losses=losses, measured=np.ones((9, 9), bool))
        assert sentences[1] == f"{words}: the loss is not finite there."

    def test_nothing_but_holes(self):
        sentences = self.cells(losses=np.full((9, 9), np.nan), measured=np.ones((9, 9), bool))
        assert sentences[1].startswith("81 cells are holes")

    def test_a_flat_surface_has_no_range_to_compare_with(self):
        assert self.cells(PredictionError(bound=0.0), losses=np.ones((9, 9)))[0].endswith("are within 0 of the loss.")


class TestPart:
    def test_of_a_part_of_the_data_nothing_is_claimed_but_its_error(self):
        whole = landscape(TestCells.LOSSES)
        sem = np.full((9, 9), 0.002)
        part = dataclasses.replace(whole, sem=sem, recipe=dataclasses.replace(whole.recipe, num_samples=2320))
        said = caption(part)
        assert (
            "Preliminary, from 2,320 data points drawn at random (standard error of a cell up to 0.002): "
            "axes, window and heights will change when all data are taken." in said
        )
        assert not any("Hessian:" in s or "eigenvalue" in s or "cells measured" in s for s in said)


class TestWindow:
    """What is odd about a window is explained."""

    def said(self, losses: np.ndarray, **recipe: Any) -> list[str]:
        shown = landscape(losses)
        # Without curvatures, whose missing dips have sentences of their own.
        known = {"axis_curvature": None, **recipe}
        shown = dataclasses.replace(shown, recipe=dataclasses.replace(shown.recipe, **known))
        return [s for s in caption(shown) if "window" in s]

    BOWL = np.add.outer(np.linspace(-1, 1, 9) ** 2, np.linspace(-1, 1, 9) ** 2)

    def test_of_an_ordinary_one_nothing_is_said(self):
        assert self.said(self.BOWL, center_loss=0.5) == []

    def test_one_that_ends_at_the_norm_of_theta(self):
        x, y = landscape().recipe.directions
        directions = (dataclasses.replace(x, norm=2.0), dataclasses.replace(y, norm=1.0))
        known = {"directions": directions, "theta_norm": 4.0, "window": "saddle"}
        (sentence,) = self.said(self.BOWL, spans=(2.0, 3.0), **known)
        assert sentence.startswith("Along x the window reaches as far as ‖θ*‖")
        (sentence,) = self.said(self.BOWL, spans=(2.0, 4.0), **known)
        assert sentence.startswith("Along x and y the window")
        assert self.said(self.BOWL, **{**known, "spans": (2.0, 4.0), "window": "wide"}) == []

    @pytest.mark.parametrize("dtype", ["float32", "float64"])
    def test_one_that_shows_nothing_but_round_off(self, dtype: str):
        losses = 0.5 + float(np.finfo(dtype).eps) * self.BOWL
        (sentence,) = self.said(losses, center_loss=0.5, dtype=dtype)
        assert f"about its round-off in {dtype}: a wider window" in sentence
        assert self.said(0.5 + 1e-3 * self.BOWL, center_loss=0.5, dtype=dtype) == []

    def test_one_that_shows_one_wall(self):
        (sentence,) = self.said(1e4 * self.BOWL, center_loss=0.5)
        assert sentence.startswith("The loss rises to 40,000 times its value at the trained point: a narrower window")


class TestHessian:
    def test_both_ends_with_their_errors_and_cost(self):
        assert caption(landscape())[3] == (
            "Hessian: λ_max = 2.84 ± 0.002, λ_min = −1 ± 0.01 (30 Hessian-vector products); ‖∇L‖ = 1·10⁻⁵."
        )

    def test_an_error_is_never_below_the_noise(self):
        noisy = curvature(noise=0.05)
        assert "λ_max = 2.84 ± 0.05" in caption(landscape(of=recipe(curvature=noisy)))[3]

    def test_before_convergence_there_are_ritz_values(self):
        sentence = caption(landscape(of=recipe(curvature=curvature(converged=False))))[3]
        assert "largest Ritz value 2.84 ± 0.002" in sentence
        assert "not all converged: no eigenvalues yet" in sentence
        assert "λ" not in sentence

    def test_an_end_that_has_converged_is_an_eigenvalue_before_the_others_are(self):
        early = curvature(converged=False, largest_converged=(True, False), smallest_converged=(False, False))
        sentence = caption(landscape(of=recipe(curvature=early)))[3]
        assert "λ_max = 2.84 ± 0.002, smallest Ritz value −1 ± 0.01" in sentence
        assert "not all converged: a Ritz value is no eigenvalue yet" in sentence
        early = curvature(converged=False, largest_converged=(True, False), smallest_converged=(True, True))
        sentence = caption(landscape(of=recipe(curvature=early)))[3]
        assert "λ_max = 2.84 ± 0.002, λ_min = −1 ± 0.01" in sentence
        assert "not all converged: further ones are to come" in sentence

    def test_a_gradient_alone(self):
        sentences = caption(landscape(of=recipe(curvature=None)))
        assert sentences[3] == "‖∇L‖ = 1·10⁻⁵."
        assert len(sentences) == 4


def test_notes_come_last():
    sentences = caption(landscape(of=recipe(notes=("half-precision weights are computed in float32", "b"))))
    assert sentences[-2:] == ["Note: half-precision weights are computed in float32.", "Note: b."]


OPTIONS = st.fixed_dictionaries(
    {
        "directions": st.sampled_from([(X, Y), (dataclasses.replace(X, preliminary=True, converged=False), Y)]),
        "theta_norm": st.sampled_from([0.0, 12.5]),
        "gradient_norm": st.sampled_from([None, 0.0, 1e-9, 0.7]),
        "center_loss": st.sampled_from([None, -3.0, 1e9]),
        "curvature": st.sampled_from([None, CURVATURE, NOTHING_NEGATIVE]),
        "num_samples": st.sampled_from([None, 1, 60000]),
        "cosine": st.sampled_from([0.0, -0.5]),
    }
)


@given(OPTIONS)
def test_every_caption_is_plain_sentences(changes: dict[str, Any]):
    for sentence in caption(landscape(of=dataclasses.replace(RECIPE, **changes))):
        assert sentence.endswith(".")
        assert not sentence.endswith("..")
        assert sentence == sentence.strip()
        assert "  " not in sentence
        assert not re.search(r"None|nan|\binf\b|e[-+]\d|\d-", sentence)
        assert "minimum" not in sentence
