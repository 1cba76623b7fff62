"""Pairs at both ends of the Hessian's spectrum, by landscape_widget and by its peers: products, time, true residuals.

    python benchmarks/curvature.py [digits_mlp digits_mlp_early digits_cnn resnet20 densenet121]
        [--no-peers] [--data N] [--tol T] [--repeats R] [--limit P] [--threads T]

All tools get the same model and data in float32. Their pairs are judged by products in float64 that are written in
`truth.py`. A peer runs at the cheapest of its settings whose pairs are right and reach the residual: a choice that
its user, who does not know the truth, could not make. Times are medians over rounds in which the tools take turns.
Besides: the time of a repeated product, and peak memory. Of DenseNet-121 only one product and 20 Lanczos steps.

Needs what `make test` installs. Writes benchmarks/results/MODEL.md.
"""

from __future__ import annotations

import argparse
import datetime as dt
import os
import platform
import statistics
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from models import WORKLOADS, Workload
from peers import Counter, Curvlinops, Eigenthings, Ours, PyHessian, Spent, Tool
from products import few_steps, peak_memory, repeated_product
from truth import Truth, Verdict

RESULTS = Path(__file__).parent / "results"
# So that luck does not decide where residuals are the noise of float32.
_SLACK = 1.25
_HEAD = (
    *("tool", "settings", "products", "set-up, s", "pairs, s", "÷ ours"),
    *("residual, largest", "residual, smallest", "smallest right"),
)


@dataclass(frozen=True)
class Trial:
    """One part of a tool at one setting."""

    part: str
    setting: Any
    products: int
    verdicts: dict[str, Verdict]

    def reaches(self, residual: float) -> bool:
        return bool(self.verdicts) and all(v.right and v.residual <= residual for v in self.verdicts.values())


def main() -> None:
    """Measure what the command line asks for."""
    arguments = _arguments()
    torch.set_num_threads(arguments.threads)
    for name in arguments.models:
        report = Report(WORKLOADS[name](arguments.data))
        if name == "densenet121":
            compare_steps(report, arguments)
        else:
            compare_pairs(report, arguments)
            compare_products(report, arguments)
        report.write()


def compare_steps(report: Report, arguments: argparse.Namespace) -> None:
    """Time of one product and of a few Lanczos steps: for a model whose pairs would take hours."""
    steps = 20
    report.table(
        ("tool", "one product with set-up, s", f"{steps} Lanczos steps, s", "largest Ritz value", "smallest"),
        [
            (tool, f"{one:.1f}", f"{run:.0f}", f"{high:.4g}", f"{low:.4g}")
            for tool, one, run, high, low in few_steps(report.workload, steps, peers=arguments.peers)
        ],
    )


def compare_pairs(report: Report, arguments: argparse.Namespace) -> None:
    """Products and time of k pairs per end at equal true residuals."""
    k, tol, workload = arguments.k, arguments.tol, report.workload
    truth = Truth(workload, k, tol)
    ends = "; ".join(f"{end} {', '.join(f'{v:.5g}' for v in values)}" for end, values in truth.values.items())
    report.say(f"Eigenvalues in float64: {ends}.")
    tools: list[Tool] = [Ours(tol)]
    if arguments.peers:
        tools += [Curvlinops(), Eigenthings(), PyHessian()]
    trials: dict[str, list[Trial]] = {}
    for tool in tools:
        # Settings dearer than one that reaches the residual of ours are of no interest.
        target = min(tol, _SLACK * _worst(trials[tools[0].name])) if trials else 0.0
        trials[tool.name] = [
            t for part in tool.parts for t in _try(tool, part, workload, truth, k, target, arguments.limit)
        ]
    for title, target in (
        ("Residual", tol),
        ("Residual of ours and a quarter more,", _SLACK * _worst(trials[tools[0].name])),
    ):
        chosen = {tool.name: _cheapest(tool, trials[tool.name], target) for tool in tools}
        times = _times(tools, chosen, workload, k, arguments.repeats)
        report.say(f"{title} {target:.2g}, k = {k}:")
        report.table(
            _HEAD,
            [_row(tool, chosen[tool.name], trials[tool.name], times, tools[0].name) for tool in tools],
        )


