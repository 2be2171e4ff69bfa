"""Kernels: registration and choice (`ops`), Triton without importing it (`lazy`), the ahead-of-time check (`aot`)."""

from gentool.kernels.lazy import Jit, has_triton, jit
from gentool.kernels.ops import Case, Choice, Kernel, Machine, choices, kernel, load_kernels, no_kernel

__all__ = [
    "Case",
    "Choice",
    "Jit",
    "Kernel",
    "Machine",
    "choices",
    "has_triton",
    "jit",
    "kernel",
    "load_kernels",
    "no_kernel",
]
