"""What the README says is run."""

from __future__ import annotations

import re
from pathlib import Path

import ipywidgets
import pytest

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text()


def blocks(language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```", README, flags=re.MULTILINE | re.DOTALL)


def test_the_python_of_the_readme_runs_and_ends_in_a_widget():
    (code,) = blocks("python")
    *before, last = code.strip().splitlines()
    namespace: dict[str, object] = {}
    exec("\n".join(before), namespace)
    assert isinstance(eval(last, namespace), ipywidgets.DOMWidget)
    assert len([line for line in code.splitlines() if line.strip()]) == 6


def test_the_commands_of_the_readme_exist():
    makefile = (ROOT / "Makefile").read_text()
    targets = re.findall(r"(?:^|`)make ([a-z-]+)", README, flags=re.MULTILINE)
    assert {"demo", "test", "lab", "check"} <= set(targets)
    for target in targets:
        assert re.search(rf"^{target}:", makefile, flags=re.MULTILINE), f"README names make {target}"


@pytest.mark.parametrize(
    "path", re.findall(r"\]\((?!https?:)([^)#]+)\)|(?:src|srcset)=\"(?!https?:)([^\"]+)\"", README)
)
def test_what_the_readme_links_to_exists(path: tuple[str, str]):
    assert (ROOT / "".join(path)).is_file()
