"""The command `landscape-widget`."""

from __future__ import annotations

import argparse
import importlib.util
import os
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
import webbrowser
from collections.abc import Sequence
from pathlib import Path

HOST = "127.0.0.1"
FIRST_PORT = 8866
# Voila 0.5 does not end a kernel when its page is closed (voila#1458): idle kernels have to be culled.
# The class must be MappingKernelManager: Voila ignores the same settings on its own kernel manager.
CULL = ["--MappingKernelManager.cull_interval=60", "--MappingKernelManager.cull_idle_timeout=300"]


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command with `argv` (default: the process's own arguments) and return its exit status."""
    arguments = parser().parse_args(argv)
    try:
        return arguments.run(arguments)
    except CommandError as error:
        print(f"landscape-widget: {error}", file=sys.stderr)
        return 1


def parser() -> argparse.ArgumentParser:
    """Build the parser of the command line."""
    top = argparse.ArgumentParser(
        prog="landscape-widget",
        description="The loss of a neural network as a surface to turn, question and trust.",
    )
    commands = top.add_subparsers(required=True, metavar="command")
    demo_parser = commands.add_parser(
        "demo",
        help="show trained example networks in the browser",
        description=f"Serve the example networks on {HOST}, with Voila. Needs landscape-widget[app].",
    )
    demo_parser.add_argument(
        "--port", type=port_number, help=f"port to serve on (default: the first free one from {FIRST_PORT})"
    )
    demo_parser.add_argument("--no-browser", action="store_true", help="only print the address")
    demo_parser.set_defaults(run=demo)
    return top


class CommandError(Exception):
    """Something the user can put right; its text says how."""


def demo(arguments: argparse.Namespace) -> int:
    """Serve the app notebook until interrupted."""
    for module in ("voila", "sklearn"):
        if importlib.util.find_spec(module) is None:
            raise CommandError(f"the demo needs {module}; run: pip install 'landscape-widget[app]'")
    port = arguments.port or first_free_port(FIRST_PORT)
    if not is_free(port):
        raise CommandError(f"port {port} is taken; choose another with --port, or leave --port out")
    address = f"http://{HOST}:{port}/"
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))  # to end the server below, too
    server = subprocess.Popen(voila_command(app_notebook(), port), env=server_environment())
    try:
        wait_until_served(server, address)
        print(f"\nLoss landscapes of real networks: {address}\n(Ctrl+C ends it)", flush=True)
        if not arguments.no_browser:
            open_browser(address)
        return server.wait()
    except KeyboardInterrupt:
        return 0
    finally:
        stop(server)


def voila_command(notebook: Path, port: int) -> list[str]:
    """Command line that serves `notebook` to this machine only."""
    return [
        *(sys.executable, "-m", "voila", str(notebook)),
        *("--no-browser", f"--Voila.ip={HOST}", f"--port={port}", "--Voila.port_retries=0"),
        *("--Voila.log_level=WARN", *CULL),
    ]


def app_notebook() -> Path:
    """Path of the app: inside an installed package, or in the source tree beside it."""
    package = Path(__file__).parent
    candidates = [place / "notebooks" / "app.ipynb" for place in (package, package.parent)]
    for path in candidates:
        if path.is_file():
            return path
    raise CommandError(f"the app is missing: expected {candidates[0]}; install landscape-widget again")


def server_environment() -> dict[str, str]:
    """Environment that starts kernels with this Python, also when its environment is not activated."""
    here = str(Path(sys.executable).parent)
    return {**os.environ, "PATH": os.pathsep.join([here, os.environ.get("PATH", os.defpath)])}


def wait_until_served(server: subprocess.Popen, address: str) -> None:
    """Return as soon as the server answers; raise if it ends before."""
    while True:
        if server.poll() is not None:
            raise CommandError(f"Voila ended with status {server.returncode} before it served {address}")
        try:
            # A static file: asking for the page itself would start a kernel.
            with urllib.request.urlopen(address + "voila/static/voila.js", timeout=2):
                return
        except (urllib.error.URLError, TimeoutError, ConnectionError):
            time.sleep(0.1)


def open_browser(address: str) -> None:
    """Open `address` where there is a screen; a text browser would take the terminal away from the server."""
    if sys.platform in ("darwin", "win32") or os.environ.get("DISPLAY") or os.environ.get("WAYLAND_DISPLAY"):
        webbrowser.open(address)


def stop(server: subprocess.Popen) -> None:
    """End the server, which ends its kernels."""
    if server.poll() is None:
        server.terminate()
        try:
            server.wait(timeout=10)
        except subprocess.TimeoutExpired:
            server.kill()
            server.wait()


def port_number(text: str) -> int:
    """Convert a command line argument to a port number."""
    port = int(text) if text.isascii() and text.isdigit() else 0
    if not 1 <= port <= 65535:
        raise argparse.ArgumentTypeError(f"expected a port from 1 to 65535, got {text}")
    return port


def first_free_port(first: int) -> int:
    """Return the first port from `first` on that nobody listens on."""
    for port in range(first, first + 100):
        if is_free(port):
            return port
    raise CommandError(f"no free port from {first} to {first + 99}; choose one with --port")


def is_free(port: int) -> bool:
    """Whether a server can listen on `port`."""
    with socket.socket() as probe:
        # As servers do: a port on which only old connections linger is free.
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((HOST, port))
        except OSError:
            return False
        return True
