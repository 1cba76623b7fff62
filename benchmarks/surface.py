"""The loss on a plane, by landscape_widget and by its peers: the price of a cell, of a picture, and what is hard to draw.

    python benchmarks/surface.py [cells pictures hard] [digits_mlp digits_mlp_early digits_cnn resnet20]
        [--no-peers] [--repeats R] [--threads T] [--quick]

*cells*: time of one measured cell over that of the bare eager forward pass, with the model in eval mode, without a
graph, the data in one batch. *pictures*: the 129 × 129 picture of smooth networks on random planes, from model and data
to the last landscape, against every cell measured and against the time in which the fastest peer measures every cell.
*hard*: pictures that are made to be missed. Tools take turns within rounds, bare passes between them; ratios are
taken within a round, figures are medians over rounds.

Needs what `make test` installs. Landscaper wants numpy 1 for the sake of topopy, and Python below 3.13; what is
measured of it does without either:

    pip install --no-deps -c constraints.txt landscaper topopy nglpy gudhi treelib coloraide drawsvg

Writes the tables' sections of benchmarks/results/surface.md; with --quick, a try, nothing.
"""

from __future__ import annotations

import argparse
import dataclasses
import statistics
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from pictures import Picture, Verdict, hard_pictures, scene
from report import Report
from surface_peers import Alone, Drawn, Ours, PlainLoop, Scene, Tool, alone, now, peers

RESULTS = Path(__file__).parent / "results"
TABLES = {"cells": "A cell", "pictures": "A picture", "hard": "Hard pictures"}
CELLS, PICTURES = ("digits_mlp", "digits_cnn", "resnet20"), ("digits_mlp", "digits_mlp_early", "digits_cnn")
TOLERANCE = 1e-3
# Of which a peer's price of a cell is found.
_FEW = 17
# Losses of two tools at the same points may differ by round-off, relative to the range.
_SAME = 1e-4


@dataclass(frozen=True)
class Round:
    """One drawing of a picture by all tools, one after the other."""

    verdict: Verdict
    seconds: float
    """Of ours, from model and data on."""
    peer_seconds: dict[str, float]


def main() -> None:
    """Measure what the command line asks for."""
    arguments = _arguments()
    torch.set_num_threads(arguments.threads)
    found, missing = peers() if arguments.peers else ([], [])
    report = Report("The loss on a plane", None if arguments.quick else RESULTS / "surface.md", tuple(TABLES.values()))
    for table in arguments.tables:
        report.begin(TABLES[table])
        for line in missing:
            report.say(line)
        if table == "cells":
            compare_cells(report, found, arguments)
        elif table == "pictures":
            compare_pictures(report, found, arguments)
        else:
            try_hard_pictures(report, arguments)
        report.write()


def compare_cells(report: Report, others: Sequence[Tool], arguments: argparse.Namespace) -> None:
    """Time of a measured cell over the bare forward pass."""
    report.say(
        "Every cell of a small grid on one random plane: 33 × 33 of ours, 17 × 17 of the peers, of ResNet-20 5 × 5. A cell's "
        "time is that between the first cell and the last; ÷ forward is over bare passes before and after, in the same round. "
        "Alone: in a process of its own, after bare passes only, over these; there the C library gives large activations "
        "back to the system after each pass, until a gradient was computed. Largest miss: of a tool's cells from the loss at "
        "the coordinates that it gives them, by the plain loop, in parts of the range."
    )
    rows = []
    for name in _chosen(CELLS, arguments.models):
        large = name == "resnet20"
        place = scene(name, (64 if arguments.quick else 128) if large else None)
        tools: list[Tool] = [Ours(), *others]
        counts = [5 if large else 33 if isinstance(tool, Ours) else _FEW for tool in tools]
        # Weights are packed and strategies chosen once.
        passes = [place.forward_seconds(0.1)]
        rounds: dict[str, list[tuple[Drawn, float]]] = {tool.name: [] for tool in tools}
        for _ in range(arguments.repeats):
            passes.append(place.forward_seconds(0.5))
            for tool, count in zip(tools, counts, strict=True):
                drawn = tool.draw(place, count)
                passes.append(place.forward_seconds(0.5))
                rounds[tool.name].append((drawn, drawn.clock.per_cell / statistics.mean(passes[-2:])))
        alones = [alone(type(tool), place, count, arguments.repeats) for tool, count in zip(tools, counts, strict=True)]
        forward, forward_alone = statistics.median(passes), statistics.median(a.forward for a in alones)
        rows.append(
            (
                name,
                "the bare forward pass",
                f"{1e3 * forward:.3g}",
                "1.00",
                f"{1e3 * forward_alone:.3g}",
                "1.00",
                *[""] * 3,
            )
        )
        rows += [_cells_row(place, t.name, rounds[t.name], a) for t, a in zip(tools, alones, strict=True)]
    report.table(
        (
            *("network", "tool", "a cell, ms", "÷ forward", "alone, ms", "÷ forward alone"),
            *("before the first cell, s", "largest miss", "strategy"),
        ),
        rows,
    )


