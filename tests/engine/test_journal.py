"""What is committed is there after a crash, bit for bit; what belongs to something else is refused in words."""

from __future__ import annotations

import math
import os
import random
import signal
import sqlite3
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from landscape_widget.engine import database
from landscape_widget.engine import journal as module
from landscape_widget.engine.directions import hessian_directions, random_directions
from landscape_widget.engine.journal import Axes, Journal, PlaneJournal, fingerprint
from landscape_widget.engine.plane import Plane
from landscape_widget.engine.problem import Problem, Term
from landscape_widget.landscape import Curvature, Direction

from .problems import ARCHITECTURES, make, slice_problem

OF = {"data": "digits", "loss": "MSELoss"}


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "run.sqlite"


def record(plane: PlaneJournal, alphas: list[float], betas: list[float], values: list[list[float]]) -> None:
    plane.record(np.array(alphas), np.array(betas), np.array(values))
    plane.commit()


def bits(array: np.ndarray) -> list[str]:
    return [row.tobytes().hex() for row in np.atleast_1d(array)]


# --------------------------------------------------------------------------------------------------- points and values


coordinates = st.floats(allow_nan=False, allow_infinity=False)
measurements = st.floats() | st.sampled_from([np.nan, np.inf, -np.inf, -0.0, 5e-324, -np.finfo(float).max])


@settings(max_examples=30)
@given(points=st.dictionaries(st.tuples(coordinates, coordinates), st.tuples(measurements, measurements), max_size=20))
def test_every_number_comes_back_bit_for_bit(points: dict[tuple[float, float], tuple[float, float]]) -> None:
    alphas, betas = np.array(list(points), dtype=float).reshape(-1, 2).T
    values = np.array(list(points.values()), dtype=float).reshape(-1, 2)
    with tempfile.TemporaryDirectory() as folder:
        with Journal(f"{folder}/run.sqlite", OF, quantities=("loss", "error")) as journal:
            journal.plane("x", "y").record(alphas, betas, values)
        with Journal(f"{folder}/run.sqlite", OF, quantities=("loss", "error")) as journal:
            plane = journal.plane("x", "y")
            found, mask = plane.known(alphas, betas)
            assert mask.all()
            assert bits(found) == bits(values)
            assert plane.num_points == len(points)
            # A neighbor in floating point is another point.
            neighbors = np.array([math.nextafter(a, 0.0) if a else 5e-324 for a, _ in points])
            # −0.0 and 0.0 are equal.
            assert plane.known(neighbors, betas)[1].tolist() == [
                (a, b) in points for a, b in zip(neighbors.tolist(), betas.tolist(), strict=True)
            ]


def test_a_measured_nan_is_known_and_an_unknown_point_is_not(path: Path) -> None:
    with Journal(path, OF) as journal:
        record(journal.plane("x", "y"), [0.5, 1.0], [0.0, 0.0], [[np.nan], [np.inf]])
    with Journal(path, OF) as journal:
        values, known = journal.plane("x", "y").known(np.array([1.0, 0.25, 0.5]), np.zeros(3))
    assert known.tolist() == [True, False, True]
    np.testing.assert_array_equal(values, [[np.inf], [np.nan], [np.nan]])


def test_zero_has_no_sign(path: Path) -> None:
    with Journal(path, OF) as journal:
        record(journal.plane("x", "y"), [-0.0, -0.0], [-0.0, -1.0], [[3.0], [4.0]])
    with Journal(path, OF) as journal:
        values, known = journal.plane("x", "y").known(np.array([0.0, 0.0]), np.array([0.0, -1.0]))
    assert known.all()
    assert values.tolist() == [[3.0], [4.0]]


