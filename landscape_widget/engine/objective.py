"""The loss of one batch as a function of named parameters, however the user's callable wants to be called."""

from __future__ import annotations

import copy
import inspect
import itertools
from collections.abc import Callable, Iterator, Mapping
from numbers import Real
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from landscape_widget.engine import criteria
from landscape_widget.engine.calling import describe, in_short, in_words, misfit, of_two_arguments, takes_model, told
from landscape_widget.engine.data import has_tensors
from landscape_widget.engine.modes import own_modes

_TARGET_KEYS = ("labels", "label", "targets", "target", "y")


class Objective:
    """The loss of one batch as a function of named parameters."""

    def __init__(
        self, model: nn.Module, loss: Callable[..., Any], takes_output: bool, rule: criteria.Normalizer | None
    ) -> None:
        self._module = _LossModule(model, loss, takes_output)
        self.takes_output, self.rule = takes_output, rule
        self.metrics: Mapping[str, Callable[..., Any]] = {}
        """Further quantities by name, called as the loss is."""
        self._differentiates = self._by_parameters = False

    @property
    def differentiates(self) -> bool:
        """Whether the loss takes gradients itself."""
        return self._differentiates

    def on(self, model: nn.Module) -> Objective:
        """The same loss of another model, such as one in another precision; what the loss holds itself goes with it."""
        loss = self._module.loss
        if isinstance(loss, nn.Module):
            loss = copy.deepcopy(loss).to(next(model.parameters()).dtype)
        twin = Objective(model, loss, self.takes_output, self.rule)
        twin.metrics = self.metrics
        twin._differentiates, twin._by_parameters = self._differentiates, self._by_parameters
        return twin

    def learn(self, named: Mapping[str, Tensor], batch: Any) -> None:
        """Find out whether the loss takes gradients itself, by its inputs (physics-informed losses do) or by θ."""
        if self._needs_gradients(named, batch):
            self._differentiates = True
            # Every value builds a graph then, so only where it must.
            self._by_parameters = self._needs_gradients(named, batch)

    def plain(self, named: Mapping[str, Tensor], batch: Any) -> Tensor:
        """The value without a graph."""
        with own_modes(), torch.set_grad_enabled(self._differentiates):
            if self._differentiates:
                named = {name: tensor.clone() if tensor.is_inference() else tensor for name, tensor in named.items()}
            if self._by_parameters:
                named = {name: tensor.detach().requires_grad_() for name, tensor in named.items()}
            return self.value(named, batch).detach()

    def measured(
        self, batch: Any, named: Mapping[str, Tensor] | None = None, *, with_metrics: bool = False
    ) -> list[Tensor]:
        """The loss, and the metrics after it, from one pass of the model that leaves no graph; shape () each.

        At the model's own parameters, or at others of these names. Modes are the caller's.
        """
        metrics = self.metrics if with_metrics else {}
        with torch.set_grad_enabled(self._differentiates), told(batch):
            if named is None:
                values = self._module.quantities(batch, metrics)
            else:
                if self._by_parameters:
                    named = {name: tensor.detach().requires_grad_() for name, tensor in named.items()}
                parameters = {f"model.{name}": value for name, value in named.items()}
                values = torch.func.functional_call(
                    self._module, parameters, (batch,), {"metrics": metrics}, tie_weights=True
                )
            loss = _scalar(values[0])
            return [loss, *map(_measured, metrics, values[1:], itertools.repeat(loss))] if metrics else [loss]

    def _needs_gradients(self, named: Mapping[str, Tensor], batch: Any) -> bool:
        try:
            self.plain(named, batch)
        except RuntimeError as error:
            if not any(words in str(error) for words in ("does not require grad", "to not require grad")):
                raise
            return True
        return False

    def value(self, named: Mapping[str, Tensor], batch: Any) -> Tensor:
        """The value at parameters of these names (the others as they are), differentiable; shape ().

        Raises
        ------
        TypeError, ValueError
            For a loss that is no real scalar, and for tensors that do not fit together.
        """
        return _scalar(self.raw(named, batch))

    def raw(self, named: Mapping[str, Tensor], batch: Any) -> Any:
        """What the user's loss returns, whatever it is."""
        parameters = {f"model.{name}": value for name, value in named.items()}
        with told(batch), own_modes():
            return torch.func.functional_call(self._module, parameters, (batch,), tie_weights=True)

    def parts(self, named: Mapping[str, Tensor], whole: Any, pieces: list[tuple[Any, slice]]) -> list[Tensor]:
        """The values on a batch and on pieces of it, which are also given as rows of it.

        A loss that sees only the model's output is given rows of that: the model is asked once.
        """
        if not self.takes_output:
            return [self.plain(named, batch) for batch in (whole, *(piece for piece, _ in pieces))]
        parameters = {f"model.{name}": value for name, value in named.items()}
        with own_modes(), torch.set_grad_enabled(self._differentiates), told(whole):
            values = torch.func.functional_call(self._module, parameters, (whole, pieces), tie_weights=True)
        return [value.detach().reshape(()) for value in values]

    def output_and_target(self, batch: Any) -> tuple[Tensor, Tensor]:
        """What criterion(output, target) gets, at θ*."""
        with told(batch), own_modes():
            return self._module.output_and_target(batch)


