"""gentool bench"""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer

from gentool.cli.common import DeviceOption, JsonOption, PluginOption, QuietOption, print_json, say, use_plugins

if TYPE_CHECKING:
    from gentool.kernels.measure import Ceilings, Figure

app = typer.Typer(rich_markup_mode=None, add_completion=False)


@app.command()
def bench(
    only: Annotated[str, typer.Option("--only", help="Kernels and shapes whose name contains this.")] = "",
    compiled: Annotated[bool, typer.Option("--compile", help="Time torch.compile too (a minute or more).")] = False,
    seconds: Annotated[float, typer.Option("--seconds", min=0.01, max=60, help="Time for each way and shape.")] = 0.3,
    threads: Annotated[int, typer.Option("--threads", min=0, max=1024, help="CPU threads; 0: torch's choice.")] = 0,
    device: DeviceOption = "auto",
    plugin: PluginOption = None,
    quiet: QuietOption = False,
    as_json: JsonOption = False,
) -> int:
    """Measure the kernels on this device: time, bytes, operations and the share of what the device can do.

    Every result is checked against float64 first; what is wrong is not timed, and the exit code is 1.
    """
    use_plugins(plugin)
    import torch

    from gentool.errors import UsageError
    from gentool.kernels import load_kernels
    from gentool.kernels.measure import measure, measure_ceilings
    from gentool.show.text import safe_text
    from gentool.training.devices import pick_device

    where = pick_device(device)
    if threads:
        torch.set_num_threads(threads)
    pairs = [
        (kernel, case)
        for kernel in load_kernels()
        for case in kernel.cases
        if only in f"{kernel.name} {_short(kernel.name)} {case.name}"
    ]
    if not pairs:
        raise UsageError(
            f"No kernel or shape has '{safe_text(only)[:40]}' in its name; `gentool bench` lists them all."
        )
    ceilings = measure_ceilings(where)
    figures = []
    for kernel, case in pairs:
        say(f"{_short(kernel.name)}: {case.name} ...", quiet=quiet or as_json)
        figures.append(measure(kernel, case, where, compiled=compiled, budget=seconds / 0.2))
    red = [(figure, way) for figure in figures for way in figure.problems]
    if as_json:
        print_json(_facts(where, ceilings, figures))
    else:
        _show(where, ceilings, figures)
        for figure, way in red:
            say(f"{_short(figure.kernel)}, {figure.case}, {way}: not timed, {safe_text(figure.problems[way])}")
    return 1 if any(way == "ours" for _, way in red) else 0


def _short(name: str) -> str:
    return name.split("::")[-1].replace("_", " ")


def _facts(device: Any, ceilings: Ceilings, figures: list[Figure]) -> dict[str, Any]:
    """Everything that was measured, for `--json`."""
    from dataclasses import asdict

    from gentool.training.session import device_name

    return {
        "device": f"{device}: {device_name(device)}",
        "ceilings": asdict(ceilings),
        "figures": [
            {
                **asdict(figure),
                "floor": figure.floor(ceilings),
                "share": figure.share(ceilings),
                "ratios": {way: figure.ratio(way) for way in figure.times if way != "ours"},
            }
            for figure in figures
        ],
    }


def _show(device: Any, ceilings: Ceilings, figures: list[Figure]) -> None:
    """A table: ours in milliseconds, its share of the ceiling, and how many times as long each other way takes."""
    from gentool.show.tables import Column, print_table
    from gentool.training.session import device_name

    print(f"{device_name(device)} ({device}), {ceilings.clock}")
    print(
        f"ceilings measured here: copy {ceilings.bandwidth / 1e9:.1f} GB/s, float32 product {_rate(ceilings.flops)}\n"
    )

    def times(value: float | None) -> str:
        return "" if value is None else f"{value:.1f}x"

    def percent(value: float | None) -> str:
        return "" if value is None else f"{value:.0%}"

    ways = list(dict.fromkeys(way for figure in figures for way in figure.times if way != "ours"))
    rows = []
    for figure in figures:
        timing = figure.times.get("ours")
        row: dict[str, Any] = {"kernel": _short(figure.kernel), "shape": figure.case, "by": figure.use}
        if timing is None:
            row["ms"] = "WRONG"
        else:
            row["ms"] = f"{timing.median * 1e3:.3g}"
            row["spread"] = f"{timing.low * 1e3:.3g}-{timing.high * 1e3:.3g}"
            row["share"] = figure.share(ceilings)
            row.update({way: figure.ratio(way) for way in ways})
        rows.append(row)
    print_table(
        rows,
        [
            Column("kernel", shrink=True, priority=0),
            Column("shape", shrink=True, priority=0),
            Column("by", priority=3),
            Column("ms", align="right", priority=0),
            Column("spread", "20-80 %", align="right", priority=4),
            Column("share", "of peak", align="right", priority=1, show=percent),
            *(Column(way, align="right", priority=1, show=times) for way in ways),
        ],
    )
    print("\nof peak: the least time that bytes and operations allow, over the time taken")
    print("2.0x: that way takes twice as long as gentool's")


def _rate(flops: float) -> str:
    return f"{flops / 1e12:.1f} TFLOP/s" if flops >= 1e12 else f"{flops / 1e9:.0f} GFLOP/s"
