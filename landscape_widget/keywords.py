"""Keywords that nobody knows are refused with the nearest one that is known."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Iterable
from difflib import get_close_matches
from typing import ParamSpec, TypeVar

Parameters = ParamSpec("Parameters")
Result = TypeVar("Result")


def check_keywords(given: Iterable[str], known: Iterable[str]) -> None:
    """Refuse unknown keywords.

    Raises
    ------
    TypeError
        Naming the nearest known one.
    """
    known = list(known)
    for name in given:
        if name not in known:
            near = get_close_matches(name, known, 1)
            hint = f"did you mean {near[0]!r}?" if near else f"known are {', '.join(known)}"
            raise TypeError(f"unexpected keyword {name!r}; {hint}")


def keywords(function: Callable[..., object]) -> list[str]:
    """The names of a function's parameters, without ``self`` and those that stand for any."""
    anything = inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.VAR_KEYWORD
    return [
        p.name for p in inspect.signature(function).parameters.values() if p.kind not in anything and p.name != "self"
    ]


def hinted(function: Callable[Parameters, Result]) -> Callable[Parameters, Result]:
    """The same function; an unknown keyword is refused with the nearest known one."""
    known = keywords(function)

    @functools.wraps(function)
    def checked(*args: Parameters.args, **kwargs: Parameters.kwargs) -> Result:
        check_keywords(kwargs, known)
        return function(*args, **kwargs)

    return checked
