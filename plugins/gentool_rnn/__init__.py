"""Sequences, one step after another.

    charlm     p(token | those before it) by recurrent cells (Elman 1990; Hochreiter & Schmidhuber 1997; Cho et al. 2014),
               dilated causal convolutions (Bai et al. 2018) or masked self-attention (Vaswani et al. 2017)
    sequence   the same nets on pictures read as sequences: many-to-one, many-to-many, one-to-many

The equations of the cells are in cells.py, their gradients written out in sequence.py, the choice among engines in
recurrent.py; convolution.py and attention.py are the other two ways to treat a sequence; decoding.py draws fast.
"""

from __future__ import annotations

from gentool.hooks import hookimpl
from gentool.specs import EvaluatorSpec, LossSpec, ModelSpec, NoConfig, Output, SamplerSpec

from . import presets
from .configs import (
    CharLMConfig,
    EmitConfig,
    GradientFlowConfig,
    NextTokenConfig,
    SequenceConfig,
    TextConfig,
)

HOME = "gentool_rnn"

CHARLM = ModelSpec(
    name="charlm",
    summary="Language model of characters or byte pairs: rnn, LSTM, GRU, TCN or self-attention",
    factory=f"{HOME}.language:CharLM",
    config=CharLMConfig,
    output=Output.TEXT,
    loss="next-token",
    sampler="autoregressive",
    evaluators=("perplexity",),
    dataset="pydocs",
    offers=("next-token",),
    inputs=("tokens",),
    paper="Hochreiter & Schmidhuber 1997, doi:10.1162/neco.1997.9.8.1735",
    defaults=presets.CHARLM_DEFAULTS,
    presets=presets.CHARLM,
    checkpoints={
        "tinyshakespeare": "checkpoints/charlm-tinyshakespeare.safetensors",
        "pydocs": "checkpoints/charlm-pydocs.safetensors",
    },
)

SEQUENCE = ModelSpec(
    name="sequence",
    summary="Pictures read (or written) as sequences of rows or pixels by the nets of charlm",
    factory=f"{HOME}.pictures:Sequence",
    config=SequenceConfig,
    output=Output.LABEL,
    loss="steps",
    sampler=None,
    evaluators=("accuracy",),
    dataset="digits",
    offers=("classify", "steps"),
    inputs=("image", "label"),
    paper="Bai et al. 2018, arXiv:1803.01271",
    defaults=presets.SEQUENCE_DEFAULTS,
    presets=presets.SEQUENCE,
)


@hookimpl
def gentool_models() -> list[ModelSpec]:
    return [CHARLM, SEQUENCE]


@hookimpl
def gentool_losses() -> list[LossSpec]:
    return [
        LossSpec(
            name="next-token",
            summary="Minus log p of each token given those before it; gradients truncated, the state carried on",
            factory=f"{HOME}.loss:NextToken",
            needs=("next-token",),
            config=NextTokenConfig,
            monitor="loss",
            paper="Williams & Peng 1990, doi:10.1162/neco.1990.2.4.490",
        ),
        LossSpec(
            name="steps",
            summary="Cross-entropy of the steps that the task scores",
            factory=f"{HOME}.loss:Steps",
            needs=("steps",),
            config=NoConfig,
            monitor="loss",
        ),
    ]


@hookimpl
def gentool_samplers() -> list[SamplerSpec]:
    return [
        SamplerSpec(
            name="autoregressive",
            summary="One token after another: temperature, top-k, top-p, a prompt",
            factory=f"{HOME}.sampler:autoregressive",
            needs=("next-token",),
            output=Output.TEXT,
            config=TextConfig,
            paper="Graves 2013, arXiv:1308.0850; Holtzman et al. 2020, arXiv:1904.09751",
        ),
        SamplerSpec(
            name="emit",
            summary="Pictures written step by step from their class",
            factory=f"{HOME}.views:emit",
            needs=("steps",),
            output=Output.LABEL,
            config=EmitConfig,
            view=True,
        ),
    ]


@hookimpl
def gentool_evaluators() -> list[EvaluatorSpec]:
    return [
        EvaluatorSpec(
            name="gradient-flow",
            summary="How the gradient vanishes or explodes on its way back: vanilla, LSTM, GRU, singular values",
            factory=f"{HOME}.views:GradientFlow",
            needs=("next-token",),
            outputs=(Output.TEXT,),
            config=GradientFlowConfig,
            streams="none",
            view=True,
            paper="Pascanu et al. 2013, arXiv:1211.5063",
        ),
        EvaluatorSpec(
            name="accuracy-by-step",
            summary="How often the likeliest class is right after each step that was read",
            factory=f"{HOME}.views:AccuracyByStep",
            needs=("steps",),
            outputs=(Output.LABEL,),
            view=True,
        ),
    ]
