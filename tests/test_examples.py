"""The examples: exact answers against dense Hessians, shipped weights against fresh ones, symptoms against theory."""

import importlib.util
import inspect
import random
from importlib import resources

import numpy as np
import pytest
import safetensors.torch
import torch
from torch import nn

import landscape_widget as lw
from landscape_widget import examples
from landscape_widget.examples import data, known, networks, recipes, train

CLASSIFIERS = ["digits_mlp", "digits_mlp_early", "digits_cnn", "digits_cnn_early", "digits_cnn_relu"]
WITH_ANSWER = [
    ("quadratic", ([2.0, -1.0, 0.5],)),
    ("quadratic", ([3.0, 0.0, -1.0, -1.0],)),
    ("toy_saddle", (4, 5)),
    ("toy_saddle", (3, 0)),
    ("digits_saddle", ()),
]


def dense_hessian(problem):
    def loss(theta):
        return sum(problem.term(theta, term) for term in problem.terms())

    # Reverse over reverse: forward mode compiles TorchScript, which warns that it is deprecated.
    return torch.func.jacrev(torch.func.grad(loss))(problem.point)


def legacy_state():
    _, words, *_ = np.random.get_state()  # noqa: NPY002 - the state that others' code may draw from
    return np.array(words)


def along(name, v, steps):
    """Return vᵀHv and, for each step h, the second difference of the loss along v; both in float64, free of round-off."""
    problem = lw.Problem(recipes.trained(name).double(), nn.CrossEntropyLoss(), recipes.RECIPES[name].samples())
    v = torch.as_tensor(v).double()
    v /= v.norm()
    points = torch.stack([problem.point + h * v for step in steps for h in (-step, 0, step)])
    losses = problem.losses(points).reshape(-1, 3)
    differences = (losses[:, 0] - 2 * losses[:, 1] + losses[:, 2]) / np.square(steps)
    return float(v @ (lw.Hessian(problem) @ v)), differences


def test_every_public_name_exists_and_is_a_problem_or_answers_one():
    functions = [getattr(examples, name) for name in examples.__all__ if name != "known"]
    assert all(inspect.get_annotations(f)["return"] == "Problem" for f in functions)
    assert {name for name, _ in WITH_ANSWER} <= set(examples.__all__) & set(vars(known))


# Exact answers


@pytest.mark.parametrize(("name", "arguments"), WITH_ANSWER)
def test_answer_is_the_dense_spectrum_at_a_critical_point(name, arguments):
    problem, answer = getattr(examples, name)(*arguments), getattr(known, name)(*arguments)
    dense = torch.linalg.eigvalsh(dense_hessian(problem)).flip(0).numpy()
    assert problem.dtype == torch.float64
    assert np.abs(answer.eigenvalues - dense).max() < 1e-12
    assert abs(problem.loss() - answer.loss) < 1e-12
    assert problem.gradient().norm() < 1e-12
    assert answer.trace == pytest.approx(dense.sum(), abs=1e-11)
    assert answer.frobenius_norm == pytest.approx(np.linalg.norm(dense))


def test_digits_saddle_has_the_published_facts():
    answer = known.digits_saddle()
    assert len(answer.eigenvalues) == 1210
    assert answer.index == 144
    assert round(answer.eigenvalues[0], 4) == 0.2409
    assert round(answer.eigenvalues[-1], 4) == -0.2409
    assert round(answer.s, 3) == 0.351
    assert examples.digits_saddle().gradient().norm() < 1e-15


@pytest.mark.parametrize(("m", "s"), [(500, 0.0), (520, 1.265), (550, 3.162), (600, 6.325)])
def test_toy_saddle_has_the_s_of_the_theory(m, s):
    answer = known.toy_saddle(500, m)
    assert answer.s == pytest.approx(s, abs=5e-4)
    assert answer.s == pytest.approx((2 * m - 1000) / np.sqrt(1000))
    assert answer.index == 1000 - m
    assert len(answer.eigenvalues) == examples.toy_saddle(500, m).num_parameters == 1001


def test_toy_saddle_is_exactly_the_cubic_slice():
    n, m = 4, 6
    problem = examples.toy_saddle(n, m)
    signs = np.repeat([1.0, -1.0, 0.0], [m, 2 * n - m, 1])
    d1, d2 = np.random.default_rng(0).standard_normal((2, 2 * n + 1))
    a, b, c = d1 @ (signs * d1), d1 @ (signs * d2), d2 @ (signs * d2)
    for alpha, beta in [(0.3, -1.2), (2.0, 0.7), (-5.0, 4.0)]:
        (loss,) = problem.losses(problem.point[None] + torch.from_numpy(alpha * d1 + beta * d2))
        slice_ = 0.5 * (1 + alpha * d1[-1] + beta * d2[-1]) * (a * alpha**2 + 2 * b * alpha * beta + c * beta**2)
        assert loss == pytest.approx(slice_, rel=1e-12)


