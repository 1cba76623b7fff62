"""A real JupyterLab, a real Voila and a real Chromium, driven from a test, within this machine."""

from __future__ import annotations

import contextlib
import io
import json
import os
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import nbformat
import numpy as np
from PIL import Image
from playwright.sync_api import BrowserContext, ConsoleMessage, Locator, Page

TOKEN = "test"
PATIENCE_MS = 180_000  # how long a page may take to do what a test waits for; a limit, never an expectation

# WebGL without a GPU, and none of the browser's own calls to the outside.
CHROMIUM_ARGUMENTS = [
    "--no-sandbox",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--use-angle=swiftshader",
    "--enable-unsafe-swiftshader",
]


# ------------------------------------------------------------------------------------------ servers


@dataclass(frozen=True)
class Server:
    """A server that answers at `address`, reads its notebooks from `folder` and writes what happens to `log`."""

    address: str
    folder: Path
    log: Path

    def write_notebook(self, name: str, cells: list[str]) -> Path:
        """Write a notebook with these code cells."""
        notebook = nbformat.v4.new_notebook(
            cells=[nbformat.v4.new_code_cell(cell) for cell in cells],
            metadata={
                "kernelspec": {"name": "python3", "display_name": "Python 3", "language": "python"},
                "language_info": {"name": "python"},
            },
        )
        path = self.folder / name
        nbformat.write(notebook, path)
        return path

    def end_sessions(self) -> None:
        """End every kernel, so that no test computes into the next one."""
        for session in json.loads(self.ask("GET", "api/sessions") or "[]"):
            with contextlib.suppress(urllib.error.HTTPError):  # it may have ended by itself meanwhile
                self.ask("DELETE", f"api/sessions/{session['id']}")

    def ask(self, method: str, path: str) -> bytes:
        """Send a request to the server's REST interface."""
        request = urllib.request.Request(self.address + path, method=method)
        request.add_header("Authorization", f"token {TOKEN}")
        with urllib.request.urlopen(request, timeout=60) as answer:
            return answer.read()


@contextlib.contextmanager
def lab_server(folder: Path) -> Iterator[Server]:
    """Run JupyterLab on an empty folder."""
    notebooks = folder / "notebooks"
    notebooks.mkdir()
    port = free_port()
    command = [
        *(sys.executable, "-m", "jupyterlab", "--no-browser", "--allow-root"),
        *("--ip=127.0.0.1", f"--port={port}", "--ServerApp.port_retries=0"),
        *(f"--ServerApp.root_dir={notebooks}", f"--IdentityProvider.token={TOKEN}"),
        "--LabApp.expose_app_in_browser=True",
    ]
    address, log = f"http://127.0.0.1:{port}/", folder / "lab.log"
    with running(command, jupyter_environment(folder), address, "api", log):
        yield Server(address, notebooks, log)


@contextlib.contextmanager
def voila_server(folder: Path, *options: str, notebooks: Mapping[str, list[str]] | None = None) -> Iterator[Server]:
    """Run Voila on a folder with some notebooks (name: cells); one in it is served at voila/render/NAME."""
    root = folder / "notebooks"
    root.mkdir()
    port = free_port()
    command = [
        *(sys.executable, "-m", "voila", str(root), "--no-browser", "--Voila.ip=127.0.0.1"),
        *(f"--port={port}", "--Voila.port_retries=0", *options),
    ]
    address, log = f"http://127.0.0.1:{port}/", folder / "voila.log"
    server = Server(address, root, log)
    for name, cells in (notebooks or {}).items():
        server.write_notebook(name, cells)
    with running(command, jupyter_environment(folder), address, "voila/static/voila.js", log):
        yield server


