"""Attention: what of the source a step of the decoder looks at.

    alpha_ij = softmax_j(e_ij),   c_i = sum_j alpha_ij h_j      (Bahdanau, Cho & Bengio 2015, equations 5 and 6)

The kinds differ in the score e_ij of a decoder state s_i (size S) and an annotation h_j (size D). Queries come as
(B, T, S): T steps of a batch, or T hypotheses of a beam, at once.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from gentool_seq2seq.kernels import additive_scores


class Attention(nn.Module):
    """What the kinds share: `keys` once a source, then the context of any number of queries."""

    def keys(self, annotations: Tensor) -> Tensor:
        """What of the annotations (B, N, D) the score needs, (B, N, A): made once a source."""
        raise NotImplementedError

    def energies(self, queries: Tensor, keys: Tensor) -> Tensor:
        """e (B, T, N) of queries (B, T, S) and keys (B, N, A)."""
        raise NotImplementedError

    def forward(self, queries: Tensor, keys: Tensor, annotations: Tensor, mask: Tensor) -> tuple[Tensor, Tensor]:
        """(contexts (B, T, D), weights (B, T, N)). mask (B, N) is True on the source's own tokens: others weigh 0."""
        e = self.energies(queries, keys)
        alpha = e.masked_fill(~mask[:, None], -math.inf).softmax(-1)
        return alpha.to(annotations.dtype) @ annotations, alpha


class Additive(Attention):
    """e_ij = v . tanh(W s_i + U h_j): a small perceptron (Bahdanau et al. 2015, appendix A.1.2)."""

    def __init__(self, state: int, annotation: int, width: int) -> None:
        super().__init__()
        self.W = nn.Linear(state, width, bias=False)
        self.U = nn.Linear(annotation, width)
        self.v = nn.Parameter(torch.empty(width).uniform_(-1, 1) / math.sqrt(width))

    def keys(self, annotations: Tensor) -> Tensor:
        return self.U(annotations)  # type: ignore[no-any-return]

    def energies(self, queries: Tensor, keys: Tensor) -> Tensor:
        return additive_scores(self.W(queries), keys, self.v)


class ScaledDot(Attention):
    """e_ij = (W s_i) . (U h_j) / sqrt(A) (Vaswani et al. 2017, equation 1, with one head)."""

    def __init__(self, state: int, annotation: int, width: int) -> None:
        super().__init__()
        self.W = nn.Linear(state, width, bias=False)
        self.U = nn.Linear(annotation, width, bias=False)

    def keys(self, annotations: Tensor) -> Tensor:
        return self.U(annotations) / math.sqrt(self.U.out_features)  # type: ignore[no-any-return]

    def energies(self, queries: Tensor, keys: Tensor) -> Tensor:
        return self.W(queries) @ keys.transpose(1, 2)  # type: ignore[no-any-return]


class General(Attention):
    """e_ij = s_i . W h_j (Luong, Pham & Manning 2015, equation 8, "general")."""

    def __init__(self, state: int, annotation: int, width: int) -> None:
        super().__init__()
        self.W = nn.Linear(annotation, state, bias=False)

    def keys(self, annotations: Tensor) -> Tensor:
        return self.W(annotations)  # type: ignore[no-any-return]

    def energies(self, queries: Tensor, keys: Tensor) -> Tensor:
        return queries @ keys.transpose(1, 2)


KINDS: dict[str, type[Additive] | type[ScaledDot] | type[General]] = {
    "additive": Additive,
    "dot": ScaledDot,
    "general": General,
}


def make(kind: str, state: int, annotation: int, width: int) -> Attention | None:
    """The attention of a kind; None for "none"."""
    return None if kind == "none" else KINDS[kind](state, annotation, width)
