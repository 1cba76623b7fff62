"""The command `landscape-widget`; that the demo works is tested in tests/browser/test_demo.py."""

from __future__ import annotations

import importlib.util
import json
import socket
from collections.abc import Iterator

import pytest

from landscape_widget import cli


@pytest.fixture
def taken_port() -> Iterator[int]:
    with socket.socket() as listener:
        listener.bind((cli.HOST, 0))
        listener.listen()
        yield listener.getsockname()[1]


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        ([], "required: command"),
        (["surf"], "invalid choice: 'surf'"),
        (["demo", "--loud"], "unrecognized arguments: --loud"),
        (["demo", "--port", "many"], "expected a port from 1 to 65535, got many"),
        (["demo", "--port", "0"], "expected a port from 1 to 65535, got 0"),
        (["demo", "--port", "65536"], "expected a port from 1 to 65535, got 65536"),
    ],
)
def test_what_is_not_understood_is_refused(arguments: list[str], complaint: str, capsys: pytest.CaptureFixture[str]):
    with pytest.raises(SystemExit) as ended:
        cli.main(arguments)
    assert ended.value.code == 2
    assert complaint in capsys.readouterr().err


def test_a_taken_port_is_named(taken_port: int, capsys: pytest.CaptureFixture[str]):
    assert cli.main(["demo", "--port", str(taken_port)]) == 1
    assert f"port {taken_port} is taken" in capsys.readouterr().err


def test_without_a_port_the_next_free_one_is_taken(taken_port: int):
    assert cli.first_free_port(taken_port) > taken_port


def test_a_missing_voila_is_told_with_what_to_do(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]):
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    assert cli.main(["demo"]) == 1
    assert "pip install 'landscape-widget[app]'" in capsys.readouterr().err


def test_the_demo_is_served_to_this_machine_only_and_its_kernels_are_culled():
    command = cli.voila_command(cli.app_notebook(), 8866)
    assert "--Voila.ip=127.0.0.1" in command
    assert "--MappingKernelManager.cull_idle_timeout=300" in command


def test_notebooks_are_stored_without_outputs():
    for path in cli.app_notebook().parent.glob("*.ipynb"):
        for cell in json.loads(path.read_text())["cells"]:
            assert not cell.get("outputs"), path.name
            assert cell.get("execution_count") is None, path.name
