"""Where and how precisely to compute: the device, and defaults that were measured on it rather than assumed."""

from __future__ import annotations

import ctypes
import functools
import sys
import time
from contextlib import nullcontext
from dataclasses import dataclass
from typing import Any

import torch

from gentool.errors import UsageError
from gentool.settings import Train


def pick_device(text: str) -> torch.device:
    """``auto``, ``cpu``, ``cuda`` or ``cuda:i``; `UsageError` where it is not there."""
    if text == "auto":
        return torch.device("cuda", 0) if torch.cuda.is_available() else torch.device("cpu")
    name, _, index = text.partition(":")
    if name == "cpu" and not index:
        return torch.device("cpu")
    if name == "cuda" and (not index or index.isdigit()):
        if not torch.cuda.is_available():
            raise UsageError(f"There is no CUDA device for device '{text}' here; use --device cpu.")
        if int(index or 0) >= torch.cuda.device_count():
            raise UsageError(f"There is no device '{text}': this machine has {torch.cuda.device_count()} of cuda.")
        return torch.device("cuda", int(index or 0))
    from gentool.show.text import safe_text

    raise UsageError(f"'{safe_text(text)[:40]}' is not a device: auto, cpu, cuda or cuda:i.")


@dataclass(frozen=True)
class Choice:
    """A default with its reason, as `gentool doctor` shows it."""

    value: str
    reason: str


@dataclass(frozen=True)
class Measured:
    """What was measured on a device: the time of a small convolutional training step in each way, in ms."""

    precision: Choice
    channels_last: Choice


@torch.enable_grad()
def _conv_step_ms(device: torch.device, *, bf16: bool, channels_last: bool) -> float:
    net: Any = torch.nn.Sequential(
        torch.nn.Conv2d(32, 64, 3, padding=1), torch.nn.ReLU(), torch.nn.Conv2d(64, 64, 3, padding=1)
    ).to(device)
    x = torch.zeros(32, 32, 14, 14, device=device)
    if channels_last:
        net = net.to(memory_format=torch.channels_last)
        x = x.to(memory_format=torch.channels_last)
    times = []
    now = time.perf_counter if device.type == "cuda" else time.thread_time  # which other processes do not lengthen
    for _ in range(6):
        if device.type == "cuda":
            torch.cuda.synchronize(device)
        start = now()
        with torch.autocast(device.type, dtype=torch.bfloat16, enabled=bf16):
            loss = net(x).float().square().mean()
        loss.backward()
        if device.type == "cuda":
            torch.cuda.synchronize(device)
        times.append(now() - start)
    return 1e3 * min(times[1:])


@functools.cache
def measure(device: torch.device) -> Measured:
    """The fastest precision and memory format of a small convolutional training step on this device (about 0.1 s).

    bf16 has to win by a quarter, since it costs accuracy; channels-last by a tenth, since some nets lose by it.
    """
    if device.type == "cpu":
        able = bool(torch.cpu._is_avx512_bf16_supported()) or bool(torch.cpu._is_amx_tile_supported())
        why_not = "this CPU has no bf16 arithmetic"
    else:
        able = torch.cuda.is_bf16_supported()
        why_not = "this GPU has no bf16 arithmetic"
    plain = _conv_step_ms(device, bf16=False, channels_last=False)
    last = _conv_step_ms(device, bf16=False, channels_last=True)
    plain = min(plain, _conv_step_ms(device, bf16=False, channels_last=False))  # what is measured first is slow
    layout = Choice(
        "yes" if last < 0.9 * plain else "no", f"a small convolution's step: {plain:.2f} ms as NCHW, {last:.2f} as NHWC"
    )
    if not able:
        return Measured(Choice("fp32", why_not), layout)
    half = _conv_step_ms(device, bf16=True, channels_last=layout.value == "yes")
    full = min(plain, last)
    return Measured(
        Choice(
            "bf16" if half < 0.8 * full else "fp32", f"a small convolution's step: {full:.2f} ms fp32, {half:.2f} bf16"
        ),
        layout,
    )


def settle(train: Train, device: torch.device) -> dict[str, str]:
    """Concrete values for `precision` and `channels_last` where the config says auto."""
    chosen: dict[str, str] = {}
    if train.precision == "auto":
        chosen["train.precision"] = measure(device).precision.value
    if train.channels_last == "auto":
        chosen["train.channels_last"] = measure(device).channels_last.value
    return chosen


def autocast(device: torch.device, precision: str) -> Any:
    """The context in which an objective computes its losses."""
    if precision == "bf16":
        return torch.autocast(device.type, dtype=torch.bfloat16)
    return nullcontext()


def deterministic(device: torch.device) -> None:
    """Ask for kernels whose result does not depend on scheduling, so that a resumed run repeats bit for bit."""
    if device.type == "cuda":
        torch.backends.cudnn.benchmark = False
        torch.backends.cudnn.deterministic = True
        torch.use_deterministic_algorithms(True, warn_only=True)
        torch.utils.deterministic.fill_uninitialized_memory = False  # type: ignore[attr-defined]


M_TRIM_THRESHOLD, M_MMAP_THRESHOLD = -1, -3  # malloc.h


def keep_freed_memory() -> bool:
    """Let the allocator of glibc keep what a step frees for the next one; False where there is another allocator.

    By default a tensor of more than 32 MB is mapped and unmapped each time, and what is free at the heap's end is given
    back at once: a net of large activations then spends up to a third of its CPU time on the kernel's zeroing of pages.
    """
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except (AttributeError, OSError, TypeError):
        return False
    # Older ones refuse more than 32 MB.
    kept = mallopt(M_MMAP_THRESHOLD, 1 << 30) or mallopt(M_MMAP_THRESHOLD, 1 << 25)
    return bool(kept and mallopt(M_TRIM_THRESHOLD, (1 << 31) - 1))


def peak_memory(device: torch.device) -> int:
    """The most memory this process has held, in bytes: on the GPU what torch allocated, on the CPU all of it."""
    if device.type == "cuda":
        return int(torch.cuda.max_memory_allocated(device))
    try:
        import resource
    except ImportError:  # Windows
        return 0
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return int(peak if sys.platform == "darwin" else peak * 1024)
