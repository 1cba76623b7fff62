"""The problem: a private copy of a model at its trained point θ*, its loss, its data, and the loss as a function of θ."""

from __future__ import annotations

import copy
import fnmatch
import math
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.autograd.graph import saved_tensors_hooks
from torch.nn.attention import SDPBackend, sdpa_kernel

from landscape_widget.engine import criteria
from landscape_widget.engine.data import Batches, batch_size, preserved_rng, tensors

if TYPE_CHECKING:
    from landscape_widget.engine.plane import Plane

# Data up to this size are kept on the device.
_CACHE_BYTES = 2**32
# What a pass may keep for its backward pass; a Hessian-vector product takes about four times as much.
_PASS_BYTES = 2**28
# Samples that show whether batches can be regrouped, and how equal their outputs must be (round-off in float32).
_FEW, _SAME_OUTPUT = 8, 1e-4
_TARGET_KEYS = ("labels", "label", "targets", "target", "y")


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
        self.notes: list[str] = []
        self.model_name = type(model).__name__
        self.loss_name = getattr(loss, "__name__", type(loss).__name__)
        self.device = _single_device(model, device)
        self._model = self._private_copy(model)
        self._names = _select(self._model, params)
        self._recurrent = self.device.type == "cuda" and any(isinstance(m, nn.RNNBase) for m in self._model.modules())
        chosen = dict(self._model.named_parameters())
        self._shapes = [chosen[name].shape for name in self._names]
        self._sizes = [shape.numel() for shape in self._shapes]
        self.dtype = _common_dtype(chosen[name] for name in self._names)
        self._dtypes = [chosen[name].dtype for name in self._names]
        for parameter in self._model.parameters():
            parameter.requires_grad_(False)
        self._point = torch.cat([chosen[name].detach().reshape(-1).to(self.dtype) for name in self._names])
        with preserved_rng(), _in_words():
            self._batches = Batches(data, self._prepare, cache_bytes)
            loss = copy.deepcopy(loss).to(self.device) if isinstance(loss, nn.Module) else loss
            self._objective = self._resolve(loss)
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

    def _private_copy(self, model: nn.Module) -> nn.Module:
        if any(isinstance(p, nn.parameter.UninitializedParameter) for p in model.parameters()):
            raise ValueError(
                "expected a model whose parameters exist, got lazy modules not yet initialized; call the model once on a batch first"
            )
        # torch.compile's wrapper has no second derivative; what it wraps is the same function.
        model = getattr(model, "_orig_mod", model)
        try:
            private = copy.deepcopy(model)
        except Exception as error:
            raise TypeError(
                f"expected a model that copy.deepcopy can copy, got {error}; detach stored tensors and remove hooks that hold graphs"
            ) from error
        private = private.to(self.device).eval()
        if any(p.dtype in (torch.float16, torch.bfloat16) for p in private.parameters()):
            self.notes.append("half-precision weights are computed in float32")
            private = private.float()
        for module in private.modules():
            # Without a gradient nested tensors would give zeros at padded places, with one they do not.
            if isinstance(module, nn.TransformerEncoder):
                module.enable_nested_tensor = module.use_nested_tensor = False
        return private

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

    def _resolve(self, loss: Callable[..., Any]) -> _Objective:
        """Find out how the loss wants to be called; where its signature does not tell, by calling it on the first batch."""
        with_model = _Objective(self._model, loss, False, None)
        with_output = _Objective(self._model, loss, True, criteria.normalizer(loss))
        first = next(iter(self._batches))
        takes_model = criteria.takes_model(loss)
        if takes_model is not None:
            return with_model if takes_model else with_output
        errors = []
        for objective in (with_output, with_model):
            try:
                # θ needs no gradient here; a loss may take one by its own inputs.
                with torch.enable_grad():
                    value = objective.value({}, first, check=False)
                if isinstance(value, Tensor):
                    return objective
            except Exception as error:  # noqa: BLE001 - any failure of the user's callable means "not called like this"
                errors.append(f"{type(error).__name__}: {error}")
        raise TypeError(
            "expected a loss that can be called as criterion(output, target) or as loss(model, batch), "
            "but neither worked on the first batch: " + " / ".join(errors)
        )

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
                    f"got {_describe(batch)} as one of several; "
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


class _Objective:
    """The loss of one batch as a function of named parameters."""

    def __init__(
        self, model: nn.Module, loss: Callable[..., Any], takes_output: bool, rule: criteria.Normalizer | None
    ) -> None:
        self._module = _LossModule(model, loss, takes_output)
        self.takes_output, self.rule = takes_output, rule
        self._differentiates = False

    def learn(self, named: Mapping[str, Tensor], batch: Any) -> None:
        """Find out whether the loss takes gradients itself, by its inputs (physics-informed losses do)."""
        try:
            self.plain(named, batch)
        except RuntimeError as error:
            if "does not require grad" not in str(error):
                raise
            self._differentiates = True

    def plain(self, named: Mapping[str, Tensor], batch: Any) -> Tensor:
        """The value without a graph."""
        with torch.set_grad_enabled(self._differentiates):
            return self.value(named, batch).detach()

    def value(self, named: Mapping[str, Tensor], batch: Any, *, check: bool = True) -> Tensor:
        parameters = {f"model.{name}": value for name, value in named.items()}
        value = torch.func.functional_call(self._module, parameters, (batch,), tie_weights=True)
        if check and (not isinstance(value, Tensor) or value.numel() != 1):
            got = f"shape {tuple(value.shape)}" if isinstance(value, Tensor) else type(value).__name__
            raise ValueError(
                f"expected the loss as a scalar tensor, got {got}; use reduction='mean' or average over the batch"
            )
        return value.reshape(()) if check else value

    def output_and_target(self, batch: Any) -> tuple[Tensor, Tensor]:
        return self._module.output_and_target(batch)


