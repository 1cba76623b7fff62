"""A survey with a journal goes on after a crash: nothing that was yielded is lost, and little is measured again."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from landscape_widget import Problem, compute, survey
from landscape_widget.engine.plane import Plane

from .problems import AXES, make, slice_problem

SURVEY = """
import sys, time
import torch
import landscape_widget as lw

torch.manual_seed(0)
x = torch.linspace(-2, 2, 40, dtype=torch.float64).unsqueeze(1)
model = torch.nn.Sequential(torch.nn.Linear(1, 6), torch.nn.Tanh(), torch.nn.Linear(6, 1)).double()
calls = 0

def loss(model, batch):
    global calls
    calls += 1
    # Slow enough to be killed on its way.
    time.sleep(float(sys.argv[2]))
    return (model(batch[0]) - batch[1]).square().mean()

problem = lw.Problem(model, loss, (x, torch.sin(3 * x)))
before = calls
last = None
for last in lw.survey(problem, resolution=17, tolerance=0, journal=sys.argv[1]):
    print(last.num_measured, flush=True)
print("done", calls - before, last.losses.tobytes().hex(), flush=True)
"""


def start(journal: Path, slowly: float) -> subprocess.Popen[str]:
    command = [sys.executable, "-c", SURVEY, str(journal), str(slowly)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env={**os.environ, "OMP_NUM_THREADS": "1"})


def finish(journal: Path) -> tuple[int, np.ndarray]:
    """(calls of the loss, the losses) of a survey that is left to end."""
    output, _ = start(journal, 0.0).communicate(timeout=120)
    _, calls, losses = output.splitlines()[-1].split()
    return int(calls), np.frombuffer(bytes.fromhex(losses))


def test_killed_in_mid_survey_it_goes_on_where_it_was(tmp_path: Path) -> None:
    """SIGKILL at a random moment, several times: every announced cell is kept."""
    cold, expected = finish(tmp_path / "whole.sqlite")
    journal, rng, announced = tmp_path / "killed.sqlite", random.Random(0), 0
    for _ in range(3):
        process = start(journal, 0.004)
        assert process.stdout is not None
        first = int(process.stdout.readline())
        # What the last one has announced is there at once.
        assert first >= announced
        lines = rng.randrange(2, 8)
        for _ in range(lines):
            announced = int(process.stdout.readline())
        os.kill(process.pid, signal.SIGKILL)
        process.communicate(timeout=60)
        assert 0 < announced < 17 * 17
    calls, losses = finish(journal)
    # How cells are evaluated is measured anew: that may differ by round-off.
    np.testing.assert_allclose(losses, expected, rtol=1e-12)
    # Not even the directions and the window are looked for again.
    assert calls < cold


def test_a_finished_journal_measures_no_cell_and_makes_no_product(tmp_path: Path, monkeypatch: Any) -> None:
    problem = make("mlp").problem()
    first = compute(problem, resolution=9, tolerance=0, journal=tmp_path / "run.sqlite", progress=False)
    plain = compute(problem, resolution=9, tolerance=0, progress=False)
    np.testing.assert_allclose(first.losses, plain.losses, rtol=1e-12)

    def refuse(*_: Any) -> None:
        raise AssertionError("nothing is to be measured again")

    monkeypatch.setattr(Problem, "iter_plane_losses", refuse)
    monkeypatch.setattr("landscape_widget.engine.operators.Hessian.__matmul__", refuse)
    again = compute(make("mlp").problem(), resolution=9, tolerance=0, journal=tmp_path / "run.sqlite", progress=False)
    np.testing.assert_array_equal(again.losses, first.losses)
    assert again.recipe.spans == first.recipe.spans
    assert again.recipe.curvature == first.recipe.curvature


def test_another_resolution_uses_the_cells_that_are_there(tmp_path: Path, monkeypatch: Any) -> None:
    problem = slice_problem(lambda x, y: x + 10 * y)
    settings: dict[str, Any] = {"directions": AXES, "span": (2.0, 0.5), "tolerance": 0, "progress": False}
    compute(problem, resolution=(9, 17), journal=tmp_path / "run.sqlite", **settings)
    points: list[float] = []
    measure = Problem.iter_plane_losses

    def counting(self: Problem, plane: Plane, alphas: np.ndarray, betas: np.ndarray) -> Any:
        points.extend(alphas.tolist())
        return measure(self, plane, alphas, betas)

    monkeypatch.setattr(Problem, "iter_plane_losses", counting)
    finer = compute(problem, resolution=(17, 33), journal=tmp_path / "run.sqlite", **settings)
    assert len(points) == 17 * 33 - 9 * 17
    np.testing.assert_allclose(finer.losses, finer.alphas[None] + 10 * finer.betas[:, None], atol=1e-14)


def test_metrics_come_back(tmp_path: Path) -> None:
    case = make("mlp")
    problem = Problem(case.model, case.loss, case.data, metrics={"spread": lambda output, _: output.std()})
    settings: dict[str, Any] = {"resolution": 5, "tolerance": 0, "journal": tmp_path / "run.sqlite", "progress": False}
    first, again = compute(problem, **settings), compute(problem, **settings)
    np.testing.assert_array_equal(first.metrics["spread"], again.metrics["spread"])
    assert np.isfinite(first.metrics["spread"]).all()


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda model, data: (model, (data[0] + 1e-3, data[1])), "other data"),
        (lambda model, data: (_moved(model), data), "other parameters"),
    ],
)
def test_the_journal_of_another_problem_is_refused_at_once(change: Any, said: str, tmp_path: Path) -> None:
    case = make("mlp")
    compute(case.problem(), resolution=5, journal=tmp_path / "run.sqlite", progress=False)
    model, data = change(case.model, case.data)
    with pytest.raises(ValueError, match=said):
        survey(Problem(model, case.loss, data), resolution=5, journal=tmp_path / "run.sqlite")


def test_other_axes_and_wrong_paths_are_refused(tmp_path: Path) -> None:
    problem = slice_problem(lambda x, y: x**2 - y**2)
    path = tmp_path / "run.sqlite"
    compute(problem, directions=AXES, resolution=5, span=1.0, journal=path, progress=False)
    with pytest.raises(ValueError, match="other axes"):
        survey(problem, directions=(AXES[1], AXES[0] + AXES[1]), resolution=5, journal=path)
    with pytest.raises(IsADirectoryError, match="the path of a file"):
        survey(problem, journal=tmp_path)
    with pytest.raises(TypeError, match="journal as a path"):
        survey(problem, journal=3)


def test_a_survey_that_is_never_begun_leaves_no_file_open(tmp_path: Path) -> None:
    survey(slice_problem(lambda x, y: x * y), resolution=5, journal=tmp_path / "run.sqlite")
    assert [path.name for path in tmp_path.iterdir()] == ["run.sqlite"]


def _moved(model: torch.nn.Module) -> torch.nn.Module:
    with torch.no_grad():
        next(model.parameters()).add_(1e-3)
    return model
