"""Directions: norms by the documented rules, Hessian pairs unscaled, the user's own taken as they are."""

from __future__ import annotations

import itertools
from collections import OrderedDict
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from landscape_widget import Problem, examples, gradient_direction, hessian_directions, random_directions
from landscape_widget.engine import copies, lanczos, ritz
from landscape_widget.engine.directions import as_direction, iter_extended, iter_hessian_directions
from landscape_widget.engine.operators import Hessian
from landscape_widget.engine.plane import Plane
from landscape_widget.engine.streams import other_stream
from landscape_widget.landscape import Direction

from .problems import dense_hessian, make, slice_problem


def convnet() -> Problem:
    """With biases, a norm layer and one filter and one neuron that are all zero."""
    case = make("conv_batchnorm")
    with torch.no_grad():
        case.model[0].weight[1] = 0.0  # type: ignore[index, union-attr, operator]
        case.model[4].weight[2] = 0.0  # type: ignore[index, union-attr, operator]
    return case.problem()


@pytest.mark.parametrize("seed", range(3))
def test_filter_norms_are_those_of_the_weights(seed: int) -> None:
    problem = convnet()
    for direction in random_directions(problem, 2, normalization="filter", seed=seed):
        for d, w in zip(problem.split(direction.vector), problem.split(problem.point), strict=True):
            if w.dim() <= 1:
                assert not d.any()  # biases and norm layers: zero
            else:
                torch.testing.assert_close(d.flatten(1).norm(dim=1), w.flatten(1).norm(dim=1), rtol=1e-8, atol=1e-12)
        assert torch.isfinite(direction.vector).all()
        assert direction.norm == pytest.approx(float(direction.vector.norm()))
    weights = torch.cat([w.reshape(-1) for w in problem.split(problem.point) if w.dim() > 1])
    assert direction.norm == pytest.approx(float(weights.norm()))  # α = 1 is a step as long as the weights


def test_other_normalizations() -> None:
    problem = convnet()
    (layer,) = random_directions(problem, 1, normalization="layer")
    for d, w in zip(problem.split(layer.vector), problem.split(problem.point), strict=True):
        assert float(d.norm()) == pytest.approx(float(w.norm()) if w.dim() > 1 else 0.0)
    (unit,) = random_directions(problem, 1, normalization="unit")
    assert unit.norm == pytest.approx(1)
    gaussian = random_directions(problem, 200, normalization="none", seed=1)
    entries = torch.stack([d.vector for d in gaussian])
    assert float(entries.mean()) == pytest.approx(0, abs=0.02)
    assert float(entries.var()) == pytest.approx(1, abs=0.03)


def test_a_seeds_direction_is_the_same_whatever_the_count(device: str) -> None:
    problem = make("mlp").problem(device=device)
    two, five = random_directions(problem, 2, seed=3), random_directions(problem, 5, seed=3)
    assert torch.equal(two[1].vector, five[1].vector)
    assert not torch.equal(two[0].vector, two[1].vector)
    assert not torch.equal(random_directions(problem, 1, seed=4)[0].vector, two[0].vector)
    assert [d.key for d in five] == ["random-0", "random-1", "random-2", "random-3", "random-4"]


def test_gaussian_planes_estimate_trace_and_frobenius_norm() -> None:
    """E[dᵀHd] = tr H and E[(dᵀHe)²] = ‖H‖_F² (theory.md §2)."""
    case = make("mlp")
    H = dense_hessian(case)
    D = torch.stack([d.vector for d in random_directions(case.problem(), 2000, normalization="none", seed=0)])
    projected = ((D @ H) * D).sum(1)
    frobenius, trace = float(torch.linalg.matrix_norm(H)), float(H.trace())
    assert float(projected.mean()) == pytest.approx(trace, abs=4 * np.sqrt(2 / 2000) * frobenius)
    mixed = ((D[::2] @ H) * D[1::2]).sum(1)
    assert float((mixed**2).mean()) == pytest.approx(frobenius**2, rel=0.3)
    assert float(projected.var()) == pytest.approx(2 * frobenius**2, rel=0.3)


