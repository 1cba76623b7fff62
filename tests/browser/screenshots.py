"""Take the README's pictures: the widget in a real JupyterLab, in both themes. `make screenshots` runs this."""

from __future__ import annotations

import tempfile
from pathlib import Path

import chromium
import harness
from playwright.sync_api import sync_playwright

DOCS = Path(__file__).parents[2] / "docs"
THEMES = {"light": "JupyterLab Light", "dark": "JupyterLab Dark"}
SHOW = """
import landscape_widget as lw
from landscape_widget import examples
lw.explore(examples.digits_mlp_early())
"""


def main() -> None:
    with tempfile.TemporaryDirectory() as folder, harness.lab_server(Path(folder)) as server, sync_playwright() as p:
        browser = p.chromium.launch(executable_path=chromium.find(), args=harness.CHROMIUM_ARGUMENTS)
        page = browser.new_page(viewport={"width": 1500, "height": 1200}, device_scale_factor=1.5)
        page.set_default_timeout(harness.PATIENCE_MS)
        server.write_notebook("picture.ipynb", [SHOW])
        notebook = harness.LabPage(page, server, "picture.ipynb")
        notebook.run(0)
        surface = harness.Surface(page)
        surface.wait_until_done()
        # The spectrum comes after the surface.
        page.wait_for_function(
            "root => root.landscapeWidget.state.get('spectrum')?.done", arg=surface.root.element_handle()
        )
        for name, theme in THEMES.items():
            notebook.set_theme(theme)
            page.wait_for_function(
                "([root, dark]) => root.landscapeWidget.theme.dark === dark",
                arg=[surface.root.element_handle(), name == "dark"],
            )
            surface.root.screenshot(path=DOCS / f"screenshot-{name}.png")
        page.close()
        server.end_sessions()
        browser.close()


if __name__ == "__main__":
    main()
