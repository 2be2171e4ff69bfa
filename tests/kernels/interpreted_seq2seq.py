"""The launches of additive attention in Triton's interpreter. Run by test_interpreter.py, with TRITON_INTERPRET=1, in a
process of its own."""

from __future__ import annotations

import math

import pytest
import torch
from gentool_seq2seq.kernels import (
    additive_scores,
    scores,
    scores_agree,
    scores_backward,
    scores_reference,
    slopes_agree,
    tile,
)
from sea import sea

CPU = torch.device("cpu")


@pytest.fixture(autouse=True)
def _poison():
    """Uninitialised memory is NaN: what the launch does not write shows."""
    torch.use_deterministic_algorithms(True, warn_only=True)
    torch.manual_seed(0)


def arguments(b: int, t: int, s: int, a: int) -> tuple[torch.Tensor, ...]:
    return sea(2 * torch.randn(b, t, a)), sea(2 * torch.randn(b, s, a)), sea(torch.randn(a))


def test_runs_the_launch():
    assert scores.choice(CPU).use == "triton"
    assert scores_backward.choice(CPU).use == "triton"


# Three whole tiles and a ragged one on every side that is walked; single rows; sides shorter than a tile.
SHAPES = [(2, 26, 29, 200), (1, 1, 26, 900), (2, 26, 1, 70), (3, 5, 7, 401), (1, 1, 1, 1)]


@pytest.mark.parametrize(("b", "t", "s", "a"), SHAPES)
def test_float64_agrees(b, t, s, a):
    q, k, v = arguments(b, t, s, a)
    assert scores_agree((q, k, v), scores.op(q, k, v)) == ""
    grad = sea(torch.randn(b, t, s))
    assert slopes_agree((grad, q, k, v), scores_backward.op(grad, q, k, v)) == ""


def test_the_shapes_have_three_passes_and_a_tail():
    for sides, a in (((26, 29), 200), ((29, 26), 200)):
        assert all(n > 3 * side for n, side in zip((*sides, a), tile(*sides, a), strict=True))
    assert tile(1, 26, 900)[2] * 3 < 900
    assert all(math.prod(tile(t, s, a)) <= 4096 for _, t, s, a in SHAPES)


def test_large_numbers_saturate():
    q, k, v = sea(torch.tensor([[[90.0, -90.0, 500.0]]])), sea(torch.zeros(1, 1, 3)), sea(torch.tensor([1.0, 2.0, 4.0]))
    assert scores.op(q, k, v).item() == 1 - 2 + 4
    dq, _, dv = scores_backward.op(sea(torch.ones(1, 1, 1)), q, k, v)
    assert not dq.any()
    assert dv.tolist() == [1, -1, 1]


def test_what_a_caller_uses_has_the_gradients_of_the_reference():
    q, k, v = (x.requires_grad_() for x in arguments(2, 18, 17, 35))
    w = torch.randn(2, 18, 17)
    mine = torch.autograd.grad((additive_scores(q, k, v) * w).sum(), (q, k, v))
    plain = torch.autograd.grad(((torch.tanh(q[:, :, None] + k[:, None]) @ v) * w).sum(), (q, k, v))
    for one, other in zip(mine, plain, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-4, atol=1e-4)


def test_float64_takes_plain_torch():
    q, k, v = (x.double() for x in arguments(1, 2, 3, 4))
    assert torch.equal(additive_scores(q, k, v), scores_reference(q, k, v))
    assert additive_scores(q, k, v).dtype == torch.float64


def test_inputs_need_not_be_contiguous():
    q, k, v = torch.randn(5, 2, 6).transpose(0, 1), torch.randn(7, 2, 6).transpose(0, 1), torch.randn(6, 2)[:, 0]
    assert scores_agree((q, k, v), scores.op(q, k, v)) == ""
    grad = torch.randn(2, 7, 5).transpose(1, 2)
    assert slopes_agree((grad, q, k, v), scores_backward.op(grad, q, k, v)) == ""


def test_nothing_to_score():
    q, k, v = torch.zeros(2, 0, 4), torch.randn(2, 3, 4), torch.randn(4)
    assert scores.op(q, k, v).shape == (2, 0, 3)
    assert not scores_backward.op(torch.zeros(2, 0, 3), q, k, v)[1].any()


def test_opcheck():
    torch.use_deterministic_algorithms(False)
    q, k, v = (x.clone() for x in arguments(2, 5, 6, 8))
    torch.library.opcheck(scores.op, (q, k, v))
    torch.library.opcheck(scores_backward.op, (torch.randn(2, 5, 6), q, k, v))
    half = (q.bfloat16(), k.bfloat16(), v)
    torch.library.opcheck(scores.op, half, test_utils=("test_schema", "test_faketensor"))
