"""Registering a kernel: one `torch.library` op, its plain reference, and the choice between the two.

    @kernel("gentool_vqvae::nearest(Tensor z, Tensor codebook) -> (Tensor, Tensor, Tensor)", reference=..., cases=...)
    def nearest(z, codebook):      # the launch: allocates the outputs and starts the Triton kernel
        ...

Calling the result runs the op (Triton) or the reference. Which one is decided by `Kernel.choice`: Triton on a CUDA
device, the reference elsewhere; ``GENTOOL_KERNELS=reference`` or ``=triton`` forces it. On a CPU "triton" means Triton's
interpreter and so needs ``TRITON_INTERPRET=1``: the tests run so. Gradients belong outside, in a `torch.autograd.Function`
with explicit parameters that detaches what it saves; the reference is plain torch, so autograd and Inductor see through it.
"""

from __future__ import annotations

import importlib
import importlib.util
import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import torch
from torch import Tensor

from gentool.errors import UsageError
from gentool.kernels.lazy import has_triton

MODES = ("auto", "reference", "triton")
_REGISTERED: dict[str, Kernel] = {}


class Choice(NamedTuple):
    """What runs on a device, and why in a few words."""

    use: str  # "triton" or "reference"
    why: str


@dataclass(frozen=True, kw_only=True)
class Case:
    """A shape that users really have. `make(device, dtype)` gives fresh random arguments."""

    name: str
    make: Callable[[torch.device, torch.dtype], tuple[Any, ...]]
    bytes: int = 0  # the floor in float32: every input read once, every output written once
    flops: int = 0  # the floating-point operations the result needs
    instructions: float | tuple[float, float] = 0.0  # budget, see `Machine`; a pair: of float32, of bfloat16
    seconds: float = 0.2  # what a bench may spend on timing one way to compute it


@dataclass(frozen=True, kw_only=True)
class Machine:
    """What the compiled code of a kernel must look like on sm_90 (asserted by `gentool.kernels.aot`).

    A case's budget is machine instructions per element in the inner loop, so that a slower loop is noticed without a GPU.
    `elements(*args)` is how many elements one pass of that loop (the longest) treats in one program. Without it the
    element is one tensor-core instruction, and the budget is for all inner loops that have such together.
    """

    kernel: str  # the name of the Triton function with that loop: an op may start several
    elements: Callable[..., int] | None = None
    tensor_cores: bool = False
    dtypes: Sequence[torch.dtype] = (torch.float32, torch.bfloat16)


@dataclass(eq=False)
class Kernel:
    """An operation with a plain reference and, where it pays, a Triton launch. Made by `kernel` or `no_kernel`."""

    name: str
    reference: Callable[..., Any]
    launch: Callable[..., Any] | None = None
    op: Any = None
    cases: Sequence[Case] = ()
    machine: Machine | None = None
    rivals: Mapping[str, Callable[..., Any]] = field(default_factory=dict)  # other ways to compute it, for `bench`
    agree: Callable[..., str] | None = None  # (args, outputs) -> "" or what is wrong, against float64
    note: str = ""  # for doctor: what was measured, or why there is no kernel
    opt_in: str = ""  # why Triton is not the default on CUDA: then only GENTOOL_KERNELS=triton takes it
    _chosen: dict[tuple[str, int | None, str], Choice] = field(default_factory=dict)

    def __call__(self, *args: Any) -> Any:
        device = _first_tensor(args).device
        return self.op(*args) if self.uses_triton(device) else self.reference(*args)

    def uses_triton(self, device: torch.device) -> bool:
        """Whether a call on this device runs the Triton launch."""
        return self.choice(device).use == "triton"

    def choice(self, device: torch.device) -> Choice:
        """What runs on a device and why.

        Raises:
            UsageError: GENTOOL_KERNELS is no known word, or asks for Triton where it cannot run.
        """
        forced = os.environ.get("GENTOOL_KERNELS", "auto") or "auto"
        key = (device.type, device.index, forced)
        if key not in self._chosen:
            self._chosen[key] = self._choose(device, forced)
        return self._chosen[key]

    def _choose(self, device: torch.device, forced: str) -> Choice:
        if forced not in MODES:
            raise UsageError(f"GENTOOL_KERNELS is '{forced}', but must be one of {', '.join(MODES)}.")
        if self.launch is None:
            return Choice("reference", self.note or "no kernel is worth writing")
        if forced == "reference":
            return Choice("reference", "GENTOOL_KERNELS=reference")
        missing = self._missing(device)
        if forced == "triton":
            if missing:
                raise UsageError(f"GENTOOL_KERNELS=triton, but {missing}; unset it to use the plain reference.")
            return Choice("triton", "GENTOOL_KERNELS=triton")
        if device.type != "cuda":
            return Choice("reference", f"{device.type} device")
        if missing:
            return Choice("reference", missing)
        if self.opt_in:
            return Choice("reference", self.opt_in)
        return self._proved(device)

    def _missing(self, device: torch.device) -> str:
        if not has_triton():
            return "Triton is not installed"
        if device.type == "cuda":
            if torch.version.hip is None and torch.cuda.get_device_capability(device) < (8, 0):
                return "the GPU is older than compute capability 8.0"
            return ""
        if os.environ.get("TRITON_INTERPRET") == "1":
            return ""
        return f"a {device.type} device needs TRITON_INTERPRET=1 for it"

    def _proved(self, device: torch.device) -> Choice:
        """Triton, if it gives the right answer here on the first case: a wrong compiler must not spoil a run."""
        if not self.cases or self.agree is None:
            return Choice("triton", "CUDA device")
        try:
            with torch.no_grad(), torch.random.fork_rng([device], device_type="cuda"):
                args = self.cases[0].make(device, torch.float32)
                wrong = self.agree(args, self.op(*args))
        except Exception as error:  # whatever a driver or compiler may raise: the reference still works
            wrong = f"{type(error).__name__}: {str(error).splitlines()[0] if str(error) else ''}"
        return Choice("reference", f"failed its check here: {wrong}") if wrong else Choice("triton", "checked here")


