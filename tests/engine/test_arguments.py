"""What cannot be meant is refused at the call, in words, before anything is computed."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

import landscape_widget as lw
from landscape_widget import Problem, examples


@pytest.fixture
def problem(monkeypatch: pytest.MonkeyPatch) -> Problem:
    """A problem that fails the test when it is evaluated."""
    made = examples.quadratic([2.0, 1.0, -1.0])

    def evaluated(*_args: Any, **_kwargs: Any) -> None:
        raise AssertionError("evaluated before the arguments were checked")

    for name in ("_evaluate", "gradient", "term"):
        monkeypatch.setattr(made, name, evaluated)
    return made


CALLS: dict[str, Callable[..., Any]] = {
    "survey": lw.survey,
    "hessian_directions": lw.hessian_directions,
    "random_directions": lw.random_directions,
    "explore": lw.explore,
}


@pytest.mark.parametrize("call", CALLS)
@pytest.mark.parametrize(
    ("seed", "kind"), [("a", TypeError), (1.5, TypeError), (True, TypeError), (-1, ValueError), (2**70, ValueError)]
)
def test_seeds(problem: Problem, call: str, seed: Any, kind: type[Exception]) -> None:
    with pytest.raises(kind, match="expected .*seed.*, got"):
        CALLS[call](problem, seed=seed)


@pytest.mark.parametrize(
    ("settings", "kind", "message"),
    [
        ({"resolution": "65"}, TypeError, "resolution as an integer 2\\^k \\+ 1 .*got '65'"),
        ({"resolution": 17.0}, TypeError, "resolution as an integer"),
        ({"span": "a"}, TypeError, "span as a number, got 'a'"),
        ({"span": (1.0, float("nan"))}, ValueError, "expected a positive span"),
        ({"tolerance": None}, TypeError, "tolerance as a number, got None"),
        ({"tolerance": "a"}, TypeError, "tolerance as a number, got 'a'"),
        ({"tolerance": 1.0}, ValueError, "tolerance from 0 .* to below 1"),
    ],
)
def test_settings_of_a_survey(problem: Problem, settings: dict[str, Any], kind: type[Exception], message: str) -> None:
    with pytest.raises(kind, match=message):
        lw.survey(problem, **settings)


@pytest.mark.parametrize(("k", "kind"), [("2", TypeError), (True, TypeError), (0, ValueError)])
def test_numbers_of_pairs(problem: Problem, k: Any, kind: type[Exception]) -> None:
    for call in (lw.hessian_directions, lambda problem, k: lw.explore(problem, k=k)):
        with pytest.raises(kind, match="expected k.*, got"):
            call(problem, k=k)


def test_a_negative_count_of_directions(problem: Problem) -> None:
    with pytest.raises(ValueError, match="expected count of at least 1, got -1"):
        lw.random_directions(problem, -1)


@pytest.mark.parametrize(
    "call", [lw.survey, lw.hessian_directions, lw.random_directions, lw.gradient_direction, lw.Hessian]
)
def test_a_model_is_no_problem(call: Callable[[Any], Any]) -> None:
    with pytest.raises(TypeError, match=r"expected a Problem, got Linear; make one with Problem\(model, loss, data\)"):
        call(nn.Linear(2, 1))


@pytest.mark.parametrize(
    ("call", "given", "hint"),
    [
        (lambda **given: Problem(nn.Linear(2, 1), nn.MSELoss(), None, **given), "parms", "'params'"),
        (lambda **given: lw.hessian_directions(examples.quadratic([2.0, 1.0]), **given), "max_matvec", "'max_matvecs'"),
        (
            lambda **given: lw.random_directions(examples.quadratic([2.0, 1.0]), **given),
            "normalisation",
            "'normalization'",
        ),
        (lambda **given: lw.gradient_direction(examples.quadratic([2.0, 1.0]), **given), "problm", "'problem'"),
        (lambda **given: lw.load("net.npz", **given), "pth", "'path'"),
    ],
    ids=["Problem", "hessian_directions", "random_directions", "gradient_direction", "load"],
)
def test_unknown_keywords_are_refused_with_the_nearest_known(call: Callable[..., Any], given: str, hint: str) -> None:
    with pytest.raises(TypeError, match=f"unexpected keyword '{given}'; did you mean {hint}"):
        call(**{given: 1})


def test_one_parameter_makes_no_plane() -> None:
    with pytest.raises(ValueError, match="at least two parameters"):
        lw.explore(examples.quadratic([1.0]))


@pytest.mark.parametrize("missing", ["gpu", "cuda:99"])
def test_devices_that_are_not_there(missing: str) -> None:
    with pytest.raises(ValueError, match="expected a device that torch can use here.*leave device= out"):
        Problem(nn.Linear(2, 1), nn.MSELoss(), (torch.ones(4, 2), torch.ones(4, 1)), device=missing)


def test_batch_weights() -> None:
    model, data = nn.Linear(2, 1), (torch.ones(4, 2), torch.ones(4, 1))
    with pytest.raises(TypeError, match="batch_weight as a function of a batch, got 3"):
        Problem(model, nn.MSELoss(), data, batch_weight=3)  # type: ignore[arg-type]
    given: Any
    for given, kind, got in [
        (float("nan"), ValueError, "nan"),
        (-1, ValueError, "-1"),
        (float("inf"), ValueError, "inf"),
        ("a", TypeError, "str 'a'"),
        (None, TypeError, "None"),
        (torch.ones(3), TypeError, r"a tensor of shape \(3,\)"),
    ]:
        with pytest.raises(
            kind, match=f"batch_weight to return a number of at least 0, got {got}.* for batch 0: a tuple"
        ):
            Problem(model, nn.MSELoss(), data, batch_weight=lambda _batch, given=given: given)
    with pytest.raises(ValueError, match="positive total weight, got 0: batch_weight gives 0 for every batch"):
        Problem(model, nn.MSELoss(), data, batch_weight=lambda _batch: 0)


@pytest.mark.parametrize(
    ("settings", "kind", "message"),
    [
        ({"params": 3}, TypeError, "names, glob patterns or a predicate .*got int"),
        ({"params": [nn.Parameter(torch.ones(1))]}, TypeError, "got Parameter; model.named_parameters"),
        (
            {"params": lambda name: True},
            TypeError,
            r"predicate of \(name, parameter\), got one that cannot be called so",
        ),
        ({"params": []}, ValueError, "trainable parameters, got none"),
        ({"device": 3.5}, TypeError, "device that torch can use here, got 3.5"),
        ({"device": []}, TypeError, "device that torch can use here"),
        ({"device": "meta"}, ValueError, "device that holds numbers, got meta"),
        ({"cache_bytes": -1}, ValueError, "cache_bytes as a number of bytes, at least 0, got -1"),
        ({"cache_bytes": float("nan")}, ValueError, "cache_bytes .*got nan"),
        ({"cache_bytes": "4GB"}, TypeError, "cache_bytes .*got '4GB'"),
        ({"cache_bytes": None}, TypeError, "cache_bytes .*got None"),
    ],
)
def test_settings_of_a_problem(settings: dict[str, Any], kind: type[Exception], message: str) -> None:
    with pytest.raises(kind, match=message):
        Problem(nn.Linear(2, 1), nn.MSELoss(), (torch.ones(4, 2), torch.ones(4, 1)), **settings)


@pytest.mark.parametrize(
    ("points", "kind", "message"),
    [
        ("abc", TypeError, r"points as a tensor or array of real numbers of shape \(p, 3\), got str 'abc'"),
        (["a"], TypeError, "points as a tensor or array .*got a list of"),
        (None, (TypeError, ValueError), "expected points"),
        (np.array([[object()] * 3]), TypeError, "points as a tensor or array"),
        (torch.zeros(2, 3, dtype=torch.complex64), TypeError, "points of real numbers, got torch.complex64"),
        (torch.zeros(3), ValueError, r"points of shape \(p, 3\), got \(3,\)"),
        (torch.zeros(2, 4), ValueError, r"points of shape \(p, 3\), got \(2, 4\)"),
    ],
)
def test_points(problem: Problem, points: Any, kind: type[Exception], message: str) -> None:
    with pytest.raises(kind, match=message):
        problem.losses(points)


def test_points_in_every_form() -> None:
    problem = examples.quadratic([2.0, 1.0, -1.0])
    rows = torch.arange(6, dtype=torch.float64).view(2, 3)
    expected = problem.losses(rows)
    for form in (list(rows), rows.tolist(), rows.numpy(), rows.numpy()[::-1].copy()[::-1], rows.float(), rows.int()):
        np.testing.assert_array_equal(problem.losses(form), expected)
    np.testing.assert_array_equal(problem.gradient(rows[1].numpy()), problem.gradient(rows[1]))


@pytest.mark.parametrize("theta", [torch.zeros(2), torch.zeros(1, 3), "a"])
def test_gradient_at_another_shape(theta: Any) -> None:
    with pytest.raises((TypeError, ValueError), match=r"expected theta .*of shape \(3,\), got"):
        examples.quadratic([2.0, 1.0, -1.0]).gradient(theta)


def test_points_of_a_plane() -> None:
    problem = examples.quadratic([2.0, 1.0, -1.0])
    plane = lw.Plane(problem.point, lw.random_directions(problem, 2, normalization="unit"))  # type: ignore[arg-type]
    with pytest.raises(ValueError, match=r"as many alphas as betas, .*got shapes \(1,\) and \(2,\)"):
        problem.plane_losses(plane, [0.0], [0.0, 1.0])
    with pytest.raises(ValueError, match="plane in 2 dimensions, got one in 3"):
        examples.quadratic([2.0, 1.0]).plane_losses(plane, [0.0], [0.0])


def test_the_largest_seed() -> None:
    problem, seed = examples.quadratic([2.0, 1.0, -1.0]), 2**32 - 1
    assert lw.random_directions(problem, 2, seed=seed)[0].seed == seed
    assert float(lw.hessian_directions(problem, k=1, seed=seed).smallest.values[0]) == pytest.approx(-1)
    assert lw.compute(problem, resolution=5, seed=seed, progress=False).complete


def test_tensors_of_a_loss_on_another_device() -> None:
    weight = torch.ones(1, device="meta")

    def loss(model: nn.Module, batch: tuple[torch.Tensor, torch.Tensor]) -> torch.Tensor:
        return ((model(batch[0]) - batch[1]) ** 2 * weight).mean()

    with pytest.raises(ValueError, match="expected model, data and loss on one device, got: .*move the tensors"):
        Problem(nn.Linear(2, 1), loss, (torch.ones(4, 2), torch.ones(4, 1)))


def test_class_labels_of_another_type() -> None:
    data = torch.ones(4, 2), torch.zeros(4, dtype=torch.int32)
    with pytest.raises(ValueError, match="class labels as int64, got: .*convert them"):
        Problem(nn.Linear(2, 3), nn.CrossEntropyLoss(), data)


@pytest.mark.parametrize(("model", "data"), [(torch.float32, torch.float64), (torch.float64, torch.float32)])
def test_data_of_another_precision_take_the_models(model: torch.dtype, data: torch.dtype) -> None:
    torch.manual_seed(0)
    net, x, y = nn.Linear(2, 1).to(model), torch.randn(8, 2, dtype=data), torch.randn(8, 1, dtype=data)
    problem = Problem(net, nn.MSELoss(), (x, y))
    expected = nn.functional.mse_loss(net(x.to(model)), y.to(model))
    assert problem.loss() == pytest.approx(float(expected.detach()), rel=1e-6)
    words = [str(dtype).removeprefix("torch.") for dtype in (data, model)]
    assert problem.notes == [f"{words[0]} data are computed in {words[1]}, the model's precision"]
    assert problem.point.dtype == model
