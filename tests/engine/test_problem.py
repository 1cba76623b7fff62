"""One loss function of θ from any model, loss and data: its mean, its errors, and what it leaves untouched."""

from __future__ import annotations

import copy
import functools
import random
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.utils.data import DataLoader, Dataset, IterableDataset, TensorDataset

from landscape_widget import Problem, compute, hessian_directions
from landscape_widget.engine.operators import Hessian

from .problems import AXES, Case, batches, dense_hessian, make, slice_problem


def classifier(seed: int = 0, dtype: torch.dtype = torch.float64) -> nn.Sequential:
    with torch.random.fork_rng(devices=()):
        torch.manual_seed(seed)
        return nn.Sequential(nn.Linear(4, 5), nn.Tanh(), nn.Linear(5, 3)).to(dtype)


def samples(count: int = 100, seed: int = 1, dtype: torch.dtype = torch.float64) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(seed)
    return (
        torch.randn(count, 4, generator=generator, dtype=dtype),
        torch.randint(0, 3, (count,), generator=generator),
    )


def value(loss: Tensor) -> float:
    return float(loss.detach())


def extreme(problem: Problem) -> np.ndarray:
    found = hessian_directions(problem, k=1, tol=1e-8)
    return np.array([found.largest.values[0], found.smallest.values[0]])


class Samples(Dataset[tuple[Tensor, Tensor]]):
    def __init__(self, x: Tensor, y: Tensor) -> None:
        self.x, self.y = x, y

    def __len__(self) -> int:
        return len(self.x)

    def __getitem__(self, i: int) -> tuple[Tensor, Tensor]:
        return self.x[i], self.y[i]


class Stream(IterableDataset[tuple[Tensor, Tensor]]):
    def __init__(self, x: Tensor, y: Tensor) -> None:
        self.x, self.y = x, y

    def __iter__(self) -> Iterator[tuple[Tensor, Tensor]]:
        yield from zip(self.x, self.y, strict=True)


FORMS: dict[str, Callable[[Tensor, Tensor], Any]] = {
    "pair": lambda x, y: (x, y),
    "pair as a list": lambda x, y: [x, y],
    "list of batches": lambda x, y: batches((x, y), 32),
    "list of lists": lambda x, y: [list(b) for b in batches((x, y), 32)],
    "generator": lambda x, y: iter(batches((x, y), 32)),
    "loader": lambda x, y: DataLoader(TensorDataset(x, y), batch_size=32),
    "shuffling loader": lambda x, y: DataLoader(TensorDataset(x, y), batch_size=32, shuffle=True),
    "dataset": Samples,
    "iterable dataset": Stream,
    "numpy": lambda x, y: (x.numpy(), y.numpy()),
    "numpy, read-only, reversed twice": lambda x, y: (_read_only(x.numpy()), y.flip(0).numpy()[::-1]),
    "numpy of the other byte order": lambda x, y: (x.numpy().astype(">f8"), y.numpy()),
    "dict": lambda x, y: {"input": x, "target": y},
    "list of dicts": lambda x, y: [{"input": a, "y": b} for a, b in batches((x, y), 32)],
}


def _read_only(array: np.ndarray) -> np.ndarray:
    array = array.copy()
    array.flags.writeable = False
    return array


@pytest.mark.parametrize("form", FORMS)
def test_every_form_of_data_gives_the_mean_over_all_of_it(form: str) -> None:
    """100 points in batches of 32: loss, gradient and curvatures are those of one batch of 100."""
    model, (x, y) = classifier(), samples()
    problem = Problem(model, nn.CrossEntropyLoss(), FORMS[form](x, y))
    reference = Problem(model, nn.CrossEntropyLoss(), (x, y))
    assert problem.loss() == pytest.approx(value(F.cross_entropy(model(x), y)), rel=1e-12)
    assert problem.num_samples == 100
    torch.testing.assert_close(problem.gradient(), reference.gradient(), rtol=1e-11, atol=1e-14)
    np.testing.assert_allclose(extreme(problem), extreme(reference), rtol=1e-9)


def weighted() -> Any:
    return nn.CrossEntropyLoss(weight=torch.tensor([1.0, 5.0, 0.1], dtype=torch.float64))


