"""Fixtures of the browser tests: one JupyterLab and one Chromium for all of them."""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterator
from pathlib import Path

import chromium
import harness
import pytest
from harness import LabPage, Server, Witness
from playwright.sync_api import Browser, BrowserContext, Page, sync_playwright


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Show with a failure what browser and server said."""
    report = yield
    if report.failed and isinstance(item, pytest.Function):
        for fixture in item.funcargs.values():
            if isinstance(fixture, Witness):
                report.sections.append(("console of the browser", "\n".join(fixture.console)))
            if isinstance(fixture, Server):
                report.sections.append((f"end of {fixture.log.name}", fixture.log.read_text()[-8000:]))
    return report


@pytest.fixture(scope="session")
def browser() -> Iterator[Browser]:
    path = chromium.find()
    assert path, f"There is no browser. {chromium.HOW}"
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=path, args=harness.CHROMIUM_ARGUMENTS)
        yield browser
        browser.close()


@pytest.fixture(scope="session")
def lab_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    with harness.lab_server(tmp_path_factory.mktemp("lab")) as server:
        yield server


@pytest.fixture
def witness() -> Witness:
    return Witness()


@pytest.fixture
def context(browser: Browser, witness: Witness) -> Iterator[BrowserContext]:
    """A fresh browser profile; the test fails if any of its pages reports an error."""
    context = browser.new_context(viewport={"width": 1200, "height": 900}, reduced_motion="reduce")
    context.set_default_timeout(harness.PATIENCE_MS)
    witness.watch(context)
    yield context
    context.close()
    assert witness.errors == []


@pytest.fixture
def page(context: BrowserContext) -> Page:
    return context.new_page()


@pytest.fixture
def lab(lab_server: Server, page: Page, request: pytest.FixtureRequest) -> Iterator[Callable[..., LabPage]]:
    """Open a notebook with the given cells in JupyterLab; its kernel ends with the test."""

    def open_notebook(*cells: str) -> LabPage:
        name = f"{request.node.name}.ipynb"
        lab_server.write_notebook(name, list(cells))
        return LabPage(page, lab_server, name)

    yield open_notebook
    for tab in page.context.pages:  # first, or they would complain that their kernel is gone
        tab.close()
    lab_server.end_sessions()


@pytest.fixture
def voila_server(tmp_path: Path) -> Iterator[Server]:
    """A Voila for one test: its kernels end only with the server."""
    with harness.voila_server(tmp_path, "--show_tracebacks=True") as server:
        yield server


@pytest.fixture
def voila(voila_server: Server, page: Page) -> Iterator[Callable[..., Page]]:
    """Open a notebook with the given cells in Voila."""

    def open_notebook(*cells: str, query: str = "") -> Page:
        voila_server.write_notebook("page.ipynb", list(cells))
        page.goto(f"{voila_server.address}voila/render/page.ipynb{query}")
        return page

    yield open_notebook
    for tab in page.context.pages:  # first, or they would complain that the server is gone
        tab.close()
