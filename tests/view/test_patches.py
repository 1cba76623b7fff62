"""What the page is sent: exactly what changed, not too often, and never what JSON cannot hold."""

from __future__ import annotations

import dataclasses
import json
import math
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from landscape_widget.landscape import CriticalPoint, Direction
from landscape_widget.view.caption import caption
from landscape_widget.view.patches import (
    HOLE,
    MEASURED,
    PREDICTED,
    UNKNOWN,
    Picture,
    Publisher,
    catalog_entry,
    picture,
)

from .landscapes import CURVATURE, Clock, Page, X, Y, landscape, recipe

# A little more than what lies between two messages, and exact in binary.
INTERVAL = 1 / 16


def row(*values: float) -> Picture:
    """A picture of five cells in a row of a 5 × 5 grid; the rest is zero."""
    losses = np.ones((5, 5))
    losses[2, : len(values)] = values
    return picture(landscape(losses, of=recipe(center_loss=0.0)))


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def page() -> Page:
    return Page()


@pytest.fixture
def publisher(page: Page, clock: Clock) -> Publisher:
    return Publisher(page.send, clock)


class TestPicture:
    def test_rows_are_betas_and_columns_alphas(self):
        shown = picture(landscape(of=recipe(center_loss=0.0)))  # z = x + 10y
        assert shown.heights.shape == (5, 9)
        assert shown.heights[3, 7] == 37.0
        assert len(shown.header["betas"]) == 5
        assert len(shown.header["alphas"]) == 9
        _, (first, _, _) = shown.message(1, 0)
        assert np.frombuffer(first, np.float32)[3 * 9 + 7] == 37.0

    def test_a_small_variation_of_a_large_loss_survives(self):
        losses = 1e4 + 1e-3 * np.arange(25).reshape(5, 5)
        shown = picture(landscape(losses, of=recipe(center_loss=float(losses[2, 2]))))
        np.testing.assert_allclose(shown.heights, 1e-3 * (np.arange(25).reshape(5, 5) - 12), atol=1e-8)

    def test_logarithms_are_taken_in_float64(self):
        losses = 1e4 + 1e-3 * np.arange(25).reshape(5, 5)
        shown = picture(landscape(losses))
        assert shown.header["log_ok"]
        np.testing.assert_array_equal(shown.log_heights, np.log10(losses).astype(np.float32))

    @pytest.mark.parametrize("lowest", [0.0, -1e-9])
    def test_a_loss_that_is_not_positive_forbids_the_log_scale(self, lowest: float):
        losses = np.ones((5, 5))
        losses[0, 0] = lowest
        shown = picture(landscape(losses))
        assert shown.header["log_ok"] is False
        assert not shown.log_heights.any()

    def test_a_prediction_below_zero_does_not_forbid_the_log_scale(self):
        losses, measured = np.full((9, 9), np.nan), np.zeros((9, 9), bool)
        measured[::2, ::2] = True
        losses[::2, ::2] = 1e-3
        losses[:, 0] = np.where(measured[:, 0], 100.0, np.nan)
        view = landscape(losses, measured)
        assert np.nanmin(view.surface()) < 0  # the four-point rule undershoots beside a wall
        shown = picture(view)
        assert shown.header["log_ok"] is True
        assert shown.log_heights.min() == np.float32(-3)

    def test_states_tell_unknown_predicted_measured_and_hole(self):
        losses, measured = np.full((9, 9), np.nan), np.zeros((9, 9), bool)
        measured[::2, ::2] = True
        losses[::2, ::2] = 1.0
        losses[0, 0], losses[8, 8] = np.inf, np.nan
        states = picture(landscape(losses, measured)).states
        assert states[0, 0] == HOLE
        assert states[8, 8] == HOLE
        assert states[0, 1] == UNKNOWN  # between a hole and a finite cell nothing is predicted
        assert states[4, 4] == MEASURED
        assert states[4, 5] == PREDICTED

    @given(arrays(np.float64, (5, 5), elements=st.floats()), arrays(bool, (5, 5)), st.floats())
    def test_heights_that_are_read_are_finite_whatever_the_loss(
        self, losses: np.ndarray, measured: np.ndarray, center: float
    ):
        shown = picture(landscape(losses, measured, of=recipe(center_loss=center)))
        drawn = (shown.states == PREDICTED) | (shown.states == MEASURED)
        assert np.isfinite(shown.heights[drawn]).all()
        assert np.isfinite(shown.log_heights[drawn]).all()
        np.testing.assert_array_equal(shown.states == HOLE, measured & ~np.isfinite(losses))
        json.dumps(shown.header, allow_nan=False)

    def test_a_landscape_of_nothing_but_nan(self):
        shown = picture(landscape(np.full((5, 5), np.nan), of=recipe(center_loss=None)))
        assert (shown.states == HOLE).all()
        assert shown.header["log_ok"] is False
        assert shown.header["center_loss"] is None

    def test_what_json_does_not_know_becomes_null(self):
        nan = math.nan
        bad = dataclasses.replace(X, curvature=nan, residual=math.inf, norm=nan)
        point = CriticalPoint("saddle", 0.0, nan, math.inf, 1, 1, persistence=math.inf)
        shown = picture(
            landscape(
                of=recipe(
                    directions=(bad, Y),
                    center_loss=nan,
                    theta_norm=math.inf,
                    cosine=nan,
                    axis_curvature=(nan, 0.0, 1.0),
                ),
                critical=(point,),
            )
        )
        header = json.loads(json.dumps(shown.header, allow_nan=False))
        assert header["center_loss"] is None
        assert header["curvature"] is None
        assert header["x"]["curvature"] is None
        assert header["critical"][0]["persistence"] is None
        json.dumps(catalog_entry(bad), allow_nan=False)

    def test_an_axis_of_another_length_has_its_own_unit(self):
        far = dataclasses.replace(X, norm=3.0)
        header = picture(landscape(of=recipe(directions=(far, Y)))).header
        assert header["units"] == ["× d", "‖Δθ‖"]
        assert header["norms"] == [3.0, 1.0]


