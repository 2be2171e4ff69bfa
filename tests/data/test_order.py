"""The order of examples: exactly once an epoch, and the same from wherever one starts to read."""

from __future__ import annotations

import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from gentool.data.order import Order
from gentool.data.sets import scramble

sizes = st.integers(1, 40)
seeds = st.integers(0, 2**62)


@given(sizes, seeds, st.integers(1, 100), st.integers(1, 5))
@settings(max_examples=60, deadline=None)
def test_every_example_comes_exactly_once_an_epoch(n: int, seed: int, batch: int, epochs: int) -> None:
    order = Order(n, seed)
    steps = -(-n * epochs // batch)
    stream = torch.cat([order.at(step * batch, batch) for step in range(steps)])[: n * epochs]
    for epoch in stream.view(epochs, n):
        assert sorted(epoch.tolist()) == list(range(n))


@given(sizes, seeds, st.integers(1, 60), st.lists(st.integers(0, 30), min_size=1, max_size=8))
@settings(max_examples=60, deadline=None)
def test_a_position_does_not_depend_on_what_was_read_before(n: int, seed: int, batch: int, steps: list[int]) -> None:
    """Resuming at any step gives what the undisturbed run got, also when epochs are asked for out of order."""
    used = Order(n, seed)
    for step in steps:
        assert torch.equal(used.at(step * batch, batch), Order(n, seed).at(step * batch, batch))


def test_epochs_and_seeds_differ() -> None:
    a, b = Order(1000, 0), Order(1000, 1)
    assert not torch.equal(a.epoch(0), a.epoch(1))
    assert not torch.equal(a.epoch(0), b.epoch(0))


def test_the_order_is_uniform() -> None:
    """Each example is equally often first: chi-square over 2,000 epochs of 10."""
    order = Order(10, 3)
    first = torch.bincount(torch.stack([order.epoch(e)[0] for e in range(2000)]), minlength=10).double()
    assert float(((first - 200) ** 2 / 200).sum()) < 27.9  # 0.999 quantile at 9 degrees of freedom


@given(st.integers(0, 500), st.integers(0, 9))
@settings(max_examples=30, deadline=None)
def test_scramble_is_a_permutation(n: int, salt: int) -> None:
    assert sorted(scramble(n, salt).tolist()) == list(range(n))


def test_scramble_is_the_same_for_ever() -> None:
    """splitmix64 computed by hand with Python's whole numbers; the splits of every release depend on it."""
    mask = 2**64 - 1

    def mix(i: int, salt: int) -> int:
        z = ((i + 1 + salt * 0x632BE59BD9B4E019) * 0x9E3779B97F4A7C15) & mask
        z = ((z ^ z >> 30) * 0xBF58476D1CE4E5B9) & mask
        z = ((z ^ z >> 27) * 0x94D049BB133111EB) & mask
        return z ^ z >> 31

    for salt in (0, 1, 4):
        assert scramble(300, salt).tolist() == sorted(range(300), key=lambda i: mix(i, salt))
