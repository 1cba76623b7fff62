"""What gets shipped, and what importing it costs."""

from __future__ import annotations

import importlib
import re
import subprocess
import sys
import tarfile
import tomllib
import zipfile
from pathlib import Path

import pytest

import landscape_widget as lw

ROOT = Path(__file__).parents[1]
STATIC = "landscape_widget/view/static"
WEIGHTS = sorted(path.relative_to(ROOT).as_posix() for path in (ROOT / "landscape_widget").rglob("*.safetensors"))


def run_python(*arguments: str, cwd: Path, **options) -> str:
    """Run this Python in a new process; its own words are shown where it fails."""
    done = subprocess.run([sys.executable, *arguments], cwd=cwd, capture_output=True, text=True, check=False, **options)
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def sdist(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("sdist")
    run_python("-m", "hatchling", "build", "-t", "sdist", "-d", str(folder), cwd=ROOT)
    return next(folder.glob("*.tar.gz"))


@pytest.fixture(scope="module")
def wheel(sdist: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The wheel that the sdist gives on a machine without Node."""
    folder = tmp_path_factory.mktemp("wheel")
    with tarfile.open(sdist) as archive:
        archive.extractall(folder, filter="data")
    source = next(folder.iterdir())
    run_python("-m", "hatchling", "build", "-t", "wheel", "-d", str(folder), cwd=source, env={"PATH": ""})
    return next(folder.glob("*.whl"))


def test_the_sdist_contains_sources_and_bundle(sdist: Path):
    with tarfile.open(sdist) as archive:
        names = {name.partition("/")[2] for name in archive.getnames()}
    assert {f"{STATIC}/widget.js", f"{STATIC}/widget.css", "js/src/index.js", "js/package-lock.json"} <= names
    assert {"hatch_build.py", "Makefile", "constraints.txt", "LICENSE", "notebooks/app.ipynb", *WEIGHTS} <= names
    assert not [name for name in names if "node_modules" in name or "__pycache__" in name]


def test_the_wheel_contains_bundle_app_and_weights(wheel: Path):
    with zipfile.ZipFile(wheel) as archive:
        names = set(archive.namelist())
        for name in ("widget.js", "widget.css"):
            assert archive.read(f"{STATIC}/{name}") == (ROOT / STATIC / name).read_bytes()
        assert archive.read("landscape_widget/notebooks/app.ipynb") == (ROOT / "notebooks/app.ipynb").read_bytes()
    assert set(WEIGHTS) <= names
    assert {name.split("/")[0] for name in names} == {"landscape_widget", wheel.name.split("-py3")[0] + ".dist-info"}


def test_the_weights_are_small():
    assert WEIGHTS
    assert sum((ROOT / name).stat().st_size for name in WEIGHTS) < 200_000


def test_the_wheel_allows_a_wide_range_of_torch(wheel: Path):
    with zipfile.ZipFile(wheel) as archive:
        metadata = archive.read(wheel.name.split("-py3")[0] + ".dist-info/METADATA").decode()
    assert "Requires-Dist: torch>=2.4\n" in metadata
    assert "Requires-Dist: anywidget<0.12,>=0.11\n" in metadata
    assert "Requires-Python: >=3.11\n" in metadata


def test_the_version_is_the_same_everywhere():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    assert lw.__version__ == project["version"]
    assert f"## {lw.__version__}" in (ROOT / "CHANGELOG.md").read_text()


def test_constraints_pin_every_dependency():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    extras = project["optional-dependencies"]
    wanted = [*project["dependencies"], *extras["plot"], *extras["app"], *extras["dev"]]
    names = {re.split(r"[<>=\[]", requirement)[0].lower() for requirement in wanted} - {"landscape-widget"}
    lines = [line for line in (ROOT / "constraints.txt").read_text().splitlines() if not line.startswith("#")]
    pinned = {line.partition("==")[0].lower().replace("_", "-") for line in lines}
    assert names <= pinned
    assert all(re.fullmatch(r"[\w.-]+==[\w.]+", line) for line in lines)
    assert "torch==2.13.0" in lines


@pytest.mark.parametrize("module", ["torch", "scipy", "ipywidgets", "matplotlib", "sklearn"])
def test_importing_the_package_loads_nothing_heavy(module: str, tmp_path: Path):
    code = f"import sys, landscape_widget; print({module!r} in sys.modules)"
    assert run_python("-c", code, cwd=tmp_path).strip() == "False"


def test_a_landscape_can_be_loaded_and_viewed_where_torch_is_not(tmp_path: Path):
    code = "import sys; sys.modules['torch'] = None; import landscape_widget as lw; print(callable(lw.load), callable(lw.view))"
    assert run_python("-c", code, cwd=tmp_path).strip() == "True True"


def test_all_names_what_there_is():
    wanted = {
        "Problem",
        "Landscape",
        "compute",
        "explore",
        "hessian_directions",
        "load",
        "random_directions",
        "survey",
        "view",
    }
    assert wanted <= set(lw.__all__)
    assert len(lw.__all__) == len(set(lw.__all__))
    assert set(lw.__all__) <= set(dir(lw))
    for name in lw.__all__:
        assert getattr(lw, name) is not None
    star: dict[str, object] = {}
    exec("from landscape_widget import *", star)
    assert set(lw.__all__) <= set(star)


def test_an_unknown_name_is_an_attribute_error():
    with pytest.raises(AttributeError, match="no attribute 'landscape_of_everything'"):
        importlib.import_module("landscape_widget").landscape_of_everything  # noqa: B018