CRITERIA: dict[str, tuple[Any, str]] = {
    "class weights": (weighted(), "classes"),
    "ignore_index": (nn.CrossEntropyLoss(ignore_index=2), "classes"),
    "label smoothing": (nn.CrossEntropyLoss(label_smoothing=0.1), "classes"),
    "weights, smoothing and ignoring": (
        nn.CrossEntropyLoss(
            weight=torch.tensor([1.0, 5.0, 0.1], dtype=torch.float64), label_smoothing=0.1, ignore_index=1
        ),
        "classes",
    ),
    "partial with weights": (
        functools.partial(F.cross_entropy, weight=torch.tensor([1.0, 5.0, 0.1], dtype=torch.float64)),
        "classes",
    ),
    "F.cross_entropy": (F.cross_entropy, "classes"),
    "class probabilities": (nn.CrossEntropyLoss(), "probabilities"),
    "MSE": (nn.MSELoss(), "values"),
    "F.mse_loss": (F.mse_loss, "values"),
    "Huber": (nn.HuberLoss(delta=0.5), "values"),
    "BCEWithLogits": (nn.BCEWithLogitsLoss(pos_weight=torch.tensor([1.0, 2.0, 3.0], dtype=torch.float64)), "bits"),
    "BCEWithLogits, weighted": (
        nn.BCEWithLogitsLoss(weight=torch.tensor([1.0, 2.0, 3.0], dtype=torch.float64)),
        "bits",
    ),
    "multi margin": (nn.MultiMarginLoss(), "classes"),
    "KL, batchmean": (nn.KLDivLoss(reduction="batchmean"), "probabilities"),
    "own criterion": (lambda output, target: ((output - target) ** 4).mean(), "values"),
    "own loss": (lambda model, batch: ((model(batch[0]) - batch[1]) ** 4).mean(), "values"),
}


def targets(kind: str, y: Tensor) -> Tensor:
    generator = torch.Generator().manual_seed(5)
    draw = torch.rand(len(y), 3, generator=generator, dtype=torch.float64)
    return {
        "classes": y,
        "values": draw,
        "bits": (draw > 0.5).double(),
        "probabilities": draw / draw.sum(1, keepdim=True),
    }[kind]


@pytest.mark.parametrize("name", CRITERIA)
def test_ragged_batches_of_every_criterion(name: str) -> None:
    """Batches sorted by class, so that their weights differ as much as they can."""
    loss, kind = CRITERIA[name]
    model, (x, y) = classifier(), samples()
    y, order = y.sort()
    x = x[order]
    target = targets(kind, y)
    expected = value(loss(model, (x, target)) if name == "own loss" else loss(model(x), target))
    whole = Problem(model, loss, (x, target))
    parts = Problem(model, loss, batches((x, target), 32))
    assert whole.loss() == pytest.approx(expected, rel=1e-12)
    assert parts.loss() == pytest.approx(expected, rel=1e-12)
    # Streamed, the batches stay as they are, each with its own weight.
    streamed = Problem(model, loss, batches((x, target), 32), cache_bytes=100)
    assert len(list(streamed.terms())) > 2
    assert streamed.loss() == pytest.approx(expected, rel=1e-12)
    torch.testing.assert_close(streamed.gradient(), whole.gradient(), rtol=1e-9, atol=1e-13)
    if name != "multi margin":  # its second derivative torch does not have
        np.testing.assert_allclose(extreme(parts), extreme(whole), rtol=1e-8)


@pytest.mark.parametrize(
    ("summed", "mean"),
    [
        (nn.CrossEntropyLoss(reduction="sum"), nn.CrossEntropyLoss()),
        (functools.partial(F.cross_entropy, reduction="sum"), nn.CrossEntropyLoss()),
        (nn.MultiMarginLoss(reduction="sum"), nn.MultiMarginLoss()),
    ],
)
def test_a_sum_is_divided_and_that_is_said(summed: Any, mean: Any) -> None:
    model, (x, y) = classifier(), samples()
    problem = Problem(model, summed, batches((x, y), 32))
    assert problem.loss() == pytest.approx(value(mean(model(x), y)), rel=1e-12)
    assert problem.notes == ["the summed loss is divided by 100 to give the mean"]


