"""Which of kernel and reference runs, and that the choice is said."""

from __future__ import annotations

import contextlib
import subprocess
import sys

import pytest
import torch

from gentool import UsageError
from gentool.kernels import Case, Kernel, choices, load_kernels, no_kernel, ops

CPU = torch.device("cpu")
CUDA = torch.device("cuda", 0)


def double(x: torch.Tensor) -> torch.Tensor:
    return 2 * x


def made(**facts) -> Kernel:
    return Kernel(name="test::double", reference=double, launch=double, op=double, **facts)


@pytest.fixture
def gpu(monkeypatch):
    """A GPU with Triton, as far as the choice can see."""
    monkeypatch.delenv("GENTOOL_KERNELS", raising=False)
    monkeypatch.setattr(ops, "has_triton", lambda: True)
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda device=None: (9, 0))
    monkeypatch.setattr(torch.random, "fork_rng", lambda *a, **k: contextlib.nullcontext())


def test_a_cpu_takes_the_reference(monkeypatch):
    monkeypatch.delenv("GENTOOL_KERNELS", raising=False)
    assert made().choice(CPU) == ("reference", "cpu device")


def test_a_gpu_takes_triton_unless_told_otherwise(gpu, monkeypatch):
    assert made().choice(CUDA) == ("triton", "CUDA device")
    monkeypatch.setenv("GENTOOL_KERNELS", "reference")
    assert made().choice(CUDA) == ("reference", "GENTOOL_KERNELS=reference")


def test_an_unmeasured_kernel_is_taken_only_when_asked_for(gpu, monkeypatch):
    kernel = made(opt_in="unmeasured")
    assert kernel.choice(CUDA) == ("reference", "unmeasured")
    monkeypatch.setenv("GENTOOL_KERNELS", "triton")
    assert kernel.choice(CUDA).use == "triton"


@pytest.mark.parametrize("lacking", ["triton", "a new GPU"])
def test_what_is_missing_is_said(gpu, monkeypatch, lacking):
    monkeypatch.setattr(ops, "has_triton", lambda: lacking != "triton")
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda device=None: (7, 0))
    use, why = made().choice(CUDA)
    assert use == "reference"
    assert ("not installed" in why) == (lacking == "triton")


def test_a_kernel_that_fails_its_check_is_not_used(gpu):
    """The first use on a GPU compares with float64: a compiler that is wrong there must not spoil a run."""
    case = Case(name="three", make=lambda device, dtype: (torch.ones(3),))

    def judge(args, out):
        return "" if torch.equal(out, 2 * args[0]) else "not the double"

    assert made(cases=[case], agree=judge).choice(CUDA) == ("triton", "checked here")
    wrong = made(cases=[case], agree=judge)
    wrong.op = lambda x: x
    assert wrong.choice(CUDA) == ("reference", "failed its check here: not the double")

    def broken(x):
        raise RuntimeError("no such instruction\nat line 3")

    wrong = made(cases=[case], agree=judge)
    wrong.op = broken
    assert wrong.choice(CUDA) == ("reference", "failed its check here: RuntimeError: no such instruction")


@pytest.mark.parametrize(("word", "part"), [("fast", "must be one of"), ("triton", "TRITON_INTERPRET=1")])
def test_a_wrong_wish_is_refused(monkeypatch, word, part):
    monkeypatch.delenv("TRITON_INTERPRET", raising=False)
    monkeypatch.setattr(ops, "has_triton", lambda: True)
    monkeypatch.setenv("GENTOOL_KERNELS", word)
    with pytest.raises(UsageError, match=part):
        made().choice(CPU)


def test_an_operation_without_kernel_says_why():
    assert no_kernel("test::none", reference=double, note="nothing to gain").choice(CUDA) == (
        "reference",
        "nothing to gain",
    )
    del ops._REGISTERED["test::none"]


def test_choices_name_every_kernel(monkeypatch):
    monkeypatch.delenv("GENTOOL_KERNELS", raising=False)
    rows = {row["kernel"]: row for row in choices("cpu")}
    assert {"gentool_vqvae::nearest", "gentool_autoregressive::paint"} <= set(rows)
    assert all(row["use"] == "reference" and row["why"] for row in rows.values())
    assert len(load_kernels()) == len(rows)


def test_triton_is_neither_needed_nor_imported():
    code = (
        "import sys; sys.modules['triton'] = None\n"
        "import torch, gentool.kernels\n"
        "from gentool_vqvae.kernels import nearest_code\n"
        "import gentool_autoregressive.kernels\n"
        "nearest_code(torch.randn(5, 3), torch.randn(4, 3))\n"
        "assert not [name for name in sys.modules if name.startswith('triton.')]\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
