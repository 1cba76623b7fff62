"""Fixtures of the browser tests: one JupyterLab and one Chromium for all of them."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import chromium
import pytest
from harness import CHROMIUM_ARGUMENTS, PATIENCE_MS, LabPage, Server, Witness, lab_server, voila_server
from playwright.sync_api import Browser, BrowserContext, Page, sync_playwright


@pytest.fixture(scope="session")
def browser() -> Iterator[Browser]:
    path = chromium.find()
    assert path, f"There is no browser. {chromium.HOW}"
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=path, args=CHROMIUM_ARGUMENTS)
        yield browser
        browser.close()


@pytest.fixture(scope="session")
def lab_session(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    with lab_server(tmp_path_factory.mktemp("lab")) as server:
        yield server


@pytest.fixture
def witness() -> Witness:
    return Witness()


@pytest.fixture
def context(browser: Browser, witness: Witness) -> Iterator[BrowserContext]:
    """A fresh browser profile; the test fails if any of its pages reports an error."""
    context = browser.new_context(viewport={"width": 1200, "height": 900}, reduced_motion="reduce")
    context.set_default_timeout(PATIENCE_MS)
    witness.watch(context)
    yield context
    context.close()
    assert witness.errors == []


@pytest.fixture
def page(context: BrowserContext) -> Page:
    return context.new_page()


@pytest.fixture
def lab(lab_session: Server, page: Page, request: pytest.FixtureRequest) -> Iterator[Callable[..., LabPage]]:
    """Open a notebook with the given cells in JupyterLab; its kernel ends with the test."""

    def open_notebook(*cells: str) -> LabPage:
        name = f"{request.node.name}.ipynb"
        lab_session.write_notebook(name, list(cells))
        return LabPage(page, lab_session, name)

    yield open_notebook
    for tab in page.context.pages:  # first, or they would complain that their kernel is gone
        tab.close()
    lab_session.end_sessions()


@pytest.fixture
def voila(tmp_path: Path, page: Page) -> Iterator[Callable[..., Page]]:
    """Open a notebook with the given cells in a Voila of its own: its kernels end only with the server."""
    with voila_server(tmp_path, "--show_tracebacks=True") as server:

        def open_notebook(*cells: str, query: str = "") -> Page:
            server.write_notebook("page.ipynb", list(cells))
            page.goto(f"{server.address}voila/render/page.ipynb{query}")
            return page

        yield open_notebook
        page.goto("about:blank")
