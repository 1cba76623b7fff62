"""The private copy of a model, and which of its parameters are θ."""

from __future__ import annotations

import copy
import fnmatch
import functools
import inspect
from collections.abc import Callable, Iterable

import torch
from torch import Tensor, nn

_HALF = (torch.float16, torch.bfloat16)


def private_copy(model: nn.Module, device: torch.device) -> tuple[nn.Module, list[str]]:
    """A copy in eval mode that the user's code never sees, in at least float32; and notes of what was changed.

    Half-precision tensors get the precision that all parameters have in common; the others keep theirs.
    """
    notes = []
    if any(isinstance(p, nn.parameter.UninitializedParameter) for p in model.parameters()):
        raise ValueError(
            "expected a model whose parameters exist, got lazy modules not yet initialized; call the model once on a batch first"
        )
    if isinstance(model, torch.jit.ScriptModule):
        raise TypeError(
            "expected an ordinary torch.nn.Module, got TorchScript, whose parameters cannot be exchanged; "
            "pass the module that it was made from"
        )
    # torch.compile's wrapper has no second derivative; what it wraps is the same function.
    model = getattr(model, "_orig_mod", model)
    try:
        private = copy.deepcopy(model)
    except Exception as error:
        raise TypeError(
            f"expected a model that copy.deepcopy can copy, got {error}; detach stored tensors and remove hooks that hold graphs"
        ) from error
    private = private.to(device).eval()
    if any(p.dtype in _HALF for p in private.parameters()):
        wide = common_dtype(private.parameters())
        notes.append(f"half-precision weights are computed in {str(wide).removeprefix('torch.')}")
        # As .float() does it, but the rest keeps its precision.
        private = private._apply(lambda tensor: tensor.to(wide) if tensor.dtype in _HALF else tensor)
    for module in private.modules():
        # Without a gradient nested tensors would give zeros at padded places, with one they do not.
        if isinstance(module, nn.TransformerEncoder):
            module.enable_nested_tensor = module.use_nested_tensor = False
        if isinstance(module, nn.utils.parametrizations._WeightNorm):
            vars(module)["forward"] = functools.partial(_weight_norm, dim=module.dim)
    return private, notes


def _weight_norm(magnitude: Tensor, direction: Tensor, *, dim: int) -> Tensor:
    """g·v/‖v‖ in operations that can be differentiated twice: the derivative of torch._weight_norm's gradient is wrong."""
    return direction * (magnitude / torch.norm_except_dim(direction, 2, dim))


def single_device(model: nn.Module, device: torch.device | str | None) -> torch.device:
    """The device asked for, or the one that all of the model is on."""
    if device is not None:
        try:
            found = torch.empty(0, device=device).device
        except (RuntimeError, AssertionError, TypeError) as error:
            raise (TypeError if isinstance(error, TypeError) else ValueError)(
                f"expected a device that torch can use here, got {device!r} ({str(error).splitlines()[0]}); "
                "leave device= out to compute where the model is"
            ) from error
        return _computing(found)
    devices = {p.device for p in model.parameters()} | {b.device for b in model.buffers()}
    if len(devices) > 1:
        raise ValueError(
            f"expected a model on one device, got {', '.join(sorted(map(str, devices)))}; pass device= to gather it"
        )
    return _computing(devices.pop()) if devices else torch.device("cpu")


def _computing(device: torch.device) -> torch.device:
    if device.type == "meta":
        raise ValueError(
            "expected a device that holds numbers, got meta; load the weights, and pass a device that computes"
        )
    return device


def select_parameters(
    model: nn.Module, params: str | Iterable[str] | Callable[[str, nn.Parameter], bool] | None
) -> list[str]:
    """Names of the parameters that are θ: those that require a gradient, or those that ``params`` picks."""
    named = dict(model.named_parameters())
    if params is None:
        names = [name for name, p in named.items() if p.requires_grad]
    elif callable(params):
        names = [name for name, p in named.items() if _picks(params, name, p)]
    else:
        names = _matching(model, [params] if isinstance(params, str) else params)
    names = [name for name in names if named[name].numel()]
    if not names:
        raise ValueError("expected a model with trainable parameters, got none; set requires_grad or pass params=")
    for name in names:
        if not named[name].is_floating_point():
            raise TypeError(f"expected real floating-point parameters, got {name} of dtype {named[name].dtype}")
    return names


def _picks(predicate: Callable[[str, nn.Parameter], bool], name: str, parameter: nn.Parameter) -> bool:
    try:
        inspect.signature(predicate).bind(name, parameter)
    except ValueError:  # some builtins have no signature
        pass
    except TypeError as error:
        raise TypeError(
            f"expected params= as a predicate of (name, parameter), got one that cannot be called so: {error}"
        ) from error
    return bool(predicate(name, parameter))


def _matching(model: nn.Module, patterns: Iterable[str]) -> list[str]:
    """Names of the parameters of which one name matches a pattern: a shared tensor has several."""
    patterns = list(patterns) if isinstance(patterns, Iterable) else [patterns]
    for pattern in patterns:
        if not isinstance(pattern, str):
            raise TypeError(
                f"expected params= as names, glob patterns or a predicate (name, parameter) -> bool, got {type(pattern).__name__}; "
                "model.named_parameters() tells the names"
            )
    aliases: dict[int, list[str]] = {}
    for name, parameter in model.named_parameters(remove_duplicate=False):
        aliases.setdefault(id(parameter), []).append(name)
    for pattern in patterns:
        if not any(fnmatch.filter(names, pattern) for names in aliases.values()):
            every = ", ".join(name for names in aliases.values() for name in names)
            raise ValueError(
                f"expected params= to name parameters of the model, got {pattern!r} which matches none of {every}"
            )
    return [names[0] for names in aliases.values() if any(fnmatch.filter(names, pattern) for pattern in patterns)]


def common_dtype(parameters: Iterable[Tensor]) -> torch.dtype:
    """The precision that holds all of the parameters, at least float32."""
    dtype = torch.float32
    for parameter in parameters:
        dtype = torch.promote_types(dtype, parameter.dtype)
    return dtype