def test_quadratic_keeps_the_order_of_the_spectrum_and_is_exact_everywhere():
    spectrum = np.array([-1.0, 4.0, 0.5])
    problem = examples.quadratic(spectrum)
    assert torch.equal(dense_hessian(problem), torch.diag(torch.tensor(spectrum)))
    points = np.random.default_rng(1).standard_normal((5, 3))
    np.testing.assert_allclose(problem.losses(points), 0.5 * (spectrum * points**2).sum(axis=1), rtol=1e-14)


def test_quadratic_rotates_its_eigenvectors_by_the_seed():
    spectrum = [3.0, 1.0, 0.0, -2.0]
    hessian = dense_hessian(examples.quadratic(spectrum, rotation_seed=0))
    same, other = (dense_hessian(examples.quadratic(spectrum, rotation_seed=seed)) for seed in (0, 1))
    assert torch.equal(hessian, same)
    assert (hessian - other).abs().max() > 0.1
    assert (hessian - torch.diag(hessian.diag())).abs().max() > 0.1
    np.testing.assert_allclose(torch.linalg.eigvalsh(hessian).flip(0), spectrum, atol=1e-12)


@pytest.mark.parametrize(
    "spectrum", [[], [[1.0]], 2.0, [np.nan, 1.0], "steep", [1.0, "flat"], [[1.0], [1.0, 2.0]], None]
)
def test_quadratic_refuses_what_is_no_spectrum(spectrum):
    with pytest.raises(ValueError, match="expected spectrum as a list of finite eigenvalues"):
        examples.quadratic(spectrum)


@pytest.mark.parametrize(("seed", "kind"), [("a", TypeError), (1.5, TypeError), (-1, ValueError)])
def test_quadratic_refuses_what_is_no_seed(seed, kind):
    with pytest.raises(kind, match="expected .*seed.*, got"):
        examples.quadratic([2.0, 1.0], rotation_seed=seed)


@pytest.mark.parametrize(("n", "m"), [("3", 4), (3, 4.0), (True, 1)])
def test_toy_saddle_refuses_what_is_no_number_of_curvatures(n, m):
    with pytest.raises(TypeError, match=r"expected [nm] as an integer, got .*; 2n \+ 1 is the number of parameters"):
        examples.toy_saddle(n, m)


@pytest.mark.parametrize(("n", "m"), [(0, 0), (3, 7), (3, -1)])
def test_toy_saddle_refuses_impossible_sizes(n, m):
    with pytest.raises(ValueError, match=rf"0 ≤ m ≤ 2n, got n = {n}, m = {m}"):
        examples.toy_saddle(n, m)


def test_exact_examples_take_a_dtype():
    problems = [
        examples.toy_saddle(2, 2, dtype=torch.float32),
        examples.quadratic([1.0, -1.0], rotation_seed=0, dtype=torch.float32),
        examples.digits_saddle(dtype=torch.float32),
    ]
    assert [p.point.dtype for p in problems] == [torch.float32] * 3


# Data


def test_split_is_stratified_and_gives_every_digit_once():
    everything, (training, test) = data.digits(), data.digits_split()
    assert (len(everything.labels), len(training.labels), len(test.labels)) == (1797, 1437, 360)
    assert everything.images.min() == 0
    assert everything.images.max() == 1
    shares = np.bincount(test.labels) / np.bincount(everything.labels)
    assert np.abs(shares - 0.2).max() < 0.01

    def rows(*splits):
        return sorted(
            (*map(float, image), label) for s in splits for image, label in zip(s.images, s.labels, strict=True)
        )

    assert rows(training, test) == rows(everything)


def test_digits_are_those_of_scikit_learn():
    from sklearn.datasets import load_digits

    images, labels = load_digits(return_X_y=True)
    np.testing.assert_array_equal(data.digits().images * 16, images)
    np.testing.assert_array_equal(data.digits().labels, labels)


def test_digits_are_found_where_the_file_has_moved(monkeypatch):
    direct = data.digits()
    monkeypatch.setattr(data.Path, "exists", lambda self: False)
    np.testing.assert_array_equal(data.digits().images, direct.images)
    np.testing.assert_array_equal(data.digits().labels, direct.labels)


@pytest.mark.parametrize("name", ["digits_mlp", "digits_saddle"])
def test_missing_scikit_learn_is_said_with_what_to_do(monkeypatch, name):
    monkeypatch.setattr(importlib.util, "find_spec", lambda _: None)
    with pytest.raises(ModuleNotFoundError, match=r"scikit-learn.*pip install landscape-widget\[app\]"):
        getattr(examples, name)()


# Trained networks


@pytest.mark.parametrize(
    ("name", "least", "most"),
    [
        ("digits_mlp", 0.955, 1),
        ("digits_cnn", 0.955, 1),
        ("digits_cnn_relu", 0.955, 1),
        ("digits_mlp_early", 0.7, 0.95),
        ("digits_cnn_early", 0.7, 0.95),
    ],
)
def test_shipped_weights_know_digits_they_never_saw(name, least, most):
    samples = recipes.square_digits if "cnn" in name else recipes.flat_digits
    assert least < train.accuracy(recipes.trained(name), samples(data.digits_split()[1])) < most


