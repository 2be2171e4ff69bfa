"""The evaluators of detectors on models whose answers are known, and files of results good and bad."""

from __future__ import annotations

import json
import subprocess
import sys
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from gentool_detect import MapConfig, results
from gentool_detect.average_precision import evaluate
from gentool_detect.evaluate import Localisation, MeanAveragePrecision, ProposalRecall
from gentool_detect.report import truth_of

from gentool.config import build_dataclass, data_config
from gentool.data.boxes import truth_of as boxes_of
from gentool.data.ground_truth import of_examples
from gentool.data.pipeline import open_pipeline
from gentool.errors import UsageError
from gentool.sampling import Detections


@pytest.fixture(scope="module")
def pipeline() -> Any:
    """Twelve pictures of scenes, larger than they are drawn, so that boxes have to be mapped back."""
    config = build_dataclass(data_config("scenes"), {"name": "scenes", "short_side": 160, "long_side": 200}, "test")
    return open_pipeline(config)


class Knowing:
    """Detects what is there, moved by `shift` pixels of the canvas."""

    def __init__(self, pipeline: Any, shift: float = 0.0) -> None:
        self.batches = list(pipeline.batches("test", 4, 12))
        self.shift, self.seen = shift, 0

    def detect(self, images: Any, size: Any, **options: object) -> list[Detections]:
        found = boxes_of(self.batches[self.seen])
        self.seen += 1
        return [Detections(d.boxes + self.shift, d.scores, d.labels) for d in found]

    def propose(self, images: Any, size: Any) -> list[torch.Tensor]:
        """The right boxes after ten wrong ones."""
        return [torch.cat((torch.zeros(10, 4), d.boxes)) for d in self.detect(images, size)]


def run(kind: Any, model: Any, pipeline: Any, config: Any = None) -> Any:
    context = SimpleNamespace(
        model=model, dataset="scenes", split="test", examples=lambda split="test": pipeline.split(split)
    )
    halves = [kind(config, context), kind(config, context)]
    for number, batch in enumerate(pipeline.batches("test", 4, 12)):
        halves[number % 2].update(batch)
    halves[0].merge(halves[1])
    return halves[0].compute()


def figures(report: Any) -> dict[str, float]:
    return {scalar.name: scalar.value for scalar in report.scalars}


def test_map_of_a_perfect_detector_is_1(pipeline):
    report = run(MeanAveragePrecision, Knowing(pipeline), pipeline, MapConfig())
    found = figures(report)
    assert (found["AP"], found["AR@100"], found["best F1"]) == pytest.approx((1, 1, 1))
    assert found["VOC 2007 AP50"] == pytest.approx(1)
    assert sum(row["objects"] for row in report.table) == sum(len(boxes) for boxes in _truths(pipeline))
    assert json.loads(json.dumps(report.to_json()))["scalars"]["AP"]["value"] == pytest.approx(1)
    missing = [scalar for scalar in report.scalars if np.isnan(scalar.value)]
    assert all(scalar.text() == "no objects of this size" for scalar in missing)


@pytest.mark.parametrize("options", [{}, {"nms": 0.7}, {"soft": 0.5, "limit": 7}])
def test_map_asks_for_what_its_options_say(pipeline, options: dict[str, float]) -> None:
    asked = []

    class Asked(Knowing):
        def detect(self, images: Any, size: Any, **given: Any) -> Any:
            asked.append(given)
            return super().detect(images, size)

    run(MeanAveragePrecision, Asked(pipeline), pipeline, MapConfig(**options))
    assert asked[0] == {"threshold": 0.01, "nms": 0.0, "soft": 0.0, "limit": 100} | options


def _truths(pipeline: Any) -> list[Any]:
    return [pipeline.split("test").target(i).boxes for i in range(12)]


def test_map_is_in_pixels_of_the_original(pipeline):
    """A move of 4 canvas pixels is 4 / scale of the picture's own: scored as the engine scores boxes moved by that."""
    report = run(MeanAveragePrecision, Knowing(pipeline, 4.0), pipeline, MapConfig())
    truth = truth_of(of_examples(pipeline.split("test"), range(12)))
    scale = next(iter(pipeline.batches("test", 4, 12))).extra["scale"][0].double().numpy()
    assert scale.min() > 1.2
    moved = truth.boxes + np.array([4 / scale[0], 4 / scale[1], 0, 0])
    from gentool_detect.average_precision import Found

    expected = evaluate(truth, Found(truth.image, truth.label, moved, np.ones(len(moved))), 6)
    assert figures(report)["AP"] == pytest.approx(expected.ap(), abs=1e-9)
    assert 0 < expected.ap() < 1


def test_proposals(pipeline):
    report = run(ProposalRecall, Knowing(pipeline), pipeline)
    assert figures(report)["recall at IoU 0.7"] == 1
    assert figures(report)["average recall"] == pytest.approx(1)
    assert [row["IoU 0.5"] for row in report.table][:3] == [0, 0, 0]  # of the first 1, 3 and 10


