"""How batches of an unknown loss are weighted: a mean over samples and a sum are told apart, anything else is refused."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.utils.data import DataLoader, TensorDataset

from landscape_widget import Problem

from .problems import batches


def network(dtype: torch.dtype = torch.float64) -> nn.Module:
    with torch.random.fork_rng(devices=()):
        torch.manual_seed(0)
        return nn.Sequential(nn.Linear(4, 5), nn.Tanh(), nn.Linear(5, 3)).to(dtype)


def samples(count: int = 100, dtype: torch.dtype = torch.float64) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(1)
    x = torch.randn(count, 4, generator=generator, dtype=torch.float64)
    return x.to(dtype), torch.randint(0, 3, (count,), generator=generator)


def cross_entropy(model: nn.Module, **settings: Any) -> float:
    x, y = samples()
    return float(F.cross_entropy(model(x), y, **settings).detach())


def _named(f: Callable[..., Tensor]) -> Callable[..., Tensor]:
    """A callable of one's own, of which nothing is known."""

    def loss(output: Tensor, target: Tensor) -> Tensor:
        return f(output, target)

    return loss


own = _named(F.cross_entropy)

# The same loss, of the output and of the model; over tuples and over dicts.
FORMS: dict[
    str,
    Callable[[Callable[..., Tensor]], tuple[Any, Callable[[tuple[Tensor, ...]], Any]]],
] = {
    "criterion": lambda f: (_named(f), lambda b: b),
    "of the model": lambda f: (
        lambda model, batch: f(model(batch[0]), batch[1]),
        lambda b: b,
    ),
    "of a dict": lambda f: (
        lambda model, batch: f(model(batch["x"]), batch["labels"]),
        lambda b: {"x": b[0], "labels": b[1]},
    ),
}


def several(form: str, loss: Callable[..., Tensor], size: int = 32, **settings: Any) -> Problem:
    wrapped, held = FORMS[form](loss)
    return Problem(network(), wrapped, [held(b) for b in batches(samples(), size)], **settings)


@pytest.mark.parametrize("size", [1, 32, 99, 100])
@pytest.mark.parametrize("form", FORMS)
def test_a_sum_over_samples_is_divided(form: str, size: int) -> None:
    problem = several(
        form,
        lambda output, target: F.cross_entropy(output, target, reduction="sum"),
        size,
    )
    assert problem.loss() == pytest.approx(cross_entropy(network()), rel=1e-12)
    assert problem.notes == ["the summed loss is divided by 100 to give the mean"]


@pytest.mark.parametrize("cache_bytes", [2**30, 100])
@pytest.mark.parametrize("form", FORMS)
def test_a_mean_over_samples_is_weighted_by_their_number_and_that_is_no_guess(form: str, cache_bytes: int) -> None:
    problem = several(form, F.cross_entropy, cache_bytes=cache_bytes)
    assert problem.loss() == pytest.approx(cross_entropy(network()), rel=1e-12)
    assert problem.notes == []


def test_a_mean_with_a_penalty_is_a_mean() -> None:
    def penalized(model: nn.Module, batch: tuple[Tensor, Tensor]) -> Tensor:
        squares = [p.square().sum() for p in model.parameters()]
        return F.cross_entropy(model(batch[0]), batch[1]) + torch.stack(squares).sum()

    problem = Problem(network(), penalized, batches(samples(), 32))
    assert problem.loss() == pytest.approx(float(penalized(network(), samples()).detach()), rel=1e-12)
    assert problem.notes == []


def test_single_precision_tells_as_well() -> None:
    x, y = samples(dtype=torch.float32)
    model = network(torch.float32)
    expected = float(F.cross_entropy(model(x), y).detach())
    for reduction, notes in (("sum", 1), ("mean", 0)):
        problem = Problem(
            model,
            lambda output, target, r=reduction: F.cross_entropy(output, target, reduction=r),
            batches((x, y), 32),
        )
        assert problem.loss() == pytest.approx(expected, rel=1e-6)
        assert len(problem.notes) == notes


WEIGHTS = torch.tensor([1.0, 5.0, 0.1], dtype=torch.float64)


@pytest.mark.parametrize("size", [1, 32])
@pytest.mark.parametrize("form", FORMS)
def test_a_weighted_mean_over_several_batches_is_refused(form: str, size: int) -> None:
    def weighted(output: Tensor, target: Tensor) -> Tensor:
        return F.cross_entropy(output, target, weight=WEIGHTS)

    with pytest.raises(
        ValueError,
        match=r"mean over the samples of its batch, or a sum, got one that is neither: .*batch_weight=",
    ):
        several(form, weighted, size)
    # One batch is what it is.
    assert several(form, weighted, 100).loss() == pytest.approx(cross_entropy(network(), weight=WEIGHTS), rel=1e-12)

    def weight(batch: Any) -> float:
        return float(WEIGHTS[batch["labels"] if isinstance(batch, dict) else batch[1]].sum())

    told = several(form, weighted, size, batch_weight=weight)
    assert told.loss() == pytest.approx(cross_entropy(network(), weight=WEIGHTS), rel=1e-12)
    assert told.notes == []


