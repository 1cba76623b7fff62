"""Landscapes and what they are made of: frozen values that the engine yields, the page shows and a file holds. numpy only."""

from __future__ import annotations

import dataclasses
import io
import json
import os
import struct
import zlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from types import MappingProxyType
from typing import Any
from zipfile import BadZipFile, ZipFile

import numpy as np

from landscape_widget.interpolate import predict
from landscape_widget.keywords import hinted

FORMAT_VERSION = 1


@dataclass(frozen=True)
class Direction:
    """One axis of a plane: a vector in parameter space and what is known about it.

    Attributes
    ----------
    key
        Short name, unique in a catalog: ``"largest-1"``, ``"smallest-1"``, ``"random-0"``, ``"gradient"``.
    kind
        ``"hessian"``, ``"random"``, ``"gradient"`` or ``"own"``.
    symbol, label
        For a tick mark (λ₁) and in words ("largest curvature").
    vector
        Shape (n,), flat, used as it is: never normalized behind the user's back. None in a landscape saved without
        directions.
    norm
        ‖d‖: how far in ‖Δθ‖ a step of length 1 goes.
    curvature, residual, converged
        dᵀHd/dᵀd; for a Hessian direction the Ritz value with ‖Hd − μd‖ and whether that is below the tolerance. None
        where not computed.
    normalization, seed
        Of a random direction.
    preliminary
        True while Lanczos still sharpens it.
    """

    key: str
    kind: str
    symbol: str
    label: str
    vector: Any = field(default=None, repr=False, compare=False)
    norm: float = 1.0
    curvature: float | None = None
    residual: float | None = None
    converged: bool | None = None
    normalization: str | None = None
    seed: int | None = None
    preliminary: bool = False

    def without_vector(self) -> Direction:
        """The same facts without the θ-sized array."""
        return dataclasses.replace(self, vector=None)


@dataclass(frozen=True)
class CriticalPoint:
    """A critical point of the *slice* (not of the loss): where the piecewise-linear surface has one.

    ``kind`` is "minimum", "maximum", "saddle" or "monkey saddle"; ``loss`` is the loss there; ``persistence`` (a loss
    difference) tells how far the surface must be filled or cut before it disappears, None for the global extremum and
    for what is not paired.
    """

    kind: str
    alpha: float
    beta: float
    loss: float
    row: int
    column: int
    persistence: float | None = None


@dataclass(frozen=True)
class PredictionError:
    """How far predicted cells are from the loss.

    ``bound`` is a difference of losses as displayed (``Recipe.scale``: of losses, or of their natural logarithms): with
    confidence ``confidence`` at least ``share`` of the cells are within it (Clopper & Pearson 1934, no exceedance
    among ``num_checked`` cells drawn at random after the refinement had stopped). None where no such check was made
    yet. ``expected_largest`` is an estimate of the largest error, from the misses of cells that were predicted before
    they were measured; 0, as is ``bound``, where every cell is measured, and None before a level was predicted.
    ``range`` is that of the displayed losses on the level of 17 × 17, to which the tolerance is relative.
    """

    bound: float | None = None
    confidence: float = 0.95
    share: float = 0.98
    num_checked: int = 0
    expected_largest: float | None = None
    range: float | None = None


@dataclass(frozen=True)
class Curvature:
    """What Lanczos found of the Hessian at θ*, and what of it is proven.

    ``largest`` and ``smallest`` hold Ritz values from the outside inwards with their residual norms; ``num_negative``
    counts the Ritz values below −``noise`` over one orthonormal basis, a lower bound for the number of negative
    eigenvalues (Cauchy interlacing); ``noise`` is the measured error of a Hessian-vector product. ``unseen_below`` is a
    one-sided statement (van Dorsselaer, Hochstenbach & van der Vorst 2000): with 99 % probability λ_min is not below
    it; None after a warm start. ``method`` tells how the products were made. ``converged`` tells whether all pairs have;
    ``largest_converged`` and ``smallest_converged`` of each one whether it has and nothing is hidden beyond it, so that
    a Ritz value can be an eigenvalue before the run has ended; empty in files of before.
    """

    largest: tuple[float, ...]
    largest_residuals: tuple[float, ...]
    smallest: tuple[float, ...]
    smallest_residuals: tuple[float, ...]
    num_negative: int
    noise: float
    num_matvecs: int
    converged: bool
    unseen_below: float | None = None
    method: str | None = None
    largest_converged: tuple[bool, ...] = ()
    smallest_converged: tuple[bool, ...] = ()

    @property
    def ends_converged(self) -> tuple[bool, bool]:
        """Whether the outermost values are λ_max and λ_min; where that was not told pair by pair, whether all converged."""
        largest, smallest = self.largest_converged, self.smallest_converged
        return (largest[0] if largest else self.converged), (smallest[0] if smallest else self.converged)

    def error(self, residual: float) -> float:
        """How far a Ritz value with this residual norm may be off: no value is better than the products it is made of."""
        return max(residual, self.noise)

    def negligible(self, gradient_norm: float, theta_norm: float) -> bool:
        """Whether a gradient at θ* is round-off, so that θ* is a critical point as far as can be told."""
        return is_round_off(gradient_norm, self.noise, theta_norm)


