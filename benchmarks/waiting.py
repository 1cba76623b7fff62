"""How long a person waits: for the import, for the first surface in JupyterLab, and for that of `make demo`.

    python benchmarks/waiting.py [repeats]

Needs what `make test` installs. Every figure is a median over fresh processes or kernels. The time to the
first surface ends with the first frame that has a drawn triangle; examples are made and their weights read in it, torch is imported
before.
"""

from __future__ import annotations

import gzip
import json
import platform
import re
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

ROOT = Path(__file__).parent.parent
sys.path.insert(0, str(ROOT / "tests" / "browser"))

import chromium
from harness import CHROMIUM_ARGUMENTS, PATIENCE_MS, LabPage, Server, Surface, lab_server, stop
from playwright.sync_api import Browser, sync_playwright

EXAMPLES = ("digits_mlp", "digits_mlp_early", "digits_cnn", "digits_cnn_early", "digits_saddle")
_IMPORT = "import sys, time; t = time.perf_counter(); import landscape_widget; print(time.perf_counter() - t, 'torch' in sys.modules)"


def main() -> None:
    """Print the table."""
    repeats = int(sys.argv[1]) if len(sys.argv) > 1 else 3
    print(
        f"{platform.machine()}, {platform.python_implementation()} {platform.python_version()}, median of {repeats}\n"
    )
    torch_loaded = "torch loaded" if _torch_loaded() else "torch not loaded"
    row("import landscape_widget", f"{_median(import_seconds, repeats):.3f} s ({torch_loaded})")
    bundle = (ROOT / "landscape_widget/view/static/widget.js").read_bytes()
    row("bundle", f"{len(bundle) / 1e3:.0f} kB, {len(gzip.compress(bundle)) / 1e3:.0f} kB compressed")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium.find(), args=CHROMIUM_ARGUMENTS)
        with tempfile.TemporaryDirectory() as folder, lab_server(Path(folder)) as server:
            for example in EXAMPLES:
                times = [lab_seconds(browser, server, example) for _ in range(repeats)]
                first, done = (statistics.median(column) for column in zip(*times, strict=True))
                row(f"JupyterLab, {example}", f"first surface after {first:.2f} s, all of 65 x 65 after {done:.2f} s")
        row("make demo", f"first surface after {_median(lambda: demo_seconds(browser), repeats):.2f} s")
        browser.close()


def import_seconds() -> float:
    """Seconds of `import landscape_widget` in a fresh process."""
    return float(_fresh_import().split()[0])


def lab_seconds(browser: Browser, server: Server, example: str) -> tuple[float, float]:
    """Seconds from running the cell to the first painted surface and to the finished one; everything imported before."""
    context = browser.new_context(viewport={"width": 1200, "height": 900})
    context.set_default_timeout(PATIENCE_MS)
    name = f"{example}.ipynb"
    server.write_notebook(
        name,
        [
            "import torch, landscape_widget as lw\nfrom landscape_widget import examples, session",
            f"lw.explore(examples.{example}())",
        ],
    )
    notebook = LabPage(context.new_page(), server, name)
    notebook.run(0)
    began = time.perf_counter()
    notebook.start(1)
    surface = Surface(notebook.page)
    surface.wait("data.painted > 0")
    first = time.perf_counter() - began
    surface.wait_until_done()
    done = time.perf_counter() - began
    context.close()
    server.end_sessions()
    return first, done


def demo_seconds(browser: Browser) -> float:
    """Seconds from `make demo` in a warm environment to the first painted surface."""
    began = time.perf_counter()
    process = subprocess.Popen(
        ["make", "--no-print-directory", "demo"], cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
    )
    try:
        assert process.stdout is not None
        address = next(match[0] for line in process.stdout if (match := re.search(r"http://127\.0\.0\.1:\d+/", line)))
        page = browser.new_page()
        page.set_default_timeout(90_000)
        page.goto(address)
        Surface(page).wait("data.painted > 0")
        seconds = time.perf_counter() - began
        page.close()
    finally:
        stop(process)
    return seconds


def row(what: str, figure: str) -> None:
    """Print one line of the table."""
    print(f"{what:34} {figure}", flush=True)


def _fresh_import() -> str:
    return subprocess.run([sys.executable, "-c", _IMPORT], check=True, capture_output=True, text=True).stdout


def _torch_loaded() -> bool:
    return json.loads(_fresh_import().split()[1].lower())


def _median(measure: Callable[[], float], repeats: int) -> float:
    return statistics.median(measure() for _ in range(repeats))


if __name__ == "__main__":
    main()
