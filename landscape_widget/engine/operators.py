"""Matrices known by their products: the Hessian of a problem's mean loss."""

from __future__ import annotations

import copy
import time
from collections.abc import Callable, Iterable
from typing import Any

import numpy as np
import torch
from torch import Tensor

from landscape_widget.engine.arguments import check_count, check_problem
from landscape_widget.engine.calling import real_tensor
from landscape_widget.engine.data import num_bytes
from landscape_widget.engine.differentiability import (
    require_agreement,
    require_second_derivatives,
    told_in_words,
)
from landscape_widget.engine.memory import free_memory, is_out_of_memory
from landscape_widget.engine.modes import own_modes
from landscape_widget.engine.problem import Problem, Term
from landscape_widget.engine.products import (
    SAFE_FACTOR,
    DoubleBackward,
    ForwardOverReverse,
    KeptGraph,
    Linearized,
    Products,
    footprint,
    graph_bytes,
)
from landscape_widget.keywords import hinted

METHODS = ("auto", "double backward", "kept graph", "forward over reverse", "linearize")

_BY_FORWARD_MODE = {"forward over reverse": ForwardOverReverse, "linearize": Linearized}

# Samples on which the memory of a product is measured: from two counts follows what one more sample takes.
_FEW, _SOME = 2, 6
# What a first ``linearize`` takes beside its products, in seconds and in products, and how much of a product another way
# may save: it is tried only when the products still to come would repay that. A kept graph leaves little to save.
_TRACING, _PRODUCTS_OF_A_TRIAL, _SAVING, _SAVING_BESIDE_A_GRAPH = 1.2, 16, 0.3, 0.1
# Seconds below which no saving is worth another round-off: short runs repeat themselves bit for bit.
_WORTH_IT = 0.5
# Another way is taken only if it is clearly faster: round-off differs between them.
_CLEARLY = 0.9


