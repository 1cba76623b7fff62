"""Landscapes are frozen, and what is saved is what is loaded."""

from __future__ import annotations

import dataclasses
import json
import re
import subprocess
import sys
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from landscape_widget.landscape import (
    CriticalPoint,
    Curvature,
    Direction,
    Landscape,
    PredictionError,
    Recipe,
    is_round_off,
    load,
)

floats = st.floats(allow_nan=False)
maybe = st.none() | floats
texts = st.text(max_size=12)
counts = st.integers(0, 2**62)
several = st.lists(floats, max_size=3).map(tuple)

directions = st.builds(
    Direction,
    key=texts,
    kind=st.sampled_from(["hessian", "random", "gradient", "own"]),
    symbol=texts,
    label=texts,
    vector=st.none(),
    norm=floats,
    curvature=maybe,
    residual=maybe,
    converged=st.none() | st.booleans(),
    normalization=st.none() | texts,
    seed=st.none() | counts,
    preliminary=st.booleans(),
)
curvatures = st.builds(
    Curvature,
    largest=several,
    largest_residuals=several,
    smallest=several,
    smallest_residuals=several,
    num_negative=counts,
    noise=floats,
    num_matvecs=counts,
    converged=st.booleans(),
    unseen_below=maybe,
    largest_converged=st.lists(st.booleans(), max_size=3).map(tuple),
    smallest_converged=st.lists(st.booleans(), max_size=3).map(tuple),
)
recipes = st.builds(
    Recipe,
    directions=st.tuples(directions, directions),
    spans=st.tuples(floats, floats),
    window=st.sampled_from(["saddle", "wide"]),
    resolution=st.tuples(counts, counts),
    tolerance=floats,
    seed=counts,
    model=texts,
    loss=texts,
    num_parameters=counts,
    num_samples=st.none() | counts,
    theta_norm=floats,
    gradient_norm=maybe,
    center_loss=maybe,
    cosine=floats,
    axis_curvature=st.none() | st.tuples(floats, floats, floats),
    curvature=st.none() | curvatures,
    dtype=texts,
    device=texts,
    data_digest=texts,
    versions=st.dictionaries(texts, texts, max_size=2),
    notes=st.lists(texts, max_size=2).map(tuple),
)
points = st.builds(
    CriticalPoint,
    kind=st.sampled_from(["minimum", "maximum", "saddle", "monkey saddle"]),
    alpha=floats,
    beta=floats,
    loss=floats,
    row=counts,
    column=counts,
    persistence=maybe,
)
errors = st.builds(
    PredictionError, bound=maybe, confidence=floats, share=floats, num_checked=counts, expected_largest=maybe
)


@st.composite
def landscapes(draw: st.DrawFn) -> Landscape:
    shape = draw(st.tuples(st.sampled_from([3, 5, 9]), st.sampled_from([3, 5, 9])))
    return Landscape(
        alphas=np.linspace(-1, 1, shape[1]) * draw(st.floats(1e-3, 1e3)),
        betas=np.linspace(-1, 1, shape[0]) * draw(st.floats(1e-3, 1e3)),
        # NaN, inf, negative losses, and rubbish where nothing was measured.
        losses=draw(arrays(np.float64, shape, elements=st.floats(width=64))),
        measured=draw(arrays(np.bool_, shape)),
        recipe=draw(recipes),
        critical=tuple(draw(st.lists(points, max_size=2))),
        error=draw(errors),
    )


def assert_same(a: Landscape, b: Landscape) -> None:
    for name in ("alphas", "betas", "losses", "measured"):
        left, right = getattr(a, name), getattr(b, name)
        assert left.dtype == right.dtype
        assert left.tobytes() == right.tobytes(), name
    assert a.recipe == b.recipe
    assert a.critical == b.critical
    assert a.error == b.error


@given(landscape=landscapes())
def test_saved_and_loaded_is_identical(landscape: Landscape, tmp_path_factory: pytest.TempPathFactory) -> None:
    path = tmp_path_factory.mktemp("saved") / "net.npz"
    landscape.save(path)
    again = load(path)
    assert_same(landscape, again)
    # And once more: no drift.
    again.save(path)
    assert_same(landscape, load(path))


