"""The networks: what a canvas may not change, what starts them, what they answer."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from gentool_detect import average_precision, proposals
from gentool_detect.assign import Truth, truths
from gentool_detect.backbone import Backbone, Norm, Pyramid
from gentool_detect.boxes import iou
from gentool_detect.detecting import Found, finish
from gentool_detect.regions import best_boxes
from gentool_detect.report import to_sides
from gentool_detect.views import stages
from safetensors.torch import save_file

from gentool import Batch, DataInfo, Samples, Step, UsageError, build_model
from gentool.config import Layer, resolve
from gentool.runs import checkpoint
from gentool.runs.source import open_source
from gentool.training import session
from gentool.training.trainer import Hooks

INFO = DataInfo(name="scenes", image=(3, 64, 96), classes=("a", "b", "c"))
SMALL: dict[str, Any] = {"widths": (8, 8, 16, 16), "blocks": (1, 1, 1, 1)}
DETECTORS = {
    "single-object": {"hidden": 16},
    "rcnn": {"hidden": 16, "side": 32, "proposer": "edges", "proposals": 20},
    "fast-rcnn": {"hidden": 16, "proposer": "edges", "proposals": 20},
    "detect": {"hidden": 16, "channels": 8, "proposals": 20},
    "single-stage": {"channels": 8},
}


def net(name: str, **changes: Any) -> Any:
    torch.manual_seed(0)
    return build_model(name, INFO, {**SMALL, **DETECTORS[name], **changes})


# -- the canvas ---------------------------------------------------------------------------------------------------


def test_normalisation_with_a_mask_is_normalisation_of_the_part() -> None:
    norm = Norm(16)
    torch.nn.init.normal_(norm.weight)
    torch.nn.init.normal_(norm.bias)
    x, mask = torch.randn(2, 16, 9, 11) + 3, torch.zeros(2, 1, 9, 11, dtype=torch.bool)
    mask[0, :, :6, :7] = True
    mask[1, :, :9, :4] = True
    out = norm(x * mask, mask)
    assert torch.allclose(out[0, :, :6, :7], norm(x[:1, :, :6, :7])[0], atol=1e-5)
    assert torch.allclose(out[1, :, :9, :4], norm(x[1:, :, :9, :4])[0], atol=1e-5)
    assert not out[~mask.expand_as(out)].any()


@pytest.mark.parametrize("size", [(64, 96), (61, 50), (33, 95), (7, 9)])
def test_features_are_those_of_a_canvas_of_its_own(size: tuple[int, int]) -> None:
    torch.manual_seed(1)
    body, pyramid = Backbone(3, SMALL["widths"], SMALL["blocks"]), Pyramid(SMALL["widths"], 8, 4)
    height, width = size
    image = torch.rand(1, 3, height, width)
    canvas = torch.zeros(2, 3, 96, 128)
    canvas[0, :, :height, :width] = image
    canvas[1] = torch.rand(3, 96, 128)
    alone, places = body(image, torch.tensor([[height, width]]))
    beside, other = body(canvas, torch.tensor([[height, width], [96, 128]]))
    ours, theirs = (*alone.values(), *pyramid(alone, places)), (*beside.values(), *pyramid(beside, other))
    for a, b in zip(ours, theirs, strict=True):
        h, w = a.shape[2:]
        assert torch.allclose(a[0], b[0, :, :h, :w], atol=1e-4)
        assert not b[0, :, h:].any()
        assert not b[0, :, :, w:].any()


@pytest.mark.parametrize("name", DETECTORS)
def test_no_picture_is_too_small(name: str) -> None:
    found = net(name).eval().detect(torch.rand(2, 3, 32, 32), torch.tensor([[1, 1], [5, 30]]), threshold=0.0)
    for one, (height, width) in zip(found, ((1, 1), (5, 30)), strict=True):
        assert (one.boxes >= 0).all()
        assert (one.boxes[:, 2] <= width).all()
        assert (one.boxes[:, 3] <= height).all()


# -- answers ------------------------------------------------------------------------------------------------------


def test_what_counts_as_found_is_the_users_to_say() -> None:
    boxes = torch.tensor([[0.0, 0, 10, 10], [1, 0, 11, 10], [30, 30, 50, 50], [-5, 5, 5, 5]])
    scores = torch.tensor([[0.9, 0.0], [0.8, 0.7], [0.3, 0.0], [0.99, 0.99]])
    size = torch.tensor([40, 64])
    found = finish(boxes, scores, size, Found(threshold=0.2, nms=0.5))
    assert found.scores.tolist() == pytest.approx([0.9, 0.7, 0.3])  # a class removes its own alone; no empty box
    assert found.labels.tolist() == [0, 1, 0]
    assert found.boxes[2].tolist() == [30, 30, 50, 40]  # cut to the picture
    assert len(finish(boxes, scores, size, Found(threshold=0.5, nms=0.5))) == 2
    assert len(finish(boxes, scores, size, Found(threshold=0.2, nms=0.9))) == 4
    assert len(finish(boxes, scores, size, Found(threshold=0.2, nms=0.5, limit=1))) == 1
    soft = finish(boxes, scores, size, Found(threshold=0.05, soft=0.5))
    assert len(soft) == 4
    assert 0.05 < float(soft.scores[soft.labels == 0][-1]) < 0.3
    each = finish(torch.stack((boxes, boxes + 20), 1), scores, size, Found(threshold=0.2, nms=0.5))
    assert each.boxes[each.labels == 1].tolist() == [[21, 20, 31, 30]]


def test_a_model_has_its_own_suppression_and_the_user_another() -> None:
    torch.manual_seed(0)
    hard = net("detect").eval()
    soft = net("detect", soft=0.5).eval()
    soft.load_state_dict(hard.state_dict())
    where = (torch.rand(1, 3, 64, 64), torch.tensor([[64, 64]]))

    def found(model: Any, **options: float) -> list[float]:
        (one,) = model.detect(*where, threshold=0.01, **options)
        return [round(score, 6) for score in one.scores.tolist()]

    assert found(soft) == found(hard, soft=0.5) != found(hard)
    assert found(soft, nms=0.5) == found(hard, nms=0.5)


def test_the_stages_of_a_picture_are_shown_with_and_without_its_true_boxes() -> None:
    images, size = torch.rand(1, 3, 64, 96) * 2 - 1, torch.tensor([[60, 90]])
    blank = {"size": size, "boxes": torch.zeros(1, 1, 4), "box_labels": torch.tensor([[-1]])}
    blank["crowd"] = torch.zeros(1, 1, dtype=torch.bool)
    known = {**blank, "boxes": torch.tensor([[[10.0, 10, 50, 40]]]), "box_labels": torch.tensor([[1]])}
    for name, count in {"rcnn": 3, "fast-rcnn": 3, "detect": 3, "single-stage": 3}.items():
        for extra, more in ((known, 2), (blank, 1)):
            (made,) = stages(net(name), 1, step=Step(seed=0), given=Batch(images=images, extra=extra))
            assert isinstance(made, Samples)
            assert made.images is not None
            assert made.captions is not None
            assert len(made.images) == len(made.captions) == count + more
            assert made.images.shape[2:] == (240, 360)
            assert ("matched" in made.captions[1]) == (more == 2)


@pytest.mark.parametrize(
    "wrong", [{"blocks": (1, 0, 1, 1)}, {"widths": (8, 8, 0, 8)}, {"ratios": ()}, {"scales": (1.0, -1.0)}]
)
def test_nets_that_cannot_be_are_refused_in_a_sentence(wrong: dict[str, Any]) -> None:
    with pytest.raises(UsageError, match="at least|above 0"):
        net("detect", **wrong)


def test_an_unknown_option_of_detect_is_refused() -> None:
    with pytest.raises(UsageError, match="nsm"):
        net("detect").detect(torch.rand(1, 3, 32, 32), torch.tensor([[32, 32]]), nsm=0.5)


def test_every_region_is_pooled_from_its_level() -> None:
    model = net("detect")
    levels = [torch.rand(2, 8, s, s) for s in (16, 8, 4)]
    rois = torch.tensor([[0.0, 3, 3, 20, 25], [1, 0, 0, 250, 240], [1, 10, 40, 80, 100], [0, 5, 5, 9, 9]])
    together = model.pool(levels, rois)
    one_by_one = torch.cat([model.pool(levels, row[None]) for row in rois])
    assert torch.equal(together, one_by_one)
    small, large = model.pool([levels[0] * 0, *levels[1:]], rois), model.pool([*levels[:2], levels[2] * 0], rois)
    assert not small[3].any()
    assert not large[1].any()


def test_a_region_is_looked_at_again_where_its_box_was_put() -> None:
    """A head that always says class 1 and a shift by a tenth to the right: after n looks a box is n tenths further."""
    images, size = torch.rand(1, 3, 64, 96), torch.tensor([[64, 96]])
    seen = []
    for looks in (1, 3):
        model = net("detect", looks=looks)
        for last in (model.head.classes, model.head.boxes):
            torch.nn.init.zeros_(last.weight)
        with torch.no_grad():
            model.head.classes.bias.copy_(torch.tensor([0.0, 0, 5, 0]))
            model.head.boxes.bias.view(3, 4)[1, 0] = 10 * 0.1
        proposals = [torch.tensor([[10.0, 10, 30, 40]])]
        (found,) = model.found_in(images, size, model.features(images, size), proposals, Found(threshold=0.3))
        assert found.labels.tolist() == [1]
        seen.append(found)
    assert torch.allclose(seen[0].boxes, torch.tensor([[12.0, 10, 32, 40]]), atol=1e-4)
    assert torch.allclose(seen[1].boxes, torch.tensor([[16.0, 10, 36, 40]]), atol=1e-4)
    assert torch.allclose(seen[0].scores, seen[1].scores)


def test_the_boxes_of_a_look_are_cut_to_their_own_pictures() -> None:
    rois = torch.tensor([[0.0, 10, 10, 30, 30], [1, 10, 10, 30, 30]])
    logits, t = torch.tensor([[0.0, 0, 1], [0, 1, 0]]), torch.zeros(2, 2, 4)
    t[:, 1, 0] = 10.0  # class 2 puts its box its width further
    found = best_boxes(logits, t, rois, torch.tensor([[64, 40], [20, 25]]))
    assert found.tolist() == [[0, 30, 10, 40, 30], [1, 10, 10, 25, 20]]


def test_the_place_that_is_sure_answers_for_the_picture() -> None:
    model = net("single-object", stride=8)
    images, size = torch.rand(2, 3, 64, 96), torch.tensor([[64, 96], [40, 60]])
    answer = model.predict(images, size)
    inside = answer.grid.inside
    assert inside.sum(1).tolist() == [8 * 12, 5 * 8]
    assert (answer.sure > -torch.inf).equal(inside)
    with torch.no_grad():
        model.sure.weight.zero_()  # all are as sure as each other, and say a box of two strides: it is in the middle
        model.box.weight.zero_()
    found = model.predict(images, size).boxes[0] * torch.tensor([96, 64, 96, 64])
    assert torch.allclose(found, torch.tensor([40.0, 24, 56, 40]), atol=1e-4)


@pytest.mark.parametrize("name", DETECTORS)
def test_what_a_detector_is_can_be_told(name: str) -> None:
    facts = net(name).facts()
    assert facts["backbone parameters"] > 0
    if name in ("rcnn", "fast-rcnn"):
        assert facts["proposals"] == "windows by edges, at most 20 a picture"


# -- weights to start from ----------------------------------------------------------------------------------------


def test_a_backbone_starts_from_a_file(tmp_path: Path) -> None:
    source = net("single-stage")
    file = tmp_path / "weights.safetensors"
    save_file({k: t.contiguous() for k, t in source.state_dict().items()}, file)  # a whole detector serves too
    torch.manual_seed(5)
    model = build_model("detect", INFO, {**SMALL, **DETECTORS["detect"], "backbone_weights": str(file)})
    for key, tensor in source.backbone.state_dict().items():
        assert torch.equal(model.backbone.state_dict()[key], tensor)  # type: ignore[operator, union-attr]
    with pytest.raises(UsageError, match=r"model\.widths"):
        net("detect", widths=(8, 8, 8, 8), backbone_weights=str(file))
    with pytest.raises(UsageError, match="no file"):
        net("detect", backbone_weights=str(tmp_path / "none.safetensors"))
    file.write_bytes(b"no weights")
    with pytest.raises(UsageError, match="safetensors"):
        net("detect", backbone_weights=str(file))


def test_a_run_that_began_with_a_file_goes_on_without_it(tmp_path: Path) -> None:
    file = tmp_path / "weights.safetensors"
    debug = resolve("single-stage", [Layer("test", {"preview.n": 0})], "debug")
    weights = session.plan(debug).model.backbone.state_dict()  # type: ignore[operator, union-attr]
    save_file({key: tensor.contiguous() for key, tensor in weights.items()}, file)
    layer = Layer("test", {"preview.n": 0, "model.backbone_weights": str(file)})
    made = session.plan(resolve("single-stage", [layer], "debug"))
    run = session.begin(made, tmp_path, None, "debug")
    with session.opened(run):
        trainer = session.trainer(made, run, Hooks())
        trainer.begin()
        trainer.fit()
    file.unlink()
    source = open_source(str(run.path), tmp_path, torch.device("cpu"))
    assert source.model.config.backbone_weights == ""  # type: ignore[union-attr]
    again, _, found = session.reopen(run.path, 4, {})
    assert isinstance(found, checkpoint.Checkpoint)
    assert found.step == 2
    assert again.config["train"].steps == 4


# -- proposals ----------------------------------------------------------------------------------------------------


def picture() -> np.ndarray[Any, np.dtype[np.uint8]]:
    pixels = np.full((60, 80, 3), 90, np.uint8)
    pixels[15:40, 20:50] = (220, 40, 40)
    return pixels


def test_a_window_fits_the_thing_that_stands_out() -> None:
    boxes = proposals.edge_windows(picture())
    assert boxes.dtype == np.int16
    assert (boxes[:, 0] >= 0).all()
    assert (boxes[:, 2] <= 80).all()
    assert (boxes[:, 3] <= 60).all()
    assert (boxes[:, 2:] > boxes[:, :2]).all()
    overlap = iou(torch.tensor([[20.0, 15, 50, 40]]), torch.from_numpy(boxes).float())[0]
    assert overlap[:100].max() > 0.7


def test_a_picture_is_searched_once_and_a_torn_file_is_made_again(tmp_path: Path, monkeypatch: Any) -> None:
    calls = []
    real = proposals.edge_windows
    monkeypatch.setattr(proposals, "edge_windows", lambda pixels: calls.append(1) or real(pixels))
    first = proposals.cached(picture(), "edges", tmp_path)
    assert np.array_equal(proposals.cached(picture(), "edges", tmp_path), first)
    assert len(calls) == 1
    (file,) = tmp_path.glob("*/*.npy")
    file.write_bytes(file.read_bytes()[:40])
    assert np.array_equal(proposals.cached(picture(), "edges", tmp_path), first)
    assert len(calls) == 2
    changed = picture()
    changed[0, 0] = 0
    proposals.cached(changed, "edges", tmp_path)
    assert len(list(tmp_path.glob("*/*"))) == 2  # nothing is left beside


def test_proposals_are_of_the_picture_not_of_what_is_filled_in(tmp_path: Path, monkeypatch: Any) -> None:
    monkeypatch.setattr(proposals, "cache_folder", lambda: tmp_path / "data")
    image = torch.from_numpy(picture()).permute(2, 0, 1)[None].float() / 127.5 - 1
    canvas = torch.zeros(1, 3, 96, 128)
    canvas[:, :, :60, :80] = image
    size = torch.tensor([[60, 80]])
    alone, beside = (proposals.propose(x, size, "edges", 50)[0] for x in (image, canvas))
    assert torch.equal(alone, beside)
    assert len(alone) == 50


def test_selective_search_finds_it_too() -> None:
    pytest.importorskip("cv2.ximgproc")
    for mode in ("fast", "quality"):
        boxes = proposals.search(picture(), mode)
        overlap = iou(torch.tensor([[20.0, 15, 50, 40]]), torch.from_numpy(boxes).float())[0]
        assert overlap.max() > 0.9


def test_without_opencv_it_says_what_to_do(monkeypatch: Any, capsys: Any) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    proposals.engine_of.cache_clear()
    try:
        with pytest.raises(UsageError, match=r"gentool\[selective-search\]"):
            proposals.engine_of("selective-search")
        assert proposals.engine_of("auto") == "edges"
        assert "selective search" in capsys.readouterr().err
    finally:
        proposals.engine_of.cache_clear()


# -- learning -----------------------------------------------------------------------------------------------------

OVERFIT: dict[str, dict[str, Any]] = {
    "single-stage": {"model.places": "points"},
    "detect": {},
    "detect looks": {"model.looks": 2, "loss.quality": True, "loss.box": "giou", "loss.boxes": 10.0},
    "fast-rcnn": {"model.proposer": "edges"},
    "fast-rcnn align": {"model.proposer": "edges", "model.pooling": "align"},
}


@pytest.mark.slow
@pytest.mark.parametrize("name", OVERFIT)
def test_a_few_pictures_are_learned_by_heart(name: str, tmp_path: Path) -> None:
    """AP near 1 on the four pictures that it was trained on, and hardly any box that is not theirs."""
    changes = {
        "preview.n": 0, "data.limit": 4, "data.flip": "none", "train.batch_size": 4, "train.steps": 250,
        "train.ema": 0.0, "validation.examples": 0, "model.widths": (16, 32, 48, 48), "model.blocks": (1, 1, 1, 1),
        "optim.model.weight_decay": 0.0, **OVERFIT[name],
    }  # fmt: skip
    made = session.plan(resolve(name.partition(" ")[0], [Layer("test", changes)]))
    run = session.begin(made, tmp_path, None, "")
    with session.opened(run):
        trainer = session.trainer(made, run, Hooks())
        trainer.begin()
        trainer.fit()
    model: Any = made.model
    batch = next(made.pipeline.batches("train", 4, 4))
    images, size = batch.images, batch.extra["size"]
    found = model.detect(images, size, threshold=0.3)
    for one, boxes, labels in zip(found, batch.extra["boxes"], batch.extra["box_labels"], strict=True):
        there = labels >= 0
        overlap = iou(boxes[there], one.boxes) * (labels[there][:, None] == one.labels)
        assert (overlap.amax(1) > 0.7).float().mean() >= 0.9
    if name == "fast-rcnn":
        # RoI pooling rounds a window's corners to cells of 8 pixels, and the things here are two or three cells wide. So a
        # window that is to be background (IoU .33) can have the very features of one that is to find the object (.51):
        # no weights give them different scores, or transforms to the same box, and the second box (IoU .56 with the
        # first) outlives the suppression. The count is that of the windows which pooling can tell from the positive ones.
        with torch.no_grad():
            apart = [told_apart(*one) for one in zip(model.propose(images, size), truths(batch), strict=True)]
            found = model.found_in(images, size, model.features(images, size), apart, Found(threshold=0.3, nms=0.5))
    for one, labels in zip(found, batch.extra["box_labels"], strict=True):
        assert len(one) <= int((labels >= 0).sum()) + 1
    assert ap50(batch, model.detect(images, size, threshold=0.01)) > 0.99


def told_apart(windows: torch.Tensor, truth: Truth, stride: int = 8) -> torch.Tensor:
    """The windows (P, 4) without the negative ones whose corners are in the same cells as those of a positive one."""
    cells = (windows / stride + 0.5).floor()
    positive = iou(windows, truth.boxes).amax(1) >= 0.5
    alike = (cells[:, None] == cells[positive]).all(2).any(1)
    return windows[positive | ~alike]


def ap50(batch: Batch, found: list[Any]) -> float:
    """AP at IoU 0.5 on the pictures of a batch, in pixels of its canvas."""
    known = truths(batch)
    boxes = to_sides(torch.cat([one.boxes for one in known]).double().numpy())
    truth = average_precision.Truth(
        pictures=len(known),
        image=np.repeat(np.arange(len(known)), [len(one.labels) for one in known]),
        label=torch.cat([one.labels for one in known]).numpy(),
        boxes=boxes,
        area=boxes[:, 2:].prod(1),
        crowd=np.zeros(len(boxes), bool),
    )
    detections = average_precision.Found(
        image=np.repeat(np.arange(len(found)), [len(one) for one in found]),
        label=torch.cat([one.labels for one in found]).numpy(),
        boxes=to_sides(torch.cat([one.boxes for one in found]).double().numpy()),
        scores=torch.cat([one.scores for one in found]).double().numpy(),
    )
    classes = int(max(truth.label.max(), detections.label.max())) + 1
    return average_precision.evaluate(truth, detections, classes).ap(0.5)
