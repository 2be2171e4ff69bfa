"""Annotations in COCO's, VOC's and YOLO's formats: read as others read them, and what is wrong with them survived."""

from __future__ import annotations

import json
import math
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from gentool.data.annotations import Annotation, FileBoxes, Picture, build
from gentool.data.check import check_dataset
from gentool.data.coco import coco
from gentool.data.find import Where
from gentool.data.problems import Problems
from gentool.data.voc import BadXml, parse, voc
from gentool.data.yolo import yolo
from gentool.errors import UsageError

PLACES = [Path(word) for word in os.environ.get("GENTOOL_DATA", "").split(os.pathsep) if word]  # before it is unset


def real(name: str) -> Path:
    """The folder of a real set."""
    found = next((place / name for place in PLACES if (place / name / "annotations").is_dir()), None)
    return found if found is not None else pytest.skip(f"{name} is not under GENTOOL_DATA")


@pytest.fixture
def where() -> Where:
    return Where(say=lambda text: None)


def picture(path: Path, height: int = 60, width: int = 80) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    rng = np.random.default_rng(len(path.name) + height)
    Image.fromarray(rng.integers(0, 255, (height, width, 3), dtype=np.uint8)).save(path)


def coco_folder(root: Path, **changes: Any) -> dict[str, Any]:
    data: dict[str, Any] = {
        "images": [{"id": 5, "file_name": "a.jpg", "width": 80, "height": 60}, {"id": 2, "file_name": "b.jpg"}],
        "annotations": [
            {"id": 1, "image_id": 5, "category_id": 7, "bbox": [10, 20, 30, 40], "area": 600, "iscrowd": 0},
            {"id": 2, "image_id": 5, "category_id": 3, "bbox": [0.5, 0, 10.25, 5], "iscrowd": 1},
        ],
        "categories": [{"id": 7, "name": "dog"}, {"id": 3, "name": "cat"}],
        **changes,
    }
    for name in ("a.jpg", "b.jpg"):
        picture(root / "images" / name)
    (root / "annotations").mkdir(exist_ok=True)
    (root / "annotations" / "instances_train.json").write_text(json.dumps(data))
    return data


def by_id(data: FileBoxes) -> dict[Any, Any]:
    return {data.image_id(i): data.target(i) for i in range(len(data))}


def test_coco_as_it_is_written(tmp_path: Path, where: Where) -> None:
    coco_folder(tmp_path)
    data = coco(str(tmp_path), "train", where)
    assert data.classes == ("cat", "dog")  # in order of the ids, which have gaps
    assert data.category_ids == (3, 7)
    target = by_id(data)[5]
    assert target.boxes.tolist() == [[10, 20, 40, 60], [0.5, 0, 10.75, 5]]
    assert target.labels.tolist() == [1, 0]
    assert target.crowd.tolist() == [False, True]
    assert target.area.tolist() == [600, 51.25]
    assert len(by_id(data)[2].labels) == 0
    assert not data.problems.counts
    assert {data.file_name(i) for i in range(2)} == {"a.jpg", "b.jpg"}
    assert data.read(0).shape == (60, 80, 3)
    assert len(coco(str(tmp_path / "annotations" / "instances_train.json"), "train", where)) == 2
    assert len(coco(str(tmp_path), "test", where)) == 0


@pytest.mark.parametrize("name", ["bccd", "playing-cards", "coco-mini"])
def test_real_sets_are_read_as_pycocotools_reads_them(name: str, where: Where, capsys: Any) -> None:
    folder = real(name)
    from pycocotools.coco import COCO

    files = sorted((folder / "annotations").glob("instances_*.json"))
    for file in files:
        split = {"val": "validation"}.get(file.stem.removeprefix("instances_"), file.stem.removeprefix("instances_"))
        data = coco(str(folder), split, where)
        truth = COCO(str(file))
        assert sorted(data.image_id(i) for i in range(len(data))) == sorted(truth.getImgIds())
        assert list(data.category_ids) == sorted(truth.getCatIds())
        for i in range(len(data)):
            entry = truth.imgs[data.image_id(i)]
            assert data.size(i) == (entry["height"], entry["width"])
            own = truth.loadAnns(truth.getAnnIds(imgIds=[data.image_id(i)]))
            target = data.target(i)
            corners = [[x, y, x + w, y + h] for x, y, w, h in (a["bbox"] for a in own)]
            assert np.allclose(target.boxes, np.array(corners).reshape(-1, 4), atol=1)  # clipped by less than a pixel
            assert [data.category_ids[k] for k in target.labels] == [a["category_id"] for a in own]
            assert target.crowd.tolist() == [bool(a["iscrowd"]) for a in own]
            assert target.area.tolist() == [a["area"] for a in own]


