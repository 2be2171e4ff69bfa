"""rbm: the restricted Boltzmann machine (Smolensky 1986; Hinton 2002), for binary pictures.

Light: this file describes and imports neither torch nor the modules it names.
"""

from __future__ import annotations

from dataclasses import dataclass

from gentool import EvaluatorSpec, LossSpec, ModelSpec, Output, SamplerSpec, hookimpl, option


@dataclass(frozen=True, kw_only=True)
class Config:
    hidden: int = option(128, "binary hidden units", ge=1, le=100_000)
    chains: int = option(128, "persistent Gibbs chains kept beside the weights", ge=1, le=100_000)


@dataclass(frozen=True, kw_only=True)
class LossConfig:
    k: int = option(1, "Gibbs steps of the chains an update", ge=1, le=1000)


@dataclass(frozen=True, kw_only=True)
class GibbsConfig:
    sweeps: int = option(500, "Gibbs steps from noise", ge=1, le=100_000)
    mean: bool = option(True, "show the pixels' probabilities at the last step, not their draws")


@dataclass(frozen=True, kw_only=True)
class AisConfig:
    runs: int = option(100, "independent annealing runs", ge=2, le=100_000)
    temperatures: int = option(1000, "intermediate distributions", ge=2, le=1_000_000)


@hookimpl
def gentool_models() -> list[ModelSpec]:
    return [
        ModelSpec(
            name="rbm",
            summary="Restricted Boltzmann machine over binary pictures",
            factory="gentool_rbm.model:RBM",
            config=Config,
            output=Output.IMAGE,
            loss="contrastive-divergence",
            sampler="gibbs",
            evaluators=("ais",),
            dataset="digits",
            offers=("energy",),
            paper="Hinton 2002, Neural Computation 14(8); Tieleman 2008",
            defaults={
                "data.binarize": "threshold",
                "train.steps": 3000,
                "train.batch_size": 128,
                "optim.model.name": "sgd",
                "optim.model.lr": 0.05,
                "schedule.name": "cosine",
            },
            presets={"debug": {"train.steps": 2, "train.batch_size": 8, "model.hidden": 8, "model.chains": 8}},
        )
    ]


@hookimpl
def gentool_losses() -> list[LossSpec]:
    return [
        LossSpec(
            name="contrastive-divergence",
            summary="Free energy of the data against that of persistent chains",
            factory="gentool_rbm.loss:ContrastiveDivergence",
            config=LossConfig,
            needs=("energy",),
            paper="Tieleman 2008, ICML",
        )
    ]


@hookimpl
def gentool_samplers() -> list[SamplerSpec]:
    return [
        SamplerSpec(
            name="gibbs",
            summary="Alternating Gibbs sampling from noise",
            factory="gentool_rbm.sampler:gibbs",
            config=GibbsConfig,
            needs=("energy",),
        ),
        SamplerSpec(
            name="filters",
            summary="What each hidden unit listens to",
            factory="gentool_rbm.sampler:filters",
            needs=("energy",),
            view=True,
        ),
    ]


@hookimpl
def gentool_evaluators() -> list[EvaluatorSpec]:
    return [
        EvaluatorSpec(
            name="ais",
            summary="Log-likelihood by annealed importance sampling of Z",
            factory="gentool_rbm.evaluate:AnnealedImportanceSampling",
            config=AisConfig,
            needs=("energy",),
            paper="Salakhutdinov & Murray 2008, ICML",
        )
    ]
