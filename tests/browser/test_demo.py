"""The demo as somebody gets it who installed the wheel: `landscape-widget demo`."""

from __future__ import annotations

import socket
import subprocess
import sys
import zipfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from harness import Surface, free_port, jupyter_environment, running
from playwright.sync_api import Page

ROOT = Path(__file__).parents[2]


@pytest.fixture
def installed(tmp_path: Path) -> Path:
    """A folder with the wheel's contents, which is found before the source tree."""
    subprocess.run(
        [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(tmp_path / "dist")], cwd=ROOT, check=True
    )
    with zipfile.ZipFile(next((tmp_path / "dist").glob("*.whl"))) as archive:
        archive.extractall(tmp_path / "installed")
    return tmp_path / "installed"


@pytest.fixture
def address(installed: Path, tmp_path: Path, page: Page) -> Iterator[str]:
    port = free_port()
    env = jupyter_environment(tmp_path) | {"PYTHONPATH": str(installed)}
    code = "import sys, landscape_widget.cli as cli; print(cli.__file__, flush=True); sys.exit(cli.main())"
    command = [sys.executable, "-P", "-c", code, "demo", "--no-browser", "--port", str(port)]
    address = f"http://127.0.0.1:{port}/"
    log = tmp_path / "demo.log"
    with running(command, env, address, "voila/static/voila.js", log) as process:
        yield address
        for tab in page.context.pages:  # first, or they would complain that the server is gone
            tab.close()
        said = log.read_text()
        assert said.startswith(str(installed))
        assert address in said
    assert process.returncode == 128 + 15
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection(("127.0.0.1", port))


def test_the_demo_shows_one_network_after_the_other(address: str, page: Page):
    page.goto(address)
    surface = Surface(page)
    surface.wait("data.measured >= 25 && data.painted === data.epoch")
    assert page.locator("h1").inner_text().startswith("The loss landscape")

    networks = page.get_by_label("Network")
    parameters = surface.tell("widget.state.grid.header.theta_norm")
    networks.select_option(index=1)
    page.wait_for_function(
        """before => {
            const roots = [...document.querySelectorAll(".lw")];
            const grid = roots.at(-1)?.landscapeWidget?.state.grid;
            return roots.length === 1 && grid && grid.header.theta_norm !== before;
        }""",
        arg=parameters,
    )
    Surface(page).wait("data.measured >= 25 && data.painted === data.epoch")
