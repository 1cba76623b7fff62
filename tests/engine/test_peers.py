"""Products, both ends of the spectrum and the trace against other tools, on the same model, loss and data."""

from __future__ import annotations

import copy
import warnings
from collections.abc import Callable

import numpy as np
import pytest
import torch
from scipy.sparse.linalg import eigsh
from torch import Tensor, nn

from landscape_widget import Hessian, frobenius_norm, hessian_directions, spectral_density, trace

from .problems import Case, batches, dense_hessian

with warnings.catch_warnings():
    # linear_operator scripts functions at import.
    warnings.filterwarnings("ignore", "`torch.jit", DeprecationWarning)
    import curvlinops
    import hessian_eigenthings

# Forward mode, by which curvlinops multiplies, scripts its decompositions on first use.
pytestmark = pytest.mark.filterwarnings("ignore:`torch.jit:DeprecationWarning")

CRITERION = nn.CrossEntropyLoss()


def small_digits_mlp() -> tuple[nn.Module, Tensor, Tensor]:
    """16-8-4, tanh, on noisy images of four classes; n = 172."""
    x, y = noisy_classes(4, (16,))
    return nn.Sequential(nn.Linear(16, 8), nn.Tanh(), nn.Linear(8, 4)), x, y


def small_conv_net() -> tuple[nn.Module, Tensor, Tensor]:
    """Convolution, BatchNorm with statistics of its own, GELU, pooling; n = 127.

    Not SiLU: torch differentiates its derivative in reverse mode only, which curvlinops does not use.
    """
    x, y = noisy_classes(3, (1, 6, 6))
    model = nn.Sequential(
        *(nn.Conv2d(1, 4, 3, bias=False), nn.BatchNorm2d(4), nn.GELU(), nn.AvgPool2d(2)),
        *(nn.Conv2d(4, 4, 2), nn.GELU(), nn.Flatten(), nn.Linear(4, 3)),
    )
    model.train()(3 * x + 1)
    return model, x, y


def noisy_classes(classes: int, shape: tuple[int, ...]) -> tuple[Tensor, Tensor]:
    """60 samples around one random image for each class."""
    labels = torch.arange(60) % classes
    return torch.randn(classes, *shape)[labels] + 0.5 * torch.randn(60, *shape), labels


NETWORKS = [small_digits_mlp, small_conv_net]


def case_in_batches(make: Callable[[], tuple[nn.Module, Tensor, Tensor]], size: int) -> Case:
    """The network in float64 after a few steps of training, in eval mode; 60 samples in batches."""
    before = torch.get_default_dtype()
    with torch.random.fork_rng(devices=()):
        torch.manual_seed(1)
        torch.set_default_dtype(torch.float64)
        try:
            model, x, y = make()
        finally:
            torch.set_default_dtype(before)
    model.eval()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.3)
    for _ in range(20):
        optimizer.zero_grad()
        CRITERION(model(x), y).backward()
        optimizer.step()
    optimizer.zero_grad()
    return Case(model, CRITERION, batches((x, y), size), lambda m: CRITERION(m(x), y))


def curvlinops_hessian(case: Case) -> curvlinops.HessianLinearOperator:
    model = copy.deepcopy(case.model)
    return curvlinops.HessianLinearOperator(model, CRITERION, list(model.parameters()), case.data)


def eigenthings_hessian(case: Case) -> hessian_eigenthings.HessianOperator:
    return hessian_eigenthings.HessianOperator(
        copy.deepcopy(case.model), case.data, hessian_eigenthings.supervised_loss(CRITERION)
    )


