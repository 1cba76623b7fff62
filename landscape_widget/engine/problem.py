"""The problem: a private copy of a model at its trained point θ*, its loss, its data, and the loss as a function of θ."""

from __future__ import annotations

import copy
import math
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.autograd.graph import saved_tensors_hooks
from torch.nn.attention import SDPBackend, sdpa_kernel

from landscape_widget.engine.data import Batches, batch_size, preserved_rng
from landscape_widget.engine.model import common_dtype, private_copy, select_parameters, single_device
from landscape_widget.engine.objective import describe, in_words, resolve

if TYPE_CHECKING:
    from landscape_widget.engine.plane import Plane

# Data up to this size are kept on the device.
_CACHE_BYTES = 2**32
# What a pass may keep for its backward pass; a Hessian-vector product takes about four times as much.
_PASS_BYTES = 2**28
# Samples that show whether batches can be regrouped, and how equal their outputs must be (round-off in float32).
_FEW, _SAME_OUTPUT = 8, 1e-4


@dataclass(frozen=True)
class _Term:
    """One batch of the sum L(θ) = Σ coefficient · loss(batch)."""

    batch: Any
    coefficient: float


class Problem:
    """The mean loss of a model over its data, L: R^n → R, around the point θ* = ``problem.point``.

    The model is copied once, in the caller's thread, and put in eval mode; the user's own model is never written to.
    Gradient, Hessian and every cell of a surface come from the same samples, weighting and mode, so that they
    describe the same function.

    Parameters
    ----------
    model
        Any ``torch.nn.Module``. Half-precision models are computed in float32 (see ``notes``).
    loss
        ``criterion(output, target) -> scalar`` (torch's own or any callable), or ``loss(model, batch) -> scalar``, a
        mean over the batch. The first argument's name tells which; where it does not, the first batch is tried. A
        torch criterion with ``reduction="sum"`` is divided by what its mean would divide by (see ``notes``).
    data
        A DataLoader, a Dataset, one ``(x, y)`` pair, a list of batches, a dict batch, or None for a loss without
        data. With a criterion, the last item of a batch is the target (of a dict: "labels", "target", "y" …) and the
        others go to the model. What shuffles or augments is read once and kept.
    device
        Where to compute; the model's own device by default.
    params
        Which parameters are θ: names, glob patterns, or a predicate ``(name, parameter) -> bool``. By default all
        that require a gradient.
    batch_weight
        ``batch_weight(batch) -> float``: what the batch's mean loss is a mean over. Needed only where that cannot be
        known.
    cache_bytes
        Data up to this size are kept on the device; larger loaders are read anew in every pass and must repeat
        themselves.

    Raises
    ------
    TypeError, ValueError
        Before anything is computed, saying what was expected, what came and what to do: no trainable parameter,
        several devices, a loss that is no scalar, has no graph, or ignores the model it is given; a batch of unknown
        weight; an empty or irreproducible loader; a loss that is not finite at θ* itself, or differs between two
        evaluations.

    Examples
    --------
    >>> import torch, landscape_widget as lw
    >>> model = torch.nn.Linear(2, 1)
    >>> problem = lw.Problem(model, torch.nn.MSELoss(), (torch.randn(8, 2), torch.randn(8, 1)))
    >>> problem.num_parameters
    3
    """

    def __init__(
        self,
        model: nn.Module,
        loss: Callable[..., Any],
        data: Any = None,
        *,
        device: torch.device | str | None = None,
        params: str | Iterable[str] | Callable[[str, nn.Parameter], bool] | None = None,
        batch_weight: Callable[[Any], float] | None = None,
        cache_bytes: int = _CACHE_BYTES,
    ) -> None:
        if not isinstance(model, nn.Module):
            raise TypeError(f"expected model as a torch.nn.Module, got {type(model).__name__}")
        if not callable(loss):
            raise TypeError(
                f"expected loss as criterion(output, target) or loss(model, batch), got {type(loss).__name__}"
            )
        if batch_weight is not None and not callable(batch_weight):
            raise TypeError(
                f"expected batch_weight as a function of a batch, got {batch_weight!r}; pass lambda batch: ..."
            )
        self.model_name = type(model).__name__
        self.loss_name = getattr(loss, "__name__", type(loss).__name__)
        self.device = single_device(model, device)
        self._model, self.notes = private_copy(model, self.device)
        self._names = select_parameters(self._model, params)
        self._recurrent = self.device.type == "cuda" and any(isinstance(m, nn.RNNBase) for m in self._model.modules())
        chosen = dict(self._model.named_parameters())
        self._shapes = [chosen[name].shape for name in self._names]
        self._sizes = [shape.numel() for shape in self._shapes]
        self.dtype = common_dtype(chosen[name] for name in self._names)
        self._dtypes = [chosen[name].dtype for name in self._names]
        for parameter in self._model.parameters():
            parameter.requires_grad_(False)
        self._point = torch.cat([chosen[name].detach().reshape(-1).to(self.dtype) for name in self._names])
        with preserved_rng(), in_words():
            self._batches = Batches(data, self._prepare, cache_bytes)
            loss = copy.deepcopy(loss).to(self.device) if isinstance(loss, nn.Module) else loss
            self._objective = resolve(self._model, loss, next(iter(self._batches)))
            if self._objective.rule is not None and self._objective.rule.regroups and batch_weight is None:
                self._regroup()
            self._weigh(batch_weight)
            self._objective.learn(self._named(self._point), next(self.terms()).batch)
            self._check_differentiable([parameter for parameter in model.parameters() if parameter.requires_grad])
            self._check_repeatable()

    @property
    def point(self) -> Tensor:
        """θ*, the chosen parameters as one flat vector, shape (n,)."""
        return self._point

    @property
    def num_parameters(self) -> int:
        """N, the number of parameters in θ."""
        return self._point.numel()

    @property
    def parameter_names(self) -> tuple[str, ...]:
        """Names of the tensors in θ, in the order in which they are laid out."""
        return tuple(self._names)

    @property
    def parameter_shapes(self) -> tuple[torch.Size, ...]:
        """Shapes of the tensors in θ, in the same order."""
        return tuple(self._shapes)

    @property
    def num_samples(self) -> int | None:
        """How many data points the mean is over; None where the batches do not tell."""
        return self._num_samples

    def split(self, theta: Tensor) -> list[Tensor]:
        """The flat vector (n,) as tensors of the parameters' shapes: views."""
        return [part.view(shape) for part, shape in zip(theta.split(self._sizes), self._shapes, strict=True)]

    def loss(self) -> float:
        """L(θ*)."""
        return float(self.losses(self._point[None])[0])

    def losses(self, points: Tensor | np.ndarray) -> np.ndarray:
        """Mean losses at several points.

        Parameters
        ----------
        points
            Shape (p, n).

        Returns
        -------
        numpy.ndarray
            Shape (p,), float64. NaN and inf are what the loss gave.
        """
        points = torch.as_tensor(points, dtype=self.dtype, device=self.device)
        if points.dim() != 2 or points.shape[1] != self.num_parameters:
            raise ValueError(f"expected points of shape (p, {self.num_parameters}), got {tuple(points.shape)}")
        return self._evaluate(points)

    def plane_losses(
        self, plane: Plane, alphas: Sequence[float] | np.ndarray, betas: Sequence[float] | np.ndarray
    ) -> np.ndarray:
        """Mean losses at the points (α_i, β_i) of a plane, shape (p,), float64; each point is built on the device from the origin."""
        return self._evaluate(plane.point(float(a), float(b)) for a, b in zip(alphas, betas, strict=True))

    def gradient(self, theta: Tensor | None = None) -> Tensor:
        """∇L at θ (default θ*), shape (n,)."""
        theta = self._point if theta is None else theta.detach().to(self._point)
        # At a trained point the batches' gradients nearly cancel: they are added in float64.
        total = torch.zeros_like(theta, dtype=torch.float64)
        for term in self.terms():
            leaf = theta.clone().requires_grad_(True)
            with torch.enable_grad(), self.differentiable():
                value = self.term(leaf, term)
                if value.requires_grad:
                    (gradient,) = torch.autograd.grad(value, leaf, materialize_grads=True)
                    total += gradient
        return total.to(theta)

    @contextmanager
    def differentiable(self) -> Iterator[None]:
        """Kernels that can be differentiated twice: the fused ones for attention and (on CUDA) for recurrent nets cannot."""
        with ExitStack() as stack:
            stack.enter_context(sdpa_kernel(SDPBackend.MATH))
            if self._recurrent:
                stack.enter_context(torch.backends.cudnn.flags(enabled=False))
            yield

    def terms(self) -> Iterator[_Term]:
        """The addends of L, one for each batch of positive weight."""
        for batch, coefficient in zip(self._batches, self._coefficients, strict=True):
            if coefficient:
                yield _Term(batch, coefficient)

    def term(self, theta: Tensor, term: _Term) -> Tensor:
        """One addend of L at θ, differentiable in θ to any order; shape ()."""
        return term.coefficient * self._objective.value(self._named(theta), term.batch)

    @property
    def num_terms(self) -> int:
        """Number of batches in a pass."""
        return sum(1 for c in self._coefficients if c)

    def _evaluate(self, points: Iterable[Tensor]) -> np.ndarray:
        values = []
        for theta in points:
            # Summed in float64 on the device: one transfer a point, no rounding from many small batches.
            total = torch.zeros((), dtype=torch.float64, device=self.device)
            for term in self.terms():
                total += term.coefficient * self._objective.plain(self._named(theta), term.batch).double()
            values.append(total)
        return torch.stack(values).cpu().numpy() if values else np.empty(0)

    def _named(self, theta: Tensor) -> dict[str, Tensor]:
        return {
            name: part if part.dtype == dtype else part.to(dtype)
            for name, part, dtype in zip(self._names, self.split(theta), self._dtypes, strict=True)
        }

    def _prepare(self, tensor: Tensor | np.ndarray) -> Tensor:
        if isinstance(tensor, np.ndarray):
            # torch knows neither negative strides nor foreign byte orders.
            tensor = torch.tensor(np.ascontiguousarray(tensor, dtype=tensor.dtype.newbyteorder("=")))
            # numpy makes float64 by default; torch models rarely want it.
            tensor = tensor.to(self.dtype) if tensor.is_floating_point() else tensor
        if tensor.dtype in (torch.float16, torch.bfloat16):
            tensor = tensor.float()
        if tensor.is_floating_point() and tensor.dtype != self.dtype and set(self._dtypes) == {self.dtype}:
            note = f"{_name(tensor.dtype)} data are computed in {_name(self.dtype)}, the model's precision"
            self.notes += [note] if note not in self.notes else []
            tensor = tensor.to(self.dtype)
        # Always a copy, so that what the user later does to the data does not reach the surface.
        return tensor.detach().to(self.device, copy=True)

    def _regroup(self) -> None:
        """Merge and split the batches so that each pass takes as few calls as memory allows, where nothing else changes by it."""
        columns = self._batches.columns
        if columns is None:
            return
        # A few samples from both ends show whether an output depends on what else is in its batch: time-first
        # sequences, batch statistics.
        front = tuple(t[:_FEW] for t in columns[0])
        back = tuple(t[-_FEW:] for t in columns[-1])
        both = tuple(torch.cat(pair) for pair in zip(front, back, strict=True))
        with torch.no_grad():
            apart = [self._objective.output_and_target(part)[0] for part in (front, back)]
            together = self._objective.output_and_target(both)[0]
        if not all(isinstance(output, Tensor) and output.dim() for output in (*apart, together)):
            return
        if len(together) != len(both[0]) or any(output.shape[1:] != together.shape[1:] for output in apart):
            return
        if not float((together - torch.cat(apart)).abs().max()) <= _SAME_OUTPUT * float(together.abs().max()):
            return
        per_sample = self._saved_bytes(both) / len(together)
        self._batches.rebatch(max(1, int(_PASS_BYTES / max(1.0, per_sample))))

    def _saved_bytes(self, batch: Any) -> int:
        """Memory that the loss of a batch keeps for its backward pass, without θ itself."""
        leaf = self._point.clone().requires_grad_(True)
        saved: dict[int, int] = {}

        def keep(tensor: Tensor) -> Tensor:
            if tensor.untyped_storage().data_ptr() != leaf.untyped_storage().data_ptr():
                saved[tensor.data_ptr()] = tensor.numel() * tensor.element_size()
            return tensor

        with torch.enable_grad(), self.differentiable(), saved_tensors_hooks(keep, lambda tensor: tensor):
            self._objective.value(self._named(leaf), batch)
        return sum(saved.values())

    def _weigh(self, batch_weight: Callable[[Any], float] | None) -> None:
        """One pass at θ*: every batch's weight, and from them the coefficients of L = Σ c_b · loss_b."""
        rule, weights, sizes = self._objective.rule, [], []
        for batch in self._batches:
            sizes.append(batch_size(batch))
            if batch_weight is not None:
                weights.append(float(batch_weight(batch)))
            elif rule is not None:
                with torch.no_grad():
                    weights.append(rule.weight(*self._objective.output_and_target(batch)))
            else:
                weights.append(math.nan if sizes[-1] is None else float(sizes[-1]))
            if (len(weights) > 1 and any(map(math.isnan, weights))) or weights[-1] < 0 or math.isinf(weights[-1]):
                raise ValueError(
                    f"expected batches whose size can be read off their tensors' first dimension, "
                    f"got {describe(batch)} as one of several; "
                    "pass batch_weight=lambda batch: ... (the number of samples, tokens or elements that the batch's loss is a mean over)"
                )
        if math.isnan(weights[0]) and batch_weight is not None:
            raise ValueError(f"expected batch_weight to return a number of at least 0, got {weights[0]}")
        if math.isnan(weights[0]):
            weights = [1.0]
        total = math.fsum(weights)
        if total <= 0:
            raise ValueError(
                "expected data with a positive total weight, got 0: every target is ignored or of weight 0"
            )
        if rule is None and batch_weight is None and len(weights) > 1:
            self.notes.append(
                "batches are weighted by their number of samples, since what this loss is a mean over is not known "
                "(batch_weight= tells)"
            )
        summed = rule is not None and rule.summed
        if summed:
            self.notes.append(f"the summed loss is divided by {total:g} to give the mean")
        self._num_samples = sum(sizes) if None not in sizes else None
        self._coefficients = [(1 / total if summed else w / total) if w else 0.0 for w in weights]

    def _check_differentiable(self, outer: list[nn.Parameter]) -> None:
        """One gradient of one batch at θ*: the loss is a scalar whose graph reaches θ, and no parameter of the user's own model."""
        leaf = self._point.clone().requires_grad_(True)
        with torch.enable_grad(), self.differentiable():
            value = self._objective.value(self._named(leaf), next(self.terms()).batch)
            reached = [leaf, *outer]
            gradient, *others = (
                torch.autograd.grad(value, reached, allow_unused=True) if value.requires_grad else [None] * len(reached)
            )
        if gradient is not None and any(other is not None for other in others):
            raise ValueError(
                "expected a loss that uses the model it is given, got one that also uses the parameters of your own model: "
                "that part would stay constant over the whole surface; write it as loss(model, batch) with that model only"
            )
        if gradient is None:
            raise ValueError(
                "expected a loss that depends on the model's parameters through a graph, got one without: .detach(), .item(), "
                "argmax or torch.no_grad() cuts it, and so does a loss that uses another model than the one it is given"
            )
        recorded = float(value.detach())
        plain = float(self._objective.plain(self._named(self._point), next(self.terms()).batch))
        if abs(recorded - plain) > 1e-4 * abs(plain):
            raise ValueError(
                f"expected the same loss with and without a gradient being recorded, got {recorded:.8g} and {plain:.8g}; "
                "the curvature would be that of another function than the surface"
            )

    def _check_repeatable(self) -> None:
        value = self.loss()
        if not math.isfinite(value):
            raise ValueError(
                f"expected a finite loss at the model's own weights, got {value}; nothing around it can be measured"
            )
        batch = next(self.terms()).batch
        first, second = (float(self._objective.plain(self._named(self._point), batch)) for _ in range(2))
        if abs(first - second) > 1e-5 * abs(first):
            raise ValueError(
                f"expected the same loss from two evaluations at the same weights, got {first:.8g} and {second:.8g} on the first batch; "
                "a loss that draws random numbers needs a generator that it seeds itself"
            )


def _name(dtype: torch.dtype) -> str:
    return str(dtype).removeprefix("torch.")