def _first_tensor(args: tuple[Any, ...]) -> Tensor:
    return next(arg for arg in args if isinstance(arg, Tensor))


def kernel(
    schema: str, *, reference: Callable[..., Any], fake: Callable[..., Any] | None = None, **facts: Any
) -> Callable[[Callable[..., Any]], Kernel]:
    """Register a launch function as the `torch.library` op of `schema` ("namespace::name(Tensor x, ...) -> ...").

    `reference` is the same operation in plain torch. It also gives the op's fake (shapes under `torch.compile`), unless
    it has loops over sizes: then pass `fake`. `facts` are fields of `Kernel`.
    """
    name, signature = schema.split("(", 1)

    def register(launch: Callable[..., Any]) -> Kernel:
        def run(*args: Any) -> Any:
            interpreted = os.environ.get("TRITON_INTERPRET") == "1"
            return launch(*args) if interpreted or _first_tensor(args).is_cuda else reference(*args)

        torch.library.define(name, "(" + signature)
        torch.library.impl(name, ("cuda", "cpu"), run)
        torch.library.register_fake(name, fake or reference)
        namespace, short = name.split("::")
        op = getattr(getattr(torch.ops, namespace), short).default
        made = Kernel(name=name, reference=reference, launch=launch, op=op, **facts)
        _REGISTERED[name] = made
        return made

    return register


def no_kernel(name: str, *, reference: Callable[..., Any], note: str, **facts: Any) -> Kernel:
    """An operation for which plain torch is good enough, said with the reason, so that `bench` still holds it to it."""
    made = Kernel(name=name, reference=reference, note=note, **facts)
    _REGISTERED[name] = made
    return made


def load_kernels() -> list[Kernel]:
    """Every registered kernel, after importing the ``kernels`` module of each loaded plugin that has one."""
    from gentool.registry import registry

    for plugin in registry().plugins:
        if plugin.state != "loaded" or not plugin.module:
            continue
        try:
            there = importlib.util.find_spec(f"{plugin.module}.kernels") is not None
        except ModuleNotFoundError:  # a module without submodules: a single-file plugin
            continue
        try:
            if there:
                importlib.import_module(f"{plugin.module}.kernels")
        except Exception as error:  # a broken plugin harms nobody else
            plugin.problems.append(f"its kernels do not import: {type(error).__name__}: {error}")
    return list(_REGISTERED.values())


def choices(device: torch.device | str | None = None) -> list[dict[str, str]]:
    """What `gentool doctor` shows: for every kernel its name, device, what is used there, why, and its note."""
    where = torch.device(device or ("cuda" if torch.cuda.is_available() else "cpu"))
    rows = []
    for made in load_kernels():
        try:
            use, why = made.choice(where)
        except UsageError as error:
            use, why = "refused", str(error)
        rows.append({"kernel": made.name, "device": str(where), "use": use, "why": why, "note": made.note})
    return rows
