"""The host's own data sets, as a plugin would offer them. Light."""

from __future__ import annotations

from gentool.data.known import CIFAR10, FASHION_MNIST, MNIST, OMNIGLOT
from gentool.hooks import hookimpl
from gentool.specs import DatasetSpec

DATASETS = (
    DatasetSpec(
        name="digits",
        summary="Handwritten digits, embedded: the default",
        factory="gentool.data.embedded:digits",
        fields=("image", "label"),
        licence="CC BY 4.0 (UCI repository)",
        origin="embedded",
        size="1,437 + 180 + 180 of 8x8 grey",
    ),
    DatasetSpec(
        name="mnist",
        summary="Handwritten digits",
        factory="gentool.data.idx:mnist",
        fields=("image", "label"),
        licence=MNIST.licence,
        origin="named",
        size="55,000 + 5,000 + 10,000 of 28x28 grey",
    ),
    DatasetSpec(
        name="fashion-mnist",
        summary="Zalando's articles of clothing",
        factory="gentool.data.idx:fashion_mnist",
        fields=("image", "label"),
        licence=FASHION_MNIST.licence,
        origin="named",
        size="55,000 + 5,000 + 10,000 of 28x28 grey",
        aliases=("fashion",),
    ),
    DatasetSpec(
        name="cifar10",
        summary="Small photographs of ten kinds of things",
        factory="gentool.data.archives:cifar10",
        fields=("image", "label"),
        licence=CIFAR10.licence,
        origin="named",
        size="45,000 + 5,000 + 10,000 of 32x32 colour",
        aliases=("cifar-10",),
    ),
    DatasetSpec(
        name="omniglot",
        summary="Characters of eight alphabets, 20 writers each",
        factory="gentool.data.archives:omniglot",
        fields=("image", "label"),
        licence=OMNIGLOT.licence,
        origin="named",
        size="3,872 + 484 + 484 of 105x105 grey",
    ),
    DatasetSpec(
        name="folder",
        summary="Your own pictures: folder:PATH, a class per subfolder or none",
        factory="gentool.data.folder:folder",
        fields=("image", "label"),
        licence="your own",
        origin="own",
        prefix=True,
    ),
    DatasetSpec(
        name="array",
        summary="Your own pictures in one NumPy file: array:FILE.npy",
        factory="gentool.data.array:array",
        fields=("image",),
        licence="your own",
        origin="own",
        prefix=True,
    ),
)


@hookimpl
def gentool_datasets() -> list[DatasetSpec]:
    return list(DATASETS)
