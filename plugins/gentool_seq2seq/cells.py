"""The decoder's recurrence, f(s_{i-1}, x_i): a step written as in the papers, and a run over a whole target by torch.nn.

A state is a flat mapping of tensors, hypotheses of a source in the second dimension: "hidden" and, for an LSTM, "cell",
each (B, K, L * H); a model may add its own.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

State = dict[str, Tensor]


class Recurrence(nn.Module):
    """L layers of GRU (Cho et al. 2014) or LSTM (Hochreiter & Schmidhuber 1997) cells of H units; dropout between layers.

    The first layer's input is [x; extra]: x is known beforehand (`prepare` multiplies it for all steps at once), extra
    only when the step is made.
    """

    def __init__(self, cell: str, inputs: int, hidden: int, layers: int, dropout: float) -> None:
        super().__init__()
        self.cell, self.hidden, self.layers = cell, hidden, layers
        made = {"gru": nn.GRU, "lstm": nn.LSTM}[cell]
        self.net = made(inputs, hidden, layers, batch_first=True, dropout=dropout if layers > 1 else 0.0)
        self.dropout = nn.Dropout(dropout)

    @property
    def state_size(self) -> int:
        """Numbers in a state."""
        return self.layers * self.hidden * (2 if self.cell == "lstm" else 1)

    def begin(self, flat: Tensor) -> State:
        """The state of one hypothesis a source from (B, state_size): hidden states between -1 and 1."""
        parts = torch.split(flat[:, None], self.layers * self.hidden, -1)
        return {"hidden": parts[0].tanh()} | ({"cell": parts[1]} if self.cell == "lstm" else {})

    def top(self, state: State) -> Tensor:
        """The last layer's hidden state (B, K, H)."""
        return state["hidden"][..., -self.hidden :]

    def run(self, inputs: Tensor, state: State) -> Tensor:
        """All steps at once: inputs (B, T, I) -> hidden states (B, T, H). The same as `step` after `step`."""
        parts = [
            state[name][:, 0].view(-1, self.layers, self.hidden).transpose(0, 1).contiguous()
            for name in ("hidden", "cell")[: 2 if self.cell == "lstm" else 1]
        ]
        out: Tensor = self.net(inputs, tuple(parts) if self.cell == "lstm" else parts[0])[0]
        return out

    def prepare(self, x: Tensor) -> Tensor:
        """W_x x + b of the first layer for x (..., X), (..., 3H or 4H)."""
        return F.linear(x, self.net.weight_ih_l0[:, : x.shape[-1]], self.net.bias_ih_l0)

    def step(self, prepared: Tensor, extra: Tensor | None, state: State) -> tuple[Tensor, State]:
        """One step of every hypothesis: `prepare`d inputs (B, K, ·) and extra (B, K, X') -> s (B, K, H) and the state."""
        hidden, cells = torch.split(state["hidden"], self.hidden, -1), None
        if self.cell == "lstm":
            cells = torch.split(state["cell"], self.hidden, -1)
        new_hidden: list[Tensor] = []
        new_cells: list[Tensor] = []
        x = prepared
        if extra is not None:
            x = x + F.linear(extra, self.net.weight_ih_l0[:, -extra.shape[-1] :])
        for layer in range(self.layers):
            if layer:
                x = self.dropout(new_hidden[-1])
                x = F.linear(x, getattr(self.net, f"weight_ih_l{layer}"), getattr(self.net, f"bias_ih_l{layer}"))
            h = hidden[layer]
            u = F.linear(h, getattr(self.net, f"weight_hh_l{layer}"), getattr(self.net, f"bias_hh_l{layer}"))
            if cells is None:
                new_hidden.append(gru(x, u, h))
            else:
                h, c = lstm(x, u, cells[layer])
                new_hidden.append(h)
                new_cells.append(c)
        made = {**state, "hidden": torch.cat(new_hidden, -1)}
        if new_cells:
            made["cell"] = torch.cat(new_cells, -1)
        return new_hidden[-1], made


def gru(x: Tensor, u: Tensor, h: Tensor) -> Tensor:
    """A GRU's new state of x = W x_i + b, u = U h + b' (..., 3H) and h (..., H).

    r = sigmoid(x_r + u_r),  z = sigmoid(x_z + u_z),  n = tanh(x_n + r u_n),  h' = (1 - z) n + z h
    """
    x_r, x_z, x_n = x.chunk(3, -1)
    u_r, u_z, u_n = u.chunk(3, -1)
    r, z = torch.sigmoid(x_r + u_r), torch.sigmoid(x_z + u_z)
    return torch.lerp(torch.tanh(torch.addcmul(x_n, r, u_n)), h, z)


def lstm(x: Tensor, u: Tensor, c: Tensor) -> tuple[Tensor, Tensor]:
    """An LSTM's new state and cell of x = W x_i + b, u = U h + b' (..., 4H) and c (..., H).

    i, f, o = sigmoid(...),  g = tanh(...),  c' = f c + i g,  h' = o tanh(c')
    """
    i, f, g, o = (x + u).chunk(4, -1)
    c = torch.sigmoid(f) * c + torch.sigmoid(i) * torch.tanh(g)
    return torch.sigmoid(o) * torch.tanh(c), c
