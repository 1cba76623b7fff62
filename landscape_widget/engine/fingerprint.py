"""What tells a problem and its axes from others: its numbers hashed, its loss tried on a few samples."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from landscape_widget.landscape import Direction

if TYPE_CHECKING:
    from torch import Tensor

    from landscape_widget.engine.problem import Problem

Fingerprint = Mapping[str, "str | Sequence[float]"]
"""What a journal is of, by the names a refusal uses. Texts must be equal, numbers equal up to the round-off of a loss."""

# Entries hashed at a time, so that no second copy of a large tensor is made.
_HASHED = 2**20
# Samples on which two losses are compared, how far from θ* (in its root mean square), and what counts as equal:
# other threads and other builds of torch add up in another order.
_SAMPLES, _NEARBY, _SAME = 16, 0.05, 1e-3


def fingerprint(
    problem: Problem, directions: Sequence[Direction] = (), *, k: int = 0, seed: int = 0
) -> dict[str, str | list[float]]:
    """What tells a problem and its axes from others, by the names that :class:`Journal` uses in a refusal.

    Parameters
    ----------
    problem
        Its parameters, data, precision and device, and its loss: by name, and by its values on a few samples at θ* and
        near it, which show another architecture or other buffers as well.
    directions
        Axes that are given, with their vectors.
    k
        Hessian eigenvectors that are found, per end of the spectrum; 0 for none.
    seed
        Of finding them.

    Returns
    -------
    dict
        Costs one reading of the data and no pass over them. However the samples are put together to batches: where
        that makes no difference to the loss it makes none here.
    """
    import torch

    axes = [f"Hessian eigenvectors, {k} per end, seed {seed}"] if k else []
    for direction in directions:
        vector = torch.as_tensor(direction.vector).detach().to(problem.point).reshape(-1)
        axes.append(_hash(vector))
    layout = repr([(name, tuple(s)) for name, s in zip(problem.parameter_names, problem.parameter_shapes, strict=True)])
    precision = str(problem.dtype).removeprefix("torch.")
    if (products := torch.get_float32_matmul_precision()) != "highest":
        precision += f" with {products} precision in products"
    return {
        "precision": precision,
        "device": problem.device.type,
        "model": problem.model_name,
        "loss": problem.loss_name,
        "parameters": _hash(problem.point, layout),
        "data": _data_hash(problem),
        "axes": " and ".join(axes),
        "losses on a few samples": _few_losses(problem),
    }


def differing(stored: Fingerprint, given: Fingerprint) -> list[str]:
    """What differs, in words; of what is only a consequence of something else nothing is said."""
    names = [name for name in {**stored, **given} if not _equal(stored.get(name), given.get(name))]
    if "precision" in names:
        # All other numbers were read in it.
        names = ["precision"]
    exact = [name for name in names if isinstance(stored.get(name, given.get(name)), str)]
    return [_contrast(name, stored.get(name), given.get(name)) for name in exact or names]


def _equal(stored: Any, given: Any) -> bool:
    if isinstance(stored, str) or isinstance(given, str) or stored is None or given is None:
        return stored == given
    a, b = np.asarray(stored, dtype=float), np.asarray(given, dtype=float)
    scale = np.abs(a[np.isfinite(a)]).max(initial=0.0)
    # Relative to each number; one that is nearly nothing beside the others has their round-off.
    return a.shape == b.shape and np.allclose(b, a, rtol=_SAME, atol=_SAME**2 * scale, equal_nan=True)


def _contrast(name: str, stored: Any, given: Any) -> str:
    texts = [value for value in (stored, given) if isinstance(value, str) and not re.search("[0-9a-f]{32}", value)]
    return f"other {name}: {texts[0]} instead of {texts[1]}" if len(texts) == 2 else f"other {name}"


def _hash(tensor: Tensor, told: str = "") -> str:
    found = hashlib.blake2b(told.encode(), digest_size=16)
    _update(found, tensor)
    return found.hexdigest()


def _update(found: Any, tensor: Tensor) -> None:
    from landscape_widget.engine.data import tensor_bytes

    for part in tensor.reshape(-1).split(_HASHED):
        found.update(tensor_bytes(part))


def _data_hash(problem: Problem) -> str:
    """A hash over all of the data: column by column where samples may be parted in any way, else batch by batch."""
    from landscape_widget.engine.data import digest

    columns: list[Any] = []
    for term in problem.terms():
        if not problem.parts_samples:
            columns = columns or [hashlib.blake2b(digest_size=16)]
            columns[0].update(digest(term.batch) + f"{term.coefficient:.6g}".encode())
            continue
        for i, tensor in enumerate(term.batch):
            if i == len(columns):
                form = repr((tuple(tensor.shape[1:]), tensor.dtype))
                columns.append(hashlib.blake2b(form.encode(), digest_size=16))
            _update(columns[i], tensor)
    return hashlib.blake2b(b"".join(column.digest() for column in columns), digest_size=16).hexdigest()


def _few_losses(problem: Problem) -> list[float]:
    """The mean loss of a few samples at θ* and at a point near it, always the same one."""
    import torch

    point = problem.point
    wave = torch.arange(point.numel(), dtype=torch.float64).sin().to(point)
    size = float(point.double().square().mean().sqrt()) or 1.0
    term = problem.head(next(problem.terms()), _SAMPLES)
    losses = []
    for theta in (point, point + _NEARBY * size * wave):
        # A loss may differentiate by itself.
        with torch.enable_grad(), problem.differentiable():
            # Its share of the whole depends on how the data are parted.
            losses.append(float(problem.term(theta, term).detach()) / term.coefficient)
    return losses
