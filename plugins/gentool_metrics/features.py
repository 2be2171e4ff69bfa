"""The shipped classifiers as feature extractors, and the reference statistics of their data sets.

For scripts::

    from gentool_metrics.features import load_extractor
    extractor = load_extractor("fashion-mnist")
    features, logits = extractor(images)          # images float32 (N, 1, 28, 28) in [-1, 1]
    extractor.fid(images)                         # against 27,500 training pictures
"""

from __future__ import annotations

import functools
import hashlib
import json
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from safetensors.torch import load
from torch import Tensor

from gentool.errors import GentoolError, UsageError, did_you_mean
from gentool.show.text import safe_text
from gentool_metrics.distances import frechet_distance
from gentool_metrics.extractor import FeatureNet, NetConfig
from gentool_metrics.moments import Moments

CHECKPOINTS = Path(__file__).parent / "checkpoints"
PIXELS = ("grey", "stochastic")  # the kinds of pixels that references are shipped for
BATCH = 500


@dataclass(frozen=True)
class Reference:
    """What samples are compared with.

    moments: of the features of all `moments.n` reference pictures; rows: (M, D) features of some of them; held_out:
    (T, D) features of real pictures that are not among them (the floor), T may be 0; histogram: (K,) how many of the
    reference pictures the classifier puts in each class; what: a phrase that names the pictures.
    """

    what: str
    moments: Moments
    rows: Tensor
    held_out: Tensor
    histogram: Tensor
    held_out_what: str = "test pictures"
    remark: str = ""  # what else is known of Fréchet distances to it


