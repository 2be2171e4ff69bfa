"""An encoder reads the source, a decoder writes the target one token at a time.

Without attention all that the decoder knows of the source is one vector c, the encoder's last hidden state (Cho et al.
2014; Sutskever, Vinyals & Le 2014). With attention each step i has a context c_i of its own, a weighted mean of the
encoder's annotations h_j (Bahdanau, Cho & Bengio 2015). All else is the same, so that the two compare.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.nn.utils.rnn import pack_padded_sequence, pad_packed_sequence

from gentool import DataInfo, Step, UsageError
from gentool.data.tokens import tokenizer
from gentool_seq2seq import attention as kinds
from gentool_seq2seq.cells import Recurrence, State

if TYPE_CHECKING:
    from gentool_seq2seq import Seq2SeqConfig


@dataclass
class Memory:
    """What a decoder sees of a batch of sources.

    annotations h (B, N, D); keys (B, N, A), what attention scores them by; mask (B, N), True on the source's own tokens;
    context c (B, D), the encoder's last hidden state (of a bidirectional one: where each direction ended).
    """

    annotations: Tensor
    keys: Tensor | None
    mask: Tensor
    context: Tensor

    def pick(self, rows: Tensor) -> Memory:
        """These rows alone."""
        keys = None if self.keys is None else self.keys[rows]
        return Memory(self.annotations[rows], keys, self.mask[rows], self.context[rows])


class Encoder(nn.Module):
    """A recurrent network over the embedded source, in one or both directions. Packed, so that the backward direction
    begins at each sentence's own end, not in its padding."""

    def __init__(self, config: Seq2SeqConfig, tokens: int, pad: int | None) -> None:
        super().__init__()
        self.embedding = embedding(tokens, config.embed, pad)
        self.dropout = nn.Dropout(config.dropout)
        made = {"gru": nn.GRU, "lstm": nn.LSTM}[config.cell]
        self.rnn = made(
            config.embed,
            config.hidden,
            config.layers,
            batch_first=True,
            bidirectional=config.bidirectional,
            dropout=config.dropout if config.layers > 1 else 0.0,
        )
        self.size = config.hidden * (2 if config.bidirectional else 1)

    def forward(self, source: Tensor, length: Tensor) -> tuple[Tensor, Tensor]:
        """source (B, N), length (B,) -> annotations (B, N, size) and the last layer's last hidden state (B, size)."""
        embedded = self.dropout(self.embedding(source))
        packed = pack_padded_sequence(embedded, length.cpu().clamp(min=1), batch_first=True, enforce_sorted=False)
        out, last = self.rnn(packed)
        hidden = last[0] if isinstance(last, tuple) else last
        annotations, _ = pad_packed_sequence(out, batch_first=True, total_length=source.shape[1])
        ways = 2 if self.rnn.bidirectional else 1
        return annotations, hidden[-ways:].transpose(0, 1).flatten(1)