WRONG = {
    "picture that is not there": {"images": [{"id": 5, "file_name": "none.jpg"}]},
    "picture listed twice": {"images": [{"id": 5, "file_name": "a.jpg"}] * 2},
    "picture of another size": {"images": [{"id": 5, "file_name": "a.jpg", "width": 8, "height": 6}]},
    "entry of 'images' without a file_name and an id": {"images": [7, {}, {"id": 5, "file_name": "a.jpg"}]},
    "box of an unknown category": {"annotations": [{"image_id": 5, "category_id": 4, "bbox": [1, 1, 5, 5]}]},
    "box of a picture that is not listed": {"annotations": [{"image_id": 6, "category_id": 3, "bbox": [1, 1, 5, 5]}]},
    "box without area": {"annotations": [{"image_id": 5, "category_id": 3, "bbox": [1, 1, 0, 5]}]},
    "box that ends before it begins": {"annotations": [{"image_id": 5, "category_id": 3, "bbox": [9, 9, -5, 5]}]},
    "box outside of its picture": {"annotations": [{"image_id": 5, "category_id": 3, "bbox": [500, 1, 5, 5]}]},
    "box partly outside of its picture": {"annotations": [{"image_id": 5, "category_id": 3, "bbox": [70, 50, 50, 50]}]},
    "box that is not four numbers": {"annotations": [{"image_id": 5, "category_id": 3, "bbox": [math.nan, 1, 5, 5]}]},
    "annotation with the id of another": {
        "annotations": [{"id": 1, "image_id": 5, "category_id": 3, "bbox": [1, 1, 5, 5]}] * 2
    },
    "entry of 'annotations' that is no object": {"annotations": [3, None]},
}


@pytest.mark.parametrize("kind", WRONG)
def test_what_is_wrong_is_named_counted_and_survived(tmp_path: Path, kind: str) -> None:
    said: list[str] = []
    coco_folder(tmp_path, **WRONG[kind])
    data = coco(str(tmp_path), "train", Where(say=said.append))
    assert list(data.problems.counts) == [kind]
    assert len(said) == 1
    assert kind in said[0]
    assert "\n" not in said[0]
    for i in range(len(data)):
        boxes = data.target(i).boxes
        height, width = data.size(i)
        assert (boxes[:, 2:] > boxes[:, :2]).all()
        assert (boxes >= 0).all()
        assert (boxes <= [width, height, width, height]).all()
    facts = check_dataset(f"coco:{tmp_path}", Where(say=lambda text: None))
    assert [row["problem"] for row in facts.json["problems"]] == [kind]
    assert facts.bad


def test_a_picture_that_breaks_when_it_is_decoded(tmp_path: Path) -> None:
    coco_folder(tmp_path)
    file = tmp_path / "images" / "a.jpg"
    file.write_bytes(file.read_bytes()[:-400])
    said: list[str] = []
    data = coco(str(tmp_path), "train", Where(say=said.append))
    place = [data.image_id(i) for i in range(2)].index(5)
    assert not data.read(place).any()
    assert not len(data.target(place).labels)
    assert "a.jpg" in said[0]
    facts = check_dataset(f"coco:{tmp_path}", Where(say=lambda text: None))
    assert [row["problem"] for row in facts.json["problems"]] == ["picture that cannot be decoded"]


def test_a_picture_stored_turned_and_annotated_so(tmp_path: Path, where: Where) -> None:
    """EXIF turns it by a quarter: the annotations' size decides in which of the two ways it is read."""
    coco_folder(tmp_path)
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.fromarray(np.zeros((60, 80, 3), np.uint8)).save(tmp_path / "images" / "a.jpg", exif=exif)
    data = coco(str(tmp_path), "train", where)  # said to be 80x60, as it is stored
    place = [data.image_id(i) for i in range(2)].index(5)
    assert data.size(place) == (60, 80)
    assert data.read(place).shape == (60, 80, 3)
    assert not data.problems.counts
    coco_folder(tmp_path, images=[{"id": 5, "file_name": "c.jpg", "width": 60, "height": 80}])
    Image.fromarray(np.zeros((60, 80, 3), np.uint8)).save(tmp_path / "images" / "c.jpg", exif=exif)
    data = coco(str(tmp_path), "train", where)  # said to be 60x80, as it is seen
    assert data.read(0).shape == (80, 60, 3)