def test_interlacing_of_any_plane() -> None:
    """λ_min ≤ κ₋ ≤ κ₊ ≤ λ_max with κ± the eigenvalues of (DᵀD)⁻¹DᵀHD, of filter-normalized axes, too (theory.md §2)."""
    case = make("mlp")
    H = dense_hessian(case)
    low, high = torch.linalg.eigvalsh(H)[[0, -1]].tolist()
    for seed in range(10):
        D = torch.stack([d.vector for d in random_directions(case.problem(), 2, normalization="filter", seed=seed)])
        kappa = torch.linalg.eigvals(torch.linalg.solve(D @ D.T, D @ H @ D.T)).real
        assert low - 1e-12 <= float(kappa.min()) <= float(kappa.max()) <= high + 1e-12


def test_hessian_directions_are_eigenvectors_and_stay_so() -> None:
    """No filter or layer rescaling anywhere: in the plane, too, they are of unit norm and satisfy Hd = λd."""
    case = make("conv_batchnorm")
    H, problem = dense_hessian(case), case.problem()
    pairs = hessian_directions(problem, k=2, tol=1e-9)
    plane = Plane(problem.point, (pairs.directions[0], pairs.directions[-1]))
    for axis, direction in zip(plane.axes, plane.directions, strict=True):
        assert direction.curvature is not None
        assert float(axis.norm()) == pytest.approx(1, abs=1e-12)
        torch.testing.assert_close(H @ axis, direction.curvature * axis, rtol=0, atol=1e-7)
    assert [d.key for d in pairs.directions] == ["largest-1", "largest-2", "smallest-2", "smallest-1"]
    assert [d.symbol for d in pairs.directions] == ["λ₁", "λ₂", "λₙ₋₁", "λₙ"]
    values = [d.curvature for d in pairs.directions]
    assert values == sorted(values, reverse=True)  # type: ignore[type-var]


def test_more_pairs_than_there_are_is_clipped_with_a_warning() -> None:
    problem = examples.quadratic([3.0, 1.0, -2.0])
    with pytest.warns(UserWarning, match="k = 7 pairs per end asked for, but the Hessian has only 3; clipped"):
        pairs = hessian_directions(problem, k=7)
    np.testing.assert_allclose(pairs.largest.values, [3, 1, -2], atol=1e-12)
    np.testing.assert_allclose(pairs.smallest.values, [-2, 1, 3], atol=1e-12)
    with pytest.raises(ValueError, match="expected k of at least 1, got 0"):
        hessian_directions(problem, k=0)
    with pytest.raises(ValueError, match="expected max_matvecs of at least 1, got 0"):
        hessian_directions(problem, k=1, max_matvecs=0)


def test_products_are_counted_with_those_that_verify() -> None:
    """Each step of the run is a product, as is each one that looks for copies, and each of the 2k pairs verified."""
    problem = make("mlp").problem()
    state = lanczos.start(problem.point, seed=0)
    H = Hessian(problem)
    steps = sum(1 for _ in ritz.run(H, state, 2, tol=1e-2, max_matvecs=300))
    assert H.num_matvecs == state.num_matvecs == steps
    seed = other_stream(0, "copies")
    looked = sum(1 for _ in copies.search(H, state, 2, tol=1e-2, seed=seed, max_matvecs=300))
    assert 4 <= looked <= 6
    pairs = hessian_directions(problem, k=2)
    assert pairs.num_matvecs == pairs.summary.num_matvecs == steps + looked + 4


def test_preliminary_pairs_sharpen_to_the_final_ones() -> None:
    problem = make("mlp").problem()
    steps = [make_pairs() for make_pairs in iter_hessian_directions(problem, 1, tol=1e-8)]
    assert all(s.preliminary for s in steps[:-1])
    assert not steps[-1].preliminary
    largest = [float(s.largest.values[0]) for s in steps]
    smallest = [float(s.smallest.values[0]) for s in steps]
    slack = 1e-9
    assert all(b >= a - slack for a, b in itertools.pairwise(largest))  # Cauchy
    assert all(b <= a + slack for a, b in itertools.pairwise(smallest))