def grid(count: int, span: float, zoom: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Cells as a survey lays them out: symmetric about an exact 0."""
    axis = np.arange(-(count // 2), count // 2 + 1) / (count // 2) * (span * 2.0**zoom)
    alphas, betas = np.meshgrid(axis, axis)
    return alphas.ravel(), betas.ravel()


@settings(max_examples=30)
@given(span=st.floats(1e-6, 1e6), zoom=st.integers(-3, 3))
def test_cells_are_known_again_at_another_resolution_and_in_a_window_twice_as_wide(span: float, zoom: int) -> None:
    with tempfile.TemporaryDirectory() as folder, Journal(f"{folder}/run.sqlite", OF) as journal:
        plane = journal.plane("x", "y")
        alphas, betas = grid(9, span)
        plane.record(alphas, betas, np.stack([alphas * 3 + betas], axis=1))
        plane.commit()
        fine = grid(65, span, zoom)
        values, known = plane.known(*fine)
        # In a wider window all of the 9 × 9 cells lie in the middle, in a narrower one some lie outside.
        assert known.sum() == (9 if zoom >= 0 else 2 * (4 >> min(-zoom, 3)) + 1) ** 2
        np.testing.assert_array_equal(values[known, 0], (fine[0] * 3 + fine[1])[known])


def test_the_first_value_of_a_point_stays(path: Path) -> None:
    with Journal(path, OF) as journal:
        plane = journal.plane("x", "y")
        record(plane, [1.0], [2.0], [[10.0]])
        record(plane, [1.0, 3.0], [2.0, 4.0], [[99.0], [11.0]])
        assert plane.known(np.array([1.0, 3.0]), np.array([2.0, 4.0]))[0].tolist() == [[10.0], [11.0]]
    with Journal(path, OF) as journal:
        values, _ = journal.plane("x", "y").known(np.array([1.0, 3.0]), np.array([2.0, 4.0]))
    assert values.tolist() == [[10.0], [11.0]]


def test_exchanged_axes_are_the_same_plane_and_other_axes_another(path: Path) -> None:
    with Journal(path, OF) as journal:
        plane = journal.plane("largest-1", "smallest-1")
        record(plane, [0.5], [-2.0], [[7.0]])
        plane.save_spans("saddle", (1.5, 0.25))
        plane.save_axis_curvature((4.0, 0.5, -1.0))
        plane.record_passed(np.array([3.0]), np.array([1.0]), np.array([[0.75]]), 4, "4 of 9")
        plane.commit()
    with Journal(path, OF) as journal:
        turned = journal.plane("smallest-1", "largest-1")
        assert turned.known(np.array([-2.0, 0.5]), np.array([0.5, -2.0]))[1].tolist() == [True, False]
        assert turned.spans("saddle") == (0.25, 1.5)
        assert turned.spans("wide") is None
        assert turned.axis_curvature() == (-1.0, 0.5, 4.0)
        assert turned.passed(np.array([1.0]), np.array([3.0]), "4 of 9")[0].tolist() == [4]
        turned.record(np.array([8.0]), np.array([9.0]), np.array([[1.0]]))
        for again in (turned.exchanged(), journal.plane("largest-1", "smallest-1")):
            assert again.known(np.array([9.0, 8.0]), np.array([8.0, 9.0]))[1].tolist() == [True, False]
        again.record(np.array([6.0]), np.array([7.0]), np.array([[1.0]]))
        assert turned.known(np.array([7.0, 6.0]), np.array([6.0, 7.0]))[1].tolist() == [True, False]
        assert again.known(np.array([9.0, 8.0]), np.array([8.0, 9.0]))[1].tolist() == [True, False]
        assert again.spans("saddle") == (1.5, 0.25)
        other = journal.plane("gradient", "largest-1")
        assert other.num_points == 0
        assert other.spans("saddle") is None
    with Journal(path, OF) as journal:
        assert journal.plane("largest-1", "smallest-1").known(np.array([9.0, 6.0]), np.array([8.0, 7.0]))[1].all()


@pytest.mark.parametrize(
    ("alphas", "betas", "values", "match"),
    [
        ([0.0], [0.0, 1.0], [[1.0]], "as many alphas as betas"),
        ([np.nan], [0.0], [[1.0]], "expected finite coordinates"),
        ([0.0, 1.0], [0.0, 1.0], [[1.0, 2.0]], r"shape \(points, quantities\) = \(2, 1\), got \(1, 2\)"),
    ],
)
def test_what_is_no_point_or_value_is_refused(
    path: Path, alphas: list[float], betas: list[float], values: list[list[float]], match: str
) -> None:
    with Journal(path, OF) as journal, pytest.raises(ValueError, match=match):
        record(journal.plane("x", "y"), alphas, betas, values)


# ------------------------------------------------------------------------------------------------------- half-done passes


def test_a_pass_goes_on_from_the_term_it_had_reached(path: Path) -> None:
    """The sum over all terms is that of a pass in one go, bit for bit; so is one with another parting, begun anew."""
    rng = np.random.default_rng(0)
    terms = rng.normal(size=(10, 3, 2))
    alphas, betas = np.array([0.5, 1.0, -1.0]), np.zeros(3)
    whole = np.zeros((3, 2))
    for term in terms:
        whole = whole + term

    with Journal(path, OF, quantities=("loss", "error")) as journal:
        plane, sums = journal.plane("x", "y"), np.zeros((3, 2))
        for done, term in enumerate(terms[:7], start=1):
            sums = sums + term
            plane.record_passed(alphas, betas, sums, done, "10 × 100")
            plane.commit()

    with Journal(path, OF, quantities=("loss", "error")) as journal:
        plane = journal.plane("x", "y")
        num_terms, sums = plane.passed(alphas, betas, "10 × 100")
        assert num_terms.tolist() == [7, 7, 7]
        other, zeros = plane.passed(alphas, betas, "5 × 200")
        assert not other.any()
        assert not zeros.any()
        assert not plane.known(alphas, betas)[1].any()
        for term in terms[7:]:
            sums = sums + term
        assert bits(sums) == bits(whole)
        plane.record(alphas, betas, sums)
        assert not plane.passed(alphas, betas, "10 × 100")[0].any()

    with Journal(path, OF, quantities=("loss", "error")) as journal:
        plane = journal.plane("x", "y")
        assert not plane.passed(alphas, betas, "10 × 100")[0].any()
        assert bits(plane.known(alphas, betas)[0]) == bits(whole)
        with journal.transaction() as db:
            assert db.execute("SELECT count(*) FROM passes").fetchone() == (0,)


# --------------------------------------------------------------------------------------------------------- axes and facts


CURVATURE = Curvature(
    (9.5, 1e-17), (1e-3, 0.1), (-0.3,), (0.02,), 1, 1e-7, 42, True, unseen_below=-0.31, method="graph"
)


def directions(dtype: torch.dtype, size: int = 1001) -> tuple[Direction, Direction]:
    draw = torch.Generator().manual_seed(3)
    x, y = torch.randn(2, size, generator=draw, dtype=torch.float64).to(dtype)
    return (
        Direction("largest-1", "hessian", "λ₁", "largest curvature", x, 0.1 + 0.2, 9.5, 1e-3, True),
        Direction("smallest-1", "hessian", "λₙ", "smallest curvature", y, curvature=-0.3, converged=False),
    )


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_axes_come_back_bit_for_bit(path: Path, monkeypatch: pytest.MonkeyPatch, dtype: torch.dtype) -> None:
    # Vectors larger than what SQLite takes in one row are parted.
    monkeypatch.setattr(module, "_PART", 1000)
    given = directions(dtype)
    with Journal(path, OF) as journal:
        assert journal.axes() is None
        assert journal.save_axes(given, CURVATURE) == Axes(given, CURVATURE)
    with Journal(path, OF) as journal:
        found = journal.axes()
        assert journal.axes("gradient") is None
    assert found is not None
    # Everything but the vectors, which == leaves out.
    assert found == Axes(given, CURVATURE)
    for before, after in zip(given, found.directions, strict=True):
        assert torch.equal(torch.as_tensor(after.vector), before.vector)
        assert torch.as_tensor(after.vector).dtype == dtype
    axes = Plane(torch.zeros(1001, dtype=dtype), found.directions).axes  # type: ignore[arg-type]
    assert torch.equal(axes, torch.stack([d.vector for d in given]))


def test_the_axes_that_were_saved_first_count(path: Path) -> None:
    """Of two processes that find them at once, each goes on with the same."""
    mine, other = directions(torch.float32), directions(torch.float64)
    with Journal(path, OF) as first, Journal(path, OF) as second:
        first.save_axes(mine, CURVATURE)
        counted = second.save_axes(other)
        assert counted == Axes(mine, CURVATURE)
        assert torch.equal(torch.as_tensor(counted.directions[1].vector), mine[1].vector)
        plane, same = first.plane("x", "y"), second.plane("x", "y")
        assert plane.save_spans("saddle", (0.1, 0.2)) == (0.1, 0.2)
        assert same.save_spans("saddle", (0.3, 0.4)) == (0.1, 0.2)
        assert first.save_fact("gradient norm", np.float64(np.nan)) is not None
        assert np.isnan(second.save_fact("gradient norm", 1.0))


def test_axes_are_saved_whole_or_not_at_all(path: Path) -> None:
    x, y = directions(torch.float32)
    with Journal(path, OF) as journal:
        with journal.transaction() as db:
            abort = "BEGIN SELECT RAISE(ABORT, 'no'); END"
            db.execute(f"CREATE TRIGGER full BEFORE INSERT ON vectors WHEN NEW.name LIKE '% 1' {abort}")
        with pytest.raises(OSError, match="no"):
            journal.save_axes((x, y))
        assert journal.axes() is None
        with journal.transaction() as db:
            assert db.execute("SELECT count(*) FROM vectors").fetchone() == (0,)
            db.execute("DROP TRIGGER full")
        journal.save_axes((x, y))
        assert journal.axes() == Axes((x, y))


# ------------------------------------------------------------------------------------------------ of which problem it is


def network(activation: type[nn.Module] = nn.Tanh) -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(3, 8), activation(), nn.BatchNorm1d(8), nn.Linear(8, 2))


def samples(count: int = 100) -> tuple[torch.Tensor, torch.Tensor]:
    draw = torch.Generator().manual_seed(1)
    return torch.randn(count, 3, generator=draw), 3 * torch.randn(count, 2, generator=draw)


def changed(part: str) -> Problem:
    """A problem that differs in one thing from that of "nothing"."""
    model, (x, y), loss = network(nn.Sigmoid if part == "activation" else nn.Tanh), samples(), nn.HuberLoss()
    if part == "parameters":
        with torch.no_grad():
            model[0].weight[3, 1] += 1e-6
    if part == "last label":
        y[-1, -1] += 1e-6
    if part == "one sample fewer":
        x, y = x[:-1], y[:-1]
    if part == "buffers":
        model[2].running_mean += 0.5
    if part == "loss":
        loss = nn.MSELoss()
    if part == "constant of the loss":
        loss = nn.HuberLoss(delta=2.0)
    if part == "precision":
        model = model.double()
    if part == "batches":
        return Problem(model, loss, [(x[:33], y[:33]), (x[33:40], y[33:40]), (x[40:], y[40:])])
    return Problem(model, loss, (x, y))


@pytest.mark.parametrize(
    ("part", "said"),
    [
        ("parameters", r"other parameters\)"),
        ("last label", r"\(other data\)"),
        ("one sample fewer", r"\(other data\)"),
        ("buffers", r"\(other losses on a few samples\)"),
        ("activation", r"\(other losses on a few samples\)"),
        ("loss", r"\(other loss: HuberLoss instead of MSELoss\)"),
        ("constant of the loss", r"\(other losses on a few samples\)"),
        ("precision", r"\(other precision: float32 instead of float64\)"),
    ],
)
def test_the_journal_of_another_problem_is_refused_by_what_differs(path: Path, part: str, said: str) -> None:
    Journal(path, fingerprint(changed("nothing"))).close()
    before = path.read_bytes()
    with pytest.raises(
        ValueError, match=rf"expected the journal of this survey, got .*run\.sqlite, .*{said}; give another path"
    ):
        Journal(path, fingerprint(changed(part)))
    assert path.read_bytes() == before
    Journal(path, fingerprint(changed("nothing"))).close()


class InPieces(Problem):
    """A problem whose passes take 17 samples at a time, as on a machine with less memory."""

    def terms(self) -> Iterator[Term]:
        for term in super().terms():
            yield from self.pieces(term, 17)


def test_how_samples_come_in_batches_makes_no_difference(path: Path) -> None:
    for problem in (changed("nothing"), changed("batches"), InPieces(network(), nn.HuberLoss(), samples())):
        assert problem.parts_samples
        Journal(path, fingerprint(problem)).close()
    assert len(list(problem.terms())) == 6


@pytest.mark.parametrize("cache_bytes", [0, 2**30])
@pytest.mark.parametrize("name", ARCHITECTURES)
def test_every_kind_of_problem_knows_its_journal_again(path: Path, name: str, cache_bytes: int) -> None:
    """Made anew, kept or streamed; with other weights it is refused."""
    for _ in range(2):
        Journal(path, fingerprint(make(name).problem(cache_bytes=cache_bytes), k=1)).close()
    case = make(name)
    with torch.no_grad():
        next(p for p in case.model.parameters() if p.requires_grad).view(-1)[0] += 1e-5
    with pytest.raises(ValueError, match=r"\(other parameters\)"):
        Journal(path, fingerprint(case.problem(cache_bytes=cache_bytes), k=1))


def test_a_problem_without_data_knows_its_journal_again(path: Path) -> None:
    for function in (lambda x, y: x**2 - y**2, lambda x, y: x**2 - y**2):
        Journal(path, fingerprint(slice_problem(function, at=(0.5, 0.25)))).close()
    with pytest.raises(ValueError, match=r"\(other losses on a few samples\)"):
        Journal(path, fingerprint(slice_problem(lambda x, y: x**2 - y**2 + 0.1 * x * y, at=(0.5, 0.25))))


def test_the_batches_of_a_loss_of_ones_own_do() -> None:
    """Batches that cannot be parted are the user's: their weights are part of the loss."""
    x, y = samples()

    def loss(model: nn.Module, batch: tuple[torch.Tensor, torch.Tensor]) -> torch.Tensor:
        return (model(batch[0]) - batch[1]).square().mean()

    def of(*cuts: int, weight: Callable[[object], float] | None = None) -> object:
        batches = list(zip(x.tensor_split(cuts), y.tensor_split(cuts), strict=True))
        return fingerprint(Problem(network(), loss, batches, batch_weight=weight))["data"]

    assert of(40) == of(40)
    assert of(40) != of(60)
    assert of(40) != of(40, weight=lambda batch: 1.0)


def test_journals_of_other_axes_are_refused(path: Path) -> None:
    problem = changed("nothing")
    x, y = random_directions(problem, 2)
    Journal(path, fingerprint(problem, k=1, seed=0)).close()
    with pytest.raises(ValueError, match=r"other axes: Hessian eigenvectors, 1 per end, seed 0 instead of .* seed 1\)"):
        Journal(path, fingerprint(problem, k=1, seed=1))
    with pytest.raises(ValueError, match=r"\(other axes\)"):
        Journal(path, fingerprint(problem, (x, y)))
    path.unlink()
    Journal(path, fingerprint(problem, (x, y))).close()
    for axes in ((y, x), (x, random_directions(problem, 3)[2])):
        with pytest.raises(ValueError, match=r"\(other axes\)"):
            Journal(path, fingerprint(problem, axes))


def test_axes_that_were_found_need_no_product_again(path: Path) -> None:
    problem = changed("nothing")
    pairs = hessian_directions(problem, 1)
    with Journal(path, fingerprint(problem, k=1)) as journal:
        first = journal.save_axes((pairs.directions[0], pairs.directions[-1]), pairs.summary)
    with Journal(path, fingerprint(changed("nothing"), k=1)) as journal:
        again = journal.axes()
    assert again == first
    assert again is not None
    before, after = (Plane(problem.point, axes.directions) for axes in (first, again))  # type: ignore[arg-type]
    assert torch.equal(before.axes, after.axes)


def test_losses_may_differ_by_round_off_but_no_more(path: Path) -> None:
    losses = [0.5, 1e-9, np.nan, np.inf]
    Journal(path, {"losses": losses}).close()
    Journal(path, {"losses": [0.5 * (1 + 1e-5), 1.1e-9, np.nan, np.inf]}).close()
    for other in ([0.51, 1e-9, np.nan, np.inf], [0.5, 1e-4, np.nan, np.inf], [0.5, 1e-9, 1.0, np.inf], losses[:3]):
        with pytest.raises(ValueError, match=r"\(other losses\)"):
            Journal(path, {"losses": other})


def test_other_quantities_are_refused(path: Path) -> None:
    Journal(path, OF).close()
    with pytest.raises(ValueError, match="other quantities: loss instead of loss, accuracy"):
        Journal(path, OF, quantities=("loss", "accuracy"))
    with pytest.raises(ValueError, match=r"\(other data: digits instead of letters, other mode\)"):
        Journal(path, {**OF, "data": "letters", "mode": "train"})


# ----------------------------------------------------------------------------------------------------- files that are none


def test_a_path_may_be_a_str_or_a_path_and_an_empty_file(tmp_path: Path) -> None:
    for path in (str(tmp_path / "a"), tmp_path / "b"):
        Path(path).touch()
        with Journal(path, OF) as journal:
            record(journal.plane("x", "y"), [1.0], [1.0], [[1.0]])
    # What was beside them is part of them again.
    assert sorted(file.name for file in tmp_path.iterdir()) == ["a", "b"]


@pytest.mark.parametrize("given", [None, 3, b"run.sqlite", True])
def test_what_is_no_path_is_refused(given: object) -> None:
    with pytest.raises(TypeError, match="expected journal as a path"):
        Journal(given, OF)


def test_folders_and_what_lies_in_none_are_refused(tmp_path: Path) -> None:
    with pytest.raises(IsADirectoryError, match=r"got the folder .*; give a file in it, such as .*run\.sqlite"):
        Journal(tmp_path, OF)
    (tmp_path / "file").touch()
    for folder in ("none", "file"):
        with pytest.raises(FileNotFoundError, match="in a folder that is there, got .*make the folder first"):
            Journal(tmp_path / folder / "run.sqlite", OF)


@pytest.mark.parametrize("content", [b"hello", b"PK\x03\x04" * 5000, bytes(4096)])
def test_a_file_of_another_kind_is_refused_and_left_alone(path: Path, content: bytes) -> None:
    path.write_bytes(content)
    with pytest.raises(ValueError, match="which is no SQLite file; give another path"):
        Journal(path, OF)
    assert path.read_bytes() == content


@pytest.mark.parametrize("mode", ["wal", "delete"])
def test_another_program_s_database_is_refused_and_left_alone(path: Path, mode: str) -> None:
    db = sqlite3.connect(path, isolation_level=None)
    db.execute(f"PRAGMA journal_mode = {mode}")
    db.execute("CREATE TABLE points (plane INTEGER)")
    db.close()
    before = path.read_bytes()
    with pytest.raises(ValueError, match="an SQLite file of something else; give another path"):
        Journal(path, OF)
    assert path.read_bytes() == before


def test_a_newer_format_is_refused(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with monkeypatch.context() as future:
        future.setattr(database, "_FORMAT", 7)
        Journal(path, OF).close()
    with pytest.raises(ValueError, match="of format 7, newer than 1; upgrade landscape_widget"):
        Journal(path, OF)


def test_a_damaged_file_is_refused(path: Path) -> None:
    with Journal(path, OF) as journal:
        record(journal.plane("x", "y"), [1.0], [1.0], [[1.0]])
    content = path.read_bytes()
    path.write_bytes(content[:100] + bytes(len(content) - 100))
    with pytest.raises(ValueError, match="which is damaged; remove it to begin anew"):
        Journal(path, OF)


@contextmanager
def without_privileges() -> Iterator[None]:
    """As a user whom permissions bind: they do not bind root."""
    root = os.geteuid() == 0
    if root:
        os.seteuid(65534)
    try:
        yield
    finally:
        if root:
            os.seteuid(0)


@pytest.mark.parametrize(("file", "folder"), [(0o444, 0o777), (0o000, 0o777), (0o666, 0o555), (None, 0o555)])
def test_a_place_that_cannot_be_written_is_refused(file: int | None, folder: int) -> None:
    with tempfile.TemporaryDirectory() as made:
        path = Path(made) / "run.sqlite"
        if file is not None:
            Journal(path, OF).close()
            path.chmod(file)
        Path(made).chmod(folder)
        with (
            without_privileges(),
            pytest.raises(PermissionError, match="can be read and written, as can its folder, got .*run"),
        ):
            Journal(path, OF)
        Path(made).chmod(0o777)
        assert path.exists() == (file is not None)
        path.touch()
        path.chmod(0o666)
        Journal(path, OF).close()


def test_while_another_keeps_the_file_locked_nothing_is_lost(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(database, "_PATIENCE", 0.05)
    with Journal(path, OF) as journal:
        plane = journal.plane("x", "y")
        other = sqlite3.connect(path, isolation_level=None)
        other.execute("BEGIN IMMEDIATE")
        plane.record(np.array([1.0]), np.array([2.0]), np.array([[3.0]]))
        for act in (plane.commit, lambda: Journal(path, OF), lambda: journal.save_fact("a", 1)):
            with pytest.raises(TimeoutError, match="another process keeps it locked"):
                act()
        other.execute("ROLLBACK")
        other.close()
        plane.commit()
    with Journal(path, OF) as journal:
        assert journal.plane("x", "y").known(np.array([1.0]), np.array([2.0]))[0].tolist() == [[3.0]]
        assert journal.fact("a") is None


def test_opening_waits_while_another_process_makes_the_file(path: Path) -> None:
    """SQLite itself does not wait where a change of its journal mode meets a writer."""
    db, other = (sqlite3.connect(path, isolation_level=None, check_same_thread=False) for _ in range(2))
    other.execute("CREATE TABLE points (plane INTEGER)")
    other.execute("BEGIN IMMEDIATE")
    with pytest.raises(sqlite3.OperationalError, match="locked"):
        db.execute("PRAGMA journal_mode = WAL")
    soon = threading.Timer(0.1, other.execute, ["COMMIT"])
    soon.start()
    database._patiently(db, "PRAGMA journal_mode = WAL")
    soon.join()
    assert db.execute("PRAGMA journal_mode").fetchone() == ("wal",)
    other.close()
    db.close()


def test_on_a_full_disk_nothing_is_lost(path: Path) -> None:
    with Journal(path, OF) as journal:
        plane = journal.plane("x", "y")
        record(plane, [0.0], [0.0], [[1.0]])
        with journal.transaction() as db:
            (pages,) = db.execute("PRAGMA page_count").fetchone()
        with journal.transaction() as db:
            db.execute(f"PRAGMA max_page_count = {pages}")
        axis = np.arange(1.0, 5001.0)
        plane.record(axis, axis, axis[:, None])
        with pytest.raises(OSError, match="but it is full; make room, and start again"):
            plane.commit()
        with journal.transaction() as db:
            assert db.execute("SELECT count(*) FROM points").fetchone() == (1,)
            db.execute("PRAGMA max_page_count = 100000")
    # Closing commits.
    with Journal(path, OF) as journal:
        assert journal.plane("x", "y").known(axis, axis)[1].all()


def test_a_thread_can_go_on_where_another_stopped(path: Path) -> None:
    with Journal(path, OF) as journal:
        plane = journal.plane("x", "y")
        thread = threading.Thread(target=record, args=(plane, [1.0], [2.0], [[3.0]]))
        thread.start()
        thread.join()
        record(plane, [4.0], [5.0], [[6.0]])
    with Journal(path, OF) as journal:
        assert journal.plane("x", "y").num_points == 2


def test_closing_twice_is_no_error_and_a_closed_journal_takes_nothing(path: Path) -> None:
    journal = Journal(path, OF)
    plane = journal.plane("x", "y")
    journal.close()
    journal.close()
    plane.record(np.array([1.0]), np.array([1.0]), np.array([[1.0]]))
    with pytest.raises(sqlite3.ProgrammingError, match="closed"):
        plane.commit()


# --------------------------------------------------------------------------------------------------------------- processes

# Measures points 0, 1, 2 … at (i/8, who), or all at 0; a commit every few, each announced only when it has been made.
_WORKER = """
import sys
import numpy as np
from landscape_widget.engine.journal import Journal

path, who, first, last, step = sys.argv[1], float(sys.argv[2]), *map(int, sys.argv[3:6])
print("ready", flush=True)
sys.stdin.readline()
with Journal(path, {"data": "digits", "loss": "MSELoss"}) as journal:
    plane = journal.plane("x", "y")
    for i in range(first, last, step):
        cells = np.arange(i, i + step)
        alphas, betas = cells / 8, np.zeros(step)
        known = plane.known(alphas, betas)[1]
        plane.record(alphas[~known], betas[~known], np.stack([np.sqrt(cells), np.full(step, who)], 1)[~known, :1] + who)
        plane.record_passed(np.array([-1.0]), np.array([0.0]), np.array([[i + who]]), i, "terms")
        plane.commit()
        print(*cells[~known], flush=True)
"""


def worker(path: Path, who: int, first: int, last: int, step: int = 5) -> subprocess.Popen[str]:
    process = subprocess.Popen(
        [sys.executable, "-c", _WORKER, str(path), *map(str, (who, first, last, step))],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "ready\n"
    return process


def begin(process: subprocess.Popen[str]) -> None:
    assert process.stdin is not None
    process.stdin.write("\n")
    process.stdin.flush()


def sound(path: Path) -> bool:
    db = sqlite3.connect(path)
    try:
        return db.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
    finally:
        db.close()


def test_processes_on_one_journal_do_not_disturb_each_other(path: Path) -> None:
    """Three at once, from the making of the file on: every cell of each is there once, with a value that one of them has measured."""
    reaches = [(0, 600), (300, 900), (150, 750)]
    processes = [worker(path, who, *reach) for who, reach in enumerate(reaches)]
    for process in processes:
        begin(process)
    announced = [[int(cell) for cell in process.communicate()[0].split()] for process in processes]
    assert [process.returncode for process in processes] == [0, 0, 0]
    assert sound(path)
    cells = np.arange(900)
    with Journal(path, OF) as journal:
        plane = journal.plane("x", "y")
        values, known = plane.known(cells / 8, np.zeros(900))
        assert known.all()
        assert plane.num_points == 900
    by = np.rint(values[:, 0] - np.sqrt(cells)).astype(int)
    for cell, who in zip(cells.tolist(), by.tolist(), strict=True):
        assert cell in announced[who]
        assert values[cell, 0] == np.sqrt(cell) + who


def test_what_another_has_measured_meanwhile_is_known_after_a_commit(path: Path) -> None:
    with Journal(path, OF) as first, Journal(path, OF) as second:
        mine, other = first.plane("x", "y"), second.plane("x", "y")
        record(mine, [1.0, 2.0], [0.0, 0.0], [[1.0], [2.0]])
        # Measured by both: the first value counts for both.
        record(other, [2.0, 3.0], [0.0, 0.0], [[-2.0], [3.0]])
        record(mine, [4.0], [0.0], [[4.0]])
        for plane, values in ((mine, [1.0, 2.0, 3.0, 4.0]), (other, [1.0, 2.0, 3.0])):
            found, known = plane.known(np.arange(1.0, 1 + len(values)), np.zeros(len(values)))
            assert known.all()
            assert found[:, 0].tolist() == values


def test_after_kill_9_all_that_was_announced_is_there_and_is_not_measured_again(path: Path) -> None:
    rng = random.Random(0)
    announced: list[int] = []
    for round_ in range(8):
        process = worker(path, 0, 0, 10**7)
        begin(process)
        assert process.stdout is not None
        lines = []
        if round_:  # in the first round it dies while it opens the file, or soon after
            lines = [
                process.stdout.readline() for _ in range(rng.randint(len(announced) // 5 + 1, len(announced) // 5 + 60))
            ]
        time.sleep(rng.uniform(0, 0.05))
        process.send_signal(signal.SIGKILL)
        # What was in the pipe was announced, too, but for a line that was cut off.
        rest = process.stdout.read()
        process.communicate()
        lines += rest[: rest.rfind("\n") + 1].splitlines()
        assert process.returncode == -signal.SIGKILL
        new = [int(cell) for line in lines for cell in line.split()]
        assert not set(new) & set(announced)
        announced += new
        with Journal(path, OF) as journal:
            assert sound(path)
            plane = journal.plane("x", "y")
            cells = np.array(announced, dtype=int)
            values, known = plane.known(cells / 8, np.zeros(len(cells)))
            assert known.all()
            np.testing.assert_array_equal(values[:, 0], np.sqrt(cells))
            if announced:
                num_terms, sums = plane.passed(np.array([-1.0]), np.array([0.0]), "terms")
                assert num_terms[0] >= max(announced) - 4
                assert sums[0, 0] == num_terms[0]
            # A commit that was made but not yet announced: at most the last one.
            assert plane.num_points - len(announced) in (0, 5)
            cells = np.arange(plane.num_points)
            assert plane.known(cells / 8, np.zeros(len(cells)))[1].all()
            announced = cells.tolist()
    assert len(announced) > 200