plain = st.none() | st.booleans() | st.integers(-(10**400), 10**400) | st.floats() | st.text(max_size=5)
values = st.recursive(
    plain, lambda v: st.lists(v, max_size=4) | st.dictionaries(st.text(max_size=3), v, max_size=3), max_leaves=8
)
boxes = st.lists(st.floats() | st.integers(-9, 99), min_size=4, max_size=4)
entries = st.fixed_dictionaries(
    {},
    optional={
        "id": values, "image_id": values | st.just(5), "category_id": values | st.just(3), "bbox": values | boxes,
        "file_name": values | st.just("a.jpg"), "iscrowd": values, "area": values, "width": values, "height": values,
    },
)  # fmt: skip


@settings(max_examples=60, deadline=None)
@given(images=st.lists(values | entries, max_size=4), annotations=st.lists(values | entries, max_size=6))
def test_no_annotation_file_breaks_the_reader(tmp_path_factory: Any, images: Any, annotations: Any) -> None:
    root = tmp_path_factory.getbasetemp() / "any"
    root.mkdir(exist_ok=True)
    coco_folder(root)
    file = root / "annotations" / "instances_train.json"
    data = {
        "images": [{"id": 5, "file_name": "a.jpg"}, *images],
        "annotations": annotations,
        "categories": [{"id": 3, "name": "x"}],
    }
    try:
        text = json.dumps(data)
    except ValueError:
        return
    file.write_text(text)
    os.utime(file, ns=(hash(text) % 10**15, hash(text) % 10**15))
    made = coco(str(root), "train", Where(say=lambda text: None))
    for i in range(len(made)):
        target = made.target(i)
        assert np.isfinite(target.boxes).all()
        assert np.isfinite(target.area).all()
        assert (target.area > 0).all()


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "not JSON"),
        ("[" * 100_000, "not JSON"),
        ("[]", "lists 'images'"),
        ('{"images": {}, "categories": []}', "lists 'images'"),
        ('{"images": [], "categories": [], "annotations": 3}', "no list"),
        ('{"images": [], "categories": []}', "names no categories"),
        ('{"images": [], "categories": [{"id": "x"}, 4]}', "names no categories"),
    ],
)
def test_files_that_are_no_annotations(tmp_path: Path, where: Where, text: str, words: str) -> None:
    file = tmp_path / "x.json"
    file.write_text(text)
    with pytest.raises(UsageError, match=words):
        coco(str(file), "train", where)


@pytest.mark.parametrize("reader", [coco, voc, yolo])
def test_paths_that_are_none(tmp_path: Path, where: Where, reader: Callable[..., Any]) -> None:
    for argument in ("", str(tmp_path / "none\x1b"), str(tmp_path)):
        with pytest.raises(UsageError) as caught:
            reader(argument, "train", where)
        assert "\x1b" not in str(caught.value)


def test_one_file_is_split_by_the_pictures_names(tmp_path: Path, where: Where) -> None:
    names = [f"{i}.png" for i in range(60)]
    for name in names:
        picture(tmp_path / name, 8, 8)
    images = [{"id": i, "file_name": name} for i, name in enumerate(names)]
    (tmp_path / "all.json").write_text(json.dumps({"images": images, "categories": [{"id": 1, "name": "x"}]}))
    splits = [coco(str(tmp_path / "all.json"), s, where) for s in ("train", "validation", "test")]
    parts = [{data.image_id(i) for i in range(len(data))} for data in splits]
    assert sum(map(len, parts)) == 60
    assert set().union(*parts) == set(range(60))
    assert min(map(len, parts)) >= 2


# -- VOC ---------------------------------------------------------------------------------------------------------------

XML = """<annotation><filename>{name}.jpg</filename><size><width>80</width><height>60</height></size>
<object><name>dog</name><difficult>{hard}</difficult><bndbox><xmin>11</xmin><ymin>21</ymin><xmax>40</xmax><ymax>60</ymax></bndbox></object>
<object><name>cat</name><bndbox><xmin>1</xmin><ymin>1</ymin><xmax>80</xmax><ymax>60</ymax></bndbox></object></annotation>"""


