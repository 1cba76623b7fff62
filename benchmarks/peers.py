"""The tools that are compared, ours among them: each sets up its Hessian and finds pairs at both ends in its own way.

Products are counted by wrapping each tool's own. What a tool needs runs for, one for each end, are its *parts*; a part's settings are
tried from the cheapest.
"""

from __future__ import annotations

import copy
import hashlib
import importlib
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, ClassVar, Protocol, cast
from unittest import mock

import numpy as np
import torch
from models import Workload
from scipy.sparse.linalg import ArpackNoConvergence, LinearOperator, eigsh
from torch import Tensor, nn

import landscape_widget as lw

with warnings.catch_warnings():
    # linear_operator scripts functions at import.
    warnings.filterwarnings("ignore", "`torch.jit", DeprecationWarning)
    import curvlinops
    import hessian_eigenthings
    import pyhessian

CRITERION = nn.CrossEntropyLoss()
SEED = 0

Ends = dict[str, tuple[np.ndarray, Tensor]]
"""For "largest" and "smallest" that were found: values (k,) from the outside inwards, vectors (k, n)."""


class Spent(Exception):
    """More products than a tool may have."""


@dataclass
class Counter:
    """Counts the products that pass through it, at most ``limit``."""

    limit: int = 10**9
    known: dict[bytes, Any] | None = None
    """Products by vector, where they are to be remembered: while settings are tried, a longer run of the same solver from the same
    start then costs only what is new."""
    count: int = 0

    def __call__(self, product: Callable[[Any], Any], v: Any) -> Any:
        self.count += 1
        if self.count > self.limit:
            raise Spent
        if self.known is None or isinstance(v, list):
            return product(v)
        key = hashlib.blake2b(np.asarray(v).tobytes()).digest()
        if key not in self.known:
            self.known[key] = product(v)
        # Solvers work in place.
        return copy.deepcopy(self.known[key])


class Tool(Protocol):
    """One of the compared."""

    name: str
    parts: dict[str, list[Any]]
    """For each run needed its settings, from cheap to dear."""

    def set_up(self, workload: Workload) -> Any: ...

    def solve(self, operator: Any, part: str, setting: Any, k: int, counter: Counter) -> Ends: ...


class Ours:
    """One Lanczos run for both ends."""

    name = "landscape_widget"

    def __init__(self, tol: float) -> None:
        self.parts = {"both": [{"tol": tol}]}

    def set_up(self, workload: Workload) -> lw.Problem:
        return lw.Problem(workload.model, CRITERION, workload.batches)

    def solve(self, operator: lw.Problem, part: str, setting: Any, k: int, counter: Counter) -> Ends:
        with _counted_rows(counter):
            pairs = lw.hessian_directions(operator, k=k, seed=SEED, **setting)
        counter.count = max(counter.count, pairs.num_matvecs)
        return {end: (p.values, p.vectors) for end, p in (("largest", pairs.largest), ("smallest", pairs.smallest))}


class Curvlinops:
    """ARPACK over curvlinops: `eigsh(which="BE")`."""

    name = "curvlinops + eigsh"
    parts: ClassVar = {
        "both": [{"ncv": ncv, "tol": tol} for tol in (1e-1, 1e-2, 1e-3) for ncv in (20, 30, 40, 60, 80, 120, 160)]
    }

    def set_up(self, workload: Workload) -> Any:
        model = _without_silu(copy.deepcopy(workload.model))
        # Its check of the data costs passes that the others do not make.
        return curvlinops.HessianLinearOperator(
            model, CRITERION, list(model.parameters()), workload.batches, check_deterministic=False
        )

    def solve(self, operator: Any, part: str, setting: Any, k: int, counter: Counter) -> Ends:
        exported = operator.to_scipy()
        with quiet():
            try:
                return arpack(lambda v: counter(exported.matvec, v), exported.shape[0], k, SEED, **setting)
            except ArpackNoConvergence as error:
                raise Spent from error


