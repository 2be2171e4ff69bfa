"""Attention and its kernel's references against loops in float64, and the memory they promise not to use."""

from __future__ import annotations

import math

import pytest
import torch
from gentool_seq2seq import attention, kernels
from gentool_seq2seq.kernels import additive_scores, scores_backward_reference, scores_reference, scores_whole
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.utils._python_dispatch import TorchDispatchMode


def by_loops(q: torch.Tensor, k: torch.Tensor, v: torch.Tensor) -> torch.Tensor:
    """v . tanh(q_i + k_j), number by number."""
    (b, t, a), s = q.shape, k.shape[1]
    out = torch.zeros(b, t, s, dtype=torch.float64)
    for n in range(b):
        for i in range(t):
            for j in range(s):
                out[n, i, j] = sum(v[x].item() * math.tanh(q[n, i, x].item() + k[n, j, x].item()) for x in range(a))
    return out


def arguments(b: int, t: int, s: int, a: int, seed: int = 0) -> tuple[torch.Tensor, ...]:
    g = torch.Generator().manual_seed(seed)
    return tuple(2 * torch.randn(*shape, generator=g, dtype=torch.float64) for shape in ((b, t, a), (b, s, a), (a,)))


@settings(max_examples=30, deadline=None)
@given(b=st.integers(1, 3), t=st.integers(1, 4), s=st.integers(1, 4), a=st.integers(1, 5), chunk=st.integers(1, 40))
def test_scores_are_those_of_loops_whatever_the_tiles(b, t, s, a, chunk):
    q, k, v = arguments(b, t, s, a, seed=b + 10 * t + 100 * s)
    before, kernels.CHUNK = kernels.CHUNK, chunk
    try:
        made = scores_reference(q, k, v)
        grads = scores_backward_reference(made + 1, q, k, v)
    finally:
        kernels.CHUNK = before
    torch.testing.assert_close(made, by_loops(q, k, v), rtol=1e-12, atol=1e-12)
    leaves = [x.clone().requires_grad_() for x in (q, k, v)]
    true = torch.autograd.grad(scores_whole(*leaves), leaves, made + 1)
    for mine, theirs in zip(grads, true, strict=True):
        torch.testing.assert_close(mine, theirs, rtol=1e-10, atol=1e-10)


def test_gradcheck():
    inputs = [x.requires_grad_() for x in arguments(2, 3, 4, 3)]
    assert torch.autograd.gradcheck(additive_scores, inputs)
    assert torch.autograd.gradcheck(lambda q, k: additive_scores(q, k, inputs[2].detach()), inputs[:2])


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_judges_accept_the_reference_and_see_a_fault(dtype):
    q, k = (x.to(dtype) for x in arguments(2, 5, 6, 8)[:2])
    v = arguments(2, 5, 6, 8)[2].float()
    out = scores_reference(q, k, v)
    assert out.dtype == torch.float32
    assert kernels.scores_agree((q, k, v), out) == ""
    assert "score" in kernels.scores_agree((q, k, v), out + 1e-3)
    grad = torch.randn_like(out)
    grads = scores_backward_reference(grad, q, k, v)
    assert kernels.slopes_agree((grad, q, k, v), grads) == ""
    assert "dk" in kernels.slopes_agree((grad, q, k, v), (grads[0], grads[1] * 1.01, grads[2]))
    assert "dv" in kernels.slopes_agree((grad, q, k, v), (*grads[:2], torch.full_like(grads[2], math.nan)))


def test_gradients_come_back_in_the_inputs_precision():
    q, k, v = (x.bfloat16().requires_grad_() for x in arguments(2, 3, 4, 5))
    additive_scores(q, k, v).sum().backward()
    assert (q.grad.dtype, k.grad.dtype, v.grad.dtype) == (torch.bfloat16,) * 3


class Largest(TorchDispatchMode):
    """The most numbers that any tensor made meanwhile held."""

    numel = 0

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        out = func(*args, **(kwargs or {}))
        for made in out if isinstance(out, tuple | list) else [out]:
            if isinstance(made, torch.Tensor):
                self.numel = max(self.numel, made.untyped_storage().nbytes() // made.element_size())
        return out


def test_nothing_of_all_pairs_times_units_is_made():
    q, k, v = (x.float().requires_grad_() for x in arguments(16, 20, 30, 64))
    with Largest() as ours:
        additive_scores(q, k, v).sum().backward()
    assert ours.numel <= max(kernels.CHUNK, q.numel(), k.numel())
    assert ours.numel < 16 * 20 * 30 * 64 / 4
    with Largest() as theirs:
        scores_whole(q, k, v).sum().backward()
    assert theirs.numel == 16 * 20 * 30 * 64


@pytest.mark.parametrize("kind", ["additive", "dot", "general"])
def test_attention_is_its_equations(kind):
    """Equations 5 and 6 word by word, over the source's own words alone."""
    torch.manual_seed(1)
    made = attention.make(kind, 4, 6, 5).double()
    s, h = torch.randn(2, 3, 4).double(), torch.randn(2, 5, 6).double()
    length = [5, 2]
    mask = torch.arange(5) < torch.tensor(length)[:, None]
    context, alpha = made(s, made.keys(h), h, mask)
    for b in range(2):
        for i in range(3):
            if kind == "additive":
                e = [made.v @ torch.tanh(made.W(s[b, i]) + made.U(h[b, j])) for j in range(length[b])]
            elif kind == "dot":
                e = [made.W(s[b, i]) @ made.U(h[b, j]) / math.sqrt(5) for j in range(length[b])]
            else:
                e = [s[b, i] @ (made.W.weight @ h[b, j]) for j in range(length[b])]
            powers = [math.exp(x.item()) for x in e]
            weights = [x / sum(powers) for x in powers]
            expected = sum(w * h[b, j] for j, w in enumerate(weights))
            torch.testing.assert_close(context[b, i], expected)
            torch.testing.assert_close(alpha[b, i, : length[b]], torch.tensor(weights).double())
            assert not alpha[b, i, length[b] :].any()


def test_none_is_no_attention():
    assert attention.make("none", 4, 6, 5) is None