def voc_folder(root: Path) -> None:
    (root / "Annotations").mkdir(parents=True, exist_ok=True)
    (root / "ImageSets" / "Main").mkdir(parents=True, exist_ok=True)
    for name, hard in (("a", 0), ("b", 1), ("c", 0)):
        (root / "Annotations" / f"{name}.xml").write_text(XML.format(name=name, hard=hard))
        picture(root / "JPEGImages" / f"{name}.jpg")
    (root / "ImageSets" / "Main" / "train.txt").write_text("a\nb 1\n\nzz\n")
    (root / "ImageSets" / "Main" / "val.txt").write_text("c\n")


def test_voc_as_it_is_written(tmp_path: Path, where: Where) -> None:
    voc_folder(tmp_path)
    data = voc(str(tmp_path), "train", where)
    assert data.classes == ("cat", "dog")
    targets = by_id(data)
    assert targets["a"].boxes.tolist() == [[10, 20, 40, 60], [0, 0, 80, 60]]  # counted from 1, ends included
    assert targets["a"].labels.tolist() == [1, 0]
    assert targets["b"].crowd.tolist() == [True, False]
    assert data.problems.counts == {"name in ImageSets that has no annotation file": 1}
    assert by_id(voc(str(tmp_path), "validation", where)).keys() == {"c"}
    assert by_id(voc(str(tmp_path), "test", where)).keys() == {"c"}


def test_voc_of_bccd_agrees_with_its_coco(tmp_path: Path, where: Where) -> None:
    folder = real("bccd")
    import zipfile

    zipfile.ZipFile(folder / "annotations" / "voc_xml.zip").extractall(tmp_path / "Annotations")
    (tmp_path / "JPEGImages").symlink_to(folder / "images")
    both = coco(str(folder), "test", where)
    (tmp_path / "ImageSets" / "Main").mkdir(parents=True)
    names = [both.file_name(i).removesuffix(".jpg") for i in range(len(both))]
    (tmp_path / "ImageSets" / "Main" / "train.txt").write_text("\n".join(names))
    other = voc(str(tmp_path), "train", where)
    assert [other.file_name(i) for i in range(len(other))] == [both.file_name(i) for i in range(len(both))]
    for i in range(len(both)):
        mine, theirs = other.target(i), both.target(i)
        assert [other.classes[k] for k in mine.labels] == [both.classes[k] for k in theirs.labels]
        assert np.abs(mine.boxes - theirs.boxes).max(initial=0) <= 1  # its COCO file counts from 1 as the XML does


@pytest.mark.parametrize(
    "text",
    [
        '<!DOCTYPE a [<!ENTITY b "c"><!ENTITY d "&b;&b;&b;">]><annotation>&d;</annotation>',
        '<!DOCTYPE a SYSTEM "file:///etc/passwd"><annotation/>',
        '<!DOCTYPE a [<!ENTITY x SYSTEM "file:///etc/passwd">]><annotation><object><name>&x;</name></object></annotation>',
        "<annotation>",
        "",
        "hello",
        "<a>" * 60 + "</a>" * 60,
        "<annotation>&undefined;</annotation>",
        "<a>\x00</a>",
    ],
)
def test_xml_that_is_refused(tmp_path: Path, where: Where, text: str) -> None:
    with pytest.raises(BadXml):
        parse(text.encode())
    with pytest.raises(BadXml):
        parse(text.encode("utf-16"))
    voc_folder(tmp_path)
    (tmp_path / "Annotations" / "a.xml").write_text(text)
    data = voc(str(tmp_path), "train", where)
    assert data.problems.counts["annotation file that cannot be read"] == 1
    assert by_id(data).keys() == {"b"}


# -- YOLO --------------------------------------------------------------------------------------------------------------


def yolo_folder(root: Path) -> None:
    for split, names in (("train", "ab"), ("val", "c")):
        for name in names:
            picture(root / "images" / split / f"{name}.jpg")
        (root / "labels" / split).mkdir(parents=True, exist_ok=True)
    (root / "labels" / "train" / "a.txt").write_text("1 0.5 0.5 0.25 0.5\n\n0 0.1 0.1 0.3 0.1 0.2 0.4\n")
    (root / "labels" / "train" / "b.txt").write_text(
        "7 0.5 0.5 0.1 0.1\n0 x\n0 1 2\n0 nan 0.5 0.1 0.1\n0 5 0.5 0.1 0.1\n"
    )