class TestCatalog:
    def test_an_eigenpair_has_its_error(self):
        entry = catalog_entry(X)
        assert entry["label"] == "largest curvature (λ₁ = 2.84 ± 0.002)"
        assert (entry["key"], entry["group"], entry["converged"]) == ("largest-1", "hessian", True)

    def test_no_error_is_below_the_noise_of_a_product(self):
        noisy = dataclasses.replace(CURVATURE, noise=0.05)
        assert catalog_entry(X, noisy)["label"] == "largest curvature (λ₁ = 2.84 ± 0.05)"
        shown = landscape(of=recipe(curvature=noisy))
        assert picture(shown).header["x"]["label"] == "largest curvature (λ₁ = 2.84 ± 0.05)"
        assert caption(shown)[0].startswith("x: largest curvature, λ₁ = 2.84 ± 0.05 ")
        assert "λ_max = 2.84 ± 0.05" in " ".join(caption(shown))

    def test_a_pair_that_has_not_converged_says_so(self):
        label = catalog_entry(dataclasses.replace(X, converged=False))["label"]
        assert "not converged" in label

    def test_a_pair_that_sharpens_is_no_eigenvalue(self):
        label = catalog_entry(dataclasses.replace(X, converged=False, preliminary=True))["label"]
        assert label == "largest curvature (vᵀHv = 2.84, still sharpening)"
        assert "λ" not in label

    def test_a_pair_without_residual_claims_no_error(self):
        assert "±" not in catalog_entry(dataclasses.replace(X, residual=None))["label"]

    def test_a_direction_of_an_unknown_kind_is_listed(self):
        entry = catalog_entry(Direction("pca-1", "trajectory", "p₁", "first component"))
        assert (entry["label"], entry["help"]) == ("first component", "")


