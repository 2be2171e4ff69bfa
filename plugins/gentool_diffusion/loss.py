"""The objectives: denoising at a random moment.

    L_simple = E_t,x0,eps |target - network(alpha_t x_0 + sigma_t eps, t)|^2      Ho et al. 2020, equation 14

where the target is eps, x_0 or v. An error of eps is SNR times that of x_0, one of v is SNR + 1 times it: so weights that
are meant for x_0 are divided by these (Hang et al. 2023, section 3.4).
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from gentool import Batch, Phase, Step, UsageError

from . import likelihood

if TYPE_CHECKING:
    from .configs import DenoisingConfig, HybridConfig


def moments(n: int, steps: int, step: Step) -> Tensor:
    """t of each of n examples, int64 (n,): each is uniform in 0 .. T - 1, and together they are spread evenly, which
    makes the mean less noisy (Kingma et al. 2021, "Variational diffusion models", appendix I.1)."""
    u = step.uniform(1, purpose="moments")
    spread = (u + torch.arange(n, device=u.device) / n) % 1
    return (spread * steps).long().clamp_(max=steps - 1)


def weights(snr: Tensor, predict: str, weight: str, gamma: float) -> Tensor:
    """What the squared error of the target at each t counts; snr (N,)."""
    if weight == "simple":
        return torch.ones_like(snr)
    of_x0 = snr if weight == "snr" else snr.clamp(max=gamma)
    return of_x0 / {"eps": snr, "x0": torch.ones_like(snr), "v": snr + 1}[predict]


class Denoising:
    """L_simple with a weight for each t; some examples lose their class, so that both are learned (Ho & Salimans 2022)."""

    learned = False

    def __init__(self, config: DenoisingConfig):
        self.config = config

    def __call__(self, model: Any, batch: Batch, step: Step) -> Iterator[Phase]:
        if batch.images is None:
            raise UsageError("diffusion needs pictures: choose an image data set with --data.")
        if (model.config.variance == "learned") != self.learned:
            remedy = "choose --loss hybrid" if not self.learned else "add --set model.variance=learned"
            raise UsageError(f"model.variance = {model.config.variance} does not go with this loss; {remedy}.")
        x0 = model.prepared(batch.images, step)
        labels = self.labels(model, batch, step)
        t = moments(len(x0), model.schedule.steps, step)
        eps = step.noise(*x0.shape)
        x_t = model.noised(x0, t, eps)
        out, between = model.output(x_t, t, labels)
        error = (model.target(x0, t, eps) - out).square().flatten(1).mean(1)
        snr = model.snr[t]
        loss = (weights(snr, model.config.predict, self.config.weight, self.config.gamma) * error).mean()
        scalars = {"mse": error.detach().mean()}
        if between is not None:
            vlb = self.vlb(model, x0, x_t, t, out, between)
            scalars["vlb"] = vlb.detach()
            loss = loss + vlb
        yield Phase("model", loss, scalars)

    def labels(self, model: Any, batch: Batch, step: Step) -> Tensor | None:
        """The labels, some of them `null` (in training alone)."""
        if not model.conditional or batch.labels is None:
            return None
        if not model.training or not self.config.drop_labels:
            return batch.labels
        dropped = step.uniform(len(batch), purpose="labels") < self.config.drop_labels
        labels: Tensor = torch.where(dropped, model.null, batch.labels)
        return labels

    def vlb(self, model: Any, x0: Tensor, x_t: Tensor, t: Tensor, out: Tensor, between: Tensor) -> Tensor:
        raise NotImplementedError


class Hybrid(Denoising):
    """L_hybrid = L_simple + lambda L_vlb (Nichol & Dhariwal 2021, equation 16): L_vlb teaches the variance alone.

    L_vlb is estimated by T times its term at t, in nats a dimension.
    """

    learned = True
    config: HybridConfig

    def vlb(self, model: Any, x0: Tensor, x_t: Tensor, t: Tensor, out: Tensor, between: Tensor) -> Tensor:
        alpha, sigma = model.alpha_sigma(t)
        mean, _ = model.translate(out.detach(), x_t, alpha, sigma)
        terms = likelihood.terms(model, x0, x_t, t, mean, between) / x0[0].numel()
        weighted: Tensor = self.config.vlb * model.schedule.steps * terms.mean()
        return weighted
