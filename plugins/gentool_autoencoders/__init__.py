"""Autoencoders.

    ae        Hinton & Salakhutdinov 2006, "Reducing the dimensionality of data with neural networks"; and, with the
              input damaged, denoising (Vincent et al. 2008) and masked ones (He et al. 2022)
    vae       Kingma & Welling 2014, "Auto-encoding variational Bayes": one stochastic layer
    vae-gan   Larsen et al. 2016, "Autoencoding beyond pixels using a learned similarity metric"
    gsn       Bengio et al. 2014, "Deep Generative Stochastic Networks Trainable by Backprop": denoising in a chain

Networks in networks.py, p(x|z) in likelihoods.py, models in model.py, objectives in loss.py; gsn.py has
all of its own.
"""

from __future__ import annotations

from gentool.hooks import hookimpl
from gentool.specs import EvaluatorSpec, LossSpec, ModelSpec, Output, SamplerSpec

from . import presets
from .configs import (
    AEConfig,
    BetaConfig,
    ChainConfig,
    ClassesConfig,
    DamageConfig,
    ElboConfig,
    ElboEvaluationConfig,
    FewLabelConfig,
    GSNConfig,
    ImportanceConfig,
    InterpolateConfig,
    IwaeEvaluationConfig,
    ManifoldConfig,
    MarkovChainConfig,
    PriorConfig,
    ReconstructConfig,
    TraverseConfig,
    VAEConfig,
    VAEGANConfig,
    VAEGANLossConfig,
    WalkbackConfig,
)

HOME = "gentool_autoencoders"

AE = ModelSpec(
    name="ae",
    summary="Autoencoder: a code from which the picture is rebuilt; features where labels are few",
    factory=f"{HOME}.model:AE",
    config=AEConfig,
    output=Output.IMAGE,
    loss="bce",
    sampler=None,
    evaluators=("reconstruction",),
    dataset="digits",
    offers=("reconstruct", "features", "code"),
    paper="Hinton & Salakhutdinov 2006, doi:10.1126/science.1127647",
    defaults=presets.AE_DEFAULTS,
    presets=presets.AE,
)

VAE = ModelSpec(
    name="vae",
    summary="Variational autoencoder with one stochastic layer",
    factory=f"{HOME}.model:VAE",
    config=VAEConfig,
    output=Output.IMAGE,
    loss="elbo",
    sampler="prior",
    evaluators=("elbo", "reconstruction"),
    dataset="digits",
    offers=("elbo", "encode", "decode", "reconstruct", "features", "likelihood", "variational"),
    paper="Kingma & Welling 2014, arXiv:1312.6114",
    defaults=presets.VAE_DEFAULTS,
    checkpoints={
        "mnist": "checkpoints/vae-mnist.safetensors",
        "fashion-mnist": "checkpoints/vae-fashion-mnist.safetensors",
    },
    presets=presets.VAE,
)

VAE_GAN = ModelSpec(
    name="vae-gan",
    summary="Variational autoencoder whose pictures are compared by a discriminator's features",
    factory=f"{HOME}.model:VAEGAN",
    config=VAEGANConfig,
    output=Output.IMAGE,
    loss="vae-gan",
    sampler="prior",
    evaluators=("reconstruction",),
    dataset="digits",
    offers=("encode", "decode", "reconstruct", "features", "variational-adversarial"),
    paper="Larsen et al. 2016, arXiv:1512.09300",
    phases=("encoder", "decoder", "discriminator"),
    defaults=presets.VAE_GAN_DEFAULTS,
    presets=presets.VAE_GAN,
    aliases=("vaegan",),
)


GSN = ModelSpec(
    name="gsn",
    summary="Generative stochastic network: a Markov chain of damage and repair, whose walks are the samples",
    factory=f"{HOME}.gsn:GSN",
    config=GSNConfig,
    output=Output.IMAGE,
    loss="walkback",
    sampler="markov-chain",
    evaluators=("reconstruction",),
    dataset="digits",
    offers=("reconstruct", "features", "transition"),
    paper="Bengio et al. 2014, arXiv:1306.1091",
    defaults=presets.GSN_DEFAULTS,
    presets=presets.GSN,
    checkpoints={"mnist": "checkpoints/gsn-mnist.safetensors"},
)


@hookimpl
def gentool_models() -> list[ModelSpec]:
    return [AE, VAE, VAE_GAN, GSN]