class TestBuffers:
    def test_they_are_copies(self, publisher: Publisher, page: Page, clock: Clock):
        first, second = row(1, 2, 3), row(1, 5, 3)
        publisher.show(first, new_epoch=True)
        clock.now += INTERVAL
        publisher.show(second, new_epoch=False)
        kept = [[bytes(b) for b in buffers] for _, buffers in page.messages]
        assert all(isinstance(b, bytes) for _, buffers in page.messages for b in buffers)
        for shown in (first, second):
            for array in shown.arrays:
                array[...] = 77
        assert [buffers for _, buffers in page.messages] == kept

    def test_a_patch_holds_exactly_the_changed_cells(self, publisher: Publisher, page: Page, clock: Clock):
        publisher.show(row(1, 2, 3, 4), new_epoch=True)
        clock.now += INTERVAL
        publisher.show(row(1, 7, 3, 8), new_epoch=False)
        message, (cells, heights, logs, states) = page.messages[-1]
        assert message == {"kind": "patch", "epoch": 1, "seq": 1, "measured": 25}
        assert np.frombuffer(cells, np.uint32).tolist() == [11, 13]
        assert np.frombuffer(heights, np.float32).tolist() == [7, 8]
        np.testing.assert_allclose(np.frombuffer(logs, np.float32), np.log10([7, 8]), rtol=1e-6)
        assert np.frombuffer(states, np.uint8).tolist() == [MEASURED, MEASURED]

    def test_a_cell_that_turns_from_predicted_to_measured_has_changed(
        self, publisher: Publisher, page: Page, clock: Clock
    ):
        losses, measured = np.ones((9, 9)), np.ones((9, 9), bool)
        measured[3, 4] = False
        publisher.show(picture(landscape(losses, measured)), new_epoch=True)
        clock.now += INTERVAL
        publisher.show(picture(landscape(losses)), new_epoch=False)
        message, buffers = page.messages[-1]
        assert np.frombuffer(buffers[0], np.uint32).tolist() == [3 * 9 + 4]
        assert message["measured"] == 81

    def test_nothing_is_sent_where_nothing_changed(self, publisher: Publisher, page: Page, clock: Clock):
        publisher.show(row(1, 2), new_epoch=True)
        clock.now += INTERVAL
        publisher.show(row(1, 2), new_epoch=False)
        assert page.kinds == ["grid"]
        assert publisher.seq == 0

    def test_new_critical_points_are_sent_without_cells(self, publisher: Publisher, page: Page, clock: Clock):
        point = CriticalPoint("saddle", 0.0, 0.0, 1.0, 2, 4, persistence=None)
        publisher.show(picture(landscape()), new_epoch=True)
        clock.now += INTERVAL
        publisher.show(picture(landscape(critical=(point,))), new_epoch=False)
        assert page.kinds == ["grid", "patch"]
        assert page.last["critical"] == [dataclasses.asdict(point)]
        assert page.messages[-1][1][0] == b""

    def test_what_a_patch_cannot_tell_is_sent_as_a_grid_of_the_same_epoch(
        self, publisher: Publisher, page: Page, clock: Clock
    ):
        publisher.show(row(1, 2), new_epoch=True)
        clock.now += INTERVAL
        publisher.show(row(1, -2), new_epoch=False)  # no log scale any more
        assert page.kinds == ["grid", "grid"]
        assert (page.last["epoch"], page.last["seq"], page.last["log_ok"]) == (1, 1, False)

    def test_another_shape_is_another_epoch_even_if_nobody_says_so(
        self, publisher: Publisher, page: Page, clock: Clock
    ):
        publisher.show(picture(landscape()), new_epoch=True)
        clock.now += INTERVAL
        publisher.show(row(1), new_epoch=False)
        assert (page.last["kind"], page.last["epoch"], page.last["seq"]) == ("grid", 2, 0)


GRIDS = st.lists(
    st.tuples(
        arrays(np.float64, (5, 5), elements=st.sampled_from([0.25, 1.0, 3.5, -2.0, 1e9, np.nan, np.inf])),
        arrays(bool, (5, 5)),
        st.booleans(),  # a new epoch
        st.sampled_from([0.0, 1 / 64, 1 / 16, 1.125, 5.0]),  # time until the next
        st.sampled_from(["ack", "silent", "hello", "lost"]),
    ),
    min_size=1,
    max_size=10,
)


