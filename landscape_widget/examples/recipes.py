"""The trained networks of the examples: their recipes and their weights."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from importlib import resources
from importlib.resources.abc import Traversable
from types import MappingProxyType

import safetensors.torch
import torch
from torch import Tensor, nn

from landscape_widget.examples import data
from landscape_widget.examples.networks import DigitsCNN, DigitsCNNReLU, DigitsMLP, WaveMLP


@dataclass(frozen=True)
class Recipe:
    """All that decides the weights: the network, its data and loss, the optimizer's steps, the seed of its start."""

    network: Callable[[], nn.Module]
    samples: Callable[[], tuple[data.Floats, data.Floats | data.Labels]]
    criterion: Callable[[Tensor, Tensor], Tensor]
    steps: int
    learning_rate: float
    seed: int = 0


def flat_digits(split: data.Digits | None = None) -> tuple[data.Floats, data.Labels]:
    """Return images (p, 64) and labels (p,), by default of the training split."""
    split = split or data.digits_split()[0]
    return split.images, split.labels


def square_digits(split: data.Digits | None = None) -> tuple[data.Floats, data.Labels]:
    """Return images (p, 1, 8, 8) and labels (p,), by default of the training split."""
    split = split or data.digits_split()[0]
    return split.images.reshape(-1, 1, 8, 8), split.labels


_cross_entropy = nn.functional.cross_entropy
RECIPES: Mapping[str, Recipe] = MappingProxyType(
    {
        "digits_mlp": Recipe(DigitsMLP, flat_digits, _cross_entropy, steps=500, learning_rate=1e-3),
        "digits_mlp_early": Recipe(DigitsMLP, flat_digits, _cross_entropy, steps=60, learning_rate=1e-3),
        "digits_cnn": Recipe(DigitsCNN, square_digits, _cross_entropy, steps=600, learning_rate=1e-3),
        "digits_cnn_early": Recipe(DigitsCNN, square_digits, _cross_entropy, steps=150, learning_rate=1e-3),
        "digits_cnn_relu": Recipe(DigitsCNNReLU, square_digits, _cross_entropy, steps=450, learning_rate=1e-3),
        "regression": Recipe(WaveMLP, data.wave_samples, nn.functional.mse_loss, steps=1500, learning_rate=3e-3),
    }
)


def trained(name: str) -> nn.Module:
    """Return the network `name` of `RECIPES` with the weights that come with the package, in float32 on the CPU."""
    # On the meta device nothing is allocated and no random number drawn; the weights then take their places.
    with torch.device("meta"):
        network = RECIPES[name].network()
    network.load_state_dict(safetensors.torch.load(weights_file(name).read_bytes()), assign=True)
    return network.eval()


def weights_file(name: str) -> Traversable:
    """Return where the weights of the network `name` lie in the package."""
    return resources.files("landscape_widget.examples") / "weights" / f"{name}.safetensors"
