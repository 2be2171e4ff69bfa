"""The nearest-code launch in Triton's interpreter. Run by test_interpreter.py, with TRITON_INTERPRET=1, in a process
of its own."""

from __future__ import annotations

import pytest
import torch
from gentool_vqvae import kernels
from gentool_vqvae.kernels import nearest, nearest_agrees, nearest_code_error, nearest_config, nearest_reference
from sea import sea

CPU = torch.device("cpu")


@pytest.fixture(autouse=True)
def _poison():
    """Uninitialised memory is NaN: what the launch does not write shows."""
    torch.use_deterministic_algorithms(True, warn_only=True)
    torch.manual_seed(0)


def arguments(n: int, d: int, codes: int) -> tuple[torch.Tensor, torch.Tensor]:
    return sea(torch.randn(n, d)), sea(torch.randn(codes, d))


def test_runs_the_launch():
    assert nearest.choice(CPU).use == "triton"


# Three tiles of codes and a ragged one, two row tiles and a ragged one, at every configuration.
@pytest.mark.parametrize(
    ("n", "d", "codes"), [(300, 50, 230), (257, 16, 193), (130, 100, 97), (70, 200, 97), (3, 1, 2)]
)
def test_float64_agrees(n, d, codes):
    assert codes > 3 * nearest_config(d)["BLOCK_K"] or d == 1
    z, codebook = arguments(n, d, codes)
    index, quantised, error = nearest.op(z, codebook)
    assert nearest_agrees((z, codebook), (index, quantised, error)) == ""
    assert torch.equal(index, torch.cdist(z.double(), codebook.double()).argmin(1))


def test_every_code_is_found_where_it_lies():
    """Each code is its own nearest, whichever tile and column it stands in; the last row tile is ragged."""
    codebook = sea(torch.randn(230, 50))
    assert torch.equal(nearest.op(sea(codebook), codebook)[0], torch.arange(230))


def test_ties_go_to_the_lowest_index():
    codebook = torch.randn(40, 16).repeat(6, 1)  # equals 40 apart: in one tile and in others
    z = codebook[:40] + 0.01 * torch.randn(40, 16)
    assert torch.equal(nearest.op(sea(z), sea(codebook))[0], torch.arange(40))


def test_near_ties_keep_float32_codes():
    """Codes 2^-14 apart: tf32 alone (10 bits) takes the wrong one, the split does not."""
    base = torch.randn(1, 32)
    codebook = base + 2.0**-14 * torch.randn(200, 32)
    z = sea(codebook[torch.randperm(200)] + 2.0**-17 * torch.randn(200, 32))
    out = nearest.op(z, sea(codebook))
    assert nearest_agrees((z, codebook), out) == ""


def test_nan_rows_take_code_0_and_touch_no_other():
    z, codebook = arguments(130, 16, 70)
    expected = nearest.op(z, codebook)[0].clone()
    z[5] = float("nan")
    expected[5] = 0
    assert torch.equal(nearest.op(z, codebook)[0], expected)


def test_no_rows():
    index, quantised, error = nearest.op(torch.zeros(0, 16), torch.randn(7, 16))
    assert (index.shape, quantised.shape, error.shape) == ((0,), (0, 16), (0,))


def test_inputs_need_not_be_contiguous():
    z, codebook = torch.randn(16, 150).t(), torch.randn(16, 90).t()
    assert torch.equal(nearest.op(z, codebook)[0], nearest_reference(z, codebook)[0])


def test_gradients_are_those_of_the_reference():
    made = []
    for function in (nearest_code_error, nearest_reference):
        z, codebook = torch.randn(150, 20, requires_grad=True), torch.randn(70, 20, requires_grad=True)
        with torch.random.fork_rng():
            torch.manual_seed(1)
            z.data.normal_()
            codebook.data.normal_()
            w, v = torch.randn(150, 20), torch.randn(150)
        index, quantised, error = function(z, codebook)
        loss = (quantised * w).sum() + (error.square() * v).sum()
        first = torch.autograd.grad(loss, (z, codebook), create_graph=True)
        second = torch.autograd.grad(sum(g.square().sum() for g in first), (z, codebook))
        made.append((index, quantised, error, *first, *second))
    assert not made[0][0].requires_grad
    for mine, plain in zip(*made, strict=True):
        torch.testing.assert_close(mine, plain, rtol=1e-4, atol=1e-4)


def test_opcheck():
    torch.use_deterministic_algorithms(False)
    z, codebook = torch.randn(150, 20), torch.randn(70, 20)
    torch.library.opcheck(nearest.op, (z, codebook))
    torch.library.opcheck(nearest.op, (z.bfloat16(), codebook), test_utils=("test_schema", "test_faketensor"))


def test_too_wide_for_the_launch_takes_the_reference():
    z, codebook = torch.randn(3, kernels.WIDEST + 1), torch.randn(5, kernels.WIDEST + 1)
    assert torch.equal(nearest_code_error(z, codebook)[0], nearest_reference(z, codebook)[0])