def test_batches_whose_targets_are_all_ignored_weigh_nothing() -> None:
    model, (x, y) = classifier(), samples()
    y[32:64] = -100
    problem = Problem(model, nn.CrossEntropyLoss(), batches((x, y), 32))
    assert problem.loss() == pytest.approx(value(F.cross_entropy(model(x), y)), rel=1e-12)
    # The same where batches are not regrouped, and one alone would be 0/0.
    ragged = [b if i else (b[0][:, :], b[1]) for i, b in enumerate(batches((x, y), 32))]
    kept = Problem(model, nn.CrossEntropyLoss(), ragged, batch_weight=lambda batch: float((batch[1] >= 0).sum()))
    assert kept.loss() == pytest.approx(problem.loss(), rel=1e-12)
    assert len(list(kept.terms())) == 3
    with pytest.raises(ValueError, match="positive total weight, got 0: every target is ignored"):
        Problem(model, nn.CrossEntropyLoss(), (x, torch.full_like(y, -100)))


def test_padded_tokens_do_not_count() -> None:
    """Cross-entropy over tokens: the mean is over tokens that are not padding, whatever the batches."""
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(10, 6, 4, generator=generator, dtype=torch.float64)
    y = torch.randint(0, 3, (10, 6), generator=generator)
    y[torch.arange(6)[None] > torch.randint(1, 6, (10, 1), generator=generator)] = -100
    model = nn.Sequential(classifier(), _Transposed())
    expected = value(F.cross_entropy(model(x), y))
    problem = Problem(model, nn.CrossEntropyLoss(), batches((x, y), 3))
    assert problem.loss() == pytest.approx(expected, rel=1e-12)