@given(GRIDS)
def test_a_page_ends_with_the_last_picture_whatever_happens_on_the_way(grids: list[Any]):
    clock, page = Clock(), Page()
    wire: list[tuple[dict[str, Any], list[bytes]]] = []
    publisher = Publisher(lambda message, buffers: wire.append((message, buffers)), clock)
    shown = None
    for losses, measured, new_epoch, wait, event in grids:
        shown = picture(landscape(losses, measured))
        publisher.show(shown, new_epoch=new_epoch)
        for message, buffers in wire:
            if event != "lost":
                page.send(message, buffers)
        if event == "ack" and page.header:
            publisher.acknowledged(page.header["epoch"], page.header["seq"])
        if event == "hello":
            publisher.repeat()
        wire.clear()
        clock.now += wait
        publisher.flush()
        snapshot = publisher.snapshot()
        assert snapshot is not None
        assert publisher.current is not None
        assert snapshot["states"] == publisher.current.states.tobytes()
    # In the end somebody looks again.
    publisher.repeat()
    for _ in range(3):
        clock.now += 5
        publisher.flush()
    for message, buffers in wire:
        page.send(message, buffers)
    assert shown is not None
    assert page.header is not None
    for mine, theirs in zip(page.arrays, shown.arrays, strict=True):
        np.testing.assert_array_equal(mine, theirs)
    assert (page.header["epoch"], page.header["seq"]) == (publisher.epoch, publisher.seq)
    assert page.header["measured"] == shown.header["measured"]


@given(GRIDS)
def test_patches_alone_bring_a_page_to_the_last_picture(grids: list[Any]):
    clock, page = Clock(), Page()
    publisher = Publisher(page.send, clock)
    for losses, measured, new_epoch, _, _ in grids:
        shown = picture(landscape(losses, measured))
        publisher.show(shown, new_epoch=new_epoch)
        clock.now += INTERVAL
        publisher.acknowledged(publisher.epoch, publisher.seq)
        assert publisher.current is shown
        for mine, theirs in zip(page.arrays, shown.arrays, strict=True):
            np.testing.assert_array_equal(mine, theirs)
    assert page.gaps == 0


class TestRate:
    def busy(
        self, publisher: Publisher, clock: Clock, seconds: float, step: float = 1 / 64, *, ack: bool = False
    ) -> None:
        """The engine offers a new picture every ``step``."""
        for i in range(round(seconds / step)):
            publisher.show(row(1 + i % 7, clock.now), new_epoch=False)
            if ack:
                publisher.acknowledged(publisher.epoch, publisher.seq)
            clock.now += step

    def test_at_most_twenty_a_second(self, publisher: Publisher, page: Page, clock: Clock):
        self.busy(publisher, clock, 10.0, ack=True)
        assert 150 <= len(page.messages) <= 201

    def test_what_came_too_soon_waits_and_only_the_newest_goes(self, publisher: Publisher, page: Page, clock: Clock):
        for value in range(2, 9):
            publisher.show(row(value), new_epoch=False)
        assert len(page.messages) == 1
        assert publisher.flush() is True
        clock.now += INTERVAL
        assert publisher.flush() is False
        assert page.arrays[0][2, 0] == 8
        assert len(page.messages) == 2

    def test_eight_unanswered_then_one_a_second_after_two_silent_seconds(
        self, publisher: Publisher, page: Page, clock: Clock
    ):
        self.busy(publisher, clock, 1.95)
        assert len(page.messages) == 8
        self.busy(publisher, clock, 10.0)
        assert 8 + 9 <= len(page.messages) <= 8 + 11

    def test_after_forty_unanswered_nothing_until_hello(self, publisher: Publisher, page: Page, clock: Clock):
        self.busy(publisher, clock, 60.0, step=INTERVAL)
        assert len(page.messages) == 40
        clock.now += 1000
        # Nothing that time would bring: whoever waits for it need not look again.
        assert publisher.flush() is False
        last = publisher._waiting
        publisher.repeat()
        assert len(page.messages) == 41
        assert page.last["kind"] == "grid"
        assert publisher.current is last
        self.busy(publisher, clock, 1.0)
        assert len(page.messages) == 41 + 7

    def test_an_answer_gives_credit_again(self, publisher: Publisher, page: Page, clock: Clock):
        self.busy(publisher, clock, 60.0, step=INTERVAL)
        publisher.acknowledged(publisher.epoch, publisher.seq)
        clock.now += INTERVAL
        publisher.flush()
        assert len(page.messages) == 41

    def test_an_answer_counts_for_all_before_it(self, publisher: Publisher, clock: Clock):
        self.busy(publisher, clock, 6 * INTERVAL, step=INTERVAL)
        publisher.acknowledged(publisher.epoch, 3)
        assert publisher._sent == [4, 5]

    def test_an_answer_of_another_epoch_gives_no_credit(self, publisher: Publisher, page: Page, clock: Clock):
        self.busy(publisher, clock, 1.0)
        publisher.show(row(5), new_epoch=True)
        clock.now += 2.0
        self.busy(publisher, clock, 1.0)
        sent = len(page.messages)
        for epoch in (publisher.epoch - 1, publisher.epoch + 1, -1):
            publisher.acknowledged(epoch, 2**50)
        self.busy(publisher, clock, 0.9)
        assert len(page.messages) == sent

    def test_hellos_do_not_multiply_the_picture(self, publisher: Publisher, page: Page, clock: Clock):
        publisher.show(row(1), new_epoch=True)
        for _ in range(100):
            publisher.repeat()
        assert len(page.messages) == 1
        clock.now += INTERVAL
        publisher.flush()
        assert page.kinds == ["grid", "grid"]

    def test_a_hello_before_there_is_anything_is_answered_by_the_first_picture(
        self, publisher: Publisher, page: Page, clock: Clock
    ):
        publisher.repeat()
        assert publisher.flush() is False
        publisher.show(row(1), new_epoch=False)
        assert page.kinds == ["grid"]
        clock.now += INTERVAL
        assert publisher.flush() is False
        assert page.kinds == ["grid"]