def is_round_off(gradient_norm: float, noise: float, theta_norm: float) -> bool:
    """Whether a gradient is no larger than one that the error of θ itself would make.

    ``noise`` is the error of Hv for unit v; θ is off by round-off of its length ‖θ‖, which makes a gradient of
    noise·‖θ‖. Parameters shorter than one count as one: then it is the data's round-off that counts.

    >>> is_round_off(7e-17, 2e-15, 7.3), is_round_off(1e-5, 1e-7, 10.0), is_round_off(0.0, 0.0, 0.0)
    (True, False, True)
    """
    return gradient_norm <= noise * max(1.0, theta_norm)


@dataclass(frozen=True)
class Recipe:
    """How a landscape was made, in full: enough to caption it and to make it again.

    Norms are Euclidean over the chosen parameters; ``spans`` are half-widths in coordinates of the axes. ``scale`` and
    ``clip`` tell how the losses were meant to be displayed when ``tolerance`` was asked for, as in
    :func:`landscape_widget.survey`; ``strategy`` how cells were evaluated.
    """

    directions: tuple[Direction, Direction]
    spans: tuple[float, float]
    window: str
    resolution: tuple[int, int]
    tolerance: float
    seed: int
    model: str
    loss: str
    num_parameters: int
    num_samples: int | None
    theta_norm: float
    gradient_norm: float | None = None
    center_loss: float | None = None
    cosine: float = 0.0
    axis_curvature: tuple[float, float, float] | None = None
    curvature: Curvature | None = None
    dtype: str = "float32"
    device: str = "cpu"
    data_digest: str = ""
    versions: Mapping[str, str] = field(default_factory=dict)
    notes: tuple[str, ...] = ()
    scale: str = "linear"
    clip: float | None = None
    strategy: str = ""