def test_regression_is_fitted():
    x, y = data.wave_samples()
    with torch.no_grad():
        fitted = recipes.trained("regression")(torch.from_numpy(x).float()).numpy()
    assert np.abs(fitted - y).max() < 0.02
    assert np.ptp(y) > 1
    assert examples.regression().loss() < 1e-4


def test_shipped_weights_are_float32_and_small():
    files = list((resources.files(examples) / "weights").iterdir())
    assert {f.name for f in files} == {f"{name}.safetensors" for name in recipes.RECIPES}
    assert sum(len(f.read_bytes()) for f in files) < 200_000
    for file in files:
        assert {t.dtype for t in safetensors.torch.load(file.read_bytes()).values()} == {torch.float32}


@pytest.mark.parametrize(
    ("name", "n", "num_samples"),
    [
        ("digits_mlp", 8970, 1437),
        ("digits_mlp_early", 8970, 1437),
        ("digits_cnn", 5210, 1437),
        ("digits_cnn_early", 5210, 1437),
        ("digits_cnn_relu", 5210, 1437),
        ("digits_saddle", 1210, 1400),
        ("regression", 321, 200),
    ],
)
def test_problem_holds_the_training_data_and_the_shipped_weights(name, n, num_samples):
    problem = getattr(examples, name)()
    assert (problem.num_parameters, problem.num_samples) == (n, num_samples)
    if name in recipes.RECIPES:
        weights = torch.cat([p.detach().flatten() for p in recipes.trained(name).parameters()])
        assert torch.equal(problem.point, weights)


def test_retraining_gives_as_good_a_network():
    fresh, shipped = train.train(recipes.RECIPES["digits_mlp"]), recipes.trained("digits_mlp")
    for split in data.digits_split():
        samples = recipes.flat_digits(split)
        assert train.accuracy(fresh, samples) == pytest.approx(train.accuracy(shipped, samples), abs=0.01)


def test_script_writes_the_weights_that_are_read(tmp_path, monkeypatch, capsys):
    # A few steps of a run are enough to see that main() saves what train() made.
    short = recipes.Recipe(networks.WaveMLP, data.wave_samples, nn.functional.mse_loss, steps=3, learning_rate=1e-2)
    monkeypatch.setattr(train, "RECIPES", {"regression": short})
    monkeypatch.setattr(train, "weights_file", lambda name: tmp_path / "weights" / name)
    train.main()
    saved = safetensors.torch.load((tmp_path / "weights" / "regression").read_bytes())
    expected = train.train(short).state_dict()
    assert saved.keys() == expected.keys()
    assert all(torch.equal(saved[key], expected[key]) for key in saved)
    assert "regression" in capsys.readouterr().out


@pytest.mark.parametrize(("name", "bound"), [("digits_mlp_early", -0.05), ("digits_cnn_early", -0.02)])
def test_early_network_has_negative_curvature_to_see(name, bound):
    problem = getattr(examples, name)()
    axes = lw.hessian_directions(problem, k=1)
    curvature, differences = along(name, axes.smallest.vectors[0], steps=[1e-2])
    assert curvature < bound
    assert differences[0] < bound

    # In the window of a first view f(0) − min f(0, β) is at least 15 % of the range.
    directions = (axes.largest.vectors[0], axes.smallest.vectors[0])
    losses = lw.compute(problem, directions=directions, resolution=9, tolerance=0, progress=False).losses
    assert (losses[4, 4] - losses[:, 4].min()) / np.ptp(losses) >= 0.15


def test_smooth_network_looks_like_its_hessian_and_the_twin_with_kinks_does_not():
    seen = {}
    for name in ("digits_cnn", "digits_cnn_relu"):
        v = lw.hessian_directions(getattr(examples, name)(), k=1).smallest.vectors[0]
        curvature, differences = along(name, v, steps=[1e-3, 1e-2])
        assert curvature < 0
        seen[name] = np.array(differences) / curvature
    np.testing.assert_allclose(seen["digits_cnn"], 1, atol=0.02)
    # Not merely inexact: the slice bends up where the Hessian says down.
    assert (seen["digits_cnn_relu"] < -0.1).all()


# Manners


def test_nothing_global_is_touched():
    torch.set_default_dtype(torch.float64)
    try:
        before = torch.get_rng_state(), legacy_state(), random.getstate(), torch.get_num_threads()
        for name in [*CLASSIFIERS, "regression", "digits_saddle"]:
            problem = getattr(examples, name)()
            assert problem.dtype == (torch.float64 if name == "digits_saddle" else torch.float32)
        examples.quadratic([1.0, -1.0], rotation_seed=3)
        examples.toy_saddle(2, 1)
        short = recipes.Recipe(networks.WaveMLP, data.wave_samples, nn.functional.mse_loss, steps=2, learning_rate=1e-2)
        assert {p.dtype for p in train.train(short).parameters()} == {torch.float32}
        after = torch.get_rng_state(), legacy_state(), random.getstate(), torch.get_num_threads()
        assert torch.get_default_dtype() == torch.float64
    finally:
        torch.set_default_dtype(torch.float32)
    assert torch.equal(before[0], after[0])
    assert np.array_equal(before[1], after[1])
    assert before[2:] == after[2:]