def simple(**changes: Any) -> Landscape:
    direction = Direction("own-x", "own", "dx", "own", vector=np.array([1.0, 2.0, -0.0]))
    recipe = Recipe(
        directions=(direction, dataclasses.replace(direction, key="own-y", vector=np.array([0.5, np.pi, 1e-300]))),
        spans=(1.0, 2.0),
        window="wide",
        resolution=(9, 5),
        tolerance=0.0,
        seed=0,
        model="Net",
        loss="MSELoss",
        num_parameters=3,
        num_samples=7,
        theta_norm=1.0,
    )
    x, y = np.meshgrid(np.linspace(-1, 1, 9), np.linspace(-2, 2, 5))
    settings: dict[str, Any] = {
        "alphas": x[0].copy(),
        "betas": y[:, 0].copy(),
        "losses": x + 10 * y,
        "measured": np.ones((5, 9), dtype=bool),
        "recipe": recipe,
    }
    return Landscape(**(settings | changes))


def test_rows_are_betas_after_loading(tmp_path: Path) -> None:
    simple().save(tmp_path / "net.npz")
    loaded = load(str(tmp_path / "net.npz"))
    assert loaded.losses.shape == (5, 9)
    np.testing.assert_allclose(loaded.losses, loaded.alphas[None] + 10 * loaded.betas[:, None])


def test_directions_are_saved_only_when_asked(tmp_path: Path) -> None:
    landscape = simple()
    landscape.save(tmp_path / "without.npz")
    landscape.save(tmp_path / "with.npz", keep_directions=True)
    assert [d.vector for d in load(tmp_path / "without.npz").recipe.directions] == [None, None]
    for mine, theirs in zip(landscape.recipe.directions, load(tmp_path / "with.npz").recipe.directions, strict=True):
        assert mine.vector.tobytes() == theirs.vector.tobytes()


def test_numbers_of_numpy_can_be_saved(tmp_path: Path) -> None:
    landscape = simple()
    recipe = dataclasses.replace(landscape.recipe, seed=np.int64(3), theta_norm=np.float32(0.5))
    point = CriticalPoint("saddle", np.float64(0.0), 0.0, np.float32(1.5), np.int64(2), np.int64(4))  # type: ignore[arg-type]
    simple(recipe=recipe, critical=(point,)).save(tmp_path / "net.npz")
    loaded = load(tmp_path / "net.npz")
    assert (loaded.recipe.seed, loaded.recipe.theta_norm) == (3, 0.5)
    assert loaded.critical == (point,)


@pytest.mark.parametrize("kind", ["npz without header", "npy", "text", "nothing"])
def test_other_files_are_refused(kind: str, tmp_path: Path) -> None:
    path = tmp_path / "other"
    with path.open("wb") as file:
        if kind == "npz without header":
            np.savez(file, losses=np.zeros(3))
        elif kind == "npy":
            np.save(file, np.zeros(3))
        elif kind == "text":
            file.write(b"no landscape at all")
    with pytest.raises(
        ValueError, match=r"expected a landscape saved by Landscape\.save, got .*other.*, which is not one"
    ):
        load(path)


def members(path: Path) -> dict[str, np.ndarray]:
    with np.load(path) as file:
        return {name: file[name] for name in file.files}


def encoded(header: Any) -> np.ndarray:
    return np.frombuffer(json.dumps(header).encode(), dtype=np.uint8)


BROKEN = r"expected a landscape saved by Landscape\.save, got .*net\.npz, which is .*; save it again"


@given(data=st.data())
def test_a_damaged_file_is_refused_or_means_the_same(data: st.DataObject, tmp_path_factory: pytest.TempPathFactory):
    path = tmp_path_factory.mktemp("damaged") / "net.npz"
    simple().save(path)
    content = bytearray(path.read_bytes())
    for place in data.draw(st.lists(st.integers(0, len(content) - 1), min_size=1, max_size=3)):
        content[place] ^= 1 << data.draw(st.integers(0, 7))
    path.write_bytes(content)
    refusal = None
    try:
        loaded = load(path)
    except ValueError as error:
        refusal = str(error)
    else:  # the date of a member, say, tells nothing
        assert_same(simple(), loaded)
    assert refusal is None or re.search(BROKEN, refusal, re.DOTALL)