class Extractor:
    """A classifier's penultimate layer, in eval mode, always float32.

    name: its data set; card: how it was made; image: (C, H, W) it was made for; digest: first 12 hex digits of the
    sha256 of its weights file, which is what has to agree for two figures to be comparable.
    """

    def __init__(self, net: FeatureNet, card: dict[str, Any], digest: str) -> None:
        self.net = net.eval().requires_grad_(False)
        self.card = card
        self.name = str(card["dataset"])
        self.digest = digest[:12]
        self.image = net.config.image
        self.dim = net.config.features
        self.classes = tuple(str(c) for c in card["classes"])
        self.standard_n = int(card["standard_n"])
        self.notes = tuple(str(note) for note in card.get("notes", ()))

    def to(self, device: torch.device | str) -> Extractor:
        self.net.to(device)
        return self

    @torch.no_grad()
    def __call__(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """(features (N, D), logits (N, K)) float32, of images (N, C, H', W') in [-1, 1].

        Pictures are rounded to 8 bits first, as if saved and read (real ones were), and resized where H', W' differ
        from the extractor's (bilinear with antialiasing).
        """
        if images.dim() != 4 or images.shape[1] != self.image[0]:
            raise UsageError(
                f"The {self.name} classifier reads pictures of {self.image[0]} channel(s), not a tensor of "
                f"{tuple(images.shape)}; convert them with data.channels={self.image[0]}."
            )
        device = self.net.project.weight.device
        with torch.autocast(device.type, enabled=False):
            x = images.to(device, torch.float32)
            x = ((x + 1) * 127.5).round().clamp(0, 255) / 127.5 - 1
            if x.shape[2:] != self.image[1:]:
                x = F.interpolate(x, size=self.image[1:], mode="bilinear", antialias=True, align_corners=False)
            features, logits = self.net(x)
        return features, logits

    def features(self, images: Tensor) -> Tensor:
        """Features (N, D) on the CPU, by batches."""
        parts = [self(part)[0].cpu() for part in torch.split(images, BATCH)]
        return torch.cat(parts) if parts else torch.empty(0, self.dim)

    def reference(self, pixels: str = "grey") -> Reference:
        """The shipped statistics; pixels: "grey", or "stochastic" for stochastically binarised pictures."""
        return _shipped_reference(self.name, pixels)

    def fid(self, images: Tensor | Iterable[Tensor], pixels: str = "grey") -> float:
        """FID of images (N, C, H, W), or of an iterable of such batches, against the shipped reference."""
        batches = [images] if isinstance(images, Tensor) else images
        moments = Moments.empty(self.dim)
        for batch in batches:
            for part in torch.split(batch, BATCH):
                moments = moments.merge(Moments.of(self(part)[0]))
        return frechet_distance(moments, self.reference(pixels).moments)


@dataclass
class Collected:
    """What is kept of a stream of pictures: moments, class counts, and the first `keep` rows of features.

    Mergeable: the memory is (keep + D) D numbers whatever the length of the stream.
    """

    moments: Moments
    counts: Tensor  # (K,) int64, of predicted classes
    keep: int
    rows: list[Tensor] = field(default_factory=list)
    two_valued: bool = True  # every pixel so far was exactly -1 or +1
    labelled: int = 0  # how many came with a label, and for how many the classifier agreed
    agreed: int = 0

    @classmethod
    def empty(cls, extractor: Extractor, keep: int) -> Collected:
        counts = torch.zeros(len(extractor.classes), dtype=torch.int64)
        return cls(Moments.empty(extractor.dim), counts, keep)

    @property
    def n(self) -> int:
        return self.moments.n

    @property
    def features(self) -> Tensor:
        """The kept rows, (min(n, keep), D)."""
        return torch.cat(self.rows) if self.rows else torch.empty(0, len(self.moments.mean))

    def add(self, extractor: Extractor, images: Tensor, labels: Tensor | None = None) -> None:
        """One batch of pictures, with the labels they were conditioned on if they were."""
        features, logits = extractor(images)
        if not torch.isfinite(features).all():
            raise GentoolError("The samples hold NaN or infinite pixels, so they have no score; look at the training.")
        predicted = logits.argmax(1)
        self.two_valued = self.two_valued and bool((images.abs() == 1).all())
        agreed = 0 if labels is None else int((predicted == labels.to(predicted.device)).sum())
        counts = torch.bincount(predicted.cpu(), minlength=len(self.counts))
        self._join(Moments.of(features), counts, [features.cpu()], len(images) if labels is not None else 0, agreed)

    def merge(self, other: Collected) -> None:
        self.two_valued = self.two_valued and other.two_valued
        self._join(other.moments, other.counts, other.rows, other.labelled, other.agreed)

    def _join(self, moments: Moments, counts: Tensor, rows: list[Tensor], labelled: int, agreed: int) -> None:
        room = self.keep - sum(len(part) for part in self.rows)
        for part in rows:
            if room > 0 and len(part):
                self.rows.append(part[:room].clone())
                room -= len(self.rows[-1])
        self.moments = self.moments.merge(moments)
        self.counts = self.counts + counts
        self.labelled += labelled
        self.agreed += agreed


def available(folder: Path = CHECKPOINTS) -> dict[str, dict[str, Any]]:
    """The cards of the extractors that ship, by name."""
    return {path.stem: json.loads(path.read_text()) for path in sorted(folder.glob("*.json"))}


def _verified(path: Path, digest: str) -> bytes:
    try:
        data = path.read_bytes()
    except OSError as error:
        raise GentoolError(
            f"'{path.name}' of gentool_metrics cannot be read ({error.strerror}); reinstall gentool."
        ) from None
    if hashlib.sha256(data).hexdigest() != digest:
        raise GentoolError(f"'{path.name}' of gentool_metrics is not the file that shipped; reinstall gentool.")
    return data


def load_extractor(name: str, device: torch.device | str = "cpu") -> Extractor:
    """The extractor of a data set: "mnist", "fashion-mnist", "cifar10" or "digits"; made once a device."""
    return _load(name, str(device))


@functools.lru_cache(maxsize=8)
def _load(name: str, device: str) -> Extractor:
    cards = available()
    if name not in cards:
        raise UsageError(f"No classifier ships for '{safe_text(name)[:60]}'.{did_you_mean(name, cards)}")
    card = cards[name]
    digest = str(card["sha256"]["weights"])
    weights = load(_verified(CHECKPOINTS / f"{name}.safetensors", digest))
    net = FeatureNet(NetConfig.from_json(card["net"]))
    net.load_state_dict({key: t.float() if t.is_floating_point() else t for key, t in weights.items()})
    return Extractor(net, card, digest).to(device)


@functools.lru_cache(maxsize=8)
def _shipped_reference(name: str, pixels: str) -> Reference:
    card = available()[name]
    if pixels not in card["reference"]:
        raise UsageError(
            f"No {safe_text(pixels)} reference ships for {name}; there is: {', '.join(card['reference'])}."
        )
    about = card["reference"][pixels]
    tensors = load(_verified(CHECKPOINTS / f"{name}.{pixels}.safetensors", str(card["sha256"][pixels])))
    return Reference(
        what=f"{about['count']:,} {name} training pictures ({PIXEL_WORDS[pixels]}) the classifier never saw",
        moments=Moments.from_covariance(int(about["count"]), tensors["mean"], tensors["covariance"]),
        rows=tensors["rows"].float(),
        held_out=tensors["held_out"].float(),
        histogram=tensors["histogram"].double(),
        held_out_what="unseen real pictures" + ("" if pixels == "grey" else ", binarised"),
        remark=f"the {about['test']:,} test pictures score {about['fid_test']:.2f}",
    )


PIXEL_WORDS = {"grey": "as they are", "stochastic": "stochastically binarised"}