class Eigenthings:
    """Its own Lanczos with full reorthogonalization, of a given length, once for each end."""

    name = "hessian-eigenthings"
    parts: ClassVar = {
        end: [{"max_iter": m} for m in (10, 15, 20, 30, 40, 50, 60, 80, 100, 120, 160, 240)]
        for end in ("largest", "smallest")
    }

    def set_up(self, workload: Workload) -> hessian_eigenthings.HessianOperator:
        loss = hessian_eigenthings.supervised_loss(CRITERION)
        return hessian_eigenthings.HessianOperator(copy.deepcopy(workload.model), workload.batches, loss)

    def solve(self, operator: Any, part: str, setting: Any, k: int, counter: Counter) -> Ends:
        counted = hessian_eigenthings.LambdaOperator(
            lambda v: counter(operator.matvec, v), size=operator.size, dtype=operator.dtype
        )
        which = "LA" if part == "largest" else "SA"
        pairs = hessian_eigenthings.lanczos(counted, k=k, which=which, reorthogonalize=True, seed=SEED, **setting)
        return {part: (pairs.eigenvalues.double().numpy(), pairs.eigenvectors)}


class PyHessian:
    """Power iteration with deflation; it offers no lower end."""

    name = "PyHessian"
    parts: ClassVar = {"largest": [{"tol": tol} for tol in (1e-3, 1e-4, 1e-5, 1e-6, 1e-7)]}

    def set_up(self, workload: Workload) -> Any:
        # In one batch it keeps the graph of the gradient between products.
        data = {"data": workload.batches[0]} if len(workload.batches) == 1 else {"dataloader": workload.batches}
        with quiet():
            return pyhessian.hessian(copy.deepcopy(workload.model), CRITERION, cuda=False, **data)

    def solve(self, operator: Any, part: str, setting: Any, k: int, counter: Counter) -> Ends:
        # The package's name for its module is that of the class in it.
        module = importlib.import_module("pyhessian.hessian")
        whole, single = operator.dataloader_hv_product, module.hessian_vector_product
        with (
            quiet(),
            mock.patch.object(operator, "dataloader_hv_product", lambda v: counter(whole, v)),
            mock.patch.object(module, "hessian_vector_product", lambda g, p, v: counter(lambda v: single(g, p, v), v)),
            torch.random.fork_rng(devices=()),
        ):
            torch.default_generator.manual_seed(SEED)
            values, vectors = operator.eigenvalues(maxIter=10**9, top_n=k, **setting)
        order = np.argsort(values)[::-1].copy()
        rows = torch.stack([torch.cat([part.detach().reshape(-1) for part in v]) for v in vectors])
        return {"largest": (np.array(values)[order], rows[torch.from_numpy(order)])}


def arpack(product: Callable[[np.ndarray], np.ndarray], n: int, k: int, seed: int, **settings: Any) -> Ends:
    """Pairs, k at each end, by scipy's ARPACK in float64, from a seeded start."""
    # Of scipy's two names here pyright knows neither the arguments that matter nor their types.
    make, solve = cast("Any", LinearOperator), cast("Any", eigsh)
    v0 = np.random.default_rng(seed).standard_normal(n)
    values, vectors = solve(make((n, n), matvec=product, dtype=np.float64), k=2 * k, which="BE", v0=v0, **settings)
    rows = torch.from_numpy(vectors.T.copy())
    return {"smallest": (values[:k], rows[:k]), "largest": (values[: -k - 1 : -1], rows[k:].flip(0))}


@contextmanager
def quiet() -> Iterator[None]:
    """Without what the peers' use of torch makes it warn of."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "`torch.jit", DeprecationWarning)
        warnings.filterwarnings("ignore", "Using backward\\(\\) with create_graph", UserWarning)
        yield


@contextmanager
def _counted_rows(counter: Counter) -> Iterator[None]:
    """Count every vector that our operator multiplies; a matrix is so many vectors, however it takes them."""
    multiply, depth = lw.Hessian.__matmul__, 0

    def counted(self: lw.Hessian, v: Any) -> Any:
        nonlocal depth
        if depth == 0:
            counter.count += len(v) if v.ndim == 2 else 1
        depth += 1
        try:
            return multiply(self, v)
        finally:
            depth -= 1

    with mock.patch.object(lw.Hessian, "__matmul__", counted):
        yield


class _SiLU(nn.Module):
    """x·σ(x) in two operations: torch has no forward-mode derivative of SiLU's own backward."""

    def forward(self, x: Tensor) -> Tensor:
        return x * torch.sigmoid(x)


def _without_silu(model: nn.Module) -> nn.Module:
    for name, module in model.named_children():
        if isinstance(module, nn.SiLU):
            setattr(model, name, _SiLU())
        else:
            _without_silu(module)
    return model