class _Transposed(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return x.transpose(1, 2)


def test_batch_weight_is_used() -> None:
    model, (x, y) = classifier(), samples(30)
    data = [
        {"features": x[:20], "labels": y[:20], "scale": torch.tensor(1.0)},
        {"features": x[20:], "labels": y[20:], "scale": torch.tensor(1.0)},
    ]

    def loss(model: nn.Module, batch: dict[str, Tensor]) -> Tensor:
        return F.cross_entropy(model(batch["features"]), batch["labels"])

    with pytest.raises(ValueError, match=r"got a dict batch .* as one of several; pass batch_weight="):
        Problem(model, loss, data)
    problem = Problem(model, loss, data, batch_weight=lambda batch: len(batch["labels"]))
    assert problem.loss() == pytest.approx(value(F.cross_entropy(model(x), y)), rel=1e-12)


def test_time_first_sequences_are_not_regrouped() -> None:
    """As many time steps as samples: merging batches along the first dimension would make longer sequences."""

    class TimeFirst(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.rnn, self.head = nn.RNN(2, 3), nn.Linear(3, 1)

        def forward(self, x: Tensor) -> Tensor:
            return self.head(self.rnn(x)[0])

    with torch.random.fork_rng(devices=()):
        torch.manual_seed(0)
        model = TimeFirst().double()
        data = [(torch.randn(6, 6, 2).double(), torch.randn(6, 6, 1).double()) for _ in range(3)]
    problem = Problem(model, nn.MSELoss(), data)
    expected = np.mean([value(F.mse_loss(model(x), y)) for x, y in data])
    assert len(list(problem.terms())) == 3
    assert problem.loss() == pytest.approx(expected, rel=1e-12)


def test_batch_statistics_are_those_of_the_users_batches() -> None:
    """BatchNorm without running statistics mixes the samples of a batch also in eval mode."""
    model = nn.Sequential(nn.Linear(4, 5), nn.BatchNorm1d(5, track_running_stats=False), nn.Linear(5, 3)).double()
    x, y = samples(60)
    data = [(x[:40], y[:40]), (x[40:], y[40:])]
    expected = (2 * value(F.cross_entropy(model(x[:40]), y[:40])) + value(F.cross_entropy(model(x[40:]), y[40:]))) / 3
    assert Problem(model, nn.CrossEntropyLoss(), data).loss() == pytest.approx(expected, rel=1e-12)


def test_small_batches_are_merged_and_large_ones_are_split(monkeypatch: pytest.MonkeyPatch) -> None:
    model, (x, y) = classifier(), samples()
    many = Problem(model, nn.CrossEntropyLoss(), batches((x, y), 8))
    assert len(list(many.terms())) == 1
    monkeypatch.setattr("landscape_widget.engine.fitting._PASS_BYTES", 5_000)
    few = Problem(model, nn.CrossEntropyLoss(), (x, y))
    assert len(list(few.terms())) >= 3
    assert few.loss() == pytest.approx(many.loss(), rel=1e-13)
    torch.testing.assert_close(few.gradient(), many.gradient(), rtol=1e-11, atol=1e-15)


def test_a_model_left_in_training_mode_is_computed_in_eval_mode() -> None:
    """Dropout off, BatchNorm with its running statistics."""
    model = nn.Sequential(nn.Linear(4, 5), nn.BatchNorm1d(5), nn.Dropout(0.5), nn.Linear(5, 3)).double()
    x, y = samples()
    model(x + 1)
    expected = value(F.cross_entropy(copy.deepcopy(model).eval()(x), y))
    assert model.training
    assert Problem(model, nn.CrossEntropyLoss(), (x, y)).loss() == pytest.approx(expected, rel=1e-12)


def test_params_choose_what_theta_is() -> None:
    case = make("mlp")
    problem = case.problem(params="2.*")
    assert problem.parameter_names == ("2.weight", "2.bias")
    dense = dense_hessian(case, ["2.weight", "2.bias"])
    torch.testing.assert_close(
        Hessian(problem) @ torch.eye(len(dense), dtype=dense.dtype), dense, rtol=1e-9, atol=1e-12
    )
    assert case.problem(params=["0.bias", "2.*"]).num_parameters == 6 + 21
    assert case.problem(params=lambda name, p: p.dim() > 1).num_parameters == 24 + 18
    with pytest.raises(ValueError, match=r"got 'nothing\.\*' which matches none of 0\.weight"):
        case.problem(params="nothing.*")


def test_half_precision_is_computed_in_float32_and_that_is_said() -> None:
    model, (x, y) = classifier(dtype=torch.bfloat16), samples(dtype=torch.bfloat16)
    problem = Problem(model, nn.CrossEntropyLoss(), (x, y))
    assert problem.dtype == torch.float32
    assert problem.notes == ["half-precision weights are computed in float32"]
    reference = copy.deepcopy(model).float()
    assert problem.loss() == pytest.approx(value(F.cross_entropy(reference(x.float()), y)), rel=1e-6)
    assert model[0].weight.dtype == torch.bfloat16


@pytest.mark.filterwarnings("ignore:.torch.jit:DeprecationWarning")  # torch.compile's own imports
def test_compiled_models_are_taken_for_what_they_wrap() -> None:
    model, (x, y) = classifier(), samples()
    problem = Problem(torch.compile(model), nn.CrossEntropyLoss(), (x, y))  # type: ignore[misc]
    assert problem.loss() == Problem(model, nn.CrossEntropyLoss(), (x, y)).loss()


def test_transformer_encoder_is_the_same_function_with_and_without_gradient() -> None:
    """Its fast path would give zeros at padded places, and only where no gradient is recorded."""

    class Pooled(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            layer = nn.TransformerEncoderLayer(4, 2, 8, dropout=0.0, batch_first=True)
            self.encoder = nn.TransformerEncoder(layer, 1)

        def forward(self, x: Tensor, padding: Tensor) -> Tensor:
            return self.encoder(x, src_key_padding_mask=padding).mean(1)

    with torch.random.fork_rng(devices=()):
        torch.manual_seed(0)
        model = Pooled().double()
    x, y = torch.linspace(-1, 1, 8 * 5 * 4).double().sin().view(8, 5, 4), torch.arange(8) % 4
    padding = torch.arange(5)[None] >= torch.tensor([5, 3, 2, 5, 4, 3, 5, 1])[:, None]
    expected = value(F.cross_entropy(model(x, padding), y))  # training mode, no dropout
    problem = Problem(model, nn.CrossEntropyLoss(), (x, padding, y))
    assert problem.loss() == pytest.approx(expected, rel=1e-9)
    v = torch.ones(problem.num_parameters, dtype=torch.float64)
    h = 1e-4
    theta = problem.point
    values = problem.losses(torch.stack([theta + h * v, theta, theta - h * v]))
    curvature = float(v @ (Hessian(problem) @ v))
    assert (values[0] - 2 * values[1] + values[2]) / h**2 == pytest.approx(curvature, rel=1e-3)


# What is left untouched.


def states() -> tuple[Any, ...]:
    return torch.get_rng_state(), np.random.get_state()[1].tolist(), random.getstate()  # noqa: NPY002  # type: ignore[misc]


def assert_same_states(before: tuple[Any, ...], after: tuple[Any, ...]) -> None:
    assert torch.equal(before[0], after[0])
    assert before[1:] == after[1:]


def snapshot(model: nn.Module) -> dict[str, Any]:
    return {
        "state": {name: tensor.clone() for name, tensor in model.state_dict().items()},
        "ids": {name: id(p) for name, p in model.named_parameters()},
        "requires_grad": {name: p.requires_grad for name, p in model.named_parameters()},
        "grad": {name: None if p.grad is None else p.grad.clone() for name, p in model.named_parameters()},
        "training": {name: m.training for name, m in model.named_modules()},
    }


def assert_same_model(before: dict[str, Any], after: dict[str, Any]) -> None:
    for key in ("state", "grad"):
        assert before[key].keys() == after[key].keys()
        for name, tensor in before[key].items():
            other = after[key][name]
            assert (tensor is None and other is None) or torch.equal(tensor, other), name  # type: ignore[misc]
    for key in ("ids", "requires_grad", "training"):
        assert before[key] == after[key]


def trained_batchnorm() -> tuple[nn.Module, Tensor, Tensor]:
    case = make("conv_batchnorm")
    model = case.model.train()
    x, y = (torch.cat(column) for column in zip(*case.data, strict=True))
    F.cross_entropy(model(x), y).backward()
    model[1].bias.requires_grad_(False)  # type: ignore[index]
    model[0].eval()  # type: ignore[index]
    return model, x, y


def test_a_run_leaves_model_and_random_states_alone() -> None:
    """Weights, requires_grad, .grad, train/eval mode, BatchNorm statistics, random states: with a shuffling loader, too."""
    model, x, y = trained_batchnorm()
    loader = DataLoader(TensorDataset(x, y), batch_size=16, shuffle=True)
    before, random_before = snapshot(model), states()
    problem = Problem(model, nn.CrossEntropyLoss(), loader)
    landscape = compute(problem, resolution=5, tolerance=0, progress=False)
    assert landscape.complete
    assert_same_model(before, snapshot(model))
    assert_same_states(random_before, states())


def test_an_exception_in_the_loss_leaves_model_and_random_states_alone() -> None:
    model, x, y = trained_batchnorm()
    calls, luck = iter(range(10_000)), [40]

    def loss(model: nn.Module, batch: tuple[Tensor, Tensor]) -> Tensor:
        if next(calls) >= luck[0]:
            raise RuntimeError("no luck")
        return F.cross_entropy(model(batch[0]), batch[1])

    before, random_before = snapshot(model), states()
    problem = Problem(model, loss, (x, y))
    with pytest.raises(RuntimeError, match="no luck"):
        compute(problem, resolution=17, progress=False)
    assert_same_model(before, snapshot(model))
    assert_same_states(random_before, states())
    # And the problem itself is as good as before.
    luck[0] = 10_000
    assert problem.loss() == pytest.approx(Problem(model, nn.CrossEntropyLoss(), (x, y)).loss(), rel=1e-6)
    assert torch.backends.cuda.flash_sdp_enabled()


def test_a_streamed_loader_leaves_random_states_alone() -> None:
    """Each pass over a loader draws a seed for its workers."""
    model, (x, y) = classifier(), samples()
    problem = Problem(model, nn.CrossEntropyLoss(), DataLoader(TensorDataset(x, y), batch_size=32), cache_bytes=100)
    before = states()
    assert problem.loss() == pytest.approx(value(F.cross_entropy(model(x), y)), rel=1e-12)
    problem.gradient()
    assert_same_states(before, states())


def test_the_users_model_may_train_on() -> None:
    model, (x, y) = classifier(), samples()
    problem = Problem(model, nn.CrossEntropyLoss(), (x, y))
    before = problem.loss()
    with torch.no_grad():
        model[0].weight.add_(1.0)  # type: ignore[misc]
        x.mul_(2)
    assert problem.loss() == before


@pytest.mark.parametrize("cache_bytes", [2**30, 100])
def test_no_user_generator_is_touched(cache_bytes: int) -> None:
    x, y = samples()
    generator = torch.Generator().manual_seed(7)
    loader = DataLoader(TensorDataset(x, y), batch_size=32, shuffle=True, generator=generator)
    problem = Problem(classifier(), nn.CrossEntropyLoss(), loader, cache_bytes=cache_bytes)
    compute(problem, resolution=5, tolerance=0, progress=False)
    assert torch.equal(generator.get_state(), torch.Generator().manual_seed(7).get_state())
    # Every pass begins from the same state, so it is the same, and the mean is that of all the data.
    assert problem.loss() == pytest.approx(Problem(classifier(), nn.CrossEntropyLoss(), (x, y)).loss(), rel=1e-12)


# Loaders that do not repeat.


def test_a_shuffling_loader_is_read_once() -> None:
    reads = []

    class Counting(Samples):
        def __getitem__(self, i: int) -> tuple[Tensor, Tensor]:
            reads.append(i)
            return super().__getitem__(i)

    x, y = samples()
    problem = Problem(classifier(), nn.CrossEntropyLoss(), DataLoader(Counting(x, y), batch_size=32, shuffle=True))
    compute(problem, resolution=5, tolerance=0, progress=False)
    assert sorted(reads) == list(range(100))


def test_a_streamed_loader_that_repeats_gives_the_same_function() -> None:
    x, y = samples()
    data = DataLoader(TensorDataset(x, y), batch_size=32)
    kept = Problem(classifier(), nn.CrossEntropyLoss(), data)
    streamed = Problem(classifier(), nn.CrossEntropyLoss(), data, cache_bytes=100)
    assert streamed.loss() == pytest.approx(kept.loss(), rel=1e-13)
    torch.testing.assert_close(streamed.gradient(), kept.gradient(), rtol=1e-11, atol=1e-14)
    np.testing.assert_allclose(extreme(streamed), extreme(kept), rtol=1e-9)


def test_a_streamed_loader_that_reshuffles_is_refused() -> None:
    loader = DataLoader(TensorDataset(*samples()), batch_size=32, shuffle=True)
    with pytest.raises(ValueError, match=r"expected a loader that gives the same batches in every pass, got batch 0"):
        Problem(classifier(), nn.CrossEntropyLoss(), loader, cache_bytes=100)


def test_a_streamed_loader_that_augments_is_refused() -> None:
    class Noisy(Samples):
        def __getitem__(self, i: int) -> tuple[Tensor, Tensor]:
            return self.x[i] + 1e-3 * torch.randn(4), self.y[i]

    with pytest.raises(ValueError, match=r"shuffling or augmentation.*raise cache_bytes="):
        Problem(classifier(), nn.CrossEntropyLoss(), DataLoader(Noisy(*samples()), batch_size=32), cache_bytes=100)


def test_a_one_shot_iterator_beyond_the_cache_is_refused() -> None:
    with pytest.raises(ValueError, match=r"got a one-shot iterator larger than the cache \(100 bytes\)"):
        Problem(classifier(), nn.CrossEntropyLoss(), iter(batches(samples(), 32)), cache_bytes=100)


# Bad input.

BAD: list[tuple[str, Callable[[], Any], type[Exception], str]] = [
    (
        "not a scalar",
        lambda: Problem(classifier(), nn.CrossEntropyLoss(reduction="none"), samples()),
        ValueError,
        r"expected the loss as a scalar tensor, got shape \(100,\); use reduction='mean'",
    ),
    (
        "a number",
        lambda: Problem(classifier(), lambda model, batch: model(batch[0]).sum().item(), samples()),
        ValueError,
        "expected the loss as a scalar tensor, got float",
    ),
    (
        "detached",
        lambda: Problem(classifier(), lambda output, target: F.cross_entropy(output.detach(), target), samples()),
        ValueError,
        r"depends on the model's parameters through a graph, got one without: \.detach",
    ),
    (
        "another model than the one given",
        lambda: _another_model(1),
        ValueError,
        "so does a loss that uses another model than the one it is given",
    ),
    (
        "empty",
        lambda: Problem(classifier(), nn.CrossEntropyLoss(), []),
        ValueError,
        "at least one batch of data with at least one sample, got none; check",
    ),
    (
        "no trainable parameter",
        lambda: Problem(nn.Flatten(), nn.CrossEntropyLoss(), samples()),
        ValueError,
        "expected a model with trainable parameters, got none; set requires_grad or pass params=",
    ),
    (
        "all frozen",
        lambda: Problem(classifier().requires_grad_(False), nn.CrossEntropyLoss(), samples()),
        ValueError,
        "expected a model with trainable parameters, got none",
    ),
    (
        "lazy",
        lambda: Problem(nn.LazyLinear(3), nn.CrossEntropyLoss(), samples()),
        ValueError,
        "lazy modules not yet initialized; call the model once on a batch first",
    ),
    (
        "two devices",
        lambda: Problem(_on_two_devices(), nn.CrossEntropyLoss(), samples()),
        ValueError,
        "expected a model on one device, got cpu, meta; pass device=",
    ),
    (
        "NaN at θ*",
        lambda: Problem(_broken(torch.nan), nn.CrossEntropyLoss(), samples()),
        ValueError,
        "expected a finite loss at the model's own weights, got nan",
    ),
    (
        "inf at θ*",
        lambda: Problem(_broken(torch.inf), nn.MSELoss(), (samples()[0], samples()[0][:, :3])),
        ValueError,
        "expected a finite loss at the model's own weights, got",
    ),
    (
        "random",
        lambda: Problem(
            classifier(),
            lambda output, target: F.cross_entropy(output + torch.randn(()), target) + 0.1 * torch.rand(()),
            samples(),
        ),
        ValueError,
        "expected the same loss",
    ),
    (
        "no module",
        lambda: Problem(lambda x: x, nn.CrossEntropyLoss(), samples()),  # type: ignore[misc]
        TypeError,
        "expected model as a torch.nn.Module, got function",
    ),  # type: ignore[arg-type]
    ("no callable", lambda: Problem(classifier(), "mse", samples()), TypeError, "expected loss as criterion"),  # type: ignore[arg-type]
    (
        "no data",
        lambda: Problem(classifier(), nn.CrossEntropyLoss(), 3),
        TypeError,
        "expected data as a DataLoader.*got int",
    ),
    (
        "data by name",
        lambda: Problem(classifier(), nn.CrossEntropyLoss(), "mnist"),
        TypeError,
        "expected data as a DataLoader.*got str",
    ),
    (
        "no target",
        lambda: Problem(classifier(), nn.CrossEntropyLoss(), samples()[0]),
        ValueError,
        r"expected batches \(input, target\) for criterion\(output, target\), got a Tensor batch",
    ),
    (
        "two targets",
        lambda: Problem(
            classifier(), nn.CrossEntropyLoss(), {"x": samples()[0], "y": samples()[1], "target": samples()[1]}
        ),
        ValueError,
        "expected a dict batch with one of the keys",
    ),
    (
        "neither way of calling",
        lambda: Problem(classifier(), lambda a, b: a.no_such_thing, samples()),
        TypeError,
        "can be called as criterion.*neither worked on the first batch: .*no_such_thing",
    ),
    (
        "unknown keyword",
        lambda: Problem(classifier(), nn.CrossEntropyLoss(), samples(), batchweight=1),  # type: ignore[misc]
        TypeError,
        "unexpected keyword 'batchweight'; did you mean 'batch_weight'",
    ),  # type: ignore[call-arg]
    (
        "points",
        lambda: slice_problem(lambda x, y: x * y).losses(np.zeros(2)),
        ValueError,
        r"expected points of shape \(p, 2\), got \(2,\)",
    ),
]


def _another_model(seed: int) -> Problem:
    other = classifier(seed)
    return Problem(classifier(), lambda model, batch: F.cross_entropy(other(batch[0]), batch[1]), samples())


def _broken(value: float) -> nn.Module:
    model = classifier()
    with torch.no_grad():
        model[2].bias[0] = value  # type: ignore[misc]
    return model


def _on_two_devices() -> nn.Module:
    return nn.Sequential(nn.Linear(4, 4), nn.Linear(4, 3, device="meta"))


@pytest.mark.parametrize(("make_bad", "kind", "message"), [row[1:] for row in BAD], ids=[row[0] for row in BAD])
def test_bad_input(make_bad: Callable[[], Any], kind: type[Exception], message: str) -> None:
    with pytest.raises(kind, match=message):
        make_bad()


# Signatures.


@pytest.mark.parametrize("names", ["model, batch", "net, data", "m, b", "a, b"])
def test_loss_of_model_and_batch_is_recognized(names: str) -> None:
    first, second = names.split(", ")
    loss = eval(  # the names are what is tested
        f"lambda {names}: F.cross_entropy({first}({second}[0]), {second}[1])", {"F": F}
    )
    model, (x, y) = classifier(), samples()
    assert Problem(model, loss, (x, y)).loss() == pytest.approx(value(F.cross_entropy(model(x), y)), rel=1e-12)


@pytest.mark.parametrize("names", ["output, target", "y_pred, y_true", "logits, labels", "a, b"])
def test_loss_of_output_and_target_is_recognized(names: str) -> None:
    first, second = names.split(", ")
    loss = eval(f"lambda {names}: F.cross_entropy({first}, {second}) * 2", {"F": F})
    model, (x, y) = classifier(), samples()
    assert Problem(model, loss, (x, y)).loss() == pytest.approx(2 * value(F.cross_entropy(model(x), y)), rel=1e-12)


def test_outputs_with_logits_are_unwrapped() -> None:
    class Wrapped(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.net = classifier()

        def forward(self, image: Tensor) -> Any:
            class Output:
                logits = self.net(image)

            return Output()

    x, y = samples()
    expected = value(F.cross_entropy(classifier()(x), y))
    assert Problem(Wrapped(), nn.CrossEntropyLoss(), {"image": x, "labels": y}).loss() == pytest.approx(expected)


def test_a_loss_without_data() -> None:
    problem = slice_problem(lambda x, y: x * x - y, at=(3.0, 1.0))
    assert problem.loss() == 8.0
    assert problem.num_samples is None
    assert compute(problem, directions=AXES, span=1.0, resolution=5, tolerance=0, progress=False).losses[2, 2] == 8.0


def test_losses_are_float64_means_at_the_points_and_keep_what_is_not_finite() -> None:
    problem = slice_problem(lambda x, y: torch.log(x + 1) + y)
    points = np.array([[0.0, 0.0], [-1.0, 2.0], [-3.0, 1.0], [1.0, -1.0]])
    losses = problem.losses(points)
    assert losses.dtype == np.float64
    np.testing.assert_array_equal(losses, [0.0, -np.inf, np.nan, np.log(2.0) - 1])
    assert len(problem.losses(np.empty((0, 2)))) == 0


def test_problem_of_a_case_is_on_its_device(device: str) -> None:
    case: Case = make("attention")
    problem = case.problem(device=device)
    assert problem.point.device.type == device
    assert all(t.device.type == device for t in next(problem.terms()).batch)


def test_a_loss_that_differentiates_by_its_inputs_is_the_same_function_everywhere() -> None:
    torch.manual_seed(0)
    net = nn.Sequential(nn.Linear(1, 6), nn.Tanh(), nn.Linear(6, 1)).double()

    # u' = u on [0, 1], u(0) = 1: a physics-informed loss without data.
    def residual(model: nn.Module, _batch: object) -> Tensor:
        x = torch.linspace(0, 1, 9, dtype=torch.float64).unsqueeze(1).requires_grad_()
        u = model(x)
        (slope,) = torch.autograd.grad(u.sum(), x, create_graph=True)
        return ((slope - u) ** 2).mean() + (model(torch.zeros(1, 1, dtype=torch.float64)) - 1).square().mean()

    problem = Problem(net, residual)
    assert problem.loss() == pytest.approx(float(residual(net, None).detach()), rel=1e-12)
    step = 1e-6 * torch.ones_like(problem.point)
    up, down = problem.losses(torch.stack([problem.point + step, problem.point - step]))
    assert float(problem.gradient() @ step) == pytest.approx((up - down) / 2, rel=1e-5)
    assert not any(p.requires_grad for p in [problem.point])


def test_a_loss_that_also_uses_the_users_own_model_is_refused() -> None:
    model = nn.Linear(3, 2)
    x, y = torch.randn(8, 3), torch.randint(0, 2, (8,))

    def decayed(output: Tensor, target: Tensor) -> Tensor:
        return nn.functional.cross_entropy(output, target) + sum(p.square().sum() for p in model.parameters())

    with pytest.raises(ValueError, match="parameters of your own model.*loss\\(model, batch\\)"):
        Problem(model, decayed, (x, y))


@pytest.mark.parametrize("change", ["order", "values", "fewer", "more"])
def test_a_streamed_loader_that_changes_late_is_refused(change: str) -> None:
    x, y = samples()

    class Late:
        passes = 0

        def __iter__(self):
            Late.passes += 1
            batches = [(x[i : i + 10], y[i : i + 10]) for i in range(0, 100, 10)]
            if Late.passes > 4:
                if change == "order":
                    batches[7], batches[8] = batches[8], batches[7]
                elif change == "values":
                    batches[9] = batches[9][0] + 1e-3, batches[9][1]
                elif change == "fewer":
                    batches.pop()
                else:
                    batches.append(batches[0])
            yield from batches

    with pytest.raises(ValueError, match="same batches in every pass.*shuffle=False"):
        Problem(classifier(), nn.CrossEntropyLoss(), Late(), cache_bytes=100).loss()


def test_no_samples_are_no_data() -> None:
    x, y = samples()
    with pytest.raises(ValueError, match="at least one sample, got none; check"):
        Problem(classifier(), nn.CrossEntropyLoss(), (x[:0], y[:0]))
