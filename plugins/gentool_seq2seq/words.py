"""Between sentences and token ids: what a source becomes, how a translation is written, and which tokens are one word."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from gentool import UsageError
from gentool.show.text import safe_text
from gentool_seq2seq.search import Hypothesis

LONGEST = 2000  # source tokens: a longer line is no sentence


def plain(model: Any, sentence: str) -> str:
    """A sentence as the model's data have it: single spaces, and small letters where these were trained on."""
    text = " ".join(sentence.split())
    return text.lower() if model.info.extra.get("lower") else text


def encoded(model: Any, sentences: Sequence[str], device: torch.device | str = "cpu") -> tuple[Tensor, Tensor]:
    """Sources (B, N), each ended by <end> and filled with <pad>, and their lengths (B,)."""
    rows = [[*model.source.encode(plain(model, sentence)), model.source.end] for sentence in sentences]
    length = torch.tensor([len(row) for row in rows], device=device)
    longest = int(length.max())
    if longest > LONGEST:
        raise UsageError(
            f"'{safe_text(sentences[int(length.argmax())])[:40]}…' has {longest:,} tokens, over {LONGEST:,}; "
            "translate it in parts."
        )
    padded = [row + [model.source.pad] * (longest - len(row)) for row in rows]
    return torch.tensor(padded, device=device), length


def pieces(model: Any, source: str, found: Hypothesis, *, replace: bool) -> list[str]:
    """The translation's pieces. replace: where <unk> stands, the source's word that this step looked at most.

    Luong et al. 2015 (ACL), "Addressing the Rare Word Problem", copy the aligned word; here attention aligns. Without
    attention, or in a vocabulary without unknown words, <unk> stays.
    """
    made = [model.target.piece(i) for i in found.tokens]
    if not replace or found.attention is None or model.target.unk not in found.tokens:
        return made
    words = model.source.pieces(plain(model, source))
    for i, token in enumerate(found.tokens):
        if token == model.target.unk and words:
            made[i] = words[int(found.attention[i, : len(words)].argmax())]
    return made


def written(model: Any, source: str, found: Hypothesis, *, replace: bool) -> str:
    """A translation as text."""
    return str(model.target.join(pieces(model, source, found, replace=replace)))


def grouped(tokenizer: Any, ids: Sequence[int], shown: Sequence[str] | None = None) -> list[tuple[str, list[int]]]:
    """Tokens as words: (word, places of its tokens). Byte pairs and characters belong together up to the next space."""
    texts = list(shown) if shown is not None else [tokenizer.token(i) for i in ids]
    if tokenizer.kind == "words":
        return [(text, [place]) for place, text in enumerate(texts)]
    words: list[tuple[str, list[int]]] = []
    gap = True
    for place, text in enumerate(texts):
        mark = ids[place] in (tokenizer.start, tokenizer.end, tokenizer.pad)
        if mark or gap or text[:1].isspace():
            words.append(("", []))
        word, places = words[-1]
        words[-1] = (word + text.strip(), [*places, place])
        gap = mark or (text[-1:].isspace() and bool(text.strip()))
    return [(word, places) for word, places in words if word]
