"""What is asked of the machine beside the device."""

from __future__ import annotations

import platform
import subprocess
import sys

import pytest

PAGES = """
import resource, torch
from gentool.training.devices import keep_freed_memory
def step():
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    torch.ones(12_000_000).add_(1)
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before
plain = min(step() for _ in range(8))
assert keep_freed_memory()
for _ in range(16):  # until the holes that alignment leaves have joined
    step()
print(plain, max(step() for _ in range(8)))
"""


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="another allocator than glibc's")
def test_what_a_step_frees_is_there_for_the_next() -> None:
    """48 MB are 11,719 pages, which the kernel zeroes at every step, or never again."""
    done = subprocess.run([sys.executable, "-c", PAGES], capture_output=True, text=True, check=True)
    plain, kept = (int(word) for word in done.stdout.split())
    assert kept < 100 < plain
