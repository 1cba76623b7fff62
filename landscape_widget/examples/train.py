"""Trains the networks of the examples: ``python -m landscape_widget.examples.train`` writes all weights anew.

Every network sees all its data in each of a few hundred steps of Adam, from a seeded start. The early networks are the
same runs, stopped on the way.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import safetensors.torch
import torch
from torch import nn

from landscape_widget.examples import data
from landscape_widget.examples.recipes import RECIPES, Recipe, flat_digits, square_digits, weights_file


def train(recipe: Recipe) -> nn.Module:
    """Train a network by its recipe, in float32 on the CPU; no random state is touched."""
    x, y = (torch.from_numpy(array) for array in recipe.samples())
    x, y = x.float(), y.float() if y.is_floating_point() else y
    network = _seeded(recipe)
    optimizer = torch.optim.Adam(network.parameters(), lr=recipe.learning_rate)
    with _one_thread():
        for _ in range(recipe.steps):
            optimizer.zero_grad()
            recipe.criterion(network(x), y).backward()
            optimizer.step()
    return network.eval()


@torch.no_grad()
def accuracy(network: nn.Module, samples: tuple[data.Floats, data.Labels]) -> float:
    """Return the share of the images whose largest score is the label's."""
    images, labels = (torch.from_numpy(array) for array in samples)
    return (network(images.float()).argmax(dim=1) == labels).double().mean().item()


def main() -> None:
    """Train every network, save its weights in the package, and tell how good it is."""
    for name, recipe in RECIPES.items():
        began = time.perf_counter()
        network = train(recipe)
        seconds = time.perf_counter() - began
        file = Path(str(weights_file(name)))
        file.parent.mkdir(exist_ok=True)
        file.write_bytes(safetensors.torch.save(network.state_dict()))
        sys.stdout.write(f"{name}: {seconds:.1f} s, {file.stat().st_size:,} bytes, {_quality(network, recipe)}\n")


def _quality(network: nn.Module, recipe: Recipe) -> str:
    if recipe.samples is data.wave_samples:
        x, y = (torch.from_numpy(array).float() for array in recipe.samples())
        with torch.no_grad():
            return f"largest error {(network(x) - y).abs().max().item():.4f}"
    images = flat_digits if recipe.samples is flat_digits else square_digits
    return ", ".join(
        f"{accuracy(network, images(split)):.2%} {kind}"
        for kind, split in zip(("training", "test"), data.digits_split(), strict=True)
    )


@contextmanager
def _one_thread() -> Iterator[None]:
    """Sum in the same order whatever the number of cores; threads hardly help networks this small."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def _seeded(recipe: Recipe) -> nn.Module:
    # Only the CPU's generator is used, so only it is seeded and put back: torch.manual_seed would reach a GPU's, too.
    with torch.random.fork_rng(devices=[]), torch.device("cpu"):
        torch.default_generator.manual_seed(recipe.seed)
        return recipe.network().float()


if __name__ == "__main__":
    main()
