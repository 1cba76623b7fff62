"""Loss and metrics at points of a plane: every strategy gives the same numbers, and the choice among them is safe."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.utils.data import DataLoader, TensorDataset

from landscape_widget import Hessian, Plane, Problem, random_directions
from landscape_widget.engine import settling
from landscape_widget.engine.evaluation import Evaluation
from landscape_widget.engine.ways import Points, Strategy

from .problems import ARCHITECTURES, Case, batches, make, whole_function

ONE_BY_ONE = Strategy()
STRATEGIES = {
    str(strategy): strategy
    for strategy in (
        ONE_BY_ONE,
        Strategy(cells=4),
        Strategy(channels_last=True),
        Strategy(rows=7),
        Strategy(channels_last=True, rows=7),
    )
}
# On the CPU torch.func.vmap cannot map over LSTMs and fused attention.
UNMAPPED = ("lstm", "attention")
COMBINATIONS = [(a, s) for a in ARCHITECTURES for s in STRATEGIES if not (a in UNMAPPED and STRATEGIES[s].cells > 1)]
# Displaced points on both sides, twice the same one, and the centre between others: five are no whole number of passes.
ALPHAS, BETAS = [0.1, -0.2, 0.0, 0.1, 0.3], [0.3, 0.1, 0.0, 0.3, -0.25]


def plane_of(problem: Problem) -> Plane:
    x, y = random_directions(problem, normalization="unit")
    return Plane(problem.point, (x, y))


def by(problem: Problem, strategy: Strategy) -> Problem:
    """The problem, evaluated by this strategy."""
    problem._evaluation._use(strategy)
    return problem


def ended(steps: Any) -> tuple[int, Any]:
    """How often it yielded, and what it returned."""
    count = 0
    while True:
        try:
            assert next(steps) is None
            count += 1
        except StopIteration as end:
            return count, end.value


def in_float32(case: Case) -> Case:
    def single(data: Any) -> Any:
        if isinstance(data, Tensor):
            return data.float() if data.is_floating_point() else data
        if isinstance(data, dict):
            return {key: single(value) for key, value in data.items()}
        return type(data)(single(item) for item in data)

    return Case(case.model.float(), case.loss, single(case.data), case.whole)


@pytest.mark.parametrize(("name", "strategy"), COMBINATIONS)
def test_losses_are_those_of_the_mean_over_all_data_by_every_strategy(name: str, strategy: str, device: str) -> None:
    function, _ = whole_function(make(name))
    problem = by(make(name).problem(device=device), STRATEGIES[strategy])
    plane = plane_of(problem)
    expected = [float(function(plane.point(a, b).cpu())) for a, b in zip(ALPHAS, BETAS, strict=True)]
    np.testing.assert_allclose(problem.plane_losses(plane, ALPHAS, BETAS), expected, rtol=1e-12)
    np.testing.assert_allclose(
        problem.losses(torch.stack([plane.point(a, b) for a, b in zip(ALPHAS, BETAS, strict=True)])),
        expected,
        rtol=1e-12,
    )


@pytest.mark.parametrize(("name", "strategy"), COMBINATIONS)
def test_single_precision_differs_by_round_off_only(name: str, strategy: str) -> None:
    double = make(name).problem()
    single = by(in_float32(make(name)).problem(), STRATEGIES[strategy])
    assert single.dtype == torch.float32
    expected = double.plane_losses(plane_of(double), ALPHAS, BETAS)
    np.testing.assert_allclose(single.plane_losses(plane_of(single), ALPHAS, BETAS), expected, rtol=1e-5)


@pytest.mark.parametrize(("name", "strategy"), COMBINATIONS)
def test_the_centre_is_the_loss_bit_for_bit_wherever_it_stands(name: str, strategy: str, device: str) -> None:
    problem = by(in_float32(make(name)).problem(device=device), STRATEGIES[strategy])
    plane = plane_of(problem)
    centre = problem.loss()
    for shift in range(5):
        alphas, betas = np.roll(ALPHAS, shift), np.roll(BETAS, shift)
        losses = problem.plane_losses(plane, alphas, betas)
        assert losses[(2 + shift) % 5] == centre
        # So does every other point have one value.
        np.testing.assert_array_equal(losses, np.roll(problem.plane_losses(plane, ALPHAS, BETAS), shift))


def test_images_and_their_weights_lie_channels_last(device: str) -> None:
    seen = []

    class Watched(nn.Conv2d):
        def forward(self, input: Tensor) -> Tensor:  # noqa: A002 - torch's name
            seen.append((input.stride(), self.weight.stride()))
            return super().forward(input)

    model = nn.Sequential(Watched(2, 3, 3), nn.ReLU(), Watched(3, 2, 2), nn.Flatten(), nn.Linear(2, 1))
    # Frozen weights, too.
    model[0].weight.requires_grad_(False)
    problem = Problem(model, nn.MSELoss(), (torch.randn(6, 2, 4, 4), torch.randn(6, 1)), device=device)
    problem = by(problem, Strategy(channels_last=True))
    seen.clear()
    problem.plane_losses(plane_of(problem), [0.1], [0.2])
    assert seen == [((32, 1, 8, 2), (18, 1, 6, 2)), ((12, 1, 6, 3), (12, 1, 6, 3))]


def test_parameters_of_several_precisions_keep_theirs() -> None:
    class Mixed(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.first, self.second = nn.Linear(3, 4), nn.Linear(4, 2).double()

        def forward(self, x: Tensor) -> Tensor:
            return self.second(torch.tanh(self.first(x)).double())

    model = Mixed()
    problem = Problem(model, nn.MSELoss(), (torch.randn(9, 3), torch.randn(9, 2).double()))
    plane = plane_of(problem)
    for strategy in (ONE_BY_ONE, Strategy(cells=4)):
        got = by(problem, strategy).plane_losses(plane, ALPHAS, BETAS)
        expected = [
            float(problem.term(plane.point(a, b), next(problem.terms()))) for a, b in zip(ALPHAS, BETAS, strict=True)
        ]
        np.testing.assert_allclose(got, expected, rtol=1e-12)


@pytest.mark.parametrize("strategy", STRATEGIES)
def test_a_pass_yields_after_every_micro_batch(strategy: str) -> None:
    problem = by(make("conv_batchnorm").problem(batch_weight=len), STRATEGIES[strategy])
    plane = plane_of(problem)
    # Batches of 16, 16, 16 and 2 samples that must not be cut, as the user weighs them.
    passes = 2 if STRATEGIES[strategy].cells > 1 else 5
    count, values = ended(problem.iter_plane_losses(plane, ALPHAS, BETAS))
    assert count == 4 * passes
    assert values.shape == (5, 1)
    assert values.dtype == np.float64
    np.testing.assert_array_equal(values[:, 0], problem.plane_losses(plane, ALPHAS, BETAS))


def test_micro_batches_are_as_small_as_the_strategy_says() -> None:
    problem = by(make("mlp").problem(), Strategy(rows=30))
    assert ended(problem.iter_plane_losses(plane_of(problem), [0.0, 0.1], [0.0, 0.1]))[0] == 2 * 4


def test_no_points_have_no_losses() -> None:
    problem = make("mlp").problem(metrics={"one": lambda output, target: 1.0})
    plane = plane_of(problem)
    assert problem.plane_losses(plane, [], []).shape == (0,)
    assert problem.losses(torch.empty(0, problem.num_parameters)).shape == (0,)
    count, values = ended(problem.iter_plane_losses(plane, [], []))
    assert (count, values.shape) == (0, (0, 2))


def test_arguments_are_checked_before_the_first_step() -> None:
    problem, other = make("mlp").problem(), make("tied").problem()
    with pytest.raises(ValueError, match=r"as many alphas as betas.*got shapes \(1,\) and \(2,\)"):
        problem.iter_plane_losses(plane_of(problem), [0.0], [0.0, 1.0])
    for method in (lambda p: problem.iter_plane_losses(p, [0.0], [0.0]), problem.settle):
        with pytest.raises(ValueError, match=r"expected a plane in \d+ dimensions, got one in \d+"):
            method(plane_of(other))


@pytest.mark.parametrize("strategy", ["one by one", "4 cells a pass", "channels last"])
def test_passes_may_be_left_and_may_overlap(strategy: str) -> None:
    problem = by(make("conv_batchnorm").problem(batch_weight=len), STRATEGIES[strategy])
    plane = plane_of(problem)
    expected = problem.plane_losses(plane, ALPHAS, BETAS)
    left = problem.iter_plane_losses(plane, ALPHAS, BETAS)
    next(left)
    other = problem.iter_plane_losses(plane, ALPHAS[::-1], BETAS[::-1])
    next(other)
    next(left)
    left.close()
    np.testing.assert_array_equal(ended(other)[1][:, 0], expected[::-1])
    np.testing.assert_array_equal(problem.plane_losses(plane, ALPHAS, BETAS), expected)


@pytest.mark.parametrize("strategy", ["one by one", "4 cells a pass", "channels last"])
def test_two_threads_do_not_move_each_others_model(strategy: str) -> None:
    problem = by(make("conv_batchnorm").problem(batch_weight=len), STRATEGIES[strategy])
    plane = plane_of(problem)
    expected = problem.plane_losses(plane, ALPHAS, BETAS)
    found: list[np.ndarray] = []

    def measure(shift: int) -> None:
        for _ in range(20):
            losses = problem.plane_losses(plane, np.roll(ALPHAS, shift), np.roll(BETAS, shift))
            found.append(np.roll(losses, -shift))

    threads = [threading.Thread(target=measure, args=(shift,)) for shift in range(3)]
    for thread in threads:
        thread.start()
    hessian = Hessian(problem)
    first = hessian @ problem.point
    for _ in range(10):
        torch.testing.assert_close(hessian @ problem.point, first, rtol=1e-10, atol=1e-12)
    for thread in threads:
        thread.join()
    assert len(found) == 60
    for losses in found:
        np.testing.assert_array_equal(losses, expected)


def test_a_pass_may_be_begun_in_inference_mode_and_ended_outside(device: str) -> None:
    problem = make("conv_batchnorm").problem(batch_weight=len, device=device)
    plane = plane_of(problem)
    for strategy in (ONE_BY_ONE, Strategy(cells=4), Strategy(channels_last=True)):
        expected = by(problem, strategy).plane_losses(plane, ALPHAS, BETAS)
        steps = problem.iter_plane_losses(plane, ALPHAS, BETAS)
        with torch.inference_mode():
            next(steps)
        np.testing.assert_array_equal(ended(steps)[1][:, 0], expected)


def snapshot(model: nn.Module) -> tuple[list[Tensor], list[bool]]:
    """Weights, statistics and gradients of a model and the random state; what requires a gradient or is in training."""
    grads = [p.grad for p in model.parameters() if p.grad is not None]
    tensors = [*model.state_dict().values(), *grads, torch.random.get_rng_state()]
    flags = [p.requires_grad for p in model.parameters()] + [module.training for module in model.modules()]
    return [tensor.detach().clone() for tensor in tensors], flags


@pytest.mark.parametrize("end", ["to the end", "left", "error", "settled"])
def test_the_users_model_and_the_random_state_stay_as_they_are(end: str) -> None:
    case = make("conv_batchnorm")
    case.model.train()
    case.loss(case.model(case.data[0][0]), case.data[0][1]).backward()
    calls: list[int] = []

    def metric(output: Tensor, target: Tensor) -> float:
        calls.append(1)
        if end == "error" and len(calls) > 10:
            raise RuntimeError("no luck")
        return 0.0

    before = snapshot(case.model)
    problem = case.problem(metrics={"luck": metric})
    plane = plane_of(problem)
    steps = problem.iter_plane_losses(plane, ALPHAS * 5, BETAS * 5)
    if end == "error":
        with pytest.raises(RuntimeError, match="no luck"):
            ended(steps)
    elif end == "left":
        next(steps)
        del steps
    elif end == "settled":
        ended(problem.settle(plane))
    else:
        ended(steps)
    tensors, flags = snapshot(case.model)
    torch.testing.assert_close(tensors, before[0], rtol=0, atol=0)
    assert flags == before[1]
    # And the problem is as good as before.
    assert problem.loss() == pytest.approx(case.problem().loss(), rel=1e-12)


# -- metrics


def accuracy(output: Tensor, target: Tensor) -> Tensor:
    return (output.argmax(1) == target).double().mean()


def spread(output: Tensor, target: Tensor) -> Tensor:
    return output.square().mean()


def classes(count: int = 50, size: int = 16) -> tuple[nn.Module, list[tuple[Tensor, ...]], Tensor, Tensor]:
    """A classifier and its data in ragged batches."""
    generator = torch.Generator().manual_seed(1)
    x = torch.randn(count, 4, generator=generator, dtype=torch.float64)
    y = torch.randint(0, 3, (count,), generator=generator)
    return make("mlp").model, batches((x, y), size), x, y


def at(model: nn.Module, point: Tensor) -> nn.Module:
    """The model with its parameters at a point."""
    torch.nn.utils.vector_to_parameters(point, model.parameters())
    return model


@pytest.mark.parametrize("strategy", STRATEGIES)
@pytest.mark.parametrize("kept", [True, False], ids=["kept", "streamed"])
def test_metrics_are_means_over_the_samples_also_in_ragged_batches(strategy: str, kept: bool, device: str) -> None:
    model, _, x, y = classes()
    loader = DataLoader(TensorDataset(x, y), batch_size=16)
    metrics = {"accuracy": accuracy, "spread": spread}
    problem = Problem(model, F.cross_entropy, loader, cache_bytes=2**30 if kept else 10, metrics=metrics, device=device)
    assert problem.metric_names == ("accuracy", "spread")
    plane = plane_of(by(problem, STRATEGIES[strategy]))
    _, values = ended(problem.iter_plane_losses(plane, ALPHAS, BETAS))
    assert values.shape == (5, 3)
    np.testing.assert_array_equal(values[:, 0], problem.plane_losses(plane, ALPHAS, BETAS))
    with torch.no_grad():
        for row, a, b in zip(values, ALPHAS, BETAS, strict=True):
            output = at(model, plane.point(a, b).cpu())(x)
            expected = [F.cross_entropy(output, y), accuracy(output, y), spread(output, y)]
            np.testing.assert_allclose(row, [float(value) for value in expected], rtol=1e-12)


def test_a_metric_sees_the_very_output_of_the_loss() -> None:
    outputs: list[Any] = []
    passes: list[int] = []

    class Counted(nn.Linear):
        def forward(self, input: Tensor) -> Tensor:  # noqa: A002 - torch's name
            passes.append(len(input))
            return super().forward(input)

    def loss(output: Tensor, target: Tensor) -> Tensor:
        outputs.append(output)
        return (output - target).square().mean()

    def metric(output: Tensor, target: Tensor) -> float:
        outputs.append(output)
        assert not output.requires_grad
        return float(output.abs().mean())

    problem = Problem(
        Counted(3, 2), loss, batches((torch.randn(10, 3), torch.randn(10, 2)), 4), metrics={"size": metric}
    )
    outputs.clear()
    passes.clear()
    ended(problem.iter_plane_losses(plane_of(problem), [0.1], [0.0]))
    assert passes == [4, 4, 2]
    assert all(a.data_ptr() == b.data_ptr() for a, b in zip(outputs[::2], outputs[1::2], strict=True))
    # Where nobody asked for them, metrics are not computed.
    outputs.clear()
    problem.plane_losses(plane_of(problem), [0.1], [0.0])
    assert len(outputs) == 3


def test_metrics_of_model_and_batch_beside_such_a_loss() -> None:
    model, data, x, y = classes()

    def loss(model: nn.Module, batch: tuple[Tensor, Tensor]) -> Tensor:
        return F.cross_entropy(model(batch[0]), batch[1])

    def hits(model: nn.Module, batch: tuple[Tensor, Tensor]) -> Tensor:
        return accuracy(model(batch[0]), batch[1])

    for strategy in (ONE_BY_ONE, Strategy(cells=4)):
        problem = by(Problem(model, loss, data, metrics={"accuracy": hits}), strategy)
        plane = plane_of(problem)
        _, values = ended(problem.iter_plane_losses(plane, [0.2], [0.1]))
        with torch.no_grad():
            output = at(make("mlp").model, plane.point(0.2, 0.1))(x)
        np.testing.assert_allclose(values, [[F.cross_entropy(output, y), accuracy(output, y)]], rtol=1e-12)


def test_metrics_of_a_loss_without_data_and_of_dict_batches() -> None:
    problem = Problem(
        nn.Linear(2, 1).double(),
        lambda model: model.weight.square().sum(),
        metrics={"bias": lambda model: model.bias.item()},
    )
    plane = plane_of(problem)
    _, values = ended(problem.iter_plane_losses(plane, [0.5], [0.25]))
    np.testing.assert_allclose(values[0, 1], plane.point(0.5, 0.25)[2], rtol=1e-15)

    case = make("dict_batches")
    problem = case.problem(metrics={"error": lambda output, target: (output - target).abs().mean()})
    _, values = ended(problem.iter_plane_losses(plane_of(problem), [0.0], [0.0]))
    with torch.no_grad():
        misses = [(case.model(features=b["features"], extra=b["extra"]) - b["labels"]).abs().mean(1) for b in case.data]
    np.testing.assert_allclose(values[0, 1], torch.cat(misses).mean(), rtol=1e-12)


@pytest.mark.parametrize(
    "value",
    [
        0.25,
        1,
        True,
        np.float32(0.25),
        np.bool_(True),
        np.array(0.25),
        torch.tensor(0.25),
        torch.tensor([3]),
        torch.tensor(True),
    ],
    ids=repr,
)
def test_a_metric_may_return_any_real_number(value: Any) -> None:
    model, data, *_ = classes()
    problem = Problem(model, F.cross_entropy, data, metrics={"number": lambda output, target: value})
    _, values = ended(problem.iter_plane_losses(plane_of(problem), [0.0, 0.1], [0.0, 0.0]))
    np.testing.assert_allclose(values[:, 1], float(value), rtol=1e-15)


def test_a_metric_that_is_not_finite_stays_so_and_leaves_the_others_alone() -> None:
    model, data, *_ = classes()
    metrics = {"nan": lambda output, target: float("nan"), "inf": lambda output, target: torch.tensor(float("inf"))}
    problem = Problem(model, F.cross_entropy, data, metrics={**metrics, "accuracy": accuracy})
    _, values = ended(problem.iter_plane_losses(plane_of(problem), [0.0, 0.1], [0.0, 0.0]))
    assert np.isnan(values[:, 1]).all()
    assert np.isinf(values[:, 2]).all()
    assert np.isfinite(values[:, [0, 3]]).all()


@pytest.mark.parametrize(
    ("metrics", "error", "match"),
    [
        ([accuracy], TypeError, "metrics as a dict of names and functions, got a list"),
        ({"accuracy": 0.5}, TypeError, "the metric 'accuracy' as a function.*got float 0.5"),
        ({"size": nn.MSELoss}, TypeError, "the metric 'size' as a function.*got the class MSELoss; pass an instance"),
        ({3: accuracy}, TypeError, "names other than 'loss', got 3"),
        ({"loss": accuracy}, ValueError, "names other than 'loss', got 'loss'"),
        ({"": accuracy}, ValueError, "names other than 'loss', got ''"),
        ({"both": lambda output: 0.0}, TypeError, "the metric 'both' to be called as the loss is.*got one of"),
        ({"many": lambda output, target: output[:, 0]}, ValueError, "the metric 'many' as one real number.*shape"),
        ({"none": lambda output, target: None}, ValueError, "the metric 'none' as one real number.*got None"),
        ({"text": lambda output, target: "good"}, ValueError, "the metric 'text' as one real number.*got str 'good'"),
        ({"i": lambda output, target: output.mean() * 1j}, ValueError, "the metric 'i' as one real.*a complex one"),
        ({"i": lambda output, target: 1j}, ValueError, "the metric 'i' as one real number.*got a complex"),
    ],
    ids=str,
)
def test_what_is_no_metric_is_refused_at_once(metrics: Any, error: type[Exception], match: str) -> None:
    model, data, *_ = classes()
    with pytest.raises(error, match=match):
        Problem(model, F.cross_entropy, data, metrics=metrics)


@pytest.mark.parametrize("said", ["no luck", "expected scalar type Float but found Double"])
def test_an_error_in_a_metric_names_it_and_the_batch(said: str) -> None:
    model, data, *_ = classes()

    def broken(output: Tensor, target: Tensor) -> float:
        raise RuntimeError(said)

    with pytest.raises((RuntimeError, ValueError), match=said) as caught:
        Problem(model, F.cross_entropy, data, metrics={"broken": broken})
    notes = " / ".join(caught.value.__notes__)
    assert "raised by the metric 'broken'" in notes
    assert "raised for a tuple batch" in notes


def test_micro_batches_in_which_no_label_counts_do_not_thin_the_metrics() -> None:
    model, _, x, y = classes(count=24)
    y[:8] = -100
    metrics = {"one": lambda output, target: 1.0}
    problem = Problem(model, nn.CrossEntropyLoss(), (x, y), metrics=metrics)
    _, values = ended(by(problem, Strategy(rows=8)).iter_plane_losses(plane_of(problem), [0.1], [0.1]))
    np.testing.assert_allclose(values[0, 1], 1.0, rtol=1e-15)


def test_batches_that_do_not_tell_their_size_weigh_as_they_do_in_the_loss() -> None:
    data = [{"n": 1.0, "x": torch.tensor(2.0)}, {"n": 3.0, "x": torch.tensor(5.0)}]
    problem = Problem(
        nn.Linear(1, 1),
        lambda model, batch: model.weight.square().sum() * batch["x"],
        data,
        batch_weight=lambda batch: batch["n"],
        metrics={"x": lambda model, batch: batch["x"]},
    )
    _, values = ended(problem.iter_plane_losses(plane_of(problem), [0.0], [0.0]))
    np.testing.assert_allclose(values[0, 1], (2 + 3 * 5) / 4, rtol=1e-12)


def test_a_metric_with_a_state_of_its_own_is_copied() -> None:
    class Seen(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.register_buffer("count", torch.zeros(()))

        def forward(self, output: Tensor, target: Tensor) -> Tensor:
            self.count += 1
            return accuracy(output, target)

    model, data, x, y = classes()
    metric = Seen()
    problem = Problem(model, F.cross_entropy, data, metrics={"accuracy": metric})
    _, values = ended(problem.iter_plane_losses(plane_of(problem), [0.0], [0.0]))
    np.testing.assert_allclose(values[0, 1], accuracy(model(x), y), rtol=1e-12)
    assert metric.count == 0


# -- settling


@pytest.fixture
def seconds(monkeypatch: pytest.MonkeyPatch) -> dict[Any, float]:
    """What passes take, by strategy and number of samples or by strategy, so that no choice depends on this machine."""
    told: dict[Any, float] = {}
    tried = Evaluation.tried

    def timed(evaluation: Evaluation, strategy: Strategy, points: Points, indices: Any, piece: Any) -> Any:
        values, _ = tried(evaluation, strategy, points, indices, piece)
        samples = len(piece.batch[0]) if piece.batch else 0
        return values, told.get((strategy, samples), told.get(strategy, 1.0))

    monkeypatch.setattr(Evaluation, "tried", timed)
    return told


def settled(problem: Problem) -> str:
    ended(problem.settle(plane_of(problem)))
    return problem.strategy


def test_as_many_cells_a_pass_as_gain(seconds: dict[Any, float]) -> None:
    problem = make("mlp").problem()
    seconds |= {ONE_BY_ONE: 1e-4, Strategy(8): 8e-4, Strategy(16): 9e-4, Strategy(32): 12e-4, Strategy(64): 23e-4}
    assert (problem.strategy, problem.cells_per_pass) == ("one by one", 1)
    assert settled(problem) == "32 cells a pass"
    assert problem.cells_per_pass == 32
    # Once.
    seconds[ONE_BY_ONE] = 1e-9
    assert ended(problem.settle(plane_of(problem)))[0] == 0
    assert problem.strategy == "32 cells a pass"
    assert problem.loss() == problem.plane_losses(plane_of(problem), [0.0], [0.0])[0]


def test_cells_that_do_not_gain_or_have_no_room_stay_apart(
    seconds: dict[Any, float], monkeypatch: pytest.MonkeyPatch
) -> None:
    seconds |= {ONE_BY_ONE: 1e-4, Strategy(8): 8e-4, Strategy(16): 15e-4}
    assert settled(make("mlp").problem()) == "one by one"
    seconds |= {Strategy(8): 1e-4, Strategy(16): 1e-4}
    assert settled(make("mlp").problem()) == "16 cells a pass"
    monkeypatch.setattr(settling, "_POINTS_BYTES", 8 * 8 * make("mlp").problem().num_parameters)
    assert settled(make("mlp").problem()) == "8 cells a pass"


def test_long_passes_are_cut_and_images_laid_out_where_that_gains(seconds: dict[Any, float]) -> None:
    torch.manual_seed(0)
    x, y = torch.randn(800, 1, 4, 4), torch.randint(0, 3, (800,))
    model = nn.Sequential(nn.Conv2d(1, 3, 3), nn.SiLU(), nn.Flatten(), nn.Linear(12, 3))
    # For a quarter of the samples a quarter of the time is no gain.
    seconds |= {
        ONE_BY_ONE: 0.8,
        Strategy(rows=200): 0.1,
        Strategy(rows=50): 0.025,
        Strategy(rows=200, channels_last=True): 0.05,
    }
    problem = Problem(model, nn.CrossEntropyLoss(), (x, y))
    expected = problem.loss()
    assert settled(problem) == "channels last, 200 samples at a time"
    assert problem.loss() == pytest.approx(expected, rel=1e-6)
    seconds[Strategy(rows=200, channels_last=True)] = 0.095
    assert settled(Problem(model, nn.CrossEntropyLoss(), (x, y))) == "one by one, 200 samples at a time"
    seconds |= {Strategy(rows=200): 0.2, Strategy(channels_last=True): 0.5}
    assert settled(Problem(model, nn.CrossEntropyLoss(), (x, y))) == "channels last"
    # Without images there is nothing to lay out.
    flat = nn.Sequential(nn.Flatten(), nn.Linear(16, 3))
    assert settled(Problem(flat, nn.CrossEntropyLoss(), (x, y))) == "one by one"


def test_where_nothing_can_win_nothing_is_tried(monkeypatch: pytest.MonkeyPatch) -> None:
    problem = make("own_loss").problem()
    problem._evaluation.latest = 1.0

    def tried(*_: Any) -> None:
        raise AssertionError("tried")

    monkeypatch.setattr(Evaluation, "tried", tried)
    assert settled(problem) == "one by one"


def fast_together(seconds: dict[Any, float]) -> None:
    seconds.update({ONE_BY_ONE: 1e-4} | {Strategy(cells): 1e-5 for cells in (8, 16, 32, 64)})


def decides(output: Tensor, target: Tensor) -> Tensor:
    loss = F.mse_loss(output, target)
    return 2 * loss if loss > 1 else loss


class Remembers(nn.Module):
    """Keeps what it has computed, and uses it again."""

    def __init__(self) -> None:
        super().__init__()
        self.linear, self.last = nn.Linear(3, 2), None

    def forward(self, x: Tensor) -> Tensor:
        output = self.linear(x)
        if self.last is not None:
            output = output + 0 * self.last
        self.last = output.detach().mean()
        return output


class Updates(nn.Linear):
    """Writes into a buffer in eval mode."""

    def __init__(self) -> None:
        super().__init__(3, 2)
        self.register_buffer("sum", torch.zeros(2))

    def forward(self, input: Tensor) -> Tensor:  # noqa: A002 - torch's name
        output = super().forward(input)
        self.sum += output.detach().mean(0)
        return output


@pytest.mark.parametrize("kind", ["decides", "number", "in place", "LSTM", "attention", "metric"])
def test_what_cannot_be_mapped_over_goes_one_by_one(kind: str, seconds: dict[Any, float]) -> None:
    fast_together(seconds)
    torch.manual_seed(0)
    data = torch.randn(10, 3), torch.randn(10, 2)
    problems: dict[str, Callable[[], Problem]] = {
        "decides": lambda: Problem(nn.Linear(3, 2), decides, data),
        "number": lambda: Problem(
            nn.Linear(3, 2),
            lambda model, batch: float(model(batch[0]).detach().sum()) * 0 + decides(model(batch[0]), batch[1]),
            data,
        ),
        "in place": lambda: Problem(Updates(), nn.MSELoss(), data),
        "LSTM": lambda: make("lstm").problem(),
        "attention": lambda: make("attention").problem(),
        "metric": lambda: Problem(nn.Linear(3, 2), nn.MSELoss(), data, metrics={"n": lambda o, t: o.sum().item()}),
    }
    problem = problems[kind]()
    plane = plane_of(problem)
    expected = problem.plane_losses(plane, ALPHAS, BETAS)
    assert settled(problem) == "one by one"
    np.testing.assert_array_equal(problem.plane_losses(plane, ALPHAS, BETAS), expected)


def test_a_model_that_remembers_is_not_left_with_what_was_mapped(seconds: dict[Any, float]) -> None:
    fast_together(seconds)
    torch.manual_seed(0)
    problem = Problem(Remembers(), nn.MSELoss(), (torch.randn(10, 3), torch.randn(10, 2)))
    expected = problem.loss()
    settled(problem)
    assert problem.loss() == pytest.approx(expected, rel=1e-6)


@pytest.mark.parametrize("wrong", ["all", "one place", "last batch"])
def test_what_does_not_agree_is_not_taken(
    wrong: str, seconds: dict[Any, float], monkeypatch: pytest.MonkeyPatch
) -> None:
    fast_together(seconds)
    tried = Evaluation.tried

    def off(evaluation: Evaluation, strategy: Strategy, points: Points, indices: Any, piece: Any) -> Any:
        values, taken = tried(evaluation, strategy, points, indices, piece)
        if strategy.cells > 1 and (wrong != "last batch" or len(piece.batch[0]) == 2):
            values[slice(None) if wrong != "one place" else 4] *= 1 + 1e-10 * (wrong != "one place") + 1e-15
        return values, taken

    def problem() -> Problem:
        return make("conv_batchnorm").problem(batch_weight=len)

    assert settled(problem()) == "64 cells a pass"
    monkeypatch.setattr(Evaluation, "tried", off)
    assert settled(problem()) == "one by one"


def test_micro_batches_that_do_not_add_up_are_not_taken(
    seconds: dict[Any, float], monkeypatch: pytest.MonkeyPatch
) -> None:
    seconds |= {ONE_BY_ONE: 1.0, Strategy(rows=16): 0.1}

    def problem() -> Problem:
        case = make("conv_batchnorm")
        x, y = (torch.cat(columns) for columns in zip(*case.data, case.data[0], strict=True))
        # In micro-batches the weights of the classes do not add up to the same.
        weight = torch.tensor([0.1, 0.7, 1.3], dtype=torch.float64)
        return Problem(case.model, nn.CrossEntropyLoss(weight), (x, y), metrics={"accuracy": accuracy})

    assert settled(problem()) == "one by one, 16 samples at a time"
    pieces = Problem.pieces
    monkeypatch.setattr(Problem, "pieces", lambda *given: pieces(*given)[:-1])
    assert settled(problem()) == "one by one"


def test_a_loss_that_takes_gradients_goes_one_by_one(seconds: dict[Any, float]) -> None:
    fast_together(seconds)
    x = torch.linspace(-1, 1, 20, dtype=torch.float64).unsqueeze(1)

    def by_inputs(model: nn.Module, batch: Tensor) -> Tensor:
        inputs = batch.clone().requires_grad_()
        (slope,) = torch.autograd.grad(model(inputs).sum(), inputs, create_graph=True)
        return (slope - 1).square().mean()

    def by_parameters(model: nn.Module, batch: Tensor) -> Tensor:
        gradients = torch.autograd.grad(model(batch).square().mean(), list(model.parameters()), create_graph=True)
        return sum((gradient.square().sum() for gradient in gradients), torch.zeros(()))

    for loss in (by_inputs, by_parameters):
        model = nn.Sequential(nn.Linear(1, 4), nn.Tanh(), nn.Linear(4, 1)).double()
        problem = Problem(model, loss, x, metrics={"n": lambda model, batch: 1.0})
        plane = plane_of(problem)
        assert settled(problem) == "one by one"
        _, values = ended(problem.iter_plane_losses(plane, ALPHAS, BETAS))
        for row, a, b in zip(values, ALPHAS, BETAS, strict=True):
            expected = loss(at(model, plane.point(a, b)), x)
            np.testing.assert_allclose(row, [float(expected.detach()), 1.0], rtol=1e-12)
        assert all(parameter.grad is None for parameter in problem._evaluation.placed.model.parameters())


@pytest.mark.parametrize("name", ARCHITECTURES)
def test_whatever_is_chosen_agrees(name: str, device: str) -> None:
    problem = in_float32(make(name)).problem(metrics=None, device=device)
    plane = plane_of(problem)
    before = problem.plane_losses(plane, ALPHAS, BETAS)
    strategy = settled(problem)
    assert strategy == str(problem._evaluation.strategy)
    after = problem.plane_losses(plane, ALPHAS, BETAS)
    np.testing.assert_allclose(after, before, rtol=1e-5)
    assert after[2] == problem.loss()


def test_settling_may_be_left_and_begun_anew(seconds: dict[Any, float]) -> None:
    fast_together(seconds)
    problem = make("mlp").problem()
    steps = problem.settle(plane_of(problem))
    next(steps)
    del steps
    assert problem.strategy == "one by one"
    assert settled(problem) == "64 cells a pass"


def test_a_loss_that_fails_beside_the_point_is_told_of_where_it_is_measured() -> None:
    near: list[float] = [1e9]

    def loss(model: nn.Module, batch: Any) -> Tensor:
        if abs(float(model.weight.detach().sum()) - 40) > near[0]:
            raise RuntimeError("too far")
        return model.weight.square().sum()

    model = nn.Linear(40, 1, bias=False)
    nn.init.ones_(model.weight)
    problem = Problem(model, loss)
    near[0] = 1e-6
    plane = plane_of(problem)
    assert settled(problem) == "one by one"
    assert problem.plane_losses(plane, [0.0], [0.0])[0] == problem.loss()
    with pytest.raises(RuntimeError, match="too far"):
        problem.plane_losses(plane, [30.0], [30.0])


def test_losses_that_are_nowhere_finite_beside_the_point_agree_all_the_same(seconds: dict[Any, float]) -> None:
    fast_together(seconds)
    model = nn.Linear(3, 1, bias=False)
    nn.init.zeros_(model.weight)
    problem = Problem(model, lambda model: (1e30 * model.weight.double()).square().sum() ** 8 + model.weight.sum())
    assert settled(problem) == "64 cells a pass"
    assert np.isinf(problem.plane_losses(plane_of(problem), [0.5], [0.5])[0])


def test_the_twin_in_float64_is_evaluated_anew(seconds: dict[Any, float]) -> None:
    fast_together(seconds)
    problem = in_float32(make("conv_batchnorm")).problem()
    settled(problem)
    twin = problem.in_float64()
    assert twin.loss() == pytest.approx(make("conv_batchnorm").problem().loss(), rel=1e-6)
    few = problem.in_float64(problem.head(next(problem.terms()), 2))
    assert few.strategy == "one by one"
    assert problem.loss() == pytest.approx(twin.loss(), rel=1e-5)
    double = make("mlp").problem()
    assert double.in_float64() is double
    assert double.in_float64(next(double.terms())).loss() == double.loss()


# -- when memory runs out

NO_MEMORY = {
    "cuda": torch.cuda.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB"),
    "cpu": RuntimeError("[enforce fail at alloc_cpu.cpp] DefaultCPUAllocator: can't allocate memory"),
    "python": MemoryError(),
}


class Room:
    """How much memory there is said to be, in samples."""

    def __init__(self, error: BaseException) -> None:
        self.samples, self.error = 2**30, error

    def __deepcopy__(self, memo: Any) -> Room:
        return self


class Greedy(nn.Module):
    """Runs out of memory on more samples than there is room for, those of all cells together."""

    def __init__(self, room: Room) -> None:
        super().__init__()
        self.linear, self.head, self.room = nn.Linear(10, 8), nn.Linear(8, 4), room

    def forward(self, x: Tensor) -> Tensor:
        weight = self.linear.weight
        cells = 1
        while torch._C._functorch.is_batchedtensor(weight):
            inner = torch._C._functorch.get_unwrapped(weight)
            cells, weight = cells * inner.numel() // weight.numel(), inner
        if cells * len(x) > self.room.samples:
            raise self.room.error
        return self.head(torch.tanh(self.linear(x)))


@pytest.fixture(params=NO_MEMORY)
def room(request: pytest.FixtureRequest) -> Room:
    return Room(NO_MEMORY[request.param])


def greedy(room: Room, **settings: Any) -> Problem:
    torch.manual_seed(0)
    data = torch.randn(128, 10), torch.arange(128) % 4
    return Problem(Greedy(room), nn.CrossEntropyLoss(), data, metrics={"accuracy": accuracy}, **settings)


def test_when_memory_runs_out_half_as_much_is_done_at_once(room: Room) -> None:
    problem = greedy(room)
    plane = plane_of(problem)
    _, expected = ended(problem.iter_plane_losses(plane, ALPHAS, BETAS))
    by(problem, Strategy(cells=8))
    for samples, strategy in [
        (2**30, "8 cells a pass"),
        (300, "2 cells a pass"),
        (200, "one by one"),
        (100, "one by one, 64 samples at a time"),
        (20, "one by one, 16 samples at a time"),
    ]:
        room.samples = samples
        _, values = ended(problem.iter_plane_losses(plane, ALPHAS, BETAS))
        np.testing.assert_allclose(values, expected, rtol=1e-5)
        assert problem.strategy == strategy
    room.samples = 0
    with pytest.raises(MemoryError, match="memory for the loss of one batch, got none; pass the data in smaller"):
        problem.loss()
    # Room again, and the problem is as good as before.
    room.samples = 2**30
    assert problem.plane_losses(plane, [0.0], [0.0])[0] == problem.loss()


def test_a_strategy_without_room_is_not_taken(room: Room, seconds: dict[Any, float]) -> None:
    fast_together(seconds)
    problem = greedy(room)
    room.samples = 128 * 20
    assert settled(problem) == "16 cells a pass"


def test_another_error_is_not_taken_for_want_of_memory() -> None:
    room = Room(RuntimeError("something else"))
    problem = greedy(room)
    room.samples = 1
    with pytest.raises(RuntimeError, match="something else"):
        problem.loss()
    assert problem.strategy == "one by one"


def test_batches_that_cannot_be_cut_say_so_when_memory_runs_out(room: Room) -> None:
    problem = greedy(room, batch_weight=lambda batch: len(batch[0]))
    room.samples = 100
    with pytest.raises(MemoryError, match="pass the data in smaller batches"):
        problem.loss()


# -- data


def test_no_more_than_half_of_a_gpus_free_memory_is_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    problem = make("mlp").problem()
    assert problem._affordable(1000) == 1000
    monkeypatch.setattr("landscape_widget.engine.problem.free_memory", lambda device: 600)
    problem.device = torch.device("cuda")
    assert problem._affordable(1000) == 300
    assert problem._affordable(200) == 200


def test_streamed_data_give_what_kept_data_give(device: str) -> None:
    model, _, x, y = classes()
    loader = DataLoader(TensorDataset(x, y), batch_size=16)
    kept, streamed = (
        Problem(model, F.cross_entropy, loader, cache_bytes=size, device=device, metrics={"accuracy": accuracy})
        for size in (2**30, 10)
    )
    assert (kept.keeps_data, streamed.keeps_data) == (True, False)
    for problem in (kept, streamed):
        settled(problem)
    plane = plane_of(kept)
    np.testing.assert_allclose(
        ended(streamed.iter_plane_losses(plane, ALPHAS, BETAS))[1],
        ended(kept.iter_plane_losses(plane, ALPHAS, BETAS))[1],
        rtol=1e-12,
    )
