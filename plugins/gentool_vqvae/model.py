"""The VQ-VAE: van den Oord et al. 2017, "Neural Discrete Representation Learning", section 3."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from torch import Tensor, nn

from gentool import DataInfo, Step, UsageError
from gentool.registry import build_model, registry

from .codebook import Codebook
from .likelihood import discretised_logistic, precise
from .networks import Decoder, Encoder

if TYPE_CHECKING:
    from . import VQVAEConfig


class Autoencoder(nn.Module):
    """Encoder, codebook and decoder: what the first stage trains."""

    def __init__(self, config: VQVAEConfig, image_channels: int, factor: int):
        super().__init__()
        sizes = (config.hidden, config.blocks, factor, config.dim)
        self.encoder = Encoder(image_channels, *sizes)
        self.codebook = Codebook(config.codes, config.dim, ema=config.codebook == "ema", decay=config.decay)
        self.decoder = Decoder(image_channels, *sizes)


class VQVAE(nn.Module):
    """x (N, C, H, W) -> z_e (N, D, h, w) -> codes (N, h, w) -> z_q (N, D, h, w) -> the picture again.

    `autoencoder` and `prior` are the two phases. The posterior q(z|x) is one grid of codes with probability 1, so
    log p(x) >= log p(x|z_q(x)) + log p(z_q(x)): a bound (section 3.1), not the likelihood itself.
    """

    def __init__(self, config: VQVAEConfig, info: DataInfo):
        super().__init__()
        if info.image is None:
            raise UsageError("vqvae needs pictures: choose an image data set with --data.")
        if config.conditional and not info.classes:
            raise UsageError(
                "model.conditional needs a data set with classes: leave it false, or choose another --data."
            )
        channels, height, width = info.image
        factor = config.downsample or (2 if min(height, width) < 16 else 4)
        if height % factor or width % factor:
            side = max(factor, round(max(height, width) / factor) * factor)
            raise UsageError(
                f"vqvae's pictures have sides that are multiples of {factor}, not {height}x{width}: "
                f"add --set data.resize={side}, or choose another --set model.downsample=2."
            )
        self.config, self.info, self.conditional = config, info, config.conditional
        self.codes, self.factor = config.codes, factor
        self.grid = (height // factor, width // factor)
        self.autoencoder = Autoencoder(config, channels, factor)
        self.prior = build_prior(config, info, self.grid)

    @property
    def encoder(self) -> nn.Module:
        """What fine-tuning on `features` trains."""
        return self.autoencoder.encoder

    # -- vectors and grids ----------------------------------------------------------------------------------------

    def vectors(self, images: Tensor) -> Tensor:
        """z_e of pictures, one row for every place, (N h w, D), in the codebook's precision."""
        z_e = self.autoencoder.encoder(images)
        rows = z_e.permute(0, 2, 3, 1).reshape(-1, self.config.dim)
        return rows.to(self.autoencoder.codebook.e.dtype)  # type: ignore[no-any-return]

    def as_grid(self, vectors: Tensor) -> Tensor:
        """(N h w, D) -> (N, D, h, w), channels last in memory: a view."""
        return vectors.view(-1, *self.grid, self.config.dim).permute(0, 3, 1, 2)

    # -- capabilities ---------------------------------------------------------------------------------------------

    def encode_codes(self, images: Tensor) -> Tensor:
        """int64 (N, h, w) in [0, K)."""
        index, _ = self.autoencoder.codebook(self.vectors(images))
        return index.view(-1, *self.grid)  # type: ignore[no-any-return]

    def z_q(self, codes: Tensor) -> Tensor:
        """The vectors of codes (N, h, w), (N, D, h, w)."""
        return self.autoencoder.codebook.e[codes].permute(0, 3, 1, 2)

    def decode_codes(self, codes: Tensor) -> Tensor:
        """Codes (N, h, w) -> pictures (N, C, H, W) in [-1, 1]."""
        return self.autoencoder.decoder(self.z_q(codes)).clamp(-1, 1)  # type: ignore[no-any-return]

    def encode_grid(self, images: Tensor) -> Tensor:
        """z_e (N, D, h, w)."""
        return self.autoencoder.encoder(images)  # type: ignore[no-any-return]

    def decode_grid(self, z: Tensor) -> Tensor:
        """Pictures of vectors (N, D, h, w), each of which is replaced by its nearest code first."""
        rows = z.permute(0, 2, 3, 1).reshape(-1, self.config.dim).to(self.autoencoder.codebook.e.dtype)
        index, _ = self.autoencoder.codebook(rows)
        return self.decode_codes(index.view(len(z), *z.shape[2:]))

    def reconstruct(self, images: Tensor, labels: Tensor | None = None) -> Tensor:
        return self.decode_codes(self.encode_codes(images))

    def features(self, images: Tensor) -> Tensor:
        """z_e, flattened: (N, D h w)."""
        return self.autoencoder.encoder(images).flatten(1)  # type: ignore[no-any-return]

    def log_prior(self, codes: Tensor, labels: Tensor | None = None) -> Tensor:
        """log p(z) of codes (N, h, w) in nats, exact, (N,)."""
        given = labels if self.conditional else None
        return self.prior.log_prob_levels(codes[:, None], given)  # type: ignore[no-any-return, operator]

    def elbo(self, images: Tensor, labels: Tensor | None = None, step: Step | None = None) -> tuple[Tensor, Tensor]:
        """(log p(x|z_q(x)), -log p(z_q(x))) in nats, each (N,): the KL of a posterior that is certain of its codes."""
        codes = self.encode_codes(images)
        mu, log_s = self.autoencoder.decoder.distribution(self.z_q(codes))
        log_p = discretised_logistic(images, precise(mu), precise(log_s), self.info.levels)
        return log_p.flatten(1).sum(1), -self.log_prior(codes, labels)

    def log_weights(self, images: Tensor, labels: Tensor | None, k: int, step: Step) -> Tensor:
        """log p(x, z) - log q(z|x), (k, N): every draw from q is the same codes, so k draws give what one gives."""
        log_p, rate = self.elbo(images, labels, step)
        return (log_p - rate).expand(k, -1)

    def protocol(self) -> str:
        """What the density is over."""
        given = ", given the class" if self.conditional else ""
        return (
            f"discretised logistic over {self.info.levels} levels of a pixel{given}; a bound through one grid of codes "
            "a picture, not the exact likelihood"
        )


def build_prior(config: VQVAEConfig, info: DataInfo, grid: tuple[int, int]) -> nn.Module:
    """The model of the codes, by name: a density over grids (1, h, w) of `codes` levels."""
    known = {spec.name: spec for spec in registry().all("model")}
    there = sorted(name for name, spec in known.items() if "grid-density" in spec.offers)
    if config.prior not in known:
        remedy = f"choose one with --set model.prior=NAME ({', '.join(there)})" if there else "install its plugin"
        raise UsageError(
            f"vqvae's prior over codes is the model '{config.prior}', which is not among the plugins here; {remedy}."
        )
    if config.prior not in there:
        raise UsageError(
            f"'{config.prior}' cannot be the prior over vqvae's codes, for it is no density of grids. "
            f"Models that are: {', '.join(there) or 'none'}."
        )
    codes = DataInfo(name=info.name, image=(1, *grid), levels=config.codes, classes=info.classes, extra={"codes": True})
    options: dict[str, Any] = {
        "channels": config.prior_channels,
        "layers": config.prior_layers,
        "hidden": config.prior_hidden,
        "embed": config.prior_embed,
        "conditional": config.conditional,
    }
    return build_model(config.prior, codes, options)
