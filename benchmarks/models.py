"""The networks that are measured: the digits' two, a deep one without skips, ResNet-20 and DenseNet-121 for 32 × 32 images.

Each comes as a :class:`Workload` in eval mode, after some training, with BatchNorm statistics of the data it is measured on. The
images are made here, so that nothing is downloaded: one smooth random picture for each of ten classes, shifted, scaled and with noise.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from itertools import pairwise

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from landscape_widget.examples import recipes

CLASSES = 10
# Of the deep network without skips, in linear layers.
DEPTH = 20


@dataclass(frozen=True)
class Workload:
    """A network at its point, and the data, as every tool is given them: the mean cross-entropy over batches of one size."""

    name: str
    model: nn.Module
    batches: list[tuple[Tensor, Tensor]]

    @property
    def num_parameters(self) -> int:
        return sum(p.numel() for p in self.model.parameters())

    @property
    def num_samples(self) -> int:
        return sum(len(y) for _, y in self.batches)


def digits_mlp(num_samples: int | None = None) -> Workload:
    """64-64-64-10, tanh, trained: n = 8,970, with a small negative end; one batch."""
    return _digits("digits_mlp", recipes.flat_digits, num_samples)


def digits_mlp_early(num_samples: int | None = None) -> Workload:
    """The same after 60 of 500 steps: both ends of the spectrum far from zero."""
    return _digits("digits_mlp_early", recipes.flat_digits, num_samples)


def digits_cnn(num_samples: int | None = None) -> Workload:
    """Two convolutions with SiLU, trained: n = 5,210; one batch."""
    return _digits("digits_cnn", recipes.square_digits, num_samples)


def deep_relu(num_samples: int | None = None) -> Workload:
    """64-32-…-32-10 in 20 linear layers, ReLU, no skips, after 300 steps of Adam on the digits: n = 21,418; one batch."""
    x, y = _samples(recipes.flat_digits, num_samples)
    widths = [64, *[32] * (DEPTH - 1), CLASSES]
    with torch.random.fork_rng(devices=()):
        torch.default_generator.manual_seed(0)
        layers = [nn.Linear(inputs, outputs) for inputs, outputs in pairwise(widths)]
        for layer in layers:
            # He et al. 2015: what keeps the signal through so many layers.
            nn.init.kaiming_normal_(layer.weight, nonlinearity="relu")
            nn.init.zeros_(layer.bias)
    model = nn.Sequential(*[module for layer in layers for module in (layer, nn.ReLU())][:-1])
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-3)
    for _ in range(300):
        optimizer.zero_grad()
        F.cross_entropy(model(x), y).backward()
        optimizer.step()
    optimizer.zero_grad()
    return Workload("deep_relu", model.eval(), [(x, y)])


def resnet20(num_samples: int | None = None) -> Workload:
    """ResNet-20, n = 272,474, after 24 steps of SGD; batches of 64."""
    return _images("resnet20", ResNet20, num_samples or 256, batch_size=64, steps=24)


def densenet121(num_samples: int | None = None) -> Workload:
    """DenseNet-121, n = 6,956,298, after 4 steps of SGD; batches of 8."""
    return _images("densenet121", DenseNet121, num_samples or 16, batch_size=8, steps=4)


WORKLOADS: dict[str, Callable[[int | None], Workload]] = {
    make.__name__: make for make in (digits_mlp, digits_mlp_early, digits_cnn, deep_relu, resnet20, densenet121)
}


class ResNet20(nn.Module):
    """He et al. 2016, §4.2, with projections (1 × 1 convolution and BatchNorm) where the shape changes: 272,474 parameters."""

    def __init__(self) -> None:
        super().__init__()
        blocks = [
            _Residual(inputs, outputs, stride)
            for inputs, outputs, stride in [
                *((16, 16, 1), (16, 16, 1), (16, 16, 1)),
                *((16, 32, 2), (32, 32, 1), (32, 32, 1)),
                *((32, 64, 2), (64, 64, 1), (64, 64, 1)),
            ]
        ]
        self.features = nn.Sequential(_conv(3, 16, 3), nn.BatchNorm2d(16), nn.ReLU(), *blocks)
        self.scores = nn.Linear(64, CLASSES)

    def forward(self, images: Tensor) -> Tensor:
        return self.scores(self.features(images).mean((2, 3)))


class _Residual(nn.Module):
    def __init__(self, inputs: int, outputs: int, stride: int) -> None:
        super().__init__()
        self.first, self.norm1 = (_conv(inputs, outputs, 3, stride), nn.BatchNorm2d(outputs))
        self.second, self.norm2 = _conv(outputs, outputs, 3), nn.BatchNorm2d(outputs)
        self.shortcut = (
            nn.Identity()
            if stride == 1 and inputs == outputs
            else nn.Sequential(_conv(inputs, outputs, 1, stride), nn.BatchNorm2d(outputs))
        )

    def forward(self, x: Tensor) -> Tensor:
        hidden = torch.relu(self.norm1(self.first(x)))
        return torch.relu(self.norm2(self.second(hidden)) + self.shortcut(x))


class DenseNet121(nn.Module):
    """Huang et al. 2017: growth 32, bottlenecks, compression, blocks of 6, 12, 24 and 16 layers: 6,956,298 parameters.

    For 32 × 32 images the stem is one 3 × 3 convolution without pooling.
    """

    def __init__(self, growth: int = 32) -> None:
        super().__init__()
        channels = 2 * growth
        layers: list[nn.Module] = [_conv(3, channels, 3)]
        for block, length in enumerate((6, 12, 24, 16)):
            if block:
                layers += [_normalized(channels, _conv(channels, channels // 2, 1)), nn.AvgPool2d(2)]
                channels //= 2
            layers += [_Dense(channels + growth * i, growth) for i in range(length)]
            channels += growth * length
        self.features = nn.Sequential(*layers, nn.BatchNorm2d(channels), nn.ReLU())
        self.scores = nn.Linear(channels, CLASSES)

    def forward(self, images: Tensor) -> Tensor:
        return self.scores(self.features(images).mean((2, 3)))


class _Dense(nn.Module):
    def __init__(self, inputs: int, growth: int) -> None:
        super().__init__()
        self.layers = nn.Sequential(
            _normalized(inputs, _conv(inputs, 4 * growth, 1)), _normalized(4 * growth, _conv(4 * growth, growth, 3))
        )

    def forward(self, x: Tensor) -> Tensor:
        return torch.cat([x, self.layers(x)], dim=1)


def class_images(num_samples: int, seed: int = 0) -> tuple[Tensor, Tensor]:
    """Images (p, 3, 32, 32) of mean about 0 and standard deviation about 1 with labels (p,), the classes in turn."""
    generator = torch.Generator().manual_seed(seed)
    pictures = F.interpolate(
        torch.randn(CLASSES, 3, 6, 6, generator=generator), size=(32, 32), mode="bicubic", align_corners=False
    )
    labels = torch.arange(num_samples) % CLASSES
    shifts = torch.randint(-4, 5, (num_samples, 2), generator=generator).tolist()
    scales = 0.5 + torch.rand(num_samples, 1, 1, 1, generator=generator)
    images = torch.stack([pictures[c].roll(s, (1, 2)) for c, s in zip(labels.tolist(), shifts, strict=True)])
    images = scales * images + 0.5 * torch.randn(images.shape, generator=generator)
    return images, labels


def _digits(name: str, samples: Callable, num_samples: int | None) -> Workload:
    return Workload(name, recipes.trained(name), [_samples(samples, num_samples)])


def _samples(samples: Callable, num_samples: int | None) -> tuple[Tensor, Tensor]:
    x, y = (torch.from_numpy(array)[:num_samples] for array in samples())
    return x.float(), y


def _images(name: str, network: Callable[[], nn.Module], num_samples: int, batch_size: int, steps: int) -> Workload:
    if num_samples % batch_size:
        # hessian-eigenthings weighs all batches alike: with ragged ones it would measure another function.
        raise ValueError(f"expected a number of samples divisible by {batch_size}, got {num_samples}")
    x, y = class_images(num_samples)
    with torch.random.fork_rng(devices=()):
        torch.default_generator.manual_seed(0)
        model = network()
    batches = list(zip(x.split(batch_size), y.split(batch_size), strict=True))
    optimizer = torch.optim.SGD(model.parameters(), lr=0.05, momentum=0.9)
    for step in range(steps):
        optimizer.zero_grad()
        inputs, labels = batches[step % len(batches)]
        F.cross_entropy(model(inputs), labels).backward()
        optimizer.step()
    optimizer.zero_grad()
    _measure_statistics(model, batches)
    return Workload(name, model.eval(), batches)


@torch.no_grad()
def _measure_statistics(model: nn.Module, batches: list[tuple[Tensor, Tensor]]) -> None:
    """BatchNorm's running statistics as the plain average over the batches, at the weights as they are."""
    for module in model.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.reset_running_stats()
            module.momentum = None
    for inputs, _ in batches:
        model(inputs)


def _conv(inputs: int, outputs: int, size: int, stride: int = 1) -> nn.Conv2d:
    return nn.Conv2d(inputs, outputs, size, stride=stride, padding=size // 2, bias=False)


def _normalized(channels: int, conv: nn.Conv2d) -> nn.Sequential:
    return nn.Sequential(nn.BatchNorm2d(channels), nn.ReLU(), conv)
