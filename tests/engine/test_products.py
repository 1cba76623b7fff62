"""The ways to make Hessian-vector products: the same numbers, each within its memory, the fastest that is right."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.autograd.graph import saved_tensors_hooks

from landscape_widget import Problem, hessian_directions
from landscape_widget.engine import operators, products
from landscape_widget.engine.operators import METHODS, Hessian

from .problems import ARCHITECTURES, dense_hessian, make

# torch has no forward mode for these: nn.MSELoss and LSTMs.
NO_FORWARD_MODE = {"tied", "frozen", "lstm", "dict_batches", "two_inputs", "nested_inputs"}


def identity(H: Hessian) -> Tensor:
    return torch.eye(H.shape[0], dtype=H.theta.dtype, device=H.theta.device)


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("name", sorted(set(ARCHITECTURES) - NO_FORWARD_MODE))
def test_every_way_gives_the_dense_hessian(name: str, method: str, device: str) -> None:
    case = make(name)
    H = Hessian(case.problem(device=device), method=method)
    torch.testing.assert_close((H @ identity(H)).cpu(), dense_hessian(case), rtol=1e-9, atol=1e-12)
    assert H.method == (method if method != "auto" else "kept graph")


@pytest.mark.parametrize("method", ["forward over reverse", "linearize"])
def test_what_forward_mode_cannot_do_is_an_error_and_not_the_end_of_the_process(method: str) -> None:
    H = Hessian(make("tied").problem(), method=method)
    with pytest.raises(ValueError, match=f"expected a method that torch can use for this loss, got '{method}'"):
        _ = H @ identity(H)[0]


def test_a_method_that_is_wrong_for_a_loss_is_refused() -> None:
    """torch.func.linearize cannot be trusted on a GRU; the other ways are right."""
    torch.manual_seed(0)

    class Reader(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.gru, self.head = nn.GRU(3, 4, batch_first=True), nn.Linear(4, 3)

        def forward(self, x: Tensor) -> Tensor:
            return self.head(self.gru(x)[0][:, -1])

    problem = Problem(Reader().double(), nn.CrossEntropyLoss(), (torch.randn(12, 5, 3).double(), torch.arange(12) % 3))
    v, h = torch.randn(problem.num_parameters, dtype=torch.float64), 1e-6
    difference = (problem.gradient(problem.point + h * v) - problem.gradient(problem.point - h * v)) / (2 * h)
    torch.testing.assert_close(Hessian(problem) @ v, difference, rtol=1e-4, atol=1e-7)
    with pytest.raises(ValueError, match="'linearize'.*leave method= out"):
        _ = Hessian(problem, method="linearize") @ v


@pytest.mark.parametrize("name", ARCHITECTURES)
def test_rows_together_give_the_dense_hessian(name: str) -> None:
    case = make(name)
    problem = case.problem()
    made = products.DoubleBackward(problem, problem.point, problem.terms, together=True)
    eye = torch.eye(problem.num_parameters, dtype=problem.dtype)
    torch.testing.assert_close(made(eye), dense_hessian(case), rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("name", ["mlp", "conv_batchnorm", "attention"])
@pytest.mark.parametrize("micro_batch", [1, 7, 16])
def test_micro_batches_add_up(name: str, micro_batch: int) -> None:
    """Ragged pieces, class weights and ignored targets among them."""
    case = make(name)
    H = Hessian(case.problem(), method="double backward")
    H.micro_batch = micro_batch
    H.graph_bytes = 0  # as if measured
    assert max(len(term.batch[0]) for term in H._terms()) <= micro_batch
    V = torch.randn(3, H.shape[0], dtype=torch.float64, generator=torch.Generator().manual_seed(4))
    torch.testing.assert_close(H @ V, V @ dense_hessian(case), rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("reduction", ["mean", "sum"])
def test_micro_batches_of_weighted_and_ignored_targets(reduction: str) -> None:
    generator = torch.Generator().manual_seed(2)
    x = torch.randn(50, 5, dtype=torch.float64, generator=generator)
    y = torch.randint(0, 3, (50,), generator=generator)
    y[3:20] = -100
    loss = nn.CrossEntropyLoss(weight=torch.tensor([0.2, 1.0, 3.0], dtype=torch.float64), reduction=reduction)
    torch.manual_seed(0)
    problem = Problem(nn.Sequential(nn.Linear(5, 4), nn.Tanh(), nn.Linear(4, 3)).double(), loss, (x, y))
    whole, parted = Hessian(problem), Hessian(problem)
    parted.micro_batch, parted.graph_bytes = 6, 0
    assert len(list(parted._terms())) >= 6
    torch.testing.assert_close(parted @ identity(parted), whole @ identity(whole), rtol=1e-9, atol=1e-12)


def mlp(rows: int = 256) -> Problem:
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(10, 32), nn.Tanh(), nn.Linear(32, 32), nn.Tanh(), nn.Linear(32, 4))
    return Problem(model, nn.CrossEntropyLoss(), (torch.randn(rows, 10), torch.arange(rows) % 4))


def saved_bytes(problem: Problem) -> int:
    """What the graph of the whole gradient keeps, counted apart from the engine's own measure."""
    found: dict[int, Tensor] = {}

    def keep(tensor: Tensor) -> Tensor:
        found[tensor.untyped_storage().data_ptr()] = tensor
        return tensor

    leaf = problem.point.clone().requires_grad_(True)
    with saved_tensors_hooks(keep, lambda t: t):
        value = sum((problem.term(leaf, term) for term in problem.terms()), torch.zeros(()))
        (gradient,) = torch.autograd.grad(value, leaf, create_graph=True)
    assert gradient.requires_grad
    return sum(t.untyped_storage().nbytes() for t in found.values())