class _LossModule(nn.Module):
    """Model and loss as one module, so that functional_call reaches every use of the model inside the loss."""

    def __init__(self, model: nn.Module, loss: Callable[..., Any], takes_output: bool) -> None:
        super().__init__()
        self.model = model
        # In a tuple, so that a criterion's own buffers and parameters do not become the model's.
        self._loss = (loss,)
        self._takes_output = takes_output

    @property
    def loss(self) -> Callable[..., Any]:
        return self._loss[0]

    def forward(
        self,
        batch: Any,
        pieces: list[tuple[Any, slice]] | None = None,
        metrics: Mapping[str, Callable[..., Any]] | None = None,
    ) -> Any:
        if metrics is not None:
            return self.quantities(batch, metrics)
        if not self._takes_output:
            return self._loss[0](self.model, batch)
        output, target = self.output_and_target(batch)
        if pieces is None:
            return self._compared(output, target)
        # A target of several tensors cannot be cut here: then the model is asked for each piece.
        aligned = isinstance(output, Tensor) and isinstance(target, Tensor) and output.shape[:1] == target.shape[:1]
        parted = [(output[rows], target[rows]) if aligned else self.output_and_target(piece) for piece, rows in pieces]
        return [self._compared(*pair) for pair in ((output, target), *parted)]

    def quantities(self, batch: Any, metrics: Mapping[str, Callable[..., Any]]) -> list[Any]:
        """What the loss and the metrics return; those of the model's output all see the same one."""
        if not self._takes_output:
            return [self._loss[0](self.model, batch), *_called(metrics, self.model, batch)]
        output, target = self.output_and_target(batch)
        loss = self._compared(output, target)
        if not metrics:
            return [loss]
        return [loss, *_called(metrics, output.detach() if isinstance(output, Tensor) else output, target)]

    def _compared(self, output: Any, target: Any) -> Any:
        try:
            return self._loss[0](output, target)
        except Exception as error:
            words = misfit(output, target, error)
            if words is None:
                raise
            raise words from error

    def output_and_target(self, batch: Any) -> tuple[Any, Any]:
        if batch is None:
            raise ValueError("expected data for criterion(output, target), got none; pass data=, or write loss(model)")
        if isinstance(batch, (tuple, list)) and len(batch) >= 2 and has_tensors(batch):
            *inputs, target = batch
            # ((x₁, x₂), y) and (x₁, x₂, y) both call model(x₁, x₂).
            if len(inputs) == 1 and isinstance(inputs[0], (tuple, list)):
                inputs = list(inputs[0])
            output = self.model(*inputs)
        elif isinstance(batch, Mapping) and has_tensors(batch):
            output, target = self._of_mapping(batch)
        else:
            raise ValueError(
                f"expected batches (input, target) for criterion(output, target), got {describe(batch)}; "
                "convert numbers with torch.as_tensor, or write loss(model, batch) instead"
            )
        # Models of the transformers library wrap their output.
        output = output if isinstance(output, Tensor) else getattr(output, "logits", output)
        if output is None:
            raise TypeError("expected a model that returns its output, got None; does its forward return something?")
        return output, target

    def _of_mapping(self, batch: Mapping[Any, Any]) -> tuple[Any, Any]:
        keys = [key for key in _TARGET_KEYS if key in batch]
        if len(keys) != 1:
            raise ValueError(
                f"expected a dict batch with one of the keys {', '.join(_TARGET_KEYS)} for criterion(output, target), "
                f"got {', '.join(map(str, batch))}; "
                "write loss(model, batch) instead"
            )
        target = batch[keys[0]]
        inputs = {str(key): value for key, value in batch.items() if key != keys[0]}
        known = _keywords(self.model)
        if known is not None:
            # File names and the like are not for the model.
            inputs = {key: value for key, value in inputs.items() if key in known or has_tensors(value)}
            if len(inputs) == 1 and not known.issuperset(inputs):
                return self.model(*inputs.values()), target
            foreign = [key for key in inputs if key not in known]
            if foreign:
                raise ValueError(
                    f"expected a dict batch whose keys are arguments of the model ({', '.join(sorted(known))}), "
                    f"got {', '.join(foreign)}; rename or drop them, or write loss(model, batch)"
                )
        return self.model(**inputs), target


