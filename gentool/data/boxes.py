"""Batches of pictures with boxes: pictures of any size, read when they are wanted, each on the top left of a canvas."""

from __future__ import annotations

import hashlib
import json
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from gentool.data.batch import Batch, DataInfo
from gentool.data.box_transforms import Example, augmented, fitted_size, resized
from gentool.data.config import BoxesConfig
from gentool.data.order import Order
from gentool.data.pictures import machine_memory, to_jpeg
from gentool.data.problems import Problems
from gentool.data.sets import check_split
from gentool.data.transforms import to_float
from gentool.errors import UsageError
from gentool.randomness import derive_seed
from gentool.sampling import Origin, Samples, truth_of
from gentool.show.text import safe_text

STRIDE = 32  # the sides of a canvas are multiples of it
CANVAS_PIXELS = 3_000_000  # of a batch of a split read in order: fewer pictures are taken where they are large
CARRIED, CARRIED_BYTES = 8, 200_000  # pictures that a checkpoint carries, and characters of them, at most
SAMPLED = 16  # pictures whose pixels are part of a fingerprint


@dataclass(frozen=True)
class Target:
    """What there is on one picture. boxes: float64 (M, 4), x1 y1 x2 y2 in pixels of the original picture; labels: int64
    (M,); crowd: bool (M,), a region of many (COCO's iscrowd, VOC's difficult) that is not to be scored; area: float64
    (M,), of the object itself where it is known, else of its box."""

    boxes: NDArray[np.float64]
    labels: NDArray[np.int64]
    crowd: NDArray[np.bool_]
    area: NDArray[np.float64]


class BoxSet(ABC):
    """One split of pictures with boxes, as the factory of a data set of the kind "boxes" gives it.

    `classes` are the names in label order, `category_ids` the data set's own number of each: results are written with
    these. `problems` says what was left out; `files`: pictures are files, that may be broken.
    """

    name: str
    split: str
    classes: tuple[str, ...]
    category_ids: tuple[int, ...]
    problems: Problems = Problems()
    files: bool = False

    @abstractmethod
    def __len__(self) -> int: ...

    @abstractmethod
    def size(self, index: int) -> tuple[int, int]:
        """(height, width) of the original picture."""

    @abstractmethod
    def read(self, index: int, least: tuple[int, int] | None = None) -> NDArray[np.uint8]:
        """The original picture, uint8 (H, W, 3), or a smaller copy of it that is at least (height, width)."""

    def decoded(self, index: int) -> NDArray[np.uint8] | str:
        """The same, or why there is none."""
        return self.read(index)

    @abstractmethod
    def target(self, index: int) -> Target: ...

    def image_id(self, index: int) -> int | str:
        """What the data set calls the picture in results."""
        return index

    def file_name(self, index: int) -> str:
        return ""

    def digest(self) -> bytes:
        """Changes when the annotations or files do. The pipeline adds some pixels."""
        return repr((self.name, len(self), self.classes)).encode()


