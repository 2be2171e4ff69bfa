"""Reading machine code: a cubin's resources and instructions, by the tools that come with Triton's wheel."""

from __future__ import annotations

import re
import subprocess
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

_INSTRUCTION = re.compile(r"^\s*/\*([0-9a-f]+)\*/\s+(?:@!?U?P\w+\s+)?([A-Z][\w.]*)\s*([^;]*);")
_LABEL = re.compile(r"^\s*(\.L_x_\d+|\.L_\w+):")
_TARGET = re.compile(r"\((\.L_\w+)\)")


@dataclass(frozen=True)
class Instruction:
    """One machine instruction: its address, opcode with modifiers ("LDG.E.128"), operands as text."""

    address: int
    opcode: str
    operands: str


@dataclass(frozen=True)
class Code:
    """The machine code of one kernel."""

    registers: int
    stack: int
    instructions: tuple[Instruction, ...]
    labels: dict[str, int]  # label -> index into instructions

    def count(self, opcode: str) -> int:
        """How many instructions have this opcode, or it with further modifiers."""
        return sum(i.opcode == opcode or i.opcode.startswith(opcode + ".") for i in self.instructions)

    def wide_loads(self) -> int:
        """Loads of 16 bytes a thread from global memory, to registers or straight to shared memory."""
        return sum(i.opcode.startswith(("LDG", "LDGSTS")) and ".128" in i.opcode for i in self.instructions)

    @cached_property
    def loops(self) -> list[tuple[int, int]]:
        """(first, last) instruction of every loop: a branch back to its label."""
        found = set()
        for number, instruction in enumerate(self.instructions):
            target = _TARGET.search(instruction.operands)
            if instruction.opcode.startswith("BRA") and target and self.labels.get(target[1], number + 1) < number:
                found.add((self.labels[target[1]], number))
        return sorted(found)

    def inner_loops(self, marker: str = "") -> list[tuple[Instruction, ...]]:
        """The loops that hold no other and have an instruction whose opcode begins with `marker`, the longest first."""
        found = []
        for first, last in self.loops:
            if any((a, b) != (first, last) and first <= a and b <= last for a, b in self.loops):
                continue
            body = self.instructions[first : last + 1]
            if any(i.opcode.startswith(marker) for i in body):
                found.append(body)
        return sorted(found, key=len, reverse=True)


def _tool(name: str) -> str:
    import triton

    return str(Path(triton.__file__).parent / "backends" / "nvidia" / "bin" / name)


def _run(*command: str) -> str:
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout


def read_cubin(path: Path) -> Code:
    """Disassemble a cubin that holds one kernel."""
    usage = _run(_tool("cuobjdump"), "--dump-resource-usage", str(path))
    resources = re.search(r"REG:(\d+) STACK:(\d+)", usage)
    if resources is None:
        raise ValueError(f"cuobjdump says nothing of resources: {usage!r}")
    instructions: list[Instruction] = []
    labels: dict[str, int] = {}
    for line in _run(_tool("nvdisasm"), "-c", str(path)).splitlines():
        if label := _LABEL.match(line):
            labels[label[1]] = len(instructions)
        elif found := _INSTRUCTION.match(line):
            instructions.append(Instruction(int(found[1], 16), found[2], found[3]))
    return Code(int(resources[1]), int(resources[2]), tuple(instructions), labels)
