"""Whether a loss has second derivatives; if not, which parameters lack them."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, TypeVar

import torch
from torch import Tensor

from landscape_widget.engine.memory import is_out_of_memory
from landscape_widget.engine.problem import Problem, Term
from landscape_widget.engine.products import gradient_graph, nodes_of

_T = TypeVar("_T")

# How torch says that an operation has no second derivative.
_NOT_TWICE = ("is not implemented", "double backward", "once_differentiable")
# torch's own operations whose gradient is zero everywhere.
_FLAT = re.compile(r"(Round|Floor|Ceil|Trunc|Sign|Sgn)Backward\d+")
# Samples that tell, as far as there is memory for them.
_FEW = 8
# How far a parameter is moved, in parts of its own size, to see whether the loss knows it: an argmax needs a long way.
_MOVES = (0.3, 3.0)

# Products and differences of the gradient agree to this, at one of these steps, in ‖θ‖: with float32 inside the loss at a
# long one, with the million kinks of a deep network at a very short one. Two samples tell, and have the fewest kinks.
_AGREEMENT, _STEPS, _EXAMINED = 0.05, (1e-4, 1e-8, 1e-10, 1e-6, 1e-3, 1e-9, 1e-5, 1e-2, 1e-7), 2
# How far from θ, in ‖θ‖, that is looked at: a kink can lie exactly at θ (zero weights and biases), hardly at a random point.
_BESIDE = 1e-3
# Round-off of a gradient through many layers, in machine epsilons.
_ROUND_OFF = 1e3

_ADVICE = (
    "Leave these parameters out of θ with params=, or look along random directions, which need no second derivative"
)


class NoSecondDerivativeError(RuntimeError):
    """The loss has no second derivatives that torch could compute; the loss itself can be surveyed all the same."""


@contextmanager
def told_in_words(problem: Problem, theta: Tensor) -> Iterator[None]:
    """Say in words what torch says of an operation without a second derivative, naming the parameters that it cuts off."""
    try:
        yield
    except NoSecondDerivativeError:
        raise
    except RuntimeError as error:
        if not any(words in str(error) for words in _NOT_TWICE):
            raise
        raise NoSecondDerivativeError(
            f"expected a loss that can be differentiated twice, got {error}; "
            f"no second derivative for {_listed(_failing(problem, theta)) or 'θ'}. {_ADVICE}"
        ) from error


def require_second_derivatives(problem: Problem, theta: Tensor) -> None:
    """Raise NoSecondDerivativeError where products would silently leave out a part of the Hessian.

    That is so for operations which say that they can be differentiated only once (``once_differentiable``): torch
    refuses a second backward pass through them, but prunes the path when only θ is asked for. And for parameters on
    which the loss depends without passing a gradient to them (argmax, detach), or only zeros (rounding). A parameter
    that the loss does not use has no gradient either, rightly; what tells them apart is the loss with that parameter moved.
    """
    _on_few(problem, _FEW, lambda term: _require_second_derivatives(problem, theta, term))


def _require_second_derivatives(problem: Problem, theta: Tensor, term: Term) -> None:
    value, leaves, gradients = _gradients(problem, theta, term)
    named = list(zip(problem.parameter_names, gradients, strict=True))
    if _has_error(gradients):
        once = [name for name, gradient in named if _has_error([gradient])]
        raise NoSecondDerivativeError(
            "expected a loss that can be differentiated twice, got an operation marked once_differentiable; "
            f"no second derivative for {_listed(once)}. {_ADVICE}"
        )
    reached = _reached(value)
    unreached = [i for i, leaf in enumerate(leaves) if gradients[i] is None or id(leaf) not in reached]
    cut = [problem.parameter_names[i] for i in unreached if _matters(problem, leaves, term, i)]
    if cut:
        raise NoSecondDerivativeError(
            f"expected a loss that can be differentiated twice in all of θ, got one that depends on {_listed(cut)} "
            "but passes no gradient to it (argmax, rounding and .detach() cut it off); no second derivative for "
            f"{_listed(cut)}. {_ADVICE}"
        )


def require_agreement(problem: Problem, theta: Tensor) -> None:
    """Raise NoSecondDerivativeError where products are not what the gradient's differences say, on a few samples in float64.

    A function whose backward pass hides that it depends on θ (a slope kept from the forward pass, ``no_grad`` or numpy
    in it) gives products that are wrong, or zero, without an error; and they may well be symmetric. Kinks are no
    reason: between them the two agree, at one step or another, and so they are looked at beside θ.
    """
    try:
        misses = _on_few(problem, _EXAMINED, lambda term: _misses_beside(problem.in_float64(term), theta))
    except (RuntimeError, TypeError, ValueError, MemoryError):
        # What cannot be computed in float64 cannot be examined like this.
        return
    if misses and min(misses) > _AGREEMENT:
        raise NoSecondDerivativeError(
            "expected a loss whose second derivatives are those of its gradient, got Hessian-vector products that miss "
            f"the gradient's differences by {100 * min(misses):.0f} % at best: some torch.autograd.Function has a backward "
            "pass that hides how it depends on its input (a slope kept from the forward pass, no_grad or numpy in it), or a "
            f"wrong one; or a gradient is passed straight through rounding. {_ADVICE}"
        )


def _misses_beside(problem: Problem, theta: Tensor) -> list[float]:
    """Relative differences between a product and differences of the gradient, at a random point beside θ."""
    theta = theta.to(problem.point)
    draw, away = torch.randn(2, *theta.shape, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    draw, away = ((vector / vector.norm()).to(theta) for vector in (draw, away))
    theta = theta + _BESIDE * (float(theta.norm()) or theta.numel() ** 0.5) * away
    graph = gradient_graph(problem, theta, next(problem.terms()))
    product = torch.zeros_like(draw) if graph is None else torch.autograd.grad(graph[1], graph[0], draw)[0]
    return list(_misses(problem, theta, draw, product))


def _misses(problem: Problem, theta: Tensor, unit: Tensor, product: Tensor) -> Iterator[float]:
    """How far the differences of the gradient along a unit vector are from the product, relatively, until they are near."""
    if not bool(torch.isfinite(product).all()):
        return
    scale = float(theta.norm())
    for relative in _STEPS:
        h = relative * scale
        ahead, behind = (problem.gradient(theta + sign * h * unit) for sign in (1, -1))
        difference = (ahead - behind) / (2 * h)
        round_off = _ROUND_OFF * torch.finfo(torch.float64).eps * float(ahead.norm()) / h
        size = max(float(difference.norm()), float(product.norm()))
        missed = max(0.0, float((difference - product).norm()) - round_off) / size if size else 0.0
        if math.isfinite(missed):
            yield missed
        if missed <= _AGREEMENT:
            return


def _reached(value: Tensor) -> set[int]:
    """Identities of the leaves of a graph that a gradient reaches which is not zero for good."""
    nodes = nodes_of([value], passes=lambda node: not _is_flat(node))
    return {id(node.variable) for node in nodes if hasattr(node, "variable")}


def _is_flat(node: Any) -> bool:
    """Whether a node is of an operation that is constant but for its jumps."""
    if _FLAT.fullmatch(node.name()):
        # The sign of a complex number is a direction.
        return not (hasattr(node, "_saved_self") and node._saved_self.is_complex())
    return getattr(node, "_saved_rounding_mode", None) is not None


def _matters(problem: Problem, leaves: list[Tensor], term: Term, index: int) -> bool:
    """Whether the loss changes when one parameter is moved."""
    with torch.no_grad():
        parts = [leaf.detach() for leaf in leaves]
        here, at = float(problem.term_of(parts, term)), parts[index]
        draw = torch.randn(at.shape, generator=torch.Generator().manual_seed(index), dtype=torch.float64)
        step = draw.to(at) * (float(at.abs().mean()) or 1.0)
        for move in _MOVES:
            parts[index] = at + move * step
            if float(problem.term_of(parts, term)) != here:
                return True
    return False


def _has_error(gradients: list[Tensor | None]) -> bool:
    """Whether the graph holds a node that torch has put there to refuse differentiation."""
    return any(node.name().endswith("Error") for node in nodes_of(g for g in gradients if g is not None))


def _failing(problem: Problem, theta: Tensor) -> list[str]:
    """Names of the parameters whose gradient cannot be differentiated."""
    _, leaves, gradients = _on_few(problem, _FEW, lambda term: _gradients(problem, theta, term))
    names = []
    for name, gradient in zip(problem.parameter_names, gradients, strict=True):
        if gradient is None or not gradient.requires_grad:
            continue
        try:
            torch.autograd.grad(gradient.sum(), leaves, retain_graph=True, allow_unused=True)
        except RuntimeError:
            names.append(name)
    return names


def _on_few(problem: Problem, most: int, examine: Callable[[Term], _T]) -> _T:
    """What an examination finds on a few samples: on half as many as often as memory runs out."""
    while True:
        try:
            return examine(problem.head(next(problem.terms()), most))
        except (RuntimeError, MemoryError) as error:
            if most == 1 or not problem.parts_samples or not is_out_of_memory(error):
                raise
        most //= 2


def _gradients(problem: Problem, theta: Tensor, term: Term) -> tuple[Tensor, list[Tensor], list[Tensor | None]]:
    """The loss, the parameters as leaves of their own, and their gradients with graph; None where the loss does not reach one."""
    with torch.enable_grad(), problem.differentiable():
        leaves = [part.detach().clone().requires_grad_(True) for part in problem.split(theta)]
        value = problem.term_of(leaves, term)
        if not value.requires_grad:
            return value, leaves, [None] * len(leaves)
        return value, leaves, list(torch.autograd.grad(value, leaves, create_graph=True, allow_unused=True))


def _listed(names: list[str], most: int = 5) -> str:
    more = f" and {len(names) - most} more" if len(names) > most else ""
    return ", ".join(map(repr, names[:most])) + more
