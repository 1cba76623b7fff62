"""How a user's loss wants to be called, and what to say when model, loss and data do not fit together."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from landscape_widget.engine import criteria
from landscape_widget.engine.data import as_tensor, leaves, tensors

_MODEL_NAMES = {"model", "net", "network", "module", "m", "nn"}
_OUTPUT_NAMES = {"output", "outputs", "out", "input", "inputs", "pred", "preds", "prediction", "predictions"} | {
    *("y_pred", "ypred", "yhat", "y_hat", "logits", "logit", "scores", "x")
}

# How torch says that tensors are on different devices, or of different types.
_DEVICES = ("same device", "expected device", "two devices", "on MPS device", "out of meta tensor")
_TYPES = ("dtype", "scalar type", "should be the same", "bool tensors", "not implemented for '")


def takes_model(loss: Any) -> bool | None:
    """Whether ``loss`` is called as loss(model, batch), not criterion(output, target); None where nothing tells."""
    if criteria.normalizer(loss) is not None or isinstance(loss, nn.modules.loss._Loss):
        return False
    signature = _signature(loss)
    kinds = inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD
    names = [p.name.lower() for p in signature.parameters.values() if p.kind in kinds] if signature else []
    if names and names[0] in _MODEL_NAMES:
        return True
    if names and names[0] in _OUTPUT_NAMES:
        return False
    return None


def of_two_arguments(loss: Callable[..., Any], *, has_data: bool) -> Callable[..., Any]:
    """The loss as it is, or as loss(model, batch) where it is loss(model), which needs no data.

    Raises
    ------
    TypeError
        For a loss that takes neither two arguments nor, without data, one.
    """
    signature = _signature(loss)
    if signature is None:
        return loss
    if not has_data and _binds(signature, 1):
        return lambda model, batch: loss(model)
    if _binds(signature, 2):
        return loss
    needed = ", ".join(name for name, p in signature.parameters.items() if p.default is p.empty)
    if _binds(signature, 1):
        raise TypeError(
            f"expected a loss of two arguments, criterion(output, target) or loss(model, batch), got one of ({needed}) "
            "and data that it would not see; leave data out for loss(model), or write lambda model, batch: ..."
        )
    raise TypeError(
        "expected a loss of two arguments, criterion(output, target) or loss(model, batch), "
        f"got one of ({needed}); wrap it: lambda model, batch: ..."
    )


def misfit(output: Any, target: Any, error: Exception) -> Exception | None:
    """What criterion(output, target) stumbled over, in words; None where the error itself tells best."""
    if not isinstance(output, Tensor):
        return TypeError(
            f"expected a model that returns a tensor for criterion(output, target), got {in_short(output)}; "
            "write loss(model, batch) and pick from model(...) what the loss compares"
        )
    if not isinstance(target, Tensor):
        return TypeError(
            f"expected the target as a tensor, got {in_short(target)}; convert it with torch.as_tensor. "
            "A list holds batches: single samples go into a Dataset or DataLoader(samples, batch_size=...)"
        )
    if output.dim() and target.dim() and len(output) != len(target):
        return ValueError(
            f"expected as many targets as outputs, got {len(target)} targets for {len(output)} outputs "
            f"(shapes {tuple(target.shape)} and {tuple(output.shape)}); check that x and y have the same length"
        )
    if "multi-target" in str(error):
        return ValueError(
            f"expected class labels of shape ({len(output)},), got {tuple(target.shape)}; squeeze them, or take argmax(1) of one-hot ones"
        )
    if isinstance(error, IndexError) and not target.is_floating_point() and output.dim():
        classes = output.shape[1] if output.dim() > 1 else output.shape[0]
        return ValueError(
            f"expected class labels from 0 to {classes - 1} for a model with {classes} outputs, "
            f"got {int(target.min())} to {int(target.max())}; renumber the labels, or set ignore_index="
        )
    return in_words(error)


def in_words(error: Exception) -> Exception | None:
    """What torch says of tensors that do not fit together, in words; None for any other error."""
    if not isinstance(error, RuntimeError) or not str(error):
        return None
    said = str(error).splitlines()[0]
    if any(words in said for words in _DEVICES):
        return ValueError(
            f"expected model, data and loss on one device, got: {said}; "
            "move the tensors that the loss holds to the model's device, or pass device="
        )
    if any(words in said for words in _TYPES):
        return ValueError(
            f"expected data and loss in the model's precision, and class labels as int64, got: {said}; "
            "convert them with .to(dtype)"
        )
    return None


@contextmanager
def told(batch: Any) -> Iterator[None]:
    """Say in words what torch says of tensors that do not fit together, and of every error on which batch it was raised."""
    try:
        yield
    except Exception as error:
        error.add_note(f"raised for {describe(batch)}")
        words = in_words(error)
        if words is None:
            raise
        for note in error.__notes__:
            words.add_note(note)
        raise words from error


def describe(batch: Any) -> str:
    """A batch in words, for messages."""
    shapes = ", ".join(str(tuple(t.shape)) for t in tensors(batch))
    return f"a {type(batch).__name__} batch with tensors of shape {shapes or '(none)'}"


def real_tensor(given: Any, name: str, form: str = "") -> Tensor:
    """What holds real numbers, as a tensor; a tensor itself stays the same one.

    Parameters
    ----------
    given
        A tensor, what numpy makes an array of, or a list of such.
    name, form
        What it should be, for a message: "theta"; and in more words where they help.

    Raises
    ------
    TypeError
        For what holds no numbers, and for complex ones.
    """
    try:
        if isinstance(given, (tuple, list)):
            tensor = torch.stack([as_tensor(part if isinstance(part, Tensor) else np.asarray(part)) for part in given])
        else:
            tensor = as_tensor(given if isinstance(given, Tensor) else np.asarray(given))
    except (TypeError, ValueError, RuntimeError) as error:
        raise TypeError(
            f"expected {form or f'{name} of real numbers'}, got {in_short(given)}; "
            "make one array of them, of a numeric dtype"
        ) from error
    if tensor.is_complex():
        raise TypeError(f"expected {name} of real numbers, got {tensor.dtype}; take .real")
    return tensor


def in_short(value: Any) -> str:
    """A value in words: what it is, and for a tuple, list or dict of what."""
    if value is None:
        return "None (has the function a return statement?)"
    if isinstance(value, Tensor):
        return f"a tensor of shape {tuple(value.shape)}"
    parts = [f"Tensor {tuple(v.shape)}" if isinstance(v, Tensor) else type(v).__name__ for v in leaves(value)]
    if isinstance(value, (tuple, list, dict)):
        return f"a {type(value).__name__} of ({', '.join(parts[:6])}{', …' if len(parts) > 6 else ''})"
    return f"{type(value).__name__} {value!r}" if isinstance(value, (str, int, float)) else f"a {type(value).__name__}"


def _signature(loss: Any) -> inspect.Signature | None:
    try:
        return inspect.signature(loss.forward if isinstance(loss, nn.Module) else loss)
    except (TypeError, ValueError):
        return None


def _binds(signature: inspect.Signature, count: int) -> bool:
    try:
        signature.bind(*[None] * count)
    except TypeError:
        return False
    return True