def test_the_memory_of_a_product_is_measured() -> None:
    problem = mlp()
    H = Hessian(problem)
    assert H.graph_bytes is None
    _ = H @ problem.point
    assert H.graph_bytes is not None
    # The counted one includes θ and the data.
    assert H.graph_bytes == pytest.approx(saved_bytes(problem), rel=0.1)


def convolutions() -> Problem:
    torch.manual_seed(0)
    model = nn.Sequential(
        nn.Conv2d(3, 8, 3, padding=1), nn.BatchNorm2d(8), nn.ReLU(), nn.MaxPool2d(2), nn.Flatten(), nn.Linear(128, 4)
    )
    return Problem(model, nn.CrossEntropyLoss(), (torch.randn(64, 3, 8, 8), torch.arange(64) % 4))


def wide_softmax() -> Problem:
    torch.manual_seed(0)
    return Problem(nn.Linear(16, 2000), nn.CrossEntropyLoss(), (torch.randn(64, 16), torch.arange(64)))


def transformer() -> Problem:
    torch.manual_seed(0)
    layer = nn.TransformerEncoderLayer(16, 2, 32, batch_first=True, dropout=0)
    body = nn.TransformerEncoder(layer, 2, enable_nested_tensor=False)
    model = nn.Sequential(nn.Linear(4, 16), body, nn.Flatten(), nn.Linear(16 * 16, 4))
    return Problem(model, nn.CrossEntropyLoss(), (torch.randn(64, 16, 4), torch.arange(64) % 4))


def peak_by_profiler(way: products.Products, rows: Tensor) -> int:
    """The most bytes that a product holds, as torch's own profiler counts them."""
    # What is made once for the process is none of it.
    products.DoubleBackward(way._problem, way._theta, way._terms)(rows)  # type: ignore[attr-defined]
    with torch.profiler.profile(activities=[torch.profiler.ProfilerActivity.CPU], profile_memory=True) as profile:
        way(rows)
    assert profile.profiler is not None
    events = [event for event in profile.profiler.kineto_results.events() if event.name() == "[memory]"]
    changes = [event.nbytes() for event in sorted(events, key=lambda event: event.start_ns())]
    return int(np.cumsum(changes).max())


