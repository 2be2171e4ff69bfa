"""What the decoder looked at: `gentool viz seq2seq --attention "a dog runs"`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from gentool import Batch, Context, HeatMap, Report, Samples, UsageError
from gentool_seq2seq.sampler import sentences_of
from gentool_seq2seq.search import Search, search
from gentool_seq2seq.words import encoded, grouped, plain, written

if TYPE_CHECKING:
    from gentool_seq2seq import AttentionConfig


class AttentionMap:
    """A heat map of each sentence: rows are the words of its translation, columns its own, cells alpha_ij in percent.

    Of words cut into several tokens the weights of the source's tokens are summed, those of the translation's averaged,
    so that every row still sums to 1.
    """

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
            one = hypotheses[0]
            assert one.attention is not None
            rows, columns, weights = self.words(sentence, one.tokens, one.attention, source[number - 1].tolist())
            text = written(model, sentence, one, replace=True)
            maps.append(
                HeatMap(
                    name=str(number),
                    values=weights.tolist(),
                    rows=rows,
                    columns=columns,
                    title=f"{sentence} → {text}",
                    axes=("translation", "source"),
                )
            )
            for word, row in zip(rows, weights, strict=True):
                best = int(row.argmax())
                table.append({"translation": word, "looks most at": columns[best], "%": round(100 * float(row[best]))})
        kind = {"additive": "additive", "dot": "scaled dot-product", "general": "general"}[model.config.attention]
        return Report(
            name="attention",
            protocol=f"{kind} attention, {model.config.order} order, beam {self.config.width}",
            heatmaps=maps,
            table=table,
        )

    def words(
        self, sentence: str, tokens: list[int], alpha: Tensor, source: list[int]
    ) -> tuple[list[str], list[str], Tensor]:
        """(the translation's words, the source's, weights between them), <end> among both."""
        model: Any = self.context.model
        ids = source[: source.index(model.source.end) + 1]
        left = [*tokens, model.target.end][: len(alpha)]
        shown = [*model.source.pieces(plain(model, sentence)), model.source.token(model.source.end)]
        shown = [text if token == model.source.unk else model.source.token(token) for text, token in zip(shown, ids)]
        columns, rows = grouped(model.source, ids, shown), grouped(model.target, left)
        if self.config.pieces:
            columns = [(text, [place]) for place, text in enumerate(shown)]
            rows = [(model.target.token(token), [place]) for place, token in enumerate(left)]
        summed = torch.stack([alpha[:, places].sum(1) for _, places in columns], 1)
        weights = torch.stack([summed[places].mean(0) for _, places in rows])
        return [word for word, _ in rows], [word for word, _ in columns], weights
