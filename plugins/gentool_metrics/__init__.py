"""Evaluators that serve many families: of pictures likelihood, reconstruction, Fréchet and kernel distances and
memorisation; perplexity of models of text; accuracy of classifiers.

FID (Heusel et al. 2017), KID (Bińkowski et al. 2018), precision and recall (Kynkäänniemi et al. 2019), density and
coverage (Naeem et al. 2020) are computed over the features of a small classifier of the data set itself, which ships
here with its reference statistics: they run offline in seconds, and they are *not* Inception figures. SSIM is that of
Wang et al. 2004; the test for memorised pictures follows Meehan et al. 2020.

For scripts: ``gentool_metrics.features.load_extractor("mnist")``.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal

from gentool.hooks import hookimpl
from gentool.specs import EvaluatorSpec, NoConfig, Output, option


@dataclass(frozen=True, kw_only=True)
class ReconstructionConfig:
    """What `reconstruction` shows."""

    show: int = option(16, "how many reconstructions to show (and how many of the worst)", ge=1, le=256)


@dataclass(frozen=True, kw_only=True)
class FeatureConfig:
    """What the evaluators over classifier features share."""

    n: int = option(0, "how many samples to draw; 0: the extractor's standard N (10000; digits: 1000)", ge=0)
    extractor: str = option("", "whose classifier gives the features (empty: the data set's own, or the nearest)")


@dataclass(frozen=True, kw_only=True)
class KidConfig(FeatureConfig):
    """Options of `kid`."""

    block: int = option(1000, "size of the disjoint blocks whose estimates are averaged", ge=2)
    degree: int = option(3, "degree of the polynomial kernel", ge=1, le=6)


@dataclass(frozen=True, kw_only=True)
class PrecisionRecallConfig(FeatureConfig):
    """Options of `precision-recall`."""

    k: int = option(5, "the k-th nearest neighbour gives a ball's radius", ge=1)


@dataclass(frozen=True, kw_only=True)
class MemorisationConfig:
    """Options of `memorisation`."""

    n: int = option(1000, "how many samples, and how many test pictures, to look up", ge=2)
    space: Literal["pixels", "features"] = option("pixels", "where distance is measured")
    show: int = option(16, "how many of the most suspicious samples to show above their neighbours", ge=1, le=256)


@dataclass(frozen=True, kw_only=True)
class PerplexityConfig:
    """Options of `perplexity`."""

    carry: bool = option(True, "carry the state from window to window; false: every window from nothing")


NLL = EvaluatorSpec(
    name="nll",
    summary="exact negative log-likelihood, nats per picture",
    factory="gentool_metrics.likelihood:NegativeLogLikelihood",
    needs=("log-prob",),
    config=NoConfig,
)

BITS_PER_DIM = EvaluatorSpec(
    name="bits-per-dim",
    summary="exact negative log-likelihood, bits per pixel and channel",
    factory="gentool_metrics.likelihood:BitsPerDim",
    needs=("log-prob",),
    config=NoConfig,
    aliases=("bpd",),
)

RECONSTRUCTION = EvaluatorSpec(
    name="reconstruction",
    summary="MSE, PSNR and SSIM of the round trip through the bottleneck",
    factory="gentool_metrics.reconstruction:Reconstruction",
    needs=("reconstruct",),
    config=ReconstructionConfig,
    view=True,
    paper="Wang et al. 2004, Image quality assessment: from error visibility to structural similarity",
)

FID = EvaluatorSpec(
    name="fid",
    summary="Fréchet distance to the training pictures over the data set's classifier features (not Inception)",
    factory="gentool_metrics.distributions:FrechetEvaluator",
    needs=(),
    config=FeatureConfig,
    streams="none",
    paper="Heusel et al. 2017, GANs trained by a two time-scale update rule",
)

KID = EvaluatorSpec(
    name="kid",
    summary="unbiased kernel distance over the same features, with its standard error",
    factory="gentool_metrics.distributions:KernelEvaluator",
    needs=(),
    config=KidConfig,
    streams="none",
    paper="Bińkowski et al. 2018, Demystifying MMD GANs",
)

PRECISION_RECALL = EvaluatorSpec(
    name="precision-recall",
    summary="precision, recall, density and coverage over the same features, and a class histogram",
    factory="gentool_metrics.distributions:PrecisionRecallEvaluator",
    needs=(),
    config=PrecisionRecallConfig,
    streams="none",
    paper="Kynkäänniemi et al. 2019; Naeem et al. 2020",
)

MEMORISATION = EvaluatorSpec(
    name="memorisation",
    summary="are samples nearer to training pictures than unseen test pictures are? with the pairs to look at",
    factory="gentool_metrics.memorisation:Memorisation",
    needs=(),
    config=MemorisationConfig,
    streams="none",
    view=True,
    paper="Meehan et al. 2020, A non-parametric test to detect data-copying in generative models",
    aliases=("memorization",),
)

PERPLEXITY = EvaluatorSpec(
    name="perplexity",
    summary="perplexity and bits per character of a text, read in order with the state carried (or by windows)",
    factory="gentool_metrics.language:Perplexity",
    needs=("next-token",),
    outputs=(Output.TEXT,),
    config=PerplexityConfig,
)

ACCURACY = EvaluatorSpec(
    name="accuracy",
    summary="accuracy of a classifier, by class, and what is taken for what",
    factory="gentool_metrics.classification:Accuracy",
    needs=("classify",),
    outputs=(Output.LABEL,),
    config=NoConfig,
)


@hookimpl
def gentool_evaluators() -> Iterable[EvaluatorSpec]:
    return [NLL, BITS_PER_DIM, RECONSTRUCTION, FID, KID, PRECISION_RECALL, MEMORISATION, PERPLEXITY, ACCURACY]
