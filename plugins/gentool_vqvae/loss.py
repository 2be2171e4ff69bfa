"""The objective of the VQ-VAE in its two stages (van den Oord et al. 2017, sections 3.2 and 3.3).

    L = log p(x|z_q(x)) + |sg[z_e(x)] - e|^2 + beta |z_e(x) - sg[e]|^2                               equation 3

with the log-likelihood as a loss: its minus. `sg` stops the gradient; the straight-through estimator hands the
decoder's gradient at z_q(x) on to z_e(x) as it is. With moving averages the codes learn from these and the second term
is left out (appendix A.1). Squares are means over dimensions, so beta means the same for every D.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor
from torch.nn.functional import mse_loss

from gentool import Batch, Like, Phase, Step, UsageError

from .codebook import perplexity
from .likelihood import discretised_logistic, precise

if TYPE_CHECKING:
    from . import VQConfig


def sg(x: Tensor) -> Tensor:
    """Stop-gradient: the identity, with no derivative."""
    return x.detach()


def straight_through(z_e: Tensor, e: Tensor) -> Tensor:
    """z_q: the code in value, z_e in gradient (section 3.2)."""
    return z_e + sg(e - z_e)


class TwoStage:
    """Until `prior_from` of the budget: the autoencoder. After it: the prior, on the codes of the frozen autoencoder."""

    def __init__(self, config: VQConfig):
        self.config = config

    def alike(self, step: Step) -> Like | None:
        """The steps of a stage; but the first may begin the codebook."""
        stage, spent = self.stage(step)
        return None if step.index == 0 else Like(stage, {stage: spent})

    def stage(self, step: Step) -> tuple[str, float]:
        """The phase that is trained, and how much of its share of the budget is spent, in [0, 1]."""
        start = self.config.prior_from
        if step.progress < start:
            return "autoencoder", step.progress / start
        return "prior", (step.progress - start) / (1 - start) if start < 1 else 1.0

    def __call__(self, model: Any, batch: Batch, step: Step) -> Iterator[Phase]:
        if batch.images is None:
            raise UsageError("vqvae needs pictures: choose an image data set with --data.")
        stage, spent = self.stage(step)
        if stage == "autoencoder":
            yield self.autoencoder(model, batch.images, step, spent)
        else:
            yield self.prior(model, batch.images, batch.labels, spent)

    def autoencoder(self, model: Any, x: Tensor, step: Step, progress: float) -> Phase:
        """Equation 3, and with it the moving averages and restarts of the codebook (in training alone)."""
        net, codebook = model.autoencoder, model.autoencoder.codebook
        learning = model.training
        z_e = model.vectors(x)
        # Only the first step may find an empty codebook; later ones do not ask, for on a GPU asking means waiting.
        if learning and step.index == 0 and not bool(codebook.initialised):
            codebook.initialise(sg(z_e), step, self.config.init)
        index, e = codebook(z_e)
        z_q = model.as_grid(straight_through(z_e, e))

        gaussian = self.config.likelihood == "gaussian"
        mu, log_s = net.decoder.distribution(z_q, detach=gaussian)
        mu, log_s = precise(mu), precise(log_s)
        squared = mse_loss(mu, x)
        nats = -discretised_logistic(x, sg(mu) if gaussian else mu, log_s, model.info.levels).mean()
        commitment = mse_loss(z_e, sg(e))

        loss = nats + self.config.beta * commitment  # gaussian: `nats` moves the scales alone
        if gaussian:
            loss = loss + squared
        if not codebook.ema:
            loss = loss + mse_loss(e, sg(z_e))
        scalars = {
            "mse": sg(squared),
            "commitment": sg(commitment),
            "distortion": sg(nats) / math.log(2),  # bits a dimension, given the codes
        }
        if learning:
            used = codebook.update(z_e, index)
            if self.config.restart > 0:
                scalars["restarted"] = codebook.restart(z_e, step, self.config.restart)
        else:
            used = torch.bincount(index, minlength=model.codes).float()
        scalars["perplexity"] = perplexity(used)
        scalars["usage"] = (used > 0).float().mean()
        return Phase("autoencoder", loss, scalars, progress)

    def prior(self, model: Any, x: Tensor, labels: Tensor | None, progress: float) -> Phase:
        """-log p(z) of the codes z of x, per code; exact (section 3.3). The autoencoder is only looked through."""
        model.autoencoder.eval()
        with torch.no_grad():
            codes = model.encode_codes(x)
        nll = -model.log_prior(codes, labels).mean()
        per_code = nll / math.prod(model.grid)
        bits = sg(per_code) / math.log(2)
        return Phase("prior", per_code, {"bits/code": bits, "nll": sg(nll)}, progress)
