"""How good translations are: BLEU and chrF by sacrebleu, exact matches, and BLEU by the length of the source.

Translations are compared as text with the sentences of the data as they are written, not with tokens: figures of models
with other vocabularies compare.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch

from gentool import Batch, Context, Report, Samples, Scalar, UsageError
from gentool_seq2seq.search import Search, search
from gentool_seq2seq.words import written

if TYPE_CHECKING:
    from gentool_seq2seq import TranslationConfig


@dataclass(frozen=True)
class Translated:
    """One sentence of the split: its place there, its words, and what was made of it."""

    index: int
    source: str
    reference: str
    hypothesis: str

    @property
    def length(self) -> int:
        """Words of the source, as spaces part them."""
        return len(self.source.split())


class Translation:
    """Translates the split by beam search. `translated` has every sentence, in the split's order after `compute`."""

    def __init__(self, config: TranslationConfig, context: Context) -> None:
        self.config, self.context = config, context
        self.translated: list[Translated] = []

    @torch.no_grad()
    def update(self, batch: Batch, outputs: Samples | None = None) -> None:
        if batch.index is None or "source" not in batch.extra:
            raise UsageError(f"'translation' scores pairs of sentences, and '{self.context.dataset}' has none.")
        config, model = self.config, self.context.model
        how = Search(beam=config.width, length_penalty=config.length_penalty)
        found = search(model, batch.extra["source"], batch.extra["source_length"], how, step=self.context.step)
        pairs = self.context.examples().pairs
        for i, hypotheses in zip(batch.index.tolist(), found, strict=True):
            source, reference = pairs[i]
            text = written(model, source, hypotheses[0], replace=config.replace_unknown)
            self.translated.append(Translated(i, source, reference, text))

    def merge(self, other: Translation) -> None:
        self.translated += other.translated

    def compute(self) -> Report:
        if not self.translated:
            raise UsageError(f"The split '{self.context.split}' of '{self.context.dataset}' is empty.")
        self.translated.sort(key=lambda one: one.index)
        whole = self.row("all", self.translated)
        bleu, chrf = self.metrics()
        signature = self.signature(bleu)
        how = (
            f"beam {self.config.width}, length penalty {self.config.length_penalty:g}"
            if self.config.width > 1
            else "greedy"
        )
        return Report(
            name="translation",
            scalars=[
                Scalar("BLEU", float(whole["BLEU"])),
                Scalar("chrF", float(whole["chrF"])),
                Scalar("exact matches", float(whole["exact %"]), "%"),
                Scalar("length of translations / of references", float(whole["length ratio"])),
            ],
            protocol=f"{self.context.dataset} {self.context.split}, N={len(self.translated)} sentences, {how}; "
            f"BLEU {signature}; chrF {self.signature(chrf)}",
            table=[self.row(name, part) for name, part in self.groups()],
            extra={"bleu_signature": signature, "chrf_signature": self.signature(chrf), "hypotheses": self.texts()},
        )

    def texts(self) -> list[str]:
        """The translations in the split's order."""
        return [one.hypothesis for one in self.translated]

    def metrics(self) -> tuple[Any, Any]:
        """sacrebleu's BLEU and chrF with its defaults."""
        from sacrebleu.metrics.bleu import BLEU
        from sacrebleu.metrics.chrf import CHRF

        return BLEU(lowercase=self.config.lowercase), CHRF(lowercase=self.config.lowercase)

    @staticmethod
    def signature(metric: Any) -> str:
        """What a figure has to be quoted with, on one reference a sentence."""
        metric.corpus_score(["a"], [["a"]])
        return str(metric.get_signature())

    def row(self, name: str, part: list[Translated]) -> dict[str, Any]:
        """The figures of some sentences."""
        bleu, chrf = self.metrics()
        hypotheses, references = [one.hypothesis for one in part], [one.reference for one in part]
        scored = bleu.corpus_score(hypotheses, [references])
        return {
            "source words": name,
            "sentences": len(part),
            "BLEU": round(scored.score, 2),
            "chrF": round(chrf.corpus_score(hypotheses, [references]).score, 2),
            "exact %": round(100 * sum(h == r for h, r in zip(hypotheses, references, strict=True)) / len(part), 2),
            "length ratio": round(scored.ratio, 3),
        }

    def groups(self) -> list[tuple[str, list[Translated]]]:
        """The sentences by length of the source, in about equally large groups: one length is in one group alone."""
        ordered = sorted(self.translated, key=lambda one: one.length)
        bounds = sorted({ordered[len(ordered) * i // self.config.groups].length for i in range(1, self.config.groups)})
        parts: list[list[Translated]] = [[] for _ in range(len(bounds) + 1)]
        for one in ordered:
            parts[sum(one.length >= bound for bound in bounds)].append(one)
        return [(_range(part[0].length, part[-1].length), part) for part in parts if part]


def _range(first: int, last: int) -> str:
    return str(first) if first == last else f"{first}-{last}"
