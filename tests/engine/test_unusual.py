"""Unusual models, losses and data: the same function everywhere, checked by finite differences; or a refusal in words."""

from __future__ import annotations

import collections
import dataclasses
import functools
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint
from torch.utils.data import DataLoader, Dataset

from landscape_widget import Hessian, Problem

from .problems import batches


def network() -> nn.Sequential:
    with torch.random.fork_rng(devices=()):
        torch.manual_seed(0)
        return nn.Sequential(nn.Linear(4, 5), nn.Tanh(), nn.Linear(5, 3)).double()


def samples() -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(1)
    x = torch.randn(20, 4, generator=generator, dtype=torch.float64)
    return x, torch.randint(0, 3, (20,), generator=generator)


X, Y = samples()
EXPECTED = float(F.cross_entropy(network()(X), Y).detach())


def model(make: Callable[[], dict[str, Any]], forward: Callable[..., Any]) -> nn.Module:
    """A module of the given members, in float64 with seeded weights."""

    class Made(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            for name, member in make().items():
                setattr(self, name, member)

    Made.forward = forward  # type: ignore[method-assign]
    with torch.random.fork_rng(devices=()):
        torch.manual_seed(0)
        return Made().double()


def own(model: nn.Module, batch: Any) -> Tensor:
    return F.cross_entropy(model(batch[0]), batch[1])


def nameless(a: Tensor, b: Tensor) -> Tensor:
    return F.cross_entropy(a, b)


def backwards(model: nn.Module, batch: Any) -> Tensor:
    value = own(model, batch)
    value.backward()
    return value


# Models.


def _language_model() -> nn.Module:
    """Tied embedding and head; computes its own loss, as those of the transformers library do."""
    output = collections.namedtuple("output", "loss logits")  # noqa: PYI024

    def forward(self: Any, input_ids: Tensor, attention_mask: Any = None, labels: Any = None) -> Any:
        logits = self.head(self.embed(input_ids) * attention_mask.unsqueeze(-1))
        return output(None if labels is None else F.cross_entropy(logits.transpose(1, 2), labels), logits)

    made = model(lambda: {"embed": nn.Embedding(7, 4), "head": nn.Linear(4, 7)}, forward)
    made.head.weight = made.embed.weight  # type: ignore[union-attr]
    return made


class Encoding(collections.UserDict):
    """A mapping that is no dict, as tokenizers return."""


def _tokens() -> list[Encoding]:
    ids = torch.randint(0, 7, (12, 5), generator=torch.Generator().manual_seed(2))
    labels = ids.clone()
    labels[:, 4] = -100
    return [Encoding(input_ids=i, attention_mask=torch.ones_like(i), labels=t) for i, t in batches((ids, labels), 5)]


def _shared() -> nn.Module:
    made = model(
        lambda: {"a": nn.Linear(4, 4), "c": nn.Linear(4, 3)}, lambda self, x: self.c(torch.tanh(self.b(self.a(x))))
    )
    made.b = made.a  # type: ignore[assignment]
    return made


def _gradient_penalty(model: nn.Module, batch: Any) -> Tensor:
    value = own(model, batch)
    gradients = torch.autograd.grad(value, list(model.parameters()), create_graph=True)
    return value + torch.stack([g.square().sum() for g in gradients]).sum()


SMOOTH: dict[str, Callable[[], Problem]] = {
    "language model": lambda: Problem(_language_model(), lambda model, batch: model(**batch).loss, _tokens()),
    "module used twice": lambda: Problem(_shared(), nn.CrossEntropyLoss(), (X, Y)),
    "lists of parameters, one of them a number": lambda: Problem(
        model(
            lambda: {
                "p": nn.ParameterList([nn.Parameter(torch.randn(4, 3)), nn.Parameter(torch.zeros(3))]),
                "d": nn.ParameterDict({"scale": nn.Parameter(torch.tensor(1.3))}),
            },
            lambda self, x: torch.tanh(x @ self.p[0]) * self.d["scale"] + self.p[1],
        ),
        nn.CrossEntropyLoss(),
        (X, Y),
    ),
    "complex inside": lambda: Problem(
        model(lambda: {"a": nn.Linear(4, 4)}, lambda self, x: torch.fft.fft(self.a(x))),
        lambda output, target: (output.abs() - target).square().mean(),
        batches((X, X), 8),
    ),
    "weight norm": lambda: Problem(
        model(lambda: {"a": nn.utils.parametrizations.weight_norm(nn.Linear(4, 3))}, lambda self, x: self.a(x)),
        nn.CrossEntropyLoss(),
        (X, Y),
    ),
    "spectral norm": lambda: Problem(
        model(lambda: {"a": nn.utils.parametrizations.spectral_norm(nn.Linear(4, 3))}, lambda self, x: self.a(x)),
        nn.CrossEntropyLoss(),
        (X, Y),
    ),
    "packed sequences": lambda: Problem(
        nn.GRU(4, 3).double(),
        lambda model, batch: model(batch)[1].square().mean(),
        nn.utils.rnn.pack_sequence([X[:5], X[5:8], X[8:10]]),
    ),
    "gradient penalty": lambda: Problem(network(), _gradient_penalty, (X, Y)),
    "one sample at a time": lambda: Problem(
        network(),
        lambda model, b: torch.func.vmap(lambda x, y: F.cross_entropy(model(x), y))(b[0], b[1]).mean(),
        (X, Y),
    ),
}


@pytest.mark.parametrize("name", SMOOTH)
def test_gradient_and_curvature_are_those_of_the_surface(name: str) -> None:
    problem = SMOOTH[name]()
    v = torch.randn(problem.num_parameters, generator=torch.Generator().manual_seed(3), dtype=torch.float64)
    v, h = v / v.norm(), 1e-4
    up, here, down = problem.losses(torch.stack([problem.point + s * h * v for s in (1, 0, -1)]))
    assert float(problem.gradient() @ v) == pytest.approx((up - down) / (2 * h), rel=1e-6, abs=1e-8)
    assert float(v @ (Hessian(problem) @ v)) == pytest.approx((up - 2 * here + down) / h**2, rel=1e-4, abs=1e-6)
    assert problem.notes == []


def test_hessian_of_weight_norm_is_symmetric() -> None:
    """Torch's fused one gives another second derivative, and not even a symmetric one."""
    problem = SMOOTH["weight norm"]()
    dense = Hessian(problem) @ torch.eye(problem.num_parameters, dtype=torch.float64)
    torch.testing.assert_close(dense, dense.T, rtol=1e-12, atol=1e-14)


def test_names_of_a_shared_tensor_are_names_of_one() -> None:
    assert Problem(_shared(), nn.CrossEntropyLoss(), (X, Y), params="b.*").parameter_names == ("a.weight", "a.bias")


def test_models_made_in_inference_mode() -> None:
    with torch.inference_mode():
        problem = Problem(network(), nn.CrossEntropyLoss(), (X.clone(), Y.clone()))
    assert problem.loss() == pytest.approx(EXPECTED, rel=1e-12)
    assert float((Hessian(problem) @ problem.point).norm()) > 0


def test_half_and_double_precision_weights_together_are_computed_in_double() -> None:
    made = network()
    made[0].half()
    made[0].register_buffer("kept", torch.tensor(1 / 3, dtype=torch.float64))
    problem = Problem(made, nn.CrossEntropyLoss(), (X, Y))
    assert problem.notes == ["half-precision weights are computed in float64"]
    assert problem.dtype == torch.float64
    assert {tensor.dtype for tensor in problem._model.state_dict().values()} == {torch.float64}
    assert float(problem._model[0].kept) == 1 / 3  # type: ignore[index, arg-type]
    exact = torch.cat([part.detach().double().reshape(-1) for part in made.parameters()])
    assert torch.equal(problem.point, exact)
    assert made[0].weight.dtype == torch.float16


# Data.


@dataclasses.dataclass(frozen=True)
class Record:
    x: Tensor
    y: Tensor
    name: str = "a record"


class Named(Dataset[dict[str, Any]]):
    """Samples as dicts with a file name, as image data sets give them."""

    def __len__(self) -> int:
        return len(X)

    def __getitem__(self, i: int) -> dict[str, Any]:
        return {"image": X[i], "label": Y[i], "file": f"{i}.png"}


Pair = collections.namedtuple("Pair", "x y")  # noqa: PYI024

DATA: dict[str, Callable[[], Problem]] = {
    "dataclasses": lambda: Problem(
        network(), lambda model, b: F.cross_entropy(model(b.x), b.y), [Record(X[:8], Y[:8]), Record(X[8:], Y[8:])]
    ),
    "named tuples": lambda: Problem(network(), nn.CrossEntropyLoss(), [Pair(X[:8], Y[:8]), Pair(X[8:], Y[8:])]),
    "dicts with names": lambda: Problem(network(), nn.CrossEntropyLoss(), Named()),
    "dicts with names, own loss": lambda: Problem(
        network(),
        lambda model, b: F.cross_entropy(model(b["image"]), b["label"]),
        DataLoader(Named(), batch_size=8),
    ),
    "dicts with names, streamed": lambda: Problem(
        network(),
        lambda model, b: F.cross_entropy(model(b["image"]), b["label"], reduction="sum"),
        DataLoader(Named(), batch_size=8),
        cache_bytes=10,
    ),
    "zip": lambda: Problem(network(), nn.CrossEntropyLoss(), zip(X.split(8), Y.split(8), strict=True)),
    "targets in a dict": lambda: Problem(
        network(),
        lambda output, target: F.cross_entropy(output, target["class"]),
        [(x, {"class": y, "other": x}) for x, y in batches((X, Y), 8)],
    ),
    "None in a batch": lambda: Problem(
        network(), lambda model, b: F.cross_entropy(model(b[0]), b[2]), [(x, None, y) for x, y in batches((X, Y), 8)]
    ),
    "long doubles": lambda: Problem(network(), nn.CrossEntropyLoss(), (X.numpy().astype(np.longdouble), Y.numpy())),
    "an empty batch first": lambda: Problem(network(), own, [(X[:0], Y[:0]), (X, Y)]),
    "samples one by one": lambda: Problem(network(), nn.CrossEntropyLoss(), list(zip(X, Y, strict=True))),
    "[x, y] with an own loss": lambda: Problem(network(), own, [X, Y]),
    "loss of the model alone": lambda: Problem(network(), lambda model: F.cross_entropy(model(X), Y)),
}


@pytest.mark.parametrize("name", DATA)
def test_the_mean_over_unusual_data(name: str) -> None:
    problem = DATA[name]()
    assert problem.loss() == pytest.approx(EXPECTED, rel=1e-12)
    assert all("not known" not in note for note in problem.notes)
    assert Hessian(problem) @ problem.point is not None


def test_sparse_inputs() -> None:
    problem = Problem(network(), nn.CrossEntropyLoss(), [(x.to_sparse(), y) for x, y in batches((X, Y), 8)])
    assert problem.loss() == pytest.approx(EXPECTED, rel=1e-12)


def test_a_list_of_bare_tensors_is_a_list_of_batches_where_the_loss_takes_no_other() -> None:
    problem = Problem(network(), lambda model, batch: model(batch).square().mean(), [X[:8], X[8:]])
    assert len(list(problem.terms())) == 2
    assert problem.loss() == pytest.approx(float(network()(X).square().mean().detach()), rel=1e-12)


def test_a_streamed_loader_that_changes_only_names_is_refused() -> None:
    class Renamed(Named):
        passes = 0

        def __getitem__(self, i: int) -> dict[str, Any]:
            Renamed.passes += i == 0
            return super().__getitem__(i) | {"file": f"{Renamed.passes}.png"}

    with pytest.raises(ValueError, match="same batches in every pass"):
        Problem(
            network(),
            lambda model, b: F.cross_entropy(model(b["image"]), b["label"]),
            DataLoader(Renamed(), batch_size=8),
            cache_bytes=10,
        ).loss()


# Refusals.


def _checkpointed(reentrant: bool, *, first: bool) -> nn.Module:
    def forward(self: Any, x: Tensor) -> Tensor:
        if first:
            return self.n[2](checkpoint(self.n[:2], x, use_reentrant=reentrant))
        return checkpoint(self.n[1:], self.n[0](x), use_reentrant=reentrant)

    return model(lambda: {"n": network()}, forward)


def _returning(forward: Callable[..., Any]) -> nn.Module:
    return model(lambda: {"n": network()}, forward)


class Penalized(nn.Module):
    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.model = model

    def forward(self, output: Tensor, target: Tensor) -> Tensor:
        return F.cross_entropy(output, target) + torch.stack([p.square().sum() for p in self.model.parameters()]).sum()


def _holding_the_model() -> Problem:
    made = network()
    return Problem(made, Penalized(made), (X, Y))


CE = nn.CrossEntropyLoss()
REFUSED: dict[str, tuple[Callable[[], Any], type[Exception], str]] = {
    **{
        f"checkpointing, {'reentrant' if reentrant else 'not reentrant'}, {'first' if first else 'last'} layers": (
            functools.partial(lambda r, f: Problem(_checkpointed(r, first=f), CE, (X, Y)), reentrant, first),
            ValueError,
            "without gradient checkpointing, .*switch it off",
        )
        for reentrant in (True, False)
        for first in (True, False)
    },
    "a class for a loss": (
        lambda: Problem(network(), nn.MSELoss, (X, Y)),
        TypeError,
        r"class MSELoss; pass MSELoss\(\)",
    ),
    "a class for a model": (lambda: Problem(nn.Linear, CE, (X, Y)), TypeError, r"class Linear; pass Linear\(\.\.\.\)"),  # type: ignore[arg-type]
    "output a tuple": (
        lambda: Problem(nn.LSTM(4, 3).double(), nn.MSELoss(), (X[None], X[None, :, :3])),
        TypeError,
        r"returns a tensor for criterion.*got a tuple of \(Tensor \(1, 20, 3\), .*write loss\(model, batch\)",
    ),
    "output a tuple, own criterion": (
        lambda: Problem(_returning(lambda self, x: (self.n(x), x)), nameless, (X, Y)),
        TypeError,
        r"got a tuple of \(Tensor \(20, 3\), Tensor \(20, 4\)\)",
    ),
    "output nothing": (
        lambda: Problem(_returning(lambda self, x: self.n(x) and None if len(x) == 1 else None), CE, (X, Y)),
        TypeError,
        "returns its output, got None; does its forward return something",
    ),
    "complex loss": (
        lambda: Problem(network(), lambda output, target: F.cross_entropy(output, target) * (1 + 0j), (X, Y)),
        ValueError,
        "real floating-point number, got one of type torch.complex128; take .abs",
    ),
    "counting loss": (
        lambda: Problem(network(), lambda output, target: (output.argmax(1) == target).sum(), (X, Y)),
        ValueError,
        "real floating-point number, got one of type torch.int64",
    ),
    "loss without return": (
        lambda: Problem(network(), lambda output, target: None, (X, Y)),
        ValueError,
        r"scalar tensor, got None \(has the function a return",
    ),
    "backward in the loss": (
        lambda: Problem(network(), backwards, (X, Y)),
        ValueError,
        "only returns its value, got one that frees its graph; leave out",
    ),
    "loss that holds the model": (_holding_the_model, ValueError, "holds parameters of your own model"),
    "loss of three arguments": (
        lambda: Problem(network(), nn.TripletMarginLoss(), (X, Y)),
        TypeError,
        r"two arguments, .*got one of \(anchor, positive, negative\); wrap it",
    ),
    "loss(model) with data": (
        lambda: Problem(network(), lambda model: model(X).sum(), (X, Y)),
        TypeError,
        r"got one of \(model\) and data that it would not see; leave data out",
    ),
    "criterion without data": (
        lambda: Problem(network(), CE),
        ValueError,
        r"data for criterion\(output, target\), got none",
    ),
    "fewer targets": (
        lambda: Problem(network(), CE, (X, Y[:10])),
        ValueError,
        "as many targets as outputs, got 10 targets for 20 outputs .*same length",
    ),
    "fewer targets in a list": (
        lambda: Problem(network(), nn.MSELoss(), [(X, X[:10, :3]), (X, X[:, :3])]),
        ValueError,
        "got 10 targets for 20 outputs",
    ),
    "labels out of range": (
        lambda: Problem(network(), CE, (X, Y + 5)),
        ValueError,
        "labels from 0 to 2 for a model with 3 outputs, got 5 to 7",
    ),
    "labels in a column": (
        lambda: Problem(network(), CE, (X, Y[:, None])),
        ValueError,
        r"class labels of shape \(\d+,\), got \(\d+, 1\); squeeze",
    ),
    "int32 labels, nameless loss": (
        lambda: Problem(network(), nameless, (X, Y.int())),
        ValueError,
        "^expected data and loss in the model's precision, and class labels as int64",
    ),
    "another device, nameless loss": (
        lambda: Problem(network(), lambda a, b: F.cross_entropy(a, b, weight=torch.ones(3, device="meta")), (X, Y)),
        ValueError,
        "^expected model, data and loss on one device",
    ),
    "samples with numbers": (
        lambda: Problem(network(), CE, [(x, int(y)) for x, y in zip(X, Y, strict=True)]),
        TypeError,
        r"target as a tensor, got int \d; .*DataLoader\(samples, batch_size",
    ),
    "lists of numbers": (
        lambda: Problem(network(), CE, {"input": X.tolist(), "labels": Y.tolist()}),
        ValueError,
        r"got a dict batch with tensors of shape \(none\); convert numbers",
    ),
    "keys that the model does not know": (
        lambda: Problem(network(), CE, {"image": X, "mask": X, "labels": Y}),
        ValueError,
        r"keys are arguments of the model \(input\), got image, mask; rename",
    ),
    "masked array": (
        lambda: Problem(network(), CE, (np.ma.masked_array(X.numpy(), X.numpy() > 1), Y)),
        ValueError,
        "without masked entries",
    ),
    "TorchScript": (
        lambda: Problem(torch.jit.trace(network(), X), CE, (X, Y)),  # type: ignore[arg-type]
        TypeError,
        "ordinary torch.nn.Module, got TorchScript",
    ),
}


@pytest.mark.filterwarnings("ignore:.torch.jit.trace:DeprecationWarning")
@pytest.mark.filterwarnings("ignore:None of the inputs have requires_grad:UserWarning")
@pytest.mark.filterwarnings("ignore:Using a target size:UserWarning")
@pytest.mark.parametrize("name", REFUSED)
def test_refusals(name: str) -> None:
    make, kind, message = REFUSED[name]
    with pytest.raises(kind, match=message):
        make()


def test_an_error_of_the_model_comes_as_it_is_with_the_batch() -> None:
    with pytest.raises(RuntimeError, match="cannot be multiplied") as caught:
        Problem(nn.Linear(5, 3).double(), CE, (X, Y))
    assert caught.value.__notes__ == ["raised for a tuple batch with tensors of shape (8, 4), (8,)"]


@pytest.mark.parametrize("cut", ["state_dict", "data"])
def test_a_part_cut_off_the_gradient_is_noted(cut: str) -> None:
    def loss(model: Any, batch: Any) -> Tensor:
        values = model.state_dict().values() if cut == "state_dict" else [p.data for p in model.parameters()]
        return own(model, batch) + torch.stack([v.square().sum() for v in values]).sum()

    (note,) = Problem(network(), loss, (X, Y)).notes
    assert note.startswith("the gradient is not the derivative of the loss: .detach(), .data, state_dict()")


class PartlyDetached(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.first, self.second, self.head = nn.Linear(10, 32), nn.Linear(10, 32), nn.Linear(32, 4)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(torch.relu(self.first(x)) * self.second(x).detach())


def _of_kinks(seed: int) -> nn.Module:
    if seed % 5:
        return nn.Sequential(nn.Linear(10, 32), nn.ReLU(), nn.Linear(32, 32), nn.ReLU(), nn.Linear(32, 4))
    convolutions = nn.Conv2d(1, 8, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2), nn.Conv2d(8, 16, 3, padding=1), nn.ReLU()
    return nn.Sequential(nn.Unflatten(1, (1, 2, 5)), *convolutions, nn.Flatten(), nn.Linear(32, 4))


def _noted(make: Callable[[int], nn.Module], seeds: range) -> int:
    """How many of some small random networks get a note of a gradient that is cut off."""
    found = 0
    for seed in seeds:
        torch.manual_seed(seed)
        rows = (64, 8, 500)[seed % 3]
        found += bool(Problem(make(seed), CE, (torch.randn(rows, 10), torch.arange(rows) % 4)).notes)
    return found


def test_kinks_are_not_taken_for_a_cut() -> None:
    assert _noted(_of_kinks, range(200)) == 0


def test_a_detached_factor_is_noted() -> None:
    assert _noted(lambda _seed: PartlyDetached(), range(20)) >= 10