@pytest.mark.parametrize("make", [mlp, convolutions, wide_softmax, transformer])
def test_the_memory_of_a_product_is_what_the_profiler_finds(make: Any) -> None:
    """Told from two and from six samples, for ten times as many; temporaries are several times a graph or a fraction of it."""
    problem = make()
    (term,) = problem.terms()
    samples = len(term.batch[0])
    takes = products.footprint(problem, problem.point, term, (2, 6))
    expected = takes.graph_bytes(samples) + takes.temporaries(samples)
    one = torch.ones_like(problem.point)[None]
    kept = products.KeptGraph(problem, problem.point, problem.terms)
    assert expected == pytest.approx(peak_by_profiler(kept, one), rel=0.05)
    assert takes.most(expected) == samples
    assert takes.most(0.9 * expected) < samples
    together = products.DoubleBackward(problem, problem.point, problem.terms, together=True)
    allowed = takes.graph_bytes(samples) + 4 * takes.temporaries(samples)
    assert 0.6 * allowed < peak_by_profiler(together, one.expand(4, -1)) < allowed


def test_a_footprint_that_cannot_be_measured_is_a_safe_one(monkeypatch: pytest.MonkeyPatch) -> None:
    problem = mlp()
    (term,) = problem.terms()
    measured = products.footprint(problem, problem.point, term, (2, 6))

    def refusing(*_: Any) -> Any:
        raise NotImplementedError("no modes here")

    monkeypatch.setattr(products, "allocated", refusing)
    safe = products.footprint(problem, problem.point, term, (2, 6))
    assert safe.graph_bytes(256) == measured.graph_bytes(256)
    assert safe.temporaries(256) == pytest.approx(3 * safe.graph_bytes(256))
    assert safe.temporaries(256) > measured.temporaries(256)


def test_one_sample_is_enough_to_measure() -> None:
    torch.manual_seed(0)
    problem = Problem(nn.Linear(10, 4), nn.CrossEntropyLoss(), (torch.randn(1, 10), torch.tensor([2])))
    H = Hessian(problem)
    _ = H @ problem.point
    assert H.graph_bytes == pytest.approx(saved_bytes(problem) - 4 * 54, abs=200)