@pytest.mark.parametrize("make", NETWORKS)
def test_products_agree_with_curvlinops_on_ragged_batches(make: Callable) -> None:
    """Batches of 25, 25 and 10: the Hessian of the mean over all samples, not of the mean over batches."""
    case = case_in_batches(make, 25)
    H, dense = Hessian(case.problem()), dense_hessian(case)
    V = torch.randn(3, len(dense), dtype=dense.dtype, generator=torch.Generator().manual_seed(2))
    torch.testing.assert_close(H @ V, V @ dense, rtol=1e-9, atol=1e-12)
    torch.testing.assert_close(H @ V, (curvlinops_hessian(case) @ V.T).T, rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("make", NETWORKS)
def test_products_agree_with_hessian_eigenthings_on_equal_batches(make: Callable) -> None:
    """It averages over batches whatever their size, so that its Hessian is that of the mean only where all are equal."""
    case = case_in_batches(make, 20)
    H, theirs = Hessian(case.problem()), eigenthings_hessian(case)
    V = torch.randn(3, H.shape[0], dtype=torch.float64, generator=torch.Generator().manual_seed(2))
    torch.testing.assert_close(H @ V, torch.stack([theirs @ v for v in V]), rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("make", NETWORKS)
def test_both_ends_agree_with_eigsh_over_curvlinops(make: Callable) -> None:
    case = case_in_batches(make, 25)
    pairs = hessian_directions(case.problem(), k=2, tol=1e-8)
    v0 = np.random.default_rng(3).standard_normal(pairs.largest.vectors.shape[1])
    values, vectors = eigsh(curvlinops_hessian(case).to_scipy(), k=4, which="BE", v0=v0, tol=1e-10)
    np.testing.assert_allclose(pairs.smallest.values, values[:2], rtol=1e-8)
    np.testing.assert_allclose(pairs.largest.values, values[:1:-1], rtol=1e-8)
    ours = torch.cat([pairs.smallest.vectors, pairs.largest.vectors.flip(0)]).numpy()
    np.testing.assert_allclose(np.abs((ours * vectors.T).sum(1)), 1, atol=1e-6)
    assert values[0] < 0 < values[-1]


@pytest.mark.parametrize("make", NETWORKS)
@pytest.mark.parametrize(("which", "end"), [("LA", "largest"), ("SA", "smallest")])
def test_both_ends_agree_with_the_lanczos_of_hessian_eigenthings(make: Callable, which: str, end: str) -> None:
    case = case_in_batches(make, 20)
    ours = getattr(hessian_directions(case.problem(), k=2, tol=1e-8), end)
    theirs = hessian_eigenthings.lanczos(
        eigenthings_hessian(case), k=2, max_iter=120, which=which, reorthogonalize=True, seed=0
    )
    assert theirs.converged.all()
    np.testing.assert_allclose(ours.values, theirs.eigenvalues.numpy(), rtol=1e-6)
    np.testing.assert_allclose((ours.vectors * theirs.eigenvectors).sum(1).abs().numpy(), 1, atol=1e-6)


@pytest.mark.parametrize("make", NETWORKS)
def test_trace_agrees_exactly_over_the_same_probes_and_within_the_error_of_hutch_plus_plus(make: Callable) -> None:
    case = case_in_batches(make, 20)
    H = Hessian(case.problem())
    trace = float(torch.trace(H @ torch.eye(H.shape[0], dtype=torch.float64)))
    assert trace == pytest.approx(float(torch.trace(dense_hessian(case))), rel=1e-9)
    ours = hessian_eigenthings.LambdaOperator(lambda v: H @ v, size=H.shape[0], dtype=torch.float64)
    theirs = eigenthings_hessian(case)
    same = [hessian_eigenthings.hutchinson(A, num_samples=20, seed=4).samples for A in (ours, theirs)]
    torch.testing.assert_close(*same, rtol=1e-9, atol=1e-12)
    estimate = hessian_eigenthings.trace(theirs, num_matvecs=90, method="hutch++", seed=4)
    assert abs(trace - estimate.estimate) <= 4 * estimate.stderr
    # curvlinops draws from the global generator.
    with torch.random.fork_rng(devices=()):
        torch.manual_seed(5)
        sketched = curvlinops.hutchpp_trace(curvlinops_hessian(case), num_matvecs=90)
    assert abs(trace - float(sketched)) <= 4 * estimate.stderr


@pytest.mark.parametrize("make", NETWORKS)
@pytest.mark.parametrize("method", ["hutchinson", "hutch++"])
def test_our_estimates_lie_within_their_errors_of_what_curvlinops_multiplies(make: Callable, method: str) -> None:
    case = case_in_batches(make, 20)
    n = Hessian(case.problem()).shape[0]
    theirs = torch.as_tensor(curvlinops_hessian(case) @ torch.eye(n, dtype=torch.float64))
    ours = trace(case.problem(), 120, method=method, seed=2)
    assert abs(ours.mean - float(theirs.trace())) <= 4 * ours.sem
    norm = frobenius_norm(case.problem(), 120, method=method, seed=2)
    assert abs(norm.mean - float(theirs.norm())) <= 4 * norm.sem


def test_the_density_counts_the_eigenvalues_of_the_matrix_that_curvlinops_multiplies() -> None:
    case = case_in_batches(small_digits_mlp, 20)
    n = Hessian(case.problem()).shape[0]
    theirs = torch.as_tensor(curvlinops_hessian(case) @ torch.eye(n, dtype=torch.float64))
    values = torch.linalg.eigvalsh((theirs + theirs.T) / 2).numpy()
    density = spectral_density(case.problem(), num_probes=16, num_steps=60, seed=1)
    for moment in (1, 2):
        estimate = density.integral(lambda x, moment=moment: x**moment)
        assert abs(estimate.mean - np.mean(values**moment)) <= 4 * estimate.sem
    cut = 0.1 * values[-1]
    above = density.integral(lambda x: x > cut)
    assert abs(above.mean - np.mean(values > cut)) <= 4 * above.sem + 1 / n
