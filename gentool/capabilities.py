"""The vocabulary by which parts fit together: each word promises the methods below on the model.

N is the batch size, images are float32 in [-1, 1] of shape (N, C, H, W), labels int64 of shape (N,) or None,
`step` is a `gentool.Step`: the only source of randomness.

Models may offer words that are not here (a plugin's own loss needs a plugin's own model); a word here has one meaning.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from torch import Tensor, nn

    from gentool.data.batch import DataInfo
    from gentool.randomness import Step
    from gentool.sampling import Detections, Partial


class Model(Protocol):
    """Every model."""

    config: object
    info: DataInfo
    conditional: bool  # False where absent: takes no labels


class Facts(Protocol):
    """Every model that has something to tell: what is worth comparing between architectures, by name."""

    def facts(self) -> dict[str, float | str]:
        """For example ``{"receptive field": 127, "steps one after the other": 1}``."""


class Reconstruct(Protocol):
    """``"reconstruct"``: a deterministic round trip through the bottleneck."""

    def reconstruct(self, images: Tensor, labels: Tensor | None = None) -> Tensor: ...


class Features(Protocol):
    """``"features"``: a representation for other tasks, shape (N, D); `encoder` is the part that fine-tuning trains."""

    encoder: nn.Module

    def features(self, images: Tensor) -> Tensor: ...


class Decode(Protocol):
    """``"decode"``: images of latent vectors z, shape (N, D), whose prior is a standard normal."""

    latent: int

    def decode(self, z: Tensor, labels: Tensor | None = None) -> Tensor: ...


class Encode(Protocol):
    """``"encode"``: the mean latent vector (N, D) of each image; the inverse of `decode`."""

    def encode(self, images: Tensor, labels: Tensor | None = None) -> Tensor: ...


class Elbo(Protocol):
    """``"elbo"``: the evidence lower bound of log p(x), in nats per image, each shape (N,)."""

    def elbo(self, images: Tensor, labels: Tensor | None, step: Step) -> tuple[Tensor, Tensor]:
        """(reconstruction term E_q[log p(x|z)], KL(q(z|x) || p(z))): the bound is the first minus the second."""

    def log_weights(self, images: Tensor, labels: Tensor | None, k: int, step: Step) -> Tensor:
        """log p(x, z_i) - log q(z_i|x) of k draws from q, shape (k, N): IWAE's bound is logmeanexp over k."""


class LogProb(Protocol):
    """``"log-prob"``: the exact log-likelihood of each image in nats, shape (N,)."""

    def log_prob(self, images: Tensor, labels: Tensor | None = None) -> Tensor: ...


class Likelihood(Protocol):
    """``"likelihood"``: how a likelihood in nats is to be read: what the density is over."""

    def protocol(self) -> str:
        """For example ``"Bernoulli over binarised pixels"`` or ``"256-way discrete"``."""


class GridDensity(Protocol):
    """``"grid-density"``: an exact density over integer grids x (N, C, H, W) in [0, levels), usable as a prior of codes."""

    def log_prob_levels(self, x: Tensor, labels: Tensor | None = None) -> Tensor:
        """Shape (N,), nats."""

    def draw_levels(
        self,
        n: int,
        *,
        step: Step,
        labels: Tensor | None = None,
        temperature: float = 1.0,
        known: Tensor | None = None,
    ) -> Iterator[Partial | Tensor]:
        """Ends with an int64 tensor (N, C, H, W); a `Partial`'s images are the grid so far, levels spread over [-1, 1].

        The logits are divided by `temperature`: 1 draws from the density itself. known: levels (N, C, H, W) that are
        kept where they are not -1; the rest is drawn given what comes before it, exactly where the known come first.
        """


class Adversarial(Protocol):
    """``"adversarial"``: a generator and a discriminator as submodules of those names (and phases)."""

    generator: nn.Module  # (z (N, latent), labels) -> images
    discriminator: nn.Module  # (images, labels) -> logits (N,)
    latent: int


class Codebook(Protocol):
    """``"codebook"``: a discrete bottleneck."""

    codes: int

    def encode_codes(self, images: Tensor) -> Tensor:
        """int64 (N, h, w) in [0, codes)."""

    def decode_codes(self, codes: Tensor) -> Tensor: ...


class LatentGrid(Protocol):
    """``"latent-grid"``: a grid of latent vectors through which a picture goes, before anything is made discrete."""

    def encode_grid(self, images: Tensor) -> Tensor:
        """float (N, D, h, w)."""

    def decode_grid(self, z: Tensor) -> Tensor:
        """Pictures of any grid of vectors (N, D, h, w), in [-1, 1]."""


class Classify(Protocol):
    """``"classify"``: scores of the classes of `info.classes`."""

    def logits(self, images: Tensor) -> Tensor:
        """Unnormalised log-probabilities, shape (N, classes)."""


class NextToken(Protocol):
    """``"next-token"``: reads tokens of the vocabulary "text" one after the other and predicts each next one.

    A state is a flat mapping of tensors whose first dimension (`state_dim` = 0) is the row, so that rows can be picked,
    zeroed and saved; None is the state in which a text begins.
    """

    state_dim: int

    def advance(self, tokens: Tensor, state: Mapping[str, Tensor] | None) -> tuple[Tensor, dict[str, Tensor]]:
        """tokens int64 (N, T) -> logits (N, T, V) of the token after each, and the state after the last.

        Reading a text in pieces with the state carried gives the logits of reading it whole.
        """

    def detach(self, state: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """The same state, through which no gradient flows."""


class Translate(Protocol):
    """``"translate"``: target sequences of source sequences (vocabularies "source" and "target").

    source: int64 (N, S), each row ending with <end> and filled with <pad>; source_length: int64 (N,), <end> counted.
    What is filled in, and the other rows of a batch, change nothing.
    """

    def score(self, source: Tensor, source_length: Tensor, target: Tensor) -> Tensor:
        """Logits (N, T, V) of the token after each of target int64 (N, T), whose first column is <start>."""

    def translate(self, source: Tensor, source_length: Tensor, *, step: Step, **options: object) -> list[list[int]]:
        """The target ids of each row without <start> and <end>; `options` are those of the model's decoding."""


class Detect(Protocol):
    """``"detect"``: boxes of the classes of `info.classes` on pictures of any size.

    images: (N, 3, H, W), each picture at the top left, the rest of the canvas 0; size: int64 (N, 2), height and width of
    the picture in it. What is filled in, and the other pictures of a batch, change nothing.
    """

    def detect(self, images: Tensor, size: Tensor, **options: object) -> list[Detections]:
        """What is found on each picture, in pixels of the canvas; `options` are those of the model's detecting
        (`threshold` of the score, `limit` of detections a picture, ...), best first."""


class Propose(Protocol):
    """``"propose"``: where on a picture something may be, whatever it is; images and size as in `Detect`."""

    def propose(self, images: Tensor, size: Tensor) -> list[Tensor]:
        """Boxes float32 (P, 4) of each picture, x1 y1 x2 y2 in pixels of the canvas, the likeliest first."""


CAPABILITIES: dict[str, type] = {
    "reconstruct": Reconstruct,
    "features": Features,
    "decode": Decode,
    "encode": Encode,
    "elbo": Elbo,
    "log-prob": LogProb,
    "likelihood": Likelihood,
    "grid-density": GridDensity,
    "adversarial": Adversarial,
    "codebook": Codebook,
    "latent-grid": LatentGrid,
    "classify": Classify,
    "next-token": NextToken,
    "translate": Translate,
    "detect": Detect,
    "propose": Propose,
}