@dataclass(frozen=True, eq=False, repr=False)
class Landscape:
    """The loss on a plane, measured in full or in part.

    Attributes
    ----------
    alphas, betas
        Coordinates along the two axes, shapes (a,) and (b,), ascending, 0 in the middle.
    losses
        Shape (b, a): **row β, column α**, float64. Meaningful only where ``measured``; a measured NaN or inf is what
        the loss gave.
    measured
        Shape (b, a), bool.
    critical
        Critical points of the slice.
    error
        How far the predicted cells may be off.
    recipe
        How it was made.
    metrics
        Further quantities by name, each of shape (b, a), meaningful only where ``measured``.
    sem
        Standard errors of the losses less that at the centre, shape (b, a), where they come from a part of the data
        (``recipe.num_samples`` of them); None where they come from all.

    Raises
    ------
    ValueError
        For arrays whose shapes do not fit together.

    Examples
    --------
    >>> import landscape_widget as lw
    >>> from landscape_widget import examples
    >>> landscape = lw.compute(examples.toy_saddle(n=3, m=4), resolution=9)
    >>> landscape.losses.shape, landscape.num_measured, landscape.complete
    ((9, 9), 81, True)
    >>> float(landscape.losses[4, 4])  # the trained point, in the middle
    0.0
    """

    alphas: np.ndarray
    betas: np.ndarray
    losses: np.ndarray
    measured: np.ndarray
    recipe: Recipe
    critical: tuple[CriticalPoint, ...] = ()
    error: PredictionError = PredictionError()
    metrics: Mapping[str, np.ndarray] = field(default_factory=dict)
    sem: np.ndarray | None = None

    def __post_init__(self) -> None:
        if np.ndim(self.alphas) != 1 or np.ndim(self.betas) != 1:
            raise ValueError(
                f"expected alphas and betas of shapes (a,) and (b,), got {np.shape(self.alphas)} and {np.shape(self.betas)}"
            )
        shape = (len(self.betas), len(self.alphas))
        if np.shape(self.losses) != shape or np.shape(self.measured) != shape:
            raise ValueError(
                f"expected losses and measured of shape (len(betas), len(alphas)) = {shape}, "
                f"got {np.shape(self.losses)} and {np.shape(self.measured)}"
            )
        for name, array in {**self.metrics, **({} if self.sem is None else {"sem": self.sem})}.items():
            if np.shape(array) != shape:
                raise ValueError(f"expected {name} of shape (len(betas), len(alphas)) = {shape}, got {np.shape(array)}")
        for name, dtype in (("alphas", float), ("betas", float), ("losses", float), ("measured", bool)):
            object.__setattr__(self, name, _frozen(getattr(self, name), dtype))
        metrics = {str(name): _frozen(array, float) for name, array in self.metrics.items()}
        object.__setattr__(self, "metrics", MappingProxyType(metrics))
        object.__setattr__(self, "sem", None if self.sem is None else _frozen(self.sem, float))

    def __repr__(self) -> str:
        """One line: arrays and recipe would fill a screen."""
        rows, columns = self.losses.shape
        finite = self.losses[self.measured & np.isfinite(self.losses)]
        losses = f", loss {finite.min():.4g} to {finite.max():.4g}" if finite.size else ""
        x, y = self.recipe.directions
        return f"<Landscape {columns} × {rows}, {self.num_measured:,} measured{losses}; x: {x.symbol}, y: {y.symbol}>"

    def surface(self) -> np.ndarray:
        """The losses at full resolution, shape (b, a): measured where measured, predicted elsewhere, NaN where neither is known.

        Raises
        ------
        ValueError
            Where cells are to be predicted on a grid whose sides are not 2^k + 1.
        """
        return self._surface.copy()

    @cached_property
    def _surface(self) -> np.ndarray:
        return predict(self.losses, self.measured)

    @property
    def num_measured(self) -> int:
        """Number of measured cells."""
        return int(self.measured.sum())

    @property
    def complete(self) -> bool:
        """Whether every cell is measured on all data, or predicted within a checked error."""
        return self.sem is None and (bool(self.measured.all()) or self.error.bound is not None)

    @hinted
    def save(self, path: str | os.PathLike[str], *, keep_directions: bool = False) -> None:
        """Write arrays and one JSON header, no pickle.

        Parameters
        ----------
        path
            The file, by custom ``.npz``; one that is there is replaced.
        keep_directions
            Also write the θ-sized vectors of the two axes.

        Raises
        ------
        TypeError
            For what is no path.
        OSError
            For a file that cannot be written.

        Examples
        --------
        See :func:`landscape_widget.load`.
        """
        _check_path(path)
        arrays: dict[str, Any] = {
            "alphas": self.alphas,
            "betas": self.betas,
            "losses": self.losses,
            "measured": self.measured,
            **{f"metric_{number}": array for number, array in enumerate(self.metrics.values())},
            **({} if self.sem is None else {"sem": self.sem}),
        }
        if keep_directions:
            for number, direction in enumerate(self.recipe.directions):
                if direction.vector is not None:
                    vector = direction.vector
                    # A tensor may live on a device.
                    arrays[f"direction_{number}"] = np.asarray(vector.cpu() if hasattr(vector, "cpu") else vector)
        header = {
            "format_version": FORMAT_VERSION,
            "recipe": _plain(
                dataclasses.replace(self.recipe, directions=tuple(d.without_vector() for d in self.recipe.directions))
            ),
            "critical": [_plain(point) for point in self.critical],
            "error": _plain(self.error),
            "metrics": list(self.metrics),
        }
        with Path(path).open("wb") as file:
            np.savez_compressed(file, header=np.frombuffer(json.dumps(header).encode(), dtype=np.uint8), **arrays)


