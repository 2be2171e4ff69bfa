"""Between sentences and token ids: what a source becomes, how a translation is written, and which tokens are one word."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from gentool import HeatMap, UsageError
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


def heat_map(
    model: Any, sentence: str, found: Hypothesis, source: Sequence[int], *, name: str = "", one_by_one: bool = False
) -> HeatMap:
    """alpha_ij of a translation: rows are its words, columns the source's (whose ids are `source`), <end> among both.

    Of words cut into several tokens the weights of the source's tokens are summed, those of the translation's averaged, so
    that every row still sums to 1. one_by_one: a row and a column for each token all the same.
    """
    assert found.attention is not None
    ids = list(source[: source.index(model.source.end) + 1])
    left = [*found.tokens, model.target.end][: len(found.attention)]
    shown = [*model.source.pieces(plain(model, sentence)), model.source.token(model.source.end)]
    shown = [text if token == model.source.unk else model.source.token(token) for text, token in zip(shown, ids)]
    columns, rows = grouped(model.source, ids, shown), grouped(model.target, left)
    if one_by_one:
        columns = [(text, [place]) for place, text in enumerate(shown)]
        rows = [(model.target.token(token), [place]) for place, token in enumerate(left)]
    summed = torch.stack([found.attention[:, places].sum(1) for _, places in columns], 1)
    weights = torch.stack([summed[places].mean(0) for _, places in rows]) if rows else summed[:0]  # none: spaces alone
    return HeatMap(
        name=name,
        values=weights.tolist(),
        rows=[word for word, _ in rows],
        columns=[word for word, _ in columns],
        title=f"{sentence} → {written(model, sentence, found, replace=True)}",
        axes=("translation", "source"),
    )


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
