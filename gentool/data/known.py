"""The data sets that are known by name: their files, where these come from, and what is known of them. Light.

Checksums are those their publishers give (md5), or sha256 of unchanged copies.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class File:
    """One file: `also` are other names it goes by; `url` is empty where it is found but never fetched."""

    name: str
    url: str = ""
    checksum: str = ""  # "md5:..." or "sha256:..."
    size: int = 0  # bytes
    also: tuple[str, ...] = ()

    @property
    def names(self) -> tuple[str, ...]:
        return (self.name, *self.also)


@dataclass(frozen=True, slots=True)
class Known:
    """A named set: any of its `layouts` (files that are complete together) will do; the last is the one to fetch.

    `folders` are where its files may lie below a data folder.
    """

    name: str
    folders: tuple[str, ...]
    layouts: tuple[tuple[File, ...], ...]
    licence: str
    homepage: str = ""

    @property
    def fetched(self) -> tuple[File, ...]:
        return tuple(file for file in self.layouts[-1] if file.url)


def _idx(base: str, images: tuple[str, int, str, int], labels: tuple[str, int, str, int]) -> tuple[File, ...]:
    files = []
    for kind, (train, train_size, test, test_size) in (("images-idx3", images), ("labels-idx1", labels)):
        for part, checksum, size in (("train", train, train_size), ("t10k", test, test_size)):
            plain = f"{part}-{kind}-ubyte"
            dotted = plain.replace("-idx", ".idx")
            files.append(
                File(f"{plain}.gz", f"{base}{plain}.gz", f"md5:{checksum}", size, (plain, f"{dotted}.gz", dotted))
            )
    return tuple(files)


MNIST = Known(
    name="mnist",
    folders=("mnist", "MNIST/raw", "MNIST"),
    layouts=(
        _idx(
            "https://ossci-datasets.s3.amazonaws.com/mnist/",
            ("f68b3c2dcbeaaa9fbdd348bbdeb94873", 9_912_422, "9fb629c4189551a2d022fa330f9573f3", 1_648_877),
            ("d53e105ee54ea40749a09fcbcd1e9432", 28_881, "ec29112dd5afa0611ce80d1b7f02629c", 4_542),
        ),
    ),
    licence="none stated (LeCun, Cortes, Burges)",
    homepage="http://yann.lecun.com/exdb/mnist/",
)

FASHION_MNIST = Known(
    name="fashion-mnist",
    folders=("fashion-mnist", "FashionMNIST/raw", "FashionMNIST", "fashion"),
    layouts=(
        _idx(
            "http://fashion-mnist.s3-website.eu-central-1.amazonaws.com/",
            ("8d4fb7e6c68d591d4c3dfef9ec88bf0d", 26_421_880, "bef4ecab320f06d8554ea6380940ec79", 4_422_102),
            ("25c81989df183df01b3e8a0aad5dffbe", 29_515, "bb300cfdad3c16e7a12a480ee83cd310", 5_148),
        ),
    ),
    licence="MIT (Zalando SE)",
    homepage="https://github.com/zalandoresearch/fashion-mnist",
)

CIFAR10 = Known(
    name="cifar10",
    folders=("cifar10", "cifar-10"),
    layouts=(
        (File("cifar10_jpeg.tar.xz"),),
        (
            File(
                "cifar-10-binary.tar.gz",
                "https://www.cs.toronto.edu/~kriz/cifar-10-binary.tar.gz",
                "md5:c32a1d4ab5d03f1284b67883e8d87530",
                170_052_171,
            ),
        ),
    ),
    licence="none stated (Krizhevsky 2009)",
    homepage="https://www.cs.toronto.edu/~kriz/cifar.html",
)

_OMNIGLOT = "https://github.com/brendenlake/omniglot/raw/master/python/"
OMNIGLOT = Known(
    name="omniglot",
    folders=("omniglot", "omniglot-py"),
    layouts=(
        (
            File(
                "images_background_small1.zip",
                f"{_OMNIGLOT}images_background_small1.zip",
                "sha256:f38eb80f801274ac2b4dff5b24289016bfaba4a7d5bb50deebf27104ad6cb8a4",
                1_319_022,
            ),
            File(
                "images_background_small2.zip",
                f"{_OMNIGLOT}images_background_small2.zip",
                "sha256:3ccaa407515a8778e5d0861875af38b17e418f301ad5bb3b5a6b65d901a41c7f",
                1_580_917,
            ),
        ),
    ),
    licence="MIT (Brenden Lake)",
    homepage="https://github.com/brendenlake/omniglot",
)

TINYSHAKESPEARE = Known(
    name="tinyshakespeare",
    folders=("tinyshakespeare",),
    layouts=(
        (
            File(
                "input.txt",
                "https://raw.githubusercontent.com/karpathy/char-rnn/master/data/tinyshakespeare/input.txt",
                "sha256:86c4e6aa9db7c042ec79f339dcb96d42b0075e16b8fc2e86bf0ca57e2dc565ed",
                1_115_394,
                ("tinyshakespeare.txt",),
            ),
        ),
    ),
    licence="public domain",
    homepage="https://github.com/karpathy/char-rnn",
)

ENG_FRA = Known(
    name="eng-fra",
    folders=("eng-fra",),
    layouts=(
        (
            File(
                "eng-fra.txt",
                "https://raw.githubusercontent.com/Soubhagya264/Language_Translator-Encoder-Decoder-/"
                "f6c89651306aa93d2f0f0447ce15b553a530abb0/fra.txt",
                "sha256:ab1d28db65ab062e06d7fc3b399872d431becfb8af152268dc4b6cdf50260530",
                3_996_979,
            ),
        ),
    ),
    licence="CC BY 2.0 (tatoeba.org)",
    homepage="https://www.manythings.org/anki/",
)

_MULTI30K = "https://raw.githubusercontent.com/multi30k/dataset/master/data/task1/raw/"
_MULTI30K_FILES = {
    "de": (
        ("train", "726e39b2fa9eb9ffb6dc763fb35a179f80fae06ffc5d28b6ace5faa883de28a6", 637_044),
        ("val", "f0cba2f995189cf5770f29a8a9a537a3ad3f51657ad873405082ff6863a5e75a", 24_681),
        ("test_2016_flickr", "9204244e408ccb38d2a55cfcd344df15005fc42a07a6e55ca6c52b6ababb8cc8", 22_890),
    ),
    "en": (
        ("train", "d79cfa999dd4c51d2cb42499b6796d5a882c3a8a961923c25a898c90f8bbd56f", 568_929),
        ("val", "14f7d25ddd868909a9213e361768460edcacdd6ab9d1e77b92560dc10c10dc28", 21_650),
        ("test_2016_flickr", "611d361c6334bc7246101d48097c13cf5c4413c5befc793cc629934359d532d9", 21_077),
    ),
    "fr": (
        ("train", "622e75069e9f4c577425c4f277116ce66e63a2401c0a2312d90073cb12379a3c", 604_242),
        ("val", "ca3106f1a72390591d25f6c45cb4cd39dec4cd3f123e099748a3ce5256c160e9", 23_001),
        ("test_2016_flickr", "6d326e188d259fb1d04ac19eae3af956559b3a0b93d7635e56c90987c40c8b90", 22_310),
    ),
}


def _multi30k(name: str, *languages: str) -> Known:
    files = (
        File(f"{part}.{code}.gz", f"{_MULTI30K}{part}.{code}.gz", f"sha256:{checksum}", size)
        for code in languages
        for part, checksum, size in _MULTI30K_FILES[code]
    )
    return Known(
        name=name,
        folders=("multi30k",),
        layouts=(tuple(files),),
        licence="research and education only",
        homepage="https://github.com/multi30k/dataset",
    )


MULTI30K = _multi30k("multi30k", "de", "en")
MULTI30K_FR = _multi30k("multi30k-fr", "fr", "en")


def _pictures_with_boxes(name: str, picture: str, files: dict[str, str], licence: str, homepage: str) -> Known:
    """A set of many small files, that are found but not fetched: annotations in COCO's format, pictures in images/."""
    annotations = (File(f"annotations/instances_{part}.json", checksum=f"sha256:{sha}") for part, sha in files.items())
    return Known(
        name=name,
        folders=(name,),
        layouts=((*annotations, File(f"images/{picture}")),),
        licence=licence,
        homepage=homepage,
    )


