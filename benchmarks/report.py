"""What is printed is written to a Markdown file, too: sections of text and tables, of which a later run replaces those that it measures."""

from __future__ import annotations

import datetime as dt
import os
import platform
import re
from collections.abc import Sequence
from importlib.metadata import version
from pathlib import Path

import torch


class Report:
    """Sections under one title.

    Parameters
    ----------
    title
        The file's first line.
    path
        The file; None to print only.
    sections
        Headings in the order they are to have in the file.
    """

    def __init__(self, title: str, path: Path | None, sections: Sequence[str]) -> None:
        self._title, self._path = title, path
        self._sections: dict[str, list[str]] = {name: [] for name in sections}
        self._lines: list[str] = []
        if path is not None and path.exists():
            _, *parts = re.split(r"^## (.*)\n", path.read_text(encoding="utf-8"), flags=re.MULTILINE)
            earlier = dict(zip(parts[::2], parts[1::2], strict=True))
            self._sections |= {name: earlier[name].strip().splitlines() for name in sections if name in earlier}

    def begin(self, section: str) -> None:
        """Start a section over, with a line on where and when it was measured."""
        self._sections[section] = self._lines = []
        print(f"\n## {section}")
        self.say(f"{machine()}; {dt.datetime.now(tz=dt.UTC).date()}. Load before: {os.getloadavg()[0]:.1f}.")

    def say(self, text: str) -> None:
        self._lines += [text, ""]
        print(f"\n{text}", flush=True)

    def table(self, head: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
        self._lines += ["| " + " | ".join(cells) + " |" for cells in (head, ["---"] * len(head), *rows)] + [""]
        widths = [max(len(row[i]) for row in (head, *rows)) for i in range(len(head))]
        print()
        for row in (head, *rows):
            print("  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip(), flush=True)

    def write(self) -> None:
        """Write all sections that were ever measured."""
        if self._path is None:
            return
        texts = [f"## {name}\n\n" + "\n".join(lines).strip() for name, lines in self._sections.items() if lines]
        self._path.parent.mkdir(exist_ok=True)
        self._path.write_text("\n\n".join([f"# {self._title}", *texts]) + "\n", encoding="utf-8")


def machine() -> str:
    """Processor, threads and versions, in one line."""
    cpuinfo = Path("/proc/cpuinfo")
    lines = cpuinfo.read_text().splitlines() if cpuinfo.exists() else []
    model = next((line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")), platform.machine())
    threads = torch.get_num_threads()
    return (
        f"{model}, {os.cpu_count()} CPUs, {threads} thread{'s' if threads > 1 else ''}; "
        f"Python {platform.python_version()}, torch {torch.__version__}, numpy {version('numpy')}"
    )
