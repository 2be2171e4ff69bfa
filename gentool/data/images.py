"""Batches of pictures: the declared transforms, the order of training examples, and splits in order."""

from __future__ import annotations

import dataclasses
import hashlib
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import torch
from torch import Tensor

from gentool.data import transforms
from gentool.data.batch import Batch, DataInfo
from gentool.data.config import DataConfig
from gentool.data.order import Order
from gentool.data.sets import Dataset, ImageSet, check_split, whole
from gentool.errors import UsageError
from gentool.randomness import Step, derive_seed
from gentool.sampling import Samples
from gentool.show.text import safe_text

# Binarised pictures of a split seen in order are drawn once, from this seed and the picture's place alone: test
# figures of different runs, batch sizes and devices are of the same pictures.
FIXED_SEED = 0
_FIXED_CHUNK = 1000


class ImagePipeline:
    """The batches of a set of pictures (`gentool.data.pipeline.Pipeline`)."""

    def __init__(
        self,
        open_split: Callable[[str], Dataset],
        config: DataConfig,
        device: torch.device | str,
        seed: int,
        vocabularies: Mapping[str, Mapping[str, Any]] | None = None,
    ) -> None:
        if config.binarize != "none" and config.levels not in (2, 256):
            raise UsageError(
                f"data.binarize = {config.binarize} makes 2 levels, so data.levels = {config.levels} cannot hold; "
                "leave one of them out."
            )
        self.config = config
        self.device = torch.device(device)
        self.seed = seed
        self.levels = 2 if config.binarize != "none" else config.levels
        self._open = open_split
        self._sets: dict[str, ImageSet] = {}
        self._fixed: dict[str, Tensor] = {}
        self._order: Order | None = None
        self._info: DataInfo | None = None

    # -- what there is --------------------------------------------------------------------------------------------

    @property
    def info(self) -> DataInfo:
        """What a model has to know of these data."""
        if self._info is None:
            fields = next(iter(self._sets.values()), None) or self.split("train")
            self._info = DataInfo(
                name=self.config.name,
                levels=self.levels,
                extra={"binarize": self.config.binarize},  # static and dynamic figures differ: reports name it
                **fields.info_fields,
            )
        return self._info

    def split(self, name: str) -> ImageSet:
        """A split after the transforms that are made once; its pictures hold 0 … levels-1 (grey if still to be drawn)."""
        if name not in self._sets:
            self._sets[name] = self._prepare(name)
        return self._sets[name]

    def _prepare(self, name: str) -> ImageSet:
        made = whole(self._open(check_split(name)))
        limit = self.config.limit if name == "train" else 0
        images, labels = made.images, made.labels
        if limit:
            images, labels = images[:limit], None if labels is None else labels[:limit]
        if name == "train" and not len(images):
            raise UsageError(f"The data set '{safe_text(self.config.name)}' has no training examples.")
        if len(images):
            images = transforms.resize(transforms.to_channels(images, self.config.channels), self.config.resize)
        if self.config.binarize == "fixed":
            images = draw_fixed(images, name, len(images))
        elif self.config.binarize != "stochastic":
            images = transforms.quantise(images, self.levels)
        made = dataclasses.replace(made, images=images.contiguous(), labels=labels, names=())
        return made.to(_home(made, self.device))

    def has(self, split: str) -> bool:
        """Whether a split has any examples."""
        return self.count(split) > 0

    def count(self, split: str) -> int:
        """How many examples a split has."""
        return len(self.split(split))

    def check(self, info: DataInfo) -> None:
        """Refuse data that a model made for `info` cannot read."""
        if self.info.image != info.image:
            raise UsageError(
                f"The data set '{safe_text(self.info.name)}' has pictures of {_shape(self.info.image)}, but the model was "
                f"trained on {_shape(info.image)}; add --set data.resize=N or choose another set."
            )

    @property
    def summary(self) -> str:
        """The size of a picture."""
        return _shape(self.info.image)

    def preview(self, split: str, n: int) -> Samples:
        """Pictures as a model sees them; of training the first batch that a run of this seed would train on."""
        count = min(n, self.count(split))
        batch = self.train_batch(0, count) if split == "train" else next(self.batches(split, count, count))
        classes = self.info.classes
        captions = None if batch.labels is None or not classes else [classes[i] for i in batch.labels.tolist()]
        return Samples(images=batch.images, labels=batch.labels, captions=captions, columns=min(8, count))

    @property
    def nbytes(self) -> int:
        """Bytes of the pictures opened so far."""
        return sum(made.images.nbytes for made in self._sets.values())

    def fingerprint(self) -> str:
        """16 hex digits that change when the training examples do: their number, shape and labels, and the pixels of
        up to 256 of them. A resumed run repeats its course only on data of the same fingerprint."""
        data = self.split("train")
        places = torch.arange(0, len(data), max(1, len(data) // 256), device=data.images.device)
        digest = hashlib.blake2b(repr((len(data), tuple(data.images.shape), data.classes)).encode(), digest_size=8)
        for tensor in (data.images.index_select(0, places), data.labels):
            digest.update(b"" if tensor is None else tensor.cpu().numpy().tobytes())
        return digest.hexdigest()

    # -- training -------------------------------------------------------------------------------------------------

    def train_batch(self, step: int, size: int, rank: int = 0, world: int = 1) -> Batch:
        """The batch of a training step (counted from 0) for one of `world` ranks, each of which takes `size` examples.

        The ranks together take positions [step size world, (step + 1) size world) of the order, one after the other.
        """
        data = self.split("train")
        if self._order is None:
            self._order = Order(len(data), derive_seed(self.seed, "data"), data.images.device)
        index = self._order.at((step * world + rank) * size, size)
        images, labels = data.take(index)
        here = Step(seed=self.seed, index=step, rank=rank, device=images.device, stream="data")
        if self.config.augment != "none":
            images = transforms.augment(images, self.config.augment, here.generator("augment"))
        if self.config.binarize == "stochastic":
            images = transforms.draw_binary(images, here.generator("binarize"))
        return self._batch(images, labels, index)

    def _batch(self, images: Tensor, labels: Tensor | None, index: Tensor) -> Batch:
        if images.device != self.device:
            images, index = images.to(self.device), index.to(self.device)
            labels = None if labels is None else labels.to(self.device)
        return Batch(images=transforms.to_float(images, self.levels), labels=labels, index=index)

    # -- a split in order -------------------------------------------------------------------------------------------

    def batches(self, split: str, size: int, limit: int | None = None) -> Iterator[Batch]:
        """A split once, in its fixed order and without augmentation; the last batch may be smaller.

        Stochastic binarisation is drawn once and for all from a fixed seed: the same pictures in every run.
        limit: at most so many examples (None or 0: all).
        """
        data = self.split(split)
        count = min(len(data), limit or len(data))
        images = data.images if self.config.binarize != "stochastic" else self._drawn(split, count)
        for start in range(0, count, size):
            stop = min(start + size, count)
            labels = None if data.labels is None else data.labels[start:stop]
            yield self._batch(images[start:stop], labels, torch.arange(start, stop, device=images.device))

    def _drawn(self, split: str, count: int) -> Tensor:
        """The first `count` pictures of a split, binarised once and for all."""
        kept = self._fixed.get(split)
        if kept is None or len(kept) < count:
            kept = self._fixed[split] = draw_fixed(self.split(split).images, split, count)
        return kept


def draw_fixed(images: Tensor, split: str, count: int) -> Tensor:
    """The first `count` grey pictures of a split (or a few more), binarised by their place alone: 0 and 1, uint8."""
    parts = []
    for number, part in enumerate(torch.split(images, _FIXED_CHUNK)):
        if number * _FIXED_CHUNK >= count:
            break
        step = Step(seed=FIXED_SEED, index=number, stream=f"data.{split}")  # on the CPU, for any device
        parts.append(transforms.draw_binary(part.cpu(), step.generator("binarize")).to(images.device))
    return torch.cat(parts) if parts else images


def _home(made: ImageSet, device: torch.device) -> torch.device:
    """Where a split lives: on the device, unless it would take more than a quarter of what is free there."""
    if device.type != "cuda":
        return device
    free, _ = torch.cuda.mem_get_info(device)
    return device if made.images.nbytes < free / 4 else torch.device("cpu")


def _shape(image: tuple[int, int, int] | None) -> str:
    return "no pictures" if image is None else "x".join(str(side) for side in image)
