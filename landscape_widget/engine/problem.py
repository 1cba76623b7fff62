"""The problem: a private copy of a model at its trained point θ*, its loss, its data, and the loss as a function of θ."""

from __future__ import annotations

import copy
import itertools
import math
import time
from collections.abc import Callable, Generator, Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.attention import SDPBackend, sdpa_kernel

from landscape_widget.engine.batches import Batches, preserved_rng
from landscape_widget.engine.calling import in_short, of_two_arguments, real_tensor
from landscape_widget.engine.data import as_tensor
from landscape_widget.engine.evaluation import Evaluation, Points
from landscape_widget.engine.fitting import called, own_copy, regrouped
from landscape_widget.engine.memory import free_memory
from landscape_widget.engine.model import common_dtype, private_copy, select_parameters, single_device
from landscape_widget.engine.modes import own_modes
from landscape_widget.engine.placed import Placed
from landscape_widget.engine.trial import check_differentiable, check_repeatable, cut_gradient, why_not_finite
from landscape_widget.engine.weighting import weighting
from landscape_widget.keywords import hinted

if TYPE_CHECKING:
    from landscape_widget.engine.line import Line
    from landscape_widget.engine.plane import Plane

# Data up to this size are kept on the device.
_CACHE_BYTES = 2**32
# How far from θ* an unknown loss is tried, relative to each tensor's root mean square.
_NEARBY = 0.05


@dataclass(frozen=True)
class Term:
    """One batch of the sum L(θ) = Σ coefficient · loss(batch)."""

    batch: Any
    coefficient: float
    share: float = 0.0
    """What part of the samples it holds: what means over samples, such as metrics, are weighted by."""