def compare_pictures(report: Report, others: Sequence[Tool], arguments: argparse.Namespace) -> None:
    """The whole picture: cells, errors against the full grid, time against the fastest peer."""
    resolution = 65 if arguments.quick else 129
    report.say(
        f"{resolution} × {resolution} cells on filter-normalized random planes of span 1 (a step of ‖θ‖), tolerance "
        f"{TOLERANCE:g}, against every cell measured. Misses in parts of the range. Time of ours from model and data on, "
        f"with the Problem and its set-up; of a peer as set-up and {resolution**2:,} times its price of a cell, which is "
        f"measured on {_FEW} × {_FEW}: that Landscaper's cells are dearer on larger grids is left out."
    )
    rows, agreement = [], 0.0
    for name in _chosen(PICTURES, arguments.models):
        for seed in range(1 if arguments.quick else 3):
            place = scene(name, seed=seed)
            picture = Picture(name, place.problem, place.directions, place.span, resolution)
            agreement = max(agreement, _disagreement(place, picture))
            rounds = [_one_round(place, picture, others) for _ in range(arguments.repeats)]
            rows.append(_picture_row(name, seed, picture, rounds))
    report.table(
        (
            *("network", "seed", "cells", f"all ÷ cells ({resolution**2:,})", f"within {TOLERANCE:g}", "largest miss"),
            *("98 % said within", "are within", "largest expected", "ours, s", "all its cells, s"),
            *("fastest peer, s", "peer ÷ ours", "which"),
        ),
        rows,
    )
    report.say(
        f"The full grids differ from the plain loop by at most {agreement:.1e} of the range at {_FEW} × {_FEW} cells."
    )


def try_hard_pictures(report: Report, arguments: argparse.Namespace) -> None:
    """Cells and errors where the prediction must fail, or cannot know that it does."""
    resolution = 65 if arguments.quick else 129
    report.say(
        f"{resolution} × {resolution} cells, tolerance {TOLERANCE:g}, against every cell measured. Misses in parts of the "
        "range as displayed. From 33 × 33: the largest miss of the prediction from so many cells."
    )
    rows = []
    for picture in hard_pictures(resolution):
        landscape, seconds = picture.draw(TOLERANCE)
        verdict = picture.judge(landscape)
        rows.append((picture.name, f"{picture.from_level(33):.1e}", *_judged(verdict, resolution), f"{seconds:.2g}"))
    report.table(
        (
            *("picture", "from 33 × 33", "cells", f"all ÷ cells ({resolution**2:,})", f"within {TOLERANCE:g}"),
            *("largest miss", "98 % said within", "are within", "largest expected", "s"),
        ),
        rows,
    )


def _cells_row(place: Scene, tool: str, rounds: list[tuple[Drawn, float]], by_itself: Alone) -> tuple[str, ...]:
    drawn = rounds[-1][0]
    per_cell, set_up = (statistics.median(getattr(d.clock, what) for d, _ in rounds) for what in ("per_cell", "set_up"))
    ratio = statistics.median(ratio for _, ratio in rounds)
    return (
        *(place.name, tool, f"{1e3 * per_cell:.3g}", f"{ratio:.2f}"),
        *(f"{1e3 * by_itself.per_cell:.3g}", f"{by_itself.per_cell / by_itself.forward:.2f}"),
        *(f"{set_up:.2g}", f"{_miss(place, drawn):.0e}", drawn.how),
    )