@hinted
def load(path: str | os.PathLike[str]) -> Landscape:
    """Read a landscape that :meth:`Landscape.save` wrote.

    Parameters
    ----------
    path
        The file. Nothing in it is ever executed: it holds arrays and JSON, no pickle.

    Raises
    ------
    TypeError
        For what is no path.
    ValueError
        For a file that is no landscape, a damaged one, and one of a newer format.
    OSError
        For a file that cannot be opened.

    Examples
    --------
    >>> import tempfile
    >>> from pathlib import Path
    >>> import landscape_widget as lw
    >>> from landscape_widget import examples
    >>> landscape = lw.compute(examples.toy_saddle(n=3, m=4), resolution=9)
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     landscape.save(Path(folder) / "saddle.npz")
    ...     again = lw.load(Path(folder) / "saddle.npz")
    >>> again.losses.shape, again.recipe.num_parameters
    ((9, 9), 7)
    """
    _check_path(path)
    expected = f"expected a landscape saved by Landscape.save, got {os.fspath(path)}, which is"
    with Path(path).open("rb") as file:
        try:
            # Whole members before any is parsed: the archive's checksums come first.
            with ZipFile(file) as archive:
                members = {name.removesuffix(".npy"): archive.read(name) for name in archive.namelist()}
        except _DAMAGE as error:
            what = "not one" if not file.seek(0) and file.read(4) != b"PK\x03\x04" else "damaged"
            raise ValueError(f"{expected} {what} ({_said(error)}); {_SAVE_AGAIN}") from error
    if "header" not in members:
        raise ValueError(f"{expected} not one (it has no header); {_SAVE_AGAIN}")
    try:
        arrays = {name: np.load(io.BytesIO(data), allow_pickle=False) for name, data in members.items()}
        header = json.loads(arrays.pop("header").tobytes().decode())
        newer = header["format_version"] > FORMAT_VERSION
        landscape = None if newer else _assembled(header, arrays)
    except _DAMAGE as error:
        raise ValueError(f"{expected} not one, or damaged ({_said(error)}); {_SAVE_AGAIN}") from error
    if landscape is None:
        raise ValueError(
            f"expected format version {FORMAT_VERSION} or older, got {header['format_version']}; upgrade landscape_widget"
        )
    return landscape


# What reading an archive, arrays and JSON that somebody else wrote or that were damaged can raise: NotImplementedError
# and RuntimeError for flags of the archive that were never set, the others for contents.
_DAMAGE = (
    *(AttributeError, BadZipFile, EOFError, KeyError, MemoryError, OSError, TypeError, ValueError),
    *(NotImplementedError, RuntimeError, SyntaxError, struct.error, zlib.error),
)
_SAVE_AGAIN = "save it again with landscape.save(path), or copy it again"


def _check_path(path: Any) -> None:
    if not isinstance(path, (str, os.PathLike)):
        raise TypeError(f"expected path as a str or a pathlib.Path, got {type(path).__name__}")


def _said(error: BaseException) -> str:
    return f"{type(error).__name__}: {error}"


def _assembled(header: Mapping[str, Any], arrays: Mapping[str, np.ndarray]) -> Landscape:
    """The landscape of a file's header and arrays; what is missing or wrong raises one of the builtin errors."""
    recipe = dict(header["recipe"])
    first, second = recipe["directions"]
    recipe["directions"] = tuple(
        Direction(**{**d, "vector": arrays.get(f"direction_{i}")}) for i, d in enumerate((first, second))
    )
    recipe["curvature"] = Curvature(**_tuples(recipe["curvature"])) if recipe["curvature"] else None
    return Landscape(
        **{name: arrays[name] for name in ("alphas", "betas", "losses", "measured")},
        recipe=Recipe(**_tuples(recipe)),
        critical=tuple(CriticalPoint(**point) for point in header["critical"]),
        error=PredictionError(**header["error"]),
        metrics={name: arrays[f"metric_{number}"] for number, name in enumerate(header.get("metrics", ()))},
        sem=arrays.get("sem"),
    )


def _frozen(array: Any, dtype: type) -> np.ndarray:
    """As an array that nobody writes to: a view, so that what came in stays writeable for whoever made it."""
    view = np.asarray(array, dtype=dtype).view()
    view.flags.writeable = False
    return view


def _plain(value: Any) -> Any:
    """A dataclass as JSON types, without copying θ-sized arrays."""
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {f.name: _plain(getattr(value, f.name)) for f in dataclasses.fields(value)}
    if isinstance(value, Mapping):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, np.generic):
        return value.item()
    return [_plain(item) for item in value] if isinstance(value, (tuple, list)) else value


def _tuples(mapping: Mapping[str, Any]) -> dict[str, Any]:
    return {key: tuple(value) if isinstance(value, list) else value for key, value in mapping.items()}