class TestEpochs:
    def test_seq_counts_from_zero_in_every_epoch(self, publisher: Publisher, page: Page, clock: Clock):
        for value, new in [(1, True), (2, False), (3, False), (4, True), (5, False)]:
            publisher.show(row(value), new_epoch=new)
            clock.now += INTERVAL
        assert [(m["epoch"], m["seq"]) for m, _ in page.messages] == [(1, 0), (1, 1), (1, 2), (2, 0), (2, 1)]

    def test_an_epoch_that_had_to_wait_stays_one(self, publisher: Publisher, page: Page, clock: Clock):
        publisher.show(row(1), new_epoch=True)
        publisher.show(row(2), new_epoch=True)
        publisher.show(row(3), new_epoch=False)
        clock.now += INTERVAL
        publisher.flush()
        assert [(m["kind"], m["epoch"]) for m, _ in page.messages] == [("grid", 1), ("grid", 2)]
        assert page.arrays[0][2, 0] == 3

    def test_a_repeat_is_the_same_message_again(self, publisher: Publisher, page: Page, clock: Clock):
        publisher.show(row(1), new_epoch=True)
        clock.now += INTERVAL
        publisher.show(row(2), new_epoch=False)
        clock.now += INTERVAL
        publisher.repeat()
        assert page.kinds == ["grid", "patch", "grid"]
        assert (page.last["epoch"], page.last["seq"]) == (1, 1)
        assert page.arrays[0][2, 0] == 2


class TestSnapshot:
    def test_there_is_none_before_the_first_picture(self, publisher: Publisher):
        assert publisher.snapshot() is None

    def test_it_is_what_pages_have_been_sent(self, publisher: Publisher, page: Page, clock: Clock):
        publisher.show(row(1), new_epoch=True)
        publisher.show(row(2), new_epoch=False)  # waits
        snapshot = publisher.snapshot()
        assert snapshot is not None
        assert (snapshot["epoch"], snapshot["seq"]) == (1, 0)
        assert "kind" not in snapshot
        names = ("heights", "log_heights", "states")
        assert [snapshot[name] for name in names] == [a.tobytes() for a in row(1).arrays]
        json.dumps({k: v for k, v in snapshot.items() if k not in names}, allow_nan=False)
