"""The host's own data sets, as a plugin would offer them. Light."""

from __future__ import annotations

from gentool.data.known import CIFAR10, ENG_FRA, FASHION_MNIST, MNIST, MULTI30K, OMNIGLOT, TINYSHAKESPEARE
from gentool.hooks import hookimpl
from gentool.specs import DatasetSpec

TEXT = ("tokens",)
PAIRS = ("source", "target")

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
    DatasetSpec(
        name="pydocs",
        summary="Python's reference manual in English, embedded",
        factory="gentool.data.texts:pydocs",
        fields=TEXT,
        licence="PSF (Python's documentation)",
        origin="embedded",
        kind="text",
        size="about 420,000 + 46,000 characters",
    ),
    DatasetSpec(
        name="tinyshakespeare",
        summary="40,000 lines of Shakespeare",
        factory="gentool.data.texts:tinyshakespeare",
        fields=TEXT,
        licence=TINYSHAKESPEARE.licence,
        origin="named",
        kind="text",
        size="1,003,854 + 111,540 characters",
        aliases=("shakespeare",),
    ),
    DatasetSpec(
        name="text",
        summary="Your own text: text:FILE, in UTF-8",
        factory="gentool.data.texts:own",
        fields=TEXT,
        licence="your own",
        origin="own",
        kind="text",
        prefix=True,
    ),
    DatasetSpec(
        name="numbers",
        summary="Number words, English to German, embedded",
        factory="gentool.data.numbers:numbers",
        fields=PAIRS,
        licence="none needed (made by rule)",
        origin="embedded",
        kind="pairs",
        size="21,602 + 1,199 + 1,199 pairs",
    ),
    DatasetSpec(
        name="eng-fra",
        summary="Short sentences, English to French",
        factory="gentool.data.sentences:eng_fra",
        fields=PAIRS,
        licence=ENG_FRA.licence,
        origin="named",
        kind="pairs",
        size="72,031 + 2,000 + 2,000 pairs",
    ),
    DatasetSpec(
        name="multi30k",
        summary="Descriptions of pictures, German to English",
        factory="gentool.data.sentences:multi30k",
        fields=PAIRS,
        licence=MULTI30K.licence,
        origin="named",
        kind="pairs",
        size="29,000 + 1,014 + 1,000 pairs",
        aliases=("multi30k-de",),
    ),
    DatasetSpec(
        name="multi30k-fr",
        summary="Descriptions of pictures, French to English",
        factory="gentool.data.sentences:multi30k_fr",
        fields=PAIRS,
        licence=MULTI30K.licence,
        origin="named",
        kind="pairs",
        size="29,000 + 1,014 + 1,000 pairs",
    ),
    DatasetSpec(
        name="pairs",
        summary="Your own pairs: pairs:FILE, source<TAB>target a line",
        factory="gentool.data.sentences:own",
        fields=PAIRS,
        licence="your own",
        origin="own",
        kind="pairs",
        prefix=True,
    ),
)


@hookimpl
def gentool_datasets() -> list[DatasetSpec]:
    return list(DATASETS)