def test_losses_that_forbid_hooks_and_sparse_data_have_products() -> None:
    torch.manual_seed(0)
    field = nn.Sequential(nn.Linear(2, 8), nn.Tanh(), nn.Linear(8, 1)).double()

    def slopes(model: nn.Module, batch: tuple[Tensor]) -> Tensor:
        by_point = torch.func.vmap(torch.func.jacrev(lambda x: model(x[None])[0]))
        return by_point(batch[0]).square().mean()

    class Sparse(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.linear = nn.Linear(6, 3).double()

        def forward(self, x: Tensor) -> Tensor:
            return torch.sparse.mm(x, self.linear.weight.T) + self.linear.bias if x.is_sparse else self.linear(x)

    x = torch.randn(20, 6, dtype=torch.float64).relu()
    model, loss, y = Sparse(), nn.CrossEntropyLoss(), torch.arange(20) % 3
    dense, sparse = Hessian(Problem(model, loss, (x, y))), Hessian(Problem(model, loss, (x.to_sparse(), y)))
    torch.testing.assert_close(sparse @ identity(sparse), dense @ identity(dense), rtol=1e-9, atol=1e-12)
    physics = Problem(field, slopes, [(torch.randn(10, 2, dtype=torch.float64),)])
    v, h = torch.randn(physics.num_parameters, dtype=torch.float64), 1e-6
    difference = (physics.gradient(physics.point + h * v) - physics.gradient(physics.point - h * v)) / (2 * h)
    torch.testing.assert_close(Hessian(physics) @ v, difference, rtol=1e-5, atol=1e-7)


def test_a_budget_below_the_whole_graph_makes_micro_batches_and_keeps_nothing() -> None:
    problem = mlp()
    v = torch.randn(problem.num_parameters, generator=torch.Generator().manual_seed(0))
    whole = Hessian(problem)
    expected = whole @ v
    assert whole.graph_bytes is not None
    small = Hessian(problem, memory_budget=whole.graph_bytes // 4)
    torch.testing.assert_close(small @ v, expected, rtol=1e-4, atol=1e-6)
    assert (whole.method, whole.micro_batch) == ("kept graph", None)
    assert small.method == "double backward"
    assert small.micro_batch is not None
    largest = products.graph_bytes(problem, problem.point, next(iter(small._terms())))
    assert largest <= whole.graph_bytes // 4


def test_data_read_anew_are_never_kept_in_a_graph() -> None:
    x, y = torch.randn(64, 10), torch.arange(64) % 4
    loader = torch.utils.data.DataLoader(torch.utils.data.TensorDataset(x, y), batch_size=16)
    torch.manual_seed(0)
    problem = Problem(nn.Linear(10, 4), nn.CrossEntropyLoss(), loader, cache_bytes=100)
    H = Hessian(problem)
    _ = H @ problem.point
    assert H.method == "double backward"


def test_a_loader_that_changes_between_products_is_refused_with_the_size_of_the_difference() -> None:
    x, y = torch.randn(64, 10), torch.arange(64) % 4

    class Drifting(torch.utils.data.Dataset):  # type: ignore[type-arg]
        shift = 0.0

        def __len__(self) -> int:
            return len(x)

        def __getitem__(self, i: int) -> tuple[Tensor, Tensor]:
            return x[i] + (self.shift if i >= 32 else 0.0), y[i]

    data = Drifting()
    loader = torch.utils.data.DataLoader(data, batch_size=16)
    problem = Problem(nn.Linear(10, 4), nn.CrossEntropyLoss(), loader, cache_bytes=100)
    H = Hessian(problem)
    first = H @ problem.point
    torch.testing.assert_close(H @ problem.point, first, rtol=0, atol=0)
    data.shift = 0.25
    with pytest.raises(ValueError, match=r"another batch 2 than in the first one, with a difference of at least 0\.25"):
        _ = H @ problem.point


class Greedy(nn.Module):
    """Runs out of memory on more than ``most`` samples, once ``armed``."""

    def __init__(self, most: int, error: BaseException) -> None:
        super().__init__()
        self.linear, self.head = nn.Linear(10, 8), nn.Linear(8, 4)
        self.most, self.error, self.armed = most, error, [False]

    def __deepcopy__(self, memo: Any) -> Greedy:
        twin = Greedy(self.most, self.error)
        twin.load_state_dict(self.state_dict())
        twin.armed = self.armed
        return twin

    def forward(self, x: Tensor) -> Tensor:
        if self.armed[0] and len(x) > self.most:
            raise self.error
        return self.head(torch.tanh(self.linear(x)))


@pytest.mark.parametrize(
    "error",
    [
        torch.cuda.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB"),
        RuntimeError(
            "[enforce fail at alloc_cpu.cpp] DefaultCPUAllocator: can't allocate memory: you tried to allocate"
        ),
        MemoryError(),
    ],
    ids=["cuda", "cpu", "python"],
)
def test_out_of_memory_halves_the_micro_batch_and_goes_on(error: BaseException) -> None:
    torch.manual_seed(0)
    model = Greedy(20, error)
    problem = Problem(model, nn.CrossEntropyLoss(), (torch.randn(128, 10), torch.arange(128) % 4))
    v = torch.randn(problem.num_parameters)
    expected = Hessian(problem) @ v
    model.armed[0] = True
    H = Hessian(problem)
    torch.testing.assert_close(H @ v, expected, rtol=1e-4, atol=1e-6)
    assert H.micro_batch == 16
    assert H.method == "double backward"
    assert H.num_matvecs == 1
    model.most = 0
    problem._model.most = 0  # type: ignore[assignment]
    with pytest.raises(MemoryError, match="expected memory for a Hessian-vector product"):
        _ = H @ v


@pytest.mark.parametrize("most", [8, 6, 5, 3, 2, 1])
def test_memory_for_very_few_samples_is_enough(most: int) -> None:
    """Also for what is examined and measured on a few samples before the first product."""
    torch.manual_seed(0)
    model = Greedy(most, torch.cuda.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB"))
    data = torch.randn(37, 10), torch.arange(37) % 4
    problem = Problem(model, nn.CrossEntropyLoss(), data)
    v = torch.randn(problem.num_parameters)
    expected = Hessian(Problem(model, nn.CrossEntropyLoss(), data)) @ v
    model.armed[0] = True
    H = Hessian(problem)
    torch.testing.assert_close(H @ v, expected, rtol=1e-4, atol=1e-6)
    assert H.micro_batch is not None
    assert most / 2 < H.micro_batch + 1 <= most + 1
    assert problem.has_hessian


def kept_out(monkeypatch: pytest.MonkeyPatch, most: int) -> list[int]:
    """Kept graphs of more than ``most`` samples run out of memory; how often they did, as a list that grows."""
    call, failed = products.KeptGraph.__call__, []

    def greedy(way: products.KeptGraph, rows: Tensor) -> Tensor:
        if sum(len(term.batch[0]) for term in way._terms()) > most:
            failed.append(1)
            raise torch.cuda.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB")
        return call(way, rows)

    monkeypatch.setattr(products.KeptGraph, "__call__", greedy)
    return failed


@pytest.mark.parametrize("cut", [True, False], ids=["batches that can be cut", "batches that cannot"])
def test_graphs_that_do_not_fit_are_not_kept_before_any_batch_is_cut(
    monkeypatch: pytest.MonkeyPatch, cut: bool
) -> None:
    torch.manual_seed(0)
    loss = nn.CrossEntropyLoss()
    own = loss if cut else lambda model, batch: loss(model(batch[0]), batch[1])
    model = nn.Sequential(nn.Linear(10, 8), nn.Tanh(), nn.Linear(8, 4))
    problem = Problem(model, own, (torch.randn(64, 10), torch.arange(64) % 4))
    assert problem.parts_samples == cut
    v = torch.randn(problem.num_parameters)
    expected = Hessian(problem, method="double backward") @ v
    failed = kept_out(monkeypatch, 8)
    H = Hessian(problem)
    torch.testing.assert_close(H @ v, expected, rtol=1e-5, atol=1e-7)
    assert (H.method, H.micro_batch, failed) == ("double backward", None, [1])


def test_another_error_is_not_taken_for_want_of_memory() -> None:
    model = Greedy(20, RuntimeError("something else"))
    problem = Problem(model, nn.CrossEntropyLoss(), (torch.randn(128, 10), torch.arange(128) % 4))
    model.armed[0] = True
    with pytest.raises(RuntimeError, match="something else"):
        _ = Hessian(problem) @ problem.point


class Clock:
    """Seconds as the ways of a Hessian are told to take them, so that a choice does not depend on this machine."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, seconds: dict[str, float]) -> None:
        self.now = 0.0
        for way in (products.DoubleBackward, products.KeptGraph, products.ForwardOverReverse, products.Linearized):
            monkeypatch.setattr(way, "__call__", self._slowed(way.__call__, seconds))
        monkeypatch.setattr(operators.time, "perf_counter", lambda: self.now)

    def _slowed(self, call: Any, seconds: dict[str, float]) -> Any:
        def slowed(way: Any, rows: Tensor) -> Tensor:
            before = self.now
            made = call(way, rows)
            name = way.name + (" together" if getattr(way, "together", False) else "")
            self.now = before + len(rows) * seconds[name]
            return made

        return slowed


def vectors(problem: Problem, count: int) -> Iterator[Tensor]:
    generator = torch.Generator().manual_seed(5)
    for _ in range(count):
        yield torch.randn(problem.num_parameters, generator=generator)


@pytest.mark.parametrize(
    ("seconds", "expected", "taken"),
    [
        # Enough to come, and faster: taken.
        ({"kept graph": 0.1, "forward over reverse": 0.3, "linearize": 0.05}, 2000, "linearize"),
        ({"kept graph": 0.1, "forward over reverse": 0.03, "linearize": 0.05}, 2000, "forward over reverse"),
        # Hardly faster: not worth another round-off.
        ({"kept graph": 0.1, "forward over reverse": 0.3, "linearize": 0.095}, 2000, "kept graph"),
        # Too few to repay a trial.
        ({"kept graph": 0.1, "forward over reverse": 0.01, "linearize": 0.01}, 100, "kept graph"),
        ({"kept graph": 0.001, "forward over reverse": 0.0001, "linearize": 0.0001}, 1500, "kept graph"),
    ],
)
def test_another_way_is_tried_when_the_products_to_come_repay_it(
    monkeypatch: pytest.MonkeyPatch, seconds: dict[str, float], expected: int, taken: str
) -> None:
    problem = mlp(32)
    reference = Hessian(problem, method="double backward")
    truth = [reference @ v for v in vectors(problem, 3)]
    Clock(monkeypatch, seconds)
    H = Hessian(problem)
    H.expect(expected)
    for v, true in zip(vectors(problem, 3), truth, strict=True):
        torch.testing.assert_close(H @ v, true, rtol=1e-4, atol=1e-6)
    assert H.method == taken
    assert H.num_matvecs == 3
    tried = expected == 2000 and seconds["kept graph"] == 0.1
    assert (H.num_trials > 0) == tried


def test_a_wrong_way_is_never_taken(monkeypatch: pytest.MonkeyPatch) -> None:
    problem = mlp(32)
    call = products.ForwardOverReverse.__call__
    monkeypatch.setattr(products.ForwardOverReverse, "__call__", lambda way, rows: 1.01 * call(way, rows))
    linearized = []
    monkeypatch.setattr(products.Linearized, "__init__", lambda *_: linearized.append(1))
    Clock(monkeypatch, {"kept graph": 1.0, "forward over reverse": 1e-6})
    H = Hessian(problem)
    H.expect(1000)
    for v in vectors(problem, 2):
        _ = H @ v
    assert H.method == "kept graph"
    assert H.num_trials > 0
    assert not linearized  # what fails untraced is not traced


@pytest.mark.parametrize(("alone", "together", "taken"), [(0.1, 0.02, True), (0.1, 0.2, False), (0.001, 0.0002, False)])
def test_rows_are_made_together_where_that_is_clearly_faster(
    monkeypatch: pytest.MonkeyPatch, alone: float, together: float, taken: bool
) -> None:
    problem = mlp(32)
    Clock(monkeypatch, {"kept graph": alone, "kept graph together": together})
    H = Hessian(problem)
    H.expect(100)
    V = torch.stack(list(vectors(problem, 4)))
    first, second = H @ V, H @ V
    torch.testing.assert_close(first, second, rtol=1e-4, atol=1e-6)
    assert H._products.together == taken  # type: ignore[union-attr]


@pytest.mark.parametrize(("room_for", "taken"), [(4, True), (3, False)])
def test_rows_are_made_together_only_where_all_of_them_fit(
    monkeypatch: pytest.MonkeyPatch, room_for: int, taken: bool
) -> None:
    problem = mlp(32)
    (term,) = problem.terms()
    takes = products.footprint(problem, problem.point, term, (2, 6))
    Clock(monkeypatch, {"kept graph": 0.1, "kept graph together": 0.02})
    budget = takes.graph_bytes(32) + (room_for + 0.5) * takes.temporaries(32)
    H = Hessian(problem, memory_budget=int(budget))
    H.expect(100)
    _ = H @ torch.stack(list(vectors(problem, 4)))
    assert H.method == "kept graph"
    assert H._products.together == taken  # type: ignore[union-attr]


def test_unknown_methods_and_budgets_are_refused() -> None:
    problem = mlp(8)
    with pytest.raises(ValueError, match=r"expected method 'auto', .*, got 'fastest'"):
        Hessian(problem, method="fastest")
    with pytest.raises(ValueError, match="expected memory_budget of at least 1, got 0"):
        Hessian(problem, memory_budget=0)


def test_a_result_names_how_its_products_were_made() -> None:
    pairs = hessian_directions(make("mlp").problem(), k=1)
    assert pairs.summary.method == "kept graph"


@pytest.mark.parametrize("junk", ["a", None, [1.0, "b"], np.ones(4) * 1j, torch.ones(4, dtype=torch.complex64), {}])
def test_what_is_no_real_vector_is_refused(junk: Any) -> None:
    problem = mlp(8)
    with pytest.raises((TypeError, ValueError), match="expected"):
        _ = Hessian(problem) @ junk
    if junk is not None:
        with pytest.raises((TypeError, ValueError), match="expected"):
            Hessian(problem, junk)


def test_a_list_is_a_vector() -> None:
    problem = mlp(8)
    ones = torch.ones_like(problem.point)
    made = Hessian(problem) @ ones.tolist()
    np.testing.assert_array_equal(made, (Hessian(problem) @ ones).double().numpy())
