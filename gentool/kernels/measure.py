"""`gentool bench`: how fast each kernel is here, against other ways to compute the same and against what the device can do.

A figure is a median with its 20 % and 80 % quantiles; the ways are timed in turns, so that a busy machine is unfair to
none. The device's ceilings are measured first: the bandwidth of a large copy, and the rate of a large float32 matrix
product by the vendor's library. Speed is not reported of anything that gives a wrong result.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

from gentool.kernels.ops import Case, Kernel

LEAST, MOST = 3, 200  # repetitions
PATIENCE = 20.0  # seconds after which one repetition has to do


@dataclass(frozen=True)
class Timing:
    """Seconds of one call."""

    median: float
    low: float  # 20 %
    high: float  # 80 %
    repeats: int


@dataclass(frozen=True)
class Ceilings:
    """What the device reached: bytes read and written a second, float32 operations a second, and how they were timed."""

    bandwidth: float
    flops: float
    clock: str


@dataclass
class Figure:
    """One kernel on one shape. `times` by way ("ours" is what a caller gets); `problems` of ways that were not timed."""

    kernel: str
    case: str
    use: str  # "triton" or "reference"
    bytes: int
    flops: int
    times: dict[str, Timing] = field(default_factory=dict)
    problems: dict[str, str] = field(default_factory=dict)

    def seconds(self) -> float | None:
        """The median of what a caller gets; None when it is wrong."""
        return self.times["ours"].median if "ours" in self.times else None

    def share(self, ceilings: Ceilings) -> float | None:
        """The least time that bytes and operations allow on this device, over the time taken: at most about 1."""
        seconds = self.seconds()
        return self.floor(ceilings) / seconds if seconds else None

    def floor(self, ceilings: Ceilings) -> float:
        """Seconds: the slower of moving the bytes once and doing the operations."""
        return max(self.bytes / ceilings.bandwidth, self.flops / ceilings.flops)

    def ratio(self, way: str) -> float | None:
        """How many times as long as ours another way takes."""
        seconds = self.seconds()
        return self.times[way].median / seconds if seconds and way in self.times else None


def clock_name(device: torch.device) -> str:
    """How calls are timed: events on a GPU; on a CPU the process's own time where one thread computes."""
    if device.type == "cuda":
        return "CUDA events, second-level cache emptied"
    return "CPU time" if torch.get_num_threads() == 1 else f"wall time of {torch.get_num_threads()} threads"


def _timer(device: torch.device) -> Callable[[Callable[[], Any]], float]:
    """A function that calls another once and gives the seconds it took."""
    if device.type == "cuda":
        # Emptying the cache also keeps the queue full, so that the cost of starting a kernel is hidden as in a run.
        trash = torch.empty(256 << 20, dtype=torch.int8, device=device)

        def by_events(call: Callable[[], Any]) -> float:
            event: Any = torch.cuda.Event
            begin, end = event(enable_timing=True), event(enable_timing=True)
            trash.zero_()
            begin.record()
            call()
            end.record()
            torch.cuda.synchronize(device)
            return float(begin.elapsed_time(end)) / 1e3

        return by_events
    clock = time.process_time if torch.get_num_threads() == 1 else time.perf_counter

    def by_clock(call: Callable[[], Any]) -> float:
        begin = clock()
        call()
        return clock() - begin

    return by_clock


def time_ways(ways: Mapping[str, Callable[[], Any]], device: torch.device, seconds: float) -> dict[str, Timing]:
    """Time each way in turns, about `seconds` each and 3 times at least (if short), after a call that does not count."""
    timer = _timer(device)
    for call in ways.values():
        timer(call)
    taken: dict[str, list[float]] = {way: [] for way in ways}
    begin = time.perf_counter()
    while (count := min(map(len, taken.values()), default=MOST)) < MOST:
        spent = time.perf_counter() - begin
        if (count >= LEAST and spent > seconds * len(ways)) or (count and spent > PATIENCE):
            break
        for way, call in ways.items():
            taken[way].append(timer(call))
    return {way: _summary(values) for way, values in taken.items()}


def _summary(values: list[float]) -> Timing:
    cuts = statistics.quantiles(values, n=5, method="inclusive") if len(values) > 1 else values
    return Timing(statistics.median(values), cuts[0], cuts[-1], len(values))


def measure_ceilings(device: torch.device) -> Ceilings:
    """The best of several large copies and several large float32 matrix products on this device."""
    big = device.type == "cuda"
    source = torch.rand((1 << 28) if big else (1 << 24), device=device)
    target = torch.empty_like(source)
    side = 8192 if big else 1024
    a, b = torch.rand(side, side, device=device), torch.rand(side, side, device=device)
    made = torch.empty_like(a)
    timer = _timer(device)
    copies = [timer(lambda: target.copy_(source)) for _ in range(8)]
    products = [timer(lambda: torch.mm(a, b, out=made)) for _ in range(8)]
    return Ceilings(2 * source.nbytes / min(copies), 2 * side**3 / min(products), clock_name(device))


def wrong(kernel: Kernel, args: tuple[Any, ...], out: Any) -> str:
    """ "" if an output is right: by the kernel's own judge, or by the reference in float64."""
    if kernel.agree is not None:
        return kernel.agree(args, out)
    exact = kernel.reference(
        *(arg.double() if isinstance(arg, Tensor) and arg.is_floating_point() else arg for arg in args)
    )
    pairs = zip(out, exact, strict=True) if isinstance(out, tuple | list) else [(out, exact)]
    for mine, true in pairs:
        if not torch.allclose(mine.to(true.dtype), true, rtol=1e-4, atol=1e-5):
            return f"off by {float((mine - true).abs().max()):.1e}"
    return ""


def measure(kernel: Kernel, case: Case, device: torch.device, *, compiled: bool = False, budget: float = 1.0) -> Figure:
    """Check and time a kernel on one shape, with the plain reference, its rivals and, if `compiled`, torch.compile.

    budget: scales the time spent.
    """
    args = case.make(device, torch.float32)
    figure = Figure(kernel.name, case.name, kernel.choice(device).use, case.bytes, case.flops)
    ways: dict[str, Callable[..., Any]] = {"ours": kernel}
    if figure.use == "triton":
        ways["reference"] = kernel.reference
    ways.update(kernel.rivals)
    if compiled:
        ways["compile"] = torch.compile(kernel.rivals.get("eager", kernel.reference), dynamic=False)
    good: dict[str, Callable[[], Any]] = {}
    with torch.no_grad():
        for way, function in ways.items():
            try:
                problem = wrong(kernel, args, function(*args))
            except Exception as error:  # whatever a compiler, a driver or a rival may raise
                problem = f"{type(error).__name__}: {' '.join(str(error).split())[:200]}"
            if problem:
                figure.problems[way] = problem
            else:
                good[way] = _bound(function, args)
        if "ours" in good:
            figure.times = time_ways(good, device, case.seconds * budget)
    return figure


def _bound(function: Callable[..., Any], args: tuple[Any, ...]) -> Callable[[], Any]:
    return lambda: function(*args)
