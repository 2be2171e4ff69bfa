"""The bench: nothing wrong is timed, and its figures are consistent."""

from __future__ import annotations

import json

import pytest
import torch

from gentool.kernels import Case, Kernel
from gentool.kernels.measure import Ceilings, Figure, Timing, measure, measure_ceilings, time_ways

CPU = torch.device("cpu")
CASE = Case(name="small", make=lambda device, dtype: (torch.ones(1000),), bytes=8000, flops=1000, seconds=0.01)


def double(x: torch.Tensor) -> torch.Tensor:
    return 2 * x


def triple(x: torch.Tensor) -> torch.Tensor:
    return 3 * x


def missing(x: torch.Tensor) -> torch.Tensor:
    raise NotImplementedError("not on this device")


def test_what_is_wrong_is_not_timed():
    kernel = Kernel(name="test::double", reference=double, rivals={"right": double, "wrong": triple, "absent": missing})
    figure = measure(kernel, CASE, CPU)
    assert set(figure.times) == {"ours", "right"}
    assert "off by" in figure.problems["wrong"]
    assert "not on this device" in figure.problems["absent"]


def test_no_speed_of_a_wrong_kernel():
    kernel = Kernel(name="test::bad", reference=triple, rivals={"right": double}, agree=lambda args, out: "not double")
    figure = measure(kernel, CASE, CPU)
    assert figure.problems["ours"] == "not double"
    assert figure.times == {}
    assert figure.share(Ceilings(1, 1, "")) is None
    assert figure.ratio("right") is None


def test_shares_and_ratios():
    figure = Figure("k", "c", "reference", bytes=100, flops=1000)
    figure.times = {"ours": Timing(2.0, 1.9, 2.1, 5), "other": Timing(5.0, 5.0, 5.0, 5)}
    assert figure.floor(Ceilings(bandwidth=100, flops=2000, clock="")) == 1.0  # bytes bind
    assert figure.floor(Ceilings(bandwidth=1000, flops=1000, clock="")) == 1.0  # operations bind
    assert figure.share(Ceilings(bandwidth=100, flops=2000, clock="")) == 0.5
    assert figure.ratio("other") == 2.5


def test_ways_are_timed_in_turns():
    order: list[str] = []
    timings = time_ways({"a": lambda: order.append("a"), "b": lambda: order.append("b")}, CPU, seconds=0.001)
    assert order[:6] == ["a", "b"] * 3
    assert timings["a"].repeats == timings["b"].repeats >= 3
    assert timings["a"].low <= timings["a"].median <= timings["a"].high


def test_ceilings_are_of_this_planet():
    ceilings = measure_ceilings(CPU)
    assert 1e8 < ceilings.bandwidth < 1e13
    assert 1e8 < ceilings.flops < 1e15


def test_bench_as_a_person_calls_it(cli):
    done = cli("bench", "--only", "nearest digits", "--seconds", "0.01", "--threads", "1", "--json")
    assert done.code == 0
    facts = json.loads(done.out)
    (figure,) = facts["figures"]
    assert figure["kernel"] == "gentool_vqvae::nearest"
    assert figure["use"] == "reference"
    assert 0 < figure["share"] < 3
    assert set(figure["ratios"]) == {"eager", "vendor"}

    done = cli("bench", "--only", "nearest digits", "--seconds", "0.01", "--threads", "1", "-q")
    assert done.code == 0
    assert done.err == ""
    assert all(len(line) <= 80 for line in done.out.splitlines() if not line.startswith(("kernel", "nearest")))
    assert "of peak" in done.out


@pytest.mark.parametrize("arguments", [("--only", "no such thing"), ("--device", "cuda:77"), ("--seconds", "0")])
def test_wrong_calls(cli, arguments):
    done = cli("bench", *arguments)
    assert done.code == 2
    assert done.out == ""
    assert len(done.err.strip().splitlines()) == 1
