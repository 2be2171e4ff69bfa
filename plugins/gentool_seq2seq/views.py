"""What the decoder looked at: `gentool viz seq2seq --attention "a dog runs"`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch

from gentool import Batch, Context, Report, Samples, UsageError
from gentool_seq2seq.sampler import sentences_of
from gentool_seq2seq.search import Search, search
from gentool_seq2seq.words import encoded, heat_map

if TYPE_CHECKING:
    from gentool_seq2seq import AttentionConfig


class AttentionMap:
    """A heat map of each sentence: rows are the words of its translation, columns its own, cells alpha_ij in percent."""

    def __init__(self, config: AttentionConfig, context: Context) -> None:
        self.config, self.context = config, context

    def update(self, batch: Batch, outputs: Samples | None = None) -> None:
        """Nothing streams to a view."""

    def merge(self, other: Any) -> None:
        """Views are drawn by one process."""

    @torch.no_grad()
    def compute(self) -> Report:
        model: Any = self.context.model
        if model.attention is None:
            raise UsageError(
                "This seq2seq was trained without attention, so there is nothing to see; train one with "
                "--set model.attention=additive."
            )
        sentences = sentences_of(model, self.config.prompt)
        sentences = sentences[: self.config.most] if self.config.prompt.strip() else sentences[:1]
        source, length = encoded(model, sentences, self.context.device)
        found = search(model, source, length, Search(beam=self.config.width), step=self.context.step)
        maps, table = [], []
        for number, (sentence, hypotheses) in enumerate(zip(sentences, found, strict=True), 1):
            ids = source[number - 1].tolist()
            heat = heat_map(model, sentence, hypotheses[0], ids, name=str(number), one_by_one=self.config.pieces)
            maps.append(heat)
            for word, row in zip(heat.rows, heat.values, strict=True):
                share, best = max((share, -j) for j, share in enumerate(row))
                table.append({"translation": word, "looks most at": heat.columns[-best], "%": round(100 * share)})
        kind = {"additive": "additive", "dot": "scaled dot-product", "general": "general"}[model.config.attention]
        return Report(
            name="attention",
            protocol=f"{kind} attention, {model.config.order} order, beam {self.config.width}",
            heatmaps=maps,
            table=table,
        )