def test_localisation(pipeline):
    report = run(Localisation, Knowing(pipeline), pipeline)
    found = figures(report)
    assert 0 < found["accuracy"] <= 100
    assert found["mean IoU"] <= 1
    single = [len(boxes) == 1 for boxes in _truths(pipeline)]
    assert found["class and IoU 0.5"] >= 100 * sum(single) / len(single)


# -- files ------------------------------------------------------------------------------------------------------------


def rows_of(pipeline: Any, pictures: int = 12) -> list[dict[str, Any]]:
    """The truth of the first pictures of scenes as COCO results."""
    examples = pipeline.split("test")
    truth = of_examples(examples, range(pictures))
    return [
        {
            "image_id": examples.image_id(int(i)),
            "category_id": examples.category_ids[k],
            "bbox": box.tolist(),
            "score": 0.5 + 0.001 * j,
            "segmentation": {"counts": "not read"},
        }
        for j, (i, k, box) in enumerate(zip(truth.image, truth.label, truth.boxes))
    ]


def test_a_file_is_scored_without_a_model(cli, tmp_path, pipeline):
    (tmp_path / "results.json").write_text(json.dumps(rows_of(pipeline)))
    done = cli(
        "eval", "detect", "--map", "--predictions", "results.json", "--data", "scenes", "--limit", "12", "--json"
    )
    assert done.code == 0, done.err
    (report,) = json.loads(done.out)["reports"]
    assert report["scalars"]["AP"]["value"] == pytest.approx(1)
    assert "results.json" in report["protocol"]
    shown = cli("eval", "detect", "--predictions", "results.json", "--limit", "20", "--images", "off")
    assert shown.code == 0, shown.err
    assert "AP50 lost: missed" in shown.out
    assert (tmp_path / "map.png").is_file()


ROW = {"image_id": 0, "category_id": 1, "bbox": [1, 2, 3, 4], "score": 0.5}
BAD = {
    "nan": ('[{"image_id": 0, "category_id": 1, "bbox": [1, 2, 3, 4], "score": NaN}]', "NaN"),
    "infinite": ('[{"image_id": 0, "category_id": 1, "bbox": [1, 2, Infinity, 4], "score": 1}]', "Infinity"),
    "unknown picture": (json.dumps([ROW, {**ROW, "image_id": 10**9}]), "image_id 1000000000"),
    "picture by a strange name": (
        json.dumps([{**ROW, "image_id": "[bold]\x1b[31m"}]),
        "pictures that the data set has not",
    ),
    "unknown category": (json.dumps([{**ROW, "category_id": 77}]), "category_id 77"),
    "negative size": (json.dumps([ROW, {**ROW, "bbox": [1, 2, -3, 4]}]), "negative size like [1, 2, -3, 4]"),
    "absurd size": (json.dumps([{**ROW, "bbox": [1, 2, 1e300, 4]}]), "beyond any picture, like [1, 2, 1e+300, 4]"),
    "three numbers": (json.dumps([{**ROW, "bbox": [1, 2, 3]}]), "entry 0"),
    "wrong type": (json.dumps([ROW, {**ROW, "score": "high"}]), "entry 1 is no detection (score: "),
    "null": (json.dumps([{**ROW, "bbox": None}]), "bbox: "),
    "true": (json.dumps([{**ROW, "score": True}]), "score: "),
    "a field less": (json.dumps([{"image_id": 0, "bbox": [1, 2, 3, 4], "score": 1}]), "category_id"),
    "no objects": ("[1, 2]", "entry 0"),
    "no list": (json.dumps({"annotations": [ROW]}), "ground truth"),
    "a number": ("7", "no list of detections"),
    "empty list": ("[]", "no detections at all"),
    "empty": ("", "not JSON"),
    "cut": (json.dumps([ROW])[:-5], "not JSON"),
    "binary": ("\x00\x01\udcff", "not JSON"),
    "deep": ('[{"x": ' + "[" * 100000, "nested too deeply"),
    "number too large": ('[{"image_id": 0, "category_id": 1, "bbox": [1, 2, 3, 4], "score": 1e999}]', ""),
    "id too large": (json.dumps([{**ROW, "image_id": 10**30}]), ""),
}


@pytest.mark.parametrize("name", BAD)
def test_bad_files_are_refused_in_a_sentence(name, cli, tmp_path):
    text, said = BAD[name]
    (tmp_path / "bad.json").write_bytes(text.encode("utf-8", "surrogateescape"))
    done = cli("eval", "detect", "--map", "--predictions", "bad.json", "--data", "scenes")
    assert done.code == 2, done.err
    assert said in done.err
    assert len(done.err.strip().splitlines()) == 1
    assert "Traceback" not in done.err
    assert "\x1b" not in done.err
    assert done.out == ""
    assert [path.name for path in tmp_path.iterdir()] == ["bad.json"]


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["detect", "--map", "--predictions", "none.json"], "no such file"),
        (["detect", "--map", "--predictions", "."], "no such file"),
        (["detect", "--proposal-recall", "--predictions", "good.json"], "--map can score a file"),
        (["vae", "--elbo", "--predictions", "good.json"], "scores a model, not a file"),
        (["vae", "--predictions", "good.json"], "No evaluator of 'vae' scores a file"),
        (["detekt", "--map", "--predictions", "good.json"], "Did you mean 'detect'"),
        (["detect", "--map", "--predictions", "good.json", "--pretrained"], "--pretrained chooses a model"),
        (["detect", "--map", "--predictions", "good.json", "--data", "digits"], "needs boxes"),
        (["detect", "--map", "--predictions", "good.json", "--set", "map.scroe=1"], "score"),
        (["detect", "--map", "--predictions", "good.json", "--set", "fid.n=1"], "EVALUATOR.KEY"),
        (["detect", "--map", "--prediction", "good.json"], "Did you mean"),
    ],
)
def test_wrong_calls(words, said, cli, tmp_path):
    (tmp_path / "good.json").write_text(json.dumps([ROW]))
    done = cli("eval", *words)
    assert (done.code, len(done.err.strip().splitlines())) == (2, 1), done.err
    assert said in done.err