@pytest.mark.parametrize("make_problem", [examples.regression, examples.digits_saddle, convnet])
def test_more_pairs_later_are_those_asked_for_at_once(make_problem: Any) -> None:
    problem = make_problem()
    few = hessian_directions(problem, k=1, tol=1e-3)
    values, vectors = few.smallest.values.copy(), few.smallest.vectors.clone()
    beside = few.num_matvecs - few._run[0].state.num_matvecs
    at_once, later = hessian_directions(problem, k=4, tol=1e-3), few.extend(4)
    # Only what is missing is computed: besides, the first two pairs were verified, and copies of them looked for.
    assert later.num_matvecs == at_once.num_matvecs + beside
    assert 2 <= beside <= 8
    assert later.summary.unseen_below == at_once.summary.unseen_below
    for a, b in zip((later.largest, later.smallest), (at_once.largest, at_once.smallest), strict=True):
        np.testing.assert_allclose(a.values, b.values, rtol=1e-12, atol=1e-14)
        torch.testing.assert_close(a.vectors, b.vectors, rtol=0, atol=1e-10)
    assert (few.smallest.values == values).all()
    assert torch.equal(few.smallest.vectors, vectors)


def test_extension_goes_on_product_by_product_and_may_be_repeated() -> None:
    problem = examples.regression()
    few = hessian_directions(problem, k=1)
    steps = [made() for made in iter_extended(few, 3)]
    assert all(step.preliminary for step in steps[:-1])
    more = steps[-1]
    assert len(more.largest) == len(more.smallest) == 3
    # From either result the one run goes on; for fewer pairs it has gone far enough.
    reached = more._run[0].state.num_matvecs
    again = few.extend(2)
    assert again._run[0].state.num_matvecs == reached
    np.testing.assert_allclose(again.largest.values, more.largest.values[:2], rtol=1e-6)
    assert more.extend(5).summary.converged


def test_what_was_released_cannot_be_extended() -> None:
    problem = examples.quadratic([3.0, 1.0, -2.0])
    pairs = hessian_directions(problem, k=1)
    pairs.release()
    with pytest.raises(ValueError, match="expected directions that hold their run, got released or preliminary ones"):
        pairs.extend(2)
    first = next(iter_hessian_directions(problem, 1))()
    with pytest.raises(ValueError, match="got released or preliminary ones"):
        first.extend(2)
    assert pairs.smallest.values[0] == pytest.approx(-2)


def test_each_pair_tells_for_itself_whether_it_has_converged() -> None:
    """λ_max stands long before the edge of the bulk is sharp; that nothing is hidden beyond it is known, too."""
    bulk = np.random.default_rng(0).uniform(-0.5, 0.5, 398)
    problem = examples.quadratic([100.0, *bulk, -0.9], rotation_seed=0)
    found = hessian_directions(problem, k=4, max_matvecs=22).summary
    assert not found.converged
    assert found.ends_converged == (True, True)
    assert found.largest_converged == (True, False, False, False)
    assert found.smallest_converged == (True, False, False, False)
    for made in itertools.islice(iter_hessian_directions(problem, 4), 20):
        pairs = made()
        # A small residual alone tells of an eigenvalue, and not of which.
        claimed = zip(pairs.summary.largest, pairs.summary.largest_converged, np.sort(bulk)[::-1], strict=False)
        assert all(abs(value - exact) <= 1e-2 for value, converged, exact in list(claimed)[1:] if converged)


def test_residuals_alone_do_not_make_a_pair_the_outermost_one(monkeypatch: pytest.MonkeyPatch) -> None:
    """The start vector has next to no part in the outermost eigenvector: the residual of the next one vanishes first."""
    start = lanczos.start

    def unlucky(*args: Any, **settings: Any) -> lanczos.LanczosState:
        state = start(*args, **settings)
        state.next[0] = 1e-4  # of one start in five hundred
        state.next /= state.next.norm()
        return state

    monkeypatch.setattr(lanczos, "start", unlucky)
    problem = examples.quadratic([2.2, 2.0, *np.linspace(-1, 1, 500), -2.0])
    seen = [made() for made in iter_hessian_directions(problem, 1)]
    early = [p for p in seen if p.largest.converged[0] and p.largest.values[0] < 2.1]
    assert len(early) > 2
    assert not any(p.summary.ends_converged[0] or p.directions[0].converged for p in early)
    assert seen[-1].summary.ends_converged == (True, True)


def test_a_budget_that_was_spent_is_no_end() -> None:
    problem = examples.digits_saddle()
    first = hessian_directions(problem, k=2, tol=1e-10, max_matvecs=6)
    assert first.num_matvecs == 10
    assert not first.summary.converged
    assert first.extend(2).summary.converged