def compare_products(report: Report, arguments: argparse.Namespace) -> None:
    """Time and memory of a product."""
    rows = repeated_product(report.workload, arguments.repeats, peers=arguments.peers)
    plain = rows[0][2]
    report.say("A repeated product (per vector, for several rows: per matrix):")
    report.table(
        ("way", "first with set-up, ms", "repeated, ms", "÷ plain", "relative error"),
        [
            (way, f"{1e3 * first:.3g}", f"{1e3 * again:.3g}", f"{again / plain:.2f}", f"{error:.1e}")
            for way, first, again, error in rows
        ],
    )
    report.say("Growth of the process's peak memory:")
    report.table(
        ("task", "MB", "parameter vectors"),
        [
            (task, f"{size:.0f}", f"{vectors:.0f}")
            for task, size, vectors in peak_memory(report.workload, arguments.k, arguments.tol, peers=arguments.peers)
        ],
    )


class Report:
    """What is printed is written to a file, too."""

    def __init__(self, workload: Workload) -> None:
        self.workload, self._lines = workload, [f"# {workload.name}"]
        self.say(
            f"n = {workload.num_parameters:,}, {workload.num_samples} samples in batches of {len(workload.batches[0][1])}. "
            f"{_machine()}; {dt.datetime.now(tz=dt.UTC).date()}. Load before: {os.getloadavg()[0]:.1f}."
        )

    def say(self, text: str) -> None:
        self._lines += ["", text]
        print(f"\n{text}", flush=True)

    def table(self, head: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
        lines = ["| " + " | ".join(cells) + " |" for cells in (head, ["---"] * len(head), *rows)]
        self._lines += ["", *lines]
        widths = [max(len(row[i]) for row in (head, *rows)) for i in range(len(head))]
        for row in (head, *rows):
            print("  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)), flush=True)

    def write(self) -> None:
        RESULTS.mkdir(exist_ok=True)
        (RESULTS / f"{self.workload.name}.md").write_text("\n".join(self._lines) + "\n", encoding="utf-8")


def _try(tool: Tool, part: str, workload: Workload, truth: Truth, k: int, target: float, limit: int) -> list[Trial]:
    """A tool's part at its settings, until one reaches the target or takes more products than the limit."""
    operator, known, trials = tool.set_up(workload), {}, []
    for setting in tool.parts[part]:
        counter = Counter(limit, known)
        try:
            ends = tool.solve(operator, part, setting, k, counter)
        except Spent:
            ends = {}
        trials.append(Trial(part, setting, counter.count, truth.judge(ends)))
        # Settings of two numbers are in no order of cost.
        if part != "both" and (not ends or trials[-1].reaches(target)):
            break
    return trials


def _worst(trials: list[Trial]) -> float:
    return max(verdict.residual for trial in trials for verdict in trial.verdicts.values())


def _cheapest(tool: Tool, trials: list[Trial], target: float) -> list[Trial] | None:
    """For each part the trial of fewest products that reaches the target; None where a part has none."""
    chosen = []
    for part in tool.parts:
        reaching = [t for t in trials if t.part == part and t.reaches(target)]
        if not reaching:
            return None
        chosen.append(min(reaching, key=lambda t: t.products))
    return chosen


def _times(
    tools: list[Tool], chosen: dict[str, list[Trial] | None], workload: Workload, k: int, repeats: int
) -> dict[str, tuple[float, float]]:
    """Median seconds of set-up and of the pairs for each tool with settings."""
    rounds: dict[str, list[tuple[float, float]]] = {tool.name: [] for tool in tools if chosen[tool.name]}
    for _ in range(repeats):
        for tool in tools:
            began = time.perf_counter()
            operator = tool.set_up(workload) if chosen[tool.name] else None
            ready = time.perf_counter()
            for trial in chosen[tool.name] or ():
                tool.solve(operator, trial.part, trial.setting, k, Counter())
            if operator is not None:
                rounds[tool.name].append((ready - began, time.perf_counter() - ready))
    return {
        name: (statistics.median(a for a, _ in pairs), statistics.median(b for _, b in pairs))
        for name, pairs in rounds.items()
    }


def _row(
    tool: Tool, chosen: list[Trial] | None, trials: list[Trial], times: dict[str, tuple[float, float]], ours: str
) -> tuple[str, ...]:
    name = tool.name + (", largest only" if set(tool.parts) == {"largest"} else "")
    if chosen is None:
        best = {part: min((t for t in trials if t.part == part), key=_distance) for part in tool.parts}
        cells = ("never", f"{max(t.products for t in trials)} at most", "", "", "")
        return (name, *cells, *_judged(list(best.values()), tool))
    settings = ", ".join(f"{name} {value:g}" for trial in chosen for name, value in trial.setting.items())
    set_up, seconds = times[tool.name]
    ratio = f"{seconds / times[ours][1]:.2f}" if ours in times else ""
    products = " + ".join(str(trial.products) for trial in chosen)
    return (name, settings, products, f"{set_up:.3g}", f"{seconds:.3g}", ratio, *_judged(chosen, tool))


def _judged(trials: list[Trial], tool: Tool) -> tuple[str, str, str]:
    verdicts = {end: verdict for trial in trials for end, verdict in trial.verdicts.items()}
    largest, smallest = (verdicts.get(end) for end in ("largest", "smallest"))
    none = "not offered" if set(tool.parts) == {"largest"} else "none"
    return (
        "none" if largest is None else f"{largest.residual:.1e}" + ("" if largest.right else " (wrong pair)"),
        none if smallest is None else f"{smallest.residual:.1e}",
        none if smallest is None else ("yes" if smallest.right else "NO"),
    )


def _distance(trial: Trial) -> tuple[bool, float]:
    """Of trials that do not reach the target the best is right and has the smallest residual."""
    verdicts = trial.verdicts.values()
    return not (verdicts and all(v.right for v in verdicts)), max((v.residual for v in verdicts), default=float("inf"))


def _machine() -> str:
    cpuinfo = Path("/proc/cpuinfo")
    lines = cpuinfo.read_text().splitlines() if cpuinfo.exists() else []
    model = next((line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")), platform.machine())
    return (
        f"{model}, {os.cpu_count()} CPUs, {torch.get_num_threads()} threads; "
        f"Python {platform.python_version()}, torch {torch.__version__}"
    )


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "models", nargs="*", metavar="MODEL", help=f"of {', '.join(WORKLOADS)}; default: digits_mlp digits_cnn resnet20"
    )
    parser.add_argument(
        "--peers", action=argparse.BooleanOptionalAction, default=True, help="measure the other tools, too"
    )
    parser.add_argument("--data", type=int, help="number of samples")
    parser.add_argument("--k", type=int, default=2, help="pairs per end")
    parser.add_argument("--tol", type=float, default=1e-2, help="relative residual wanted")
    parser.add_argument("--repeats", type=int, default=5, help="rounds of which times are medians")
    parser.add_argument("--limit", type=int, default=2000, help="products that a try of a peer may take")
    parser.add_argument("--threads", type=int, default=torch.get_num_threads(), help="of torch")
    arguments = parser.parse_args()
    if unknown := set(arguments.models) - set(WORKLOADS):
        parser.error(f"expected models of {', '.join(WORKLOADS)}, got {', '.join(unknown)}")
    if not arguments.models:
        arguments.models = ["digits_mlp", "digits_cnn", "resnet20"]
    return arguments


if __name__ == "__main__":
    main()