BCCD = _pictures_with_boxes(
    "bccd",
    "BloodImage_00001.jpg",
    {
        "train": "853099bab2aa3420aa1560acf5dfedf4b1b05f9258a0ff2320b49a01062ce45b",
        "val": "af3ea4869361b110e02e608296d2768a64fd1cb5c1b8f613288bd2e33adbadfe",
        "test": "cad24706af7dbcad5fd76c605533a8b3a96cc445cfecce87cc0e1e109826ee77",
    },
    "MIT (Shenggan)",
    "https://github.com/Shenggan/BCCD_Dataset",
)
PLAYING_CARDS = _pictures_with_boxes(
    "playing-cards",
    "IMG_2385.JPG",
    {
        "train": "d5251474bf91c6143df505fba693af3c7a1a20055c03e0623d208f0ef534d098",
        "val": "93d8ed3dd3f31a1f94144346f45aafbf76ac251fc0c826e11a73c824a2b99fbb",
    },
    "Apache 2.0 (EdjeElectronics)",
    "https://github.com/EdjeElectronics/TensorFlow-Object-Detection-API-Tutorial-Train-Multiple-Objects-Windows-10",
)
COCO_MINI = _pictures_with_boxes(
    "coco-mini",
    "000000397133.jpg",
    {
        "train": "d13d054f42f3a81b565458c9221957615791b7425f0a646a9b817196e85b199e",
        "val": "f5b8fa9a29f9cf8c009802228578c355946e818cf900acb972c20259a40c2a18",
    },
    "each its own, some NC",
    "https://github.com/Obmutescence/COCO-MINI",
)

KNOWN: dict[str, Known] = {
    known.name: known
    for known in (
        MNIST,
        FASHION_MNIST,
        CIFAR10,
        OMNIGLOT,
        TINYSHAKESPEARE,
        ENG_FRA,
        MULTI30K,
        MULTI30K_FR,
        BCCD,
        PLAYING_CARDS,
        COCO_MINI,
    )
}