@hookimpl
def gentool_losses() -> list[LossSpec]:
    return [
        LossSpec(
            name="elbo",
            summary="Minus the evidence lower bound, KL in closed form",
            factory=f"{HOME}.loss:Elbo",
            needs=("variational",),
            config=ElboConfig,
            monitor="nats",
            paper="Kingma & Welling 2014, equation 10",
        ),
        LossSpec(
            name="beta-vae",
            summary="The bound with its KL term beta times as heavy",
            factory=f"{HOME}.loss:Elbo",
            needs=("variational",),
            config=BetaConfig,
            monitor="objective",
            paper="Higgins et al. 2017, equation 4",
        ),
        LossSpec(
            name="iwae",
            summary="Minus the importance-weighted bound with k draws of z",
            factory=f"{HOME}.loss:ImportanceWeighted",
            needs=("variational",),
            config=ImportanceConfig,
            monitor="nats",
            paper="Burda et al. 2016, equation 8",
        ),
        LossSpec(
            name="bce",
            summary="Cross-entropy between a picture and its reconstruction; the input may be noised or masked",
            factory=f"{HOME}.loss:CrossEntropy",
            needs=("code",),
            config=DamageConfig,
            monitor="loss",
            paper="Vincent et al. 2008; He et al. 2022",
        ),
        LossSpec(
            name="mse",
            summary="Squared error between a picture and its reconstruction; the input may be noised or masked",
            factory=f"{HOME}.loss:SquaredError",
            needs=("code",),
            config=DamageConfig,
            monitor="loss",
            paper="Hinton & Salakhutdinov 2006; Vincent et al. 2008; He et al. 2022",
        ),
        LossSpec(
            name="vae-gan",
            summary="KL, distance in the discriminator's features, and the adversarial game",
            factory=f"{HOME}.loss:VAEGANLoss",
            needs=("variational-adversarial",),
            config=VAEGANLossConfig,
            paper="Larsen et al. 2016, algorithm 1",
        ),
        LossSpec(
            name="walkback",
            summary="From every place that a few steps of the chain visit, find back to the picture they began at",
            factory=f"{HOME}.gsn:Walkback",
            needs=("transition",),
            config=WalkbackConfig,
            monitor="nats",
            paper="Bengio et al. 2014, algorithm 1",
        ),
    ]


@hookimpl
def gentool_samplers() -> list[SamplerSpec]:
    return [
        SamplerSpec(
            name="prior",
            summary="z from the standard normal prior, decoded",
            factory=f"{HOME}.sampler:prior",
            needs=("decode",),
            config=PriorConfig,
            paper="Kingma & Welling 2014",
        ),
        SamplerSpec(
            name="traverse",
            summary="One row for each dimension of z that changes the picture",
            factory=f"{HOME}.sampler:traverse",
            needs=("decode",),
            config=TraverseConfig,
            view=True,
            paper="Higgins et al. 2017",
        ),
        SamplerSpec(
            name="manifold",
            summary="The plane of a two-dimensional z",
            factory=f"{HOME}.sampler:manifold",
            needs=("decode",),
            config=ManifoldConfig,
            view=True,
            paper="Kingma & Welling 2014, figure 4",
        ),
        SamplerSpec(
            name="classes",
            summary="Rows of classes, columns of z: what z keeps when the label changes",
            factory=f"{HOME}.sampler:classes",
            needs=("decode",),
            config=ClassesConfig,
            view=True,
            paper="Kingma et al. 2014, figure 1",
        ),
        SamplerSpec(
            name="markov-chain",
            summary="Chains from noise, each to where it is after some steps",
            factory=f"{HOME}.gsn:markov_chain",
            needs=("transition",),
            config=MarkovChainConfig,
            paper="Bengio et al. 2014, arXiv:1306.1091",
        ),
        SamplerSpec(
            name="chain",
            summary="A strip for each chain: one picture after another",
            factory=f"{HOME}.gsn:chain",
            needs=("transition",),
            config=ChainConfig,
            view=True,
            paper="Bengio et al. 2014, figure 4",
        ),
    ]


@hookimpl
def gentool_evaluators() -> list[EvaluatorSpec]:
    return [
        EvaluatorSpec(
            name="elbo",
            summary="Evidence lower bound of log p(x), nats and bits/dim",
            factory=f"{HOME}.evaluate:Elbo",
            needs=("elbo",),
            config=ElboEvaluationConfig,
            paper="Kingma & Welling 2014, equation 10",
        ),
        EvaluatorSpec(
            name="iwae",
            summary="Importance-weighted bound of log p(x) with K draws, nats and bits/dim",
            factory=f"{HOME}.evaluate:Iwae",
            needs=("elbo",),
            config=IwaeEvaluationConfig,
            paper="Burda et al. 2016, equation 8",
        ),
        EvaluatorSpec(
            name="interpolate",
            summary="From one test picture to another by way of z",
            factory=f"{HOME}.views:Interpolate",
            needs=("encode", "decode"),
            config=InterpolateConfig,
            streams="none",
            view=True,
        ),
        EvaluatorSpec(
            name="reconstruct",
            summary="Test pictures above their reconstructions",
            factory=f"{HOME}.views:Reconstruct",
            needs=("reconstruct",),
            config=ReconstructConfig,
            streams="none",
            view=True,
        ),
        EvaluatorSpec(
            name="few-label",
            summary="Accuracy of a classifier on few labels: linear probe and fine-tuning against training from scratch",
            factory=f"{HOME}.few_label:FewLabel",
            needs=("features",),
            config=FewLabelConfig,
            streams="none",
        ),
    ]
