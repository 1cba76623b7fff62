"""Free memory within the limits of control groups, and how torch says that there is none."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from landscape_widget.engine.memory import free_in_control_groups, free_memory, is_out_of_memory

_NAMES = {
    2: ("memory.max", "memory.current", "inactive_file"),
    1: ("memory.limit_in_bytes", "memory.usage_in_bytes", "total_inactive_file"),
}


def group(folder: Path, version: int, limit: str, used: int, files: int) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    allowed, taken, reclaimable = _NAMES[version]
    (folder / allowed).write_text(f"{limit}\n")
    (folder / taken).write_text(f"{used}\n")
    (folder / "memory.stat").write_text(f"anon {used - files}\n{reclaimable} {files}\n")


@pytest.mark.parametrize("version", [1, 2])
def test_the_limit_of_every_control_group_above_counts(tmp_path: Path, version: int) -> None:
    mounted, of_process = tmp_path / "cgroup", tmp_path / "self"
    of_process.write_text({2: "0::/job/step\n", 1: "9:name=systemd:/\n4:cpu,memory:/job/step\n0::/\n"}[version])
    top = mounted / "memory" if version == 1 else mounted
    group(top / "job" / "step", version, {1: "9223372036854771712", 2: "max"}[version], 3000, 0)
    group(top / "job", version, "5000", 4000, 500)
    group(top, version, "9000", 9500, 0)
    assert min(free_in_control_groups(mounted, of_process)) == 0
    group(top, version, "90000", 9500, 0)
    # What was read from files is given back when asked for.
    assert min(free_in_control_groups(mounted, of_process)) == 1500


def test_in_a_container_the_path_can_be_the_hosts(tmp_path: Path) -> None:
    (tmp_path / "self").write_text("4:memory:/docker/0123\n")
    group(tmp_path / "memory", 1, "2000", 800, 100)
    assert list(free_in_control_groups(tmp_path, tmp_path / "self")) == [1300]


def test_without_control_groups_nothing_is_limited(tmp_path: Path) -> None:
    assert list(free_in_control_groups(tmp_path, tmp_path / "missing")) == []
    (tmp_path / "self").write_text("0::/\n")
    assert list(free_in_control_groups(tmp_path, tmp_path / "self")) == []
    (tmp_path / "memory.max").write_text("1000\n")
    assert list(free_in_control_groups(tmp_path, tmp_path / "self")) == []


def test_free_memory_is_within_the_limits(monkeypatch: pytest.MonkeyPatch) -> None:
    assert free_memory(torch.device("cpu")) > 0
    monkeypatch.setattr("landscape_widget.engine.memory.free_in_control_groups", lambda: iter([10**9, 4096]))
    assert free_memory(torch.device("cpu")) == 4096


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        (torch.cuda.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB"), True),
        (MemoryError(), True),
        (RuntimeError("[enforce fail at alloc_cpu.cpp] DefaultCPUAllocator: can't allocate memory"), True),
        (RuntimeError("MPS backend out of memory (MPS allocated: 8.84 GB, max allowed: 9.07 GB)"), True),
        (RuntimeError("Invalid buffer size: 20.00 GB"), True),
        (RuntimeError("CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling `cublasCreate(handle)`"), True),
        (RuntimeError("mat1 and mat2 shapes cannot be multiplied"), False),
        (ValueError("out of memory"), False),
    ],
)
def test_what_says_that_memory_has_run_out(error: Exception, expected: bool) -> None:
    assert is_out_of_memory(error) == expected