class BoxPipeline:
    """The batches of a set of pictures with boxes (`gentool.data.pipeline.Pipeline`)."""

    def __init__(
        self,
        open_split: Callable[[str], BoxSet],
        config: BoxesConfig,
        device: torch.device | str,
        seed: int,
        vocabularies: Mapping[str, Mapping[str, Any]] | None = None,
    ) -> None:
        if config.short_side > config.long_side:
            raise UsageError(
                f"data.short_side = {config.short_side} is longer than data.long_side = {config.long_side}; "
                "raise data.long_side, too."
            )
        self.config = config
        self.device = torch.device(device)
        self.seed = seed
        self._open = open_split
        self._sets: dict[str, BoxSet] = {}
        self._kept: dict[str, dict[int, NDArray[np.uint8]]] = {}
        self._bytes = 0
        self._most = machine_memory() // 4
        self._order: Order | None = None
        self._info: DataInfo | None = None
        self._known: tuple[str, ...] | None = None
        self._pool: ThreadPoolExecutor | None = None
        self._ahead: dict[tuple[int, int, int, int], list[Future[Example]]] = {}

    # -- what there is --------------------------------------------------------------------------------------------

    def split(self, name: str) -> BoxSet:
        """A split as its factory made it."""
        if name not in self._sets:
            made = self._open(check_split(name))
            if not isinstance(made, BoxSet):
                raise UsageError(
                    f"The data set '{safe_text(self.config.name)}' gives a {type(made).__name__}, not pictures with boxes."
                )
            self._same_classes(made)
            if name == "train" and not len(made):
                raise UsageError(f"The data set '{safe_text(self.config.name)}' has no training examples.")
            self._sets[name], self._kept[name] = made, {}
        return self._sets[name]

    @property
    def info(self) -> DataInfo:
        """What a model has to know of these data; `image` is the smallest canvas that holds any training picture."""
        if self._info is None:
            data = self.split("train")
            sizes = [fitted_size(*data.size(i), self.config) for i in range(self.count("train"))]
            if self.config.flip == "all":
                sizes += [(width, height) for height, width in sizes]
            height, width = (max(side) for side in zip(*sizes))
            self._info = DataInfo(
                name=self.config.name,
                image=(3, _rounded(height), _rounded(width)),
                classes=data.classes,
                extra={"category_ids": list(data.category_ids), "examples": self._examples()},
            )
        return self._info

    def _examples(self) -> list[dict[str, Any]]:
        """Some held-out pictures that a model may show itself with where no data are, at training size; none of a set
        that is always there."""
        split = "validation" if self.has("validation") else "train"
        if not self.split(split).files:
            return []
        made: list[dict[str, Any]] = []
        room = CARRIED_BYTES
        for index in range(min(self.count(split), CARRIED)):
            example = self._example(split, index)
            jpeg = to_jpeg(example.image)
            room -= len(jpeg)
            if room < 0 and made:
                break
            own = ~example.crowd
            made.append(
                {
                    "name": self.origin(split, index).name,
                    "jpeg": jpeg,
                    "boxes": example.boxes[own].round(2).tolist(),
                    "labels": example.labels[own].tolist(),
                }
            )
        return made

    def has(self, split: str) -> bool:
        """Whether a split has any examples."""
        return self.count(split) > 0

    def count(self, split: str) -> int:
        """How many pictures a split has."""
        most = self.config.limit if split == "train" else 0
        there = len(self.split(split))
        return min(there, most) if most else there

    @property
    def nbytes(self) -> int:
        """Bytes of the pictures kept in memory so far."""
        return self._bytes

    @property
    def summary(self) -> str:
        """The largest canvas, and how many classes."""
        _, height, width = self.info.image or (3, 0, 0)
        count = len(self.info.classes)
        return f"pictures of up to {width}x{height}, {count} class{'es' if count > 1 else ''}"

    def fingerprint(self) -> str:
        """16 hex digits that change when the training examples do: annotations, files, and the pixels of up to 16."""
        data, count = self.split("train"), self.count("train")
        digest = hashlib.blake2b(data.digest(), digest_size=8)
        for index in range(0, count, max(1, count // SAMPLED)):
            example = self._example("train", index)
            digest.update(example.image.tobytes() + example.boxes.tobytes() + example.labels.tobytes())
        digest.update(json.dumps(count).encode())
        return digest.hexdigest()

    def check(self, info: DataInfo) -> None:
        """Refuse data whose classes are not those that a model of `info` knows: now, or when a split is opened. (Of a large
        set no split is read that is not asked for.)"""
        self._known = tuple(info.classes)
        for made in self._sets.values():
            self._same_classes(made)

    def _same_classes(self, made: BoxSet) -> None:
        known = self._known or next((other.classes for other in self._sets.values()), None)
        if known is not None and made.classes != known:
            whose = "the model was trained on" if self._known else "another split of it has"
            raise UsageError(
                f"The data set '{safe_text(self.config.name)}', {made.split}, has the {len(made.classes)} class(es) "
                f"{_listed(made.classes)}, but {whose} the {len(known)} class(es) {_listed(known)}."
            )

    # -- examples -------------------------------------------------------------------------------------------------

    def _example(self, split: str, index: int) -> Example:
        """One picture at training size with its boxes; decoded once where memory allows."""
        data = self.split(split)
        height, width = data.size(index)
        kept = self._kept[split]
        image = kept.get(index)
        if image is None:
            fitted = fitted_size(height, width, self.config)
            image = resized(data.read(index, fitted), *fitted)
            if self._bytes + image.nbytes <= self._most:
                self._bytes += image.nbytes
                kept[index] = image
        target = data.target(index)
        scale = np.array([image.shape[1] / width, image.shape[0] / height])
        return Example(
            index=index,
            image=image,
            boxes=target.boxes * np.tile(scale, 2),
            labels=target.labels,
            crowd=target.crowd,
            area=target.area,
            scale=scale,
        )

    def train_batch(self, step: int, size: int, rank: int = 0, world: int = 1) -> Batch:
        """The batch of a training step (counted from 0) for one of `world` ranks, each of which takes `size` examples.

        The ranks together take positions [step size world, (step + 1) size world) of the order, one after the other.
        With workers, threads read this batch side by side and the next one ahead.
        """
        if not self.config.workers:
            return self._batch([self._drawn(*place) for place in self._places(step, size, rank, world)])
        mine = self._begin(step, size, rank, world)
        self._begin(step + 1, size, rank, world)
        for gone in [key for key in self._ahead if key[0] not in (step, step + 1)]:
            del self._ahead[gone]
        return self._batch([future.result() for future in mine])

    def _places(self, step: int, size: int, rank: int, world: int) -> list[tuple[int, int]]:
        """(position in the order, index of the example) of each example of a batch."""
        if self._order is None:
            self._order = Order(self.count("train"), derive_seed(self.seed, "data"))
        first = (step * world + rank) * size
        return list(enumerate(self._order.at(first, size).tolist(), first))

    def _drawn(self, position: int, index: int) -> Example:
        """One training example, augmented by a draw of (seed, position)."""
        rng = np.random.default_rng(derive_seed(self.seed, "boxes", position))
        return augmented(self._example("train", index), self.config, rng)

    def _begin(self, step: int, size: int, rank: int, world: int) -> list[Future[Example]]:
        key = (step, size, rank, world)
        if key not in self._ahead:
            if self._pool is None:
                self.split("train")
                self._pool = ThreadPoolExecutor(self.config.workers, thread_name_prefix="boxes")
            places = self._places(*key)
            self._ahead[key] = [self._pool.submit(self._drawn, *place) for place in places]
        return self._ahead[key]

    def batches(self, split: str, size: int, limit: int | None = None) -> Iterator[Batch]:
        """A split once, in its fixed order and without augmentation; a batch has at most `size` pictures, fewer where
        they are large. limit: at most so many examples (None or 0: all)."""
        count = self.count(split)
        count = min(count, limit or count)
        waiting: list[Example] = []
        for index in range(count):
            example = self._example(split, index)
            pixels = (len(waiting) + 1) * int(np.prod(canvas([*waiting, example])))
            if waiting and (len(waiting) == size or pixels > CANVAS_PIXELS):
                yield self._batch(waiting)
                waiting = []
            waiting.append(example)
        if waiting:
            yield self._batch(waiting)

    def _batch(self, examples: Sequence[Example]) -> Batch:
        return collate(examples, self.device)

    def origin(self, split: str, index: int) -> Origin:
        """Where an example came from."""
        data = self.split(split)
        name = data.file_name(index) or f"{split} {index}"
        return Origin(name, data.image_id(index), data.size(index))

    def preview(self, split: str, n: int) -> Samples:
        """Pictures with their boxes; of training the first batch that a run of this seed would train on."""
        count = min(n, self.count(split))
        batch = (
            self.train_batch(0, count)
            if split == "train"
            else self._batch([self._example(split, i) for i in range(count)])
        )
        return Samples(
            images=batch.images,
            detections=truth_of(batch),
            classes=self.info.classes,
            sizes=batch.extra["size"],
            columns=min(4, count),
        )


def canvas(examples: Sequence[Example]) -> tuple[int, int]:
    """(height, width) that holds every picture, multiples of 32."""
    return tuple(_rounded(max(e.image.shape[axis] for e in examples)) for axis in (0, 1))  # type: ignore[return-value]


def collate(examples: Sequence[Example], device: torch.device | str = "cpu") -> Batch:
    """Examples as a `gentool.Batch`; pictures become floating-point numbers on the device."""
    n, most = len(examples), max(1, *(len(e.labels) for e in examples))
    height, width = canvas(examples)
    pixels = torch.zeros(n, height, width, 3, dtype=torch.uint8)
    boxes, labels = torch.zeros(n, most, 4), torch.full((n, most), -1, dtype=torch.int64)
    crowd, area = torch.zeros(n, most, dtype=torch.bool), torch.zeros(n, most)
    sizes = [example.image.shape[:2] for example in examples]
    for row, (example, (h, w)) in enumerate(zip(examples, sizes)):
        pixels[row, :h, :w] = torch.from_numpy(example.image)
        m = len(example.labels)
        boxes[row, :m] = torch.from_numpy(example.boxes).float()
        labels[row, :m] = torch.from_numpy(example.labels)
        crowd[row, :m] = torch.from_numpy(example.crowd)
        area[row, :m] = torch.from_numpy(example.area).float()
    images = to_float(pixels.permute(0, 3, 1, 2).contiguous().to(device), 256)
    for row, (h, w) in enumerate(sizes):
        images[row, :, h:] = 0
        images[row, :, :, w:] = 0
    batch = Batch(
        index=torch.tensor([e.index for e in examples], dtype=torch.int64),
        extra={
            "size": torch.tensor(sizes, dtype=torch.int64),
            "boxes": boxes,
            "box_labels": labels,
            "crowd": crowd,
            "area": area,
            "scale": torch.from_numpy(np.stack([e.scale for e in examples])).float(),
        },
    ).map(lambda tensor: tensor.to(device))
    batch.images = images
    return batch


def _rounded(side: int) -> int:
    return -(-side // STRIDE) * STRIDE


def _listed(names: Sequence[str]) -> str:
    shown = ", ".join(safe_text(name) for name in names[:5])
    return shown + (", …" if len(names) > 5 else "")