def test_a_warm_start_takes_earlier_vectors_in_every_form() -> None:
    problem = examples.regression()
    cold = hessian_directions(problem, k=2, tol=1e-4)
    vectors = torch.cat([cold.largest.vectors, cold.smallest.vectors])
    for start in (cold, cold.directions, vectors, vectors.float()):
        warm = hessian_directions(problem, k=2, tol=1e-4, start=start, seed=1)
        assert warm.summary.converged
        assert warm.summary.unseen_below is None
        assert warm.num_matvecs <= cold.num_matvecs
        np.testing.assert_allclose(warm.largest.values, cold.largest.values, rtol=1e-6)
        np.testing.assert_allclose(warm.smallest.values, cold.smallest.values, rtol=1e-6, atol=cold.summary.noise)


def test_a_warm_start_finds_what_the_earlier_vectors_do_not_contain() -> None:
    """The Hessian has changed: its smallest eigenvector is orthogonal to all earlier ones."""
    spectrum = np.r_[np.linspace(0.5, 1.0, 60), 10.0, 9.0]
    before = hessian_directions(examples.quadratic([*spectrum, 0.7]), k=2)
    after = examples.quadratic([*spectrum, -1.0])
    for seed in range(10):
        found = hessian_directions(after, k=1, start=before.largest.vectors, seed=seed)
        assert found.smallest.values[0] == pytest.approx(-1.0, abs=1e-2)
        assert found.largest.values[0] == pytest.approx(10.0, rel=1e-3)


def test_a_warm_start_of_the_same_seed_takes_a_fresh_random_vector() -> None:
    """What a run finds of an eigenvalue that repeats is its random vector's part in it: of the same one nothing new."""
    problem = examples.toy_saddle(50, 50)
    cold = hessian_directions(problem, k=1)
    warm = hessian_directions(problem, k=1, start=cold)
    assert warm.largest.values[0] == pytest.approx(1.0)
    # Half of the start is new: two random vectors of 50 entries are far from parallel.
    assert abs(float(warm.largest.vectors[0] @ cold.largest.vectors[0])) < 0.9


@pytest.mark.parametrize(
    ("start", "kind", "message"),
    [
        (torch.ones(2, 3), ValueError, r"expected start with vectors of 51 entries, got shape \(2, 3\)"),
        (torch.zeros(51), ValueError, "expected start with finite vectors that are not zero, got one that is"),
        (torch.full((51,), torch.nan), ValueError, "expected start with finite vectors that are not zero"),
        ([Direction("d", "own", "d", "saved")], ValueError, "that have their vectors, got one without"),
        ("cold", TypeError, "expected start as HessianDirections, directions or a tensor, got str"),
    ],
)
def test_starts_that_do_not_fit_are_refused(start: Any, kind: type[Exception], message: str) -> None:
    with pytest.raises(kind, match=message):
        hessian_directions(make("mlp").problem(), k=1, start=start)


def test_a_basis_too_small_for_the_pairs_and_other_bad_settings_are_refused() -> None:
    problem = examples.digits_saddle()
    with pytest.raises(ValueError, match=r"expected max_basis of at least 4k \+ 20 = 28 for k = 2 per end, got 27"):
        hessian_directions(problem, k=2, max_basis=27)
    with pytest.raises(TypeError, match="expected max_basis as an integer, got 30.0"):
        hessian_directions(problem, k=2, max_basis=30.0)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match=r"expected tol from 0 to below 1, as a part of \|μ\|, got -1"):
        hessian_directions(problem, k=2, tol=-1)
    with pytest.raises(TypeError, match="expected tol as a number, got '1%'"):
        hessian_directions(problem, k=2, tol="1%")  # type: ignore[arg-type]


def test_a_small_basis_finds_the_same_pairs() -> None:
    problem = examples.regression()
    large, small = (hessian_directions(problem, k=2, tol=1e-6, max_basis=m) for m in (None, 28))
    np.testing.assert_allclose(small.largest.values, large.largest.values, rtol=1e-9)
    np.testing.assert_allclose(small.smallest.values, large.smallest.values, rtol=1e-9, atol=1e-11)
    assert small.extend(4).summary.converged


@pytest.mark.parametrize(("n", "m"), [(10, 10), (20, 24)])
def test_degenerate_ends_of_the_toy_saddle(n: int, m: int) -> None:
    """Rayleigh quotients, not vectors: the extreme eigenspaces are degenerate (theory.md §3)."""
    pairs = hessian_directions(examples.toy_saddle(n, m), k=2)
    np.testing.assert_allclose(pairs.largest.values, 1, atol=1e-10)
    np.testing.assert_allclose(pairs.smallest.values, -1, atol=1e-10)
    assert pairs.summary.num_negative <= 2 * n - m