@contextlib.contextmanager
def running(command: list[str], env: dict[str, str], address: str, probe: str, log: Path) -> Iterator[subprocess.Popen]:
    """Run a server until the block ends; enter the block when it answers at `address + probe`."""
    with log.open("w") as output:
        process = subprocess.Popen(
            command,
            env=env,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
    try:
        wait_until_served(process, address + probe, log)
        yield process
    finally:
        stop(process)


def wait_until_served(process: subprocess.Popen, url: str, log: Path) -> None:
    """Return when `url` answers; fail with the server's own words if it ends before."""
    deadline = time.monotonic() + PATIENCE_MS / 1000
    while True:
        if process.poll() is not None or time.monotonic() > deadline:
            raise RuntimeError(f"{url} is not served:\n{log.read_text()[-4000:]}")
        try:
            with urllib.request.urlopen(url, timeout=5):
                return
        except (urllib.error.URLError, TimeoutError, ConnectionError):
            time.sleep(0.1)


def stop(process: subprocess.Popen) -> None:
    """End a server, which ends its kernels; if it does not, end its whole process group."""
    if process.poll() is None:
        process.send_signal(signal.SIGTERM)
        try:
            process.wait(20)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()


def free_port() -> int:
    """Return a port that nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def jupyter_environment(folder: Path) -> dict[str, str]:
    """Environment in which Jupyter finds no settings of the person who runs the tests, and leaves none."""
    private = {
        "JUPYTER_CONFIG_DIR": "config",
        "JUPYTER_DATA_DIR": "data",
        "JUPYTER_RUNTIME_DIR": "runtime",
        "JUPYTERLAB_SETTINGS_DIR": "settings",
        "JUPYTERLAB_WORKSPACES_DIR": "workspaces",
        "IPYTHONDIR": "ipython",
    }
    paths = {name: folder / "jupyter" / leaf for name, leaf in private.items()}
    for path in paths.values():
        path.mkdir(parents=True, exist_ok=True)
    # Without this JupyterLab asks whether it may fetch news, in a box above the notebook.
    news = paths["JUPYTERLAB_SETTINGS_DIR"] / "@jupyterlab/apputils-extension/notification.jupyterlab-settings"
    news.parent.mkdir(parents=True, exist_ok=True)
    news.write_text(json.dumps({"fetchNews": "false", "checkForUpdates": False}))
    return {
        **os.environ,
        **{name: str(path) for name, path in paths.items()},
        # The kernel's command line is a plain "python".
        "PATH": os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]]),
        # Kernel, server and a browser that draws in software share the processor's cores.
        "OMP_NUM_THREADS": "1",
    }


# ------------------------------------------------------------------------------------------ browser


@dataclass
class Witness:
    """What the pages of a browser context complained about and asked of the outside."""

    errors: list[str] = field(default_factory=list)
    outside: list[str] = field(default_factory=list)
    console: list[str] = field(default_factory=list)

    def watch(self, context: BrowserContext) -> None:
        """Listen to every page of `context`, and let none of them reach beyond this machine."""
        context.on("weberror", lambda error: self.errors.append(str(error.error)))
        context.on("console", self.hear)
        context.route(lambda url: not is_local(url), self.refuse)

    def hear(self, message: ConsoleMessage) -> None:
        """Keep what is said, and among the errors all but the browser's own about what was refused."""
        self.console.append(f"{message.type}: {message.text} ({message.location['url']})")
        if message.type == "error" and is_local(message.location["url"] or "data:"):
            self.errors.append(f"{message.text} ({message.location['url']})")

    def refuse(self, route) -> None:
        """Refuse a request to the outside and remember it."""
        self.outside.append(route.request.url)
        route.abort()


def is_local(url: str) -> bool:
    """Whether a page gets `url` without leaving this machine."""
    return url.startswith(("http://127.0.0.1:", "ws://127.0.0.1:", "data:", "blob:", "about:"))


class LabPage:
    """One browser tab with one notebook in JupyterLab, driven through JupyterLab's own commands."""

    def __init__(self, page: Page, server: Server, notebook: str, workspace: str = "test") -> None:
        self.page = page
        self.server = server
        # `token` logs in, `reset` forgets the layout of the test before.
        page.goto(f"{server.address}lab/workspaces/{workspace}/tree/{notebook}?token={TOKEN}&reset")
        self.wait_until_ready()

    def wait_until_ready(self) -> None:
        """Return when the notebook is open and its kernel idle."""
        self.page.wait_for_function("() => window.jupyterapp?.restored")
        self.page.evaluate("() => window.jupyterapp.restored.then(() => true)")
        self.page.wait_for_selector(".jp-Notebook .jp-Cell")
        self.page.wait_for_function(
            "() => window.jupyterapp.shell.currentWidget?.sessionContext?.session?.kernel?.status === 'idle'"
        )

    def run(self, cell: int) -> str:
        """Run a cell, wait until it is done and return what it printed; fail if it raises."""
        self.start(cell)
        return self.finish(cell)

    def start(self, cell: int) -> None:
        """Run a cell without waiting for it."""
        self.page.evaluate(
            """cell => {
                const app = window.jupyterapp;
                app.shell.currentWidget.content.activeCellIndex = cell;
                window.lastRun = app.commands.execute("notebook:run-cell");
            }""",
            cell,
        )

    def finish(self, cell: int) -> str:
        """Wait until the cell that was started last is done and return what it printed; fail if it raised."""
        outputs = self.page.evaluate(
            """async cell => {
                await window.lastRun;
                return window.jupyterapp.shell.currentWidget.content.widgets[cell].model.outputs.toJSON();
            }""",
            cell,
        )
        for output in outputs:
            if output["output_type"] == "error":
                raise AssertionError("\n".join(output["traceback"]))
        said = [output.get("text") or output.get("data", {}).get("text/plain", "") for output in outputs]
        return "".join(said).strip()

    def num_cells(self) -> int:
        """Return how many cells the notebook has."""
        return self.page.evaluate("() => window.jupyterapp.shell.currentWidget.content.widgets.length")

    def save(self) -> None:
        """Save the notebook: another tab, or this one after a reload, opens what was saved."""
        self.page.evaluate("() => window.jupyterapp.commands.execute('docmanager:save').then(() => true)")

    def reload(self) -> None:
        """Save, reload the page and wait until it is connected to the same kernel again."""
        self.save()
        self.page.reload()
        self.wait_until_ready()

    def second_tab(self) -> LabPage:
        """Save and open the same notebook, with the same kernel, in another tab."""
        self.save()
        notebook = self.page.evaluate("() => window.jupyterapp.shell.currentWidget.context.path")
        return LabPage(self.page.context.new_page(), self.server, notebook, workspace="second")

    def run_until(self, cell: int, wanted: str) -> None:
        """Run a cell again and again until it prints `wanted`: what a page asks for arrives some time later."""
        deadline = time.monotonic() + PATIENCE_MS / 1000
        while (said := self.run(cell)) != wanted:
            if time.monotonic() > deadline:
                raise AssertionError(f"cell {cell}: expected {wanted!r}, got {said!r}")
            self.page.wait_for_timeout(50)

    def wait_for_file(self, path: Path) -> None:
        """Return when a file is there: a sign from a cell that is still running."""
        deadline = time.monotonic() + PATIENCE_MS / 1000
        while not path.exists():
            if time.monotonic() > deadline:
                raise AssertionError(f"no cell has made {path}")
            self.page.wait_for_timeout(20)

    def set_theme(self, name: str) -> None:
        """Change JupyterLab's theme, for example to "JupyterLab Dark"."""
        self.page.evaluate(
            """async theme => {
                await window.jupyterapp.commands.execute("apputils:change-theme", { theme });
            }""",
            name,
        )
        self.page.wait_for_function("theme => document.body.dataset.jpThemeName === theme", arg=name)


class Surface:
    """A landscape widget on a page, as its root element tells of itself in data attributes and `landscapeWidget`."""

    def __init__(self, page: Page, index: int = 0) -> None:
        self.page = page
        self.root: Locator = page.locator(".lw").nth(index)
        self.canvas: Locator = self.root.locator(".lw-canvas")

    def control(self, name: str) -> Locator:
        """Return a slider, button, check box or list by its name."""
        return self.root.locator(f'[data-control="{name}"]')

    def press(self, control: str, *keys: str) -> None:
        """Move to a control and press keys there."""
        self.control(control).focus()
        for key in keys:
            self.page.keyboard.press(key)

    def tell(self, what: str) -> Any:
        """Return a JavaScript expression of `widget`, which is the root's property `landscapeWidget`."""
        return self.root.evaluate(f"root => {{ const widget = root.landscapeWidget; return {what}; }}")

    def heights(self) -> np.ndarray:
        """Return the loss over the middle's, (betas, alphas), as it is drawn; NaN where nothing is."""
        grid = self.tell(
            """(({ rows, columns, heights, states }) =>
                ({ rows, columns, heights: [...heights], states: [...states] }))(widget.state.grid)"""
        )
        heights, states = np.array(grid["heights"], dtype=float), np.array(grid["states"])
        return np.where(np.isin(states, [0, 3]), np.nan, heights).reshape(grid["rows"], grid["columns"])

    def pixels(self) -> np.ndarray:
        """Return the picture as it is on the screen, (height, width, 3)."""
        return np.asarray(Image.open(io.BytesIO(self.canvas.screenshot())).convert("RGB"))

    def data(self) -> dict[str, str]:
        """Return all data attributes of the root."""
        return self.root.evaluate("root => ({ ...root.dataset })")

    def wait(self, condition: str) -> dict[str, Any]:
        """Wait until a JavaScript condition on `data`, the root's attributes, holds, and return them.

        What looks like a number is one.
        """
        try:
            self.root.wait_for(state="attached")
            seen = self.page.wait_for_function(
                """([root, condition]) => {
                    const number = text => (text.trim() !== "" && !isNaN(text) ? Number(text) : text);
                    const entries = Object.entries(root.dataset).map(([name, text]) => [name, number(text)]);
                    const data = Object.fromEntries(entries);
                    return new Function("data", `return ${condition}`)(data) && data;
                }""",
                arg=[self.root.element_handle(), condition],
            )
        except Exception as error:
            shown = self.root.inner_text() if self.root.count() else self.page.inner_text("body")
            error.add_note(
                f"waited for: {condition}\nthe widget: {self.data() if self.root.count() else 'none'}\n{shown}"
            )
            raise
        return seen.json_value()

    def wait_until_done(self, condition: str = "true") -> dict[str, Any]:
        """Wait until the survey is done and on the screen."""
        return self.wait(f"data.status === 'done' && data.painted === data.epoch && ({condition})")