@pytest.mark.parametrize("nested", [False, True])
def test_a_file_is_read_in_pieces(tmp_path, monkeypatch, nested):
    """Of pieces that end anywhere come the same detections; what is nested may not be cut, and errors count from the first."""
    monkeypatch.setattr(results, "PIECE", 700)
    path = tmp_path / "many.json"
    more = {"parts": [{"a": 1}, {"a": "}, {"}]} if nested else {}
    rows = [{"image_id": i % 7, "category_id": 1, "bbox": [i, 2, 3, 4], "score": 0.5, **more} for i in range(200)]
    for separators in ((",", ":"), (", ", ": ")):
        path.write_text(json.dumps(rows, separators=separators))
        found = results.read_results(path, {i: i for i in range(7)}, {1: 0}, 1 << 30)
        assert found.boxes[:, 0].tolist() == list(range(200))
        assert found.image.tolist() == [i % 7 for i in range(200)]
    rows[150]["score"] = "high"
    path.write_text(json.dumps(rows))
    with pytest.raises(UsageError, match="entry 150 is no detection"):
        results.read_results(path, {i: i for i in range(7)}, {1: 0}, 1 << 30)
    rows[150] = {**ROW, "image_id": 99}
    path.write_text(json.dumps(rows))
    with pytest.raises(UsageError, match=r"image_id 99 \(the first is entry 150\)"):
        results.read_results(path, {i: i for i in range(7)}, {1: 0}, 1 << 30)


def test_a_file_larger_than_memory_is_refused(tmp_path):
    path = tmp_path / "large.json"
    path.write_text(json.dumps([ROW] * 100))
    with pytest.raises(UsageError, match="more memory than there is"):
        results.read_results(path, {0: 0}, {1: 0}, memory=10_000)


def test_scoring_a_file_needs_no_torch():
    code = "import sys, gentool.predictions, gentool_detect.report, gentool.data.coco_files; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_coco_files_are_scored_as_they_are_written(cli, tmp_path):
    """As pycocotools would: no picture need be there, a box may have no area or leave its picture."""
    from gentool.data.ground_truth import read_coco

    boxes = [[0.1, 0.2, 10.3, 20.7], [5, 5, 0, 9], [-50, 0, 9000, 10]]
    annotations = [{"id": i, "image_id": 9 - i, "category_id": 4, "bbox": box} for i, box in enumerate(boxes)]
    annotations[2] |= {"area": 7.5, "iscrowd": 1, "segmentation": {"counts": [1, 2]}}
    file = {
        "images": [{"id": i} for i in (9, 8, 7, 3)],
        "categories": [{"id": 4, "name": "x"}],
        "annotations": annotations,
    }
    (tmp_path / "truth.json").write_text(json.dumps(file))
    written = read_coco(tmp_path / "truth.json")
    assert written.image_ids == (3, 7, 8, 9)
    assert written.boxes.tolist() == boxes
    assert written.image.tolist() == [3, 2, 1]
    assert written.area.tolist() == [10.3 * 20.7, 0, 7.5]
    assert written.crowd.tolist() == [False, False, True]
    (tmp_path / "found.json").write_text(json.dumps([{"image_id": 9, "category_id": 4, "bbox": boxes[0], "score": 1}]))
    words = ["eval", "detect", "--predictions", "found.json", "--data", "coco:truth.json", "--json"]
    done = cli(*words)
    assert done.code == 0, done.err
    (report,) = json.loads(done.out)["reports"]
    assert report["scalars"]["AP"]["value"] == pytest.approx(51 / 101)  # one of two
    assert "truth.json" in report["protocol"]
    for change, said in (({"annotations": [{"image_id": 1, "category_id": 4, "bbox": boxes[0]}]}, "does not list"),
                         ({"annotations": [{"image_id": 9, "category_id": 4, "bbox": "x"}]}, "expected"),
                         ({"images": 3}, "expected")):  # fmt: skip
        (tmp_path / "truth.json").write_text(json.dumps(file | change))
        bad = cli(*words)
        assert (bad.code, len(bad.err.strip().splitlines())) == (2, 1), bad.err
        assert said in bad.err.lower()
