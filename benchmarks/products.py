"""One Hessian-vector product: its time by each way of making it, beside plain double backward, and the memory it takes.

    python benchmarks/products.py FILE TASK K TOL

is what `peak_memory` runs for each task in a process of its own: it prints by how many bytes the process's peak grew.
"""

from __future__ import annotations

import resource
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from models import Workload
from peers import SEED, Counter, Curvlinops, Ours, hessian_eigenthings, quiet
from torch import Tensor
from truth import DoubleBackward

import landscape_widget as lw
from landscape_widget.engine import operators

Way = Callable[[Tensor], Tensor]
_YARDSTICK = "plain double backward"
_ROWS = 4
_WARM_UP = 8


def repeated_product(workload: Workload, repeats: int, *, peers: bool) -> list[tuple[str, float, float, float]]:
    """Way, seconds of its first product with set-up, of a repeated one (median), and error relative to float64's.

    The ways take turns, so that a machine that slows down slows them all.
    """
    v = _vector(workload)
    expected = DoubleBackward(workload, torch.float64) @ v.double()
    ways, rows = {}, []
    for name, make in _makers(workload, peers=peers).items():
        began = time.perf_counter()
        ways[name] = make()
        product = ways[name](v)
        first = time.perf_counter() - began
        rows.append((name, first, float((product.double() - expected).norm() / expected.norm())))
    for way in ways.values():
        # What chooses among others takes some products to do so.
        _seconds(way, v, _WARM_UP)
    count = max(1, round(0.1 / _seconds(ways[_YARDSTICK], v, 1)))
    times: dict[str, list[float]] = {name: [] for name in ways}
    for _ in range(repeats):
        for name, way in ways.items():
            times[name].append(_seconds(way, v, count))
    return [(name, first, statistics.median(times[name]), error) for name, first, error in rows]


def peak_memory(workload: Workload, k: int, tol: float, *, peers: bool) -> list[tuple[str, float, float]]:
    """Task, MB by which its process's peak grew, and the same in parameter vectors."""
    rows = []
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "workload.pt"
        torch.save(workload, file)
        for task in _TASKS:
            if peers or "curvlinops" not in task:
                command = [sys.executable, __file__, str(file), task, str(k), str(tol)]
                grown = int(subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout)
                rows.append((task, grown / 1e6, grown / (4 * workload.num_parameters)))
    return rows


def few_steps(workload: Workload, steps: int, *, peers: bool) -> list[tuple[str, float, float, float, float]]:
    """Tool, seconds of one product with set-up and of a Lanczos run of so many steps, extreme Ritz values: for large networks.

    Over curvlinops the steps are those of hessian-eigenthings, which are of the same kind as ours.
    """
    v, rows = _vector(workload), []
    problem = Ours(1e-2).set_up(workload)
    one = _seconds(lambda v: lw.Hessian(problem) @ v, v, 1)
    began = time.perf_counter()
    # 2 of the products compute the residuals.
    pairs = lw.hessian_directions(problem, k=1, tol=1e-9, max_matvecs=steps - 2, seed=SEED)
    seconds = time.perf_counter() - began
    extremes = float(pairs.largest.values[0]), float(pairs.smallest.values[0])
    rows.append(("landscape_widget", one, seconds, *extremes))
    if peers:
        with quiet():
            operator = Curvlinops().set_up(workload)
            one = _seconds(lambda v: operator @ v, v, 1)
            linear = hessian_eigenthings.LambdaOperator(lambda v: operator @ v, size=len(v))
            began = time.perf_counter()
            values = hessian_eigenthings.lanczos(linear, k=steps, max_iter=steps, which="LA", seed=SEED).eigenvalues
        rows.append(("curvlinops", one, time.perf_counter() - began, float(values[0]), float(values[-1])))
    return rows


def _makers(workload: Workload, *, peers: bool) -> dict[str, Callable[[], Way]]:
    """What sets up each way of multiplying a vector."""

    def ours(**settings: Any) -> Way:
        hessian = lw.Hessian(Ours(1e-2).set_up(workload), **settings)
        # So many that a trial of every way is worth its time.
        hessian.expect(10_000)
        return lambda v: hessian @ v

    def rows() -> Way:
        hessian = lw.Hessian(Ours(1e-2).set_up(workload))
        return lambda v: (hessian @ v.expand(_ROWS, -1))[0]

    def theirs() -> Way:
        operator = Curvlinops().set_up(workload)
        return lambda v: operator @ v

    makers: dict[str, Callable[[], Way]] = {_YARDSTICK: lambda: DoubleBackward(workload, torch.float32).__matmul__}
    makers["landscape_widget, auto"] = ours
    for method in operators.METHODS[1:]:
        makers[f"landscape_widget, {method}"] = lambda method=method: ours(method=method)
    makers[f"landscape_widget, V of {_ROWS} rows"] = rows
    if peers:
        makers["curvlinops"] = theirs
    return makers


def _vector(workload: Workload) -> Tensor:
    v = torch.randn(workload.num_parameters, generator=torch.Generator().manual_seed(SEED))
    return v / v.norm()


def _seconds(way: Way, v: Tensor, count: int) -> float:
    with quiet():
        began = time.perf_counter()
        for _ in range(count):
            way(v)
        return (time.perf_counter() - began) / count


_TASKS: dict[str, Callable[[Workload, int, float], Any]] = {
    f"two products, {_YARDSTICK}": lambda w, k, tol: _multiply_twice(DoubleBackward(w, torch.float32), w),
    "two products, landscape_widget": lambda w, k, tol: _multiply_twice(lw.Hessian(Ours(tol).set_up(w)), w),
    "two products, curvlinops": lambda w, k, tol: _multiply_twice(Curvlinops().set_up(w), w),
    "pairs at both ends, landscape_widget": lambda w, k, tol: Ours(tol).solve(
        Ours(tol).set_up(w), "both", {"tol": tol}, k, Counter()
    ),
    "pairs at both ends, curvlinops + eigsh": lambda w, k, tol: Curvlinops().solve(
        Curvlinops().set_up(w), "both", {"ncv": 40, "tol": tol}, k, Counter()
    ),
}


def _multiply_twice(operator: Any, workload: Workload) -> None:
    with quiet():
        for _ in range(2):
            _ = operator @ _vector(workload)


def _grown_by(file: str, task: str, k: str, tol: str) -> int:
    """Bytes by which the peak grows in a task."""
    workload = torch.load(file, weights_only=False)
    with torch.no_grad():
        # So that the libraries' own memory is there.
        workload.model(workload.batches[0][0][:1])
    before = _peak()
    _TASKS[task](workload, int(k), float(tol))
    return _peak() - before


def _peak() -> int:
    status = Path("/proc/self/status")
    if not status.exists():
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss  # bytes on macOS
    # Linux hands a parent's ru_maxrss down to its children; this one begins anew with a program. In kB.
    return 1024 * int(next(line.split()[1] for line in status.read_text().splitlines() if line.startswith("VmHWM")))


if __name__ == "__main__":
    print(_grown_by(*sys.argv[1:]))