def test_a_mean_over_tokens_that_are_not_padding_is_refused() -> None:
    """As language models compute their own loss from a batch with labels."""
    x = torch.randn(40, 6, 4, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    labels = torch.randint(0, 3, (40, 6), generator=torch.Generator().manual_seed(1))
    labels[torch.arange(6)[None] > torch.arange(40)[:, None] % 6] = -100

    def loss(model: nn.Module, batch: dict[str, Tensor]) -> Tensor:
        return F.cross_entropy(model(batch["x"]).transpose(1, 2), batch["labels"])

    data = [{"x": a, "labels": b} for a, b in batches((x, labels), 8)]
    with pytest.raises(ValueError, match="neither"):
        Problem(network(), loss, data)
    problem = Problem(
        network(),
        loss,
        data,
        batch_weight=lambda batch: (batch["labels"] != -100).sum(),
    )
    expected = F.cross_entropy(network()(x).transpose(1, 2), labels)
    assert problem.loss() == pytest.approx(float(expected.detach()), rel=1e-12)


def test_a_loss_between_the_samples_of_a_batch_is_refused() -> None:
    """A contrastive loss: every sample against all others of its batch."""

    def contrastive(model: nn.Module, batch: tuple[Tensor, Tensor]) -> Tensor:
        z = F.normalize(model(batch[0]), dim=1)
        return F.cross_entropy(z @ z.T, torch.arange(len(z)))

    with pytest.raises(ValueError, match="neither"):
        Problem(network(), contrastive, batches(samples(), 32))
    data = batches(samples(), 32)
    told = Problem(network(), contrastive, data, batch_weight=lambda batch: len(batch[0]))
    expected = sum(len(b[0]) * float(contrastive(network(), b).detach()) for b in data) / 100  # type: ignore[arg-type]
    assert told.loss() == pytest.approx(expected, rel=1e-12)


def test_what_cannot_be_parted_is_weighted_by_samples_and_that_is_said() -> None:
    class Whole(nn.Module):
        """Takes batches of 32 or 36 samples only."""

        def __init__(self) -> None:
            super().__init__()
            self.net = network()

        def forward(self, x: Tensor) -> Tensor:
            if len(x) not in (32, 36):
                raise RuntimeError("not my size")
            return self.net(x)

    x, y = samples()
    data = [(x[:32], y[:32]), (x[32:64], y[32:64]), (x[64:], y[64:])]
    problem = Problem(Whole(), lambda model, batch: F.cross_entropy(model(batch[0]), batch[1]), data)
    assert problem.loss() == pytest.approx(cross_entropy(network()), rel=1e-12)
    (note,) = problem.notes
    assert "weighted by their number of samples" in note


def test_a_batch_whose_targets_are_all_ignored_is_named() -> None:
    x, y = samples()
    y[64:96] = -100
    data = batches((x, y), 32)
    with pytest.raises(ValueError, match=r"nan|neither"):
        Problem(network(), own, data)
    y[:] = -100
    with pytest.raises(
        ValueError,
        match=r"got nan; .*batch 0, a tuple batch .*labels are all negative.*batch_weight=",
    ):
        Problem(network(), own, (x, y))


def test_the_batch_that_is_not_finite_is_told_with_its_reason() -> None:
    x, y = samples()
    data = batches((x.clone(), y), 10)
    data[6][0][3, 1] = torch.nan
    with pytest.raises(
        ValueError,
        match=r"got nan; .*for batch 6, a tuple batch .*\(10, 4\).*data are not finite",
    ):
        Problem(network(), own, data)
    broken = network()
    with torch.no_grad():
        broken[2].bias[0] = torch.inf  # type: ignore[index]
    with pytest.raises(ValueError, match=r"got nan; .*the parameter 2\.bias itself is not finite"):
        Problem(broken, nn.CrossEntropyLoss(), (x, y))


def test_a_random_loss_is_told_as_such() -> None:
    with pytest.raises(ValueError, match="expected the same loss"):
        Problem(
            network(),
            lambda output, target: F.cross_entropy(output * torch.rand(()), target),
            batches(samples(), 32),
        )


class DropoutAlways(nn.Module):
    """Functional dropout is on by default, in eval mode too."""

    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Linear(4, 3)

    def forward(self, x: Tensor) -> Tensor:
        return self.layer(F.dropout(x))


def test_a_model_that_draws_random_numbers_in_eval_mode_is_told_as_such() -> None:
    with pytest.raises(ValueError, match="same loss from two evaluations .*draws random numbers"):
        Problem(DropoutAlways(), nn.CrossEntropyLoss(), (torch.ones(16, 4), torch.arange(16) % 3))


def test_the_trial_asks_for_few_samples() -> None:
    asked = []

    def loss(model: nn.Module, batch: tuple[Tensor, Tensor]) -> Tensor:
        asked.append(len(batch[0]))
        return F.cross_entropy(model(batch[0]), batch[1])

    loader = DataLoader(TensorDataset(*samples(3000)), batch_size=100)
    Problem(network(), loss, loader)
    small = [count for count in asked if count < 100]
    assert sum(small) <= 300
    # One pass for the loss at θ*, and a few evaluations of the first batch.
    assert len(asked) - len(small) <= 30 + 12


def test_outputs_broadcast_against_targets_are_said_and_kept_apart() -> None:
    """(n, 1) against (n,): every output against every target of its batch, which is another loss in other batches."""
    model = nn.Linear(4, 1).double()
    x, _ = samples(60)
    y = x.sum(1)
    data = batches((x, y), 20)
    with pytest.warns(UserWarning, match="target size"):
        problem = Problem(model, nn.MSELoss(), data)
    with pytest.warns(UserWarning, match="target size"):
        expected = sum(float(F.mse_loss(model(a), b).detach()) for a, b in data) / 3
    assert len(list(problem.terms())) == 3
    with pytest.warns(UserWarning, match="target size"):
        assert problem.loss() == pytest.approx(expected, rel=1e-12)
    (note,) = problem.notes
    assert note.startswith("outputs of shape (20, 1) and targets of shape (20,) are broadcast")
