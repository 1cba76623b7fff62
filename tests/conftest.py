"""What all tests share."""

from __future__ import annotations

import hypothesis
import pytest

# No test depends on how fast the machine is, and a failure in CI can be repeated anywhere.
hypothesis.settings.register_profile("landscape_widget", deadline=None, derandomize=True, print_blob=True)
hypothesis.settings.load_profile("landscape_widget")


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Run a test that asks for `device` on every kind of device there is."""
    if "device" in metafunc.fixturenames:
        import torch

        metafunc.parametrize("device", ["cpu", *(["cuda"] if torch.cuda.is_available() else [])])
