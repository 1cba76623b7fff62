"""Ways to make the product of a Hessian with vectors; they differ in set-up, memory and speed, not in what they give.

Each way takes rows of vectors, shape (k, n), and goes over the loss's micro-batches; H is the sum of theirs.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
import torch
from torch import Tensor

from landscape_widget.engine.data import tensors
from landscape_widget.engine.memory import allocated, is_out_of_memory
from landscape_widget.engine.problem import Problem, Term

Terms = Callable[[], Iterable[Term]]
Graph = tuple[Tensor, Tensor]

_FEW = 8
# What a product takes, in graphs, where that cannot be measured. Measured ones: 1.3 (deep) to 3.9 (a wide softmax).
SAFE_FACTOR = 4.0


class Products(Protocol):
    """One way to make products."""

    name: str

    def __call__(self, rows: Tensor) -> Tensor:
        """H @ V for rows V, shape (k, n)."""
        ...


class DoubleBackward:
    """∇(∇L · v) (Pearlmutter 1994): a graph of the gradient for each micro-batch, used for all rows, then freed.

    ``together`` maps the second backward pass over all rows at once instead of one after the other.
    """

    name = "double backward"
    _keeps = False

    def __init__(self, problem: Problem, theta: Tensor, terms: Terms, *, together: bool = False) -> None:
        self._problem, self._theta, self._terms = problem, theta, terms
        self.together = together

    def __call__(self, rows: Tensor) -> Tensor:
        total = torch.zeros_like(rows)
        for graph in self._graphs():
            if graph is not None:
                total += self._pull_back(*graph, rows)
        return total

    def _graphs(self) -> Iterator[Graph | None]:
        for term in self._terms():
            yield gradient_graph(self._problem, self._theta, term)

    def _pull_back(self, leaf: Tensor, gradient: Tensor, rows: Tensor) -> Tensor:
        if self.together and len(rows) > 1:
            (products,) = torch.autograd.grad(
                gradient, leaf, rows, retain_graph=self._keeps, is_grads_batched=True, materialize_grads=True
            )
            return products
        products = []
        for i, v in enumerate(rows, start=1):
            # The last pass frees what it has used: its memory serves the next micro-batch while it is still warm.
            retain = self._keeps or i < len(rows)
            products += torch.autograd.grad(gradient, leaf, v, retain_graph=retain, materialize_grads=True)
        return torch.stack(products)


class KeptGraph(DoubleBackward):
    """Double backward whose graphs are made by the first product and kept: every later one is a single backward pass."""

    name = "kept graph"
    _keeps = True

    def __init__(self, problem: Problem, theta: Tensor, terms: Terms, *, together: bool = False) -> None:
        super().__init__(problem, theta, terms, together=together)
        self._kept: list[Graph | None] | None = None

    def _graphs(self) -> Iterator[Graph | None]:
        if self._kept is not None:
            yield from self._kept
            return
        kept = []
        for graph in super()._graphs():
            kept.append(graph)
            yield graph
        # Only a product that came to its end has all graphs.
        self._kept = kept


class ForwardOverReverse:
    """The derivative of the gradient along v, by forward mode over reverse mode: nothing is kept between products."""

    name = "forward over reverse"

    def __init__(self, problem: Problem, theta: Tensor, terms: Terms) -> None:
        self._problem, self._theta, self._terms = problem, theta, terms

    def __call__(self, rows: Tensor) -> Tensor:
        total = torch.zeros_like(rows)
        for term in self._terms():
            gradient = _gradient_function(self._problem, term)
            with self._problem.differentiable():
                total += torch.stack([torch.func.jvp(gradient, (self._theta,), (v,))[1] for v in rows])
        return total


class Linearized:
    """``torch.func.linearize`` of the gradient: traced once with all constants folded, then only the tangents are computed."""

    name = "linearize"

    def __init__(self, problem: Problem, theta: Tensor, terms: Terms) -> None:
        # torch warns of its own constants. Filters are the process's: one more for good is safer than to put them
        # back in a thread.
        warnings.filterwarnings("ignore", message="Attempted to insert a get_attr Node", category=UserWarning)
        # On what forward mode cannot do, tracing it has ended the process: it is tried untraced first, on few samples.
        first = next(iter(terms()))
        ForwardOverReverse(problem, theta, lambda: [problem.head(first, _FEW)])(theta[None])
        with problem.differentiable():
            self._tangents = [torch.func.linearize(_gradient_function(problem, t), theta)[1] for t in terms()]

    def __call__(self, rows: Tensor) -> Tensor:
        total = torch.zeros_like(rows)
        for tangent in self._tangents:
            total += torch.stack([tangent(v) for v in rows])
        return total


def gradient_graph(problem: Problem, theta: Tensor, term: Term) -> Graph | None:
    """θ and the gradient of one addend of L with its graph; None where the addend's Hessian is zero."""
    with torch.enable_grad(), problem.differentiable():
        leaf = theta.detach().clone().requires_grad_(True)
        value = problem.term(leaf, term)
        if not value.requires_grad:
            return None
        # A loss linear in θ has a gradient without a graph.
        (gradient,) = torch.autograd.grad(value, leaf, create_graph=True, materialize_grads=True)
    return (leaf, gradient) if gradient.requires_grad else None