class Seq2Seq(nn.Module):
    """model `seq2seq`. B sources, N source tokens, T target tokens, V target vocabulary, L layers, H = config.hidden.

    The order within a step i of the decoder (config.order), E y being the embedding of the token before:
        bahdanau        c_i = attend(s_{i-1});  s_i = f(s_{i-1}, [E y; c_i])        (2015, appendix A.1.1 and A.2)
        luong           s_i = f(s_{i-1}, E y);  c_i = attend(s_i)                   (Luong et al. 2015, section 3.1)
        input-feeding   s_i = f(s_{i-1}, [E y; o_{i-1}]);  c_i = attend(s_i)        (the same, section 3.3)
    and in all of them o_i = tanh(W [s_i; c_i]), p(y_i) = softmax(V o_i). Without attention c_i = c throughout.
    """

    conditional = False

    def __init__(self, config: Seq2SeqConfig, info: DataInfo) -> None:
        super().__init__()
        if not {"source", "target"} <= set(info.vocabularies):
            raise UsageError(
                f"'seq2seq' translates pairs of sentences, and '{info.name}' has none; choose --data numbers, eng-fra or "
                "pairs:FILE."
            )
        self.config, self.info = config, info
        self.source, self.target = tokenizer(info, "source"), tokenizer(info, "target")
        self.encoder = Encoder(config, self.source.size, self.source.pad)
        size, hidden = self.encoder.size, config.hidden
        self.embedding = embedding(self.target.size, config.embed, self.target.pad)
        self.dropout = nn.Dropout(config.dropout)
        self.attention = kinds.make(config.attention, hidden, size, config.attention_width or hidden)
        extra = {"bahdanau": size, "luong": 0, "input-feeding": config.embed}[config.order]
        self.rnn = Recurrence(config.cell, config.embed + extra, hidden, config.layers, config.dropout)
        self.bridge = nn.Linear(size, self.rnn.state_size)
        self.readout = nn.Linear(hidden + size, config.embed)
        self.V = None if config.tied else embedding(self.target.size, config.embed, None)
        self.bias = nn.Parameter(torch.zeros(self.target.size))

    # -- one pass ------------------------------------------------------------------------------------------------------

    def encode(self, source: Tensor, source_length: Tensor) -> tuple[Memory, State]:
        """What the decoder sees of sources (B, N), and the state it begins with: s_0 = tanh(W c)."""
        annotations, context = self.encoder(source, source_length)
        mask = torch.arange(source.shape[1], device=source.device) < source_length.clamp(min=1)[:, None]
        keys = None if self.attention is None else self.attention.keys(annotations)
        state = self.rnn.begin(self.bridge(context))
        if self.config.order == "input-feeding":
            state["fed"] = context.new_zeros(len(source), 1, self.config.embed)
        return Memory(annotations, keys, mask, context), state

    def attend(self, s: Tensor, memory: Memory) -> tuple[Tensor, Tensor | None]:
        """Contexts (B, T, D) and weights (B, T, N) of decoder states s (B, T, H)."""
        if self.attention is None:
            return memory.context[:, None].expand(-1, s.shape[1], -1), None
        assert memory.keys is not None
        context, alpha = self.attention(s, memory.keys, memory.annotations, memory.mask)
        return context, alpha

    def read_out(self, s: Tensor, context: Tensor) -> Tensor:
        """o = tanh(W [s; c]), (..., E)."""
        return torch.tanh(self.readout(torch.cat([s, context], -1)))

    def decode(self, tokens: Tensor, memory: Memory, state: State) -> tuple[Tensor, Tensor | None]:
        """Teacher forcing: tokens (B, T) from <start> on -> o (B, T, E), of which `logits` are made, and the weights of
        attention (B, T, N)."""
        embedded = self.dropout(self.embedding(tokens))
        constant = self.attention is None and self.config.order == "bahdanau"  # c_i = c: known beforehand
        if constant or self.config.order == "luong":
            if constant:
                embedded = torch.cat([embedded, self.attend(embedded, memory)[0]], -1)
            s = self.rnn.run(embedded, state)
            context, alpha = self.attend(s, memory)
            return self.dropout(self.read_out(s, context)), alpha
        outs, alphas = [], []
        inputs = self.rnn.prepare(embedded)  # E y's share of the first layer, all steps at once
        for x in inputs.unbind(1):
            o, state, alpha = self._step(x[:, None], memory, state)
            outs.append(o)
            alphas.append(alpha)
        weights = None if alphas[0] is None else torch.cat([a for a in alphas if a is not None], 1)
        return self.dropout(torch.cat(outs, 1)), weights

    def _step(self, x: Tensor, memory: Memory, state: State) -> tuple[Tensor, State, Tensor | None]:
        """One step of K hypotheses a source: x (B, K, ...) is E y's share of the first layer."""
        if self.config.order == "bahdanau":
            context, alpha = self.attend(self.rnn.top(state), memory)
            s, state = self.rnn.step(x, context, state)
            return self.read_out(s, context), state, alpha
        fed = state["fed"] if self.config.order == "input-feeding" else None
        s, state = self.rnn.step(x, fed, state)
        context, alpha = self.attend(s, memory)
        o = self.read_out(s, context)
        if fed is not None:
            state["fed"] = o
        return o, state, alpha

    def advance(self, tokens: Tensor, memory: Memory, state: State) -> tuple[Tensor, State, Tensor | None]:
        """The last tokens (B, K) of K hypotheses a source -> logits (B, K, V), the next state, and weights (B, K, N).

        The tensors of a state are (B, K, ...): `encode` gives those of one hypothesis.
        """
        o, state, alpha = self._step(self.rnn.prepare(self.embedding(tokens)), memory, state)
        return self.logits(o), state, alpha

    def logits(self, o: Tensor) -> Tensor:
        """Scores of the target's tokens (..., V): V o + b, with V the target's embedding where they are tied."""
        return F.linear(o, (self.embedding if self.V is None else self.V).weight, self.bias)

    # -- what is promised ----------------------------------------------------------------------------------------------

    def score(self, source: Tensor, source_length: Tensor, target: Tensor) -> Tensor:
        """Logits (B, T, V) of the token after each of target (B, T), whose first column is <start>."""
        memory, state = self.encode(source, source_length)
        return self.logits(self.decode(target, memory, state)[0])

    @torch.no_grad()
    def translate(self, source: Tensor, source_length: Tensor, *, step: Step, **options: Any) -> list[list[int]]:
        """The best translation of each source: ids without <start> and <end>. `options`: see `search.Search`."""
        from gentool_seq2seq.search import Search, search

        return [found[0].tokens for found in search(self, source, source_length, Search(**options), step=step)]


def embedding(tokens: int, width: int, pad: int | None) -> nn.Embedding:
    """Vectors of length about 1, so that they may serve as the output's weights too; padding's is 0."""
    made = nn.Embedding(tokens, width, padding_idx=pad)
    with torch.no_grad():
        made.weight.normal_(0, width**-0.5)
        if pad is not None:
            made.weight[pad] = 0
    return made