def _miss(place: Scene, drawn: Drawn) -> float:
    """How far a tool's cells are from the loss where it says that they are; of large grids every fourth is looked at."""
    step = 4 if len(drawn.alphas) > _FEW else 1
    losses = drawn.losses[::step, ::step]
    truth = PlainLoop().losses(place, drawn.alphas[::step], drawn.betas[::step])
    return float(np.abs(losses - truth).max() / np.ptp(truth))


def _disagreement(place: Scene, picture: Picture) -> float:
    """The full grid's against the plain loop's, on a coarse grid, relative to the range."""
    full, loop = picture.full[0], PlainLoop().draw(place, _FEW).losses
    step = (len(full) - 1) // (_FEW - 1)
    disagreement = float(np.abs(full[::step, ::step] - loop).max() / np.ptp(loop))
    if disagreement > _SAME:
        raise RuntimeError(f"expected the same losses from both, got a difference of {disagreement:.1e} of the range")
    return disagreement


def _one_round(place: Scene, picture: Picture, others: Sequence[Tool]) -> Round:
    """Our picture, and what each peer would take for all of its cells."""
    began = now()
    # A problem that has not yet chosen how to go.
    landscape, _ = dataclasses.replace(picture, problem=place.new_problem()).draw(TOLERANCE)
    seconds = now() - began
    return Round(
        picture.judge(landscape),
        seconds,
        {tool.name: tool.draw(place, _FEW).clock.seconds(picture.resolution**2) for tool in others},
    )


def _picture_row(network: str, seed: int, picture: Picture, rounds: list[Round]) -> tuple[str, ...]:
    ours = statistics.median(r.seconds for r in rounds)
    peer_cells = ("", "", "")
    if names := rounds[0].peer_seconds:
        medians = {name: statistics.median(r.peer_seconds[name] for r in rounds) for name in names}
        fastest = min(medians, key=lambda name: medians[name])
        ratio = statistics.median(r.peer_seconds[fastest] / r.seconds for r in rounds)
        peer_cells = (f"{medians[fastest]:.3g}", f"{ratio:.1f}", fastest)
    return (
        *(network, str(seed), *_judged(rounds[-1].verdict, picture.resolution)),
        *(f"{ours:.3g}", f"{picture.full[1]:.3g}", *peer_cells),
    )


def _judged(verdict: Verdict, resolution: int) -> tuple[str, ...]:
    bound, expected = ("none" if v is None else f"{v:.1e}" for v in (verdict.bound, verdict.expected))
    return (
        f"{verdict.cells:,}",
        f"{resolution**2 / verdict.cells:.1f}",
        f"{100 * verdict.within:.2f} %",
        f"{verdict.largest:.1e}",
        bound,
        "none" if verdict.held is None else f"{100 * verdict.held:.2f} %" + ("" if verdict.true else ": NOT TRUE"),
        expected,
    )


def _chosen(of_table: Sequence[str], asked: Sequence[str]) -> list[str]:
    return [name for name in of_table if not asked or name in asked]


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    names = list(dict.fromkeys((*CELLS, *PICTURES)))
    parser.add_argument(
        "what", nargs="*", metavar="NAME", help=f"tables, of {', '.join(TABLES)}; networks, of {', '.join(names)}"
    )
    parser.add_argument(
        "--peers", action=argparse.BooleanOptionalAction, default=True, help="measure the other tools, too"
    )
    parser.add_argument("--repeats", type=int, help="rounds of which figures are medians; default: 3, with --quick 1")
    parser.add_argument("--threads", type=int, default=torch.get_num_threads(), help="of torch")
    parser.add_argument("--quick", action="store_true", help="a try: one seed, 65 × 65, little data; writes nothing")
    arguments = parser.parse_args()
    if unknown := set(arguments.what) - {*TABLES, *names}:
        parser.error(
            f"expected tables of {', '.join(TABLES)} or networks of {', '.join(names)}, got {', '.join(unknown)}"
        )
    arguments.tables = [table for table in TABLES if table in arguments.what] or list(TABLES)
    arguments.models = [name for name in names if name in arguments.what]
    arguments.repeats = arguments.repeats or (1 if arguments.quick else 3)
    return arguments


if __name__ == "__main__":
    main()
