"""What cannot be meant is refused at the call, in words, before anything is computed."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

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
    with pytest.raises(ValueError, match="batch_weight to return a number of at least 0, got nan"):
        Problem(model, nn.MSELoss(), data, batch_weight=lambda _batch: float("nan"))


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
