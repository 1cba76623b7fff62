"""Problems to look at: small networks trained on real data, and losses whose answer is known exactly.

Each function returns a `Problem`, ready for `explore`. Where the spectrum of the Hessian is known exactly, the function
of the same name and arguments in `known` returns it.

========================  ============================================================  ======
function                  what it shows                                                 n
========================  ============================================================  ======
`digits_mlp`              a trained tanh network                                        8,970
`digits_mlp_early`        the same run stopped early: negative curvature                8,970
`digits_cnn`              a trained convolutional network, smooth                       5,210
`digits_cnn_early`        the same run stopped early: negative curvature                5,210
`digits_cnn_relu`         its twin with kinks, where the Hessian misses what one sees   5,210
`digits_saddle`           an exact saddle on real data; known spectrum                  1,210
`regression`              a tanh network fitted to a smooth function of one variable    321
`toy_saddle`              Böttcher and Wheeler's saddle of any size; known spectrum     2n + 1
`quadratic`               any spectrum                                                  any
========================  ============================================================  ======

The digits come with scikit-learn (``pip install landscape-widget[app]``); nothing is downloaded. The data of a problem
are the training split, `data.digits_split`; `recipes.trained` returns the networks themselves.

Examples
--------
>>> from landscape_widget import examples
>>> problem = examples.toy_saddle(n=3, m=4)
>>> problem.num_parameters, problem.loss()
(7, 0.0)
>>> examples.known.toy_saddle(n=3, m=4).eigenvalues
array([ 1.,  1.,  1.,  1.,  0., -1., -1.])
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import torch
from torch import nn

from landscape_widget.engine.arguments import check_seed
from landscape_widget.engine.problem import Problem
from landscape_widget.examples import data, known, networks, recipes
from landscape_widget.keywords import hinted

__all__ = [
    "digits_cnn",
    "digits_cnn_early",
    "digits_cnn_relu",
    "digits_mlp",
    "digits_mlp_early",
    "digits_saddle",
    "known",
    "quadratic",
    "regression",
    "toy_saddle",
]

Device = torch.device | str | None


@hinted
def digits_mlp(*, device: Device = None) -> Problem:
    """A tanh network, 64-64-64-10, trained on 1,437 handwritten digits with cross-entropy; n = 8,970.

    Test accuracy 96 %. The gradient is small but not zero, and the spectrum still has a small negative end.
    """
    return _digits("digits_mlp", device)


@hinted
def digits_mlp_early(*, device: Device = None) -> Problem:
    """`digits_mlp` after 60 of its 500 steps: negative curvature at a point that is not stationary."""
    return _digits("digits_mlp_early", device)


@hinted
def digits_cnn(*, device: Device = None) -> Problem:
    """A convolutional network with SiLU and average pooling, trained on the digits; n = 5,210.

    Test accuracy 96 %. Smooth, so its Hessian describes the slice that one sees.
    """
    return _digits("digits_cnn", device)


@hinted
def digits_cnn_early(*, device: Device = None) -> Problem:
    """`digits_cnn` after 150 of its 600 steps: negative curvature at a point that is not stationary."""
    return _digits("digits_cnn_early", device)


@hinted
def digits_cnn_relu(*, device: Device = None) -> Problem:
    """The twin of `digits_cnn` with ReLU and max-pooling; n = 5,210.

    The loss is smooth only between kinks, and there are kinks within any visible step: vᵀHv along a Hessian direction
    can even have another sign than the curvature of the slice.
    """
    return _digits("digits_cnn_relu", device)


@hinted
def digits_saddle(*, dtype: torch.dtype = torch.float64, device: Device = None) -> Problem:
    """An exact saddle on real data, without training: index 144 of n = 1,210, λ = ±0.2409, s = 0.351.

    A tanh network, 64-16-10, with all weights and hidden biases zero and output biases log(class frequency), and the
    first 1,400 digits with cross-entropy. It answers every image with the class frequencies, so the gradient of the
    output biases vanishes, and that of the weights does because every factor beside it is zero: ∇L = 0 up to round-off.

    See Also
    --------
    known.digits_saddle : the whole spectrum.
    """
    digits = data.saddle_digits()
    with torch.device("meta"):
        network = networks.DigitsOneHidden()
    network = network.to(dtype).to_empty(device="cpu")
    frequencies = np.bincount(digits.labels) / len(digits.labels)
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.zero_()
        network.scores.bias.copy_(torch.from_numpy(np.log(frequencies)))
    return Problem(network, nn.CrossEntropyLoss(), (digits.images, digits.labels), device=device)


@hinted
def regression(*, device: Device = None) -> Problem:
    """A tanh network, 1-16-16-1, fitted with MSE to 200 points of sin(3x)·exp(−x²/2), `data.wave`; n = 321."""
    return Problem(recipes.trained("regression"), nn.MSELoss(), data.wave_samples(), device=device)


@hinted
def toy_saddle(n: int, m: int, *, dtype: torch.dtype = torch.float64, device: Device = None) -> Problem:
    """The toy loss of Böttcher and Wheeler (2024, arXiv:2208.13219): m curvatures of +1, 2n − m of −1, and one of 0.

    L(θ) = ½ θ_N (Σ_{i≤m} θ_i² − Σ_{m<i≤2n} θ_i²) with N = 2n + 1 parameters, at θ* = (0, …, 0, 1). On any plane, exactly,
    f(α, β) = ½ (1 + α d₁,N + β d₂,N)(Aα² + 2Bαβ + Cβ²) with A = d₁ᵀHd₁, B = d₁ᵀHd₂, C = d₂ᵀHd₂. With m > n a random plane
    tends to show a minimum where there is a saddle: s = (2m − 2n)/√(2n).

    Raises
    ------
    TypeError, ValueError
        Unless n and m are integers with 1 ≤ n and 0 ≤ m ≤ 2n.

    See Also
    --------
    known.toy_saddle : the whole spectrum.
    """
    known.check_toy_size(n, m)
    return Problem(networks.ToySaddle(n, m, dtype), networks.own_value, None, device=device)


@hinted
def quadratic(
    spectrum: npt.ArrayLike,
    *,
    rotation_seed: int | None = None,
    dtype: torch.dtype = torch.float64,
    device: Device = None,
) -> Problem:
    """The loss ½ θᵀAθ at θ* = 0, where A has the eigenvalues `spectrum`.

    Parameters
    ----------
    spectrum
        Eigenvalues, (n,), in any order. Eigenvectors are the coordinate axes in the same order.
    rotation_seed
        Turn the eigenvectors by a random rotation of this seed. It is kept as a dense matrix, (n, n): for n up to a
        few thousand.

    Raises
    ------
    TypeError, ValueError
        For a spectrum that is no list of finite numbers, and a seed that is none.

    See Also
    --------
    known.quadratic : the spectrum in descending order, with its trace, index and s.
    """
    values = known.check_spectrum(spectrum)
    rotation = None
    if rotation_seed is not None:
        check_seed(rotation_seed)
        gaussian = np.random.default_rng(rotation_seed).standard_normal((len(values), len(values)))
        rotation = torch.from_numpy(np.linalg.qr(gaussian).Q).to(dtype)
    return Problem(
        networks.Quadratic(torch.tensor(values, dtype=dtype, device="cpu"), rotation),
        networks.own_value,
        None,
        device=device,
    )


def _digits(name: str, device: Device) -> Problem:
    samples = recipes.RECIPES[name].samples()
    return Problem(recipes.trained(name), nn.CrossEntropyLoss(), samples, device=device)
