"""Known answers: for each example at an exact critical point, the loss and the whole spectrum of its Hessian.

Functions of the same names and arguments as the problems: ``examples.toy_saddle(3, 4)`` is answered by
``examples.known.toy_saddle(3, 4)``. Everything follows from a formula; nothing is measured on the loss.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from numbers import Integral

import numpy as np
import numpy.typing as npt

from landscape_widget.examples.data import Floats, saddle_digits


@dataclass(frozen=True, eq=False)
class KnownAnswer:
    """What is exactly true at θ*, a critical point (∇L = 0).

    Parameters
    ----------
    loss
        L(θ*).
    eigenvalues
        All eigenvalues of the Hessian, (n,), largest first.
    """

    loss: float
    eigenvalues: Floats

    @property
    def index(self) -> int:
        """The number of negative eigenvalues."""
        return int((self.eigenvalues < 0).sum())

    @property
    def trace(self) -> float:
        """Tr(H)."""
        return math.fsum(self.eigenvalues)

    @property
    def frobenius_norm(self) -> float:
        """‖H‖_F."""
        return math.sqrt(math.fsum(self.eigenvalues**2))

    @property
    def s(self) -> float:
        """tr(H)/‖H‖_F; a random Gaussian plane shows a saddle with probability e^(−s²/4)/√2 if no eigenvalue dominates."""
        return self.trace / self.frobenius_norm


def quadratic(spectrum: npt.ArrayLike) -> KnownAnswer:
    """The eigenvalues that were asked for; L(θ*) = 0."""
    return KnownAnswer(loss=0.0, eigenvalues=_descending(check_spectrum(spectrum)))


def toy_saddle(n: int, m: int) -> KnownAnswer:
    """Eigenvalues +1 (m times), 0, −1 (2n − m times); s = (2m − 2n)/√(2n); L(θ*) = 0."""
    check_toy_size(n, m)
    return KnownAnswer(loss=0.0, eigenvalues=np.repeat([1.0, 0.0, -1.0], [m, 1, 2 * n - m]))


def digits_saddle() -> KnownAnswer:
    """Index 144 of 1,210, λ_max = −λ_min = 0.2409, s = 0.351; L(θ*) is the entropy of the class frequencies.

    With p the class frequencies, y the one-hot labels and σ_r the nine singular values of M = mean[(p − y) xᵀ],
    (10, 64): of the second derivatives only those between an output weight and a hidden weight of the same hidden
    unit (M, for each of the 16 units) and those between two output biases (diag(p) − ppᵀ) are not zero. So the
    eigenvalues are ±σ_r, each 16 times, the nine positive eigenvalues of diag(p) − ppᵀ, and zeros.
    """
    digits = saddle_digits()
    one_hot = np.eye(10)[digits.labels]
    p = one_hot.mean(axis=0)
    mixed = (p - one_hot).T @ digits.images / len(digits.labels)
    # Both matrices have rank 9, as p − y sums to zero over the classes: their last value is zero but for round-off.
    singular = np.linalg.svd(mixed, compute_uv=False)[:9]
    biases = np.linalg.eigvalsh(np.diag(p) - np.outer(p, p))[1:]
    nonzero = np.concatenate([np.repeat(singular, 16), np.repeat(-singular, 16), biases])
    return KnownAnswer(
        loss=-float(p @ np.log(p)), eigenvalues=_descending(np.concatenate([nonzero, np.zeros(1210 - len(nonzero))]))
    )


def check_spectrum(spectrum: npt.ArrayLike | Sequence[float]) -> Floats:
    """Return the spectrum as float64 (n,), or raise ValueError."""
    try:
        values = np.asarray(spectrum, dtype=np.float64)
    except (TypeError, ValueError):
        values = np.empty(0)
    if values.ndim != 1 or not len(values) or not np.isfinite(values).all():
        raise ValueError(
            f"expected spectrum as a list of finite eigenvalues, such as [2.0, 1.0, -0.5], got {spectrum!r}"
        )
    return values


def check_toy_size(n: int, m: int) -> None:
    """Raise TypeError unless n and m are integers, ValueError unless 1 ≤ n and 0 ≤ m ≤ 2n."""
    for name, value in (("n", n), ("m", m)):
        if isinstance(value, bool) or not isinstance(value, Integral):
            raise TypeError(f"expected {name} as an integer, got {value!r}; 2n + 1 is the number of parameters")
    if n < 1 or not 0 <= m <= 2 * n:
        raise ValueError(
            f"expected n ≥ 1 and 0 ≤ m ≤ 2n, got n = {n}, m = {m}; m of the 2n curvatures are +1, the others −1"
        )


def _descending(values: npt.ArrayLike) -> Floats:
    return np.sort(np.asarray(values, dtype=np.float64))[::-1]
