"""One token after another, as fast as plain torch goes.

For the recurrent cells the embedding and the first layer's product with it are one table, of which a token takes a row;
the steps write into tensors made once; and nothing of autograd's or of a module's is in the way. Everything else goes
through the model's own cached step.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol

import torch
from torch import Tensor
from torch.nn import functional as F

from .backbone import State
from .recurrent import Recurrent

if TYPE_CHECKING:
    from .language import CharLM


class Decoder(Protocol):
    """`step` takes the tokens just drawn (N,) and gives the logits of the next (N, V), in a tensor it may reuse."""

    def step(self, tokens: Tensor) -> Tensor: ...


class Cached:
    """The model's own step, on its state."""

    def __init__(self, model: Any, state: State):
        self.model, self.state = model, state

    def step(self, tokens: Tensor) -> Tensor:
        logits: Tensor
        logits, self.state = self.model.advance(tokens[:, None], self.state)
        return logits[:, 0]


class Uncached:
    """The definition: the whole sequence again for every token. For tests and for measuring."""

    def __init__(self, model: Any, tokens: Tensor):
        self.model, self.tokens = model, tokens

    def step(self, tokens: Tensor) -> Tensor:
        self.tokens = torch.cat([self.tokens, tokens[:, None]], 1)
        logits: Tensor = self.model.advance(self.tokens)[0][:, -1]
        return logits


class _Layer:
    """The weights and the state of one recurrent layer; `step(x)` has x = W_x input + biases, or takes the input itself."""

    def __init__(self, w: Any, state: list[Tensor], gates: int):
        self.h = state[0].clone()
        self.c = state[1].clone() if len(state) > 1 else None
        n, size = self.h.shape
        self.size = size
        self.w_h = w.hidden.t().contiguous()
        self.a = self.h.new_empty(n, gates * size)


class _Vanilla(_Layer):
    def __init__(self, w: Any, state: list[Tensor]):
        super().__init__(w, state, 1)
        self.bias = w.input_bias + w.hidden_bias

    def step(self, x: Tensor) -> Tensor:
        torch.addmm(x, self.h, self.w_h, out=self.a)
        return torch.tanh(self.a, out=self.h)


class _LSTM(_Layer):
    def __init__(self, w: Any, state: list[Tensor]):
        super().__init__(w, state, 4)
        self.bias = w.input_bias + w.hidden_bias
        self.i_f = self.a[:, : 2 * self.size]
        self.i, self.f, self.g, self.o = self.a.chunk(4, 1)

    def step(self, x: Tensor) -> Tensor:
        assert self.c is not None
        torch.addmm(x, self.h, self.w_h, out=self.a)
        self.i_f.sigmoid_()
        self.g.tanh_()
        self.o.sigmoid_()
        self.c.mul_(self.f).addcmul_(self.i, self.g)
        torch.tanh(self.c, out=self.h)
        return self.h.mul_(self.o)


class _GRU(_Layer):
    def __init__(self, w: Any, state: list[Tensor]):
        super().__init__(w, state, 3)
        b_r_z, b_n = w.hidden_bias.split([2 * self.size, self.size])
        self.bias = w.input_bias + F.pad(b_r_z, (0, self.size))
        self.b_n = F.pad(b_n, (2 * self.size, 0))
        self.r_z = self.a[:, : 2 * self.size]
        self.r, self.z, self.n = self.a.chunk(3, 1)

    def step(self, x: Tensor) -> Tensor:
        torch.addmm(self.b_n, self.h, self.w_h, out=self.a)
        self.r_z.add_(x[:, : 2 * self.size]).sigmoid_()
        self.n.mul_(self.r).add_(x[:, 2 * self.size :]).tanh_()
        return torch.lerp(self.n, self.h, self.z, out=self.h)


_LAYERS: dict[str, Any] = {"rnn": _Vanilla, "lstm": _LSTM, "gru": _GRU}


class Folded:
    """The recurrent net of a model, unrolled by hand from a state."""

    def __init__(self, model: CharLM, state: State):
        net = model.backbone
        assert isinstance(net, Recurrent)
        parts = net.begin(state)
        kind = _LAYERS[model.config.cell]
        weights = [net.weights(layer) for layer in range(net.layers)]
        self.layers = [kind(w, [part[i] for part in parts]) for i, w in enumerate(weights)]
        self.table = model.input.folded(weights[0].input, self.layers[0].bias).contiguous()
        self.above = [
            (layer, w.input.t().contiguous(), torch.empty_like(layer.a))
            for layer, w in zip(self.layers[1:], weights[1:])
        ]
        self.head, self.head_bias = model.head.weight.t().contiguous(), model.head.bias

    def step(self, tokens: Tensor) -> Tensor:
        h = self.layers[0].step(self.table.index_select(0, tokens))
        for layer, w, x in self.above:
            h = layer.step(torch.addmm(layer.bias, h, w, out=x))
        return torch.addmm(self.head_bias, h, self.head)


def decoder(model: Any, state: State) -> Decoder:
    """The fastest decoder that a model has, going on from a state."""
    if isinstance(getattr(model, "backbone", None), Recurrent):
        return Folded(model, state)
    return Cached(model, state)