class _LossModule(nn.Module):
    """Model and loss as one module, so that functional_call reaches every use of the model inside the loss."""

    def __init__(self, model: nn.Module, loss: Callable[..., Any], takes_output: bool) -> None:
        super().__init__()
        self.model = model
        # In a tuple, so that a criterion's own buffers and parameters do not become the model's.
        self._loss = (loss,)
        self._takes_output = takes_output

    def forward(self, batch: Any) -> Any:
        loss = self._loss[0]
        return loss(*self.output_and_target(batch)) if self._takes_output else loss(self.model, batch)

    def output_and_target(self, batch: Any) -> tuple[Any, Any]:
        if isinstance(batch, Mapping):
            keys = [key for key in _TARGET_KEYS if key in batch]
            if len(keys) != 1:
                raise ValueError(
                    f"expected a dict batch with one of the keys {', '.join(_TARGET_KEYS)} for criterion(output, target), "
                    f"got {', '.join(map(str, batch))}; "
                    "write loss(model, batch) instead"
                )
            output, target = (
                self.model(**{key: value for key, value in batch.items() if key != keys[0]}),
                batch[keys[0]],
            )
        elif isinstance(batch, (tuple, list)) and len(batch) >= 2:
            *inputs, target = batch
            # ((x₁, x₂), y) and (x₁, x₂, y) both call model(x₁, x₂).
            if len(inputs) == 1 and isinstance(inputs[0], (tuple, list)):
                inputs = list(inputs[0])
            output = self.model(*inputs)
        else:
            raise ValueError(
                f"expected batches (input, target) for criterion(output, target), got {_describe(batch)}; write loss(model, batch) instead"
            )
        # Models of the transformers library wrap their output.
        return getattr(output, "logits", output) if not isinstance(output, Tensor) else output, target


@contextmanager
def _in_words() -> Iterator[None]:
    """Say in words what torch says of tensors that do not fit together."""
    try:
        yield
    except RuntimeError as error:
        said = str(error).splitlines()[0]
        if "device" in said:
            raise ValueError(
                f"expected model, data and loss on one device, got: {said}; "
                "move the tensors that the loss holds to the model's device, or pass device="
            ) from error
        if "dtype" in said or "scalar type" in said:
            raise ValueError(
                f"expected data and loss in the model's precision, and class labels as int64, got: {said}; "
                "convert them with .to(dtype)"
            ) from error
        raise


def _name(dtype: torch.dtype) -> str:
    return str(dtype).removeprefix("torch.")


def _single_device(model: nn.Module, device: torch.device | str | None) -> torch.device:
    if device is not None:
        try:
            return torch.empty(0, device=device).device
        except (RuntimeError, AssertionError) as error:
            raise ValueError(
                f"expected a device that torch can use here, got {device!r} ({str(error).splitlines()[0]}); "
                "leave device= out to compute where the model is"
            ) from error
    devices = {p.device for p in model.parameters()} | {b.device for b in model.buffers()}
    if len(devices) > 1:
        raise ValueError(
            f"expected a model on one device, got {', '.join(sorted(map(str, devices)))}; pass device= to gather it"
        )
    return devices.pop() if devices else torch.device("cpu")


def _select(model: nn.Module, params: str | Iterable[str] | Callable[[str, nn.Parameter], bool] | None) -> list[str]:
    named = dict(model.named_parameters())
    if params is None:
        names = [name for name, p in named.items() if p.requires_grad]
    elif callable(params):
        names = [name for name, p in named.items() if params(name, p)]
    else:
        patterns = [params] if isinstance(params, str) else list(params)
        for pattern in patterns:
            if not fnmatch.filter(named, pattern):
                raise ValueError(
                    f"expected params= to name parameters of the model, got {pattern!r} which matches none of {', '.join(named)}"
                )
        names = [name for name in named if any(fnmatch.fnmatchcase(name, pattern) for pattern in patterns)]
    names = [name for name in names if named[name].numel()]
    if not names:
        raise ValueError("expected a model with trainable parameters, got none; set requires_grad or pass params=")
    for name in names:
        if not named[name].is_floating_point():
            raise TypeError(f"expected real floating-point parameters, got {name} of dtype {named[name].dtype}")
    return names


def _common_dtype(parameters: Iterable[Tensor]) -> torch.dtype:
    dtype = torch.float32
    for parameter in parameters:
        dtype = torch.promote_types(dtype, parameter.dtype)
    return dtype


def _describe(batch: Any) -> str:
    shapes = ", ".join(str(tuple(t.shape)) for t in tensors(batch))
    return f"a {type(batch).__name__} batch with tensors of shape {shapes or '(none)'}"
