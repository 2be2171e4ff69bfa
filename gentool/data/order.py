"""The order of examples: a permutation per epoch computed from (seed, epoch), indexed by position. No state."""

from __future__ import annotations

import torch
from torch import Tensor

from gentool.randomness import derive_seed


class Order:
    """An endless stream of the indices 0 … n-1: the permutations of epoch 0, 1, 2, … one after the other.

    So every example comes exactly once in positions [e n, (e+1) n), a batch may straddle the end of an epoch, and
    any position can be looked up at any time: resuming needs nothing but the position.
    """

    def __init__(self, n: int, seed: int, device: torch.device | str = "cpu") -> None:
        if n < 1:
            raise ValueError("an order needs at least one example")
        self.n = n
        self.seed = seed
        self.device = torch.device(device)
        self._epochs: dict[int, Tensor] = {}

    def epoch(self, number: int) -> Tensor:
        """The permutation of one epoch, int64 (n,). The last two asked for are kept."""
        if number not in self._epochs:
            # Drawn on the CPU whatever the device: the same run has the same order everywhere.
            generator = torch.Generator().manual_seed(derive_seed(self.seed, "order", number))
            while len(self._epochs) > 1:
                del self._epochs[min(self._epochs, key=lambda kept: (kept < number, kept))]
            self._epochs[number] = torch.randperm(self.n, generator=generator).to(self.device)
        return self._epochs[number]

    def at(self, position: int, count: int) -> Tensor:
        """The indices at positions [position, position + count), int64 (count,)."""
        number, offset = divmod(position, self.n)
        if offset + count <= self.n:
            return self.epoch(number)[offset : offset + count]
        parts = []
        while count > 0:
            part = self.epoch(number)[offset : offset + count]
            parts.append(part)
            count -= len(part)
            number, offset = number + 1, 0
        return torch.cat(parts)