class Problem:
    """The mean loss of a model over its data, L: R^n → R, around the point θ* = ``problem.point``.

    The model is copied once, in the caller's thread, and put in eval mode; the user's own model is never written to.
    Gradient, Hessian and every cell of a surface come from the same samples, weighting and mode, so that they
    describe the same function.

    Parameters
    ----------
    model
        Any ``torch.nn.Module``. Half-precision models are computed in float32 (see ``notes``). Buffers, such as
        BatchNorm's running statistics, are no part of θ: they stay those of this model at every point, also at one
        whose parameters are those of another checkpoint.
    loss
        ``criterion(output, target) -> scalar`` (torch's own or any callable); or ``loss(model, batch) -> scalar``, a
        mean over the batch, which calls the model it is given; or, without data, ``loss(model) -> scalar``. The first
        argument's name tells which; where it does not, the first batch is tried. A sum over the samples is divided:
        a torch criterion with ``reduction="sum"`` by what its mean would divide by, any other by the number of samples
        (see ``notes``).
    data
        A DataLoader, a Dataset, one ``(x, y)`` pair, a list of batches, a dict batch, or None for a loss without
        data. With a criterion, the last item of a batch is the target (of a dict: "labels", "target", "y" …) and the
        others go to the model. A list of bare tensors is one batch, ``[x, y]``; only if loss(model, batch) cannot take
        it, each tensor is a batch. What shuffles or augments is read once and kept.
    device
        Where to compute; the model's own device by default.
    params
        Which parameters are θ: names, glob patterns, or a predicate ``(name, parameter) -> bool``. By default all
        that require a gradient.
    batch_weight
        ``batch_weight(batch) -> float``: what the batch's mean loss is a mean over. Needed only where that cannot be
        known: for batches without a common length, and for several batches of a loss of your own that is neither a
        mean nor a sum over samples (a mean over tokens, say), which is tried on a few samples.
    cache_bytes
        Data up to this size (on a GPU at most half of its free memory) are kept on the device; larger loaders are read
        anew in every pass and must repeat themselves.
    metrics
        Further quantities by name, such as the accuracy, which surveys measure beside the loss. Each is called as the
        loss is, on the very same output of the model: ``metric(output, target)``, or ``metric(model, batch)`` beside
        ``loss(model, batch)``. It returns one real number, a mean over the samples of its batch; batches are weighted by
        their number of samples, and merged or split where that is faster. It needs no gradient; NaN is kept.

    Raises
    ------
    TypeError, ValueError
        Before anything is computed, saying what was expected, what came and what to do: no trainable parameter,
        several devices, a loss that is no scalar, has no graph, or ignores the model it is given; a batch of unknown
        weight; an empty or irreproducible loader; gradient checkpointing inside the model; a loss that is not finite at
        θ* itself, or differs between two evaluations. Other errors of the model or the loss come as they are, with the
        batch they were raised for.

    Examples
    --------
    >>> import torch, landscape_widget as lw
    >>> model = torch.nn.Linear(2, 1)
    >>> problem = lw.Problem(model, torch.nn.MSELoss(), (torch.randn(8, 2), torch.randn(8, 1)))
    >>> problem.num_parameters
    3
    """

    @hinted
    # Tensors made in inference mode could not be differentiated later.
    @torch.inference_mode(mode=False)
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
        metrics: Mapping[str, Callable[..., Any]] | None = None,
    ) -> None:
        if not isinstance(model, nn.Module):
            got = f"the class {model.__name__}; pass {model.__name__}(...)" if isinstance(model, type) else None
            raise TypeError(f"expected model as a torch.nn.Module, got {got or type(model).__name__}")
        if not callable(loss) or isinstance(loss, type):
            got = f"the class {loss.__name__}; pass {loss.__name__}()" if isinstance(loss, type) else None
            raise TypeError(
                f"expected loss as criterion(output, target) or loss(model, batch), got {got or type(loss).__name__}"
            )
        if batch_weight is not None and not callable(batch_weight):
            raise TypeError(
                f"expected batch_weight as a function of a batch, got {batch_weight!r}; pass lambda batch: ..."
            )
        if not isinstance(cache_bytes, (int, float)) or isinstance(cache_bytes, bool) or not cache_bytes >= 0:
            raise (ValueError if isinstance(cache_bytes, (int, float)) else TypeError)(
                f"expected cache_bytes as a number of bytes, at least 0, got {cache_bytes!r}"
            )
        metrics = _checked_metrics(metrics)
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
        placed = Placed(self._model, self._names, self._point)
        self._partable = False
        self.has_hessian: bool | None = None
        """Whether the loss has second derivatives that torch computes rightly; None before that was examined."""
        with preserved_rng():
            here = self._named(self._point)
            self._objective, self._batches = called(
                self._model,
                own_copy(loss, model, self.device),
                data,
                here,
                self._prepare,
                self._affordable(cache_bytes),
            )
            self._objective.metrics = self._own_metrics(metrics, model)
            if batch_weight is None:
                self._partable = regrouped(self._objective, self._batches, self._point, self._value)
            self._objective.learn(here, next(iter(self._batches)))
            weights = weighting(
                self._objective,
                self._batches,
                batch_weight,
                lambda: [here, self._named(self._nearby())],
            )
            self._coefficients, self._shares = weights.coefficients, weights.shares
            self._num_samples = weights.num_samples
            self.notes += weights.notes
            self._evaluation = Evaluation(placed, self._objective, self._names)
            batch = next(self.terms()).batch
            # Before the gradient, which a loss that draws random numbers would seem to change.
            check_repeatable(self._plain, self._point, batch)
            outer = [parameter for parameter in model.parameters() if parameter.requires_grad]
            check_differentiable(self._value, self._plain, self._point, batch, outer)
            began = time.perf_counter()
            value = self.loss()
            self.seconds_per_pass = time.perf_counter() - began
            """How long a pass over the data took, the first time."""
            if not math.isfinite(value):
                weighed = ((i, b) for i, (b, c) in enumerate(zip(self._batches, self._coefficients, strict=True)) if c)
                raise ValueError(
                    f"expected a finite loss at the model's own weights, got {value}; nothing around it can be measured"
                    + why_not_finite(self._plain, self._point, here, weighed)
                )
            if metrics:
                with torch.no_grad():
                    self._objective.measured(batch, here, with_metrics=True)
            cut = cut_gradient(self._value, self._plain, self._point, self._nearby() - self._point, batch)
            self.notes += [cut] if cut else []

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
    def metric_names(self) -> tuple[str, ...]:
        """Names of the metrics, in the order of the columns of :meth:`iter_plane_losses` after the loss."""
        return tuple(self._objective.metrics)

    @property
    def strategy(self) -> str:
        """How losses are evaluated, in words: "one by one", "8 cells a pass", "channels last" …; see :meth:`settle`."""
        return str(self._evaluation.strategy)

    @property
    def cells_per_pass(self) -> int:
        """How many points a pass takes, whether so many are asked for or fewer."""
        return self._evaluation.strategy.cells

    @property
    def num_samples(self) -> int | None:
        """How many data points the mean is over; None where the batches do not tell."""
        return self._num_samples

    def in_float64(self, only: Term | None = None) -> Problem:
        """The same problem in float64: weights and data converted, so exactly the same point; itself where it already is.

        With ``only`` its loss is that one addend.
        """
        twin = copy.copy(self)
        if only is not None:
            # A little of the data, before it is converted.
            twin._batches = Batches([only.batch], as_tensor, 2**62)
            twin._coefficients, twin._shares = [only.coefficient], [only.share]
        if set(self._dtypes) == {torch.float64}:
            if only is None:
                return self
            twin._evaluation = self._evaluation.anew()
            return twin
        twin._model = copy.deepcopy(self._model).double()
        twin.dtype, twin._dtypes = torch.float64, [torch.float64] * len(self._dtypes)
        twin._point = self._point.double()
        twin._objective = self._objective.on(twin._model)
        twin._batches = twin._batches.mapped(lambda t: t.double() if t.is_floating_point() else t)
        twin._evaluation = Evaluation(Placed(twin._model, twin._names, twin._point), twin._objective, twin._names)
        return twin

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

        Raises
        ------
        TypeError, ValueError
            For points that are no real numbers, or of another shape; and what the loss itself raises.
        """
        points = self._points(points, 2)
        return self._evaluate(Points(len(points), lambda i, out: out.copy_(points[i])))

    def plane_losses(
        self, plane: Plane, alphas: Sequence[float] | np.ndarray, betas: Sequence[float] | np.ndarray
    ) -> np.ndarray:
        """Mean losses at the points (α_i, β_i) of a plane, shape (p,), float64; each point is built on the device from the origin.

        Raises
        ------
        ValueError
            For numbers of alphas and betas that differ, or a plane of another problem's dimension.
        """
        return self._evaluate(self._on_plane(plane, alphas, betas))

    def iter_plane_losses(
        self, plane: Plane, alphas: Sequence[float] | np.ndarray, betas: Sequence[float] | np.ndarray
    ) -> Generator[None, None, np.ndarray]:
        """The same a micro-batch at a time, with the metrics: a generator that yields after each and can be left at any.

        Returns
        -------
        numpy.ndarray
            By StopIteration, shape (p, 1 + number of metrics), float64: the loss, then the metrics.

        Raises
        ------
        ValueError
            As :meth:`plane_losses`, before anything is computed.
        """
        return self._evaluation.run(self, self._on_plane(plane, alphas, betas), with_metrics=True)

    def iter_line_losses(self, line: Line, alphas: Sequence[float] | np.ndarray) -> Generator[None, None, np.ndarray]:
        """As :meth:`iter_plane_losses`, at the points α_i of a line."""
        return self._evaluation.run(self, self._on(line, alphas), with_metrics=True)

    def settle(self, plane: Plane | Line) -> Iterator[None]:
        """Find out, once, by which strategy losses are evaluated fastest: a few passes, of which each is a step.

        Afterwards every loss, that at θ* too, is evaluated by it: it may differ by round-off from what it was before.
        Cells in one pass, images with their channels last in memory, and smaller micro-batches are tried where
        they can win; each is taken only if it agrees with going one by one at two points of the plane (or line).
        """
        reach = _NEARBY * (float(self._point.double().norm()) or 1.0)
        steps = np.array([[0.0, 1.0, -0.5], [0.0, 0.5, 1.0]])
        tried = [reach / norm * step for norm, step in zip(plane.norms, steps, strict=False)]
        return self._evaluation.settle(self, self._on(plane, *tried))

    def _on_plane(
        self, plane: Plane, alphas: Sequence[float] | np.ndarray, betas: Sequence[float] | np.ndarray
    ) -> Points:
        a, b = np.asarray(alphas, dtype=float), np.asarray(betas, dtype=float)
        if a.shape != b.shape or a.ndim != 1:
            raise ValueError(
                f"expected as many alphas as betas, in one dimension each, got shapes {a.shape} and {b.shape}"
            )
        return self._on(plane, a, b)

    def _on(self, plane: Plane | Line, *coordinates: Sequence[float] | np.ndarray) -> Points:
        """The points of a plane or line with these coordinates along each of its axes."""
        if plane.origin.shape != self._point.shape:
            raise ValueError(
                f"expected a plane in {self.num_parameters} dimensions, got one in {plane.origin.numel()}; "
                "make it from this problem's point"
            )
        points = np.column_stack(coordinates).tolist()
        return Points(len(points), lambda i, out: plane.point(*points[i], out=out))

    @own_modes()
    def gradient(self, theta: Tensor | np.ndarray | None = None) -> Tensor:
        """∇L at θ (default θ*), shape (n,).

        Raises
        ------
        TypeError, ValueError
            For a θ that is no real vector of shape (n,); and what the loss itself raises.
        """
        theta = self._point if theta is None else self._points(theta, 1)
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
        """Kernels that can be differentiated twice: the fused ones for attention and (on CUDA) for recurrent nets cannot.

        In the engine's own modes: neither inference mode nor autocast.
        """
        with ExitStack() as stack:
            stack.enter_context(own_modes())
            stack.enter_context(sdpa_kernel(SDPBackend.MATH))
            if self._recurrent:
                stack.enter_context(torch.backends.cudnn.flags(enabled=False))
            yield

    def terms(self) -> Iterator[Term]:
        """The addends of L, one for each batch of positive weight."""
        for batch, coefficient, share in zip(self._batches, self._coefficients, self._shares, strict=True):
            if coefficient:
                yield Term(batch, coefficient, share)

    def term(self, theta: Tensor, term: Term) -> Tensor:
        """One addend of L at θ, differentiable in θ to any order; shape ()."""
        return self.term_of(self.split(theta), term)

    def term_of(self, parts: Sequence[Tensor], term: Term) -> Tensor:
        """One addend of L as a function of θ's tensors, in the order of ``parameter_names``."""
        return term.coefficient * self._objective.value(self._named_parts(parts), term.batch)

    def has_no_hessian(self, why: Exception) -> None:
        """Note, once, that the loss has no second derivatives."""
        if self.has_hessian is not False:
            self.has_hessian = False
            self.notes.append(f"no Hessian and no curvatures; {why}".rstrip("."))

    @property
    def keeps_data(self) -> bool:
        """Whether the batches are kept on the device, so that every pass has the very same tensors; else they are read anew."""
        return self._batches.cached

    @property
    def parts_samples(self) -> bool:
        """Whether batches may be cut: no sample's output depends on the others in its batch, and the loss's mean is known."""
        return self._partable

    def head(self, term: Term, rows: int) -> Term:
        """The term on its first ``rows`` samples only, with its own coefficient; the whole term where it cannot be cut."""
        return replace(term, batch=tuple(column[:rows] for column in term.batch)) if self._partable else term

    def pieces(self, term: Term, rows: int) -> list[Term]:
        """The term as a sum of terms of at most ``rows`` samples; the term alone where it cannot be cut."""
        rule = self._objective.rule
        if not self._partable or rule is None or len(term.batch[0]) <= rows:
            return [term]
        batches = list(zip(*(column.split(rows) for column in term.batch), strict=True))
        weights = [1.0] * len(batches)
        if not rule.summed:
            with torch.no_grad():
                weights = [rule.weight(*self._objective.output_and_target(batch)) for batch in batches]
        counted = [(batch, weight) for batch, weight in zip(batches, weights, strict=True) if weight]
        divisor = 1.0 if rule.summed else math.fsum(weights)
        samples = sum(len(batch[0]) for batch, _ in counted)
        return [Term(b, term.coefficient * w / divisor, term.share * len(b[0]) / samples) for b, w in counted]

    def sampled(self, rows: int, groups: int, seed: int) -> list[Problem] | None:
        """Problems on groups of samples drawn at random, each an estimate of this one's loss; None where no such groups can be had.

        Samples that can be parted are drawn without replacement, ``rows`` for each of the ``groups``. Otherwise whole
        batches are taken, as many; of data that are read anew in every pass, the first ones.
        """
        terms = list(itertools.islice(self.terms(), groups)) if not self.keeps_data else list(self.terms())
        draw = torch.Generator("cpu").manual_seed(seed)
        if self._partable and self.keeps_data and self._objective.rule is not None:
            sizes = [len(term.batch[0]) for term in terms]
            if sum(sizes) < 2 * rows * groups:
                return None
            chosen = torch.randperm(sum(sizes), generator=draw)[: rows * groups].sort().values
            places = [part - start for part, start in zip(_parted(chosen, sizes), _starts(sizes), strict=True)]
            kept = [
                tuple(column[place.to(column.device)] for column in term.batch)
                for term, place in zip(terms, places, strict=True)
            ]
            columns = [torch.cat(column) for column in zip(*kept, strict=True)]
            # In the order of the data there may be one class after the other.
            order = torch.randperm(rows * groups, generator=draw)
            batch = tuple(column[order.to(column.device)] for column in columns)
            whole = Term(
                batch, terms[0].coefficient * sum(sizes) / len(chosen) if self._objective.rule.summed else 1.0, 1.0
            )
            terms = self.pieces(whole, rows)
        else:
            if self.keeps_data and len(terms) < 2 * groups:
                return None
            terms = [terms[i] for i in torch.randperm(len(terms), generator=draw)[:groups].tolist()]
        return [self.only([term]) for term in terms] if len(terms) > 1 else None

    def only(self, terms: Sequence[Term]) -> Problem:
        """The mean loss over some of the data."""
        twin, share = copy.copy(self), math.fsum(term.share for term in terms)
        twin._batches = Batches([term.batch for term in terms], as_tensor, 2**62)
        twin._coefficients = [term.coefficient / share for term in terms]
        twin._shares = [term.share / share for term in terms]
        twin._num_samples = sum(len(batch[0]) for batch in twin._batches) if self._partable else None
        twin._evaluation = self._evaluation.anew()
        return twin

    def _points(self, given: Any, dimensions: int) -> Tensor:
        """What a user gives as a point (n,) or as points (p, n), in the problem's precision and on its device."""
        name, shape = (
            ("theta", f"({self.num_parameters},)") if dimensions == 1 else ("points", f"(p, {self.num_parameters})")
        )
        points = real_tensor(given, name, f"{name} as a tensor or array of real numbers of shape {shape}")
        if points.dim() != dimensions or points.shape[-1] != self.num_parameters:
            raise ValueError(f"expected {name} of shape {shape}, got {tuple(points.shape)}")
        return points.detach().to(self._point)

    def _nearby(self) -> Tensor:
        """A point near θ*, always the same one."""
        draw = torch.randn(self.num_parameters, generator=torch.Generator("cpu").manual_seed(0), dtype=torch.float64)
        steps = [
            noise * (_NEARBY * (float(part.square().mean().sqrt()) or 1.0))
            for noise, part in zip(self.split(draw.to(self._point)), self.split(self._point), strict=True)
        ]
        return self._point + torch.cat([step.reshape(-1) for step in steps])

    def _affordable(self, cache_bytes: float) -> int:
        """How many bytes of data are kept: no more than half of what is free on a GPU."""
        if self.device.type != "cuda":
            return int(min(cache_bytes, 2**62))
        return int(min(cache_bytes, free_memory(self.device) // 2))

    def _own_metrics(
        self, metrics: Mapping[str, Callable[..., Any]], model: nn.Module
    ) -> dict[str, Callable[..., Any]]:
        """The metrics as functions of two arguments, as the loss is one; those that are modules as copies."""
        has_data = next(iter(self._batches)) is not None
        own = {}
        for name, metric in metrics.items():
            try:
                own[name] = of_two_arguments(own_copy(metric, model, self.device), has_data=has_data)
            except (TypeError, ValueError) as error:
                raise type(error)(f"expected the metric {name!r} to be called as the loss is: {error}") from error
        return own

    def _evaluate(self, points: Points) -> np.ndarray:
        steps = self._evaluation.run(self, points, with_metrics=False)
        while True:
            try:
                next(steps)
            except StopIteration as end:
                return end.value[:, 0]

    def _value(self, theta: Tensor, batch: Any) -> Tensor:
        """The loss of one batch, in kernels that can be differentiated twice."""
        with torch.enable_grad(), self.differentiable():
            return self._objective.value(self._named(theta), batch)

    def _plain(self, theta: Tensor, batch: Any) -> Tensor:
        """The loss of one batch without a graph."""
        return self._objective.plain(self._named(theta), batch)

    def _named(self, theta: Tensor) -> dict[str, Tensor]:
        return self._named_parts(self.split(theta))

    def _named_parts(self, parts: Sequence[Tensor]) -> dict[str, Tensor]:
        return {
            name: part if part.dtype == dtype else part.to(dtype)
            for name, part, dtype in zip(self._names, parts, self._dtypes, strict=True)
        }

    def _prepare(self, tensor: Tensor | np.ndarray) -> Tensor:
        if isinstance(tensor, np.ndarray):
            tensor = as_tensor(tensor)
            # numpy makes float64 by default; torch models rarely want it.
            tensor = tensor.to(self.dtype) if tensor.is_floating_point() else tensor
        if tensor.dtype in (torch.float16, torch.bfloat16):
            tensor = tensor.float()
        if tensor.is_floating_point() and tensor.dtype != self.dtype and set(self._dtypes) == {self.dtype}:
            note = f"{_name(tensor.dtype)} data are computed in {_name(self.dtype)}, the model's precision"
            self.notes += [note] if note not in self.notes else []
            tensor = tensor.to(self.dtype)
        tensor = tensor.detach()
        if self.device.type == "cuda" and tensor.device.type == "cpu" and tensor.layout is torch.strided:
            # So that it is copied while the device computes.
            tensor = tensor.pin_memory()
        # Always a copy, so that what the user later does to the data does not reach the surface.
        return tensor.to(self.device, copy=True, non_blocking=True)


def _starts(sizes: Sequence[int]) -> list[int]:
    return [0, *itertools.accumulate(sizes)][:-1]


def _parted(chosen: Tensor, sizes: Sequence[int]) -> list[Tensor]:
    """Ascending indices into all samples, those of each batch apart."""
    ends = torch.searchsorted(chosen, torch.tensor(list(itertools.accumulate(sizes))))
    return list(torch.tensor_split(chosen, ends[:-1]))


def _checked_metrics(metrics: Any) -> Mapping[str, Callable[..., Any]]:
    if metrics is None:
        return {}
    if not isinstance(metrics, Mapping):
        raise TypeError(
            f"expected metrics as a dict of names and functions, got {in_short(metrics)}; pass {{'accuracy': function}}"
        )
    for name, metric in metrics.items():
        if not isinstance(name, str) or name in ("", "loss"):
            raise (ValueError if isinstance(name, str) else TypeError)(
                f"expected metrics by names other than 'loss', got {name!r}"
            )
        if not callable(metric) or isinstance(metric, type):
            got = f"the class {metric.__name__}; pass an instance" if isinstance(metric, type) else in_short(metric)
            raise TypeError(f"expected the metric {name!r} as a function, called as the loss is, got {got}")
    return metrics


def _name(dtype: torch.dtype) -> str:
    return str(dtype).removeprefix("torch.")