def test_the_exact_saddle_on_real_data() -> None:
    """theory.md §8: ∇L = 0 to round-off and λ = ±0.2409."""
    problem, known = examples.digits_saddle(), examples.known.digits_saddle()
    assert float(problem.gradient().norm()) < 1e-15
    pairs = hessian_directions(problem, k=1, tol=1e-8)
    assert pairs.largest.values[0] == pytest.approx(known.eigenvalues[0], rel=1e-9)
    assert pairs.smallest.values[0] == pytest.approx(known.eigenvalues[-1], rel=1e-9)
    assert pairs.largest.values[0] == pytest.approx(0.2409, abs=5e-5)
    assert 1 <= pairs.summary.num_negative <= known.index == 144


def test_gradient_direction() -> None:
    problem = slice_problem(lambda x, y: 3 * x - 4 * y)
    np.testing.assert_allclose(gradient_direction(problem).vector, [0.6, -0.8])
    with pytest.raises(ValueError, match=r"got ∇L = 0: a critical point has no gradient direction"):
        gradient_direction(slice_problem(lambda x, y: x * y))


def own_forms(problem: Problem) -> dict[str, Any]:
    flat = torch.linspace(-1, 1, problem.num_parameters, dtype=torch.float64)
    parts = problem.split(flat)
    read_only = flat.numpy().copy()
    read_only.flags.writeable = False
    return {
        "tensor": flat,
        "float32": flat.float(),
        "with a graph": flat.clone().requires_grad_(True),
        "numpy": flat.numpy(),
        "read-only": read_only,
        "list of numbers": flat.tolist(),
        "list of tensors": parts,
        "tuple of arrays": tuple(part.numpy() for part in parts),
        "state_dict": OrderedDict(
            [("extra", torch.zeros(3)), *reversed(list(zip(problem.parameter_names, parts, strict=True)))]
        ),
        "Direction": Direction("d", "own", "d", "d", vector=flat),
    }


@pytest.mark.parametrize("form", own_forms(make("mlp").problem()))
def test_own_directions_are_taken_as_given(form: str) -> None:
    problem = make("mlp").problem()
    expected = torch.linspace(-1, 1, problem.num_parameters, dtype=torch.float64)
    vector = as_direction(problem, own_forms(problem)[form]).vector
    torch.testing.assert_close(
        vector, expected, rtol=1e-6 if form == "float32" else 0, atol=1e-7 if form == "float32" else 0
    )


@pytest.mark.parametrize(
    ("given", "kind", "message"),
    [
        (torch.ones(3), ValueError, "expected a direction with 51 entries, got 3"),
        ([torch.ones(6, 4), torch.ones(7)], ValueError, r"expected a tensor of shape \(6,\) for '0.bias', got \(7,\)"),
        ([torch.ones(6, 4), torch.ones(6)], ValueError, r"expected 4 tensors \(0\.weight, .*\), got 2"),
        (
            {"0.weight": torch.ones(6, 4)},
            ValueError,
            "expected a state_dict with all of θ's tensors, got one without '0.bias'",
        ),
        ("gradient", TypeError, "expected a direction as a Direction, a tensor, .* got str"),
        (
            torch.ones(51, dtype=torch.complex64),
            TypeError,
            "direction of real numbers, got torch.complex64; take .real",
        ),
        (np.array(["a"] * 51), TypeError, "direction of real numbers, got a ndarray; make one array of them"),
        (np.ones(51, dtype=object), TypeError, "direction of real numbers, got a ndarray; make one array of them"),
        (3, TypeError, "expected a direction as .* got int"),
        (Direction("d", "own", "d", "saved"), ValueError, "expected a direction with its vector, got 'saved' without"),
        (
            Direction("d", "own", "d", "short", vector=torch.ones(2)),
            ValueError,
            "expected a direction with 51 entries, got 2 in 'short'",
        ),
    ],
)
def test_own_directions_that_do_not_fit_are_refused(given: Any, kind: type[Exception], message: str) -> None:
    with pytest.raises(kind, match=message):
        as_direction(make("mlp").problem(), given)


