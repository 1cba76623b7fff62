"""The browser of the tests: $CHROMIUM, or the first Chromium on PATH. `--install` provides one."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys

NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable", "chrome")
HOW = "Install Chromium (Debian: apt install chromium), or name one: make test CHROMIUM=/path/to/chromium"


def find() -> str | None:
    """Path of the browser, or None."""
    named = os.environ.get("CHROMIUM")
    if named:
        found = shutil.which(named)
        if found is None:
            sys.exit(f"CHROMIUM={named} cannot be run. {HOW}")
        return found
    return next(filter(None, map(shutil.which, NAMES)), None)


def install() -> None:
    """Install Debian's Chromium where that is possible."""
    if shutil.which("apt-get") is None or os.geteuid() != 0:
        sys.exit(f"The tests need a browser. {HOW}")
    print("Installing Debian's Chromium ...", flush=True)
    env = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
    quiet = ["apt-get", "-qq", "-o", "Dpkg::Use-Pty=0"]
    subprocess.run([*quiet, "update"], env=env, check=True)
    subprocess.run(
        [*quiet, "install", "-y", "--no-install-recommends", "chromium"],
        env=env,
        check=True,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
    )
    if find() is None:
        sys.exit(f"apt-get installed no browser that can be found. {HOW}")


if __name__ == "__main__":
    if find() is None:
        if sys.argv[1:] != ["--install"]:
            sys.exit(f"There is no browser. {HOW}")
        install()
    print(find())
