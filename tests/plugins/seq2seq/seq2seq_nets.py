"""Small translators with known vocabularies, and batches of random sentences for them."""

from __future__ import annotations

import torch
from gentool_seq2seq import Seq2SeqConfig
from gentool_seq2seq.model import Seq2Seq
from torch import Tensor

from gentool import DataInfo
from gentool.data.tokens import Words

ORDERS = ("bahdanau", "luong", "input-feeding")
ATTENTIONS = ("none", "additive", "dot", "general")


def info(source: int = 9, target: int = 7) -> DataInfo:
    """Vocabularies of so many words: a0, a1, … and b0, b1, …"""
    sides = {"source": ("a", source), "target": ("b", target)}
    return DataInfo(
        name="made up",
        vocabularies={role: Words([f"{letter}{i}" for i in range(n)]).to_json() for role, (letter, n) in sides.items()},
        extra={"examples": ["a0 a1", "a2"]},
    )


def net(seed: int = 0, source: int = 9, target: int = 7, scale: float = 1.0, **options: object) -> Seq2Seq:
    """A translator in float64, in eval mode. scale: of all weights, so that its opinions are strong."""
    torch.manual_seed(seed)
    made = Seq2Seq(Seq2SeqConfig(**{"embed": 6, "hidden": 5, **options}), info(source, target))  # type: ignore[arg-type]
    with torch.no_grad():
        for p in made.parameters():
            p.mul_(scale)
    return made.double().eval()


def sentences(lengths: list[int], words: int, *, seed: int = 0) -> list[list[int]]:
    """Random sources of these lengths, <end> (2) among them."""
    g = torch.Generator().manual_seed(seed)
    return [[*torch.randint(4, 4 + words, (n - 1,), generator=g).tolist(), 2] for n in lengths]


def padded(rows: list[list[int]], *, to: int = 0) -> tuple[Tensor, Tensor]:
    """(B, N) filled with <pad> (0), and lengths."""
    longest = max(to, *map(len, rows))
    return torch.tensor([row + [0] * (longest - len(row)) for row in rows]), torch.tensor([len(row) for row in rows])
