"""Small nets for the tests of this family."""

from __future__ import annotations

from typing import Any

import torch

from gentool import DataInfo
from gentool.data.tokens import Characters

WORDS = "abcdefgh\n"
CELLS = ("rnn", "lstm", "gru")
ALL = (*CELLS, "tcn", "attention")


def text_info(characters: str = WORDS) -> DataInfo:
    return DataInfo(name="letters", vocabularies={"text": Characters(characters).to_json()})


def language(cell: str, dtype: torch.dtype = torch.float64, **config: Any) -> Any:
    """A net whose parameters are all of them far from 0, in eval mode."""
    from gentool_rnn.configs import CharLMConfig
    from gentool_rnn.language import CharLM

    made = {"hidden": 8, "layers": 2, "embed": 5, "context": 6, "heads": 2, **config}
    model = CharLM(CharLMConfig(cell=cell, **made), text_info()).to(dtype)  # type: ignore[arg-type]
    generator = torch.Generator().manual_seed(1)
    for parameter in model.parameters():
        parameter.data.normal_(0, 0.4, generator=generator)
    return model.eval()
