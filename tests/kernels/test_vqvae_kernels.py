"""The plain references of the VQ operations against brute force in float64."""

from __future__ import annotations

import pytest
import torch
from gentool_vqvae import kernels
from gentool_vqvae.kernels import code_statistics, ema_update, nearest_code, nearest_code_error, nearest_index
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.utils._python_dispatch import TorchDispatchMode


def brute(z: torch.Tensor, codebook: torch.Tensor) -> torch.Tensor:
    return (z.double()[:, None] - codebook.double()).square().sum(2).argmin(1)


@settings(max_examples=60, deadline=None)
@given(
    n=st.integers(1, 40),
    d=st.integers(1, 6),
    codes=st.sampled_from([1, 2, 31, 32, 64, 70, 96, 160]),
    chunk=st.sampled_from([1, 300, 10**6]),
    seed=st.integers(0, 10**6),
)
def test_nearest_is_exact_and_ties_go_low(n, d, codes, chunk, seed):
    """Small whole numbers: every score is exact, and ties abound."""
    g = torch.Generator().manual_seed(seed)
    z = torch.randint(-2, 3, (n, d), generator=g).float()
    codebook = torch.randint(-2, 3, (codes, d), generator=g).float()
    distances = (z.double()[:, None] - codebook.double()).square().sum(2)
    index = nearest_index(z, codebook, chunk)
    lowest = (distances == distances.amin(1, keepdim=True)).to(torch.uint8).argmax(1)  # the first of the equals
    assert torch.equal(index, lowest)


def test_real_numbers_agree_with_float64():
    torch.manual_seed(0)
    z, codebook = torch.randn(400, 32), torch.randn(256, 32)
    index, quantised, error = nearest_code_error(z, codebook)
    assert torch.equal(index, brute(z, codebook))
    assert torch.equal(quantised, codebook[index])
    torch.testing.assert_close(error, (z.double() - codebook[index].double()).square().sum(1).float())
    assert kernels.nearest_agrees((z, codebook), (index, quantised, error)) == ""


def test_the_judge_can_say_no():
    torch.manual_seed(0)
    z, codebook = torch.randn(50, 8), torch.randn(20, 8)
    index, quantised, error = nearest_code_error(z, codebook)
    other = index.clone()
    other[7] = (other[7] + 1) % 20
    assert "farther" in kernels.nearest_agrees((z, codebook), (other, codebook[other], error))
    assert "range" in kernels.nearest_agrees((z, codebook), (index + 20, quantised, error))
    assert "not its code" in kernels.nearest_agrees((z, codebook), (index, quantised + 1e-6, error))
    assert "error" in kernels.nearest_agrees((z, codebook), (index, quantised, error * 1.01))
    nan = torch.full_like(quantised, float("nan"))
    assert kernels.nearest_agrees((z, codebook), (index, nan, error))


def test_nan_rows_take_a_code_and_others_are_untouched():
    torch.manual_seed(0)
    z, codebook = torch.randn(9, 4), torch.randn(64, 4)
    index = nearest_index(z, codebook)
    z[3] = float("nan")
    index[3] = 0
    assert torch.equal(nearest_index(z, codebook), index)


class Largest(TorchDispatchMode):
    """The most numbers that any tensor made meanwhile held."""

    numel = 0

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        out = func(*args, **(kwargs or {}))
        for made in out if isinstance(out, tuple | list) else [out]:
            if isinstance(made, torch.Tensor):
                self.numel = max(self.numel, made.untyped_storage().nbytes() // made.element_size())
        return out


def test_there_is_no_n_by_k_matrix():
    z, codebook = torch.randn(8192, 16), torch.randn(512, 16)
    with Largest() as ours:
        index, _ = nearest_code(z, codebook)
        code_statistics(z, index, 512)
    assert ours.numel <= max(kernels.CHUNK, z.numel())
    with Largest() as theirs:
        kernels.nearest_whole(z, codebook)
    assert theirs.numel == 8192 * 512


def test_autocast_does_not_change_codes():
    torch.manual_seed(0)
    z, codebook = torch.randn(500, 32), torch.randn(128, 32)
    plain = nearest_code(z, codebook)
    with torch.autocast("cpu", torch.bfloat16):
        cast = nearest_code(z, codebook)
    assert torch.equal(plain[0], cast[0])
    assert cast[1].dtype == torch.float32
    assert torch.equal(nearest_code(z.bfloat16(), codebook)[0], brute(z.bfloat16(), codebook))


def test_gradient_goes_to_the_chosen_codes_alone():
    z = torch.randn(30, 4, dtype=torch.float32, requires_grad=True)
    codebook = torch.randn(8, 4, requires_grad=True)
    index, quantised = nearest_code(z, codebook)
    weight = torch.randn(30, 4)
    gz, ge = torch.autograd.grad((quantised * weight).sum(), (z, codebook), allow_unused=True)
    assert gz is None
    torch.testing.assert_close(ge, torch.zeros(8, 4).index_add(0, index, weight))


def test_dynamo_sees_through_the_choice():
    compiled = torch.compile(nearest_code, backend="eager", fullgraph=True)
    z, codebook = torch.randn(30, 4), torch.randn(8, 4)
    assert torch.equal(compiled(z, codebook)[0], nearest_code(z, codebook)[0])


@pytest.mark.parametrize("n", [0, 1, 700])
def test_statistics_are_those_of_one_hot_matrices(n):
    torch.manual_seed(0)
    z, index = torch.randn(n, 5, requires_grad=True), torch.randint(0, 9, (n,))
    counts, sums = code_statistics(z, index, 9)
    choice = torch.nn.functional.one_hot(index, 9).double()
    assert torch.equal(counts.double(), choice.sum(0))
    torch.testing.assert_close(sums, (choice.T @ z.double()).float())
    assert not sums.requires_grad
    assert torch.equal(sums, code_statistics(z, index, 9)[1])


def test_ema_update_follows_the_paper():
    """Equations 6 to 8, element by element."""
    torch.manual_seed(0)
    z, index = torch.randn(40, 3).double(), torch.randint(0, 4, (40,))
    usage, sums = torch.rand(5).double(), torch.randn(5, 3).double()
    new_usage, new_sums, codebook = ema_update(z, index, usage, sums, 0.9)
    for i in range(5):
        chosen = z[index == i]
        assert new_usage[i] == pytest.approx(float(0.9 * usage[i] + 0.1 * len(chosen)))
        torch.testing.assert_close(new_sums[i], 0.9 * sums[i] + 0.1 * chosen.sum(0), rtol=1e-5, atol=1e-6)
        torch.testing.assert_close(codebook[i], new_sums[i] / new_usage[i])
