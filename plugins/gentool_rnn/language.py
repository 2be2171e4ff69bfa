"""`charlm`: p(token | the tokens before it), by any backbone."""

from __future__ import annotations

from typing import TYPE_CHECKING

from torch import Tensor, nn
from torch.nn import functional as F

from gentool import DataInfo, UsageError
from gentool.data.tokens import Tokenizer, tokenizer

from .backbone import State, TokenInput, build

if TYPE_CHECKING:
    from .configs import CharLMConfig


class CharLM(nn.Module):
    """tokens (B, T) -> logits of the next token (B, T, V), V the size of the vocabulary.

    The state is a flat mapping of tensors, rows first; rows of zeros have not begun (see backbone.py).
    """

    state_dim = 0

    def __init__(self, config: CharLMConfig, info: DataInfo):
        super().__init__()
        self.config, self.info, self.conditional = config, info, False
        if "text" not in info.vocabularies:
            raise UsageError(f"'{info.name}' is no text; choose one with --data: pydocs, tinyshakespeare or text:FILE.")
        self.tokenizer: Tokenizer = tokenizer(info, "text")
        self.input = TokenInput(config.input, self.tokenizer.size, config.embed)
        self.backbone = build(config, self.input.features)
        self.head = nn.Linear(self.backbone.width, self.tokenizer.size)

    def advance(self, tokens: Tensor, state: State | None = None) -> tuple[Tensor, State]:
        """tokens (B, T) after those that made `state` -> logits (B, T, V) and the state after them."""
        features, after = self.backbone.read(self.input, tokens, state or self.backbone.start(len(tokens)))
        return self.head(F.dropout(features, self.config.dropout, self.training)), after

    forward = advance

    def facts(self) -> dict[str, float | str]:
        """What `gentool runs compare` puts side by side."""
        return self.backbone.facts()

    def detach(self, state: State) -> State:
        """The state as a constant: the gradient ends here."""
        return {name: part.detach() for name, part in state.items()}

    def opening(self) -> int:
        """The token that stands before a text which nothing precedes: a line's end, or the first of the vocabulary."""
        try:
            (token, *_) = self.tokenizer.encode("\n")
        except UsageError:
            return 0
        return token
