"""The loss of one batch as a function of named parameters, however the user's callable wants to be called."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn

from landscape_widget.engine import criteria
from landscape_widget.engine.data import tensors

_TARGET_KEYS = ("labels", "label", "targets", "target", "y")


class Objective:
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
                f"expected batches (input, target) for criterion(output, target), got {describe(batch)}; write loss(model, batch) instead"
            )
        # Models of the transformers library wrap their output.
        return getattr(output, "logits", output) if not isinstance(output, Tensor) else output, target


def resolve(model: nn.Module, loss: Callable[..., Any], first: Any) -> Objective:
    """Find out how the loss wants to be called; where its signature does not tell, by calling it on the first batch."""
    with_model = Objective(model, loss, False, None)
    with_output = Objective(model, loss, True, criteria.normalizer(loss))
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


@contextmanager
def in_words() -> Iterator[None]:
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


def describe(batch: Any) -> str:
    """A batch in words, for messages."""
    shapes = ", ".join(str(tuple(t.shape)) for t in tensors(batch))
    return f"a {type(batch).__name__} batch with tensors of shape {shapes or '(none)'}"
