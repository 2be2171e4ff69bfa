"""Translation by an encoder and a decoder, without and with attention.

Sutskever, Vinyals & Le 2014, "Sequence to Sequence Learning with Neural Networks"; Cho et al. 2014, "Learning Phrase
    Representations using RNN Encoder-Decoder": all that is known of the source is one vector
Bahdanau, Cho & Bengio 2015, "Neural Machine Translation by Jointly Learning to Align and Translate": every step of the
    decoder has its own look at the source
Luong, Pham & Manning 2015, "Effective Approaches to Attention-based Neural Machine Translation"
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from gentool import EvaluatorSpec, LossSpec, ModelSpec, Output, SamplerSpec, hookimpl, option
from gentool_seq2seq.presets import CHECKPOINTS, DEFAULTS, PRESETS

PAPER = "Bahdanau et al. 2015, arXiv:1409.0473"


@dataclass(frozen=True, kw_only=True)
class Seq2SeqConfig:
    """model.* of `seq2seq`."""

    attention: Literal["none", "additive", "dot", "general"] = option(
        "additive", "how a decoder state scores a source word; none: one context vector, the encoder's last state"
    )
    order: Literal["bahdanau", "luong", "input-feeding"] = option(
        "luong",
        "the context enters the recurrence; or is joined after it (faster); or after it, and its output fed back",
    )
    cell: Literal["gru", "lstm"] = option("gru", "the recurrent cell of encoder and decoder")
    embed: int = option(128, "features of a word", ge=1, le=8192)
    hidden: int = option(256, "units of the decoder, and of each direction of the encoder", ge=1, le=8192)
    layers: int = option(1, "recurrent layers of encoder and decoder", ge=1, le=16)
    bidirectional: bool = option(True, "the encoder reads the source in both directions")
    attention_width: int = option(0, "hidden units of the score; 0: as model.hidden", ge=0, le=8192)
    dropout: float = option(0.0, "of embeddings, between layers and before the output", ge=0, lt=1)
    tied: bool = option(True, "the output's weights are the target's embedding")


@dataclass(frozen=True, kw_only=True)
class TeacherForcingConfig:
    """loss.* of `teacher-forcing`."""

    label_smoothing: float = option(0.0, "share of the target that is spread over the whole vocabulary", ge=0, lt=1)


@dataclass(frozen=True, kw_only=True)
class GreedyConfig:
    """sampler.* of `greedy`."""

    prompt: str = option("", "what to translate, one sentence a line; empty: sentences that the model carries")
    max_length: int = option(0, "most tokens of a translation; 0: twice the source's and 10 more", ge=0, le=10_000)
    replace_unknown: bool = option(True, "write the source word that was attended to where <unk> would stand")


@dataclass(frozen=True, kw_only=True)
class BeamConfig(GreedyConfig):
    """sampler.* of `beam`."""

    width: int = option(5, "hypotheses kept", ge=1, le=256)
    length_penalty: float = option(1.0, "alpha of Wu et al. 2016, equation 14: 0 prefers short ones", ge=-5, le=5)


@dataclass(frozen=True, kw_only=True)
class MultinomialConfig(GreedyConfig):
    """sampler.* of `multinomial`."""

    temperature: float = option(1.0, "below 1 likely words are drawn more often", gt=0, le=10)


@dataclass(frozen=True, kw_only=True)
class AttentionConfig:
    """`--set attention.*`"""

    prompt: str = option("", "what to translate, one sentence a line; empty: one that the model carries")
    width: int = option(5, "hypotheses kept", ge=1, le=256)
    pieces: bool = option(False, "one row and column for each token, even where words are cut into several")
    most: int = option(8, "sentences that get a picture", ge=1, le=100)


@dataclass(frozen=True, kw_only=True)
class TranslationConfig:
    """`--set translation.*`"""

    width: int = option(5, "hypotheses kept; 1: greedy", ge=1, le=256)
    length_penalty: float = option(1.0, "alpha of Wu et al. 2016, equation 14", ge=-5, le=5)
    replace_unknown: bool = option(True, "write the source word that was attended to where <unk> would stand")
    lowercase: bool = option(False, "BLEU and chrF ignore upper and lower case")
    groups: int = option(4, "rows of the table by source length, of about equally many sentences", ge=1, le=20)


SEQ2SEQ = ModelSpec(
    name="seq2seq",
    summary="Recurrent encoder and decoder for translation, with or without attention",
    factory="gentool_seq2seq.model:Seq2Seq",
    config=Seq2SeqConfig,
    output=Output.TEXT,
    loss="teacher-forcing",
    sampler="beam",
    evaluators=("translation",),
    dataset="numbers",
    offers=("translate", "search"),
    paper=PAPER,
    inputs=("source", "target"),
    defaults=DEFAULTS,
    presets=PRESETS,
    checkpoints=CHECKPOINTS,
)


@hookimpl
def gentool_models() -> list[ModelSpec]:
    return [SEQ2SEQ]


@hookimpl
def gentool_losses() -> list[LossSpec]:
    return [
        LossSpec(
            name="teacher-forcing",
            summary="Cross-entropy of each target word given the true ones before it, with label smoothing",
            factory="gentool_seq2seq.loss:TeacherForcing",
            needs=("translate",),
            config=TeacherForcingConfig,
            monitor="nats/token",
            paper="Sutskever et al. 2014, arXiv:1409.3215; Szegedy et al. 2016, arXiv:1512.00567, section 7",
        )
    ]


@hookimpl
def gentool_samplers() -> list[SamplerSpec]:
    return [
        SamplerSpec(
            name="beam",
            summary="The best translations by beam search with length normalisation: -n gives the n best",
            factory="gentool_seq2seq.sampler:beam",
            needs=("search",),
            output=Output.TEXT,
            config=BeamConfig,
            paper="Wu et al. 2016, arXiv:1609.08144, section 7",
        ),
        SamplerSpec(
            name="greedy",
            summary="The likeliest word at every step",
            factory="gentool_seq2seq.sampler:greedy",
            needs=("search",),
            output=Output.TEXT,
            config=GreedyConfig,
        ),
        SamplerSpec(
            name="multinomial",
            summary="Every word drawn from its distribution, with a temperature",
            factory="gentool_seq2seq.sampler:multinomial",
            needs=("search",),
            output=Output.TEXT,
            config=MultinomialConfig,
        ),
    ]


@hookimpl
def gentool_evaluators() -> list[EvaluatorSpec]:
    return [
        EvaluatorSpec(
            name="translation",
            summary="BLEU, chrF and exact matches of the translated split, and BLEU by source length",
            factory="gentool_seq2seq.evaluate:Translation",
            needs=("search",),
            outputs=(Output.TEXT,),
            config=TranslationConfig,
            paper="Post 2018, arXiv:1804.08771",
        ),
        EvaluatorSpec(
            name="attention",
            summary="Which source word each word of the translation looked at, as a heat map",
            factory="gentool_seq2seq.views:AttentionMap",
            needs=("search",),
            outputs=(Output.TEXT,),
            config=AttentionConfig,
            streams="none",
            view=True,
            paper=PAPER,
        ),
    ]
