"""The ahead-of-time check: every kernel at every declared shape, compiled for sm_90 without a GPU, and read.

    python -m gentool.kernels.aot [--arch 90] [--json]

A driver that only names its target lets Triton compile exactly what a launch would run. From the machine code the check
asserts what the interpreter cannot show: nothing spilled (no stack, no LDL/STL), shared memory within a block's limit,
16-byte loads, tensor cores where they are meant, and the instructions per element of the inner loop within the kernel's
budget: a performance regression test that is exact and needs no GPU. Runs in a process of its own: TRITON_INTERPRET is
read when kernels are made.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import tempfile
import time
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from gentool.kernels import lazy
from gentool.kernels.ops import Case, Kernel, Machine, load_kernels
from gentool.kernels.sass import Code, read_cubin

SHARED = {80: 166_912, 86: 101_376, 89: 101_376, 90: 232_448, 100: 232_448, 120: 101_376}  # bytes a block may have


@dataclass
class Finding:
    """What was compiled for one case, and what is wrong with it."""

    kernel: str
    case: str
    dtype: str
    registers: int = 0
    shared: int = 0
    stack: int = 0
    warps: int = 0
    per_element: float = 0.0
    budget: float = 0.0
    seconds: float = 0.0
    opcodes: dict[str, int] = field(default_factory=dict)
    problems: list[str] = field(default_factory=list)


def activate_fake_driver(arch: int) -> None:
    """Make Triton compile for ``sm_{arch}`` here. Launches must be warm-ups: nothing can run."""
    from triton.backends.compiler import GPUTarget
    from triton.backends.driver import GPUDriver
    from triton.runtime import driver

    class Fake(GPUDriver):  # type: ignore[misc]
        def __init__(self) -> None:  # the real one asks torch.cuda
            pass

        def get_current_target(self) -> Any:
            return GPUTarget("cuda", arch, 32)

        def get_current_device(self) -> int:
            return arch  # Triton caches by device: another arch must be another device

        def get_current_stream(self, device: int) -> int:
            return 0

        def get_active_torch_device(self) -> Any:
            import torch

            return torch.device("cpu")

        @staticmethod
        def is_active() -> bool:
            return True

        def map_python_to_cpp_type(self, ty: str) -> str:
            return ty

        def get_benchmarker(self) -> Any:
            raise RuntimeError("nothing can be timed without a GPU")

    driver.set_active(Fake())


def compile_case(kernel: Kernel, case: Case, dtype: Any) -> list[Any]:
    """What the launch of this case compiles to, in order of launching, each machine code once."""
    import torch

    assert kernel.launch is not None
    compiled: list[Any] = []
    lazy.captured = compiled
    try:
        with torch.no_grad():
            kernel.launch(*case.make(torch.device("cpu"), dtype))
    finally:
        lazy.captured = None
    return list({made.hash: made for made in compiled}.values())


def check_case(kernel: Kernel, case: Case, dtype: Any, arch: int) -> list[Finding]:
    """Compile one case and judge each launch of it."""
    assert kernel.machine is not None
    found = []
    for compiled in compile_case(kernel, case, dtype):
        start = time.perf_counter()
        finding = Finding(compiled.metadata.name, case.name, str(dtype).removeprefix("torch."))
        with tempfile.TemporaryDirectory() as folder:
            cubin = Path(folder, "kernel.cubin")
            cubin.write_bytes(compiled.asm["cubin"])
            code = read_cubin(cubin)
        finding.shared, finding.warps = compiled.metadata.shared, compiled.metadata.num_warps
        _judge(finding, code, arch)
        if finding.kernel == kernel.machine.kernel:
            _judge_loop(finding, code, kernel.machine, case, dtype)
        finding.seconds = round(time.perf_counter() - start, 2)
        found.append(finding)
    if kernel.machine.kernel not in [finding.kernel for finding in found]:
        found.append(Finding(kernel.machine.kernel, case.name, str(dtype), problems=["it was not launched"]))
    return found


def _judge(finding: Finding, code: Code, arch: int) -> None:
    """What holds for every launch: nothing spilled, and no more shared memory than a block may have."""
    finding.registers, finding.stack = code.registers, code.stack
    for opcode in ("HGMMA", "HMMA", "FFMA", "LDG.E", "LDG.E.128", "LDGSTS.E.BYPASS.128", "LDL", "STL"):
        if count := code.count(opcode):
            finding.opcodes[opcode] = count
    loads, stores = code.count("LDL"), code.count("STL")
    if code.stack or loads or stores:
        finding.problems.append(f"registers spill: {code.stack} bytes of stack, {loads} loads and {stores} stores")
    if finding.shared > SHARED[arch]:
        finding.problems.append(f"{finding.shared} bytes of shared memory, a block has {SHARED[arch]}")


def _judge_loop(finding: Finding, code: Code, machine: Machine, case: Case, dtype: Any) -> None:
    """What holds for the launch that does the work: wide loads, tensor cores, and the budget of its inner loop."""
    say = finding.problems.append
    if not code.wide_loads():
        say("no 16-byte load from global memory")
    if machine.tensor_cores and not (code.count("HGMMA") or code.count("HMMA")):
        say("no tensor core instruction")
    import torch

    budget = case.instructions
    finding.budget = budget if isinstance(budget, float) else budget[dtype == torch.bfloat16]
    finding.per_element = _per_element(finding, code, machine, case, dtype)
    if not finding.per_element:
        say("no inner loop was found")
    elif finding.per_element > finding.budget:
        say(f"{finding.per_element} instructions an element in the inner loop, the budget is {finding.budget}")


def _per_element(finding: Finding, code: Code, machine: Machine, case: Case, dtype: Any) -> float:
    """Instructions per element of the inner loop (see `Machine`); 0 where there is no loop."""
    import torch

    if machine.elements is None:
        loops = code.inner_loops("HGMMA") + code.inner_loops("HMMA")
        products = sum(i.opcode.startswith(("HGMMA", "HMMA")) for loop in loops for i in loop)
        return round(sum(map(len, loops)) / products, 2) if products else 0.0
    loops = code.inner_loops()
    with torch.no_grad():
        treated = machine.elements(*case.make(torch.device("cpu"), dtype))
    return round(len(loops[0]) * finding.warps * 32 / treated, 2) if loops else 0.0


def check(arch: int = 90, only: str = "") -> list[Finding]:
    """Every kernel with a launch, every case, every dtype it is declared for."""
    activate_fake_driver(arch)
    return [
        finding
        for kernel in load_kernels()
        if kernel.launch is not None and kernel.machine is not None and only in kernel.name
        for case in kernel.cases
        for dtype in kernel.machine.dtypes
        for finding in check_case(kernel, case, dtype, arch)
    ]


def main(argv: list[str] | None = None) -> int:
    """Print a line per compiled launch; 1 if any has a problem."""
    parser = argparse.ArgumentParser(prog="python -m gentool.kernels.aot", description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--arch", type=int, default=90, choices=sorted(SHARED))
    parser.add_argument("--only", default="", help="kernels whose name contains this")
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args(argv)
    if os.environ.get("TRITON_INTERPRET"):
        print("TRITON_INTERPRET is set: kernels would be interpreted, not compiled; unset it.", file=sys.stderr)
        return 2
    if not lazy.has_triton():
        print("Triton is not installed; `pip install 'gentool[test]'` brings it (Linux, x86-64).", file=sys.stderr)
        return 2
    found = check(options.arch, options.only)
    bad = [finding for finding in found if finding.problems]
    if options.json:
        print(json.dumps([asdict(finding) for finding in found], indent=1))
    else:
        for f in found:
            loop = f", {f.per_element} instructions an element (budget {f.budget})" if f.budget else ""
            print(
                f"{f.kernel} {f.case} {f.dtype}: {f.registers} registers, {f.shared:,} B shared, {f.stack} B stack{loop}"
            )
            print(f"    {', '.join(f'{count} {opcode}' for opcode, count in f.opcodes.items())}")
            for problem in f.problems:
                print(f"    FAILED: {problem}")
        print(f"{len(found) - len(bad)} of {len(found)} compiled launches are as they should be on sm_{options.arch}.")
    return 1 if bad or not found else 0


if __name__ == "__main__":
    sys.exit(main())
