"""Everything about the kernels that only a GPU can tell, in one command on a CUDA machine:

    python tests/kernels/gpu_check.py [--seconds 0.5] [--skip-speed] [--json FILE]

1. correct: every kernel on every declared shape, three times on fresh random inputs, float32 and (where declared) bfloat16,
   against float64; equal results when repeated (a result that changes from run to run is a race);
2. gradients of the nearest code against the reference's;
3. the one-launch PixelCNN sampler against the cached samplers, many more pictures than programs;
4. speed: the table of `gentool bench` with torch.compile, where Triton is taken for every kernel.

Exit code 0 only if all is right.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import time
from functools import partial
from typing import Any

os.environ["GENTOOL_KERNELS"] = "triton"

import torch

from gentool.kernels import Kernel, load_kernels

failures: list[str] = []


def report(name: str, problem: str) -> None:
    print(f"{'FAILED' if problem else 'ok    '} {name}{': ' + problem if problem else ''}", flush=True)
    if problem:
        failures.append(f"{name}: {problem}")


def attempt(name: str, check: Any) -> None:
    try:
        report(name, check())
    except Exception as error:
        report(name, f"{type(error).__name__}: {str(error)[:300]}")


def check_case(kernel: Kernel, case: Any, dtype: torch.dtype, device: torch.device) -> str:
    for _ in range(3):
        args = case.make(device, dtype)
        out = kernel.op(*args)
        torch.cuda.synchronize()
        assert kernel.agree is not None
        if problem := kernel.agree(args, out):
            return problem
        again = kernel.op(*args)
        for first, second in zip(*(x if isinstance(x, tuple) else (x,) for x in (out, again)), strict=True):
            if not torch.equal(first, second):
                return "another result for the same inputs: a race"
    return ""


def check_gradients(device: torch.device) -> str:
    from gentool_vqvae.kernels import nearest_code_error, nearest_reference

    z, codebook = torch.randn(3000, 64, device=device), torch.randn(500, 64, device=device)
    weight, value = torch.randn_like(z), torch.randn(len(z), device=device)
    grads = []
    for function in (nearest_code_error, nearest_reference):
        a, b = z.clone().requires_grad_(), codebook.clone().requires_grad_()
        _, quantised, error = function(a, b)
        grads.append(torch.autograd.grad((quantised * weight).sum() + (error * value).sum(), (a, b)))
    worst = max(float((x - y).norm() / y.norm()) for x, y in zip(*grads, strict=True))
    return "" if worst < 1e-5 else f"gradients are off by {worst:.1e}"


def check_sampler(device: torch.device) -> str:
    from gentool_autoregressive import PixelCNNConfig
    from gentool_autoregressive.model import PixelCNN
    from gentool_autoregressive.one_launch import one_launch
    from gentool_autoregressive.sampler import draw

    from gentool import DataInfo, Step

    worst = 1.0
    for field in ("cone", "full"):
        config = PixelCNNConfig(channels=32, layers=6, field=field)
        model = PixelCNN(config, DataInfo(image=(1, 28, 28), levels=2)).to(device)
        step = Step(seed=1, device=device)
        with torch.no_grad():
            *_, expected = draw(model, 1000, step=step)
            *_, samples = one_launch(model, 1000, step=step)
        same = (model.quantise(samples.images) == expected).flatten(1).all(1).float().mean()
        worst = min(worst, float(same))
    return "" if worst > 0.98 else f"only {worst:.1%} of the pictures are those of the cached sampler"


def speed(device: torch.device, seconds: float) -> list[dict[str, Any]]:
    from gentool.cli.bench import _facts, _show
    from gentool.kernels.measure import measure, measure_ceilings

    ceilings = measure_ceilings(device)
    figures = []
    for kernel in load_kernels():
        for case in kernel.cases:
            figures.append(
                measure(kernel, case, device, compiled=bool(kernel.rivals.get("eager")), budget=seconds / 0.2)
            )
            print(f"timed {kernel.name} {case.name}: {figures[-1].problems or ''}", flush=True)
    print()
    _show(device, ceilings, figures)
    return [_facts(device, ceilings, figures)]


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--seconds", type=float, default=0.5)
    parser.add_argument("--skip-speed", action="store_true")
    parser.add_argument("--json", help="write the figures here")
    options = parser.parse_args()
    if not torch.cuda.is_available():
        print("There is no CUDA device here: nothing was checked.", file=sys.stderr)
        return 2
    device = torch.device("cuda", 0)
    print(torch.cuda.get_device_name(device), torch.__version__, flush=True)
    for kernel in load_kernels():
        if kernel.launch is None or kernel.agree is None:
            continue
        for case in kernel.cases:
            for dtype in kernel.machine.dtypes if kernel.machine else (torch.float32,):
                begin = time.perf_counter()
                word = str(dtype).removeprefix("torch.")
                attempt(f"{kernel.name} {case.name} {word}", partial(check_case, kernel, case, dtype, device))
                print(f"       {time.perf_counter() - begin:.1f} s", flush=True)
    attempt("gradients of the nearest code", lambda: check_gradients(device))
    attempt("one launch paints the cached sampler's pictures", lambda: check_sampler(device))
    facts = [] if options.skip_speed else speed(device, options.seconds)
    if options.json:
        with open(options.json, "w") as file:
            json.dump({"failures": failures, "speed": facts}, file, indent=1)
    print(f"\n{len(failures)} failures" if failures else "\nall as it should be")
    return 1 if failures else 0


if __name__ == "__main__":
    sys.exit(main())