@pytest.mark.parametrize(
    "settings_text",
    [
        "names: [cat, dog]\ntrain: images/train\nval: images/val\n",
        "names:\n  0: cat\n  1: dog\npath: .\ntrain: ../images/train\nval:\n  - images/val\n",
        "",
    ],
)
def test_yolo_as_it_is_written(tmp_path: Path, where: Where, settings_text: str) -> None:
    yolo_folder(tmp_path)
    if settings_text:
        (tmp_path / "data.yaml").write_text(settings_text)
    else:
        (tmp_path / "classes.txt").write_text("cat\ndog\n")
    data = yolo(str(tmp_path), "train", where)
    assert data.classes == ("cat", "dog")
    target = by_id(data)["images/train/a.jpg"]
    assert np.allclose(target.boxes, [[30, 15, 50, 45], [8, 6, 24, 24]])
    assert target.labels.tolist() == [1, 0]
    assert data.problems.counts == {
        "line that is not numbers": 1, "line that has not five numbers": 1, "box of an unknown category": 1,
        "box that is not four numbers": 1, "box outside of its picture": 1,
    }  # fmt: skip
    assert len(yolo(str(tmp_path), "test", where)) == 1


@pytest.mark.parametrize("text", ["[", "a", "names: 3", "names: [a]\ntrain: nowhere", "!!python/object:os.system x"])
def test_yaml_that_is_refused(tmp_path: Path, where: Where, text: str) -> None:
    yolo_folder(tmp_path)
    (tmp_path / "data.yaml").write_text(text)
    with pytest.raises(UsageError):
        yolo(str(tmp_path), "train", where)


# -- the common part ---------------------------------------------------------------------------------------------------

coordinates = st.floats(-200, 200) | st.floats() | st.integers(-100, 100).map(float)


@settings(max_examples=150, deadline=None)
@given(boxes=st.lists(st.tuples(coordinates, coordinates, coordinates, coordinates), max_size=8))
def test_boxes_are_kept_clipped_or_counted(
    tmp_path_factory: Any, boxes: list[tuple[float, float, float, float]]
) -> None:
    """Against a loop: every box is either kept, clipped to the picture, or counted as left out."""
    path = tmp_path_factory.getbasetemp() / "one.png"
    if not path.exists():
        picture(path, 50, 70)
    problems = Problems()
    items = [Annotation(f"box {i}", 1, "x", box) for i, box in enumerate(boxes)]
    data = build("n", "train", {"x": "x"}, [Picture(1, "one.png", path)], items, problems, lambda text: None)
    expected = []
    for x1, y1, x2, y2 in boxes:
        inside = (max(x1, 0), max(y1, 0), min(x2, 70), min(y2, 50))
        fine = all(map(math.isfinite, (x1, y1, x2, y2))) and x1 < x2 and y1 < y2
        if fine and inside[0] < inside[2] and inside[1] < inside[3]:
            expected.append(list(inside))
    assert data.target(0).boxes.tolist() == expected
    left_out = sum(n for kind, n in problems.counts.items() if problems.done[kind] == "left out")
    assert left_out == len(boxes) - len(expected)


def test_names_are_safe_and_unlike(tmp_path: Path, where: Where) -> None:
    names = ["a\x1b[31m", "a", "a", "x" * 500]
    coco_folder(tmp_path, annotations=[], categories=[{"id": i, "name": name} for i, name in enumerate(names)])
    data = coco(str(tmp_path), "train", where)
    assert len(set(data.classes)) == 4
    assert all(name.isprintable() and len(name) <= 104 for name in data.classes)


def test_a_digest_changes_with_the_boxes(tmp_path: Path, where: Where) -> None:
    made = coco_folder(tmp_path)
    before = coco(str(tmp_path), "train", where).digest()
    made["annotations"][0]["bbox"][0] += 1
    file = tmp_path / "annotations" / "instances_train.json"
    file.write_text(json.dumps(made))
    os.utime(file, (1, 1))
    assert coco(str(tmp_path), "train", where).digest() != before