def test_every_damaged_member_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "net.npz"
    simple().save(path)
    content = path.read_bytes()
    with zipfile.ZipFile(path) as archive:
        places = [info.header_offset + 30 + len(info.filename) + info.compress_size // 2 for info in archive.infolist()]
    for place in places:
        path.write_bytes(content[:place] + bytes([content[place] ^ 0xFF]) + content[place + 1 :])
        with pytest.raises(ValueError, match=BROKEN):
            load(path)


@pytest.mark.parametrize("share", [0.0, 0.01, 0.5, 0.99])
def test_a_truncated_file_is_refused(share: float, tmp_path: Path) -> None:
    path = tmp_path / "net.npz"
    simple().save(path)
    content = path.read_bytes()
    path.write_bytes(content[: int(share * len(content))])
    with pytest.raises(ValueError, match=BROKEN):
        load(path)


@pytest.mark.parametrize(
    "header",
    [{}, [], None, "text", {"format_version": "1"}, {"format_version": 1}, {"format_version": 1, "recipe": {}}],
    ids=str,
)
def test_foreign_headers_are_refused(header: Any, tmp_path: Path) -> None:
    path = tmp_path / "net.npz"
    simple().save(path)
    np.savez(path, **(members(path) | {"header": encoded(header)}))
    with pytest.raises(ValueError, match=BROKEN):
        load(path)


def test_a_header_that_is_no_json_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "net.npz"
    for header in (np.frombuffer(b"\xff{", dtype=np.uint8), np.zeros(3)):
        simple().save(path)
        np.savez(path, **(members(path) | {"header": header}))
        with pytest.raises(ValueError, match=BROKEN):
            load(path)


@pytest.mark.parametrize("change", ["unknown field", "missing field", "one direction"])
def test_foreign_recipes_are_refused(change: str, tmp_path: Path) -> None:
    path = tmp_path / "net.npz"
    simple().save(path)
    held = members(path)
    header = json.loads(held["header"].tobytes())
    if change == "unknown field":
        header["recipe"]["colour"] = "red"
    elif change == "missing field":
        del header["recipe"]["spans"]
    else:
        header["recipe"]["directions"].pop()
    np.savez(path, **(held | {"header": encoded(header)}))
    with pytest.raises(ValueError, match=BROKEN):
        load(path)


@pytest.mark.parametrize("name", ["alphas", "betas", "losses", "measured"])
def test_missing_and_misshapen_arrays_are_refused(name: str, tmp_path: Path) -> None:
    path = tmp_path / "net.npz"
    simple().save(path)
    held = members(path)
    for wrong in (held[name][:-1], held[name][None], np.float64(1.0), None):
        changed = {key: value for key, value in held.items() if key != name or wrong is not None}
        np.savez(path, **(changed | ({} if wrong is None else {name: wrong})))
        with pytest.raises(ValueError, match=BROKEN):
            load(path)


class Trap:
    """Leaves a file behind when it is unpickled."""

    def __init__(self, sprung: Path) -> None:
        self.sprung = sprung

    def __reduce__(self) -> tuple[Any, ...]:
        return Path.touch, (self.sprung,)


@pytest.mark.parametrize("name", ["header", "losses", "direction_0"])
def test_nothing_in_a_file_is_ever_executed(tmp_path: Path, name: str) -> None:
    path, sprung = tmp_path / "net.npz", tmp_path / "sprung"
    simple().save(path)
    np.savez(path, **(members(path) | {name: np.array([Trap(sprung)], dtype=object)}))
    with pytest.raises(ValueError, match=BROKEN):
        load(path)
    assert not sprung.exists()
    # The trap is a real one.
    with np.load(path, allow_pickle=True) as archive:
        assert archive[name].size == 1
    assert sprung.exists()


@pytest.mark.parametrize("path", [5, None, b"net.npz", np.zeros(3)], ids=str)
def test_what_is_no_path_is_refused(path: Any) -> None:
    for call in (load, simple().save):
        with pytest.raises(
            TypeError, match=r"expected path as a str or a pathlib\.Path, got (int|NoneType|bytes|ndarray)"
        ):
            call(path)


def test_a_file_that_is_not_there_is_said_to_be_so(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        load(tmp_path / "net.npz")


def test_newer_formats_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with monkeypatch.context() as patch:
        patch.setattr("landscape_widget.landscape.FORMAT_VERSION", 99)
        simple().save(tmp_path / "net.npz")
    with pytest.raises(ValueError, match="expected format version 1 or older, got 99; upgrade landscape_widget"):
        load(tmp_path / "net.npz")


@pytest.mark.parametrize("converged", [True, False])
def test_files_that_do_not_tell_pair_by_pair_what_has_converged_are_read(converged: bool, tmp_path: Path) -> None:
    curvature = Curvature(
        (2.0, 1.0), (0.0, 0.5), (-1.0,), (0.1,), 1, 0.0, 9, converged, None, "", (True, False), (False,)
    )
    recipe = dataclasses.replace(simple().recipe, curvature=curvature)
    path = tmp_path / "net.npz"
    simple(recipe=recipe).save(path)
    loaded = load(path).recipe.curvature
    assert loaded == curvature
    assert loaded.ends_converged == (True, False)
    held = members(path)
    header = json.loads(held["header"].tobytes())
    for name in ("largest_converged", "smallest_converged"):
        del header["recipe"]["curvature"][name]
    np.savez(path, **(held | {"header": encoded(header)}))
    older = load(path).recipe.curvature
    assert older is not None
    assert older.ends_converged == (converged, converged)


def test_wrong_shapes_are_refused() -> None:
    with pytest.raises(
        ValueError, match=r"shape \(len\(betas\), len\(alphas\)\) = \(5, 9\), got \(9, 5\) and \(5, 9\)"
    ):
        simple(losses=np.zeros((9, 5)))
    with pytest.raises(ValueError, match=r"\(5, 9\), got \(2, 2\) and \(5, 9\)"):
        simple(losses=[[0.0, 1.0], [2.0, 3.0]])


def test_lists_are_arrays() -> None:
    landscape = simple(losses=np.arange(45.0).reshape(5, 9).tolist(), measured=[[True] * 9] * 5)
    assert landscape.losses.dtype == np.float64
    assert landscape.num_measured == 45


def test_landscapes_are_frozen_and_leave_the_givers_arrays_alone() -> None:
    losses = np.zeros((5, 9))
    landscape = simple(losses=losses)
    with pytest.raises(ValueError, match="read-only"):
        landscape.losses[0, 0] = 1.0
    with pytest.raises(dataclasses.FrozenInstanceError):
        landscape.losses = losses  # type: ignore[misc]
    losses[0, 0] = 1.0
    surface = landscape.surface()
    surface[:] = 7.0
    assert landscape.surface()[1, 1] == 0.0


def test_complete_means_measured_or_checked() -> None:
    part = np.ones((5, 9), dtype=bool)
    part[1, 1] = False
    assert simple().complete
    assert not simple(measured=part).complete
    assert simple(measured=part, error=PredictionError(bound=0.1, num_checked=149)).complete
    assert simple(measured=part).num_measured == 44


def test_loading_does_not_load_torch(tmp_path: Path) -> None:
    simple().save(tmp_path / "net.npz")
    code = "import sys, landscape_widget as lw; lw.load(sys.argv[1]).surface(); assert 'torch' not in sys.modules"
    subprocess.run([sys.executable, "-c", code, str(tmp_path / "net.npz")], check=True)


def test_its_representation_is_one_line() -> None:
    losses = np.array([[1.0, 2.0, 3.0], [4.0, np.inf, 6.0], [7.0, 8.0, 9.0]])
    measured = np.ones((3, 3), dtype=bool)
    measured[0, 0] = False
    axes = {"alphas": np.arange(-1.0, 2.0), "betas": np.arange(-1.0, 2.0)}
    said = repr(simple(losses=losses, measured=measured, **axes))
    assert "\n" not in said
    assert said.startswith("<Landscape 3 × 3, 8 measured, loss 2 to 9; x: ")
    assert "loss" not in repr(simple(losses=losses, measured=np.zeros((3, 3), dtype=bool), **axes))


@pytest.mark.parametrize(
    ("gradient_norm", "noise", "theta_norm", "expected"),
    [
        (7e-17, 2e-15, 7.3, True),
        (1.4e-14, 2e-15, 7.3, True),
        (1.5e-14, 2e-15, 7.3, False),
        (2e-15, 2e-15, 0.0, True),
        (2e-15, 2e-15, 1e-6, True),
        (0.0, 0.0, 0.0, True),
        (1e-30, 0.0, 5.0, False),
        (float("nan"), 1.0, 1.0, False),
    ],
)
def test_a_gradient_is_round_off_up_to_the_noise_times_theta(
    gradient_norm: float, noise: float, theta_norm: float, expected: bool
) -> None:
    assert is_round_off(gradient_norm, noise, theta_norm) is expected