def resolve(model: nn.Module, loss: Callable[..., Any], first: Any) -> Objective:
    """Find out how the loss wants to be called; where its signature does not tell, by calling it on the first batch.

    Raises
    ------
    TypeError, ValueError
        For a loss that cannot be called either way, with what was said.
    """
    loss = of_two_arguments(loss, has_data=first is not None)
    with_model = Objective(model, loss, False, None)
    with_output = Objective(model, loss, True, criteria.normalizer(loss))
    expects_model = takes_model(loss)
    if expects_model is not None:
        return with_model if expects_model else with_output
    said, plain = [], None
    for objective in (with_output, with_model):
        try:
            # θ needs no gradient here; a loss may take one by its own inputs.
            with torch.enable_grad():
                value = objective.raw({}, first)
            if isinstance(value, Tensor):
                return objective
            said.append(f"it returned {in_short(value)}")
        except Exception as error:  # noqa: BLE001 - any failure of the user's callable means "not called like this"
            if plain is None and isinstance(error.__cause__, Exception) and in_words(error.__cause__) is not None:
                plain = error
            said.append(f"{type(error).__name__}: {error}")
    # It was called as it wants to be, but the tensors do not fit together.
    if plain is not None:
        raise plain
    raise TypeError(
        "expected a loss that can be called as criterion(output, target) or as loss(model, batch), "
        "but neither worked on the first batch: " + " / ".join(said)
    )


def _scalar(loss: Any) -> Tensor:
    """What the loss returned, if it is a loss; shape ()."""
    if not isinstance(loss, Tensor) or loss.numel() != 1:
        got = f"shape {tuple(loss.shape)}" if isinstance(loss, Tensor) else in_short(loss)
        raise ValueError(
            f"expected the loss as a scalar tensor, got {got}; use reduction='mean' or average over the batch"
        )
    if not loss.is_floating_point():
        raise ValueError(
            f"expected the loss as a real floating-point number, got one of type {loss.dtype}; "
            "take .abs() or .real of complex values; what counts or picks (argmax, ==) has no gradient"
        )
    return loss if loss.dim() == 0 else loss.reshape(())


def _called(metrics: Mapping[str, Callable[..., Any]], *given: Any) -> Iterator[Any]:
    """What each metric returns; an error is told with the metric's name."""
    for name, metric in metrics.items():
        try:
            yield metric(*given)
        except Exception as error:
            error.add_note(f"raised by the metric {name!r}")
            raise


def _measured(name: str, value: Any, like: Tensor) -> Tensor:
    """What a metric returned, if it is a real scalar; shape (), float64."""
    if isinstance(value, Tensor) and value.numel() == 1 and not value.is_complex():
        return value.detach().reshape(()).to(like.device, torch.float64)
    if isinstance(value, (Real, np.bool_)):
        return torch.full_like(like, float(value), dtype=torch.float64)
    if isinstance(value, np.ndarray) and value.size == 1 and value.dtype.kind in "biuf":
        return torch.full_like(like, float(value.item()), dtype=torch.float64)
    got = f"a complex one, {value.dtype}" if isinstance(value, Tensor) and value.is_complex() else in_short(value)
    raise ValueError(
        f"expected the metric {name!r} as one real number for a batch, got {got}; average over the batch's samples"
    )


def _keywords(model: nn.Module) -> set[str] | None:
    """Names of the arguments that the model takes; None where it takes any."""
    try:
        parameters = inspect.signature(model.forward).parameters.values()
    except (TypeError, ValueError):
        return None
    if any(p.kind is p.VAR_KEYWORD for p in parameters):
        return None
    return {p.name for p in parameters if p.kind in (p.POSITIONAL_OR_KEYWORD, p.KEYWORD_ONLY)}
