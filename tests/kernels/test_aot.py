"""The ahead-of-time check: that all kernels pass it, and that it can fail."""

from __future__ import annotations

import json
import os
import subprocess
import sys

import pytest

from gentool.kernels import has_triton
from gentool.kernels.sass import Code, Instruction

needs_triton = pytest.mark.skipif(not has_triton(), reason="Triton is not installed (pip install 'gentool[test]')")


def code(*opcodes: str, labels: dict[str, int] | None = None) -> Code:
    """Machine code from "OPCODE operands" lines."""
    made = [Instruction(16 * i, *line.partition(" ")[::2]) for i, line in enumerate(opcodes)]
    return Code(32, 0, tuple(made), labels or {})


def test_loops_are_found():
    listing = code(
        "MOV", "LDG.E.128 R1", "HMMA.1688.F32 R2", "BRA `(.L_x_1)", "FFMA", "FADD", "FMUL", "MUFU.EX2", "BRA `(.L_x_2)",
        "BRA `(.L_x_0)", "BRA `(.L_x_9)",
        labels={".L_x_0": 0, ".L_x_1": 1, ".L_x_2": 4, ".L_x_9": 10},
    )  # fmt: skip
    assert listing.loops == [(0, 9), (1, 3), (4, 8)]
    (loop,) = listing.inner_loops("HMMA")
    assert [i.opcode for i in loop] == ["LDG.E.128", "HMMA.1688.F32", "BRA"]
    assert [len(loop) for loop in listing.inner_loops()] == [5, 3]  # of those that hold no other, the longest first
    assert listing.inner_loops("QGMMA") == []
    assert (listing.count("LDG"), listing.count("LDG.E.128"), listing.count("LD"), listing.wide_loads()) == (1, 1, 0, 1)


def run(*arguments: str, **env: str) -> subprocess.CompletedProcess[str]:
    clean = {key: value for key, value in os.environ.items() if key not in ("TRITON_INTERPRET", "GENTOOL_KERNELS")}
    return subprocess.run([sys.executable, *arguments], capture_output=True, text=True, env={**clean, **env})


@needs_triton
def test_the_interpreter_is_not_a_compiler():
    done = run("-m", "gentool.kernels.aot", TRITON_INTERPRET="1")
    assert done.returncode == 2
    assert "unset it" in done.stderr


SPILL = '''
import torch
import triton.language as tl
from gentool.kernels import Case, Machine, aot, jit, kernel

@jit
def hungry(x_ptr, y_ptr, n, SIZE: tl.constexpr):
    """Holds far more sums than a thread has registers, and more operands than a block has shared memory."""
    rows = tl.arange(0, SIZE)
    at = rows[:, None] * SIZE + rows[None, :]
    total = tl.zeros((SIZE, SIZE), tl.float32)
    for i in range(0, n):
        x = tl.load(x_ptr + i * SIZE * SIZE + at)
        total = tl.dot(x, x, total, input_precision="tf32")
    tl.store(y_ptr + at, total)

case = Case(name="256", make=lambda device, dtype: (torch.ones(3, 256, 256, dtype=dtype),), instructions=0.01)
facts = dict(cases=[case], machine=Machine(elements=lambda x: 256, kernel="hungry", dtypes=(torch.float32,)))

@kernel("test_aot::hungry(Tensor x) -> Tensor", reference=lambda x: x[0], **facts)
def launch(x):
    y = torch.empty_like(x[0])
    hungry[(1,)](x, y, len(x), SIZE=256, num_warps=4)
    return y

raise SystemExit(aot.main(["--only", "hungry", "--json"]))
'''


@needs_triton
@pytest.mark.slow
def test_a_kernel_that_spills_is_caught(tmp_path):
    path = tmp_path / "spill.py"
    path.write_text(SPILL)
    done = run(str(path))
    assert done.returncode == 1, done.stderr
    (finding,) = json.loads(done.stdout)
    problems = " ".join(finding["problems"])
    assert "registers spill" in problems
    assert "shared memory" in problems
    assert "instructions an element" in problems


@needs_triton
@pytest.mark.slow
@pytest.mark.parametrize(
    ("only", "name"),
    [
        ("gentool_autoregressive::scan", "_scan_kernel"),
        ("nearest", "_nearest_kernel"),
        ("gentool_seq2seq", "_slopes_kernel"),
        ("gentool_diffusion", "_backward_kernel"),
        ("paint", "_paint_kernel"),
        ("chain", "_chain_kernel"),
        ("decode", "_decode_kernel"),
        ("gentool_detect", "_suppress_kernel"),
    ],
)
def test_every_kernel_compiles_as_it_should(only, name):
    done = run("-m", "gentool.kernels.aot", "--json", "--only", only)
    findings = json.loads(done.stdout)
    problems = [f"{f['kernel']} {f['case']} {f['dtype']}: {p}" for f in findings for p in f["problems"]]
    assert done.returncode == 0, problems
    assert name in {finding["kernel"] for finding in findings}
    dtypes = {"float32"} if "scan" in only else {"float32", "bfloat16"}  # a scan is in float32
    assert dtypes <= {finding["dtype"] for finding in findings}