def test_unknown_normalizations_and_keywords_are_refused() -> None:
    problem = make("mlp").problem()
    with pytest.raises(ValueError, match="expected normalization 'filter', 'layer', 'unit', 'none', got 'batch'"):
        random_directions(problem, normalization="batch")
    with pytest.raises(ValueError, match="expected normalization 'filter'.*, got \\[\\]"):
        random_directions(problem, normalization=[])  # type: ignore[arg-type]
    with pytest.raises(TypeError, match="unexpected keyword 'norm'; "):
        random_directions(problem, norm="filter")  # type: ignore[call-arg]
    with pytest.raises(TypeError, match="unexpected keyword 'top_n'; known are problem, k, tol"):
        hessian_directions(problem, top_n=3)  # type: ignore[call-arg]


# Planes.


def plane(x: Any, y: Any, problem: Problem | None = None) -> Plane:
    problem = problem or make("mlp").problem()
    return Plane(problem.point, (as_direction(problem, x, 0), as_direction(problem, y, 1)))


def test_points_are_measured_from_the_origin_and_give_their_coordinates_back() -> None:
    generator = torch.Generator().manual_seed(0)
    x, y = torch.randn(2, 51, generator=generator, dtype=torch.float64) * torch.tensor([[5.0], [0.1]])
    p = plane(x, y)
    assert torch.equal(p.point(0.0, 0.0), p.origin)
    theta = p.point(0.7, -3.0)
    torch.testing.assert_close(theta, p.origin + 0.7 * x - 3.0 * y, rtol=1e-14, atol=1e-14)
    assert p.coordinates(theta) == pytest.approx((0.7, -3.0, 0.0), abs=1e-12)
    normal = torch.linalg.svd(p.axes).Vh[-1]
    assert p.coordinates(theta + 2 * normal) == pytest.approx((0.7, -3.0, 2.0), abs=1e-12)
    assert p.norms == pytest.approx((float(x.norm()), float(y.norm())))
    assert p.cosine == pytest.approx(float(x @ y / x.norm() / y.norm()))


@pytest.mark.parametrize(
    ("x", "y", "message"),
    [
        (
            torch.ones(51),
            -2 * torch.ones(51),
            r"got parallel ones \(cosine -1\.000000\): 'own direction x' and 'own direction y'",
        ),
        (torch.ones(51), torch.zeros(51), "finite entries that are not all zero, got 'own direction y'"),
        (torch.full((51,), torch.nan), torch.ones(51), "finite entries that are not all zero, got 'own direction x'"),
    ],
)
def test_planes_that_are_none_are_refused(x: torch.Tensor, y: torch.Tensor, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        plane(x, y)


@pytest.mark.parametrize("sign", [1, -1])
def test_axes_are_parallel_beyond_a_cosine_of_0_999(sign: int) -> None:
    x, other = torch.eye(51, dtype=torch.float64)[:2]
    for cosine in (sign * 0.9989, sign * 0.9991):
        y = cosine * x + (1 - cosine**2) ** 0.5 * other
        if abs(cosine) < 0.999:
            assert plane(x, y).cosine == pytest.approx(cosine)
            continue
        with pytest.raises(ValueError, match=rf"got parallel ones \(cosine {cosine}00\)"):
            plane(x, y)


def test_a_plane_wants_axes_of_its_origins_length() -> None:
    problem = make("mlp").problem()
    short = Direction("d", "own", "d", "short", vector=torch.ones(3))
    with pytest.raises(ValueError, match="expected an axis of 51 entries, got 3 in 'short'"):
        Plane(problem.point, (short, short))


def test_filter_normalized_slices_do_not_change_under_relu_rescaling() -> None:
    """Layers × c and ÷ c compute the same function, and filter-normalized slices are the same (Li et al. 2018)."""
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(4, 6, bias=False), nn.ReLU(), nn.Linear(6, 3, bias=False)).double()
    x, y = torch.randn(20, 4).double(), torch.arange(20) % 3
    before = Problem(model, nn.CrossEntropyLoss(), (x, y))
    with torch.no_grad():
        model[0].weight.mul_(7)  # type: ignore[misc]
        model[2].weight.div_(7)  # type: ignore[misc]
    after = Problem(model, nn.CrossEntropyLoss(), (x, y))
    t = np.linspace(-1, 1, 7)
    a, b = (p.plane_losses(Plane(p.point, random_directions(p, 2)), t, t[::-1]) for p in (before, after))  # type: ignore[arg-type]
    np.testing.assert_allclose(a, b, rtol=1e-9)