def graph_bytes(problem: Problem, theta: Tensor, term: Term) -> int:
    """Memory that the graph of one addend's gradient holds, measured: what its two passes save, without θ and the data."""
    graph = gradient_graph(problem, theta, term)
    if graph is None:
        return 0
    leaf, gradient = graph
    known = {address for t in (leaf, *tensors(term.batch)) for address, _ in _storages(t)}
    saved: dict[int, int] = {}
    for node in nodes_of([gradient]):
        for tensor in _saved(node):
            saved.update((address, size) for address, size in _storages(tensor) if address not in known)
    return sum(saved.values())


@dataclass(frozen=True)
class Footprint:
    """Bytes that a product with one vector takes: linear functions of the samples in one graph, as (constant, per sample).

    The temporaries beside the graph are once more as much for every further vector of those that go together.
    """

    graph: np.ndarray
    """Of the graph alone, shape (2,)."""
    held: np.ndarray
    """Of everything, after each of m operations, shape (m, 2)."""

    def graph_bytes(self, samples: int) -> float:
        """What the graph of so many samples takes."""
        return float(self.graph @ (1, samples))

    def temporaries(self, samples: int) -> float:
        """What a product takes at most beside the graph of so many samples."""
        return max(0.0, float((self.held @ (1, samples)).max()) - self.graph_bytes(samples))

    def most(self, budget: float) -> int:
        """The largest number of samples whose product stays within a budget; at least 1."""
        constant, per_sample = self.held[self.held[:, 1] > 0].T
        return max(1, int(((budget - constant) / per_sample).min())) if len(per_sample) else 2**62


def footprint(problem: Problem, theta: Tensor, term: Term, counts: Sequence[int]) -> Footprint:
    """Measure what a product takes on two (or, where there are no more samples, one) small numbers of samples."""
    samples, graphs, held = [], [], []
    for count in counts:
        head = problem.head(term, count)
        if len(head.batch[0]) in samples:
            continue
        samples.append(len(head.batch[0]))
        graphs.append(graph_bytes(problem, theta, head))
        # Kept, as all vectors but the last one need it.
        held.append(_held(KeptGraph(problem, theta, lambda head=head: [head]), torch.ones_like(theta)[None]))
    graph = _linear(samples, np.array(graphs, dtype=float))
    # Operations can depend on the number of samples.
    if None in held or len({len(each) for each in held}) > 1:
        return Footprint(graph, SAFE_FACTOR * graph[None])
    return Footprint(graph, _linear(samples, np.array(held, dtype=float)))


def _held(products: Products, rows: Tensor) -> list[int] | None:
    """Bytes held after each operation of a product; None where that cannot be measured."""
    try:
        return allocated(lambda: products(rows))
    except Exception as error:
        if is_out_of_memory(error):
            raise
        return None


def _linear(samples: list[int], values: np.ndarray) -> np.ndarray:
    """(Constant, per sample) of values at one or two numbers of samples, shape (1 or 2, …) → (…, 2)."""
    if len(samples) == 1:
        return np.stack([0 * values[0], values[0] / samples[0]], axis=-1)
    per_sample = (values[1] - values[0]) / (samples[1] - samples[0])
    return np.stack([values[0] - samples[0] * per_sample, per_sample], axis=-1)


def nodes_of(outputs: Iterable[Tensor], passes: Callable[[Any], bool] = lambda _node: True) -> Iterator[Any]:
    """Every node of the graph behind some tensors, once; none that is only behind nodes that do not pass."""
    seen, todo = set(), [output.grad_fn for output in outputs]
    while todo:
        node = todo.pop()
        if node is not None and node not in seen and passes(node):
            seen.add(node)
            yield node
            todo += [following for following, _ in node.next_functions]


def _saved(node: Any) -> Iterator[Tensor]:
    """What a node keeps for its backward pass. Read off the node: hooks for it forbid ``torch.func`` inside a loss."""
    for name in dir(node):
        if name.startswith("_saved_") or name == "saved_tensors":
            value = getattr(node, name)
            yield from (t for t in (value if isinstance(value, (tuple, list)) else [value]) if isinstance(t, Tensor))


def _storages(tensor: Tensor) -> Iterator[tuple[int, int]]:
    """(Address, bytes) of what a tensor keeps in memory."""
    if tensor.layout != torch.strided:
        yield id(tensor), tensor._values().untyped_storage().nbytes() if tensor.layout == torch.sparse_coo else 0
        return
    storage = tensor.untyped_storage()
    yield storage.data_ptr(), storage.nbytes()


def _gradient_function(problem: Problem, term: Term) -> Callable[[Tensor], Any]:
    return torch.func.grad(lambda theta: problem.term(theta, term))