class Hessian:
    """H = ∇²L(θ), symmetric, shape (n, n), known by its products Hv.

    The Hessian of the *mean* loss over the problem's data, the same for every way of batching them.

    Parameters
    ----------
    problem
        Whose loss.
    theta
        Where, shape (n,); θ* by default.
    method
        How products are made. "double backward": Hv = ∇(∇L · v) (Pearlmutter 1994), a graph for each micro-batch.
        "kept graph": the same, with the graphs kept between products. "forward over reverse": forward mode through the
        gradient. "linearize": the traced tangent of the gradient. "auto" starts with a kept graph where it fits
        ``memory_budget``, else with double backward; where :meth:`expect` tells of enough products to repay the
        trial, it tries the others and takes the fastest that agrees with double backward on a random vector. The
        choice depends on time, and products of different ways on round-off: only a named method repeats itself bit for
        bit in long runs.
    memory_budget
        Bytes that a product may take: a quarter of the free memory by default. What it takes is measured; data whose
        samples can be parted are cut into micro-batches that fit (of other data only the graph is measured, and the
        rest taken to be three times as much). When memory runs out all the same, the product is made again without
        keeping graphs, and then with micro-batches halved.

    Examples
    --------
    >>> import torch, landscape_widget as lw
    >>> from landscape_widget import examples
    >>> H = lw.Hessian(examples.quadratic([2.0, 1.0, -1.0]))
    >>> e = torch.eye(3, dtype=torch.float64)
    >>> sorted(round(x, 12) for x in torch.linalg.eigvalsh(H @ e).tolist())
    [-1.0, 1.0, 2.0]
    >>> H.num_matvecs, H.method
    (3, 'kept graph')
    """

    @hinted
    @own_modes()
    def __init__(
        self,
        problem: Problem,
        theta: Tensor | None = None,
        *,
        method: str = "auto",
        memory_budget: int | None = None,
    ) -> None:
        check_problem(problem)
        if method not in METHODS:
            raise ValueError(f"expected method {', '.join(map(repr, METHODS))}, got {method!r}")
        if memory_budget is not None:
            check_count(memory_budget, "memory_budget")
        self.problem = problem
        self.theta = problem.point if theta is None else real_tensor(theta, "theta").detach().to(problem.point).clone()
        if self.theta.shape != problem.point.shape:
            raise ValueError(f"expected theta of shape ({problem.num_parameters},), got {tuple(self.theta.shape)}")
        self.num_matvecs = 0
        """Hessian-vector products so far, without those of trials."""
        self.num_trials = 0
        """Products made to find the fastest way."""
        self.graph_bytes: int | None = None
        """Memory that the graphs of a whole product take, measured; None before the first product."""
        self.micro_batch: int | None = None
        """Largest number of samples in one graph; None where the batches are taken as they are."""
        self._asked, self._memory_budget = method, memory_budget
        # What a product takes beside all graphs, and beside the largest one, which is not kept.
        self._temporaries = self._largest_graph = 0.0
        self._products: Products | None = None
        self._to_come = 0
        self._pieces: list[Term] | None = None
        self._tried: set[str] = set()

    @property
    def shape(self) -> tuple[int, int]:
        """(n, n)."""
        return self.theta.numel(), self.theta.numel()

    @property
    def method(self) -> str:
        """How products are made; before the first one, how they were asked for."""
        return self._asked if self._products is None else self._products.name

    def expect(self, num_matvecs: int) -> None:
        """Tell how many products are still to come, about: then a way that needs a set-up may be worth it."""
        self._to_come = num_matvecs

    @own_modes()
    def __matmul__(self, v: Any) -> Any:
        """H @ v for v of shape (n,), or row by row for V of shape (k, n); numpy in, numpy out.

        Raises
        ------
        TypeError, ValueError
            For what is no real vector or matrix of that shape, and where torch cannot use the method asked for.
        RuntimeError
            Where the loss cannot be differentiated twice, naming the parameters.
        MemoryError
            Where not even one sample fits.
        """
        if not isinstance(v, Tensor):
            return (self @ real_tensor(v, "a vector")).cpu().numpy().astype(np.float64)
        v = real_tensor(v, "a vector")
        if v.dim() not in (1, 2) or v.shape[-1] != self.theta.numel():
            raise ValueError(f"expected a vector of shape ({self.theta.numel()},) or rows of it, got {tuple(v.shape)}")
        rows = v.detach().to(self.theta).reshape(-1, self.theta.numel())
        if not len(rows):
            return rows
        if rows.is_inference():
            rows = rows.clone()
        began = self._now()
        products = self._made(rows)
        self.num_matvecs += len(rows)
        self._to_come = max(0, self._to_come - len(rows))
        if self._asked == "auto":
            self._try_others((self._now() - began) / len(rows), rows)
        return products.view(v.shape)

    def release(self) -> None:
        """Free what is kept between products; the next one builds it anew."""
        self._products = None

    def _made(self, rows: Tensor) -> Tensor:
        """The products; by ways that take less and less as often as memory runs out."""
        while True:
            try:
                with told_in_words(self.problem, self.theta):
                    if self._products is None:
                        self._products = self._first_way()
                    return self._products(rows)
            except (RuntimeError, MemoryError) as error:
                if not is_out_of_memory(error):
                    raise
                # Its frames hold what took the memory.
                failure = error.with_traceback(None)
            self._save_memory(failure)

    def _first_way(self) -> Products:
        """The way that was asked for; of its own accord one that needs no set-up."""
        if self.graph_bytes is None:
            if not self.problem.has_hessian:
                require_second_derivatives(self.problem, self.theta)
                require_agreement(self.problem, self.theta)
                self.problem.has_hessian = True
            self._measure()
        if self._asked in _BY_FORWARD_MODE:
            return self._by_forward_mode()
        assert self.graph_bytes is not None
        fits = self.problem.keeps_data and self.graph_bytes + self._temporaries <= self._budget()
        keep = self._asked == "kept graph" or (self._asked == "auto" and fits)
        return (KeptGraph if keep else DoubleBackward)(self.problem, self.theta, self._terms)

    def _by_forward_mode(self) -> Products:
        """The way that was asked for, if torch can go it: forward mode has gaps, and on some operations it is wrong."""
        probe = self._probe()
        reference = DoubleBackward(self.problem, self.theta, self._terms)(probe)
        try:
            way = _BY_FORWARD_MODE[self._asked](self.problem, self.theta, self._terms)
            # Twice: traced operations that work in place are right only the first time.
            way(probe)
            made = way(probe)
        except RuntimeError as error:
            if is_out_of_memory(error):
                raise
            raise ValueError(
                f"expected a method that torch can use for this loss, got {self._asked!r}: {str(error).splitlines()[0]}; "
                "leave method= out"
            ) from error
        if not _agree(made, reference):
            missed = float((made - reference).norm() / reference.norm())
            raise ValueError(
                f"expected products by {self._asked!r} that agree with double backward, got a difference of "
                f"{100 * missed:.2g} %: torch's forward mode is wrong for an operation of this loss; leave method= out"
            )
        return way

    def _probe(self) -> Tensor:
        """A random vector as a row, always the same."""
        draw = torch.randn(self.theta.shape, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
        return draw.to(self.theta)[None]

    def _terms(self) -> Iterable[Term]:
        """The addends of L, cut into micro-batches."""
        if self.micro_batch is None:
            return self.problem.terms()
        if self._pieces is None:
            self._pieces = [
                piece for term in self.problem.terms() for piece in self.problem.pieces(term, self.micro_batch)
            ]
        return self._pieces

    def _measure(self) -> None:
        """Measure what the graph of a product takes, on a few samples where batches can be cut, and cut them to fit."""
        problem, first = self.problem, next(self.problem.terms())
        if problem.parts_samples:
            # Not more samples than memory has been found for.
            most = min(_SOME, self.micro_batch or _SOME)
            takes = footprint(problem, self.theta, first, (min(_FEW, max(1, most // 2)), most))
            sizes = [len(term.batch[0]) for term in problem.terms()]
            self.graph_bytes = int(sum(map(takes.graph_bytes, sizes)))
            at_once = takes.most(self._budget())
            if at_once < max(sizes):
                self.micro_batch = min(at_once, self.micro_batch or at_once)
            largest = min(max(sizes), self.micro_batch or max(sizes))
            self._largest_graph, self._temporaries = takes.graph_bytes(largest), takes.temporaries(largest)
        else:
            # The others are taken to need as much for each byte of data.
            shares = [num_bytes(term.batch) / max(1, num_bytes(first.batch)) for term in problem.terms()]
            measured = graph_bytes(problem, self.theta, first)
            self.graph_bytes = int(measured * max(1.0, sum(shares)))
            self._largest_graph = measured * max(1.0, *shares)
            self._temporaries = (SAFE_FACTOR - 1) * self._largest_graph

    def _save_memory(self, error: BaseException) -> None:
        """Keep nothing between products; where nothing was kept, take half as many samples at a time."""
        current = self._products
        plain = isinstance(current, DoubleBackward) and not isinstance(current, KeptGraph) and not current.together
        measured = self.graph_bytes is not None
        keeps = self._asked in ("auto", "kept graph", "linearize")
        del current
        self.release()
        if keeps:
            self._asked = "double backward"
        if not keeps or plain or not measured:
            self._halve(error)
        if self.theta.device.type == "cuda":
            torch.cuda.empty_cache()

    def _halve(self, error: BaseException) -> None:
        """Take half as many samples at a time."""
        largest = self.micro_batch or 1
        if self.micro_batch is None and self.problem.parts_samples:
            largest = max(len(term.batch[0]) for term in self.problem.terms())
        if self.graph_bytes is None:
            # It was a few samples that did not fit.
            largest = min(largest, _SOME)
        if largest == 1:
            raise MemoryError(
                "expected memory for a Hessian-vector product of one batch, got none; pass the data in smaller batches"
            ) from error
        self.micro_batch, self._pieces = largest // 2, None

    def _budget(self) -> int:
        return self._memory_budget if self._memory_budget is not None else free_memory(self.theta.device) // 4

    def _try_others(self, seconds: float, rows: Tensor) -> None:
        """Try the other ways, once each, when the products still to come would repay the trial."""
        current = self._products
        assert self.graph_bytes is not None
        if not isinstance(current, DoubleBackward):
            return
        share = _SAVING_BESIDE_A_GRAPH if isinstance(current, KeptGraph) and len(rows) == 1 else _SAVING
        saved = self._to_come * seconds * share
        if len(rows) > 1:
            graphs = self.graph_bytes if isinstance(current, KeptGraph) else self._largest_graph
            fits = graphs + len(rows) * self._temporaries <= self._budget()
            # Twice what these rows took: the trial and its reference.
            if fits and "together" not in self._tried and saved > _WORTH_IT + 2 * len(rows) * seconds:
                self._tried.add("together")
                together = copy.copy(current)
                together.together = True
                self._try(lambda: together, rows)
            return
        if "others" in self._tried or saved < _TRACING + _PRODUCTS_OF_A_TRIAL * seconds:
            return
        self._tried.add("others")
        probe = self._probe()
        forward = self._try(lambda: ForwardOverReverse(self.problem, self.theta, self._terms), probe)
        if forward and self.problem.keeps_data and 2 * (self.graph_bytes + self._temporaries) <= self._budget():
            self._try(lambda: Linearized(self.problem, self.theta, self._terms), probe)

    def _try(self, make: Callable[[], Products], rows: Tensor) -> bool:
        """Whether another way gives the same products; it is taken if it is also clearly faster."""
        assert self._products is not None
        try:
            reference, current = self._timed(self._products, rows)
            candidate = make()
            made, seconds = self._timed(candidate, rows)
            # Again: the first time there is memory to be found, and traced operations that work in place are right only
            # then.
            again, later = self._timed(candidate, rows)
        except Exception:  # noqa: BLE001 - whatever another way cannot do, the present one can
            return False
        if not (_agree(made, reference) and _agree(again, reference)):
            return False
        if min(seconds, later) < _CLEARLY * current:
            self._products = candidate
        return True

    def _timed(self, products: Products, rows: Tensor) -> tuple[Tensor, float]:
        began = self._now()
        made = products(rows)
        self.num_trials += len(rows)
        return made, self._now() - began

    def _now(self) -> float:
        if self.theta.device.type == "cuda":
            torch.cuda.synchronize(self.theta.device)
        return time.perf_counter()


def _agree(made: Tensor, reference: Tensor) -> bool:
    """Whether products differ by round-off only."""
    return float((made - reference).norm()) <= torch.finfo(made.dtype).eps ** 0.5 * float(reference.norm())
